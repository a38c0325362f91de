// Collections of garbage on one thread: what goes, what stays, what is told (spec/0020-maintenance.md §6).
import { expect, test } from "@jest/globals";
import { Dataset, deleteRef, fsck, gc, memoryStore, Schema, type Store } from "../../src/index.ts";

const SECOND = 1_000_000_000n;
const HOUR = 3_600_000;

function schema() {
  return new Schema()
    .addScalarInt("n", { index: true })
    .addScalarString("text")
    .addEmbedding("v", { dim: 4, algorithm: "dreamdb.lsh-cosine", lshBits: 2 })
    .addEmbedding("cells", { dim: 4, algorithm: "dreamdb.ivf-cosine" })
    .addEmbedding("graph", { dim: 4, algorithm: "dreamdb.vamana-cosine" });
}

function records(from: number, count: number) {
  return Array.from({ length: count }, (_, i) => {
    const n = from + i;
    const v = Float32Array.of(n % 7, 1, (n % 5) - 2, 1 + (n % 3));
    return { n, text: `text ${n}`, v, cells: v, graph: v };
  });
}

async function objectsIn(store: Store): Promise<number> {
  let count = 0;
  for await (const _ of store.list("objects/")) count++;
  return count;
}

/** A clock that the test moves. */
function clockAt(start = 1_700_000_000n * SECOND) {
  let now = start;
  return { clock: () => now, pass: (ms: number) => (now += BigInt(ms) * 1_000_000n) };
}

test("what nothing reaches is condemned by one call and deleted by a later one", async () => {
  const store = memoryStore("gc-basic");
  const time = clockAt();
  const ds = await Dataset.create("main", schema(), store, { kernels: "scalar" });
  await ds.appendMany(records(0, 20));
  const branch = await ds.branch("side");
  await branch.appendMany(records(100, 20));
  const clean = await gc(store, { ageMs: HOUR, ...time });
  expect(clean).toMatchObject({ epoch: 0, refs: 2, condemned: 0, deleted: 0 });
  await deleteRef(store, "side");
  const before = await objectsIn(store);
  const told = await gc(store, { ageMs: HOUR, dryRun: true, ...time });
  expect(told.condemned).toBeGreaterThan(3);
  expect(await objectsIn(store)).toBe(before);
  const first = await gc(store, { ageMs: HOUR, ...time });
  expect(first).toMatchObject({ epoch: 1, condemned: told.condemned, condemnedBytes: told.condemnedBytes, deleted: 0 });
  expect(first.due).toBe(time.clock() + BigInt(HOUR) * 1_000_000n);
  // Not old enough.
  time.pass(HOUR - 1);
  expect(await gc(store, { ageMs: HOUR, ...time })).toMatchObject({ epoch: 1, condemned: 0, deleted: 0 });
  time.pass(1);
  const second = await gc(store, { ageMs: HOUR, ...time });
  expect(second).toMatchObject({ deleted: told.condemned, reclaimedBytes: told.condemnedBytes });
  const report = await fsck(store);
  expect(report.problems).toEqual([]);
  // Its own lists are garbage, too.
  time.pass(HOUR);
  await gc(store, { ageMs: HOUR, ...time });
  expect(await ds.count()).toBe(20);
  await ds.appendMany(records(200, 5));
  expect((await fsck(store)).ok).toBe(true);
});

test("with no age one call does all", async () => {
  const store = memoryStore("gc-at-once");
  const ds = await Dataset.create("main", schema(), store, { kernels: "scalar" });
  for (let i = 0; i < 5; i++) await ds.appendMany(records(10 * i, 10));
  await ds.rebuildIvf({ field: "cells", k: 2, iterations: 1 });
  await ds.buildGraph({ field: "graph", degree: 4, candidates: 8 });
  await ds.compact();
  const done = await gc(store, { ageMs: 0, keepManifests: 1 });
  expect(done.deleted).toBeGreaterThan(20);
  expect(done.pruned).toBe(8);
  const report = await fsck(store);
  expect(report.problems).toEqual([]);
  expect(report.pruned).toBe(8);
  const again = await Dataset.open("main", store, { kernels: "scalar" });
  expect(await again.count()).toBe(50);
  expect((await again.history(20)).length).toBe(9);
  const hits = await again.iterVector({ field: "graph", query: Float32Array.of(1, 1, 1, 1), topK: 5 });
  expect(hits.flatMap((batch) => batch._time_anchors)).toHaveLength(5);
});
