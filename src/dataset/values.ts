/** Values of records on their way into columns and out of them: one codec for each kind of field. */
import { compareBytes } from "../core/cbor.ts";
import { decodeUtf8, isWellFormed } from "../core/utf8.ts";
import { DreamDBError } from "../errors.ts";
import {
  type BlockRows,
  type ColumnHead,
  ColumnKind,
  type ColumnSource,
  ValueType,
} from "../objects/column.ts";
import type { FieldSpec } from "../objects/field.ts";
import { corrupt } from "../objects/shape.ts";

const MAX_I64 = 2n ** 63n - 1n;
const MIN_I64 = -(2n ** 63n);
const utf8 = new TextEncoder();

/** Collects one field's values for a batch. */
export interface ColumnBuilder {
  /** Takes the value of record `index`, or undefined for none. Errors: `SchemaViolation`. */
  push(value: unknown, index: number): void;
  /** Bytes collected so far. */
  bytes: number;
  finish(): ColumnSource;
}

/** @param rows records that will be pushed at most */
export function columnBuilder(field: FieldSpec, rows: number): ColumnBuilder {
  switch (field.kind) {
    case "image":
    case "video":
    case "audio":
      return new VariableBuilder(field, rows, ColumnKind.fragment, ValueType.bytes, writeMedia);
    case "string":
      return new VariableBuilder(field, rows, ColumnKind.scalar, ValueType.utf8, writeText);
    case "categorical":
      return new CategoricalBuilder(field, rows);
    case "embedding":
      return new VectorBuilder(field, field.dim, rows);
    case "bool":
      return new FixedBuilder(field, rows, 1, ValueType.bool, (view, at, value, index) => {
        if (typeof value !== "boolean") throw wrongType(field, index, value, "true or false");
        view.setUint8(at, value ? 1 : 0);
      });
    case "int":
      return new FixedBuilder(field, rows, 8, ValueType.i64, (view, at, value, index) => {
        view.setBigInt64(at, toInt64(field, index, value), true);
      });
    case "float":
      return new FixedBuilder(field, rows, 8, ValueType.f64, (view, at, value, index) => {
        if (typeof value !== "number" || !Number.isFinite(value))
          throw wrongType(field, index, value, "a finite number");
        view.setFloat64(at, value, true);
      });
    case "timestamp":
      return new FixedBuilder(field, rows, 8, ValueType.timestamp, (view, at, value, index) => {
        const ns = value instanceof Date ? dateToNs(field, index, value) : toInt64(field, index, value);
        view.setBigInt64(at, ns, true);
      });
  }
}

/** The type that a field's columns hold, so that a reader can refuse any other. */
export function valueTypeOf(field: FieldSpec): { kind: number; type: number; width: number } {
  switch (field.kind) {
    case "image":
    case "video":
    case "audio":
      return { kind: ColumnKind.fragment, type: ValueType.bytes, width: 0 };
    case "string":
      return { kind: ColumnKind.scalar, type: ValueType.utf8, width: 0 };
    case "categorical":
      return { kind: ColumnKind.scalar, type: ValueType.categorical, width: 4 };
    case "embedding":
      return { kind: ColumnKind.vector, type: ValueType.f32, width: 4 * field.dim };
    case "bool":
      return { kind: ColumnKind.scalar, type: ValueType.bool, width: 1 };
    case "int":
      return { kind: ColumnKind.scalar, type: ValueType.i64, width: 8 };
    case "float":
      return { kind: ColumnKind.scalar, type: ValueType.f64, width: 8 };
    case "timestamp":
      return { kind: ColumnKind.scalar, type: ValueType.timestamp, width: 8 };
  }
}

/** Appends values of rows [from, to) of a block to `out`; undefined where a row has none. */
export function readValues(
  field: FieldSpec,
  head: ColumnHead,
  block: BlockRows,
  from: number,
  to: number,
  out: unknown[],
): void {
  const { values } = block;
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
  const dim = field.kind === "embedding" ? field.dim : 0;
  const floats = dim > 0 ? copyFloats(values, from, to, dim) : undefined;
  for (let row = from; row < to; row++) {
    const vector = floats?.subarray((row - from) * dim, (row - from + 1) * dim);
    out.push(block.isPresent(row) ? readValue(field, head, block, view, row, vector) : undefined);
  }
}

function readValue(
  field: FieldSpec,
  head: ColumnHead,
  block: BlockRows,
  view: DataView,
  row: number,
  vector: Float32Array | undefined,
): unknown {
  switch (field.kind) {
    case "image":
    case "video":
    case "audio":
      return block.value(row).slice();
    case "string":
      return decodeUtf8(block.value(row), `a value of "${field.name}"`);
    case "categorical":
      return categoryOf(head, view.getUint32(4 * row, true));
    case "embedding":
      return vector;
    case "bool":
      if (view.getUint8(row) > 1) throw corrupt(`a value of "${field.name}"`, view.getUint8(row), "0 or 1");
      return view.getUint8(row) === 1;
    case "int":
      return shortest(view.getBigInt64(8 * row, true));
    case "float":
      return view.getFloat64(8 * row, true);
    case "timestamp":
      return view.getBigInt64(8 * row, true);
  }
}

function categoryOf(head: ColumnHead, code: number): string {
  const word = head.dictionary[code];
  if (word === undefined) throw corrupt("column.code", code, `below ${head.dictionary.length}`);
  return word;
}

function copyFloats(values: Uint8Array, from: number, to: number, dim: number): Float32Array {
  return new Float32Array(values.slice(from * dim * 4, to * dim * 4).buffer);
}

function shortest(value: bigint): number | bigint {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : value;
}

function wrongType(field: FieldSpec, index: number, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("SchemaViolation", `record ${index} does not fit the schema; nothing was written`, {
    field: field.name,
    found,
    expected,
    committed: "no",
  });
}

function toInt64(field: FieldSpec, index: number, value: unknown): bigint {
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  if (typeof value === "bigint" && value >= MIN_I64 && value <= MAX_I64) return value;
  throw wrongType(field, index, value, "an integer of 64 bits (bigint beyond 2^53)");
}

function dateToNs(field: FieldSpec, index: number, value: Date): bigint {
  const ms = value.getTime();
  if (!Number.isFinite(ms)) throw wrongType(field, index, value, "a valid Date");
  return toInt64(field, index, BigInt(ms) * 1_000_000n);
}

/** Notes which rows have a value; most batches have them all and store nothing. */
class Presence {
  private readonly bytes: Uint8Array;
  private absent = 0;
  constructor(rows: number) {
    this.bytes = new Uint8Array(rows);
  }
  mark(row: number, field: FieldSpec, index: number, value: unknown): boolean {
    if (value !== undefined && value !== null) {
      this.bytes[row] = 1;
      return true;
    }
    if (field.required) {
      throw new DreamDBError(
        "SchemaViolation",
        `record ${index} lacks a required field; nothing was written`,
        {
          field: field.name,
          found: value,
          expected: field.kind,
          committed: "no",
        },
      );
    }
    this.absent++;
    return false;
  }
  markAll(from: number, rows: number): void {
    this.bytes.fill(1, from, from + rows);
  }
  finish(rows: number): { presence?: Uint8Array } {
    return this.absent === 0 ? {} : { presence: this.bytes.subarray(0, rows) };
  }
}

class FixedBuilder implements ColumnBuilder {
  private readonly field: FieldSpec;
  private readonly presence: Presence;
  private readonly view: DataView;
  private readonly width: number;
  private readonly type: number;
  private readonly write: (view: DataView, at: number, value: unknown, index: number) => void;
  private rows = 0;

  constructor(
    field: FieldSpec,
    rows: number,
    width: number,
    type: number,
    write: (view: DataView, at: number, value: unknown, index: number) => void,
  ) {
    this.field = field;
    this.presence = new Presence(rows);
    this.view = new DataView(new ArrayBuffer(rows * width));
    this.width = width;
    this.type = type;
    this.write = write;
  }

  get bytes(): number {
    return this.rows * this.width;
  }

  push(value: unknown, index: number): void {
    if (this.presence.mark(this.rows, this.field, index, value))
      this.write(this.view, this.rows * this.width, value, index);
    this.rows++;
  }

  finish(): ColumnSource {
    const { rows, width, type } = this;
    const values = new Uint8Array(this.view.buffer, 0, rows * width);
    return { kind: ColumnKind.scalar, type, rows, width, values, ...this.presence.finish(rows) };
  }
}

/** Text through a dictionary: the codes number the sorted distinct values. */
class CategoricalBuilder implements ColumnBuilder {
  bytes = 0;
  private readonly field: FieldSpec;
  private readonly presence: Presence;
  private readonly codes: Uint32Array;
  private readonly seen = new Map<string, number>();
  private rows = 0;

  constructor(field: FieldSpec, rows: number) {
    this.field = field;
    this.presence = new Presence(rows);
    this.codes = new Uint32Array(rows);
  }

  push(value: unknown, index: number): void {
    if (this.presence.mark(this.rows, this.field, index, value)) {
      if (typeof value !== "string" || !isWellFormed(value))
        throw wrongType(this.field, index, value, "well-formed text");
      let code = this.seen.get(value);
      if (code === undefined) {
        code = this.seen.size;
        this.seen.set(value, code);
        this.bytes += 4 + 3 * value.length;
      }
      this.codes[this.rows] = code;
    }
    this.bytes += 4;
    this.rows++;
  }

  finish(): ColumnSource {
    const words = [...this.seen.keys()].map((word, code) => ({ bytes: utf8.encode(word), code }));
    words.sort((a, b) => compareBytes(a.bytes, b.bytes));
    const renumbered = new Uint32Array(words.length);
    words.forEach((word, i) => {
      renumbered[word.code] = i;
    });
    const { presence } = this.presence.finish(this.rows);
    const values = new Uint8Array(this.rows * 4);
    const view = new DataView(values.buffer);
    for (let row = 0; row < this.rows; row++) {
      if (presence === undefined || presence[row] === 1)
        view.setUint32(4 * row, renumbered[this.codes[row] as number] as number, true);
    }
    const dictionary = words.map((word) => word.bytes);
    const base = {
      kind: ColumnKind.scalar,
      type: ValueType.categorical,
      rows: this.rows,
      width: 4,
      values,
      dictionary,
    };
    return presence === undefined ? base : { ...base, presence };
  }
}

/** Vectors of `dim` f32, one after the other. */
export class VectorBuilder implements ColumnBuilder {
  private readonly field: FieldSpec;
  private readonly dim: number;
  private readonly presence: Presence;
  private readonly floats: Float32Array;
  private rows = 0;

  constructor(field: FieldSpec, dim: number, rows: number) {
    this.field = field;
    this.dim = dim;
    this.presence = new Presence(rows);
    this.floats = new Float32Array(rows * dim);
  }

  get bytes(): number {
    return this.rows * this.dim * 4;
  }

  push(value: unknown, index: number): void {
    if (this.presence.mark(this.rows, this.field, index, value)) {
      copyVector(value, this.dim, this.floats, this.rows * this.dim, (found) =>
        wrongType(this.field, index, found, `${this.dim} finite numbers as number[] or Float32Array`),
      );
    }
    this.rows++;
  }

  /** Takes the vectors of `rows` records, one after the other. */
  pushAll(floats: Float32Array | Float64Array, rows: number): void {
    this.floats.set(floats, this.rows * this.dim);
    this.presence.markAll(this.rows, rows);
    this.rows += rows;
  }

  finish(): ColumnSource {
    const { rows, dim } = this;
    const values = new Uint8Array(this.floats.buffer, 0, rows * dim * 4);
    return {
      kind: ColumnKind.vector,
      type: ValueType.f32,
      rows,
      width: dim * 4,
      values,
      ...this.presence.finish(rows),
    };
  }
}

/** Copies a caller's vector into `target` at `at`; `fail` makes the error for one of another shape. */
export function copyVector(
  value: unknown,
  dim: number,
  target: Float32Array,
  at: number,
  fail: (found: unknown) => Error,
): void {
  if (isFloats(value)) {
    if (value.length !== dim) throw fail(`${value.length} components`);
    target.set(value, at);
    return;
  }
  if (!Array.isArray(value)) throw fail(value);
  if (value.length !== dim) throw fail(`${value.length} components`);
  for (let i = 0; i < dim; i++) {
    const component: unknown = value[i];
    if (typeof component !== "number") throw fail(component);
    target[at + i] = component;
  }
}

function isFloats(value: unknown): value is Float32Array | Float64Array {
  // The common case; asking for the name, which arrays of another realm need, takes longer than copying a vector.
  if (value instanceof Float32Array) return true;
  const name = Object.prototype.toString.call(value);
  return name === "[object Float32Array]" || name === "[object Float64Array]";
}

type WriteBytes = (value: unknown, builder: ByteBuffer, fail: (expected: string) => Error) => void;

export class VariableBuilder implements ColumnBuilder {
  private readonly field: FieldSpec;
  private readonly kind: number;
  private readonly type: number;
  private readonly write: WriteBytes;
  private readonly presence: Presence;
  private readonly ends: Uint32Array;
  private readonly buffer = new ByteBuffer();
  private rows = 0;

  constructor(field: FieldSpec, rows: number, kind: number, type: number, write: WriteBytes) {
    this.field = field;
    this.kind = kind;
    this.type = type;
    this.write = write;
    this.presence = new Presence(rows);
    this.ends = new Uint32Array(rows);
  }

  get bytes(): number {
    return this.buffer.length;
  }

  push(value: unknown, index: number): void {
    if (this.presence.mark(this.rows, this.field, index, value)) {
      this.write(value, this.buffer, (expected) => wrongType(this.field, index, value, expected));
    }
    this.ends[this.rows++] = this.buffer.length;
  }

  /** Takes the values of many records, one after the other, which fit the field; `ends` are relative to `bytes`. */
  pushAll(bytes: Uint8Array, ends: Uint32Array): void {
    const { length } = this.buffer;
    for (let i = 0; i < ends.length; i++) this.ends[this.rows + i] = length + (ends[i] as number);
    this.presence.markAll(this.rows, ends.length);
    this.rows += ends.length;
    this.buffer.room(bytes.length).set(bytes);
    this.buffer.length += bytes.length;
  }

  finish(): ColumnSource {
    const { rows, kind, type } = this;
    const base = {
      kind,
      type,
      rows,
      width: 0,
      values: this.buffer.view(),
      ends: this.ends.subarray(0, rows),
    };
    return { ...base, ...this.presence.finish(rows) };
  }
}

/** Bytes that grow at the end. */
class ByteBuffer {
  length = 0;
  private bytes = new Uint8Array(1 << 12);

  /** Room for at least `count` bytes after the end. */
  room(count: number): Uint8Array {
    if (this.length + count > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.length + count, 2 * this.bytes.length));
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    return this.bytes.subarray(this.length);
  }

  view(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

const writeText: WriteBytes = (value, buffer, fail) => {
  if (typeof value !== "string" || !isWellFormed(value)) throw fail("well-formed text");
  buffer.length += utf8.encodeInto(value, buffer.room(3 * value.length)).written;
};

const writeMedia: WriteBytes = (value, buffer, fail) => {
  if (Object.prototype.toString.call(value) !== "[object Uint8Array]") throw fail("Uint8Array");
  const bytes = value as Uint8Array;
  buffer.room(bytes.length).set(bytes);
  buffer.length += bytes.length;
};
