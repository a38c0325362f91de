/** The deleted anchors of a Space, and which rows of a state they are (spec/0020-maintenance.md §3). */
import { allRows, type Bits, removeRow } from "../index/bitset.ts";
import { type BatchEntry, batchCodec } from "../objects/index-tree.ts";
import type { Manifest } from "../objects/manifest.ts";
import type { Session } from "./session.ts";
import { anchorsOf, entriesIn, firstAtLeast } from "./timeline.ts";

export class Deleted {
  /** Ascending. */
  readonly ticks: BigUint64Array;
  /** Equal for equal sets of one Space, so that results of filters can be kept by it. */
  readonly key: string;

  /** @param ticks in any order, also repeated */
  constructor(ticks: BigUint64Array, key: string) {
    this.key = key;
    ticks.sort();
    let kept = 0;
    for (let i = 0; i < ticks.length; i++)
      if (i === 0 || ticks[i] !== ticks[i - 1]) ticks[kept++] = ticks[i] as bigint;
    this.ticks = ticks.subarray(0, kept);
  }

  get size(): number {
    return this.ticks.length;
  }

  has(tick: bigint): boolean {
    return this.ticks[firstAtLeast(this.ticks, tick)] === tick;
  }

  /** Those from `from` to `to`, both included. */
  within(from: bigint, to: bigint): BigUint64Array {
    const first = firstAtLeast(this.ticks, from);
    return this.ticks.subarray(first, Math.max(first, firstAtLeast(this.ticks, to + 1n)));
  }
}

export const NONE_DELETED = new Deleted(new BigUint64Array(), "");

/** The rows of a batch that are not deleted. */
export async function liveRows(session: Session, entry: BatchEntry, deleted: Deleted): Promise<Bits> {
  const bits = allRows(entry.rows);
  await eachDead(session, entry, deleted, (row) => removeRow(bits, row));
  return bits;
}

/** Calls `use` with each deleted row of a batch. A batch without deleted anchors in its time is not read. */
export async function eachDead(
  session: Session,
  entry: BatchEntry,
  deleted: Deleted,
  use: (row: number, tick: bigint) => void,
): Promise<void> {
  const ticks = deleted.within(entry.base, entry.base + entry.span);
  if (ticks.length === 0) return;
  const anchors = await anchorsOf(session, entry);
  for (const tick of ticks) {
    const row = anchors.rowFrom(tick);
    if (row < anchors.rows && anchors.tick(row) === tick) use(row, tick);
  }
}

const counts = new WeakMap<Manifest, { deleted: Deleted; count: number }>();

/** How many rows of a state are deleted, when that is known already. */
export function deadNow(manifest: Manifest, deleted: Deleted): number | undefined {
  if (deleted.size === 0) return 0;
  const known = counts.get(manifest);
  return known?.deleted === deleted ? known.count : undefined;
}

/** How many rows of a state are deleted: reckoned once for each state and set. */
export async function deadRows(session: Session, manifest: Manifest, deleted: Deleted): Promise<number> {
  const known = deadNow(manifest, deleted);
  if (known !== undefined) return known;
  let count = 0;
  const range = { from: deleted.ticks[0] as bigint, to: deleted.ticks.at(-1) as bigint };
  for await (const entry of entriesIn(session, manifest.timeline, batchCodec, range)) {
    await eachDead(session, entry, deleted, () => {
      count++;
    });
  }
  counts.set(manifest, { deleted, count });
  return count;
}
