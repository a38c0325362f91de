import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { addressOf } from "../../src/core/address.ts";
import { blake3, toHex } from "../../src/core/blake3.ts";
import {
  blockOfRow,
  type ColumnHead,
  ColumnKind,
  type ColumnSource,
  decodeColumnHead,
  encodeColumn,
  openBlock,
  type Sealed,
  ValueType,
} from "../../src/objects/column.ts";
import { everyDamage, everyHugeNumber, outcome } from "./damage.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const coded = (code: string): object => expect.objectContaining({ name: "DreamDBError", code });

/** A value a row, or undefined; all of `width` bytes, or of any length with width 0. */
function sourceOf(
  rows: readonly (Uint8Array | undefined)[],
  width: number,
  extra: Partial<ColumnSource> = {},
): ColumnSource {
  const parts = rows.map((row) => row ?? new Uint8Array(width));
  const values = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  const ends = new Uint32Array(rows.length);
  let at = 0;
  parts.forEach((part, i) => {
    values.set(part, at);
    at += part.length;
    ends[i] = at;
  });
  const hasGaps = rows.some((row) => row === undefined);
  return {
    kind: width === 0 ? ColumnKind.fragment : ColumnKind.scalar,
    type: width === 0 ? ValueType.bytes : ValueType.i64,
    rows: rows.length,
    width,
    values,
    ...(width === 0 ? { ends } : {}),
    ...(hasGaps ? { presence: Uint8Array.from(rows, (row) => (row === undefined ? 0 : 1)) } : {}),
    ...extra,
  };
}

/** Reads a container as a reader does: the head, then each block by its offset, checked by its hash. */
function readBack({ ref, bytes }: Sealed): { head: ColumnHead; rows: (Uint8Array | undefined)[] } {
  expect(addressOf(bytes)).toBe(ref.address);
  expect(bytes.length).toBe(ref.bytes);
  const part = ref.head === undefined ? bytes : bytes.slice(0, ref.head.bytes);
  if (ref.head !== undefined) expect(blake3(part)).toEqual(ref.head.hash);
  const head = decodeColumnHead(part, ref.bytes);
  const rows = head.blocks.flatMap((block) => {
    const own = bytes.slice(block.offset, block.offset + block.bytes);
    if (toHex(blake3(own)) !== toHex(block.hash)) throw new Error("a block's hash is another");
    const open = openBlock(head, block, own);
    expect(open.rows).toBe(block.rows);
    return Array.from({ length: block.rows }, (_, row) =>
      open.isPresent(row) ? open.value(row) : undefined,
    );
  });
  for (const row of new Set([0, head.rows >> 1, head.rows - 1])) {
    const block = head.blocks[blockOfRow(head, row)];
    expect(block !== undefined && block.firstRow <= row && row < block.firstRow + block.rows).toBe(true);
  }
  return { head, rows };
}

function expectSame(found: (Uint8Array | undefined)[], wanted: readonly (Uint8Array | undefined)[]): void {
  expect(found.length).toBe(wanted.length);
  found.forEach((row, i) => {
    const want = wanted[i];
    const isSame = row === undefined || want === undefined ? row === want : Buffer.compare(row, want) === 0;
    if (!isSame) throw new Error(`row ${i} came back another`);
  });
}

/** Bytes that tell their place. */
const filled = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 7 + 1) & 255);

describe("fixed width", () => {
  test("any rows round trip, with and without gaps", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 4, 8, 12, 400, 40_000, 70_000),
        fc.integer({ min: 1, max: 40 }),
        fc.nat(4),
        (width, count, gap) => {
          const rows = Array.from({ length: count }, (_, i) =>
            gap > 0 && i % gap === 1 ? undefined : filled(width, i),
          );
          const { head, rows: found } = readBack(encodeColumn(sourceOf(rows, width)));
          expectSame(found, rows);
          expect(head).toMatchObject({
            rows: count,
            width,
            hasPresence: rows.includes(undefined),
            dictionary: [],
          });
        },
      ),
      { numRuns: 60 },
    );
  });

  test.each([
    [8, 8192, 1],
    [8, 8193, 2],
    [8, 3 * 8192, 3],
    [1, 65_537, 2],
    [400, 163, 1],
    [400, 164, 2],
    [65_536, 3, 3],
    [65_537, 3, 3],
    [40_000, 2, 2],
  ])("%d bytes × %d rows are %d blocks", (width, count, blocks) => {
    const rows = Array.from({ length: count }, (_, i) => filled(width, i));
    const sealed = encodeColumn(sourceOf(rows, width));
    const { head, rows: found } = readBack(sealed);
    expectSame(found, rows);
    expect(head.blocks.length).toBe(blocks);
    const full = Math.max(1, Math.floor(65_536 / width));
    head.blocks.slice(0, -1).forEach((block) => {
      expect(block.rows).toBe(full);
    });
    expect(sealed.ref.head === undefined).toBe(blocks === 1);
  });

  test("absent rows are zeros, and bits beyond the last row are zero", () => {
    const { bytes } = encodeColumn(sourceOf([undefined, filled(8, 1), undefined], 8));
    const { blocks } = decodeColumnHead(bytes, bytes.length);
    const block = bytes.slice(blocks[0]?.offset);
    expect([...block.slice(0, 8)]).toEqual([2, 0, 0, 0, 0, 0, 0, 0]);
    expect([...block.slice(8, 16), ...block.slice(24)]).toEqual(new Array(16).fill(0));
  });
});

describe("variable width", () => {
  test("any rows round trip, empty, large and absent ones too", () => {
    const row = fc.oneof(
      fc.nat(30),
      fc.constantFrom(0, 65_535, 65_536, 65_537, 200_000),
      fc.constant(undefined),
    );
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 20 }), (lengths) => {
        const rows = lengths.map((length, i) => (length === undefined ? undefined : filled(length, i)));
        const { head, rows: found } = readBack(encodeColumn(sourceOf(rows, 0)));
        expectSame(found, rows);
        for (const block of head.blocks) {
          const sizes = lengths.slice(block.firstRow, block.firstRow + block.rows);
          const total = sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
          const isAlone = sizes.filter((size) => (size ?? 0) > 0).length === 1;
          expect(total <= 65_536 || isAlone).toBe(true);
        }
      }),
      { numRuns: 40 },
    );
  });

  test.each([
    [
      [65_536, 1],
      [1, 1],
    ],
    [
      [65_535, 1, 1],
      [2, 1],
    ],
    [[70_000], [1]],
    [
      [10, 70_000, 10],
      [1, 1, 1],
    ],
    [
      [0, 70_000, 0, 0],
      [1, 1, 2],
    ],
    [[0, 0, 0], [3]],
  ])("rows of %j bytes are blocks of %j rows", (lengths, blocks) => {
    const rows = lengths.map((length, i) => filled(length, i));
    const { head, rows: found } = readBack(encodeColumn(sourceOf(rows, 0)));
    expectSame(found, rows);
    expect(head.blocks.map((block) => block.rows)).toEqual(blocks);
  });

  test("offsets that go down, or past the values, are refused", () => {
    const { bytes } = encodeColumn(sourceOf([filled(3, 1), filled(4, 2)], 0));
    const head = decodeColumnHead(bytes, bytes.length);
    const [block] = head.blocks as [ColumnHead["blocks"][number]];
    for (const offsets of [
      [1, 3, 7],
      [0, 8, 7],
      [0, 5, 3],
      [0, 3, 6],
      [0, 3, 8],
      [0, 0xffffffff, 7],
      [0, 3, 0xffffffff],
    ]) {
      const damaged = bytes.slice(block.offset, block.offset + block.bytes);
      offsets.forEach((offset, i) => {
        new DataView(damaged.buffer).setUint32(4 * i, offset, true);
      });
      expect(() => openBlock(head, block, damaged)).toThrow(coded("Corrupt"));
    }
  });
});

describe("dictionaries", () => {
  const codes = [0, 1, 0, 2].map((code) => Uint8Array.of(code, 0, 0, 0));
  const column = (words: string[]): Uint8Array =>
    encodeColumn(sourceOf(codes, 4, { type: ValueType.categorical, dictionary: words.map(utf8) })).bytes;

  test.each([
    [["", "a", "b"]],
    [["a", "aa", "é"]],
    [["\ufeff", "\ufeffa", "😀"]],
    [["__proto__", "x".repeat(1000)]],
  ])("%j", (words) => {
    const bytes = column(words);
    expect(decodeColumnHead(bytes, bytes.length).dictionary).toEqual(words);
  });

  test("out of order, repeated or malformed words are refused", () => {
    for (const words of [
      ["b", "a"],
      ["a", "a"],
      ["é", "z"],
    ]) {
      const bytes = column(words);
      expect(() => decodeColumnHead(bytes, bytes.length)).toThrow(coded("Corrupt"));
    }
    for (const bad of [[0xff], [0xc3], [0xed, 0xa0, 0x80]]) {
      const { bytes } = encodeColumn(
        sourceOf(codes, 4, { type: ValueType.categorical, dictionary: [Uint8Array.from(bad)] }),
      );
      expect(() => decodeColumnHead(bytes, bytes.length)).toThrow(coded("Corrupt"));
    }
  });

  test("of fewer or more words than counted are refused", () => {
    const bytes = column(["a", "b"]);
    for (const count of [0, 1, 3, 255]) {
      expect(() => decodeColumnHead(bytes.with(24, count), bytes.length)).toThrow(coded("Corrupt"));
    }
  });

  test("belong to categorical columns alone", () => {
    const { bytes } = encodeColumn(sourceOf(codes, 4, { type: ValueType.i64, dictionary: [utf8("a")] }));
    expect(() => decodeColumnHead(bytes, bytes.length)).toThrow(coded("Corrupt"));
  });
});

const examples: Record<string, Sealed> = {
  fixed: encodeColumn(sourceOf([filled(8, 1), filled(8, 2), filled(8, 3)], 8)),
  "fixed with gaps": encodeColumn(sourceOf([filled(8, 1), undefined, filled(8, 3)], 8)),
  variable: encodeColumn(sourceOf([filled(3, 1), undefined, filled(0, 3)], 0)),
  dictionary: encodeColumn(
    sourceOf([Uint8Array.of(1, 0, 0, 0)], 4, {
      type: ValueType.categorical,
      dictionary: ["cat", "dög"].map(utf8),
    }),
  ),
  "variable of two blocks": encodeColumn(sourceOf([filled(3, 1), filled(65_536, 2)], 0)),
  "of two blocks": encodeColumn(sourceOf([filled(40_000, 1), filled(40_000, 2)], 40_000)),
};

describe.each(Object.keys(examples))("a head %s", (name) => {
  const { ref, bytes } = examples[name] as Sealed;
  const headBytes = Number(new DataView(bytes.buffer).getBigUint64(32, true));
  const head = bytes.slice(0, headBytes);

  /** What a head may say at most, whatever its bytes. */
  function expectSound(found: ColumnHead): void {
    let end = headBytes;
    let row = 0;
    for (const block of found.blocks) {
      expect(block.offset).toBe(Math.ceil(end / 64) * 64);
      expect(block.firstRow).toBe(row);
      expect(block.rows).toBeGreaterThan(0);
      end = block.offset + block.bytes;
      row += block.rows;
    }
    expect([end, row]).toEqual([ref.bytes, found.rows]);
    expect(found.rows).toBeLessThanOrEqual(found.width === 0 ? ref.bytes / 4 : ref.bytes / found.width);
  }

  test("damaged in any bit, or cut, is refused by code or still adds up", () => {
    const codes = new Set<string>();
    const visit = (damaged: Uint8Array, what: string): void => {
      const found = outcome(() => decodeColumnHead(damaged, ref.bytes), what);
      if ("value" in found) expectSound(found.value);
      else codes.add(found.code);
      if (damaged.length < headBytes) expect([what, found]).toEqual([what, { code: "Corrupt" }]);
    };
    everyDamage(head, visit);
    everyHugeNumber(head, headBytes, visit);
    expect([...codes].sort()).toEqual(["Corrupt", "UnsupportedVersion"]);
  });

  test("of another total length, magic, version or flags is refused", () => {
    expect(() => decodeColumnHead(head, ref.bytes + 1)).toThrow(coded("Corrupt"));
    const changes: [number, number, string][] = [
      [0, 0x45, "Corrupt"],
      [4, 0, "Corrupt"],
      [4, 2, "UnsupportedVersion"],
      [5, 1, "UnsupportedVersion"],
      [28, 2, "UnsupportedVersion"],
      [31, 0x80, "UnsupportedVersion"],
    ];
    for (const [at, value, code] of changes)
      expect(() => decodeColumnHead(head.with(at, value), ref.bytes)).toThrow(coded(code));
  });
});

test("no rows, or rows without blocks, are refused", () => {
  const { bytes } = encodeColumn(sourceOf([], 8));
  expect(() => decodeColumnHead(bytes, bytes.length)).toThrow(coded("Corrupt"));
  expect(() => decodeColumnHead(bytes.with(8, 5), bytes.length)).toThrow(coded("Corrupt"));
});

test("a column beyond 100 MiB is refused", () => {
  const source = sourceOf([], 1 << 20);
  const values = new Uint8Array(100 << 20);
  expect(() => encodeColumn({ ...source, rows: 100, values })).toThrow(coded("LimitExceeded"));
  const { ref } = encodeColumn({ ...source, rows: 99, values: values.subarray(0, 99 << 20) });
  expect(ref.bytes).toBeLessThanOrEqual(100 << 20);
});
