/** A column's values in order, as its ScalarIndex wants them. */
import { compareBytes } from "../core/cbor.ts";
import { keyStarts, prefixesOf, sortRows } from "../index/sort-rows.ts";
import { type ColumnSource, ValueType } from "../objects/column.ts";
import type { IndexSource } from "../objects/scalar-index.ts";
import { keysOfColumn, keyWidth } from "../objects/scalar-key.ts";

/** @param source a scalar column in which some row has a value */
export function indexSource(field: number, source: ColumnSource): IndexSource {
  const keyOf = keysOf(source);
  const rows = presentRows(source);
  const isFixed = keyWidth(source.type) !== 0;
  const prefixes = prefixesOf(rows, source.rows, keyOf);
  const order = isFixed
    ? sortRows(rows, prefixes)
    : sortRows(rows, prefixes, (a, b) => compareBytes(keyOf(a), keyOf(b)));
  return { field, type: source.type, order, starts: keyStarts(order, keyOf), keyOf };
}

function presentRows({ rows, presence }: ColumnSource): Uint32Array {
  const all = Uint32Array.from({ length: rows }, (_, row) => row);
  return presence === undefined ? all : all.filter((row) => presence[row] === 1);
}

function keysOf(source: ColumnSource): (row: number) => Uint8Array {
  const { type, values, ends, dictionary } = source;
  if (type === ValueType.categorical) {
    const codes = new DataView(values.buffer, values.byteOffset, values.byteLength);
    const words = dictionary ?? [];
    return (row) => words[codes.getUint32(4 * row, true)] as Uint8Array;
  }
  if (ends !== undefined) return (row) => values.subarray(row === 0 ? 0 : ends[row - 1], ends[row]);
  const width = keyWidth(type) as number;
  const keys = keysOfColumn(type, values);
  return (row) => keys.subarray(width * row, width * (row + 1));
}
