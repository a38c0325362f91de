/** The filter before cells are scored must change no cell: the SIMD build has it, the scalar build has not. */
import { beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { CellAssigner } from "../../src/kernels/cell-assigner.ts";
import { bothBuilds, FILLS, filled, seeded } from "./reference.ts";
import { type Kernels, loadKernels } from "./subject.ts";
import { cellOfVector } from "./training-reference.ts";

let scalar: Kernels;
let simd: Kernels;

beforeAll(async () => {
  [scalar, simd] = (await bothBuilds()) as [Kernels, Kernels];
});

type Random = () => number;

function cellsBy(kernels: Kernels, centroids: Float32Array, dim: number, y: Float32Array): Uint32Array {
  const n = y.length / dim;
  const assigner = new CellAssigner(kernels, centroids, dim);
  const [rows, cells] = [kernels.copyIn(y), kernels.alloc(n * 4)];
  try {
    assigner.assign(rows, n, cells);
    return kernels.u32(cells, n).slice();
  } finally {
    for (const pointer of [rows, cells]) kernels.free(pointer);
    assigner.free();
  }
}

/** Filters at any k and dim, also where an assigner would not. */
function filteredCells(centroids: Float32Array, dim: number, y: Float32Array): Uint32Array {
  const { exports } = simd;
  const k = centroids.length / dim;
  const n = y.length / dim;
  const rows = simd.copyIn(centroids);
  const packed = simd.alloc(Math.ceil(k / 16) * (dim + 1) * 64);
  const filter = simd.alloc(exports.cellFilterBytes(k, dim));
  const [at, cells] = [simd.copyIn(y), simd.alloc(n * 4)];
  exports.packCells(rows, k, dim, packed);
  exports.packCellFilter(packed, k, dim, filter);
  exports.assignFiltered(at, n, dim, packed, filter, k, cells);
  const found = simd.u32(cells, n).slice();
  for (const pointer of [rows, packed, filter, at, cells]) simd.free(pointer);
  return found;
}

function expectSame(centroids: Float32Array, dim: number, y: Float32Array): void {
  const wanted = cellsBy(scalar, centroids, dim, y);
  expect(filteredCells(centroids, dim, y)).toEqual(wanted);
  expect(cellsBy(simd, centroids, dim, y)).toEqual(wanted);
}

/** The f32 `steps` away from x, x not 0 and far from the ends of f32. */
function stepped(x: number, steps: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, x);
  view.setInt32(0, view.getInt32(0) + steps);
  return view.getFloat32(0);
}

const normal = (random: Random): number => {
  let sum = -6;
  for (let i = 0; i < 12; i++) sum += random();
  return sum;
};

const SHAPES = [
  [1, 1],
  [1, 70],
  [2, 17],
  [3, 64],
  [7, 130],
  [8, 128],
  [13, 257],
  [33, 100],
  [100, 300],
  [300, 65],
] as const;

describe.each(Object.entries({ ...FILLS, normal }))("%s vectors", (_, fill) => {
  test.each(SHAPES)("dim %d, k %d", (dim, k) => {
    const random = seeded(dim + k);
    const centroids = filled(k * dim, fill, random);
    for (const n of [1, 2, 63, 64, 65, 200]) expectSame(centroids, dim, filled(n * dim, fill, random));
  });
});

test("cells are those of the plain reference", () => {
  const random = seeded(3);
  const [dim, k, n] = [24, 150, 100];
  const centroids = filled(k * dim, normal, random);
  const y = filled(n * dim, normal, random);
  const rows = (values: Float32Array, count: number): Float32Array[] =>
    Array.from({ length: count }, (_, i) => values.subarray(i * dim, (i + 1) * dim));
  const wanted = rows(y, n).map((row) => cellOfVector(row, rows(centroids, k)));
  expect([...filteredCells(centroids, dim, y)]).toEqual(wanted);
});

test.each([
  [4, 64],
  [10, 200],
  [100, 256],
  [257, 128],
])("rows between two centroids, to a last place: dim %d, k %d", (dim, k) => {
  const random = seeded(dim);
  const centroids = filled(k * dim, normal, random);
  const n = 600;
  const y = new Float32Array(n * dim);
  for (let v = 0; v < n; v++) {
    const [a, b] = [Math.floor(random() * k), Math.floor(random() * k)];
    for (let j = 0; j < dim; j++) {
      y[v * dim + j] = ((centroids[a * dim + j] as number) + (centroids[b * dim + j] as number)) / 2;
    }
    const j = v * dim + Math.floor(random() * dim);
    if (y[j] !== 0) y[j] = stepped(y[j] as number, (v % 3) - 1);
  }
  expectSame(centroids, dim, y);
  // Far apart in size, so that pairs and not all centroids compete.
  for (let c = 0; c < k; c++) {
    const by = 2 ** ((c >> 1) % 12);
    for (let j = 0; j < dim; j++)
      centroids[c * dim + j] = (centroids[(c - (c % 2)) * dim + j] as number) * by + normal(random) * 1e-6;
  }
  expectSame(centroids, dim, y);
});

test("rounding that takes all it can from both sides", () => {
  // Rows t·(1, 1, …) and one centroid twice as long: both lose the same part of a step in every coordinate, all in
  // one direction, which is what the bound allows and no more. Cell 3 scores 0, nearly without error, all others less.
  for (const dim of [16, 64, 100, 256]) {
    const k = 96;
    for (let part = 0; part < 200; part++) {
      const t = Math.fround((Math.floor(2 ** 14.4 / Math.sqrt(dim)) + part / 200) / 2 ** 14);
      const centroids = new Float32Array(k * dim).fill(-(2 ** -20));
      centroids.fill(0, 3 * dim, 4 * dim);
      centroids.fill(2 * t, 37 * dim, 38 * dim);
      const y = new Float32Array(5 * dim);
      for (let v = 0; v < 5; v++) y.fill(stepped(t, 3 * (v - 2)), v * dim, (v + 1) * dim);
      expectSame(centroids, dim, y);
    }
  }
});

test("scores that only the rounding of the fold tells apart", () => {
  const random = seeded(21);
  const [dim, k, n] = [4096, 80, 100];
  // Integers that 16 bits keep whole, and rows with all coordinates equal: every order of the same values has the same
  // sum, but for what the fold rounds. One more in one place is less than that.
  const values = Array.from({ length: dim }, () => Math.floor(random() * 500) - 100);
  const centroids = new Float32Array(k * dim);
  for (let c = 0; c < 10; c++) {
    for (let i = dim - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [values[i], values[j]] = [values[j] as number, values[i] as number];
    }
    centroids.set(values, ((c * 29) % k) * dim);
    centroids[((c * 29) % k) * dim] = (values[0] as number) + (c % 3);
  }
  const y = Float32Array.from({ length: n * dim }, (_, at) => 2 ** 20 * (150 + Math.floor(at / dim)));
  expectSame(centroids, dim, y);
});

test("duplicates, in more groups than one and more than a list takes", () => {
  const random = seeded(22);
  for (const [dim, k, copies] of [
    [20, 128, 2],
    [20, 128, 16],
    [20, 128, 17],
    [31, 300, 100],
    [9, 64, 64],
  ] as const) {
    const some = filled((k / copies + 1) * dim, normal, random);
    const distinct = Math.ceil(k / copies);
    const centroids = Float32Array.from(
      { length: k * dim },
      (_, at) => some[(Math.floor(at / dim) % distinct) * dim + (at % dim)] as number,
    );
    expectSame(centroids, dim, filled(150 * dim, normal, random));
  }
});

test("rows and centroids that no filter takes, among others", () => {
  const random = seeded(23);
  const [dim, k, n] = [17, 100, 320];
  const odd = [0, -0, 1e-45, 1e-30, 1e13, 3e38, -3e38, Infinity, -Infinity, Number.NaN];
  const centroids = filled(k * dim, normal, random);
  const y = filled(n * dim, normal, random);
  for (let v = 0; v < n; v += 1 + Math.floor(random() * 6))
    for (let j = 0; j < dim; j += 1 + Math.floor(random() * 6))
      y[v * dim + j] = odd[Math.floor(random() * odd.length)] as number;
  expectSame(centroids, dim, y);
  for (const value of odd.slice(0, 7)) {
    centroids.fill(value, 40 * dim, 41 * dim);
    expectSame(centroids, dim, y);
  }
});

test("any sizes, side by side", () => {
  const cases = fc.record({
    dim: fc.integer({ min: 1, max: 40 }),
    k: fc.integer({ min: 1, max: 140 }),
    n: fc.integer({ min: 1, max: 140 }),
    seed: fc.integer(),
    spread: fc.constantFrom(0, 1e-7, 1e-4, 1e-2, 1),
    size: fc.integer({ min: -48, max: 48 }),
    sizes: fc.integer({ min: 0, max: 20 }),
  });
  fc.assert(
    fc.property(cases, ({ dim, k, n, seed, spread, size, sizes }) => {
      const random = seeded(seed);
      // Clusters of centroids `spread` apart, each vector of a size of its own; rows are near centroids.
      const centres = filled(5 * dim, normal, random);
      const near = (count: number): Float32Array => {
        const values = new Float32Array(count * dim);
        for (let v = 0; v < count; v++) {
          const centre = Math.floor(random() * 5) * dim;
          const by = 2 ** (size + Math.floor(random() * (sizes + 1)));
          for (let j = 0; j < dim; j++)
            values[v * dim + j] = ((centres[centre + j] as number) + spread * normal(random)) * by;
        }
        return values;
      };
      expectSame(near(k), dim, near(n));
    }),
    { numRuns: 150 },
  );
});

test("memory that ends leaves nothing allocated", async () => {
  const kernels = await loadKernels("simd", { maxBytes: 4 << 20 });
  const filler: number[] = [];
  for (let bytes = 4 << 20; bytes >= 1024; bytes /= 2) {
    try {
      for (;;) filler.push(kernels.alloc(bytes));
    } catch {}
  }
  // From no room at all on, one block more each time: every one of the allocations fails once.
  const centroids = new Float32Array(128 * 64);
  let refused = 0;
  for (let done = false; !done; ) {
    const held = kernels.live();
    try {
      new CellAssigner(kernels, centroids, 64).free();
      done = true;
    } catch (error) {
      expect(error).toMatchObject({ code: "OutOfMemory" });
      refused++;
    }
    expect(kernels.live()).toEqual(held);
    if (!done) kernels.free(filler.pop() as number);
  }
  expect(refused).toBeGreaterThan(2);
});
