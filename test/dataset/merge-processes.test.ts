// Eight processes that each fill a branch of their own, and one commit that brings all together; faults at every request of a merge.
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "@jest/globals";
import { Dataset, fsck, memoryStore, Schema } from "../../src/index.node.ts";
import type { Store } from "../../src/store/store.ts";
import { scratchDirectories } from "../store/scratch.ts";
import { rowsOf } from "./records.ts";
import { copyOf, refusal, watchedStore } from "./stores.ts";

const freshDirectory = scratchDirectories();

const schema = new Schema()
  .addScalarCategorical("writer")
  .addScalarInt("n")
  .addEmbedding("v", { dim: 2, algorithm: "dreamdb.lsh-cosine", lshBits: 2 });

test("8 processes, each on its own branch, then mergeMany: all are in, each once", async () => {
  const root = freshDirectory();
  const out = join(dirname(root), "dreamdb.mjs");
  const options = ["--bundle", "--platform=node", "--format=esm", "--ignore-annotations", `--outfile=${out}`];
  execFileSync("node_modules/.bin/esbuild", ["src/index.node.ts", ...options], { stdio: "pipe" });
  const main = await Dataset.create("main", schema, root);
  await main.appendMany([{ writer: "main", n: 0, v: [0, 1] }]);
  const names = Array.from({ length: 8 }, (_, w) => `worker-${w}`);
  for (const name of names) await main.branch(name);
  const ends = names.map(async (name) => {
    const args = [pathToFileURL(out).href, root, name, name, "25"];
    return (await once(fork(resolve("test/fixtures/dataset-append.mjs"), args, { execArgv: [] }), "exit"))[0];
  });
  expect(await Promise.all(ends)).toEqual(Array(8).fill(0));
  const result = await main.mergeMany(names);
  expect(result).toMatchObject({ kind: "merge", rows: 201, added: 200, conflictCount: 0 });
  const rows = await rowsOf(main);
  const wanted = Array.from({ length: 200 }, (_, i) => `worker-${i % 8} ${i >> 3}`);
  expect(rows.map((row) => `${row.writer} ${row.n}`).sort()).toEqual([...wanted, "main 0"].sort());
  expect(new Set(rows.map((row) => row._anchor)).size).toBe(201);
  expect(await fsck(root)).toMatchObject({ ok: true, problems: [] });
});

async function sides(): Promise<Store> {
  const store = memoryStore();
  const main = await Dataset.create("main", schema, store);
  await main.appendMany([{ _anchor: 1n, writer: "base", n: 0, v: [0, 1] }]);
  const side = await main.branch("side");
  await main.appendMany([{ _anchor: 5n, writer: "main", n: 1, v: [1, 1] }]);
  // One that contradicts, so that data objects are written as well.
  await side.appendMany([
    { _anchor: 5n, writer: "side", n: 2, v: [2, 1] },
    { _anchor: 6n, writer: "side", n: 3, v: [2, 1] },
  ]);
  return store;
}

test("a fault at any request of a merge leaves the old state or the new one, and says which", async () => {
  const origin = await sides();
  const reference = await Dataset.open("main", await copyOf(origin));
  const merged = (await reference.merge("side", { strategy: "theirs" })).manifest;
  let isPast = false;
  for (let k = 0; !isPast; k++) {
    for (const when of ["before", "after"] as const) {
      const store = await copyOf(origin);
      const before = (await Dataset.open("main", store)).currentManifest();
      let seen = -1;
      let isArmed = false;
      const faulty = watchedStore(store, async (_, run) => {
        if (isArmed) seen++;
        if (isArmed && seen === k && when === "before") throw new Error("no connection");
        const answer = await run();
        if (isArmed && seen === k && when === "after") throw new Error("the reply was lost");
        return answer;
      });
      const dataset = await Dataset.open("main", faulty);
      isArmed = true;
      const outcome = await dataset.merge("side", { strategy: "theirs" }).then(
        ({ manifest }) => manifest,
        (error: { committed?: string }) => error.committed ?? "unsaid",
      );
      isPast = seen < k;
      const now = (await Dataset.open("main", store)).currentManifest();
      expect([before, merged]).toContain(now);
      if (outcome === "no") expect(now).toBe(before);
      if (outcome === merged) expect(now).toBe(merged);
      expect(["no", "unknown", "unsaid", merged]).toContain(outcome);
      // Asked again, it is done, once.
      const again = await Dataset.open("main", store);
      await again.merge("side", { strategy: "theirs" });
      expect(again.currentManifest()).toBe(merged);
      expect((await fsck(store)).problems).toEqual([]);
    }
  }
});

test("a merge that loses the race is made anew on the new tip", async () => {
  const store = await sides();
  const other = await Dataset.open("main", store);
  let races = 0;
  const slow = watchedStore(store, async ({ verb, key }, run) => {
    if (verb === "put" && key === "refs/main" && races < 3) {
      races++;
      await other.appendMany([{ _anchor: BigInt(100 + races), writer: "other", n: races, v: [1, races] }]);
    }
    return run();
  });
  const main = await Dataset.open("main", slow);
  const result = await main.merge("side", { strategy: "ours" });
  expect(result).toMatchObject({ kind: "merge", rows: 6 });
  expect((await rowsOf(main)).map((row) => row.writer)).toEqual([
    "base",
    "main",
    "side",
    "other",
    "other",
    "other",
  ]);
  expect((await fsck(store)).problems).toEqual([]);
});

test("two who merge the same at one time: one state, both are told", async () => {
  const store = await sides();
  const first = await Dataset.open("main", store);
  let isOvertaken = false;
  const slow = watchedStore(store, async ({ verb, key }, run) => {
    if (verb === "put" && key === "refs/main" && !isOvertaken) {
      isOvertaken = true;
      await first.merge("side", { strategy: "union-tracks" });
      await first.appendMany([{ _anchor: 50n, writer: "later", n: 1, v: [1, 1] }]);
    }
    return run();
  });
  const second = await Dataset.open("main", slow);
  const result = await second.merge("side", { strategy: "union-tracks" });
  await first.refresh();
  expect((await first.history(1))[0]?.parents).toEqual([result.manifest]);
  expect(second.currentManifest()).toBe(first.currentManifest());
  expect((await refusal(() => second.merge("nowhere"))).code).toBe("NotFound");
});
