// Writes pq.json: codebooks that training must give, codes of rows, a query's table and the scores of the codes.
import { cellOf, even, floats, fold, hex, kmeans, rows, seedOf } from "./training.mjs";
import { writeVectors } from "./write-vectors.mjs";

const { fround } = Math;

const cases = [
  [1, 1, 4, "dot"],
  [5, 2, 4, "l2"],
  [7, 3, 4, "cosine"],
  [16, 16, 4, "dot"],
  [33, 5, 4, "cosine"],
  [4, 2, 8, "l2"],
  [6, 4, 8, "cosine"],
].map(([dim, subspaces, bits, metric], i) => {
  const seed = seedOf(i + 120);
  const words = 2 ** bits;
  const residuals = rows(words + 20, dim, 10 * i);
  // The first dim mod m parts are one longer.
  const parts = [];
  for (let s = 0, from = 0; s < subspaces; s++) {
    const past = from + Math.floor(dim / subspaces) + (s < dim % subspaces ? 1 : 0);
    parts.push([from, past]);
    from = past;
  }
  const books = parts.map(([from, past]) =>
    kmeans(
      residuals.map((row) => row.slice(from, past)),
      words,
      3,
      seed,
    ),
  );
  const [centroid, query, ...vectors] = rows(40, dim, 1000 + i, 1.5);
  const codes = vectors.map((y) => {
    const r = y.map((x, j) => x - centroid[j]);
    return parts.map(([from, past], s) => cellOf(r.slice(from, past), books[s]));
  });
  const table = parts.map(([from, past], s) => books[s].map((word) => fold(query.slice(from, past), word)));
  return {
    dim,
    subspaces,
    bits,
    metric,
    iterations: 3,
    seed: hex(seed),
    residuals: floats(residuals.flatMap((row) => [...row])),
    codebooks: floats(books[0].flatMap((_, i) => books.flatMap((words) => [...words[i]]))),
    centroid: floats(centroid),
    vectors: floats(vectors.flatMap((row) => [...row])),
    codes: codes.map((code) => stored(code, bits, metric, decoded(code, centroid, books))),
    query: floats(query),
    table: floats(table.flat()),
    scores: floats(codes.map((code) => code.reduce((sum, c, s) => fround(sum + table[s][c]), 0))),
    ...(bits === 4 ? byteScores(table, codes) : {}),
  };
});

writeVectors("pq.json", {
  about:
    "Product quantisation of residuals to `centroid`. Matrices are the hex of little-endian f32, row after row; of codebooks row i has codeword i of each subspace. `scores` are the sums of table entries. 4 bits: `bytes` is the table in bytes, with `bias` and `quantum`, and `sums` those of its entries.",
  cases,
});

/** What a code stands for. */
function decoded(code, centroid, books) {
  const words = code.flatMap((c, s) => [...books[s][c]]);
  return centroid.map((x, j) => fround(x + words[j]));
}

function stored(code, bits, metric, y) {
  const bytes = [];
  if (bits === 8) bytes.push(...code);
  else for (let s = 0; s < code.length; s += 2) bytes.push(code[s] + 16 * (code[s + 1] ?? 0));
  return hex(bytes) + (metric === "l2" ? floats([fround(0.5 * fold(y, y))]) : "");
}

function byteScores(table, codes) {
  const lows = table.map((row) => row.reduce((low, x) => Math.min(low, x)));
  const range = Math.max(...table.flatMap((row, s) => row.map((x) => fround(x - lows[s]))));
  const inverse = range > 0 ? fround(63 / range) : 0;
  const bytes = table.map((row, s) =>
    row.map((x) => Math.min(63, even(fround(fround(x - lows[s]) * inverse)))),
  );
  return {
    bytes: hex(bytes.flat()),
    bias: floats([lows.reduce((sum, low) => fround(sum + low), 0)]),
    quantum: floats([fround(range / 63)]),
    sums: codes.map((code) => code.reduce((sum, c, s) => sum + bytes[s][c], 0)),
  };
}
