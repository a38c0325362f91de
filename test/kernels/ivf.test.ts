import { afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { CellAssigner } from "../../src/kernels/cell-assigner.ts";
import { type CellPart, type IvfHits, IvfIndex } from "../../src/kernels/ivf.ts";
import { IvfMatches } from "../../src/kernels/ivf-matches.ts";
import { codeBytes, type Metric, RabitqEncoder, toIndexSpace } from "../../src/kernels/rabitq.ts";
import { paddedDim, Rotation, rotationKind } from "../../src/kernels/rotation.ts";
import { bitsOf, bothBuilds, cosine, dot, negatedDistance, seeded } from "./reference.ts";
import type { Kernels } from "./subject.ts";

const SEED = new Uint8Array(32).fill(9);
const METRICS: Metric[] = ["cosine", "dot", "l2"];
const SCORES = { cosine, dot, l2: negatedDistance };
let builds: Kernels[];
const opened: { free(): void }[] = [];

beforeAll(async () => {
  builds = await bothBuilds();
});

afterEach(() => {
  for (const index of opened.splice(0)) index.free();
});

interface Data {
  metric: Metric;
  dim: number;
  exponent: number;
  bits: number;
  rows: Float32Array[];
  centroids: Float32Array;
  /** Made once, by the scalar build, for both. */
  parts: CellPart[];
}

/** Rows round k centres, coded by the encoder. The centres are in the index's space; cell numbers may stay empty. */
function clustered(
  options: { metric: Metric; dim: number; bits: number; n: number; k: number; seed?: number; scale?: number },
  spread = 0.5,
): Data {
  const { metric, dim, bits, n, k, seed = 1, scale = 1 } = options;
  const random = seeded(seed);
  const normal = (): number => random() + random() + random() + random() - 2;
  const centres = Array.from({ length: k }, () => Float32Array.from({ length: dim }, normal));
  const rows = Array.from({ length: n }, (_, i) =>
    (centres[i % k] as Float32Array).map((x) => (x + spread * normal()) * scale),
  );
  return coded({ metric, dim, bits, rows, k });
}

function coded(options: {
  metric: Metric;
  dim: number;
  bits: number;
  rows: Float32Array[];
  k: number;
  exponent?: number;
}): Data {
  const { metric, dim, bits, rows, k } = options;
  const longest = Math.max(2 ** -100, ...rows.map((row) => Math.hypot(...row)));
  const exponent = options.exponent ?? (metric === "cosine" ? 0 : Math.ceil(Math.log2(longest)));
  const kernels = builds[0] as Kernels;
  const n = rows.length;
  const x = kernels.copyIn(concat(rows));
  toIndexSpace(kernels, metric, exponent, x, n, dim, x);
  const centroids = kernels.f32(x, Math.min(k, n) * dim).slice(); // the first rows will do
  const cells = kernels.alloc(n * 4);
  const assigner = new CellAssigner(kernels, centroids, dim);
  assigner.assign(x, n, cells);
  assigner.free();
  const cellOf = kernels.u32(cells, n).slice();
  let codes = new Uint8Array();
  if (bits > 0) {
    const rotation = new Rotation(kernels, {
      kind: rotationKind(dim),
      dim,
      padded: paddedDim(dim),
      seed: SEED,
    });
    const encoder = new RabitqEncoder(kernels, { rotation, centroids, bits, metric });
    const out = kernels.alloc(n * encoder.codeBytes);
    encoder.encode(x, n, cells, out);
    codes = kernels.bytes(out, n * encoder.codeBytes).slice();
    kernels.free(out);
    encoder.free();
    rotation.free();
  }
  kernels.free(cells);
  kernels.free(x);
  const parts = Array.from({ length: centroids.length / dim }, (_, cell) =>
    partOf(
      rows,
      codes,
      bits === 0 ? 0 : codeBytes(paddedDim(dim), bits),
      [...cellOf.keys()].filter((i) => cellOf[i] === cell),
    ),
  );
  return { metric, dim, exponent, bits, rows, centroids, parts };
}

function concat(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.reduce((sum, row) => sum + row.length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  return all;
}

/** The rows of one cell; a row's tick is 1,000 less its number, so that ties come out in reverse. */
function partOf(rows: Float32Array[], codes: Uint8Array, stride: number, which: number[]): CellPart {
  return {
    rows: which.length,
    codes: bytesOf(which.map((i) => codes.subarray(i * stride, (i + 1) * stride))),
    ticks: BigUint64Array.from(which, (i) => BigInt(1_000_000 - i)),
    ordinals: Uint32Array.from(which),
    vectors: new Uint8Array(concat(which.map((i) => rows[i] as Float32Array)).buffer),
  };
}

function bytesOf(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

function slice(part: CellPart, from: number, to: number): CellPart {
  const cut = (bytes: Uint8Array | undefined): Uint8Array =>
    (bytes ?? new Uint8Array()).slice(
      part.rows === 0 ? 0 : ((bytes?.length ?? 0) / part.rows) * from,
      part.rows === 0 ? 0 : ((bytes?.length ?? 0) / part.rows) * to,
    );
  return {
    rows: to - from,
    codes: cut(part.codes),
    ticks: part.ticks.slice(from, to),
    ordinals: part.ordinals.slice(from, to),
    vectors: cut(part.vectors),
  };
}

function without(part: CellPart): CellPart {
  const { vectors: _, ...rest } = part;
  return rest;
}

function open(kernels: Kernels, data: Data, load: "all" | "codes" | "none" = "all"): IvfIndex {
  const { metric, dim, exponent, bits, centroids, parts } = data;
  const index = new IvfIndex(kernels, {
    metric,
    dim,
    exponent,
    centroids,
    bits,
    rotation: { kind: rotationKind(dim), padded: paddedDim(dim), seed: SEED },
  });
  opened.push(index);
  if (load !== "none")
    parts.forEach((part, cell) => {
      index.setCell(cell, [load === "all" ? part : without(part)]);
    });
  return index;
}

/** What a search says, as plain values; lists as text, which compares faster. */
function told(hits: IvfHits): object {
  const { count, exact, scanned, refined, reranked } = hits;
  return {
    count,
    exact,
    scanned,
    refined,
    reranked,
    scores: bitsOf(hits.scores.slice(0, count)).join(),
    cells: hits.cells.slice(0, count).join(),
    rows: hits.rows.slice(0, count).join(),
    ticks: hits.ticks.slice(0, count).join(),
  };
}

/** Numbers (ordinals) and score bits of the best of all rows, by score, then tick. */
function exactBest(data: Data, query: Float32Array, topK: number, allowed?: (i: number) => boolean): Found {
  const score = SCORES[data.metric];
  const all = data.rows
    .map((row, i) => ({ i, score: score(row, query) + 0 }))
    .filter(({ i }) => allowed === undefined || allowed(i))
    .map(({ i, score }) => ({ i, score: Number.isNaN(score) ? -Infinity : score }))
    .sort((a, b) => (a.score === b.score ? b.i - a.i : b.score > a.score ? 1 : -1));
  return bestOf(all, topK);
}

interface Found {
  count: number;
  numbers: string;
  scores: string;
}

function bestOf(all: readonly { i: number; score: number }[], topK: number): Found {
  const best = all.slice(0, topK);
  return {
    count: best.length,
    numbers: best.map(({ i }) => i).join(),
    scores: bitsOf(best.map(({ score }) => score)).join(),
  };
}

function foundBy(hits: IvfHits): Found {
  const scores = hits.scores.slice(0, hits.count).map((score) => score + 0);
  return { count: hits.count, numbers: numbersOf(hits).join(), scores: bitsOf(scores).join() };
}

function numbersOf(hits: IvfHits): number[] {
  return Array.from(hits.ticks.slice(0, hits.count), (tick) => 1_000_000 - Number(tick));
}

const EVERYTHING = { rerank: 100_000, epsilon: 1e6 };

describe.each(METRICS)("%s", (metric) => {
  test.each([0, 1, 3, 4, 5, 8])("with %i bits both builds say the same, bit for bit", (bits) => {
    for (const [dim, n, k] of [
      [1, 40, 3],
      [16, 400, 9],
      [17, 300, 40],
      [100, 500, 30],
      [130, 300, 5],
      [257, 120, 2],
    ] as const) {
      const data = clustered({ metric, dim, bits, n, k, seed: dim });
      const indexes = builds.map((kernels) => open(kernels, data));
      const random = seeded(dim + bits);
      for (let round = 0; round < 4; round++) {
        const query = (data.rows[Math.floor(random() * n)] as Float32Array).map(
          (x) => x * 10 ** (round - 2) + random(),
        );
        const nprobe = 1 + Math.floor(random() * k);
        for (const options of [
          { topK: 10, rerank: 24, epsilon: 1.5 },
          { topK: 1, rerank: 1, epsilon: 0 },
          { topK: 3, rerank: 0, epsilon: 2 },
          { topK: 50, rerank: 120, epsilon: 1 },
          { topK: 4096, rerank: 5000, epsilon: 3 },
        ]) {
          const [scalar, simd] = indexes.map((index) => {
            const cells = [...index.select(query, nprobe)];
            return { cells, ...told(index.search(options)) };
          });
          expect({ dim, options, ...simd }).toEqual({ dim, options, ...scalar });
        }
      }
    }
  });

  test.each([0, 1, 2, 4, 8])("with %i bits, probing all and re-ranking all is the exact scan", (bits) => {
    for (const [dim, n, k] of [
      [3, 200, 7],
      [100, 300, 20],
      [40, 4300, 1],
      [200, 150, 4],
    ] as const) {
      const data = clustered({ metric, dim, bits, n, k, seed: bits });
      for (let i = 0; i < 20; i++) data.rows[n - 1 - i]?.set(data.rows[i] as Float32Array); // ties
      const tied = coded({ ...data, k });
      for (const kernels of builds) {
        const index = open(kernels, tied);
        const query = (tied.rows[5] as Float32Array).map((x) => x + 0.01);
        for (const topK of n > 1000 ? [10, 4096] : [1, 10, 100]) {
          index.select(query, k);
          const hits = index.search({ topK, ...EVERYTHING });
          expect({ bits, dim, topK, exact: hits.exact, ...foundBy(hits) }).toEqual({
            bits,
            dim,
            topK,
            exact: true,
            ...exactBest(tied, query, topK),
          });
        }
      }
    }
  });

  test("a filter lets through what its bits say", () => {
    for (const bits of [0, 1, 4]) {
      const data = clustered({ metric, dim: 40, bits, n: 600, k: 12 });
      for (const kernels of builds) {
        const index = open(kernels, data);
        const random = seeded(bits);
        for (const share of [0, 0.01, 0.5, 1]) {
          const mask = new Uint8Array(75).map(() => {
            let byte = 0;
            for (let b = 0; b < 8; b++) byte |= random() < share ? 1 << b : 0;
            return byte;
          });
          const filter = kernels.copyIn(mask);
          const query = data.rows[77] as Float32Array;
          index.select(query, 12);
          const hits = index.search({ topK: 20, ...EVERYTHING, filter });
          const allowed = (i: number): boolean => (((mask[i >> 3] as number) >> (i & 7)) & 1) === 1;
          expect(foundBy(hits)).toEqual(exactBest(data, query, 20, allowed));
          kernels.free(filter);
        }
      }
    }
  });

  test("the query need not be near the data, or of its size", () => {
    for (const bits of [1, 4, 8]) {
      const data = clustered({ metric, dim: 48, bits, n: 500, k: 10, scale: 300 });
      for (const kernels of builds) {
        const index = open(kernels, data);
        for (const factor of [1e-30, 1e-3, 1, 1.9, 3, 40, 1e4, 1e15]) {
          const query = (data.rows[3] as Float32Array).map((x, i) => x * factor + (i === 0 ? factor : 0));
          index.select(query, 10);
          const hits = index.search({ topK: 10, rerank: 500, epsilon: 1e6 });
          expect({ factor, ...foundBy(hits) }).toEqual({ factor, ...exactBest(data, query, 10) });
        }
        index.select(new Float32Array(48), 4);
        expect(index.search({ topK: 5, rerank: 20, epsilon: 1.5 }).count).toBe(5);
      }
    }
  });

  test("finds most of the true neighbours with few cells and few vectors read", () => {
    for (const [bits, rerank, wanted] of [
      [0, 10, 0.9],
      [1, 200, 0.85],
      [4, 24, 0.9],
      [8, 12, 0.9],
    ] as const) {
      const data = clustered({ metric, dim: 64, bits, n: 3000, k: 40 }, 1);
      const index = open(builds[1] as Kernels, data);
      let found = 0;
      for (let q = 0; q < 15; q++) {
        const query = (data.rows[q * 199] as Float32Array).map((x, i) => x + 0.2 * Math.sin(i * q));
        index.select(query, 16);
        const hits = index.search({ topK: 10, rerank, epsilon: 1.9 });
        const numbers = numbersOf(hits);
        const best = exactBest(data, query, 10).numbers.split(",").map(Number);
        found += best.filter((i) => numbers.includes(i)).length / 150;
        if (bits > 1) expect(hits.refined).toBeLessThan(hits.scanned / 3);
        if (bits > 0) expect(hits.reranked).toBe(rerank);
      }
      expect({ bits, found: found >= wanted }).toEqual({ bits, found: true });
    }
  });

  test("scores without re-rank are close to the exact ones, closer with more bits", () => {
    const errors = [1, 2, 4, 8].map((bits) => {
      const data = clustered({ metric, dim: 96, bits, n: 400, k: 6, scale: 20 });
      const index = open(builds[1] as Kernels, data);
      const query = (data.rows[9] as Float32Array).map((x) => x * 0.7);
      index.select(query, 6);
      const hits = index.search({ topK: 400, rerank: 0, epsilon: 1e6 });
      expect(hits.exact).toBe(false);
      expect(hits.count).toBe(400);
      const all = data.rows.map((row) => SCORES[metric](row, query));
      const range = Math.max(...all) - Math.min(...all);
      const numbers = numbersOf(hits);
      const errors = numbers.map((i, j) => Math.abs((hits.scores[j] as number) - (all[i] as number)) / range);
      return errors.reduce((a, b) => a + b) / errors.length;
    });
    expect(errors[0]).toBeLessThan(0.1);
    expect(errors[3]).toBeLessThan(0.002);
    for (let i = 1; i < 4; i++) expect(errors[i]).toBeLessThan(errors[i - 1] as number);
  });
});

test("a batch is as its queries one by one", () => {
  for (const metric of METRICS) {
    for (const bits of [0, 1, 4, 7]) {
      const data = clustered({ metric, dim: 30, bits, n: 900, k: 12, seed: bits });
      const far = metric === "l2" ? 50 : 3;
      const queries = Array.from({ length: 40 }, (_, q) =>
        (data.rows[q * 7] as Float32Array).map(
          (x, i) => (x + 0.1 * Math.sin(i * q)) * (q % 9 === 8 ? far : 1),
        ),
      );
      const results = builds.map((kernels) => {
        const index = open(kernels, data);
        const filter = kernels.copyIn(new Uint8Array(113).fill(0b1110111));
        const told: unknown[] = [];
        for (const [nprobe, options] of [
          [12, { topK: 6, rerank: 900, epsilon: 1e6 }],
          [5, { topK: 6, rerank: 900, epsilon: 1e6, filter }],
          [12, { topK: 100, rerank: 0, epsilon: 1e6 }],
          [7, { topK: 4, rerank: 20, epsilon: 1.4 }],
        ] as const) {
          const many = index.searchMany(concat(queries), { nprobe, ...options });
          told.push(
            JSON.stringify({ ...many, ticks: many.ticks.join(), scores: bitsOf(many.scores).join() }),
          );
          const { topK } = options;
          let agreeing = 0;
          queries.forEach((query, q) => {
            index.select(query, nprobe);
            const one = index.search(options);
            const count = Math.min(topK, one.count);
            expect([many.counts[q], many.exact[q]]).toEqual([count, one.exact ? 1 : 0]);
            const places = [q * topK, q * topK + count] as const;
            if (options.epsilon < 100) {
              const found = many.ticks.slice(...places);
              agreeing += one.ticks.slice(0, count).filter((tick) => found.includes(tick)).length / count;
              return;
            }
            for (const list of ["ticks", "scores", "cells", "rows"] as const)
              expect(many[list].slice(...places).join()).toBe(one[list].slice(0, count).join());
          });
          if (options.epsilon < 100) expect(agreeing).toBeGreaterThan(0.95 * queries.length);
        }
        expect(
          index.searchMany(new Float32Array(), { nprobe: 3, topK: 2, rerank: 2, epsilon: 1 }).counts,
        ).toHaveLength(0);
        kernels.free(filter);
        return told;
      });
      expect(results[1]).toEqual(results[0]);
    }
  }
});

test("cells that many queries probe are scanned for sixteen at a time, with the results of each alone", () => {
  // Cells of more than a piece, of less than a block, and empty ones; up to 61 queries a cell.
  for (const [dim, n, k, bits] of [
    [1, 300, 3, 4],
    [30, 9000, 2, 4],
    [100, 1500, 7, 4],
    [200, 700, 40, 6],
    [250, 300, 5, 2],
    [260, 300, 5, 4], // too many dimensions for it
  ] as const) {
    for (const metric of METRICS) {
      const data = clustered({ metric, dim, bits, n, k, seed: dim }, 0.9);
      for (const size of [7, 8, 15, 16, 17, 61]) {
        const queries = Array.from({ length: size }, (_, q) =>
          (data.rows[(q * 13) % n] as Float32Array).map((x, i) => x * (1 + 0.3 * Math.sin(i * q + q))),
        );
        const results = builds.map((kernels) => {
          const index = open(kernels, data);
          const filter = kernels.copyIn(new Uint8Array(Math.ceil(n / 8)).fill(0b1101_0110));
          const told = [];
          for (const options of [
            { topK: 3, rerank: 8, epsilon: 1.4 },
            { topK: 3, rerank: 8, epsilon: 0, filter },
            { topK: 20, rerank: 0, epsilon: 4 },
          ]) {
            const many = index.searchMany(concat(queries), { nprobe: k, ...options });
            told.push(many.ticks.join(), bitsOf(many.scores).join(), many.scanned, many.refined);
            const alone = queries.map((query) => index.searchMany(query, { nprobe: k, ...options }));
            for (const list of ["ticks", "scores", "cells", "rows", "counts"] as const)
              expect(many[list].join()).toBe(alone.map((one) => one[list].join()).join());
            expect(many.refined).toBe(alone.reduce((sum, one) => sum + one.refined, 0));
          }
          kernels.free(filter);
          index.free();
          return told;
        });
        expect(results[1]).toEqual(results[0]);
      }
    }
  }
});

test("cells without hope are left out, but not of all cells, nor with a filter or products", () => {
  for (const metric of METRICS) {
    const data = clustered({ metric, dim: 30, bits: 4, n: 6000, k: 60, seed: 3 });
    const query = data.rows[0] as Float32Array;
    const probed = builds.map((kernels) => {
      const index = open(kernels, data);
      const filter = kernels.copyIn(new Uint8Array(750).fill(255));
      const all = { topK: 4, rerank: 20, epsilon: 0.5 };
      const told = [
        [30, all],
        [30, { ...all, epsilon: 100 }],
        [30, { ...all, filter }],
        [60, all],
      ] as const;
      const counts = told.map(([nprobe, options]) => {
        index.select(query, nprobe);
        return index.search(options).probed;
      });
      kernels.free(filter);
      return counts;
    });
    expect(probed[1]).toEqual(probed[0]);
    expect(probed[0]?.slice(1)).toEqual([30, 30, 60]);
    if (metric === "dot") expect(probed[0]?.[0]).toBe(30);
    else expect(probed[0]?.[0]).toBeLessThan(30);
  }
});

test("cells come in order of their centroids' scores", () => {
  for (const metric of METRICS) {
    for (const k of [1, 5, 33, 400]) {
      const data = clustered({ metric, dim: 20, bits: 4, n: k * 2, k, seed: k });
      for (const kernels of builds) {
        const index = open(kernels, data, "none");
        const query = data.rows[0] as Float32Array;
        const point = metric === "l2" ? query.map((x) => x * 2 ** -data.exponent) : unit(query);
        const keys = Array.from({ length: k }, (_, c) => {
          const centroid = data.centroids.subarray(c * 20, (c + 1) * 20);
          return dot(point, centroid) - (metric === "dot" ? 0 : dot(centroid, centroid) / 2);
        });
        const cells = [...index.select(query, k)];
        expect([...cells].sort((a, b) => a - b)).toEqual(keys.map((_, c) => c));
        for (let i = 1; i < k; i++)
          expect(
            (keys[cells[i] as number] as number) - (keys[cells[i - 1] as number] as number),
          ).toBeLessThan(1e-4);
        expect([...index.select(query, 3)]).toEqual(cells.slice(0, 3));
        expect(index.missing(false)).toEqual(cells.slice(0, 3));
      }
    }
  }
});

test("centroids that crowd together are put in order all the same", () => {
  const random = seeded(4);
  const rows = Array.from({ length: 300 }, (_, i) =>
    Float32Array.from({ length: 8 }, (_, j) => (i === 0 ? -1 : 1) + (j === i % 8 ? random() * 1e-4 : 0)),
  );
  const data = coded({ metric: "l2", dim: 8, bits: 2, rows, k: 300 });
  const [scalar, simd] = builds.map((kernels) => [
    ...open(kernels, data).select(rows[5] as Float32Array, 100),
  ]);
  expect(simd).toEqual(scalar);
  expect(new Set(simd).size).toBe(100);
  expect(simd).not.toContain(0);
});

test("rows appended in any pieces are as rows loaded at once", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(45), { maxLength: 6 }), fc.constantFrom(0, 1, 4, 7), (cuts, bits) => {
      const data = clustered({ metric: "cosine", dim: 24, bits, n: 150, k: 1, seed: bits });
      const part = data.parts[0] as CellPart;
      for (const kernels of builds) {
        const whole = open(kernels, data);
        const pieces = open(kernels, data, "none");
        pieces.setCell(0, []);
        let from = 0;
        for (const rows of [...cuts, 150]) {
          const to = Math.min(150, from + rows);
          pieces.appendCell(0, slice(part, from, to));
          from = to;
        }
        const query = data.rows[3] as Float32Array;
        const [a, b] = [whole, pieces].map((index) => {
          index.select(query, 1);
          return told(index.search({ topK: 10, rerank: 30, epsilon: 1.2 }));
        });
        expect(b).toEqual(a);
      }
    }),
    { numRuns: 25 },
  );
});

test("candidates whose vectors are not resident come back, and are ranked from what the caller brings", () => {
  for (const metric of METRICS) {
    const data = clustered({ metric, dim: 30, bits: 4, n: 400, k: 8 });
    for (const kernels of builds) {
      const [resident, bare] = [open(kernels, data), open(kernels, data, "codes")];
      const query = data.rows[11] as Float32Array;
      const options = { topK: 7, rerank: 20, epsilon: 1.4 };
      resident.select(query, 5);
      const wanted = told(resident.search(options));
      const cells = [...bare.select(query, 5)];
      expect(bare.missing(false)).toBeUndefined();
      expect(bare.missing(true)).toEqual(cells.filter((cell) => (data.parts[cell] as CellPart).rows > 0));
      const hits = bare.search(options);
      expect([hits.exact, hits.count, hits.reranked]).toEqual([false, 20, 0]);
      const numbers = numbersOf(hits);
      const vectors = kernels.copyIn(concat(numbers.map((i) => data.rows[i] as Float32Array)));
      expect(told(bare.rerank(vectors))).toEqual(wanted);
      kernels.free(vectors);
      expect(() => bare.rerank(0)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
      for (const cell of bare.missing(true) ?? [])
        bare.setVectors(cell, (data.parts[cell] as CellPart).vectors as Uint8Array);
      expect(told(bare.search(options))).toEqual(wanted);
      bare.dropVectors(cells[0] as number);
      expect(bare.missing(true)).toEqual([cells[0]]);
    }
  }
});

test("rows too large for their one-bit factors are found", () => {
  for (const metric of ["dot", "l2"] as const) {
    for (const bits of [1, 2, 4, 8]) {
      const { rows } = clustered({ metric, dim: 32, bits, n: 300, k: 5 });
      for (const i of [17, 200]) rows[i] = (rows[i] as Float32Array).map((x) => x * 1000);
      const data = coded({ metric, dim: 32, bits, rows, k: 5, exponent: 3 });
      for (const kernels of builds) {
        const index = open(kernels, data);
        for (const query of [rows[17], rows[200], rows[1]] as Float32Array[]) {
          index.select(query, 5);
          const hits = index.search({ topK: 3, rerank: 60, epsilon: 3 });
          expect({ metric, bits, ...foundBy(hits) }).toEqual({
            metric,
            bits,
            ...exactBest(data, query, 3),
          });
        }
      }
    }
  }
});

test("of many such rows none is lost to the order of the cells", () => {
  const random = seeded(12);
  const rows = Array.from({ length: 300 }, (_, i) =>
    Float32Array.from({ length: 32 }, () => (random() - 0.5) * (i % 2 === 0 && i > 10 ? 1000 : 1)),
  );
  for (const bits of [2, 4, 8]) {
    const data = coded({ metric: "dot", dim: 32, bits, rows, k: 8, exponent: 2 });
    for (const kernels of builds) {
      const index = open(kernels, data);
      for (let q = 0; q < 30; q++) {
        const query = Float32Array.from({ length: 32 }, () => random() - 0.5);
        index.select(query, 8);
        const hits = index.search({ topK: 2, rerank: 40, epsilon: 2 });
        expect({ bits, q, ...foundBy(hits) }).toEqual({ bits, q, ...exactBest(data, query, 2) });
      }
    }
  }
});

test("a batch scans what a seed step left of a large cell, once", () => {
  const data = clustered({ metric: "cosine", dim: 16, bits: 4, n: 9000, k: 1 }, 1);
  for (const kernels of builds) {
    const index = open(kernels, data);
    const query = data.rows[8000] as Float32Array;
    const options = { topK: 10, rerank: 200, epsilon: 3 };
    const many = index.searchMany(concat([query, query]), { nprobe: 1, ...options });
    index.select(query, 1);
    const one = index.search(options);
    for (const from of [0, 10])
      expect(many.ticks.slice(from, from + 10).join()).toBe(one.ticks.slice(0, 10).join());
    expect(many.scanned).toBe(18_000);
    expect(foundBy(one)).toEqual(exactBest(data, query, 10));
  }
});

test("empty, missing and dropped cells are passed over", () => {
  const data = clustered({ metric: "cosine", dim: 16, bits: 4, n: 200, k: 10 });
  for (const kernels of builds) {
    const before = kernels.live();
    const index = open(kernels, data, "none");
    const query = data.rows[0] as Float32Array;
    index.select(query, 10);
    expect(index.missing(false)).toHaveLength(10);
    expect(index.search({ topK: 5, rerank: 10, epsilon: 1 }).count).toBe(0);
    const empty = index.bytes;
    data.parts.forEach((part, cell) => {
      index.setCell(cell, cell % 2 === 0 ? [slice(part, 0, 3), slice(part, 3, part.rows)] : []);
    });
    expect(index.missing(true)).toBeUndefined();
    const hits = index.search({ topK: 200, rerank: 200, epsilon: 1e6 });
    const even = data.parts.filter((_, cell) => cell % 2 === 0).reduce((sum, part) => sum + part.rows, 0);
    expect([hits.count, hits.scanned, hits.exact]).toEqual([even, even, true]);
    for (let cell = 0; cell < 10; cell++) index.dropCell(cell);
    expect(index.bytes).toBe(empty);
    expect(index.search({ topK: 5, rerank: 10, epsilon: 1 }).count).toBe(0);
    index.free();
    index.free();
    expect(kernels.live()).toEqual(before);
  }
});

test("what can't be is refused by name", () => {
  const data = clustered({ metric: "cosine", dim: 16, bits: 4, n: 60, k: 4 });
  const kernels = builds[1] as Kernels;
  const index = open(kernels, data);
  const { live } = { live: kernels.live() };
  const part = data.parts[0] as CellPart;
  const rotation = { kind: "dense" as const, padded: 16, seed: SEED };
  const options = { metric: "cosine" as const, dim: 16, exponent: 0, bits: 4, rotation };
  for (const [field, run] of [
    ["query", () => index.select(new Float32Array(15), 1)],
    ["query", () => index.select(new Float32Array(16).fill(Number.NaN), 1)],
    ["nprobe", () => index.select(new Float32Array(16), 0)],
    ["topK", () => index.search({ topK: 0, rerank: 1, epsilon: 1 })],
    ["rerank", () => index.search({ topK: 1, rerank: -1, epsilon: 1 })],
    ["epsilon", () => index.search({ topK: 1, rerank: 1, epsilon: Number.NaN })],
    ["queries", () => index.searchMany(new Float32Array(17), { nprobe: 1, topK: 1, rerank: 1, epsilon: 1 })],
    [
      "queries",
      () => index.searchMany(new Float32Array(16).fill(1 / 0), { nprobe: 1, topK: 1, rerank: 1, epsilon: 1 }),
    ],
    ["cell", () => index.setCell(4, [])],
    ["codes", () => index.setCell(0, [{ ...part, codes: new Uint8Array(3) }])],
    ["ticks", () => index.setCell(0, [{ ...part, ticks: new BigUint64Array(1) }])],
    ["ordinals", () => index.appendCell(0, { ...part, ordinals: new Uint32Array(1) })],
    ["vectors", () => index.setVectors(0, new Uint8Array(4))],
    ["bits", () => new IvfIndex(kernels, { ...options, bits: 9, centroids: data.centroids })],
    ["centroids", () => new IvfIndex(kernels, { ...options, centroids: new Float32Array(17) })],
    [
      "metric",
      () => new IvfIndex(kernels, { ...options, metric: "l1" as Metric, centroids: data.centroids }),
    ],
  ] as const)
    expect(run).toThrow(expect.objectContaining({ code: "InvalidArgument", field }));
  expect(kernels.live()).toEqual(live);
});

function unit(x: Float32Array): Float32Array {
  const length = Math.hypot(...x);
  return x.map((value) => value / length);
}

describe("the rows that a filter leaves", () => {
  const leaving = (rows: number, share: number, random: () => number) => {
    const bits = new Uint8Array(Math.ceil(rows / 8));
    const which = Array.from({ length: rows }, (_, i) => i).filter(() => random() < share);
    for (const i of which) (bits[i >> 3] as number) |= 1 << (i & 7);
    return { bits, which };
  };

  const searches = (kernels: Kernels, data: Data, load: "all" | "codes") => {
    const index = open(kernels, data, load);
    // Two rows of the timeline have no vector.
    const matches = new IvfMatches(kernels, index, data.rows.length + 2);
    opened.push(matches);
    return { kernels, index, matches };
  };

  test.each(METRICS)(
    "by %s, scored where they lie or out of what codes leave, are the exact scan's",
    (metric) => {
      for (const [dim, n, k, bits] of [
        [1, 40, 3, 4],
        [3, 200, 7, 2],
        [17, 300, 40, 5],
        [100, 600, 30, 4],
        [130, 200, 5, 8],
        [257, 120, 2, 3],
      ] as const) {
        const data = clustered({ metric, dim, bits, n, k, seed: dim, scale: metric === "cosine" ? 1 : 50 });
        const random = seeded(dim);
        const resident = builds.map((kernels) => searches(kernels, data, "all"));
        const bare = builds.map((kernels) => searches(kernels, data, "codes"));
        for (const share of [0.02, 0.3, 1]) {
          const query = Float32Array.from({ length: dim }, () => random() * 4 - 2);
          const { bits: filter, which } = leaving(n + 2, share, random);
          const rows = which.filter((i) => i < n);
          const score = SCORES[metric];
          const topK = 7;
          const truth = rows
            .map((i) => ({ i, score: score(data.rows[i] as Float32Array, query) + 0 }))
            .sort((a, b) => b.score - a.score || a.i - b.i)
            .slice(0, topK);
          const wanted = {
            ticks: truth.map(({ i }) => 1_000_000 - i),
            scores: bitsOf(truth.map((one) => one.score)).join(),
          };
          for (const { kernels, index, matches } of resident) {
            const list = matches.list(filter, which.length);
            expect(list.count).toBe(rows.length);
            index.select(query, 1);
            const found = matches.score(list, topK);
            expect({
              ticks: Array.from(found?.ticks ?? [], Number),
              scores: bitsOf((found?.scores ?? []).map((x) => x + 0)).join(),
            }).toEqual(wanted);
            kernels.free(list.list);
          }
          const chosen = bare.map(({ kernels, index, matches }) => {
            const list = matches.list(filter, which.length);
            index.select(query, 1);
            if (rows.length > 0) expect(matches.score(list, topK)).toBeUndefined();
            index.select(query, index.cells);
            const few = matches.choose(list, topK);
            if (few === undefined) throw new Error("codes of several bits tell");
            const ticks = Array.from(few.ticks, Number);
            const vectors = concat(ticks.map((tick) => data.rows[1_000_000 - tick] as Float32Array));
            const found = matches.scoreVectors(few, vectors, topK);
            expect({
              ticks: Array.from(found.ticks, Number),
              scores: bitsOf(found.scores.map((x) => x + 0)).join(),
            }).toEqual(wanted);
            kernels.free(list.list);
            return { ticks: few.ticks.join(), cells: few.cells.join(), rows: few.rows.join() };
          });
          expect(chosen[1]).toEqual(chosen[0]);
          if (n === 600 && share === 1)
            expect((chosen[0] as { rows: string }).rows.split(",").length).toBeLessThan(n / 4);
        }
      }
    },
  );

  test("come in the order of their numbers, which decides between equal scores", () => {
    const row = Float32Array.from([1, 2, 3]);
    const data = coded({ metric: "l2", dim: 3, bits: 4, rows: Array.from({ length: 40 }, () => row), k: 1 });
    for (const { kernels, index, matches } of builds.map((kernels) => searches(kernels, data, "all"))) {
      index.select(row, 1);
      const list = matches.list(new Uint8Array(6).fill(0xaa, 0, 5), 20);
      const found = matches.score(list, 3);
      expect(Array.from(found?.ticks ?? [], (tick) => 1_000_000 - Number(tick))).toEqual([1, 3, 5]);
      kernels.free(list.list);
    }
  });

  test("of codes of one bit can't be told apart by these", () => {
    const data = clustered({ metric: "cosine", dim: 16, bits: 1, n: 50, k: 3 });
    for (const { kernels, index, matches } of builds.map((kernels) => searches(kernels, data, "codes"))) {
      const list = matches.list(new Uint8Array(7).fill(1), 7);
      index.select(data.rows[0] as Float32Array, index.cells);
      expect(matches.choose(list, 3)).toBeUndefined();
      expect(matches.cellsOf(list)).toHaveLength(7);
      kernels.free(list.list);
    }
  });
});
