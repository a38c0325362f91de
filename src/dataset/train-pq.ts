/** Training the codebooks of a PQ compressor on residuals of a built index (spec/0010-vector-compression.md §7). */
import { addressOf } from "../core/address.ts";
import { blake3 } from "../core/blake3.ts";
import { DreamDBError } from "../errors.ts";
import { centroidsOfRows } from "../kernels/centroid-pairs.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { residualsOf, trainPq } from "../kernels/pq-training.ts";
import { toIndexSpace } from "../kernels/rabitq.ts";
import { encodeCentroids } from "../objects/centroids.ts";
import type { NewPage } from "../objects/index-tree.ts";
import { metricOf } from "../objects/metric.ts";
import type { ImiIndex, TrainedIndex } from "../objects/spatial-index.ts";
import type { PqCompressor } from "../objects/vector-compressor.ts";
import type { Context } from "./context.ts";
import { codebooksOf, exponentOf, trainedIndexer } from "./indexer.ts";
import type { VectorSource } from "./vector-source.ts";

export interface PqTraining {
  spec: Pick<PqCompressor, "algorithm" | "subspaces" | "bits">;
  index: TrainedIndex | ImiIndex;
  /** What `readCentroids` gave of the index. */
  centroids: Float32Array;
  iterations: number;
  /** The caller's; 0 leaves the usual one. */
  seed: number;
  onSampled?: (rows: number) => void;
  onTrained?: (progress: { done: number; total: number }) => void;
}

/** Rows that are drawn for each codeword of a run. */
const SAMPLE_PER_CODEWORD = 128;

/**
 * The compressor, and its codebooks as an object to store.
 * Errors: `InvalidArgument` when no row of the sample has a vector, `OutOfMemory`, those of reading.
 */
export async function trainPqCompressor(
  { kernels }: Context,
  source: VectorSource,
  training: PqTraining,
): Promise<{ compressor: PqCompressor; objects: NewPage[] }> {
  const { spec, index, iterations } = training;
  const { dim } = index;
  const words = 2 ** spec.bits;
  const seed = seedOf(spec, dim, training.seed);
  const sample = Math.min(source.drawable, SAMPLE_PER_CODEWORD * words);
  const residuals = kernels.alloc(Math.max(sample, words) * dim * 4);
  try {
    const drawn = await source.sample(sample, seed, residuals, (done) => training.onSampled?.(done));
    if (drawn === 0) {
      throw new DreamDBError("InvalidArgument", "codebooks can't be trained; nothing was written", {
        field: "field",
        found: `no vectors of "${source.field.name}" in the sample`,
        expected: "at least one vector to train on",
        committed: "no",
      });
    }
    toResiduals(kernels, training, residuals, drawn);
    const n = repeat(kernels, residuals, drawn, words, dim);
    const values = await trainPq(kernels, {
      ...{ dim, subspaces: spec.subspaces, bits: spec.bits, residuals, n, iterations, seed },
      onProgress: (progress) => training.onTrained?.(progress),
    });
    const bytes = encodeCentroids(values, words, dim);
    const codebooks = { address: addressOf(bytes), bytes: bytes.length };
    const compressor: PqCompressor = { ...spec, dim, codebooks, parents: [] };
    return { compressor, objects: [{ address: codebooks.address, bytes }] };
  } finally {
    kernels.free(residuals);
  }
}

/** What n × dim f32 at `x` are less the centroids of their cells, in place. */
function toResiduals(
  kernels: Kernels,
  { index, centroids }: Pick<PqTraining, "index" | "centroids">,
  x: number,
  n: number,
): void {
  const { dim, algorithm } = index;
  const indexer = trainedIndexer(kernels, { spatialIndex: index }, centroids, undefined);
  const owned: number[] = [];
  const copyIn = (values: Uint32Array | Float32Array): number => {
    owned.push(kernels.copyIn(values));
    return owned.at(-1) as number;
  };
  try {
    const cells = indexer.cellsOf(x, n);
    toIndexSpace(kernels, metricOf(algorithm), exponentOf(index), x, n, dim, x);
    const own =
      index.algorithm === "dreamdb.imi-cosine"
        ? centroidsOfRows(codebooksOf(index, centroids), cells)
        : { centroids, places: cells };
    residualsOf(kernels, x, n, dim, copyIn(own.places), copyIn(own.centroids), x);
  } finally {
    indexer.free();
    for (const pointer of owned) kernels.free(pointer);
  }
}

/** Rows that are fewer than there are codewords come again and again; returns how many there are then. */
function repeat(kernels: Kernels, rows: number, n: number, least: number, dim: number): number {
  for (let row = n; row < least; row++)
    kernels.f32(rows + row * dim * 4, dim).set(kernels.f32(rows + (row % n) * dim * 4, dim));
  return Math.max(n, least);
}

function seedOf({ algorithm, subspaces, bits }: PqTraining["spec"], dim: number, seed: number): Uint8Array {
  const chosen = seed === 0 ? "" : `/${seed}`;
  return blake3(new TextEncoder().encode(`${algorithm}/${dim}/${subspaces}/${bits}${chosen}`));
}
