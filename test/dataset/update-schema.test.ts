// Another schema without a record written anew: what may change and what may not, who sees it, and what merges make of it.
import { describe, expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { type FieldTypes, Schema } from "../../src/dataset/schema.ts";
import { isDreamDBError } from "../../src/errors.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { rowsOf, seeded, testClock } from "./records.ts";

const coded = (code: string) => expect.objectContaining({ code });

const before = new Schema()
  .addScalarCategorical("label")
  .addScalarInt("n", { required: false })
  .addImage("photo", { mime: "jpeg", required: false })
  .addEmbedding("v", { dim: 4, algorithm: "dreamdb.lsh-cosine", lshBits: 3 });

const random = seeded(3);
const vector = () => Array.from({ length: 4 }, () => random() * 2 - 1);
const records = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => ({ label: `l${(from + i) % 3}`, n: from + i, v: vector() }));

async function make(schema: Schema<FieldTypes> = before) {
  const store = memoryStore();
  const ds: Dataset = await Dataset.create("main", schema, store, { clock: testClock().read });
  const { anchors } = await ds.appendMany(records(20));
  return { store, ds, anchors };
}

describe("a field", () => {
  test("that is added has no value in what is there, and one in what comes", async () => {
    const { store, ds } = await make();
    await ds.snapshot("old");
    const schema = before
      .addScalarFloat("score", { required: false, index: true })
      .addEmbedding("w", { dim: 2, required: false });
    const done = await ds.updateSchema(schema);
    expect(done.changes).toEqual([
      { change: "added", field: "score" },
      { change: "added", field: "w" },
    ]);
    expect(ds.schema.fields.map(({ name, id }) => [name, id])).toEqual([
      ["label", 0],
      ["n", 1],
      ["photo", 2],
      ["v", 3],
      ["score", 4],
      ["w", 5],
    ]);
    await ds.appendMany([{ ...records(1, 20)[0], score: 0.5, w: [1, 0] }] as never);
    const now = await Dataset.open("main", store);
    const rows = await rowsOf(now);
    expect(rows.filter(({ score }) => score !== undefined)).toHaveLength(1);
    expect(await rowsOf(now, { where: { score: { gt: 0 } } })).toHaveLength(1);
    expect((await now.iterVector({ field: "w", query: [1, 0] }))[0]?._time_anchors).toHaveLength(1);
    expect((await now.iterVector({ field: "v", query: [1, 0, 0, 0] }))[0]?._time_anchors).toHaveLength(10);
    const old = await Dataset.open("old", store);
    expect(old.schema.fields.map(({ name }) => name)).toEqual(["label", "n", "photo", "v"]);
    expect(await rowsOf(old)).toHaveLength(20);
    expect((await now.history(3)).map(({ op }) => op)).toEqual(["append", "schema-update", "append"]);
    expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });
    await now.compact();
    expect(await rowsOf(await Dataset.open("main", store))).toEqual(rows);
    expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });
  });

  test("that is dropped is gone from reads, never its number used again, and stays in snapshots", async () => {
    const { store, ds, anchors } = await make();
    await ds.snapshot("old");
    const schema = new Schema().addScalarCategorical("label").addScalarInt("n", { required: false });
    await expect(ds.updateSchema(schema)).rejects.toThrow(coded("SchemaViolation"));
    await ds.updateSchema(schema, { drop: ["v", "photo"] });
    expect(await ds.get(anchors[0] as bigint)).toEqual({ _anchor: anchors[0], label: "l0", n: 0 });
    await expect(ds.appendMany(records(1) as never)).rejects.toThrow(coded("SchemaViolation"));
    await ds.appendMany([{ label: "x" }] as never);
    const again = ds.schema;
    await ds.updateSchema(again.addEmbedding("v", { dim: 4, required: false }));
    expect(ds.schema.fields.at(-1)).toMatchObject({ name: "v", id: 4 });
    expect((await ds.get(anchors[0] as bigint))?.v).toBeUndefined();
    const old = await Dataset.open("old", store);
    expect((await old.iterVector({ field: "v", query: [1, 0, 0, 0] }))[0]?._time_anchors).toHaveLength(10);
    expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });
    await ds.compact();
    expect(await ds.count()).toBe(21);
    expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });
  });

  test("changes its flags; an index is made for what comes, and one that was made stays right", async () => {
    const { store, ds } = await make();
    const flags = (label: boolean, n: boolean) =>
      new Schema()
        .addScalarCategorical("label", { index: label })
        .addScalarInt("n", { required: n, index: n })
        .addImage("photo", { mime: "mixed", required: false })
        .addEmbedding("v", { dim: 4, algorithm: "dreamdb.lsh-cosine", lshBits: 3, rerank: false });
    const done = await ds.updateSchema(flags(true, true));
    expect(done.changes).toEqual([
      { change: "changed", field: "label", properties: ["index"] },
      { change: "changed", field: "n", properties: ["index", "required"] },
      { change: "changed", field: "photo", properties: ["modality"] },
      { change: "changed", field: "v", properties: ["rerank"] },
    ]);
    await expect(ds.appendMany([{ label: "x", v: vector() }])).rejects.toThrow(coded("SchemaViolation"));
    await ds.appendMany(records(20, 20));
    await ds.updateSchema(flags(false, false));
    await ds.appendMany(records(20, 40));
    expect(await rowsOf(ds, { where: { label: "l1" } })).toHaveLength(20);
    expect(await rowsOf(ds, { where: { n: { gte: 10, lt: 50 } } })).toHaveLength(40);
    expect(
      (await ds.iterVector({ field: "v", query: vector(), topK: 60, nprobe: 8 }))[0]?._time_anchors,
    ).toHaveLength(60);
    expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });
    await ds.compact();
    expect(
      (await ds.iterVector({ field: "v", query: vector(), topK: 60, nprobe: 8 }))[0]?._time_anchors,
    ).toHaveLength(60);
    expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });
  });

  test("of a built index may have vectors in some cells and not in others", async () => {
    const withRerank = (rerank: boolean) =>
      new Schema()
        .addEmbedding("v", { dim: 4, rerank })
        .addScalarInt("n", { required: false })
        .addScalarCategorical("label");
    const { store, ds } = await make(withRerank(true));
    await ds.rebuildIvf({ field: "v", k: 3 });
    const exact = async () => {
      const fresh = await Dataset.open("main", store);
      const query = [0.3, -0.2, 0.9, 0.1];
      const [hits] = await fresh.iterVector({
        field: "v",
        query,
        topK: 100,
        batchSize: 100,
        nprobe: 3,
        epsilon: 100,
        rerankFactor: 1000,
      });
      expect(hits?._time_anchors).toHaveLength(await fresh.count());
      const [again] = await fresh.iterVector({ field: "v", query, topK: 5, nprobe: 3 });
      expect(again?._time_anchors).toEqual(hits?._time_anchors.slice(0, 5));
    };
    for (const rerank of [false, true, false]) {
      await ds.updateSchema(withRerank(rerank));
      await ds.appendMany(records(20, 20));
      await exact();
    }
    await ds.compact();
    await exact();
    expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });
  });
});

describe("refused", () => {
  test("what a record lacks can't be required, unless the record is deleted", async () => {
    const { ds, anchors } = await make();
    const [lacking] = (await ds.appendMany([{ label: "x", v: vector() }])).anchors;
    const strict = new Schema()
      .addScalarCategorical("label")
      .addScalarInt("n")
      .addImage("photo", { required: false })
      .addEmbedding("v", { dim: 4, algorithm: "dreamdb.lsh-cosine", lshBits: 3 });
    const error = await ds.updateSchema(strict).catch((cause) => cause);
    expect(isDreamDBError(error, "SchemaViolation") && error.message).toContain(String(lacking));
    await expect(ds.updateSchema(strict, { dryRun: true })).rejects.toThrow(coded("SchemaViolation"));
    await ds.delete([lacking as bigint]);
    expect(await ds.updateSchema(strict, { dryRun: true })).toMatchObject({
      isDryRun: true,
      changes: [{ field: "n" }],
    });
    expect(ds.schema.fields[1]?.required).toBe(false);
    await ds.updateSchema(strict);
    await ds.delete([anchors[3] as bigint]);
    await ds.compact({ purge: true });
    expect(await ds.count()).toBe(19);
  });

  test("another kind, dimension or index; a required new field; unknown names", async () => {
    const { store, ds } = await make();
    const at = ds.currentManifest();
    const rest = () =>
      new Schema()
        .addScalarCategorical("label")
        .addScalarInt("n", { required: false })
        .addImage("photo", { required: false });
    const lsh = { algorithm: "dreamdb.lsh-cosine", lshBits: 3 } as const;
    const cases: [Schema, string[]?][] = [
      [rest().addEmbedding("v", { dim: 5, ...lsh })],
      [rest().addEmbedding("v", { dim: 4 })],
      [rest().addEmbedding("v", { dim: 4, ...lsh, lshTables: 2 })],
      [rest().addScalarString("v")],
      [before.addScalarBool("flag")],
      [before, ["v"]],
      [before, ["nothing"]],
      [new Schema()],
    ] as never;
    for (const [schema, drop] of cases)
      await expect(ds.updateSchema(schema, drop ? { drop } : {})).rejects.toThrow(coded("SchemaViolation"));
    expect(ds.currentManifest()).toBe(at);
    expect((await ds.updateSchema(before)).manifest).toBe(at);
    await ds.snapshot("s");
    const snapshot = await Dataset.open("s", store);
    await expect((async () => snapshot.updateSchema(before))()).rejects.toThrow(coded("ReadOnly"));
  });
});

test("an append that was encoded for the old schema is encoded anew, or refused", async () => {
  const { store, ds } = await make();
  const other = await Dataset.open("main", store);
  const strict = new Schema()
    .addScalarCategorical("label")
    .addScalarInt("n")
    .addEmbedding("v", { dim: 4, algorithm: "dreamdb.lsh-cosine", lshBits: 3 });
  await other.updateSchema(strict, { drop: ["photo"] });
  await expect(ds.appendMany([{ label: "x", v: vector() }])).rejects.toThrow(coded("SchemaViolation"));
  await ds.appendMany([{ label: "x", n: 7, v: vector() }]);
  expect(await ds.count()).toBe(21);
  expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });
});

describe("merging", () => {
  const optional = () => new Schema().addScalarCategorical("label").addScalarInt("n", { required: false });

  async function two() {
    const { store, ds } = await make();
    const branch = await ds.branch("side");
    return { store, ds, branch };
  }

  test("unites what one side added, dropped and changed", async () => {
    for (const isReversed of [false, true]) {
      const { store, ds, branch } = await two();
      await ds.updateSchema(
        before.addEmbedding("w", { dim: 2, required: false }).addScalarBool("flag", { required: false }),
      );
      await ds.appendMany([{ label: "a", v: vector(), w: [1, 0], flag: true }] as never);
      const narrower = new Schema()
        .addScalarCategorical("label", { index: true, required: false })
        .addScalarInt("n", { required: false })
        .addEmbedding("v", { dim: 4, algorithm: "dreamdb.lsh-cosine", lshBits: 3 });
      await branch.updateSchema(narrower, { drop: ["photo"] });
      await branch.appendMany([{ v: vector() }] as never);
      const into = isReversed ? branch : ds;
      const merged = await into.merge(isReversed ? "main" : "side");
      expect(merged).toMatchObject({ kind: "merge", conflictCount: 0 });
      expect(into.schema.fields.map(({ name, id, required }) => [name, id, required]).sort()).toEqual([
        ["flag", 5, false],
        ["label", 0, false],
        ["n", 1, false],
        ["v", 3, true],
        ["w", 4, false],
      ]);
      expect(into.schema.fields.find(({ name }) => name === "label")).toMatchObject({ index: true });
      expect(await into.count()).toBe(22);
      expect((await into.iterVector({ field: "w", query: [1, 0] }))[0]?._time_anchors).toHaveLength(1);
      expect(
        (await into.iterVector({ field: "v", query: vector(), topK: 30, nprobe: 8 }))[0]?._time_anchors,
      ).toHaveLength(22);
      expect(await rowsOf(into, { where: { flag: true } })).toHaveLength(1);
      expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });
    }
  });

  test("refuses two fields of one number, or one name, and a drop of what the other side changed", async () => {
    const first = await two();
    await first.ds.updateSchema(before.addScalarBool("x", { required: false }));
    await first.branch.updateSchema(before.addScalarInt("y", { required: false }));
    const at = first.ds.currentManifest();
    for (const strategy of ["refuse-on-conflict", "union-tracks", "ours", "theirs"] as const)
      await expect(first.ds.merge("side", { strategy })).rejects.toThrow(coded("MergeConflict"));
    expect(first.ds.currentManifest()).toBe(at);

    const second = await two();
    await second.ds.updateSchema(optional(), { drop: ["photo", "v"] });
    await second.branch.updateSchema(
      new Schema()
        .addScalarCategorical("label")
        .addScalarInt("n", { required: false })
        .addImage("photo", { mime: "png", required: false })
        .addEmbedding("v", { dim: 4, algorithm: "dreamdb.lsh-cosine", lshBits: 3 }),
    );
    await expect(second.ds.merge("side")).rejects.toThrow(coded("MergeConflict"));

    // The number was given to another field in between, which nobody sees any more.
    const third = await two();
    await third.ds.updateSchema(before.addScalarBool("x", { required: false }));
    await third.ds.updateSchema(before, { drop: ["x"] });
    await third.branch.updateSchema(before.addScalarInt("y", { required: false }));
    await expect(third.ds.merge("side")).rejects.toThrow(coded("MergeConflict"));
  });

  test("different flags are a conflict that strategies decide", async () => {
    const { ds, branch } = await two();
    const photo = (mime: string) =>
      new Schema()
        .addScalarCategorical("label")
        .addScalarInt("n", { required: false })
        .addImage("photo", { mime, required: false })
        .addEmbedding("v", { dim: 4, algorithm: "dreamdb.lsh-cosine", lshBits: 3 });
    await ds.updateSchema(photo("png"));
    await branch.updateSchema(photo("webp"));
    await expect(ds.merge("side")).rejects.toThrow(coded("MergeConflict"));
    const merged = await ds.merge("side", { strategy: "theirs" });
    expect(merged.conflicts).toMatchObject([{ kind: "field", field: "photo" }]);
    expect(ds.schema.fields[2]).toMatchObject({ mime: "webp" });
  });

  test("the same field added on both sides is one", async () => {
    const { ds, branch } = await two();
    const schema = before.addScalarBool("x", { required: false });
    await ds.updateSchema(schema);
    await branch.updateSchema(schema);
    await branch.appendMany([{ label: "b", v: vector(), x: true }] as never);
    expect(await ds.merge("side")).toMatchObject({ conflictCount: 0 });
    expect(await rowsOf(ds, { where: { x: true } })).toHaveLength(1);
  });
});
