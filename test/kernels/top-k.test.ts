import { beforeAll, expect, test } from "@jest/globals";
import fc from "fast-check";
import { bestOf, bitsOf, bothBuilds, seeded } from "./reference.ts";
import type { Kernels } from "./subject.ts";

let builds: Kernels[];

beforeAll(async () => {
  builds = await bothBuilds();
});

const SPECIAL = [0, -0, 1, -1, Infinity, -Infinity, Number.NaN, 3e38, -3e38, 1e-45, -1e-45, 0.5];
const score = fc.oneof(fc.constantFrom(...SPECIAL), fc.float({ noNaN: false }));

/** −0 and +0 are equal scores, given back as +0. */
const bits = (scores: ArrayLike<number>): number[] => [...bitsOf(Array.from(scores, (value) => value + 0))];

test("keeps the best k of any scores, in any order of offers", () => {
  fc.assert(
    fc.property(
      fc.array(score, { maxLength: 200 }),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 70 }),
      fc.boolean(),
      fc.integer(),
      (scores, k, step, backwards, seed) => {
        const wanted = bestOf(Float32Array.from(scores), k);
        const random = seeded(seed);
        const shuffled = scores.map((_, i) => ({ i, key: random() })).sort((a, b) => a.key - b.key);
        for (const kernels of builds) {
          const topK = kernels.topK(k);
          const at = kernels.copyIn(Float32Array.from(scores));
          const starts = Array.from({ length: Math.ceil(scores.length / step) }, (_, i) => i * step);
          for (const from of backwards ? starts.reverse() : starts)
            topK.push(at + 4 * from, Math.min(step, scores.length - from), from);
          const pieces = topK.drain();
          expect({ scores: bits(pieces.scores), ids: [...pieces.ids] }).toEqual({
            scores: bits(wanted.scores),
            ids: wanted.ids,
          });

          kernels.f32(at, scores.length).set(shuffled.map(({ i }) => scores[i] as number));
          const ids = kernels.copyIn(Uint32Array.from(shuffled, ({ i }) => i));
          topK.push(at, scores.length, 0, ids);
          const mixed = topK.drain();
          expect({ scores: bits(mixed.scores), ids: [...mixed.ids] }).toEqual({
            scores: bits(wanted.scores),
            ids: wanted.ids,
          });
          topK.free();
          kernels.free(at);
          kernels.free(ids);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test("large k, many ties, ids up to 2^32 − 1", () => {
  const n = 200_000;
  const random = seeded(6);
  const scores = Float32Array.from({ length: n }, () => Math.floor(random() * 1000) / 1000);
  const firstId = 2 ** 32 - n;
  for (const k of [1, 1000, 150_000, 300_000]) {
    const wanted = bestOf(scores, k);
    for (const kernels of builds) {
      const topK = kernels.topK(k);
      const at = kernels.copyIn(scores);
      topK.push(at, n, firstId);
      const found = topK.drain();
      expect(found.ids).toEqual(Uint32Array.from(wanted.ids, (id) => id + firstId));
      expect(found.scores).toEqual(Float32Array.from(wanted.scores));
      expect(topK.drain().ids.length).toBe(0);
      topK.free();
      kernels.free(at);
    }
  }
});

test("reset forgets; a freed one is refused, k is checked", () => {
  const kernels = builds[1] as Kernels;
  const topK = kernels.topK(3);
  const at = kernels.copyIn(Float32Array.of(1, 2, 3, 4));
  topK.push(at, 4, 0);
  topK.reset();
  topK.push(at, 1, 9);
  expect([...topK.drain().ids]).toEqual([9]);
  topK.free();
  topK.free();
  expect(() => topK.drain()).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
  for (const k of [0, -1, 1.5, 2 ** 24 + 1, Number.NaN]) {
    expect(() => kernels.topK(k)).toThrow(expect.objectContaining({ code: "InvalidArgument", field: "k" }));
  }
  kernels.free(at);
});
