import { expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { diff } from "../../src/dataset/diff.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { collect } from "./records.ts";
import { refusal, watchedStore } from "./stores.ts";

const schema = new Schema()
  .addEmbedding("vector", { dim: 2, algorithm: "dreamdb.ivf-cosine" })
  .addScalarString("name")
  .addScalarInt("size", { required: false });

async function made() {
  const store = memoryStore();
  const main = await Dataset.create("main", schema, store);
  await main.appendMany([{ vector: [1, 2], name: "base" }]);
  const side = await main.branch("side");
  return { store, main, side };
}

test("of a state and itself there is nothing", async () => {
  const { store } = await made();
  const found = await diff(store, "main", "side");
  expect(found).toMatchObject({
    added: 0,
    removed: 0,
    changed: 0,
    fields: [],
    indexes: [],
    rows: { from: 1, to: 1 },
  });
  expect(await collect(found.records())).toEqual([]);
});

test("records added, removed and changed, with both values, by anchor", async () => {
  const { store, main, side } = await made();
  await main.appendMany([
    { _anchor: 5n, vector: [1, 1], name: "mine", size: 1 },
    { _anchor: 6n, vector: [1, 0], name: "same" },
    { _anchor: 9n, vector: [1, 0], name: "only here" },
  ]);
  await side.appendMany([
    { _anchor: 4n, vector: [0, 1], name: "only there" },
    { _anchor: 5n, vector: [1, 1], name: "yours", size: 1 },
    { _anchor: 6n, vector: [1, 0], name: "same" },
  ]);
  const found = await diff(store, "main", side.currentManifest());
  expect(found).toMatchObject({ added: 1, removed: 1, changed: 1, from: main.currentManifest() });
  const changes = await collect(found.records({ fields: ["name", "size"] }));
  expect(changes).toEqual([
    { change: "added", anchor: 4n, after: { name: "only there" } },
    {
      change: "changed",
      anchor: 5n,
      fields: ["name"],
      before: { name: "mine", size: 1 },
      after: { name: "yours", size: 1 },
    },
    { change: "removed", anchor: 9n, before: { name: "only here" } },
  ]);
  expect(await side.diff("main")).toMatchObject({ added: 1, removed: 1, changed: 1 });
});

test("indexes and fields", async () => {
  const { store, main } = await made();
  await main.publishCompressor({ field: "vector", algorithm: "rabitq", bits: 3 });
  const found = await diff(store, "side", "main");
  expect(found).toMatchObject({
    added: 0,
    fields: [{ change: "changed", field: "vector", properties: ["compressor"] }],
    indexes: [{ field: "vector", before: { indexedRows: 0 }, after: { indexedRows: 1 } }],
  });
});

test("reads no pages that both have", async () => {
  const { store, main, side } = await made();
  for (let i = 0; i < 200; i++) await main.appendMany([{ vector: [i, 1], name: `${i}` }]);
  await side.merge("main");
  await main.appendMany([{ vector: [0, 1], name: "one more" }]);
  let reads = 0;
  const watched = watchedStore(store, (request, run) => {
    if (request.verb === "get") reads++;
    return run();
  });
  expect(await diff(watched, "side", "main")).toMatchObject({ added: 1, removed: 0 });
  // Both refs, the registry and the Genesis.
  expect(reads).toBe(4);
});

test("states of two datasets have nothing to compare", async () => {
  const { store } = await made();
  await Dataset.create("foreign", schema, store);
  expect((await refusal(() => diff(store, "main", "foreign"))).code).toBe("LineageMismatch");
  expect((await refusal(() => diff(store, "main", "none"))).code).toBe("NotFound");
});
