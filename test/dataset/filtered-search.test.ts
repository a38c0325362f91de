/** Vector search with a filter, the same over every kind of index. */
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { Dataset } from "../../src/dataset/dataset.ts";
import type { VectorQuery } from "../../src/dataset/query.ts";
import type { EmbeddingOptions } from "../../src/dataset/schema.ts";
import { randomVector, seeded } from "./records.ts";
import { append, nearest, vectorSets } from "./vector-set.ts";

const DIM = 16;
const { make, exactly } = vectorSets({ dim: DIM });

interface Kind {
  options: Partial<EmbeddingOptions<true>>;
  build: (ds: Dataset) => Promise<unknown>;
  /** Every row is looked at: what is left is whether the filter let the right ones through. */
  all: Partial<VectorQuery>;
  few: Partial<VectorQuery>;
}

const cells = (options: Kind["options"], few: Kind["few"] = { nprobe: 14 }): Kind => ({
  options,
  build: (ds) => ds.rebuildIvf({ field: "v", k: 30 }),
  all: { nprobe: 1 << 20, epsilon: 100, rerankFactor: 40 },
  few,
});
const graph = (options: Kind["options"]): Kind => ({
  options,
  build: (ds) => ds.buildGraph({ field: "v", degree: 12, candidates: 60 }),
  all: { beam: 65_536, rerankFactor: 1024 },
  few: { beam: 60 },
});
const KINDS: [string, Kind][] = [
  ["ivf, 4-bit codes", cells({})],
  [
    "ivf, 1-bit codes",
    cells({ compressor: { algorithm: "rabitq", bits: 1 } }, { nprobe: 20, rerankFactor: 20 }),
  ],
  [
    "ivf, 8-bit codes, by l2",
    cells({ algorithm: "dreamdb.ivf-l2", compressor: { algorithm: "rabitq", bits: 8 } }),
  ],
  ["ivf, no codes, by dot", cells({ algorithm: "dreamdb.ivf-dot", compressor: "none" })],
  ["ivf, no vectors in the cells", cells({ rerank: false })],
  ["imi", cells({ algorithm: "dreamdb.imi-cosine" }, { nprobe: 20 })],
  ["graph", graph({ algorithm: "dreamdb.vamana-cosine" })],
  ["graph by l2", graph({ algorithm: "dreamdb.vamana-l2" })],
  [
    "hyperplanes",
    { options: { algorithm: "dreamdb.lsh-cosine", lshBits: 5 }, build: async () => {}, all: {}, few: {} },
  ],
];
const metricOf = (algorithm = "dreamdb.ivf-cosine"): string => algorithm.slice(algorithm.indexOf("-") + 1);

describe.each(KINDS)("%s:", (_, { options, build, all, few }) => {
  const filtered = async (rows = 1500, more: Parameters<typeof make>[0] = {}) => {
    const made = await make({ rows, options, ...more });
    const algorithm = `dreamdb.ivf-${metricOf(options.algorithm)}` as "dreamdb.ivf-cosine";
    const exact = await exactly(made.vectors, { algorithm });
    await build(made.ds);
    return { ...made, exact };
  };

  test.each([
    ["half of the rows", { n: { lt: 750 } }],
    ["a twentieth", { n: { gte: 100, lt: 175 } }],
    ["three rows", { n: { in: [7, 77, 777] } }],
    ["one row", { n: 5 }],
    ["none", { n: -1 }],
    ["all but a few", { not: { n: { in: [1, 2, 3] } } }],
  ])("filters that leave %s find what an exact search of those finds", async (_, where) => {
    const { ds, exact, random } = await filtered();
    for (let i = 0; i < 6; i++) {
      const query = randomVector(random, DIM);
      const truth = await nearest(exact, query, { where });
      expect(await nearest(ds, query, { where, ...all })).toEqual(truth);
      expect(await nearest(ds, query, { where })).toHaveLength(truth.length);
    }
  });

  test("filters keep their recall with little effort", async () => {
    const { ds, exact, random } = await filtered(2000);
    for (const where of [{ n: { lt: 1800 } }, { n: { lt: 1000 } }, { n: { lt: 200 } }, { n: { lt: 20 } }]) {
      let found = 0;
      for (let i = 0; i < 40; i++) {
        const query = randomVector(random, DIM);
        const truth = new Set((await nearest(exact, query, { where })).map(([anchor]) => anchor));
        for (const [anchor] of await nearest(ds, query, { where, ...few })) if (truth.has(anchor)) found++;
      }
      expect(found / 400).toBeGreaterThan(0.9);
    }
    const told = await ds.explain({ field: "v", query: randomVector(random, DIM), where: { n: { lt: 20 } } });
    expect(told).toMatchObject({ strategy: "exact", isExact: true, hits: 10 });
  });

  test("filters see rows that are appended later", async () => {
    const { ds } = await filtered(1200);
    const query = randomVector(seeded(4), DIM);
    for (const from of [200, 1190]) {
      const where = { n: { gte: from } };
      await nearest(ds, query, { where, ...all });
      const [rows] = [await ds.count()];
      await append(ds, [query], rows);
      const hits = await nearest(ds, query, { where, ...all });
      expect(hits.map(([anchor]) => anchor)).toContain(BigInt(rows) * 1000n);
      const without = await nearest(ds, query, { where: { n: { gte: from, lt: rows } }, ...all });
      expect(without.map(([anchor]) => anchor)).not.toContain(BigInt(rows) * 1000n);
    }
  });

  test("whatever is in memory, few matches are found as an exact search finds them", async () => {
    const { ds, store, exact, random } = await filtered();
    const fresh = Array.from({ length: 40 }, () => randomVector(random, DIM));
    await append(ds, fresh, 1500);
    await append(exact, fresh, 1500);
    const states: [Parameters<typeof Dataset.open>[2], ((ds: Dataset) => Promise<unknown>)?][] = [
      [{}],
      [{}, (open) => open.prewarm()],
      [{}, (open) => open.prewarm({ vectors: false })],
      [{ residentBytes: 0 }],
      [{ residentBytes: 120_000 }, (open) => open.prewarm({ vectors: false })],
      [{ residentBytes: 160_000 }, (open) => open.prewarm()],
    ];
    for (const [given, prepare] of states) {
      const open = await Dataset.open("d", store, given);
      await prepare?.(open);
      for (let i = 0; i < 12; i++) {
        const query = randomVector(random, DIM);
        for (const where of [
          { n: { gte: 1480, lt: 1530 } },
          { n: { in: [i, 50 * i, 1500 + i] } },
          { n: { lt: 3 } },
        ])
          expect(await nearest(open, query, { where })).toEqual(await nearest(exact, query, { where }));
        // Cells come and go in between.
        await nearest(open, query);
      }
      await open.close();
    }
  });

  test("random conditions over random states find what an exact search finds", async () => {
    const number = fc.integer({ min: -5, max: 130 });
    const leaf = fc.oneof(
      number.map((n) => ({ n })),
      fc.array(number, { minLength: 1, maxLength: 6 }).map((list) => ({ n: { in: list } })),
      fc.tuple(number, number).map(([low, size]) => ({ n: { gte: low, lt: low + Math.abs(size) } })),
    );
    const { condition } = fc.letrec((tie) => ({
      condition: fc.oneof(
        { maxDepth: 2 },
        leaf,
        fc.array(tie("condition"), { minLength: 1, maxLength: 3 }).map((list) => ({ or: list })),
        fc.array(tie("condition"), { minLength: 1, maxLength: 3 }).map((list) => ({ and: list })),
        tie("condition").map((one) => ({ not: one })),
      ),
    }));
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 40, max: 90 }),
        fc.array(
          fc.oneof(
            fc.integer({ min: 1, max: 30 }).map((rows) => ({ rows })),
            condition.map((where) => ({ where: where as VectorQuery["where"] })),
            fc.constant({ build: true }),
          ),
          { minLength: 2, maxLength: 8 },
        ),
        fc.integer({ min: 1, max: 200 }),
        async (first, steps, topK) => {
          const { ds, exact, vectors, random } = await filtered(first);
          for (const step of steps) {
            if ("rows" in step) {
              const fresh = Array.from({ length: step.rows }, () => randomVector(random, DIM));
              await append(ds, fresh, vectors.length);
              await append(exact, fresh, vectors.length);
              vectors.push(...fresh);
            } else if ("where" in step) {
              const query = randomVector(random, DIM);
              const asked = { topK, where: step.where as NonNullable<VectorQuery["where"]> };
              expect(await nearest(ds, query, { ...asked, ...all })).toEqual(
                await nearest(exact, query, asked),
              );
            } else {
              await build(ds);
              await ds.prewarm();
            }
          }
          await ds.close();
          await exact.close();
        },
      ),
      { numRuns: 15 },
    );
  });

  test("many queries with a filter are those of each one", async () => {
    const { ds, random } = await filtered(800);
    const queries = Array.from({ length: 20 }, () => randomVector(random, DIM));
    for (const where of [{ n: { lt: 400 } }, { n: { in: [3, 5, 600] } }]) {
      const batches = await ds.queryMany({ field: "v", queries, where, fields: [] });
      for (const [i, query] of queries.entries()) {
        const { _time_anchors: anchors, _distances: distances } = batches[i] as {
          _time_anchors: bigint[];
          _distances: number[];
        };
        expect(anchors.map((anchor, j) => [anchor, distances[j]])).toEqual(
          await nearest(ds, query, { where }),
        );
      }
    }
  });
});
