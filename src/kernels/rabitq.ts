import { DreamDBError } from "../errors.ts";
import type { Kernels } from "./kernels.ts";
import type { Rotation } from "./rotation.ts";

export { paddedDim } from "./rotation.ts";

/** What scores mean: cosine and dot are greater for better, l2 is a distance. */
export type Metric = "cosine" | "dot" | "l2";

const MAX_BITS = 8;
/** Rotated values kept at a time: what the second-level cache holds beside the rotation. */
const TILE_VALUES = 16_384;
const MAX_TILE = 64;

/** Bytes of the code of one row: `bits` planes of padded/8 bytes, and the factors. */
export function codeBytes(padded: number, bits: number): number {
  return (bits * padded) / 8 + (bits === 1 ? 8 : 16);
}

/** Makes codes of rows in index space. */
export interface Encoder {
  /** The codes of n × dim f32 at `y`, in the cells (u32 × n) at `cells`, to `out`. */
  encode(y: number, n: number, cells: number, out: number): void;
  free(): void;
}

/**
 * Makes RaBitQ codes of rows in index space, holding the rotated centroids in the compute core's memory until `free`.
 * The rotation stays the caller's. Source: the spec of RaBitQ codes, after Gao and Long (SIGMOD 2024 and 2025).
 */
export class RabitqEncoder implements Encoder {
  /** Bytes of one row's code. */
  readonly codeBytes: number;
  private readonly kernels: Kernels;
  private readonly rotation: Rotation;
  private readonly bits: number;
  private readonly squares: number;
  private readonly tile: number;
  private centroids: number;

  /**
   * @param options.centroids k × dim values
   * @throws DreamDBError InvalidArgument (bits not in 1…8, centroids), OutOfMemory
   */
  constructor(
    kernels: Kernels,
    options: { rotation: Rotation; centroids: Float32Array; bits: number; metric: Metric },
  ) {
    const { rotation, centroids, bits, metric } = options;
    if (!Number.isInteger(bits) || bits < 1 || bits > MAX_BITS) throw invalid("bits", bits, `1…${MAX_BITS}`);
    if (centroids.length === 0 || centroids.length % rotation.dim !== 0)
      throw invalid("centroids", centroids.length, `k × ${rotation.dim} values`);
    this.kernels = kernels;
    this.rotation = rotation;
    this.bits = bits;
    this.squares = metric === "l2" ? 1 : 0;
    this.codeBytes = codeBytes(rotation.padded, bits);
    this.tile = Math.min(MAX_TILE, Math.max(2, 2 * Math.floor(TILE_VALUES / rotation.padded / 2)));
    this.centroids = rotated(kernels, rotation, centroids);
  }

  /**
   * The codes (n × codeBytes) of n × dim f32 at `y`, in the cells (u32 × n) at `cells`, to `out`.
   * @throws DreamDBError OutOfMemory, InvalidArgument after `free`
   */
  encode(y: number, n: number, cells: number, out: number): void {
    const { kernels, rotation, bits, squares, tile } = this;
    if (this.centroids === 0) throw invalid("encoder", "freed", "an encoder in use");
    const { dim, padded, code, table } = rotation;
    const scratch = kernels.alloc(kernels.exports.rabitqScratchBytes(padded, tile));
    const { centroids } = this;
    kernels.exports.rabitqEncode(
      y,
      n,
      dim,
      cells,
      centroids,
      code,
      table,
      padded,
      bits,
      squares,
      out,
      scratch,
      tile,
    );
    kernels.free(scratch);
  }

  /** Gives the memory back; once is enough, more is harmless. */
  free(): void {
    if (this.centroids !== 0) this.kernels.free(this.centroids);
    this.centroids = 0;
  }
}

/**
 * n × dim f32 at `x` as vectors of the index, to `out`, which may be `x`: brought to length 1 for cosine (f32(x · inv),
 * inv as `rowInvNorms` gives it), times 2^−exponent for dot and l2.
 * @throws DreamDBError InvalidArgument (exponent), OutOfMemory
 */
export function toIndexSpace(
  kernels: Kernels,
  metric: Metric,
  exponent: number,
  x: number,
  n: number,
  dim: number,
  out: number,
): void {
  if (metric !== "cosine") {
    // f32 reaches from 2^−149 to 2^128: beyond ±300 nothing would be left of any value.
    if (!Number.isInteger(exponent) || Math.abs(exponent) > 300)
      throw invalid("exponent", exponent, "a whole number, −300…300");
    kernels.exports.scaleValues(x, n * dim, 2 ** -exponent, out);
    return;
  }
  const norms = kernels.alloc(n * 4);
  kernels.rowInvNorms(x, n, dim, norms);
  kernels.exports.scaleRows(x, norms, n, dim, out);
  kernels.free(norms);
}

/** A block of k × padded f32. */
function rotated(kernels: Kernels, rotation: Rotation, centroids: Float32Array): number {
  const k = centroids.length / rotation.dim;
  const rows = kernels.copyIn(centroids);
  try {
    const out = kernels.alloc(k * rotation.padded * 4);
    rotation.rotate(rows, k, out);
    return out;
  } finally {
    kernels.free(rows);
  }
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "no codes like this", { field, found, expected });
}
