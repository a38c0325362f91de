/**
 * Segments: cell fragments of one batch or of many, packed into one object in (cell, time) order. Everything in
 * here is derived from the columns (spec/0007-streaming-encapsulation.md §4).
 *
 *   offset size
 *        0    4  magic "DDBS"
 *        4    2  version, 1
 *        6    2  flags: bit 0, there is a vectors section; bit 1, there is a codes section
 *        8    4  rows           12  4  dim
 *       16    4  non-empty cells 20 4  blocks
 *       24   34  multihash of the SpatialIndex
 *       58   34  multihash of the VectorCompressor, zeros for none
 *       96    8  head bytes     104 8  total bytes
 *      112    8  cell table     120 8  block table      (offsets)
 *      128    8  anchors offset 136 8  anchors bytes
 *      144    8  codes offset   152 8  codes bytes
 *      160   16  zeros
 *      176    8  vectors offset 184 8  vectors bytes
 *      192    8  zeros
 *      200       cell table: cells × { 4 cell, 4 first row }, ascending
 *                block table: blocks × { 4 first row, 4 anchors offset, 32 BLAKE3 of anchors, 32 of vectors,
 *                32 of codes when there is a codes section }
 *                zeros up to a multiple of 64; sections follow, each at a multiple of 64
 */
import { type Address, addressFromMultihash, addressToMultihash } from "../core/address.ts";
import { blake3 } from "../core/blake3.ts";
import { DreamDBError } from "../errors.ts";
import {
  SEGMENT_BLOCK_ROW_BYTES,
  SEGMENT_CELL_ROW_BYTES,
  SEGMENT_CODED_BLOCK_ROW_BYTES,
  SEGMENT_HEADER_BYTES,
} from "../layout/segment.ts";
import { align, checkVersion, fixedBlockRows, type Sealed, type Span, seal } from "./column.ts";
import { corrupt } from "./shape.ts";

const MAGIC = 0x53424444; // "DDBS"
const VERSION = 1;
const FLAG_VECTORS = 1;
const FLAG_CODES = 2;
/** Bytes of anchors that a row is counted with when a segment has nothing larger. */
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
  /** rows × rowBytes in row order, with the compressor that made them. */
  codes?: { compressor: Address; rowBytes: number; bytes: Uint8Array };
  /** rows × dim f32 in row order, or undefined when the cells are not to carry them. */
  vectors?: Uint8Array;
}

/** What a Track's segments are made with. */
export interface SegmentCoding {
  /** The address of the SpatialIndex, whose vectors have `dim` components and whose cells are below `cells`. */
  spatialIndex: Address;
  dim: number;
  cells: number;
  /** Whether segments may name another index, one that this took the place of in part; its cells may be more. */
  hasEarlier?: boolean;
  /** Hash tables that share the cells evenly; a segment has rows of one. Default 1. */
  tables?: number;
  /** Of the codes that every segment has then, with the bytes of a row. */
  compressor?: { address: Address; rowBytes: number };
}

export interface SegmentBlock {
  firstRow: number;
  rows: number;
  anchors: Span;
  codes?: Span;
  vectors?: Span;
}

export interface SegmentHead {
  /** The index whose cells the rows were put in. */
  spatialIndex: Address;
  rows: number;
  dim: number;
  cells: Uint32Array;
  /** First rows of the cells, and at the end the number of rows. */
  firstRows: Uint32Array;
  blocks: SegmentBlocks;
}

/** The block table. Blocks are read out of it when they are asked for: a query wants few of thousands. */
export class SegmentBlocks implements Iterable<SegmentBlock> {
  readonly length: number;
  /** First rows of the blocks, and at the end the number of rows. */
  readonly firstRows: Uint32Array;
  private readonly read: (index: number) => SegmentBlock;

  constructor(firstRows: Uint32Array, read: (index: number) => SegmentBlock) {
    this.length = firstRows.length - 1;
    this.firstRows = firstRows;
    this.read = read;
  }

  /** Block `index`, below `length`. */
  at(index: number): SegmentBlock {
    return this.read(index);
  }

  /** The number of the block that holds `row`. */
  indexOf(row: number): number {
    return lastAtMost(this.firstRows, this.length, row);
  }

  *[Symbol.iterator](): Generator<SegmentBlock> {
    for (let i = 0; i < this.length; i++) yield this.at(i);
  }
}

export function encodeSegment(source: SegmentSource): Sealed {
  const { codes, vectors } = source;
  const rowBytes = vectors === undefined ? Math.max(ANCHOR_ROW_BYTES, codes?.rowBytes ?? 0) : source.dim * 4;
  const blockRows = cutBlocks(source, fixedBlockRows(rowBytes));
  const anchors = encodeAnchors(source, blockRows);
  const cellTable = SEGMENT_HEADER_BYTES;
  const blockTable = cellTable + source.cells.length * SEGMENT_CELL_ROW_BYTES;
  const blockRowBytes = codes === undefined ? SEGMENT_BLOCK_ROW_BYTES : SEGMENT_CODED_BLOCK_ROW_BYTES;
  const headBytes = align(blockTable + blockRows.length * blockRowBytes);
  const codesOffset = align(headBytes + anchors.bytes.length);
  let totalBytes = codes === undefined ? headBytes + anchors.bytes.length : codesOffset + codes.bytes.length;
  const vectorsOffset = align(totalBytes);
  if (vectors !== undefined) totalBytes = vectorsOffset + vectors.length;

  const out = new Uint8Array(totalBytes);
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, VERSION, true);
  const flags = (vectors === undefined ? 0 : FLAG_VECTORS) | (codes === undefined ? 0 : FLAG_CODES);
  view.setUint16(6, flags, true);
  view.setUint32(8, source.rows, true);
  view.setUint32(12, source.dim, true);
  view.setUint32(16, source.cells.length, true);
  view.setUint32(20, blockRows.length, true);
  out.set(addressToMultihash(source.spatialIndex), 24);
  const lengths = [headBytes, totalBytes, cellTable, blockTable, headBytes, anchors.bytes.length];
  lengths.forEach((length, i) => {
    view.setBigUint64(96 + 8 * i, BigInt(length), true);
  });
  if (codes !== undefined) {
    out.set(addressToMultihash(codes.compressor), 58);
    view.setBigUint64(144, BigInt(codesOffset), true);
    view.setBigUint64(152, BigInt(codes.bytes.length), true);
    out.set(codes.bytes, codesOffset);
  }
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
    const at = blockTable + i * blockRowBytes;
    const start = anchors.starts[i] as number;
    const end = anchors.starts[i + 1] ?? anchors.bytes.length;
    view.setUint32(at, first, true);
    view.setUint32(at + 4, start, true);
    out.set(blake3(anchors.bytes.subarray(start, end)), at + 8);
    const next = blockRows[i + 1] ?? source.rows;
    const rowsOf = (bytes: Uint8Array, width: number): Uint8Array =>
      bytes.subarray(first * width, next * width);
    if (vectors !== undefined) out.set(blake3(rowsOf(vectors, source.dim * 4)), at + 40);
    if (codes !== undefined) out.set(blake3(rowsOf(codes.bytes, codes.rowBytes)), at + 72);
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
  const halves = halvesOf(source.offsets);
  const starts: number[] = [];
  let at = 0;
  let cell = 0;
  let block = 0;
  let previousLow = 0;
  let previousHigh = 0;
  for (let row = 0; row < source.rows; row++) {
    const isBlock = row === blockRows[block];
    const isCell = row === source.firstRows[cell];
    if (isCell) cell++;
    if (isBlock) {
      block++;
      starts.push(at);
    }
    if (isCell || isBlock) previousLow = previousHigh = 0;
    const low = halves[2 * row] as number;
    const high = halves[2 * row + 1] as number;
    at = writeVarint(out, at, low - previousLow, high - previousHigh - (low < previousLow ? 1 : 0));
    previousLow = low;
    previousHigh = high;
  }
  return { bytes: out.slice(0, at), starts };
}

/** The low and high 32 bits of each value in turn: a hundred times faster to reckon with than bigints. */
function halvesOf(values: BigUint64Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, 2 * values.length);
}

function writeVarint(out: Uint8Array, offset: number, lowBits: number, highBits: number): number {
  let at = offset;
  let low = lowBits >>> 0;
  let high = highBits >>> 0;
  while (high > 0 || low > 127) {
    out[at++] = (low & 127) | 128;
    low = ((low >>> 7) | (high << 25)) >>> 0;
    high >>>= 7;
  }
  out[at++] = low;
  return at;
}

/**
 * Reads a head out of verified bytes.
 * @param expected the segment's length by its index, and what the segment must have been made with
 * Errors: `Corrupt`, `UnsupportedVersion`, `LineageMismatch`.
 */
export function decodeSegmentHead(
  bytes: Uint8Array,
  expected: { totalBytes: number } & SegmentCoding,
): SegmentHead {
  const { totalBytes, dim, compressor } = expected;
  if (bytes.length < SEGMENT_HEADER_BYTES)
    throw corrupt("segment", `${bytes.length} bytes`, `at least ${SEGMENT_HEADER_BYTES}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== MAGIC) throw corrupt("segment.magic", view.getUint32(0, true), MAGIC);
  const flags = view.getUint16(6, true);
  checkVersion("segment", view.getUint16(4, true), flags, FLAG_VECTORS | FLAG_CODES);
  const spatialIndex =
    expected.hasEarlier === true
      ? addressFromMultihash(bytes.subarray(24, 58), "segment.spatialIndex")
      : expected.spatialIndex;
  checkLineage("spatialIndex", bytes.subarray(24, 58), spatialIndex);
  checkLineage("compressor", bytes.subarray(58, 92), compressor?.address);
  if (((flags & FLAG_CODES) !== 0) !== (compressor !== undefined))
    throw corrupt("segment.flags", flags, compressor === undefined ? "no codes" : "codes");
  if (view.getUint32(12, true) !== dim) throw corrupt("segment.dim", view.getUint32(12, true), dim);
  const long = (at: number): number => Number(view.getBigUint64(at, true));
  const layout: Layout = {
    rows: view.getUint32(8, true),
    dim,
    cells: view.getUint32(16, true),
    cellLimit: spatialIndex === expected.spatialIndex ? expected.cells : 2 ** 32,
    blocks: view.getUint32(20, true),
    anchors: { offset: long(128), bytes: long(136) },
    codes:
      compressor === undefined
        ? undefined
        : { offset: long(144), bytes: long(152), rowBytes: compressor.rowBytes },
    vectors:
      (flags & FLAG_VECTORS) === 0 ? undefined : { offset: long(176), bytes: long(184), rowBytes: dim * 4 },
  };
  const blockTable = SEGMENT_HEADER_BYTES + layout.cells * SEGMENT_CELL_ROW_BYTES;
  const headBytes = align(blockTable + layout.blocks * blockRowBytesOf(layout));
  const offsets = [headBytes, totalBytes, SEGMENT_HEADER_BYTES, blockTable, headBytes];
  offsets.forEach((value, i) => {
    if (long(96 + 8 * i) !== value) throw corrupt(`segment.offset${96 + 8 * i}`, long(96 + 8 * i), value);
  });
  if (headBytes > bytes.length) throw corrupt("segment.headBytes", headBytes, `at most ${bytes.length}`);
  if (view.getUint32(92, true) !== 0) throw corrupt("segment.offset92", view.getUint32(92, true), 0);
  // What nothing stands in yet, and sections that the flags deny.
  const empty = [
    ...(layout.codes === undefined ? [144, 152] : []),
    ...[160, 168],
    ...(layout.vectors === undefined ? [176, 184] : []),
    192,
  ];
  for (const at of empty) if (long(at) !== 0) throw corrupt(`segment.offset${at}`, long(at), 0);
  checkSections(layout, totalBytes);
  const head = {
    spatialIndex,
    rows: layout.rows,
    dim: layout.dim,
    ...readCells(view, layout),
    blocks: readBlocks(view, blockTable, layout),
  };
  if (spatialIndex === expected.spatialIndex) checkTable(head.cells, expected.cells / (expected.tables ?? 1));
  return head;
}

/** All cells are of one hash table. */
function checkTable(cells: Uint32Array, cellsOfTable: number): void {
  const [first, last] = [cells[0] as number, cells.at(-1) as number].map((cell) =>
    Math.floor(cell / cellsOfTable),
  );
  if (first !== last) throw corrupt("segment.cells", `hash tables ${first} and ${last}`, "one hash table");
}

/** The multihash in a head is that of the Track's object, or zeros when it has none. */
function checkLineage(
  object: "spatialIndex" | "compressor",
  multihash: Uint8Array,
  expected: Address | undefined,
): void {
  const isNone = multihash.every((byte) => byte === 0);
  const found = isNone ? undefined : addressFromMultihash(multihash, `segment.${object}`);
  if (found === expected) return;
  throw new DreamDBError("LineageMismatch", "a segment that belongs to another index or compressor", {
    field: `segment.${object}`,
    found: found ?? "none",
    expected: expected ?? "none",
  });
}

interface Layout {
  rows: number;
  dim: number;
  cells: number;
  /** Cells of the index. */
  cellLimit: number;
  blocks: number;
  anchors: { offset: number; bytes: number };
  codes: Section | undefined;
  vectors: Section | undefined;
}

/** A section with `rowBytes` for every row. */
interface Section {
  offset: number;
  bytes: number;
  rowBytes: number;
}

function blockRowBytesOf(layout: Layout): number {
  return layout.codes === undefined ? SEGMENT_BLOCK_ROW_BYTES : SEGMENT_CODED_BLOCK_ROW_BYTES;
}

/** Sections follow each other without gaps, and the last ends with the segment. */
function checkSections({ anchors, codes, vectors, rows }: Layout, totalBytes: number): void {
  let end = anchors.offset + anchors.bytes;
  for (const [name, section] of Object.entries({ codes, vectors })) {
    if (section === undefined) continue;
    if (section.offset !== align(end)) throw corrupt(`segment.${name}.offset`, section.offset, align(end));
    const bytes = rows * section.rowBytes;
    if (section.bytes !== bytes) throw corrupt(`segment.${name}.bytes`, section.bytes, bytes);
    end = section.offset + section.bytes;
  }
  if (end !== totalBytes) throw corrupt("segment.totalBytes", totalBytes, end);
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
  const last = cells.at(-1);
  if (last !== undefined && last >= layout.cellLimit)
    throw corrupt("segment.cells", last, `a cell below ${layout.cellLimit}`);
  checkAscending(firstRows, "segment.cells");
  return { cells, firstRows };
}

function readBlocks(view: DataView, table: number, layout: Layout): SegmentBlocks {
  const { anchors, codes, vectors } = layout;
  const tableRowBytes = blockRowBytesOf(layout);
  const firstRows = new Uint32Array(layout.blocks + 1);
  const starts = new Uint32Array(layout.blocks + 1);
  firstRows[layout.blocks] = layout.rows;
  starts[layout.blocks] = anchors.bytes;
  for (let i = 0; i < layout.blocks; i++) {
    firstRows[i] = view.getUint32(table + i * tableRowBytes, true);
    starts[i] = view.getUint32(table + i * tableRowBytes + 4, true);
  }
  if (layout.blocks === 0) throw corrupt("segment.blocks", 0, "at least one");
  checkAscending(firstRows, "segment.blocks");
  checkAscending(starts, "segment.blocks.anchors");
  const hash = (at: number): Uint8Array => new Uint8Array(view.buffer, view.byteOffset + at, 32);
  for (let i = 0; i < layout.blocks; i++) {
    const rows = (firstRows[i + 1] as number) - (firstRows[i] as number);
    const length = (starts[i + 1] as number) - (starts[i] as number);
    // A row's anchor takes at least a byte; a reader makes room for `rows` of them.
    if (rows > length)
      throw corrupt("segment.blocks.firstRow", `${rows} rows in ${length} bytes`, "a byte each");
    if (vectors !== undefined) continue;
    const none = hash(table + i * tableRowBytes + 40);
    if (none.some((byte) => byte !== 0))
      throw corrupt("segment.blocks.vectors", none, "zeros without a vectors section");
  }
  return new SegmentBlocks(firstRows, (i) => {
    const at = table + i * tableRowBytes;
    const firstRow = firstRows[i] as number;
    const rows = (firstRows[i + 1] as number) - firstRow;
    const start = starts[i] as number;
    const length = (starts[i + 1] as number) - start;
    const partOf = (section: Section, hashAt: number): Span => ({
      offset: section.offset + firstRow * section.rowBytes,
      bytes: rows * section.rowBytes,
      hash: hash(hashAt),
    });
    const block: SegmentBlock = {
      firstRow,
      rows,
      anchors: { offset: anchors.offset + start, bytes: length, hash: hash(at + 8) },
    };
    if (vectors !== undefined) block.vectors = partOf(vectors, at + 40);
    if (codes !== undefined) block.codes = partOf(codes, at + 72);
    return block;
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
  const halves = halvesOf(offsets);
  let cell = cellOfRow(head, block.firstRow) + 1;
  let previousLow = 0;
  let previousHigh = 0;
  let isFirst = true;
  let at = 0;
  for (let i = 0; i < block.rows; i++) {
    if (block.firstRow + i === head.firstRows[cell]) {
      cell++;
      previousLow = previousHigh = 0;
      isFirst = true;
    }
    let low = 0;
    let high = 0;
    let shift = 0;
    let isTooLarge = false;
    let byte = 128;
    for (; byte >= 128; shift += 7) {
      if (at >= bytes.length || shift > 63)
        throw corrupt("segment.anchors", "a varint past its end", "10 bytes at most");
      byte = bytes[at++] as number;
      const bits = byte & 127;
      if (shift < 32) low |= bits << shift;
      if (shift === 28) high = bits >>> 4;
      else if (shift > 28) high |= bits << (shift - 32);
      // The tenth byte has room for one bit.
      if (shift === 63 && bits > 1) isTooLarge = true;
    }
    if (byte === 0 && shift > 7)
      throw corrupt("segment.anchors", "a varint longer than it need be", "the shortest form");
    if (low === 0 && high === 0 && !isFirst)
      throw corrupt("segment.anchors", "two equal anchors in a cell", "ascending anchors");
    const sum = previousLow + (low >>> 0);
    previousHigh += (high >>> 0) + (sum > 0xffffffff ? 1 : 0);
    previousLow = sum >>> 0;
    if (isTooLarge || previousHigh > 0xffffffff)
      throw corrupt("segment.anchors", "more than 64 bits", "an offset within 64 bits");
    halves[2 * i] = previousLow;
    halves[2 * i + 1] = previousHigh;
    isFirst = false;
  }
  if (at !== bytes.length) throw corrupt("segment.anchors", `${bytes.length - at} bytes left over`, 0);
  return offsets;
}

/** The place in the cell table of the cell that holds `row`. */
export function cellOfRow(head: SegmentHead, row: number): number {
  return lastAtMost(head.firstRows, head.cells.length, row);
}

/** The last of the first `count` of ascending `values` that is at most `value`; 0 when none is. */
function lastAtMost(values: Uint32Array, count: number, value: number): number {
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((values[middle] as number) <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
