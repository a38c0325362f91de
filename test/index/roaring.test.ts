// Serialised bitmaps: the same bytes as CRoaring makes, and nothing but typed errors for damaged ones.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { countRows, hasRow, noRows } from "../../src/index/bitset.ts";
import { addRoaring, encodeRoaring } from "../../src/index/roaring.ts";
import { everyDamage, everyHugeNumber, outcome } from "../objects/damage.ts";

/**
 * Made with roaring-wasm 1.1.0 (CRoaring), `serialize("portable")` before and after `runOptimize()`. "format spec" is
 * the set of the two files that RoaringFormatSpec asks every implementation to read, which are as long.
 * `runs` are [first, step, count].
 */
const coded = expect.objectContaining({ name: "DreamDBError", code: "Corrupt" }) as unknown as Error;

type Stored = { hex: string } | { bytes: number; sha256: string };
const fixtures: Record<string, { runs: [number, number, number][]; withoutRuns: Stored; withRuns: Stored }> =
  JSON.parse(readFileSync("test/fixtures/roaring.json", "utf8"));

function valuesOf(runs: [number, number, number][]): Uint32Array {
  return Uint32Array.from(
    runs.flatMap(([first, step, count]) => Array.from({ length: count }, (_, i) => first + step * i)),
  );
}

function describeBytes(bytes: Uint8Array): Stored {
  return bytes.length <= 600
    ? { hex: Buffer.from(bytes).toString("hex") }
    : { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

function decode(bytes: Uint8Array, rows: number): number[] {
  const bits = noRows(rows);
  const count = addRoaring(bytes, rows, bits);
  const found: number[] = [];
  for (let row = 0; row < rows; row++) if (hasRow(bits, row)) found.push(row);
  expect(count).toBe(found.length);
  return found;
}

describe.each(Object.keys(fixtures))("the set %s", (name) => {
  const { runs, withRuns } = fixtures[name]!;
  const values = valuesOf(runs);
  const last = values.at(-1)!;

  test("has CRoaring's bytes", () => {
    expect(describeBytes(encodeRoaring(values))).toEqual(withRuns);
  });

  test("does not fit into fewer rows", () => {
    expect(() => addRoaring(encodeRoaring(values), last, noRows(Math.min(last, 1 << 24)))).toThrow(coded);
  });
});

// One of them has the number 2^32 − 1: its bits would take half a GiB.
const small = Object.entries(fixtures).filter(([name]) => name !== "last number");

test.each(small)("the set %s is read back, with runs and without", (_, { runs, withoutRuns }) => {
  const values = valuesOf(runs);
  const rows = (values.at(-1) as number) + 1;
  expect(decode(encodeRoaring(values), rows)).toEqual([...values]);
  if ("hex" in withoutRuns)
    expect(decode(Uint8Array.from(Buffer.from(withoutRuns.hex, "hex")), rows)).toEqual([...values]);
});

test("any set is read back, and takes no more than an array or a bitset would", () => {
  const run = fc.record({
    first: fc.nat(200_000),
    step: fc.constantFrom(1, 1, 2, 3, 50),
    count: fc.oneof(fc.nat(50), fc.constantFrom(4095, 4096, 4097, 70_000)),
  });
  fc.assert(
    fc.property(fc.array(run, { minLength: 1, maxLength: 5 }), (runs) => {
      const all = runs.flatMap(({ first, step, count }) =>
        Array.from({ length: count + 1 }, (_, i) => first + step * i),
      );
      const values = Uint32Array.from(new Set(all)).sort();
      const bytes = encodeRoaring(values);
      const rows = (values.at(-1) as number) + 1;
      expect(decode(bytes, rows)).toEqual([...values]);
      const keys = new Set(values.map((value) => value >>> 16)).size;
      expect(bytes.length).toBeLessThanOrEqual(8 + keys * (8 + 8192));
      expect(bytes.length).toBeLessThanOrEqual(8 + keys * 8 + 2 * values.length);
    }),
    { numRuns: 60 },
  );
});

const examples: Record<string, Uint32Array> = {
  array: Uint32Array.of(1, 5, 100),
  "runs and an array": Uint32Array.from([...Array(40).keys(), 65_536, 65_540, 65_999]),
  "four containers with a run": Uint32Array.from([...Array(9).keys(), 65_536, 131_072, 196_608]),
  "four containers without": Uint32Array.of(3, 65_537, 131_072, 196_608),
};

describe.each(Object.keys(examples))("a bitmap of %s", (name) => {
  const bytes = encodeRoaring(examples[name] as Uint32Array);
  const rows = 200_000;

  test("damaged in any bit, or cut, is refused or a set of rows below the limit", () => {
    const visit = (damaged: Uint8Array, what: string): void => {
      const bits = noRows(rows);
      const found = outcome(() => addRoaring(damaged, rows, bits), what);
      if ("code" in found) expect([what, found]).toEqual([what, { code: "Corrupt" }]);
      else expect(countRows(bits)).toBe(found.value);
      if (damaged.length < bytes.length) expect([what, found]).toEqual([what, { code: "Corrupt" }]);
    };
    everyDamage(bytes, visit);
    everyHugeNumber(bytes, bytes.length, visit);
  });
});

test("a bitset that counts wrong, or goes past the rows, is refused", () => {
  const values = Uint32Array.from({ length: 5000 }, (_, i) => 3 * i);
  const bytes = encodeRoaring(values);
  expect(bytes.length).toBe(16 + 8192);
  for (const at of [16, 16 + 1874]) {
    const damaged = bytes.slice();
    damaged[at] = (damaged[at] as number) ^ 2;
    expect(() => addRoaring(damaged, 15_000, noRows(15_000))).toThrow(coded);
  }
  expect(() => addRoaring(bytes, 14_997, noRows(14_997))).toThrow(coded);
  expect(addRoaring(bytes, 14_998, noRows(14_998))).toBe(5000);
});
