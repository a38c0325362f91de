// What the compiler knows of a schema. The checks are made by tsc; running them only shows that the code runs.
import { expect, test } from "@jest/globals";
import {
  type Batch,
  Dataset,
  memoryStore,
  type RecordIn,
  type RecordOut,
  Schema,
  type VectorBatch,
  type Where,
} from "../../src/index.ts";

const schema = new Schema()
  .addImage("image", { required: false })
  .addEmbedding("vector", { dim: 2 })
  .addScalarCategorical("label")
  .addScalarInt("count", { required: false })
  .addScalarBool("flag", { required: true })
  .addScalarTimestamp("taken", { required: false });

type Fields = typeof schema extends Schema<infer F> ? F : never;
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

true satisfies Equal<
  RecordOut<Fields>,
  {
    _anchor: bigint;
    vector: Float32Array;
    label: string;
    flag: boolean;
    image?: Uint8Array;
    count?: number | bigint;
    taken?: bigint;
  }
>;
true satisfies Equal<Batch<Fields>["label"], string[]>;
true satisfies Equal<Batch<Fields>["count"], (number | bigint | undefined)[]>;
true satisfies Equal<Batch<Fields>["_time_anchors"], bigint[]>;
true satisfies Equal<VectorBatch<Fields>["_distances"], number[]>;
true satisfies Equal<VectorBatch<Fields>["label"], string[] | undefined>;

({ vector: [1, 2], label: "a", flag: true }) satisfies RecordIn<Fields>;
({
  vector: Float32Array.of(1, 2),
  label: "a",
  flag: true,
  count: null,
  taken: new Date(),
}) satisfies RecordIn<Fields>;
({ _anchor: 5n, vector: [1, 2], label: "a", flag: true, count: 5n }) satisfies RecordIn<Fields>;
// @ts-expect-error a required field is missing
({ vector: [1, 2], flag: true }) satisfies RecordIn<Fields>;
// @ts-expect-error a field of the wrong type
({ vector: [1, 2], label: 5, flag: true }) satisfies RecordIn<Fields>;
// @ts-expect-error a field that the schema lacks
({ vector: [1, 2], label: "a", flag: true, other: 1 }) satisfies RecordIn<Fields>;
// @ts-expect-error anchors are bigints
({ _anchor: 5, vector: [1, 2], label: "a", flag: true }) satisfies RecordIn<Fields>;

({ label: "a", count: 5n, flag: true, taken: new Date() }) satisfies Where<Fields>;
({ count: { gte: 1, lt: 5n }, taken: { between: [0n, new Date()] } }) satisfies Where<Fields>;
({ or: [{ label: { in: ["a", "b"] } }, { not: { flag: { exists: false } } }] }) satisfies Where<Fields>;
({ anything: 1, and: [{ other: { lt: "x" } }] }) satisfies Where;
// @ts-expect-error a field that the schema lacks
({ other: 1 }) satisfies Where<Fields>;
// @ts-expect-error a value of another type
({ label: 5 }) satisfies Where<Fields>;
// @ts-expect-error a value of another type in a test
({ count: { gt: "5" } }) satisfies Where<Fields>;
// @ts-expect-error booleans have no order
({ flag: { lt: true } }) satisfies Where<Fields>;
// @ts-expect-error categories have no order
({ label: { gte: "a" } }) satisfies Where<Fields>;
// @ts-expect-error vectors can't be filtered by
({ vector: { exists: true } }) satisfies Where<Fields>;
// @ts-expect-error media can't be filtered by
({ image: { exists: true } }) satisfies Where<Fields>;
// @ts-expect-error no such test
({ count: { above: 5 } }) satisfies Where<Fields>;
// @ts-expect-error a wrong field deep down
({ and: [{ not: { other: 1 } }] }) satisfies Where<Fields>;

test("filters are typed by the schema", async () => {
  const dataset = await Dataset.create("typed", schema, memoryStore());
  // @ts-expect-error a field that the schema lacks
  expect(() => dataset.iterStream({ where: { other: 1 } })).toThrow("where.other");
  // @ts-expect-error a value of another type
  const wrong = dataset.iterVector({ field: "vector", query: [1, 2], where: { count: "5" } });
  await expect(wrong).rejects.toMatchObject({ field: "where.count" });
});

test("records and batches have the schema's types", async () => {
  const dataset = await Dataset.create("typed", schema, memoryStore());
  const { anchors } = await dataset.appendMany([{ vector: [1, 2], label: "a", flag: true }]);
  // @ts-expect-error a required field is missing
  await expect(dataset.appendMany([{ vector: [1, 2], flag: true }])).rejects.toMatchObject({
    field: "label",
  });
  // @ts-expect-error media is bytes
  const wrong = { image: "x", vector: [1, 2], label: "a", flag: true } satisfies RecordIn<Fields>;
  await expect(dataset.appendMany([wrong as never])).rejects.toMatchObject({ field: "image" });

  const record = await dataset.get(anchors[0]!);
  record satisfies RecordOut<Fields> | undefined;
  expect(record!.label.length).toBe(1);
  // @ts-expect-error an optional field may be absent
  expect(() => record!.taken + 1n).toThrow();

  for await (const batch of dataset.iterStream()) {
    batch.vector satisfies Float32Array[];
    // @ts-expect-error no such column
    expect(batch.other).toBeUndefined();
  }
  for (const batch of await dataset.iterVector({ field: "vector", query: [1, 2] })) {
    batch._distances satisfies number[];
    expect(batch.label).toEqual(["a"]);
  }
});

test("a dataset opened by name takes any record, and a caller may name its types", async () => {
  const store = memoryStore();
  await Dataset.create("typed", schema, store);
  const open = await Dataset.open("typed", { backend: store });
  await open.appendMany([{ vector: [1, 2], label: "a", flag: true }]);
  const typed = await Dataset.open<Fields>("typed", { backend: store });
  // @ts-expect-error the named types hold
  await expect(typed.appendMany([{ label: 1 }])).rejects.toThrow();
  expect(await typed.count()).toBe(1);
});

test("a schema is built step by step, each step a value of its own", () => {
  const base = new Schema().addScalarInt("a");
  const wide = base.addScalarInt("b");
  expect(base.fields.map((field) => field.name)).toEqual(["a"]);
  expect(wide.fields.map((field) => field.name)).toEqual(["a", "b"]);
  // @ts-expect-error dim is required
  expect(() => new Schema().addEmbedding("v", {})).toThrow("v.dim");
  // @ts-expect-error no such algorithm
  expect(() => new Schema().addEmbedding("v", { dim: 1, algorithm: "hnsw" })).toThrow("v.algorithm");
});
