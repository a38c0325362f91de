import { DreamDBError } from "../errors.ts";
import type { Kernels } from "./kernels.ts";

const MAX_DIM = 65_536;
const SEED_BYTES = 32;
/** "KMNS": tells the draws of k-means from those of other uses of a seed. */
const KMEANS_NONCE = 0x4b4d4e53;
/** Other work may run at least this often. */
const TURN_MS = 40;
/** Multiplications between looks at the clock: a few milliseconds' worth. */
const SLICE_PRODUCTS = 2e7;
const TILE = 64;

/** Where a training stands: rows assigned, over all rounds. */
export interface TrainingProgress {
  done: number;
  total: number;
}

export interface TrainingOptions {
  /** Address of the vectors to train on, n × dim finite f32, already in index space. */
  vectors: number;
  n: number;
  dim: number;
  /** Centroids wanted, 1…n. */
  k: number;
  /** Lloyd rounds; 0 leaves the chosen rows. */
  iterations: number;
  /** 32 bytes: equal seeds and vectors give equal centroids. */
  seed: Uint8Array;
  /** Called about every 40 ms of work, and at the end. What it throws ends the training. */
  onProgress?: (progress: TrainingProgress) => void;
}

/**
 * Finds the cell of a vector among k centroids, which it holds in the compute core's memory until `free`:
 * the greatest f32(⟨y,c⟩ − ½|c|²), equal scores to the lowest cell. Source: the spec of the spatial index.
 */
export class CellAssigner {
  readonly cells: number;
  readonly dim: number;
  private readonly kernels: Kernels;
  private pointer: number;

  /** @throws DreamDBError InvalidArgument (dim, centroids not k × dim finite values), OutOfMemory */
  constructor(kernels: Kernels, centroids: Float32Array, dim: number) {
    if (!Number.isInteger(dim) || dim < 1 || dim > MAX_DIM) throw invalid("dim", dim, `1…${MAX_DIM}`);
    if (centroids.length === 0 || centroids.length % dim !== 0)
      throw invalid("centroids", centroids.length, `k × ${dim} values`);
    this.kernels = kernels;
    this.dim = dim;
    this.cells = centroids.length / dim;
    this.pointer = 0;
    const rows = kernels.copyIn(centroids);
    try {
      const bad = kernels.checkFinite(rows, centroids.length);
      if (bad >= 0) throw invalid(`centroids[${bad}]`, centroids[bad], "a finite number");
      this.pointer = kernels.alloc(packedBytes(this.cells, dim));
      this.load(rows);
    } finally {
      kernels.free(rows);
    }
  }

  /** Takes other centroids, k × dim f32 at `rows`, in place of those it has. */
  load(rows: number): void {
    this.kernels.exports.packCells(rows, this.cells, this.dim, this.packed);
  }

  /** The cells (u32 × n) of n × dim f32 at `y`, to `cells`. */
  assign(y: number, n: number, cells: number): void {
    this.kernels.exports.assignCells(y, n, this.dim, this.packed, this.cells, cells);
  }

  /** Gives the memory back; once is enough, more is harmless. */
  free(): void {
    if (this.pointer !== 0) this.kernels.free(this.pointer);
    this.pointer = 0;
  }

  private get packed(): number {
    if (this.pointer !== 0) return this.pointer;
    throw invalid("assigner", "freed", "an assigner in use");
  }
}

/**
 * `count` different rows of `total`, ascending and spread over all: row i is drawn, by the seed, from the i-th of
 * `count` equal parts. The sample of rows to train on, and the rows that training starts from.
 * @throws DreamDBError InvalidArgument (count not in 0…total, seed), OutOfMemory
 */
export function sampleRows(kernels: Kernels, seed: Uint8Array, total: number, count: number): Float64Array {
  if (!Number.isSafeInteger(total) || total < 0) throw invalid("total", total, "a number of rows");
  if (!Number.isInteger(count) || count < 0 || count > total) throw invalid("count", count, `0…${total}`);
  if (seed.length !== SEED_BYTES) throw invalid("seed", seed.length, `${SEED_BYTES} bytes`);
  const blocks = Math.ceil(count / 16);
  const at = kernels.alloc(64 + blocks * 64);
  try {
    kernels.bytes(at, SEED_BYTES).set(seed);
    kernels.u32(at + SEED_BYTES, 3).set([KMEANS_NONCE, 0, 0]);
    kernels.exports.keystream(at, at + SEED_BYTES, 0, at + 64, blocks);
    const draws = kernels.u32(at + 64, count);
    return Float64Array.from(draws, (draw, i) => {
      const first = Math.floor((i * total) / count);
      const past = Math.floor(((i + 1) * total) / count);
      return first + Math.floor(((past - first) * draw) / 2 ** 32);
    });
  } finally {
    kernels.free(at);
  }
}

/**
 * k centroids (k × dim) of n vectors by Lloyd's rounds, the same bits on every engine. Starts from k rows drawn by the
 * seed; a cell that ends a round empty takes half of the largest. Lets other work run every 40 ms or so.
 * @throws DreamDBError InvalidArgument (k = 0, k > n, iterations, dim, seed, a value not finite), OutOfMemory
 */
export async function trainKmeans(kernels: Kernels, options: TrainingOptions): Promise<Float32Array> {
  checkOptions(kernels, options);
  const { vectors, n, dim, k, iterations, seed } = options;
  const first = sampleRows(kernels, seed, n, k);
  const owned: number[] = [];
  const alloc = (bytes: number): number => {
    owned.push(kernels.alloc(bytes));
    return owned.at(-1) as number;
  };
  let assigner: CellAssigner | undefined;
  try {
    const centroids = alloc(k * dim * 4);
    first.forEach((row, cell) => {
      kernels.f32(centroids + cell * dim * 4, dim).set(kernels.f32(vectors + row * dim * 4, dim));
    });
    assigner = new CellAssigner(kernels, kernels.f32(centroids, k * dim).slice(), dim);
    const space = { centroids, cells: alloc(n * 4), sums: alloc(k * dim * 8), counts: alloc(k * 4) };
    await lloydRounds(kernels, assigner, space, options);
    options.onProgress?.({ done: iterations * n, total: iterations * n });
    return kernels.f32(centroids, k * dim).slice();
  } finally {
    assigner?.free();
    for (const pointer of owned) kernels.free(pointer);
  }
}

/** Addresses of what the rounds work on. */
interface Space {
  /** k × dim f32. */
  centroids: number;
  /** u32 × n. */
  cells: number;
  /** k × dim f64. */
  sums: number;
  /** u32 × k. */
  counts: number;
}

async function lloydRounds(
  kernels: Kernels,
  assigner: CellAssigner,
  space: Space,
  options: TrainingOptions,
): Promise<void> {
  const { exports } = kernels;
  const { vectors, n, dim, k, iterations, onProgress } = options;
  const step = rowsPerSlice(k, dim);
  let turn = performance.now();
  for (let round = 0; round < iterations; round++) {
    kernels.bytes(space.sums, k * dim * 8).fill(0);
    kernels.bytes(space.counts, k * 4).fill(0);
    for (let row = 0; row < n; row += step) {
      const count = Math.min(step, n - row);
      const y = vectors + row * dim * 4;
      const cells = space.cells + row * 4;
      assigner.assign(y, count, cells);
      exports.addToCells(y, count, dim, cells, space.sums, space.counts);
      if (performance.now() - turn < TURN_MS) continue;
      onProgress?.({ done: round * n + row + count, total: iterations * n });
      await new Promise((resolve) => setTimeout(resolve, 0));
      turn = performance.now();
    }
    exports.moveCentroids(space.sums, space.counts, k, dim, space.centroids);
    assigner.load(space.centroids);
  }
}

/** A multiple of the kernel's tile where that is short enough, else of a pair. */
function rowsPerSlice(k: number, dim: number): number {
  const rows = SLICE_PRODUCTS / (k * dim);
  return rows >= TILE ? Math.floor(rows / TILE) * TILE : Math.max(2, 2 * Math.floor(rows / 2));
}

function packedBytes(k: number, dim: number): number {
  return Math.ceil(k / 16) * (dim + 1) * 64;
}

function checkOptions(kernels: Kernels, { vectors, n, dim, k, iterations, seed }: TrainingOptions): void {
  if (!Number.isInteger(dim) || dim < 1 || dim > MAX_DIM) throw invalid("dim", dim, `1…${MAX_DIM}`);
  if (!Number.isInteger(n) || n < 1) throw invalid("n", n, "at least one vector");
  if (!Number.isInteger(k) || k < 1 || k > n) throw invalid("k", k, `1…${n}, the number of vectors`);
  if (!Number.isInteger(iterations) || iterations < 0)
    throw invalid("iterations", iterations, "a whole number, 0 or more");
  if (seed.length !== SEED_BYTES) throw invalid("seed", seed.length, `${SEED_BYTES} bytes`);
  const bad = kernels.checkFinite(vectors, n * dim);
  if (bad >= 0) throw invalid(`vectors[${bad}]`, kernels.f32(vectors + bad * 4, 1)[0], "a finite number");
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "no k-means like this", { field, found, expected });
}
