/** Walking index trees: entries by time, without reading pages that can't matter. */
import { DreamDBError } from "../errors.ts";
import { ColumnKind, openBlock, ValueType } from "../objects/column.ts";
import {
  type BatchEntry,
  batchCodec,
  decodePage,
  type EntryCodec,
  type IndexRoot,
  type Interval,
  type PageRef,
} from "../objects/index-tree.ts";
import type { LineageRef } from "../objects/manifest.ts";
import { corrupt } from "../objects/shape.ts";
import type { Session } from "./session.ts";

/** Ticks, both included. */
export interface TickRange {
  from: bigint;
  to: bigint;
}

export function overlaps(run: Interval, range: TickRange): boolean {
  return run.base <= range.to && run.base + run.span >= range.from;
}

/**
 * Every entry that overlaps `range`, in append order; of those that were redacted what stands for them.
 * @param lineage of the Track whose segments they are, if that has one
 */
export async function* entriesIn<E extends Interval>(
  session: Session,
  root: IndexRoot<E>,
  codec: EntryCodec<E>,
  range?: TickRange,
  lineage?: LineageRef,
): AsyncGenerator<E> {
  const { redactions } = session.following;
  for await (const entry of storedEntriesIn(session, root, codec, range)) {
    const seen = redactions === undefined ? entry : redactions.entry(entry, codec, lineage);
    if (seen !== undefined) yield seen;
  }
}

/** Every entry that overlaps `range` as the tree has it, in append order. */
export async function* storedEntriesIn<E extends Interval>(
  session: Session,
  root: IndexRoot<E>,
  codec: EntryCodec<E>,
  range?: TickRange,
): AsyncGenerator<E> {
  for (const page of root.pages) yield* entriesOfPage(session, page, codec, range);
  for (const entry of root.entries) if (range === undefined || overlaps(entry, range)) yield entry;
}

async function* entriesOfPage<E extends Interval>(
  session: Session,
  page: PageRef,
  codec: EntryCodec<E>,
  range?: TickRange,
): AsyncGenerator<E> {
  if (range !== undefined && !overlaps(page, range)) return;
  for (const child of await readPage(session, page, codec)) {
    if (page.level > 0) yield* entriesOfPage(session, child as PageRef, codec, range);
    else if (range === undefined || overlaps(child, range)) yield child as E;
  }
}

export async function readPage<E extends Interval>(
  session: Session,
  page: PageRef,
  codec: EntryCodec<E>,
): Promise<(E | PageRef)[]> {
  return decodePage(await session.object(page.address), codec, page);
}

/** Every batch that overlaps `range`, by ascending first tick; holds open only the pages it has come to. */
export async function* batchesByTime(
  session: Session,
  root: IndexRoot<BatchEntry>,
  range: TickRange,
): AsyncGenerator<BatchEntry> {
  const waiting: { at: Interval; page?: PageRef; entry?: BatchEntry }[] = [];
  // Kept in descending order of base, so that the next one is popped off the end.
  const add = (item: (typeof waiting)[number]): void => {
    if (!overlaps(item.at, range)) return;
    let low = 0;
    let high = waiting.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((waiting[middle] as (typeof waiting)[number]).at.base > item.at.base) low = middle + 1;
      else high = middle;
    }
    waiting.splice(low, 0, item);
  };
  for (const page of root.pages) add({ at: page, page });
  for (const entry of root.entries) add({ at: entry, entry });
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (next.entry !== undefined) {
      // A batch that was redacted has the same rows.
      yield session.following.redactions?.entry(next.entry, batchCodec) ?? next.entry;
      continue;
    }
    const page = next.page as PageRef;
    for (const child of await readPage(session, page, batchCodec)) {
      if (page.level > 0) add({ at: child, page: child as PageRef });
      else add({ at: child, entry: child as BatchEntry });
    }
  }
}

/** The anchors of one batch. */
export interface BatchAnchors {
  rows: number;
  tick(row: number): bigint;
  /** The first row at or after `tick`; `rows` when there is none. */
  rowFrom(tick: bigint): number;
}

export async function anchorsOf(session: Session, entry: BatchEntry): Promise<BatchAnchors> {
  const { base, rows } = entry;
  if ("step" in entry.anchors) {
    const step = entry.anchors.step === 0n ? 1n : entry.anchors.step;
    return {
      rows,
      tick: (row) => base + step * BigInt(row),
      rowFrom: (tick) => (tick <= base ? 0 : Number(min((tick - base + step - 1n) / step, BigInt(rows)))),
    };
  }
  const container = await session.openColumn(entry.anchors.container);
  const { head } = container;
  if (
    head.kind !== ColumnKind.anchors ||
    head.type !== ValueType.u64 ||
    head.width !== 8 ||
    head.rows !== rows
  ) {
    throw corrupt("batch.anchors", "a container of another kind or length", `${rows} anchors`);
  }
  const offsets = new BigUint64Array(rows);
  const parts = await session.spans(container, head.blocks);
  head.blocks.forEach((block, i) => {
    const { values } = openBlock(head, block, parts[i] as Uint8Array);
    const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
    for (let row = 0; row < block.rows; row++)
      offsets[block.firstRow + row] = view.getBigUint64(8 * row, true);
  });
  checkOffsets(offsets, entry);
  return {
    rows,
    tick: (row) => base + (offsets[row] as bigint),
    rowFrom: (tick) => firstAtLeast(offsets, tick - base),
  };
}

function checkOffsets(offsets: BigUint64Array, entry: BatchEntry): void {
  for (let row = 1; row < offsets.length; row++) {
    if ((offsets[row] as bigint) <= (offsets[row - 1] as bigint))
      throw corrupt("batch.anchors", "anchors out of order", "ascending");
  }
  if (offsets[0] !== 0n || offsets.at(-1) !== entry.span)
    throw corrupt("batch.anchors", offsets.at(-1), entry.span);
}

/** The first place in ascending `values` whose value is at least `least`. */
export function firstAtLeast(values: ArrayLike<bigint>, least: bigint): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((values[middle] as bigint) < least) low = middle + 1;
    else high = middle;
  }
  return low;
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

/** Where a record is: its batch and the row in it. */
export interface Located {
  entry: BatchEntry;
  row: number;
}

/** The record anchored at `tick`, or undefined. */
export async function locate(
  session: Session,
  root: IndexRoot<BatchEntry>,
  tick: bigint,
): Promise<Located | undefined> {
  for await (const entry of entriesIn(session, root, batchCodec, { from: tick, to: tick })) {
    const anchors = await anchorsOf(session, entry);
    const row = anchors.rowFrom(tick);
    if (row < anchors.rows && anchors.tick(row) === tick) return { entry, row };
  }
  return undefined;
}

/** The records anchored at `ticks`, each where it is, or undefined; a batch's anchors are read once for all. */
export async function locateAll(
  session: Session,
  root: IndexRoot<BatchEntry>,
  ticks: readonly bigint[],
): Promise<(Located | undefined)[]> {
  const read = new Map<BatchEntry, Promise<BatchAnchors>>();
  const find = async (tick: bigint): Promise<Located | undefined> => {
    for await (const entry of entriesIn(session, root, batchCodec, { from: tick, to: tick })) {
      const known = read.get(entry) ?? anchorsOf(session, entry);
      read.set(entry, known);
      const anchors = await known;
      const row = anchors.rowFrom(tick);
      if (row < anchors.rows && anchors.tick(row) === tick) return { entry, row };
    }
    return undefined;
  };
  return Promise.all(ticks.map(find));
}

/** Throws `DuplicateAnchor` when one of `ticks` (ascending) already has a record. */
export async function refuseTaken(
  session: Session,
  root: IndexRoot<BatchEntry>,
  ticks: readonly bigint[],
  origin: bigint,
): Promise<void> {
  const range = { from: ticks[0] as bigint, to: ticks.at(-1) as bigint };
  for await (const entry of entriesIn(session, root, batchCodec, range)) {
    const anchors = await anchorsOf(session, entry);
    for (let i = firstAtLeast(ticks, entry.base); i < ticks.length; i++) {
      const tick = ticks[i] as bigint;
      if (tick > entry.base + entry.span) break;
      const row = anchors.rowFrom(tick);
      if (row < anchors.rows && anchors.tick(row) === tick) {
        throw new DreamDBError("DuplicateAnchor", "a record with this anchor exists; nothing was written", {
          field: "_anchor",
          found: tick + origin,
          expected: "an anchor without a record",
          committed: "no",
        });
      }
    }
  }
}
