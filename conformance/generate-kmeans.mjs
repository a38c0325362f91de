// Writes kmeans.json: cells of vectors, centroids that training must give, and sampled rows.
import { cellOf, floats, hex, keystream, kmeans, rows, seedOf } from "./training.mjs";
import { writeVectors } from "./write-vectors.mjs";

const cases = [
  [1, 9, 3, 4],
  [2, 6, 6, 2],
  [3, 40, 1, 3],
  [5, 60, 7, 0],
  [8, 120, 9, 6],
  [17, 90, 33, 3],
  [100, 40, 5, 2],
].map(([dim, n, k, iterations], i) => {
  const vectors = rows(n, dim, 100 * i);
  // Some rows are equal, so that cells end empty and scores tie.
  for (let v = 3; v < n; v += 4) vectors[v] = vectors[v - 3].slice();
  return trained(vectors, dim, k, iterations, seedOf(i + 20));
});
cases.push(
  trained(
    Array.from({ length: 20 }, () => Float32Array.of(0.5, -0.25, 3)),
    3,
    6,
    5,
    seedOf(40),
  ),
);

function trained(vectors, dim, k, iterations, seed) {
  const centroids = kmeans(vectors, k, iterations, seed);
  return {
    dim,
    k,
    iterations,
    seed: hex(seed),
    vectors: floats(vectors.flatMap((row) => [...row])),
    centroids: floats(centroids.flatMap((row) => [...row])),
    cells: vectors.map((row) => cellOf(row, centroids)),
  };
}

const samples = [
  [1, 1],
  [10, 10],
  [1000, 7],
  [341479, 40],
  [4294967296000, 5],
].map(([total, count], i) => {
  const seed = seedOf(i + 60);
  const draws = keystream(seed, 0x4b4d5341, 4 * count);
  const sampled = Array.from({ length: count }, (_, part) => {
    const edge = (of) => (BigInt(of) * BigInt(total)) / BigInt(count);
    const width = edge(part + 1) - edge(part);
    return Number(edge(part) + ((width * BigInt(draws.getUint32(4 * part, true))) >> 32n));
  });
  return { total, count, seed: hex(seed), rows: sampled };
});

writeVectors("kmeans.json", {
  about:
    "Training of centroids and cells. vectors (n × dim) and centroids (k × dim) are the hex of little-endian f32, row after row; cells are those of the vectors among these centroids. samples: the rows that a sample of `count` out of `total` takes.",
  cases,
  samples,
});
