import { describe, expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { scratchDirectories } from "../store/scratch.ts";
import { collect, rowsOf, testClock } from "./records.ts";
import { contents, refusal, storeKinds } from "./stores.ts";

const everyKind = new Schema()
  .addImage("image")
  .addVideo("video", { mime: "webm", required: false })
  .addAudio("audio", { required: false })
  .addEmbedding("vector", { dim: 3, algorithm: "dreamdb.lsh-cosine", lshBits: 2 })
  .addEmbedding("maybe", { dim: 2, required: false })
  .addScalarCategorical("label")
  .addScalarBool("flag", { required: false })
  .addScalarInt("count", { required: false })
  .addScalarFloat("score", { required: false })
  .addScalarString("note", { required: false })
  .addScalarTimestamp("taken", { required: false });

const bytes = (...values: number[]) => Uint8Array.from(values);

/** Texts that a careless codec changes: a byte order mark, every plane, marks, digits that look like codes. */
const TEXTS = [
  "",
  "a",
  "ünïcødé",
  "日本語",
  "👩‍👩‍👧‍👦",
  "\0\u0001\uffff",
  "e\u0301",
  "é",
  "__proto__",
  "constructor",
  " ",
  "\r\n",
];

describe.each(storeKinds(scratchDirectories()))("%s", (_name, makeStore) => {
  test("every kind of value comes back as it was given, from get and from a stream", async () => {
    const store = makeStore();
    const created = await Dataset.create("all", everyKind, store);
    const records = [
      {
        image: bytes(1, 2, 3),
        video: bytes(),
        audio: bytes(0, 255),
        vector: [1, 2, 3],
        maybe: Float32Array.of(0.1, -2),
        label: "cat",
        flag: true,
        count: 42,
        score: -0,
        note: "",
        taken: 1_779_083_474_791_115_000n,
      },
      {
        image: bytes(),
        vector: Float32Array.of(-1, 0, 0.5),
        label: "__proto__",
        flag: false,
        count: -(2n ** 63n),
        score: Number.MAX_VALUE,
        note: "日本語 👩‍👩‍👧‍👦",
        taken: new Date("2026-02-03T04:05:06.789Z"),
      },
      {
        image: new Uint8Array(3000).fill(7),
        vector: Float64Array.of(0.1, 0.2, 0.3) as unknown as number[],
        label: "",
        count: 2n ** 63n - 1n,
        score: 5e-324,
        taken: -5,
      },
      { image: bytes(9), vector: [0, 0, 1], label: "cat", flag: null, count: 2 ** 53 - 1, note: undefined },
      { image: bytes(9), vector: [0, 0, 1], label: "dog", count: 2n ** 53n, taken: 2n ** 63n - 1n },
    ];
    const { anchors, seq, manifest, signals } = await created.appendMany(records);
    expect(seq).toBe(1);
    expect(manifest).toBe(created.currentManifest());
    expect(anchors).toHaveLength(5);
    expect(signals.rows).toBe(5);

    const wanted = [
      { ...records[0], vector: Float32Array.of(1, 2, 3) },
      { ...records[1], taken: 1_770_091_506_789_000_000n },
      { ...records[2], vector: Float32Array.of(0.1, 0.2, 0.3), taken: -5n },
      { image: bytes(9), vector: Float32Array.of(0, 0, 1), label: "cat", count: 2 ** 53 - 1 },
      {
        image: bytes(9),
        vector: Float32Array.of(0, 0, 1),
        label: "dog",
        count: 2n ** 53n,
        taken: 2n ** 63n - 1n,
      },
    ].map((record, i) => ({ _anchor: anchors[i], ...record }));
    const opened = await Dataset.open("all", { backend: store });
    for (const dataset of [created, opened]) {
      expect(await rowsOf(dataset)).toEqual(wanted);
      for (let i = 0; i < wanted.length; i++) expect(await dataset.get(anchors[i]!)).toEqual(wanted[i]);
      expect(Object.is((await dataset.get(anchors[0]!))?.score, -0)).toBe(true);
      expect(await dataset.count()).toBe(5);
      expect(await dataset.get(anchors[0]! + 1n)).toBeUndefined();
    }
    expect(await fsck(store)).toMatchObject({ ok: true, rows: 5, problems: [] });
  });

  test("the schema comes back from the Manifest as it was declared", async () => {
    const store = makeStore();
    const created = await Dataset.create("all", everyKind, store);
    const opened = await Dataset.open("all", { backend: store });
    expect(opened.schema.fields).toEqual(everyKind.fields);
    expect(created.schema.fields).toEqual(opened.schema.fields);
  });

  test("texts are kept to the last code unit", async () => {
    const schema = new Schema().addScalarString("text").addScalarCategorical("word");
    const dataset = await Dataset.create("texts", schema, makeStore());
    await dataset.appendMany(TEXTS.map((text) => ({ text, word: text })));
    const rows = await rowsOf(dataset);
    expect(rows.map((row) => row.text)).toEqual(TEXTS);
    expect(rows.map((row) => row.word)).toEqual(TEXTS);
  });

  test("a byte order mark at the start of a text is part of it", async () => {
    const dataset = await Dataset.create("texts", new Schema().addScalarString("text"), makeStore());
    const { anchors } = await dataset.appendMany([{ text: "\ufeffmarked" }, { text: "\ufeff" }]);
    expect((await dataset.get(anchors[0]!))?.text).toBe("\ufeffmarked");
    expect((await dataset.get(anchors[1]!))?.text).toBe("\ufeff");
  });

  test("what no record of a call has costs no column, and reads as absent", async () => {
    const store = makeStore();
    const schema = new Schema().addScalarInt("a").addScalarInt("b", { required: false });
    const dataset = await Dataset.create("sparse", schema, store);
    const { anchors: first } = await dataset.appendMany([{ a: 1 }, { a: 2 }]);
    const { anchors: second } = await dataset.appendMany(
      Array.from({ length: 200 }, (_, i) => (i % 3 === 0 ? { a: i, b: -i } : { a: i })),
    );
    expect(await dataset.get(first[0]!)).toEqual({ _anchor: first[0], a: 1 });
    expect("b" in (await dataset.get(first[0]!))!).toBe(false);
    expect(await dataset.get(second[9]!)).toEqual({ _anchor: second[9], a: 9, b: -9 });
    expect(await dataset.get(second[10]!)).toEqual({ _anchor: second[10], a: 10 });
    const [batch] = await collect(dataset.iterStream({ batchSize: 500 }));
    expect(batch!.b.slice(0, 4)).toEqual([undefined, undefined, 0, undefined]);
    expect(batch!.b).toHaveLength(202);
  });

  test("field names that objects inherit are plain names", async () => {
    const schema = new Schema().addScalarInt("constructor").addScalarString("toString", { required: false });
    const dataset = await Dataset.create("names", schema, makeStore());
    const { anchors } = await dataset.appendMany([
      { constructor: 5 } as never,
      JSON.parse('{"constructor":6,"toString":"x"}'),
    ]);
    expect(await dataset.get(anchors[0]!)).toEqual({ _anchor: anchors[0], constructor: 5 });
    expect((await rowsOf(dataset))[1]).toEqual({ _anchor: anchors[1], constructor: 6, toString: "x" });
    expect((await refusal(() => dataset.appendMany([{} as never]))).code).toBe("SchemaViolation");
  });

  test("a stream has the fields, the range and the batch size that were asked for", async () => {
    const clock = testClock();
    const schema = new Schema().addScalarInt("a").addScalarString("b");
    const dataset = await Dataset.create("stream", schema, makeStore(), { clock: clock.read });
    const origin = clock.now;
    await dataset.appendMany(
      Array.from({ length: 10 }, (_, i) => ({ _anchor: origin + BigInt(10 * i), a: i, b: `${i}` })),
    );
    await dataset.appendMany([{ _anchor: origin + 55n, a: 100, b: "late" }]);

    for (const batchSize of [1, 2, 3, 10, 11, 12, 256]) {
      const batches = await collect(dataset.iterStream({ batchSize, fields: ["a"] }));
      expect(batches.map((batch) => batch._time_anchors.length)).toEqual(
        Array.from({ length: Math.ceil(11 / batchSize) }, (_, i) => Math.min(batchSize, 11 - i * batchSize)),
      );
      expect(batches.flatMap((batch) => batch.a)).toEqual([0, 1, 2, 3, 4, 5, 100, 6, 7, 8, 9]);
      expect(Object.keys(batches[0]!).sort()).toEqual(["_time_anchors", "a"]);
    }
    const numbers = async (from?: bigint, to?: bigint) => {
      const range = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
      return (await rowsOf(dataset, { range, fields: ["a"] })).map((row) => row.a);
    };
    expect(await numbers(origin + 30n, origin + 60n)).toEqual([3, 4, 5, 100, 6]);
    expect(await numbers(origin + 31n, origin + 59n)).toEqual([4, 5, 100]);
    expect(await numbers(origin + 55n, origin + 55n)).toEqual([100]);
    expect(await numbers(undefined, origin)).toEqual([0]);
    expect(await numbers(origin + 90n)).toEqual([9]);
    expect(await numbers(0n, origin - 1n)).toEqual([]);
    expect(await numbers(origin + 91n, 2n ** 70n)).toEqual([]);
    expect(await numbers(origin + 60n, origin + 30n)).toEqual([]);
    expect(await rowsOf(dataset, { fields: [] })).toHaveLength(11);
    expect((await rowsOf(dataset, { fields: ["a", "a"] })).map((row) => row.a)).toHaveLength(11);
    expect(await dataset.get(origin + 55n, { fields: ["b"] })).toEqual({ _anchor: origin + 55n, b: "late" });
  });

  test("backdated batches that overlap are merged in time order", async () => {
    const clock = testClock();
    const dataset = await Dataset.create("merge", new Schema().addScalarInt("n"), makeStore(), {
      clock: clock.read,
    });
    const place = (tick: number) => ({ _anchor: clock.now + BigInt(tick), n: tick });
    await dataset.appendMany([100, 0, 50].map(place));
    await dataset.appendMany([49, 51, 2].map(place));
    await dataset.appendMany([1].map(place));
    await dataset.appendMany([101, 300].map(place));
    await dataset.appendMany([200, 201, 202].map(place));
    const inOrder = [0, 1, 2, 49, 50, 51, 100, 101, 200, 201, 202, 300];
    for (const batchSize of [1, 2, 5, 64]) {
      expect((await rowsOf(dataset, { batchSize })).map((row) => row.n)).toEqual(inOrder);
    }
    const range = { from: clock.now + 49n, to: clock.now + 201n };
    expect((await rowsOf(dataset, { range })).map((row) => row.n)).toEqual(inOrder.slice(3, 10));
  });

  test("anchors are returned in the order of the records", async () => {
    const clock = testClock();
    const dataset = await Dataset.create("order", new Schema().addScalarInt("n"), makeStore(), {
      clock: clock.read,
    });
    const given = [5n, 1n, 9n, 3n].map((tick) => clock.now + tick);
    const { anchors } = await dataset.appendMany(given.map((_anchor, n) => ({ _anchor, n })));
    expect(anchors).toEqual(given);
    for (let n = 0; n < given.length; n++) expect((await dataset.get(given[n]!))?.n).toBe(n);
  });

  test("snapshots, past states and history stay as they were", async () => {
    const store = makeStore();
    const clock = testClock();
    const options = { clock: clock.read, writer: "tester" };
    const dataset = await Dataset.create("main", new Schema().addScalarInt("n"), store, options);
    const empty = dataset.currentManifest();
    await dataset.appendMany([{ n: 1 }]);
    clock.now += 1_000_000n;
    const snapshot = await dataset.snapshot("v1");
    expect(snapshot).toEqual({ label: "v1", manifest: dataset.currentManifest() });
    await dataset.appendMany([{ n: 2 }, { n: 3 }]);

    const old = await Dataset.openRef("v1", store);
    expect(old.isWritable).toBe(false);
    expect((await rowsOf(old)).map((row) => row.n)).toEqual([1]);
    expect(await (await Dataset.openAt(empty, { backend: store })).count()).toBe(0);
    expect(await (await Dataset.openAt(snapshot, { backend: store })).count()).toBe(1);
    expect(await dataset.count()).toBe(3);
    for (const readOnly of [old, await Dataset.openAt(snapshot, store)]) {
      const before = await contents(store);
      expect(await refusal(() => readOnly.appendMany([{ n: 4 }]))).toMatchObject({
        code: "ReadOnly",
        committed: "no",
      });
      expect(await contents(store)).toEqual(before);
    }

    const history = await dataset.history();
    expect(history.map(({ op, seq, rows }) => [op, seq, rows])).toEqual([
      ["append", 2, 3],
      ["append", 1, 1],
      ["create", 0, 0],
    ]);
    expect(history.map((entry) => entry.manifest)).toEqual([
      dataset.currentManifest(),
      snapshot.manifest,
      empty,
    ]);
    expect(history.map((entry) => entry.parents)).toEqual([[snapshot.manifest], [empty], []]);
    expect(new Set(history.map((entry) => entry.writer))).toEqual(new Set(["tester"]));
    expect(history[0]!.ts).toBe(clock.now);
    expect(await dataset.history(1)).toEqual(history.slice(0, 1));
    expect(await old.history(50)).toEqual(history.slice(1));

    await Dataset.create("another/one", new Schema().addScalarInt("n"), store, options);
    const refs = await dataset.listRefs();
    expect(refs.map(({ name, type, seq }) => [name, type, seq])).toEqual([
      ["another/one", "branch", 0],
      ["main", "branch", 2],
      ["v1", "tag", 1],
    ]);
    expect(refs[1]!.manifest).toBe(dataset.currentManifest());
  });

  test("a taken name is refused, whatever has it", async () => {
    const store = makeStore();
    const schema = new Schema().addScalarInt("n");
    const dataset = await Dataset.create("main", schema, store);
    await dataset.snapshot("v1");
    await dataset.appendMany([{ n: 1 }]);
    const before = await contents(store);
    for (const work of [
      () => Dataset.create("main", schema, store),
      () => Dataset.create("v1", schema, store),
      () => dataset.snapshot("v1"),
      () => dataset.snapshot("main"),
    ]) {
      expect(await refusal(work)).toMatchObject({ code: "AlreadyExists", field: "name", committed: "no" });
      expect(await contents(store)).toEqual(before);
    }
    expect(await (await Dataset.openRef("v1", store)).count()).toBe(0);
  });

  test("two datasets of one backend share nothing that shows", async () => {
    const store = makeStore();
    const schema = new Schema().addScalarInt("n");
    const one = await Dataset.create("one", schema, store);
    const two = await Dataset.create("two", schema, store);
    await one.appendMany([{ n: 1 }]);
    await two.appendMany([{ n: 1 }, { n: 2 }]);
    expect([await one.count(), await two.count()]).toEqual([1, 2]);
    expect(await fsck(store)).toMatchObject({ ok: true, refs: 2, rows: 3 });
  });

  test("values over many blocks, and appends over many pages", async () => {
    const store = makeStore();
    const schema = new Schema()
      .addScalarString("text")
      .addScalarInt("n", { required: false })
      .addImage("image");
    const dataset = await Dataset.create("large", schema, store);
    const record = (i: number) => ({
      text: `${i}`.repeat(i % 50),
      image: new Uint8Array((i * 37) % 150).fill(i),
      ...(i % 2 === 0 ? { n: i } : {}),
    });
    const records = Array.from({ length: 1500 }, (_, i) => record(i));
    const { anchors } = await dataset.appendMany(records);
    for (let i = 1500; i < 1650; i++) anchors.push(...(await dataset.appendMany([record(i)])).anchors);
    const reopened = await Dataset.open("large", store);
    const rows = await rowsOf(reopened, { batchSize: 700 });
    expect(rows).toEqual(anchors.map((_anchor, i) => ({ _anchor, ...record(i) })));
    for (const i of [0, 1, 1499, 1500, 1649]) expect(await reopened.get(anchors[i]!)).toEqual(rows[i]);
    expect(await reopened.history(1000)).toHaveLength(152);
    expect(await fsck(store)).toMatchObject({ ok: true, rows: 1650 });
  });
});

test("a byte order mark at the start of a category is part of it", async () => {
  const schema = new Schema().addScalarCategorical("word");
  const dataset = await Dataset.create("marks", schema, `memory://${Math.random()}`);
  const { anchors } = await dataset.appendMany([{ word: "\ufeffmarked" }, { word: "marked" }]);
  expect((await dataset.get(anchors[0]!))?.word).toBe("\ufeffmarked");
});

test("large values of one call are spread over columns that can hold them", async () => {
  const schema = new Schema().addVideo("video").addScalarString("text", { required: false });
  const dataset = await Dataset.create("large", schema, memoryStore());
  const video = new Uint8Array(52 << 20);
  const { anchors, signals } = await dataset.appendMany([
    { video: Uint8Array.of(1) },
    { video: video.fill(2) },
    { video: video.slice().fill(3) },
    { video: Uint8Array.of(4), text: "after" },
  ]);
  expect(signals).toMatchObject({ rows: 4, batches: 2 });
  for (const [i, size] of [1, 52 << 20, 52 << 20, 1].entries()) {
    const record = await dataset.get(anchors[i]!);
    expect([record!.video.length, record!.video[0], record!.video.at(-1)]).toEqual([size, i + 1, i + 1]);
  }
  expect(new Set(anchors).size).toBe(4);
  const refused = await refusal(() => dataset.appendMany([{ video: new Uint8Array(101 << 20) }]));
  expect(refused.code).toBe("LimitExceeded");
  expect(await dataset.count()).toBe(4);
});

test("the cache keeps to its budget, small objects included", async () => {
  const store = memoryStore();
  const dataset = await Dataset.create("cache", new Schema().addScalarString("text"), store);
  for (let n = 0; n < 100; n++) await dataset.appendMany([{ text: `${n}`.padStart(20_000) }]);
  const passes = async (cacheBytes: number) => {
    const reader = await Dataset.open("cache", store, { cacheBytes });
    const counts: number[] = [];
    for (let pass = 0; pass < 2; pass++) {
      const before = reader.traffic.requests;
      await rowsOf(reader);
      counts.push(reader.traffic.requests - before);
    }
    return counts;
  };
  const [first, again] = await passes(1 << 26);
  expect(first).toBeGreaterThanOrEqual(100);
  expect(again).toBe(0);
  // A tenth of the columns' bytes: read in order, none is there still when it is wanted again.
  expect((await passes(200_000))[1]).toBeGreaterThanOrEqual(100);
});
