/** `iterStream`: all records in time order, in bounded memory. */
import type { FieldSpec } from "../objects/field.ts";
import type { BatchEntry } from "../objects/index-tree.ts";
import type { Manifest } from "../objects/manifest.ts";
import { corrupt } from "../objects/shape.ts";
import { ColumnReader } from "./rows.ts";
import type { Session } from "./session.ts";
import { anchorsOf, type BatchAnchors, batchesByTime, type TickRange } from "./timeline.ts";

/** A batch of columns on its way to the caller. */
export type Columns = { _time_anchors: bigint[] } & Record<string, unknown[]>;

export function emptyColumns(fields: readonly FieldSpec[]): Columns {
  const columns = { _time_anchors: [] } as unknown as Columns;
  for (const field of fields) columns[field.name] = [];
  return columns;
}

/** A place in one batch of records. */
class Cursor {
  row: number;
  private readonly anchors: BatchAnchors;
  private readonly readers: (ColumnReader | undefined)[];
  private readonly fields: readonly FieldSpec[];
  private readonly endRow: number;

  private constructor(
    anchors: BatchAnchors,
    readers: (ColumnReader | undefined)[],
    fields: readonly FieldSpec[],
    range: TickRange,
  ) {
    this.anchors = anchors;
    this.readers = readers;
    this.fields = fields;
    this.row = anchors.rowFrom(range.from);
    this.endRow = anchors.rowFrom(range.to + 1n);
  }

  static async open(
    session: Session,
    entry: BatchEntry,
    fields: readonly FieldSpec[],
    range: TickRange,
  ): Promise<Cursor> {
    const readers = await Promise.all(fields.map((field) => ColumnReader.open(session, field, entry, true)));
    return new Cursor(await anchorsOf(session, entry), readers, fields, range);
  }

  get isDone(): boolean {
    return this.row >= this.endRow;
  }

  get tick(): bigint {
    return this.anchors.tick(this.row);
  }

  /** Rows from here on that lie before `tick`; all that are left without one. */
  rowsBefore(tick: bigint | undefined): number {
    const end = tick === undefined ? this.endRow : Math.min(this.endRow, this.anchors.rowFrom(tick));
    return end - this.row;
  }

  async take(rows: number, origin: bigint, out: Columns): Promise<void> {
    const end = this.row + rows;
    for (let row = this.row; row < end; row++) out._time_anchors.push(this.anchors.tick(row) + origin);
    for (let f = 0; f < this.fields.length; f++) {
      const values = out[(this.fields[f] as FieldSpec).name] as unknown[];
      const reader = this.readers[f];
      if (reader === undefined) for (let i = 0; i < rows; i++) values.push(undefined);
      else await reader.read(this.row, end, values);
    }
    this.row = end;
  }
}

/**
 * Records of `range` in ascending time, `batchSize` at a time. Batches that overlap in time are merged; those
 * that don't, which is the common case, are read straight through.
 */
export async function* streamColumns(
  session: Session,
  manifest: Manifest,
  origin: bigint,
  fields: readonly FieldSpec[],
  range: TickRange,
  batchSize: number,
): AsyncGenerator<Columns> {
  const waiting = batchesByTime(session, manifest.timeline, range);
  let upcoming = await waiting.next();
  const open: Cursor[] = [];
  let out = emptyColumns(fields);
  for (;;) {
    while (!upcoming.done && (open.length === 0 || upcoming.value.base <= earliest(open).tick)) {
      const cursor = await Cursor.open(session, upcoming.value, fields, range);
      if (!cursor.isDone) open.push(cursor);
      upcoming = await waiting.next();
    }
    if (open.length === 0) break;
    const cursor = earliest(open);
    const limit = firstOf(open, cursor, upcoming.done ? undefined : upcoming.value.base);
    const before = cursor.rowsBefore(limit);
    if (before === 0) throw corrupt("timeline", `two records at tick ${cursor.tick}`, "one record an anchor");
    const rows = Math.min(batchSize - out._time_anchors.length, before);
    await cursor.take(rows, origin, out);
    if (cursor.isDone) open.splice(open.indexOf(cursor), 1);
    if (out._time_anchors.length === batchSize) {
      yield out;
      out = emptyColumns(fields);
    }
  }
  if (out._time_anchors.length > 0) yield out;
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
