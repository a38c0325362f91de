/** Training an `imi-cosine` index: a codebook for each half of the components (spec/0004-spatial-indexing.md §9). */
import { type Address, addressOf } from "../core/address.ts";
import { splitHalves } from "../kernels/centroid-pairs.ts";
import { trainKmeans } from "../kernels/kmeans.ts";
import { toIndexSpace } from "../kernels/rabitq.ts";
import { encodeCentroids } from "../objects/centroids.ts";
import type { NewPage } from "../objects/index-tree.ts";
import { type CentroidsRef, halvesOf, type ImiIndex } from "../objects/spatial-index.ts";
import { SharedSample } from "../workers/shared-sample.ts";
import type { Context } from "./context.ts";
import type { VectorSource } from "./vector-source.ts";

export interface ImiTraining {
  /** Centroids of each codebook. */
  size: number;
  /** Rows that are drawn. */
  sample: number;
  iterations: number;
  seed: Uint8Array;
  parents: Address[];
  /** What to throw when fewer of them have a vector than a codebook has centroids. */
  tooFew: (found: number) => Error;
  onSampled?: (rows: number) => void;
  onTrained?: (progress: { done: number; total: number }) => void;
}

/** The index, and its codebooks as objects to store. */
export async function trainImi(
  { kernels, pool }: Context,
  source: VectorSource,
  training: ImiTraining,
): Promise<{ index: ImiIndex; objects: NewPage[] }> {
  const { dim } = source.field;
  const { size, sample, iterations, seed, parents } = training;
  const halves = halvesOf(dim);
  const owned: number[] = [];
  const alloc = (bytes: number): number => {
    owned.push(kernels.alloc(bytes));
    return owned.at(-1) as number;
  };
  try {
    const y = alloc(sample * dim * 4);
    const n = await source.sample(sample, seed, y, (done) => training.onSampled?.(done));
    if (size > n) throw training.tooFew(n);
    toIndexSpace(kernels, "cosine", 0, y, n, dim, y);
    const parts = halves.map((components) => alloc(n * components * 4)) as [number, number];
    splitHalves(kernels, y, n, halves, ...parts);
    kernels.free(owned.shift() as number);
    const objects: NewPage[] = [];
    const centroids: CentroidsRef[] = [];
    for (const [half, components] of halves.entries()) {
      const part = { vectors: parts[half] as number, n, dim: components, k: size };
      const values = await trainKmeans(kernels, {
        ...part,
        iterations,
        seed,
        onProgress: ({ done, total }) =>
          training.onTrained?.({ done: half * total + done, total: 2 * total }),
        finder: pool && ((order) => SharedSample.deal(pool, kernels, part, order)),
      });
      const bytes = encodeCentroids(values, size, components);
      const address = addressOf(bytes);
      objects.push({ address, bytes });
      centroids.push({ address, bytes: bytes.length });
    }
    const index: ImiIndex = {
      algorithm: "dreamdb.imi-cosine",
      dim,
      cells: size * size,
      centroids: centroids as [CentroidsRef, CentroidsRef],
      seed,
      sample,
      iterations,
      parents,
    };
    return { index, objects };
  } finally {
    for (const pointer of owned) kernels.free(pointer);
  }
}
