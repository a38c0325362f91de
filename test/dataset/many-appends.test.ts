/** Recall does not drop when rows come after a build, however many appends they come in: every kind of index. */
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import type { VectorQuery } from "../../src/dataset/query.ts";
import type { EmbeddingOptions } from "../../src/dataset/schema.ts";
import { randomVector, seeded } from "./records.ts";
import { append, nearest, vectorSets } from "./vector-set.ts";

const DIM = 8;
const { make, exactly } = vectorSets({ dim: DIM });

interface Kind {
  options: Partial<EmbeddingOptions<true>>;
  build?: (ds: Dataset) => Promise<unknown>;
  /** What makes a search look at everything. */
  all: Partial<VectorQuery>;
  /** Searches find more than the cells they name have, as `lsh-cosine` does with vectors in its cells: whole blocks are scored. */
  isFuller?: boolean;
}

const rebuilt =
  (k: number) =>
  (ds: Dataset): Promise<unknown> =>
    ds.rebuildIvf({ field: "v", k, iterations: 2 });
const linked = (ds: Dataset): Promise<unknown> => ds.buildGraph({ field: "v", degree: 12, candidates: 40 });
const cells = { nprobe: 1 << 20, epsilon: 100, rerankFactor: 200 };
const beam = { beam: 4096, rerankFactor: 400 };

const KINDS: Record<string, Kind> = {
  "ivf-cosine": { options: {}, build: rebuilt(9), all: cells },
  "ivf-cosine without codes": { options: { compressor: "none" }, build: rebuilt(9), all: cells },
  "ivf-dot with 1-bit codes": {
    options: { algorithm: "dreamdb.ivf-dot", compressor: { algorithm: "rabitq", bits: 1 } },
    build: rebuilt(9),
    all: cells,
  },
  "ivf-l2 without vectors": {
    options: { algorithm: "dreamdb.ivf-l2", rerank: false },
    build: rebuilt(9),
    all: { ...cells, rerankFactor: 10 },
  },
  "ivf-l2 with PQ codes": {
    options: { algorithm: "dreamdb.ivf-l2", compressor: { algorithm: "pq", subspaces: 4, bits: 4 } },
    build: rebuilt(9),
    all: cells,
  },
  "ivf-cosine, never built": { options: {}, all: {} },
  "imi-cosine": { options: { algorithm: "dreamdb.imi-cosine" }, build: rebuilt(25), all: cells },
  "lsh-cosine": {
    options: { algorithm: "dreamdb.lsh-cosine", lshBits: 5 },
    all: { nprobe: 32 },
    isFuller: true,
  },
  "lsh-cosine of 3 tables, without vectors": {
    options: { algorithm: "dreamdb.lsh-cosine", lshBits: 5, lshTables: 3, rerank: false },
    all: { nprobe: 32 },
  },
  "vamana-cosine": { options: { algorithm: "dreamdb.vamana-cosine" }, build: linked, all: beam },
  "vamana-l2": { options: { algorithm: "dreamdb.vamana-l2" }, build: linked, all: beam },
};

/** The share of what is nearest that is found. */
async function recall(ds: Dataset, exact: Dataset, queries: readonly Float32Array[]): Promise<number> {
  let found = 0;
  let wanted = 0;
  for (const query of queries) {
    const truth = new Set((await nearest(exact, query)).map(([anchor]) => anchor));
    wanted += truth.size;
    for (const [anchor] of await nearest(ds, query)) if (truth.has(anchor)) found++;
  }
  return found / wanted;
}

/** The same data in an index that was never built: searches of it are exact. */
function truthOf({ algorithm = "dreamdb.ivf-cosine" }: Kind["options"], vectors: readonly Float32Array[]) {
  const metric = algorithm.slice(algorithm.lastIndexOf("-") + 1) as "cosine" | "dot" | "l2";
  return exactly(vectors, { algorithm: `dreamdb.ivf-${metric}` });
}

test.each(Object.entries(KINDS))(
  "%s: 500 rows in as many appends are found as in one, and as all rows ingested anew",
  async (_, { options, build, all, isFuller }) => {
    const { ds, store, vectors, random } = await make({ rows: 150, options });
    const whole = await make({ rows: 150, options });
    await build?.(ds);
    await build?.(whole.ds);
    const queries = Array.from({ length: 20 }, () => randomVector(random, DIM));
    const late = Array.from({ length: 500 }, () => randomVector(random, DIM));
    for (const [i, vector] of late.entries()) await append(ds, [vector], 150 + i);
    await append(whole.ds, late, 150);
    const again = await make({ rows: 0, options });
    await append(again.ds, [...vectors, ...late], 0);
    await build?.(again.ds);
    const bare = exactly([...vectors, ...late], { ...options, rerank: false });
    const cold = await Dataset.open("d", store);
    const exact = await truthOf(options, [...vectors, ...late]);

    for (const query of queries.slice(0, 5)) {
      const truth = await nearest(exact, query);
      for (const each of [ds, cold, whole.ds, again.ds])
        expect(await nearest(each, query, all)).toEqual(truth);
    }
    for (const query of queries) {
      const hits = await nearest(ds, query);
      if (isFuller === true)
        expect(await recall(ds, exact, [query])).toBeGreaterThanOrEqual(
          await recall(await bare, exact, [query]),
        );
      else expect(hits).toEqual(await nearest(whole.ds, query));
    }
    // Cells that were trained on a part of the rows find about as much as those trained on all.
    if (isFuller !== true)
      expect(await recall(ds, exact, queries)).toBeGreaterThan(
        (await recall(again.ds, exact, queries)) - 0.05,
      );
    expect((await fsck(store)).problems).toEqual([]);
  },
);

test("of any data, cut into any appends, with builds in between, nothing is lost", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...Object.keys(KINDS)),
      fc.integer({ min: 1, max: 1 << 20 }),
      fc.array(fc.record({ rows: fc.integer({ min: 1, max: 25 }), isBuilt: fc.boolean() }), {
        minLength: 1,
        maxLength: 12,
      }),
      async (name, seed, steps) => {
        const { options, build, all } = KINDS[name] as Kind;
        const random = seeded(seed);
        const { ds, store } = await make({ rows: 0, options });
        const vectors: Float32Array[] = [];
        for (const { rows, isBuilt } of steps) {
          // Some come twice.
          const fresh = Array.from({ length: rows }, () =>
            vectors.length > 0 && random() < 0.1
              ? (vectors[Math.floor(random() * vectors.length)] as Float32Array)
              : randomVector(random, DIM),
          );
          await append(ds, fresh, vectors.length);
          vectors.push(...fresh);
          if (isBuilt && vectors.length >= 25) await build?.(ds);
        }
        const exact = await truthOf(options, vectors);
        const cold = await Dataset.open("d", store, { residentBytes: 5_000, cacheBytes: 0 });
        for (const query of [randomVector(random, DIM), vectors.at(-1) as Float32Array]) {
          const truth = await nearest(exact, query, { topK: vectors.length });
          const wide = { ...all, topK: vectors.length };
          expect(await nearest(ds, query, wide)).toEqual(truth);
          expect(await nearest(cold, query, wide)).toEqual(truth);
        }
        for (const each of [ds, exact, cold]) await each.close();
      },
    ),
    { numRuns: 60 },
  );
});
