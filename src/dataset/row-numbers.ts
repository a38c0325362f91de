/** A row's number in the timeline, in append order, by its anchor: what filters speak of. */
import { DreamDBError } from "../errors.ts";
import { type BatchEntry, batchCodec, type IndexRoot } from "../objects/index-tree.ts";
import type { Session } from "./session.ts";
import { anchorsOf, type BatchAnchors, entriesIn } from "./timeline.ts";

interface NumberedBatch {
  base: bigint;
  end: bigint;
  /** The latest end of this batch and those before it. */
  latestEnd: bigint;
  /** The number of its first row. */
  first: number;
  anchors: BatchAnchors;
}

export class RowNumbers {
  /** The timeline that rows are numbered in. */
  readonly root: IndexRoot<BatchEntry>;
  /** By first anchor. */
  private readonly batches: NumberedBatch[];

  private constructor(root: IndexRoot<BatchEntry>, batches: NumberedBatch[]) {
    this.root = root;
    this.batches = batches;
  }

  static async of(session: Session, root: IndexRoot<BatchEntry>): Promise<RowNumbers> {
    const batches: NumberedBatch[] = [];
    let first = 0;
    for await (const entry of entriesIn(session, root, batchCodec)) {
      const end = entry.base + entry.span;
      batches.push({
        base: entry.base,
        end,
        latestEnd: end,
        first,
        anchors: await anchorsOf(session, entry),
      });
      first += entry.rows;
    }
    batches.sort((a, b) => (a.base < b.base ? -1 : a.base > b.base ? 1 : 0));
    for (let i = 1; i < batches.length; i++) {
      const batch = batches[i] as NumberedBatch;
      const before = (batches[i - 1] as NumberedBatch).latestEnd;
      if (before > batch.latestEnd) batch.latestEnd = before;
    }
    return new RowNumbers(root, batches);
  }

  /** The numbers of rows with these anchors. Errors: `Corrupt` when there is no such row. */
  fill(ticks: BigUint64Array, numbers: Uint32Array): void {
    for (let i = 0; i < ticks.length; i++) numbers[i] = this.numberOf(ticks[i] as bigint);
  }

  private numberOf(tick: bigint): number {
    const { batches } = this;
    let low = 0;
    let high = batches.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((batches[middle] as NumberedBatch).base <= tick) low = middle + 1;
      else high = middle;
    }
    // Batches may overlap in time: earlier ones are tried for as long as any of them reaches this far.
    for (let i = low - 1; i >= 0; i--) {
      const { end, latestEnd, first, anchors } = batches[i] as NumberedBatch;
      if (latestEnd < tick) break;
      if (end < tick) continue;
      const row = anchors.rowFrom(tick);
      if (row < anchors.rows && anchors.tick(row) === tick) return first + row;
    }
    throw new DreamDBError("Corrupt", "a cell names a record that no batch holds", {
      field: "segment.anchors",
      found: tick,
    });
  }
}
