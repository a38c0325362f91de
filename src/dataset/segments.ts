/** The segments of a Track, opened, and which of their blocks hold which rows. */
import type { SegmentEntry } from "../objects/index-tree.ts";
import { segmentCodec } from "../objects/index-tree.ts";
import { codingOf, type Track } from "../objects/manifest.ts";
import { decodeSegmentHead, type SegmentBlock, type SegmentHead } from "../objects/segment.ts";
import { inParallel, type OpenContainer, type Session } from "./session.ts";
import { entriesIn } from "./timeline.ts";

export interface OpenSegment {
  entry: SegmentEntry;
  container: OpenContainer<SegmentHead>;
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

export async function entriesOf(session: Session, track: Track): Promise<SegmentEntry[]> {
  const entries: SegmentEntry[] = [];
  for await (const entry of entriesIn(session, track.segments, segmentCodec)) entries.push(entry);
  return entries;
}

/** Errors: `LineageMismatch` for a segment that was made for another index or compressor, `Corrupt`, `HashMismatch`. */
export async function openSegments(
  session: Session,
  track: Track,
  entries: readonly SegmentEntry[],
): Promise<OpenSegment[]> {
  const coding = codingOf(track);
  const opened: OpenSegment[] = new Array(entries.length);
  await inParallel([...entries.keys()], async (i) => {
    const entry = entries[i] as SegmentEntry;
    const container = await session.open(entry.container, (bytes, totalBytes) =>
      decodeSegmentHead(bytes, { totalBytes, ...coding }),
    );
    opened[i] = { entry, container };
  });
  return opened;
}

/** The rows of `cell`, or undefined when the segment has none. */
export function rowsOfCell(head: SegmentHead, cell: number): RowRange | undefined {
  const { cells, firstRows } = head;
  let low = 0;
  let high = cells.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const found = cells[middle] as number;
    if (found === cell) return { from: firstRows[middle] as number, to: firstRows[middle + 1] as number };
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
