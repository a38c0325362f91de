// The index of a batch: what is put in is found, and damaged bytes are refused by code.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { checkScalarIndex } from "../../src/dataset/fsck-index.ts";
import { indexSource } from "../../src/dataset/index-source.ts";
import { noRows } from "../../src/index/bitset.ts";
import { addRoaring } from "../../src/index/roaring.ts";
import { type ColumnSource, encodeColumn, type Sealed, ValueType } from "../../src/objects/column.ts";
import {
  decodeScalarIndexHead,
  encodeScalarIndex,
  type IndexTree,
  openIndexPage,
  type ScalarIndexHead,
  TreeForm,
} from "../../src/objects/scalar-index.ts";
import { keyOf, keysOfColumn } from "../../src/objects/scalar-key.ts";
import { everyDamage, everyHugeNumber, outcome } from "./damage.ts";

const coded = (code: string): Error =>
  expect.objectContaining({ name: "DreamDBError", code }) as unknown as Error;
const utf8 = (text: string) => new TextEncoder().encode(text);

/** A column of the given values, undefined where there is none. */
function column(
  type: number,
  values: readonly (string | bigint | number | boolean | undefined)[],
): ColumnSource {
  const presence = Uint8Array.from(values, (value) => (value === undefined ? 0 : 1));
  const base = { kind: 1, type, rows: values.length, ...(presence.includes(0) ? { presence } : {}) };
  if (type === ValueType.utf8) {
    const parts = values.map((value) => utf8((value as string | undefined) ?? ""));
    let end = 0;
    const ends = Uint32Array.from(parts, (part) => (end += part.length));
    return { ...base, width: 0, values: Uint8Array.from(parts.flatMap((part) => [...part])), ends };
  }
  const width = type === ValueType.bool ? 1 : type === ValueType.categorical ? 4 : 8;
  const bytes = new Uint8Array(width * values.length);
  const view = new DataView(bytes.buffer);
  const words = [...new Set(values)].filter((value) => typeof value === "string");
  words.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  values.forEach((value, row) => {
    if (value === undefined) return;
    if (type === ValueType.bool) view.setUint8(row, value ? 1 : 0);
    else if (type === ValueType.categorical) view.setUint32(4 * row, words.indexOf(value as string), true);
    else if (type === ValueType.f64) view.setFloat64(8 * row, value as number, true);
    else view.setBigInt64(8 * row, value as bigint, true);
  });
  const source = { ...base, width, values: bytes };
  return type === ValueType.categorical ? { ...source, dictionary: words.map(utf8) } : source;
}

function build(columns: readonly ColumnSource[]): Sealed {
  const sources = columns.map((source, field) => indexSource(field, source));
  return encodeScalarIndex((columns[0] as ColumnSource).rows, sources) as Sealed;
}

/** Every (key, row) of a tree, in its order. */
function entriesOf(bytes: Uint8Array, head: ScalarIndexHead, tree: IndexTree): [string, number][] {
  return tree.pages.flatMap((page) => {
    const opened = openIndexPage(head, tree, page, bytes.subarray(page.offset, page.offset + page.bytes));
    return Array.from({ length: page.entries }, (_, e): [string, number][] => {
      const key = Buffer.from(opened.key(e)).toString("hex");
      if (tree.form === TreeForm.rows) return [[key, opened.row(e)]];
      const bits = noRows(head.rows);
      addRoaring(opened.bitmap(e), head.rows, bits);
      return [...Array(head.rows).keys()]
        .filter((row) => ((bits[row >>> 5] as number) >>> (row & 31)) & 1)
        .map((row) => [key, row]);
    }).flat();
  });
}

const special = [0, -0, 1, -1, 0.1, -1e300, 1e300, 5e-324, -5e-324, 2 ** 53];
const i64 = fc.oneof(fc.bigInt({ min: -5n, max: 5n }), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }));
const text = fc.oneof(
  fc.constantFrom("", "a", "aa", "ab", "￿", "😀", "x".repeat(9)),
  fc.string({ maxLength: 12 }),
);
const kinds = [
  ["bool", ValueType.bool, fc.boolean()],
  ["i64", ValueType.i64, i64],
  ["timestamp", ValueType.timestamp, i64],
  [
    "f64",
    ValueType.f64,
    fc.oneof(fc.constantFrom(...special), fc.double({ noNaN: true, noDefaultInfinity: true })),
  ],
  ["utf8", ValueType.utf8, text],
  ["categorical", ValueType.categorical, text],
] as [string, number, fc.Arbitrary<string | bigint | number | boolean>][];

test.each(kinds)("keys of %s are ordered as the values", (_, type, value) => {
  const order = (a: unknown, b: unknown): number => (a === b ? 0 : (a as number) < (b as number) ? -1 : 1);
  fc.assert(
    fc.property(value, value, (a, b) => {
      const found = Math.sign(Buffer.compare(keyOf(type, a), keyOf(type, b)));
      // Text by code points, of which Buffer's own UTF-8 is a second opinion.
      const expected =
        typeof a === "string" ? Buffer.compare(Buffer.from(a), Buffer.from(b as string)) : order(a, b);
      expect(found).toBe(Math.sign(expected));
    }),
  );
});

test.each(kinds.slice(1, 4))("keys of a column of %s are those of its values", (_, type, value) => {
  fc.assert(
    fc.property(fc.array(value, { minLength: 1 }), (values) => {
      const keys = keysOfColumn(type, column(type, values).values);
      expect(Buffer.from(keys)).toEqual(Buffer.concat(values.map((one) => keyOf(type, one))));
    }),
  );
});

describe.each(kinds)("a tree of %s", (_, type, value) => {
  test("has each value's rows, in order, whatever is absent", async () => {
    const rows = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.array(fc.option(value, { nil: undefined }), { minLength: 1, maxLength: 40 }),
      },
      // Few values and many rows: bitmaps; and many of both, over pages.
      fc
        .array(value, { minLength: 1, maxLength: 4 })
        .map((few) => Array.from({ length: 700 }, (_, i) => few[i % few.length])),
      fc.array(value, { minLength: 600, maxLength: 700 }),
    );
    await fc.assert(
      fc.asyncProperty(rows, async (values) => {
        const source = column(type, values);
        if (values.every((one) => one === undefined)) return;
        const { bytes } = build([source]);
        const head = decodeScalarIndexHead(bytes, bytes.length);
        const tree = head.trees.get(0) as IndexTree;
        const expected = values
          .flatMap((one, row): [string, number][] =>
            one === undefined ? [] : [[Buffer.from(keyOf(type, one)).toString("hex"), row]],
          )
          .sort(([a, x], [b, y]) =>
            a === b ? x - y : Buffer.compare(Buffer.from(a, "hex"), Buffer.from(b, "hex")),
          );
        expect(entriesOf(bytes, head, tree)).toEqual(expected);
        expect(tree.present).toBe(expected.length);
        await checkScalarIndex(bytes, values.length, async () => encodeColumn(source).bytes);
      }),
      { numRuns: 40 },
    );
  });
});

test("the worked example of the specification has these bytes", () => {
  const label = column(ValueType.categorical, ["cat", "dog", "cat", undefined, "cat"]);
  const number = column(ValueType.i64, [30n, -5n, 30n, 7n, 7n]);
  const { ref } = encodeScalarIndex(5, [indexSource(2, label), indexSource(4, number)]) as Sealed;
  expect(readFileSync("spec/0011-scalar-indexing.md", "utf8")).toContain(`${ref.bytes} bytes, BLAKE3`);
  expect(readFileSync("spec/0011-scalar-indexing.md", "utf8")).toContain(`address ${ref.address}`);
});

test("many rows a value give bitmaps, few give rows", () => {
  const form = (values: bigint[]): number | undefined => {
    const { bytes } = build([column(ValueType.i64, values)]);
    return decodeScalarIndexHead(bytes, bytes.length).trees.get(0)?.form;
  };
  expect(form(Array.from({ length: 64 }, (_, i) => BigInt(i % 4)))).toBe(TreeForm.bitmaps);
  expect(form(Array.from({ length: 63 }, (_, i) => BigInt(i % 4)))).toBe(TreeForm.rows);
});

test("a text too long to be a key leaves its field out, and others in", () => {
  const columns = ["x".repeat(513), "x".repeat(512)].map((one) => column(ValueType.utf8, [one, "b"]));
  const { bytes } = build(columns);
  expect([...decodeScalarIndexHead(bytes, bytes.length).trees.keys()]).toEqual([1]);
  expect(encodeScalarIndex(2, [indexSource(0, columns[0] as ColumnSource)])).toBeUndefined();
});

/** Both forms, several pages, absent rows. */
const columns = [
  column(
    ValueType.categorical,
    Array.from({ length: 300 }, (_, i) => (i % 7 === 0 ? undefined : `c${i % 3}`)),
  ),
  column(
    ValueType.i64,
    Array.from({ length: 300 }, (_, i) => BigInt((i * 37) % 151) - 70n),
  ),
  column(
    ValueType.utf8,
    Array.from({ length: 300 }, (_, i) => (i % 50 === 0 ? `é${i}` : undefined)),
  ),
];
const sealed = build(columns);
const headBytes = Number(new DataView(sealed.bytes.buffer).getBigUint64(24, true));

/** Decodes all there is to decode. */
function readAll(bytes: Uint8Array, head: ScalarIndexHead): number {
  let entries = 0;
  for (const tree of head.trees.values()) {
    if (tree.presence !== undefined)
      addRoaring(
        bytes.subarray(tree.presence.offset, tree.presence.offset + tree.presence.bytes),
        head.rows,
        noRows(head.rows),
      );
    entries += entriesOf(bytes, head, tree).length;
  }
  return entries;
}

/** What a head may say at most, whatever its bytes. */
function expectSound(head: ScalarIndexHead): void {
  let end = headBytes;
  for (const tree of head.trees.values()) {
    for (const span of [...(tree.presence ? [tree.presence] : []), ...tree.pages]) {
      expect(span.offset).toBe(Math.ceil(end / 64) * 64);
      end = span.offset + span.bytes;
    }
    expect(tree.pages.reduce((sum, page) => sum + page.entries, 0)).toBe(tree.entries);
    expect(tree.entries).toBeLessThanOrEqual(tree.present);
    const keys = tree.pages.map((page) => Buffer.from(page.key));
    const steps = keys.slice(1).map((key, i) => Buffer.compare(keys[i] as Buffer, key));
    expect(steps.every((step) => step < 0 || (step === 0 && tree.form === TreeForm.rows))).toBe(true);
    expect(tree.present).toBeLessThanOrEqual(head.rows);
  }
  expect(end).toBe(sealed.bytes.length);
}

test("a head damaged in any bit, or cut, is refused by code or still adds up", () => {
  const head = sealed.bytes.slice(0, headBytes);
  const codes = new Set<string>();
  const visit = (damaged: Uint8Array, what: string): void => {
    const found = outcome(() => decodeScalarIndexHead(damaged, sealed.bytes.length), what);
    if ("value" in found) expectSound(found.value);
    else codes.add(found.code);
    if (damaged.length < headBytes) expect([what, found]).toEqual([what, { code: "Corrupt" }]);
  };
  everyDamage(head, visit);
  everyHugeNumber(head, headBytes, visit);
  expect([...codes].sort()).toEqual(["Corrupt", "UnsupportedVersion"]);
});

test("a head of another magic, version, flags or length is refused", () => {
  const { bytes } = sealed;
  expect(() => decodeScalarIndexHead(bytes, bytes.length + 1)).toThrow(coded("Corrupt"));
  expect(() => decodeScalarIndexHead(bytes.with(0, 0x45), bytes.length)).toThrow(coded("Corrupt"));
  expect(() => decodeScalarIndexHead(bytes.with(4, 0), bytes.length)).toThrow(coded("Corrupt"));
  expect(() => decodeScalarIndexHead(bytes.with(4, 2), bytes.length)).toThrow(coded("UnsupportedVersion"));
  expect(() => decodeScalarIndexHead(bytes.with(6, 1), bytes.length)).toThrow(coded("UnsupportedVersion"));
});

test("pages damaged in any bit, or cut, are refused as corrupt or name rows of the batch", () => {
  const head = decodeScalarIndexHead(sealed.bytes, sealed.bytes.length);
  expect(readAll(sealed.bytes, head)).toBe(257 + 300 + 6);
  for (const tree of head.trees.values()) {
    for (const page of tree.pages) {
      const bytes = sealed.bytes.slice(page.offset, page.offset + page.bytes);
      const visit = (damaged: Uint8Array, what: string): void => {
        const found = outcome(() => {
          const opened = openIndexPage(head, tree, page, damaged);
          for (let e = 0; e < page.entries; e++) {
            opened.key(e);
            if (tree.form === TreeForm.bitmaps) addRoaring(opened.bitmap(e), head.rows, noRows(head.rows));
            else if (opened.row(e) >= head.rows) throw new Error("a row past the batch");
          }
        }, what);
        if ("code" in found || damaged.length < bytes.length)
          expect([what, found]).toEqual([what, { code: "Corrupt" }]);
      };
      everyDamage(bytes, visit);
    }
  }
});

test("a check of the whole finds every bit that is flipped", async () => {
  const stored = columns.map((source) => encodeColumn(source).bytes);
  const check = (bytes: Uint8Array) =>
    checkScalarIndex(bytes, 300, async (field) => {
      if (stored[field] === undefined) throw Object.assign(new Error("no such column"), { code: "Corrupt" });
      return stored[field];
    }).then(
      () => "sound",
      (error: { code?: string }) => error.code,
    );
  expect(await check(sealed.bytes)).toBe("sound");
  const { bytes } = sealed;
  // Zeros between the parts and in reserved places mean nothing: the address covers them.
  const head = decodeScalarIndexHead(bytes, bytes.length);
  const used = new Set<number>([...Array(40).keys()]);
  const tables = 48 + 64 * head.trees.size;
  for (let at = 48; at < tables; at++) if ((at - 48) % 64 < 6 || (at - 48) % 64 >= 8) used.add(at);
  const keysEnd =
    tables +
    48 * new DataView(bytes.buffer).getUint32(16, true) +
    new DataView(bytes.buffer).getUint32(20, true);
  for (let at = tables; at < keysEnd; at++) used.add(at);
  for (const tree of head.trees.values()) {
    const at = 48 + 64 * tree.field;
    if (tree.presence === undefined) for (let i = 24; i < 64; i++) used.delete(at + i);
    for (const span of [...(tree.presence ? [tree.presence] : []), ...tree.pages])
      for (let i = 0; i < span.bytes; i++) used.add(span.offset + i);
  }
  for (const at of used) {
    const damaged = bytes.slice();
    damaged[at] = (damaged[at] as number) ^ (1 << (at & 7));
    const found = await check(damaged);
    expect([at, found === "Corrupt" || found === "UnsupportedVersion"]).toEqual([at, true]);
  }
});

test("an index that is well-formed but wrong does not pass the check", async () => {
  const values = Array.from({ length: 40 }, (_, i) => BigInt(i % 5));
  const right = column(ValueType.i64, values);
  const stored = encodeColumn(right).bytes;
  const wrong: (bigint | undefined)[][] = [
    values.with(3, 7n),
    [...values].reverse(),
    (values as (bigint | undefined)[]).with(0, undefined),
  ];
  for (const other of wrong) {
    const { bytes } = build([column(ValueType.i64, other)]);
    await expect(checkScalarIndex(bytes, 40, async () => stored)).rejects.toThrow(coded("Corrupt"));
  }
  const absent = encodeColumn(column(ValueType.i64, wrong[2] as bigint[])).bytes;
  await expect(checkScalarIndex(build([right]).bytes, 40, async () => absent)).rejects.toThrow(
    coded("Corrupt"),
  );
  const { bytes } = build([right]);
  await expect(checkScalarIndex(bytes, 41, async () => stored)).rejects.toThrow(coded("Corrupt"));
  const times = encodeColumn(column(ValueType.timestamp, values)).bytes;
  await expect(checkScalarIndex(bytes, 40, async () => times)).rejects.toThrow(coded("Corrupt"));
});
