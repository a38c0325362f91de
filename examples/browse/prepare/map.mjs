// A map: two coordinates for each vector, so that near neighbours lie side by side (UMAP: McInnes et al., 2018).
import { Dataset, Schema } from "@dreamlake/dreamdb";
import { UMAP } from "umap-js";
import { cached } from "./cache.mjs";
import { step } from "./progress.mjs";
import { seededRandom } from "./random.mjs";

const NEIGHBOURS = 15;

/**
 * @param {Float32Array[]} vectors all of one dimension
 * @returns {Promise<{ x: number, y: number }[]>} within −1 … 1, the same in every run
 */
export async function mapOf(name, vectors) {
  const progress = step(`Lay out the map of ${name}`);
  const { values, wasKept } = await cached(`map-${name}`, ["umap", ...vectors], () =>
    layOut(vectors, progress),
  );
  progress.done(wasKept ? "kept from an earlier run" : undefined);
  return vectors.map((_, i) => ({ x: values[i * 2], y: values[i * 2 + 1] }));
}

async function layOut(vectors, progress) {
  const { indices, distances } = await nearest(vectors);
  progress.at(0.1);
  const umap = new UMAP({ nNeighbors: indices[0].length, minDist: 0.15, random: seededRandom("map") });
  umap.setPrecomputedKNN(indices, distances);
  const epochs = umap.initializeFit(vectors);
  for (let epoch = 1; epoch <= epochs; epoch++) {
    umap.step();
    if (epoch % 10 === 0) progress.at(0.1 + (0.9 * epoch) / epochs);
  }
  return scaled(umap.getEmbedding());
}

/** The nearest neighbours of all, each its own first: a dataset in memory, which is searched exactly, finds them. */
async function nearest(vectors) {
  const schema = new Schema().addEmbedding("vector", { dim: vectors[0].length }).addScalarInt("row");
  const dataset = await Dataset.create("map", schema, `memory://${crypto.randomUUID()}`);
  await dataset.appendMany(vectors.map((vector, row) => ({ vector, row })));
  const topK = Math.min(NEIGHBOURS, vectors.length);
  const batches = await dataset.queryMany({ field: "vector", queries: vectors, topK, fields: ["row"] });
  await dataset.close();
  return {
    indices: batches.map(({ row }) => Array.from(row, Number)),
    // What rounding leaves below zero is zero.
    distances: batches.map(({ _distances }) => Array.from(_distances, (distance) => Math.max(distance, 0))),
  };
}

/** Both axes by the same factor, so that the widest one reaches from −1 to 1; a stray point goes to the edge. */
function scaled(points) {
  const axis = (at) => points.map((point) => point[at]).sort((a, b) => a - b);
  const share = (sorted, part) => sorted[Math.round((sorted.length - 1) * part)];
  const [xs, ys] = [axis(0), axis(1)];
  const middle = [xs, ys].map((sorted) => (share(sorted, 0.001) + share(sorted, 0.999)) / 2);
  const half = Math.max(...[xs, ys].map((sorted, at) => share(sorted, 0.999) - middle[at])) || 1;
  const clamp = (value) => Math.max(-1, Math.min(1, value));
  return Float32Array.from(
    points.flatMap((point) => point.map((value, at) => clamp((value - middle[at]) / half))),
  );
}
