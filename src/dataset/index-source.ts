/** A column's values in order, as its ScalarIndex wants them. */
import { sortByCode, sortRows } from "../index/sort-rows.ts";
import { type ColumnSource, ValueType } from "../objects/column.ts";
import type { IndexSource } from "../objects/scalar-index.ts";
import { keysOfColumn, keyWidth } from "../objects/scalar-key.ts";

/** @param source a scalar column in which some row has a value */
export function indexSource(field: number, source: ColumnSource): IndexSource {
  const rows = presentRows(source);
  const { type } = source;
  if (source.ends !== undefined) return { field, type, ...sortTexts(source, source.ends, rows) };
  if (type === ValueType.categorical) return { field, type, ...sortCategories(source, rows) };
  return { field, type, ...sortNumbers(source, rows) };
}

type Sorted = Pick<IndexSource, "order" | "starts" | "keyOf">;

function presentRows({ rows, presence }: ColumnSource): Uint32Array {
  const present = new Uint32Array(rows);
  let count = 0;
  for (let row = 0; row < rows; row++)
    if (presence === undefined || presence[row] === 1) present[count++] = row;
  return present.subarray(0, count);
}

/** Booleans too: all whose keys have one width of up to eight bytes. */
function sortNumbers({ type, values, rows: count }: ColumnSource, rows: Uint32Array): Sorted {
  const width = keyWidth(type) as number;
  const keys = keysOfColumn(type, values);
  const view = new DataView(keys.buffer, keys.byteOffset, keys.byteLength);
  const prefixes = new Uint32Array(2 * count);
  for (const row of rows) {
    prefixes[2 * row] = width === 1 ? view.getUint8(row) : view.getUint32(8 * row);
    if (width === 8) prefixes[2 * row + 1] = view.getUint32(8 * row + 4);
  }
  return { ...sortRows(rows, prefixes), keyOf: (row) => keys.subarray(width * row, width * (row + 1)) };
}

/** The dictionary is ascending, so that codes have the order of their words. */
function sortCategories({ values, dictionary }: ColumnSource, rows: Uint32Array): Sorted {
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
  const words = dictionary as Uint8Array[];
  const codeOf = (row: number): number => view.getUint32(4 * row, true);
  return { ...sortByCode(rows, codeOf, words.length), keyOf: (row) => words[codeOf(row)] as Uint8Array };
}

function sortTexts({ values, rows: count }: ColumnSource, ends: Uint32Array, rows: Uint32Array): Sorted {
  const startOf = (row: number): number => (row === 0 ? 0 : (ends[row - 1] as number));
  const prefixes = new Uint32Array(2 * count);
  for (const row of rows) {
    prefixes[2 * row] = word(values, startOf(row), ends[row] as number);
    prefixes[2 * row + 1] = word(values, startOf(row) + 4, ends[row] as number);
  }
  // Compared in place: a view of each text would take longer than the comparison.
  const compare = (a: number, b: number): number => {
    const end = Math.min(ends[a] as number, startOf(a) + (ends[b] as number) - startOf(b));
    for (let i = startOf(a), j = startOf(b); i < end; i++, j++)
      if (values[i] !== values[j]) return (values[i] as number) - (values[j] as number);
    return (ends[a] as number) - startOf(a) - ((ends[b] as number) - startOf(b));
  };
  const keyOf = (row: number): Uint8Array => values.subarray(startOf(row), ends[row]);
  return { ...sortRows(rows, prefixes, compare), keyOf };
}

/** Four bytes from `at` on, big-endian; zeros from `end` on. */
function word(bytes: Uint8Array, at: number, end: number): number {
  let word = 0;
  for (let i = at; i < at + 4; i++) word = (word << 8) | (i < end ? (bytes[i] as number) : 0);
  return word >>> 0;
}
