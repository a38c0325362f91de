// 500 appends of 200 records come to one run a cell, and a cold query to fewer requests and bytes. Prints what it counted.
import { expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { randomVector, seeded, testClock } from "./records.ts";

const DIM = 16;

test("500 appends of 200 records, compacted", async () => {
  const store = memoryStore();
  const schema = new Schema()
    .addEmbedding("v", { dim: DIM, algorithm: "dreamdb.ivf-l2", rerank: true })
    .addScalarInt("n");
  const ds = await Dataset.create("main", schema, store, { clock: testClock().read });
  const random = seeded(2);
  const add = (n: number) =>
    ds.appendMany(Array.from({ length: 200 }, (_, i) => ({ v: randomVector(random, DIM), n: n * 200 + i })));
  for (let n = 0; n < 10; n++) await add(n);
  await ds.rebuildIvf({ field: "v", k: 64, iterations: 2 });
  for (let n = 10; n < 500; n++) await add(n);
  const queries = Array.from({ length: 5 }, () => randomVector(random, DIM));
  const cold = async () => {
    const figures = { requests: 0, bytes: 0 };
    const found: unknown[] = [];
    for (const query of queries) {
      const reader = await Dataset.open("main", store);
      found.push(await reader.iterVector({ field: "v", query, nprobe: 8 }));
      figures.requests += reader.traffic.requests / queries.length;
      figures.bytes += Math.round(reader.traffic.bytes / queries.length);
      await reader.close();
    }
    return { found, ...figures };
  };
  const fragmentsOf = async () => (await ds.health()).tracks[0]!;
  const [before, was] = [await cold(), await fragmentsOf()];
  const started = performance.now();
  const done = await ds.compact();
  const ms = performance.now() - started;
  const [after, now] = [await cold(), await fragmentsOf()];
  console.log(
    `fragments ${was.fragments} -> ${now.fragments}, segments ${was.segments} -> ${now.segments}, batches ${done.batchesBefore} -> ` +
      `${done.batchesAfter}; a cold query: ${before.requests} -> ${after.requests} requests, ${before.bytes} -> ${after.bytes} bytes; ` +
      `compacted in ${Math.round(ms)} ms`,
  );
  expect(now).toMatchObject({ fragmentation: 1, segments: 1, fragments: now.usedCells });
  expect(done).toMatchObject({
    batchesBefore: 500,
    batchesAfter: 1,
    fragmentsCollapsed: was.fragments - now.fragments,
  });
  expect(after.requests).toBeLessThan(before.requests / 20);
  expect(after.bytes).toBeLessThan(before.bytes);
  expect(after.found).toEqual(before.found);
  let objects = 0;
  for await (const _ of store.list("objects/")) objects++;
  expect((await ds.compact()).manifest).toBe(done.manifest);
  let again = 0;
  for await (const _ of store.list("objects/")) again++;
  expect(again).toBe(objects);
}, 120_000);
