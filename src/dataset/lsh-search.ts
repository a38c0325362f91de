/** Search of a `lsh-cosine` Track: the cells that multi-probe names first, of every segment (spec/0004-spatial-indexing.md §5). */
import { probeCells } from "../index/probe.ts";
import type { LshPlanes } from "../kernels/kernels.ts";
import type { Span } from "../objects/column.ts";
import type { EmbeddingField } from "../objects/field.ts";
import { type SegmentEntry, segmentCodec } from "../objects/index-tree.ts";
import { codingOf, type Manifest, type Track } from "../objects/manifest.ts";
import {
  decodeSegmentAnchors,
  decodeSegmentHead,
  type SegmentBlock,
  type SegmentHead,
} from "../objects/segment.ts";
import type { Context } from "./context.ts";
import { type Scan, scanColumns } from "./exact-search.ts";
import type { Source } from "./hits.ts";
import { inParallel, type OpenContainer } from "./session.ts";
import { anchorsOf, entriesIn, firstAtLeast } from "./timeline.ts";

/** One cell in so many is probed when the caller does not say: recall@10 of .94 on 340k word vectors. */
const DEFAULT_PROBED_SHARE = 8;

export interface LshTarget {
  ctx: Context;
  manifest: Manifest;
}

export interface LshPlan {
  field: EmbeddingField;
  track: Track;
  vector: Float32Array;
  topK: number;
  nprobe: number | undefined;
}

/** Search of the nearest cells of every segment. */
export async function scanCells(
  target: LshTarget,
  plan: LshPlan,
  scan: Scan<Source>,
  planes: LshPlanes,
): Promise<void> {
  const segments = await openSegments(target, plan.track);
  const ranges = probe(planes, plan, segments);
  const bare: CellRows[] = [];
  const full: (CellRows & { firstId: number })[] = [];
  // Ids are given in the order of the segments, whatever order their bytes arrive in, so that ties fall alike.
  segments.forEach((segment, i) => {
    const rows = { segment, ranges: mergeRanges(ranges[i] as RowRange[]) };
    const { entry, container } = segment;
    if (rows.ranges.length === 0) return;
    if (container.head.blocks[0]?.vectors === undefined) bare.push(rows);
    else full.push({ ...rows, firstId: scan.add({ segment: entry, container }, container.head.rows) });
  });
  await inParallel(full, (rows) => scanBlocks(target, plan, scan, rows));
  if (bare.length > 0) await scanBare(target, plan, scan, bare);
}

/** The rows of one segment that lie in probed cells; ascending, apart. */
interface CellRows {
  segment: OpenSegment;
  ranges: RowRange[];
}

interface OpenSegment {
  entry: SegmentEntry;
  container: OpenContainer<SegmentHead>;
}

interface RowRange {
  from: number;
  to: number;
}

async function openSegments(target: LshTarget, track: Track): Promise<OpenSegment[]> {
  const { session } = target.ctx;
  const entries: SegmentEntry[] = [];
  for await (const entry of entriesIn(session, track.segments, segmentCodec)) entries.push(entry);
  const opened: OpenSegment[] = new Array(entries.length);
  await inParallel([...entries.keys()], async (i) => {
    const entry = entries[i] as SegmentEntry;
    const container = await session.open(entry.container, (bytes, totalBytes) =>
      decodeSegmentHead(bytes, { totalBytes, ...codingOf(track) }),
    );
    opened[i] = { entry, container };
  });
  return opened;
}

export function probesOf(plan: { nprobe: number | undefined }, planes: LshPlanes): number {
  return plan.nprobe ?? Math.ceil(2 ** planes.bits / DEFAULT_PROBED_SHARE);
}

/** Rows of each segment that lie in the nearest cells: `nprobe` of them, and more until topK rows are covered. */
function probe(planes: LshPlanes, plan: LshPlan, segments: readonly OpenSegment[]): RowRange[][] {
  const ranges: RowRange[][] = segments.map(() => []);
  const total = segments.reduce((sum, segment) => sum + segment.container.head.rows, 0);
  const nprobe = probesOf(plan, planes);
  let probed = 0;
  let rows = 0;
  for (const cell of probeCells(planes.margins(plan.vector))) {
    if (probed >= nprobe && (rows >= plan.topK || rows >= total)) break;
    probed++;
    segments.forEach((segment, i) => {
      const { head } = segment.container;
      const at = indexOf(head.cells, cell);
      if (at < 0) return;
      const range = { from: head.firstRows[at] as number, to: head.firstRows[at + 1] as number };
      rows += range.to - range.from;
      (ranges[i] as RowRange[]).push(range);
    });
  }
  return ranges;
}

function indexOf(ascending: Uint32Array, value: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const found = ascending[middle] as number;
    if (found === value) return middle;
    if (found < value) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

function mergeRanges(ranges: readonly RowRange[]): RowRange[] {
  const merged: RowRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.from - b.from)) {
    const last = merged.at(-1);
    if (last !== undefined && range.from <= last.to) last.to = Math.max(last.to, range.to);
    else merged.push({ ...range });
  }
  return merged;
}

/**
 * Scores every row of the blocks that probed cells lie in, with the vectors that the segment itself carries: a
 * block has to be hashed whole before any of it may be used, which costs ten times the scan of its other rows.
 */
async function scanBlocks(
  target: LshTarget,
  plan: LshPlan,
  scan: Scan<Source>,
  { segment, ranges, firstId }: CellRows & { firstId: number },
): Promise<void> {
  const blocks = blocksOf(segment.container.head, ranges).map(({ block }) => block);
  const spans = blocks.map((block) => ({ span: block.vectors as Span, rows: block.rows, skipBytes: 0 }));
  await target.ctx.vectors.visit(segment.container, plan.field.dim, spans, (i, resident) => {
    const { firstRow, rows } = blocks[i] as SegmentBlock;
    scan.block(resident.pointer, resident.invNorms, rows, firstId + firstRow);
  });
}

interface BlockRanges {
  block: SegmentBlock;
  parts: RowRange[];
}

/** The blocks that `ranges` touch, each with its own part of them. */
function blocksOf(head: SegmentHead, ranges: readonly RowRange[]): BlockRanges[] {
  const out: BlockRanges[] = [];
  let next = 0;
  for (const block of head.blocks) {
    const end = block.firstRow + block.rows;
    const parts: RowRange[] = [];
    while (next < ranges.length && (ranges[next] as RowRange).from < end) {
      const range = ranges[next] as RowRange;
      parts.push({ from: Math.max(range.from, block.firstRow), to: Math.min(range.to, end) });
      if (range.to > end) break;
      next++;
    }
    if (parts.length > 0) out.push({ block, parts });
  }
  return out;
}

/** Segments without vectors say which rows of which batches to score; the columns have the vectors. */
async function scanBare(
  target: LshTarget,
  plan: LshPlan,
  scan: Scan<Source>,
  bare: readonly CellRows[],
): Promise<void> {
  const { session } = target.ctx;
  const ticks: bigint[] = [];
  for (const { segment, ranges } of bare) {
    for (const { block, parts } of blocksOf(segment.container.head, ranges)) {
      const [bytes] = await session.spans(segment.container, [block.anchors]);
      const offsets = decodeSegmentAnchors(segment.container.head, block, bytes as Uint8Array);
      for (const { from, to } of parts) {
        for (let row = from; row < to; row++)
          ticks.push(segment.entry.base + (offsets[row - block.firstRow] as bigint));
      }
    }
  }
  const ascending = BigUint64Array.from(ticks).sort();
  await scanColumns(target, plan.field, scan, async (entry) => {
    const from = firstAtLeast(ascending, entry.base);
    const to = firstAtLeast(ascending, entry.base + entry.span + 1n);
    if (from === to) return undefined;
    const anchors = await anchorsOf(session, entry);
    const chosen = new Uint8Array(entry.rows);
    for (const tick of ascending.subarray(from, to)) {
      const row = anchors.rowFrom(tick);
      if (row < entry.rows && anchors.tick(row) === tick) chosen[row] = 1;
    }
    return chosen;
  });
}
