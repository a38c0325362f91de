/** Arrow IPC files and streams. The package apache-arrow is optional, so it is loaded when it is needed. */
import { type FileHandle, open } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type * as Arrow from "apache-arrow";
import { DreamDBError, type FieldSpec, isDreamDBError } from "../index.node.ts";
import type { Declaration } from "./declaration.ts";
import { fileError } from "./failure.ts";
import { formatOf } from "./media.ts";
import type { Row, Source, SourceOptions, SourceProgress } from "./source.ts";

type Library = typeof Arrow;
type Reader = Arrow.AsyncRecordBatchStreamReader;

/** Nanoseconds in each of Arrow's time units: second, milli, micro, nano. */
const UNIT_NS = [1_000_000_000n, 1_000_000n, 1_000n, 1n] as const;

/** @param path "-" for a stream on stdin */
export async function openArrow(path: string, options: SourceOptions): Promise<Source> {
  const library = await loadLibrary();
  const file =
    path === "-"
      ? undefined
      : await open(path).catch((error: unknown) => Promise.reject(fileError(error, path)));
  try {
    const reader = (await library.RecordBatchReader.from(
      (file ?? process.stdin) as never,
    )) as unknown as Reader;
    await reader.open();
    if (reader.schema === undefined) throw new Error("it holds no schema");
    return new ArrowSource(
      library,
      reader,
      reader.schema,
      file,
      options,
      options.base ?? (path === "-" ? "." : dirname(path)),
    );
  } catch (error) {
    await file?.close().catch(() => undefined);
    throw unreadable(error);
  }
}

async function loadLibrary(): Promise<Library> {
  try {
    return await import("apache-arrow");
  } catch (cause) {
    throw new DreamDBError("UnsupportedBackend", "reading Arrow needs the optional package apache-arrow", {
      field: "format",
      found: "arrow",
      expected: "npm install apache-arrow",
      cause,
    });
  }
}

class ArrowSource implements Source {
  readonly base: string;
  readonly progress: SourceProgress = { unit: "rows", done: 0, total: undefined };
  private readonly library: Library;
  private readonly batches: AsyncIterator<Arrow.RecordBatch>;
  private readonly schema: Arrow.Schema;
  private readonly file: FileHandle | undefined;
  private readonly options: SourceOptions;
  private readonly looked: Arrow.RecordBatch[] = [];

  constructor(
    library: Library,
    reader: Reader,
    schema: Arrow.Schema,
    file: FileHandle | undefined,
    options: SourceOptions,
    base: string,
  ) {
    this.library = library;
    this.batches = reader[Symbol.asyncIterator]();
    this.schema = schema;
    this.file = file;
    this.options = options;
    this.base = resolve(base);
  }

  async infer(): Promise<Declaration[]> {
    const first = await this.next();
    if (first !== undefined) this.looked.push(first);
    return this.schema.fields
      .map((field, i) => ({ field, column: first?.getChildAt(i) ?? undefined }))
      .filter(({ field }) => field.name !== this.options.anchorField)
      .map(({ field, column }) => ({
        name: field.name,
        required: !field.nullable,
        ...this.kindOf(field, column),
      }));
  }

  async *rows(_fields: readonly FieldSpec[]): AsyncGenerator<Row> {
    for (
      let batch = this.looked.pop() ?? (await this.next());
      batch !== undefined;
      batch = await this.next()
    ) {
      const cells = this.schema.fields.map((field, i) => ({
        name: field.name,
        read: this.cellsOf(batch.getChildAt(i)),
      }));
      for (let row = 0; row < batch.numRows; row++) {
        const values = Object.fromEntries(cells.map(({ name, read }) => [name, read(row)]));
        yield { where: `row ${++this.progress.done}`, values };
      }
    }
  }

  async close(): Promise<void> {
    await this.file?.close().catch(() => undefined);
  }

  private async next(): Promise<Arrow.RecordBatch | undefined> {
    try {
      const { value, done } = await this.batches.next();
      return done ? undefined : value;
    } catch (error) {
      throw unreadable(error);
    }
  }

  private kindOf(field: Arrow.Field, column: Arrow.Vector | undefined): Omit<Declaration, "name"> {
    const { DataType } = this.library;
    const { type } = field;
    if (DataType.isDictionary(type) && isText(this.library, type.dictionary)) return { kind: "categorical" };
    if (isText(this.library, type)) return { kind: "string" };
    if (DataType.isBool(type)) return { kind: "bool" };
    if (DataType.isInt(type)) return { kind: "int" };
    if (DataType.isFloat(type)) return { kind: "float" };
    if (DataType.isTimestamp(type) || DataType.isDate(type)) return { kind: "timestamp" };
    if (isFloatList(this.library, type)) {
      return {
        kind: "embedding",
        dim: DataType.isFixedSizeList(type) ? type.listSize : firstOf(field, column).length,
        algorithm: "dreamdb.ivf-cosine",
      };
    }
    if (isBinary(this.library, type)) {
      const format = formatOf(firstOf(field, column) as Uint8Array);
      if (format !== undefined) return format;
    }
    throw new DreamDBError("SchemaViolation", "the schema can't be inferred", {
      field: field.name,
      found: String(type),
      expected: "another type of column, or --schema",
    });
  }

  /** A function from a row of the batch to its value, as `toValue` takes it. */
  private cellsOf(column: Arrow.Vector | null): (row: number) => unknown {
    const { DataType } = this.library;
    const [data] = column?.data ?? [];
    if (column === null || data === undefined) return () => undefined;
    const { type } = column;
    if (DataType.isTimestamp(type)) {
      // The library's own getter rounds to milliseconds.
      const ticks = data.values as BigInt64Array;
      const unit = UNIT_NS[type.unit];
      return (row) => (column.isValid(row) ? (ticks[row] as bigint) * unit : null);
    }
    if (DataType.isDate(type))
      return (row) => (column.isValid(row) ? BigInt(Number(column.get(row))) * 1_000_000n : null);
    if (isFloatList(this.library, type)) return (row) => floatsOf(column.get(row) as Arrow.Vector | null);
    return (row) => column.get(row) as unknown;
  }
}

function isText({ DataType }: Library, type: Arrow.DataType): boolean {
  return DataType.isUtf8(type) || DataType.isLargeUtf8(type);
}

function isBinary({ DataType }: Library, type: Arrow.DataType): boolean {
  return DataType.isBinary(type) || DataType.isLargeBinary(type) || DataType.isFixedSizeBinary(type);
}

function isFloatList(
  { DataType, Precision }: Library,
  type: Arrow.DataType,
): type is Arrow.FixedSizeList | Arrow.List {
  if (!DataType.isFixedSizeList(type) && !DataType.isList(type)) return false;
  const item = type.children[0]?.type as Arrow.DataType;
  return DataType.isFloat(item) && item.precision !== Precision.HALF;
}

/** A vector with a null in it becomes an array that the check of vectors refuses. */
function floatsOf(list: Arrow.Vector | null): unknown {
  if (list === null) return null;
  return list.nullCount > 0 ? [...list] : (list.toArray() as unknown);
}

function firstOf(field: Arrow.Field, column: Arrow.Vector | undefined): { length: number } {
  for (const value of column ?? []) if (value !== null) return value as { length: number };
  throw new DreamDBError("SchemaViolation", "the schema can't be inferred", {
    field: field.name,
    found: "no value in the first batch",
    expected: "a value, or --schema",
  });
}

function unreadable(error: unknown): unknown {
  if (isDreamDBError(error)) return error;
  const reason = error instanceof Error ? error.message : String(error);
  if (/compressed but codec not found/.test(reason)) {
    return new DreamDBError(
      "InvalidArgument",
      "compressed Arrow files can't be read; write it uncompressed",
      {
        field: "source",
        found: reason,
        expected: "an uncompressed file or stream",
        committed: "no",
        cause: error,
      },
    );
  }
  return new DreamDBError("InvalidArgument", `not an Arrow IPC file or stream, or damaged: ${reason}`, {
    field: "source",
    committed: "no",
    cause: error,
  });
}
