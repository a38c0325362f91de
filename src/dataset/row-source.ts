/** Where the rows of an append come from: records one by one, or tables of columns (arrow-source.ts). */
import { toTick } from "../core/time.ts";
import { DreamDBError } from "../errors.ts";
import type { ColumnSource } from "../objects/column.ts";
import type { FieldSpec } from "../objects/field.ts";
import { type ColumnBuilder, columnBuilder } from "./values.ts";

/** A column of a batch closes before it would pass this. */
export const TARGET_BYTES = 64 << 20;
/** Fields whose values differ in length. */
const GROWING = new Set<string>(["image", "video", "audio", "string", "categorical"]);

/** Rows to append; each call may come again, for a commit that has to be prepared anew. */
export interface RowSource {
  readonly rows: number;
  /** Each row's explicit tick, or undefined when anchors are given at commit. Errors: `InvalidAnchor`. */
  ticks(origin: bigint): bigint[] | undefined;
  /**
   * Checks rows and lays them into columns, in the order of `fields`, until a column is full or `end` is reached.
   * @param order numbers of the rows in the order they take; undefined for their own
   * @returns the place of the first row that was left
   */
  fill(
    fields: readonly FieldSpec[],
    order: Uint32Array | undefined,
    from: number,
    end: number,
  ): { to: number; columns: ColumnSource[] };
}

/** Rows as `appendMany` takes them: objects keyed by field name. */
export class RecordSource implements RowSource {
  private readonly records: readonly Record<string, unknown>[];

  constructor(records: readonly Record<string, unknown>[]) {
    this.records = records;
  }

  get rows(): number {
    return this.records.length;
  }

  ticks(origin: bigint): bigint[] | undefined {
    const { records } = this;
    const given = records.reduce((count, record) => count + (hasAnchor(record) ? 1 : 0), 0);
    if (given === 0) return undefined;
    if (given === records.length)
      return records.map((record) => toTick((record as { _anchor: bigint })._anchor, origin));
    throw new DreamDBError(
      "InvalidAnchor",
      "either every record of a call has an _anchor or none has; nothing was written",
      {
        field: "_anchor",
        found: `${given} of ${records.length} records`,
        expected: `0 or ${records.length}`,
        committed: "no",
      },
    );
  }

  fill(
    fields: readonly FieldSpec[],
    order: Uint32Array | undefined,
    from: number,
    end: number,
  ): { to: number; columns: ColumnSource[] } {
    const builders = fields.map((field) => columnBuilder(field, end - from));
    const to = this.push(builders, fields, order, from, end);
    return { to, columns: builders.map((builder) => builder.finish()) };
  }

  private push(
    builders: ColumnBuilder[],
    fields: readonly FieldSpec[],
    order: Uint32Array | undefined,
    from: number,
    end: number,
  ): number {
    const known = new Set([...fields.map((field) => field.name), "_anchor"]);
    const growing = [...fields.keys()].filter((f) => GROWING.has((fields[f] as FieldSpec).kind));
    for (let place = from; place < end; place++) {
      const index = order === undefined ? place : (order[place] as number);
      const record = this.records[index] as Record<string, unknown>;
      checkKeys(record, known, index);
      // A large value opens the next batch, so that two that fit a column each never share one that fits neither.
      const passes = (f: number): boolean => {
        const size = sizeOf(record[(fields[f] as FieldSpec).name]);
        return size > 0 && (builders[f] as ColumnBuilder).bytes + size > TARGET_BYTES;
      };
      if (place > from && growing.some(passes)) return place;
      for (let f = 0; f < fields.length; f++) {
        const name = (fields[f] as FieldSpec).name;
        (builders[f] as ColumnBuilder).push(Object.hasOwn(record, name) ? record[name] : undefined, index);
      }
      if (builders.some((builder) => builder.bytes >= TARGET_BYTES)) return place + 1;
    }
    return end;
  }
}

function hasAnchor(record: unknown): boolean {
  return (
    typeof record === "object" &&
    record !== null &&
    Object.hasOwn(record, "_anchor") &&
    (record as { _anchor: unknown })._anchor !== undefined
  );
}

/** Bytes that text or media may take; 0 for what the column will refuse. */
function sizeOf(value: unknown): number {
  if (typeof value === "string") return 3 * value.length;
  return ArrayBuffer.isView(value) ? value.byteLength : 0;
}

function checkKeys(record: unknown, known: ReadonlySet<string>, index: number): void {
  if (typeof record !== "object" || record === null || Array.isArray(record)) {
    throw new DreamDBError("SchemaViolation", `record ${index} is not an object; nothing was written`, {
      field: `records[${index}]`,
      found: record,
      expected: "an object keyed by field name",
      committed: "no",
    });
  }
  for (const key of Object.keys(record)) {
    if (!known.has(key)) {
      throw new DreamDBError(
        "SchemaViolation",
        `record ${index} has a field that the schema lacks; nothing was written`,
        {
          field: key,
          found: key,
          expected: `one of ${[...known].join(", ")}`,
          committed: "no",
        },
      );
    }
  }
}
