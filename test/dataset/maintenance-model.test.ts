// Random histories with deletions and compactions against a plain list of records: every state, old ones too, always equals
// the model less what is deleted by now, and searches equal a search of that list.
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { randomVector, rowsOf, seeded, testClock } from "./records.ts";
import { refusal } from "./stores.ts";

const DIM = 4;
const schema = new Schema()
  .addEmbedding("v", { dim: DIM, algorithm: "dreamdb.ivf-l2" })
  .addEmbedding("h", { dim: DIM, algorithm: "dreamdb.lsh-cosine", lshBits: 2 })
  .addScalarInt("n", { index: true })
  .addScalarString("s", { required: false });

type Row = { _anchor: bigint; n: number; s?: string };

interface World {
  store: Store;
  ds: Dataset;
  origin: bigint;
  vectors: Map<bigint, Float32Array>;
  rows: Map<bigint, Row>;
  deleted: Set<bigint>;
  states: Map<string, Row[]>;
  random: () => number;
  counter: number;
}

type Step =
  | { do: "append"; count: number }
  | { do: "explicit"; ticks: number[] }
  | { do: "delete"; picks: number[] }
  | { do: "delete where"; from: number; to: number }
  | { do: "compact"; purge: boolean }
  | { do: "rebuild"; k: number }
  | { do: "step"; splitAbove: number; mergeBelow: number; recentre: number; neighbours: number }
  | { do: "snapshot" }
  | { do: "reopen" }
  | { do: "look back"; which: number };

const nat = fc.nat({ max: 60 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("append" as const), count: fc.integer({ min: 1, max: 8 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("explicit" as const),
      ticks: fc.uniqueArray(fc.nat({ max: 100 }), { minLength: 1, maxLength: 5 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("delete" as const),
      picks: fc.array(nat, { minLength: 1, maxLength: 6 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("delete where" as const), from: nat, to: nat }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("compact" as const), purge: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("rebuild" as const), k: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("step" as const),
      splitAbove: fc.integer({ min: 1, max: 9 }),
      mergeBelow: fc.nat({ max: 4 }),
      recentre: fc.nat({ max: 2 }),
      neighbours: fc.nat({ max: 2 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: "snapshot" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "reopen" as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("look back" as const), which: nat }) },
);

const visible = (world: World, rows: Iterable<Row> = world.rows.values()): Row[] =>
  [...rows]
    .filter(({ _anchor }) => !world.deleted.has(_anchor))
    .sort((a, b) => Number(a._anchor - b._anchor));

function newRecord(world: World) {
  const n = world.counter++;
  return { n, ...(n % 3 === 0 ? {} : { s: `s${n % 4}` }) };
}

async function add(world: World, ticks: readonly number[] | undefined, count: number): Promise<void> {
  const records = Array.from({ length: count }, () => newRecord(world));
  const vectors = records.map(() => randomVector(world.random, DIM));
  const given = records.map((record, i) => ({
    ...{ ...record, v: vectors[i] as Float32Array, h: vectors[i] as Float32Array },
    ...(ticks === undefined ? {} : { _anchor: world.origin + BigInt(ticks[i] as number) }),
  }));
  const isTaken = ticks?.some((tick) => world.rows.has(world.origin + BigInt(tick)));
  if (isTaken) {
    // Whether the record is there or was deleted, and whether its row was dropped since.
    expect(await refusal(() => world.ds.appendMany(given))).toMatchObject({ code: "DuplicateAnchor" });
    return;
  }
  const { anchors } = await world.ds.appendMany(given);
  anchors.forEach((anchor, i) => {
    expect(world.rows.has(anchor)).toBe(false);
    world.rows.set(anchor, { _anchor: anchor, ...(records[i] as Omit<Row, "_anchor">) });
    world.vectors.set(anchor, vectors[i] as Float32Array);
  });
}

async function take(world: World, step: Step): Promise<void> {
  const { store, ds } = world;
  switch (step.do) {
    case "append":
      return add(world, undefined, step.count);
    case "explicit":
      return add(world, step.ticks, step.ticks.length);
    case "delete": {
      const known = [...world.rows.keys()];
      const anchors =
        known.length === 0 ? [] : step.picks.map((pick) => known[pick % known.length] as bigint);
      if (anchors.length === 0) return;
      await ds.delete(anchors);
      for (const anchor of anchors) world.deleted.add(anchor);
      return;
    }
    case "delete where":
      await ds.delete({ where: { n: { between: [step.from, step.to] } } });
      for (const { _anchor, n } of visible(world))
        if (n >= step.from && n <= step.to) world.deleted.add(_anchor);
      return;
    case "compact": {
      const { manifest } = await ds.compact({ purge: step.purge });
      if (step.purge) expect((await ds.health()).deletedRows).toBe(0);
      expect((await ds.compact({ purge: step.purge })).manifest).toBe(manifest);
      return;
    }
    case "rebuild":
      // Too few vectors for so many cells, that is.
      await ds.rebuildIvf({ field: "v", k: step.k, iterations: 1 }).catch(() => {});
      return;
    case "step": {
      const { do: _, ...options } = step;
      // Before the first rebuild there is nothing to split.
      await ds.adaIvfStep({ field: "v", reassignAbove: 0, iterations: 2, ...options }).catch((error) => {
        expect(error).toMatchObject({ code: "InvalidArgument" });
      });
      return;
    }
    case "snapshot":
      await ds.snapshot(`s${world.counter}-${world.states.size}`).catch(() => {});
      return;
    case "reopen":
      world.ds = await Dataset.open("main", store);
      return;
    case "look back": {
      const all = [...world.states];
      const [address, rows] = all[step.which % all.length] as [string, Row[]];
      const old = await Dataset.openAt(address, store);
      expect(await rowsOf(old, { fields: ["n", "s"] })).toEqual(visible(world, rows));
      expect(await old.count()).toBe(visible(world, rows).length);
    }
  }
}

async function check(world: World): Promise<void> {
  const { ds } = world;
  const rows = visible(world);
  expect(await ds.count()).toBe(rows.length);
  expect(await rowsOf(ds, { fields: ["n", "s"] })).toEqual(rows);
  expect(await rowsOf(ds, { fields: ["n", "s"], where: { n: { gte: 10 } } })).toEqual(
    rows.filter(({ n }) => n >= 10),
  );
  expect(await ds.tombstoneSet()).toEqual(world.deleted);
  const query = randomVector(world.random, DIM);
  const distance = (anchor: bigint): number => {
    const vector = world.vectors.get(anchor) as Float32Array;
    return vector.reduce((sum, value, i) => sum + (value - (query[i] as number)) ** 2, 0);
  };
  const nearest = rows
    .map(({ _anchor }) => distance(_anchor))
    .sort((a, b) => a - b)
    .slice(0, 5);
  const [found] = await ds.iterVector({
    field: "v",
    query,
    topK: 5,
    nprobe: 1000,
    epsilon: 100,
    rerankFactor: 100,
  });
  expect((found?._time_anchors ?? []).map(distance)).toEqual(nearest);
  const [hashed] = await ds.iterVector({ field: "h", query, topK: 5 });
  expect(hashed?._time_anchors.length ?? 0).toBe(Math.min(5, rows.length));
  for (const anchor of hashed?._time_anchors ?? []) expect(world.deleted.has(anchor)).toBe(false);
  world.states.set(ds.currentManifest(), [...world.rows.values()]);
}

test("every state is the model's", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
      const clock = testClock();
      const store = memoryStore();
      const ds = await Dataset.create("main", schema, store, { clock: clock.read, origin: clock.now });
      const world: World = {
        ...{ store, ds, origin: clock.now, vectors: new Map(), rows: new Map(), deleted: new Set() },
        ...{ states: new Map([[ds.currentManifest(), []]]), random: seeded(7), counter: 0 },
      };
      for (const each of steps) {
        await take(world, each);
        await check(world);
      }
      expect(await fsck(store)).toMatchObject({ ok: true, problems: [] });
    }),
    { numRuns: 120 },
  );
}, 300_000);
