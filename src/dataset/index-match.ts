/** Answering a filter's test out of a batch's ScalarIndex (spec/0011-scalar-indexing.md §5). */
import { compareBytes } from "../core/cbor.ts";
import { addRow, allRows, type Bits, noRows } from "../index/bitset.ts";
import { addRoaring } from "../index/roaring.ts";
import type { ContainerRef } from "../objects/container-ref.ts";
import type { BatchEntry } from "../objects/index-tree.ts";
import {
  decodeScalarIndexHead,
  type IndexPage,
  type IndexTree,
  openIndexPage,
  type PageEntries,
  type ScalarIndexHead,
  TreeForm,
} from "../objects/scalar-index.ts";
import { keyOf } from "../objects/scalar-key.ts";
import { corrupt } from "../objects/shape.ts";
import type { OpenContainer, Session } from "./session.ts";
import { valueTypeOf } from "./values.ts";
import type { Bound, Leaf } from "./where.ts";

/** From here on, pages that together pass half of the column's length are not read: testing the column costs less. */
const LARGE_READ_BYTES = 64 << 10;

/** Keys from `low` to `high`; without a bound, from the first or to the last. */
interface KeyRange {
  low?: Uint8Array;
  lowIsOpen: boolean;
  high?: Uint8Array;
  highIsOpen: boolean;
}

/**
 * The rows of the batch that pass, or undefined where the column has to tell: the batch has no index of the field, or
 * too much of the index would have to be read. Errors: `Corrupt`, `HashMismatch`, `NotFound`.
 */
export async function matchIndex(session: Session, entry: BatchEntry, leaf: Leaf): Promise<Bits | undefined> {
  const column = entry.columns.get(leaf.field.id);
  if (column === undefined) return noRows(entry.rows);
  if (entry.scalarIndex === undefined) return undefined;
  const container = await openScalarIndex(session, entry.scalarIndex, entry.rows);
  const tree = container.head.trees.get(leaf.field.id);
  if (tree === undefined) return undefined;
  const { type } = valueTypeOf(leaf.field);
  if (tree.type !== type) throw corrupt("scalar-index.type", tree.type, type);
  if (leaf.op === "exists") return matchPresence(session, container, tree);
  return matchTree(session, container, tree, rangesOf(leaf, type), column);
}

/** The index of a batch of `rows` rows. */
export async function openScalarIndex(
  session: Session,
  ref: ContainerRef,
  rows: number,
): Promise<OpenContainer<ScalarIndexHead>> {
  const container = await session.open(ref, decodeScalarIndexHead);
  if (container.head.rows !== rows) throw corrupt("scalar-index.rows", container.head.rows, rows);
  return container;
}

async function matchPresence(
  session: Session,
  container: OpenContainer<ScalarIndexHead>,
  tree: IndexTree,
): Promise<Bits> {
  const { rows } = container.head;
  if (tree.presence === undefined) return allRows(rows);
  const [bytes] = await session.spans(container, [tree.presence]);
  const bits = noRows(rows);
  const found = addRoaring(bytes as Uint8Array, rows, bits);
  if (found !== tree.present) throw corrupt("scalar-index.present", found, tree.present);
  return bits;
}

function rangesOf(leaf: Exclude<Leaf, { op: "exists" }>, type: number): KeyRange[] {
  if (leaf.op === "among") {
    return leaf.values.map((value) => {
      const key = keyOf(type, value);
      return { low: key, lowIsOpen: false, high: key, highIsOpen: false };
    });
  }
  const key = (bound: Bound): Uint8Array => keyOf(type, bound.value);
  return [
    {
      lowIsOpen: leaf.low?.isOpen ?? false,
      highIsOpen: leaf.high?.isOpen ?? false,
      ...(leaf.low === undefined ? {} : { low: key(leaf.low) }),
      ...(leaf.high === undefined ? {} : { high: key(leaf.high) }),
    },
  ];
}

async function matchTree(
  session: Session,
  container: OpenContainer<ScalarIndexHead>,
  tree: IndexTree,
  ranges: readonly KeyRange[],
  column: ContainerRef,
): Promise<Bits | undefined> {
  const { head } = container;
  const numbers = pagesOf(tree, ranges);
  const pages = numbers.map((i) => tree.pages[i] as IndexPage);
  const bytes = pages.reduce((sum, page) => sum + page.bytes, 0);
  if (bytes > LARGE_READ_BYTES && bytes > column.bytes / 2) return undefined;
  const parts = await session.spans(container, pages);
  const bits = noRows(head.rows);
  pages.forEach((page, i) => {
    const opened = openIndexPage(head, tree, page, parts[i] as Uint8Array);
    const isWhole = liesWithin(ranges, page.key, tree.pages[(numbers[i] as number) + 1]?.key);
    for (let e = 0; e < page.entries; e++)
      if (isWhole || holds(ranges, opened.key(e))) addEntry(opened, e, tree.form, head.rows, bits);
  });
  return bits;
}

function addEntry(page: PageEntries, entry: number, form: number, rows: number, bits: Bits): void {
  if (form === TreeForm.rows) addRow(bits, page.row(entry));
  else addRoaring(page.bitmap(entry), rows, bits);
}

/** Numbers of the pages that may have keys of the ranges, ascending. */
function pagesOf(tree: IndexTree, ranges: readonly KeyRange[]): number[] {
  const numbers = new Set<number>();
  for (const { low, high, highIsOpen } of ranges) {
    // A key with many rows may begin on the page before the one that its first key names.
    const before = low === undefined ? 0 : lastBelow(tree, low, tree.form === TreeForm.bitmaps);
    const last = high === undefined ? tree.pages.length - 1 : lastBelow(tree, high, !highIsOpen);
    for (let i = Math.max(0, before); i <= last; i++) numbers.add(i);
  }
  return [...numbers].sort((a, b) => a - b);
}

/** The last page whose first key is below `key`, or is that key when `orEqual`; −1 when there is none. */
function lastBelow(tree: IndexTree, key: Uint8Array, orEqual: boolean): number {
  let from = 0;
  let to = tree.pages.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    const order = compareBytes((tree.pages[middle] as IndexPage).key, key);
    if (order < 0 || (orEqual && order === 0)) from = middle + 1;
    else to = middle;
  }
  return from - 1;
}

/** Whether all keys from `first` to `last` are in one range; a page's last key is at most the next page's first. */
function liesWithin(ranges: readonly KeyRange[], first: Uint8Array, last: Uint8Array | undefined): boolean {
  if (ranges.length !== 1 || !holds(ranges, first)) return false;
  return last === undefined ? ranges[0]?.high === undefined : holds(ranges, last);
}

/** @param ranges ascending and apart */
function holds(ranges: readonly KeyRange[], key: Uint8Array): boolean {
  let from = 0;
  let to = ranges.length - 1;
  while (from < to) {
    const middle = (from + to + 1) >> 1;
    if (isFrom(ranges[middle] as KeyRange, key)) from = middle;
    else to = middle - 1;
  }
  const range = ranges[from] as KeyRange;
  return isFrom(range, key) && isUpTo(range, key);
}

function isFrom({ low, lowIsOpen }: KeyRange, key: Uint8Array): boolean {
  if (low === undefined) return true;
  const order = compareBytes(key, low);
  return order > 0 || (order === 0 && !lowIsOpen);
}

function isUpTo({ high, highIsOpen }: KeyRange, key: Uint8Array): boolean {
  if (high === undefined) return true;
  const order = compareBytes(key, high);
  return order < 0 || (order === 0 && !highIsOpen);
}
