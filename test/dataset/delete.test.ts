// Deleting: every read of every branch state and snapshot leaves the records out, and searches still fill topK.
import { describe, expect, test } from "@jest/globals";
import * as arrow from "apache-arrow";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import type { VectorQuery } from "../../src/dataset/query.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { directoryStore } from "../../src/store/directory.ts";
import "../../src/store/node.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { scratchDirectories } from "../store/scratch.ts";
import { watchThreads } from "../workers/threads.ts";
import { randomVector, rowsOf, seeded, testClock } from "./records.ts";
import { refusal, storeKinds } from "./stores.ts";
import { vectorSets } from "./vector-set.ts";

watchThreads();
const fresh = scratchDirectories();
const small = new Schema().addScalarInt("n", { index: true }).addScalarString("s");
const ORIGIN = 1_700_000_000_000_000_000n;

async function smallSet(store: Store = memoryStore(), rows = 10) {
  const ds = await Dataset.create("main", small, store, { clock: testClock().read });
  const { anchors } = await ds.appendMany(Array.from({ length: rows }, (_, n) => ({ n, s: `s${n}` })));
  return { ds, store, anchors };
}

const numbers = async (ds: Dataset, options = {}): Promise<unknown[]> =>
  (await rowsOf(ds, options)).map(({ n }) => n);

describe("a deleted record", () => {
  test.each(storeKinds(fresh))(
    "is gone from the branch and from snapshots made before, on %s",
    async (_, make) => {
      const store = make();
      const { ds, anchors } = await smallSet(store);
      const before = ds.currentManifest();
      await ds.snapshot("early");
      const manifest = await ds.delete([anchors[3] as bigint, anchors[4] as bigint], { reason: "asked for" });
      expect(manifest).toBe(ds.currentManifest());
      expect(manifest).not.toBe(before);
      const states = [
        ds,
        await Dataset.open("main", store),
        await Dataset.openRef("early", store),
        await Dataset.openAt(before, store),
      ];
      for (const state of states) {
        expect(await numbers(state)).toEqual([0, 1, 2, 5, 6, 7, 8, 9]);
        expect(await state.count()).toBe(8);
        expect(await state.get(anchors[3] as bigint)).toBeUndefined();
        expect(await state.get(anchors[2] as bigint)).toMatchObject({ n: 2 });
        expect(await numbers(state, { where: { n: { gte: 2 } } })).toEqual([2, 5, 6, 7, 8, 9]);
        expect(await numbers(state, { where: { not: { n: 5 } } })).toEqual([0, 1, 2, 6, 7, 8, 9]);
        expect(await numbers(state, { where: { n: 3 } })).toEqual([]);
        expect(
          await numbers(state, { range: { from: anchors[3] as bigint, to: anchors[5] as bigint } }),
        ).toEqual([5]);
        expect(await state.tombstoneSet()).toEqual(new Set(anchors.slice(3, 5)));
        expect((await state.health()).rows).toBe(8);
        expect((await state.health()).deletedRows).toBe(2);
        const tables: unknown[] = [];
        for await (const batch of state.iterArrow({ arrow, batchSize: 3 }))
          tables.push(...batch.getChild("n")!);
        expect(tables.map(Number)).toEqual([0, 1, 2, 5, 6, 7, 8, 9]);
      }
      const [newest] = await ds.history(1);
      expect(newest).toMatchObject({ op: "delete", rows: 8, manifest });
      const [deletion] = await ds.deletions();
      expect(deletion).toEqual({ reason: "asked for", ts: ORIGIN, anchors: anchors.slice(3, 5) });
      expect(await fsck(store)).toMatchObject({ ok: true, problems: [], deleted: 2, unreachable: 0 });
    },
  );

  test("may be named by a condition", async () => {
    const { ds, anchors } = await smallSet();
    await ds.delete({ where: { n: { between: [2, 4] }, s: { ne: "s3" } } });
    expect(await numbers(ds)).toEqual([0, 1, 3, 5, 6, 7, 8, 9]);
    expect(await ds.tombstoneSet()).toEqual(new Set([anchors[2], anchors[4]]));
    const at = ds.currentManifest();
    // What is deleted already matches no more, and nothing is left to do.
    expect(await ds.delete({ where: { n: { between: [2, 4] }, s: { ne: "s3" } } })).toBe(at);
  });

  test("is deleted once, however often that is asked for", async () => {
    const { ds, anchors, store } = await smallSet();
    const at = await ds.delete([anchors[1] as bigint, anchors[1] as bigint]);
    expect(await ds.delete([anchors[1] as bigint])).toBe(at);
    expect(await (await Dataset.open("main", store)).delete([anchors[1] as bigint])).toBe(at);
    expect(await ds.deletions()).toHaveLength(1);
    await ds.delete([anchors[1] as bigint, anchors[2] as bigint], { reason: "more" });
    expect((await ds.deletions()).map(({ anchors }) => anchors)).toEqual([[anchors[1]], [anchors[2]]]);
  });

  test("leaves its anchor to nobody else", async () => {
    const { ds, anchors, store } = await smallSet();
    await ds.delete([anchors[9] as bigint]);
    const again = { _anchor: anchors[9] as bigint, n: 1, s: "" };
    expect(await refusal(() => ds.appendMany([again]))).toMatchObject({
      code: "DuplicateAnchor",
      committed: "no",
    });
    const other = await Dataset.open("main", store);
    expect(await refusal(() => other.appendMany([again]))).toMatchObject({
      code: "DuplicateAnchor",
      committed: "no",
    });
    const { anchors: more } = await ds.appendMany([{ n: 10, s: "" }]);
    expect(more[0]).toBeGreaterThan(anchors[9] as bigint);
  });

  test("is missed by a session that was open before, from its next refresh on", async () => {
    const { ds, anchors, store } = await smallSet();
    const other = await Dataset.open("main", store);
    const snapshot = await ds.snapshot("s").then(() => Dataset.open("s", store));
    const always = await Dataset.open("main", store, { maxStaleness: 0 });
    expect([await other.count(), await snapshot.count(), await always.count()]).toEqual([10, 10, 10]);
    await ds.delete([anchors[0] as bigint]);
    expect([await other.count(), await snapshot.count(), await always.count()]).toEqual([10, 10, 9]);
    await other.refresh();
    await snapshot.refresh();
    expect([await other.count(), await snapshot.count()]).toEqual([9, 9]);
  });

  test("does not come back with a registry that the backend rolled back", async () => {
    const { ds, anchors, store } = await smallSet();
    await ds.delete([anchors[0] as bigint]);
    const [key] = await listed(store, "meta/");
    const old = await store.get(key as string);
    await ds.delete([anchors[1] as bigint]);
    const now = await store.get(key as string);
    await store.put(key as string, (old as { bytes: Uint8Array }).bytes, {
      ifMatch: (now as { etag: string }).etag,
    });
    expect(await refusal(() => ds.refresh())).toMatchObject({ code: "RefRollback" });
    expect(await ds.count()).toBe(8);
  });

  test("among many calls: lists are folded, reasons stay", async () => {
    const { ds, anchors, store } = await smallSet(memoryStore(), 200);
    for (let i = 0; i < 140; i++) await ds.delete([anchors[i] as bigint], { reason: `no ${i}` });
    const other = await Dataset.open("main", store);
    expect(await other.count()).toBe(60);
    const deletions = await other.deletions();
    expect(deletions.map(({ reason }) => reason).sort()).toEqual(
      Array.from({ length: 140 }, (_, i) => `no ${i}`).sort(),
    );
    expect(await fsck(store)).toMatchObject({ ok: true, deleted: 140, unreachable: 0 });
  }, 60_000);

  test("by writers at the same time, each of whom succeeds", async () => {
    const { ds, anchors, store } = await smallSet(memoryStore(), 24);
    const writers = await Promise.all([0, 1, 2, 3].map(() => Dataset.open("main", store)));
    await Promise.all(
      writers.flatMap((writer, w) => [
        writer.delete([anchors[w] as bigint, anchors[w + 1] as bigint]),
        writer.appendMany([{ n: 100 + w, s: "" }]),
        writer.delete({ where: { n: 10 + w } }),
      ]),
    );
    await ds.refresh();
    const left = Array.from({ length: 24 }, (_, n) => n).filter((n) => n > 4 && (n < 10 || n > 13));
    expect(new Set(await numbers(ds))).toEqual(new Set([...left, 100, 101, 102, 103]));
  });
});

async function listed(store: Store, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

describe("is refused", () => {
  test.each([
    ["no anchors", [], "InvalidArgument"],
    ["a number", [5], "InvalidAnchor"],
    ["nothing", undefined, "InvalidArgument"],
    ["an empty condition", { where: {} }, "InvalidArgument"],
    ["a condition on an unknown field", { where: { x: 1 } }, "InvalidArgument"],
    ["an anchor before time began", [-5n], "InvalidAnchor"],
    ["an anchor without a record", [5n], "NotFound"],
  ])("%s", async (_, doomed, code) => {
    const { ds, store } = await smallSet();
    const at = ds.currentManifest();
    expect(await refusal(() => ds.delete(doomed as bigint[]))).toMatchObject({ code, committed: "no" });
    expect(ds.currentManifest()).toBe(at);
    expect(await listed(store, "meta/")).toEqual([]);
  });

  test("one anchor without a record among others, upon which nothing is deleted", async () => {
    const { ds, anchors } = await smallSet();
    const found = await refusal(() => ds.delete([...anchors, (anchors[0] as bigint) + 1n]));
    expect(found).toMatchObject({ code: "NotFound", found: (anchors[0] as bigint) + 1n });
    expect(await ds.count()).toBe(10);
  });

  test("a reason that is too long, or no text", async () => {
    const { ds, anchors } = await smallSet();
    for (const reason of ["x".repeat(1025), "\ud800", 7 as unknown as string])
      expect(await refusal(() => ds.delete([anchors[0] as bigint], { reason }))).toMatchObject({
        code: "InvalidArgument",
      });
  });

  test("of a snapshot", async () => {
    const { ds, anchors, store } = await smallSet();
    await ds.snapshot("s");
    const snapshot = await Dataset.open("s", store);
    expect(await refusal(() => snapshot.delete([anchors[0] as bigint]))).toMatchObject({ code: "ReadOnly" });
  });
});

const { make } = vectorSets({ dim: 16, rows: 1200 });
const SEARCHES: [
  name: string,
  options: object,
  build: (ds: Dataset) => Promise<unknown>,
  query: Partial<VectorQuery>,
][] = [
  ["an exact field", { algorithm: "dreamdb.ivf-cosine" }, async () => {}, {}],
  ["one hash table", { algorithm: "dreamdb.lsh-cosine", lshBits: 6 }, async () => {}, {}],
  ["several hash tables", { algorithm: "dreamdb.lsh-cosine", lshBits: 6, lshTables: 3 }, async () => {}, {}],
  [
    "cells",
    { algorithm: "dreamdb.ivf-cosine", compressor: undefined },
    (ds) => ds.rebuildIvf({ field: "v", k: 20 }),
    {},
  ],
  [
    "cells with RaBitQ codes",
    { algorithm: "dreamdb.ivf-cosine" },
    (ds) => ds.publishCompressor({ field: "v" }),
    {},
  ],
  [
    "cells with vectors",
    { algorithm: "dreamdb.ivf-l2", rerank: true },
    (ds) => ds.rebuildIvf({ field: "v", k: 20 }),
    {},
  ],
  [
    "cells with PQ codes",
    { algorithm: "dreamdb.ivf-dot" },
    async (ds) => {
      await ds.rebuildIvf({ field: "v", k: 12 });
      await ds.publishCompressor({ field: "v", algorithm: "pq", subspaces: 8 });
    },
    {},
  ],
  [
    "estimates alone",
    { algorithm: "dreamdb.ivf-cosine" },
    (ds) => ds.publishCompressor({ field: "v" }),
    { rerankFactor: 0 },
  ],
  [
    "pairs of centroids",
    { algorithm: "dreamdb.imi-cosine" },
    (ds) => ds.rebuildIvf({ field: "v", k: 25 }),
    {},
  ],
  ["a graph", { algorithm: "dreamdb.vamana-l2" }, (ds) => ds.buildGraph({ field: "v" }), {}],
  [
    "a recall to be reached",
    { algorithm: "dreamdb.ivf-cosine" },
    (ds) => ds.rebuildIvf({ field: "v", k: 20 }),
    { recallTarget: 0.9 },
  ],
];

describe("searches leave deleted records out and still fill topK:", () => {
  test.each(SEARCHES)("%s", async (_, options, build, more) => {
    const { ds, vectors, store } = await make({ options: options as never });
    await build(ds);
    const anchors: bigint[] = [];
    for await (const { _time_anchors } of ds.iterStream({ fields: [] })) anchors.push(..._time_anchors);
    const query = { field: "v", query: vectors[7] as Float32Array, topK: 10, ...more };
    const [held] = await ds.iterVector(query);
    expect(held?._time_anchors).toHaveLength(10);
    // The nearest thirty, which a search that cut before it filtered would come back with.
    const [nearest] = await ds.iterVector({ ...query, topK: 30 });
    const gone = new Set((nearest as { _time_anchors: bigint[] })._time_anchors);
    await ds.delete([...gone]);
    await ds.snapshot("after");
    const reopened = await Dataset.open("d", store);
    const cold = await Dataset.open("after", store, { residentBytes: 0, cacheBytes: 0 });
    const others = vectors.flatMap((vector, row) =>
      gone.has(anchors[row] as bigint) ? [] : [{ vector, row }],
    );
    expect(others).toHaveLength(1170);
    for (const state of [ds, reopened, cold]) {
      const [found] = await state.iterVector(query);
      expect(found?._time_anchors).toHaveLength(10);
      for (const anchor of found?._time_anchors ?? []) expect(gone.has(anchor)).toBe(false);
      const many = await state.queryMany({ ...queriesOf(query), queries: vectors.slice(0, 20) });
      for (const { _time_anchors } of many) {
        expect(_time_anchors).toHaveLength(10);
        for (const anchor of _time_anchors) expect(gone.has(anchor)).toBe(false);
      }
      const [filtered] = await state.iterVector({ ...query, where: { n: { lt: 600 } } });
      expect(filtered?._time_anchors).toHaveLength(10);
      for (const anchor of filtered?._time_anchors ?? []) expect(gone.has(anchor)).toBe(false);
      expect((await state.explain(query)).hits).toBe(10);
      // As many as there are, and not one more.
      const [all] = await state.iterVector({ ...query, topK: 1200, batchSize: 1200 });
      expect(all?._time_anchors.length).toBe(1170);
    }
  });
});

function queriesOf({ query: _, ...rest }: VectorQuery): Omit<VectorQuery, "query"> {
  return rest;
}

test("searches of a dataset of which all is deleted find nothing", async () => {
  for (const [, options, build] of SEARCHES) {
    const { ds, vectors } = await make({ options: options as never, rows: 60 });
    await build(ds).catch(() => ds);
    await ds.delete({ where: { n: { gte: 0 } } });
    expect(await ds.iterVector({ field: "v", query: vectors[0] as Float32Array })).toEqual([]);
    expect(await ds.count()).toBe(0);
    expect(await rowsOf(ds)).toEqual([]);
    await ds.appendMany([{ v: vectors[1] as Float32Array, n: 77 }]);
    const [found] = await ds.iterVector({ field: "v", query: vectors[0] as Float32Array });
    expect(found?.n).toEqual([77]);
  }
});

test("workers that queries are shared out to leave deleted records out", async () => {
  const path = fresh();
  const { ds, vectors } = await make({
    store: directoryStore(path),
    options: { algorithm: "dreamdb.ivf-cosine" },
  });
  await ds.rebuildIvf({ field: "v", k: 16 });
  const query = { field: "v", topK: 5, queries: vectors.slice(0, 40) };
  const first = await ds.queryMany(query);
  const shared = await Dataset.open("d", path, { workers: 2 });
  try {
    expect(await shared.queryMany(query)).toEqual(first);
    const gone = new Set(first.flatMap(({ _time_anchors }) => _time_anchors.slice(0, 2)));
    await shared.delete([...gone]);
    const found = await shared.queryMany(query);
    await ds.refresh();
    expect(found).toEqual(await ds.queryMany(query));
    for (const { _time_anchors } of found) {
      expect(_time_anchors).toHaveLength(5);
      expect(_time_anchors.some((anchor) => gone.has(anchor))).toBe(false);
    }
  } finally {
    await shared.close();
  }
}, 60_000);

test("a state without deleted records is read as before: one request more in all, for the registry", async () => {
  const { ds, vectors, store } = await make({ options: { algorithm: "dreamdb.ivf-cosine" } });
  await ds.rebuildIvf({ field: "v", k: 16 });
  const random = seeded(9);
  const reader = await Dataset.open("d", store);
  const query = { field: "v", query: randomVector(random, 16), fields: [] };
  await reader.iterVector({ ...query, query: vectors[0] as Float32Array, nprobe: 16 });
  await reader.prewarm();
  const { requests } = reader.traffic;
  await reader.iterVector(query);
  expect(reader.traffic.requests).toBe(requests);
  await ds.delete({ where: { n: 5 } });
  const old = await Dataset.open("d", store);
  expect((await old.explain({ ...query, query: vectors[5] as Float32Array })).strategy).toBe("ivf");
});
