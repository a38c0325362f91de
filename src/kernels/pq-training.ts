import type { Kernels } from "./kernels.ts";
import { type TrainingProgress, trainKmeans } from "./kmeans.ts";
import { checkShape, invalid, type PqShape, pqParts } from "./pq.ts";

export interface PqTrainingOptions extends PqShape {
  /** Address of the residuals to train on, n × dim finite f32; n at least 2^bits. */
  residuals: number;
  n: number;
  /** Lloyd rounds in each subspace. */
  iterations: number;
  /** 32 bytes. */
  seed: Uint8Array;
  onProgress?: (progress: TrainingProgress) => void;
}

/** r = y − c of n × dim f32 at `y` in their cells (u32 × n) among k × dim f32 at `centroids`, to `out`. */
export function residualsOf(
  kernels: Kernels,
  y: number,
  n: number,
  dim: number,
  cells: number,
  centroids: number,
  out: number,
): void {
  kernels.exports.residuals(y, n, dim, cells, centroids, out);
}

/**
 * Codebooks for residuals, 2^bits × dim values: row i holds codeword i of each subspace, one after the other. Each is
 * trained by `trainKmeans` with this seed.
 * @throws DreamDBError InvalidArgument (shape, n below 2^bits, iterations, seed, a value not finite), OutOfMemory
 */
export async function trainPq(kernels: Kernels, options: PqTrainingOptions): Promise<Float32Array> {
  checkShape(options);
  const { residuals, n, dim, subspaces, bits, iterations, seed, onProgress } = options;
  if (!Number.isInteger(n) || n < 2 ** bits) throw invalid("n", n, `${2 ** bits} residuals or more`);
  const codebooks = new Float32Array(2 ** bits * dim);
  const columns = kernels.alloc(n * Math.ceil(dim / subspaces) * 4);
  try {
    for (const [s, { from, width }] of pqParts(options).entries()) {
      kernels.exports.sliceColumns(residuals, n, dim, from, width, columns);
      const tell = ({ done, total }: TrainingProgress): void =>
        onProgress?.({ done: s * total + done, total: subspaces * total });
      const training = { vectors: columns, n, dim: width, k: 2 ** bits, iterations, seed };
      const words = await trainKmeans(kernels, { ...training, onProgress: tell });
      for (let i = 0; i < 2 ** bits; i++)
        codebooks.set(words.subarray(i * width, (i + 1) * width), i * dim + from);
    }
    return codebooks;
  } finally {
    kernels.free(columns);
  }
}
