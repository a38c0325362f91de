// Stored bytes that were cut short, changed or lost: a typed error or the right data, never wrong data.
import { beforeAll, expect, test } from "@jest/globals";
import { addressOf, objectKey } from "../../src/core/address.ts";
import { decodeCbor, encodeCbor } from "../../src/core/cbor.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { isDreamDBError } from "../../src/errors.ts";
import { decodeManifest, encodeManifest } from "../../src/objects/manifest.ts";
import { decodeRef, encodeRef } from "../../src/objects/ref.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { rowsOf, testClock } from "./records.ts";
import { copyOf, listing, refusal, watchedStore } from "./stores.ts";

const schema = new Schema()
  .addEmbedding("v", { dim: 4, algorithm: "dreamdb.lsh-cosine", lshBits: 3 })
  .addEmbedding("w", { dim: 2, required: false })
  .addEmbedding("wide", { dim: 3000, required: false })
  .addEmbedding("wideCells", { dim: 3000, algorithm: "dreamdb.lsh-cosine", lshBits: 2, required: false })
  .addImage("image", { required: false })
  .addScalarCategorical("label", { index: true })
  .addScalarString("text", { required: false, index: true });

const TYPED = new Set([
  "HashMismatch",
  "Corrupt",
  "NotFound",
  "UnsupportedVersion",
  "LineageMismatch",
  "LimitExceeded",
  "InvalidAddress",
]);

/** A store with every kind of object in it: pages, uneven anchors, columns of one block and of many, segments, indexes. */
let original: Store;
let wanted: unknown;

beforeAll(async () => {
  original = memoryStore();
  const clock = testClock();
  const dataset = await Dataset.create("main", schema, original, { clock: clock.read });
  const record = (i: number) => ({
    v: [i + 1, 2, i % 3, 4],
    label: `label ${i % 3}`,
    ...(i % 2 === 0 ? { w: [1, i], text: `text ${i}` } : { image: new Uint8Array(40).fill(i) }),
  });
  await dataset.appendMany(
    Array.from({ length: 20 }, (_, i) => ({ ...record(i), _anchor: clock.now + BigInt(i * i) })),
  );
  await dataset.appendMany([
    record(1),
    { ...record(2), image: new Uint8Array(70_000) },
    { ...record(3), image: new Uint8Array(70_000).fill(1) },
  ]);
  const wide = (i: number) => Float32Array.from({ length: 3000 }, (_, k) => ((k * 7 + i * 3) % 11) - 5);
  await dataset.appendMany(
    Array.from({ length: 9 }, (_, i) => ({ ...record(i), wide: wide(i), wideCells: wide(i) })),
  );
  for (let i = 0; i < 64; i++) await dataset.appendMany([record(i)]);
  await dataset.snapshot("tag");
  wanted = await readAll(original);
});

/** All that reads can see: rows, hits and records. */
async function readAll(store: Store): Promise<unknown> {
  const dataset = await Dataset.open("main", store);
  const rows = await rowsOf(dataset);
  const some = await rowsOf(dataset, { where: { text: { gte: "text 3" }, not: { label: "label 0" } } });
  const hits = [];
  const ones = (dim: number) => Array<number>(dim).fill(1);
  for (const [field, dim] of [
    ["v", 4],
    ["w", 2],
    ["wide", 3000],
    ["wideCells", 3000],
  ] as const) {
    hits.push(await dataset.iterVector({ field, query: ones(dim), topK: 100 }));
    hits.push(await dataset.iterVector({ field, query: ones(dim), topK: 2, nprobe: 2 }));
    hits.push(await dataset.iterVector({ field, query: ones(dim), topK: 5, whereEq: { label: "label 1" } }));
  }
  const anchors = rows.map((row) => row._anchor as bigint);
  const records = await Promise.all([0, 10, 21, 25, 80].map((i) => dataset.get(anchors[i]!)));
  const state = dataset.currentManifest();
  return { rows: rows.map(shorten), some: some.map(shorten), hits, records: records.map(shorten), state };
}

/** Long arrays as their length and sum: comparing them thousands of times takes its time. */
function shorten(row: Record<string, unknown> | undefined): unknown {
  const short = (value: unknown) =>
    ArrayBuffer.isView(value) && value.byteLength > 100
      ? [value.byteLength, (value as Uint8Array).reduce((sum, item) => sum + item, 0)]
      : value;
  return Object.fromEntries(Object.entries(row ?? {}).map(([name, value]) => [name, short(value)]));
}

/** Reads either fail with a typed error, or give the right data; returns the error's code, or "right". */
async function readDamaged(store: Store): Promise<string> {
  try {
    const found = await readAll(store);
    expect(found).toEqual(wanted);
    return "right";
  } catch (error) {
    if (!isDreamDBError(error)) throw error;
    expect(TYPED).toContain(error.code);
    return error.code;
  }
}

/** The keys that reads of the current state ask for. */
async function readKeys(): Promise<string[]> {
  const keys = new Set<string>();
  const watched = watchedStore(original, (request, run) => {
    keys.add(request.key);
    return run();
  });
  await readAll(watched);
  return [...keys];
}

/** Of the objects that reads ask for, two of every kind: column types, sizes, segments, pages, Genesis. */
async function keysOfEveryKind(): Promise<string[]> {
  const byKind = new Map<string, string[]>();
  for (const key of await readKeys()) {
    if (!key.startsWith("objects/")) continue;
    const { bytes } = (await original.get(key))!;
    const isContainer = bytes[0] === 0x44;
    const kind = isContainer
      ? `${bytes.slice(0, 8)} ${bytes.length > 65_536} ${bytes[28]}`
      : new TextDecoder().decode(bytes.slice(0, 40));
    byKind.set(kind, [...(byKind.get(kind) ?? []), key]);
  }
  expect(byKind.size).toBeGreaterThanOrEqual(12);
  return [...byKind.values()].flatMap((keys) => keys.slice(0, 2));
}

const flip = (bytes: Uint8Array, at: number, mask: number) => {
  const changed = bytes.slice();
  changed[at] = changed[at]! ^ mask;
  return changed;
};

test("an object that is gone is NotFound, and fsck names it", async () => {
  const store = await copyOf(original);
  for (const key of await keysOfEveryKind()) {
    const { bytes } = (await original.get(key))!;
    await store.delete(key);
    expect(await readDamaged(store)).toBe("NotFound");
    expect((await fsck(store)).problems).toContainEqual(expect.objectContaining({ code: "NotFound", key }));
    await store.put(key, bytes);
  }
  await store.delete("refs/main");
  expect(await readDamaged(store)).toBe("NotFound");
});

test("an object that was changed or cut anywhere is never read as something else", async () => {
  const seen = new Set<string>();
  const store = await copyOf(original);
  for (const key of await keysOfEveryKind()) {
    const { bytes } = (await original.get(key))!;
    const places = [0, 5, 7, 40, 50, 64, 200, 250, bytes.length >> 1, bytes.length - 1].filter(
      (at) => at < bytes.length,
    );
    const cuts = [0, 47, bytes.length >> 1, bytes.length - 1].map((length) => bytes.slice(0, length));
    for (const body of [
      ...places.map((at) => flip(bytes, at, 1 << (at & 7))),
      ...cuts,
      Uint8Array.of(...bytes.slice(0, 5000), 0),
    ]) {
      await store.put(key, body);
      seen.add(await readDamaged(store));
    }
    expect((await fsck(store)).problems).toContainEqual(expect.objectContaining({ key }));
    await store.put(key, bytes);
  }
  expect([...seen]).toContain("HashMismatch");
  expect(await readDamaged(store)).toBe("right");
});

test("every bit of a ref, and every length of it", async () => {
  // A small dataset, so that each of its few thousand bits can be tried.
  const store = memoryStore();
  const clock = testClock();
  const dataset = await Dataset.create("main", new Schema().addScalarInt("n"), store, { clock: clock.read });
  await dataset.appendMany([{ n: 1 }, { n: 2 }]);
  const right = { rows: await rowsOf(dataset), state: dataset.currentManifest() };
  const { bytes } = (await store.get("refs/main"))!;
  const codes = new Map<string, number>();
  const tryRef = async (body: Uint8Array, what: string) => {
    await store.put("refs/main", body);
    let code = "right";
    try {
      const opened = await Dataset.open("main", store);
      expect({ what, rows: await rowsOf(opened), state: opened.currentManifest() }).toEqual({
        what,
        ...right,
      });
    } catch (error) {
      if (!isDreamDBError(error)) throw error;
      expect(TYPED).toContain(error.code);
      code = error.code;
    }
    codes.set(code, (codes.get(code) ?? 0) + 1);
  };
  for (let at = 0; at < bytes.length; at++) {
    for (let bit = 0; bit < 8; bit++) await tryRef(flip(bytes, at, 1 << bit), `bit ${bit} of byte ${at}`);
  }
  for (let length = 0; length < bytes.length; length++) {
    await store.put("refs/main", bytes.slice(0, length));
    expect(await refusal(() => Dataset.open("main", store))).toMatchObject({ code: "Corrupt" });
  }
  // Only ids, the clock and the like may change unnoticed: 44 bytes or so of a body that holds no data.
  expect(codes.get("right") ?? 0).toBeLessThan(8 * 60);
  expect(codes.get("HashMismatch")).toBeGreaterThan(1000);
});

test("a reply that was damaged once is asked for again", async () => {
  const keys = (await readKeys()).filter((key) => key.startsWith("objects/"));
  const damagedOnce = new Set<string>();
  const flaky = watchedStore(original, async ({ verb, key }, run) => {
    const value = (await run()) as { bytes: Uint8Array; etag: string } | undefined;
    if (verb !== "get" || !key.startsWith("objects/") || value === undefined || damagedOnce.has(key))
      return value;
    damagedOnce.add(key);
    return {
      ...value,
      bytes:
        damagedOnce.size % 2 === 0 ? flip(value.bytes, value.bytes.length >> 1, 4) : value.bytes.slice(0, -1),
    };
  });
  expect(await readDamaged(flaky)).toBe("right");
  expect(damagedOnce.size).toBe(keys.length);
});

test("caches that have it damaged are passed by, on the walk of a graph too", async () => {
  const store = memoryStore();
  const graphs = new Schema().addEmbedding("v", { dim: 16, algorithm: "dreamdb.vamana-l2" });
  const dataset = await Dataset.create("main", graphs, store);
  const vector = (n: number) => Float32Array.from({ length: 16 }, (_, i) => Math.sin(n * 1.3 + i * n));
  await dataset.appendMany(Array.from({ length: 1500 }, (_, n) => ({ v: vector(n) })));
  await dataset.buildGraph({ field: "v" });
  const asked = new Set<string>();
  const behindCache: Store = {
    ...watchedStore(store, (_, run) => run()),
    async get(key, range, options) {
      const found = await store.get(key, range);
      if (found === undefined || !key.startsWith("objects/") || options?.again === true) return found;
      asked.add(key);
      return { ...found, bytes: flip(found.bytes, found.bytes.length >> 1, 4) };
    },
  };
  const query = { field: "v", query: vector(0.5), topK: 9 };
  // Too little memory to bring the graph in: it is walked where it lies.
  const cold = await Dataset.open("main", behindCache, { residentBytes: 1 });
  for (let time = 0; time < 3; time++)
    expect(await cold.iterVector(query)).toEqual(await dataset.iterVector(query));
  expect((await cold.explain(query)).strategy).toBe("graph");
  expect(asked.size).toBeGreaterThan(3);
});

test("what was written by a newer version is refused as such", async () => {
  const refBytes = (await original.get("refs/main"))!.bytes;
  const newer = (bytes: Uint8Array) =>
    encodeCbor((decodeCbor(bytes) as Map<string, unknown>).set("version", 2));
  const store = await copyOf(original);
  await store.put("refs/main", newer(refBytes));
  expect(await refusal(() => Dataset.open("main", store))).toMatchObject({
    code: "UnsupportedVersion",
    field: "version",
    found: 2,
  });

  const ref = decodeRef(refBytes);
  const manifest = newer((await original.get(objectKey(ref.manifest)))!.bytes);
  const address = addressOf(manifest);
  await store.put(objectKey(address), manifest);
  const { inline: _, ...bare } = ref;
  for (const body of [
    { ...bare, manifest: address },
    { ...bare, manifest: address, inline: manifest },
  ]) {
    await store.put("refs/main", encodeRef(body));
    expect((await refusal(() => Dataset.open("main", store))).code).toBe("UnsupportedVersion");
  }
  expect((await refusal(() => Dataset.openAt(address, store))).code).toBe("UnsupportedVersion");
  const report = await fsck(store);
  expect(report.problems).toEqual([
    expect.objectContaining({ code: "UnsupportedVersion", key: objectKey(address) }),
  ]);
});

test("two batches that claim the same anchors are refused, not read forever", async () => {
  const store = memoryStore();
  const dataset = await Dataset.create("main", new Schema().addScalarInt("n"), store);
  await dataset.appendMany([{ n: 1 }, { n: 2 }]);
  const ref = decodeRef((await store.get("refs/main"))!.bytes);
  const manifest = decodeManifest(ref.inline!);
  const { timeline } = manifest;
  const bytes = encodeManifest({
    ...manifest,
    timeline: { ...timeline, entries: [...timeline.entries, ...timeline.entries], rows: 4 },
  });
  const { inline: _, ...bare } = ref;
  await store.put(objectKey(addressOf(bytes)), bytes);
  await store.put("refs/main", encodeRef({ ...bare, manifest: addressOf(bytes) }));
  const opened = await Dataset.open("main", store);
  expect(await refusal(() => rowsOf(opened))).toMatchObject({ code: "Corrupt" });
});

test("damage is found in every object there is", async () => {
  const store = await copyOf(original);
  const reachable = (await fsck(store)).objects;
  const keys = (await listing(store, "objects/")).map(({ key }) => key);
  expect(reachable).toBe(keys.length);
});
