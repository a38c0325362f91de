/**
 * ScalarIndex: where the values of a batch's indexed fields are (spec/0011-scalar-indexing.md). One object a batch,
 * one B-tree a field: its leaves are pages of up to 256 entries, its one inner level are the keys in the head, so
 * that a look-up reads the head and just the pages it needs.
 *
 *   offset size
 *        0    4  magic "DDBI"
 *        4    2  version, 1
 *        6    2  flags, 0
 *        8    4  rows of the batch
 *       12    4  trees
 *       16    4  pages of all trees
 *       20    4  key bytes
 *       24    8  head bytes
 *       32    8  total bytes
 *       40    8  zeros
 *       48       trees × { 4 field, 1 type, 1 form, 2 zeros, 4 present, 4 entries, 4 pages, 4 presence bytes,
 *                          8 presence offset, 32 BLAKE3 of the presence bitmap }
 *                pages × { 8 offset, 4 bytes, 4 first entry, 32 BLAKE3 }
 *                pages × key of the first entry: keyWidth bytes, or { 4 length, bytes }
 *                zeros up to a multiple of 64: here the head ends
 */
import { blake3 } from "../core/blake3.ts";
import { compareBytes, MAX_OBJECT_BYTES } from "../core/cbor.ts";
import { encodeRoaring } from "../index/roaring.ts";
import { align, checkVersion, type Sealed, type Span, seal, ValueType } from "./column.ts";
import { keyWidth } from "./scalar-key.ts";
import { corrupt } from "./shape.ts";

const MAGIC = 0x49424444; // "DDBI"
const VERSION = 1;
const HEAD_BYTES = 48;
const TREE_BYTES = 64;
const PAGE_BYTES = 48;
/** Entries of a page at most. */
export const INDEX_FANOUT = 256;
/** A page of bitmaps closes before it would pass this. */
const BITMAP_PAGE_BYTES = 16 << 10;
/** A longer text keeps its field out of the batch's index, so that heads stay small. */
export const MAX_KEY_BYTES = 512;
/** Rows a value has on average, from which on a bitmap a value takes less than an entry a row. */
const ROWS_PER_BITMAP = 16;

/** What a tree's entries are: a key and the bitmap of its rows, or a key and one row. */
export const TreeForm = { bitmaps: 1, rows: 2 } as const;

/** The values of one field in a batch, in order. */
export interface IndexSource {
  /** The field's id. */
  field: number;
  /** ValueType of the column. */
  type: number;
  /** Rows with a value, ascending by (key, row). */
  order: Uint32Array;
  /** Places in `order` where another key begins, the first of them 0. */
  starts: Uint32Array;
  keyOf(row: number): Uint8Array;
}

export interface IndexPage extends Span {
  firstEntry: number;
  entries: number;
  /** The first entry's. */
  key: Uint8Array;
}

export interface IndexTree {
  field: number;
  type: number;
  form: number;
  /** Rows of the batch that have a value. */
  present: number;
  entries: number;
  /** The bitmap of these rows; left out when all rows have one. */
  presence?: Span;
  pages: IndexPage[];
}

export interface ScalarIndexHead {
  rows: number;
  /** By field id. */
  trees: Map<number, IndexTree>;
}

/** A tree whose pages are laid out but not placed. */
interface DraftTree {
  source: IndexSource;
  form: number;
  entries: number;
  presence: Uint8Array | undefined;
  pages: { firstEntry: number; key: Uint8Array; bytes: Uint8Array }[];
}

/**
 * The index of a batch of `rows` rows, or undefined when none of the fields can have one: a field with a text of over
 * MAX_KEY_BYTES can't, nor one for which the object has no room.
 * @param sources ascending by field
 */
export function encodeScalarIndex(rows: number, sources: readonly IndexSource[]): Sealed | undefined {
  const drafts: DraftTree[] = [];
  let room = MAX_OBJECT_BYTES - HEAD_BYTES - 64;
  for (const source of sources) {
    if (hasLongKey(source)) continue;
    const draft = draftTree(source, rows);
    const size = sizeOf(draft);
    if (size > room) continue;
    room -= size;
    drafts.push(draft);
  }
  return drafts.length === 0 ? undefined : layOut(rows, drafts);
}

function hasLongKey({ type, order, starts, keyOf }: IndexSource): boolean {
  if (keyWidth(type) !== 0) return false;
  return starts.some((place) => keyOf(order[place] as number).length > MAX_KEY_BYTES);
}

/** Bytes that a tree takes at most, padding included. */
function sizeOf({ pages, presence }: DraftTree): number {
  const blocks = pages.reduce(
    (sum, page) => sum + align(page.bytes.length) + PAGE_BYTES + 4 + page.key.length,
    0,
  );
  return TREE_BYTES + align(presence?.length ?? 0) + blocks;
}

function draftTree(source: IndexSource, rows: number): DraftTree {
  const { type, order, starts } = source;
  const isFew = starts.length * ROWS_PER_BITMAP <= order.length;
  const form =
    isFew || type === ValueType.bool || type === ValueType.categorical ? TreeForm.bitmaps : TreeForm.rows;
  return {
    source,
    form,
    entries: form === TreeForm.bitmaps ? starts.length : order.length,
    presence: order.length === rows ? undefined : encodeRoaring(order.slice().sort()),
    pages: form === TreeForm.bitmaps ? bitmapPages(source) : rowPages(source),
  };
}

function rowPages({ type, order, keyOf }: IndexSource): DraftTree["pages"] {
  const pages: DraftTree["pages"] = [];
  for (let first = 0; first < order.length; first += INDEX_FANOUT) {
    const rows = order.subarray(first, first + INDEX_FANOUT);
    const keys = Array.from(rows, keyOf);
    pages.push({
      firstEntry: first,
      key: keys[0] as Uint8Array,
      bytes: join([numbers(rows), ...keyPart(type, keys)]),
    });
  }
  return pages;
}

function bitmapPages({ type, order, starts, keyOf }: IndexSource): DraftTree["pages"] {
  const pages: DraftTree["pages"] = [];
  let firstEntry = 0;
  let keys: Uint8Array[] = [];
  let bitmaps: Uint8Array[] = [];
  let held = 0;
  const close = (): void => {
    const lengths = Uint32Array.from(bitmaps, (bitmap) => bitmap.length);
    const bytes = join([numbers(lengths), ...keyPart(type, keys), ...bitmaps]);
    pages.push({ firstEntry, key: keys[0] as Uint8Array, bytes });
    firstEntry += keys.length;
    keys = [];
    bitmaps = [];
    held = 0;
  };
  starts.forEach((start, i) => {
    const bitmap = encodeRoaring(order.subarray(start, starts[i + 1] ?? order.length));
    const key = keyOf(order[start] as number);
    if (
      keys.length === INDEX_FANOUT ||
      (keys.length > 0 && held + key.length + bitmap.length > BITMAP_PAGE_BYTES)
    )
      close();
    keys.push(key);
    bitmaps.push(bitmap);
    held += key.length + bitmap.length;
  });
  close();
  return pages;
}

/** Keys of one width one after the other; others behind the offsets of their ends. */
function keyPart(type: number, keys: readonly Uint8Array[]): Uint8Array[] {
  if (keyWidth(type) !== 0) return [...keys];
  let end = 0;
  const offsets = [0, ...keys.map((key) => (end += key.length))];
  return [numbers(Uint32Array.from(offsets)), ...keys];
}

/** As u32, little-endian. */
function numbers(values: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    view.setUint32(4 * i, value, true);
  });
  return bytes;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function layOut(rows: number, drafts: readonly DraftTree[]): Sealed {
  const keys = join(
    drafts.flatMap(({ source, pages }) => pages.flatMap((page) => separator(source.type, page.key))),
  );
  const pageCount = drafts.reduce((sum, draft) => sum + draft.pages.length, 0);
  const pagesAt = HEAD_BYTES + drafts.length * TREE_BYTES;
  const keysAt = pagesAt + pageCount * PAGE_BYTES;
  const headBytes = align(keysAt + keys.length);
  let end = headBytes;
  for (const { presence, pages } of drafts) {
    if (presence !== undefined) end = align(end) + presence.length;
    for (const page of pages) end = align(end) + page.bytes.length;
  }
  const out = new Uint8Array(end);
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, VERSION, true);
  view.setUint32(8, rows, true);
  view.setUint32(12, drafts.length, true);
  view.setUint32(16, pageCount, true);
  view.setUint32(20, keys.length, true);
  view.setBigUint64(24, BigInt(headBytes), true);
  view.setBigUint64(32, BigInt(end), true);
  out.set(keys, keysAt);

  let at = headBytes;
  let pageRow = pagesAt;
  let blocks = 0;
  const place = (bytes: Uint8Array, offsetAt: number, hashAt: number): void => {
    at = align(at);
    out.set(bytes, at);
    view.setBigUint64(offsetAt, BigInt(at), true);
    out.set(blake3(bytes), hashAt);
    at += bytes.length;
    blocks++;
  };
  drafts.forEach(({ source, form, entries, presence, pages }, i) => {
    const row = HEAD_BYTES + i * TREE_BYTES;
    view.setUint32(row, source.field, true);
    out[row + 4] = source.type;
    out[row + 5] = form;
    view.setUint32(row + 8, source.order.length, true);
    view.setUint32(row + 12, entries, true);
    view.setUint32(row + 16, pages.length, true);
    if (presence !== undefined) {
      view.setUint32(row + 20, presence.length, true);
      place(presence, row + 24, row + 32);
    }
    for (const page of pages) {
      view.setUint32(pageRow + 8, page.bytes.length, true);
      view.setUint32(pageRow + 12, page.firstEntry, true);
      place(page.bytes, pageRow, pageRow + 16);
      pageRow += PAGE_BYTES;
    }
  });
  return seal(out, headBytes, blocks);
}

function separator(type: number, key: Uint8Array): Uint8Array[] {
  return keyWidth(type) === 0 ? [numbers(Uint32Array.of(key.length)), key] : [key];
}

/**
 * Reads a head out of `bytes`, which hold the head or the whole object and have been verified.
 * @param totalBytes the object's length by its ContainerRef. Errors: `Corrupt`, `UnsupportedVersion`.
 */
export function decodeScalarIndexHead(bytes: Uint8Array, totalBytes: number): ScalarIndexHead {
  if (bytes.length < HEAD_BYTES)
    throw corrupt("scalar-index", `${bytes.length} bytes`, `at least ${HEAD_BYTES}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== MAGIC) throw corrupt("scalar-index.magic", view.getUint32(0, true), MAGIC);
  checkVersion("scalar-index", view.getUint16(4, true), view.getUint16(6, true), 0);
  const rows = view.getUint32(8, true);
  const trees = view.getUint32(12, true);
  const pages = view.getUint32(16, true);
  const keyBytes = view.getUint32(20, true);
  const keysAt = HEAD_BYTES + trees * TREE_BYTES + pages * PAGE_BYTES;
  const headBytes = Number(view.getBigUint64(24, true));
  if (headBytes > bytes.length || headBytes !== align(keysAt + keyBytes))
    throw corrupt("scalar-index.headBytes", headBytes, align(keysAt + keyBytes));
  if (Number(view.getBigUint64(32, true)) !== totalBytes)
    throw corrupt("scalar-index.totalBytes", view.getBigUint64(32, true), totalBytes);
  if (trees < 1) throw corrupt("scalar-index.trees", trees, "at least 1");
  const cursor: HeadCursor = {
    bytes,
    view,
    rows,
    page: HEAD_BYTES + trees * TREE_BYTES,
    pagesEnd: HEAD_BYTES + trees * TREE_BYTES + pages * PAGE_BYTES,
    key: keysAt,
    keysEnd: keysAt + keyBytes,
    end: headBytes,
    totalBytes,
  };
  const found = new Map<number, IndexTree>();
  let previous = -1;
  for (let i = 0; i < trees; i++) {
    const tree = readTree(cursor, HEAD_BYTES + i * TREE_BYTES);
    if (tree.field <= previous) throw corrupt("scalar-index.field", tree.field, "ascending");
    previous = tree.field;
    found.set(tree.field, tree);
  }
  if (cursor.page !== cursor.pagesEnd) throw corrupt("scalar-index.pages", pages, "the pages of its trees");
  if (cursor.key !== cursor.keysEnd)
    throw corrupt("scalar-index.keyBytes", keyBytes, "the keys of its pages");
  if (cursor.end !== totalBytes) throw corrupt("scalar-index.totalBytes", totalBytes, cursor.end);
  return { rows, trees: found };
}

/** What of the head, and of the object, has been accounted for. */
interface HeadCursor {
  bytes: Uint8Array;
  view: DataView;
  rows: number;
  page: number;
  pagesEnd: number;
  key: number;
  keysEnd: number;
  /** Where the last block ends. */
  end: number;
  totalBytes: number;
}

function readTree(cursor: HeadCursor, at: number): IndexTree {
  const { view, bytes, rows } = cursor;
  const type = bytes[at + 4] as number;
  const form = bytes[at + 5] as number;
  const present = view.getUint32(at + 8, true);
  const entries = view.getUint32(at + 12, true);
  const pageCount = view.getUint32(at + 16, true);
  if (keyWidth(type) === undefined) throw corrupt("scalar-index.type", type, "a scalar type");
  if (form !== TreeForm.bitmaps && form !== TreeForm.rows) throw corrupt("scalar-index.form", form, "1 or 2");
  if (present < 1 || present > rows) throw corrupt("scalar-index.present", present, `1 to ${rows}`);
  if (entries < 1 || entries > present || (form === TreeForm.rows && entries !== present))
    throw corrupt("scalar-index.entries", entries, `at most ${present}`);
  if (pageCount < 1 || pageCount > entries || cursor.page + pageCount * PAGE_BYTES > cursor.pagesEnd)
    throw corrupt("scalar-index.pages", pageCount, "1 to the number of entries");
  const presence = readPresence(cursor, at, present);
  const tree: IndexTree = { field: view.getUint32(at, true), type, form, present, entries, pages: [] };
  if (presence !== undefined) tree.presence = presence;
  for (let i = 0; i < pageCount; i++) tree.pages.push(readPage(cursor, tree, i + 1 === pageCount));
  return tree;
}

function readPresence(cursor: HeadCursor, at: number, present: number): Span | undefined {
  const { view, bytes, rows } = cursor;
  const length = view.getUint32(at + 20, true);
  if (length > 0 !== present < rows)
    throw corrupt("scalar-index.presenceBytes", length, present < rows ? "a bitmap" : 0);
  if (length === 0) return undefined;
  return readSpan(cursor, Number(view.getBigUint64(at + 24, true)), length, bytes.subarray(at + 32, at + 64));
}

function readSpan(cursor: HeadCursor, offset: number, bytes: number, hash: Uint8Array): Span {
  if (offset !== align(cursor.end) || offset + bytes > cursor.totalBytes)
    throw corrupt("scalar-index.offset", offset, align(cursor.end));
  cursor.end = offset + bytes;
  return { offset, bytes, hash };
}

function readPage(cursor: HeadCursor, tree: IndexTree, isLast: boolean): IndexPage {
  const { view, bytes, page } = cursor;
  const firstEntry = view.getUint32(page + 12, true);
  const nextEntry = isLast ? tree.entries : view.getUint32(page + PAGE_BYTES + 12, true);
  const entries = nextEntry - firstEntry;
  if (entries < 1 || entries > INDEX_FANOUT || (tree.pages.length === 0 && firstEntry !== 0))
    throw corrupt("scalar-index.firstEntry", firstEntry, `ascending from 0, at most ${INDEX_FANOUT} apart`);
  const length = view.getUint32(page + 8, true);
  const least = entries * (4 + (keyWidth(tree.type) || 4)) + (keyWidth(tree.type) === 0 ? 4 : 0);
  const isExact = tree.form === TreeForm.rows && keyWidth(tree.type) !== 0;
  if (length < least || (isExact && length !== least))
    throw corrupt("scalar-index.page bytes", length, least);
  const offset = Number(view.getBigUint64(page, true));
  const span = readSpan(cursor, offset, length, bytes.subarray(page + 16, page + 48));
  cursor.page += PAGE_BYTES;
  const key = readSeparator(cursor, tree.type);
  const before = tree.pages.at(-1);
  const order = before === undefined ? -1 : compareBytes(before.key, key);
  if (order > 0 || (order === 0 && tree.form === TreeForm.bitmaps))
    throw corrupt("scalar-index.key", "keys out of order", "ascending");
  return { ...span, firstEntry, entries, key };
}

function readSeparator(cursor: HeadCursor, type: number): Uint8Array {
  const { view, bytes, keysEnd } = cursor;
  const width = keyWidth(type) as number;
  const start = width === 0 ? cursor.key + 4 : cursor.key;
  const length = width !== 0 ? width : start <= keysEnd ? view.getUint32(cursor.key, true) : keysEnd;
  if (length > MAX_KEY_BYTES || start + length > keysEnd)
    throw corrupt("scalar-index.key", `a key of ${length} bytes`, "keys within keyBytes");
  cursor.key = start + length;
  return bytes.subarray(start, start + length);
}

/** A page's entries, laid over its verified bytes. */
export interface PageEntries {
  entries: number;
  key(entry: number): Uint8Array;
  /** With form rows: the entry's row, below the batch's rows. */
  row(entry: number): number;
  /** With form bitmaps: the entry's Roaring bitmap. */
  bitmap(entry: number): Uint8Array;
}

/** Errors: `Corrupt` when the bytes are no such page, or its first key is not the head's. */
export function openIndexPage(
  head: ScalarIndexHead,
  tree: IndexTree,
  page: IndexPage,
  bytes: Uint8Array,
): PageEntries {
  const { entries } = page;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const keys = openKeys(tree.type, bytes, 4 * entries, entries);
  const opened: PageEntries = {
    entries,
    key: keys.key,
    row: (entry) => view.getUint32(4 * entry, true),
    bitmap: () => {
      throw corrupt("scalar-index.form", tree.form, TreeForm.bitmaps);
    },
  };
  if (compareBytes(keys.key(0), page.key) !== 0)
    throw corrupt("scalar-index.key", "another first key", "that of the head");
  if (tree.form === TreeForm.bitmaps) {
    opened.bitmap = openBitmaps(view, bytes, keys.end, entries);
    return opened;
  }
  if (keys.end !== bytes.length) throw corrupt("scalar-index.page", `${bytes.length} bytes`, keys.end);
  for (let i = 0; i < entries; i++)
    if (opened.row(i) >= head.rows) throw corrupt("scalar-index.row", opened.row(i), `below ${head.rows}`);
  return opened;
}

function openKeys(
  type: number,
  bytes: Uint8Array,
  at: number,
  entries: number,
): { key: (entry: number) => Uint8Array; end: number } {
  const width = keyWidth(type) as number;
  if (width > 0) {
    if (at + width * entries > bytes.length)
      throw corrupt("scalar-index.page", `${bytes.length} bytes`, at + width * entries);
    return { key: (i) => bytes.subarray(at + width * i, at + width * (i + 1)), end: at + width * entries };
  }
  const start = at + 4 * (entries + 1);
  if (start > bytes.length) throw corrupt("scalar-index.page", `${bytes.length} bytes`, start);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const offset = (i: number): number => view.getUint32(at + 4 * i, true);
  for (let i = 0; i < entries; i++) {
    if ((i === 0 && offset(0) !== 0) || offset(i + 1) < offset(i))
      throw corrupt("scalar-index.key offsets", offset(i), "ascending from 0");
  }
  if (start + offset(entries) > bytes.length)
    throw corrupt("scalar-index.key offsets", offset(entries), `at most ${bytes.length - start}`);
  return {
    key: (i) => bytes.subarray(start + offset(i), start + offset(i + 1)),
    end: start + offset(entries),
  };
}

function openBitmaps(
  view: DataView,
  bytes: Uint8Array,
  start: number,
  entries: number,
): (entry: number) => Uint8Array {
  const ends = [start];
  for (let i = 0; i < entries; i++) ends.push((ends[i] as number) + view.getUint32(4 * i, true));
  if (ends.at(-1) !== bytes.length) throw corrupt("scalar-index.page", `${bytes.length} bytes`, ends.at(-1));
  return (i) => bytes.subarray(ends[i], ends[i + 1]);
}
