// Writes vamana.json: graphs, coded rows and walks of `dreamdb.vamana-cosine` and `dreamdb.vamana-l2`, by
// vamana-reference.mjs alone. Run: node conformance/generate-vamana.mjs
import { code, codeQuery, link, walk } from "./vamana-reference.mjs";
import { writeVectors } from "./write-vectors.mjs";

const { fround } = Math;
const cases = [];
for (const [metric, n, dim, k, degree, candidates, probes, value] of [
  ["cosine", 1, 1, 1, 64, 250, 10, wave],
  ["cosine", 40, 3, 4, 8, 12, 2, wave],
  ["l2", 60, 5, 6, 4, 20, 3, wave],
  ["cosine", 48, 17, 5, 64, 250, 10, wave],
  ["l2", 40, 2, 3, 8, 30, 2, (row, j) => Math.floor(row / 8) * (j + 1)], // crowds of equal vectors
  ["cosine", 30, 4, 2, 64, 250, 10, () => 0.5],
  ["cosine", 300, 3, 150, 8, 16, 2, wave], // more heads than entries
  ["l2", 50, 1, 1, 4, 1, 1, (row) => (row * 17) % 50], // falls apart, and is repaired
]) {
  const vectors = Array.from({ length: n }, (_, row) => vector(dim, metric, (j) => value(row, j)));
  const centroids = vectors.slice(0, k);
  const cells = vectors.map((x) => {
    const far = centroids.map((center) => x.reduce((sum, v, j) => sum + (v - center[j]) ** 2, 0));
    return far.indexOf(Math.min(...far));
  });
  const graph = link({ vectors, centroids, cells, degree, candidates, probes });
  const coded = graph.rows.map((row) => code(vectors[row], metric));
  cases.push({
    ...{ metric, dim, degree, candidates, probes },
    vectors: floats(vectors.flatMap((x) => [...x])),
    centroids: floats(centroids.flatMap((x) => [...x])),
    cells,
    ...graph,
    codes: coded.map((row) => Buffer.from(Int8Array.from(row.codes).buffer).toString("hex")),
    scales: floats(coded.map((row) => row.scale)),
    halves: floats(coded.map((row) => row.half)),
    walks: [0, 1, 2, 3, 4, 5].map((i) => {
      const query = vector(dim, metric, (j) => value(i * 7 + 3, j + i) - 0.1 * i);
      const [beam, most, slack] = [
        [1, 1],
        [4, 3],
        [16, 10],
        [64, 64],
        [16, 10, 0.1],
        [64, 3, 0.5],
      ][i];
      const within = slack === undefined ? undefined : { nearest: most, slack, isL2: metric === "l2", query };
      const coding = codeQuery(query);
      const place = { ...graph, coded };
      const nodes = walk(place, coding, beam, most, undefined, within);
      return { query: floats(query), step: floats([coding.step]), beam, slack, most, nodes };
    }),
  });
}
writeVectors("vamana.json", {
  about:
    "Graphs of dreamdb.vamana (spec/0013). Arrays of f32 are the hex of their little-endian bytes. vectors (n × dim, in index space), centroids, cells, degree, candidates and probes are given; rows (the vector of each node), entries and heads (so many first nodes are), lists (neighbours of each node) and repaired (edges added to reach all nodes) must come out; then each node's codes (i8), scale and half, and the best `most` nodes of each walk, ascending; a slack, where there is one, is reckoned from place `most`.",
  cases,
});

function wave(row, j) {
  return ((((row + 1) * (j + 3) * 7919 + row * row * 31 + 13 * j) % 2003) - 1001) / 1001;
}

/** In index space: of unit length for cosine. */
function vector(dim, metric, value) {
  const x = Float32Array.from({ length: dim }, (_, j) => value(j));
  if (metric === "l2") return x;
  const squares = x.reduce((sum, v) => fround(sum + fround(v * v)), 0);
  const inverse = squares === 0 ? 0 : fround(1 / fround(Math.sqrt(squares)));
  return x.map((v) => v * inverse);
}

function floats(values) {
  return Buffer.from(Float32Array.from(values).buffer).toString("hex");
}
