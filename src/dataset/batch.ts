/** Turning records into stored objects: checked, laid into columns, hashed to cells. No backend is touched here. */
import { toTick } from "../core/time.ts";
import { DreamDBError } from "../errors.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { ColumnKind, type ColumnSource, encodeColumn, type Sealed, ValueType } from "../objects/column.ts";
import type { EmbeddingField, FieldSpec } from "../objects/field.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { metricOf } from "../objects/metric.ts";
import { encodeScalarIndex, type IndexSource } from "../objects/scalar-index.ts";
import { LANES } from "./anchors.ts";
import { indexSource } from "./index-source.ts";
import type { Indexer } from "./indexer.ts";
import { orderByCell, type PreparedSegment, sealSegment } from "./seal-segment.ts";
import { type ColumnBuilder, columnBuilder, valueTypeOf } from "./values.ts";

/** A column of a batch closes before it would pass this. */
const TARGET_BYTES = 64 << 20;
/** Rows of one batch at most, so that builders need not grow without end. */
const MAX_BATCH_ROWS = 1 << 20;
/** Fields whose values differ in length. */
const GROWING = new Set<string>(["image", "video", "audio", "string", "categorical"]);

/** A batch ready to be stored. */
export interface PreparedBatch {
  rows: number;
  /** Explicit ticks, ascending; undefined when anchors are given at commit, LANES apart. */
  ticks?: bigint[];
  anchors?: Sealed;
  columns: Map<number, Sealed>;
  /** By field id: one, or one of each hash table. */
  segments: Map<number, PreparedSegment[]>;
  scalarIndex?: Sealed;
}

export interface Prepared {
  batches: PreparedBatch[];
  /** For the record given as number i, its place among all rows of the batches. */
  places: Uint32Array | undefined;
}

/** What derives cells and codes, by field id; fields whose index is one exact cell have none. */
export type IndexersOf = ReadonlyMap<number, Indexer>;

/**
 * Checks and encodes `records`. Errors: `SchemaViolation`, `InvalidAnchor`, `DuplicateAnchor`, `LimitExceeded`;
 * each names the field, what was found and what was expected.
 */
export function prepareBatches(
  records: readonly Record<string, unknown>[],
  manifest: Manifest,
  origin: bigint,
  kernels: Kernels,
  indexers: IndexersOf,
): Prepared {
  const ticks = explicitTicks(records, origin);
  const order = ticks === undefined ? undefined : orderOf(ticks);
  const fields = manifest.fields;
  const known = new Set([...fields.map((field) => field.name), "_anchor"]);
  const batches: PreparedBatch[] = [];
  for (let from = 0; from < records.length; ) {
    const end = Math.min(records.length, from + rowsOfBatch(fields));
    const builders = fields.map((field) => columnBuilder(field, end - from));
    const to = fill(builders, fields, known, records, order, from, end);
    const batchTicks = ticks === undefined ? undefined : sliceTicks(ticks, order as Uint32Array, from, to);
    const start = from;
    const recordOf = (row: number): number => order?.[start + row] ?? start + row;
    batches.push(sealBatch(manifest, builders, to - from, batchTicks, kernels, indexers, recordOf));
    from = to;
  }
  return { batches, places: order === undefined ? undefined : inverse(order) };
}

/** Bytes that an entry of a ScalarIndex takes for a value of fixed width, head and padding included. */
const INDEX_ENTRY_BYTES = 14;

/** Rows that no column of fixed width passes the target with, so that its builder is never larger; nor their index. */
function rowsOfBatch(fields: readonly FieldSpec[]): number {
  const indexed = fields.filter((field) => "index" in field).length;
  const widths = [...fields.map((field) => valueTypeOf(field).width), INDEX_ENTRY_BYTES * indexed].filter(
    (width) => width > 0,
  );
  return Math.max(1, Math.min(MAX_BATCH_ROWS, ...widths.map((width) => Math.floor(TARGET_BYTES / width))));
}

/** Pushes records until a column is full or `end` is reached; returns the number of the first that was not pushed. */
function fill(
  builders: ColumnBuilder[],
  fields: readonly FieldSpec[],
  known: ReadonlySet<string>,
  records: readonly Record<string, unknown>[],
  order: Uint32Array | undefined,
  from: number,
  end: number,
): number {
  const growing = [...fields.keys()].filter((f) => GROWING.has((fields[f] as FieldSpec).kind));
  for (let place = from; place < end; place++) {
    const index = order === undefined ? place : (order[place] as number);
    const record = records[index] as Record<string, unknown>;
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

/** Every record's tick, or undefined when none has an `_anchor`. */
function explicitTicks(records: readonly Record<string, unknown>[], origin: bigint): bigint[] | undefined {
  const has = (record: unknown): boolean =>
    typeof record === "object" &&
    record !== null &&
    Object.hasOwn(record, "_anchor") &&
    (record as { _anchor: unknown })._anchor !== undefined;
  const given = records.reduce((count, record) => count + (has(record) ? 1 : 0), 0);
  if (given === 0) return undefined;
  if (given < records.length) {
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
  return records.map((record) => toTick((record as { _anchor: bigint })._anchor, origin));
}

/** Record numbers by ascending tick; two equal ones are refused. */
function orderOf(ticks: readonly bigint[]): Uint32Array {
  const order = Uint32Array.from(ticks.keys());
  const sorted = ticks.every((tick, i) => i === 0 || (ticks[i - 1] as bigint) < tick);
  if (!sorted)
    order.sort(
      (a, b) =>
        Number((ticks[a] as bigint) > (ticks[b] as bigint)) -
        Number((ticks[a] as bigint) < (ticks[b] as bigint)),
    );
  for (let i = 1; i < order.length; i++) {
    if (ticks[order[i] as number] === ticks[order[i - 1] as number]) {
      throw new DreamDBError(
        "DuplicateAnchor",
        "two records of a call have one anchor; nothing was written",
        {
          field: "_anchor",
          found: `records ${order[i - 1]} and ${order[i]}`,
          expected: "different anchors",
          committed: "no",
        },
      );
    }
  }
  return order;
}

function sliceTicks(ticks: readonly bigint[], order: Uint32Array, from: number, to: number): bigint[] {
  return Array.from(order.subarray(from, to), (index) => ticks[index] as bigint);
}

function inverse(order: Uint32Array): Uint32Array {
  const places = new Uint32Array(order.length);
  order.forEach((index, place) => {
    places[index] = place;
  });
  return places;
}

function sealBatch(
  manifest: Manifest,
  builders: ColumnBuilder[],
  rows: number,
  ticks: bigint[] | undefined,
  kernels: Kernels,
  indexers: IndexersOf,
  recordOf: (row: number) => number,
): PreparedBatch {
  const columns = new Map<number, Sealed>();
  const segments = new Map<number, PreparedSegment[]>();
  const indexed: IndexSource[] = [];
  const offsets = batchOffsets(rows, ticks);
  manifest.fields.forEach((field, f) => {
    const source = (builders[f] as ColumnBuilder).finish();
    if (source.presence?.every((present) => present === 0)) return;
    if (field.kind === "embedding") {
      const track = manifest.tracks.get(field.id) as Track;
      const sealed = withVectors(kernels, source, field, (vectors) => {
        checkVectors(kernels, vectors, source, field, recordOf);
        const indexer = indexers.get(field.id);
        if (indexer === undefined) return undefined;
        return Array.from({ length: indexer.tables }, (_, table) => {
          const cells = indexer.cellsOf(vectors, source.rows, table);
          const order = orderByCell(kernels, cells, indexer.cellBits, source.presence);
          return sealSegment(kernels, track, indexer, vectors, order, offsets, 0n, field.rerank);
        });
      });
      if (sealed !== undefined) segments.set(field.id, sealed);
    }
    columns.set(field.id, encodeColumn(source));
    if ("index" in field) indexed.push(indexSource(field.id, source));
  });
  const scalarIndex = encodeScalarIndex(
    rows,
    indexed.sort((a, b) => a.field - b.field),
  );
  const batch: PreparedBatch = {
    rows,
    columns,
    segments,
    ...(scalarIndex === undefined ? {} : { scalarIndex }),
  };
  if (ticks === undefined) return batch;
  const anchors = evenStep(ticks) === undefined ? encodeColumn(anchorColumn(offsets)) : undefined;
  return { ...batch, ticks, ...(anchors === undefined ? {} : { anchors }) };
}

/** Each row's anchor less the batch's first. */
function batchOffsets(rows: number, ticks: bigint[] | undefined): BigUint64Array {
  const offsets = new BigUint64Array(rows);
  const base = ticks?.[0] ?? 0n;
  for (let row = 0; row < rows; row++)
    offsets[row] = ticks === undefined ? LANES * BigInt(row) : (ticks[row] as bigint) - base;
  return offsets;
}

/** The one distance between neighbours, 0 for a single tick, undefined when distances differ. */
export function evenStep(ticks: readonly bigint[]): bigint | undefined {
  if (ticks.length === 1) return 0n;
  const step = (ticks[1] as bigint) - (ticks[0] as bigint);
  return ticks.every((tick, i) => tick - (ticks[0] as bigint) === step * BigInt(i)) ? step : undefined;
}

function anchorColumn(offsets: BigUint64Array): ColumnSource {
  const values = new Uint8Array(offsets.length * 8);
  const view = new DataView(values.buffer);
  offsets.forEach((offset, row) => {
    view.setBigUint64(8 * row, offset, true);
  });
  return { kind: ColumnKind.anchors, type: ValueType.u64, rows: offsets.length, width: 8, values };
}

/** Runs `work` with the column's vectors in the compute core's memory. */
function withVectors<T>(
  kernels: Kernels,
  source: ColumnSource,
  field: EmbeddingField,
  work: (vectors: number) => T,
): T {
  const vectors = kernels.alloc(source.rows * field.dim * 4);
  try {
    kernels.bytes(vectors, source.values.length).set(source.values);
    return work(vectors);
  } finally {
    kernels.free(vectors);
  }
}

/** Refuses NaN and infinity, and for cosine lengths of zero and those that f32 can't hold. */
function checkVectors(
  kernels: Kernels,
  vectors: number,
  source: ColumnSource,
  field: EmbeddingField,
  recordOf: (row: number) => number,
): void {
  const { rows } = source;
  const bad = kernels.checkFinite(vectors, rows * field.dim);
  if (bad >= 0) {
    const row = Math.floor(bad / field.dim);
    throw badVector(
      field,
      recordOf(row),
      kernels.f32(vectors + bad * 4, 1)[0],
      `a finite f32 at component ${bad % field.dim}`,
    );
  }
  if (metricOf(field.algorithm) !== "cosine") return;
  const norms = kernels.alloc(rows * 4);
  try {
    kernels.rowInvNorms(vectors, rows, field.dim, norms);
    const row = kernels.f32(norms, rows).findIndex((norm, i) => norm === 0 && source.presence?.[i] !== 0);
    if (row >= 0)
      throw badVector(
        field,
        recordOf(row),
        "a length of zero, or beyond f32",
        "a vector with a direction, for cosine",
      );
  } finally {
    kernels.free(norms);
  }
}

function badVector(field: EmbeddingField, record: number, found: unknown, expected: string): DreamDBError {
  return new DreamDBError(
    "SchemaViolation",
    `record ${record} has a vector that can't be indexed; nothing was written`,
    {
      field: field.name,
      found,
      expected,
      committed: "no",
    },
  );
}
