import { beforeAll, describe, expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import type { VectorQuery } from "../../src/dataset/query.ts";
import { type EmbeddingOptions, Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { scratchDirectories } from "../store/scratch.ts";
import { collect, cosineDistance, randomVector, seeded, testClock } from "./records.ts";
import { storeKinds } from "./stores.ts";

const DIM = 12;
const BITS = 6;
const CELLS = 2 ** BITS;

interface Item {
  anchor: bigint;
  vector: Float32Array;
  label: string;
  n: number;
}

const layouts: [name: string, options: Omit<EmbeddingOptions<true>, "required">][] = [
  ["one exact cell", { dim: DIM }],
  ["lsh with vectors", { dim: DIM, algorithm: "dreamdb.lsh-cosine", lshBits: BITS, rerank: true }],
  ["lsh without vectors", { dim: DIM, algorithm: "dreamdb.lsh-cosine", lshBits: BITS, rerank: false }],
  [
    "three lsh tables with vectors",
    { dim: DIM, algorithm: "dreamdb.lsh-cosine", lshBits: BITS, lshTables: 3, rerank: true },
  ],
  [
    "three lsh tables without vectors",
    { dim: DIM, algorithm: "dreamdb.lsh-cosine", lshBits: BITS, lshTables: 3, rerank: false },
  ],
];

function schemaFor(options: EmbeddingOptions<true>) {
  return new Schema()
    .addEmbedding("v", options)
    .addScalarCategorical("label")
    .addScalarInt("n")
    .addImage("image");
}

function newItems(count: number, seed: number): Omit<Item, "anchor">[] {
  const random = seeded(seed);
  return Array.from({ length: count }, (_, n) => ({
    vector: randomVector(random, DIM),
    label: `l${n % 7}`,
    n,
  }));
}

const toRecord = ({ vector, label, n }: Omit<Item, "anchor">) => ({
  v: vector,
  label,
  n,
  image: Uint8Array.of(n & 255),
});

/** Appends `items` in calls of `sizes` records. */
async function fill(dataset: Dataset, items: Omit<Item, "anchor">[], sizes: number[]): Promise<Item[]> {
  const stored: Item[] = [];
  let from = 0;
  for (let i = 0; from < items.length; i++) {
    const part = items.slice(from, from + sizes[i % sizes.length]!);
    const { anchors } = await dataset.appendMany(part.map(toRecord));
    part.forEach((item, j) => {
      stored.push({ ...item, anchor: anchors[j]! });
    });
    from += part.length;
  }
  return stored;
}

/** What a search must give: every item by distance, then anchor. */
function bruteForce(items: Item[], query: ArrayLike<number>): (Item & { distance: number })[] {
  return items
    .map((item) => ({ ...item, distance: cosineDistance(query, item.vector) }))
    .sort((a, b) => a.distance - b.distance || (a.anchor < b.anchor ? -1 : 1));
}

async function hits(dataset: Dataset, query: VectorQuery) {
  const batches = await dataset.iterVector(query);
  return {
    anchors: batches.flatMap((batch) => batch._time_anchors),
    distances: batches.flatMap((batch) => batch._distances),
    batches,
  };
}

function expectExact(
  found: { anchors: bigint[]; distances: number[] },
  items: Item[],
  query: ArrayLike<number>,
  topK: number,
): void {
  const wanted = bruteForce(items, query).slice(0, topK);
  expect(found.distances).toEqual(wanted.map((item) => item.distance));
  expect(found.anchors).toEqual(wanted.map((item) => item.anchor));
}

const queries = (count: number, seed = 99) => {
  const random = seeded(seed);
  return Array.from({ length: count }, () => randomVector(random, DIM));
};

describe.each(storeKinds(scratchDirectories()))("%s", (_name, makeStore) => {
  describe.each(layouts)("%s", (_layout, options) => {
    let dataset: Dataset;
    let store: Store;
    let items: Item[];

    beforeAll(async () => {
      store = makeStore();
      dataset = await Dataset.create("vectors", schemaFor(options), store);
      items = await fill(dataset, newItems(600, 1), [400, 1, 50, 2]);
    });

    test("with every cell looked at, the search is exact to the bit", async () => {
      const reopened = await Dataset.open("vectors", store);
      for (const query of queries(15)) {
        const found = await hits(reopened, { field: "v", query, topK: 25, nprobe: CELLS });
        expectExact(found, items, query, 25);
      }
    });

    test("topK beyond the dataset gives all of it, whatever nprobe", async () => {
      const [query] = queries(1);
      for (const nprobe of [1, 5, CELLS]) {
        expectExact(
          await hits(dataset, { field: "v", query: query!, topK: 5000, nprobe }),
          items,
          query!,
          5000,
        );
      }
    });

    test("one probed cell is widened until topK records are found", async () => {
      for (const query of queries(5)) {
        for (const topK of [1, 17, 200]) {
          const found = await hits(dataset, { field: "v", query, topK, nprobe: 1 });
          expect(found.anchors).toHaveLength(topK);
          expect(new Set(found.anchors).size).toBe(topK);
          const byAnchor = new Map(items.map((item) => [item.anchor, item]));
          expect(found.distances).toEqual(
            found.anchors.map((anchor) => cosineDistance(query, byAnchor.get(anchor)!.vector)),
          );
          expect(found.distances).toEqual([...found.distances].sort((a, b) => a - b));
        }
      }
    });

    test("recall grows with nprobe, to 1", async () => {
      const recall: number[] = [];
      for (const nprobe of [1, 4, 16, CELLS]) {
        let found = 0;
        for (const query of queries(20)) {
          const truth = new Set(
            bruteForce(items, query)
              .slice(0, 10)
              .map((item) => item.anchor),
          );
          const { anchors } = await hits(dataset, { field: "v", query, topK: 10, nprobe });
          found += anchors.filter((anchor) => truth.has(anchor)).length;
        }
        recall.push(found / 200);
      }
      expect(recall).toEqual([...recall].sort((a, b) => a - b));
      expect(recall.at(-1)).toBe(1);
      // Cells with vectors in them are read by the block, and a block of this size holds many cells.
      if (options.rerank === false) expect(recall[0]).toBeLessThan(0.6);
      if (options.algorithm === "dreamdb.lsh-cosine") expect(recall[2]).toBeGreaterThan(0.6);
    });

    test("a filter makes the search exact among what it leaves", async () => {
      for (const query of queries(4)) {
        const some = items.filter((item) => item.label === "l3");
        expectExact(
          await hits(dataset, { field: "v", query, topK: 10, whereEq: { label: "l3" }, nprobe: 1 }),
          some,
          query,
          10,
        );
        const one = items.filter((item) => item.n === 77);
        expectExact(
          await hits(dataset, { field: "v", query, whereEq: { n: 77, label: "l0" } }),
          one,
          query,
          10,
        );
        expect(await dataset.iterVector({ field: "v", query, whereEq: { n: 77, label: "l1" } })).toEqual([]);
        expect(await dataset.iterVector({ field: "v", query, whereEq: { label: "none" } })).toEqual([]);
        expectExact(await hits(dataset, { field: "v", query, whereEq: {}, nprobe: CELLS }), items, query, 10);
      }
    });

    test("hits carry the scalars, or the fields that were named", async () => {
      const [query] = queries(1);
      const wanted = bruteForce(items, query!).slice(0, 3);
      const search = (more: Partial<VectorQuery>) =>
        dataset.iterVector({ field: "v", query: Array.from(query!), topK: 3, nprobe: CELLS, ...more });
      const base = {
        _time_anchors: wanted.map((item) => item.anchor),
        _distances: wanted.map((item) => item.distance),
      };
      const label = wanted.map((item) => item.label);
      const n = wanted.map((item) => item.n);
      expect(await search({})).toEqual([{ ...base, label, n }]);
      expect(await search({ fields: [] })).toEqual([base]);
      const image = wanted.map((item) => Uint8Array.of(item.n & 255));
      const v = wanted.map((item) => item.vector);
      expect(await search({ fields: ["v", "image"] })).toEqual([{ ...base, image, v }]);
      expect(await search({ fields: ["label", "label"] })).toEqual([{ ...base, label }]);
    });

    test("it can be awaited, awaited again, and iterated, in batches of the size asked for", async () => {
      const [query] = queries(1);
      const results = dataset.iterVector({ field: "v", query: query!, topK: 10, batchSize: 4 });
      const awaited = await results;
      expect(awaited.map((batch) => batch._time_anchors.length)).toEqual([4, 4, 2]);
      expect(awaited.map((batch) => batch._distances.length)).toEqual([4, 4, 2]);
      expect(await results).toBe(awaited);
      expect(await collect(results)).toEqual(awaited);
      const [whole] = await dataset.iterVector({ field: "v", query: query!, topK: 10 });
      expect(awaited.flatMap((batch) => batch._time_anchors)).toEqual(whole!._time_anchors);
      expect(await dataset.iterVector({ field: "v", query: query!, topK: 1, batchSize: 1 })).toHaveLength(1);
    });

    test("both builds of the core, and the smallest of memories, give the same results", async () => {
      const variants = [
        { kernels: "scalar" as const },
        { kernels: "simd" as const },
        { residentBytes: 0, cacheBytes: 0 },
        { residentBytes: 2000, cacheBytes: 3000 },
      ];
      const whole = await Promise.all(
        queries(6).map((query) => hits(dataset, { field: "v", query, topK: 15, nprobe: 9 })),
      );
      for (const variant of variants) {
        const other = await Dataset.open("vectors", store, variant);
        for (const [i, query] of queries(6).entries()) {
          expect(await hits(other, { field: "v", query, topK: 15, nprobe: 9 })).toEqual(whole[i]);
        }
        expect(
          await Promise.all(
            queries(6).map((query) => hits(other, { field: "v", query, topK: 15, nprobe: 9 })),
          ),
        ).toEqual(whole);
        await other.close();
      }
    });
  });
});

test.each(layouts)("%s: 150 small appends are searched like one", async (_name, options) => {
  const store = memoryStore();
  const dataset = await Dataset.create("small", schemaFor(options), store);
  const items = await fill(dataset, newItems(300, 5), [2]);
  for (const query of queries(4)) {
    expectExact(await hits(dataset, { field: "v", query, topK: 20, nprobe: CELLS }), items, query, 20);
    const some = items.filter((item) => item.label === "l2");
    expectExact(await hits(dataset, { field: "v", query, whereEq: { label: "l2" } }), some, query, 10);
  }
  const tiny = await Dataset.open("small", store, { cacheBytes: 1000, residentBytes: 1000 });
  for (const query of queries(2)) {
    expectExact(await hits(tiny, { field: "v", query, topK: 20, nprobe: CELLS }), items, query, 20);
  }
});

test.each(layouts)(
  "%s: many blocks a column, with eviction, are searched exactly",
  async (_name, options) => {
    const store = memoryStore();
    const clock = testClock();
    const dataset = await Dataset.create("large", schemaFor(options), store, { clock: clock.read });
    const items = await fill(dataset, newItems(7000, 6), [5000, 2000]);
    for (const residentBytes of [1 << 28, 200_000, 0]) {
      const other = await Dataset.open("large", store, { residentBytes, cacheBytes: residentBytes });
      for (const query of queries(2)) {
        expectExact(
          await hits(other, { field: "v", query, topK: 50, nprobe: CELLS, fields: ["n"] }),
          items,
          query,
          50,
        );
      }
      const [query] = queries(1);
      const some = items.filter((item) => item.label === "l5");
      expectExact(
        await hits(other, { field: "v", query: query!, topK: 50, whereEq: { label: "l5" } }),
        some,
        query!,
        50,
      );
    }
  },
);

test.each(layouts)(
  "%s: equal distances come by anchor, and a tie at the end is cut",
  async (_name, options) => {
    const clock = testClock();
    const dataset = await Dataset.create("ties", schemaFor(options), memoryStore(), { clock: clock.read });
    const vector = Float32Array.from({ length: DIM }, (_, i) => i + 1);
    const record = (tick: number, scale: number) => ({
      _anchor: clock.now + BigInt(tick),
      ...toRecord({ vector: vector.map((x) => x * scale), label: "a", n: tick }),
    });
    await dataset.appendMany([10, 20, 30].map((tick) => record(tick, 1)));
    await dataset.appendMany([5, 15, 25].map((tick) => record(tick, 2)));
    await dataset.appendMany([record(1, -1)]);
    const found = await hits(dataset, { field: "v", query: vector, topK: 7, nprobe: CELLS });
    expect(found.anchors).toEqual([5, 10, 15, 20, 25, 30, 1].map((tick) => clock.now + BigInt(tick)));
    expect(new Set(found.distances.slice(0, 6)).size).toBe(1);
    const cut = await hits(dataset, { field: "v", query: vector, topK: 4, nprobe: CELLS });
    expect(cut.distances).toEqual(found.distances.slice(0, 4));
    expect(cut.anchors).toEqual([...cut.anchors].sort());
  },
);

test.each(layouts)("%s: a record without a vector is never a hit", async (_name, options) => {
  const schema = new Schema().addEmbedding("v", { ...options, required: false }).addScalarInt("n");
  const dataset = await Dataset.create("sparse", schema, memoryStore());
  const random = seeded(3);
  const given = Array.from({ length: 90 }, (_, n) =>
    n % 3 === 0 ? { n } : { n, v: randomVector(random, DIM) },
  );
  const anchors: bigint[] = [];
  for (const part of [given.slice(0, 40), given.slice(40, 41), given.slice(41)])
    anchors.push(...(await dataset.appendMany(part)).anchors);
  anchors.push(...(await dataset.appendMany([{ n: 90 }, { n: 91 }])).anchors);
  const items = given.flatMap((record, i) =>
    record.v === undefined ? [] : [{ anchor: anchors[i]!, vector: record.v, label: "", n: record.n }],
  );
  for (const query of queries(4)) {
    for (const nprobe of [1, CELLS])
      expectExact(await hits(dataset, { field: "v", query, topK: 1000, nprobe }), items, query, 1000);
    expectExact(await hits(dataset, { field: "v", query, topK: 7, nprobe: CELLS }), items, query, 7);
    expect((await hits(dataset, { field: "v", query, whereEq: { n: 3 } })).anchors).toEqual([]);
    expect((await hits(dataset, { field: "v", query, whereEq: { n: 4 } })).anchors).toEqual([anchors[4]]);
  }
});

test("an empty dataset has no hits", async () => {
  for (const [, options] of layouts) {
    const dataset = await Dataset.create("empty", schemaFor(options), memoryStore());
    expect(await dataset.iterVector({ field: "v", query: queries(1)[0]! })).toEqual([]);
  }
});

test("whereEq compares every kind of scalar", async () => {
  const schema = new Schema()
    .addEmbedding("v", { dim: 2 })
    .addScalarCategorical("word")
    .addScalarString("text", { required: false })
    .addScalarBool("flag", { required: false })
    .addScalarInt("int", { required: false })
    .addScalarFloat("float", { required: false })
    .addScalarTimestamp("time", { required: false });
  const dataset = await Dataset.create("filters", schema, memoryStore());
  const big = 2n ** 60n + 1n;
  const { anchors } = await dataset.appendMany([
    { v: [1, 0], word: "", text: "", flag: false, int: 0, float: 0, time: 0n },
    {
      v: [1, 1],
      word: "é",
      text: "e\u0301",
      flag: true,
      int: 2 ** 53 - 1,
      float: 0.1,
      time: 1_779_083_474_791_115_001n,
    },
    { v: [0, 1], word: "x", text: "x".repeat(1000), int: big, float: -1e300, time: new Date(5) },
    { v: [2, 1], word: "none" },
  ]);
  const where = async (whereEq: VectorQuery["whereEq"]) =>
    (
      await hits(dataset, { field: "v", query: [1, 0], ...(whereEq === undefined ? {} : { whereEq }) })
    ).anchors
      .map((anchor) => anchors.indexOf(anchor))
      .sort();
  expect(await where({ word: "" })).toEqual([0]);
  expect(await where({ word: "é" })).toEqual([1]);
  expect(await where({ text: "" })).toEqual([0]);
  expect(await where({ text: "é" })).toEqual([]);
  expect(await where({ text: "e\u0301" })).toEqual([1]);
  expect(await where({ flag: false })).toEqual([0]);
  expect(await where({ flag: true })).toEqual([1]);
  expect(await where({ int: 0 })).toEqual([0]);
  expect(await where({ int: 0n })).toEqual([0]);
  expect(await where({ int: 2n ** 53n - 1n })).toEqual([1]);
  expect(await where({ int: big })).toEqual([2]);
  expect(await where({ int: big - 1n })).toEqual([]);
  expect(await where({ float: -0 })).toEqual([0]);
  expect(await where({ float: 0.1 })).toEqual([1]);
  expect(await where({ float: -1e300 })).toEqual([2]);
  expect(await where({ time: 1_779_083_474_791_115_001n })).toEqual([1]);
  expect(await where({ time: 5_000_000 })).toEqual([2]);
  expect(await where({ word: "x", int: big, float: -1e300 })).toEqual([2]);
  expect(await where(undefined)).toEqual([0, 1, 2, 3]);
});

test("cells that are read by the block find no less than the cells alone", async () => {
  const datasets: Dataset[] = [];
  for (const [, options] of layouts.slice(1, 3)) {
    const dataset = await Dataset.create("same", schemaFor(options), memoryStore(), {
      clock: testClock().read,
    });
    await fill(dataset, newItems(500, 8), [300, 20]);
    datasets.push(dataset);
  }
  for (const query of queries(6)) {
    for (const nprobe of [1, 2, 7, 31, CELLS - 1]) {
      const [byBlock, alone] = await Promise.all(
        datasets.map((dataset) => hits(dataset, { field: "v", query, topK: 30, nprobe })),
      );
      expect(byBlock!.distances).toHaveLength(30);
      for (let i = 0; i < 30; i++) expect(byBlock!.distances[i]).toBeLessThanOrEqual(alone!.distances[i]!);
    }
  }
});
