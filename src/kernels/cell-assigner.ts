import { DreamDBError } from "../errors.ts";
import type { Kernels } from "./kernels.ts";

export const MAX_DIM = 65_536;
/** Where the filter before the scores of cells pays; beyond the greatest dim its tile of rows takes too much room. */
const FILTERED_CELLS = 128;
const FILTERED_DIM = 32;
const FILTERED_DIM_MAX = 4096;

/**
 * Finds the cell of a vector among k centroids, which it holds in the compute core's memory until `free`:
 * the greatest f32(⟨y,c⟩ − ½|c|²), equal scores to the lowest cell. Source: the spec of the spatial index.
 */
export class CellAssigner {
  readonly cells: number;
  readonly dim: number;
  private readonly kernels: Kernels;
  private pointer: number;
  /** Of the filter that comes before the scores; 0 where it would not pay. */
  private filter = 0;

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
      if (filterPays(kernels, this.cells, dim))
        this.filter = kernels.alloc(kernels.exports.cellFilterBytes(this.cells, dim));
      this.load(rows);
    } catch (error) {
      this.free();
      throw error;
    } finally {
      kernels.free(rows);
    }
  }

  /** Takes other centroids, k × dim f32 at `rows`, in place of those it has. */
  load(rows: number): void {
    const { exports } = this.kernels;
    exports.packCells(rows, this.cells, this.dim, this.packed);
    if (this.filter !== 0) exports.packCellFilter(this.packed, this.cells, this.dim, this.filter);
  }

  /** The cells (u32 × n) of n × dim f32 at `y`, to `cells`. */
  assign(y: number, n: number, cells: number): void {
    const { exports } = this.kernels;
    if (this.filter === 0) exports.assignCells(y, n, this.dim, this.packed, this.cells, cells);
    else exports.assignFiltered(y, n, this.dim, this.packed, this.filter, this.cells, cells);
  }

  /** Gives the memory back; once is enough, more is harmless. */
  free(): void {
    for (const pointer of [this.pointer, this.filter]) if (pointer !== 0) this.kernels.free(pointer);
    this.pointer = 0;
    this.filter = 0;
  }

  private get packed(): number {
    if (this.pointer !== 0) return this.pointer;
    throw invalid("assigner", "freed", "an assigner in use");
  }
}

function packedBytes(k: number, dim: number): number {
  return Math.ceil(k / 16) * (dim + 1) * 64;
}

function filterPays(kernels: Kernels, k: number, dim: number): boolean {
  return kernels.mode === "simd" && k >= FILTERED_CELLS && dim >= FILTERED_DIM && dim <= FILTERED_DIM_MAX;
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "no cells like this", { field, found, expected });
}
