/**
 * Index trees (spec/0007-streaming-encapsulation.md §5): the persistent, append-ordered tree that lists a
 * dataset's batches, and a Track's segments. The root lives in the Manifest; full runs of entries become
 * immutable IndexPages that no later append rewrites (docs/decisions/0003-append-ordered-index.md).
 */
import { type Address, addressToCbor } from "../core/address.ts";
import { encodeCbor } from "../core/cbor.ts";
import { MAX_TICK } from "../core/time.ts";
import { type ContainerRef, containerRefFromCbor, containerRefToCbor } from "./container-ref.ts";
import { byFieldId, corrupt, decodeObject, FORMAT_VERSION, Shape } from "./shape.ts";
import { MAX_LSH_TABLES } from "./spatial-index.ts";

const KIND = "dreamdb.index-page";
/** Children a writer puts in a page: about 8 KiB, half of the 16 KiB target. */
export const PAGE_FANOUT = 64;
/** Children a reader accepts. */
const MAX_FANOUT = 256;
const MAX_LEVEL = 16;
/** Bytes of a page a reader accepts. */
const MAX_PAGE_BYTES = 1 << 20;

/** A run of records: the ticks they cover and how many there are. */
export interface Interval {
  /** The first tick. */
  base: bigint;
  /** Last tick minus first. */
  span: bigint;
  rows: number;
}

/** One batch of records: their anchors, and a column for each field that has a value in it. */
export interface BatchEntry extends Interval {
  /** Ticks between neighbours when they are evenly spaced, otherwise the container that lists them. */
  anchors: { step: bigint } | { container: ContainerRef };
  /** By field id. */
  columns: Map<number, ContainerRef>;
  /** The ScalarIndex of the fields that ask for one; left out when none of them has one here. */
  scalarIndex?: ContainerRef;
}

/** One packed segment of cell fragments. */
export interface SegmentEntry extends Interval {
  container: ContainerRef;
}

export interface PageRef extends Interval {
  level: number;
  address: Address;
  bytes: number;
}

export interface IndexRoot<E extends Interval> {
  /** Earlier entries, in append order, highest level first. */
  pages: PageRef[];
  /** The newest entries, fewer than a page. */
  entries: E[];
  rows: number;
}

/** How entries of one tree are written; `of` is stored in each page. */
export interface EntryCodec<E extends Interval> {
  of: "timeline" | "segments";
  /** Items of an entry, the interval's three included, and of one with all that may be left out. */
  items: number;
  maxItems: number;
  /** Entries that a record may be in: one for each hash table of a Track's segments. */
  copies: number;
  encode(entry: E): unknown[];
  decode(items: Shape, interval: Interval): E;
}

export const batchCodec: EntryCodec<BatchEntry> = {
  of: "timeline",
  items: 5,
  maxItems: 6,
  copies: 1,
  encode(entry) {
    const anchors =
      "step" in entry.anchors ? entry.anchors.step : containerRefToCbor(entry.anchors.container);
    const columns = new Map([...entry.columns].map(([id, ref]) => [id, containerRefToCbor(ref)]));
    return entry.scalarIndex === undefined
      ? [anchors, columns]
      : [anchors, columns, containerRefToCbor(entry.scalarIndex)];
  },
  decode(items, interval) {
    const columns = byFieldId(items.map(4), "batch.columns", (ref, id) =>
      containerRefFromCbor(ref, `batch.columns.${id}`),
    );
    const listed = Array.isArray(items.value(3));
    const anchors = listed
      ? { container: containerRefFromCbor(items.value(3), "batch.anchors") }
      : { step: items.u64(3) };
    if ("step" in anchors && anchors.step * BigInt(interval.rows - 1) !== interval.span) {
      throw corrupt("batch.span", interval.span, "step × (rows − 1)");
    }
    if ("step" in anchors && interval.rows > 1 !== anchors.step > 0n) {
      throw corrupt("batch.anchors", anchors.step, "a step of at least 1, or 0 for a single row");
    }
    if (!items.has(5)) return { ...interval, anchors, columns };
    const scalarIndex = containerRefFromCbor(items.value(5), "batch.scalarIndex");
    return { ...interval, anchors, columns, scalarIndex };
  },
};

export const segmentCodec: EntryCodec<SegmentEntry> = {
  of: "segments",
  items: 4,
  maxItems: 4,
  copies: MAX_LSH_TABLES,
  encode: (entry) => [containerRefToCbor(entry.container)],
  decode: (items, interval) => ({ ...interval, container: containerRefFromCbor(items.value(3), "segment") }),
};

export function emptyIndex<E extends Interval>(): IndexRoot<E> {
  return { pages: [], entries: [], rows: 0 };
}

/** A page to be stored before the Manifest that refers to it. */
export interface NewPage {
  address: Address;
  bytes: Uint8Array;
}

/**
 * The tree with `entries` appended. Closes pages when runs are full: an append writes on average 1/64 page a
 * tree, whatever the tree's size.
 * @param store turns a page's bytes into its address and remembers to write it
 */
export function appendToIndex<E extends Interval>(
  root: IndexRoot<E>,
  entries: readonly E[],
  codec: EntryCodec<E>,
  store: (bytes: Uint8Array) => Address,
): IndexRoot<E> {
  const pages = [...root.pages];
  let open = [...root.entries, ...entries];
  while (open.length >= PAGE_FANOUT) {
    let run = open.slice(0, PAGE_FANOUT);
    let bytes = encodePage(codec.of, 0, entriesToCbor(run, codec));
    // Entries of hundreds of columns: fewer to a page, so that it stays one that readers accept.
    while (bytes.length > MAX_PAGE_BYTES && run.length > 1) {
      run = run.slice(0, run.length >> 1);
      bytes = encodePage(codec.of, 0, entriesToCbor(run, codec));
    }
    open = open.slice(run.length);
    pages.push(closePage(bytes, 0, run, store));
    foldPages(pages, codec.of, store);
  }
  return { pages, entries: open, rows: root.rows + entries.reduce((sum, entry) => sum + entry.rows, 0) };
}

/** While the last PAGE_FANOUT pages are of one level, puts them under a page of the next. */
function foldPages(pages: PageRef[], of: string, store: (bytes: Uint8Array) => Address): void {
  for (;;) {
    const run = pages.slice(-PAGE_FANOUT);
    const level = run[0]?.level;
    if (run.length < PAGE_FANOUT || level === undefined || run.some((page) => page.level !== level)) return;
    const bytes = encodePage(of, level + 1, pageRefsToCbor(run));
    pages.splice(-PAGE_FANOUT, PAGE_FANOUT, closePage(bytes, level + 1, run, store));
  }
}

function closePage(
  bytes: Uint8Array,
  level: number,
  run: readonly Interval[],
  store: (bytes: Uint8Array) => Address,
): PageRef {
  return { level, address: store(bytes), bytes: bytes.length, ...cover(run) };
}

/** The smallest interval around all of `runs`. */
export function cover(runs: readonly Interval[]): Interval {
  let base = MAX_TICK;
  let last = 0n;
  let rows = 0;
  for (const run of runs) {
    if (run.base < base) base = run.base;
    if (run.base + run.span > last) last = run.base + run.span;
    rows += run.rows;
  }
  return rows === 0 ? { base: 0n, span: 0n, rows: 0 } : { base, span: last - base, rows };
}

function encodePage(of: string, level: number, entries: unknown[]): Uint8Array {
  return encodeCbor({ kind: KIND, version: FORMAT_VERSION, of, level, entries });
}

/** Entries of a level-0 page, or references to pages one level down. */
export function decodePage<E extends Interval>(
  bytes: Uint8Array,
  codec: EntryCodec<E>,
  ref: PageRef,
): E[] | PageRef[] {
  const shape = decodeObject(bytes, KIND);
  if (bytes.length !== ref.bytes) throw corrupt("index-page.bytes", bytes.length, ref.bytes);
  if (shape.text("of") !== codec.of) throw corrupt("index-page.of", shape.text("of"), codec.of);
  if (shape.uint("level") !== ref.level) throw corrupt("index-page.level", shape.uint("level"), ref.level);
  const items = shape.array("entries");
  if (items.length === 0 || items.length > MAX_FANOUT)
    throw corrupt("index-page.entries", items.length, `1–${MAX_FANOUT} entries`);
  const children = ref.level === 0 ? entriesFromCbor(items, codec) : pageRefsFromCbor(items, codec);
  if (ref.level > 0 && (children as PageRef[]).some((child) => child.level !== ref.level - 1)) {
    throw corrupt("index-page.entries", "a child of another level", `level ${ref.level - 1}`);
  }
  const found = cover(children);
  if (found.base !== ref.base || found.span !== ref.span || found.rows !== ref.rows) {
    throw corrupt(
      "index-page",
      "children that do not add up to the page's interval and rows",
      `${ref.rows} rows`,
    );
  }
  return children;
}

export function indexToCbor<E extends Interval>(root: IndexRoot<E>, codec: EntryCodec<E>): unknown {
  return { pages: pageRefsToCbor(root.pages), entries: entriesToCbor(root.entries, codec), rows: root.rows };
}

export function indexFromCbor<E extends Interval>(value: unknown, codec: EntryCodec<E>): IndexRoot<E> {
  const shape = new Shape(value, codec.of);
  const root = {
    pages: pageRefsFromCbor(shape.array("pages"), codec),
    entries: entriesFromCbor(shape.array("entries"), codec),
    rows: shape.uint("rows"),
  };
  const rows = [...root.pages, ...root.entries].reduce((sum, child) => sum + child.rows, 0);
  if (rows !== root.rows) throw corrupt(`${codec.of}.rows`, root.rows, rows);
  return root;
}

/** Delta coding: each base is stored as the difference to the one before it in its list. */
function entriesToCbor<E extends Interval>(entries: readonly E[], codec: EntryCodec<E>): unknown[] {
  let previous = 0n;
  return entries.map((entry) => {
    const difference = entry.base - previous;
    previous = entry.base;
    return [difference, entry.span, entry.rows, ...codec.encode(entry)];
  });
}

function entriesFromCbor<E extends Interval>(items: unknown[], codec: EntryCodec<E>): E[] {
  let base = 0n;
  return items.map((item) => {
    const shape = new Shape(item, codec.of).exactly(codec.items, codec.maxItems);
    base += shape.difference(0);
    return codec.decode(shape, checkedInterval(base, shape.u64(1), shape.uint(2, 2 ** 32 - 1), codec.of));
  });
}

function pageRefsToCbor(pages: readonly PageRef[]): unknown[] {
  let previous = 0n;
  return pages.map(({ level, address, bytes, base, span, rows }) => {
    const difference = base - previous;
    previous = base;
    return [level, addressToCbor(address), bytes, difference, span, rows];
  });
}

function pageRefsFromCbor(items: unknown[], { copies }: { copies: number }): PageRef[] {
  let base = 0n;
  return items.map((item) => {
    const shape = new Shape(item, "page").exactly(6);
    base += shape.difference(3);
    const interval = checkedInterval(base, shape.u64(4), shape.uint(5), "page", copies);
    return {
      level: shape.uint(0, MAX_LEVEL),
      address: shape.address(1),
      bytes: shape.uint(2, MAX_PAGE_BYTES),
      ...interval,
    };
  });
}

function checkedInterval(base: bigint, span: bigint, rows: number, what: string, copies = 1): Interval {
  if (base < 0n || base + span > MAX_TICK) throw corrupt(`${what}.base`, base, "ticks within 64 bits");
  if (rows < 1 || BigInt(rows) > BigInt(copies) * (span + 1n))
    throw corrupt(`${what}.rows`, rows, "at least 1, and one tick each");
  return { base, span, rows };
}
