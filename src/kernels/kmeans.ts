import { DreamDBError } from "../errors.ts";
import { CellAssigner, MAX_DIM } from "./cell-assigner.ts";
import type { Kernels } from "./kernels.ts";

const SEED_BYTES = 32;
/** "KMSA" and "KMSH": nonces that tell the draws of the sample and of the shuffle from other uses of a seed. */
const SAMPLE_NONCE = 0x4b4d5341;
const SHUFFLE_NONCE = 0x4b4d5348;
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

/** Finds the cells of training rows somewhere else, such as on other threads. */
export interface CellFinder {
  /** The most rows of a piece. */
  readonly pieceRows: number;
  /**
   * The cells, by centroids (k × dim), of `rows` rows of the order from place `first` on and round its end: a piece after
   * the other, in order, the same as `CellAssigner` gives.
   */
  cellsOf(centroids: Float32Array, first: number, rows: number): AsyncIterable<Uint32Array>;
  free(): void;
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
  /** Makes what finds cells, given the order in which rows are looked at. Default: this thread finds them. */
  finder?: ((order: Uint32Array) => Promise<CellFinder>) | undefined;
}

/**
 * `count` different rows of `total`, ascending and spread over all: row i is drawn, by the seed, from the i-th of
 * `count` equal parts. The sample of rows to train on.
 * @throws DreamDBError InvalidArgument (count not in 0…total, seed), OutOfMemory
 */
export function sampleRows(kernels: Kernels, seed: Uint8Array, total: number, count: number): Float64Array {
  if (!Number.isSafeInteger(total) || total < 0) throw invalid("total", total, "a number of rows");
  if (!Number.isInteger(count) || count < 0 || count > total) throw invalid("count", count, `0…${total}`);
  if (seed.length !== SEED_BYTES) throw invalid("seed", seed.length, `${SEED_BYTES} bytes`);
  return Float64Array.from(draws(kernels, seed, SAMPLE_NONCE, count), (draw, i) => {
    const first = Math.floor((i * total) / count);
    const past = Math.floor(((i + 1) * total) / count);
    return first + Math.floor(((past - first) * draw) / 2 ** 32);
  });
}

/** The rows 0…n − 1 in an order drawn by the seed (Fisher and Yates, from the last place down). */
function shuffledRows(kernels: Kernels, seed: Uint8Array, n: number): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, row) => row);
  const drawn = draws(kernels, seed, SHUFFLE_NONCE, n);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(((i + 1) * (drawn[i] as number)) / 2 ** 32);
    const row = order[i] as number;
    order[i] = order[j] as number;
    order[j] = row;
  }
  return order;
}

/** `count` u32 of the seed's keystream under a nonce. */
function draws(kernels: Kernels, seed: Uint8Array, nonceWord: number, count: number): Uint32Array {
  const blocks = Math.ceil(count / 16);
  const at = kernels.alloc(64 + blocks * 64);
  try {
    kernels.bytes(at, SEED_BYTES).set(seed);
    kernels.u32(at + SEED_BYTES, 3).set([nonceWord, 0, 0]);
    kernels.exports.keystream(at, at + SEED_BYTES, 0, at + 64, blocks);
    return kernels.u32(at + 64, count).slice();
  } finally {
    kernels.free(at);
  }
}

/**
 * k centroids (k × dim) of n vectors by Lloyd's rounds, the same bits on every engine. Starts from k rows drawn by the
 * seed; a cell that ends a round empty takes half of the largest. Early rounds look at fewer rows, see
 * `rowsOfRounds`. Lets other work run every 40 ms or so.
 * @throws DreamDBError InvalidArgument (k = 0, k > n, iterations, dim, seed, a value not finite), OutOfMemory
 */
export async function trainKmeans(kernels: Kernels, options: TrainingOptions): Promise<Float32Array> {
  checkOptions(kernels, options);
  const { vectors, n, dim, k, iterations, seed, onProgress } = options;
  const rounds = rowsOfRounds(n, k, iterations);
  const total = rounds.reduce((sum, rows) => sum + rows, 0);
  const order = shuffledRows(kernels, seed, n);
  const owned: number[] = [];
  const alloc = (bytes: number): number => {
    owned.push(kernels.alloc(bytes));
    return owned.at(-1) as number;
  };
  let assigner: CellAssigner | undefined;
  let finder: CellFinder | undefined;
  try {
    finder = await options.finder?.(order);
    const centroids = alloc(k * dim * 4);
    order.subarray(0, k).forEach((row, cell) => {
      kernels.f32(centroids + cell * dim * 4, dim).set(kernels.f32(vectors + row * dim * 4, dim));
    });
    assigner = new CellAssigner(kernels, kernels.f32(centroids, k * dim).slice(), dim);
    const slice = Math.min(finder?.pieceRows ?? rowsPerSlice(k, dim), n);
    const space: Space = {
      slice,
      rows: alloc(slice * dim * 4),
      index: alloc(slice * 4),
      cells: alloc(slice * 4),
      sums: alloc(k * dim * 8),
      counts: alloc(k * 4),
      centroids,
    };
    const turns = new Turns(total, onProgress);
    let next = k;
    for (const rows of rounds) {
      const round = { order, first: next % n, rows, finder };
      await lloydRound(kernels, assigner, space, options, round, turns);
      next += rows;
    }
    onProgress?.({ done: total, total });
    return kernels.f32(centroids, k * dim).slice();
  } finally {
    finder?.free();
    assigner?.free();
    for (const pointer of owned) kernels.free(pointer);
  }
}

/**
 * How many of n rows each round looks at. The last takes all; the two before it half, the two before those a
 * quarter, and so on, but never fewer than four rows a centroid. Early rounds only spread the centroids, and over
 * other rows each time they leave no centroid behind on a row that is its own only member.
 * On the word vectors (64 rows a centroid, 1,024 cells) eight such rounds cost as much as three over all rows and end
 * with residuals as short as ten over all rows leave (mean |r|² .592 and .591), in cells more even (Σ n²·k/N² 1.14
 * instead of 1.51).
 */
export function rowsOfRounds(n: number, k: number, iterations: number): number[] {
  const fewest = Math.min(n, 4 * k);
  return Array.from({ length: iterations }, (_, round) => {
    const halvings = Math.ceil((iterations - 1 - round) / 2);
    return Math.max(fewest, Math.ceil(n / 2 ** halvings));
  });
}

/** Addresses of what a round works on. */
interface Space {
  /** Rows taken at a time. */
  slice: number;
  /** slice × dim f32. */
  rows: number;
  /** u32 × slice: which rows those are. */
  index: number;
  /** u32 × slice. */
  cells: number;
  /** k × dim f64. */
  sums: number;
  /** u32 × k. */
  counts: number;
  /** k × dim f32. */
  centroids: number;
}

/** What a round looks at: `rows` of the shuffled rows, from place `first` on and round the end. */
interface Round {
  order: Uint32Array;
  first: number;
  rows: number;
  finder: CellFinder | undefined;
}

/** One of Lloyd's rounds: the nearest centroid of each row, then all centroids to the means of theirs. */
async function lloydRound(
  kernels: Kernels,
  assigner: CellAssigner,
  space: Space,
  { vectors, dim, k }: TrainingOptions,
  round: Round,
  turns: Turns,
): Promise<void> {
  const { exports } = kernels;
  const { order, first, finder } = round;
  kernels.bytes(space.sums, k * dim * 8).fill(0);
  kernels.bytes(space.counts, k * 4).fill(0);
  /** Gathers rows; their cells are those given, or are found here. Sums are made in the order of the rows, always. */
  const add = async (row: number, count: number, cells?: Uint32Array): Promise<void> => {
    const index = kernels.u32(space.index, count);
    for (let i = 0; i < count; i++) index[i] = order[(first + row + i) % order.length] as number;
    kernels.gatherRows(vectors, dim * 4, space.index, count, space.rows);
    if (cells === undefined) assigner.assign(space.rows, count, space.cells);
    else kernels.u32(space.cells, count).set(cells);
    exports.addToCells(space.rows, count, dim, space.cells, space.sums, space.counts);
    await turns.give(count);
  };
  if (finder === undefined) {
    for (let row = 0; row < round.rows; row += space.slice)
      await add(row, Math.min(space.slice, round.rows - row));
  } else {
    let row = 0;
    for await (const cells of finder.cellsOf(
      kernels.f32(space.centroids, k * dim).slice(),
      first,
      round.rows,
    )) {
      await add(row, cells.length, cells);
      row += cells.length;
    }
  }
  exports.moveCentroids(space.sums, space.counts, k, dim, space.centroids);
  assigner.load(space.centroids);
}

/** Counts what is done, and lets other work run when it is time. */
class Turns {
  private readonly total: number;
  private readonly tell: TrainingOptions["onProgress"];
  private done = 0;
  private last = performance.now();

  constructor(total: number, tell: TrainingOptions["onProgress"]) {
    this.total = total;
    this.tell = tell;
  }

  async give(rows: number): Promise<void> {
    this.done += rows;
    if (performance.now() - this.last < TURN_MS) return;
    this.tell?.({ done: this.done, total: this.total });
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.last = performance.now();
  }
}

/** A multiple of the kernel's tile where that is short enough, else of a pair. */
export function rowsPerSlice(k: number, dim: number): number {
  const rows = SLICE_PRODUCTS / (k * dim);
  return rows >= TILE ? Math.floor(rows / TILE) * TILE : Math.max(2, 2 * Math.floor(rows / 2));
}

/** Whether assigning is faster with the filter; the cells are the same. */
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
