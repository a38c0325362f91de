/** What the explorer of interleavings is let loose on. */
import { Dataset } from "../../src/dataset/dataset.ts";
import { type ClientPlan, NOW, ORIGIN, recordsOf, rich, small } from "./client.ts";
import type { Scenario } from "./interleave.ts";
import { clientStore, randomBytes, World } from "./world.ts";

/** A backend with one dataset and some rows in it. */
export async function baseWorld(schema = small, appends: number[][] = [[0, 1]]): Promise<World> {
  const world = new World();
  const store = clientStore(async (call) => world.apply(call));
  const options = { random: randomBytes("base"), clock: () => NOW, kernels: "scalar" as const };
  const dataset = await Dataset.create("main", schema, store, { ...options, origin: ORIGIN });
  for (const rows of appends)
    await dataset.appendMany(recordsOf({ do: "append", rows }, schema) as never);
  await dataset.close();
  return world;
}

export const SCENARIOS: Record<string, (faults: number) => Promise<Scenario>> = {
  /** Two writers with one append each, which they see through. */
  "2": (faults) => writers(2, faults),
  "3": (faults) => writers(3, faults),
  "4": (faults) => writers(4, faults),

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
  "rebuild": async (faults) => ({
    name: "a rebuild, a compressor and an append",
    base: await baseWorld(rich, [[0, 1, 2], [3]]),
    clients: [
      { ops: [{ do: "rebuild" }], schema: rich },
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
