/** What the explorer of collections is let loose on: a collector beside one who writes, branches, merges, deletes or reads. */
import { addressDigest, objectKey } from "../../src/core/address.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { gc } from "../../src/dataset/gc.ts";
import { deleteRef } from "../../src/dataset/later.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { isDreamDBError } from "../../src/errors.ts";
import { decodeAddressList, hasDigest } from "../../src/objects/address-list.ts";
import { decodeGcState, encodeGcState, GC_KEY } from "../../src/objects/gc-state.ts";
import { decodeRef, isLive } from "../../src/objects/ref.ts";
import type { Store } from "../../src/store/store.ts";
import { NOW, ORIGIN, readRows } from "./client.ts";
import { type Actor, type CollectScenario, codeOf, type Told } from "./collect.ts";
import { clientStore, directStore, isRef, randomBytes, World } from "./world.ts";

const HOUR_MS = 3_600_000;
const HOUR = 3_600_000_000_000n;
const numbers = new Schema().addScalarInt("n");

function optionsOf(name: string) {
  return {
    writer: name,
    random: randomBytes(name),
    sleep: async () => {},
    clock: () => NOW,
    retries: 4,
    kernels: "scalar" as const,
    cacheBytes: 0,
  };
}

interface Making {
  /** Whether the branch `side` is there still. */
  hasSide?: boolean;
  /** Appends to main, one row each. */
  rows?: number[];
  hasDeletions?: boolean;
}

/**
 * main with a few rows; and a branch `side` with the row 7, which the writers of the scenarios write again: its column is the same
 * object.
 */
async function baseWorld({ hasSide = false, rows = [0], hasDeletions = false }: Making = {}): Promise<World> {
  const world = new World();
  const store = directStore(world);
  const main = await Dataset.create("main", numbers, store, { ...optionsOf("base"), origin: ORIGIN });
  const [first, ...others] = rows;
  await main.appendMany([{ n: first as number }]);
  const side = await main.branch("side");
  await side.appendMany([{ n: 7 }]);
  if (!hasSide) await deleteRef(store, "side");
  for (const n of others) await main.appendMany([{ n }]);
  if (hasDeletions) {
    const [anchor] = (await main.appendMany([{ n: 90 }])).anchors;
    await main.delete([anchor as bigint], { reason: "before" });
  }
  await main.close();
  return world;
}

interface Collecting {
  hours?: number[];
  keepManifests?: number;
  /** A ref to delete first. */
  deletes?: string;
  readsAreSteps?: boolean;
}

function collector(
  name: string,
  { hours = [0, 2], keepManifests, deletes, readsAreSteps = false }: Collecting = {},
): Actor {
  return {
    name,
    readsAreSteps,
    async run(store, told) {
      if (deletes !== undefined) await tell(told, "delete ref", () => deleteRef(store, deletes));
      const random = randomBytes(name);
      for (const at of hours) {
        await tell(told, `gc ${at}`, async () => {
          const { deleted } = await gc(store, {
            ageMs: HOUR_MS,
            ...(keepManifests === undefined ? {} : { keepManifests }),
            clock: () => NOW + BigInt(at) * HOUR,
            random,
            sleep: async () => {},
            retries: 4,
          });
          return `deleted ${deleted}`;
        });
      }
    },
  };
}

async function tell(told: Told, what: string, work: () => Promise<unknown>): Promise<boolean> {
  try {
    const found = await work();
    told.push(typeof found === "string" ? `${what}: ${found}` : `${what}: done`);
    return true;
  } catch (error) {
    told.push(`${what}: ${codeOf(error)}`);
    return false;
  }
}

function writer(name: string, ...rows: number[]): Actor {
  return {
    name,
    async run(store, told) {
      let ds: Dataset | undefined;
      if (!(await tell(told, "open", async () => (ds = await Dataset.open("main", store, optionsOf(name))))))
        return;
      for (const n of rows) await tell(told, `append ${n}`, () => (ds as Dataset).appendMany([{ n }]));
    },
  };
}

/** Whoever has opened `side`, and then makes it reachable in another way. */
function maker(name: string, at: string, what: "branch" | "snapshot" | "pin" | "openAt"): Actor {
  return {
    name,
    readsAreSteps: true,
    async run(store, told) {
      let ds: Dataset | undefined;
      const open = async (): Promise<unknown> => {
        ds = await (at.length > 40 ? Dataset.openAt : Dataset.open)(at, store, optionsOf(name));
        return ds;
      };
      if (!(await tell(told, "open", open))) return;
      const opened = ds as unknown as Dataset;
      if (what === "branch") await tell(told, "branch copy", () => opened.branch("copy"));
      if (what === "snapshot") await tell(told, "snapshot copy", () => opened.snapshot("copy"));
      if (what === "pin" && !(await tell(told, "pin", () => opened.pin(100 * HOUR_MS)))) return;
      const read = async (): Promise<string> => (await readRows(opened)).map(([, n]) => n).join();
      if (what === "pin" || what === "openAt") await tell(told, "read", read);
    },
  };
}

/** @param source the branch that has the row 7, or the address of its state. @param beside what the same object does at the same time */
function merger(name: string, source = "side", beside?: (ds: Dataset) => Promise<unknown>): Actor {
  return {
    name,
    readsAreSteps: true,
    async run(store, told) {
      let ds: Dataset | undefined;
      if (!(await tell(told, "open", async () => (ds = await Dataset.open("main", store, optionsOf(name))))))
        return;
      const opened = ds as unknown as Dataset;
      const merging = tell(told, "merge side", () => opened.merge(source));
      if (beside !== undefined) await tell(told, "beside", () => beside(opened));
      await merging;
    },
  };
}

function deleter(name: string): Actor {
  return {
    name,
    async run(store, told) {
      let ds: Dataset | undefined;
      if (!(await tell(told, "open", async () => (ds = await Dataset.open("main", store, optionsOf(name))))))
        return;
      await tell(told, "delete", async () => {
        await (ds as Dataset).delete({ where: { n: 0 } }, { reason: "asked for" });
      });
    },
  };
}

function creator(name: string): Actor {
  return {
    name,
    async run(store, told) {
      await tell(told, "create second", () =>
        Dataset.create("second", numbers, store, { ...optionsOf(name), origin: ORIGIN }),
      );
    },
  };
}

/** What every ref that is there leads to is there as well. */
function checker(): (world: World) => Promise<string[]> {
  const known = new Map<string, string[]>();
  return async (world) => {
    const found: string[] = [];
    const meta = world.values.get(GC_KEY);
    const pruned =
      meta === undefined
        ? ""
        : decodeGcState(meta.bytes)
            .pruned.map((ref) => ref?.address)
            .join();
    for (const [key, { bytes }] of world.values) {
      const isRegistry = key.endsWith("/registry");
      if (!isRef(key) && !isRegistry) continue;
      if (isRef(key) && !isLive(decodeRef(bytes))) continue;
      const name = isRef(key)
        ? `${decodeRef(bytes).manifest} ${pruned}`
        : `${key} ${world.values.get(key)?.etag}`;
      const needs = known.get(name) ?? (await needsOf(world, key, found));
      if (found.length > 0) return found;
      known.set(name, needs);
      const missing = needs.find((each) => !world.values.has(each));
      if (missing !== undefined) return [`${key} leads to ${missing}, which is not there`];
    }
    return found;
  };
}

/** Objects that a check of one root asks for. */
async function needsOf(world: World, root: string, found: string[]): Promise<string[]> {
  const view = new World(world);
  for (const key of [...view.values.keys()])
    if (key !== root && key !== GC_KEY && !key.startsWith("objects/")) view.values.delete(key);
  const needs = new Set<string>();
  const store = clientStore(async (call) => {
    if (call.verb === "get" && call.key.startsWith("objects/")) needs.add(call.key);
    return view.apply(call);
  });
  // The lists of the round under way belong to the cell, not to this root.
  const state = view.values.get(GC_KEY);
  if (state !== undefined) {
    const { round: _round, ...rest } = decodeGcState(state.bytes);
    view.apply({ verb: "put", key: GC_KEY, bytes: encodeGcState(rest) });
  }
  const { problems } = await fsck(store);
  for (const { code, key } of problems) found.push(`${root}: ${code} ${key}`);
  return [...needs];
}

/** When all is over: what was acknowledged is there, and a later collector brings the backend in order. */
async function inOrder(world: World, told: readonly Told[], isMerging: boolean): Promise<string[]> {
  const found: string[] = [];
  const store = directStore(world);
  const rows = await rowsOf(store, "main");
  for (const line of told.flat()) {
    const [, n, how] = /^append (\d+): (.*)$/.exec(line) ?? [];
    if (n === undefined) continue;
    const times = rows.filter((each) => each === Number(n)).length;
    // The merge brings one more 7.
    const most = n === "7" && isMerging ? 2 : 1;
    if (how === "done" && (times < 1 || times > most))
      found.push(`the record ${n} was acknowledged and is there ${times} times`);
    if (how?.endsWith(" no") && times > most - 1) found.push(`the record ${n} was refused and is there`);
  }
  const all = told.flat();
  if (
    all.some((line) => /^(branch|snapshot) copy: done$/.test(line)) &&
    (await rowsOf(store, "copy")).length === 0
  )
    found.push("the copy is not there");
  if (all.includes("merge side: done") && !rows.includes(7)) found.push("what was merged is not there");
  if (all.includes("delete: done") && rows.includes(0)) found.push("what was deleted is there");
  if (all.includes("create second: done")) await Dataset.open("second", store, optionsOf("late"));
  const reads = all.filter((line) => line.startsWith("read: "));
  for (const line of reads)
    if (!/^read: (0|0,7|7|0,7,1\d\d,11\d\d|NotFound|StoreUnavailable)$/.test(line))
      found.push(`wrong data: ${line}`);
  if (all.some((line) => /^gc \d+: (NotFound|Corrupt|HashMismatch)/.test(line)))
    found.push("a collection ended because of what it could not read");
  if (all.includes("pin: done") && reads.some((line) => line.includes("NotFound")))
    found.push("a pinned state was collected");
  for (const hours of [10, 12, 14, 16]) {
    await gc(store, {
      ageMs: HOUR_MS,
      clock: () => NOW + BigInt(hours) * HOUR,
      random: randomBytes(`late ${hours}`),
      sleep: async () => {},
    });
  }
  const { problems, unreachable } = await fsck(store);
  for (const { code, key } of problems) found.push(`afterwards, ${code} ${key}`);
  if (unreachable > 0) found.push(`${unreachable} objects are left that nothing reaches`);
  const ds = await Dataset.open("main", store, optionsOf("late"));
  await ds.appendMany([{ n: 99 }]);
  if (!(await rowsOf(store, "main")).includes(99)) found.push("nothing can be appended afterwards");
  return found;
}

async function rowsOf(store: Store, name: string): Promise<number[]> {
  try {
    const ds = await Dataset.open(name, store, optionsOf("reader"));
    return (await readRows(ds)).map(([, n]) => n);
  } catch (error) {
    if (isDreamDBError(error, "NotFound") && name !== "main") return [];
    throw error;
  }
}

function scenario(name: string, base: World, actors: Actor[], faults: number): CollectScenario {
  return {
    name,
    base,
    actors,
    faults,
    check: checker(),
    end: (world, told) =>
      inOrder(
        world,
        told,
        actors.some((actor) => actor.name === "m"),
      ).catch(unusable),
  };
}

function unusable(error: unknown): string[] {
  return [`can't be used afterwards: ${error instanceof Error ? error.message : String(error)}`];
}

/** Those who make the state of `side` reachable in another way. */
const MAKERS: Record<string, (name: string) => Actor> = {
  merge: merger,
  branch: (name) => maker(name, "side", "branch"),
  snapshot: (name) => maker(name, "side", "snapshot"),
  pin: (name) => maker(name, "side", "pin"),
};

export const COLLECT: Record<string, (faults: number) => Promise<CollectScenario>> = {
  writer: async (faults) =>
    scenario(
      "a writer who stores what is garbage again",
      await baseWorld(),
      [collector("gc"), writer("w", 7)],
      faults,
    ),
  "writer twice": async (faults) =>
    scenario("a writer with two appends", await baseWorld(), [collector("gc"), writer("w", 8, 7)], faults),
  branch: async (faults) =>
    scenario(
      "a branch of a state whose ref is deleted",
      await baseWorld({ hasSide: true }),
      [collector("gc", { deletes: "side" }), maker("b", "side", "branch")],
      faults,
    ),
  snapshot: async (faults) =>
    scenario(
      "a snapshot of a state whose ref is deleted",
      await baseWorld({ hasSide: true }),
      [collector("gc", { deletes: "side" }), maker("s", "side", "snapshot")],
      faults,
    ),
  merge: async (faults) =>
    scenario(
      "a merge of a branch that is deleted",
      await baseWorld({ hasSide: true, rows: [0, 1] }),
      [collector("gc", { deletes: "side" }), merger("m")],
      faults,
    ),
  "fast-forward": async (faults) =>
    scenario(
      "a fast-forward to a branch that is deleted",
      await baseWorld({ hasSide: true }),
      [collector("gc", { deletes: "side" }), merger("m")],
      faults,
    ),
  "merge by address": async (faults) => {
    const { world, side } = await withOrphan();
    return scenario(
      "a merge of a state that is condemned, by its address",
      world,
      [collector("gc", { hours: [2] }), merger("m", side)],
      faults,
    );
  },
  "merge beside a pin": async (faults) =>
    scenario(
      "a merge of a branch that is deleted, beside a pin by the same object",
      await listedInParts(),
      [collector("gc", { hours: [2], deletes: "side" }), merger("m", "side", (ds) => ds.pin(HOUR_MS))],
      faults,
    ),
  reader: async (faults) =>
    scenario(
      "a reader with a pin, of a state whose ref is deleted",
      await baseWorld({ hasSide: true }),
      [collector("gc", { deletes: "side" }), maker("r", "side", "pin")],
      faults,
    ),
  "past reader": async (faults) => {
    const { base, past } = await withPast();
    return scenario(
      "a reader of a state that is pruned",
      base,
      [collector("gc", { keepManifests: 1 }), maker("r", past, "openAt")],
      faults,
    );
  },
  prune: async (faults) => {
    const { base, past } = await withPast();
    return scenario(
      "a snapshot of a state that is pruned",
      base,
      [collector("gc", { keepManifests: 1 }), maker("s", past, "snapshot")],
      faults,
    );
  },
  delete: async (faults) =>
    scenario("a first deletion", await baseWorld(), [collector("gc"), deleter("d")], faults),
  "delete again": async (faults) =>
    scenario(
      "a later deletion",
      await baseWorld({ hasDeletions: true }),
      [collector("gc"), deleter("d")],
      faults,
    ),
  create: async (faults) =>
    scenario("a new dataset", await baseWorld(), [collector("gc"), creator("c")], faults),
  "two collectors": async (faults) =>
    scenario(
      "two collectors and a writer",
      await baseWorld(),
      [collector("gc"), collector("other", { hours: [2] }), writer("w", 7)],
      faults,
    ),
};

for (const [what, make] of Object.entries(MAKERS)) {
  // A collector may come upon a pin that nothing confirmed, of a state of which something is gone.
  const collecting = what === "pin" ? { hours: [2, 4], readsAreSteps: true } : { hours: [2] };
  COLLECT[`late ${what}`] = async (faults) =>
    scenario(
      `a ${what} of a state that is not listed, though its parent is, and whose ref is deleted`,
      await listedInParts(),
      [collector("gc", { ...collecting, deletes: "side" }), make(what === "merge" ? "m" : what)],
      faults,
    );
}

/** All of them at once, for random schedules. */
export async function manyCollecting(faults: number): Promise<CollectScenario> {
  const base = await baseWorld({ hasSide: true, rows: [0, 1], hasDeletions: true });
  const store = directStore(base);
  const main = await Dataset.open("main", store, optionsOf("more"));
  const gone = await main.branch("gone");
  for (const n of [8, 60, 61]) await gone.appendMany([{ n }]);
  await deleteRef(store, "gone");
  const actors = [
    collector("gc", { deletes: "side" }),
    { ...collector("other"), fails: false },
    writer("w", 7, 8),
    maker("b", "side", "branch"),
    maker("r", "side", "pin"),
    merger("m"),
    deleter("d"),
  ];
  return scenario("everybody at once", base, actors, faults);
}

/**
 * A round under way whose list has a state M of `side`, and not the state X after it: `objects/` was listed up to where M lies when
 * both were published, after the collector had read the refs.
 */
async function listedInParts(): Promise<World> {
  for (let n = 100; n < 200; n++) {
    const trial = await publishTwice(await baseWorld({ hasSide: true, rows: [0, 1] }), n);
    if (trial.x < trial.m) return condemnedBetween(n, trial);
  }
  throw new Error("no two states lie in this order");
}

/** A state that no ref leads to, which is condemned. */
async function withOrphan(): Promise<{ world: World; side: string }> {
  const world = await baseWorld({ hasSide: true });
  const store = directStore(world);
  const { manifest } = await deleteRef(store, "side");
  await gc(store, {
    ageMs: HOUR_MS,
    clock: () => NOW,
    random: randomBytes("first"),
    sleep: async () => {},
  });
  return { world, side: manifest };
}

async function publishTwice(world: World, n: number): Promise<{ m: string; x: string }> {
  const side = await Dataset.open("side", directStore(world), optionsOf("early"));
  await side.appendMany([{ n }]);
  const m = objectKey(side.currentManifest());
  await side.appendMany([{ n: n + 1000 }]);
  const x = objectKey(side.currentManifest());
  await side.close();
  return { m, x };
}

async function condemnedBetween(n: number, { m, x }: { m: string; x: string }): Promise<World> {
  const world = await baseWorld({ hasSide: true, rows: [0, 1] });
  const store = directStore(world);
  const inParts: Store = {
    ...store,
    async *list(prefix) {
      if (prefix !== "objects/") return yield* store.list(prefix);
      for (const each of world.keys(prefix, world.born.length)) if (each.key < m) yield each;
      await publishTwice(world, n);
      for (const each of world.keys(prefix, world.born.length)) if (each.key >= m) yield each;
    },
  };
  await gc(inParts, {
    ageMs: HOUR_MS,
    clock: () => NOW,
    random: randomBytes("first"),
    sleep: async () => {},
  });
  const { condemned } = decodeGcState((world.values.get(GC_KEY) as { bytes: Uint8Array }).bytes).round ?? {};
  const listed = await Promise.all(
    (condemned ?? []).map((ref) => world.values.get(objectKey(ref?.address as string))?.bytes),
  );
  const isListed = (key: string): boolean =>
    listed.some(
      (bytes) => bytes !== undefined && hasDigest(decodeAddressList(bytes), addressDigest(addressIn(key))),
    );
  if (!isListed(m) || isListed(x)) throw new Error("the list is not the one that was wanted");
  return world;
}

function addressIn(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}

/** main, compacted, so that the state before has a column of its own; and that state. */
async function withPast(): Promise<{ base: World; past: string }> {
  const base = await baseWorld({ rows: [0] });
  const store = directStore(base);
  const main = await Dataset.open("main", store, optionsOf("past"));
  const past = main.currentManifest();
  await main.appendMany([{ n: 1 }]);
  await main.compact();
  await main.close();
  if (!base.values.has(objectKey(past))) throw new Error("the past state is not there");
  return { base, past };
}
