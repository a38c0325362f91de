// Exact answers by brute force with the library's own scan.
import { loadKernels } from "../../build/lib/kernels/load.js";

/** Answers kept per query: more than any top 10 needs, so that ties past the tenth are known, and enough for LID. */
export const TRUTH_DEPTH = 100;

/**
 * @param {Float32Array} rows unit vectors, count × dim
 * @param {Float32Array[]} queries unit vectors
 * @param {((row: number) => boolean) | undefined} matches which rows take part; all by default
 */
export async function exactAnswers(rows, queries, dim, matches) {
  const count = rows.length / dim;
  const kernels = await loadKernels("auto", { fresh: true });
  const at = kernels.copyIn(rows);
  const norms = kernels.alloc(count * 4);
  kernels.rowInvNorms(at, count, dim, norms);
  const mask = matches === undefined ? 0 : kernels.copyIn(bitmap(count, matches));
  const best = kernels.topK(TRUTH_DEPTH);
  const ids = [];
  const scores = [];
  const lids = [];
  for (const vector of queries) {
    const query = kernels.copyIn(vector);
    best.reset();
    kernels.scanCosine(at, norms, count, dim, query, kernels.invNorm(query, dim), 0, best, mask);
    kernels.free(query);
    const found = rescored(best.drain(), rows, vector, dim);
    ids.push(found.map((hit) => hit.id));
    scores.push(found.map((hit) => Number(hit.score.toFixed(9))));
    const lid = localDimension(found.map((hit) => hit.score));
    if (Number.isFinite(lid)) lids.push(lid);
  }
  return { ids, scores, lid: lids.reduce((a, b) => a + b, 0) / lids.length };
}

/** In f64, so that ties are judged on scores without the scan's rounding. */
function rescored({ ids }, rows, vector, dim) {
  const hits = Array.from(ids, (id) => {
    let score = 0;
    for (let k = 0; k < dim; k++) score += rows[id * dim + k] * vector[k];
    return { id, score };
  });
  return hits.sort((a, b) => b.score - a.score);
}

/** Maximum likelihood (Levina and Bickel) over the distances to the neighbours, zero distances left out. */
function localDimension(scores) {
  const distances = scores.map((score) => Math.sqrt(Math.max(0, 2 - 2 * score))).filter((d) => d > 1e-4);
  const farthest = distances.at(-1);
  const sum = distances.slice(0, -1).reduce((total, d) => total + Math.log(farthest / d), 0);
  return (distances.length - 1) / sum;
}

function bitmap(count, matches) {
  const bits = new Uint8Array(Math.ceil(count / 8));
  for (let row = 0; row < count; row++) if (matches(row)) bits[row >> 3] |= 1 << (row & 7);
  return bits;
}
