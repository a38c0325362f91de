// Random histories of one dataset against a plain list of records: what is visible always equals the model.
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import type { Store } from "../../src/store/store.ts";
import { scratchDirectories } from "../store/scratch.ts";
import { rowsOf, type TestClock, testClock } from "./records.ts";
import { refusal, storeKinds } from "./stores.ts";

const schema = new Schema()
  .addScalarInt("n")
  .addScalarString("note", { required: false })
  .addScalarCategorical("label");
const LABELS = ["a", "b", "c"];

type Row = { _anchor: bigint; n: number; label: string; note?: string };
type Rows = Map<bigint, Row>;

interface World {
  store: Store;
  clock: TestClock;
  origin: bigint;
  dataset: Dataset;
  rows: Rows;
  /** By label, and by Manifest address. */
  snapshots: Map<string, Rows>;
  states: Map<string, Rows>;
  lastAutomatic: bigint;
  counter: number;
}

type Step =
  | { do: "automatic"; count: number; ticks: number }
  | { do: "explicit"; ticks: number[] }
  | { do: "snapshot"; label: string }
  | { do: "reopen" }
  | { do: "second writer"; count: number }
  | { do: "look"; batchSize: number; from: number; to: number; fields: string[] };

const tick = fc.nat({ max: 60_000 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("automatic" as const),
      count: fc.integer({ min: 1, max: 6 }),
      ticks: fc.integer({ min: -20_000, max: 20_000 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("explicit" as const),
      ticks: fc.array(tick, { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("explicit" as const),
      ticks: fc
        .tuple(tick, fc.integer({ min: 1, max: 4 }))
        .map(([from, step]) => [0, 1, 2, 3].map((i) => from + 4096 * step * i)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("snapshot" as const), label: fc.constantFrom(...LABELS) }),
  },
  { weight: 1, arbitrary: fc.constant({ do: "reopen" as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("second writer" as const),
      count: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("look" as const),
      batchSize: fc.integer({ min: 1, max: 9 }),
      from: tick,
      to: tick,
      fields: fc.subarray(["n", "note", "label"]),
    }),
  },
);

async function newWorld(store: Store): Promise<World> {
  const clock = testClock();
  const dataset = await Dataset.create("main", schema, store, {
    clock: clock.read,
    origin: clock.now,
  });
  const states = new Map([[dataset.currentManifest(), new Map() as Rows]]);
  const rows: Rows = new Map();
  return {
    store,
    clock,
    origin: clock.now,
    dataset,
    rows,
    snapshots: new Map(),
    states,
    lastAutomatic: -1n,
    counter: 0,
  };
}

function newRecord(world: World): Omit<Row, "_anchor"> {
  const n = world.counter++;
  return { n, label: `label ${n % 5}`, ...(n % 3 === 0 ? { note: `note ${n}` } : {}) };
}

async function take(world: World, step: Step): Promise<void> {
  const { store, clock, origin, dataset } = world;
  switch (step.do) {
    case "automatic": {
      clock.now += BigInt(step.ticks);
      if (clock.now < origin) clock.now = origin;
      const records = Array.from({ length: step.count }, () => newRecord(world));
      note(world, await dataset.appendMany(records), records);
      return;
    }
    case "explicit": {
      const anchors = step.ticks.map((ticks) => origin + BigInt(ticks));
      const records = anchors.map((_anchor) => ({ _anchor, ...newRecord(world) }));
      const isTaken =
        new Set(anchors).size < anchors.length || anchors.some((anchor) => world.rows.has(anchor));
      if (isTaken) {
        expect((await refusal(() => dataset.appendMany(records))).code).toBe("DuplicateAnchor");
        return;
      }
      expect((await dataset.appendMany(records)).anchors).toEqual(anchors);
      world.rows = new Map([
        ...world.rows,
        ...records.map((record): [bigint, Row] => [record._anchor, record]),
      ]);
      world.states.set(dataset.currentManifest(), world.rows);
      return;
    }
    case "snapshot":
      if (world.snapshots.has(step.label)) {
        expect((await refusal(() => dataset.snapshot(step.label))).code).toBe("AlreadyExists");
        return;
      }
      expect((await dataset.snapshot(step.label)).manifest).toBe(dataset.currentManifest());
      world.snapshots.set(step.label, world.rows);
      return;
    case "reopen":
      world.dataset = await Dataset.open("main", { backend: store, clock: clock.read });
      return;
    case "second writer": {
      const other = await Dataset.open("main", { backend: store, clock: clock.read });
      const records = Array.from({ length: step.count }, () => newRecord(world));
      note(world, await other.appendMany(records), records);
      if (step.count === 1) await dataset.refresh();
      if (step.count === 2) world.dataset = other;
      if (step.count === 3) {
        // The first writer does not know of the second, and has to rebase.
        const late = [newRecord(world)];
        note(world, await dataset.appendMany(late), late);
      }
      return;
    }
    case "look":
      return look(world, step);
  }
}

/** Enters records with automatic anchors: free, rising, not before now, and of lane 0. */
function note(
  world: World,
  result: { anchors: bigint[]; manifest: string },
  records: Omit<Row, "_anchor">[],
): void {
  let last = world.lastAutomatic;
  for (const anchor of result.anchors) {
    expect(anchor > last && anchor >= world.clock.now && (anchor - world.origin) % 4096n === 0n).toBe(true);
    expect(world.rows.has(anchor)).toBe(false);
    last = anchor;
  }
  world.lastAutomatic = last;
  world.rows = new Map([
    ...world.rows,
    ...records.map((record, i): [bigint, Row] => [
      result.anchors[i]!,
      { _anchor: result.anchors[i]!, ...record },
    ]),
  ]);
  world.states.set(result.manifest, world.rows);
}

function inOrder(rows: Rows): Row[] {
  return [...rows.values()].sort((a, b) => (a._anchor < b._anchor ? -1 : 1));
}

async function look(world: World, step: Extract<Step, { do: "look" }>): Promise<void> {
  const { dataset, origin, rows } = world;
  const range = {
    from: origin + BigInt(Math.min(step.from, step.to)),
    to: origin + BigInt(Math.max(step.from, step.to)),
  };
  const wanted = inOrder(rows)
    .filter((row) => row._anchor >= range.from && row._anchor <= range.to)
    .map((row) =>
      Object.fromEntries(
        Object.entries(row).filter(([name]) => name === "_anchor" || step.fields.includes(name)),
      ),
    );
  expect(await rowsOf(dataset, { batchSize: step.batchSize, fields: step.fields, range })).toEqual(wanted);
  const anchor = origin + BigInt(step.from);
  expect(await dataset.get(anchor)).toEqual(rows.get(anchor));
  const [some] = rows.keys();
  if (some !== undefined) expect(await dataset.get(some)).toEqual(rows.get(some));
}

async function checkAll(world: World): Promise<void> {
  const { dataset, store } = world;
  expect(await rowsOf(dataset)).toEqual(inOrder(world.rows));
  expect(await dataset.count()).toBe(world.rows.size);
  for (const [label, rows] of world.snapshots) {
    expect(await rowsOf(await Dataset.openRef(label, store))).toEqual(inOrder(rows));
  }
  for (const [address, rows] of world.states) {
    const past = await Dataset.openAt(address, { backend: store });
    expect(await rowsOf(past)).toEqual(inOrder(rows));
  }
  const history = await dataset.history(1000);
  expect(new Set(history.map((entry) => entry.manifest))).toEqual(new Set(world.states.keys()));
  expect(history.map((entry) => entry.rows)).toEqual(
    history.map((entry) => world.states.get(entry.manifest)!.size),
  );
  expect(await fsck(store)).toMatchObject({ ok: true, refs: 1 + world.snapshots.size });
}

test.each(storeKinds(scratchDirectories()))(
  "%s: any history shows what the model shows",
  async (name, makeStore) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const world = await newWorld(makeStore());
        for (const one of steps) await take(world, one);
        await checkAll(world);
      }),
      { numRuns: name === "memory" ? 150 : 15 },
    );
  },
  // On a gateway; far more than it takes.
  300_000,
);
