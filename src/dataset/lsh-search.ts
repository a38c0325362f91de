/** Search of a `lsh-cosine` Track: the cells that multi-probe names first, of every segment (spec/0004-spatial-indexing.md §5). */
import { probeTables } from "../index/probe.ts";
import type { LshPlanes } from "../kernels/kernels.ts";
import type { Span } from "../objects/column.ts";
import type { EmbeddingField } from "../objects/field.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { decodeSegmentAnchors, type SegmentBlock } from "../objects/segment.ts";
import type { Context } from "./context.ts";
import { type Scan, scanColumns } from "./exact-search.ts";
import type { Source } from "./hits.ts";
import {
  blocksOf,
  entriesOf,
  mergeRanges,
  type OpenSegment,
  openSegments,
  type RowRange,
  rowsOfCell,
} from "./segments.ts";
import { inParallel } from "./session.ts";
import { anchorsOf, firstAtLeast } from "./timeline.ts";

/**
 * As many cells as one table's divided by this are probed when the caller does not say: recall@10 of .94 on 340k word
 * vectors. Of several tables no more in all: on 34k of them, .92 with one table, .96 with two and .99 with eight.
 */
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

/** Search of the nearest cells of every segment; returns how many were probed. */
export async function scanCells(
  target: LshTarget,
  plan: LshPlan,
  scan: Scan<Source>,
  planes: readonly LshPlanes[],
): Promise<number> {
  const { session } = target.ctx;
  const segments = await openSegments(session, plan.track, await entriesOf(session, plan.track));
  const { ranges, probed } = probe(planes, plan, segments);
  const bare: CellRows[] = [];
  const full: (CellRows & { firstId: number })[] = [];
  // Ids are given in the order of the segments, whatever order their bytes arrive in, so that ties fall alike.
  segments.forEach((segment, i) => {
    const rows = { segment, ranges: mergeRanges(ranges[i] as RowRange[]) };
    const { entry, container } = segment;
    if (rows.ranges.length === 0) return;
    if (container.head.blocks.at(0).vectors === undefined) bare.push(rows);
    else full.push({ ...rows, firstId: scan.add({ segment: entry, container }, container.head.rows) });
  });
  await inParallel(full, (rows) => scanBlocks(target, plan, scan, rows));
  if (bare.length > 0) await scanBare(target, plan, scan, bare);
  return probed;
}

/** The rows of one segment that lie in probed cells; ascending, apart. */
interface CellRows {
  segment: OpenSegment;
  ranges: RowRange[];
}

/** Cells to probe of each hash table, on average: the nearest of all tables are taken together. */
export function probesOf(plan: { nprobe: number | undefined }, planes: readonly LshPlanes[]): number {
  return plan.nprobe ?? Math.ceil(cellsOf(planes) / (DEFAULT_PROBED_SHARE * planes.length));
}

/** Cells of one hash table. */
export function cellsOf(planes: readonly LshPlanes[]): number {
  return 2 ** (planes[0] as LshPlanes).bits;
}

/**
 * Rows of each segment that lie in the nearest cells: `nprobe` of them a table, and more until topK rows are covered.
 * A row that several tables cover counts once: how many do is not known before anchors are read, but no table has a row
 * twice, so that the table with the most rows tells how many there are at least.
 */
function probe(
  planes: readonly LshPlanes[],
  plan: LshPlan,
  segments: readonly OpenSegment[],
): { ranges: RowRange[][]; probed: number } {
  const perTable = cellsOf(planes);
  const tableOf = (cell: number): number => Math.floor(cell / perTable);
  const ranges: RowRange[][] = segments.map(() => []);
  const tables = planes.map(() => ({ segments: [] as number[], total: 0, rows: 0 }));
  segments.forEach(({ container: { head } }, i) => {
    const table = tables[tableOf(head.cells[0] as number)] as (typeof tables)[number];
    table.segments.push(i);
    table.total += head.rows;
  });
  const wanted = probesOf(plan, planes) * planes.length;
  const isCovered = (): boolean => tables.some(({ rows, total }) => rows >= Math.min(plan.topK, total));
  let probed = 0;
  for (const cell of probeTables(planes.map((each) => each.margins(plan.vector)))) {
    if (probed >= wanted && isCovered()) break;
    probed++;
    const table = tables[tableOf(cell)] as (typeof tables)[number];
    for (const i of table.segments) {
      const range = rowsOfCell(segments[i] as OpenSegment, cell);
      if (range === undefined) continue;
      table.rows += range.to - range.from;
      (ranges[i] as RowRange[]).push(range);
    }
  }
  return { ranges, probed };
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
