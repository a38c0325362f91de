// Random histories of every verb, on several branches, against maps in memory: each branch, each snapshot and each past state
// always shows what the model says, less the records that were deleted anywhere since.
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { gc } from "../../src/dataset/gc.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { isDreamDBError } from "../../src/errors.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { copyOf, note, noteAll, plain, type Seen, visible } from "./model-records.ts";
import { randomVector, rowsOf, seeded, testClock } from "./records.ts";
import { refusal } from "./stores.ts";

const DIM = 3;
const schema = new Schema()
  .addEmbedding("vector", { dim: DIM, algorithm: "dreamdb.ivf-l2" })
  .addScalarString("name", { index: true })
  .addScalarInt("size", { required: false });

interface Branch {
  dataset: Dataset;
  seen: Seen;
}

interface World {
  store: Store;
  branches: Branch[];
  deleted: Set<bigint>;
  /** What each state showed, by its address. */
  states: Map<string, Seen>;
  /** Whether collections may have taken the data of states that no branch or snapshot names. */
  isPruned: boolean;
  random: () => number;
  names: number;
}

const nat = fc.nat({ max: 40 });
const on = fc.nat(3);
const steps = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        verb: fc.constant("append" as const),
        on,
        // Few places, so that branches come to use the same ones.
        ticks: fc.option(fc.uniqueArray(fc.nat(12), { minLength: 1, maxLength: 5 }), { nil: undefined }),
        count: fc.integer({ min: 1, max: 6 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ verb: fc.constant("branch" as const), on }) },
    {
      weight: 3,
      arbitrary: fc.record({
        verb: fc.constant("merge" as const),
        on,
        from: fc.array(on, { minLength: 1, maxLength: 3 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        verb: fc.constant("delete" as const),
        on,
        picks: fc.array(nat, { minLength: 1, maxLength: 4 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ verb: fc.constant("compact" as const), on, purge: fc.boolean() }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        verb: fc.constant("rebuild" as const),
        on,
        k: fc.integer({ min: 1, max: 3 }),
        seed: fc.nat(2),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        verb: fc.constant("step" as const),
        on,
        splitAbove: fc.integer({ min: 1, max: 6 }),
        mergeBelow: fc.nat({ max: 2 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        verb: fc.constant("gc" as const),
        on,
        keep: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ verb: fc.constant("snapshot" as const), on }) },
    { weight: 1, arbitrary: fc.record({ verb: fc.constant("reopen" as const), on }) },
    { weight: 2, arbitrary: fc.record({ verb: fc.constant("openAt" as const), on, which: nat }) },
  ),
  { minLength: 3, maxLength: 25 },
);
type Step = typeof steps extends fc.Arbitrary<(infer S)[]> ? S : never;

async function take(world: World, { dataset, seen }: Branch, step: Step): Promise<void> {
  const { store, branches, deleted, random } = world;
  switch (step.verb) {
    case "append": {
      const rows = Array.from({ length: step.ticks?.length ?? step.count }, (_, i) => ({
        ...(step.ticks === undefined ? {} : { _anchor: BigInt(step.ticks[i] as number) }),
        vector: randomVector(random, DIM),
        name: `n${Math.floor(4 * random())}`,
        ...(random() < 0.5 ? {} : { size: i }),
      }));
      if (step.ticks?.some((tick) => seen.has(BigInt(tick)) || deleted.has(BigInt(tick)))) {
        expect(await refusal(() => dataset.appendMany(rows))).toMatchObject({ code: "DuplicateAnchor" });
        return;
      }
      const { anchors } = await dataset.appendMany(rows);
      rows.forEach((row, i) => {
        note(seen, { ...row, _anchor: anchors[i] as bigint }, schema);
      });
      return;
    }
    case "branch":
      if (branches.length < 4)
        branches.push({ dataset: await dataset.branch(`b${world.names++}`), seen: copyOf(seen) });
      return;
    case "merge": {
      const sources = step.from.map((i) => branches[i % branches.length] as Branch);
      await dataset.mergeMany(
        sources.map((source) => source.dataset.name),
        { onUnrelatedIndex: "delta" },
      );
      for (const source of sources) noteAll(seen, source.seen, schema);
      return;
    }
    case "delete": {
      const known = [...seen.keys()];
      if (known.length === 0) return;
      const anchors = step.picks.map((pick) => known[pick % known.length] as bigint);
      await dataset.delete(anchors);
      for (const anchor of anchors) deleted.add(anchor);
      return;
    }
    case "compact": {
      const { manifest } = await dataset.compact({ purge: step.purge });
      expect((await dataset.compact({ purge: step.purge })).manifest).toBe(manifest);
      return;
    }
    case "rebuild":
      if (visible(seen, deleted).length >= step.k)
        await dataset.rebuildIvf({ field: "vector", k: step.k, seed: step.seed, iterations: 1 });
      return;
    case "step": {
      const { splitAbove, mergeBelow } = step;
      const bounds = { splitAbove, mergeBelow, recentre: 0, iterations: 2 };
      // Before the first rebuild there is nothing to split.
      await dataset.adaIvfStep({ field: "vector", ...bounds }).catch((error) => {
        expect(error).toMatchObject({ code: "InvalidArgument" });
      });
      return;
    }
    case "gc": {
      const options = { ageMs: 0, ...(step.keep === undefined ? {} : { keepManifests: step.keep }) };
      // The second finds what the first itself left behind: lists that newer ones stand for.
      for (let i = 0; i < 2; i++) await gc(store, options);
      expect(await gc(store, options)).toMatchObject({ deleted: 0, condemned: 0 });
      world.isPruned ||= step.keep !== undefined;
      return;
    }
    case "snapshot":
      await dataset.snapshot(`s${world.names++}`).catch((error) => {
        // Of a state that has no record.
        if (!isDreamDBError(error) || seen.size > 0) throw error;
      });
      return;
    case "reopen":
      for (const branch of branches) branch.dataset = await Dataset.open(branch.dataset.name, store);
      return;
    case "openAt": {
      const all = [...world.states];
      const [address, then] = all[step.which % all.length] as [string, Seen];
      const old = await Dataset.openAt(address, store).catch((error) => {
        if (world.isPruned && isDreamDBError(error, "NotFound")) return undefined;
        throw error;
      });
      if (old === undefined) return;
      expect(plain(await rowsOf(old))).toEqual(plain(visible(then, deleted)));
      expect(await old.count()).toBe(visible(then, deleted).length);
    }
  }
}

async function check(world: World, { dataset, seen }: Branch): Promise<void> {
  await dataset.refresh();
  const rows = visible(seen, world.deleted);
  expect(plain(await rowsOf(dataset))).toEqual(plain(rows));
  expect(await dataset.count()).toBe(rows.length);
  const where = { name: "n1" };
  expect(plain(await rowsOf(dataset, { where }))).toEqual(plain(rows.filter(({ name }) => name === "n1")));
  const query = randomVector(world.random, DIM);
  const byAnchor = new Map(rows.map((row) => [row._anchor, row.vector]));
  const distance = (anchor: bigint): number =>
    (byAnchor.get(anchor) as Float32Array).reduce((sum, x, i) => sum + (x - (query[i] as number)) ** 2, 0);
  const [found] = await dataset.iterVector({
    ...{ field: "vector", query, topK: 5, nprobe: 1000, epsilon: 100, rerankFactor: 100 },
  });
  expect((found?._time_anchors ?? []).map(distance)).toEqual(
    rows
      .map(({ _anchor }) => distance(_anchor))
      .sort((a, b) => a - b)
      .slice(0, 5),
  );
  world.states.set(dataset.currentManifest(), copyOf(seen));
}

test("every branch and every state shows what the model says", async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (history) => {
      const clock = testClock();
      const store = memoryStore();
      const dataset = await Dataset.create("main", schema, store, { clock: clock.read });
      const world: World = {
        ...{ store, branches: [{ dataset, seen: new Map() }], deleted: new Set(), states: new Map() },
        ...{ isPruned: false, random: seeded(7), names: 0 },
      };
      world.states.set(dataset.currentManifest(), new Map());
      for (const step of history) {
        const branch = world.branches[step.on % world.branches.length] as Branch;
        await take(world, branch, step);
        await check(world, branch);
      }
      for (const branch of world.branches) await check(world, branch);
      expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });
    }),
    { numRuns: 100 },
  );
}, 300_000);
