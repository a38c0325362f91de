/** `iterStream`: all records in time order, or those that meet a condition, in bounded memory. */
import { type Bits, isNoRow, nextGap, nextRow } from "../index/bitset.ts";
import type { BlockRows, ColumnHead } from "../objects/column.ts";
import type { FieldSpec } from "../objects/field.ts";
import type { BatchEntry } from "../objects/index-tree.ts";
import type { Manifest } from "../objects/manifest.ts";
import { corrupt } from "../objects/shape.ts";
import { matchBatch } from "./filter.ts";
import { ColumnReader } from "./rows.ts";
import type { Session } from "./session.ts";
import { anchorsOf, type BatchAnchors, batchesByTime, type TickRange } from "./timeline.ts";
import { readValues } from "./values.ts";
import type { Condition } from "./where.ts";

/** A batch of columns on its way to the caller. */
export type Columns = { _time_anchors: bigint[] } & Record<string, unknown[]>;

export function emptyColumns(fields: readonly FieldSpec[]): Columns {
  const columns = { _time_anchors: [] } as unknown as Columns;
  for (const field of fields) columns[field.name] = [];
  return columns;
}

/** Where the rows of a stream go, a batch at a time. Fields are numbered as they were asked for. */
export interface Sink<B> {
  /** Rows taken since the last `finish`. */
  readonly rows: number;
  anchor(ns: bigint): void;
  absent(field: number, count: number): void;
  /** Rows [from, to) of a block of the field's column. */
  values(field: number, head: ColumnHead, block: BlockRows, from: number, to: number): void;
  finish(): B;
}

class ColumnsSink implements Sink<Columns> {
  private readonly fields: readonly FieldSpec[];
  private out: Columns;

  constructor(fields: readonly FieldSpec[]) {
    this.fields = fields;
    this.out = emptyColumns(fields);
  }

  get rows(): number {
    return this.out._time_anchors.length;
  }

  anchor(ns: bigint): void {
    this.out._time_anchors.push(ns);
  }

  absent(field: number, count: number): void {
    const values = this.out[(this.fields[field] as FieldSpec).name] as unknown[];
    for (let i = 0; i < count; i++) values.push(undefined);
  }

  values(f: number, head: ColumnHead, block: BlockRows, from: number, to: number): void {
    const field = this.fields[f] as FieldSpec;
    readValues(field, head, block, from, to, this.out[field.name] as unknown[]);
  }

  finish(): Columns {
    const { out } = this;
    this.out = emptyColumns(this.fields);
    return out;
  }
}

/** A place in one batch of records: always at a row to give out, or at the end. */
class Cursor {
  row: number;
  private readonly anchors: BatchAnchors;
  private readonly readers: (ColumnReader | undefined)[];
  /** The rows to give out, when not all of them. */
  private readonly chosen: Bits | undefined;
  private readonly endRow: number;

  private constructor(
    anchors: BatchAnchors,
    readers: (ColumnReader | undefined)[],
    chosen: Bits | undefined,
    range: TickRange,
  ) {
    this.anchors = anchors;
    this.readers = readers;
    this.chosen = chosen;
    this.endRow = anchors.rowFrom(range.to + 1n);
    this.row = this.nextFrom(anchors.rowFrom(range.from));
  }

  /** undefined when no row of the batch meets the condition. */
  static async open(
    session: Session,
    entry: BatchEntry,
    fields: readonly FieldSpec[],
    condition: Condition | undefined,
    range: TickRange,
  ): Promise<Cursor | undefined> {
    const chosen = condition === undefined ? undefined : await matchBatch(session, entry, condition);
    if (chosen !== undefined && isNoRow(chosen)) return undefined;
    const readers = await Promise.all(
      fields.map((field) => ColumnReader.open(session, field, entry, true, chosen)),
    );
    return new Cursor(await anchorsOf(session, entry), readers, chosen, range);
  }

  get isDone(): boolean {
    return this.row >= this.endRow;
  }

  get tick(): bigint {
    return this.anchors.tick(this.row);
  }

  /** The first row at or after `tick`; the end of the range without one. */
  endBefore(tick: bigint | undefined): number {
    return tick === undefined ? this.endRow : Math.min(this.endRow, this.anchors.rowFrom(tick));
  }

  /** Gives out rows up to (not including) `end`, `most` of them at most. */
  async take(end: number, most: number, origin: bigint, out: Sink<unknown>): Promise<void> {
    const full = out.rows + most;
    while (this.row < end && out.rows < full) {
      const gap = this.chosen === undefined ? end : nextGap(this.chosen, this.row, end);
      await this.takeRun(Math.min(gap, this.row + full - out.rows), origin, out);
    }
  }

  private async takeRun(end: number, origin: bigint, out: Sink<unknown>): Promise<void> {
    for (let row = this.row; row < end; row++) out.anchor(this.anchors.tick(row) + origin);
    for (const [f, reader] of this.readers.entries()) {
      if (reader === undefined) out.absent(f, end - this.row);
      else
        await reader.visit(this.row, end, (block, from, to) => out.values(f, reader.head, block, from, to));
    }
    this.row = this.nextFrom(end);
  }

  private nextFrom(row: number): number {
    return this.chosen === undefined ? row : nextRow(this.chosen, row, this.endRow);
  }
}

/**
 * Records of `range` in ascending time, `batchSize` at a time. Batches that overlap in time are merged; those
 * that don't, which is the common case, are read straight through.
 */
export function streamColumns(source: StreamSource): AsyncGenerator<Columns> {
  return stream(source, new ColumnsSink(source.fields));
}

/** What is read, and how much of it. */
export interface StreamSource {
  session: Session;
  manifest: Manifest;
  origin: bigint;
  fields: readonly FieldSpec[];
  range: TickRange;
  batchSize: number;
  condition: Condition | undefined;
}

export async function* stream<B>(source: StreamSource, out: Sink<B>): AsyncGenerator<B> {
  const { session, manifest, origin, fields, range, batchSize, condition } = source;
  const waiting = batchesByTime(session, manifest.timeline, range);
  let upcoming = await waiting.next();
  const open: Cursor[] = [];
  for (;;) {
    while (!upcoming.done && (open.length === 0 || upcoming.value.base <= earliest(open).tick)) {
      const cursor = await Cursor.open(session, upcoming.value, fields, condition, range);
      if (cursor !== undefined && !cursor.isDone) open.push(cursor);
      upcoming = await waiting.next();
    }
    if (open.length === 0) break;
    const cursor = earliest(open);
    const limit = firstOf(open, cursor, upcoming.done ? undefined : upcoming.value.base);
    const end = cursor.endBefore(limit);
    if (end <= cursor.row)
      throw corrupt("timeline", `two records at tick ${cursor.tick}`, "one record an anchor");
    await cursor.take(end, batchSize - out.rows, origin, out);
    if (cursor.isDone) open.splice(open.indexOf(cursor), 1);
    if (out.rows === batchSize) yield out.finish();
  }
  if (out.rows > 0) yield out.finish();
}

function earliest(cursors: readonly Cursor[]): Cursor {
  return cursors.reduce((first, cursor) => (cursor.tick < first.tick ? cursor : first));
}

/** The first tick at which another cursor, or the next batch, takes its turn. */
function firstOf(
  cursors: readonly Cursor[],
  current: Cursor,
  upcoming: bigint | undefined,
): bigint | undefined {
  let limit = upcoming;
  for (const cursor of cursors) {
    if (cursor !== current && (limit === undefined || cursor.tick < limit)) limit = cursor.tick;
  }
  return limit;
}
