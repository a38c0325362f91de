// Compaction: many appends come to one batch and one run a cell, nothing is lost, and a second time changes nothing.
import { describe, expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { randomVector, rowsOf, seeded, testClock } from "./records.ts";
import { refusal, watchedStore } from "./stores.ts";

const DIM = 8;
const schema = new Schema()
  .addEmbedding("exact", { dim: DIM, algorithm: "dreamdb.ivf-l2" })
  .addEmbedding("hashed", { dim: DIM, algorithm: "dreamdb.lsh-cosine", lshBits: 3, lshTables: 2 })
  .addEmbedding("cells", { dim: DIM, algorithm: "dreamdb.ivf-cosine" })
  .addScalarInt("n", { index: true })
  .addScalarCategorical("label", { required: false })
  .addImage("photo", { required: false });

const record = (random: () => number, n: number) => {
  const v = randomVector(random, DIM);
  const photo = Uint8Array.from({ length: n % 7 }, (_, i) => n + i);
  return {
    ...{ exact: v, hashed: v, cells: v, n },
    ...(n % 3 === 0 ? {} : { label: `label ${n % 5}` }),
    ...(n % 4 === 0 ? { photo } : {}),
  };
};

async function scattered(store: Store = memoryStore(), appends = 12, each = 20, clock = testClock()) {
  const random = seeded(3);
  const ds = await Dataset.create("main", schema, store, { clock: clock.read });
  for (let i = 0; i < appends; i++) {
    await ds.appendMany(Array.from({ length: each }, (_, n) => record(random, i * each + n)));
    if (i === Math.floor(appends / 2)) await ds.rebuildIvf({ field: "cells", k: 8 });
  }
  return { ds, store, random, clock };
}

async function stored(store: Store): Promise<number> {
  let count = 0;
  for await (const _ of store.list("objects/")) count++;
  return count;
}

const sound = async (store: Store) => expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });

describe("compacting", () => {
  test("gives one batch, one run a cell, the same records, and nothing to do the second time", async () => {
    const { ds, store, random } = await scattered();
    const before = await rowsOf(ds);
    const query = { query: randomVector(random, DIM), topK: 15 };
    const nearest = async (from: Dataset) =>
      Promise.all(
        ["exact", "hashed", "cells"].map(async (field) => {
          const [found] = await from.iterVector({ field, ...query, nprobe: 8 });
          return [found?._time_anchors, found?._distances];
        }),
      );
    const hits = await nearest(ds);
    const old = ds.currentManifest();
    const told: string[] = [];
    const planned = await ds.compact({ dryRun: true });
    expect(ds.currentManifest()).toBe(old);
    const done = await ds.compact({
      onProgress: ({ stage, done, total }) => told.push(`${stage} ${done}/${total}`),
    });
    expect(done).toMatchObject({ batchesBefore: 12, batchesAfter: 1, rowsDropped: 0 });
    expect(planned).toEqual({ ...done, manifest: old });
    expect(told).toContain("columns 240/240");
    expect(done.fragmentsCollapsed).toBeGreaterThan(100);
    const { tracks } = await ds.health();
    expect(tracks.map(({ fragmentation }) => fragmentation)).toEqual([0, 1, 1]);
    expect(tracks.map(({ segments }) => segments)).toEqual([0, 2, 1]);
    expect(await rowsOf(ds)).toEqual(before);
    expect(await nearest(ds)).toEqual(hits);
    const reopened = await Dataset.open("main", store);
    expect(await rowsOf(reopened)).toEqual(before);
    expect(await nearest(reopened)).toEqual(hits);
    expect(await nearest(await Dataset.openAt(old, store))).toEqual(hits);
    await sound(store);
    const objects = await stored(store);
    const again = await ds.compact();
    expect(again).toMatchObject({
      manifest: done.manifest,
      cellsCompacted: 0,
      fragmentsCollapsed: 0,
      batchesAfter: 1,
    });
    expect(await stored(store)).toBe(objects);
    expect(ds.currentManifest()).toBe(done.manifest);
  });

  test("leaves deleted records out where they are many", async () => {
    const { ds, store } = await scattered();
    await ds.delete({ where: { n: { lt: 100 } } });
    const rows = await rowsOf(ds);
    const { rowsDropped } = await ds.compact();
    expect(rowsDropped).toBe(100);
    expect(await ds.health()).toMatchObject({ rows: 140, deletedRows: 0 });
    expect(await rowsOf(ds)).toEqual(rows);
    await sound(store);
    // One of 140 is left in its place, until it is asked for.
    await ds.delete({ where: { n: 200 } });
    const at = ds.currentManifest();
    expect((await ds.compact()).manifest).toBe(at);
    expect(await ds.count()).toBe(139);
    await sound(store);
  });

  test("puts rows that were appended out of order, and between others, in the order of time", async () => {
    const store = memoryStore();
    const random = seeded(5);
    const ds = await Dataset.create("main", schema, store, { clock: testClock().read });
    for (const start of [50, 0, 1, 101, 51]) {
      await ds.appendMany(
        Array.from({ length: 20 }, (_, i) => ({
          ...record(random, start + 2 * i),
          _anchor: BigInt(start + 2 * i),
        })),
      );
    }
    const rows = await rowsOf(ds);
    expect(await ds.compact()).toMatchObject({ batchesBefore: 5, batchesAfter: 1 });
    expect(await rowsOf(ds)).toEqual(rows);
    await sound(store);
  });

  test("of chosen fields leaves columns and other fields alone", async () => {
    const { ds, store } = await scattered();
    const done = await ds.compact({ fields: ["cells"] });
    expect(done).toMatchObject({ batchesBefore: 12, batchesAfter: 12 });
    const { tracks } = await ds.health();
    expect(tracks.map(({ segments }) => segments)).toEqual([0, 24, 1]);
    await sound(store);
    expect((await ds.compact({ fields: ["cells"] })).manifest).toBe(done.manifest);
  });

  test("keeps what a graph covers apart, and the graph", async () => {
    const store = memoryStore();
    const random = seeded(6);
    const linked = new Schema()
      .addEmbedding("v", { dim: DIM, algorithm: "dreamdb.vamana-l2" })
      .addScalarInt("n");
    const ds = await Dataset.create("main", linked, store, { clock: testClock().read });
    const add = (start: number, count: number) =>
      ds.appendMany(
        Array.from({ length: count }, (_, i) => ({
          ...{ v: randomVector(random, DIM), n: start + i, _anchor: BigInt(1000 - 10 * start + i) },
        })),
      );
    for (const start of [0, 10, 20, 30]) await add(start, 10);
    await ds.buildGraph({ field: "v" });
    for (const start of [40, 50]) await add(start, 10);
    const query = { field: "v", query: randomVector(random, DIM), topK: 8 };
    const filtered = { ...query, where: { n: { gte: 5 } } };
    const found = [await ds.iterVector(query), await ds.iterVector(filtered)];
    expect(await ds.compact()).toMatchObject({ batchesBefore: 6, batchesAfter: 2 });
    expect([await ds.iterVector(query), await ds.iterVector(filtered)]).toEqual(found);
    const other = await Dataset.open("main", store);
    expect([await other.iterVector(query), await other.iterVector(filtered)]).toEqual(found);
    expect((await other.explain(query)).strategy).toBe("graph");
    await sound(store);
  });

  test("keeps appends, and deletions, that come in between", async () => {
    const { store, random } = await scattered();
    const other = await Dataset.open("main", store);
    let isDone = false;
    const slow = watchedStore(store, async ({ verb, key }, run) => {
      // Just before the compaction publishes.
      if (verb === "put" && key.startsWith("refs/") && !isDone) {
        isDone = true;
        await other.appendMany([record(random, 1000), record(random, 1001)]);
        await other.delete({ where: { n: 7 } });
      }
      return run();
    });
    const compacting = await Dataset.open("main", slow, { sleep: async () => {} });
    expect(await compacting.compact()).toMatchObject({ batchesAfter: 1 });
    expect(isDone).toBe(true);
    await other.refresh();
    await compacting.refresh();
    const numbers = (await rowsOf(other)).map(({ n }) => n);
    expect(numbers).toEqual([...Array.from({ length: 240 }, (_, n) => n).filter((n) => n !== 7), 1000, 1001]);
    expect(await rowsOf(compacting)).toEqual(await rowsOf(other));
    await sound(store);
  });

  test("gives way to a rebuild that comes in between", async () => {
    const { store } = await scattered();
    const other = await Dataset.open("main", store);
    let isDone = false;
    const slow = watchedStore(store, async ({ verb, key }, run) => {
      if (verb === "put" && key.startsWith("refs/") && !isDone) {
        isDone = true;
        await other.rebuildIvf({ field: "cells", k: 5 });
      }
      return run();
    });
    const compacting = await Dataset.open("main", slow, { sleep: async () => {} });
    expect(await refusal(() => compacting.compact())).toMatchObject({ code: "Conflict", committed: "no" });
    await sound(store);
  });

  test("can be ended", async () => {
    const { ds, store } = await scattered();
    const at = ds.currentManifest();
    const controller = new AbortController();
    const ended = ds.compact({ signal: controller.signal, onProgress: () => controller.abort() });
    expect(await refusal(() => ended)).toMatchObject({ code: "Aborted" });
    expect((await Dataset.open("main", store)).currentManifest()).toBe(at);
  });

  test.each([
    [{ fields: ["nothing"] }, "fields"],
    [{ fields: ["n"] }, "fields"],
    [{ fields: [] }, "fields"],
    [{ memoryBytes: 0 }, "memoryBytes"],
  ])("refuses %j", async (options, field) => {
    const { ds } = await scattered(memoryStore(), 1, 20);
    expect(await refusal(() => ds.compact(options))).toMatchObject({ code: "InvalidArgument", field });
  });

  test("of an empty dataset does nothing", async () => {
    const ds = await Dataset.create("main", schema, memoryStore());
    const at = ds.currentManifest();
    expect(await ds.compact()).toMatchObject({ manifest: at, batchesBefore: 0, batchesAfter: 0 });
  });

  test("in runs of little memory comes to an end, and to the same the second time", async () => {
    const { ds, store } = await scattered();
    const first = await ds.compact({ memoryBytes: 40 * DIM * 4 });
    const objects = await stored(store);
    expect((await ds.compact({ memoryBytes: 40 * DIM * 4 })).manifest).toBe(first.manifest);
    expect(await stored(store)).toBe(objects);
    await sound(store);
  });
});
