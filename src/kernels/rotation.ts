import { DreamDBError } from "../errors.ts";
import type { Kernels } from "./kernels.ts";

export type RotationKind = "dense" | "hadamard";

const MAX_DIM = 65_536;
/** Up to here a whole matrix costs less than four Hadamard rounds over the next power of two. */
const MAX_DENSE_DIM = 128;
const SEED_BYTES = 32;

/** The kind of rotation that vectors of `dim` components have. */
export function rotationKind(dim: number): RotationKind {
  return dim <= MAX_DENSE_DIM ? "dense" : "hadamard";
}

/** Components of a rotated vector: dim rounded up to a multiple of 16 (dense) or 64 (hadamard). */
export function paddedDim(dim: number): number {
  const unit = rotationKind(dim) === "dense" ? 16 : 64;
  return Math.ceil(dim / unit) * unit;
}

/**
 * A random rotation of dim components into D, drawn from a seed, in the compute core's memory until `free`.
 * Lengths and inner products stay what they were, but for rounding. Source: the spec of RaBitQ codes.
 */
export class Rotation {
  readonly kind: RotationKind;
  readonly dim: number;
  readonly padded: number;
  private readonly kernels: Kernels;
  private pointer: number;

  /** @throws DreamDBError InvalidArgument (dim, kind or padded that don't belong together, seed), OutOfMemory */
  constructor(
    kernels: Kernels,
    options: { kind: RotationKind; dim: number; padded: number; seed: Uint8Array },
  ) {
    const { kind, dim, padded, seed } = options;
    if (!Number.isInteger(dim) || dim < 1 || dim > MAX_DIM) throw invalid("dim", dim, `1…${MAX_DIM}`);
    if (kind !== rotationKind(dim)) throw invalid("kind", kind, rotationKind(dim));
    if (padded !== paddedDim(dim)) throw invalid("padded", padded, paddedDim(dim));
    if (seed.length !== SEED_BYTES) throw invalid("seed", seed.length, `${SEED_BYTES} bytes`);
    this.kernels = kernels;
    this.kind = kind;
    this.dim = dim;
    this.padded = padded;
    this.pointer = draw(kernels, this.code, dim, padded, seed);
  }

  /** Address of the table, in the layout of assembly/rotation.ts. @throws DreamDBError InvalidArgument after `free` */
  get table(): number {
    if (this.pointer !== 0) return this.pointer;
    throw invalid("rotation", "freed", "a rotation in use");
  }

  /** The kind as the kernels number it. */
  get code(): number {
    return this.kind === "dense" ? 0 : 1;
  }

  /** n × dim f32 at `y` become n × padded f32 at `out`, which must not overlap. */
  rotate(y: number, n: number, out: number): void {
    this.kernels.exports.rotate(this.code, this.table, this.dim, this.padded, y, n, out);
  }

  /** Gives the memory back; once is enough, more is harmless. */
  free(): void {
    if (this.pointer !== 0) this.kernels.free(this.pointer);
    this.pointer = 0;
  }
}

function draw(kernels: Kernels, kind: number, dim: number, padded: number, seed: Uint8Array): number {
  const { exports } = kernels;
  const table = kernels.alloc(exports.rotationBytes(kind, dim, padded));
  try {
    const scratch = kernels.alloc(SEED_BYTES + exports.rotationScratchBytes(kind, dim, padded));
    kernels.bytes(scratch, SEED_BYTES).set(seed);
    exports.rotationTable(kind, scratch, dim, padded, table, scratch + SEED_BYTES);
    kernels.free(scratch);
    return table;
  } catch (error) {
    kernels.free(table);
    throw error;
  }
}

function invalid(field: string, found: unknown, expected: unknown): DreamDBError {
  return new DreamDBError("InvalidArgument", "no such rotation", { field, found, expected });
}
