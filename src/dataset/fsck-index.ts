/** Checking a ScalarIndex whole: every page as hashed, every entry in order, and all of it what the columns say. */
import { blake3, equalBytes } from "../core/blake3.ts";
import { compareBytes } from "../core/cbor.ts";
import { addRow, type Bits, countRows, hasRow, nextRow, noRows } from "../index/bitset.ts";
import { addRoaring } from "../index/roaring.ts";
import { decodeColumnHead, openBlock, type Span, ValueType } from "../objects/column.ts";
import {
  decodeScalarIndexHead,
  type IndexTree,
  openIndexPage,
  type ScalarIndexHead,
  TreeForm,
} from "../objects/scalar-index.ts";
import { keyOf, keysOfColumn, keyWidth } from "../objects/scalar-key.ts";
import { corrupt } from "../objects/shape.ts";

/**
 * Errors: `Corrupt`, `UnsupportedVersion`; and what `columnOf` throws.
 * @param bytes the whole object
 * @param columnOf the verified bytes of a field's column, or undefined when they can't be had
 */
export async function checkScalarIndex(
  bytes: Uint8Array,
  rows: number,
  columnOf: (field: number) => Promise<Uint8Array | undefined>,
): Promise<void> {
  const head = decodeScalarIndexHead(bytes, bytes.length);
  if (head.rows !== rows) throw corrupt("scalar-index.rows", head.rows, rows);
  for (const tree of head.trees.values()) {
    const column = await columnOf(tree.field);
    const expected = column === undefined ? undefined : keysByRow(column, tree.type);
    checkTree(bytes, head, tree, expected);
  }
}

/** The key of each row of a column, undefined where there is no value. */
function keysByRow(bytes: Uint8Array, type: number): (Uint8Array | undefined)[] {
  const head = decodeColumnHead(bytes, bytes.length);
  if (head.type !== type) throw corrupt("scalar-index.type", type, head.type);
  const words = head.dictionary.map((word) => keyOf(type, word));
  return head.blocks.flatMap((block) => {
    const rows = openBlock(head, block, bytes.subarray(block.offset, block.offset + block.bytes));
    const width = keyWidth(type) as number;
    const fixed = width === 0 ? undefined : keysOfColumn(type, rows.values);
    const keyAt = (row: number): Uint8Array | undefined => {
      if (fixed !== undefined) return fixed.subarray(width * row, width * (row + 1));
      return type === ValueType.categorical ? words[codeOf(rows.value(row))] : rows.value(row);
    };
    return Array.from({ length: block.rows }, (_, row) => (rows.isPresent(row) ? keyAt(row) : undefined));
  });
}

function codeOf(value: Uint8Array): number {
  return new DataView(value.buffer, value.byteOffset, 4).getUint32(0, true);
}

function checkTree(
  bytes: Uint8Array,
  head: ScalarIndexHead,
  tree: IndexTree,
  expected: readonly (Uint8Array | undefined)[] | undefined,
): void {
  const seen = noRows(head.rows);
  let last: { key: Uint8Array; row: number } | undefined;
  const visit = (key: Uint8Array, row: number): void => {
    const order = last === undefined ? -1 : compareBytes(last.key, key) || last.row - row;
    if (order >= 0) throw corrupt("scalar-index.entry", "entries out of order", "ascending by key and row");
    last = { key, row };
    addRow(seen, row);
    const wanted = expected?.[row];
    if (expected !== undefined && (wanted === undefined || !equalBytes(wanted, key)))
      throw corrupt("scalar-index.key", `another key for row ${row}`, "the value in the column");
  };
  for (const page of tree.pages) {
    const opened = openIndexPage(head, tree, page, checkedSpan(bytes, page));
    let before: Uint8Array | undefined;
    for (let e = 0; e < page.entries; e++) {
      const key = opened.key(e);
      if (tree.form === TreeForm.rows) {
        visit(key, opened.row(e));
        continue;
      }
      if (before !== undefined && compareBytes(before, key) >= 0)
        throw corrupt("scalar-index.key", "keys out of order", "ascending");
      before = key;
      const found = noRows(head.rows);
      addRoaring(opened.bitmap(e), head.rows, found);
      eachRow(found, head.rows, (row) => visit(key, row));
    }
  }
  // A row under two keys counts once, and is then one too few.
  if (countRows(seen) !== tree.present) throw corrupt("scalar-index.present", countRows(seen), tree.present);
  if (expected?.some((key, row) => key !== undefined && !hasRow(seen, row)))
    throw corrupt("scalar-index.row", "a row with a value left out", "all of them");
  if (tree.presence !== undefined) checkPresence(checkedSpan(bytes, tree.presence), head.rows, seen);
}

function checkPresence(bytes: Uint8Array, rows: number, seen: Bits): void {
  const present = noRows(rows);
  addRoaring(bytes, rows, present);
  if (present.some((word, i) => word !== seen[i]))
    throw corrupt("scalar-index.presence", "other rows", "the rows of the tree");
}

function checkedSpan(bytes: Uint8Array, span: Span): Uint8Array {
  const part = bytes.subarray(span.offset, span.offset + span.bytes);
  if (equalBytes(blake3(part), span.hash)) return part;
  throw corrupt("scalar-index.page hash", span.offset, "the hash in the head");
}

function eachRow(bits: Bits, rows: number, visit: (row: number) => void): void {
  for (let row = nextRow(bits, 0, rows); row < rows; row = nextRow(bits, row + 1, rows)) visit(row);
}
