// Bad input: the exact code, a message that names the field, what was found and what was expected, and nothing written.
import { beforeEach, describe, expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { type EmbeddingOptions, Schema } from "../../src/dataset/schema.ts";
import type { ErrorCode } from "../../src/errors.ts";
import { defaultLshIndex } from "../../src/objects/spatial-index.ts";
import type { Store } from "../../src/store/store.ts";
import { scratchDirectories } from "../store/scratch.ts";
import { testClock } from "./records.ts";
import { contents, refusal, storeKinds } from "./stores.ts";

const schema = new Schema()
  .addEmbedding("v", { dim: 3, algorithm: "dreamdb.lsh-cosine", lshBits: 2 })
  .addEmbedding("w", { dim: 2, required: false })
  .addImage("image", { required: false })
  .addVideo("video", { required: false })
  .addAudio("audio", { required: false })
  .addScalarCategorical("label")
  .addScalarBool("flag", { required: false })
  .addScalarInt("int", { required: false })
  .addScalarFloat("float", { required: false })
  .addScalarString("text", { required: false })
  .addScalarTimestamp("time", { required: false });

const good = { v: [1, 2, 3], label: "a" };
const NOW = 1_700_000_000_000_000_000n;

/** Name of the case, the records, the code, and what the error must name. */
type Refused = [name: string, records: unknown, code: ErrorCode, field: string, found?: unknown];

const oneField = (field: string, value: unknown): unknown => [good, { ...good, [field]: value }];
const huge = 2n ** 63n;

const refusedRecords: Refused[] = [
  ["records that are no array", { 0: good }, "InvalidArgument", "records"],
  ["records that are undefined", undefined, "InvalidArgument", "records"],
  ["no records", [], "InvalidArgument", "records"],
  ["a record that is null", [good, null], "SchemaViolation", "records[1]", null],
  ["a record that is an array", [[1]], "SchemaViolation", "records[0]"],
  ["a record that is a number", [5], "SchemaViolation", "records[0]", 5],
  ["a hole in the array", Array(1), "SchemaViolation", "records[0]", undefined],
  ["a vector that is too short", oneField("v", [1, 2]), "SchemaViolation", "v", "2 components"],
  ["a vector that is too long", oneField("v", new Float32Array(4)), "SchemaViolation", "v", "4 components"],
  ["an empty vector", oneField("v", []), "SchemaViolation", "v", "0 components"],
  ["a vector of text", oneField("v", ["1", "2", "3"]), "SchemaViolation", "v", "1"],
  ["a vector with holes", oneField("v", Array(3)), "SchemaViolation", "v", undefined],
  ["a vector of bytes", oneField("v", new Uint8Array(3)), "SchemaViolation", "v"],
  ["a vector that is text", oneField("v", "123"), "SchemaViolation", "v", "123"],
  ["a vector that is a number", oneField("v", 3), "SchemaViolation", "v", 3],
  ["NaN in a vector", oneField("v", [1, Number.NaN, 3]), "SchemaViolation", "v", Number.NaN],
  ["infinity in a vector", oneField("v", [1, 2, -Infinity]), "SchemaViolation", "v", -Infinity],
  [
    "infinity in a Float32Array",
    oneField("v", Float32Array.of(Infinity, 2, 3)),
    "SchemaViolation",
    "v",
    Infinity,
  ],
  ["a double beyond f32", oneField("v", [1e39, 2, 3]), "SchemaViolation", "v", Infinity],
  [
    "a double beyond f32 in a Float64Array",
    oneField("v", Float64Array.of(1, -1e39, 3)),
    "SchemaViolation",
    "v",
    -Infinity,
  ],
  ["a zero vector", oneField("v", [0, -0, 0]), "SchemaViolation", "v"],
  ["a vector that is zero in f32", oneField("v", [1e-60, 0, 0]), "SchemaViolation", "v"],
  ["a vector whose length is beyond f32", oneField("v", [3e38, 3e38, 0]), "SchemaViolation", "v"],
  ["a zero vector in an optional field", oneField("w", [0, 0]), "SchemaViolation", "w"],
  ["a missing required field", [good, { v: [1, 2, 3] }], "SchemaViolation", "label", undefined],
  ["null in a required field", oneField("label", null), "SchemaViolation", "label", null],
  ["a missing vector", [{ label: "a" }], "SchemaViolation", "v", undefined],
  ["an unknown field", oneField("lable", 1), "SchemaViolation", "lable", "lable"],
  [
    "an own __proto__ key",
    [JSON.parse('{"v":[1,2,3],"label":"a","__proto__":{"x":1}}')],
    "SchemaViolation",
    "__proto__",
  ],
  ["a required field that is only inherited", [Object.create(good)], "SchemaViolation", "v", undefined],
  ["text in an image", oneField("image", "x"), "SchemaViolation", "image", "x"],
  ["an ArrayBuffer in an image", oneField("image", new ArrayBuffer(2)), "SchemaViolation", "image"],
  ["an array in a video", oneField("video", [1, 2]), "SchemaViolation", "video"],
  ["floats in audio", oneField("audio", new Float32Array(2)), "SchemaViolation", "audio"],
  ["a number in a category", oneField("label", 5), "SchemaViolation", "label", 5],
  ["a lone surrogate in a category", oneField("label", "\ud800"), "SchemaViolation", "label"],
  ["a number in a bool", oneField("flag", 1), "SchemaViolation", "flag", 1],
  ["text in a bool", oneField("flag", "true"), "SchemaViolation", "flag", "true"],
  ["a fraction in an int", oneField("int", 1.5), "SchemaViolation", "int", 1.5],
  ["NaN in an int", oneField("int", Number.NaN), "SchemaViolation", "int", Number.NaN],
  ["an unsafe number in an int", oneField("int", 2 ** 53), "SchemaViolation", "int", 2 ** 53],
  ["an int beyond 64 bits", oneField("int", huge), "SchemaViolation", "int", huge],
  ["an int below 64 bits", oneField("int", -huge - 1n), "SchemaViolation", "int", -huge - 1n],
  ["text in an int", oneField("int", "5"), "SchemaViolation", "int", "5"],
  ["a bigint in a float", oneField("float", 1n), "SchemaViolation", "float", 1n],
  ["NaN in a float", oneField("float", Number.NaN), "SchemaViolation", "float", Number.NaN],
  ["infinity in a float", oneField("float", Infinity), "SchemaViolation", "float", Infinity],
  ["a number in text", oneField("text", 5), "SchemaViolation", "text", 5],
  ["a lone surrogate in text", oneField("text", "a\udc00b"), "SchemaViolation", "text"],
  ["text in a timestamp", oneField("time", "2026-01-01"), "SchemaViolation", "time", "2026-01-01"],
  ["an invalid Date", oneField("time", new Date(Number.NaN)), "SchemaViolation", "time"],
  ["a Date beyond 64 bits of ns", oneField("time", new Date(8.64e15)), "SchemaViolation", "time"],
  ["a fraction in a timestamp", oneField("time", 0.5), "SchemaViolation", "time", 0.5],
  [
    "anchors on some records only",
    [good, { ...good, _anchor: NOW }],
    "InvalidAnchor",
    "_anchor",
    "1 of 2 records",
  ],
  ["an anchor that is a number", [{ ...good, _anchor: 5 }], "InvalidAnchor", "_anchor", 5],
  ["an anchor that is null", [{ ...good, _anchor: null }], "InvalidAnchor", "_anchor", null],
  ["a negative anchor", [{ ...good, _anchor: -1n }], "InvalidAnchor", "_anchor", -1n],
  ["an anchor before Genesis", [{ ...good, _anchor: NOW - 1n }], "InvalidAnchor", "_anchor", NOW - 1n],
  [
    "an anchor beyond u64",
    [{ ...good, _anchor: NOW + 2n ** 64n }],
    "InvalidAnchor",
    "_anchor",
    NOW + 2n ** 64n,
  ],
  [
    "one anchor twice in a call",
    [9n, 8n, 9n].map((tick) => ({ ...good, _anchor: NOW + tick })),
    "DuplicateAnchor",
    "_anchor",
  ],
  [
    "an anchor that has a record",
    [7n, 500n].map((tick) => ({ ...good, _anchor: NOW + tick })),
    "DuplicateAnchor",
    "_anchor",
    NOW + 500n,
  ],
  [
    "an anchor that has a record in an uneven batch",
    [{ ...good, _anchor: NOW + 1003n }],
    "DuplicateAnchor",
    "_anchor",
    NOW + 1003n,
  ],
  [
    "an anchor that was given automatically",
    [{ ...good, _anchor: NOW + 8192n }],
    "DuplicateAnchor",
    "_anchor",
    NOW + 8192n,
  ],
];

/** Name of the case, the query's arguments over a good query, and the field that the error must name. */
const refusedQueries: [name: string, query: Record<string, unknown>, field: string, found?: unknown][] = [
  ["an unknown field", { field: "x" }, "field", "x"],
  ["a field that is no vector", { field: "label" }, "field", "label"],
  ["no field", { field: undefined }, "field", undefined],
  ["a query of another dimension", { query: [1, 2] }, "query", "2 components"],
  ["no query", { query: undefined }, "query", undefined],
  ["a query of text", { query: "abc" }, "query", "abc"],
  ["a query with text in it", { query: [1, "2", 3] }, "query", "2"],
  ["NaN in the query", { query: [1, Number.NaN, 3] }, "query", Number.NaN],
  ["infinity in the query", { query: Float32Array.of(1, Infinity, 3) }, "query", Infinity],
  ["a zero query", { query: [0, 0, 0] }, "query"],
  ["a query too long for f32", { query: [3e38, 3e38, 0] }, "query"],
  ["topK 0", { topK: 0 }, "topK", 0],
  ["topK −1", { topK: -1 }, "topK", -1],
  ["topK 1.5", { topK: 1.5 }, "topK", 1.5],
  ["topK NaN", { topK: Number.NaN }, "topK", Number.NaN],
  ["topK as text", { topK: "10" }, "topK", "10"],
  ["topK as a bigint", { topK: 10n }, "topK", 10n],
  ["a huge topK", { topK: 2 ** 40 }, "topK", 2 ** 40],
  ["topK infinity", { topK: Infinity }, "topK", Infinity],
  ["batchSize 0", { batchSize: 0 }, "batchSize", 0],
  ["nprobe 0", { nprobe: 0 }, "nprobe", 0],
  ["nprobe 0.5", { nprobe: 0.5 }, "nprobe", 0.5],
  ["an unknown field to carry", { fields: ["label", "x"] }, "fields", "x"],
  ["fields that are text", { fields: "label" }, "fields", "label"],
  ["a filter on an unknown field", { whereEq: { x: 1 } }, "whereEq.x", "x"],
  ["a filter on __proto__", { whereEq: JSON.parse('{"__proto__":1}') }, "whereEq.__proto__", "__proto__"],
  ["a filter on a vector", { whereEq: { v: 1 } }, "whereEq.v", 1],
  ["a filter on media", { whereEq: { image: "x" } }, "whereEq.image", "x"],
  ["a number for a category", { whereEq: { label: 5 } }, "whereEq.label", 5],
  ["undefined for a category", { whereEq: { label: undefined } }, "whereEq.label", undefined],
  ["text for a bool", { whereEq: { flag: "true" } }, "whereEq.flag", "true"],
  ["a fraction for an int", { whereEq: { int: 1.5 } }, "whereEq.int", 1.5],
  ["an unsafe number for an int", { whereEq: { int: 2 ** 60 } }, "whereEq.int", 2 ** 60],
  ["NaN for a float", { whereEq: { float: Number.NaN } }, "whereEq.float", Number.NaN],
  ["text for a timestamp", { whereEq: { time: "now" } }, "whereEq.time", "now"],
];

const BAD_NAMES = [
  "",
  ".",
  "..",
  "a..b",
  "a/../b",
  "../a",
  "/a",
  "a/",
  "a//b",
  "a.",
  ".a",
  "-a",
  "a b",
  "a\0",
  "ä",
  "a\\b",
  "a%2fb",
  "a:b",
  "a".repeat(129),
  "a/a/a/a/a/a/a/a/a",
  "CON\n",
  5,
  undefined,
  null,
  {},
];

/** Of the message: field, found and expected stand in it. */
function expectNamed(
  error: { message: string; field?: string; found?: unknown; expected?: unknown },
  field: string,
): void {
  expect(error.field).toBe(field);
  expect(error.message).toContain(`field: ${JSON.stringify(field)}`);
  expect(error.message).toContain("found: ");
  expect(error.message).toContain("expected: ");
  expect(error.expected).not.toBeUndefined();
}

describe.each(storeKinds(scratchDirectories()))("%s", (_name, makeStore) => {
  let store: Store;
  let dataset: Dataset;
  let before: string[];

  beforeEach(async () => {
    store = makeStore();
    const clock = testClock(NOW);
    dataset = await Dataset.create("main", schema, store, { clock: clock.read, origin: NOW });
    await dataset.appendMany([500n, 600n, 700n].map((tick) => ({ ...good, _anchor: NOW + tick })));
    await dataset.appendMany([1000n, 1003n, 1010n].map((tick) => ({ ...good, _anchor: NOW + tick })));
    clock.now += 8000n;
    await dataset.appendMany([good]);
    before = await contents(store);
  });

  async function expectUntouched(): Promise<void> {
    expect(await contents(store)).toEqual(before);
    expect(await dataset.count()).toBe(7);
  }

  test("records that can't be, and then the dataset works on", async () => {
    const failures: string[] = [];
    for (const [name, records, code, field, ...found] of refusedRecords) {
      try {
        const error = await refusal(() => dataset.appendMany(records as never));
        expect(error.code).toBe(code);
        expect(error.committed ?? "no").toBe("no");
        expectNamed(error, field);
        if (found.length > 0) expect(error.found).toEqual(found[0]);
        await expectUntouched();
      } catch (error) {
        failures.push(`${name}: ${(error as Error).message}`);
      }
    }
    expect(failures).toEqual([]);
    await dataset.appendMany([good]);
    expect(await (await Dataset.open("main", store)).count()).toBe(8);
    expect(await fsck(store)).toMatchObject({ ok: true, rows: 8 });
  });

  test("queries that can't be", async () => {
    const failures: string[] = [];
    for (const [name, query, field, ...found] of refusedQueries) {
      try {
        const all = { field: "v", query: [1, 2, 3], ...query } as never;
        const error = await refusal(() => dataset.iterVector(all));
        expect(error.code).toBe("InvalidArgument");
        expectNamed(error, field);
        if (found.length > 0) expect(error.found).toEqual(found[0]);
        expect((await refusal(() => dataset.iterVector(all)[Symbol.asyncIterator]().next())).code).toBe(
          "InvalidArgument",
        );
      } catch (error) {
        failures.push(`${name}: ${(error as Error).message}`);
      }
    }
    expect(failures).toEqual([]);
    expect((await dataset.iterVector({ field: "v", query: [1, 2, 3], topK: 2 })).length).toBe(1);
    await expectUntouched();
  });

  test("names that can't be", async () => {
    for (const name of BAD_NAMES as string[]) {
      for (const work of [
        () => Dataset.create(name, schema, store),
        () => Dataset.open(name, { backend: store }),
        () => Dataset.openRef(name, store),
      ]) {
        expect(await refusal(work)).toMatchObject({ code: "InvalidName", field: "name", found: name });
      }
      expect(await refusal(() => dataset.snapshot(name))).toMatchObject({
        code: "InvalidName",
        field: "label",
        found: name,
      });
    }
    await expectUntouched();
  });

  test("datasets that are not there, or are there already", async () => {
    expect(await refusal(() => Dataset.open("other", { backend: store }))).toMatchObject({
      code: "NotFound",
      field: "name",
      found: "other",
    });
    expect(await refusal(() => Dataset.openRef("main/other", store))).toMatchObject({ code: "NotFound" });
    expect(await refusal(() => Dataset.create("main", schema, store))).toMatchObject({
      code: "AlreadyExists",
      committed: "no",
    });
    const absent = "dyqafz5wtrnw7kmrmwptv3mqh3wvd7vxwnqhkcnlpj4vpkqzq6l2kzq".slice(0, 54) + "a";
    expect(["NotFound", "InvalidAddress"]).toContain(
      (await refusal(() => Dataset.openAt(absent, store))).code,
    );
    for (const address of ["", "abc", "dyq", 5, undefined, { manifest: 5 }]) {
      expect(await refusal(() => Dataset.openAt(address as never, store))).toMatchObject({
        code: "InvalidAddress",
      });
    }
    await expectUntouched();
  });

  test("reads that can't be", async () => {
    for (const work of [
      () => dataset.iterStream({ batchSize: 0 }),
      () => dataset.iterStream({ batchSize: 2.5 }),
      () => dataset.iterStream({ fields: ["x"] }),
      () => dataset.iterStream({ fields: "label" as never }),
      () => dataset.get(NOW, { fields: ["x"] }),
      () => dataset.history(0),
      () => dataset.history(-1),
    ]) {
      expect((await refusal(work)).code).toBe("InvalidArgument");
    }
    expect((await refusal(() => dataset.iterStream({ range: { from: 5 as never } }))).code).toBe(
      "InvalidAnchor",
    );
    expect((await refusal(() => dataset.iterStream({ range: { to: "5" as never } }))).code).toBe(
      "InvalidAnchor",
    );
    expect(await refusal(() => dataset.get(5 as never))).toMatchObject({
      code: "InvalidAnchor",
      field: "anchor",
      found: 5,
    });
    await expectUntouched();
  });

  test("operation ids that can't be", async () => {
    for (const opId of ["", "ab", "x".repeat(32), "0".repeat(31), "0".repeat(34), 5, null]) {
      expect(await refusal(() => dataset.resume(opId as never))).toMatchObject({ code: "InvalidArgument" });
      expect(await refusal(() => dataset.appendMany([good], { opId: opId as never }))).toMatchObject({
        code: "InvalidArgument",
      });
    }
    expect(await dataset.resume("0".repeat(32))).toBeUndefined();
    await expectUntouched();
  });

  test("a duplicate that shows only after another writer moved the ref", async () => {
    const other = await Dataset.open("main", store);
    await other.appendMany([{ ...good, _anchor: NOW + 77n }]);
    const records = [76n, 77n].map((tick) => ({ ...good, _anchor: NOW + tick }));
    const error = await refusal(() => dataset.appendMany(records));
    expect(error).toMatchObject({
      code: "DuplicateAnchor",
      field: "_anchor",
      found: NOW + 77n,
      committed: "no",
    });
    expect(await (await Dataset.open("main", store)).count()).toBe(8);
    await dataset.appendMany([{ ...good, _anchor: NOW + 78n }]);
    expect(await dataset.count()).toBe(9);
    expect(await fsck(store)).toMatchObject({ ok: true, rows: 9 });
  });

  test("schemas and options that can't be", async () => {
    for (const bad of [undefined, null, {}, new Schema(), { fields: "x" }]) {
      expect(await refusal(() => Dataset.create("new", bad as never, store))).toMatchObject({
        code: "SchemaViolation",
        field: "schema",
      });
    }
    for (const [field, value] of [
      ["writer", 5],
      ["writer", "x".repeat(5000)],
      ["cacheBytes", -1],
      ["cacheBytes", Number.NaN],
      ["residentBytes", 1.5],
      ["retries", -1],
      ["kernels", "gpu"],
      ["clock", () => 5],
      ["clock", () => -1n],
      ["clock", () => 2n ** 64n],
      ["random", () => new Uint8Array(3)],
      ["random", () => undefined],
    ] as const) {
      const error = await refusal(() => Dataset.create("new", schema, store, { [field]: value } as never));
      expect(error).toMatchObject({ code: "InvalidArgument", field });
    }
    expect((await refusal(() => Dataset.create("new", schema, store, { writer: "\ud800" }))).code).toBe(
      "InvalidArgument",
    );
    await expectUntouched();
  });
});

test("schema fields that can't be", async () => {
  const vectors = (options: Partial<EmbeddingOptions>) =>
    new Schema().addEmbedding("a", { dim: 4, ...options });
  const lshVectors = (options: Partial<EmbeddingOptions>) =>
    vectors({ algorithm: "dreamdb.lsh-cosine", lshBits: 3, ...options });
  const cases: [work: () => unknown, field: string][] = [
    [() => new Schema().addScalarInt("__proto__"), "name"],
    [() => new Schema().addScalarInt("_anchor"), "name"],
    [() => new Schema().addScalarInt("_time_anchors"), "name"],
    [() => new Schema().addScalarInt(""), "name"],
    [() => new Schema().addScalarInt("a b"), "name"],
    [() => new Schema().addScalarInt("1a"), "name"],
    [() => new Schema().addScalarInt("a".repeat(129)), "name"],
    [() => new Schema().addScalarInt(undefined as never), "name"],
    [() => new Schema().addScalarInt("a").addScalarBool("a"), "name"],
    [() => new Schema().addScalarInt("a", { required: "yes" as never }), "a.required"],
    [() => new Schema().addImage("a", { mime: "image/jpeg" }), "a.mime"],
    [() => new Schema().addImage("a", { mime: "" }), "a.mime"],
    [() => new Schema().addEmbedding("a", undefined as never), "a.dim"],
    [() => new Schema().addEmbedding("a", { dim: 0 }), "a.dim"],
    [() => new Schema().addEmbedding("a", { dim: 65_537 }), "a.dim"],
    [() => new Schema().addEmbedding("a", { dim: 1.5 }), "a.dim"],
    [() => new Schema().addEmbedding("a", { dim: 1, lshBits: 0 }), "a.lshBits"],
    [() => new Schema().addEmbedding("a", { dim: 1, lshBits: 25 }), "a.lshBits"],
    [() => lshVectors({ lshTables: 0 }), "a.lshTables"],
    [() => lshVectors({ lshTables: 17 }), "a.lshTables"],
    [() => lshVectors({ lshTables: 1.5 }), "a.lshTables"],
    [() => vectors({ lshTables: 2 }), "a.lshTables"],
    [() => lshVectors({ lshTables: 2, spatialIndex: defaultLshIndex(4, 3) }), "a.spatialIndex.tables"],
    [() => lshVectors({ spatialIndex: defaultLshIndex(4, 3, 2) }), "a.spatialIndex.tables"],
    [() => new Schema().addEmbedding("a", { dim: 1, algorithm: "hnsw" as never }), "a.algorithm"],
    [() => new Schema().addEmbedding("a", { dim: 1, compressor: "pq" as never }), "a.compressor"],
    [() => vectors({ compressor: { algorithm: "pq" } as never }), "a.compressor.subspaces"],
    [() => vectors({ compressor: { algorithm: "pq", subspaces: 5 } }), "a.compressor.subspaces"],
    [() => vectors({ compressor: { algorithm: "pq", subspaces: 2, bits: 5 as never } }), "a.compressor.bits"],
    [() => vectors({ compressor: { algorithm: "rabitq", bits: 9 } }), "a.compressor.bits"],
    [() => vectors({ compressor: { algorithm: "rabitq", bits: 0 } }), "a.compressor.bits"],
    [() => vectors({ compressor: { algorithm: "dreamdb.rabitq-l2" } }), "a.compressor.algorithm"],
    [() => vectors({ compressor: { algorithm: "zip" } as never }), "a.compressor.algorithm"],
    [() => vectors({ dim: 1, algorithm: "dreamdb.imi-cosine" }), "a.dim"],
    [() => vectors({ algorithm: "dreamdb.imi-cosine", lshTables: 2 }), "a.lshTables"],
    [() => lshVectors({ compressor: { algorithm: "rabitq" } }), "a.compressor"],
    [() => vectors({ spatialIndex: {} as never }), "a.spatialIndex"],
    [() => vectors({ spatialIndex: "dyq" }), "a.spatialIndex"],
    [() => lshVectors({ spatialIndex: defaultLshIndex(5, 3) }), "a.spatialIndex.dim"],
    [() => lshVectors({ spatialIndex: defaultLshIndex(4, 4) }), "a.spatialIndex.bits"],
    [() => lshVectors({ spatialIndex: { ...defaultLshIndex(4, 3), bits: 25 } }), "a.spatialIndex"],
    [() => vectors({ spatialIndex: defaultLshIndex(4, 3) }), "a.spatialIndex.algorithm"],
    [() => new Schema().addEmbedding("a", { dim: 1, rerank: "yes" as never }), "a.rerank"],
  ];
  for (const [work, field] of cases) {
    const error = await refusal(work);
    expect(error.code).toBe("SchemaViolation");
    expectNamed(error, field);
  }
});

test("backends that can't be", async () => {
  for (const [backend, code] of [
    ["gopher://x", "UnsupportedBackend"],
    ["https://user:secret@example.com/bucket", "InvalidArgument"],
    ["https://example.com/bucket?x=1", "InvalidArgument"],
    ["http://example.com/a%20b", "InvalidArgument"],
    ["s3://bucket", "UnsupportedBackend"],
    ["", "InvalidArgument"],
    ["a\0b", "InvalidArgument"],
    ["memory://", "InvalidArgument"],
    [undefined, "InvalidArgument"],
    [null, "InvalidArgument"],
    [5, "InvalidArgument"],
    [{}, "InvalidArgument"],
    [{ backend: null }, "InvalidArgument"],
    [{ backend: {} }, "InvalidArgument"],
  ] as const) {
    for (const work of [
      () => Dataset.create("x", schema, backend as never),
      () => Dataset.open("x", backend as never),
      () => Dataset.openRef("x", backend as never),
      () => fsck(backend as never),
    ]) {
      expect(await refusal(work)).toMatchObject({ code, field: "backend" });
    }
  }
});
