import { DreamDBError } from "../errors.ts";
import type { Kernels } from "./kernels.ts";
import type { Encoder, Metric } from "./rabitq.ts";

const MAX_DIM = 65_536;
/** The byte tables of a scan add up in u16. */
export const MAX_SUBSPACES = 1024;

/** How vectors are cut: dim coordinates in `subspaces` contiguous parts, 2^bits codewords each. */
export interface PqShape {
  dim: number;
  /** 1…min(dim, 1024); the first dim mod subspaces are one coordinate longer. */
  subspaces: number;
  bits: 4 | 8;
}

/** Bytes of one row's code: a byte or a nibble a subspace, and f32 ½|ŷ|² for l2, ŷ what the code stands for. */
export function pqCodeBytes({ subspaces, bits }: PqShape, metric: Metric): number {
  return (bits === 8 ? subspaces : Math.ceil(subspaces / 2)) + (metric === "l2" ? 4 : 0);
}

/** The first coordinate and the width of each subspace. */
export function pqParts({ dim, subspaces }: PqShape): { from: number; width: number }[] {
  const [narrow, longer] = [Math.floor(dim / subspaces), dim % subspaces];
  return Array.from({ length: subspaces }, (_, s) => ({
    from: s * narrow + Math.min(s, longer),
    width: narrow + (s < longer ? 1 : 0),
  }));
}

/** Codebooks, as `trainPq` gives them, in the compute core's memory until `free`. */
export class PqCodebooks {
  readonly shape: PqShape;
  private readonly kernels: Kernels;
  private pointer: number;

  /** @throws DreamDBError InvalidArgument (shape, codebooks not 2^bits × dim values), OutOfMemory */
  constructor(kernels: Kernels, shape: PqShape, codebooks: Float32Array) {
    checkShape(shape);
    const { dim, bits } = shape;
    if (codebooks.length !== 2 ** bits * dim)
      throw invalid("codebooks", codebooks.length, `${2 ** bits * dim} values`);
    this.kernels = kernels;
    this.shape = { dim, subspaces: shape.subspaces, bits };
    this.pointer = pack(kernels, this.shape, codebooks);
  }

  /** Address of the packed codebooks. @throws DreamDBError InvalidArgument after `free` */
  get ptr(): number {
    if (this.pointer !== 0) return this.pointer;
    throw invalid("codebooks", "freed", "codebooks in use");
  }

  /** The inner products of the query (dim f32 at `query`) with all codewords, to `table`: subspaces × 2^bits f32. */
  table(query: number, table: number): void {
    const { dim, subspaces, bits } = this.shape;
    this.kernels.exports.pqTable(query, dim, this.ptr, subspaces, bits, table);
  }

  /** Gives the memory back; once is enough, more is harmless. */
  free(): void {
    if (this.pointer !== 0) this.kernels.free(this.pointer);
    this.pointer = 0;
  }
}

/** Makes codes of rows in index space. Holds the centroids until `free`; the codebooks stay the caller's. */
export class PqEncoder implements Encoder {
  /** Bytes of one row's code. */
  readonly codeBytes: number;
  private readonly kernels: Kernels;
  private readonly codebooks: PqCodebooks;
  private readonly squares: number;
  private centroids: number;

  /** @throws DreamDBError InvalidArgument (centroids not k × dim values), OutOfMemory */
  constructor(
    kernels: Kernels,
    options: { codebooks: PqCodebooks; centroids: Float32Array; metric: Metric },
  ) {
    const { codebooks, centroids, metric } = options;
    const { dim } = codebooks.shape;
    if (centroids.length === 0 || centroids.length % dim !== 0)
      throw invalid("centroids", centroids.length, `k × ${dim} values`);
    this.kernels = kernels;
    this.codebooks = codebooks;
    this.squares = metric === "l2" ? 1 : 0;
    this.codeBytes = pqCodeBytes(codebooks.shape, metric);
    this.centroids = kernels.copyIn(centroids);
  }

  /**
   * The codes (n × codeBytes) of n × dim f32 at `y`, in the cells (u32 × n) at `cells`, to `out`.
   * @throws DreamDBError OutOfMemory, InvalidArgument after `free`
   */
  encode(y: number, n: number, cells: number, out: number): void {
    const { kernels, codebooks, centroids, squares, codeBytes } = this;
    if (centroids === 0) throw invalid("encoder", "freed", "an encoder in use");
    const { dim, subspaces, bits } = codebooks.shape;
    const { ptr } = codebooks;
    const scratch = kernels.alloc(kernels.exports.pqScratchBytes(dim));
    kernels.exports.pqEncode(
      y,
      n,
      dim,
      cells,
      centroids,
      ptr,
      subspaces,
      bits,
      squares,
      out,
      codeBytes,
      scratch,
    );
    kernels.free(scratch);
  }

  /** Gives the memory back; once is enough, more is harmless. */
  free(): void {
    if (this.centroids !== 0) this.kernels.free(this.centroids);
    this.centroids = 0;
  }
}

function pack(kernels: Kernels, shape: PqShape, codebooks: Float32Array): number {
  const k = 2 ** shape.bits;
  const parts = pqParts(shape);
  const owned = [kernels.copyIn(codebooks)];
  try {
    const rows = owned[0] as number;
    const bad = kernels.checkFinite(rows, codebooks.length);
    if (bad >= 0) throw invalid(`codebooks[${bad}]`, codebooks[bad], "a finite number");
    const words = kernels.alloc(k * Math.ceil(shape.dim / shape.subspaces) * 4);
    owned.push(words);
    const bytesOf = (width: number): number => (k / 16) * (width + 1) * 64;
    const packed = kernels.alloc(parts.reduce((sum, { width }) => sum + bytesOf(width), 0));
    let to = packed;
    for (const { from, width } of parts) {
      kernels.exports.sliceColumns(rows, k, shape.dim, from, width, words);
      kernels.exports.packCells(words, k, width, to);
      to += bytesOf(width);
    }
    return packed;
  } finally {
    for (const pointer of owned) kernels.free(pointer);
  }
}

export function checkShape({ dim, subspaces, bits }: PqShape): void {
  if (!Number.isInteger(dim) || dim < 1 || dim > MAX_DIM) throw invalid("dim", dim, `1…${MAX_DIM}`);
  const most = Math.min(dim, MAX_SUBSPACES);
  if (!Number.isInteger(subspaces) || subspaces < 1 || subspaces > most)
    throw invalid("subspaces", subspaces, `1…${most}`);
  if (bits !== 4 && bits !== 8) throw invalid("bits", bits, "4 or 8");
}

export function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "no product quantiser like this", { field, found, expected });
}
