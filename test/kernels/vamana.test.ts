import { beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { type LinkedGraph, type LinkOptions, linkVamana } from "../../src/kernels/vamana.ts";
import { codeStride, codeWidth, GraphWalk, layGraph } from "../../src/kernels/vamana-walk.ts";
import { NO_NODE } from "../../src/layout/graph.ts";
import { bitsOf, bothBuilds, FILLS, filled, seeded } from "./reference.ts";
import type { Kernels } from "./subject.ts";

type Vectors = Float32Array[];
interface Coded {
  codes: number[];
  scale: number;
  half: number;
}
interface Graph {
  rows: number[];
  entries: number;
  heads: number;
  lists: number[][];
  repaired: number;
}
/** The same in plain JavaScript, from the specification. */
interface Reference {
  distance(a: Float32Array, b: Float32Array): number;
  link(given: object): Graph;
  code(y: Float32Array, metric: string): Coded;
  codeQuery(q: Float32Array): { codes: number[]; step: number };
  score(row: Coded, query: object): number;
  walk(
    graph: object,
    query: object,
    beam: number,
    most: number,
    allows?: (node: number) => boolean,
    within?: { nearest: number; slack: number; isL2: boolean; query: Float32Array },
  ): number[];
}

let builds: Kernels[];
let reference: Reference;

beforeAll(async () => {
  builds = await bothBuilds();
  reference = await import("../../conformance/vamana-reference.mjs" as string);
});

const split = (values: Float32Array, dim: number): Vectors =>
  Array.from({ length: values.length / dim }, (_, i) => values.slice(i * dim, (i + 1) * dim));

interface Given {
  vectors: Float32Array;
  n: number;
  dim: number;
  centroids: Float32Array;
  cells: Uint32Array;
  degree: number;
  candidates: number;
  probes: number;
}

/** Vectors grouped round the first k of them, each in the cell of the nearest by plain arithmetic. */
function givenOf(vectors: Float32Array, dim: number, k: number, rest: Partial<Given> = {}): Given {
  const n = vectors.length / dim;
  const rows = split(vectors, dim);
  const cells = Uint32Array.from(rows, (row) => {
    const far = rows
      .slice(0, k)
      .map((center) => row.reduce((sum, value, j) => sum + (value - (center[j] as number)) ** 2, 0));
    return Math.max(0, far.indexOf(Math.min(...far)));
  });
  const centroids = vectors.slice(0, k * dim);
  return { vectors, n, dim, centroids, cells, degree: 64, candidates: 250, probes: 10, ...rest };
}

async function linkIn(kernels: Kernels, given: Given, more: Partial<LinkOptions> = {}): Promise<LinkedGraph> {
  const vectors = kernels.copyIn(given.vectors);
  try {
    return await linkVamana(kernels, { ...given, vectors, ...more });
  } finally {
    kernels.free(vectors);
  }
}

function listsOf(kernels: Kernels, graph: LinkedGraph): number[][] {
  const { degree } = graph;
  return Array.from({ length: graph.n }, (_, node) => {
    const list = [...kernels.u32(graph.lists + node * degree * 4, degree)];
    const end = list.indexOf(NO_NODE);
    if (end >= 0) expect(list.slice(end).every((other) => other === NO_NODE)).toBe(true);
    return end < 0 ? list : list.slice(0, end);
  });
}

function expectSound({ lists, entries }: Pick<Graph, "lists" | "entries">, degree: number): void {
  const reached = new Set(Array.from({ length: entries }, (_, node) => node));
  for (const node of reached) for (const other of lists[node] as number[]) reached.add(other);
  expect(reached.size).toBe(lists.length);
  lists.forEach((list, node) => {
    expect(list.length).toBeLessThanOrEqual(degree);
    expect(list).not.toContain(node);
    expect([...new Set(list)].sort((a, b) => a - b)).toEqual(list);
  });
}

async function expectReference(given: Given): Promise<Graph> {
  const wanted = reference.link({
    ...given,
    vectors: split(given.vectors, given.dim),
    centroids: split(given.centroids, given.dim),
    cells: [...given.cells],
  });
  for (const kernels of builds) {
    const before = kernels.live();
    const graph = await linkIn(kernels, given);
    const { entries, heads, repaired } = graph;
    expect({ rows: [...graph.rows], entries, heads, lists: listsOf(kernels, graph), repaired }).toEqual(
      wanted,
    );
    graph.free();
    expect(kernels.live()).toEqual(before);
  }
  expectSound(wanted, given.degree);
  return wanted;
}

test.each(Object.entries(FILLS))("distances of %s vectors are the reference's, bit for bit", (_, fill) => {
  const random = seeded(3);
  for (const dim of [1, 2, 3, 4, 5, 16, 31, 100, 767]) {
    const n = 11;
    const rowBytes = Math.ceil(dim / 4) * 16;
    const rows = split(filled(n * dim, fill, random), dim);
    for (const kernels of builds) {
      const at = kernels.alloc(n * rowBytes);
      kernels.bytes(at, n * rowBytes).fill(0);
      for (const [i, row] of rows.entries()) kernels.f32(at + i * rowBytes, dim).set(row);
      const block = kernels.copyIn(Uint32Array.of(n, rowBytes, at));
      for (const list of [[], [10], [0, 3], [9, 9, 1, 0, 10], rows.map((_, i) => i)]) {
        const ids = kernels.copyIn(Uint32Array.from(list));
        const out = kernels.alloc(64);
        kernels.exports.vamanaDistances(block, 5, ids, list.length, out);
        const wanted = list.map((i) => reference.distance(rows[5] as Float32Array, rows[i] as Float32Array));
        expect(bitsOf(kernels.f32(out, list.length))).toEqual(bitsOf(wanted));
        kernels.free(ids);
        kernels.free(out);
      }
      kernels.free(block);
      kernels.free(at);
    }
  }
});

describe("links", () => {
  test.each(Object.entries(FILLS))("of %s vectors are the reference's in both builds", async (_, fill) => {
    const random = seeded(5);
    for (const [n, dim, k] of [
      [1, 1, 1],
      [2, 3, 1],
      [5, 4, 2],
      [40, 1, 3],
      [90, 7, 9],
      [130, 33, 12],
    ] as const) {
      await expectReference(givenOf(filled(n * dim, fill, random), dim, k));
      await expectReference(
        givenOf(filled(n * dim, fill, random), dim, k, { degree: 8, candidates: 12, probes: 2 }),
      );
    }
  });

  test("of any small sets, with duplicates, are the reference's", async () => {
    const values = fc.array(fc.integer({ min: -2, max: 2 }), { minLength: 4, maxLength: 120 });
    await fc.assert(
      fc.asyncProperty(
        values,
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 5 }),
        fc.constantFrom(4, 8, 64),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 5 }),
        async (given, dim, cells, degree, candidates, probes) => {
          const n = Math.floor(given.length / dim);
          const vectors = Float32Array.from(given.slice(0, n * dim));
          const k = Math.min(n, cells);
          await expectReference(givenOf(vectors, dim, k, { degree, candidates, probes }));
        },
      ),
      { numRuns: 60 },
    );
  });

  test("of 4,096 dimensions are the reference's", async () => {
    const random = seeded(6);
    await expectReference(givenOf(filled(12 * 4096, FILLS.ordinary as () => number, random), 4096, 3));
  });

  test("of equal vectors are a chain", async () => {
    const given = givenOf(new Float32Array(300 * 3).fill(0.5), 3, 1);
    const { lists } = await expectReference(given);
    lists.forEach((list, node) => {
      for (const near of [node - 1, node + 1]) if (near >= 0 && near < 300) expect(list).toContain(near);
    });
  });

  test("lead into crowds that know only each other", async () => {
    const random = seeded(7);
    const vectors = Float32Array.from({ length: 400 * 2 }, (_, i) => {
      const crowd = Math.floor(i / 200);
      return (i % 2 === 0 ? crowd * 1000 : 0) + random();
    });
    const cells = Uint32Array.from({ length: 400 }, (_, i) => Math.floor(i / 100));
    const centroids = Float32Array.from([0, 0, 1000, 0, 2000, 0, 3000, 0]);
    await expectReference({
      ...givenOf(vectors, 2, 1, { degree: 8, candidates: 20, probes: 1 }),
      cells,
      centroids,
    });
  });

  test("are repaired where a list was pruned away", async () => {
    // With one candidate and lists of four much of a line falls apart.
    const vectors = Float32Array.from({ length: 200 }, (_, i) => (i * 7919) % 1009);
    const { repaired } = await expectReference(
      givenOf(vectors, 1, 1, { degree: 4, candidates: 1, probes: 1 }),
    );
    expect(repaired).toBeGreaterThan(0);
  });

  test("let other work run, say how far they are, and end when that throws", async () => {
    const kernels = builds[1] as Kernels;
    const given = givenOf(filled(12_000 * 24, FILLS.ordinary as () => number, seeded(8)), 24, 60);
    const said: number[] = [];
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const graph = await linkIn(kernels, given, { onProgress: ({ done, total }) => said.push(done / total) });
    clearInterval(timer);
    graph.free();
    expect(said.at(-1)).toBe(1);
    expect(said).toEqual([...said].sort((a, b) => a - b));
    expect(said.length).toBeGreaterThan(3);
    expect(turns).toBeGreaterThan(3);
    const before = kernels.live();
    const stop = (): void => {
      throw new Error("stop");
    };
    await expect(linkIn(kernels, given, { onProgress: stop })).rejects.toThrow("stop");
    expect(kernels.live()).toEqual(before);
  });

  test("misuse is told", async () => {
    const kernels = builds[0] as Kernels;
    const given = givenOf(Float32Array.of(1, 2, 3, 4, 5, 6), 2, 2);
    const before = kernels.live();
    for (const [wrong, field] of [
      [{ n: 0 }, "n"],
      [{ dim: 0 }, "dim"],
      [{ dim: 65_537 }, "dim"],
      [{ degree: 68 }, "degree"],
      [{ degree: 6 }, "degree"],
      [{ candidates: 0 }, "candidates"],
      [{ candidates: 1025 }, "candidates"],
      [{ probes: 0 }, "probes"],
      [{ probes: 65 }, "probes"],
      [{ centroids: new Float32Array(3) }, "centroids"],
      [{ centroids: Float32Array.of(1, Number.NaN) }, "centroids[1]"],
      [{ cells: new Uint32Array(2) }, "cells"],
      [{ cells: Uint32Array.of(0, 2, 1) }, "cells[1]"],
      [{ vectors: Float32Array.of(1, 2, 3, Infinity, 5, 6) }, "vectors[3]"],
    ] as const) {
      await expect(linkIn(kernels, { ...given, ...wrong } as Given)).rejects.toThrow(
        expect.objectContaining({ code: "InvalidArgument", field }),
      );
    }
    expect(kernels.live()).toEqual(before);
  });
});

/** Rows coded by the kernel, as it lays them, and what that layout says. */
function codeIn(
  kernels: Kernels,
  rows: Float32Array,
  dim: number,
  metric: string,
): { at: number; coded: Coded[] } {
  const n = rows.length / dim;
  const rowBytes = Math.ceil(dim / 4) * 16;
  const source = kernels.alloc(n * rowBytes);
  split(rows, dim).forEach((row, i) => {
    kernels.f32(source + i * rowBytes, dim).set(row);
  });
  const stride = codeStride(dim);
  const at = kernels.alloc(n * stride);
  kernels.exports.vamanaCodes(source, n, dim, rowBytes, metric === "l2" ? 1 : 0, at, stride);
  kernels.free(source);
  const coded = Array.from({ length: n }, (_, i) => {
    const bytes = kernels.bytes(at + i * stride, stride).slice();
    const view = new DataView(bytes.buffer);
    expect(bytes.slice(dim, codeWidth(dim)).every((byte) => byte === 0)).toBe(true);
    return {
      codes: [...new Int8Array(bytes.buffer, 0, dim)],
      scale: view.getFloat32(codeWidth(dim), true),
      half: view.getFloat32(codeWidth(dim) + 4, true),
    };
  });
  return { at, coded };
}

describe.each(Object.entries(FILLS))("walks over %s vectors", (_, fill) => {
  test.each(["cosine", "l2"])("by %s: codes and results are the reference's", async (metric) => {
    const random = seeded(9);
    for (const [n, dim, k] of [
      [1, 1, 1],
      [3, 2, 1],
      [70, 5, 4],
      [300, 16, 10],
      [200, 37, 5],
    ] as const) {
      const given = givenOf(filled(n * dim, fill, random), dim, k, { degree: 8, candidates: 30 });
      const queries = [filled(dim, fill, random), new Float32Array(dim), given.vectors.slice(0, dim)];
      for (const kernels of builds) {
        const graph = await linkIn(kernels, given);
        const inOrder = Float32Array.from(
          [...graph.rows].flatMap((row) => [...given.vectors.slice(row * dim, (row + 1) * dim)]),
        );
        const { at, coded } = codeIn(kernels, inOrder, dim, metric);
        expect(coded).toEqual(split(inOrder, dim).map((row) => reference.code(row, metric)));
        const lists = listsOf(kernels, graph);
        const { entries, heads } = graph;
        const place = layGraph(kernels, n, dim, graph.degree, heads, { rows: at, lists: graph.lists });
        const walk = new GraphWalk(kernels, place, n, dim, 64);
        for (const query of queries) {
          const wanted = reference.codeQuery(query);
          for (const [beam, most] of [
            [1, 1],
            [7, 5],
            [64, 64],
          ] as const) {
            walk.start(query, graph.entries, { beam });
            expect(walk.go()).toBeUndefined();
            const best = walk.best(most);
            expect([...kernels.u32(best.nodes, best.count)]).toEqual(
              reference.walk({ coded, lists, entries, heads }, wanted, beam, most),
            );
            for (const slack of [0, 0.1, 1]) {
              const within = { nearest: Math.ceil(most / 2), slack, isL2: metric === "l2" };
              walk.start(query, graph.entries, { beam, within });
              expect(walk.go()).toBeUndefined();
              const near = walk.best(most);
              expect([...kernels.u32(near.nodes, near.count)]).toEqual(
                reference.walk({ coded, lists, entries, heads }, wanted, beam, most, undefined, {
                  ...within,
                  query,
                }),
              );
            }
            const allows = (node: number): boolean => node % 3 === 1;
            const filter = kernels.copyIn(
              Uint8Array.from({ length: Math.ceil(n / 8) }, (_, byte) =>
                Array.from({ length: 8 }, (_, bit) => Number(allows(byte * 8 + bit)) << bit).reduce(
                  (a, b) => a | b,
                ),
              ),
            );
            const results = kernels.topK(most);
            walk.start(query, graph.entries, { beam }, filter, results);
            walk.go();
            const allowed = walk.best(most);
            expect([...kernels.u32(allowed.nodes, allowed.count)]).toEqual(
              reference.walk({ coded, lists, entries, heads }, wanted, beam, most, allows),
            );
            results.free();
            kernels.free(filter);
          }
        }
        walk.free();
        walk.free();
        for (const pointer of [at, place]) kernels.free(pointer);
        graph.free();
      }
    }
  });
});

test("sums of the largest codes stay within i32", () => {
  for (const dim of [1, 100, 4096, 65_536]) {
    const query = new Float32Array(dim).fill(1);
    const { codes, step } = reference.codeQuery(query);
    expect((codes[0] as number) * 127 * dim).toBeLessThan(2 ** 31);
    for (const kernels of builds) {
      const at = kernels.copyIn(query);
      const out = kernels.alloc(codeWidth(dim) * 2);
      expect(kernels.exports.vamanaQuery(at, dim, out)).toBe(step);
      expect(new Int16Array(kernels.bytes(out, 2).slice().buffer)[0]).toBe(codes[0]);
      kernels.free(at);
      kernels.free(out);
    }
  }
});
