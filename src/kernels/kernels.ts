import { DreamDBError } from "../errors.ts";
import type { KernelExports } from "./exports.ts";
import { LshPlanes } from "./lsh-planes.ts";
import { TopK } from "./top-k.ts";

export { LshPlanes } from "./lsh-planes.ts";
export { TopK } from "./top-k.ts";

/** BLAKE3 takes its input in whole runs of this many bytes. */
const RUN_BYTES = 65536;
/** What `hashBytes` copies in at a time: it stays in the second-level cache until it is hashed. */
const STAGING_BYTES = 4 * RUN_BYTES;
const DIGEST_BYTES = 32;

/**
 * The compute core with its memory. Addresses are byte offsets into that memory; whoever calls `alloc` owns
 * the block and frees it. Kernels trust the addresses and counts they are given.
 *
 * Views from `bytes`, `f32` and `u32` go stale at the next call that may allocate: take them again.
 */
export class Kernels {
  /** The build that runs: both give the same bits. */
  readonly mode: "simd" | "scalar";
  /** The raw exports, for kernels that need no wrapping. */
  readonly exports: KernelExports;
  private readonly memory: WebAssembly.Memory;
  private readonly staging: number;
  private readonly digest: number;
  private view8: Uint8Array<ArrayBuffer>;
  private viewF32: Float32Array<ArrayBuffer>;
  private viewU32: Uint32Array<ArrayBuffer>;

  constructor(mode: "simd" | "scalar", memory: WebAssembly.Memory, exports: KernelExports) {
    this.mode = mode;
    this.memory = memory;
    this.exports = exports;
    const buffer = memory.buffer as ArrayBuffer;
    this.view8 = new Uint8Array(buffer);
    this.viewF32 = new Float32Array(buffer);
    this.viewU32 = new Uint32Array(buffer);
    this.staging = this.alloc(STAGING_BYTES + DIGEST_BYTES);
    this.digest = this.staging + STAGING_BYTES;
  }

  /**
   * A block of at least `bytes` bytes at a multiple of 64, its content undefined. The caller frees it.
   * @throws DreamDBError OutOfMemory; the instance and all its blocks stay usable
   */
  alloc(bytes: number): number {
    if (!(bytes >= 0 && bytes <= 0xffffffff)) throw this.outOfMemory(bytes);
    const pointer = this.exports.alloc(bytes) >>> 0;
    if (pointer === 0) throw this.outOfMemory(bytes);
    return pointer;
  }

  /** @throws DreamDBError InvalidArgument when `pointer` is not a live block's, e.g. on a second free */
  free(pointer: number): void {
    if (this.exports.free(pointer) !== 0) return;
    throw new DreamDBError("InvalidArgument", "no block to free at this address", {
      field: "pointer",
      found: pointer,
      expected: "an address from alloc, once",
    });
  }

  /** A new block holding a copy of `values`. The caller frees it. @throws DreamDBError OutOfMemory */
  copyIn(values: ArrayBufferView): number {
    const pointer = this.alloc(values.byteLength);
    this.bytes(pointer, values.byteLength).set(
      new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
    );
    return pointer;
  }

  /** Blocks not yet freed and the bytes they hold, the instance's own staging block included. */
  live(): { blocks: number; bytes: number } {
    return { blocks: this.exports.liveBlocks() >>> 0, bytes: this.exports.liveBytes() >>> 0 };
  }

  /** View of `length` bytes at `pointer`. */
  bytes(pointer: number, length: number): Uint8Array<ArrayBuffer> {
    if (this.view8.length === 0) this.layViews();
    return this.view8.subarray(pointer, pointer + length);
  }

  /** View of `length` f32 at `pointer`, a multiple of 4. */
  f32(pointer: number, length: number): Float32Array<ArrayBuffer> {
    if (this.viewF32.length === 0) this.layViews();
    return this.viewF32.subarray(pointer >>> 2, (pointer >>> 2) + length);
  }

  /** View of `length` u32 at `pointer`, a multiple of 4. */
  u32(pointer: number, length: number): Uint32Array<ArrayBuffer> {
    if (this.viewU32.length === 0) this.layViews();
    return this.viewU32.subarray(pointer >>> 2, (pointer >>> 2) + length);
  }

  /** BLAKE3-256 (32 bytes, a copy) of `length` bytes at `pointer`. */
  blake3(pointer: number, length: number): Uint8Array<ArrayBuffer> {
    this.exports.blake3(pointer, length, this.digest);
    return this.bytes(this.digest, DIGEST_BYTES).slice();
  }

  /** BLAKE3-256 (32 bytes) of bytes outside the compute core's memory, copied in piece by piece; allocates nothing. */
  hashBytes(input: Uint8Array): Uint8Array<ArrayBuffer> {
    const { staging } = this;
    let from = 0;
    this.exports.blake3Start();
    for (; input.length - from > STAGING_BYTES; from += STAGING_BYTES) {
      this.bytes(staging, STAGING_BYTES).set(input.subarray(from, from + STAGING_BYTES));
      this.exports.blake3Runs(staging, STAGING_BYTES / RUN_BYTES);
    }
    this.bytes(staging, input.length - from).set(from === 0 ? input : input.subarray(from));
    this.exports.blake3Finish(staging, input.length - from, this.digest);
    return this.bytes(this.digest, DIGEST_BYTES).slice();
  }

  /** Index of the first of `count` f32 that is NaN or infinite; −1 when all are finite. */
  checkFinite(pointer: number, count: number): number {
    return this.exports.checkFinite(pointer, count);
  }

  /**
   * f32(1 / f32(√ss)) of each row of n × dim to `out` (f32 × n), ss the left fold of squares in f32.
   * 0 when ss is 0, and when it is beyond f32.
   */
  rowInvNorms(rows: number, n: number, dim: number, out: number): void {
    this.exports.rowInvNorms(rows, n, dim, out);
  }

  /** As `rowInvNorms`, of the one vector at `pointer`. */
  invNorm(pointer: number, dim: number): number {
    this.exports.rowInvNorms(pointer, 1, dim, this.digest);
    return this.f32(this.digest, 1)[0] as number;
  }

  /**
   * Offers each row of n × dim f32 to `topK` by its cosine with the query (dim f32), as id firstId + row.
   * `invNorms` is f32 × n from `rowInvNorms`, or 0 to compute it on the way. `mask`, when given, is the address
   * of ceil(n/8) bytes whose bit i, lowest first, lets row i take part. Scores: f32(f32(dot·inv)·queryInvNorm),
   * dot a left fold in f32; what is not a number (from sums beyond f32) scores −∞.
   */
  scanCosine(
    rows: number,
    invNorms: number,
    n: number,
    dim: number,
    query: number,
    queryInvNorm: number,
    firstId: number,
    topK: TopK,
    mask = 0,
  ): void {
    this.exports.scanCosine(rows, invNorms, n, dim, query, queryInvNorm, firstId, topK.ptr, mask);
  }

  /** As `scanCosine`, by dot product. */
  scanDot(rows: number, n: number, dim: number, query: number, firstId: number, topK: TopK, mask = 0): void {
    this.exports.scanDot(rows, n, dim, query, firstId, topK.ptr, mask);
  }

  /** As `scanCosine`, by squared Euclidean distance, negated so that higher is better. */
  scanL2(rows: number, n: number, dim: number, query: number, firstId: number, topK: TopK, mask = 0): void {
    this.exports.scanDistance(rows, n, dim, query, firstId, topK.ptr, mask);
  }

  /** The scores of `scanCosine` to `out`, f32 × n. */
  scoresCosine(
    rows: number,
    invNorms: number,
    n: number,
    dim: number,
    query: number,
    queryInvNorm: number,
    out: number,
  ): void {
    this.exports.scoresCosine(rows, invNorms, n, dim, query, queryInvNorm, out);
  }

  /** The scores of `scanDot` to `out`, f32 × n. */
  scoresDot(rows: number, n: number, dim: number, query: number, out: number): void {
    this.exports.scoresDot(rows, n, dim, query, out);
  }

  /** The scores of `scanL2` to `out`, f32 × n. */
  scoresL2(rows: number, n: number, dim: number, query: number, out: number): void {
    this.exports.scoresDistance(rows, n, dim, query, out);
  }

  /**
   * A running top-k; the caller frees it.
   * @throws DreamDBError InvalidArgument (k not in 1…16,777,216), OutOfMemory
   */
  topK(k: number): TopK {
    return new TopK(this, k);
  }

  /**
   * The hyperplanes of a seed (32 bytes): bits × dim (FORMAT: dreamdb.lsh-cosine); the caller frees them.
   * @throws DreamDBError InvalidArgument (seed, dim, bits), OutOfMemory
   */
  lshPlanes(seed: Uint8Array, dim: number, bits: number, table = 0): LshPlanes {
    return new LshPlanes(this, seed, dim, bits, table);
  }

  /** Row index[i] of `source` becomes row i of `target`: n rows of rowBytes bytes, index u32 × n. */
  gatherRows(source: number, rowBytes: number, index: number, n: number, target: number): void {
    this.exports.gatherRows(source, rowBytes, index, n, target);
  }

  /**
   * Groups rows by cell: `rows` (u32 × n) by ascending cell, then row; `cells` and `firstRows` say which cells are
   * not empty and where each begins in `rows`. Cells are below 2^bits, one a row.
   * @throws DreamDBError OutOfMemory
   */
  sortByCell(
    cellOfRow: Uint32Array,
    bits: number,
  ): { rows: Uint32Array; cells: Uint32Array; firstRows: Uint32Array } {
    const n = cellOfRow.length;
    const block = this.alloc(n * 20);
    try {
      const [order, scratch, runs] = [block + n * 4, block + n * 8, block + n * 12];
      this.u32(block, n).set(cellOfRow);
      this.exports.sortByCell(block, n, bits, order, scratch);
      const count = this.exports.cellRuns(block, order, n, runs);
      const pairs = this.u32(runs, 2 * count);
      return {
        rows: this.u32(order, n).slice(),
        cells: Uint32Array.from({ length: count }, (_, i) => pairs[2 * i] as number),
        firstRows: Uint32Array.from({ length: count }, (_, i) => pairs[2 * i + 1] as number),
      };
    } finally {
      this.free(block);
    }
  }

  /** Memory that grew has a new buffer; views of the old one have length 0. */
  private layViews(): void {
    const buffer = this.memory.buffer as ArrayBuffer;
    this.view8 = new Uint8Array(buffer);
    this.viewF32 = new Float32Array(buffer);
    this.viewU32 = new Uint32Array(buffer);
  }

  private outOfMemory(bytes: number): DreamDBError {
    return new DreamDBError("OutOfMemory", "the compute core's memory can't hold another block", {
      field: "bytes",
      found: bytes,
      expected: `what is left beside ${this.exports.liveBytes() >>> 0} bytes in use, of 4 GiB or the limit set`,
    });
  }
}
