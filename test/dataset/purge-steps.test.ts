// A purge of states of one past whose indexes took different steps, so that they count different rows of the same segments.
import { expect, test } from "@jest/globals";
import { type Address, objectKey } from "../../src/core/address.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { gc } from "../../src/dataset/gc.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { entriesOf } from "../../src/dataset/segments.ts";
import { Session } from "../../src/dataset/session.ts";
import { decodeManifest, type Track } from "../../src/objects/manifest.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { rowsOf, seeded, testClock } from "./records.ts";

const PLACES = [0, 1, 2, 3];
const ROWS = 20;

const schema = new Schema().addEmbedding("v", {
  dim: 2,
  algorithm: "dreamdb.ivf-l2",
  compressor: "none",
});

/**
 * Four far places, a cell each; on two branches another one grows until a step splits its cell.
 * @param appends before they part, of a segment each, which the steps leave as they are
 */
async function parted(appends = 0) {
  const store = memoryStore();
  const random = seeded(3);
  const near = (place: number) => ({ v: [100 * place + random(), random()] });
  const at = (place: number, count: number) => Array.from({ length: count }, () => near(place));
  const main = await Dataset.create("main", schema, store, { clock: testClock().read });
  const { anchors } = await main.appendMany(PLACES.flatMap((place) => at(place, ROWS)));
  await main.rebuildIvf({ field: "v", k: PLACES.length });
  for (let i = 0; i < appends; i++) anchors.push(...(await main.appendMany([near(3)])).anchors);
  const branches: Dataset[] = [];
  for (const place of [0, 1]) {
    const branch = await main.branch(`grown-${place}`);
    const splitAbove = 2 * ROWS + appends;
    await branch.appendMany(at(place, splitAbove));
    const { splits } = await branch.adaIvfStep({
      ...{ field: "v", splitAbove, mergeBelow: 0, recentre: 0, neighbours: 0 },
    });
    expect(splits).toHaveLength(1);
    branches.push(branch);
  }
  const both = await branches[0]!.branch("both");
  await both.mergeMany(["grown-1"], { onUnrelatedIndex: "delta" });
  return { store, main, branches, both, anchors };
}

const trackOf = async (store: Store, dataset: Dataset): Promise<Track> => {
  const found = await store.get(objectKey(dataset.currentManifest() as Address));
  return decodeManifest(found!.bytes).tracks.values().next().value as Track;
};

/** Of a segment that the Track has from before its step, as its entry says. */
async function oldEntry(store: Store, dataset: Dataset) {
  const [first] = await entriesOf(new Session(store, 0), await trackOf(store, dataset));
  return first;
}

test("states that count other rows of a segment, and as many, have it named alike", async () => {
  const { store, branches } = await parted();
  const [a, b] = await Promise.all(branches.map((branch) => oldEntry(store, branch)));
  expect(a).toEqual(b);
  expect(a).toMatchObject({ rows: 3 * ROWS });
  const [one, other] = await Promise.all(branches.map((branch) => trackOf(store, branch)));
  expect(one!.lineage).not.toEqual(other!.lineage);
});

/** Before a collection and after it: all records of each state are found. */
async function areWhole(store: Store, datasets: readonly Dataset[]): Promise<void> {
  for (const isCollected of [false, true]) {
    if (isCollected) await gc(store, { ageMs: 0 });
    for (const { name } of datasets) {
      const dataset = await Dataset.open(name, store);
      const rows = await rowsOf(dataset, { fields: [] });
      const query = { field: "v", query: [150, 0], topK: 1000, nprobe: 1000, epsilon: 100 };
      const found = (await dataset.iterVector(query)).flatMap((batch) => batch._time_anchors);
      expect([name, found.sort()]).toEqual([name, rows.map(({ _anchor }) => _anchor).sort()]);
    }
    expect(await fsck(store, { purged: isCollected })).toMatchObject({ ok: true, problems: [] });
  }
}

test.each([
  ["some rows of a cell that one state counts there", [0], 5],
  ["all rows of that cell", [0], ROWS],
  ["all rows that one state counts there", [1, 2, 3], ROWS],
  ["all rows that any of them counts there", PLACES, ROWS],
  ["some rows of it, in a page of segments that states share", [0], 5, 70],
])("a purge of %s leaves every state whole", async (_what, places, count, appends = 0) => {
  const { store, main, branches, both, anchors } = await parted(appends);
  const gone = places.flatMap((place) => anchors.slice(ROWS * place, ROWS * place + count));
  await main.delete(gone);
  await main.compact({ purge: true });
  await areWhole(store, [main, ...branches, both]);
  // Once more: what was redacted before is, again, and what was not.
  const more = anchors.filter((anchor, i) => i % 3 === 0 && !gone.includes(anchor));
  if (more.length === 0) return;
  await main.delete(more);
  await main.compact({ purge: true });
  await areWhole(store, [main, ...branches, both]);
});

test("a merge of a state of steps with one that was compacted finds what stands for the segments of both", async () => {
  const { store, main, branches, anchors } = await parted();
  const [grown] = branches as [Dataset, Dataset];
  const packed = await grown.branch("packed");
  await packed.compact();
  const apart = await packed.branch("apart");
  await apart.appendMany([{ v: [301, 1] }]);
  await grown.appendMany([{ v: [201, 1] }]);
  expect((await trackOf(store, apart)).lineage).toBeUndefined();
  await main.delete(anchors.filter((_, i) => i % 4 === 0));
  await main.compact({ purge: true });
  await gc(store, { ageMs: 0 });
  await grown.refresh();
  await grown.mergeMany(["apart"]);
  await areWhole(store, [main, grown, packed, apart]);
});

test("a segment that all count in full is written once for all of them", async () => {
  const { store, main, branches, both, anchors } = await parted(3);
  await main.delete([anchors[4 * ROWS + 1] as bigint]);
  // Alone in its segment, which is gone; the batch has something in its place.
  expect((await main.compact({ purge: true })).redacted).toEqual({ batches: 1, segments: 1, graphs: 0 });
  await areWhole(store, [main, ...branches, both]);
});
