import { CellAssigner } from "../kernels/cell-assigner.ts";
import type { Kernels } from "../kernels/kernels.ts";

/** A worker's rows of a training sample, in its compute core until `free`, and the centroids of the round. */
export class SampleShare {
  private readonly kernels: Kernels;
  private readonly dim: number;
  private readonly vectors: number;
  private found = 0;
  private assigner: CellAssigner | undefined;

  /** @throws DreamDBError OutOfMemory */
  constructor(kernels: Kernels, { rows, dim }: { rows: number; dim: number }) {
    this.kernels = kernels;
    this.dim = dim;
    this.vectors = kernels.alloc(rows * dim * 4);
    try {
      this.found = kernels.alloc(rows * 4);
    } catch (error) {
      kernels.free(this.vectors);
      throw error;
    }
  }

  fill(at: number, vectors: Float32Array): void {
    this.kernels.f32(this.vectors + at * this.dim * 4, vectors.length).set(vectors);
  }

  aim(centroids: Float32Array): void {
    const { kernels } = this;
    if (this.assigner === undefined) {
      this.assigner = new CellAssigner(kernels, centroids, this.dim);
      return;
    }
    const rows = kernels.copyIn(centroids);
    this.assigner.load(rows);
    kernels.free(rows);
  }

  /** The cells of `rows` rows from `first` on. */
  assign(first: number, rows: number): Uint32Array {
    const { kernels, dim, vectors, found } = this;
    this.assigner?.assign(vectors + first * dim * 4, rows, found);
    return kernels.u32(found, rows).slice();
  }

  free(): void {
    this.assigner?.free();
    this.kernels.free(this.vectors);
    this.kernels.free(this.found);
  }
}
