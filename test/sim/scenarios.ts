/** What the explorer of interleavings is let loose on. */
import { addressOf, objectKey } from "../../src/core/address.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { decodeManifest, encodeManifest } from "../../src/objects/manifest.ts";
import { decodeRef, encodeRef } from "../../src/objects/ref.ts";
import { type ClientPlan, NOW, ORIGIN, recordsOf, rich, small } from "./client.ts";
import type { Scenario } from "./interleave.ts";
import { play } from "./schedule.ts";
import { clientStore, randomBytes, World } from "./world.ts";

/** A backend with one dataset and some rows in it. */
export async function baseWorld(schema = small, appends: number[][] = [[0, 1]]): Promise<World> {
  const world = new World();
  const store = clientStore(async (call) => world.apply(call));
  const options = { random: randomBytes("base"), clock: () => NOW, kernels: "scalar" as const };
  const dataset = await Dataset.create("main", schema, store, { ...options, origin: ORIGIN });
  for (const rows of appends) await dataset.appendMany(recordsOf({ do: "append", rows }, schema) as never);
  await dataset.close();
  return world;
}

export const SCENARIOS: Record<string, (faults: number) => Promise<Scenario>> = {
  /** Two writers with one append each, which they see through. */
  "2": (faults) => writers(2, faults),
  "3": (faults) => writers(3, faults),
  "4": (faults) => writers(4, faults),

  /** Looking for the own operation below another's may fail as well. */
  "2 reading": async (faults) => ({
    ...(await writers(2, faults)),
    name: "2 writers, reads fail too",
    readsAreSteps: true,
  }),

  /** Two appends of each, the second on top of what the first left. */
  "2 twice": async (faults) => ({
    name: "2 writers, 2 appends each",
    base: await baseWorld(),
    clients: [
      { ops: [append(10), append(11)], patience: 1 },
      { ops: [append(20), append(21)], patience: 1, skewYears: [-10, 10] },
    ],
    faults,
  }),

  /** Both want the same anchor: one gets it, the other is told so. */
  "one anchor": async (faults) => ({
    name: "2 writers, one anchor",
    base: await baseWorld(),
    clients: [
      { ops: [{ do: "append", rows: [10, 11], at: 5 }] },
      { ops: [{ do: "append", rows: [20], at: 12 }], reopens: true },
    ],
    faults,
  }),

  /** Another finds the new dataset and appends to it before its maker has the reply. */
  "new dataset": async (faults) => ({
    name: "a creation, and a writer who comes at once",
    base: await baseWorld(),
    clients: [
      { ops: [{ do: "create", name: "second" }] },
      { ops: [append(20)], branch: "second", patience: 1 },
      { ops: [{ do: "create", name: "second" }] },
    ],
    faults,
  }),

  "one label": async (faults) => ({
    name: "snapshots and creations of one name, beside a writer",
    base: await baseWorld(),
    clients: [
      { ops: [{ do: "snapshot", label: "v1" }] },
      { ops: [{ do: "snapshot", label: "v1" }, append(20)] },
      { ops: [{ do: "create", name: "v1" }] },
    ],
    faults,
  }),

  /** An index is built while rows come in. */
  rebuild: async (faults) => ({
    name: "a rebuild, a compressor and an append",
    base: await baseWorld(rich, [[0, 1, 2], [3]]),
    clients: [
      { ops: [{ do: "rebuild" }], schema: rich },
      { ops: [append(10)], schema: rich },
      { ops: [{ do: "compress" }], schema: rich },
    ],
    faults,
  }),

  /** Cells are split while rows come in. */
  step: async (faults) => ({
    name: "a step, a compressor and an append",
    base: await builtWorld(["rebuild"]),
    clients: [
      { ops: [{ do: "step" }], schema: rich },
      { ops: [append(10)], schema: rich },
      { ops: [{ do: "compress" }], schema: rich },
    ],
    faults,
  }),
};

async function writers(count: number, faults: number): Promise<Scenario> {
  const skews = [0, -10, 10, 3];
  const clients = Array.from(
    { length: count },
    (_, i): ClientPlan => ({
      ops: [append(10 * (i + 1), 10 * (i + 1) + 1)],
      reopens: i % 2 === 1,
      skewYears: [skews[i] as number, -(skews[i] as number)],
      patience: count > 2 ? 1 : 2,
      retries: count,
    }),
  );
  return { name: `${count} writers`, base: await baseWorld(), clients, faults };
}

function append(...rows: number[]): ClientPlan["ops"][number] {
  return { do: "append", rows };
}

/** Every verb that writes, and the reads, each on a backend where it has something to do. */
export const VERBS: Record<string, () => Promise<{ base: World; plan: ClientPlan }>> = {
  create: async () => ({
    base: await baseWorld(),
    plan: { ops: [{ do: "create", name: "second" }], schema: rich },
  }),
  append: async () => ({ base: await baseWorld(rich), plan: { ops: [append(10)], schema: rich } }),
  appendMany: async () => ({
    base: await baseWorld(rich),
    plan: { ops: [append(...Array.from({ length: 40 }, (_, i) => 10 + i))], schema: rich },
  }),
  "appendMany with anchors": async () => ({
    base: await baseWorld(rich),
    plan: { ops: [{ do: "append", rows: [10, 11, 12], at: 50_000 }], schema: rich },
  }),
  "append that closes pages": async () => ({
    base: await withoutHistory(
      await baseWorld(
        small,
        Array.from({ length: 63 }, (_, i) => [i]),
      ),
    ),
    plan: { ops: [append(100)] },
  }),
  "append to built indexes": async () => ({
    base: await builtWorld(["rebuild", "compress", "graph"]),
    plan: { ops: [append(10, 11)], schema: rich },
  }),
  snapshot: async () => ({ base: await baseWorld(), plan: { ops: [{ do: "snapshot", label: "v1" }] } }),
  rebuildIvf: async () => ({
    base: await baseWorld(rich, [[0, 1, 2], [3]]),
    plan: { ops: [{ do: "rebuild" }], schema: rich },
  }),
  publishCompressor: async () => ({
    base: await baseWorld(rich, [[0, 1, 2], [3]]),
    plan: { ops: [{ do: "compress" }], schema: rich },
  }),
  "publishCompressor on built cells": async () => ({
    base: await builtWorld(["rebuild"]),
    plan: { ops: [{ do: "compress" }], schema: rich },
  }),
  adaIvfStep: async () => ({
    base: await builtWorld(["rebuild", "compress"]),
    plan: { ops: [{ do: "step" }], schema: rich },
  }),
  "append and searches after a step": async () => ({
    base: await builtWorld(["rebuild", "step"]),
    plan: { ops: [append(10, 11), { do: "search" }], schema: rich },
  }),
  buildGraph: async () => ({
    base: await baseWorld(rich, [[0, 1, 2, 4, 5], [3]]),
    plan: { ops: [{ do: "graph" }], schema: rich },
  }),
  reads: async () => ({
    base: await builtWorld(["rebuild", "compress", "graph"]),
    plan: {
      ops: [{ do: "read" }, { do: "search" }, { do: "refs" }, { do: "history" }],
      schema: rich,
    },
  }),
};

export async function builtWorld(verbs: ("rebuild" | "compress" | "step" | "graph")[]): Promise<World> {
  const base = await baseWorld(rich, [[0, 1, 2, 4, 5], [3]]);
  const ops = verbs.map((verb) => ({ do: verb }));
  const schedule = await play(base, [{ ops, schema: rich, random: randomBytes("builder") }], () => ({
    pick: 0,
    end: "ok",
  }));
  return schedule.world;
}

/** Makes the current state the first there is, so that looking at it a hundred times is quick. */
async function withoutHistory(world: World): Promise<World> {
  const { inline, ...ref } = decodeRef((world.values.get("refs/main") as { bytes: Uint8Array }).bytes);
  const bytes = encodeManifest({ ...decodeManifest(inline as Uint8Array), parents: [], seq: 0 });
  const manifest = addressOf(bytes);
  world.apply({ verb: "put", key: objectKey(manifest), bytes });
  world.apply({
    verb: "put",
    key: "refs/main",
    bytes: encodeRef({ ...ref, seq: 0, manifest, inline: bytes }),
  });
  const reached = new Set<string>();
  const store = clientStore(async (call) => {
    reached.add(call.key);
    return world.apply(call);
  });
  await fsck(store);
  for (const key of [...world.values.keys()]) if (!reached.has(key)) world.apply({ verb: "delete", key });
  return new World(world);
}
