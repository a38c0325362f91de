import { describe, expect, test } from "@jest/globals";
import { deleteRef, protectRef } from "../../src/dataset/change-ref.ts";
import { Dataset, listRefs } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import type { MergeConflict } from "../../src/dataset/merge.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { isDreamDBError } from "../../src/errors.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { randomVector, rowsOf, seeded, testClock } from "./records.ts";
import { contents, refusal, watchedStore } from "./stores.ts";

const DIM = 4;

const schema = (
  algorithm: "dreamdb.lsh-cosine" | "dreamdb.ivf-cosine" | "dreamdb.vamana-cosine",
  lshTables?: number,
) =>
  new Schema()
    .addEmbedding("vector", {
      dim: DIM,
      algorithm,
      ...(algorithm === "dreamdb.lsh-cosine" ? { lshBits: 3, ...(lshTables ? { lshTables } : {}) } : {}),
    })
    .addScalarString("name", { index: true })
    .addScalarInt("size", { required: false, index: true });

let drawn = seeded(1);
const record = (name: string, anchor?: bigint) => ({
  ...(anchor === undefined ? {} : { _anchor: anchor }),
  vector: randomVector(drawn, DIM),
  name,
});
const records = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, i) => record(`${prefix}${i}`));

const namesOf = async (dataset: Dataset): Promise<string[]> =>
  (await rowsOf(dataset, { fields: ["name"] })).map((row) => row.name as string).sort();

async function sound(store: Store): Promise<void> {
  const report = await fsck(store);
  expect(report.problems).toEqual([]);
}

async function objectsIn(store: Store): Promise<number> {
  let count = 0;
  for await (const _ of store.list("objects/")) count++;
  return count;
}

async function twoSides(algorithm: Parameters<typeof schema>[0] = "dreamdb.lsh-cosine", lshTables?: number) {
  drawn = seeded(7);
  const store = memoryStore();
  const main = await Dataset.create("main", schema(algorithm, lshTables), store);
  await main.appendMany(records("base", 5));
  const side = await main.branch("side");
  return { store, main, side };
}

/** Every vector search finds all rows when asked for all, and the same nearest as an exact one. */
async function searchable(dataset: Dataset): Promise<void> {
  const rows = await rowsOf(dataset);
  const found = await dataset.iterVector({ field: "vector", query: [1, 0.5, -0.2, 0.1], topK: rows.length });
  expect(found.flatMap((batch) => batch._time_anchors).sort()).toEqual(rows.map((row) => row._anchor).sort());
  for (const row of rows.slice(0, 3)) {
    const filtered = await dataset.iterVector({
      field: "vector",
      query: row.vector as Float32Array,
      topK: 1,
      whereEq: { name: row.name as string },
    });
    expect(filtered[0]?._time_anchors).toEqual([row._anchor]);
  }
}

describe("branch", () => {
  test("names the state of its dataset, writes no object, and goes its own way", async () => {
    const { store, main } = await twoSides();
    const before = await objectsIn(store);
    const branch = await main.branch("work/one");
    const after = await objectsIn(store);
    expect(after).toBe(before);
    expect(branch.name).toBe("work/one");
    expect(branch.isWritable).toBe(true);
    expect(branch.currentManifest()).toBe(main.currentManifest());
    await branch.appendMany(records("one", 2));
    expect(await branch.count()).toBe(7);
    await main.refresh();
    expect(await main.count()).toBe(5);
    const opened = await Dataset.open("work/one", store);
    expect(await namesOf(opened)).toEqual(await namesOf(branch));
    await sound(store);
  });

  test("gives automatic anchors in lanes of their own, at the same time by the same clock", async () => {
    const store = memoryStore();
    const clock = testClock();
    const main = await Dataset.create("main", schema("dreamdb.lsh-cosine"), store, { clock: clock.read });
    const all: bigint[] = [];
    const branches = [main];
    for (let i = 0; i < 5; i++) branches.push(await main.branch(`b${i}`));
    for (const branch of branches) all.push(...(await branch.appendMany(records("x", 50))).anchors);
    expect(new Set(all).size).toBe(300);
    expect(new Set(all.map((anchor) => anchor % 4096n)).size).toBe(6);
    // An object that is opened later has the branch's lane too.
    const again = await Dataset.open("b3", store, { clock: clock.read });
    const { anchors } = await again.appendMany(records("y", 1));
    expect((anchors[0] as bigint) % 4096n).toBe((all[4 * 50] as bigint) % 4096n);
  });

  test("refuses names that are taken, were taken, or can't be", async () => {
    const { store, main } = await twoSides();
    expect((await refusal(() => main.branch("side"))).code).toBe("AlreadyExists");
    expect((await refusal(() => main.branch("main"))).code).toBe("AlreadyExists");
    expect((await refusal(() => main.branch("../x"))).code).toBe("InvalidName");
    await deleteRef(store, "side");
    expect((await refusal(() => main.branch("side"))).code).toBe("AlreadyExists");
    expect((await refusal(() => main.snapshot("side"))).code).toBe("AlreadyExists");
    expect((await refusal(() => Dataset.create("side", schema("dreamdb.lsh-cosine"), store))).code).toBe(
      "AlreadyExists",
    );
    expect((await refusal(() => Dataset.open("side", store))).code).toBe("NotFound");
    expect((await listRefs(store)).map(({ name }) => name)).toEqual(["main"]);
    await sound(store);
  });

  test("of a snapshot, and of a state that is named by its address", async () => {
    const { store, main } = await twoSides();
    await main.snapshot("v1");
    const old = main.currentManifest();
    await main.appendMany(records("later", 1));
    const fromTag = await (await Dataset.open("v1", store)).branch("from-tag");
    const fromAddress = await (await Dataset.openAt(old, store)).branch("from-address");
    expect(fromTag.currentManifest()).toBe(old);
    expect(fromAddress.currentManifest()).toBe(old);
    await fromTag.appendMany(records("t", 1));
    await fromAddress.appendMany(records("a", 1));
    expect((await main.mergeMany(["from-tag", "from-address"])).rows).toBe(8);
    await sound(store);
  });
});

describe("deleteRef and protectRef", () => {
  test("a deleted ref is gone, what it named stays readable by its address", async () => {
    const { store, side } = await twoSides();
    await side.appendMany(records("s", 2));
    const { manifest } = await deleteRef(store, "side");
    expect((await refusal(() => side.refresh())).code).toBe("NotFound");
    expect((await refusal(() => side.appendMany(records("no", 1)))).code).toBe("NotFound");
    expect(await (await Dataset.openAt(manifest, store)).count()).toBe(7);
    expect((await refusal(() => deleteRef(store, "side"))).code).toBe("NotFound");
    expect((await refusal(() => deleteRef(store, "never"))).code).toBe("NotFound");
  });

  test("only while it names the state that the caller has seen", async () => {
    const { store, main, side } = await twoSides();
    const seen = main.currentManifest();
    await side.appendMany(records("s", 1));
    expect((await refusal(() => deleteRef(store, "side", { manifest: seen }))).code).toBe("Conflict");
    await deleteRef(store, "side", { manifest: side.currentManifest() });
  });

  test("a protected ref can't be deleted, moves on all the same, and stays protected", async () => {
    const { store, main } = await twoSides();
    await protectRef(store, "main");
    expect((await refusal(() => deleteRef(store, "main"))).code).toBe("ReadOnly");
    await main.appendMany(records("more", 1));
    expect((await listRefs(store)).find(({ name }) => name === "main")?.protected).toBe(true);
    expect((await refusal(() => deleteRef(store, "main"))).code).toBe("ReadOnly");
    await protectRef(store, "main", false);
    await deleteRef(store, "main");
  });

  test("a lost reply is read back", async () => {
    const { store } = await twoSides();
    const flaky = watchedStore(store, async ({ verb }, run) => {
      const answer = await run();
      if (verb === "put") throw new Error("the reply was lost");
      return answer;
    });
    expect((await deleteRef(flaky, "side")).name).toBe("side");
    expect((await refusal(() => Dataset.open("side", store))).code).toBe("NotFound");
  });
});

describe("merge", () => {
  test("brings nothing where there is nothing, and moves on where nothing was done here", async () => {
    const { store, main, side } = await twoSides();
    expect((await main.merge("side")).kind).toBe("up-to-date");
    await side.appendMany(records("s", 3));
    const { manifest, kind, added } = await main.merge("side", { strategy: "fast-forward" });
    expect({ manifest, kind, added }).toEqual({
      manifest: side.currentManifest(),
      kind: "fast-forward",
      added: 3,
    });
    expect(main.currentManifest()).toBe(side.currentManifest());
    expect((await Dataset.open("main", store)).currentManifest()).toBe(side.currentManifest());
    // Each goes on in its own lane.
    const a = await main.appendMany(records("m", 1));
    const b = await side.appendMany(records("n", 1));
    expect((a.anchors[0] as bigint) % 4096n).not.toBe((b.anchors[0] as bigint) % 4096n);
    const refused = await refusal(() => main.merge("side", { strategy: "fast-forward" }));
    expect(refused.code).toBe("Conflict");
    await sound(store);
  });

  test.each([
    ["dreamdb.lsh-cosine", 1],
    ["dreamdb.lsh-cosine", 3],
    ["dreamdb.ivf-cosine", undefined],
    ["dreamdb.vamana-cosine", undefined],
  ] as const)("unites what two sides appended, %s %s", async (algorithm, tables) => {
    const { store, main, side } = await twoSides(algorithm, tables);
    await main.appendMany(records("m", 4));
    await side.appendMany(records("s", 6));
    await side.appendMany(records("t", 1));
    const sizeBefore = await objectsIn(store);
    const result = await main.merge("side");
    expect(result).toMatchObject({ kind: "merge", rows: 16, added: 7, conflictCount: 0, conflicts: [] });
    expect(await namesOf(main)).toEqual(
      [...Array(5).keys()]
        .map((i) => `base${i}`)
        .concat(["m0", "m1", "m2", "m3", "s0", "s1", "s2", "s3", "s4", "s5", "t0"])
        .sort(),
    );
    // The Manifest and nothing else: no data object is written, let alone rewritten.
    expect(await objectsIn(store)).toBe(sizeBefore + 1);
    const [entry] = await main.history(1);
    expect(entry).toMatchObject({ op: "merge", writer: "", parents: result.parents });
    expect(result.parents).toHaveLength(2);
    await searchable(main);
    await sound(store);
    await main.appendMany(records("after", 2));
    await searchable(main);
    await sound(store);
  });

  test("both ways, and by whoever: the same bytes", async () => {
    const { store, main, side } = await twoSides();
    await main.appendMany(records("m", 4));
    await side.appendMany(records("s", 6));
    const other = await main.branch("other");
    const there = await other.merge("side");
    const here = await main.merge("side", {});
    const back = await side.merge("other");
    expect(here.manifest).toBe(there.manifest);
    expect(back).toMatchObject({ kind: "fast-forward", manifest: here.manifest });
    await sound(store);
  });

  test("writes, of PUTs, the Manifest and the ref", async () => {
    const { store, main, side } = await twoSides();
    await main.appendMany(records("m", 4));
    await side.appendMany(records("s", 6));
    const puts: string[] = [];
    const watched = watchedStore(store, (request, run) => {
      if (request.verb === "put") puts.push(request.key);
      return run();
    });
    const again = await Dataset.open("main", watched);
    await again.merge("side");
    expect(puts.map((key) => key.split("/")[0])).toEqual(["objects", "refs"]);
  });

  test("a dry run tells and writes nothing", async () => {
    const { store, main, side } = await twoSides();
    await main.appendMany([record("mine", 5n)]);
    await side.appendMany([record("yours", 5n)]);
    const before = await contents(store);
    const result = await main.merge("side", { dryRun: true });
    expect(result).toMatchObject({ kind: "merge", isDryRun: true, conflictCount: 1, rows: 6 });
    expect(result.manifest).toBeUndefined();
    expect(await contents(store)).toEqual(before);
  });
});

describe("conflicts", () => {
  async function contradicting() {
    const sides = await twoSides();
    await sides.main.appendMany([record("mine", 5n), record("both", 6n), record("only here", 7n)]);
    await sides.side.appendMany([record("yours", 5n), record("only there", 8n)]);
    return sides;
  }

  test("are refused by default, as data", async () => {
    const { store, main, side } = await contradicting();
    const before = main.currentManifest();
    const error = await refusal(() => main.merge("side"));
    expect(error).toMatchObject({ code: "MergeConflict", committed: "no", retryable: false });
    const [conflict] = error.conflicts as MergeConflict[];
    expect(conflict).toMatchObject({ kind: "record", anchor: 5n, fields: ["vector", "name"] });
    const told = conflict as Extract<MergeConflict, { kind: "record" }>;
    const byRef = Object.fromEntries(told.versions.map(({ refs, value }) => [refs.join(), value.name]));
    expect(byRef).toEqual({ main: "mine", side: "yours" });
    await main.refresh();
    expect(main.currentManifest()).toBe(before);
    expect(isDreamDBError(error)).toBe(true);
    expect((await side.merge("main", { dryRun: true })).conflictCount).toBe(1);
    await sound(store);
  });

  test.each([
    ["ours", "mine"],
    ["theirs", "yours"],
  ] as const)("%s keeps the record of one side, and all others", async (strategy, name) => {
    const { store, main } = await contradicting();
    const result = await main.merge("side", { strategy });
    expect(result).toMatchObject({ conflictCount: 1, rows: 9 });
    expect((await main.get(5n))?.name).toBe(name);
    expect(await namesOf(main)).toEqual(
      ["base0", "base1", "base2", "base3", "base4", "both", "only here", "only there", name].sort(),
    );
    await searchable(main);
    await sound(store);
  });

  test("ours on one side is theirs on the other, to the byte", async () => {
    const { main, side } = await contradicting();
    const other = await main.branch("other");
    const ours = await other.merge("side", { strategy: "ours" });
    const theirs = await side.merge("main", { strategy: "theirs" });
    expect(theirs.manifest).toBe(ours.manifest);
  });

  test("union-tracks keeps the same record whichever side it is asked on", async () => {
    const { store, main, side } = await contradicting();
    const other = await main.branch("other");
    const a = await other.merge("side", { strategy: "union-tracks" });
    const b = await side.merge("main", { strategy: "union-tracks" });
    expect(a.manifest).toBe(b.manifest);
    expect(a.conflictCount).toBe(1);
    await searchable(other);
    await sound(store);
  });

  test("the same record on both sides is none, and stays once", async () => {
    const { store, main, side } = await twoSides();
    const same = [record("same0", 100n), record("same1", 110n)];
    await main.appendMany([...same, record("mine", 120n)]);
    await side.appendMany([...same, record("yours", 130n)]);
    const result = await main.merge("side");
    expect(result).toMatchObject({ conflictCount: 0, rows: 9 });
    expect(await namesOf(main)).toHaveLength(9);
    await searchable(main);
    await sound(store);
  });

  test("a batch of which nothing is left is left out whole", async () => {
    const { store, main, side } = await twoSides();
    await main.appendMany([record("a", 100n), record("b", 110n)]);
    await side.appendMany([record("c", 110n)]);
    await main.merge("side", { strategy: "ours" });
    expect(await main.count()).toBe(7);
    await searchable(main);
    await sound(store);
  });

  test("what was decided stays decided", async () => {
    const { store, main, side } = await contradicting();
    const early = await side.branch("early");
    await main.merge("side", { strategy: "ours" });
    await early.appendMany(records("early", 2));
    const result = await main.merge("early");
    expect(result).toMatchObject({ conflictCount: 0, rows: 11 });
    expect((await main.get(5n))?.name).toBe("mine");
    await searchable(main);
    await sound(store);
  });
});

describe("histories", () => {
  test("criss-cross: two bases", async () => {
    const { store, main, side } = await twoSides();
    await main.appendMany(records("m", 2));
    await side.appendMany(records("s", 2));
    const m = await main.branch("m");
    const s = await side.branch("s");
    await main.merge("s");
    await main.appendMany(records("m2", 1));
    await side.merge("m");
    await side.appendMany(records("s2", 1));
    // The merges are the same bytes, and so the one base there is.
    expect((await main.merge("side", { dryRun: true })).bases).toHaveLength(1);
    await m.appendMany(records("m3", 1));
    await s.appendMany(records("s3", 1));
    const left = await m.branch("left");
    const right = await s.branch("right");
    await left.merge("s");
    await left.appendMany(records("l", 1));
    await s.appendMany(records("s4", 1));
    await right.mergeMany(["m"]);
    await right.appendMany(records("r", 1));
    const result = await left.merge("right");
    expect(result.bases.length).toBeGreaterThanOrEqual(1);
    const all = await main.mergeMany(["side", "left", "right", "m", "s"]);
    expect(all.rows).toBe(new Set(await namesOf(main)).size);
    await searchable(main);
    await sound(store);
  });

  test("states of another dataset are refused", async () => {
    const { store, main } = await twoSides();
    await Dataset.create("foreign", schema("dreamdb.lsh-cosine"), store);
    expect((await refusal(() => main.merge("foreign"))).code).toBe("LineageMismatch");
    expect((await refusal(() => main.merge("missing"))).code).toBe("NotFound");
    expect((await refusal(() => main.mergeMany([]))).code).toBe("InvalidArgument");
    expect((await refusal(() => main.merge("side", { strategy: "octopus" as never }))).code).toBe(
      "InvalidArgument",
    );
  });

  test("a snapshot can't be merged into, and can be merged", async () => {
    const { store, main, side } = await twoSides();
    await side.appendMany(records("s", 1));
    await side.snapshot("v1");
    const tag = await Dataset.open("v1", store);
    expect((await refusal(() => tag.merge("main"))).code).toBe("ReadOnly");
    await main.appendMany(records("m", 1));
    expect((await main.merge("v1")).rows).toBe(7);
  });
});

describe("indexes", () => {
  test("a side's newer index stays, the other's rows are encoded for it", async () => {
    const { store, main, side } = await twoSides("dreamdb.ivf-cosine");
    await main.appendMany(records("m", 20));
    await main.rebuildIvf({ field: "vector", k: 3 });
    await side.appendMany(records("s", 6));
    const result = await main.merge("side");
    expect(result.tracks.vector).toMatchObject({ encodedRows: 6, unindexedRows: 0 });
    expect((await main.health()).tracks[0]).toMatchObject({ cells: 3, indexedRows: 31, unindexedRows: 0 });
    await searchable(main);
    await sound(store);
  });

  test("segments of a built index are united", async () => {
    const { store, main, side: old } = await twoSides("dreamdb.ivf-cosine");
    await main.rebuildIvf({ field: "vector", k: 2 });
    const side = await main.branch("late");
    await main.appendMany(records("m", 3));
    await side.appendMany(records("s", 4));
    await old.appendMany(records("o", 2));
    expect((await main.merge("late")).tracks.vector).toMatchObject({ encodedRows: 0, unindexedRows: 0 });
    expect((await main.merge("side")).tracks.vector).toMatchObject({ encodedRows: 2, unindexedRows: 0 });
    await searchable(main);
    await sound(store);
  });

  test("unrelated ones are refused, or the larger stays", async () => {
    const { store, main, side } = await twoSides("dreamdb.ivf-cosine");
    await main.appendMany(records("m", 4));
    await main.rebuildIvf({ field: "vector", k: 2 });
    await side.appendMany(records("s", 9));
    await side.rebuildIvf({ field: "vector", k: 3 });
    for (const strategy of ["refuse-on-conflict", "union-tracks", "ours", "theirs"] as const) {
      const error = await refusal(() => main.merge("side", { strategy }));
      expect(error.code).toBe("LineageMismatch");
      expect(error.conflicts).toMatchObject([{ kind: "index", field: "vector" }]);
    }
    const result = await main.merge("side", { onUnrelatedIndex: "delta" });
    expect(result.tracks.vector).toMatchObject({ encodedRows: 4, unindexedRows: 0 });
    expect((await main.health()).tracks[0]).toMatchObject({ cells: 3 });
    await searchable(main);
    await sound(store);
  });

  test("codes that one side changed stay changed", async () => {
    const { store, main, side } = await twoSides("dreamdb.ivf-cosine");
    await main.rebuildIvf({ field: "vector", k: 2 });
    const late = await main.branch("late");
    await late.appendMany(records("l", 3));
    await main.publishCompressor({ field: "vector", algorithm: "rabitq", bits: 2 });
    await main.merge("late");
    expect((await main.health()).tracks[0]).toMatchObject({
      indexedRows: 8,
      unindexedRows: 0,
      staleCodes: false,
    });
    await side.appendMany(records("s", 1));
    await main.merge("side");
    await searchable(main);
    await sound(store);
  });

  test("a graph stays first, and later rows are scanned", async () => {
    const { store, main, side } = await twoSides("dreamdb.vamana-cosine");
    await main.appendMany(records("m", 20));
    await main.buildGraph({ field: "vector", degree: 8 });
    await side.appendMany(records("s", 6));
    await main.appendMany(records("n", 2));
    const result = await main.merge("side");
    expect(result.tracks.vector).toMatchObject({ unindexedRows: 8, encodedRows: 0 });
    await searchable(main);
    await sound(store);
  });

  test("a graph of rows that a conflict took is given up, and all is found by scanning", async () => {
    const { store, main, side } = await twoSides("dreamdb.vamana-cosine");
    await main.appendMany([record("a", 5n), record("b", 6n)]);
    await main.buildGraph({ field: "vector", degree: 8 });
    await side.appendMany([record("c", 5n)]);
    await main.merge("side", { strategy: "theirs" });
    expect((await main.get(5n))?.name).toBe("c");
    await searchable(main);
    await sound(store);
    await main.buildGraph({ field: "vector", degree: 8 });
    await searchable(main);
    await sound(store);
  });

  test("a rebuild that a merge overtakes indexes all rows", async () => {
    const { store, main, side } = await twoSides("dreamdb.ivf-cosine");
    await main.appendMany(records("m", 4));
    await side.appendMany(records("s", 6));
    const merging = await Dataset.open("main", store);
    let isMerged = false;
    const slow = watchedStore(store, async ({ verb, key }, run) => {
      if (verb === "put" && key === "refs/main" && !isMerged) {
        isMerged = true;
        await merging.merge("side");
      }
      return run();
    });
    const building = await Dataset.open("main", slow);
    await building.rebuildIvf({ field: "vector", k: 2 });
    expect(await building.count()).toBe(15);
    await searchable(building);
    await sound(store);
  });
});
