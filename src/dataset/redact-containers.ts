/** Columns, indexes over scalars and segments without what some of their rows hold (spec/0020-maintenance.md §5): bytes in, bytes out. */
import { addressFromMultihash } from "../core/address.ts";
import {
  type ColumnHead,
  type ColumnSource,
  decodeColumnHead,
  encodeColumn,
  openBlock,
  type Sealed,
  ValueType,
} from "../objects/column.ts";
import { encodeScalarIndex, type IndexSource } from "../objects/scalar-index.ts";
import {
  decodeSegmentAnchors,
  decodeSegmentHead,
  encodeSegment,
  type SegmentCoding,
  type SegmentHead,
} from "../objects/segment.ts";
import { indexSource } from "./index-source.ts";

const utf8 = new TextEncoder();

/** A column with no value in the rows `dead`; undefined when no row has one then. The others keep their rows. */
export function withoutRows(bytes: Uint8Array, dead: ReadonlySet<number>): ColumnSource | undefined {
  const head = decodeColumnHead(bytes, bytes.length);
  const { kind, type, rows, width } = head;
  const presence = new Uint8Array(rows);
  const parts: Uint8Array[] = [];
  const ends = new Uint32Array(rows);
  const fixed = width > 0 ? new Uint8Array(rows * width) : undefined;
  let filled = 0;
  for (const block of head.blocks) {
    const opened = openBlock(head, block, bytes.subarray(block.offset, block.offset + block.bytes));
    for (let i = 0; i < block.rows; i++) {
      const row = block.firstRow + i;
      const isKept = opened.isPresent(i) && !dead.has(row);
      presence[row] = isKept ? 1 : 0;
      if (isKept && fixed !== undefined) fixed.set(opened.value(i), row * width);
      else if (isKept) {
        const value = opened.value(i);
        parts.push(value);
        filled += value.length;
      }
      ends[row] = filled;
    }
  }
  if (!presence.includes(1)) return undefined;
  const values = fixed ?? joined(parts, filled);
  const base: ColumnSource = { kind, type, rows, width, values };
  const shaped = fixed === undefined ? { ...base, ends } : base;
  const source = presence.includes(0) ? { ...shaped, presence } : shaped;
  return type === ValueType.categorical ? withUsedWords(source, head, presence) : source;
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** The words that only deleted rows had go too, and codes number those that are left. */
function withUsedWords(source: ColumnSource, head: ColumnHead, presence: Uint8Array): ColumnSource {
  const { values, rows } = source;
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
  const isUsed = new Uint8Array(head.dictionary.length);
  for (let row = 0; row < rows; row++) if (presence[row] === 1) isUsed[view.getUint32(4 * row, true)] = 1;
  const codes = new Uint32Array(isUsed.length);
  const dictionary: Uint8Array[] = [];
  head.dictionary.forEach((word, code) => {
    codes[code] = dictionary.length;
    if (isUsed[code] === 1) dictionary.push(utf8.encode(word));
  });
  for (let row = 0; row < rows; row++)
    if (presence[row] === 1) view.setUint32(4 * row, codes[view.getUint32(4 * row, true)] as number, true);
  return { ...source, dictionary };
}

/** The columns of a batch, by field id, without the values of its rows `dead`. */
export interface RedactedBatch {
  columns: Map<number, Sealed>;
  scalarIndex: Sealed | undefined;
}

/**
 * @param columns the bytes of the columns, by field id
 * @param indexed ids of the fields that the batch has an index of
 */
export function redactBatch(
  columns: ReadonlyMap<number, Uint8Array>,
  rows: number,
  dead: ReadonlySet<number>,
  indexed: ReadonlySet<number>,
): RedactedBatch {
  const sealed = new Map<number, Sealed>();
  const sources: IndexSource[] = [];
  for (const [id, bytes] of [...columns].sort(([a], [b]) => a - b)) {
    const source = withoutRows(bytes, dead);
    if (source === undefined) continue;
    sealed.set(id, encodeColumn(source));
    if (indexed.has(id)) sources.push(indexSource(id, source));
  }
  return { columns: sealed, scalarIndex: encodeScalarIndex(rows, sources) };
}

/** What of a segment is in which row. */
export interface SegmentRows {
  head: SegmentHead;
  /** Each row's anchor less the segment's base. */
  offsets: BigUint64Array;
}

export function segmentRows(bytes: Uint8Array, coding: SegmentCoding): SegmentRows {
  const head = decodeSegmentHead(bytes, { totalBytes: bytes.length, ...coding });
  const offsets = new BigUint64Array(head.rows);
  for (const block of head.blocks) {
    const { offset, bytes: length } = block.anchors;
    offsets.set(decodeSegmentAnchors(head, block, bytes.subarray(offset, offset + length)), block.firstRow);
  }
  return { head, offsets };
}

/** A segment without the rows of some anchors; undefined when none is left. */
export function redactSegment(
  bytes: Uint8Array,
  coding: SegmentCoding,
  { head, offsets }: SegmentRows,
  isDead: (offset: bigint) => boolean,
): { sealed: Sealed; rows: number } | undefined {
  const kept = Uint32Array.from(offsets.keys()).filter((row) => !isDead(offsets[row] as bigint));
  if (kept.length === 0) return undefined;
  const cells: number[] = [];
  const firstRows: number[] = [];
  let place = 0;
  for (const [i, row] of kept.entries()) {
    while (row >= (head.firstRows[place + 1] as number)) place++;
    const cell = head.cells[place] as number;
    if (cells.at(-1) === cell) continue;
    cells.push(cell);
    firstRows.push(i);
  }
  const { dim, compressor } = coding;
  // What it was made for stays, whatever index the Track has by now.
  const spatialIndex = addressFromMultihash(bytes.subarray(24, 58), "segment.spatialIndex");
  const rowBytes = compressor?.rowBytes ?? 0;
  const codes = compressor === undefined ? undefined : gathered(bytes, head, kept, rowBytes, "codes");
  const vectors = gathered(bytes, head, kept, dim * 4, "vectors");
  const sealed = encodeSegment({
    spatialIndex,
    dim,
    rows: kept.length,
    cells: Uint32Array.from(cells),
    firstRows: Uint32Array.from(firstRows),
    offsets: BigUint64Array.from(kept, (row) => offsets[row] as bigint),
    ...(compressor === undefined || codes === undefined
      ? {}
      : { codes: { compressor: compressor.address, rowBytes, bytes: codes } }),
    ...(vectors === undefined ? {} : { vectors }),
  });
  return { sealed, rows: kept.length };
}

/** A section's bytes of the rows `kept`; undefined for a segment without that section. */
function gathered(
  bytes: Uint8Array,
  { blocks }: SegmentHead,
  kept: Uint32Array,
  rowBytes: number,
  section: "codes" | "vectors",
): Uint8Array | undefined {
  // Sections are whole: where one block has one, so have all, and rows follow each other without gaps.
  const first = blocks.at(0)[section];
  if (first === undefined) return undefined;
  const out = new Uint8Array(kept.length * rowBytes);
  for (const [i, row] of kept.entries()) {
    const at = first.offset + row * rowBytes;
    out.set(bytes.subarray(at, at + rowBytes), i * rowBytes);
  }
  return out;
}
