import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { coalesce } from "../../src/dataset/coalesce.ts";

const hash = new Uint8Array(32);
const spansOf = (lists: number[][][]) =>
  lists.map((list) =>
    list.map(([offset, bytes]) => ({ offset: offset as number, bytes: bytes as number, hash })),
  );

test("near ranges join, and beyond the limit the narrowest gaps of any object close", () => {
  const lists = spansOf([
    [
      [0, 10],
      [15, 10],
      [1000, 10],
      [5000, 10],
    ],
    [
      [0, 10],
      [300, 10],
    ],
  ]);
  const plan = (ranges: number) =>
    coalesce(lists, { gapBytes: 5, ranges }).map(({ list, offset, length }) => [list, offset, length]);
  expect(plan(9)).toEqual([
    [0, 0, 25],
    [0, 1000, 10],
    [0, 5000, 10],
    [1, 0, 10],
    [1, 300, 10],
  ]);
  expect(plan(3)).toEqual([
    [0, 0, 1010],
    [0, 5000, 10],
    [1, 0, 310],
  ]);
  expect(plan(1)).toEqual([
    [0, 0, 5010],
    [1, 0, 310],
  ]);
});

test("every span lies in the read that names it, once", () => {
  const span = fc.tuple(fc.nat(20_000_000), fc.integer({ min: 1, max: 70_000 }));
  fc.assert(
    fc.property(
      fc.array(fc.array(span, { maxLength: 40 }), { maxLength: 5 }),
      fc.nat(1 << 18),
      fc.integer({ min: 1, max: 30 }),
      (lists, gapBytes, ranges) => {
        const spans = spansOf(lists);
        const seen = new Set<string>();
        for (const { list, offset, length, members } of coalesce(spans, { gapBytes, ranges })) {
          expect(length).toBeLessThanOrEqual(4 << 20);
          for (const i of members) {
            const { offset: at, bytes } = (spans[list] as { offset: number; bytes: number }[])[i] as {
              offset: number;
              bytes: number;
            };
            expect(at >= offset && at + bytes <= offset + length).toBe(true);
            expect(seen.has(`${list}/${i}`)).toBe(false);
            seen.add(`${list}/${i}`);
          }
        }
        expect(seen.size).toBe(spans.flat().length);
      },
    ),
  );
});
