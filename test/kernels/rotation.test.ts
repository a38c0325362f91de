import { beforeAll, describe, expect, test } from "@jest/globals";
import type { DreamDBError } from "../../src/errors.ts";
import { paddedDim, Rotation, rotationKind } from "../../src/kernels/rotation.ts";
import { bitsOf, bothBuilds, FILLS, filled, seeded } from "./reference.ts";
import type { Kernels } from "./subject.ts";
import { rotationOf } from "./training-reference.ts";

let builds: Kernels[];

beforeAll(async () => {
  builds = await bothBuilds();
});

const DIMS = [1, 2, 3, 15, 16, 17, 33, 100, 128, 129, 200, 256, 300, 512, 777];
const SEED = Uint8Array.from({ length: 32 }, (_, i) => 5 * i + 1);
const drawn = (kernels: Kernels, dim: number, seed = SEED): Rotation =>
  new Rotation(kernels, { kind: rotationKind(dim), dim, padded: paddedDim(dim), seed });

/** n rows through the kernel, as one list. */
function rotated(kernels: Kernels, rotation: Rotation, rows: Float32Array): Float32Array {
  const n = rows.length / rotation.dim;
  const at = kernels.copyIn(rows);
  const out = kernels.alloc(n * rotation.padded * 4 + 64);
  kernels.f32(out, n * rotation.padded + 16).fill(7);
  rotation.rotate(at, n, out);
  const found = kernels.f32(out, n * rotation.padded + 16).slice();
  kernels.free(at);
  kernels.free(out);
  expect(found.slice(-16)).toEqual(new Float32Array(16).fill(7));
  return found.subarray(0, n * rotation.padded);
}

describe.each(Object.entries(FILLS))("%s vectors", (_, fill) => {
  test.each(DIMS)("%d dimensions: both builds give the reference's bits", (dim) => {
    const random = seeded(dim);
    const reference = rotationOf(dim, SEED);
    const rotations = builds.map((kernels) => drawn(kernels, dim));
    for (const n of [1, 2, 5, dim > 200 ? 3 : 67]) {
      const rows = filled(n * dim, fill, random);
      const wanted = Array.from({ length: n }, (_, v) => [
        ...reference(rows.subarray(v * dim, (v + 1) * dim)),
      ]);
      builds.forEach((kernels, i) => {
        expect(bitsOf(rotated(kernels, rotations[i] as Rotation, rows))).toEqual(bitsOf(wanted.flat()));
      });
    }
    for (const rotation of rotations) rotation.free();
  });
});

test.each([1024, 4096, 5000])("%d dimensions: both builds give the reference's bits", (dim) => {
  const rows = filled(2 * dim, FILLS.ordinary as () => number, seeded(dim));
  const reference = rotationOf(dim, SEED);
  const wanted = [0, 1].flatMap((v) => [...reference(rows.subarray(v * dim, (v + 1) * dim))]);
  for (const kernels of builds) {
    const rotation = drawn(kernels, dim);
    expect(bitsOf(rotated(kernels, rotation, rows))).toEqual(bitsOf(wanted));
    rotation.free();
  }
});

test.each(DIMS)("%d dimensions: lengths and inner products stay, and coordinates spread", (dim) => {
  const kernels = builds[1] as Kernels;
  const rotation = drawn(kernels, dim);
  const random = seeded(9);
  const [x, y] = [0, 1].map(() => Array.from({ length: dim }, () => random() - 0.5)) as [number[], number[]];
  const axis = Array.from({ length: dim }, (_, j) => (j === 0 ? 1 : 0));
  const found = rotated(kernels, rotation, Float32Array.from([...x, ...y, ...axis]));
  const D = rotation.padded;
  const [rx, ry, ra] = [0, 1, 2].map((v) => found.subarray(v * D, (v + 1) * D)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const product = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
    Array.from(a).reduce((sum, value, i) => sum + value * (b[i] as number), 0);
  expect(product(rx, rx)).toBeCloseTo(product(x, x), 4);
  expect(product(rx, ry)).toBeCloseTo(product(x, y), 4);
  // A Gaussian's greatest of D entries; a transform that left the axis alone would give 1.
  expect(Math.max(...ra.map(Math.abs))).toBeLessThan(Math.sqrt((2.5 * Math.log(2 * D)) / D) * 1.5);
  rotation.free();
});

test("another seed is another rotation", () => {
  const kernels = builds[0] as Kernels;
  for (const dim of [100, 200]) {
    const row = filled(dim, FILLS.ordinary as () => number, seeded(1));
    const [one, two] = [SEED, new Uint8Array(32)].map((seed) => {
      const rotation = drawn(kernels, dim, seed);
      const found = rotated(kernels, rotation, row);
      rotation.free();
      return found;
    });
    expect(one).not.toEqual(two);
  }
});

test("padded dimensions", () => {
  expect([1, 16, 17, 100, 128, 129, 192, 193, 768].map(paddedDim)).toEqual([
    16, 16, 32, 112, 128, 192, 192, 256, 768,
  ]);
});

test("misuse is told, and nothing stays allocated", () => {
  const kernels = builds[0] as Kernels;
  const before = kernels.live();
  const good = { kind: "dense", dim: 100, padded: 112, seed: SEED } as const;
  for (const [change, field] of [
    [{ dim: 0 }, "dim"],
    [{ dim: 1.5 }, "dim"],
    [{ dim: 65_537 }, "dim"],
    [{ kind: "hadamard" }, "kind"],
    [{ padded: 128 }, "padded"],
    [{ seed: new Uint8Array(31) }, "seed"],
  ] as const) {
    expect(() => new Rotation(kernels, { ...good, ...change })).toThrow(
      expect.objectContaining({ code: "InvalidArgument", field }) as unknown as DreamDBError,
    );
  }
  const rotation = new Rotation(kernels, good);
  rotation.free();
  rotation.free();
  expect(() => rotation.rotate(0, 1, 0)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
  expect(kernels.live()).toEqual(before);
});
