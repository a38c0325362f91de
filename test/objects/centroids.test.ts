import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { decodeCentroids, encodeCentroids } from "../../src/objects/centroids.ts";
import { everyDamage, everyHugeNumber, outcome } from "./damage.ts";

const coded = (code: string): object => expect.objectContaining({ name: "DreamDBError", code });
const bits = (values: Float32Array): Uint32Array => new Uint32Array(values.slice().buffer);

test("round trips, wherever the bytes lie", () => {
  const shape = fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 40 }));
  const table = shape.chain(([cells, dim]) =>
    fc
      .float32Array({ minLength: cells * dim, maxLength: cells * dim, noNaN: true, noDefaultInfinity: true })
      .map((values) => ({ cells, dim, values })),
  );
  fc.assert(
    fc.property(table, fc.nat(7), ({ cells, dim, values }, shift) => {
      const bytes = encodeCentroids(values, cells, dim);
      expect(bytes.length).toBe(64 + 4 * cells * dim);
      const moved = new Uint8Array(bytes.length + 8);
      moved.set(bytes, shift);
      const decoded = decodeCentroids(moved.subarray(shift, shift + bytes.length), cells, dim);
      expect(bits(decoded)).toEqual(bits(values));
    }),
  );
});

describe("a table of 2 × 3", () => {
  const bytes = encodeCentroids(Float32Array.of(1, -0, 2.5, 1e-45, -3e38, 7), 2, 3);

  test("damaged in any bit of its head, or cut, is refused", () => {
    const codes = new Set<string>();
    const visit = (damaged: Uint8Array, what: string): void => {
      const found = outcome(() => decodeCentroids(damaged, 2, 3), what);
      if ("code" in found) codes.add(found.code);
      const isWhole = damaged.length === bytes.length;
      const sameHead = isWhole && Buffer.compare(damaged.subarray(0, 64), bytes.subarray(0, 64)) === 0;
      if (!sameHead) expect([what, "code" in found]).toEqual([what, true]);
      if ("value" in found) expect(found.value.every(Number.isFinite)).toBe(true);
    };
    everyDamage(bytes, visit);
    everyHugeNumber(bytes, bytes.length, visit);
    expect([...codes].sort()).toEqual(["Corrupt", "UnsupportedVersion"]);
  });

  test("of another shape is refused", () => {
    for (const [cells, dim] of [
      [3, 2],
      [2, 4],
      [1, 3],
      [6, 1],
    ] as const)
      expect(() => decodeCentroids(bytes, cells, dim)).toThrow(coded("Corrupt"));
    expect(() => decodeCentroids(Uint8Array.of(...bytes, 0), 2, 3)).toThrow(coded("Corrupt"));
  });
});

test("what can't be written is refused before it is", () => {
  const wrong: [Float32Array, number, number, string][] = [
    [new Float32Array(5), 2, 3, "InvalidArgument"],
    [new Float32Array(0), 0, 3, "InvalidArgument"],
    [new Float32Array(0), 3, 0, "InvalidArgument"],
    [Float32Array.of(1, Number.NaN), 1, 2, "InvalidArgument"],
    [Float32Array.of(1, Number.POSITIVE_INFINITY), 2, 1, "InvalidArgument"],
    [new Float32Array(401 * 65_536), 401, 65_536, "LimitExceeded"],
  ];
  for (const [values, cells, dim, code] of wrong)
    expect(() => encodeCentroids(values, cells, dim)).toThrow(coded(code));
});
