import { expect, test } from "@jest/globals";
import * as arrow from "apache-arrow";
import fc from "fast-check";
import { Dataset } from "../../src/dataset/dataset.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { scratchDirectories } from "../store/scratch.ts";
import { rowsOf } from "./records.ts";
import { refusal, storeKinds } from "./stores.ts";

type Row = Record<string, unknown>;

const DIM = 3;
const finite = fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 });
/** What every kind of field may hold, and a schema's method for it. */
const kinds = {
  Image: fc.uint8Array({ maxLength: 20 }),
  ScalarBool: fc.boolean(),
  ScalarCategorical: fc.constantFrom("", "cat", "dog", "häst", "🐎"),
  ScalarFloat: fc.double({ noNaN: true, noDefaultInfinity: true }),
  ScalarInt: fc.oneof(fc.maxSafeInteger(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  ScalarString: fc.string({ unit: "grapheme" }),
  ScalarTimestamp: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  Embedding: fc.array(finite, { minLength: DIM, maxLength: DIM }).map((v) => Float32Array.from(v)),
} as const;
type Kind = keyof typeof kinds;

const field = fc.record({
  kind: fc.constantFrom(...(Object.keys(kinds) as Kind[])),
  required: fc.boolean(),
});

const datasets = fc.array(field, { minLength: 1, maxLength: 6 }).chain((fields) => {
  const shape: Record<string, fc.Arbitrary<unknown>> = {};
  fields.forEach(({ kind, required }, i) => {
    const value: fc.Arbitrary<unknown> = kinds[kind];
    shape[`f${i}`] = required ? value : fc.option(value, { nil: undefined });
  });
  return fc.record({
    fields: fc.constant(fields),
    rows: fc.array(fc.record(shape) as fc.Arbitrary<Row>, { minLength: 1, maxLength: 40 }),
    cut: fc.integer({ min: 1, max: 40 }),
    batchSize: fc.integer({ min: 1, max: 20 }),
    hasAnchors: fc.boolean(),
  });
});

function schemaOf(fields: { kind: Kind; required: boolean }[]): Schema {
  let schema = new Schema() as Schema;
  fields.forEach(({ kind, required }, i) => {
    const options = { required, ...(kind === "Embedding" ? { dim: DIM, algorithm: "dreamdb.ivf-l2" } : {}) };
    schema = (schema as unknown as Record<string, (n: string, o: object) => Schema>)[`add${kind}`]!.call(
      schema,
      `f${i}`,
      options,
    );
  });
  return schema;
}

/** What a record reads as: numbers as they come back, and nothing where there was nothing. */
function plain(rows: Row[], anchors: boolean): unknown[] {
  return rows.map(({ _anchor, ...values }) => ({ ...(anchors ? { _anchor } : {}), ...values }));
}

test("what goes in by records, through Arrow and in again reads the same", async () => {
  await fc.assert(
    fc.asyncProperty(datasets, async ({ fields, rows, cut, batchSize, hasAnchors }) => {
      const records = hasAnchors ? rows.map((row, i) => ({ _anchor: BigInt(i * i + 7), ...row })) : rows;
      const first = await Dataset.create("a", schemaOf(fields), memoryStore());
      await first.appendMany(records.slice(0, cut));
      if (records.length > cut) await first.appendMany(records.slice(cut));
      const expected = await rowsOf(first);

      const batches: arrow.RecordBatch[] = [];
      for await (const batch of first.iterArrow({ arrow, batchSize })) batches.push(batch);
      expect(
        batches.map((batch) => batch.numRows).every((n, i) => n === batchSize || i === batches.length - 1),
      ).toBe(true);
      const written = arrow.tableFromIPC(arrow.tableToIPC(new arrow.Table(batches), "stream"));
      const sliced = [written.slice(0, cut), written.slice(cut)].flatMap((part) => part.batches);
      for (const given of [new arrow.Table(batches), written, sliced, [...sliced].reverse()]) {
        const second = await Dataset.create("b", schemaOf(fields), memoryStore());
        await second.appendArrow(given);
        expect(plain(await rowsOf(second), true)).toEqual(plain(expected, true));
      }
    }),
    { numRuns: 60 },
  );
}, 120_000);

const types = new Schema()
  .addEmbedding("v", { dim: 2, required: false })
  .addScalarInt("i", { required: false })
  .addScalarFloat("f", { required: false })
  .addScalarTimestamp("t", { required: false })
  .addScalarString("s", { required: false })
  .addScalarCategorical("c", { required: false })
  .addImage("m", { required: false });

test.each(storeKinds(scratchDirectories()))("other types of the same meaning, on %s", async (_kind, make) => {
  const list = (type: arrow.DataType) => new arrow.FixedSizeList(2, new arrow.Field("item", type));
  const table = new arrow.Table({
    v: arrow.vectorFromArray([[1, 2], null, [3, 4]], list(new arrow.Float64())),
    i: arrow.vectorFromArray([1, -2, null], new arrow.Int8()),
    f: arrow.vectorFromArray([1.5, null, 2.5], new arrow.Float32()),
    t: arrow.vectorFromArray([1000, 2000, null], new arrow.TimestampSecond()),
    s: arrow.vectorFromArray(["x", null, "y"], new arrow.Dictionary(new arrow.Utf8(), new arrow.Int8())),
    c: arrow.vectorFromArray(["a", "b", "a"], new arrow.LargeUtf8()),
    m: arrow.vectorFromArray([Uint8Array.of(1), null, Uint8Array.of(2, 3)], new arrow.LargeBinary()),
    _anchor: arrow.vectorFromArray([30n, 10n, 20n], new arrow.Int64()),
  });
  const ds = await Dataset.create("d", types, make());
  const { anchors } = await ds.appendArrow(table);
  expect(anchors).toEqual([30n, 10n, 20n]);
  expect(await rowsOf(ds as unknown as Dataset)).toEqual([
    { _anchor: 10n, i: -2, t: 2_000_000_000n, c: "b" },
    { _anchor: 20n, v: Float32Array.of(3, 4), f: 2.5, s: "y", c: "a", m: Uint8Array.of(2, 3) },
    {
      _anchor: 30n,
      v: Float32Array.of(1, 2),
      i: 1,
      f: 1.5,
      t: 1_000_000_000n,
      s: "x",
      c: "a",
      m: Uint8Array.of(1),
    },
  ]);
  const [batch] = await collected(
    ds.iterArrow({ arrow, fields: ["i"], where: { c: "a" }, range: { from: 25n } }),
  );
  expect(batch?.schema.fields.map(String)).toEqual(["_anchor: Timestamp<NANOSECOND>", "i: Int64"]);
  expect(batch?.toArray().map((row) => row.i)).toEqual([1n]);
  await ds.close();
});

test("a file of record batches whose dictionaries grow can be written", async () => {
  const ds = await Dataset.create("d", new Schema().addScalarCategorical("c"), memoryStore());
  for (const c of ["z", "y", "z", "x"]) await ds.appendMany([{ c }]);
  const table = new arrow.Table(await collected(ds.iterArrow({ arrow, batchSize: 1 })));
  const read = arrow.tableFromIPC(arrow.tableToIPC(table, "stream"));
  expect(read.toArray().map((row) => row.c)).toEqual(["z", "y", "z", "x"]);
});

test.each<[string, Record<string, arrow.Vector>, string, string]>([
  ["a column of another type", { i: arrow.vectorFromArray(["x"], new arrow.Utf8()) }, "SchemaViolation", "i"],
  ["text for media", { m: arrow.vectorFromArray(["x"], new arrow.Utf8()) }, "SchemaViolation", "m"],
  [
    "bytes for text",
    { s: arrow.vectorFromArray([Uint8Array.of(1)], new arrow.Binary()) },
    "SchemaViolation",
    "s",
  ],
  ["an unknown column", { other: arrow.vectorFromArray([1], new arrow.Int32()) }, "SchemaViolation", "other"],
  [
    "an anchor of null",
    { _anchor: arrow.vectorFromArray([null], new arrow.Int64()) },
    "InvalidAnchor",
    "_anchor",
  ],
  [
    "an anchor that counts floats",
    { _anchor: arrow.vectorFromArray([1], new arrow.Float64()) },
    "InvalidAnchor",
    "_anchor",
  ],
  [
    "an integer beyond 64 bits",
    { i: arrow.vectorFromArray([2n ** 63n], new arrow.Uint64()) },
    "SchemaViolation",
    "i",
  ],
  ["NaN", { f: arrow.vectorFromArray([Number.NaN], new arrow.Float64()) }, "SchemaViolation", "f"],
])("%s is refused", async (_what, columns, code, where) => {
  const ds = await Dataset.create("d", types, memoryStore());
  const error = await refusal(() => ds.appendArrow(new arrow.Table(columns)));
  expect(error).toMatchObject({ code, field: where, committed: "no" });
  expect(await ds.count()).toBe(0);
});

test("lists of another length, or with a null in them, are refused", async () => {
  const ds = await Dataset.create("d", types, memoryStore());
  const list = (size: number) => new arrow.FixedSizeList(size, new arrow.Field("item", new arrow.Float32()));
  for (const v of [
    arrow.vectorFromArray([[1, 2, 3]], list(3)),
    arrow.vectorFromArray([[1, null]], list(2)),
  ]) {
    const error = await refusal(() => ds.appendArrow(new arrow.Table({ v })));
    expect(error).toMatchObject({ code: "SchemaViolation", field: "v", committed: "no" });
  }
});

test("text that is not UTF-8, also when cut inside a character, is refused", async () => {
  const ds = await Dataset.create("d", new Schema().addScalarString("s"), memoryStore());
  for (const [bytes, ends] of [
    [Uint8Array.of(0x61, 0xff), [0, 1, 2]],
    [new TextEncoder().encode("é"), [0, 1, 2]],
  ] as const) {
    const data = arrow.makeData({
      type: new arrow.Utf8(),
      length: 2,
      nullCount: 0,
      valueOffsets: Int32Array.from(ends),
      data: bytes,
    });
    const error = await refusal(() => ds.appendArrow(new arrow.Table({ s: new arrow.Vector([data]) })));
    expect(error).toMatchObject({ code: "SchemaViolation", field: "s" });
  }
});

test("what is no table, and no library, is refused", async () => {
  const ds = await Dataset.create("d", types, memoryStore());
  for (const given of [undefined, {}, [3]])
    expect((await refusal(() => ds.appendArrow(given as never))).code).toBe("InvalidArgument");
  expect((await refusal(() => ds.appendArrow([]))).code).toBe("InvalidArgument");
  expect((await refusal(() => ds.iterArrow({ arrow: {} as never }).next())).field).toBe("arrow");
});

async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
