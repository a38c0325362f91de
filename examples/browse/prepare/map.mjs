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
  const { values, wasKept } = await cached(`map-${name}`, ["umap 2", ...vectors], () =>
    layOut(vectors, progress),
  );
  progress.done(wasKept ? "kept from an earlier run" : undefined);
  return drawnTogether(vectors.map((_, i) => ({ x: values[i * 2], y: values[i * 2 + 1] })));
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
  return Float32Array.from(umap.getEmbedding().flat());
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

/**
 * Scales to −1 … 1. UMAP throws groups that are like no others far out, where they would leave most of the map empty: distances
 * from the middle count in full as far as most points reach, and by their logarithm beyond.
 */
function drawnTogether(points) {
  const middle = {
    x: quantile(
      0.5,
      points.map(({ x }) => x),
    ),
    y: quantile(
      0.5,
      points.map(({ y }) => y),
    ),
  };
  const moved = points.map(({ x, y }) => ({ x: x - middle.x, y: y - middle.y }));
  const reach =
    quantile(
      0.7,
      moved.map(({ x, y }) => Math.hypot(x, y)),
    ) || 1;
  const drawn = moved.map(({ x, y }) => {
    const far = Math.hypot(x, y) / reach;
    const factor = far <= 1 ? 1 : (1 + Math.log(far)) / far;
    return { x: x * factor, y: y * factor };
  });
  const [across, down] = [extent(drawn.map(({ x }) => x)), extent(drawn.map(({ y }) => y))];
  const half = Math.max(across.half, down.half) || 1;
  const scaled = (value) => Math.max(-1, Math.min(1, value / half)); // rounding may go beyond by the last bit
  return drawn.map(({ x, y }) => ({ x: scaled(x - across.middle), y: scaled(y - down.middle) }));
}

function quantile(share, values) {
  return values.sort((a, b) => a - b)[Math.round((values.length - 1) * share)];
}

function extent(values) {
  const [least, most] = [quantile(0, values), quantile(1, values)];
  return { middle: (least + most) / 2, half: (most - least) / 2 };
}
