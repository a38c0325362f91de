import { DreamDBError } from "../errors.ts";
import type { Kernels } from "./kernels.ts";

/** Cell numbers are u32; margins take any number of planes. */
const MAX_CELL_BITS = 32;
const MAX_BITS = 4096;
const MAX_DIM = 65536;
const SEED_BYTES = 32;

/** The hyperplanes of one hash table in the compute core's memory, until `free`. Source: FORMAT, dreamdb.lsh-cosine. */
export class LshPlanes {
  readonly dim: number;
  readonly bits: number;
  private readonly kernels: Kernels;
  private pointer: number;

  constructor(kernels: Kernels, seed: Uint8Array, dim: number, bits: number, table: number) {
    if (seed.length !== SEED_BYTES) throw invalid("seed", seed.length, `${SEED_BYTES} bytes`);
    if (!Number.isInteger(dim) || dim < 1 || dim > MAX_DIM) throw invalid("dim", dim, `1…${MAX_DIM}`);
    if (!Number.isInteger(bits) || bits < 1 || bits > MAX_BITS) throw invalid("bits", bits, `1…${MAX_BITS}`);
    this.kernels = kernels;
    this.dim = dim;
    this.bits = bits;
    this.pointer = draw(kernels, seed, dim, bits, table);
  }

  /** Address of the planes, in the layout of assembly/lsh.ts. @throws DreamDBError InvalidArgument after `free` */
  get ptr(): number {
    if (this.pointer !== 0) return this.pointer;
    throw invalid("planes", "freed", "planes in use");
  }

  /**
   * Cell number of each of n × dim f32 at `x`: bit j is set when the margin of plane j is at least 0.
   * @throws DreamDBError InvalidArgument (more than 32 bits), OutOfMemory
   */
  cells(x: number, n: number): Uint32Array {
    const { kernels, dim, bits, ptr } = this;
    if (bits > MAX_CELL_BITS) throw invalid("bits", bits, `1…${MAX_CELL_BITS} for cell numbers`);
    const out = kernels.alloc(n * 4);
    try {
      kernels.exports.lshCells(x, n, dim, ptr, bits, out);
      return kernels.u32(out, n).slice();
    } finally {
      kernels.free(out);
    }
  }

  /** The query's (dim values) dot product with each plane, f32 × bits. @throws DreamDBError InvalidArgument, OutOfMemory */
  margins(query: ArrayLike<number>): Float32Array {
    const { kernels, dim, bits } = this;
    if (query.length !== dim) throw invalid("query", query.length, `${dim} values`);
    const x = kernels.alloc((dim + bits) * 4);
    try {
      kernels.f32(x, dim).set(query);
      this.marginsOf(x, 1, x + dim * 4);
      return kernels.f32(x + dim * 4, bits).slice();
    } finally {
      kernels.free(x);
    }
  }

  /** The margins of n × dim f32 at `x` to `out`, f32 n × bits. */
  marginsOf(x: number, n: number, out: number): void {
    this.kernels.exports.lshMargins(x, n, this.dim, this.ptr, this.bits, out);
  }

  /** Gives the memory back; once is enough, more is harmless. */
  free(): void {
    if (this.pointer !== 0) this.kernels.free(this.pointer);
    this.pointer = 0;
  }
}

function draw(kernels: Kernels, seed: Uint8Array, dim: number, bits: number, table: number): number {
  const { exports } = kernels;
  const planes = kernels.alloc(exports.lshPlanesBytes(dim, bits));
  try {
    const scratch = kernels.alloc(SEED_BYTES + exports.lshScratchBytes(dim));
    kernels.bytes(scratch, SEED_BYTES).set(seed);
    exports.lshPlanes(scratch, table, dim, bits, planes, scratch + SEED_BYTES);
    kernels.free(scratch);
    return planes;
  } catch (error) {
    kernels.free(planes);
    throw error;
  }
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "the hyperplanes can't be used like this", {
    field,
    found,
    expected,
  });
}
