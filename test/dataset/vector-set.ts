/** A dataset of one vector field `v` and a number `n`, with seeded vectors, for tests of the indexes over it. */
import type { DatasetOptions } from "../../src/dataset/context.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import type { VectorQuery } from "../../src/dataset/query.ts";
import { type EmbeddingOptions, Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { randomVector, seeded, testClock } from "./records.ts";

export interface VectorSet {
  dim?: number;
  rows?: number;
  options?: Partial<EmbeddingOptions<true>>;
  dataset?: DatasetOptions;
  store?: Store;
  vector?: (random: () => number, dim: number, row: number) => Float32Array;
  seed?: number;
}

/** `make` and `exactly` for datasets that are as `usual` says, unless told otherwise. */
export function vectorSets(usual: VectorSet) {
  async function make(given: VectorSet = {}) {
    const {
      dim = 20,
      rows = 400,
      vector = randomVector,
      seed = 1,
      store = memoryStore(),
    } = { ...usual, ...given };
    const random = seeded(seed);
    const vectors = Array.from({ length: rows }, (_, row) => vector(random, dim, row));
    const options = { ...usual.options, ...given.options };
    const schema = new Schema().addEmbedding("v", { dim, ...options }).addScalarInt("n");
    const ds = await Dataset.create("d", schema, store, {
      clock: testClock().read,
      random: (count) => Uint8Array.from({ length: count }, () => random() * 256),
      ...given.dataset,
    });
    if (rows > 0) await append(ds, vectors, 0);
    return { ds, store, vectors, random };
  }

  /** The same data with its first, exact index. */
  async function exactly(vectors: readonly Float32Array[], options: Partial<EmbeddingOptions<true>> = {}) {
    const { ds } = await make({ dim: (vectors[0] as Float32Array).length, rows: 0, options });
    await append(ds, vectors, 0);
    return ds;
  }

  return { make, exactly };
}

/** Row `first + i` is anchored at 1,000 times that. */
export function append(ds: Dataset, vectors: readonly Float32Array[], first: number) {
  return ds.appendMany(vectors.map((v, i) => ({ v, n: first + i, _anchor: BigInt(first + i) * 1000n })));
}

/** Anchors and distances of the hits. */
export async function nearest(ds: Dataset, query: Float32Array, more: Partial<VectorQuery> = {}) {
  const batches = await ds.iterVector({ field: "v", query, topK: 10, fields: [], ...more });
  return batches.flatMap((batch) => batch._time_anchors.map((anchor, i) => [anchor, batch._distances[i]]));
}
