/** `recallTarget`: measured on records, reached by other queries, and told. */
import { describe, expect, test } from "@jest/globals";
import type { Dataset } from "../../src/dataset/dataset.ts";
import type { Explanation } from "../../src/dataset/explain.ts";
import type { EmbeddingOptions } from "../../src/dataset/schema.ts";
import { randomVector, seeded } from "./records.ts";
import { append, nearest, vectorSets } from "./vector-set.ts";

const DIM = 16;
const { make, exactly } = vectorSets({ dim: DIM, rows: 3000 });

interface Kind {
  options: Partial<EmbeddingOptions<true>>;
  build: (ds: Dataset) => Promise<unknown>;
  effort: (told: Explanation) => number | undefined;
}

const cells = { build: (ds: Dataset) => ds.rebuildIvf({ field: "v", k: 50 }) };
const KINDS: [string, Kind][] = [
  ["ivf", { ...cells, options: {}, effort: ({ scanned, refined }) => scanned + 12 * refined }],
  [
    "ivf, 1-bit codes, whose re-rank has to grow",
    {
      ...cells,
      options: { compressor: { algorithm: "rabitq", bits: 1 } },
      effort: ({ rerank }) => rerank,
    },
  ],
  ["imi", { ...cells, options: { algorithm: "dreamdb.imi-cosine" }, effort: ({ nprobe }) => nprobe }],
  [
    "graph",
    {
      options: { algorithm: "dreamdb.vamana-cosine" },
      build: (ds) => ds.buildGraph({ field: "v", degree: 12, candidates: 60 }),
      effort: ({ beam }) => beam,
    },
  ],
];

describe.each(KINDS)("%s:", (_, { options, build, effort }) => {
  test("queries that are no records find what was wanted, and no more effort is taken than that", async () => {
    const { ds, vectors } = await make({ options });
    await build(ds);
    const exact = await exactly(vectors);
    const random = seeded(77);
    const queries = Array.from({ length: 150 }, () => randomVector(random, DIM));
    const truth = [];
    for (const query of queries) truth.push(new Set((await nearest(exact, query)).map(([anchor]) => anchor)));
    const efforts: number[] = [];
    for (const recallTarget of [0.7, 0.9, 0.98]) {
      let found = 0;
      for (const [i, query] of queries.entries())
        for (const [anchor] of await nearest(ds, query, { recallTarget })) if (truth[i]?.has(anchor)) found++;
      // The queries are a sample themselves: two of its errors.
      const recall = found / (10 * queries.length);
      expect(recall).toBeGreaterThan(recallTarget - 0.4 * Math.sqrt((1 - recallTarget) / queries.length));
      const told = await ds.explain({ field: "v", query: queries[0] as Float32Array, recallTarget });
      expect(told.measured?.sample).toBe(400);
      expect(told.measured?.recall).toBeGreaterThan(told.measured?.lowerBound as number);
      expect(told.measured?.lowerBound).toBeGreaterThanOrEqual(recallTarget);
      efforts.push(effort(told) as number);
    }
    expect(efforts).toEqual([...efforts].sort((a, b) => a - b));
    expect(efforts[0]).toBeLessThan(efforts[2] as number);
  });

  test("rows that are all alike, or hardly any, are measured as well", async () => {
    const alike = await make({ options, rows: 90, vector: () => new Float32Array(DIM).fill(0.5) });
    await build(alike.ds);
    expect(await nearest(alike.ds, new Float32Array(DIM).fill(1), { recallTarget: 0.9 })).toHaveLength(10);
    const few = await make({ options, rows: 60 });
    await build(few.ds);
    const query = randomVector(few.random, DIM);
    const hits = await nearest(few.ds, query, { recallTarget: 0.999, topK: 20 });
    expect(hits).toEqual(await nearest(await exactly(few.vectors), query, { topK: 20 }));
  });

  test("rows that were appended are found with it", async () => {
    const { ds } = await make({ options, rows: 500 });
    await build(ds);
    const fresh = randomVector(seeded(3), DIM);
    await nearest(ds, fresh, { recallTarget: 0.9 });
    await append(ds, [fresh], 500);
    expect((await nearest(ds, fresh, { recallTarget: 0.9 }))[0]?.[0]).toBe(500_000n);
  });
});

test.each([{ nprobe: 3 }, { epsilon: 2 }, { beam: 40 }])("is refused beside %j", async (more) => {
  const { ds } = await make({ rows: 50 });
  const query = { field: "v", query: new Float32Array(DIM).fill(1), recallTarget: 0.9, ...more };
  await expect(ds.iterVector(query)).rejects.toMatchObject({
    code: "InvalidArgument",
    field: "recallTarget",
  });
});
