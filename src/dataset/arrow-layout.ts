/**
 * The parts of Apache Arrow's JavaScript objects that are read and made here. The package is the caller's: nothing of this
 * library imports it (docs/decisions/0033-arrow-comes-from-the-caller.md), so that these shapes stand for its classes.
 */

/** Numbers of Arrow's logical types, as `Data.typeId` and `DataType.typeId` give them. */
export const ArrowTypeId = {
  null: 1,
  int: 2,
  float: 3,
  binary: 4,
  utf8: 5,
  bool: 6,
  date: 8,
  timestamp: 10,
  list: 12,
  fixedSizeBinary: 15,
  fixedSizeList: 16,
  largeBinary: 19,
  largeUtf8: 20,
  dictionary: -1,
} as const;

/** Nanoseconds in each of Arrow's time units: second, milli, micro, nano. */
export const UNIT_NS = [1_000_000_000n, 1_000_000n, 1_000n, 1n] as const;
export const NANOSECOND = 3;

/** A run of values of one column: `Data` of apache-arrow. Bits are counted from `offset`, all else from 0. */
export interface ArrowData {
  // biome-ignore lint/suspicious/noExplicitAny: what a type has depends on its id
  readonly type: any;
  readonly typeId: number;
  readonly offset: number;
  readonly length: number;
  readonly stride: number;
  // biome-ignore lint/suspicious/noExplicitAny: a typed array by the type
  readonly values: any;
  // biome-ignore lint/suspicious/noExplicitAny: Int32Array, or BigInt64Array of large types
  readonly valueOffsets: any;
  readonly nullBitmap: Uint8Array | null | undefined;
  readonly nullCount: number;
  readonly children: readonly ArrowData[];
  // biome-ignore lint/suspicious/noExplicitAny: a Vector
  dictionary?: any;
}

/** A `RecordBatch` of apache-arrow. */
export interface ArrowBatch {
  readonly numRows: number;
  readonly schema: { readonly fields: readonly { readonly name: string }[] };
  readonly data: ArrowData;
}

/** A `Table` of apache-arrow. */
export interface ArrowTable {
  readonly batches: readonly ArrowBatch[];
}

// biome-ignore lint/suspicious/noExplicitAny: constructors of another package
type Made = new (...args: any[]) => any;

/** What `import * as arrow from "apache-arrow"` gives. */
export interface ArrowLibrary {
  RecordBatch: Made;
  Schema: Made;
  Field: Made;
  Vector: Made;
  Struct: Made;
  Binary: Made;
  Bool: Made;
  Dictionary: Made;
  FixedSizeList: Made;
  Float32: Made;
  Float64: Made;
  Int32: Made;
  Int64: Made;
  TimestampNanosecond: Made;
  Utf8: Made;
  // biome-ignore lint/suspicious/noExplicitAny: a function of another package
  makeData: (props: any) => any;
}
