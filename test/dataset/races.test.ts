// Several writers of one ref, and clocks that err: every append exactly once, every anchor its own.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { scratchDirectories } from "../store/scratch.ts";
import { rowsOf, testClock } from "./records.ts";
import { refusal, storeKinds, watchedStore } from "./stores.ts";

const schema = new Schema()
  .addScalarInt("n")
  .addEmbedding("v", { dim: 2, algorithm: "dreamdb.lsh-cosine", lshBits: 1, required: false });
const NOW = 1_700_000_000_000_000_000n;
const YEAR = 365n * 86_400n * 1_000_000_000n;

/** As crypto.getRandomValues, but with no wait between attempts. */
const random = (count: number) =>
  count === 1 ? new Uint8Array(1) : crypto.getRandomValues(new Uint8Array(count));

async function expectOnce(store: Store, wanted: number[]): Promise<void> {
  const dataset = await Dataset.open("main", store);
  const rows = await rowsOf(dataset);
  expect(rows.map((row) => row.n as number).sort((a, b) => a - b)).toEqual([...wanted].sort((a, b) => a - b));
  expect(new Set(rows.map((row) => row._anchor)).size).toBe(rows.length);
  expect(await dataset.count()).toBe(wanted.length);
  expect(await fsck(store)).toMatchObject({ ok: true, rows: wanted.length });
}

test("writers whose requests interleave in any order lose nothing and double nothing", async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.integer({ min: 2, max: 3 }), async (scheduler, writers) => {
      const inner = memoryStore();
      const clock = testClock(NOW);
      await Dataset.create("main", schema, inner, { clock: clock.read });
      const wanted: number[] = [];
      const work = Array.from({ length: writers }, async (_, w) => {
        const store = watchedStore(inner, async ({ verb, key }, run) => {
          await scheduler.schedule(Promise.resolve(), `${w} ${verb} ${key.slice(0, 20)}`);
          return run();
        });
        const dataset = await Dataset.open("main", store, { clock: clock.read, random });
        let last = -1n;
        for (let i = 0; i < 3; i++) {
          const n = 10 * w + i;
          const anchor = i === 1 ? { _anchor: NOW + BigInt(50 * w + 7) } : {};
          wanted.push(n);
          const { anchors } = await dataset.appendMany([{ n, v: [1, n], ...anchor }]);
          if (i !== 1) expect(anchors[0]! > last).toBe(true);
          if (i !== 1) last = anchors[0]!;
        }
      });
      await scheduler.waitFor(Promise.all(work));
      await expectOnce(inner, wanted);
      const history = await (await Dataset.open("main", inner)).history(100);
      expect(history.map((entry) => entry.seq)).toEqual(
        Array.from({ length: writers * 3 + 1 }, (_, i) => writers * 3 - i),
      );
    }),
    { numRuns: 60 },
  );
});

test("of writers that race for one anchor, one gets it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), async (scheduler) => {
      const inner = memoryStore();
      const clock = testClock(NOW);
      await Dataset.create("main", schema, inner, { clock: clock.read });
      const outcomes = Array.from({ length: 2 }, async (_, n) => {
        const store = watchedStore(inner, async ({ verb, key }, run) => {
          await scheduler.schedule(Promise.resolve(), `${n} ${verb} ${key.slice(0, 20)}`);
          return run();
        });
        const dataset = await Dataset.open("main", store, { clock: clock.read, random });
        return dataset.appendMany([{ n, _anchor: NOW + 5n }]).then(
          () => "in",
          (error) => `${error.code} ${error.committed}`,
        );
      });
      const ends = await scheduler.waitFor(Promise.all(outcomes));
      expect([...ends].sort()).toEqual(["DuplicateAnchor no", "in"]);
      await expectOnce(inner, [ends.indexOf("in")]);
    }),
    { numRuns: 60 },
  );
});

test("a writer that always loses gives up with Conflict, and nothing is in", async () => {
  const inner = memoryStore();
  await Dataset.create("main", schema, inner);
  let rivals = 0;
  const beaten = watchedStore(inner, async ({ condition }, run) => {
    if (condition !== undefined) await (await Dataset.open("main", inner)).appendMany([{ n: rivals++ }]);
    return run();
  });
  const dataset = await Dataset.open("main", beaten, { retries: 4, random });
  const error = await refusal(() => dataset.appendMany([{ n: 99 }]));
  expect(error).toMatchObject({ code: "Conflict", committed: "no", retryable: true, field: "main" });
  expect(rivals).toBe(5);
  await expectOnce(inner, [0, 1, 2, 3, 4]);
});

test("an append whose reply comes after later states were seen does not bring an earlier one back", async () => {
  const inner = memoryStore();
  await Dataset.create("main", schema, inner);
  let release = () => {};
  const arrived = new Promise<void>((done) => {
    release = done;
  });
  let swapped = () => {};
  const isIn = new Promise<void>((done) => {
    swapped = done;
  });
  const slow = watchedStore(inner, async ({ condition }, run) => {
    const reply = await run();
    if (condition === undefined) return reply;
    swapped();
    await arrived;
    return reply;
  });
  const dataset = await Dataset.open("main", slow);
  const append = dataset.appendMany([{ n: 1 }]);
  await isIn;
  await (await Dataset.open("main", inner)).appendMany([{ n: 2 }]);
  await dataset.refresh();
  expect(await dataset.count()).toBe(2);
  release();
  expect((await append).seq).toBe(1);
  expect(await dataset.count()).toBe(2);
});

describe.each(storeKinds(scratchDirectories()))("%s", (_name, makeStore) => {
  test("appends of one object, started together", async () => {
    const store = makeStore();
    const dataset = await Dataset.create("main", schema, store);
    const results = await Promise.all(Array.from({ length: 20 }, (_, n) => dataset.appendMany([{ n }])));
    await expectOnce(store, [...results.keys()]);
    expect(results.map((result) => result.seq)).toEqual(results.map((_, i) => i + 1));
    const rows = await rowsOf(dataset);
    expect(rows.map((row) => row._anchor)).toEqual(results.map((result) => result.anchors[0]));
  });

  test("appends of many objects, started together", async () => {
    const store = makeStore();
    await Dataset.create("main", schema, store);
    const objects = await Promise.all(Array.from({ length: 6 }, () => Dataset.open("main", store)));
    await Promise.all(
      objects.map(async (dataset, w) => {
        for (let i = 0; i < 5; i++) await dataset.appendMany([{ n: 10 * w + i }]);
      }),
    );
    await expectOnce(
      store,
      objects.flatMap((_, w) => [0, 1, 2, 3, 4].map((i) => 10 * w + i)),
    );
  });

  test("one append that fails does not stop those behind it", async () => {
    const store = makeStore();
    const dataset = await Dataset.create("main", schema, store);
    const ends = await Promise.allSettled(
      [{ n: 1 }, { n: "x" as never }, { n: 2 }].map((record) => dataset.appendMany([record])),
    );
    expect(ends.map((end) => end.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    await expectOnce(store, [1, 2]);
  });

  test("a refresh during an append never shows less than either", async () => {
    const store = makeStore();
    const dataset = await Dataset.create("main", schema, store);
    const other = await Dataset.open("main", store);
    for (let n = 0; n < 10; n++) {
      await Promise.all([
        dataset.appendMany([{ n }]),
        other.appendMany([{ n: n + 100 }]),
        dataset.refresh(),
        other.refresh(),
      ]);
      const before = await dataset.count();
      await dataset.refresh();
      expect(await dataset.count()).toBe(2 * n + 2);
      expect(before).toBeGreaterThan(2 * n);
    }
  });

  test("a clock that jumps ten years either way still gives anchors that rise", async () => {
    const store = makeStore();
    const clock = testClock(NOW);
    const dataset = await Dataset.create("main", schema, store, { clock: clock.read, origin: NOW });
    let last = -1n;
    const given: bigint[] = [];
    for (const offset of [0n, 10n * YEAR, -10n * YEAR, 0n, 1n, -1n, 10n * YEAR + 5n, -10n * YEAR]) {
      clock.now = NOW + offset;
      const { anchors } = await dataset.appendMany([{ n: 1 }, { n: 2 }]);
      for (const anchor of anchors) {
        expect(anchor > last && anchor >= clock.now && (anchor - NOW) % 4096n === 0n).toBe(true);
        last = anchor;
        given.push(anchor);
      }
    }
    expect((await rowsOf(dataset)).map((row) => row._anchor)).toEqual(given);
    const history = await dataset.history();
    expect(history.map((entry) => entry.ts).every((ts) => ts >= NOW)).toBe(true);
    expect(await fsck(store)).toMatchObject({ ok: true });
  });

  test("a clock before the dataset's beginning gives anchors from its beginning on", async () => {
    const store = makeStore();
    await Dataset.create("main", schema, store, { clock: () => NOW, origin: NOW });
    const dataset = await Dataset.open("main", { backend: store, clock: () => NOW - 10n * YEAR });
    expect((await dataset.appendMany([{ n: 1 }])).anchors).toEqual([NOW]);
    expect((await dataset.appendMany([{ n: 2 }])).anchors).toEqual([NOW + 4096n]);
  });

  test("anchors in the far future leave automatic ones where they belong", async () => {
    const store = makeStore();
    const clock = testClock(NOW);
    const dataset = await Dataset.create("main", schema, store, { clock: clock.read, origin: NOW });
    const last = NOW + 2n ** 64n - 1n;
    await dataset.appendMany([{ n: 1, _anchor: last }]);
    expect((await dataset.appendMany([{ n: 2 }])).anchors).toEqual([NOW]);
    // One batch from the first tick to the last: the room between its two records is free.
    await dataset.appendMany([
      { n: 3, _anchor: NOW + 4096n },
      { n: 4, _anchor: last - 1n },
    ]);
    expect((await dataset.appendMany([{ n: 5 }, { n: 6 }])).anchors).toEqual([NOW + 8192n, NOW + 12_288n]);
    clock.now += 1_000_000n;
    // Uneven ones, every 4096 ticks from here, with a gap wide enough for two after the third.
    const start = NOW + 4096n * 1000n;
    clock.now = start;
    const ticks = [0n, 1n, 2n, 6n, 7n, 100n].map((step) => start + 4096n * step);
    await dataset.appendMany(ticks.map((_anchor, i) => ({ n: 10 + i, _anchor })));
    expect((await dataset.appendMany([{ n: 20 }, { n: 21 }])).anchors).toEqual([
      start + 4096n * 3n,
      start + 4096n * 4n,
    ]);
    expect((await dataset.appendMany([{ n: 22 }])).anchors).toEqual([start + 4096n * 5n]);
    await expectOnce(store, [1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 20, 21, 22]);
  });

  test("when time has run out, automatic anchors are refused and explicit ones work", async () => {
    const store = makeStore();
    const clock = testClock(0n);
    const dataset = await Dataset.create("main", schema, store, { clock: clock.read });
    clock.now = 2n ** 64n - 4096n;
    expect((await dataset.appendMany([{ n: 1 }])).anchors).toEqual([2n ** 64n - 4096n]);
    expect(await refusal(() => dataset.appendMany([{ n: 2 }]))).toMatchObject({
      code: "InvalidAnchor",
      field: "_anchor",
      committed: "no",
    });
    await dataset.appendMany([{ n: 3, _anchor: 2n ** 64n - 1n }]);
    await expectOnce(store, [1, 3]);
  });
});
