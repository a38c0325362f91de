// Every request of every writing verb, failing in every way: the old state or the new one, never both, never neither.
import { cpSync } from "node:fs";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { addressOf, objectKey } from "../../src/core/address.ts";
import type { AppendResult } from "../../src/dataset/append.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { DreamDBError, isDreamDBError } from "../../src/errors.ts";
import { decodeManifest, encodeManifest } from "../../src/objects/manifest.ts";
import { decodeRef, encodeRef, isLive } from "../../src/objects/ref.ts";
import { directoryStore } from "../../src/store/directory.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { scratchDirectories } from "../store/scratch.ts";
import { rowsOf } from "./records.ts";
import { contents, copyOf, listing, type Request, watchedStore } from "./stores.ts";

const FAULTS = [
  "fails",
  "reply lost",
  "outcome unknown",
  "disk full",
  "outage before",
  "outage after",
] as const;
type Fault = (typeof FAULTS)[number];
/** A disk is slower, and the faults that leave these out differ only above the store. */
const DISK_FAULTS: readonly Fault[] = ["reply lost", "disk full", "outage before"];

const schema = new Schema()
  .addEmbedding("v", { dim: 2, algorithm: "dreamdb.lsh-cosine", lshBits: 2, required: false })
  .addScalarInt("n");

const unavailable = () =>
  new DreamDBError("StoreUnavailable", "the backend does not answer", { retryable: true });
const full = () =>
  new DreamDBError("StoreUnavailable", "the disk is full", { errno: "ENOSPC", committed: "no" });
const unknown = () =>
  new DreamDBError("CommitUnknown", "the backend can't tell", { committed: "unknown", retryable: true });

/** A store that works until it is armed; then the request of number `at` from there on meets `fault`. */
class FaultyStore {
  readonly store: Store;
  requests: Request[] = [];
  private armed: { fault: Fault; at: number } | undefined;

  constructor(inner: Store) {
    this.store = watchedStore(inner, (request, run) => this.around(request, run));
  }

  arm(fault: Fault, at: number): void {
    this.armed = { fault, at };
    this.requests = [];
  }

  disarm(): void {
    this.armed = undefined;
  }

  private async around(request: Request, run: () => Promise<unknown>): Promise<unknown> {
    const number = this.requests.push(request) - 1;
    if (this.armed === undefined) return run();
    const { fault, at } = this.armed;
    const isOutage = fault.startsWith("outage");
    if (number < at || (number > at && !isOutage)) return run();
    if (number > at) throw unavailable();
    switch (fault) {
      case "reply lost":
      case "outage after":
        await run();
        throw unavailable();
      case "outcome unknown":
        await run();
        throw request.verb === "put" ? unknown() : unavailable();
      case "disk full":
        if (request.verb === "put") throw full();
        return run();
      default:
        throw unavailable();
    }
  }
}

const scratch = scratchDirectories();

/** Stores in one and the same state: a dataset whose next append closes pages, or a small one in a directory. */
const kinds: [name: string, faults: readonly Fault[], prepare: () => Promise<() => Promise<Store>>][] = [
  [
    "memory",
    FAULTS,
    async () => {
      const base = memoryStore();
      await fillBase(base, 63);
      return () => copyOf(base);
    },
  ],
  [
    "directory",
    DISK_FAULTS,
    async () => {
      const path = scratch();
      await fillBase(directoryStore(path), 2);
      return async () => {
        const copy = scratch();
        cpSync(path, copy, { recursive: true });
        return directoryStore(copy);
      };
    },
  ],
];

async function fillBase(store: Store, appends: number): Promise<void> {
  const dataset = await Dataset.create("main", schema, store);
  for (let n = 0; n < appends; n++) await dataset.appendMany([{ n, v: [1, n] }]);
  await forgetHistory(store);
}

/** Makes the current state the first there is, so that checking a store some thousand times is quick. */
async function forgetHistory(store: Store): Promise<void> {
  const { inline, ...ref } = decodeRef((await store.get("refs/main"))!.bytes);
  const bytes = encodeManifest({ ...decodeManifest(inline!), parents: [], seq: 0 });
  await store.put(objectKey(addressOf(bytes)), bytes);
  await store.put("refs/main", encodeRef({ ...ref, seq: 0, manifest: addressOf(bytes), inline: bytes }));
  const reached = new Set<string>();
  const reading = watchedStore(store, (request, run) => {
    reached.add(request.key);
    return run();
  });
  const report = await fsck(reading);
  expect(report.problems).toEqual([]);
  for (const { key } of await listing(store, "objects/")) if (!reached.has(key)) await store.delete(key);
}

/** What the verb is to add, once. */
const NEW = [1000, 1001, 1002];
const newRecords = () => NEW.map((n) => ({ n, v: [n, 1] }));

async function numbers(store: Store, name = "main"): Promise<number[]> {
  return (await rowsOf(await Dataset.open(name, store))).map((row) => row.n as number);
}

async function expectSound(store: Store): Promise<void> {
  const report = await fsck(store);
  expect(report.problems).toEqual([]);
}

/** Runs `verb` once unharmed to learn its requests, then calls `run` for each of them and each fault. */
async function explore(
  fresh: () => Promise<Store>,
  faults: readonly Fault[],
  verb: (dataset: Dataset, faulty: Store, inner: Store) => Promise<unknown>,
  run: (faulty: FaultyStore, inner: Store, dataset: Dataset, what: string) => Promise<void>,
): Promise<number> {
  const harmless = await fresh();
  const trial = new FaultyStore(harmless);
  const unharmed = await Dataset.open("main", trial.store);
  trial.requests = [];
  await verb(unharmed, trial.store, harmless);
  const { length } = trial.requests;
  // A fault may bring further requests, such as reading back: go on until none of the faults is met.
  for (const fault of faults) {
    for (let at = 0; at < length + 4; at++) {
      const inner = await fresh();
      const faulty = new FaultyStore(inner);
      const dataset = await Dataset.open("main", faulty.store, { retries: 3 });
      faulty.arm(fault, at);
      await run(faulty, inner, dataset, `${fault}, request ${at}`);
    }
  }
  return length;
}

/** Whether there is such a ref: a name that is only reserved is none. */
async function isThere(store: Store, key: string): Promise<boolean> {
  const found = await store.get(key);
  return found !== undefined && isLive(decodeRef(found.bytes));
}

describe.each(kinds)("%s", (_name, faults, prepare) => {
  let fresh: () => Promise<Store>;
  let old: number[];

  beforeAll(async () => {
    fresh = await prepare();
    old = await numbers(await fresh());
  });

  test("appendMany", async () => {
    let unknowns = 0;
    const requests = await explore(
      fresh,
      faults,
      (dataset) => dataset.appendMany(newRecords()),
      async (faulty, inner, dataset, what) => {
        const done = await dataset.appendMany(newRecords()).catch((error: unknown) => error);
        const state = await numbers(inner);
        const isIn = state.length > old.length;
        expect({ what, state }).toEqual({ what, state: isIn ? [...old, ...NEW] : old });
        await expectSound(inner);
        faulty.disarm();
        if (!(done instanceof Error)) {
          expect({ what, isIn }).toEqual({ what, isIn: true });
          const { anchors } = done as AppendResult;
          expect(
            (await rowsOf(await Dataset.open("main", inner))).slice(-3).map((row) => row._anchor),
          ).toEqual(anchors);
          return;
        }
        if (!isDreamDBError(done)) throw done;
        expect(["StoreUnavailable", "CommitUnknown"]).toContain(done.code);
        if (done.code !== "CommitUnknown") {
          expect({ what, isIn, committed: done.committed ?? "no" }).toEqual({
            what,
            isIn: false,
            committed: "no",
          });
          if (what.startsWith("disk full")) expect(done.errno).toBe("ENOSPC");
          await dataset.appendMany(newRecords());
        } else {
          unknowns++;
          expect(done).toMatchObject({ committed: "unknown", retryable: true });
          const opId = done.opId!;
          const resumed = await dataset.resume(opId);
          expect({ what, found: resumed !== undefined }).toEqual({ what, found: isIn });
          const again = await dataset.appendMany(newRecords(), { opId });
          if (isIn) expect(again.manifest).toBe(resumed!.manifest);
          // Once more, by an object that knows nothing.
          const other = await Dataset.open("main", inner);
          expect(await other.resume(opId)).toEqual({ manifest: again.manifest });
          expect(await other.appendMany(newRecords(), { opId })).toMatchObject({
            manifest: again.manifest,
            anchors: again.anchors,
          });
        }
        expect({ what, state: await numbers(inner) }).toEqual({ what, state: [...old, ...NEW] });
        await expectSound(inner);
      },
    );
    expect(requests).toBeGreaterThanOrEqual(5);
    expect(unknowns).toBeGreaterThanOrEqual(1);
  });

  test("delete", async () => {
    const left = old.filter((n) => n !== 1);
    const commits = new Set<unknown>();
    const requests = await explore(
      fresh,
      faults,
      (dataset) => dataset.delete({ where: { n: 1 } }),
      async (faulty, inner, dataset, what) => {
        const done = await dataset.delete({ where: { n: 1 } }).catch((error: unknown) => error);
        const state = await numbers(inner);
        const isIn = state.length < old.length;
        expect({ what, state }).toEqual({ what, state: isIn ? left : old });
        await expectSound(inner);
        faulty.disarm();
        if (done instanceof Error) {
          if (!isDreamDBError(done)) throw done;
          const { code, committed } = done;
          commits.add(committed);
          expect(["StoreUnavailable", "CommitUnknown"]).toContain(code);
          if (committed !== "unknown")
            expect({ what, isIn, committed }).toEqual({ what, isIn: committed === "yes", committed });
        } else expect({ what, isIn }).toEqual({ what, isIn: true });
        // What a caller does who was not told of success: the same again.
        await dataset.delete({ where: { n: 1 } });
        expect({ what, state: await numbers(inner) }).toEqual({ what, state: left });
        expect({ what, state: (await rowsOf(dataset)).map(({ n }) => n) }).toEqual({ what, state: left });
        await expectSound(inner);
      },
    );
    expect(requests).toBeGreaterThanOrEqual(6);
    expect(commits).toEqual(new Set(["no", "yes", "unknown"]));
  }, 120_000);

  test("compact", async () => {
    await explore(
      fresh,
      DISK_FAULTS,
      (dataset) => dataset.compact(),
      async (faulty, inner, dataset, what) => {
        const before = dataset.currentManifest();
        const done = await dataset.compact().catch((error: unknown) => error);
        const now = (await Dataset.open("main", inner)).currentManifest();
        expect({ what, state: await numbers(inner) }).toEqual({ what, state: old });
        await expectSound(inner);
        faulty.disarm();
        if (done instanceof Error) {
          if (!isDreamDBError(done)) throw done;
          expect(["StoreUnavailable", "CommitUnknown"]).toContain(done.code);
          if (done.committed === "no") expect({ what, now }).toEqual({ what, now: before });
        } else expect({ what, moved: now !== before }).toEqual({ what, moved: true });
        await dataset.refresh();
        await dataset.compact();
        expect((await dataset.health()).tracks[0]).toMatchObject({ fragmentation: 1 });
        expect({ what, state: await numbers(inner) }).toEqual({ what, state: old });
        await expectSound(inner);
      },
    );
  }, 240_000);

  test("updateSchema", async () => {
    const wider = schema.addScalarBool("flag", { required: false });
    await explore(
      fresh,
      faults,
      (dataset) => dataset.updateSchema(wider),
      async (faulty, inner, dataset, what) => {
        const done = await dataset.updateSchema(wider).catch((error: unknown) => error);
        const isIn = (await Dataset.open("main", inner)).schema.fields.length === 3;
        expect({ what, state: await numbers(inner) }).toEqual({ what, state: old });
        await expectSound(inner);
        faulty.disarm();
        if (done instanceof Error) {
          if (!isDreamDBError(done)) throw done;
          const { code, committed } = done;
          expect(["StoreUnavailable", "CommitUnknown"]).toContain(code);
          if (committed !== "unknown") expect({ what, isIn }).toEqual({ what, isIn: false });
        } else expect({ what, isIn }).toEqual({ what, isIn: true });
        // What a caller does who was not told of success: the same again.
        await dataset.updateSchema(wider);
        await dataset.appendMany([{ n: 7, flag: true } as never]);
        expect(dataset.schema.fields.map(({ id }) => id)).toEqual([0, 1, 2]);
        await expectSound(inner);
      },
    );
  }, 240_000);

  test("appendMany with anchors, beside another writer who is faster", async () => {
    const anchorsFrom = (dataset: Dataset, store: Store) => async () => {
      // The other writer moves the ref between our reading it and our swap.
      const other = await Dataset.open("main", store);
      await other.appendMany([{ n: 500 }]);
      const base = (await rowsOf(other)).at(-1)!._anchor as bigint;
      return dataset.appendMany(
        newRecords().map((record, i) => ({ ...record, _anchor: base + BigInt(i + 1) ** 2n })),
      );
    };
    const wanted = () => [...old, 500];
    await explore(
      fresh,
      faults,
      (dataset, _faulty, inner) => anchorsFrom(dataset, inner)(),
      async (_faulty, inner, dataset, what) => {
        const done = await anchorsFrom(dataset, inner)().catch((error: unknown) => error);
        const state = await numbers(inner);
        const isIn = state.length > wanted().length;
        expect({ what, state }).toEqual({ what, state: isIn ? [...wanted(), ...NEW] : wanted() });
        await expectSound(inner);
        if (!(done instanceof Error)) expect({ what, isIn }).toEqual({ what, isIn: true });
        else if (!isDreamDBError(done, "CommitUnknown"))
          expect({ what, isIn }).toEqual({ what, isIn: false });
      },
    );
  });

  test("snapshot", async () => {
    const labelled = async (store: Store) => isThere(store, "refs/v1");
    await explore(
      fresh,
      faults,
      (dataset) => dataset.snapshot("v1"),
      async (faulty, inner, dataset, what) => {
        const done = await dataset.snapshot("v1").catch((error: unknown) => error);
        const isIn = await labelled(inner);
        await expectSound(inner);
        faulty.disarm();
        if (!(done instanceof Error)) expect({ what, isIn }).toEqual({ what, isIn: true });
        else if (!isDreamDBError(done)) throw done;
        else if (done.code !== "CommitUnknown") {
          expect({ what, code: done.code, isIn }).toEqual({ what, code: "StoreUnavailable", isIn: false });
        } else expect(done).toMatchObject({ committed: "unknown", retryable: true });
        const again = await dataset.snapshot("v1").catch((error: unknown) => error);
        if (isIn) expect(again).toMatchObject({ code: "AlreadyExists" });
        expect(await numbers(inner, "v1")).toEqual(old);
      },
    );
  });

  test("create", async () => {
    await explore(
      fresh,
      faults,
      (_dataset, store) => Dataset.create("second", schema, store),
      async (faulty, inner, _dataset, what) => {
        const done = await Dataset.create("second", schema, faulty.store).catch((error: unknown) => error);
        const isIn = await isThere(inner, "refs/second");
        await expectSound(inner);
        faulty.disarm();
        if (!(done instanceof Error)) {
          expect({ what, isIn }).toEqual({ what, isIn: true });
          await (done as Dataset).appendMany(newRecords());
        } else if (!isDreamDBError(done)) throw done;
        else if (done.code !== "CommitUnknown") {
          expect({ what, code: done.code, isIn }).toEqual({ what, code: "StoreUnavailable", isIn: false });
        }
        if (!isIn) await Dataset.create("second", schema, inner);
        expect(await numbers(inner, "second")).toEqual(done instanceof Error ? [] : NEW);
        expect(await numbers(inner)).toEqual(old);
        await expectSound(inner);
      },
    );
  });

  test("requests that the network doubles", async () => {
    const inner = await fresh();
    const twice = watchedStore(inner, async ({ verb }, run) => {
      const first = await run();
      return verb === "put" ? run() : first;
    });
    const dataset = await Dataset.open("main", twice);
    await dataset.appendMany(newRecords());
    await dataset.snapshot("v1");
    const second = await Dataset.create("second", schema, twice);
    await second.appendMany(newRecords());
    expect(await numbers(inner)).toEqual([...old, ...NEW]);
    expect(await numbers(inner, "v1")).toEqual([...old, ...NEW]);
    expect(await numbers(inner, "second")).toEqual(NEW);
    await expectSound(inner);
  });

  test.each(["before resume", "before the retry", "after the retry"])(
    "a swap that arrives late, %s",
    async (moment) => {
      const inner = await fresh();
      let late: (() => Promise<unknown>) | undefined;
      const delaying = watchedStore(inner, ({ condition }, run) => {
        if (condition === undefined || late !== undefined) return run();
        late = run;
        throw unavailable();
      });
      const dataset = await Dataset.open("main", delaying);
      const error = await dataset.appendMany(newRecords()).catch((caught: unknown) => caught);
      if (!isDreamDBError(error, "CommitUnknown")) throw error;
      const arrive = () => late!().catch((caught: unknown) => caught);
      if (moment === "before resume") await arrive();
      expect((await dataset.resume(error.opId!)) !== undefined).toBe(moment === "before resume");
      if (moment === "before the retry") await arrive();
      await dataset.appendMany(newRecords(), { opId: error.opId! });
      if (moment === "after the retry") expect(await arrive()).toMatchObject({ code: "Conflict" });
      expect(await numbers(inner)).toEqual([...old, ...NEW]);
      await expectSound(inner);
    },
  );

  test("a full disk at any put leaves the old state, and room makes it work again", async () => {
    for (let at = 0; ; at++) {
      const inner = await fresh();
      let puts = 0;
      let isFull = true;
      const store = watchedStore(inner, ({ verb }, run) => {
        if (verb === "put" && isFull && puts++ >= at) throw full();
        return run();
      });
      const dataset = await Dataset.open("main", store);
      const error = await dataset.appendMany(newRecords()).catch((caught: unknown) => caught);
      if (!(error instanceof Error)) {
        expect(at).toBeGreaterThan(3);
        return;
      }
      expect(error).toMatchObject({ code: "StoreUnavailable", errno: "ENOSPC" });
      expect(await numbers(inner)).toEqual(old);
      await expectSound(inner);
      isFull = false;
      await dataset.appendMany(newRecords());
      expect(await numbers(inner)).toEqual([...old, ...NEW]);
    }
  });

  test("a ref that goes back is noticed, by readers and by writers", async () => {
    const inner = await fresh();
    const dataset = await Dataset.open("main", inner);
    const earlier = (await inner.get("refs/main"))!.bytes;
    await dataset.appendMany([{ n: 1 }]);
    const latest = (await inner.get("refs/main"))!.bytes;
    await inner.put("refs/main", earlier);
    const before = await contents(inner);
    expect(await dataset.refresh().catch((error: unknown) => error)).toMatchObject({
      code: "RefRollback",
      field: "main",
    });
    expect(await dataset.appendMany([{ n: 2 }]).catch((error: unknown) => error)).toMatchObject({
      code: "RefRollback",
      committed: "no",
    });
    expect((await contents(inner)).filter((line) => line.startsWith("refs/"))).toEqual(
      before.filter((line) => line.startsWith("refs/")),
    );
    expect(await dataset.count()).toBe(old.length + 1);

    // Another history of the same length is no later state either.
    const other = await Dataset.open("main", inner);
    await other.appendMany([{ n: 3 }]);
    expect(await dataset.refresh().catch((error: unknown) => error)).toMatchObject({ code: "RefRollback" });
    await inner.put("refs/main", latest);
    await dataset.refresh();
    await dataset.appendMany([{ n: 4 }]);
    expect(await numbers(inner)).toEqual([...old, 1, 4]);
  });

  test("listings that are out of date decide nothing", async () => {
    const inner = await fresh();
    const stale = watchedStore(inner, async ({ verb }, run) => (verb === "list" ? [] : run()));
    const dataset = await Dataset.open("main", stale);
    await dataset.appendMany(newRecords());
    await dataset.snapshot("v1");
    expect(await dataset.snapshot("v1").catch((error: unknown) => error)).toMatchObject({
      code: "AlreadyExists",
    });
    expect(await Dataset.create("main", schema, stale).catch((error: unknown) => error)).toMatchObject({
      code: "AlreadyExists",
    });
    expect(await numbers(stale)).toEqual([...old, ...NEW]);
    expect(await numbers(stale, "v1")).toEqual([...old, ...NEW]);
    expect(await dataset.iterVector({ field: "v", query: [1, 1], topK: 1 })).toHaveLength(1);
    expect(await dataset.history()).toHaveLength(2);
    await expectSound(inner);
  });
});

test("compact that purges, with a snapshot of before", async () => {
  const base = memoryStore();
  const whole = await Dataset.create("main", schema, base);
  for (let n = 0; n < 3; n++) await whole.appendMany([0, 1].map((i) => ({ n: 2 * n + i, v: [1, n] })));
  await whole.snapshot("before");
  await whole.delete({ where: { n: 1 } });
  const left = [0, 2, 3, 4, 5];
  const expectLeft = async (what: string, inner: Store) => {
    for (const name of ["main", "before"])
      expect({ what, state: await numbers(inner, name) }).toEqual({ what, state: left });
    await expectSound(inner);
  };
  await explore(
    () => copyOf(base),
    FAULTS,
    (dataset) => dataset.compact({ purge: true }),
    async (faulty, inner, dataset, what) => {
      const before = dataset.currentManifest();
      const done = await dataset.compact({ purge: true }).catch((error: unknown) => error);
      const now = (await Dataset.open("main", inner)).currentManifest();
      await expectLeft(what, inner);
      faulty.disarm();
      if (done instanceof Error) {
        if (!isDreamDBError(done)) throw done;
        expect(["StoreUnavailable", "CommitUnknown"]).toContain(done.code);
        if (done.committed === "no") expect({ what, now }).toEqual({ what, now: before });
        if (done.committed === "yes") expect({ what, moved: now !== before }).toEqual({ what, moved: true });
      } else expect({ what, moved: now !== before }).toEqual({ what, moved: true });
      await dataset.refresh();
      await dataset.compact({ purge: true });
      await expectLeft(what, inner);
      const { purge } = await fsck(inner, { purged: true });
      for (const { key, why } of purge?.remaining ?? []) {
        expect({ what, why }).toEqual({ what, why: "unreachable" });
        await inner.delete(key);
      }
      await expectLeft(what, inner);
      expect(await fsck(inner, { purged: true })).toMatchObject({ ok: true });
    },
  );
}, 300_000);
