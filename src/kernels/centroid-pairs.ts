import { CellAssigner } from "./cell-assigner.ts";
import type { Kernels } from "./kernels.ts";
import type { Encoder } from "./rabitq.ts";

/** The centroids of the first half of the components, and those of the second: a cell is a pair of them. */
export interface Codebooks {
  /** Values of all centroids, those of the first half before those of the second. */
  values: Float32Array;
  /** Centroids for each half, and components of one. */
  sizes: readonly [number, number];
  halves: readonly [number, number];
}

/** The centroids (cells × dim) of the cells of n rows, each once, and the place of each row's among them. */
export function centroidsOfRows(
  books: Codebooks,
  cells: Uint32Array,
): { centroids: Float32Array; places: Uint32Array } {
  const dim = books.halves[0] + books.halves[1];
  const found = new Map<number, number>();
  const places = cells.map((cell) => {
    if (!found.has(cell)) found.set(cell, found.size);
    return found.get(cell) as number;
  });
  const centroids = new Float32Array(found.size * dim);
  for (const [cell, place] of found) copyCentroid(books, cell, centroids, place * dim);
  return { centroids, places };
}

/** Writes the centroid of a cell, both halves, to `out` from `at` on. */
function copyCentroid(
  { values, sizes, halves }: Codebooks,
  cell: number,
  out: Float32Array,
  at: number,
): void {
  const [first, second] = [Math.floor(cell / sizes[1]), cell % sizes[1]];
  const start = sizes[0] * halves[0] + second * halves[1];
  out.set(values.subarray(first * halves[0], (first + 1) * halves[0]), at);
  out.set(values.subarray(start, start + halves[1]), at + halves[0]);
}

/** The centroids of all cells, cells × dim: each of the first codebook with each of the second. */
export function allPairs(books: Codebooks): Float32Array {
  const { sizes, halves } = books;
  const dim = halves[0] + halves[1];
  const cells = sizes[0] * sizes[1];
  const out = new Float32Array(cells * dim);
  for (let cell = 0; cell < cells; cell++) copyCentroid(books, cell, out, cell * dim);
  return out;
}

/** Copies the halves of n × dim f32 at `y` to `first` and `second`, n rows of each half's components. */
export function splitHalves(
  kernels: Kernels,
  y: number,
  n: number,
  [left, right]: readonly [number, number],
  first: number,
  second: number,
): void {
  const dim = left + right;
  const rows = kernels.f32(y, n * dim);
  const lefts = kernels.f32(first, n * left);
  const rights = kernels.f32(second, n * right);
  for (let row = 0; row < n; row++) {
    const at = row * dim;
    lefts.set(rows.subarray(at, at + left), row * left);
    rights.set(rows.subarray(at + left, at + dim), row * right);
  }
}

/** Finds the cell of a vector: the pair of its halves' own cells. Memory is held until `free`. */
export class PairAssigner {
  private readonly kernels: Kernels;
  private readonly books: Codebooks;
  private readonly first: CellAssigner;
  private readonly second: CellAssigner;

  /** @throws DreamDBError as CellAssigner */
  constructor(kernels: Kernels, books: Codebooks) {
    const { values, sizes, halves } = books;
    const end = sizes[0] * halves[0];
    this.kernels = kernels;
    this.books = books;
    this.first = new CellAssigner(kernels, values.subarray(0, end), halves[0]);
    try {
      this.second = new CellAssigner(kernels, values.subarray(end), halves[1]);
    } catch (error) {
      this.first.free();
      throw error;
    }
  }

  /** The cells (u32 × n) of n × dim f32 at `y`, to `cells`. @throws DreamDBError OutOfMemory */
  assign(y: number, n: number, cells: number): void {
    const { kernels, books } = this;
    const [left, right] = books.halves;
    const block = kernels.alloc(n * 4 * (left + right + 1));
    const rights = block + n * 4 * left;
    const seconds = rights + n * 4 * right;
    try {
      splitHalves(kernels, y, n, books.halves, block, rights);
      this.first.assign(block, n, cells);
      this.second.assign(rights, n, seconds);
      const out = kernels.u32(cells, n);
      kernels.u32(seconds, n).forEach((second, row) => {
        out[row] = (out[row] as number) * books.sizes[1] + second;
      });
    } finally {
      kernels.free(block);
    }
  }

  free(): void {
    this.first.free();
    this.second.free();
  }
}

/**
 * Makes codes relative to centroids of pairs. There may be far more pairs than rows, so that a centroid is put
 * together, and an encoder made for it, when a row of its cell comes up.
 */
export class PairEncoder implements Encoder {
  private readonly kernels: Kernels;
  private readonly books: Codebooks;
  private readonly encoderFor: (centroids: Float32Array) => Encoder;

  constructor(kernels: Kernels, books: Codebooks, encoderFor: (centroids: Float32Array) => Encoder) {
    this.kernels = kernels;
    this.books = books;
    this.encoderFor = encoderFor;
  }

  /** As `RabitqEncoder.encode`. */
  encode(y: number, n: number, cells: number, out: number): void {
    const { kernels, books } = this;
    const { centroids, places } = centroidsOfRows(books, kernels.u32(cells, n));
    const encoder = this.encoderFor(centroids);
    let renumbered = 0;
    try {
      renumbered = kernels.copyIn(places);
      encoder.encode(y, n, renumbered, out);
    } finally {
      if (renumbered !== 0) kernels.free(renumbered);
      encoder.free();
    }
  }

  free(): void {}
}
