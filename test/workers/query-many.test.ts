import { beforeAll, describe, expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import type { ManyVectorQuery } from "../../src/dataset/query-many.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { directoryStore } from "../../src/store/directory.ts";
import "../../src/store/node.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { randomVector, seeded } from "../dataset/records.ts";
import { refusal, watchedStore } from "../dataset/stores.ts";
import { scratchDirectories } from "../store/scratch.ts";
import { watchThreads } from "./threads.ts";

const watched = watchThreads();
const freshDirectory = scratchDirectories();
const DIM = 12;
const random = seeded(8);
const queries = Array.from({ length: 23 }, () => randomVector(random, DIM));

async function fill(backend: string | Store): Promise<Dataset> {
  const next = seeded(4);
  const schema = new Schema()
    .addEmbedding("v", { dim: DIM })
    .addEmbedding("plain", { dim: 3, algorithm: "dreamdb.ivf-l2" })
    .addEmbedding("hashed", { dim: DIM, algorithm: "dreamdb.lsh-cosine", lshBits: 4 })
    .addEmbedding("linked", { dim: DIM, algorithm: "dreamdb.vamana-cosine" })
    .addImage("picture", { required: false })
    .addScalarInt("n")
    .addScalarCategorical("kind");
  const ds = await Dataset.create("d", schema, backend);
  await ds.appendMany(
    Array.from({ length: 700 }, (_, n) => {
      const v = randomVector(next, DIM);
      return {
        v,
        plain: v.slice(0, 3),
        hashed: v,
        linked: v,
        ...(n % 3 === 0 ? {} : { picture: Uint8Array.from({ length: 50 + n }, (_, i) => n + i) }),
        n,
        kind: n % 2 === 0 ? "even" : "odd",
      };
    }),
  );
  await ds.rebuildIvf({ field: "v", k: 20 });
  await ds.buildGraph({ field: "linked" });
  return ds;
}

/** Batches as values that compare by what they hold, whichever realm made them. */
function plain(batches: readonly object[]): unknown {
  const seen = (value: unknown): unknown => {
    if (ArrayBuffer.isView(value)) return [value.constructor.name, ...(value as Uint8Array)];
    return Array.isArray(value) ? value.map(seen) : value;
  };
  return batches.map((batch) => Object.entries(batch).map(([name, column]) => [name, seen(column)]));
}

let path = "";
let single: Dataset;
beforeAll(async () => {
  path = freshDirectory();
  single = await fill(path);
});

/** What `iterVector` gives for each query. */
async function oneByOne(query: Omit<ManyVectorQuery, "queries">, vectors: readonly Float32Array[]) {
  const batches = [];
  for (const each of vectors)
    batches.push(...(await single.iterVector({ ...query, query: each, batchSize: 1 << 20 })));
  return batches;
}

describe.each([0, 1, 2, 3])("with %i workers", (workers) => {
  test.each<[string, Omit<ManyVectorQuery, "queries">]>([
    ["a built index", { field: "v" }],
    ["every option", { field: "v", topK: 7, nprobe: 5, rerankFactor: 2, epsilon: 0.5 }],
    ["estimates", { field: "v", rerankFactor: 0 }],
    ["a recall", { field: "v", recallTarget: 0.9 }],
    ["media, vectors and absent values", { field: "v", topK: 3, fields: ["picture", "v", "kind"] }],
    ["no fields", { field: "v", fields: [] }],
    ["conditions", { field: "v", where: { n: { gte: 100, lt: 400 } }, whereEq: { kind: "odd" } }],
    ["hyperplanes", { field: "hashed", topK: 4, nprobe: 3 }],
    ["hyperplanes, and a recall that has no meaning there", { field: "hashed", recallTarget: 0.5 }],
  ])("%s: the batches of one query after the other", async (_, query) => {
    const ds = await Dataset.open("d", path, { workers });
    const wanted = plain(await oneByOne(query, queries));
    expect(plain(await ds.queryMany({ ...query, queries }))).toEqual(wanted);
    const flat = Float32Array.from(queries.flatMap((each) => [...each]));
    expect(plain(await ds.queryMany({ ...query, queries: flat }))).toEqual(wanted);
    expect(watched.threads).toHaveLength(workers);
    await ds.close();
  });

  test("an exact search, and vectors as plain numbers", async () => {
    const ds = await Dataset.open("d", path, { workers });
    const short = queries.map((each) => each.slice(0, 3));
    const wanted = plain(await oneByOne({ field: "plain", topK: 4 }, short));
    const numbers = short.map((each) => [...each]);
    expect(plain(await ds.queryMany({ field: "plain", topK: 4, queries: numbers }))).toEqual(wanted);
    await ds.close();
  });

  test("a graph by its own options", async () => {
    const ds = await Dataset.open("d", path, { workers });
    const query = { field: "linked", topK: 4, beam: 9 };
    expect(plain(await ds.queryMany({ ...query, queries }))).toEqual(plain(await oneByOne(query, queries)));
    const recall = { field: "linked", recallTarget: 0.9, topK: 4 };
    expect(plain(await ds.queryMany({ ...recall, queries }))).toEqual(plain(await oneByOne(recall, queries)));
    await ds.close();
  });

  test("nothing asked, nothing found; nothing found, an empty batch", async () => {
    const ds = await Dataset.open("d", path, { workers });
    expect(await ds.queryMany({ field: "v", queries: [] })).toEqual([]);
    const none = await ds.queryMany({ field: "v", queries: queries.slice(0, 2), where: { n: -1 } });
    expect(none).toEqual(Array(2).fill({ _time_anchors: [], _distances: [], n: [], kind: [] }));
    await ds.close();
  });

  test("sees each state as this object does", async () => {
    const own = freshDirectory();
    await (await fill(own)).close();
    const ds = await Dataset.open("d", own, { workers });
    const other = await Dataset.open("d", own);
    const vector = new Float32Array(DIM).fill(1);
    const nearest = async () => (await ds.queryMany({ field: "v", queries: [vector], topK: 1 }))[0]?.n;
    const [before] = (await nearest()) as number[];
    expect(before).toBeLessThan(700);
    await other.appendMany([
      { v: vector, plain: [1, 1, 1], hashed: vector, linked: vector, n: 700, kind: "late" },
    ]);
    expect(await nearest()).toEqual([before]);
    await ds.refresh();
    expect(await nearest()).toEqual([700]);
    await ds.close();
    await other.close();
  });

  test.each<[string, ManyVectorQuery["queries"]]>([
    ["queries[1]", [queries[0] as Float32Array, new Float32Array(DIM - 1)]],
    ["queries[2]", [...queries.slice(0, 2), new Float32Array(DIM)]],
    ["queries[0]", [Array(DIM).fill(Number.NaN)]],
    ["queries", new Float32Array(DIM + 1)],
    ["queries", "vectors" as never],
    ["queries", new Float64Array(DIM) as never],
  ])("refuses %s that is no vector", async (field, bad) => {
    const ds = await Dataset.open("d", path, { workers });
    const refused = await refusal(() => ds.queryMany({ field: "v", queries: bad }));
    expect(refused).toMatchObject({ code: "InvalidArgument", field });
    expect(watched.threads).toHaveLength(0);
    await ds.close();
  });
});

test("a store that only this thread has is searched by this thread", async () => {
  for (const store of [memoryStore(), watchedStore(directoryStore(freshDirectory()), (_, run) => run())]) {
    const ds = await fill(store);
    const pooled = await Dataset.open("d", store, { workers: 2 });
    const query = { field: "v", queries, fields: ["n"] };
    expect(await pooled.queryMany(query)).toMatchObject(
      (await single.queryMany(query)).map(({ n }) => ({ n })),
    );
    expect(watched.threads).toHaveLength(0);
    await pooled.close();
    await ds.close();
  }
});

test("a backend that workers don't know is searched by this thread", async () => {
  const store = Object.assign(
    watchedStore(directoryStore(path), (_, run) => run()),
    { sharedUrl: "special://x" },
  );
  const ds = await Dataset.open("d", store, { workers: 1 });
  expect(await ds.queryMany({ field: "v", queries })).toEqual(
    await single.queryMany({ field: "v", queries }),
  );
  expect(watched.threads).toHaveLength(1);
  await ds.close();
});

test("a batch that probes most cells has them read at once", async () => {
  const next = seeded(6);
  const store = memoryStore();
  const made = await Dataset.create("d", new Schema().addEmbedding("v", { dim: 32 }), store);
  await made.appendMany(Array.from({ length: 8000 }, () => ({ v: randomVector(next, 32) })));
  await made.rebuildIvf({ field: "v", k: 40, iterations: 2 });
  await made.close();
  const vectors = Array.from({ length: 40 }, () => randomVector(next, 32));
  const runs = [];
  for (const size of [1, 40]) {
    const ds = await Dataset.open("d", store, { cacheBytes: 0 });
    const found = [];
    for (let i = 0; i < 40; i += size) {
      const share = vectors.slice(i, i + size);
      found.push(
        ...(await ds.queryMany({ field: "v", queries: share, fields: [], nprobe: 3, rerankFactor: 0 })),
      );
    }
    runs.push({ found, roundTrips: ds.traffic.roundTrips });
    await ds.close();
  }
  const [apart, together] = runs;
  expect(together?.found).toEqual(apart?.found);
  expect(apart?.roundTrips).toBeGreaterThan(2 * (together?.roundTrips ?? 0));
});

test("what is read is counted", async () => {
  const ds = await Dataset.open("d", path, { workers: 2 });
  const before = ds.traffic;
  await ds.queryMany({ field: "v", queries });
  expect(ds.traffic.requests).toBeGreaterThan(before.requests);
  expect(ds.traffic.bytes).toBeGreaterThan(before.bytes);
  await ds.close();
});

test("a thread that dies: a typed error, and the next call has another", async () => {
  const ds = await Dataset.open("d", path, { workers: 2 });
  const query = { field: "v", queries, topK: 3 };
  watched.before = ({ verb }, thread) => {
    if (verb !== "search" || thread !== watched.threads[0]) return undefined;
    thread.terminate();
    return "lost";
  };
  expect(await refusal(() => ds.queryMany(query))).toMatchObject({ code: "Aborted", retryable: true });
  watched.before = () => undefined;
  expect(await ds.queryMany(query)).toEqual(await single.queryMany(query));
  expect(watched.threads.length).toBeGreaterThan(2);
  await ds.close();
  expect(await refusal(() => ds.queryMany(query))).toMatchObject({ code: "Aborted" });
});

test("an error in a worker keeps its code and what it says", async () => {
  const own = freshDirectory();
  await (await fill(own)).close();
  const ds = await Dataset.open("d", own, { workers: 1 });
  watched.before = ({ verb, args }) => {
    if (verb === "search") (args as { from: { manifest: string } }).from.manifest = `dyq${"a".repeat(52)}`;
    return undefined;
  };
  const missing = await refusal(() => ds.queryMany({ field: "v", queries }));
  const here = await refusal(() => Dataset.openAt(`dyq${"a".repeat(52)}`, own));
  const { code, message, field, found, expected, retryable } = here;
  expect(missing).toMatchObject({ code, message, retryable });
  expect([missing.field, missing.found, missing.expected]).toEqual([field, found, expected]);
  await ds.close();
});
