/** The rows of chosen cells: anchors out of the segments, vectors out of the columns, which hold the truth. */

import { blockOfRow, type ColumnBlock } from "../objects/column.ts";
import type { EmbeddingField } from "../objects/field.ts";
import { type BatchEntry, batchCodec, type IndexRoot } from "../objects/index-tree.ts";
import { decodeSegmentAnchors } from "../objects/segment.ts";
import { corrupt } from "../objects/shape.ts";
import type { Context } from "./context.ts";
import { timeOrder } from "./rebuild.ts";
import { ColumnReader } from "./rows.ts";
import { blocksOf, cellsIn, mergeRanges, type OpenSegment } from "./segments.ts";
import type { Session } from "./session.ts";
import { anchorsOf, entriesIn, firstAtLeast } from "./timeline.ts";

/** Rows in ascending order of their anchors, each with its cell. */
export interface CellRows {
  ticks: BigUint64Array;
  cells: Uint32Array;
}

/** The anchors of all rows of `wanted` cells. */
export async function rowsOfCells(
  session: Session,
  segments: readonly OpenSegment[],
  wanted: ReadonlySet<number>,
): Promise<CellRows> {
  const ticks: BigUint64Array[] = [];
  const cells: number[] = [];
  for (const segment of segments) {
    const { entry, container } = segment;
    const { head } = container;
    const ranges = [...cellsIn(segment)].filter(({ cell }) => wanted.has(cell));
    if (ranges.length === 0) continue;
    const blocks = blocksOf(head, mergeRanges(ranges));
    const read = await session.spans(
      container,
      blocks.map(({ block }) => block.anchors),
      false,
    );
    let range = 0;
    blocks.forEach(({ block, parts }, i) => {
      const offsets = decodeSegmentAnchors(head, block, read[i] as Uint8Array);
      for (const { from, to } of parts) {
        ticks.push(
          offsets.subarray(from - block.firstRow, to - block.firstRow).map((each) => each + entry.base),
        );
        for (let row = from; row < to; row++) {
          while (row >= (ranges[range] as (typeof ranges)[number]).to) range++;
          cells.push((ranges[range] as (typeof ranges)[number]).cell);
        }
      }
    });
  }
  const all = new BigUint64Array(cells.length);
  let filled = 0;
  for (const part of ticks) {
    all.set(part, filled);
    filled += part.length;
  }
  const order = timeOrder(all);
  if (order === undefined) return { ticks: all, cells: Uint32Array.from(cells) };
  return {
    ticks: BigUint64Array.from(order, (row) => all[row] as bigint),
    cells: Uint32Array.from(order, (row) => cells[row] as number),
  };
}

/** Blocks of a column that are read at a time: 1 MiB. */
const READ_BLOCKS = 16;

/** Batches of a timeline that have a field, for reading its vectors by anchor. */
export class VectorsByAnchor {
  private readonly ctx: Context;
  private readonly field: EmbeddingField;
  private readonly batches: readonly BatchEntry[];

  private constructor(ctx: Context, field: EmbeddingField, batches: readonly BatchEntry[]) {
    this.ctx = ctx;
    this.field = field;
    this.batches = batches;
  }

  static async open(
    ctx: Context,
    field: EmbeddingField,
    timeline: IndexRoot<BatchEntry>,
  ): Promise<VectorsByAnchor> {
    const batches: BatchEntry[] = [];
    for await (const entry of entriesIn(ctx.session, timeline, batchCodec))
      if (entry.columns.has(field.id)) batches.push(entry);
    return new VectorsByAnchor(ctx, field, batches);
  }

  /**
   * Copies the vectors of the rows at `ticks` (ascending) to `out`, dim f32 each. Only blocks that have one are read.
   * Errors: `Corrupt` when there is no such row, or it has no vector.
   */
  async read(ticks: BigUint64Array, out: number): Promise<void> {
    let found = 0;
    for (const entry of this.batches) {
      const from = firstAtLeast(ticks, entry.base);
      const to = firstAtLeast(ticks, entry.base + entry.span + 1n);
      if (from < to) found += await this.readBatch(entry, ticks, from, to, out);
    }
    if (found !== ticks.length) throw corrupt("segment.anchors", `${found} vectors`, `${ticks.length} rows`);
  }

  private async readBatch(
    entry: BatchEntry,
    ticks: BigUint64Array,
    from: number,
    to: number,
    out: number,
  ): Promise<number> {
    const { session, kernels } = this.ctx;
    const anchors = await anchorsOf(session, entry);
    const reader = await ColumnReader.open(session, this.field, entry, true);
    if (reader === undefined) return 0;
    const { head, opened } = reader;
    const byBlock = new Map<number, { place: number; row: number }[]>();
    for (let place = from; place < to; place++) {
      const row = anchors.rowFrom(ticks[place] as bigint);
      if (row >= entry.rows || anchors.tick(row) !== ticks[place]) continue;
      const index = blockOfRow(head, row);
      const known = byBlock.get(index);
      if (known === undefined) byBlock.set(index, [{ place, row }]);
      else known.push({ place, row });
    }
    const rowBytes = 4 * this.field.dim;
    const wanted = [...byBlock];
    let found = 0;
    for (let first = 0; first < wanted.length; first += READ_BLOCKS) {
      const some = wanted.slice(first, first + READ_BLOCKS);
      const blocks = some.map(([index]) => head.blocks[index] as ColumnBlock);
      const parts = await session.spans(opened, blocks, false);
      for (const [i, [, rows]] of some.entries()) {
        const block = blocks[i] as ColumnBlock;
        const bytes = parts[i] as Uint8Array;
        const values = bytes.subarray(block.bytes - block.rows * rowBytes);
        for (const { place, row } of rows) {
          const at = row - block.firstRow;
          if (head.hasPresence && (((bytes[at >> 3] as number) >> (at & 7)) & 1) === 0) continue;
          kernels
            .bytes(out + place * rowBytes, rowBytes)
            .set(values.subarray(at * rowBytes, (at + 1) * rowBytes));
          found++;
        }
      }
    }
    return found;
  }
}
