// What a cold query over a network waits for: a store whose requests are answered together, one step after the other.
import { expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";

const DIM = 16;
const ROWS = 12_000;

/** @param steps receives how many requests each step had */
function inSteps(store: Store, steps: number[]): Store {
  let waiting: Promise<void> | undefined;
  return {
    ...{ url: store.url, isRemote: true },
    async get(key, range) {
      if (waiting === undefined) {
        steps.push(0);
        waiting = new Promise((resolve) => {
          setTimeout(() => {
            waiting = undefined;
            resolve();
          }, 60);
        });
      }
      steps[steps.length - 1] = (steps.at(-1) as number) + 1;
      await waiting;
      return store.get(key, range);
    },
    put: (...given) => store.put(...given),
    delete: (key) => store.delete(key),
    list: (prefix) => store.list(prefix),
  };
}

test("is four steps of at most 24 ranges, opening included, and finds what a warm one does", async () => {
  const store = memoryStore();
  const schema = new Schema()
    .addEmbedding("v", { dim: DIM, algorithm: "dreamdb.ivf-l2", rerank: true })
    .addScalarString("word");
  const writer = await Dataset.create("main", schema, store);
  let state = 1;
  const next = (): number => {
    state = (state * 48_271) % 0x7fffffff;
    return state / 0x7fffffff;
  };
  for (let from = 0; from < ROWS; from += ROWS / 3) {
    await writer.appendMany(
      Array.from({ length: ROWS / 3 }, (_, i) => ({
        ...{ _anchor: BigInt(from + i) * 10n, word: `word ${from + i} ${"x".repeat(40)}` },
        v: Array.from({ length: DIM }, next),
      })),
    );
  }
  await writer.rebuildIvf({ field: "v", k: 120, iterations: 2 });
  for (let i = 0; i < 5; i++) {
    const query = { field: "v", query: Array.from({ length: DIM }, next) };
    const steps: number[] = [];
    const reader = await Dataset.open("main", inSteps(store, steps));
    const cold = await reader.iterVector(query);
    expect(steps.length).toBe(4);
    expect(Math.max(...steps)).toBeLessThanOrEqual(24);
    expect(reader.traffic.roundTrips).toBe(4);
    expect(reader.traffic.requests).toBe(steps.reduce((sum, requests) => sum + requests, 0));
    expect(cold).toEqual(await writer.iterVector(query));
    const explained = await (await Dataset.open("main", inSteps(store, []))).explain(query);
    expect(explained.phases.map(({ requests }) => requests)).toEqual(steps.slice(1));
  }
});
