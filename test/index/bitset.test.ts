// Sets of rows against JavaScript's own.
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  addAll,
  addRange,
  addRow,
  addShifted,
  allRows,
  type Bits,
  complement,
  countRows,
  hasRow,
  isNoRow,
  keepCommon,
  nextGap,
  nextRow,
  noRows,
} from "../../src/index/bitset.ts";

const size = fc.constantFrom(1, 31, 32, 33, 64, 65, 100, 257);
const rowsUpTo = (rows: number) =>
  fc.array(fc.nat(rows - 1), { maxLength: rows }).map((list) => new Set(list));
const some = size.chain((rows) =>
  fc.tuple(fc.constant(rows), fc.oneof(rowsUpTo(rows), fc.constant(new Set(Array(rows).keys())))),
);

function bitsOf(rows: number, set: Iterable<number>): Bits {
  const bits = noRows(rows);
  for (const row of set) addRow(bits, row);
  return bits;
}

function setOf(bits: Bits): number[] {
  return Array.from({ length: bits.length * 32 }, (_, row) => row).filter((row) => hasRow(bits, row));
}

const sorted = (set: Iterable<number>) => [...set].sort((a, b) => a - b);

test("rows, counts, and what comes next", () => {
  fc.assert(
    fc.property(some, fc.nat(300), fc.nat(300), ([rows, set], from, to) => {
      const bits = bitsOf(rows, set);
      expect(setOf(bits)).toEqual(sorted(set));
      expect(countRows(bits)).toBe(set.size);
      expect(isNoRow(bits)).toBe(set.size === 0);
      const [start, end] = [Math.min(from, rows), Math.min(to, rows)].sort((a, b) => a - b) as [
        number,
        number,
      ];
      const first = (holds: (row: number) => boolean) => {
        for (let row = start; row < end; row++) if (holds(row)) return row;
        return end;
      };
      expect(nextRow(bits, start, end)).toBe(first((row) => set.has(row)));
      expect(nextGap(bits, start, end)).toBe(first((row) => !set.has(row)));
    }),
    { numRuns: 500 },
  );
});

test("unions, intersections, complements and ranges leave bits past the end at zero", () => {
  fc.assert(
    fc.property(
      size.chain((rows) =>
        fc.tuple(fc.constant(rows), rowsUpTo(rows), rowsUpTo(rows), fc.nat(rows), fc.nat(rows)),
      ),
      ([rows, a, b, x, y]) => {
        const union = bitsOf(rows, a);
        addAll(union, bitsOf(rows, b));
        expect(setOf(union)).toEqual(sorted(new Set([...a, ...b])));
        const common = bitsOf(rows, a);
        keepCommon(common, bitsOf(rows, b));
        expect(setOf(common)).toEqual(sorted([...a].filter((row) => b.has(row))));
        const others = bitsOf(rows, a);
        complement(others, rows);
        expect(setOf(others)).toEqual([...Array(rows).keys()].filter((row) => !a.has(row)));
        const range = bitsOf(rows, a);
        const [from, to] = [x, y].sort((p, q) => p - q) as [number, number];
        addRange(range, from, to);
        expect(setOf(range)).toEqual(
          [...Array(rows).keys()].filter((row) => a.has(row) || (row >= from && row < to)),
        );
        expect(countRows(allRows(rows))).toBe(rows);
      },
    ),
    { numRuns: 500 },
  );
});

test("sets that follow one another", () => {
  fc.assert(
    fc.property(fc.array(some, { minLength: 1, maxLength: 6 }), (parts) => {
      const total = parts.reduce((sum, [rows]) => sum + rows, 0);
      const bits = noRows(total);
      const expected: number[] = [];
      let first = 0;
      for (const [rows, set] of parts) {
        addShifted(bits, bitsOf(rows, set), first);
        expected.push(...sorted(set).map((row) => row + first));
        first += rows;
      }
      expect(setOf(bits)).toEqual(expected);
    }),
    { numRuns: 300 },
  );
});
