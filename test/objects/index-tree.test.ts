import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { type Address, addressOf, addressToCbor } from "../../src/core/address.ts";
import { blake3, toHex } from "../../src/core/blake3.ts";
import { decodeCbor, encodeCbor } from "../../src/core/cbor.ts";
import { MAX_TICK } from "../../src/core/time.ts";
import { type ContainerRef, containerRefToCbor } from "../../src/objects/container-ref.ts";
import {
  appendToIndex,
  type BatchEntry,
  batchCodec,
  cover,
  decodePage,
  type EntryCodec,
  emptyIndex,
  type IndexRoot,
  type Interval,
  indexFromCbor,
  indexToCbor,
  PAGE_FANOUT,
  type PageRef,
  type SegmentEntry,
  segmentCodec,
} from "../../src/objects/index-tree.ts";
import { batchEntry, indexRoot, segmentEntry } from "./arbitrary.ts";
import { everyDamage, outcome } from "./damage.ts";

const coded = (code: string): object => expect.objectContaining({ name: "DreamDBError", code });
const digest = (n: number): Uint8Array => blake3(Uint8Array.of(n, n >> 8, n >> 16));

/** An index that grows, with all pages it has stored. */
class Tree<E extends Interval> {
  root: IndexRoot<E> = emptyIndex<E>();
  readonly pages = new Map<Address, Uint8Array>();
  /** Pages the last append wrote. */
  written = 0;
  private readonly codec: EntryCodec<E>;

  constructor(codec: EntryCodec<E>) {
    this.codec = codec;
  }

  append(entries: readonly E[]): void {
    this.written = 0;
    this.root = appendToIndex(this.root, entries, this.codec, (bytes) => {
      this.written++;
      const address = addressOf(bytes);
      this.pages.set(address, bytes);
      return address;
    });
  }

  /** Every entry, by way of the stored bytes of root and pages. */
  entries(): E[] {
    const root = indexFromCbor(decodeCbor(encodeCbor(indexToCbor(this.root, this.codec))), this.codec);
    expect(root).toEqual(this.root);
    return [...root.pages.flatMap((page) => this.below(page)), ...root.entries];
  }

  height(): number {
    return this.root.pages.reduce((height, page) => Math.max(height, page.level + 1), 0);
  }

  private below(page: PageRef): E[] {
    const children = decodePage(this.pages.get(page.address) as Uint8Array, this.codec, page);
    if (page.level === 0) return children as E[];
    return (children as PageRef[]).flatMap((child) => this.below(child));
  }
}

/** Segment number `i`, three ticks in four of ticks 10 i … 10 i + 9, so that order shows. */
function segment(i: number, base = BigInt(i) * 10n): SegmentEntry {
  return { base, span: 9n, rows: 1 + (i % 8), container: { address: fakeAddress(i), bytes: 100 + i } };
}

/** Cheap and unlike any other. */
function fakeAddress(i: number): Address {
  return shapes[i % shapes.length] as Address;
}
const shapes = Array.from({ length: 256 }, (_, i) => addressOf(Uint8Array.of(i)));

const rowsOf = (entries: readonly Interval[]): number => entries.reduce((sum, { rows }) => sum + rows, 0);

describe("growing", () => {
  test("20,000 entries one at a time: order, totals, and pages written", () => {
    const tree = new Tree(segmentCodec);
    const given: SegmentEntry[] = [];
    let pages = 0;
    for (let i = 0; i < 20_000; i++) {
      given.push(segment(i));
      tree.append(given.slice(-1));
      pages += tree.written;
      if (tree.written > tree.height())
        throw new Error(`${tree.written} pages for entry ${i}, height ${tree.height()}`);
      if (tree.root.entries.length >= PAGE_FANOUT) throw new Error("a run was left open");
    }
    expect(tree.height()).toBe(3 - 1);
    expect(pages / 20_000).toBeLessThanOrEqual(1 / 60);
    expect(tree.root.rows).toBe(rowsOf(given));
    expect(tree.entries()).toEqual(given);
    // 20,000 = 4 × 4096 + 56 × 64 + 32
    expect(tree.root.pages.map((page) => page.level)).toEqual([
      ...new Array(4).fill(1),
      ...new Array(56).fill(0),
    ]);
    expect(tree.root.entries.length).toBe(32);
  });

  test("one entry can close a run on every level", () => {
    const page = (level: number, i: number): PageRef => ({
      level,
      address: fakeAddress(i),
      bytes: 4000,
      ...segment(i),
    });
    const tree = new Tree(segmentCodec);
    const runOf = (from: number): number[] => Array.from({ length: 63 }, (_, i) => from + i);
    const pages = [...runOf(0).map((i) => page(1, i)), ...runOf(63).map((i) => page(0, i))];
    const entries = runOf(126).map((i) => segment(i));
    tree.root = { pages, entries, rows: rowsOf([...pages, ...entries]) };
    tree.append([segment(189)]);
    expect([tree.written, tree.height(), tree.root.entries.length]).toEqual([3, 3, 0]);
    const given = Array.from({ length: 190 }, (_, i) => segment(i));
    expect(tree.root.pages).toEqual([expect.objectContaining({ level: 2, ...cover(given) })]);
    expect(tree.root.rows).toBe(rowsOf(given));
  });

  test("any grouping gives the same tree", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.nat(5), fc.nat(200), fc.nat(3000)), { maxLength: 30 }), (groups) => {
        const tree = new Tree(segmentCodec);
        let count = 0;
        for (const size of groups) {
          const before = tree.root;
          const frozen = JSON.stringify(before, (_, value) =>
            typeof value === "bigint" ? String(value) : value,
          );
          tree.append(Array.from({ length: size }, (_, i) => segment(count + i)));
          count += size;
          expect(tree.written).toBeLessThanOrEqual(size / 64 + 1 + size / 4096 + 1 + 1);
          expect(
            JSON.stringify(before, (_, value) => (typeof value === "bigint" ? String(value) : value)),
          ).toBe(frozen);
        }
        const given = Array.from({ length: count }, (_, i) => segment(i));
        const atOnce = new Tree(segmentCodec);
        atOnce.append(given);
        expect(tree.root).toEqual(atOnce.root);
        expect([...tree.pages.keys()].sort()).toEqual([...atOnce.pages.keys()].sort());
        expect(tree.entries()).toEqual(given);
        expect(tree.root.rows).toBe(rowsOf(given));
      }),
      { numRuns: 8 },
    );
  });

  test("bases in any order: descending, backdated, at both ends of time", () => {
    const tens = fc.bigInt({ min: 0n, max: MAX_TICK / 10n - 1n });
    const base = fc.oneof(tens, fc.constantFrom(0n, MAX_TICK / 10n - 1n)).map((n) => n * 10n);
    fc.assert(
      fc.property(
        fc.uniqueArray(base, { minLength: 1, maxLength: 300, size: "max" }),
        fc.boolean(),
        (bases, isDescending) => {
          if (isDescending) bases.sort((a, b) => (a < b ? 1 : -1));
          const given = bases.map((tick, i) => segment(i, tick));
          const tree = new Tree(segmentCodec);
          for (const entry of given) tree.append([entry]);
          expect(tree.entries()).toEqual(given);
          const { base: first, span } = cover([...tree.root.pages, ...tree.root.entries]);
          expect([first, first + span]).toEqual([least(bases), -least(bases.map((tick) => -tick)) + 9n]);
        },
      ),
      { numRuns: 40 },
    );
  });

  test("any entries of either kind come back", () => {
    const comesBack = <E extends Interval>(codec: EntryCodec<E>, any: fc.Arbitrary<E>): void =>
      fc.assert(
        fc.property(fc.array(any, { maxLength: 150, size: "max" }), (given) => {
          const tree = new Tree(codec);
          tree.append(given);
          expect(tree.entries()).toEqual(given);
        }),
        { numRuns: 20 },
      );
    comesBack(batchCodec, batchEntry);
    comesBack(segmentCodec, segmentEntry);
  });

  test("any root comes back", () => {
    fc.assert(
      fc.property(indexRoot(batchEntry), (root) => {
        const stored = encodeCbor(indexToCbor(root, batchCodec));
        expect(indexFromCbor(decodeCbor(stored), batchCodec)).toEqual(root);
      }),
      { numRuns: 100 },
    );
  });
});

function least(values: readonly bigint[]): bigint {
  return values.reduce((a, b) => (a < b ? a : b));
}

describe("page sizes", () => {
  const short = (n: number): ContainerRef => ({ address: fakeAddress(n), bytes: 20_000_000 });
  const long = (n: number): ContainerRef => ({ ...short(n), head: { bytes: 60_000, hash: digest(n) } });
  /** Batches of today, with automatic anchors and the given columns. */
  const batches = (columns: ((n: number) => ContainerRef)[], list?: ContainerRef): BatchEntry[] =>
    Array.from({ length: PAGE_FANOUT }, (_, i) => ({
      base: 1_700_000_000_000_000_000n + BigInt(i) * 50_000_000_000n,
      span: 4096n * 9999n,
      rows: 10_000,
      anchors: list === undefined ? { step: 4096n } : { container: list },
      columns: new Map(columns.map((make, id) => [id, make(3 * i + id)])),
    }));
  const pageBytes = (entries: BatchEntry[]): number => {
    const tree = new Tree(batchCodec);
    tree.append(entries);
    expect([tree.root.pages.length, tree.root.entries.length]).toEqual([1, 0]);
    return (tree.root.pages[0] as PageRef).bytes;
  };

  test("three columns of many blocks: two thirds of them long stay within 16 KiB", () => {
    expect(pageBytes(batches([short, short, short]))).toBeLessThan(11 << 10);
    expect(pageBytes(batches([long, long, short]))).toBeLessThanOrEqual(16 << 10);
    expect(pageBytes(batches([long, long, long]))).toBeLessThanOrEqual(18 << 10);
  });

  test("a page of pages is about 4 KiB", () => {
    const tree = new Tree(segmentCodec);
    tree.append(Array.from({ length: 64 * 64 }, (_, i) => segment(i, BigInt(i) * 10n ** 12n)));
    expect(tree.root.pages.map((page) => page.level)).toEqual([1]);
    expect((tree.root.pages[0] as PageRef).bytes).toBeLessThanOrEqual(5 << 10);
  });

  test("entries of hundreds of columns close earlier, within 1 MiB", () => {
    const wide = batches(new Array(250).fill(long));
    const tree = new Tree(batchCodec);
    tree.append(wide);
    expect(tree.root.pages.map((page) => page.rows)).toEqual([32 * 10_000]);
    for (const bytes of tree.pages.values()) expect(bytes.length).toBeLessThanOrEqual(1 << 20);
    const summary = (entries: BatchEntry[]): unknown[] =>
      entries.map(({ base, columns }) => [base, columns.size]);
    expect(summary(tree.entries())).toEqual(summary(wide));
  });
});

describe("what a page may not be", () => {
  const tree = new Tree(batchCodec);
  tree.append(
    fc
      .sample(batchEntry, { numRuns: 64, seed: 5 })
      .map((entry, i) => ({ ...entry, base: BigInt(i) }))
      .map(within),
  );
  const [page] = tree.root.pages as [PageRef];
  const bytes = tree.pages.get(page.address) as Uint8Array;

  /** A smaller page of three entries, and its reference. */
  const entries: BatchEntry[] = [
    {
      base: 500n,
      span: 8192n,
      rows: 3,
      anchors: { step: 4096n },
      columns: new Map([
        [0, ref(1)],
        [5, ref(2)],
      ]),
    },
    { base: 20n, span: 0n, rows: 1, anchors: { step: 0n }, columns: new Map() },
    {
      base: 9000n,
      span: 77n,
      rows: 3,
      anchors: { container: ref(3) },
      columns: new Map([[2, { ...ref(4), head: { bytes: 9, hash: digest(1) } }]]),
    },
  ];
  function ref(n: number): ContainerRef {
    return { address: fakeAddress(n), bytes: 200 + n };
  }
  function within(entry: BatchEntry): BatchEntry {
    return entry.base + entry.span > MAX_TICK ? { ...entry, base: 0n } : entry;
  }
  const stored = new Map<string, unknown>([
    ["kind", "dreamdb.index-page"],
    ["version", 1],
    ["of", "timeline"],
    ["level", 0],
    ["entries", (indexToCbor({ pages: [], entries, rows: 7 }, batchCodec) as { entries: unknown[] }).entries],
  ]);
  const pageOf = (map: Map<string, unknown>, level = 0): { bytes: Uint8Array; ref: PageRef } => {
    const encoded = encodeCbor(map);
    return {
      bytes: encoded,
      ref: { level, address: addressOf(encoded), bytes: encoded.length, ...cover(entries) },
    };
  };
  const decode = (map: Map<string, unknown>, level = 0): unknown => {
    const made = pageOf(map, level);
    return decodePage(made.bytes, batchCodec, made.ref);
  };
  const withKey = (key: string, value: unknown): Map<string, unknown> => new Map(stored).set(key, value);
  /** The page with one item of one entry replaced. */
  const withItem = (entry: number, item: number, value: unknown): Map<string, unknown> => {
    const list = (stored.get("entries") as unknown[][]).map((items) => [...items]);
    (list[entry] as unknown[])[item] = value;
    return withKey("entries", list);
  };

  test("as stored, it is right", () => {
    expect(decode(stored)).toEqual(entries);
    expect(decodePage(bytes, batchCodec, page)).toHaveLength(64);
  });

  test.each<[string, string, unknown]>([
    ["of another kind", "kind", "dreamdb.genesis"],
    ["of another tree", "of", "segments"],
    ["of another level", "level", 1],
    ["without entries", "entries", []],
    ["with a number for entries", "entries", 3],
    ["with a map for entries", "entries", new Map()],
    ["with too many entries", "entries", new Array(257).fill([1, 0, 1, 0, new Map()])],
    ["version 0", "version", 0],
  ])("%s", (_, key, value) => {
    expect(() => decode(withKey(key, value))).toThrow(coded("Corrupt"));
  });

  test("of a newer version", () => {
    expect(() => decode(withKey("version", 2))).toThrow(coded("UnsupportedVersion"));
  });

  const stored1 = containerRefToCbor(ref(1));
  test("with a container under any field id it is right", () => {
    for (const id of [0, 7, 2 ** 53 - 1])
      expect(() => decode(withItem(0, 4, new Map([[id, stored1]])))).not.toThrow();
  });

  const mapOf = (entry: number): Map<unknown, unknown> =>
    new Map((stored.get("entries") as unknown[][])[entry]?.entries());
  test.each<[string, number, number, unknown]>([
    ["a base below 0", 1, 0, -501],
    ["a base beyond 64 bits", 0, 0, 2n ** 64n - 1n],
    ["a base that is -0.0", 0, 0, -0],
    ["a span below 0", 0, 1, -1],
    ["no rows", 0, 2, 0],
    ["more rows than ticks", 2, 2, 79],
    ["2^32 rows", 2, 2, 2 ** 32],
    ["a step that does not fill the span", 0, 3, 4095],
    ["step 0 of several rows", 0, 3, 0],
    ["a step of one row", 1, 3, 4096],
    ["text for a field id", 0, 4, new Map([["1", stored1]])],
    ["a negative field id", 0, 4, new Map([[-1, stored1]])],
    ["a fraction for a field id", 0, 4, new Map([[0.5, stored1]])],
    ["no columns", 0, 4, null],
    ["a number for a sixth item", 0, 5, 0],
    ["undefined for a sixth item", 0, 5, undefined],
    ["a seventh item", 0, 6, stored1],
    ["a container of three items", 2, 3, [...stored1, 3]],
    ["a container of five items", 2, 3, [...stored1, 3, digest(1), 0]],
    ["a container without address", 2, 3, ["a", 2]],
  ])("with %s", (_, entry, item, value) => {
    // As a root, so that no interval or sum of a PageRef is what refuses it.
    const list = withItem(entry, item, value).get("entries") as unknown[][];
    const rows = list.reduce((sum, items) => sum + (items[2] as number), 0);
    const root = decodeCbor(encodeCbor({ pages: [], entries: list, rows }));
    expect(() => indexFromCbor(root, batchCodec)).toThrow(coded("Corrupt"));
  });

  test("with a map where an entry should be", () => {
    const list = stored.get("entries") as unknown[];
    expect(() => decode(withKey("entries", [mapOf(0), list[1], list[2]]))).toThrow(coded("Corrupt"));
  });

  test("of another length, interval or number of rows than its reference says", () => {
    const made = pageOf(stored);
    const { base, span, rows, bytes: length } = made.ref;
    for (const wrong of [
      { base: base + 1n },
      { span: span + 1n },
      { rows: rows + 1 },
      { bytes: length - 1 },
      { level: 1 },
    ]) {
      expect(() => decodePage(made.bytes, batchCodec, { ...made.ref, ...wrong })).toThrow(coded("Corrupt"));
    }
  });

  test("with children that skip a level", () => {
    const tall = new Tree(segmentCodec);
    tall.append(Array.from({ length: 64 * 64 }, (_, i) => segment(i)));
    const [top] = tall.root.pages as [PageRef];
    const map = decodeCbor(tall.pages.get(top.address) as Uint8Array) as Map<string, unknown>;
    for (const level of [0, 2]) {
      const wrong = encodeCbor(new Map(map).set("level", level));
      expect(() => decodePage(wrong, segmentCodec, { ...top, level })).toThrow(coded("Corrupt"));
    }
  });

  test("damaged in any bit or cut anywhere it is refused by code, or says something else", () => {
    const made = pageOf(stored);
    let kept = 0;
    everyDamage(made.bytes, (damaged, what) => {
      const found = outcome(
        () => decodePage(damaged, batchCodec, { ...made.ref, bytes: damaged.length }),
        what,
      );
      if ("value" in found) {
        kept++;
        expect(found.value).toHaveLength(entries.length);
        expect(found.value).not.toEqual(entries);
      } else
        expect(["Corrupt", "UnsupportedVersion", "LimitExceeded", "InvalidAddress"]).toContain(found.code);
    });
    expect(kept).toBeGreaterThan(100);
    expect(toHex(encodeCbor(stored))).toBe(toHex(made.bytes));
  });

  test("a root whose rows do not add up is refused", () => {
    const root = indexToCbor(tree.root, batchCodec) as Record<string, unknown>;
    for (const wrong of [
      { rows: tree.root.rows + 1 },
      { pages: [] },
      { entries: 5 },
      { pages: [[0, 1, 2]] },
    ]) {
      const value = decodeCbor(encodeCbor({ ...root, ...wrong }));
      expect(() => indexFromCbor(value, batchCodec)).toThrow(coded("Corrupt"));
    }
    for (const wrong of [[], null, 5])
      expect(() => indexFromCbor(wrong, batchCodec)).toThrow(coded("Corrupt"));
  });
});

test("pages of segments may have each tick once for every hash table, those of a timeline once", () => {
  const pageOf = (rows: number) => {
    const address = addressToCbor(addressOf(Uint8Array.of(1)));
    return { pages: [[0, address, 100, 5n, 9n, rows]], entries: [], rows };
  };
  const read = (rows: number, codec: typeof segmentCodec | typeof batchCodec) =>
    indexFromCbor(decodeCbor(encodeCbor(pageOf(rows))), codec as typeof segmentCodec).rows;
  expect(read(10, batchCodec)).toBe(10);
  expect(() => read(11, batchCodec)).toThrow();
  expect(read(160, segmentCodec)).toBe(160);
  expect(() => read(161, segmentCodec)).toThrow();
});
