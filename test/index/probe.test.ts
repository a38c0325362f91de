import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { firstProbes, probeCells, probeTables } from "../../src/index/probe.ts";

/** Every cell, sorted as FORMAT says; a margin beyond f32 costs +∞. */
function bruteForce(margins: Float32Array): number[] {
  const home = margins.reduce((cell, margin, j) => (margin >= 0 ? cell + 2 ** j : cell), 0);
  const costs = Array.from({ length: 2 ** margins.length }, (_, mask) => {
    let sum = 0;
    for (let j = 0; j < margins.length; j++) {
      const cost = (margins[j] as number) ** 2;
      if ((mask >> j) & 1) sum += Number.isNaN(cost) ? Infinity : cost;
    }
    return sum;
  });
  const masks = costs.map((_, mask) => mask);
  masks.sort((a, b) => (costs[a] === costs[b] ? a - b : (costs[a] as number) - (costs[b] as number)));
  return masks.map((mask) => (home ^ mask) >>> 0);
}

const ordinary = fc.float({ min: -1, max: 1, noNaN: true });
const kinds = {
  ordinary,
  "equal and zero": fc.constantFrom(0, -0, 0.5, -0.5, 0.25, 1),
  "of all sizes": fc.float({ noNaN: false }),
  // Sums of these round differently by the order of their terms, so that sets come out a rounding apart.
  "few and repeated": fc
    .constantFrom(0.0049378807, 0.00015255784, -0.0015797942, 0.31830987, -0.01234567)
    .map(Math.fround),
};

test.each(Object.entries(kinds))("margins %s: all cells in the order of brute force", (_, margin) => {
  fc.assert(
    fc.property(fc.array(margin, { minLength: 1, maxLength: 10 }), (values) => {
      const margins = Float32Array.from(values);
      expect([...probeCells(margins)]).toEqual(bruteForce(margins));
    }),
    { numRuns: 300 },
  );
});

test.each(Object.entries(kinds))(
  "margins %s: cells of several tables by cost, then table, then mask",
  (_, margin) => {
    const tables = fc
      .integer({ min: 1, max: 5 })
      .chain((bits) =>
        fc.array(fc.array(margin, { minLength: bits, maxLength: bits }), { minLength: 1, maxLength: 5 }),
      );
    fc.assert(
      fc.property(tables, (values) => {
        const margins = values.map((each) => Float32Array.from(each));
        const all = margins.flatMap((each, table) => {
          const home = bruteForce(each)[0] as number;
          return bruteForce(each).map((pattern) => {
            let cost = 0;
            each.forEach((m, j) => {
              if (((home ^ pattern) >> j) & 1) cost += m * m >= 0 ? m * m : Infinity;
            });
            return { cost, table, cell: table * 2 ** each.length + pattern };
          });
        });
        // Stable: those of one table keep their order.
        all.sort((a, b) => (a.cost === b.cost ? a.table - b.table : a.cost - b.cost));
        expect([...probeTables(margins)]).toEqual(all.map(({ cell }) => cell));
      }),
      { numRuns: 200 },
    );
  },
);

test("a set that costs a rounding less than the one it was made from still comes in its place", () => {
  const [a, b, c] = [0.004937880672514439, 0.00015255784092005342, 0.0015797942178323865];
  const margins = Float32Array.of(a, a, b, a, b, a, c, b);
  expect([...probeCells(margins)]).toEqual(bruteForce(margins));
});

test("the first probes of 24 bits come without enumerating 2^24 sets", () => {
  const margins = Float32Array.from({ length: 24 }, (_, j) => Math.sin(j * 7 + 1));
  const cells = firstProbes(margins, 2000);
  const costs = Array.from(cells, (cell) => {
    let sum = 0;
    for (let j = 0; j < 24; j++)
      if ((((cells[0] as number) ^ cell) >> j) & 1) sum += (margins[j] as number) ** 2;
    return sum;
  });
  expect(new Set(cells).size).toBe(2000);
  expect(costs).toEqual([...costs].sort((a, b) => a - b));
  expect([...firstProbes(new Float32Array(24), 5)].map((cell) => cell ^ 0xffffff)).toEqual([0, 1, 2, 3, 4]);
  expect(
    firstProbes(
      margins.map(() => Infinity),
      100,
    ).length,
  ).toBe(100);
  expect(firstProbes(Float32Array.of(1, 1), 100).length).toBe(4);
  expect(firstProbes(margins, 0).length).toBe(0);
});
