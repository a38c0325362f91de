// Collections of garbage on one thread: what goes, what stays, what is told (spec/0020-maintenance.md §7).
import { expect, test } from "@jest/globals";
import { objectKey } from "../../src/core/address.ts";
import { Dataset, deleteRef, fsck, gc, listRefs, memoryStore, Schema, type Store } from "../../src/index.ts";
import { decodeGcState, GC_KEY } from "../../src/objects/gc-state.ts";
import { decodeRef } from "../../src/objects/ref.ts";

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
  expect(first).toMatchObject({
    epoch: 1,
    condemned: told.condemned,
    condemnedBytes: told.condemnedBytes,
    deleted: 0,
  });
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

test("the policy keeps states of branches by number and by age, and snapshots and pins as they are", async () => {
  const store = memoryStore("gc-policy");
  const time = clockAt();
  const options = { kernels: "scalar" as const, clock: time.clock };
  const ds = await Dataset.create("main", schema(), store, options);
  const states: string[] = [];
  for (let i = 0; i < 6; i++) {
    await ds.appendMany(records(10 * i, 2));
    // What is compacted away belongs to this state alone.
    states.push(ds.currentManifest());
    await ds.compact();
    if (i === 1) await ds.snapshot("kept");
    time.pass(HOUR);
  }
  const pinned = await Dataset.openAt(states[2] as string, store, options);
  const pin = await pinned.pin(HOUR);
  const done = await gc(store, { ageMs: 0, keepManifests: 2, keepSinceMs: 1.5 * HOUR, ...time });
  expect(done.pins).toBe(1);
  expect(done.deleted).toBeGreaterThan(0);
  expect((await fsck(store)).problems).toEqual([]);
  const rowsAt = async (at: string): Promise<number> => {
    const past = await Dataset.openAt(at, store, options);
    let rows = 0;
    for await (const batch of past.iterStream()) rows += (batch as unknown as { n: unknown[] }).n.length;
    return rows;
  };
  expect(await rowsAt(states[5] as string)).toBe(12);
  expect(await rowsAt(states[2] as string)).toBe(6);
  await expect(rowsAt(states[0] as string)).rejects.toMatchObject({ code: "NotFound", field: "manifest" });
  await expect(rowsAt(states[3] as string)).rejects.toMatchObject({ code: "NotFound" });
  await expect(ds.merge(states[3] as string)).rejects.toMatchObject({ code: "NotFound", committed: "no" });
  expect(await (await Dataset.open("kept", store, options)).count()).toBe(4);
  // The pin ends by itself, and is tidied away.
  time.pass(HOUR);
  const later = await gc(store, { ageMs: 0, keepManifests: 1, ...time });
  expect(later).toMatchObject({ pins: 0 });
  await expect(rowsAt(states[2] as string)).rejects.toMatchObject({ code: "NotFound" });
  await pin.release();
  // What was pruned does not come back with a policy that keeps more.
  expect((await gc(store, { ageMs: 0, keepManifests: 50, ...time })).pruned).toBe(later.pruned);
  expect((await fsck(store)).problems).toEqual([]);
});

test("a pin is renewed, released, and refused where nothing is left to pin", async () => {
  const store = memoryStore("gc-pins");
  const options = { kernels: "scalar" as const };
  const ds = await Dataset.create("main", schema(), store, options);
  await ds.appendMany(records(0, 4));
  const past = await Dataset.openAt(ds.currentManifest(), store, options);
  await ds.appendMany(records(10, 4));
  await ds.compact();
  const first = await past.pin(HOUR);
  const second = await first.renew(2 * HOUR);
  expect(second.manifest).toBe(past.currentManifest());
  expect(second.expires - first.expires).toBeGreaterThan(BigInt(HOUR) * 900_000n);
  const pins = [];
  for await (const { key } of store.list("pins/")) pins.push(key);
  expect(pins).toEqual([`pins/${second.id}`]);
  await gc(store, { ageMs: 0, keepManifests: 1 });
  expect((await fsck(store)).pruned).toBeLessThan(3);
  await second.release();
  await gc(store, { ageMs: 0, keepManifests: 1 });
  await expect(past.pin(HOUR)).rejects.toMatchObject({ code: "NotFound", field: "manifest" });
  for await (const { key } of store.list("pins/")) throw new Error(`${key} is left`);
  await expect(past.snapshot("late")).rejects.toMatchObject({ code: "NotFound", committed: "no" });
  await expect(past.branch("late")).rejects.toMatchObject({ code: "NotFound", committed: "no" });
  expect((await listRefs(store)).map(({ name }) => name)).toEqual(["main"]);
  // The name is reserved, and still to be had.
  await ds.snapshot("late");
  await expect(past.pin(0)).rejects.toMatchObject({ code: "InvalidArgument" });
});

test("a root that can't be read ends a collection before anything is deleted", async () => {
  const store = memoryStore("gc-damage");
  const ds = await Dataset.create("main", schema(), store, { kernels: "scalar" });
  await ds.appendMany(records(0, 4));
  const branch = await ds.branch("side");
  await branch.appendMany(records(10, 4));
  await deleteRef(store, "side");
  const before = await objectsIn(store);
  const key = objectKey(ds.currentManifest());
  const { bytes } = (await store.get(key))!;
  await store.delete(key);
  await expect(gc(store, { ageMs: 0 })).rejects.toMatchObject({ code: "NotFound" });
  await store.put(key, bytes.slice(1));
  await expect(gc(store, { ageMs: 0 })).rejects.toMatchObject({ code: "HashMismatch" });
  await store.put(key, bytes);
  await store.put("meta/other", bytes, { create: true });
  await expect(gc(store, { ageMs: 0 })).rejects.toMatchObject({ code: "UnsupportedVersion" });
  await store.delete("meta/other");
  await store.put("refs/broken", bytes, { create: true });
  await expect(gc(store, { ageMs: 0 })).rejects.toMatchObject({ code: "Corrupt" });
  expect(await objectsIn(store)).toBe(before);
  expect(await store.get(GC_KEY)).toBeUndefined();
});

test("parts are deleted by jobs of their own, and the last ends the collection", async () => {
  const store = memoryStore("gc-shards");
  const time = clockAt();
  const ds = await Dataset.create("main", schema(), store, { kernels: "scalar" });
  await ds.appendMany(records(0, 2));
  // More than one list.
  for (let i = 0; i < 5000; i++) {
    const bytes = new TextEncoder().encode(`garbage ${i}`);
    const { addressOf } = await import("../../src/core/address.ts");
    await store.put(objectKey(addressOf(bytes)), bytes);
  }
  const job = (index: number) => gc(store, { ageMs: HOUR, shard: { index, count: 3 }, ...time });
  const found = [await job(0), await job(1), await job(2)];
  expect(found.map(({ condemned }) => condemned)).toEqual([5000, 0, 0]);
  time.pass(HOUR);
  const deleted = [(await job(2)).deleted, (await job(0)).deleted, (await job(1)).deleted];
  expect(deleted.every((count) => count > 500)).toBe(true);
  expect(deleted.reduce((a, b) => a + b)).toBe(5000);
  const state = decodeGcState((await store.get(GC_KEY))!.bytes);
  expect(state).toMatchObject({ epoch: 1 });
  expect(state.round).toBeUndefined();
  expect((await fsck(store)).unreachable).toBe(0);
});

test("appends ask nothing more while nothing is collected, and once after a collection", async () => {
  const inner = memoryStore("gc-requests");
  let asked: string[] = [];
  const store: Store = {
    ...inner,
    url: inner.url,
    get: (key, ...rest) => {
      asked.push(`get ${key}`);
      return inner.get(key, ...rest);
    },
    put: (key, ...rest) => {
      asked.push(`put ${key}`);
      return inner.put(key, ...rest);
    },
    delete: (key) => inner.delete(key),
    list: (prefix) => inner.list(prefix),
  };
  const requests = async (ds: Dataset, from: number): Promise<number> => {
    asked = [];
    await ds.appendMany(records(from, 3));
    return asked.length;
  };
  const ds = await Dataset.create("main", schema(), store, { kernels: "scalar" });
  await requests(ds, 0);
  const before = await requests(ds, 10);
  expect(asked.filter((each) => each.endsWith(GC_KEY))).toEqual([]);
  const branch = await ds.branch("side");
  await branch.appendMany(records(100, 3));
  await deleteRef(store, "side");
  await gc(store, { ageMs: HOUR });
  expect(decodeRef((await inner.get("refs/main"))!.bytes).gcEpoch).toBe(1);
  // One lost race, the cell, and a list that is kept.
  await requests(ds, 20);
  expect(asked.filter((each) => each === `get ${GC_KEY}`)).toHaveLength(1);
  expect(await requests(ds, 30)).toBe(before);
  expect(await requests(ds, 40)).toBe(before);
  // A new session asks once.
  const again = (await Dataset.open("main", store, { kernels: "scalar" })) as Dataset;
  await requests(again, 50);
  expect(asked.filter((each) => each === `get ${GC_KEY}`)).toHaveLength(1);
  expect(await requests(again, 60)).toBe(before);
});

test("deletions, and all that fsck reaches, are out of reach of a collection", async () => {
  const store = memoryStore("gc-all");
  const ds = await Dataset.create("main", schema(), store, { kernels: "scalar" });
  const { anchors } = await ds.appendMany(records(0, 30));
  await ds.rebuildIvf({ field: "cells", k: 2, iterations: 1 });
  await ds.publishCompressor({ field: "cells", bits: 2 });
  await ds.buildGraph({ field: "graph", degree: 4, candidates: 8 });
  const other = await Dataset.create("other", schema(), store, { kernels: "scalar" });
  await other.appendMany(records(0, 3));
  await ds.delete([anchors[3] as bigint], { reason: "first" });
  await ds.delete([anchors[4] as bigint], { reason: "second" });
  const before = await fsck(store);
  expect(before.problems).toEqual([]);
  expect((await gc(store, { ageMs: 0, dryRun: true })).marked).toBe(before.objects);
  await gc(store, { ageMs: 0 });
  const after = await fsck(store);
  expect(after).toMatchObject({ ok: true, objects: before.objects, unreachable: 0 });
  expect((await ds.deletions()).map(({ reason }) => reason)).toEqual(["first", "second"]);
  await ds.delete([anchors[5] as bigint], { reason: "third" });
  expect(await ds.count()).toBe(27);
});

test.each([
  ["ageMs", { ageMs: -1 }],
  ["ageMs", { ageMs: "1h" as unknown as number }],
  ["keepManifests", { ageMs: 0, keepManifests: 0 }],
  ["keepSinceMs", { ageMs: 0, keepSinceMs: Number.NaN }],
  ["shard.index", { ageMs: 0, shard: { index: 2, count: 2 } }],
  ["shard.count", { ageMs: 0, shard: { index: 0, count: 0 } }],
])("an option that can't be: %s", async (field, options) => {
  await expect(gc(memoryStore("gc-none"), options)).rejects.toMatchObject({
    code: "InvalidArgument",
    field,
  });
});
