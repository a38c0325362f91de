import { beforeAll, describe, expect, test } from "@jest/globals";
import {
  buildVamana,
  type ReadBlock,
  type ReadVectors,
  VamanaGraph,
  type VamanaHits,
} from "../../src/index/vamana.ts";
import type { GraphMetric } from "../../src/objects/graph-index.ts";
import {
  bestOf,
  bothBuilds,
  cosine,
  FILLS,
  filled,
  invNorm,
  negatedDistance,
  seeded,
} from "../kernels/reference.ts";
import type { Kernels } from "../kernels/subject.ts";

let builds: Kernels[];

beforeAll(async () => {
  builds = await bothBuilds();
});

interface Given {
  kernels: Kernels;
  metric: GraphMetric;
  /** n × dim, as stored. */
  vectors: Float32Array;
  dim: number;
  degree?: number;
  cells?: number;
  exponent?: number;
}

const tickOf = (row: number): bigint => 5_000_000_000n - BigInt(row) * 7n;
const rowOf = (tick: bigint): number => Number((5_000_000_000n - tick) / 7n);

async function build(given: Given) {
  const { kernels, vectors, dim, metric, exponent = 0 } = given;
  const n = vectors.length / dim;
  const inIndexSpace = vectors.slice();
  for (let row = 0; row < n; row++) {
    const own = inIndexSpace.subarray(row * dim, (row + 1) * dim);
    const by = metric === "cosine" ? invNorm(own) : 2 ** -exponent;
    own.forEach((value, i) => {
      own[i] = value * by;
    });
  }
  const at = kernels.copyIn(inIndexSpace);
  try {
    const ticks = BigUint64Array.from({ length: n }, (_, row) => tickOf(row));
    return await buildVamana({ ...given, vectors: at, n, ticks });
  } finally {
    kernels.free(at);
  }
}

type Built = Awaited<ReturnType<typeof build>>;

class Storage {
  reads = 0;
  damage: ((bytes: Uint8Array, offset: number) => void) | undefined;
  private readonly pages: Map<string, Uint8Array>;
  private readonly given: Given;

  constructor(built: Built, given: Given) {
    this.pages = new Map(built.pages.map(({ ref, bytes }) => [ref.address, bytes]));
    this.given = given;
  }

  readonly readBlock: ReadBlock = async (ref, offset, length) => {
    this.reads++;
    await new Promise((resolve) => setTimeout(resolve, 0));
    const bytes = (this.pages.get(ref.address) as Uint8Array).slice(offset, offset + length);
    this.damage?.(bytes, offset);
    return bytes;
  };

  readonly readVectors: ReadVectors = async (nodes, ticks) => {
    const out = new Float32Array(nodes.length * this.given.dim);
    for (const [i, tick] of ticks.entries()) out.set(this.row(rowOf(tick)), i * this.given.dim);
    return out;
  };

  async loaded(built: Built): Promise<VamanaGraph> {
    const graph = VamanaGraph.open(this.given.kernels, built.bytes);
    await graph.loadAll((ref) => this.readBlock(ref, 0, ref.bytes));
    await graph.loadVectors((first, rows) => {
      for (let at = 0; at < rows.length; at += this.given.dim)
        rows.set(this.row(rowOf(graph.ticks[first + at / this.given.dim] as bigint)), at);
    });
    return graph;
  }

  row(row: number): Float32Array {
    return this.given.vectors.subarray(row * this.given.dim, (row + 1) * this.given.dim);
  }
}

/** Every row's exact score. */
function scoresOf({ vectors, dim, metric }: Given, query: Float32Array): number[] {
  return Array.from({ length: vectors.length / dim }, (_, row) => {
    const own = vectors.subarray(row * dim, (row + 1) * dim);
    return metric === "cosine" ? cosine(own, query) : negatedDistance(own, query);
  });
}

function expectExact(hits: VamanaHits, given: Given, query: Float32Array): void {
  const scores = scoresOf(given, query);
  expect([...hits.scores]).toEqual(Array.from(hits.ticks, (tick) => (scores[rowOf(tick)] as number) + 0));
  for (let i = 1; i < hits.scores.length; i++) {
    const [a, b] = [hits.scores[i - 1] as number, hits.scores[i] as number];
    expect(a > b || (a === b && (hits.nodes[i - 1] as number) < (hits.nodes[i] as number))).toBe(true);
  }
}

describe.each(["cosine", "l2"] as const)("a graph by %s", (metric) => {
  const dim = 12;
  const random = seeded(21);
  const vectors = filled(1500 * dim, FILLS.ordinary as () => number, random);
  const queries = Array.from({ length: 12 }, () => filled(dim, FILLS.ordinary as () => number, random));
  const givenIn = (kernels: Kernels): Given => ({
    kernels,
    metric,
    vectors,
    dim,
    exponent: metric === "l2" ? 2 : 0,
  });

  test("is the same in both builds, and finds the nearest with exact scores", async () => {
    const built = await Promise.all(builds.map((kernels) => build(givenIn(kernels))));
    expect(built[0]?.address).toBe(built[1]?.address);
    expect(built[0]?.pages.map((page) => page.ref)).toEqual(built[1]?.pages.map((page) => page.ref));
    const found: VamanaHits[][] = [];
    for (const [i, kernels] of builds.entries()) {
      const before = kernels.live();
      const given = givenIn(kernels);
      const graph = await new Storage(built[i] as Built, given).loaded(built[i] as Built);
      let hits = 0;
      found.push(
        queries.map((query) => {
          const result = graph.search(query, { topK: 10, beam: 60 });
          expectExact(result, given, query);
          const best = new Set(bestOf(scoresOf(given, query), 10).ids);
          for (const tick of result.ticks) hits += Number(best.has(rowOf(tick)));
          return result;
        }),
      );
      expect(hits / queries.length / 10).toBeGreaterThan(0.95);
      graph.free();
      expect(kernels.live()).toEqual(before);
    }
    expect(found[0]).toEqual(found[1]);
  });

  test("walked cold finds the same, several walks at once, with any cache", async () => {
    const kernels = builds[1] as Kernels;
    const given = givenIn(kernels);
    const built = await build(given);
    const storage = new Storage(built, given);
    const warm = await storage.loaded(built);
    warm.search(queries[0] as Float32Array, { topK: 10, beam: 70, rerank: 33 }); // it keeps what such a search needs
    for (const cacheBytes of [0, 1 << 20, undefined]) {
      const before = kernels.live();
      const cold = VamanaGraph.open(kernels, built.bytes, cacheBytes);
      for (const options of [
        { topK: 5, beam: 20 },
        { topK: 10, beam: 70, rerank: 33 },
      ]) {
        const results = await Promise.all(
          queries.map((query) => cold.searchCold(query, { ...options, ...storage })),
        );
        expect(results).toEqual(queries.map((query) => warm.search(query, options)));
      }
      storage.reads = 0;
      await cold.searchCold(queries[0] as Float32Array, { topK: 1, ...storage });
      expect(storage.reads > 0).toBe(cacheBytes === 0);
      cold.free();
      expect(kernels.live()).toEqual(before);
    }
    warm.free();
  });

  test("gives only what a filter lets through", async () => {
    const kernels = builds[1] as Kernels;
    const given = givenIn(kernels);
    const built = await build(given);
    const storage = new Storage(built, given);
    const warm = await storage.loaded(built);
    const cold = VamanaGraph.open(kernels, built.bytes);
    const n = vectors.length / dim;
    const filter = Uint8Array.from({ length: Math.ceil(n / 8) }, (_, i) => (i % 3 === 0 ? 0x12 : 0));
    const allows = (node: number): boolean => (((filter[node >> 3] as number) >> (node & 7)) & 1) === 1;
    const address = kernels.copyIn(filter);
    let hits = 0;
    for (const query of queries) {
      const options = { topK: 10, beam: 200, filter };
      const result = warm.search(query, options);
      expectExact(result, given, query);
      expect([...result.nodes].every(allows)).toBe(true);
      expect(await cold.searchCold(query, { ...options, ...storage })).toEqual(result);
      expect(warm.search(query, { ...options, filter: address })).toEqual(result);
      const nodes = Array.from({ length: n }, (_, node) => node).filter(allows);
      const scores = scoresOf(given, query);
      const best = bestOf(
        nodes.map((node) => scores[rowOf(warm.ticks[node] as bigint)] as number),
        10,
        nodes,
      );
      for (const node of result.nodes) hits += Number(best.ids.includes(node));
    }
    expect(hits / queries.length / 10).toBeGreaterThan(0.9);
    const none = warm.search(queries[0] as Float32Array, { topK: 3, filter: new Uint8Array(filter.length) });
    expect(none.scores.length).toBe(0);
    kernels.free(address);
    warm.free();
    cold.free();
  });
});

test("a walk keeps its blocks while others end", async () => {
  const kernels = builds[1] as Kernels;
  const [dim, random] = [500, seeded(31)];
  const given: Given = {
    ...{ kernels, metric: "cosine", dim, degree: 4, cells: 30 },
    vectors: filled(1500 * dim, FILLS.ordinary as () => number, random),
  };
  const built = await build(given);
  expect(1500 / built.index.blockNodes).toBeGreaterThan(20);
  const storage = new Storage(built, given);
  const warm = await storage.loaded(built);
  const cold = VamanaGraph.open(kernels, built.bytes, 0);
  let ended = Number.POSITIVE_INFINITY;
  // The second walk goes further than the first: it has nodes in view, and waits for others, when the first ends.
  const walks = [0, 1].map(async (i) => {
    const query = filled(dim, FILLS.ordinary as () => number, seeded(7));
    const options = i === 0 ? { topK: 1, beam: 1 } : { topK: 20, beam: 60 };
    let reads = 0;
    const readBlock: ReadBlock = async (ref, offset, length) => {
      if (i === 1 && ++reads > 8) await new Promise((resolve) => setTimeout(resolve, 200));
      return storage.readBlock(ref, offset, length);
    };
    const found = await cold.searchCold(query, { ...options, readBlock, readVectors: storage.readVectors });
    if (i === 0) ended = storage.reads;
    expect(found).toEqual(warm.search(query, options));
  });
  await Promise.all(walks);
  expect(ended).toBeLessThan(storage.reads);
  warm.free();
  cold.free();
});

describe("graphs of few or odd vectors", () => {
  test.each([
    ["one vector", 1, 3, (i: number) => i + 1],
    ["two vectors", 2, 1, (i: number) => i + 1],
    ["fewer vectors than a list has places", 30, 2, (i: number) => Math.sin(i)],
    ["equal vectors", 700, 5, () => 0.25],
    ["vectors without direction", 40, 4, () => 0],
    ["4,096 dimensions", 20, 4096, (i: number) => Math.sin(i * i)],
  ])("%s", async (_, n, dim, value) => {
    for (const metric of ["cosine", "l2"] as const) {
      const addresses = new Set<string>();
      for (const kernels of builds) {
        const given: Given = {
          kernels,
          metric,
          dim,
          vectors: Float32Array.from({ length: n * dim }, (_, i) => value(i)),
        };
        const built = await build(given);
        addresses.add(built.address);
        const graph = await new Storage(built, given).loaded(built);
        const query = given.vectors.slice(0, dim);
        const hits = graph.search(query, { topK: 64, beam: 64 });
        expectExact(hits, given, query);
        expect(hits.nodes.length).toBe(Math.min(n, 64));
        graph.free();
      }
      expect(addresses.size).toBe(1);
    }
  });
});

describe("what is wrong is told", () => {
  const dim = 4;
  const givenIn = (kernels: Kernels): Given => ({
    ...{ kernels, metric: "cosine", dim, degree: 8 },
    vectors: filled(900 * dim, FILLS.ordinary as () => number, seeded(4)),
  });
  const query = Float32Array.of(1, 2, 3, 4);
  const coded = (code: string, field?: string): object =>
    expect.objectContaining(field === undefined ? { code } : { code, field });

  test("damaged blocks, heads and pages, and the graph stays usable", async () => {
    const kernels = builds[0] as Kernels;
    const given = givenIn(kernels);
    const built = await build(given);
    const storage = new Storage(built, given);
    const before = kernels.live();
    const graph = VamanaGraph.open(kernels, built.bytes);
    const flip = (bytes: Uint8Array): void => {
      bytes[9] = (bytes[9] as number) ^ 4;
    };
    for (const damage of [
      (bytes: Uint8Array, offset: number) => offset === 0 && flip(bytes),
      (bytes: Uint8Array, offset: number) => offset > 0 && flip(bytes),
    ]) {
      storage.damage = damage;
      await expect(graph.searchCold(query, { topK: 3, ...storage })).rejects.toThrow(coded("HashMismatch"));
    }
    storage.damage = flip;
    await expect(graph.loadAll((ref) => storage.readBlock(ref, 0, ref.bytes))).rejects.toThrow(
      coded("HashMismatch"),
    );
    const broken: ReadBlock = async () => {
      throw new Error("no network");
    };
    await expect(graph.searchCold(query, { topK: 3, ...storage, readBlock: broken })).rejects.toThrow(
      "no network",
    );
    storage.damage = undefined;
    const hits = await graph.searchCold(query, { topK: 3, ...storage });
    await graph.loadAll((ref) => storage.readBlock(ref, 0, ref.bytes));
    expect(await graph.searchCold(query, { topK: 3, ...storage })).toEqual(hits);
    graph.free();
    expect(kernels.live()).toEqual(before);
  });

  test("wrong arguments", async () => {
    const kernels = builds[0] as Kernels;
    const given = givenIn(kernels);
    const built = await build(given);
    const storage = new Storage(built, given);
    const graph = VamanaGraph.open(kernels, built.bytes);
    expect(() => graph.search(query, { topK: 1 })).toThrow(coded("InvalidArgument", "graph"));
    expect(() => graph.ticks).toThrow(coded("InvalidArgument", "graph"));
    for (const [options, field] of [
      [{ topK: 0 }, "beam"],
      [{ topK: 10, beam: 5 }, "beam"],
      [{ topK: 1, beam: 65_537 }, "beam"],
      [{ topK: 10, beam: 50, rerank: 9 }, "rerank"],
      [{ topK: 10, beam: 50, rerank: 51 }, "rerank"],
      [{ topK: 1, filter: new Uint8Array(3) }, "filter"],
      [{ topK: 1, readVectors: undefined }, "readVectors"],
      [{ topK: 1, readVectors: async () => new Float32Array(3) }, "readVectors"],
    ] as const) {
      const { readBlock, readVectors } = storage;
      const all = { readBlock, readVectors, ...options } as Parameters<typeof graph.searchCold>[1];
      await expect(graph.searchCold(query, all)).rejects.toThrow(coded("InvalidArgument", field));
    }
    for (const wrong of [Float32Array.of(1), Float32Array.of(1, 2, 3, Number.NaN)]) {
      await expect(graph.searchCold(wrong, { topK: 1, ...storage })).rejects.toThrow(
        coded("InvalidArgument", "query"),
      );
    }
    graph.free();
    const at = kernels.copyIn(Float32Array.of(1, 2));
    const source = { kernels, metric: "l2", vectors: at, dim: 1 } as const;
    for (const [n, ticks, field] of [
      [0, 0, "n"],
      [2, 1, "ticks"],
    ] as const) {
      await expect(buildVamana({ ...source, n, ticks: new BigUint64Array(ticks) })).rejects.toThrow(
        coded("InvalidArgument", field),
      );
    }
    kernels.f32(at, 2).fill(3e38);
    await expect(buildVamana({ ...source, n: 2, ticks: new BigUint64Array(2) })).rejects.toThrow(
      coded("InvalidArgument", "vectors[0]"),
    );
    kernels.free(at);
  });
});
