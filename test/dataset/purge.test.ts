// What a purged state reaches holds nothing of deleted records, by a scan of the raw bytes for values that stand nowhere else.
import { expect, test } from "@jest/globals";
import { objectKey } from "../../src/core/address.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
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
