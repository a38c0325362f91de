import { describe, expect, test } from "@jest/globals";
import type { AppendProgress } from "../../src/dataset/append-progress.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { DreamDBError } from "../../src/errors.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { scratchDirectories } from "../store/scratch.ts";
import { rowsOf } from "./records.ts";
import { refusal, storeKinds, watchedStore } from "./stores.ts";

const schema = new Schema().addScalarInt("n").addEmbedding("v", { dim: 4 });
const record = (n: number): { n: number; v: number[] } => ({ n, v: [n + 1, 1, 2, 3] });
const records = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => record(from + i));
const numbersIn = async (ds: Dataset<never>): Promise<unknown[]> =>
  (await rowsOf(ds as unknown as Dataset)).map((row) => row.n);
const upTo = (n: number): number[] => [...Array(n).keys()];

describe.each(storeKinds(scratchDirectories()))("on %s", (_kind, make) => {
  test("writes become appends of the rows asked for, in their order", async () => {
    const ds = await Dataset.create("d", schema, make());
    const writer = ds.writer({ rows: 10 });
    for (let n = 0; n < 25; n++) await writer.write(record(n));
    await writer.write(records(25, 58));
    const last = await writer.close();
    expect(await numbersIn(ds as never)).toEqual(upTo(58));
    expect(last).toMatchObject({ rows: 8, seq: 6, manifest: ds.currentManifest() });
    expect(last?.signals.rows).toBe(58);
    expect(writer.committed).toMatchObject({ rows: 58, appends: 6 });
    expect(writer.pending).toBe(0);
    await ds.close();
  });

  test("without limits only flush appends", async () => {
    const ds = await Dataset.create("d", schema, make());
    const writer = ds.writer();
    expect(await writer.flush()).toBeUndefined();
    await writer.write(records(0, 100));
    expect([await ds.count(), writer.pending]).toEqual([0, 100]);
    const first = await writer.flush();
    expect(first).toMatchObject({ rows: 100, seq: 1 });
    expect(first?.anchors).toHaveLength(100);
    expect((await writer.flush())?.manifest).toBe(first?.manifest);
    await writer.close();
    expect((await refusal(() => writer.write(record(1)))).code).toBe("ReadOnly");
  });

  test("an append of several batches is stored piece by piece, and tells how far it is", async () => {
    const big = new Schema().addImage("image").addScalarInt("n");
    const ds = await Dataset.create("d", big, make());
    const image = new Uint8Array(25 << 20);
    const seen: AppendProgress[] = [];
    const rows = upTo(5).map((n) => ({ image: image.fill(n).slice(), n }));
    await ds.appendMany(rows, { onProgress: (progress) => seen.push(progress) });
    expect((await ds.health()).rows).toBe(5);
    expect(await numbersIn(ds as never)).toEqual(upTo(5));
    expect(seen.length).toBe(6); // three batches of two columns
    expect(seen[0]?.rows).toBeLessThan(5);
    const last = seen.at(-1) as AppendProgress;
    expect(last).toMatchObject({ rows: 5, rowsTotal: 5, bytes: last.bytesTotal });
    expect(last.bytes).toBeGreaterThan(5 * image.length);
    await ds.close();
  }, 60_000);
});

test("bytes limit groups too", async () => {
  const ds = await Dataset.create("d", schema, memoryStore());
  const writer = ds.writer({ bytes: 240 }); // ten records of 8 + 16 bytes
  await writer.write(records(0, 35));
  await writer.close();
  expect(writer.committed).toMatchObject({ rows: 35, appends: 4 });
});

test("await using closes", async () => {
  const ds = await Dataset.create("d", schema, memoryStore());
  const writer = ds.writer();
  await writer.write(record(0));
  await writer[Symbol.asyncDispose]();
  expect(await ds.count()).toBe(1);
});

test("a failing backend: what is in is told, flush goes on where it stopped", async () => {
  let fails = 0;
  const inner = memoryStore();
  const store = watchedStore(inner, async ({ verb, key }, run) => {
    if (verb === "put" && key.startsWith("refs/") && fails-- === 0)
      throw new DreamDBError("StoreUnavailable", "full", { committed: "no", retryable: true });
    return run();
  });
  fails = 4; // the two of the create and two appends pass
  const ds = await Dataset.create("d", schema, store);
  const writer = ds.writer({ rows: 10 });
  const error = await refusal(async () => {
    for (let n = 0; n < 60; n++) await writer.write(record(n));
    await writer.flush();
  });
  expect(error).toMatchObject({ code: "StoreUnavailable", committed: "no" });
  expect(error.opId).toMatch(/^[0-9a-f]{32}$/);
  expect(writer.committed).toMatchObject({ rows: 20, appends: 2 });
  const written = writer.committed.rows + writer.pending;
  await writer.flush();
  expect(await numbersIn(ds as never)).toEqual(upTo(written));
});

test.each(["before", "after"])("a reply lost %s the swap: the operation is in once", async (when) => {
  const inner = memoryStore();
  let puts = 0;
  let isDown = false;
  const store = watchedStore(inner, async ({ verb, key }, run) => {
    if (isDown) throw new DreamDBError("StoreUnavailable", "down", { retryable: true });
    if (verb !== "put" || !key.startsWith("refs/") || puts++ !== 3) return run();
    if (when === "after") await run();
    isDown = true;
    throw new DreamDBError("CommitUnknown", "lost", { committed: "unknown" });
  });
  const ds = await Dataset.create("d", schema, store);
  const writer = ds.writer({ rows: 10 });
  await writer.write(records(0, 20));
  const error = await refusal(() => writer.flush());
  expect(error).toMatchObject({ code: "CommitUnknown", committed: "unknown" });
  expect((await refusal(() => writer.write(record(20)))).opId).toBe(error.opId);
  isDown = false;
  await writer.close();
  expect(await numbersIn(ds as never)).toEqual(upTo(21));
  expect(writer.committed.rows).toBe(21);
  expect(await ds.resume(error.opId as string)).toBeDefined();
});

test("a refused record stops its append and those after; discard hands them back", async () => {
  const ds = await Dataset.create("d", schema, memoryStore());
  const writer = ds.writer({ rows: 5 });
  const bad = [...records(0, 7), { n: 7, v: [Number.NaN, 0, 0, 0] }, ...records(8, 12)];
  const error = await refusal(async () => {
    await writer.write(bad);
    await writer.flush();
  });
  expect(error).toMatchObject({ code: "SchemaViolation", field: "v", committed: "no" });
  expect((await refusal(() => writer.flush())).code).toBe("SchemaViolation");
  expect(await writer.discard()).toEqual(bad.slice(5));
  await writer.write(record(99));
  await writer.close();
  expect(await numbersIn(ds as never)).toEqual([0, 1, 2, 3, 4, 99]);
});

test("memory is bounded: write waits while three appends are under way", async () => {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let isHeld = false;
  const store = watchedStore(memoryStore(), async ({ verb, key }, run) => {
    if (isHeld && verb === "put" && key.startsWith("refs/")) await held;
    return run();
  });
  const ds = await Dataset.create("d", schema, store);
  isHeld = true;
  const writer = ds.writer({ rows: 10 });
  await writer.write(records(0, 10));
  await writer.write(records(10, 20));
  let isThrough = false;
  const third = writer.write(records(20, 30)).then(() => {
    isThrough = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(isThrough).toBe(false);
  release();
  await third;
  await writer.close();
  expect(await ds.count()).toBe(30);
});

test("an aborted signal ends it; nothing else is in", async () => {
  const ds = await Dataset.create("d", schema, memoryStore());
  const controller = new AbortController();
  const writer = ds.writer({ signal: controller.signal });
  await writer.write(records(0, 3));
  controller.abort();
  expect(await refusal(() => writer.close())).toMatchObject({ code: "Aborted", committed: "no" });
  expect(await ds.count()).toBe(0);
});

test.each([{ rows: 0 }, { bytes: 1.5 }, { onProgress: 3 as never }])("%p is refused", async (options) => {
  const ds = await Dataset.create("d", schema, memoryStore());
  expect((await refusal(() => ds.writer(options))).code).toBe("InvalidArgument");
});
