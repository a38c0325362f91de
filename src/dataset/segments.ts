/** The segments of a Track, opened, and which of their blocks hold which rows. */
import { DreamDBError } from "../errors.ts";
import { type CellLineage, decodeCellLineage, hiddenCells } from "../objects/cell-lineage.ts";
import type { SegmentEntry } from "../objects/index-tree.ts";
import { segmentCodec } from "../objects/index-tree.ts";
import { codingOf, type Track } from "../objects/manifest.ts";
import {
  decodeSegmentAnchors,
  decodeSegmentHead,
  type SegmentBlock,
  type SegmentHead,
} from "../objects/segment.ts";
import { corrupt } from "../objects/shape.ts";
import { cellCount } from "../objects/spatial-index.ts";
import { inParallel, type OpenContainer, type Session } from "./session.ts";
import { entriesIn } from "./timeline.ts";

export interface OpenSegment {
  entry: SegmentEntry;
  container: OpenContainer<SegmentHead>;
  /** By place in its cell table, 1 where rows do not count: a later index has them elsewhere. */
  hidden?: Uint8Array;
}

/** Rows of one segment, `to` not included. */
export interface RowRange {
  from: number;
  to: number;
}

/** A block, and the parts of it that were asked for. */
export interface BlockRanges {
  block: SegmentBlock;
  parts: RowRange[];
}

/** A Track's segments, of those that were redacted what stands for them. */
export function segmentsIn(
  session: Session,
  { segments, lineage }: Pick<Track, "segments" | "lineage">,
): AsyncGenerator<SegmentEntry> {
  return entriesIn(session, segments, segmentCodec, undefined, lineage);
}

export async function entriesOf(session: Session, track: Track): Promise<SegmentEntry[]> {
  const entries: SegmentEntry[] = [];
  for await (const entry of segmentsIn(session, track)) entries.push(entry);
  return entries;
}

/** Errors: `LineageMismatch` for a segment that was made for another index or compressor, `Corrupt`, `HashMismatch`. */
export async function openSegments(
  session: Session,
  track: Track,
  entries: readonly SegmentEntry[],
): Promise<OpenSegment[]> {
  const coding = codingOf(track);
  const opened: OpenContainer<SegmentHead>[] = new Array(entries.length);
  // In one round trip: neither the heads nor the lineage need the other.
  const [lineage] = await Promise.all([
    readLineage(session, track),
    inParallel([...entries.keys()], async (i) => {
      opened[i] = await session.open((entries[i] as SegmentEntry).container, (bytes, totalBytes) =>
        decodeSegmentHead(bytes, { totalBytes, ...coding }),
      );
    }),
  ]);
  return opened.map((container, i) => withHidden(track, lineage, entries[i] as SegmentEntry, container));
}

/** Undefined while all segments of a Track are of its own index. Errors: `Corrupt`, `NotFound`, `HashMismatch`. */
export async function readLineage(
  session: Session,
  { lineage, spatialIndex }: Track,
): Promise<CellLineage | undefined> {
  if (lineage === undefined) return undefined;
  const bytes = await session.object(lineage.address);
  if (bytes.length !== lineage.bytes) throw corrupt("track.lineage.bytes", bytes.length, lineage.bytes);
  return decodeCellLineage(bytes, cellCount(spatialIndex));
}

/** Errors: `LineageMismatch` for an index that the lineage does not know, `Corrupt` when the entry counts other rows. */
export function withHidden(
  track: Pick<Track, "address">,
  lineage: CellLineage | undefined,
  entry: SegmentEntry,
  container: OpenContainer<SegmentHead>,
): OpenSegment {
  const hidden = hiddenIn(track, lineage, container.head);
  const segment = { entry, container, ...(hidden === undefined ? {} : { hidden }) };
  const rows = rowsThatCount(segment);
  if (rows !== entry.rows) throw corrupt("segment.rows", entry.rows, rows);
  return segment;
}

/** By place in its cell table, 1 where rows of a segment do not count; undefined where all do. Errors: `LineageMismatch`. */
export function hiddenIn(
  { address }: Pick<Track, "address">,
  lineage: CellLineage | undefined,
  { cells, spatialIndex }: SegmentHead,
): Uint8Array | undefined {
  // Heads are kept by address: one that another Track brought here may name another index.
  if (spatialIndex === address) return undefined;
  const generation = lineage?.earlier.indexOf(spatialIndex) ?? -1;
  if (lineage === undefined || generation < 0) {
    throw new DreamDBError("LineageMismatch", "a segment that belongs to another index", {
      field: "segment.spatialIndex",
      found: spatialIndex,
      expected: [address, ...(lineage?.earlier ?? [])].join(" or "),
    });
  }
  return hiddenCells(lineage, generation, cells);
}

/** Rows of a segment that count. */
export function rowsThatCount(segment: { container: { head: SegmentHead }; hidden?: Uint8Array }): number {
  if (segment.hidden === undefined) return segment.container.head.rows;
  let rows = 0;
  for (const { from, to } of cellsIn(segment)) rows += to - from;
  return rows;
}

/** The cells of a segment whose rows count, ascending, and where these are. */
export function* cellsIn({
  container,
  hidden,
}: {
  container: { head: SegmentHead };
  hidden?: Uint8Array;
}): Generator<RowRange & { cell: number }> {
  const { cells, firstRows } = container.head;
  for (let i = 0; i < cells.length; i++) {
    if (hidden?.[i] === 1) continue;
    yield { cell: cells[i] as number, from: firstRows[i] as number, to: firstRows[i + 1] as number };
  }
}

/** The rows of `cell`, or undefined when the segment has none. */
export function rowsOfCell({ container, hidden }: OpenSegment, cell: number): RowRange | undefined {
  const { cells, firstRows } = container.head;
  let low = 0;
  let high = cells.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const found = cells[middle] as number;
    if (found === cell) {
      if (hidden?.[middle] === 1) return undefined;
      return { from: firstRows[middle] as number, to: firstRows[middle + 1] as number };
    }
    if (found < cell) low = middle + 1;
    else high = middle - 1;
  }
  return undefined;
}

/** Ranges in ascending order, those that touch made one. */
export function mergeRanges(ranges: readonly RowRange[]): RowRange[] {
  const merged: RowRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.from - b.from)) {
    const last = merged.at(-1);
    if (last !== undefined && range.from <= last.to) last.to = Math.max(last.to, range.to);
    else merged.push({ ...range });
  }
  return merged;
}

/** The blocks that `ranges` (ascending, apart) touch, each with its own part of them. */
export function blocksOf(head: SegmentHead, ranges: readonly RowRange[]): BlockRanges[] {
  const out: BlockRanges[] = [];
  const { blocks } = head;
  let last = -1;
  for (const { from, to } of ranges) {
    for (let i = blocks.indexOf(from); i < blocks.length && (blocks.firstRows[i] as number) < to; i++) {
      if (i !== last) out.push({ block: blocks.at(i), parts: [] });
      last = i;
      const { block, parts } = out.at(-1) as BlockRanges;
      parts.push({
        from: Math.max(from, block.firstRow),
        to: Math.min(to, block.firstRow + block.rows),
      });
    }
  }
  return out;
}

/** Anchors of a segment's rows that count, block by block, in the order of its rows. */
export async function* anchorsIn(session: Session, segment: OpenSegment): AsyncGenerator<BigUint64Array> {
  const { entry, container } = segment;
  const { head } = container;
  const ranges = mergeRanges([...cellsIn(segment)]);
  for (const { block, parts } of blocksOf(head, ranges)) {
    const [bytes] = await session.spans(container, [block.anchors], false);
    const offsets = decodeSegmentAnchors(head, block, bytes as Uint8Array);
    for (const { from, to } of parts)
      yield offsets.subarray(from - block.firstRow, to - block.firstRow).map((offset) => entry.base + offset);
  }
}
