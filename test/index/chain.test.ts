import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { inChainOrder, MAX_CHAIN } from "../../src/index/chain.ts";

/** By the words of the specification. */
function reference(rows: number[][]): number[][] {
  const left = [...rows];
  const chain = left.splice(0, 1);
  while (left.length > 0) {
    const from = chain.at(-1) as number[];
    const squares = left.map((row) => row.reduce((sum, x, j) => sum + ((from[j] as number) - x) ** 2, 0));
    const least = squares.indexOf(Math.min(...squares));
    chain.push(...left.splice(least, 1));
  }
  return chain;
}

const matrix = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 })).chain(([k, dim]) =>
  fc.array(
    fc.array(
      fc.integer({ min: -3, max: 3 }).map((x) => x / 4),
      { minLength: dim, maxLength: dim },
    ),
    {
      minLength: k,
      maxLength: k,
    },
  ),
);

test("each row is followed by the nearest of those left, of equals by the first", () => {
  fc.assert(
    fc.property(matrix, (rows) => {
      const dim = (rows[0] as number[]).length;
      const found = inChainOrder(Float32Array.from(rows.flat()), dim);
      expect(Array.from(found)).toEqual(reference(rows).flat());
    }),
  );
});

test("rows that are far beyond the others, and sums beyond f64, keep every row", () => {
  const values = Float32Array.from([3e38, -3e38, 0, 1e-45, -0, 3e38]);
  expect(Array.from(inChainOrder(values, 1)).sort()).toEqual(Array.from(values).sort());
});

test("more rows than can be compared stay as they are", () => {
  const values = Float32Array.from({ length: MAX_CHAIN + 1 }, (_, i) => (i * 7919) % 1000);
  expect(inChainOrder(values, 1)).toEqual(values);
});
