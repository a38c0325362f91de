import { beforeAll, describe, expect, test } from "@jest/globals";
import {
  bestOf,
  bitsOf,
  bothBuilds,
  cosine,
  dot,
  FILLS,
  filled,
  invNorm,
  negatedDistance,
  seeded,
} from "./reference.ts";
import { type Kernels, loadKernels } from "./subject.ts";

const DIMS = [...Array.from({ length: 20 }, (_, i) => i + 1), 100, 320, 512];
const ROWS = [0, 1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 16, 23, 24, 25, 36, 37];
let builds: Kernels[];

beforeAll(async () => {
  builds = await bothBuilds();
});

/** Runs `work` on each build with rows (n × dim), a query and an output buffer in memory. */
function onBuilds<T>(
  rows: Float32Array,
  query: Float32Array,
  work: (kernels: Kernels, at: { rows: number; query: number; out: number }) => T,
): T[] {
  return builds.map((kernels) => {
    const at = {
      rows: kernels.copyIn(rows),
      query: kernels.copyIn(query),
      out: kernels.alloc(rows.length * 4 + 64),
    };
    try {
      return work(kernels, at);
    } finally {
      for (const pointer of Object.values(at)) kernels.free(pointer);
    }
  });
}

function rowsOf(rows: Float32Array, dim: number): Float32Array[] {
  return Array.from({ length: rows.length / dim }, (_, i) => rows.subarray(i * dim, (i + 1) * dim));
}

describe.each(Object.entries(FILLS))("%s values", (_, fill) => {
  test("scores and inverse norms have the reference's bits in both builds", () => {
    const random = seeded(1);
    for (const dim of DIMS) {
      for (const n of ROWS) {
        const rows = filled(n * dim, fill, random);
        const query = filled(dim, fill, random);
        const list = rowsOf(rows, dim);
        const wanted = [
          list.map((row) => invNorm(row)),
          list.map((row) => cosine(row, query)),
          list.map((row) => cosine(row, query)),
          list.map((row) => {
            const score = dot(row, query);
            return Number.isNaN(score) ? -Infinity : score;
          }),
          list.map((row) => negatedDistance(row, query)),
        ].map((values) => bitsOf(values));
        const found = onBuilds(rows, query, (kernels, at) => {
          const norms = kernels.alloc(n * 4);
          const taken: Uint32Array[] = [];
          const take = (): void => {
            taken.push(bitsOf(kernels.f32(at.out, n)));
          };
          kernels.rowInvNorms(at.rows, n, dim, norms);
          taken.push(bitsOf(kernels.f32(norms, n)));
          const queryInv = kernels.invNorm(at.query, dim);
          kernels.scoresCosine(at.rows, norms, n, dim, at.query, queryInv, at.out);
          take();
          kernels.scoresCosine(at.rows, 0, n, dim, at.query, queryInv, at.out);
          take();
          kernels.scoresDot(at.rows, n, dim, at.query, at.out);
          take();
          kernels.scoresL2(at.rows, n, dim, at.query, at.out);
          take();
          kernels.free(norms);
          return taken;
        });
        for (const build of found) expect({ dim, n, bits: build }).toEqual({ dim, n, bits: wanted });
      }
    }
  });
});

test("scans keep the best rows of many tiles, with and without a mask, from any first id", () => {
  const random = seeded(2);
  const [dim, n, firstId] = [7, 2500, 4_000_000_000];
  const rows = filled(n * dim, FILLS.ordinary as () => number, random);
  rows.copyWithin(100 * dim, 0, 50 * dim); // ties
  const query = filled(dim, FILLS.ordinary as () => number, random);
  const list = rowsOf(rows, dim);
  const metrics = [cosine, dot, negatedDistance].map((metric) => list.map((row) => metric(row, query)));
  for (const [density, k] of [
    [0, 50],
    [0.01, 50],
    [0.5, 50],
    [1, 50],
    [1, n],
  ] as const) {
    const mask = new Uint8Array(Math.ceil(n / 8));
    mask[n >> 3] = 0xf0; // bits past the last row mean nothing
    for (let i = 0; i < n; i++)
      if (random() < density) mask[i >> 3] = (mask[i >> 3] as number) | (1 << (i & 7));
    const passed = list.map((_, i) => i).filter((i) => ((mask[i >> 3] as number) >> (i & 7)) & 1);
    const wanted = [
      ...metrics.map((scores) => bestOf(scores, k)),
      ...metrics.map((scores) =>
        bestOf(
          passed.map((i) => scores[i] as number),
          k,
          passed,
        ),
      ),
    ].map((best) => ({ scores: bitsOf(best.scores), ids: best.ids.map((id) => id + firstId) }));
    const found = onBuilds(rows, query, (kernels, at) => {
      const maskAt = kernels.copyIn(mask);
      const norms = kernels.alloc(n * 4);
      kernels.rowInvNorms(at.rows, n, dim, norms);
      const queryInv = kernels.invNorm(at.query, dim);
      const topK = kernels.topK(k);
      const drained = (): unknown => {
        const { scores, ids } = topK.drain();
        return { scores: bitsOf(scores), ids: [...ids] };
      };
      const results = [0, maskAt].flatMap((mask) => {
        kernels.scanCosine(at.rows, norms, n, dim, at.query, queryInv, firstId, topK, mask);
        const kept = [drained()];
        kernels.scanCosine(at.rows, 0, n, dim, at.query, queryInv, firstId, topK, mask);
        expect(drained()).toEqual(kept[0]);
        kernels.scanDot(at.rows, n, dim, at.query, firstId, topK, mask);
        kept.push(drained());
        kernels.scanL2(at.rows, n, dim, at.query, firstId, topK, mask);
        kept.push(drained());
        return kept;
      });
      topK.free();
      kernels.free(norms);
      kernels.free(maskAt);
      return results;
    });
    for (const build of found) expect(build).toEqual(wanted);
  }
});

test("checkFinite finds the first bad value at any place, and takes every finite one", () => {
  for (const kernels of builds) {
    for (let n = 0; n < 70; n++) {
      const values = new Float32Array(n).fill(-3.4028234e38);
      const at = kernels.copyIn(values);
      expect(kernels.checkFinite(at, n)).toBe(-1);
      for (const bad of [Number.NaN, Infinity, -Infinity]) {
        for (let i = 0; i < n; i++) {
          const view = kernels.f32(at, n);
          view.set(values);
          view.fill(bad, i);
          expect(kernels.checkFinite(at, n)).toBe(i);
        }
      }
      kernels.free(at);
    }
  }
});

test("rows that end where memory ends are read no further", async () => {
  for (const mode of ["scalar", "simd"] as const) {
    const kernels = await loadKernels(mode, { maxBytes: 2 ** 21 });
    const topK = kernels.topK(100);
    const work = kernels.alloc(4096);
    let bytes = 2 ** 21;
    let block = 0;
    for (; block === 0; bytes -= 64) {
      try {
        block = kernels.alloc(bytes);
      } catch (error) {
        expect(error).toMatchObject({ code: "OutOfMemory" });
      }
    }
    const end = block + bytes + 64;
    expect(end).toBe(2 ** 21);
    kernels.bytes(work, 4096).fill(255);
    kernels.f32(block, (end - block) / 4).fill(1);
    for (const dim of [1, 3, 4, 5, 16, 100, 256]) {
      for (const n of [1, 4, 11, 12, 13, 24, 25, 36, 48]) {
        const rows = end - n * dim * 4;
        kernels.f32(work + 64, dim).fill(1);
        for (const mask of [0, work + 2048]) kernels.scanDot(rows, n, dim, work + 64, 0, topK, mask);
        kernels.scanCosine(rows, 0, n, dim, work + 64, 1, 0, topK);
        kernels.rowInvNorms(rows, n, dim, work + 1536);
        expect(kernels.checkFinite(rows, n * dim)).toBe(-1);
        expect(topK.drain().scores[0]).toBe(dim);
      }
    }
  }
});
