import { beforeAll, describe, expect, test } from "@jest/globals";
import { PqCodebooks, PqEncoder, type PqShape, pqCodeBytes, pqParts } from "../../src/kernels/pq.ts";
import { trainPq } from "../../src/kernels/pq-training.ts";
import { bitsOf, bothBuilds, FILLS, filled, seeded } from "./reference.ts";
import { type Kernels, loadKernels } from "./subject.ts";
import { fold, kmeans, pqByteTable, pqCodes, pqEdges, pqHalfSquares, pqTable } from "./training-reference.ts";

let builds: Kernels[];

beforeAll(async () => {
  builds = await bothBuilds();
});

const { fround } = Math;
const SEED = Uint8Array.from({ length: 32 }, (_, i) => 13 * i + 4);
const SHAPES: PqShape[] = [
  { dim: 1, subspaces: 1, bits: 4 },
  { dim: 7, subspaces: 3, bits: 4 },
  { dim: 8, subspaces: 8, bits: 4 },
  { dim: 5, subspaces: 2, bits: 8 },
  { dim: 25, subspaces: 6, bits: 4 },
  { dim: 30, subspaces: 7, bits: 8 },
];

interface Rows {
  y: Float32Array;
  cells: Uint32Array;
  centroids: Float32Array;
  codebooks: Float32Array;
}

function someRows({ dim, bits }: PqShape, n: number, value: () => number): Rows {
  const fill = (length: number): Float32Array => Float32Array.from({ length }, value);
  const cells = Uint32Array.from({ length: n }, (_, i) => (i * 5 + 2) % 3);
  return { y: fill(n * dim), cells, centroids: fill(3 * dim), codebooks: fill(2 ** bits * dim) };
}

function codesOf(rows: Rows, { dim, subspaces, bits }: PqShape): number[][] {
  return Array.from(rows.cells, (cell, i) =>
    pqCodes(
      rows.y.subarray(i * dim, (i + 1) * dim),
      rows.centroids.subarray(cell * dim, (cell + 1) * dim),
      rows.codebooks,
      subspaces,
      bits,
    ),
  );
}

/** A row of codes as it is stored. */
function storedCode(codes: readonly number[], bits: number, halfSquares?: number): number[] {
  const bytes =
    bits === 8
      ? [...codes]
      : Array.from(
          { length: Math.ceil(codes.length / 2) },
          (_, i) => (codes[2 * i] as number) + 16 * (codes[2 * i + 1] ?? 0),
        );
  return halfSquares === undefined
    ? bytes
    : [...bytes, ...new Uint8Array(Float32Array.of(halfSquares).buffer)];
}

function encoded(kernels: Kernels, shape: PqShape, rows: Rows, metric: "dot" | "l2"): number[][] {
  const codebooks = new PqCodebooks(kernels, shape, rows.codebooks);
  const encoder = new PqEncoder(kernels, { codebooks, centroids: rows.centroids, metric });
  const [n, width] = [rows.cells.length, pqCodeBytes(shape, metric)];
  expect(encoder.codeBytes).toBe(width);
  const [y, cells, out] = [kernels.copyIn(rows.y), kernels.copyIn(rows.cells), kernels.alloc(n * width + 8)];
  kernels.bytes(out, n * width + 8).fill(55);
  encoder.encode(y, n, cells, out);
  const found = [...kernels.bytes(out, n * width + 8)];
  for (const pointer of [y, cells, out]) kernels.free(pointer);
  encoder.free();
  codebooks.free();
  expect(found.slice(-8)).toEqual(new Array(8).fill(55));
  return Array.from({ length: n }, (_, i) => found.slice(i * width, (i + 1) * width));
}

describe.each(Object.entries(FILLS))("%s vectors", (_, fill) => {
  test.each(SHAPES)(
    "$dim dimensions in $subspaces of $bits bits: codes and tables are the reference's",
    (shape) => {
      const { dim, subspaces, bits } = shape;
      const random = seeded(dim);
      const rows = someRows(shape, dim === 7 ? 70 : 9, () => fill(random));
      const codes = codesOf(rows, shape);
      const halves = codes.map((code, i) => {
        const cell = rows.cells[i] as number;
        const centroid = rows.centroids.subarray(cell * dim, (cell + 1) * dim);
        return pqHalfSquares(code, centroid, rows.codebooks, bits);
      });
      const query = filled(dim, fill, random);
      const table = pqTable(query, rows.codebooks, subspaces, bits).flat();
      for (const kernels of builds) {
        expect(encoded(kernels, shape, rows, "dot")).toEqual(codes.map((code) => storedCode(code, bits)));
        const wanted = codes.map((code, i) => storedCode(code, bits, halves[i]));
        expect(encoded(kernels, shape, rows, "l2")).toEqual(wanted);
        const codebooks = new PqCodebooks(kernels, shape, rows.codebooks);
        const [q, at] = [kernels.copyIn(query), kernels.alloc(table.length * 4)];
        codebooks.table(q, at);
        expect(bitsOf(kernels.f32(at, table.length))).toEqual(bitsOf(table));
        for (const pointer of [q, at]) kernels.free(pointer);
        codebooks.free();
      }
    },
  );

  test("scores of 4-bit codes are the reference's left folds", () => {
    const random = seeded(20);
    for (const m of [1, 2, 3, 4, 9, 32]) {
      const table = filled(m * 16, fill, random);
      const codes = Array.from({ length: 23 }, () =>
        Array.from({ length: m }, () => Math.floor(random() * 16)),
      );
      const wanted = codes.map((code) =>
        code.reduce((sum, entry, s) => fround(sum + (table[s * 16 + entry] as number)), 0),
      );
      for (const extra of [0, 4]) {
        const stored = codes.flatMap((code) => [...storedCode(code, 4), ...new Array(extra).fill(255)]);
        for (const kernels of builds) {
          const [at, t, out] = [
            kernels.copyIn(Uint8Array.from(stored)),
            kernels.copyIn(table),
            kernels.alloc(92),
          ];
          kernels.exports.pqNibbleScores(at, 23, Math.ceil(m / 2) + extra, m, t, out);
          expect(bitsOf(kernels.f32(out, 23))).toEqual(bitsOf(wanted));
          for (const pointer of [at, t, out]) kernels.free(pointer);
        }
      }
    }
  });

  test("scores of 8-bit codes are the reference's left folds", () => {
    const random = seeded(21);
    for (const m of [1, 2, 3, 4, 5, 8, 16, 31]) {
      const table = filled(m * 256, fill, random);
      for (const [n, stride] of [
        [0, m],
        [1, m],
        [4, m + 4],
        [23, m],
      ] as const) {
        const codes = Uint8Array.from({ length: n * stride }, () => random() * 256);
        const wanted = Array.from({ length: n }, (_, i) =>
          codes
            .subarray(i * stride, i * stride + m)
            .reduce((sum, code, s) => fround(sum + (table[s * 256 + code] as number)), 0),
        );
        for (const kernels of builds) {
          const [at, t, out] = [kernels.copyIn(codes), kernels.copyIn(table), kernels.alloc(n * 4)];
          kernels.exports.pqScores(at, n, stride, m, t, out);
          expect(bitsOf(kernels.f32(out, n))).toEqual(bitsOf(wanted));
          for (const pointer of [at, t, out]) kernels.free(pointer);
        }
      }
    }
  });

  test("byte tables and block scans of 4-bit codes are the reference's", () => {
    const random = seeded(22);
    for (const m of [1, 2, 3, 4, 5, 8, 9, 33]) {
      const table = Array.from({ length: m }, () => [...filled(16, fill, random)]);
      const { bytes, bias, quantum } = pqByteTable(table);
      for (const n of [0, 1, 31, 32, 33, 70]) {
        const stride = Math.ceil(m / 2) + (n === 33 ? 4 : 0);
        const codes = Array.from({ length: n }, () =>
          Array.from({ length: m }, () => Math.floor(random() * 16)),
        );
        const stored = new Uint8Array(n * stride);
        codes.forEach((code, i) => {
          stored.set(storedCode(code, 4), i * stride);
        });
        const sums = codes.map((code) =>
          code.reduce((sum, entry, s) => sum + (bytes[s * 16 + entry] as number), 0),
        );
        for (const kernels of builds) {
          const { exports } = kernels;
          const count = Math.ceil(n / 32);
          expect(exports.pqBlockBytes(n, m)).toBe(count * m * 16);
          const [at, t] = [kernels.copyIn(stored), kernels.copyIn(Float32Array.from(table.flat()))];
          const [b, blocks] = [kernels.alloc(m * 16 + 8), kernels.alloc(count * m * 16)];
          const out = kernels.alloc(count * 64);
          exports.pqByteTable(t, m, b, b + m * 16);
          expect([...kernels.bytes(b, m * 16)]).toEqual(bytes);
          expect(bitsOf(kernels.f32(b + m * 16, 2))).toEqual(bitsOf([bias, quantum]));
          exports.pqBlocks(at, n, stride, m, blocks);
          exports.pqScan(blocks, count, m, b, out);
          const found = new Uint16Array(kernels.bytes(out, count * 64).slice().buffer);
          expect([...found.subarray(0, n)]).toEqual(sums);
          for (const pointer of [at, t, b, blocks, out]) kernels.free(pointer);
        }
      }
    }
  });
});

test("the most subspaces there may be fit the sums of a scan", () => {
  for (const kernels of builds) {
    const m = 1024;
    const [bytes, blocks, out] = [kernels.alloc(m * 16), kernels.alloc(m * 16), kernels.alloc(64)];
    kernels.bytes(bytes, m * 16).fill(63);
    kernels.bytes(blocks, m * 16).fill(0);
    kernels.exports.pqScan(blocks, 1, m, bytes, out);
    const sums = new Uint16Array(kernels.bytes(out, 64).slice().buffer);
    expect([...sums]).toEqual(new Array(32).fill(63 * m));
    for (const pointer of [bytes, blocks, out]) kernels.free(pointer);
  }
});

test.each([
  { dim: 6, subspaces: 4, bits: 4 },
  { dim: 4, subspaces: 2, bits: 8 },
] as const)("codebooks of $dim dimensions in $subspaces of $bits bits are the reference's", async (shape) => {
  const { dim, subspaces, bits } = shape;
  const n = 300;
  const values = filled(n * dim, FILLS.ordinary as () => number, seeded(23));
  const edges = pqEdges(dim, subspaces);
  expect(pqParts(shape).map(({ from }) => from)).toEqual(edges.slice(0, -1));
  const books = Array.from({ length: subspaces }, (_, s) => {
    const rows = Array.from({ length: n }, (_, i) =>
      values.slice(i * dim + (edges[s] as number), i * dim + (edges[s + 1] as number)),
    );
    return kmeans(rows, 2 ** bits, 3, SEED);
  });
  const wanted = Array.from({ length: 2 ** bits }, (_, i) =>
    books.flatMap((words) => [...(words[i] as Float32Array)]),
  ).flat();
  for (const kernels of builds) {
    const residuals = kernels.copyIn(values);
    const told: number[] = [];
    const found = await trainPq(kernels, {
      ...shape,
      residuals,
      n,
      iterations: 3,
      seed: SEED,
      onProgress: ({ done, total }) => told.push(done / total),
    });
    kernels.free(residuals);
    expect(bitsOf(found)).toEqual(bitsOf(wanted));
    expect(told.at(-1)).toBe(1);
    expect([...told].sort((a, b) => a - b)).toEqual(told);
  }
});

// An optimal quantiser of a Gaussian errs by 9.7 % of its deviation with 4 bits a dimension, by 8.8 % in pairs of them.
test("scores of codes come near the inner products they stand for", async () => {
  const kernels = builds[1] as Kernels;
  const random = seeded(24);
  const normal = (): number => (random() + random() + random() + random() - 2) / 3;
  for (const shape of [
    { dim: 24, subspaces: 12, bits: 8, error: 0.09 },
    { dim: 24, subspaces: 24, bits: 4, error: 0.12 },
  ] as const) {
    const { dim, subspaces, bits } = shape;
    const n = 1024;
    const values = Float32Array.from({ length: n * dim }, normal);
    const at = kernels.copyIn(values);
    const codebooks = await trainPq(kernels, { ...shape, residuals: at, n, iterations: 6, seed: SEED });
    kernels.free(at);
    const rows = { y: values, cells: new Uint32Array(n), centroids: new Float32Array(dim), codebooks };
    const query = Float32Array.from({ length: dim }, normal);
    const table = pqTable(query, codebooks, subspaces, bits);
    let [off, all] = [0, 0];
    for (const [i, stored] of encoded(kernels, shape, rows, "dot").entries()) {
      const exact = fold(query, values.subarray(i * dim, (i + 1) * dim));
      const guess = table.reduce((sum, row, s) => {
        const code = bits === 8 ? stored[s] : ((stored[s >> 1] as number) >> (4 * (s & 1))) & 15;
        return sum + (row[code as number] as number);
      }, 0);
      off += (guess - exact) ** 2;
      all += exact ** 2;
    }
    expect(Math.sqrt(off / all)).toBeLessThan(shape.error);
  }
});

test("misuse is told, memory that ends too, and nothing stays allocated", async () => {
  const kernels = await loadKernels("simd", { maxBytes: 4 << 20 });
  const before = kernels.live();
  const good: PqShape = { dim: 8, subspaces: 4, bits: 4 };
  for (const [change, field] of [
    [{ dim: 0 }, "dim"],
    [{ subspaces: 0 }, "subspaces"],
    [{ subspaces: 9 }, "subspaces"],
    [{ subspaces: 1025, dim: 2000 }, "subspaces"],
    [{ bits: 5 as 4 }, "bits"],
  ] as const) {
    expect(() => new PqCodebooks(kernels, { ...good, ...change }, new Float32Array(128))).toThrow(
      expect.objectContaining({ code: "InvalidArgument", field }),
    );
  }
  for (const codebooks of [new Float32Array(127), new Float32Array(128).fill(Number.NaN, 100, 101)]) {
    expect(() => new PqCodebooks(kernels, good, codebooks)).toThrow(
      expect.objectContaining({ code: "InvalidArgument" }),
    );
  }
  const large = { dim: 6000, subspaces: 2, bits: 8 } as const;
  const residuals = kernels.alloc(64 * 8 * 4);
  kernels.bytes(residuals, 64 * 8 * 4).fill(0);
  const training = { ...good, residuals, n: 64, iterations: 1, seed: SEED };
  for (const [change, field] of [
    [{ n: 15 }, "n"],
    [{ iterations: -1 }, "iterations"],
    [{ seed: new Uint8Array(5) }, "seed"],
  ] as const) {
    await expect(trainPq(kernels, { ...training, ...change })).rejects.toMatchObject({
      code: "InvalidArgument",
      field,
    });
  }
  const held = kernels.live();
  expect(() => new PqCodebooks(kernels, large, new Float32Array(256 * 6000))).toThrow(
    expect.objectContaining({ code: "OutOfMemory" }),
  );
  const codebooks = new PqCodebooks(kernels, good, new Float32Array(128));
  for (const centroids of [new Float32Array(0), new Float32Array(9)]) {
    expect(() => new PqEncoder(kernels, { codebooks, centroids, metric: "dot" })).toThrow(
      expect.objectContaining({ code: "InvalidArgument", field: "centroids" }),
    );
  }
  const encoder = new PqEncoder(kernels, { codebooks, centroids: new Float32Array(8), metric: "dot" });
  encoder.free();
  encoder.free();
  expect(() => encoder.encode(0, 0, 0, 0)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
  codebooks.free();
  codebooks.free();
  expect(() => codebooks.table(0, 0)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
  expect(kernels.live()).toEqual(held);
  kernels.free(residuals);
  expect(kernels.live()).toEqual(before);
});
