/** Rows of Arrow record batches, copied column by column: no object is made for a row. */
import { toTick } from "../core/time.ts";
import { DreamDBError } from "../errors.ts";
import type { ColumnSource } from "../objects/column.ts";
import type { FieldSpec } from "../objects/field.ts";
import {
  type ArrowBatch,
  type ArrowData,
  type ArrowTable,
  ArrowTypeId as Id,
  UNIT_NS,
} from "./arrow-layout.ts";
import { type RowSource, TARGET_BYTES } from "./row-source.ts";
import { type ColumnBuilder, columnBuilder, type VariableBuilder, type VectorBuilder } from "./values.ts";

const ANCHOR = "_anchor";
/** Text is checked in runs of about so many bytes. */
const TEXT_RUN_BYTES = 1 << 20;

/** One record batch, and where its rows stand among all. */
interface Chunk {
  first: number;
  rows: number;
  columns: ReadonlyMap<string, ArrowData>;
}

export class ArrowSource implements RowSource {
  readonly rows: number;
  private readonly chunks: Chunk[] = [];

  /** Errors: `InvalidArgument` for what is no Arrow table. */
  constructor(input: ArrowTable | ArrowBatch | readonly ArrowBatch[]) {
    let rows = 0;
    for (const batch of batchesOf(input)) {
      if (batch.numRows === 0) continue;
      const columns = new Map(
        batch.schema.fields.map(({ name }, i) => [name, batch.data.children[i] as ArrowData]),
      );
      this.chunks.push({ first: rows, rows: batch.numRows, columns });
      rows += batch.numRows;
    }
    this.rows = rows;
  }

  ticks(origin: bigint): bigint[] | undefined {
    if (!this.chunks.some(({ columns }) => columns.has(ANCHOR))) return undefined;
    const ticks: bigint[] = [];
    for (const { first, rows, columns } of this.chunks) {
      const data = columns.get(ANCHOR);
      const read = data && (data.typeId === Id.timestamp || isInt(data, 64)) ? nanoseconds(data) : undefined;
      for (let row = 0; row < rows; row++) {
        const anchor = data !== undefined && isValid(data, row) ? read?.(row) : undefined;
        if (anchor === undefined) {
          throw new DreamDBError(
            "InvalidAnchor",
            `record ${first + row} has no anchor, or not as a number of nanoseconds; nothing was written`,
            {
              field: ANCHOR,
              found: data && String(data.type),
              expected: "timestamps or Int64, without nulls",
              committed: "no",
            },
          );
        }
        ticks.push(toTick(anchor, origin));
      }
    }
    return ticks;
  }

  fill(
    fields: readonly FieldSpec[],
    order: Uint32Array | undefined,
    from: number,
    end: number,
  ): { to: number; columns: ColumnSource[] } {
    this.checkNames(fields);
    const to = this.endOf(fields, order, from, end);
    const columns = fields.map((field) => {
      const builder = columnBuilder(field, to - from);
      for (const { chunk, row, count } of this.runs(order, from, to)) {
        const data = chunk.columns.get(field.name);
        take(builder, field, data, row, count, chunk.first + row);
      }
      return builder.finish();
    });
    return { to, columns };
  }

  private checkNames(fields: readonly FieldSpec[]): void {
    const known = new Set([...fields.map((field) => field.name), ANCHOR]);
    for (const { columns } of this.chunks) {
      for (const name of columns.keys()) {
        if (known.has(name)) continue;
        throw new DreamDBError("SchemaViolation", "a column that the schema lacks; nothing was written", {
          field: name,
          found: name,
          expected: `one of ${[...known].join(", ")}`,
          committed: "no",
        });
      }
    }
  }

  /** How far rows go until a column whose values differ in length is full; one row at least. */
  private endOf(
    fields: readonly FieldSpec[],
    order: Uint32Array | undefined,
    from: number,
    end: number,
  ): number {
    let to = end;
    for (const { name } of fields) {
      let bytes = 0;
      let place = from;
      for (const { chunk, row, count } of this.runs(order, from, to)) {
        const offsets = chunk.columns.get(name)?.valueOffsets;
        const isText = isVariable(chunk.columns.get(name));
        for (let i = row; isText && i < row + count; i++) {
          bytes += Number(offsets[i + 1] - offsets[i]);
          if (bytes > TARGET_BYTES && place + i - row > from) {
            to = place + i - row;
            break;
          }
        }
        place += count;
        if (place >= to) break;
      }
    }
    return to;
  }

  /** Runs of neighbours of one record batch, in the order of places [from, to). */
  private *runs(
    order: Uint32Array | undefined,
    from: number,
    to: number,
  ): Generator<{ chunk: Chunk; row: number; count: number }> {
    for (let place = from; place < to; ) {
      const row = order === undefined ? place : (order[place] as number);
      const chunk = this.chunkOf(row);
      const most = Math.min(to - place, chunk.first + chunk.rows - row);
      let count = order === undefined ? most : 1;
      while (count < most && order?.[place + count] === row + count) count++;
      yield { chunk, row: row - chunk.first, count };
      place += count;
    }
  }

  private chunkOf(row: number): Chunk {
    let low = 0;
    let high = this.chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.chunks[middle] as Chunk).first <= row) low = middle;
      else high = middle - 1;
    }
    return this.chunks[low] as Chunk;
  }
}

function batchesOf(input: ArrowTable | ArrowBatch | readonly ArrowBatch[]): readonly ArrowBatch[] {
  const given = input as Partial<ArrowTable & ArrowBatch> | undefined;
  const list = Array.isArray(input) ? (input as ArrowBatch[]) : (given?.batches ?? [given as ArrowBatch]);
  const isBatch = (batch: Partial<ArrowBatch> | undefined): boolean =>
    Array.isArray(batch?.schema?.fields) && Array.isArray(batch?.data?.children);
  if (list.every(isBatch)) return list;
  throw new DreamDBError("InvalidArgument", "rows as Arrow are needed", {
    field: "table",
    found: input,
    expected: "a Table, a RecordBatch or an array of RecordBatches of apache-arrow",
    committed: "no",
  });
}

/** Pushes `count` rows of `data`, from `row` on. @param index number of the first in the call, for messages */
function take(
  builder: ColumnBuilder,
  field: FieldSpec,
  data: ArrowData | undefined,
  row: number,
  count: number,
  index: number,
): void {
  if (data === undefined || data.typeId === Id.null) {
    for (let i = 0; i < count; i++) builder.push(undefined, index + i);
    return;
  }
  if (field.kind === "embedding" && takeVectors(builder as VectorBuilder, field.dim, data, row, count))
    return;
  if (isVariable(data) && field.kind !== "categorical" && field.kind !== "embedding") {
    const isText = data.typeId === Id.utf8 || data.typeId === Id.largeUtf8;
    if (isText !== (field.kind === "string")) throw wrongType(field, data);
    if (takeBytes(builder as VariableBuilder, field, data, row, count, index, isText)) return;
  }
  const read = readerOf(field, data, index - row);
  for (let i = 0; i < count; i++) builder.push(isValid(data, row + i) ? read(row + i) : undefined, index + i);
}

/** Lists of one length without a null lie one after the other, as columns do. False for any others. */
function takeVectors(
  builder: VectorBuilder,
  dim: number,
  data: ArrowData,
  row: number,
  count: number,
): boolean {
  const child = data.children[0];
  if (data.typeId !== Id.fixedSizeList || data.type.listSize !== dim || !isFloats(child)) return false;
  if (hasNulls(data) || hasNulls(child)) return false;
  builder.pushAll(child.values.subarray(row * dim, (row + count) * dim), count);
  return true;
}

/** Text and bytes without a null are copied at once. False when there is a null among them. */
function takeBytes(
  builder: VariableBuilder,
  field: FieldSpec,
  data: ArrowData,
  row: number,
  count: number,
  index: number,
  isText: boolean,
): boolean {
  if (hasNulls(data)) return false;
  const offsets = data.valueOffsets as ArrayLike<number | bigint>;
  const ends = new Uint32Array(count);
  const start = Number(offsets[row]);
  for (let i = 0; i < count; i++) ends[i] = Number(offsets[row + i + 1]) - start;
  const bytes = (data.values as Uint8Array).subarray(start, start + (ends[count - 1] ?? 0));
  const bad = isText ? malformedRow(bytes, ends) : -1;
  if (bad >= 0) throw notText(field, index + bad);
  builder.pushAll(bytes, ends);
  return true;
}

/** The first row, or the first of a run of rows, whose bytes are not UTF-8; −1 when all are. */
function malformedRow(bytes: Uint8Array, ends: Uint32Array): number {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (let first = 0; first < ends.length; ) {
    const from = first === 0 ? 0 : (ends[first - 1] as number);
    let row = first;
    for (; row < ends.length && (row === first || (ends[row] as number) - from <= TEXT_RUN_BYTES); row++) {
      const start = row === 0 ? 0 : (ends[row - 1] as number);
      // A run can be well-formed though it is cut inside a character.
      if ((ends[row] as number) > start && ((bytes[start] as number) & 0xc0) === 0x80) return row;
    }
    try {
      decoder.decode(bytes.subarray(from, ends[row - 1]));
    } catch {
      return first;
    }
    first = row;
  }
  return -1;
}

/**
 * A function from a row to its value, as `ColumnBuilder.push` takes it.
 * @param first number in the call of the data's first row, for messages. Errors: `SchemaViolation`
 */
function readerOf(field: FieldSpec, data: ArrowData, first: number): (row: number) => unknown {
  const { values, type, typeId } = data;
  switch (field.kind) {
    case "image":
    case "video":
    case "audio":
      if (typeId === Id.fixedSizeBinary)
        return (row) => values.subarray(row * type.byteWidth, (row + 1) * type.byteWidth);
      if (typeId === Id.binary || typeId === Id.largeBinary) return (row) => bytesAt(data, row);
      break;
    case "string":
    case "categorical":
      if (typeId === Id.dictionary) return wordsOf(field, data);
      if (typeId === Id.utf8 || typeId === Id.largeUtf8) return (row) => textAt(field, data, row, first);
      break;
    case "embedding":
      if (typeId === Id.fixedSizeList || typeId === Id.list) return listsOf(field, data);
      break;
    case "bool":
      if (typeId === Id.bool)
        return (row) => ((values[(data.offset + row) >> 3] >> ((data.offset + row) & 7)) & 1) === 1;
      break;
    case "int":
      if (typeId === Id.int) return (row) => values[row];
      break;
    case "float":
      if (isFloats(data) || isInt(data, 8) || isInt(data, 16) || isInt(data, 32)) return (row) => values[row];
      break;
    case "timestamp":
      if (typeId === Id.timestamp || typeId === Id.date || isInt(data, 64)) return nanoseconds(data);
      break;
  }
  throw wrongType(field, data);
}

/** Timestamps and dates of any unit, and Int64, which counts nanoseconds. */
function nanoseconds({ type, typeId, values }: ArrowData): (row: number) => bigint {
  if (typeId === Id.int) return (row) => values[row];
  if (typeId === Id.timestamp) {
    const unit = UNIT_NS[type.unit] as bigint;
    return (row) => BigInt(values[row]) * unit;
  }
  // Dates count days, or milliseconds.
  const unit = type.unit === 0 ? 86_400_000_000_000n : 1_000_000n;
  return (row) => BigInt(values[row]) * unit;
}

/** Each word is decoded once. */
function wordsOf(field: FieldSpec, data: ArrowData): (row: number) => unknown {
  const dictionary = data.dictionary as { get(i: number): unknown };
  const known = new Map<number, unknown>();
  if (data.type.dictionary.typeId !== Id.utf8 && data.type.dictionary.typeId !== Id.largeUtf8)
    throw wrongType(field, data);
  return (row) => {
    const code = Number(data.values[row]);
    let word = known.get(code);
    if (word === undefined) {
      word = dictionary.get(code);
      known.set(code, word);
    }
    return word;
  };
}

function listsOf(field: FieldSpec, data: ArrowData): (row: number) => unknown {
  const child = data.children[0];
  if (!isFloats(child)) throw wrongType(field, data);
  const { valueOffsets } = data;
  const size = data.type.listSize as number;
  return (row) => {
    const from = valueOffsets === undefined || valueOffsets === null ? row * size : Number(valueOffsets[row]);
    const to =
      valueOffsets === undefined || valueOffsets === null ? from + size : Number(valueOffsets[row + 1]);
    const vector = child.values.subarray(from, to) as Float32Array;
    if (!hasNulls(child)) return vector;
    return Array.from(vector, (component, i) => (isValid(child, from + i) ? component : null));
  };
}

function bytesAt({ values, valueOffsets }: ArrowData, row: number): Uint8Array {
  return values.subarray(Number(valueOffsets[row]), Number(valueOffsets[row + 1]));
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textAt(field: FieldSpec, data: ArrowData, row: number, first: number): string {
  try {
    return decoder.decode(bytesAt(data, row));
  } catch {
    throw notText(field, first + row);
  }
}

function isVariable(data: ArrowData | undefined): boolean {
  const id = data?.typeId;
  return id === Id.utf8 || id === Id.largeUtf8 || id === Id.binary || id === Id.largeBinary;
}

function isInt(data: ArrowData, bits: number): boolean {
  return data.typeId === Id.int && data.type.bitWidth === bits;
}

/** Single or double precision: halves are stored as integers. */
function isFloats(data: ArrowData | undefined): data is ArrowData {
  return data?.typeId === Id.float && data.type.precision !== 0;
}

function hasNulls(data: ArrowData): boolean {
  return (data.nullBitmap?.length ?? 0) > 0 && data.nullCount > 0;
}

function isValid(data: ArrowData, row: number): boolean {
  const { nullBitmap } = data;
  if (nullBitmap === null || nullBitmap === undefined || nullBitmap.length === 0) return true;
  const bit = data.offset + row;
  return (((nullBitmap[bit >> 3] as number) >> (bit & 7)) & 1) === 1;
}

const EXPECTED: Record<FieldSpec["kind"], string> = {
  image: "Binary",
  video: "Binary",
  audio: "Binary",
  string: "Utf8 or a Dictionary of it",
  categorical: "Utf8 or a Dictionary of it",
  embedding: "FixedSizeList or List of Float32 or Float64",
  bool: "Bool",
  int: "Int of any width",
  float: "Float32 or Float64",
  timestamp: "Timestamp, Date or Int64 of nanoseconds",
};

function wrongType(field: FieldSpec, data: ArrowData): DreamDBError {
  return new DreamDBError("SchemaViolation", "a column does not fit the schema; nothing was written", {
    field: field.name,
    found: String(data.type),
    expected: EXPECTED[field.kind],
    committed: "no",
  });
}

function notText(field: FieldSpec, record: number): DreamDBError {
  return new DreamDBError(
    "SchemaViolation",
    `record ${record} does not fit the schema; nothing was written`,
    {
      field: field.name,
      found: "bytes that are not UTF-8, here or close after",
      expected: "well-formed text",
      committed: "no",
    },
  );
}
