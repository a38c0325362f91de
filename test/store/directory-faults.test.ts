import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { isDreamDBError } from "../../src/errors.ts";
import { directoryStore, nodeIo } from "../../src/store/directory.ts";
import type { Store } from "../../src/store/store.ts";
import { scratchDirectories } from "./scratch.ts";
import { keysOf, OBJECT, outcome, text, utf8 } from "./suite.ts";
import { DiskModel, type IoStep, watchedIo } from "./watched-io.ts";

const freshDirectory = scratchDirectories();

/** A write, with what it finds and what it leaves when it succeeds. */
interface Write {
  name: string;
  key: string;
  before?: string;
  after?: string;
  run(store: Store, etag: string): Promise<unknown>;
}

const writes: Write[] = [
  { name: "put of an object", key: OBJECT, after: "new", run: (store) => store.put(OBJECT, utf8("new")) },
  {
    name: "create-only put of an object",
    key: OBJECT,
    after: "new",
    run: (store) => store.put(OBJECT, utf8("new"), { create: true }),
  },
  {
    name: "creation of a ref",
    key: "refs/main",
    after: "new",
    run: (store) => store.put("refs/main", utf8("new"), { create: true }),
  },
  {
    name: "swap of a ref",
    key: "refs/main",
    before: "old",
    after: "new",
    run: (store, etag) => store.put("refs/main", utf8("new"), { ifMatch: etag }),
  },
  {
    name: "plain put of a ref",
    key: "refs/main",
    before: "old",
    after: "new",
    run: (store) => store.put("refs/main", utf8("new")),
  },
  { name: "deletion of a ref", key: "refs/main", before: "old", run: (store) => store.delete("refs/main") },
  { name: "deletion of an object", key: OBJECT, before: "old", run: (store) => store.delete(OBJECT) },
];

async function prepare(write: Write, generations = 1): Promise<{ root: string; etag: string }> {
  const root = freshDirectory();
  let etag = "";
  for (let i = 0; i < generations; i++) {
    if (write.before !== undefined)
      etag = (await directoryStore(root).put(write.key, utf8(write.before))).etag;
  }
  return { root, etag };
}

async function stepsOf(write: Write, generations = 1): Promise<IoStep[]> {
  const { root, etag } = await prepare(write, generations);
  const steps: IoStep[] = [];
  const io = watchedIo((step, run) => {
    steps.push(step);
    return run();
  });
  await write.run(directoryStore(root, io), etag);
  return steps.map((step) => ({ ...step, path: step.path.slice(root.length) || "." }));
}

describe("order of the steps", () => {
  const outline = (steps: IoStep[]) =>
    steps
      .filter(({ name }) => !["readdir", "stat", "fstat", "read", "close", "open"].includes(name))
      .map(
        ({ name, path, target }) =>
          `${name} ${role(path)}${target === undefined ? "" : ` as ${basename(target)}`}`,
      );
  const role = (path: string) => path.replace(/^\/tmp\/[0-9a-f]{32}$/, "temporary").replace(/^\//, "");

  test("an object is synced, then named, then its directory is synced", async () => {
    const steps = outline(await stepsOf(writes[0]!));
    expect(steps.slice(steps.indexOf("create temporary"))).toEqual([
      "create temporary",
      "write temporary",
      "sync temporary",
      `rename temporary as ${basename(OBJECT)}`,
      "sync objects/ab",
    ]);
    expect(steps.indexOf("mkdir objects/ab")).toBeLessThan(steps.indexOf("sync objects"));
  });

  test("a generation is synced, then linked, then its directory is synced, then pruned", async () => {
    const steps = outline(await stepsOf(writes[3]!, 16));
    expect(steps.slice(steps.indexOf("create temporary"))).toEqual([
      "create temporary",
      "write temporary",
      "sync temporary",
      "link temporary as 0000000000000011",
      "sync refs+/main@",
      "unlink refs+/main@/0000000000000001",
      "unlink temporary",
    ]);
  });

  test("an object that is there already is still made durable", async () => {
    const { root } = await prepare({ ...writes[0]!, before: "new" });
    const steps: string[] = [];
    const io = watchedIo((step, run) => {
      steps.push(`${step.name} ${step.path.slice(root.length)}`);
      return run();
    });
    await directoryStore(root, io).put(OBJECT, utf8("new"));
    expect(steps).toContain("sync /objects/ab");
    expect(steps.some((step) => step.startsWith("write"))).toBe(false);
  });
});

/** The states that a write which ended like this may leave. */
function allowed(write: Write, end: string): (string | undefined)[] {
  if (end === "ok") return [write.after];
  if (end === "CommitUnknown" || end === "crashed" || write.key === OBJECT)
    return [write.before, write.after];
  return [write.before];
}

/** The store works again: the state is whole, nothing unknown is listed, and the next write succeeds. */
async function expectUsable(root: string, write: Write, end: string): Promise<void> {
  const store = directoryStore(root);
  const value = await store.get(write.key);
  expect(allowed(write, end)).toContain(text(value));
  expect(await keysOf(store)).toEqual(value === undefined ? [] : [write.key]);
  const isObject = write.key === OBJECT;
  const condition = value === undefined ? { create: true as const } : { ifMatch: value.etag };
  await store.put(write.key, utf8(isObject ? "new" : "next"), isObject ? undefined : condition);
  expect(text(await store.get(write.key))).toBe(
    isObject ? (value === undefined ? "new" : text(value)) : "next",
  );
}

describe.each(writes)("$name", (write) => {
  test.each(["ENOSPC", "EACCES", "EIO", "EROFS", "EPERM", "EMFILE", "EXDEV"])(
    "fails typed at any step with %s",
    async (errno) => {
      const count = (await stepsOf(write)).length;
      for (let k = 0; k < count; k++) {
        const { root, etag } = await prepare(write);
        let at = 0;
        let failed: IoStep | undefined;
        const io = watchedIo((step, run) => {
          if (at++ !== k) return run();
          failed = step;
          return Promise.reject(Object.assign(new Error(`${errno} injected`), { code: errno }));
        });
        const end = await outcomeWith(write.run(directoryStore(root, io), etag), errno);
        if (failed?.name === "link" && errno === "EPERM" && write.key !== OBJECT)
          expect(end).toBe("UnsupportedBackend");
        else expect(["ok", "StoreUnavailable", "CommitUnknown"]).toContain(end);
        await expectUsable(root, write, end);
      }
    },
  );

  test.each(["before", "after"])("leaves the old or the new value when killed %s any step", async (when) => {
    const count = (await stepsOf(write)).length;
    for (let k = 0; k < count; k++) {
      const { root, etag } = await prepare(write);
      let at = 0;
      const io = watchedIo(async (_, run) => {
        const turn = at++;
        if (turn < k || (turn === k && when === "after")) {
          const result = await run();
          if (turn < k) return result;
          await (result as { close?: () => Promise<void> } | undefined)?.close?.().catch(() => {});
        }
        throw new Error("killed");
      });
      await write.run(directoryStore(root, io), etag).catch(() => {});
      await expectUsable(root, write, "crashed");
    }
  });

  test("survives a power loss after any step, on a strict and on a lazy disk", async () => {
    const root = freshDirectory();
    const model = new DiskModel();
    const images: { ended: boolean; files: Map<string, Uint8Array | undefined> }[] = [];
    let phase: "before" | "during" | "ended" = "before";
    const take = () => {
      if (phase === "before") return;
      for (const files of [model.least(), model.torn()]) images.push({ ended: phase === "ended", files });
    };
    const io = watchedIo(async (step, run) => {
      const result = await run();
      model.apply(step);
      take();
      return result;
    });
    const store = directoryStore(root, io);
    const etag = write.before === undefined ? "" : (await store.put(write.key, utf8(write.before))).etag;
    phase = "during";
    take();
    await write.run(store, etag);
    phase = "ended";
    take();
    expect(images.length).toBeGreaterThan(6);
    for (const { ended, files } of images) {
      rmSync(dirname(root), { recursive: true, force: true });
      for (const [path, bytes] of files) {
        if (bytes === undefined) mkdirSync(path);
        else writeFileSync(path, bytes);
      }
      await expectUsable(root, write, ended ? "ok" : "crashed");
    }
  });
});

async function outcomeWith(promise: Promise<unknown>, errno: string): Promise<string> {
  try {
    await promise;
    return "ok";
  } catch (error) {
    if (!isDreamDBError(error)) throw error;
    expect(error.errno).toBe(errno);
    expect(error.message).toContain(errno);
    return error.code;
  }
}

describe("reads", () => {
  test.each([OBJECT, "refs/main"])("a failing disk under %s is never an absent value", async (key) => {
    const root = freshDirectory();
    await directoryStore(root).put(key, utf8("x"));
    for (const name of ["open", "read", "fstat", "readdir", "close"]) {
      let hit = false;
      const io = watchedIo((step, run) => {
        if (step.name !== name) return run();
        hit = true;
        return Promise.reject(Object.assign(new Error("injected"), { code: "EIO" }));
      });
      const end = await outcome(directoryStore(root, io).get(key));
      if (hit) expect(end).toBe("StoreUnavailable");
    }
  });

  test("a generation pruned between listing and opening is no error", async () => {
    const root = freshDirectory();
    const writer = directoryStore(root);
    await writer.put("refs/main", utf8("0"));
    let opened = 0;
    const io = watchedIo(async (step, run) => {
      if (step.name === "open" && opened++ < 2) {
        for (let i = 0; i < 20; i++) await writer.put("refs/main", utf8(`${opened}-${i}`));
      }
      return run();
    });
    expect(text(await directoryStore(root, io).get("refs/main"))).toBe("2-19");
    expect(opened).toBe(3);
  });
});

test("a listing that trips over a pruned generation never makes a ref look absent", async () => {
  const root = freshDirectory();
  const { etag } = await directoryStore(root).put("refs/main", utf8("x"));
  const trip = () => {
    let left = 2;
    return watchedIo((step, run) => {
      if (step.name !== "readdir" || left-- <= 0) return run();
      return Promise.reject(Object.assign(new Error("lstat of a pruned entry"), { code: "ENOENT" }));
    });
  };
  expect(text(await directoryStore(root, trip()).get("refs/main"))).toBe("x");
  expect(await outcome(directoryStore(root, trip()).put("refs/main", utf8("y"), { create: true }))).toBe(
    "Conflict",
  );
  expect(await outcome(directoryStore(root, trip()).put("refs/main", utf8("y"), { ifMatch: etag }))).toBe(
    "ok",
  );
});

describe("a writer that sleeps", () => {
  /** Swaps generation 1 while `others` writes happen before or after its link; every write of the others counts. */
  async function sleepAtLink(others: number, when: "before" | "after") {
    const root = freshDirectory();
    const awake = directoryStore(root);
    const { etag } = await awake.put("refs/main", utf8("first"));
    const writeOthers = async () => {
      for (let i = 1; i <= others; i++) await awake.put("refs/main", utf8(`other ${i}`));
    };
    const io = watchedIo(async (step, run) => {
      if (step.name === "link" && when === "before") await writeOthers();
      const result = await run();
      if (step.name === "link" && when === "after") await writeOthers();
      return result;
    });
    const end = await outcome(directoryStore(root, io).put("refs/main", utf8("sleeper"), { ifMatch: etag }));
    return { end, value: text(await awake.get("refs/main")), root };
  }

  test("before its link learns that it lost, or that it can't know", async () => {
    expect(await sleepAtLink(1, "before")).toMatchObject({ end: "Conflict", value: "other 1" });
    expect(await sleepAtLink(16, "before")).toMatchObject({ end: "Conflict", value: "other 16" });
    // The 17th write makes generation 18 and prunes generation 2, the one that the sleeper wants to link.
    expect(await sleepAtLink(17, "before")).toMatchObject({ end: "CommitUnknown", value: "other 17" });
    expect(await sleepAtLink(40, "before")).toMatchObject({ end: "CommitUnknown", value: "other 40" });
  });

  test("after its link has won, unless too many came since to tell", async () => {
    expect(await sleepAtLink(1, "after")).toMatchObject({ end: "ok", value: "other 1" });
    expect(await sleepAtLink(15, "after")).toMatchObject({ end: "ok", value: "other 15" });
    expect(await sleepAtLink(16, "after")).toMatchObject({ end: "CommitUnknown", value: "other 16" });
  });

  test("leaves no stale generation", async () => {
    const { root } = await sleepAtLink(40, "before");
    expect(readdirSync(join(root, "refs+/main@")).length).toBe(16);
  });

  test("while deleting does not take away what came later", async () => {
    const root = freshDirectory();
    const awake = directoryStore(root);
    await awake.put("refs/main", utf8("first"));
    const io = watchedIo(async (step, run) => {
      if (step.name === "mkdir") for (let i = 0; i < 40; i++) await awake.put("refs/main", utf8(`${i}`));
      return run();
    });
    expect(await outcome(directoryStore(root, io).delete("refs/main"))).toBe("CommitUnknown");
    expect(text(await awake.get("refs/main"))).toBe("39");
  });

  test("before a swap of a ref deleted meanwhile loses", async () => {
    const root = freshDirectory();
    const awake = directoryStore(root);
    const { etag } = await awake.put("refs/main", utf8("first"));
    const io = watchedIo(async (step, run) => {
      if (step.name === "link") await awake.delete("refs/main");
      return run();
    });
    const swap = directoryStore(root, io).put("refs/main", utf8("x"), { ifMatch: etag });
    expect(await outcome(swap)).toBe("Conflict");
    expect(await awake.get("refs/main")).toBeUndefined();
  });
});

test("a link that was applied but answered with an error has won", async () => {
  for (const code of ["EEXIST", "EIO"]) {
    const root = freshDirectory();
    const io = watchedIo(async (step, run) => {
      const result = await run();
      if (step.name === "link") throw Object.assign(new Error("injected"), { code });
      return result;
    });
    const { etag } = await directoryStore(root, io).put("refs/main", utf8("x"), { create: true });
    expect(await directoryStore(root).get("refs/main")).toEqual({ bytes: utf8("x"), etag });
  }
});

test("a file system without hard links is named", async () => {
  for (const code of ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]) {
    const refuse = () => Promise.reject(Object.assign(new Error("injected"), { code }));
    const store = directoryStore(freshDirectory(), { ...nodeIo, link: refuse });
    const put = store.put("refs/main", utf8("x"));
    await expect(put).rejects.toMatchObject({
      code: "UnsupportedBackend",
      message: expect.stringContaining("hard link"),
    });
    expect(await outcome(store.put(OBJECT, utf8("x")))).toBe("ok");
  }
});

test("a file system that can't sync directories is used without", async () => {
  const io = watchedIo((step, run) =>
    step.name === "sync" && !/tmp\/[0-9a-f]{32}$/.test(step.path)
      ? Promise.reject(Object.assign(new Error("injected"), { code: "EINVAL" }))
      : run(),
  );
  const store = directoryStore(freshDirectory(), io);
  await store.put(OBJECT, utf8("x"));
  await store.put("refs/main", utf8("x"), { create: true });
});

test("puts that share a directory share its syncs, and never one that began before they were named", async () => {
  const root = freshDirectory();
  let syncs = 0;
  let named = 0;
  const namedAtSync: number[] = [];
  const io = watchedIo(async (step, run) => {
    if (step.name === "sync" && step.path.endsWith("objects/ab")) {
      syncs++;
      namedAtSync.push(named);
    }
    const result = await run();
    if (step.name === "rename") named++;
    return result;
  });
  const store = directoryStore(root, io);
  const puts = Array.from({ length: 200 }, async (_, i) => {
    await store.put(`objects/ab/dyq${i}`, utf8(`${i}`));
    expect(namedAtSync.at(-1)).toBeGreaterThan(0);
  });
  await Promise.all(puts);
  expect(namedAtSync.at(-1)).toBe(200);
  expect(syncs).toBeLessThan(150);
});

test("40 plain puts of one cell take turns from link to sync, and none is in doubt", async () => {
  const steps: string[] = [];
  const io = watchedIo((step, run) => {
    if (step.name === "link" || (step.name === "sync" && step.path.endsWith("main@"))) steps.push(step.name);
    return run();
  });
  const store = directoryStore(freshDirectory(), io);
  const ends = await Promise.all(
    Array.from({ length: 40 }, (_, i) => outcome(store.put("refs/main", utf8(`${i}`)))),
  );
  expect(new Set(ends)).toEqual(new Set(["ok"]));
  expect(steps).toEqual(Array.from({ length: 80 }, (_, i) => (i % 2 === 0 ? "link" : "sync")));
  expect(text(await store.get("refs/main"))).toBe("39");
});

test("a failed put of a cell does not hold up the next", async () => {
  const store = directoryStore(freshDirectory());
  const ends = [store.put("refs/main", utf8("1"), { ifMatch: "none" }), store.put("refs/main", utf8("2"))];
  expect(await Promise.all(ends.map(outcome))).toEqual(["Conflict", "ok"]);
});

/** Small disks of its own, where the system lets us mount one. */
function mountSmallDisk(): { path: string; run(...command: string[]): void } | undefined {
  const path = freshDirectory();
  mkdirSync(path, { recursive: true });
  const run = (...command: string[]) => void execFileSync(command[0]!, command.slice(1), { stdio: "ignore" });
  try {
    run("mount", "-t", "tmpfs", "-o", "size=1m", "none", path);
    return { path, run };
  } catch {
    return undefined;
  }
}

test("a disk that is really full, or read-only, answers typed and keeps what it has", async () => {
  const disk = mountSmallDisk();
  if (disk === undefined)
    return console.warn("no right to mount a tmpfs here: only injected faults were tried");
  try {
    const store = directoryStore(disk.path);
    await store.put("refs/main", utf8("kept"));
    const big = store.put(OBJECT, new Uint8Array(2 ** 21));
    await expect(big).rejects.toMatchObject({
      code: "StoreUnavailable",
      errno: "ENOSPC",
      retryable: false,
      committed: "no",
    });
    expect(readdirSync(join(disk.path, "tmp"))).toEqual([]);
    await store.put(OBJECT, utf8("small"));
    disk.run("mount", "-o", "remount,ro", disk.path);
    const readOnly = { code: "StoreUnavailable", errno: "EROFS" };
    await expect(store.put("refs/main", utf8("x"))).rejects.toMatchObject(readOnly);
    await expect(store.delete(OBJECT)).rejects.toMatchObject(readOnly);
    await expect(directoryStore(disk.path).put("refs/new", utf8("x"))).rejects.toMatchObject(readOnly);
    expect(text(await store.get("refs/main"))).toBe("kept");
    expect(text(await store.get(OBJECT))).toBe("small");
  } finally {
    disk.run("umount", disk.path);
  }
});
