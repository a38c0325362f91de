// `maxStaleness`: how far reads may lag behind the ref, by the caller's clock.
import { describe, expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { refusal } from "./stores.ts";

const schema = new Schema().addScalarInt("n").addEmbedding("v", { dim: 2, algorithm: "dreamdb.lsh-cosine" });
const query = { field: "v", query: [1, 0], topK: 100 };
const record = (n: number) => ({ n, v: [1, n] });

/** A store that counts the reads of refs, and can show what it held before. */
function watched(): {
  store: Store;
  refReads: () => number;
  rollBack: (to: boolean) => void;
  keep: () => Promise<void>;
} {
  const inner = memoryStore();
  let reads = 0;
  let old: Uint8Array | undefined;
  let isOld = false;
  const store: Store = {
    url: "memory://watched",
    async get(key, range, options) {
      const found = await inner.get(key, range, options);
      if (!key.startsWith("refs/")) return found;
      reads++;
      return isOld && old !== undefined ? { bytes: old, etag: "old" } : found;
    },
    put: (...given) => inner.put(...given),
    delete: (key) => inner.delete(key),
    list: (prefix) => inner.list(prefix),
  };
  return {
    store,
    refReads: () => reads,
    rollBack: (to) => {
      isOld = to;
    },
    async keep() {
      old = (await inner.get("refs/main"))?.bytes;
    },
  };
}

/** A dataset of one record, its reader with `maxStaleness`, and a clock that stands still. */
async function open(maxStaleness?: number) {
  const backend = watched();
  const writer = await Dataset.create("main", schema, backend.store);
  await writer.appendMany([record(1)]);
  let ms = 1_000_000;
  const reader = await Dataset.open("main", backend.store, {
    clock: () => BigInt(Math.round(ms * 1e6)),
    ...(maxStaleness === undefined ? {} : { maxStaleness }),
  });
  const before = backend.refReads();
  return {
    ...{ ...backend, writer, reader },
    pass: (more: number) => {
      ms += more;
    },
    refReads: () => backend.refReads() - before,
  };
}

const READS: [string, (ds: Dataset) => Promise<number>][] = [
  ["count", (ds) => ds.count()],
  ["iterVector, awaited", async (ds) => (await ds.iterVector(query)).flatMap((b) => b._time_anchors).length],
  [
    "iterVector, iterated",
    async (ds) => {
      let rows = 0;
      for await (const batch of ds.iterVector(query)) rows += batch._time_anchors.length;
      return rows;
    },
  ],
  [
    "iterStream",
    async (ds) => {
      let rows = 0;
      for await (const batch of ds.iterStream()) rows += batch._time_anchors.length;
      return rows;
    },
  ],
  ["explain", async (ds) => (await ds.explain(query)).hits],
  [
    "queryMany",
    async (ds) => (await ds.queryMany({ ...query, queries: [query.query] }))[0]?._time_anchors.length ?? 0,
  ],
  ["history", async (ds) => (await ds.history(1))[0]?.rows ?? 0],
];

describe.each(READS)("%s", (_, rowsOf) => {
  test("looks at the ref once its state is old enough, and not before", async () => {
    const { reader, writer, pass, refReads } = await open(1000);
    await writer.appendMany([record(2)]);
    const own = refReads();
    pass(999);
    expect(await rowsOf(reader as unknown as Dataset)).toBe(1);
    expect(refReads()).toBe(own);
    pass(1);
    expect(await rowsOf(reader as unknown as Dataset)).toBe(2);
    expect(refReads()).toBe(own + 1);
    expect(await rowsOf(reader as unknown as Dataset)).toBe(2);
    expect(refReads()).toBe(own + 1);
  });
});

test("by default only refresh looks at the ref", async () => {
  const { reader, writer, pass } = await open();
  await writer.appendMany([record(2)]);
  pass(1e9);
  expect(await reader.count()).toBe(1);
  await reader.refresh();
  expect(await reader.count()).toBe(2);
});

test("0 has every read look", async () => {
  const { reader, writer, refReads } = await open(0);
  await writer.appendMany([record(2)]);
  const own = refReads();
  expect(await reader.count()).toBe(2);
  expect(await reader.count()).toBe(2);
  expect(refReads()).toBe(own + 2);
});

test("a clock that is set back makes the state old", async () => {
  const { reader, writer, pass } = await open(1000);
  await writer.appendMany([record(2)]);
  pass(-1);
  expect(await reader.count()).toBe(2);
});

test("get finds a record that came meanwhile", async () => {
  const { reader, writer, pass } = await open(1000);
  const { anchors } = await writer.appendMany([record(2)]);
  expect(await reader.get(anchors[0] as bigint)).toBeUndefined();
  pass(1000);
  expect(await reader.get(anchors[0] as bigint)).toMatchObject({ n: 2 });
});

test("reads at one time share one look", async () => {
  const { reader, pass, refReads } = await open(1000);
  pass(1000);
  await Promise.all([reader.count(), reader.count(), reader.iterVector(query)]);
  expect(refReads()).toBe(1);
});

test("a ref that went back is RefRollback, and the state read before stays", async () => {
  const { reader, writer, pass, keep, rollBack } = await open(1000);
  await keep();
  await writer.appendMany([record(2)]);
  pass(1000);
  expect(await reader.count()).toBe(2);
  rollBack(true);
  pass(1000);
  expect(await refusal(() => reader.count())).toMatchObject({ code: "RefRollback" });
  rollBack(false);
  expect(await reader.count()).toBe(2);
});

test("a snapshot is never old", async () => {
  const { reader, store, refReads } = await open(1000);
  await reader.snapshot("v1");
  const pinned = await Dataset.open("v1", store, { maxStaleness: 0 });
  const own = refReads();
  expect(await pinned.count()).toBe(1);
  expect(refReads()).toBe(own);
});

test.each([-1, Number.NaN, "1" as never])("maxStaleness %p is refused", async (maxStaleness) => {
  const { store } = await open();
  expect(await refusal(() => Dataset.open("main", store, { maxStaleness }))).toMatchObject({
    code: "InvalidArgument",
    field: "maxStaleness",
  });
});
