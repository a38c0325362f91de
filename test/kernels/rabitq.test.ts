import { beforeAll, describe, expect, test } from "@jest/globals";
import { codeBytes, type Metric, paddedDim, RabitqEncoder, toIndexSpace } from "../../src/kernels/rabitq.ts";
import { Rotation, rotationKind } from "../../src/kernels/rotation.ts";
import { bitsOf, bothBuilds, FILLS, filled, invNorm, seeded } from "./reference.ts";
import { type Kernels, loadKernels } from "./subject.ts";
import { fold, type Rotate, rabitqCode, rotationOf } from "./training-reference.ts";

let builds: Kernels[];

beforeAll(async () => {
  builds = await bothBuilds();
});

const { fround } = Math;
const SEED = Uint8Array.from({ length: 32 }, (_, i) => 11 * i + 2);
const BITS = [1, 2, 3, 4, 5, 6, 7, 8];

interface Rows {
  dim: number;
  y: Float32Array;
  cells: Uint32Array;
  centroids: Float32Array;
}

/** The codes of rows, one list of bytes each. */
function encoded(kernels: Kernels, rows: Rows, bits: number, metric: Metric): number[][] {
  const { dim, y, cells, centroids } = rows;
  const padded = paddedDim(dim);
  const rotation = new Rotation(kernels, { kind: rotationKind(dim), dim, padded, seed: SEED });
  const encoder = new RabitqEncoder(kernels, { rotation, centroids, bits, metric });
  const width = codeBytes(padded, bits);
  expect(encoder.codeBytes).toBe(width);
  const [at, cellsAt] = [kernels.copyIn(y), kernels.copyIn(cells)];
  const out = kernels.alloc(cells.length * width + 16);
  kernels.bytes(out, cells.length * width + 16).fill(77);
  encoder.encode(at, cells.length, cellsAt, out);
  const found = [...kernels.bytes(out, cells.length * width + 16)];
  for (const pointer of [at, cellsAt, out]) kernels.free(pointer);
  encoder.free();
  rotation.free();
  expect(found.slice(-16)).toEqual(new Array(16).fill(77));
  return Array.from(cells, (_, i) => found.slice(i * width, (i + 1) * width));
}

/** Drawing a rotation takes the reference a while: one a dimension. */
const rotations = new Map<number, Rotate>();
function referenceRotation(dim: number): Rotate {
  const known = rotations.get(dim) ?? rotationOf(dim, SEED);
  rotations.set(dim, known);
  return known;
}

function wantedCodes(rows: Rows, bits: number, metric: Metric): number[][] {
  const { dim, y, cells, centroids } = rows;
  const rotate = referenceRotation(dim);
  const rotatedCells = Array.from({ length: centroids.length / dim }, (_, c) =>
    rotate(centroids.subarray(c * dim, (c + 1) * dim)),
  );
  return Array.from(cells, (cell, i) => {
    const row = y.subarray(i * dim, (i + 1) * dim);
    const hy = metric === "l2" ? fround(0.5 * fold(row, row)) : 0;
    return [...rabitqCode(rotate(row), rotatedCells[cell] as Float32Array, bits, hy)];
  });
}

function someRows(dim: number, n: number, k: number, value: () => number): Rows {
  const fill = (length: number): Float32Array => Float32Array.from({ length }, value);
  const cells = Uint32Array.from({ length: n }, (_, i) => (i * 7 + 1) % k);
  return { dim, y: fill(n * dim), cells, centroids: fill(k * dim) };
}

describe.each(Object.entries(FILLS))("%s vectors", (_, fill) => {
  test.each([1, 3, 17, 100, 130, 200])("%d dimensions: codes are the reference's in both builds", (dim) => {
    const random = seeded(dim);
    const rows = someRows(dim, dim === 17 ? 67 : 9, 3, () => fill(random));
    // A row on its centroid, one off it by the least there is, and one of zeros.
    rows.y.set(rows.centroids.subarray(dim, 2 * dim), 0);
    rows.y.set(rows.centroids.subarray(2 * dim, 3 * dim), 8 * dim);
    rows.y[8 * dim] = (rows.y[8 * dim] as number) + 1e-45;
    rows.y.fill(0, 2 * dim, 3 * dim);
    for (const bits of BITS) {
      for (const metric of ["cosine", "l2"] as const) {
        const wanted = wantedCodes(rows, bits, metric);
        for (const kernels of builds) expect(encoded(kernels, rows, bits, metric)).toEqual(wanted);
        for (const code of bits === 1 ? [] : wanted) {
          const factors = new DataView(Uint8Array.from(code.slice(-8)).buffer);
          expect([0, 4].map((i) => Number.isFinite(factors.getFloat32(i, true)))).toEqual([true, true]);
        }
      }
    }
  });
});

test("values on the edges of steps: codes are the reference's in both builds", () => {
  const random = seeded(12);
  const rows = someRows(112, 40, 2, () => (Math.round(random() * 8) - 4) / 8);
  for (const bits of BITS) {
    const wanted = wantedCodes(rows, bits, "dot");
    for (const kernels of builds) expect(encoded(kernels, rows, bits, "dot")).toEqual(wanted);
  }
});

test("no rows, and more than a tile", () => {
  const random = seeded(13);
  for (const n of [0, 1, 64, 65, 200]) {
    const rows = someRows(20, n, 5, () => random() - 0.5);
    const wanted = wantedCodes(rows, 4, "dot");
    for (const kernels of builds) expect(encoded(kernels, rows, 4, "dot")).toEqual(wanted);
  }
});

/** What a code says of its row: the two estimates of ⟨q,y⟩ (or of that less ½|y|²) and their errors. */
function readCode(code: readonly number[], D: number, bits: number, q: Float32Array, qc: number): number[] {
  const view = new DataView(Uint8Array.from(code).buffer);
  const factors = (bits * D) / 8;
  let signs = 0;
  let sum = 0;
  for (let t = 0; t < D; t++) {
    let u = 0;
    for (let plane = 0; plane < bits; plane++)
      u = 2 * u + ((view.getUint8((plane * D) / 8 + (t >> 3)) >> (t & 7)) & 1);
    signs += (u >= 2 ** (bits - 1) ? 1 : -1) * (q[t] as number);
    sum += (u - 2 ** (bits - 1) + 0.5) * (q[t] as number);
  }
  const [a1, f1] = [view.getInt16(factors, true) / 16384, view.getInt16(factors + 2, true) / 16384];
  const one = qc + a1 + (f1 * signs) / Math.sqrt(D);
  if (bits === 1) return [one, view.getUint16(factors + 4, true) / 65536];
  const many = qc + view.getFloat32(factors + 8, true) + view.getFloat32(factors + 12, true) * sum;
  return [one, view.getUint16(factors + 4, true) / 65536, many, view.getUint16(factors + 6, true) / 65536];
}

test.each([
  ["dot", 100],
  ["l2", 100],
  ["dot", 300],
] as const)("%s, %d dimensions: estimates err by what the code says they do", (metric, dim) => {
  const kernels = builds[1] as Kernels;
  const random = seeded(14);
  const normal = (): number => random() + random() + random() + random() - 2;
  const rows = someRows(dim, 300, 4, () => normal() / Math.sqrt(dim));
  const rotate = referenceRotation(dim);
  const q = Float32Array.from({ length: dim }, () => normal() / Math.sqrt(dim / 3));
  const product = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
    Array.from(a).reduce((sum, value, i) => sum + value * (b[i] as number), 0);
  let earlier = Infinity;
  for (const bits of BITS) {
    const codes = encoded(kernels, rows, bits, metric);
    let [squares, manySquares, expected, manyExpected] = [0, 0, 0, 0];
    codes.forEach((code, i) => {
      const y = rows.y.subarray(i * dim, (i + 1) * dim);
      const cell = rows.cells[i] as number;
      const centroid = rows.centroids.subarray(cell * dim, (cell + 1) * dim);
      const exact = product(q, y) - (metric === "l2" ? product(y, y) / 2 : 0);
      const offset = Math.sqrt(q.reduce((sum, value, j) => sum + (value - (centroid[j] as number)) ** 2, 0));
      const [one, e1, many, e] = readCode(code, paddedDim(dim), bits, rotate(q), product(q, centroid));
      squares += ((one as number) - exact) ** 2;
      expected += ((e1 as number) * offset) ** 2;
      manySquares += ((many ?? 0) - exact) ** 2;
      manyExpected += ((e ?? 0) * offset) ** 2;
    });
    expect(squares / expected).toBeGreaterThan(0.7);
    expect(squares / expected).toBeLessThan(1.4);
    if (bits === 1) continue;
    expect(manySquares).toBeLessThan(earlier / 2.5);
    earlier = manySquares;
    if (bits > 6) continue; // then rounding of the factors and of u16 errors shows
    expect(manySquares / manyExpected).toBeGreaterThan(0.7);
    expect(manySquares / manyExpected).toBeLessThan(1.4);
  }
});

test.each([
  [2, 0.94],
  [3, 0.982],
  [4, 0.995],
  [5, 0.9985],
  [6, 0.9996],
  [8, 0.99995],
])("%d bits: the mean cosine of code and residual is above %d", (bits, least) => {
  const random = seeded(15);
  const dim = 128;
  const normal = (): number => [1, 2, 3, 4, 5, 6].reduce((sum) => sum + random() - 0.5, 0) / 10;
  const rows = someRows(dim, 200, 1, normal);
  rows.centroids.fill(0);
  const rotate = referenceRotation(dim);
  const codes = encoded(builds[1] as Kernels, rows, bits, "dot");
  const cosines = codes.map((code, i) => {
    const r = rotate(rows.y.subarray(i * dim, (i + 1) * dim));
    let [gg, gr, rr] = [0, 0, 0];
    r.forEach((value, t) => {
      let u = 0;
      for (let plane = 0; plane < bits; plane++)
        u = 2 * u + (((code[plane * 16 + (t >> 3)] as number) >> (t & 7)) & 1);
      const g = u - 2 ** (bits - 1) + 0.5;
      gg += g * g;
      gr += g * value;
      rr += value * value;
    });
    return gr / Math.sqrt(gg * rr);
  });
  expect(cosines.reduce((sum, cosine) => sum + cosine, 0) / cosines.length).toBeGreaterThan(least);
});

test("rows whose factors leave their range are marked to pass every filter", () => {
  const far = {
    dim: 16,
    y: new Float32Array(32).fill(100),
    cells: new Uint32Array(2),
    centroids: new Float32Array(16),
  };
  far.y[20] = 3e38;
  for (const kernels of builds) {
    const [row, beyond] = encoded(kernels, far, 4, "dot").map(
      (code) => new DataView(Uint8Array.from(code).buffer),
    );
    expect([row?.getInt16(8, true), row?.getInt16(10, true)]).toEqual([32767, 0]);
    expect(row?.getFloat32(20, true)).toBeGreaterThan(0);
    expect([beyond?.getInt16(8, true), beyond?.getInt16(10, true)]).toEqual([32767, 0]);
    expect(beyond?.getFloat32(16, true)).toBeGreaterThan(3e38);
    expect(beyond?.getFloat32(20, true)).toBe(0);
  }
});

describe("index space", () => {
  const through = (
    kernels: Kernels,
    metric: Metric,
    exponent: number,
    x: Float32Array,
    dim: number,
  ): Float32Array => {
    const at = kernels.copyIn(x);
    toIndexSpace(kernels, metric, exponent, at, x.length / dim, dim, at);
    const found = kernels.f32(at, x.length).slice();
    kernels.free(at);
    return found;
  };

  test.each(Object.entries(FILLS))("%s vectors: both builds give the reference's bits", (_, fill) => {
    for (const dim of [1, 5, 16, 100]) {
      const x = filled(7 * dim, fill, seeded(dim));
      const cosine = Float32Array.from(x, (value, i) => {
        const row = x.subarray(Math.floor(i / dim) * dim, (Math.floor(i / dim) + 1) * dim);
        return value * invNorm(row);
      });
      for (const kernels of builds) {
        expect(bitsOf(through(kernels, "cosine", 0, x, dim))).toEqual(bitsOf(cosine));
        for (const exponent of [0, 3, -20, 128, -149]) {
          const scaled = Float32Array.from(x, (value) => value * 2 ** -exponent);
          expect(bitsOf(through(kernels, "dot", exponent, x, dim))).toEqual(bitsOf(scaled));
          expect(bitsOf(through(kernels, "l2", exponent, x, dim))).toEqual(bitsOf(scaled));
        }
      }
    }
  });
});

test("bytes of a code", () => {
  expect([1, 2, 4, 8].map((bits) => codeBytes(112, bits))).toEqual([22, 44, 72, 128]);
});

test("misuse is told, memory that ends too, and nothing stays allocated", async () => {
  const kernels = await loadKernels("simd", { maxBytes: 4 << 20 });
  const before = kernels.live();
  const rotation = new Rotation(kernels, { kind: "dense", dim: 4, padded: 16, seed: SEED });
  const good = { rotation, centroids: new Float32Array(8), bits: 4, metric: "dot" } as const;
  for (const [change, field] of [
    [{ bits: 0 }, "bits"],
    [{ bits: 9 }, "bits"],
    [{ bits: 1.5 }, "bits"],
    [{ centroids: new Float32Array(0) }, "centroids"],
    [{ centroids: new Float32Array(7) }, "centroids"],
  ] as const) {
    expect(() => new RabitqEncoder(kernels, { ...good, ...change })).toThrow(
      expect.objectContaining({ code: "InvalidArgument", field }),
    );
  }
  for (const exponent of [0.5, 301, Number.NaN]) {
    expect(() => toIndexSpace(kernels, "dot", exponent, 0, 0, 1, 0)).toThrow(
      expect.objectContaining({ code: "InvalidArgument", field: "exponent" }),
    );
  }
  const withRotation = kernels.live();
  expect(() => new RabitqEncoder(kernels, { ...good, centroids: new Float32Array(4 * 60_000) })).toThrow(
    expect.objectContaining({ code: "OutOfMemory" }),
  );
  expect(kernels.live()).toEqual(withRotation);
  const encoder = new RabitqEncoder(kernels, good);
  encoder.free();
  encoder.free();
  expect(() => encoder.encode(0, 0, 0, 0)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
  rotation.free();
  expect(kernels.live()).toEqual(before);
});
