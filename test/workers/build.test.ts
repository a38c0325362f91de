import { describe, expect, test } from "@jest/globals";
import type { DatasetOptions } from "../../src/dataset/context.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import type { RebuildProgress } from "../../src/dataset/rebuild.ts";
import { type EmbeddingOptions, Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { randomVector, seeded, testClock } from "../dataset/records.ts";
import { contents, copyOf, refusal, watchedStore } from "../dataset/stores.ts";
import { watchThreads } from "./threads.ts";

const watched = watchThreads();
const DIM = 20;

/** A store with records that come in no order of time, some without a vector. */
async function filled(options: Partial<EmbeddingOptions> = {}, rows = 1500, dim = DIM): Promise<Store> {
  const store = memoryStore();
  const random = seeded(3);
  const schema = new Schema().addEmbedding("v", { dim, required: false, ...options }).addScalarInt("n");
  const ds = await Dataset.create("d", schema, store, fixed());
  for (const part of [2, 0, 1]) {
    const records = Array.from({ length: rows / 3 }, (_, i) => ({
      ...(i % 17 === 5 ? {} : { v: randomVector(random, dim) }),
      n: i,
      _anchor: BigInt(part + 3 * i),
    }));
    await ds.appendMany(records);
  }
  await ds.close();
  return store;
}

/** The same clock and random bytes in every run. */
function fixed(): DatasetOptions {
  let next = 1;
  return {
    clock: testClock().read,
    random: (count) => Uint8Array.from({ length: count }, () => next++ & 255),
  };
}

async function open(store: Store, workers: number): Promise<Dataset> {
  return Dataset.open("d", store, { ...fixed(), workers });
}

describe.each([
  ["cosine, 4-bit codes and vectors", {}],
  [
    "dot, 1-bit codes",
    { algorithm: "dreamdb.ivf-dot", compressor: { algorithm: "rabitq", bits: 1 }, rerank: false },
  ],
  ["l2, no codes", { algorithm: "dreamdb.ivf-l2", compressor: "none" }],
  ["pairs of centroids", { algorithm: "dreamdb.imi-cosine" }],
  ["l2, PQ codes", { algorithm: "dreamdb.ivf-l2", compressor: { algorithm: "pq", subspaces: 7 } }],
  [
    "pairs of centroids, PQ codes of 4 bits",
    { algorithm: "dreamdb.imi-cosine", compressor: { algorithm: "pq", subspaces: 9, bits: 4 } },
  ],
] as const)("%s", (_, options) => {
  test("any number of workers builds the same bytes", async () => {
    const store = await filled(options);
    const built = [];
    for (const workers of [0, 1, 2, 3]) {
      const copy = await copyOf(store);
      const ds = await open(copy, workers);
      const first = await ds.rebuildIvf({ field: "v", k: 40, memoryBytes: 60_000 });
      const second = await ds.rebuildIvf({ field: "v", k: 7, sample: 99, iterations: 3, seed: 9 });
      const coded = await ds.publishCompressor({ field: "v", bits: 3 });
      expect(watched.threads).toHaveLength(workers);
      await ds.close();
      // Objects by address and the ref, without its tag.
      const all = (await contents(copy)).map((line) => line.replace(/ \S+$/, ""));
      built.push({ first, second, coded, all });
      watched.threads = [];
    }
    for (const each of built.slice(1)) expect(each).toEqual(built[0]);
    expect(watched.asked).toEqual(expect.arrayContaining(["assignShare", "derive", "seal", "releaseShare"]));
  });
});

test("wide vectors and more cells than a worker has rows", async () => {
  const store = await filled({}, 300, 257);
  const built = [];
  for (const workers of [0, 5]) {
    const ds = await open(await copyOf(store), workers);
    built.push(await ds.rebuildIvf({ field: "v", k: 250, iterations: 4 }));
    await ds.close();
  }
  expect(built[1]).toEqual(built[0]);
});

test("records that are appended meanwhile are taken along", async () => {
  const built = [];
  const store = await filled();
  for (const workers of [0, 2]) {
    const copy = await copyOf(store);
    let appended: Promise<unknown> | undefined;
    // The build is published once they are in, however long that takes.
    const waiting = watchedStore(copy, async ({ verb, key }, run) => {
      if (verb === "put" && key === "refs/d") await appended;
      return run();
    });
    const ds = await open(waiting, workers);
    const other = await Dataset.open("d", copy, fixed());
    const result = await ds.rebuildIvf({
      field: "v",
      k: 12,
      onProgress: ({ stage }) => {
        if (stage === "train")
          appended ??= other.appendMany([{ n: 1, v: new Float32Array(DIM).fill(1), _anchor: 10n ** 6n }]);
      },
    });
    expect(
      (await ds.iterVector({ field: "v", query: new Float32Array(DIM).fill(1), topK: 1 }))[0]?.n,
    ).toEqual([1]);
    expect((await fsck(copy)).problems).toEqual([]);
    built.push([result.rows, await ds.count()]);
    await ds.close();
  }
  expect(built[1]).toEqual(built[0]);
});

test("progress goes through all stages and never back", async () => {
  const ds = await open(await filled(), 2);
  const seen: RebuildProgress[] = [];
  await ds.rebuildIvf({ field: "v", k: 30, onProgress: (progress) => seen.push(progress) });
  expect([...new Set(seen.map(({ stage }) => stage))]).toEqual(["sample", "train", "encode"]);
  for (const stage of ["train", "encode"]) {
    const done = seen.filter((each) => each.stage === stage).map((each) => each.done);
    expect(done).toEqual([...done].sort((a, b) => a - b));
  }
  expect(seen.findLast((each) => each.stage === "train")).toMatchObject({ done: expect.any(Number) });
  await ds.close();
});

describe("a build that fails publishes nothing, and the dataset works on", () => {
  /** Runs a build that fails, then one that does not; gives the error of the first. */
  async function failing(
    spoil: (ds: Dataset) => void,
    onProgress: (ds: Dataset) => void = () => undefined,
  ): Promise<Error & { code?: string }> {
    const store = await filled();
    const expected = await open(await copyOf(store), 0);
    const wanted = await expected.rebuildIvf({ field: "v", k: 30 });
    const ds = await open(store, 2);
    const refs = await ds.currentManifest();
    spoil(ds);
    const error: Error & { code?: string } = await ds
      .rebuildIvf({ field: "v", k: 30, onProgress: () => onProgress(ds) })
      .then(
        () => new Error("it was built"),
        (reason: Error) => reason,
      );
    expect(ds.currentManifest()).toBe(refs);
    const live = liveBytes(ds);
    watched.before = () => undefined;
    const again = await Dataset.open("d", store, fixed());
    expect(again.currentManifest()).toBe(refs);
    // The same object, with threads in place of those that died. Its random bytes have moved on, so cells are compared.
    const built = await ds.rebuildIvf({ field: "v", k: 30 });
    expect({ ...built, manifest: "" }).toEqual({ ...wanted, manifest: "" });
    expect(liveBytes(ds)).toBeGreaterThanOrEqual(live);
    await ds.close();
    return error;
  }

  test.each(["fillShare", "assignShare", "derive", "seal"] as const)("a thread dies at %s", async (verb) => {
    let isDone = false;
    const error = await failing(() => {
      watched.before = (request, thread) => {
        if (request.verb !== verb || isDone) return undefined;
        isDone = true;
        thread.terminate();
        return "lost";
      };
    });
    expect(error).toMatchObject({ code: "Aborted", retryable: true, committed: "no", field: "workers" });
  });

  test("a thread that dies while nothing is asked of it is missed at the next call", async () => {
    let assigned = 0;
    const error = await failing(() => {
      watched.before = ({ verb, args }) => {
        // Another thread has its place, and none of its rows.
        if (verb === "assignShare" && assigned++ === 3) (args as { share: number }).share += 1000;
        return undefined;
      };
    });
    expect(error).toMatchObject({ code: "Aborted", retryable: true });
  });

  test("a worker has no room for its share", async () => {
    const error = await failing(() => {
      watched.before = ({ verb, args }) => {
        if (verb === "openShare") (args as { rows: number }).rows = 2 ** 28;
        return undefined;
      };
    });
    expect(error).toMatchObject({ code: "OutOfMemory", field: "bytes" });
    expect(error.name).toBe("DreamDBError");
  });

  test("what onProgress throws", async () => {
    const error = await failing(
      () => undefined,
      () => {
        throw new TypeError("enough");
      },
    );
    expect(error).toMatchObject({ message: "enough" });
  });
});

test("closing ends a build, and the threads", async () => {
  const store = await filled();
  const ds = await open(store, 2);
  const before = ds.currentManifest();
  let closed: Promise<void> | undefined;
  watched.before = ({ verb }) => {
    if (verb === "assignShare") closed ??= ds.close();
    return undefined;
  };
  expect(await refusal(() => ds.rebuildIvf({ field: "v", k: 30 }))).toMatchObject({ code: "Aborted" });
  await closed;
  expect(watched.threads).toHaveLength(2);
  expect(watched.threads.map((thread) => thread.threadId)).toEqual([-1, -1]);
  expect((await open(store, 0)).currentManifest()).toBe(before);
});

test.each([-1, 1.5, 257, Number.NaN])("%p workers are refused", async (workers) => {
  expect(await refusal(() => Dataset.open("d", memoryStore(), { workers }))).toMatchObject({
    code: "InvalidArgument",
    field: "workers",
    found: workers,
  });
});

function liveBytes(ds: Dataset): number {
  return (
    ds as unknown as { state: { ctx: { kernels: { live(): { bytes: number } } } } }
  ).state.ctx.kernels.live().bytes;
}
