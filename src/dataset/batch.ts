/** Turning records into stored objects: checked, laid into columns, hashed to cells. No backend is touched here. */
import { DreamDBError } from "../errors.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { ColumnKind, type ColumnSource, encodeColumn, type Sealed, ValueType } from "../objects/column.ts";
import type { EmbeddingField, FieldSpec } from "../objects/field.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { metricOf } from "../objects/metric.ts";
import { encodeScalarIndex, type IndexSource } from "../objects/scalar-index.ts";
import { LANES } from "./anchors.ts";
import { breathe } from "./breathe.ts";
import { indexSource } from "./index-source.ts";
import type { Indexer } from "./indexer.ts";
import { type RowSource, TARGET_BYTES } from "./row-source.ts";
import { orderByCell, type PreparedSegment, sealSegment } from "./seal-segment.ts";
import { valueTypeOf } from "./values.ts";

/** Rows of one batch at most, so that builders need not grow without end. */
const MAX_BATCH_ROWS = 1 << 20;

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
  /** Explicit ticks of all rows, ascending. */
  ticks: bigint[] | undefined;
}

/** What derives cells and codes, by field id; fields whose index is one exact cell have none. */
export type IndexersOf = ReadonlyMap<number, Indexer>;

/**
 * Checks and encodes the rows of `source`, and hands each batch to `use` before it makes the next.
 * Errors: `SchemaViolation`, `InvalidAnchor`, `DuplicateAnchor`, `LimitExceeded`; each names the field, what was found
 * and what was expected.
 */
export async function prepareBatches(
  source: RowSource,
  manifest: Manifest,
  origin: bigint,
  kernels: Kernels,
  indexers: IndexersOf,
  use: (batch: PreparedBatch, prepared: Prepared) => Promise<void>,
): Promise<Prepared> {
  const ticks = source.ticks(origin);
  const order = ticks === undefined ? undefined : orderOf(ticks);
  const fields = manifest.fields;
  const prepared: Prepared = {
    batches: [],
    places: order === undefined ? undefined : inverse(order),
    ticks: ticks === undefined ? undefined : sliceTicks(ticks, order as Uint32Array, 0, ticks.length),
  };
  for (let from = 0; from < source.rows; ) {
    const end = Math.min(source.rows, from + rowsOfBatch(fields));
    const { to, columns } = source.fill(fields, order, from, end);
    const start = from;
    const recordOf = (row: number): number => order?.[start + row] ?? start + row;
    const batchTicks = prepared.ticks?.slice(from, to);
    await breathe();
    const batch = await sealBatch(manifest, columns, to - from, batchTicks, kernels, indexers, recordOf);
    prepared.batches.push(batch);
    await use(batch, prepared);
    from = to;
  }
  return prepared;
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

async function sealBatch(
  manifest: Manifest,
  sources: ColumnSource[],
  rows: number,
  ticks: bigint[] | undefined,
  kernels: Kernels,
  indexers: IndexersOf,
  recordOf: (row: number) => number,
): Promise<PreparedBatch> {
  const columns = new Map<number, Sealed>();
  const segments = new Map<number, PreparedSegment[]>();
  const indexed: IndexSource[] = [];
  const offsets = batchOffsets(rows, ticks);
  for (const [f, field] of manifest.fields.entries()) {
    const source = sources[f] as ColumnSource;
    if (source.presence?.every((present) => present === 0)) continue;
    await breathe();
    if (field.kind === "embedding") {
      const track = manifest.tracks.get(field.id) as Track;
      checkVectors(kernels, source, field, recordOf);
      const indexer = indexers.get(field.id);
      const made =
        indexer &&
        withVectors(kernels, source, field, (vectors) => {
          return Array.from({ length: indexer.tables }, (_, table) => {
            const cells = indexer.cellsOf(vectors, source.rows, table);
            const order = orderByCell(kernels, cells, indexer.cellBits, source.presence);
            return sealSegment(kernels, track, indexer, vectors, order, offsets, 0n, field.rerank);
          });
        });
      if (made !== undefined) segments.set(field.id, made);
      await breathe();
    }
    columns.set(field.id, encodeColumn(source));
    if ("index" in field) indexed.push(indexSource(field.id, source));
  }
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

/** Vectors checked at a time: they stay in the second-level cache. */
const CHECKED_BYTES = 256 << 10;

/** Refuses NaN and infinity, and for cosine lengths of zero and those that f32 can't hold. */
function checkVectors(
  kernels: Kernels,
  { values, rows, presence }: ColumnSource,
  field: EmbeddingField,
  recordOf: (row: number) => number,
): void {
  const { dim } = field;
  const isCosine = metricOf(field.algorithm) === "cosine";
  const tileRows = Math.max(1, Math.min(rows, Math.floor(CHECKED_BYTES / (4 * dim))));
  const tile = kernels.alloc(tileRows * (dim + 1) * 4);
  const norms = tile + tileRows * dim * 4;
  try {
    for (let first = 0; first < rows; first += tileRows) {
      const n = Math.min(tileRows, rows - first);
      kernels.bytes(tile, n * dim * 4).set(values.subarray(first * dim * 4, (first + n) * dim * 4));
      const bad = kernels.checkFinite(tile, n * dim);
      if (bad >= 0) {
        const found = kernels.f32(tile + bad * 4, 1)[0];
        const record = recordOf(first + Math.floor(bad / dim));
        throw badVector(field, record, found, `a finite f32 at component ${bad % dim}`);
      }
      if (!isCosine) continue;
      kernels.rowInvNorms(tile, n, dim, norms);
      const row = kernels.f32(norms, n).findIndex((norm, i) => norm === 0 && presence?.[first + i] !== 0);
      if (row < 0) continue;
      const expected = "a vector with a direction, for cosine";
      throw badVector(field, recordOf(first + row), "a length of zero, or beyond f32", expected);
    }
  } finally {
    kernels.free(tile);
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
