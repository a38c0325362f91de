/**
 * Column containers: ScalarBucket, VectorStorage, Fragment and Anchors share one layout
 * (spec/0007-streaming-encapsulation.md §3).
 *
 *   offset size
 *        0    4  magic "DDBC"
 *        4    2  version, 1
 *        6    1  kind: 1 ScalarBucket, 2 VectorStorage, 3 Fragment, 4 Anchors
 *        7    1  type of the values, see ValueType
 *        8    4  rows
 *       12    4  width: bytes a row, 0 when rows differ in length
 *       16    4  blocks
 *       20    4  dictionary bytes
 *       24    4  dictionary count
 *       28    4  flags: bit 0, blocks begin with a presence bitmap
 *       32    8  head bytes
 *       40    8  total bytes
 *       48       blocks × { 8 offset, 4 bytes, 4 first row, 32 BLAKE3 }
 *                dictionary: count × { 4 length, UTF-8 }, ascending
 *                zeros up to a multiple of 64: here the head ends and the first block begins
 */
import { addressOf } from "../core/address.ts";
import { blake3 } from "../core/blake3.ts";
import { compareBytes, MAX_OBJECT_BYTES } from "../core/cbor.ts";
import { decodeUtf8 } from "../core/utf8.ts";
import { DreamDBError } from "../errors.ts";
import { ALIGN_BYTES, BLOCK_BYTES, COLUMN_BLOCK_ROW_BYTES, COLUMN_HEAD_BYTES } from "../layout/column.ts";
import type { ContainerRef } from "./container-ref.ts";
import { corrupt } from "./shape.ts";

const MAGIC = 0x43424444; // "DDBC"
const VERSION = 1;
const FLAG_PRESENCE = 1;

export const ColumnKind = { scalar: 1, vector: 2, fragment: 3, anchors: 4 } as const;
export const ValueType = {
  bool: 1,
  i64: 2,
  f64: 3,
  utf8: 4,
  categorical: 5,
  timestamp: 6,
  f32: 7,
  bytes: 8,
  u64: 9,
} as const;

/** A verified run of bytes inside a container. */
export interface Span {
  offset: number;
  bytes: number;
  hash: Uint8Array;
}

export interface ColumnBlock extends Span {
  firstRow: number;
  rows: number;
}

export interface ColumnHead {
  kind: number;
  type: number;
  rows: number;
  /** Bytes a row, 0 when rows differ. */
  width: number;
  hasPresence: boolean;
  blocks: ColumnBlock[];
  dictionary: string[];
}

/** Values ready to be laid into a container. */
export interface ColumnSource {
  kind: number;
  type: number;
  rows: number;
  /** Bytes a row, or 0 with `ends`. */
  width: number;
  /** All values one after the other; absent rows are zeros (fixed width) or empty. */
  values: Uint8Array;
  /** With width 0: where each row's value ends in `values`. */
  ends?: Uint32Array;
  /** One byte a row, 1 = present; left out when every row has a value. */
  presence?: Uint8Array;
  dictionary?: Uint8Array[];
}

/** An object ready to be stored, and how an index refers to it. */
export interface Sealed {
  ref: ContainerRef;
  bytes: Uint8Array;
}

export function encodeColumn(source: ColumnSource): Sealed {
  const firstRows = cutBlocks(source);
  const dictionary = source.dictionary ?? [];
  const dictionaryBytes = dictionary.reduce((sum, word) => sum + 4 + word.length, 0);
  const headBytes = align(COLUMN_HEAD_BYTES + firstRows.length * COLUMN_BLOCK_ROW_BYTES + dictionaryBytes);
  const blocks = firstRows.map((first, i) => {
    const rows = (firstRows[i + 1] ?? source.rows) - first;
    return { first, rows, bytes: blockBytes(source, first, rows) };
  });
  const totalBytes = blocks.reduce((at, block) => align(at) + block.bytes, headBytes);
  if (totalBytes > MAX_OBJECT_BYTES) {
    throw new DreamDBError("LimitExceeded", "a column of one batch is too large", {
      found: totalBytes,
      expected: `at most ${MAX_OBJECT_BYTES} bytes`,
    });
  }

  const out = new Uint8Array(totalBytes);
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, VERSION, true);
  out[6] = source.kind;
  out[7] = source.type;
  view.setUint32(8, source.rows, true);
  view.setUint32(12, source.width, true);
  view.setUint32(16, blocks.length, true);
  view.setUint32(20, dictionaryBytes, true);
  view.setUint32(24, dictionary.length, true);
  view.setUint32(28, source.presence === undefined ? 0 : FLAG_PRESENCE, true);
  view.setBigUint64(32, BigInt(headBytes), true);
  view.setBigUint64(40, BigInt(totalBytes), true);

  let offset = headBytes;
  blocks.forEach((block, i) => {
    offset = align(offset);
    writeBlock(out.subarray(offset, offset + block.bytes), source, block.first, block.rows);
    const row = COLUMN_HEAD_BYTES + i * COLUMN_BLOCK_ROW_BYTES;
    view.setBigUint64(row, BigInt(offset), true);
    view.setUint32(row + 8, block.bytes, true);
    view.setUint32(row + 12, block.first, true);
    out.set(blake3(out.subarray(offset, offset + block.bytes)), row + 16);
    offset += block.bytes;
  });
  writeDictionary(out, COLUMN_HEAD_BYTES + blocks.length * COLUMN_BLOCK_ROW_BYTES, dictionary);
  return seal(out, headBytes, blocks.length);
}

/** A container of one block is read whole and checked by its address alone; longer ones name their head's hash. */
export function seal(bytes: Uint8Array, headBytes: number, blocks: number): Sealed {
  const ref: ContainerRef = { address: addressOf(bytes), bytes: bytes.length };
  if (blocks > 1) ref.head = { bytes: headBytes, hash: blake3(bytes.subarray(0, headBytes)) };
  return { ref, bytes };
}

export function align(offset: number): number {
  return Math.ceil(offset / ALIGN_BYTES) * ALIGN_BYTES;
}

/** First rows of the blocks. */
function cutBlocks(source: ColumnSource): number[] {
  const firstRows: number[] = [];
  if (source.ends === undefined) {
    const rowsPerBlock = fixedBlockRows(source.width);
    for (let row = 0; row < source.rows; row += rowsPerBlock) firstRows.push(row);
    return firstRows;
  }
  let blockStart = 0;
  let previousEnd = 0;
  for (let row = 0; row < source.rows; row++) {
    const end = source.ends[row] as number;
    if (row === 0 || end - blockStart > BLOCK_BYTES) {
      firstRows.push(row);
      blockStart = previousEnd;
    }
    previousEnd = end;
  }
  return firstRows;
}

/** Rows of every block but the last, when rows have one width. */
export function fixedBlockRows(width: number): number {
  return Math.max(1, Math.floor(BLOCK_BYTES / width));
}

function presenceBytes(rows: number): number {
  return Math.ceil(rows / 64) * 8;
}

function blockBytes(source: ColumnSource, first: number, rows: number): number {
  const presence = source.presence === undefined ? 0 : presenceBytes(rows);
  if (source.ends === undefined) return presence + rows * source.width;
  const start = first === 0 ? 0 : (source.ends[first - 1] as number);
  return presence + (rows + 1) * 4 + (source.ends[first + rows - 1] as number) - start;
}

function writeBlock(out: Uint8Array, source: ColumnSource, first: number, rows: number): void {
  let at = 0;
  if (source.presence !== undefined) {
    for (let i = 0; i < rows; i++)
      if (source.presence[first + i] === 1) out[i >> 3] = (out[i >> 3] as number) | (1 << (i & 7));
    at = presenceBytes(rows);
  }
  if (source.ends === undefined) {
    out.set(source.values.subarray(first * source.width, (first + rows) * source.width), at);
    return;
  }
  const start = first === 0 ? 0 : (source.ends[first - 1] as number);
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  for (let i = 0; i < rows; i++)
    view.setUint32(at + 4 * (i + 1), (source.ends[first + i] as number) - start, true);
  out.set(source.values.subarray(start, source.ends[first + rows - 1]), at + 4 * (rows + 1));
}

function writeDictionary(out: Uint8Array, offset: number, words: readonly Uint8Array[]): void {
  const view = new DataView(out.buffer);
  let at = offset;
  for (const word of words) {
    view.setUint32(at, word.length, true);
    out.set(word, at + 4);
    at += 4 + word.length;
  }
}

/**
 * Reads a head out of `bytes`, which hold the head or the whole container and have been verified.
 * @param totalBytes the container's length by its index. Errors: `Corrupt`, `UnsupportedVersion`.
 */
export function decodeColumnHead(bytes: Uint8Array, totalBytes: number): ColumnHead {
  if (bytes.length < COLUMN_HEAD_BYTES)
    throw corrupt("column", `${bytes.length} bytes`, `at least ${COLUMN_HEAD_BYTES}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== MAGIC) throw corrupt("column.magic", view.getUint32(0, true), MAGIC);
  checkVersion("column", view.getUint16(4, true), view.getUint32(28, true), FLAG_PRESENCE);
  if (
    bytes[7] !== ValueType.categorical &&
    (view.getUint32(20, true) !== 0 || view.getUint32(24, true) !== 0)
  ) {
    throw corrupt("column.dictionary", "a dictionary", "none for this type");
  }
  const rows = view.getUint32(8, true);
  const width = view.getUint32(12, true);
  const blockCount = view.getUint32(16, true);
  const tableEnd = COLUMN_HEAD_BYTES + blockCount * COLUMN_BLOCK_ROW_BYTES;
  const headBytes = Number(view.getBigUint64(32, true));
  if (headBytes > bytes.length || headBytes !== align(tableEnd + view.getUint32(20, true))) {
    throw corrupt("column.headBytes", headBytes, align(tableEnd + view.getUint32(20, true)));
  }
  if (Number(view.getBigUint64(40, true)) !== totalBytes)
    throw corrupt("column.totalBytes", view.getBigUint64(40, true), totalBytes);
  const hasPresence = (view.getUint32(28, true) & FLAG_PRESENCE) !== 0;
  return {
    kind: bytes[6] as number,
    type: bytes[7] as number,
    rows,
    width,
    hasPresence,
    blocks: readBlocks(view, { rows, width, blockCount, headBytes, totalBytes, hasPresence }),
    dictionary: readDictionary(bytes, view, tableEnd),
  };
}

/** Refuses versions and flags that this library does not know, naming the container. */
export function checkVersion(what: string, version: number, flags: number, knownFlags: number): void {
  if (version === 0) throw corrupt(`${what}.version`, 0, VERSION);
  const field = version > VERSION ? "version" : "flags";
  if (version <= VERSION && (flags & ~knownFlags) === 0) return;
  throw new DreamDBError("UnsupportedVersion", `a ${what} of a newer format; upgrade the library`, {
    field: `${what}.${field}`,
    found: field === "version" ? version : flags,
    expected: field === "version" ? VERSION : knownFlags,
  });
}

interface BlockTable {
  rows: number;
  width: number;
  blockCount: number;
  headBytes: number;
  totalBytes: number;
  hasPresence: boolean;
}

function readBlocks(view: DataView, table: BlockTable): ColumnBlock[] {
  const blocks: ColumnBlock[] = [];
  let end = table.headBytes;
  for (let i = 0; i < table.blockCount; i++) {
    const row = COLUMN_HEAD_BYTES + i * COLUMN_BLOCK_ROW_BYTES;
    const offset = Number(view.getBigUint64(row, true));
    const bytes = view.getUint32(row + 8, true);
    const firstRow = view.getUint32(row + 12, true);
    const nextRow =
      i + 1 < table.blockCount ? view.getUint32(row + COLUMN_BLOCK_ROW_BYTES + 12, true) : table.rows;
    const rows = nextRow - firstRow;
    if (offset !== align(end) || offset + bytes > table.totalBytes)
      throw corrupt(`column.blocks[${i}].offset`, offset, align(end));
    if (rows < 1 || (i === 0 && firstRow !== 0))
      throw corrupt(`column.blocks[${i}].firstRow`, firstRow, "ascending from 0");
    const presence = table.hasPresence ? presenceBytes(rows) : 0;
    const least = presence + (table.width === 0 ? (rows + 1) * 4 : rows * table.width);
    if (table.width === 0 ? bytes < least : bytes !== least)
      throw corrupt(`column.blocks[${i}].bytes`, bytes, least);
    blocks.push({
      offset,
      bytes,
      firstRow,
      rows,
      hash: new Uint8Array(view.buffer, view.byteOffset + row + 16, 32),
    });
    end = offset + bytes;
  }
  if (blocks.length === 0)
    throw corrupt("column.rows", table.rows, "at least one row, in at least one block");
  if (end !== table.totalBytes) throw corrupt("column.totalBytes", table.totalBytes, end);
  return blocks;
}

function readDictionary(bytes: Uint8Array, view: DataView, offset: number): string[] {
  const count = view.getUint32(24, true);
  const end = offset + view.getUint32(20, true);
  const words: string[] = [];
  let at = offset;
  let previous: Uint8Array | undefined;
  for (let i = 0; i < count; i++) {
    const length = at + 4 <= end ? view.getUint32(at, true) : Number.POSITIVE_INFINITY;
    if (at + 4 + length > end)
      throw corrupt("column.dictionary", `entry ${i} past its end`, `${count} entries`);
    const word = bytes.subarray(at + 4, at + 4 + length);
    if (previous !== undefined && compareBytes(previous, word) >= 0)
      throw corrupt("column.dictionary", "entries out of order", "ascending");
    words.push(decodeUtf8(word, "column.dictionary"));
    previous = word;
    at += 4 + length;
  }
  if (at !== end) throw corrupt("column.dictionary", `${end - at} bytes left over`, 0);
  return words;
}

/** The rows of one block, laid over its verified bytes. */
export interface BlockRows {
  rows: number;
  isPresent(row: number): boolean;
  /** Bytes of one row's value. */
  value(row: number): Uint8Array;
  /** All values of a fixed-width block. */
  values: Uint8Array;
}

export function openBlock(head: ColumnHead, block: ColumnBlock, bytes: Uint8Array): BlockRows {
  const presence = head.hasPresence ? presenceBytes(block.rows) : 0;
  const isPresent = head.hasPresence
    ? (row: number): boolean => (((bytes[row >> 3] as number) >> (row & 7)) & 1) === 1
    : (): boolean => true;
  const { rows } = block;
  if (head.width > 0) {
    const values = bytes.subarray(presence);
    return {
      rows,
      isPresent,
      values,
      value: (row) => values.subarray(row * head.width, (row + 1) * head.width),
    };
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset + presence, 4 * (rows + 1));
  const values = bytes.subarray(presence + 4 * (rows + 1));
  let previous = 0;
  for (let i = 0; i <= rows; i++) {
    const end = view.getUint32(4 * i, true);
    if (end < previous || (i === 0 && end !== 0)) throw corrupt("column.offsets", end, "ascending from 0");
    previous = end;
  }
  if (previous !== values.length) throw corrupt("column.offsets", previous, values.length);
  return {
    rows,
    isPresent,
    values,
    value: (row) => values.subarray(view.getUint32(4 * row, true), view.getUint32(4 * (row + 1), true)),
  };
}

/** The block that holds `row`. */
export function blockOfRow(head: ColumnHead, row: number): number {
  let low = 0;
  let high = head.blocks.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((head.blocks[middle] as ColumnBlock).firstRow <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}
