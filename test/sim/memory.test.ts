// The compute core's memory is refused at every place: a typed error, nothing half committed, nothing leaked, and all works on.
import { afterEach, expect, jest, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { DreamDBError, isDreamDBError } from "../../src/errors.ts";
import type { Kernels } from "../../src/kernels/kernels.ts";
import { loadKernels } from "../../src/kernels/load.ts";
import { A_STEP, recordsOf, rich, searchRows } from "./client.ts";
import { Inspector } from "./inspect.ts";
import { builtWorld } from "./scenarios.ts";
import { directStore, World } from "./world.ts";

// Far more than it takes: other work on the machine must not fail it.
jest.setTimeout(300_000);

const VERBS: Record<
  string,
  { base: ("rebuild" | "compress" | "step" | "graph")[]; run: (dataset: Dataset) => Promise<unknown> }
> = {
  append: {
    base: ["rebuild", "compress"],
    run: (dataset) => dataset.appendMany(recordsOf({ do: "append", rows: [10, 11] }, rich) as never),
  },
  rebuildIvf: { base: [], run: (dataset) => dataset.rebuildIvf({ field: "cells", k: 2, iterations: 1 }) },
  publishCompressor: {
    base: ["rebuild"],
    run: (dataset) => dataset.publishCompressor({ field: "cells", bits: 2 }),
  },
  adaIvfStep: { base: ["rebuild", "compress"], run: (dataset) => dataset.adaIvfStep(A_STEP) },
  "status of cells": {
    base: ["rebuild", "step"],
    run: (dataset) => dataset.adaIvfStatus({ field: "cells", scan: true }),
  },
  buildGraph: {
    base: [],
    run: (dataset) => dataset.buildGraph({ field: "graph", degree: 4, candidates: 8 }),
  },
  "search of hashes": { base: [], run: (dataset) => searchRows(dataset, "v") },
  "search of cells": { base: ["rebuild", "compress"], run: (dataset) => searchRows(dataset, "cells") },
  "search of a graph": { base: ["graph"], run: (dataset) => searchRows(dataset, "graph") },
};

let restore = (): void => {};
afterEach(() => restore());

/** Lets the block of number `at` from here on be refused, and counts. */
function refusing(kernels: Kernels): { arm(at: number): void; asked(): number } {
  const { alloc } = kernels;
  let asked = 0;
  let refused = Number.POSITIVE_INFINITY;
  kernels.alloc = (bytes) => {
    if (asked++ === refused)
      throw new DreamDBError("OutOfMemory", "refused", { field: "bytes", found: bytes });
    return alloc.call(kernels, bytes);
  };
  restore = () => {
    kernels.alloc = alloc;
  };
  return {
    arm(at) {
      asked = 0;
      refused = at;
    },
    asked: () => asked,
  };
}

test.each(Object.entries(VERBS))("%s: every block refused in turn", async (_name, { base, run }) => {
  const original = await builtWorld(base);
  const kernels = await loadKernels("scalar");
  const refuser = refusing(kernels);
  let k = 0;
  for (let isRefused = true; isRefused; k++) {
    const world = new World(original);
    const live = kernels.live();
    refuser.arm(Number.POSITIVE_INFINITY);
    const dataset = (await Dataset.open("main", directStore(world), { kernels: "scalar" })) as Dataset;
    const before = world.values.get("refs/main")!.etag;
    refuser.arm(k);
    const error = await run(dataset).catch((caught: unknown) => caught);
    isRefused = refuser.asked() > k;
    refuser.arm(Number.POSITIVE_INFINITY);
    if (error instanceof Error) {
      expect(isDreamDBError(error, "OutOfMemory")).toBe(true);
      expect(world.values.get("refs/main")!.etag).toBe(before);
      if (!/^(search|status) /.test(_name)) expect((error as DreamDBError).committed).toBe("no");
      await run(dataset);
    }
    const { faults } = await new Inspector(world).branch(world.values.get("refs/main")!.bytes);
    expect({ k, faults }).toEqual({ k, faults: [] });
    await dataset.close();
    expect({ k, live: kernels.live() }).toEqual({ k, live });
  }
  expect(k).toBeGreaterThan(2);
});

test("every growth of the memory refused in turn", async () => {
  const schema = new Schema()
    .addScalarInt("n")
    .addEmbedding("v", { dim: 64, algorithm: "dreamdb.ivf-cosine" });
  const world = new World();
  const records = Array.from({ length: 2000 }, (_, n) => ({
    n,
    v: Float32Array.from({ length: 64 }, (_, i) => Math.sin(n * 64 + i)),
  }));
  await (await Dataset.create("main", schema, directStore(world))).appendMany(records);
  const query = { field: "v", query: Array<number>(64).fill(1), topK: 3 };
  let refused = 0;
  let last = "";
  for (let pages = 16; pages <= 64; pages++) {
    const view = new World(world);
    const dataset = (await Dataset.open("main", directStore(view), {
      coreBytes: pages * 65_536,
      residentBytes: 65_536,
    })) as Dataset;
    const error = await dataset
      .rebuildIvf({ field: "v", k: 8, iterations: 1 })
      .catch((caught: unknown) => caught);
    last = isDreamDBError(error) ? error.code : "done";
    if (isDreamDBError(error)) {
      refused++;
      expect(error).toMatchObject({ code: "OutOfMemory", committed: "no" });
      expect(view.values.get("refs/main")!.etag).toBe(world.values.get("refs/main")!.etag);
      expect((await dataset.iterVector(query))[0]?._time_anchors).toHaveLength(3);
      await dataset.appendMany([{ n: 1, v: Array<number>(64).fill(1) }]);
      expect(await dataset.count()).toBe(2001);
    }
    await dataset.close();
    if (last === "done") break;
  }
  expect(refused).toBeGreaterThan(3);
  expect(last).toBe("done");
});
