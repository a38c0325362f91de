/** `iterArrow`: rows as Arrow record batches, copied column by column. The classes are the caller's. */
import { DreamDBError } from "../errors.ts";
import type { BlockRows, ColumnHead } from "../objects/column.ts";
import type { FieldSpec } from "../objects/field.ts";
import type { ArrowLibrary } from "./arrow-layout.ts";
import { type Sink, type StreamSource, stream } from "./stream.ts";
import { valueTypeOf } from "./values.ts";

const MAX_I64 = 2n ** 63n - 1n;

/** Errors: `InvalidArgument` when `library` is not apache-arrow. */
export async function* streamArrow(source: StreamSource, library: ArrowLibrary): AsyncGenerator<unknown> {
  if (typeof library?.RecordBatch !== "function" || typeof library.makeData !== "function") {
    throw new DreamDBError("InvalidArgument", "the package apache-arrow is needed", {
      field: "arrow",
      found: library,
      expected: 'what `import * as arrow from "apache-arrow"` gives',
    });
  }
  yield* stream(source, new BatchSink(source.fields, library));
}

/** What a column is made of. */
interface Parts {
  rows: number;
  nulls: number;
  /** Arrow's bitmap, undefined when every row has a value. */
  bitmap: Uint8Array | undefined;
}

class BatchSink implements Sink<unknown> {
  rows = 0;
  private readonly library: ArrowLibrary;
  private readonly schema: unknown;
  private readonly columns: ArrowColumn[];
  private anchors = new BigInt64Array(1024);

  constructor(fields: readonly FieldSpec[], library: ArrowLibrary) {
    this.library = library;
    this.columns = fields.map((field) => new ArrowColumn(field, library));
    const anchor = new library.Field("_anchor", new library.TimestampNanosecond(), false);
    const others = this.columns.map(
      ({ field, type }) => new library.Field(field.name, type, !field.required),
    );
    this.schema = new library.Schema([anchor, ...others]);
  }

  anchor(ns: bigint): void {
    if (ns > MAX_I64) {
      throw new DreamDBError("LimitExceeded", "Arrow's timestamps end in the year 2262", {
        field: "_anchor",
        found: ns,
        expected: `at most ${MAX_I64}n`,
      });
    }
    this.anchors = grown(this.anchors, this.rows, 1);
    this.anchors[this.rows++] = ns;
  }

  absent(field: number, count: number): void {
    (this.columns[field] as ArrowColumn).absent(count);
  }

  values(field: number, head: ColumnHead, block: BlockRows, from: number, to: number): void {
    (this.columns[field] as ArrowColumn).take(head, block, from, to);
  }

  finish(): unknown {
    const { library, rows } = this;
    const { makeData } = library;
    const anchors = makeData({
      type: new library.TimestampNanosecond(),
      data: this.anchors.slice(0, rows),
      length: rows,
      nullCount: 0,
    });
    const children = [anchors, ...this.columns.map((column) => column.finish())];
    this.rows = 0;
    const type = new library.Struct((this.schema as { fields: unknown[] }).fields);
    const data = makeData({ type, length: rows, nullCount: 0, children });
    return new library.RecordBatch(this.schema, data);
  }
}

/** Collects one column. */
class ArrowColumn {
  readonly field: FieldSpec;
  readonly type: unknown;
  private readonly library: ArrowLibrary;
  /** Bytes a row; 0 when values differ in length. */
  private readonly width: number;
  private bytes = new Uint8Array(1024);
  private length = 0;
  private offsets = new Int32Array(1024);
  private rows = 0;
  private nulls = 0;
  private isPresent = new Uint8Array(1024);
  /** Words of a dictionary that grows from batch to batch, so that codes mean the same in all of them. */
  private readonly words = new Map<string, number>();
  private readonly dictionary: unknown[] = [];
  private wordsDone = 0;

  constructor(field: FieldSpec, library: ArrowLibrary) {
    this.field = field;
    this.library = library;
    this.width = valueTypeOf(field).width;
    this.type = typeOf(field, library);
  }

  absent(count: number): void {
    this.mark(count);
    this.isPresent.fill(0, this.rows, this.rows + count);
    this.nulls += count;
    if (this.width > 0) this.room(count * this.width).fill(0, 0, count * this.width);
    else this.offsets.fill(this.length, this.rows + 1, this.rows + count + 1);
    this.length += count * this.width;
    this.rows += count;
  }

  take(head: ColumnHead, block: BlockRows, from: number, to: number): void {
    const count = to - from;
    this.mark(count);
    for (let row = from; row < to; row++) {
      const present = block.isPresent(row) ? 1 : 0;
      this.isPresent[this.rows + row - from] = present;
      this.nulls += 1 - present;
    }
    if (this.field.kind === "categorical") this.takeCodes(head, block, from, to);
    else if (this.width > 0) {
      this.room(count * this.width).set(block.values.subarray(from * this.width, to * this.width));
      this.length += count * this.width;
    } else this.takeVariable(block, from, to);
    this.rows += count;
  }

  finish(): unknown {
    const { rows, nulls } = this;
    const bitmap = nulls === 0 ? undefined : bitsOf(this.isPresent, rows);
    const data = this.dataOf({ rows, nulls, bitmap });
    this.rows = 0;
    this.nulls = 0;
    this.length = 0;
    return data;
  }

  private takeVariable(block: BlockRows, from: number, to: number): void {
    for (let row = from; row < to; row++) {
      const value = block.value(row);
      this.room(value.length).set(value);
      this.length += value.length;
      if (this.length > 0x7fff_ffff) throw tooLong(this.field);
      this.offsets[this.rows + row - from + 1] = this.length;
    }
  }

  private takeCodes(head: ColumnHead, block: BlockRows, from: number, to: number): void {
    const renumbered = head.dictionary.map((word) => {
      const known = this.words.get(word);
      if (known !== undefined) return known;
      this.words.set(word, this.words.size);
      return this.words.size - 1;
    });
    const codes = new DataView(block.values.buffer, block.values.byteOffset, block.values.byteLength);
    const room = this.room(4 * (to - from));
    const out = new DataView(room.buffer, room.byteOffset, room.byteLength);
    for (let row = from; row < to; row++) {
      const code = renumbered[codes.getUint32(4 * row, true)] ?? 0;
      out.setInt32(4 * (row - from), block.isPresent(row) ? code : 0, true);
    }
    this.length += 4 * (to - from);
  }

  private dataOf({ rows, nulls, bitmap }: Parts): unknown {
    const { field, library, type } = this;
    const { makeData } = library;
    const base = { type, length: rows, nullCount: nulls, nullBitmap: bitmap };
    const bytes = this.bytes.slice(0, this.length);
    switch (field.kind) {
      case "embedding": {
        const data = new Float32Array(bytes.buffer);
        const child = makeData({ type: new library.Float32(), data, length: data.length, nullCount: 0 });
        return makeData({ ...base, child });
      }
      case "bool":
        return makeData({ ...base, data: bitsOf(bytes, rows) });
      case "int":
      case "timestamp":
        return makeData({ ...base, data: new BigInt64Array(bytes.buffer) });
      case "float":
        return makeData({ ...base, data: new Float64Array(bytes.buffer) });
      case "categorical":
        return makeData({ ...base, data: new Int32Array(bytes.buffer), dictionary: this.grownDictionary() });
      default:
        return makeData({ ...base, valueOffsets: this.offsets.slice(0, rows + 1), data: bytes });
    }
  }

  /** The words so far: those that are new since the last batch are a chunk of their own. */
  private grownDictionary(): unknown {
    const { library, words } = this;
    if (words.size > this.wordsDone || this.dictionary.length === 0) {
      const encoder = new TextEncoder();
      const added = [...words.keys()].slice(this.wordsDone).map((word) => encoder.encode(word));
      const valueOffsets = new Int32Array(added.length + 1);
      added.forEach((word, i) => {
        valueOffsets[i + 1] = (valueOffsets[i] as number) + word.length;
      });
      const data = new Uint8Array(valueOffsets.at(-1) as number);
      for (const [i, word] of added.entries()) data.set(word, valueOffsets[i]);
      this.wordsDone = words.size;
      const type = new library.Utf8();
      this.dictionary.push(
        library.makeData({ type, length: added.length, nullCount: 0, valueOffsets, data }),
      );
    }
    return new library.Vector([...this.dictionary]);
  }

  /** Room for the marks and offsets of more rows. */
  private mark(count: number): void {
    this.isPresent = grown(this.isPresent, this.rows, count);
    if (this.width === 0) this.offsets = grown(this.offsets, this.rows, count + 1);
  }

  private room(count: number): Uint8Array {
    this.bytes = grown(this.bytes, this.length, count);
    return this.bytes.subarray(this.length);
  }
}

function typeOf(field: FieldSpec, library: ArrowLibrary): unknown {
  switch (field.kind) {
    case "image":
    case "video":
    case "audio":
      return new library.Binary();
    case "string":
      return new library.Utf8();
    case "categorical":
      return new library.Dictionary(new library.Utf8(), new library.Int32());
    case "embedding":
      return new library.FixedSizeList(field.dim, new library.Field("item", new library.Float32(), false));
    case "bool":
      return new library.Bool();
    case "int":
      return new library.Int64();
    case "float":
      return new library.Float64();
    case "timestamp":
      return new library.TimestampNanosecond();
  }
}

/** An array with room for `count` items after the first `used`. */
function grown<T extends Uint8Array | Int32Array | BigInt64Array>(array: T, used: number, count: number): T {
  if (used + count <= array.length) return array;
  const larger = new (array.constructor as new (length: number) => T)(
    Math.max(used + count, 2 * array.length),
  );
  larger.set((array as Uint8Array).subarray(0, used) as never);
  return larger;
}

/** A bit for each of so many bytes, lowest first, padded to eight bytes as Arrow wants them. */
function bitsOf(flags: Uint8Array, count: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil(count / 64) * 8);
  for (let i = 0; i < count; i++)
    if (flags[i] === 1) bits[i >> 3] = (bits[i >> 3] as number) | (1 << (i & 7));
  return bits;
}

function tooLong(field: FieldSpec): DreamDBError {
  return new DreamDBError("LimitExceeded", "the values of one batch are too long for Arrow", {
    field: field.name,
    found: "over 2 GiB",
    expected: "a smaller batchSize",
  });
}
