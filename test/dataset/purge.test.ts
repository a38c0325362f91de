// What is left after a purge holds nothing of deleted records, by a scan of the raw bytes for values that stand nowhere else.
import { describe, expect, test } from "@jest/globals";
import { objectKey } from "../../src/core/address.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { gc } from "../../src/dataset/gc.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { Session } from "../../src/dataset/session.ts";
import { entriesIn } from "../../src/dataset/timeline.ts";
import { batchCodec, segmentCodec } from "../../src/objects/index-tree.ts";
import { codingOf, decodeManifest, type Manifest, type Track } from "../../src/objects/manifest.ts";
import { decodeSegmentAnchors, decodeSegmentHead } from "../../src/objects/segment.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { rawScan } from "./raw-scan.ts";
import { rowsOf, seeded, testClock } from "./records.ts";

const DIM = 12;
const schema = new Schema()
  .addEmbedding("exact", { dim: DIM, algorithm: "dreamdb.ivf-l2" })
  .addEmbedding("hashed", { dim: DIM, algorithm: "dreamdb.lsh-cosine", lshBits: 4, rerank: true })
  .addEmbedding("cells", { dim: DIM, algorithm: "dreamdb.ivf-cosine" })
  .addEmbedding("linked", { dim: DIM, algorithm: "dreamdb.vamana-l2" })
  .addScalarInt("n", { index: true })
  .addScalarFloat("f")
  .addScalarTimestamp("t")
  .addScalarCategorical("label", { index: true })
  .addScalarString("note", { index: true })
  .addImage("photo");

/** Values that stand in one record only, and their bytes as any container would hold them. */
function canary(random: () => number, i: number) {
  const vector = Float32Array.from({ length: DIM }, () => random() * 2 - 1);
  const n = 0x5ca1_0000_0000_0000n + BigInt(Math.floor(random() * 2 ** 40));
  const f = 1e100 * (1 + random());
  const t = 0x1ca2_0000_0000_0000n + BigInt(Math.floor(random() * 2 ** 40));
  const text = (what: string) => `${what}-${i}-${Math.floor(random() * 2 ** 50).toString(36)}`;
  const [label, note, photo] = [text("label"), text("note"), new TextEncoder().encode(text("photo"))];
  const record = {
    exact: vector,
    hashed: vector,
    cells: vector,
    linked: vector,
    n,
    f,
    t,
    label,
    note,
    photo,
  };
  const int = (value: bigint) => new Uint8Array(BigInt64Array.of(value).buffer);
  const needles = [
    new Uint8Array(vector.buffer.slice(0)),
    ...[int(n), int(t), new Uint8Array(Float64Array.of(f).buffer)],
    ...[new TextEncoder().encode(label), new TextEncoder().encode(note), photo],
  ];
  return { record, needles };
}

/** Keys of all data objects that a state reaches. */
async function reached(store: Store, manifest: Manifest): Promise<Set<string>> {
  const session = new Session(store, 1 << 20);
  const keys = new Set<string>();
  for await (const { anchors, columns, scalarIndex } of entriesIn(session, manifest.timeline, batchCodec)) {
    if ("container" in anchors) keys.add(objectKey(anchors.container.address));
    for (const { address } of columns.values()) keys.add(objectKey(address));
    if (scalarIndex !== undefined) keys.add(objectKey(scalarIndex.address));
  }
  for (const track of manifest.tracks.values()) {
    keys.add(objectKey(track.address));
    for await (const { container } of entriesIn(session, track.segments, segmentCodec))
      keys.add(objectKey(container.address));
  }
  return keys;
}

/** Anchors that the cells of a Track hold codes of, as the raw segments say. */
async function coded(store: Store, track: Track): Promise<Set<bigint>> {
  const session = new Session(store, 1 << 20);
  const ticks = new Set<bigint>();
  for await (const { base, container } of entriesIn(session, track.segments, segmentCodec)) {
    const { head } = await session.open(container, (bytes, totalBytes) =>
      decodeSegmentHead(bytes, { totalBytes, ...codingOf(track) }),
    );
    const whole = (await store.get(objectKey(container.address)))?.bytes as Uint8Array;
    for (const block of head.blocks) {
      const { offset, bytes } = block.anchors;
      for (const tick of decodeSegmentAnchors(head, block, whole.subarray(offset, offset + bytes)))
        ticks.add(base + tick);
    }
  }
  return ticks;
}

test("a purged state reaches no value, code or index entry of 1,000 deleted records", async () => {
  const store = memoryStore();
  const random = seeded(11);
  const ds = await Dataset.create("main", schema, store, { clock: testClock().read });
  const all = Array.from({ length: 3000 }, (_, i) => canary(random, i));
  const anchors: bigint[] = [];
  for (let from = 0; from < 3000; from += 300) {
    const some = all.slice(from, from + 300);
    anchors.push(...(await ds.appendMany(some.map(({ record }) => record))).anchors);
    if (from === 1200) {
      await ds.rebuildIvf({ field: "cells", k: 10 });
      await ds.buildGraph({ field: "linked" });
    }
  }
  await ds.snapshot("before");
  const isGone = (i: number) => i % 3 === 1;
  const gone = anchors.filter((_, i) => isGone(i));
  expect(gone).toHaveLength(1000);
  await ds.delete(gone, { reason: "asked for" });
  const rows = await rowsOf(ds, { fields: ["n", "note", "photo"] });
  expect(rows).toHaveLength(2000);
  const needles = all.flatMap(({ needles }, i) => (isGone(i) ? needles : []));
  const kept = all.flatMap(({ needles }, i) => (isGone(i) ? [] : [needles[0] as Uint8Array]));
  const manifestOf = async (): Promise<Manifest> =>
    decodeManifest((await store.get(objectKey(ds.currentManifest())))?.bytes as Uint8Array);
  // The scan finds what is there to be found.
  const before = await reached(store, await manifestOf());
  expect((await rawScan(store, needles, "objects/", (key) => before.has(key))).length).toBeGreaterThan(50);

  const done = await ds.compact({ purge: true });
  expect(done).toMatchObject({ rowsDropped: 1000, batchesAfter: 1, graphsDropped: ["linked"] });
  const manifest = await manifestOf();
  const after = await reached(store, manifest);
  expect(await rawScan(store, needles, "objects/", (key) => after.has(key))).toEqual([]);
  // Refs carry Manifests, and registries anchors; neither holds a value.
  expect(await rawScan(store, needles, "refs/")).toEqual([]);
  expect(await rawScan(store, needles, "meta/")).toEqual([]);
  expect((await rawScan(store, kept, "objects/", (key) => after.has(key))).length).toBeGreaterThan(0);
  for (const track of manifest.tracks.values()) {
    const ticks = await coded(store, track);
    for (const anchor of gone) expect(ticks.has(anchor)).toBe(false);
  }
  expect(await rowsOf(ds, { fields: ["n", "note", "photo"] })).toEqual(rows);
  expect(await (await Dataset.open("before", store)).count()).toBe(2000);
  expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });
  // Nothing is left to do, and a graph can be built anew.
  const { manifest: at } = await ds.compact({ purge: true });
  expect(at).toBe(done.manifest);
  await ds.buildGraph({ field: "linked" });
  const [found] = await ds.iterVector({ field: "linked", query: all[1]?.record.linked as Float32Array });
  expect(found?._time_anchors).toHaveLength(10);
  expect(found?._time_anchors).not.toContain(anchors[1]);
}, 60_000);

/** Collects garbage: how many objects went. */
async function deleteLeftovers(store: Store): Promise<number> {
  return (await gc(store, { ageMs: 0 })).deleted;
}

describe("a backend after a purge, without what nothing reaches", () => {
  const names = ["n", "f", "t", "label", "note", "photo", "exact", "hashed", "cells", "linked"];
  const isGone = (i: number) => i % 3 === 1;

  async function make() {
    const store = memoryStore();
    const random = seeded(12);
    const clock = testClock();
    const ds = await Dataset.create("main", schema, store, { clock: clock.read });
    const all = Array.from({ length: 3000 }, (_, i) => canary(random, i));
    const anchors: bigint[] = [];
    for (let from = 0; from < 3000; from += 300) {
      const some = all.slice(from, from + 300);
      anchors.push(...(await ds.appendMany(some.map(({ record }) => record))).anchors);
      if (from !== 1200) continue;
      await ds.rebuildIvf({ field: "cells", k: 10 });
      await ds.buildGraph({ field: "linked" });
      await ds.snapshot("half");
    }
    await ds.snapshot("whole");
    const branch = await ds.branch("beside");
    const own = canary(random, 9000);
    const [ownAnchor] = (await branch.appendMany([own.record])).anchors;
    return { store, ds, branch, all, anchors, own, ownAnchor: ownAnchor as bigint };
  }

  test("no byte of 1,000 records is left, and every other state is as it was", async () => {
    const { store, ds, all, anchors, own } = await make();
    // A session of before, which learns of it when it reads.
    const stale = await Dataset.open("half", store);
    await stale.iterVector({ field: "cells", query: all[0]?.record.cells as Float32Array });
    const staleStream = await Dataset.open("whole", store);
    await ds.delete(anchors.filter((_, i) => isGone(i)));
    const states = ["half", "whole", "beside"];
    const before = new Map<string, unknown>();
    for (const name of states)
      before.set(name, await rowsOf(await Dataset.open(name, store), { fields: names }));
    expect(await fsck(store, { purged: true })).toMatchObject({ ok: false, problems: [] });

    const done = await ds.compact({ purge: true });
    expect(done.redacted.batches).toBe(10);
    expect(done.redacted.segments).toBeGreaterThan(10);
    expect(done.redacted.graphs).toBe(1);
    const early = await fsck(store, { purged: true });
    expect(early).toMatchObject({ ok: false, problems: [], purge: { ok: false } });
    expect(new Set(early.purge?.remaining.map(({ why }) => why))).toEqual(new Set(["unreachable"]));
    expect(early.purge?.remaining.some(({ what }) => what === "page of a graph")).toBe(true);
    expect(await deleteLeftovers(store)).toBeGreaterThan(50);

    const needles = all.flatMap(({ needles }, i) => (isGone(i) ? needles : []));
    expect(await rawScan(store, needles)).toEqual([]);
    const kept = all.flatMap(({ needles }, i) => (isGone(i) ? [] : [needles]));
    for (let n = 0; n < 7; n++)
      expect(
        (
          await rawScan(
            store,
            kept.map((each) => each[n] as Uint8Array),
          )
        ).length,
      ).toBeGreaterThan(0);
    const proof = await fsck(store, { purged: true });
    expect(proof).toMatchObject({ ok: true, problems: [], purge: { ok: true, remaining: [] } });
    expect(proof.purge?.looked).toBeGreaterThan(20);

    for (const name of states)
      expect(await rowsOf(await Dataset.open(name, store), { fields: names })).toEqual(before.get(name));
    for (const name of states) {
      const state = await Dataset.open(name, store);
      for (const field of ["exact", "hashed", "cells", "linked"]) {
        const [hits] = await state.iterVector({
          field,
          query: own.record.exact,
          topK: 2000,
          batchSize: 2000,
        });
        const found = hits?._time_anchors ?? [];
        for (const anchor of found) expect(isGone(anchors.indexOf(anchor))).toBe(false);
        expect(found.length).toBeGreaterThan(900);
      }
      const label = all[3]?.record.label as string;
      expect(await rowsOf(state, { where: { label } })).toHaveLength(1);
      expect(await rowsOf(state, { where: { label: all[1]?.record.label as string } })).toHaveLength(0);
      expect(await state.get(anchors[3] as bigint)).toMatchObject({ label });
      expect(await state.get(anchors[1] as bigint)).toBeUndefined();
      await state.health();
      await state.prewarm();
    }
    const [hits] = await stale.iterVector({ field: "cells", query: all[0]?.record.cells as Float32Array });
    expect(hits?._time_anchors[0]).toBe(anchors[0]);
    expect(await rowsOf(staleStream, { fields: names })).toEqual(before.get("whole"));
    // Nothing is left to do.
    expect((await ds.compact({ purge: true })).redacted).toEqual({ batches: 0, segments: 0, graphs: 0 });
  }, 240_000);

  test("more is deleted and purged later, whatever has gone by then", async () => {
    const { store, ds, all, anchors } = await make();
    await ds.delete(anchors.filter((_, i) => isGone(i)));
    await ds.compact({ purge: true });
    await deleteLeftovers(store);
    const late = anchors.filter((_, i) => i % 30 === 0);
    await ds.delete(late);
    expect((await fsck(store, { purged: true })).purge?.remaining.map(({ why }) => why)).toContain(
      "deleted-rows",
    );
    await ds.compact({ purge: true });
    await deleteLeftovers(store);
    expect(await fsck(store, { purged: true })).toMatchObject({ ok: true });
    const needles = all.flatMap(({ needles }, i) => (isGone(i) || i % 30 === 0 ? needles : []));
    expect(await rawScan(store, needles)).toEqual([]);
    expect(await (await Dataset.open("whole", store)).count()).toBe(1900);
  }, 240_000);

  test("a compacted branch and one that is not are merged, before and after what is replaced has gone", async () => {
    for (const isCollected of [false, true]) {
      const { store, ds, all, anchors, own, ownAnchor } = await make();
      await ds.delete(anchors.filter((_, i) => isGone(i)));
      await ds.compact({ purge: true });
      if (isCollected) await deleteLeftovers(store);
      const diff = await ds.diff("beside");
      expect(diff).toMatchObject({ added: 0, removed: 1, changed: 0 });
      const merged = await ds.merge("beside", { onUnrelatedIndex: "delta" });
      expect(merged).toMatchObject({ kind: "merge", conflictCount: 0 });
      expect(await ds.count()).toBe(2001);
      expect(await ds.get(ownAnchor)).toMatchObject({ label: own.record.label });
      expect(await ds.get(anchors[1] as bigint)).toBeUndefined();
      // The other way round: the branch takes in what the compacted one has.
      const branch = await Dataset.open("beside", store);
      await branch.appendMany([canary(seeded(99), 9001).record]);
      await branch.merge("main", { onUnrelatedIndex: "delta" });
      expect(await branch.count()).toBe(2002);
      expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });
      await ds.compact({ purge: true });
      await deleteLeftovers(store);
      expect(await fsck(store, { purged: true })).toMatchObject({ ok: true });
      const needles = all.flatMap(({ needles }, i) => (isGone(i) ? needles : []));
      expect(await rawScan(store, needles)).toEqual([]);
    }
  }, 240_000);

  test("values that a live record shares stay, and so does a batch that is appended anew", async () => {
    const store = memoryStore();
    const plain = new Schema().addScalarCategorical("label", { index: true }).addScalarInt("n");
    const ds = await Dataset.create("main", plain, store, { clock: testClock().read });
    const records = Array.from({ length: 5 }, (_, n) => ({ label: "same", n }));
    const { anchors } = await ds.appendMany(records);
    await ds.snapshot("one");
    await ds.delete([anchors[2] as bigint]);
    await ds.compact({ purge: true });
    await deleteLeftovers(store);
    // The same bytes as the columns that went: another batch, of which nothing is deleted.
    await ds.appendMany(records);
    const read = await Dataset.open("main", store);
    expect(await read.count()).toBe(9);
    const snapshot = await Dataset.open("one", store);
    expect(await rowsOf(snapshot, { where: { label: "same" } })).toHaveLength(4);
    expect((await rowsOf(read, { fields: ["n"] })).map(({ n }) => n)).toEqual([0, 1, 3, 4, 0, 1, 2, 3, 4]);
    expect(await fsck(store, { purged: true })).toMatchObject({ ok: true });
  });
});
