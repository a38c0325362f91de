import { beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { CellAssigner } from "../../src/kernels/cell-assigner.ts";
import { rowsOfRounds, sampleRows, trainKmeans } from "../../src/kernels/kmeans.ts";
import { bitsOf, bothBuilds, FILLS, filled, seeded } from "./reference.ts";
import { type Kernels, loadKernels } from "./subject.ts";
import { cellOfVector, drawnRows, kmeans } from "./training-reference.ts";

let builds: Kernels[];

beforeAll(async () => {
  builds = await bothBuilds();
});

const SEED = Uint8Array.from({ length: 32 }, (_, i) => 7 * i + 3);
const rowsOf = (values: Float32Array, dim: number): Float32Array<ArrayBuffer>[] =>
  Array.from({ length: values.length / dim }, (_, i) => values.slice(i * dim, (i + 1) * dim));

function assigned(kernels: Kernels, centroids: Float32Array, dim: number, y: Float32Array): number[] {
  const n = y.length / dim;
  const assigner = new CellAssigner(kernels, centroids, dim);
  const [rows, cells] = [kernels.copyIn(y), kernels.alloc(n * 4)];
  assigner.assign(rows, n, cells);
  const found = [...kernels.u32(cells, n)];
  for (const pointer of [rows, cells]) kernels.free(pointer);
  assigner.free();
  return found;
}

async function trained(
  kernels: Kernels,
  y: Float32Array,
  dim: number,
  k: number,
  iterations: number,
): Promise<Float32Array> {
  const vectors = kernels.copyIn(y);
  try {
    return await trainKmeans(kernels, { vectors, n: y.length / dim, dim, k, iterations, seed: SEED });
  } finally {
    kernels.free(vectors);
  }
}

describe.each(Object.entries(FILLS))("%s vectors", (_, fill) => {
  test("cells are the reference's in both builds", () => {
    const random = seeded(5);
    for (const [dim, k] of [
      [1, 1],
      [1, 40],
      [2, 15],
      [3, 16],
      [7, 17],
      [20, 33],
      [100, 50],
      [33, 100],
    ] as const) {
      const centroids = filled(k * dim, fill, random);
      for (const n of [0, 1, 2, 5, 64, 67, 131]) {
        const y = filled(n * dim, fill, random);
        const wanted = rowsOf(y, dim).map((row) => cellOfVector(row, rowsOf(centroids, dim)));
        for (const kernels of builds) expect(assigned(kernels, centroids, dim, y)).toEqual(wanted);
      }
    }
  });

  test.each([
    [1, 30, 4],
    [2, 50, 50],
    [5, 80, 1],
    [9, 300, 17],
    [16, 70, 30],
  ])("centroids of dim %d, n %d, k %d are the reference's in both builds", async (dim, n, k) => {
    const y = filled(n * dim, fill, seeded(dim));
    const wanted = kmeans(rowsOf(y, dim), k, 5, SEED).flatMap((centroid) => [...centroid]);
    for (const kernels of builds) {
      const found = await trained(kernels, y, dim, k, 5);
      expect(bitsOf(found)).toEqual(bitsOf(wanted));
      expect(found.every(Number.isFinite)).toBe(true);
    }
  });
});

test("any grid of few values, full of ties: cells and centroids are the reference's in both builds", async () => {
  const grids = fc.integer({ min: 1, max: 5 }).chain((dim) =>
    fc.record({
      dim: fc.constant(dim),
      rows: fc.array(fc.array(fc.integer({ min: -2, max: 2 }), { minLength: dim, maxLength: dim }), {
        minLength: 1,
        maxLength: 40,
      }),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
      iterations: fc.integer({ min: 0, max: 5 }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(grids, async ({ dim, rows, part, iterations }) => {
      const y = Float32Array.from(rows.flat());
      const k = Math.max(1, Math.round(part * rows.length));
      const centroids = kmeans(rowsOf(y, dim), k, iterations, SEED);
      const flat = Float32Array.from(centroids.flatMap((centroid) => [...centroid]));
      const cells = rowsOf(y, dim).map((row) => cellOfVector(row, centroids));
      for (const kernels of builds) {
        expect(bitsOf(await trained(kernels, y, dim, k, iterations))).toEqual(bitsOf(flat));
        expect(assigned(kernels, flat, dim, y)).toEqual(cells);
      }
    }),
    { numRuns: 60 },
  );
});

test("4,096 dimensions, and more cells than a tile", async () => {
  const y = filled(20 * 4096, FILLS.ordinary as () => number, seeded(6));
  const wanted = kmeans(rowsOf(y, 4096), 3, 2, SEED).flatMap((centroid) => [...centroid]);
  for (const kernels of builds) expect(bitsOf(await trained(kernels, y, 4096, 3, 2))).toEqual(bitsOf(wanted));
});

test("vectors in clear clusters: every cluster gets its centroid", async () => {
  const random = seeded(8);
  const dim = 8;
  const y = Float32Array.from({ length: 400 * dim }, (_, i) => {
    const cluster = Math.floor(i / dim) % 4;
    return (i % dim === cluster ? 1 : 0) + (random() - 0.5) / 50;
  });
  // Starting from rows, Lloyd's rounds may leave two of four clusters to one of four cells; not with 16.
  const found = rowsOf(await trained(builds[1] as Kernels, y, dim, 16, 10), dim);
  for (let cluster = 0; cluster < 4; cluster++) {
    const centre = Float32Array.from({ length: dim }, (_, j) => (j === cluster ? 1 : 0));
    const nearest = found[cellOfVector(centre, found)] as Float32Array;
    nearest.forEach((value, j) => {
      expect(Math.abs(value - (centre[j] as number))).toBeLessThan(0.02);
    });
  }
});

test("vectors all equal: one centroid is theirs, the others stand a nudge off", async () => {
  for (const kernels of builds) {
    const found = await trained(kernels, new Float32Array(64 * 3).fill(0.25), 3, 5, 6);
    for (const value of found) expect(Math.abs(value - 0.25)).toBeLessThan(0.01);
  }
});

test("long trainings let other work run and tell where they stand", async () => {
  const kernels = builds[0] as Kernels;
  const [n, dim, k, iterations] = [16_384, 32, 128, 6];
  const vectors = kernels.copyIn(filled(n * dim, FILLS.ordinary as () => number, seeded(2)));
  const told: { done: number; total: number }[] = [];
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const onProgress = (progress: { done: number; total: number }): void => void told.push(progress);
  await trainKmeans(kernels, { vectors, n, dim, k, iterations, seed: SEED, onProgress });
  clearInterval(timer);
  kernels.free(vectors);
  expect(turns).toBeGreaterThan(0);
  expect(told.length).toBeGreaterThan(1);
  const all = rowsOfRounds(n, k, iterations).reduce((sum, rows) => sum + rows, 0);
  expect(told.at(-1)).toEqual({ done: all, total: all });
  expect(told.every(({ done, total }, i) => total === all && done >= (told[i - 1]?.done ?? 0))).toBe(true);
});

test("rounds look at more and more rows", () => {
  expect(rowsOfRounds(65_536, 1024, 10)).toEqual([
    4096, 4096, 4096, 8192, 8192, 16_384, 16_384, 32_768, 32_768, 65_536,
  ]);
  expect(rowsOfRounds(1000, 250, 4)).toEqual([1000, 1000, 1000, 1000]);
  expect(rowsOfRounds(9, 1, 3)).toEqual([5, 5, 9]);
  expect(rowsOfRounds(5, 5, 0)).toEqual([]);
});

test("sampled rows are the reference's: ascending, all different, one from each part", () => {
  for (const [total, count] of [
    [0, 0],
    [1, 1],
    [10, 10],
    [1000, 7],
    [341_479, 1024],
    [2 ** 40, 100],
  ] as const) {
    const wanted = drawnRows(SEED, total, count);
    for (const kernels of builds) expect([...sampleRows(kernels, SEED, total, count)]).toEqual(wanted);
    expect(wanted.every((row, i) => row > (wanted[i - 1] ?? -1) && row < total)).toBe(true);
  }
});

test("misuse is told, and nothing stays allocated", async () => {
  const kernels = builds[0] as Kernels;
  const before = kernels.live();
  const vectors = kernels.copyIn(filled(40, FILLS.ordinary as () => number, seeded(1)));
  const good = { vectors, n: 10, dim: 4, k: 3, iterations: 2, seed: SEED };
  for (const [change, field] of [
    [{ k: 0 }, "k"],
    [{ k: 11 }, "k"],
    [{ k: 1.5 }, "k"],
    [{ n: 0 }, "n"],
    [{ dim: 0 }, "dim"],
    [{ iterations: -1 }, "iterations"],
    [{ iterations: 0.5 }, "iterations"],
    [{ seed: new Uint8Array(31) }, "seed"],
  ] as const) {
    await expect(trainKmeans(kernels, { ...good, ...change })).rejects.toMatchObject({
      code: "InvalidArgument",
      field,
    });
  }
  kernels.f32(vectors, 40)[17] = Number.NaN;
  await expect(trainKmeans(kernels, good)).rejects.toMatchObject({
    code: "InvalidArgument",
    field: "vectors[17]",
  });
  for (const centroids of [new Float32Array(0), new Float32Array(5), Float32Array.of(1, 2, Infinity, 0)]) {
    expect(() => new CellAssigner(kernels, centroids, 4)).toThrow(
      expect.objectContaining({ code: "InvalidArgument" }),
    );
  }
  expect(() => sampleRows(kernels, SEED, 3, 4)).toThrow(expect.objectContaining({ field: "count" }));
  kernels.free(vectors);
  const assigner = new CellAssigner(kernels, new Float32Array(4), 4);
  assigner.free();
  assigner.free();
  expect(() => assigner.assign(0, 1, 0)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
  expect(kernels.live()).toEqual(before);
});

test("what progress throws, and memory that ends, leave nothing allocated", async () => {
  const kernels = await loadKernels("simd", { maxBytes: 4 << 20 });
  const before = kernels.live();
  const vectors = kernels.copyIn(new Float32Array(1000));
  const options = { vectors, n: 1000, dim: 1, k: 10, iterations: 1, seed: SEED };
  const onProgress = (): void => {
    throw new Error("stop");
  };
  await expect(trainKmeans(kernels, { ...options, onProgress })).rejects.toThrow("stop");
  const filler: number[] = [];
  for (let bytes = 4 << 20; bytes >= 64; bytes /= 2) {
    try {
      for (;;) filler.push(kernels.alloc(bytes));
    } catch {}
  }
  // From no room at all on, one block more each time: the training fails at every one of its allocations.
  let refused = 0;
  for (let done = false; !done; ) {
    const held = kernels.live();
    try {
      await trainKmeans(kernels, options);
      done = true;
    } catch (error) {
      expect(error).toMatchObject({ code: "OutOfMemory" });
      refused++;
      expect(kernels.live()).toEqual(held);
      kernels.free(filler.pop() as number);
    }
  }
  expect(refused).toBeGreaterThan(2);
  for (const pointer of [...filler, vectors]) kernels.free(pointer);
  expect(kernels.live()).toEqual(before);
});
