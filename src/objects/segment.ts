/**
 * Segments: the cell fragments of one batch packed into one object, in (cell, time) order. Everything in
 * here is derived from the columns (spec/0007-streaming-encapsulation.md §4).
 *
 *   offset size
 *        0    4  magic "DDBS"
 *        4    2  version, 1
 *        6    2  flags: bit 0, there is a vectors section
 *        8    4  rows           12  4  dim
 *       16    4  non-empty cells 20 4  blocks
 *       24   34  multihash of the SpatialIndex
 *       58   34  multihash of the VectorCompressor, zeros for none
 *       96    8  head bytes     104 8  total bytes
 *      112    8  cell table     120 8  block table      (offsets)
 *      128    8  anchors offset 136 8  anchors bytes
 *      144   16  codes,    160 16  factors              (offset, bytes; zeros: none)
 *      176    8  vectors offset 184 8  vectors bytes
 *      192    8  zeros
 *      200       cell table: cells × { 4 cell, 4 first row }, ascending
 *                block table: blocks × { 4 first row, 4 anchors offset, 32 BLAKE3 of anchors, 32 of vectors }
 *                zeros up to a multiple of 64; sections follow, each at a multiple of 64
 */
import { type Address, addressFromMultihash, addressToMultihash } from "../core/address.ts";
import { blake3 } from "../core/blake3.ts";
import { MAX_TICK } from "../core/time.ts";
import { DreamDBError } from "../errors.ts";
import { SEGMENT_BLOCK_ROW_BYTES, SEGMENT_CELL_ROW_BYTES, SEGMENT_HEADER_BYTES } from "../layout/segment.ts";
import { align, checkVersion, fixedBlockRows, type Sealed, type Span, seal } from "./column.ts";
import { corrupt } from "./shape.ts";

const MAGIC = 0x53424444; // "DDBS"
const VERSION = 1;
const FLAG_VECTORS = 1;
/** Bytes of anchors that a row is counted with when a segment has no vectors. */
const ANCHOR_ROW_BYTES = 8;

export interface SegmentSource {
  spatialIndex: Address;
  dim: number;
  rows: number;
  /** Ids of the non-empty cells, ascending. */
  cells: Uint32Array;
  /** The first row of each of them. */
  firstRows: Uint32Array;
  /** Each row's anchor less the segment's base; ascending within a cell. */
  offsets: BigUint64Array;
  /** rows × dim f32 in row order, or undefined when the cells are not to carry them. */
  vectors?: Uint8Array;
}

export interface SegmentBlock {
  firstRow: number;
  rows: number;
  anchors: Span;
  vectors?: Span;
}

export interface SegmentHead {
  rows: number;
  dim: number;
  cells: Uint32Array;
  /** First rows of the cells, and at the end the number of rows. */
  firstRows: Uint32Array;
  blocks: SegmentBlock[];
}

export function encodeSegment(source: SegmentSource): Sealed {
  const rowBytes = source.vectors === undefined ? ANCHOR_ROW_BYTES : source.dim * 4;
  const blockRows = cutBlocks(source, fixedBlockRows(rowBytes));
  const anchors = encodeAnchors(source, blockRows);
  const cellTable = SEGMENT_HEADER_BYTES;
  const blockTable = cellTable + source.cells.length * SEGMENT_CELL_ROW_BYTES;
  const headBytes = align(blockTable + blockRows.length * SEGMENT_BLOCK_ROW_BYTES);
  const vectorsOffset = align(headBytes + anchors.bytes.length);
  const vectors = source.vectors;
  const totalBytes =
    vectors === undefined ? headBytes + anchors.bytes.length : vectorsOffset + vectors.length;

  const out = new Uint8Array(totalBytes);
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, VERSION, true);
  view.setUint16(6, vectors === undefined ? 0 : FLAG_VECTORS, true);
  view.setUint32(8, source.rows, true);
  view.setUint32(12, source.dim, true);
  view.setUint32(16, source.cells.length, true);
  view.setUint32(20, blockRows.length, true);
  out.set(addressToMultihash(source.spatialIndex), 24);
  const lengths = [headBytes, totalBytes, cellTable, blockTable, headBytes, anchors.bytes.length];
  lengths.forEach((length, i) => {
    view.setBigUint64(96 + 8 * i, BigInt(length), true);
  });
  if (vectors !== undefined) {
    view.setBigUint64(176, BigInt(vectorsOffset), true);
    view.setBigUint64(184, BigInt(vectors.length), true);
    out.set(vectors, vectorsOffset);
  }
  out.set(anchors.bytes, headBytes);

  for (let i = 0; i < source.cells.length; i++) {
    view.setUint32(cellTable + 8 * i, source.cells[i] as number, true);
    view.setUint32(cellTable + 8 * i + 4, source.firstRows[i] as number, true);
  }
  blockRows.forEach((first, i) => {
    const at = blockTable + i * SEGMENT_BLOCK_ROW_BYTES;
    const start = anchors.starts[i] as number;
    const end = anchors.starts[i + 1] ?? anchors.bytes.length;
    view.setUint32(at, first, true);
    view.setUint32(at + 4, start, true);
    out.set(blake3(anchors.bytes.subarray(start, end)), at + 8);
    if (vectors === undefined) return;
    const next = blockRows[i + 1] ?? source.rows;
    out.set(blake3(vectors.subarray(first * rowBytes, next * rowBytes)), at + 40);
  });
  return seal(out, headBytes, blockRows.length);
}

/** First rows of the blocks: whole cells while they fit, larger cells cut every `rowsPerBlock` rows. */
function cutBlocks(source: SegmentSource, rowsPerBlock: number): number[] {
  const firstRows: number[] = [];
  let start = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < source.cells.length; i++) {
    const first = source.firstRows[i] as number;
    const end = source.firstRows[i + 1] ?? source.rows;
    if (end - start <= rowsPerBlock) continue;
    for (start = first; ; start += rowsPerBlock) {
      firstRows.push(start);
      if (end - start <= rowsPerBlock) break;
    }
  }
  return firstRows;
}

/** LEB128 differences, starting afresh at every cell and every block. */
function encodeAnchors(
  source: SegmentSource,
  blockRows: readonly number[],
): { bytes: Uint8Array; starts: number[] } {
  const out = new Uint8Array(source.rows * 10);
  const starts: number[] = [];
  let at = 0;
  let cell = 0;
  let block = 0;
  let previous = 0n;
  for (let row = 0; row < source.rows; row++) {
    if (row === source.firstRows[cell]) {
      cell++;
      previous = 0n;
    }
    if (row === blockRows[block]) {
      block++;
      starts.push(at);
      previous = 0n;
    }
    const offset = source.offsets[row] as bigint;
    at = writeVarint(out, at, offset - previous);
    previous = offset;
  }
  return { bytes: out.slice(0, at), starts };
}

function writeVarint(out: Uint8Array, offset: number, value: bigint): number {
  let at = offset;
  let high = value;
  while (high > 0xfffffffn) {
    out[at++] = Number(high & 127n) | 128;
    high >>= 7n;
  }
  let low = Number(high);
  while (low > 127) {
    out[at++] = (low & 127) | 128;
    low >>>= 7;
  }
  out[at++] = low;
  return at;
}

/**
 * Reads a head out of verified bytes.
 * @param totalBytes the segment's length by its index
 * @param spatialIndex the address of the index the segment must have been coded for, whose dimension is `dim`
 * Errors: `Corrupt`, `UnsupportedVersion`, `LineageMismatch`.
 */
export function decodeSegmentHead(
  bytes: Uint8Array,
  totalBytes: number,
  spatialIndex: Address,
  dim: number,
): SegmentHead {
  if (bytes.length < SEGMENT_HEADER_BYTES)
    throw corrupt("segment", `${bytes.length} bytes`, `at least ${SEGMENT_HEADER_BYTES}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== MAGIC) throw corrupt("segment.magic", view.getUint32(0, true), MAGIC);
  checkVersion("segment", view.getUint16(4, true), view.getUint16(6, true), FLAG_VECTORS);
  const lineage = addressFromMultihash(bytes.subarray(24, 58), "segment.spatialIndex");
  if (lineage !== spatialIndex) {
    throw new DreamDBError("LineageMismatch", "a segment coded for another spatial index", {
      field: "segment.spatialIndex",
      found: lineage,
      expected: spatialIndex,
    });
  }
  if (view.getUint32(12, true) !== dim) throw corrupt("segment.dim", view.getUint32(12, true), dim);
  const long = (at: number): number => Number(view.getBigUint64(at, true));
  const layout = {
    rows: view.getUint32(8, true),
    dim: view.getUint32(12, true),
    cells: view.getUint32(16, true),
    blocks: view.getUint32(20, true),
    anchors: { offset: long(128), bytes: long(136) },
    vectors:
      (view.getUint16(6, true) & FLAG_VECTORS) !== 0 ? { offset: long(176), bytes: long(184) } : undefined,
  };
  const blockTable = SEGMENT_HEADER_BYTES + layout.cells * SEGMENT_CELL_ROW_BYTES;
  const headBytes = align(blockTable + layout.blocks * SEGMENT_BLOCK_ROW_BYTES);
  const expected = [headBytes, totalBytes, SEGMENT_HEADER_BYTES, blockTable, headBytes];
  expected.forEach((value, i) => {
    if (long(96 + 8 * i) !== value) throw corrupt(`segment.offset${96 + 8 * i}`, long(96 + 8 * i), value);
  });
  if (headBytes > bytes.length) throw corrupt("segment.headBytes", headBytes, `at most ${bytes.length}`);
  // Codes and factors, which this version has not, and vectors that the flags deny.
  for (let at = 144; at < (layout.vectors === undefined ? 192 : 176); at += 8) {
    if (long(at) !== 0) throw corrupt(`segment.offset${at}`, long(at), 0);
  }
  checkSections(layout, totalBytes);
  return {
    rows: layout.rows,
    dim: layout.dim,
    ...readCells(view, layout),
    blocks: readBlocks(view, blockTable, layout),
  };
}

interface Layout {
  rows: number;
  dim: number;
  cells: number;
  blocks: number;
  anchors: { offset: number; bytes: number };
  vectors: { offset: number; bytes: number } | undefined;
}

function checkSections(layout: Layout, totalBytes: number): void {
  const { anchors, vectors, rows, dim } = layout;
  const anchorsEnd = anchors.offset + anchors.bytes;
  if (vectors === undefined) {
    if (anchorsEnd !== totalBytes) throw corrupt("segment.anchors", anchorsEnd, totalBytes);
    return;
  }
  if (vectors.offset !== align(anchorsEnd))
    throw corrupt("segment.vectors.offset", vectors.offset, align(anchorsEnd));
  if (vectors.bytes !== rows * dim * 4) throw corrupt("segment.vectors.bytes", vectors.bytes, rows * dim * 4);
  if (vectors.offset + vectors.bytes !== totalBytes)
    throw corrupt("segment.vectors", vectors.offset + vectors.bytes, totalBytes);
}

function readCells(view: DataView, layout: Layout): { cells: Uint32Array; firstRows: Uint32Array } {
  const cells = new Uint32Array(layout.cells);
  const firstRows = new Uint32Array(layout.cells + 1);
  firstRows[layout.cells] = layout.rows;
  for (let i = 0; i < layout.cells; i++) {
    const at = SEGMENT_HEADER_BYTES + i * SEGMENT_CELL_ROW_BYTES;
    cells[i] = view.getUint32(at, true);
    firstRows[i] = view.getUint32(at + 4, true);
    if (i > 0 && (cells[i] as number) <= (cells[i - 1] as number))
      throw corrupt("segment.cells", cells[i], "ascending cells");
  }
  checkAscending(firstRows, "segment.cells");
  return { cells, firstRows };
}

function readBlocks(view: DataView, table: number, layout: Layout): SegmentBlock[] {
  const { anchors, vectors, dim } = layout;
  const firstRows = new Uint32Array(layout.blocks + 1);
  const starts = new Uint32Array(layout.blocks + 1);
  firstRows[layout.blocks] = layout.rows;
  starts[layout.blocks] = anchors.bytes;
  for (let i = 0; i < layout.blocks; i++) {
    firstRows[i] = view.getUint32(table + i * SEGMENT_BLOCK_ROW_BYTES, true);
    starts[i] = view.getUint32(table + i * SEGMENT_BLOCK_ROW_BYTES + 4, true);
  }
  if (layout.blocks === 0) throw corrupt("segment.blocks", 0, "at least one");
  checkAscending(firstRows, "segment.blocks");
  checkAscending(starts, "segment.blocks.anchors");
  const hash = (at: number): Uint8Array => new Uint8Array(view.buffer, view.byteOffset + at, 32);
  return Array.from({ length: layout.blocks }, (_, i) => {
    const at = table + i * SEGMENT_BLOCK_ROW_BYTES;
    const firstRow = firstRows[i] as number;
    const rows = (firstRows[i + 1] as number) - firstRow;
    const start = starts[i] as number;
    const span = {
      offset: anchors.offset + start,
      bytes: (starts[i + 1] as number) - start,
      hash: hash(at + 8),
    };
    // A row's anchor takes at least a byte; a reader makes room for `rows` of them.
    if (rows > span.bytes)
      throw corrupt("segment.blocks.firstRow", `${rows} rows in ${span.bytes} bytes`, "a byte each");
    if (vectors === undefined) return { firstRow, rows, anchors: span };
    const rowBytes = dim * 4;
    return {
      firstRow,
      rows,
      anchors: span,
      vectors: { offset: vectors.offset + firstRow * rowBytes, bytes: rows * rowBytes, hash: hash(at + 40) },
    };
  });
}

/** From 0, strictly ascending. */
function checkAscending(values: Uint32Array, field: string): void {
  if (values[0] !== 0) throw corrupt(field, values[0], 0);
  for (let i = 1; i < values.length; i++) {
    if ((values[i] as number) <= (values[i - 1] as number))
      throw corrupt(field, values[i], `more than ${values[i - 1]}`);
  }
}

/** Anchor offsets of a block's rows, out of its verified anchors section. */
export function decodeSegmentAnchors(
  head: SegmentHead,
  block: SegmentBlock,
  bytes: Uint8Array,
): BigUint64Array {
  const offsets = new BigUint64Array(block.rows);
  let cell = cellOfRow(head, block.firstRow) + 1;
  let previous = 0n;
  let isFirst = true;
  let at = 0;
  for (let i = 0; i < block.rows; i++) {
    if (block.firstRow + i === head.firstRows[cell]) {
      cell++;
      previous = 0n;
      isFirst = true;
    }
    let value = 0n;
    let shift = 0n;
    let byte = 128;
    while (byte >= 128) {
      if (at >= bytes.length || shift > 63n)
        throw corrupt("segment.anchors", "a varint past its end", "10 bytes at most");
      byte = bytes[at++] as number;
      value |= BigInt(byte & 127) << shift;
      shift += 7n;
    }
    if (byte === 0 && shift > 7n)
      throw corrupt("segment.anchors", "a varint longer than it need be", "the shortest form");
    if (value === 0n && !isFirst)
      throw corrupt("segment.anchors", "two equal anchors in a cell", "ascending anchors");
    previous += value;
    if (previous > MAX_TICK) throw corrupt("segment.anchors", previous, "an offset within 64 bits");
    offsets[i] = previous;
    isFirst = false;
  }
  if (at !== bytes.length) throw corrupt("segment.anchors", `${bytes.length - at} bytes left over`, 0);
  return offsets;
}

/** The place in the cell table of the cell that holds `row`. */
export function cellOfRow(head: SegmentHead, row: number): number {
  let low = 0;
  let high = head.cells.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((head.firstRows[middle] as number) <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}
