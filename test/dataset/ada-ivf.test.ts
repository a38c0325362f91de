// Steps of index maintenance: cells are split and dissolved, nothing is lost, whoever shares the work.
import { describe, expect, test } from "@jest/globals";
import type { AdaIvfOptions } from "../../src/dataset/ada-plan.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import type { EmbeddingOptions } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { refusal } from "./stores.ts";
import { append, nearest, vectorSets } from "./vector-set.ts";

const DIM = 12;

/** A vector near one of a few places; later rows lie elsewhere than earlier ones. */
const drifting = (random: () => number, dim: number, row: number): Float32Array => {
  const place = row < 300 ? Math.floor(random() * 12) : 12 + Math.floor(random() * 3);
  return Float32Array.from(
    { length: dim },
    (_, i) => Math.sin(1 + place * 7.3 + i * (place + 1)) + 0.4 * (random() - 0.5),
  );
};

const { make } = vectorSets({ dim: DIM, vector: drifting });

/** 12 cells of 300 rows, then as many rows again and more, most of which fall into few of them. */
async function drifted(options: Partial<EmbeddingOptions<true>> = {}, store: Store = memoryStore()) {
  const made = await make({ rows: 300, options, store });
  const { ds, random, vectors } = made;
  await ds.rebuildIvf({ field: "v", k: 12 });
  for (let first = 300; first < 1500; first += 200) {
    const more = Array.from({ length: 200 }, (_, i) => drifting(random, DIM, first + i));
    await append(ds, more, first);
    vectors.push(...more);
  }
  return made;
}

const sound = async (store: Store) => expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });

/** Every query finds with all cells probed what an exact search finds; and each row is there once. */
async function isWhole(
  ds: Dataset,
  vectors: readonly Float32Array[],
  options: Partial<EmbeddingOptions<true>> = {},
) {
  const cells = (await ds.adaIvfStatus({ field: "v" })).cells;
  const { make: exact } = vectorSets({ dim: DIM });
  const { ds: plain } = await exact({ rows: 0, options });
  await append(plain, vectors, 0);
  for (const row of [0, 7, 299, 300, 301, 777, vectors.length - 1]) {
    const query = vectors[row] as Float32Array;
    expect(await nearest(ds, query, { nprobe: cells, epsilon: 9, rerankFactor: 80, topK: 25 })).toEqual(
      await nearest(plain, query, { topK: 25 }),
    );
  }
  const { tracks } = await ds.health();
  expect(tracks[0]).toMatchObject({ indexedRows: vectors.length, unindexedRows: 0 });
}

const field = "v";
const step: AdaIvfOptions = { field, imbalance: 1.8, mergeBelow: 20, recentre: 0, neighbours: 2 };

async function addresses(store: Store): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list("objects/")) keys.push(key);
  return keys.sort();
}

describe("a step of index maintenance", () => {
  const kinds: Partial<EmbeddingOptions<true>>[] = [
    {},
    { rerank: true },
    { algorithm: "dreamdb.ivf-l2", compressor: "none" },
    { algorithm: "dreamdb.ivf-dot", compressor: { algorithm: "rabitq", bits: 2 } },
    { compressor: { algorithm: "pq", subspaces: 4, bits: 4 } },
  ];
  for (const options of kinds) {
    test(`brings imbalance down and loses nothing: ${JSON.stringify(options)}`, async () => {
      const { ds, store, vectors } = await drifted(options);
      const before = await ds.adaIvfStatus({ field });
      expect(before.imbalance).toBeGreaterThan(3);
      expect(before.drift).toBeGreaterThan(0.5);
      const planned = await ds.adaIvfStep({ ...step, dryRun: true });
      expect(planned.plan).toBeUndefined();
      expect(planned.splits.length).toBeGreaterThan(0);
      const rows: number[] = [];
      for (let i = 0; i < 6; i++) {
        // With the defaults, of twelve cells all may be touched.
        const done = await ds.adaIvfStep(i === 0 ? step : { ...step, recentre: 1, neighbours: 4, limit: 3 });
        if (i === 0) expect(done).toMatchObject({ splits: planned.splits, merges: planned.merges });
        if (done.manifest === undefined) break;
        rows.push(done.writtenRows as number);
        await isWhole(ds, vectors, options);
        await sound(store);
      }
      const after = await ds.adaIvfStatus({ field });
      expect(after.imbalance).toBeLessThan(1.8);
      expect(after.rows).toBe(1500);
      expect(rows[0]).toBeLessThan(1500);
      // A fresh session, and what follows: more rows, compaction, a rebuild.
      const again = await Dataset.open("d", store);
      await isWhole(again, vectors, options);
      expect(await again.adaIvfStatus({ field })).toEqual(after);
    });
  }

  test("goes on beside appends, compaction, deletions and a rebuild", async () => {
    const { ds, store, vectors, random } = await drifted();
    await ds.adaIvfStep(step);
    const more = Array.from({ length: 150 }, (_, i) => drifting(random, DIM, 1500 + i));
    await append(ds, more, 1500);
    vectors.push(...more);
    await isWhole(ds, vectors);
    await ds.adaIvfStep({ ...step, imbalance: 1.3, limit: 2 });
    await isWhole(ds, vectors);
    await sound(store);
    expect((await ds.adaIvfStatus({ field })).earlierIndexes).toBeGreaterThan(0);
    await ds.compact();
    expect(await ds.adaIvfStatus({ field })).toMatchObject({ earlierIndexes: 0, hiddenRows: 0 });
    await isWhole(ds, vectors);
    await sound(store);
    const { manifest } = await ds.compact();
    expect(manifest).toBe(ds.currentManifest());
    await ds.delete({ where: { n: { lt: 100 } } });
    await ds.adaIvfStep({ field, splitAbove: 60 });
    await sound(store);
    // Everything goes to one cell, and numbers with it.
    await ds.adaIvfStep({ field, mergeBelow: 10_000 });
    expect((await ds.adaIvfStatus({ field })).cells).toBeLessThan(5);
    await sound(store);
    await ds.compact({ purge: true });
    await sound(store);
    await ds.rebuildIvf({ field, k: 10 });
    await sound(store);
  });

  test("has the same addresses however many jobs share it", async () => {
    const options = { ...step, taskRows: 150 };
    const whole = await drifted();
    const done = await whole.ds.adaIvfStep(options);
    const shared = await drifted();
    const { plan, tasks } = await shared.ds.adaIvfPlan(options);
    expect(tasks).toBeGreaterThan(3);
    if (plan === undefined) throw new Error("nothing to do");
    const jobs = await Promise.all(
      [1, 0, 2].map(async (shard) => {
        const job = await Dataset.open("d", shared.store);
        return (await job.adaIvfWork({ plan, shard, shards: 3 })).part;
      }),
    );
    const { collection } = await shared.ds.adaIvfCollect({ plan, parts: jobs });
    const { manifest: _, seq: __, ...result } = await shared.ds.adaIvfPublish({ collection });
    expect(done).toMatchObject(result);
    const health = async (ds: Dataset) => (await ds.adaIvfStatus({ field })).rowsOfCell;
    expect(await health(shared.ds)).toEqual(await health(whole.ds));
    // The parts are of one job, or of three; everything else is the same, the Manifest included.
    const [a, b] = [await addresses(whole.store), await addresses(shared.store)];
    expect(a.filter((key) => !b.includes(key))).toHaveLength(1);
    expect(b.filter((key) => !a.includes(key))).toHaveLength(3);
    expect(shared.ds.currentManifest()).toBe(whole.ds.currentManifest());
    await isWhole(shared.ds, shared.vectors);
    await sound(shared.store);
  });

  test("takes along what was appended between any of its stages", async () => {
    const { ds, store, vectors, random } = await drifted();
    let next = 1500;
    const more = async () => {
      const other = await Dataset.open("d", store);
      const rows = Array.from({ length: 40 }, (_, i) => drifting(random, DIM, next + i));
      await append(other, rows, next);
      next += rows.length;
      vectors.push(...rows);
    };
    const { plan } = await ds.adaIvfPlan(step);
    if (plan === undefined) throw new Error("nothing to do");
    await more();
    const { part } = await ds.adaIvfWork({ plan });
    await more();
    const { collection } = await ds.adaIvfCollect({ plan, parts: [part] });
    await more();
    const published = await ds.adaIvfPublish({ collection });
    await isWhole(ds, vectors);
    await more();
    await ds.refresh();
    await isWhole(ds, vectors);
    await sound(store);
    // Published already: nothing happens, also where it is done by another.
    const again = await (await Dataset.open("d", store)).adaIvfPublish({ collection });
    expect(again).toMatchObject({ cells: published.cells, manifest: ds.currentManifest() });
    await sound(store);
  });

  test("is newer than the index it came from, when branches are merged", async () => {
    const { ds, store, vectors, random } = await drifted();
    const more = async (branch: Dataset, first: number) => {
      const rows = Array.from({ length: 40 }, (_, i) => drifting(random, DIM, first + i));
      await append(branch, rows, first);
      vectors.push(...rows);
    };
    const side = await ds.branch("side");
    await more(side, 1500);
    await ds.adaIvfStep(step);
    await more(ds, 1540);
    expect(await ds.merge("side")).toMatchObject({ tracks: { v: { encodedRows: 40 } } });
    // By the order of their anchors.
    await isWhole(ds, vectors);
    await sound(store);
    // The same index on both sides: one of them compacted, the other has rows more.
    const compacted = await ds.branch("compacted");
    const appended = await ds.branch("appended");
    await compacted.compact({ fields: ["v"] });
    await more(appended, 1580);
    for (const [into, from] of [
      [compacted, "appended"],
      [ds, "compacted"],
    ] as const) {
      await into.merge(from);
      await sound(store);
    }
    await isWhole(ds, vectors);
    // Each side its own step: their cells mean different things.
    await ds.adaIvfStep({ field, splitAbove: 40, limit: 1 });
    await appended.adaIvfStep({ field, splitAbove: 40, limit: 2 });
    expect((await refusal(() => ds.merge("appended"))).code).toBe("LineageMismatch");
    await ds.merge("appended", { onUnrelatedIndex: "delta" });
    await isWhole(ds, vectors);
    await sound(store);
  });

  test("leaves the state as it was when it ends between stages", async () => {
    const { ds, store, vectors } = await drifted();
    const old = ds.currentManifest();
    const { plan } = await ds.adaIvfPlan(step);
    if (plan === undefined) throw new Error("nothing to do");
    await ds.adaIvfWork({ plan, shard: 0, shards: 2 });
    const { part } = await ds.adaIvfWork({ plan });
    await ds.adaIvfCollect({ plan, parts: [part] });
    const opened = await Dataset.open("d", store);
    expect(opened.currentManifest()).toBe(old);
    await isWhole(opened, vectors);
    await sound(store);
  });

  test("publishes nothing when something of it is not there any more", async () => {
    const { ds, store, vectors } = await drifted();
    const old = ds.currentManifest();
    const before = new Set(await addresses(store));
    const { plan } = await ds.adaIvfPlan(step);
    if (plan === undefined) throw new Error("nothing to do");
    const { part } = await ds.adaIvfWork({ plan });
    const { collection } = await ds.adaIvfCollect({ plan, parts: [part] });
    const stored = (await addresses(store)).filter((key) => !before.has(key));
    // The plan, its SpatialIndex and centroids, the part, a segment, the lineage, the collection.
    expect(stored.length).toBeGreaterThanOrEqual(7);
    for (const key of stored.filter((each) => !each.endsWith(part))) {
      const { bytes } = (await store.get(key)) as { bytes: Uint8Array };
      await store.delete(key);
      const job = await Dataset.open("d", store);
      expect([key, (await refusal(() => job.adaIvfPublish({ collection }))).code]).toEqual([key, "NotFound"]);
      expect((await Dataset.open("d", store)).currentManifest()).toBe(old);
      await store.put(key, bytes);
    }
    await ds.adaIvfPublish({ collection });
    await isWhole(ds, vectors);
    await sound(store);
  });

  test("refuses what is no step", async () => {
    const { ds, store } = await drifted();
    const refused = async (work: Promise<unknown>) => (await refusal(() => work)).code;
    expect(await refused(ds.adaIvfStep({ field }))).toBe("InvalidArgument");
    expect(await refused(ds.adaIvfStep({ field, imbalance: 1 }))).toBe("InvalidArgument");
    expect(await refused(ds.adaIvfStep({ field, imbalance: 2, splitAbove: 9 }))).toBe("InvalidArgument");
    expect(await refused(ds.adaIvfStep({ field: "n", splitAbove: 9 }))).toBe("InvalidArgument");
    const { ds: bare } = await make({ rows: 10 });
    expect(await refused(bare.adaIvfStatus({ field }))).toBe("InvalidArgument");
    const { plan } = await ds.adaIvfPlan({ ...step, taskRows: 100 });
    if (plan === undefined) throw new Error("nothing to do");
    const { part } = await ds.adaIvfWork({ plan, shard: 0, shards: 2 });
    expect(await refused(ds.adaIvfCollect({ plan, parts: [part] }))).toBe("InvalidArgument");
    expect(await refused(ds.adaIvfWork({ plan, shard: 2, shards: 2 }))).toBe("InvalidArgument");
    // Another writer was first.
    const { part: all } = await ds.adaIvfWork({ plan });
    const { collection } = await ds.adaIvfCollect({ plan, parts: [all] });
    await ds.compact();
    expect(await refused(ds.adaIvfPublish({ collection }))).toBe("Conflict");
    await ds.rebuildIvf({ field, k: 9 });
    expect(await refused(ds.adaIvfPublish({ collection }))).toBe("Conflict");
    await sound(store);
  });

  test("does nothing where nothing is to do, and says what can't be split", async () => {
    const same = () => Float32Array.from({ length: DIM }, (_, i) => i + 1);
    const { ds, store } = await make({ rows: 60, vector: same });
    await ds.rebuildIvf({ field, k: 3 });
    const old = ds.currentManifest();
    const objects = await addresses(store);
    const done = await ds.adaIvfStep({ field, splitAbove: 10 });
    expect(done.unsplittable).toHaveLength(1);
    expect(done.manifest).toBeUndefined();
    expect(ds.currentManifest()).toBe(old);
    expect(await addresses(store)).toEqual(objects);
  });
});
