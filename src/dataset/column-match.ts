/** Testing a field of a batch value by value: what filters do where there is no index. */
import { compareBytes } from "../core/cbor.ts";
import { addRange, addRow, allRows, type Bits, noRows } from "../index/bitset.ts";
import { type BlockRows, type ColumnBlock, type ColumnHead, openBlock } from "../objects/column.ts";
import type { BatchEntry } from "../objects/index-tree.ts";
import { corrupt } from "../objects/shape.ts";
import { ColumnReader } from "./rows.ts";
import type { Session } from "./session.ts";
import type { Bound, Leaf, Value } from "./where.ts";

/** Blocks read and tested at once: 4 MiB of most columns. */
const BLOCKS_AT_ONCE = 64;

/** Adds the rows of a block whose value passes, absent ones not looked at: block row r is row `base` + r. */
type BlockTest = (block: BlockRows, base: number, bits: Bits) => void;

/** The rows of the batch that pass. Errors: `Corrupt`, `HashMismatch`, `NotFound`. */
export async function matchColumn(session: Session, entry: BatchEntry, leaf: Leaf): Promise<Bits> {
  const { field } = leaf;
  const reader = await ColumnReader.open(session, field, entry, false);
  if (reader === undefined) return noRows(entry.rows);
  const { head, opened } = reader;
  if (leaf.op === "exists" && !head.hasPresence) return allRows(entry.rows);
  const test = blockTest(leaf, head);
  const bits = noRows(entry.rows);
  if (test === undefined) return bits;
  for (let from = 0; from < head.blocks.length; from += BLOCKS_AT_ONCE) {
    const blocks = head.blocks.slice(from, from + BLOCKS_AT_ONCE);
    const parts = await session.spans(opened, blocks);
    blocks.forEach((block, i) => {
      matchBlock(head, block, parts[i] as Uint8Array, test, bits);
    });
  }
  return bits;
}

function matchBlock(
  head: ColumnHead,
  block: ColumnBlock,
  bytes: Uint8Array,
  test: BlockTest,
  bits: Bits,
): void {
  const rows = openBlock(head, block, bytes);
  test(rows, block.firstRow, bits);
  if (!head.hasPresence) return;
  for (let row = 0; row < block.rows; row++) {
    const at = block.firstRow + row;
    if (!rows.isPresent(row)) bits[at >>> 5] = (bits[at >>> 5] as number) & ~(1 << (at & 31));
  }
}

/** undefined when no value of the column can pass. */
function blockTest(leaf: Leaf, head: ColumnHead): BlockTest | undefined {
  if (leaf.op === "exists") return (block, base, bits) => addRange(bits, base, base + block.rows);
  switch (leaf.field.kind) {
    case "categorical":
      return leaf.op === "among" ? codeTest(head.dictionary, leaf.values) : undefined;
    case "bool":
      return leaf.op === "among" ? boolTest(leaf.values) : undefined;
    case "string":
      return leaf.op === "among" ? textAmong(leaf.values as string[]) : textRange(leaf.low, leaf.high);
    case "float":
      return leaf.op === "among" ? floatAmong(leaf.values as number[]) : floatRange(leaf.low, leaf.high);
    case "int":
    case "timestamp":
      return leaf.op === "among" ? intAmong(leaf.values as bigint[]) : intRange(leaf.low, leaf.high);
  }
}

function codeTest(dictionary: readonly string[], values: readonly Value[]): BlockTest | undefined {
  const wanted = Uint8Array.from(dictionary, (word) => (values.includes(word) ? 1 : 0));
  if (!wanted.includes(1)) return undefined;
  return ({ rows, values: codes }, base, bits) => {
    const view = viewOf(codes);
    for (let row = 0; row < rows; row++) {
      const code = view.getUint32(4 * row, true);
      if (code >= wanted.length) throw corrupt("column.code", code, `below ${wanted.length}`);
      if (wanted[code] === 1) addRow(bits, base + row);
    }
  };
}

function boolTest(values: readonly Value[]): BlockTest {
  return ({ rows, values: bytes }, base, bits) => {
    for (let row = 0; row < rows; row++) {
      const byte = bytes[row] as number;
      if (byte > 1) throw corrupt("column.value", byte, "0 or 1");
      if (values.includes(byte === 1)) addRow(bits, base + row);
    }
  };
}

function floatAmong(values: readonly number[]): BlockTest {
  const wanted = new Set(values);
  return ({ rows, values: bytes }, base, bits) => {
    const view = viewOf(bytes);
    for (let row = 0; row < rows; row++)
      if (wanted.has(view.getFloat64(8 * row, true))) addRow(bits, base + row);
  };
}

function floatRange(low: Bound | undefined, high: Bound | undefined): BlockTest {
  const least = (low?.value ?? Number.NEGATIVE_INFINITY) as number;
  const most = (high?.value ?? Number.POSITIVE_INFINITY) as number;
  const isAbove = low?.isOpen ?? false;
  const isBelow = high?.isOpen ?? false;
  return ({ rows, values: bytes }, base, bits) => {
    const view = viewOf(bytes);
    for (let row = 0; row < rows; row++) {
      const value = view.getFloat64(8 * row, true);
      if ((isAbove ? value > least : value >= least) && (isBelow ? value < most : value <= most))
        addRow(bits, base + row);
    }
  };
}

/** A 64-bit integer as two words, since a bigint for every row would take ten times as long. */
interface Words {
  high: number;
  low: number;
}

function wordsOf(value: bigint): Words {
  return { high: Number(BigInt.asIntN(32, value >> 32n)), low: Number(BigInt.asUintN(32, value)) };
}

function intRange(from: Bound | undefined, to: Bound | undefined): BlockTest {
  const least = wordsOf((from?.value ?? -(2n ** 63n)) as bigint);
  const most = wordsOf((to?.value ?? 2n ** 63n - 1n) as bigint);
  return ({ rows, values }, base, bits) => {
    const view = viewOf(values);
    for (let row = 0; row < rows; row++) {
      const low = view.getUint32(8 * row, true);
      const high = view.getInt32(8 * row + 4, true);
      if (
        (high > least.high || (high === least.high && low >= least.low)) &&
        (high < most.high || (high === most.high && low <= most.low))
      )
        addRow(bits, base + row);
    }
  };
}

function intAmong(values: readonly bigint[]): BlockTest {
  const highs = Int32Array.from(values, (value) => wordsOf(value).high);
  const lows = Uint32Array.from(values, (value) => wordsOf(value).low);
  return ({ rows, values: bytes }, base, bits) => {
    const view = viewOf(bytes);
    for (let row = 0; row < rows; row++) {
      const low = view.getUint32(8 * row, true);
      const high = view.getInt32(8 * row + 4, true);
      let from = 0;
      let to = highs.length - 1;
      while (from < to) {
        const middle = (from + to) >> 1;
        const isBelow =
          (highs[middle] as number) < high || (highs[middle] === high && (lows[middle] as number) < low);
        if (isBelow) from = middle + 1;
        else to = middle;
      }
      if (highs[from] === high && lows[from] === low) addRow(bits, base + row);
    }
  };
}

function textAmong(values: readonly string[]): BlockTest {
  const wanted = values.map(encode);
  return ({ rows, value }, base, bits) => {
    for (let row = 0; row < rows; row++) if (isAmong(wanted, value(row))) addRow(bits, base + row);
  };
}

/** @param ascending bytes in bytewise order */
function isAmong(ascending: readonly Uint8Array[], bytes: Uint8Array): boolean {
  let from = 0;
  let to = ascending.length - 1;
  while (from <= to) {
    const middle = (from + to) >> 1;
    const order = compareBytes(ascending[middle] as Uint8Array, bytes);
    if (order === 0) return true;
    if (order < 0) from = middle + 1;
    else to = middle - 1;
  }
  return false;
}

function textRange(low: Bound | undefined, high: Bound | undefined): BlockTest {
  const least = low === undefined ? undefined : encode(low.value as string);
  const most = high === undefined ? undefined : encode(high.value as string);
  // Compared with 0: above or equal, unless the bound itself lies outside.
  const fromOrder = low?.isOpen ? 1 : 0;
  const toOrder = high?.isOpen ? -1 : 0;
  return ({ rows, value }, base, bits) => {
    for (let row = 0; row < rows; row++) {
      const bytes = value(row);
      if (least !== undefined && Math.sign(compareBytes(bytes, least)) < fromOrder) continue;
      if (most !== undefined && Math.sign(compareBytes(bytes, most)) > toOrder) continue;
      addRow(bits, base + row);
    }
  };
}

const utf8 = new TextEncoder();

function encode(text: string): Uint8Array {
  return utf8.encode(text);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
