import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { directoryStore } from "../../src/store/directory.ts";
import { OpenFiles } from "../../src/store/open-files.ts";
import { scratchDirectories } from "./scratch.ts";
import { OBJECT, utf8 } from "./suite.ts";
import { watchedIo } from "./watched-io.ts";

const freshDirectory = scratchDirectories();

/** Files as the store opens them, with the names of the operations that were done. */
function watched(
  /** What is waited for once the first open has ended, however it did. */
  afterFirstOpen?: () => Promise<void>,
  failingRead = 0,
): { files: OpenFiles; done: string[]; path: string } {
  const root = freshDirectory();
  mkdirSync(root, { recursive: true });
  const path = join(root, "file");
  const done: string[] = [];
  const io = watchedIo(async (step, run) => {
    done.push(step.name);
    if (step.name === "read" && count(done, "read") === failingRead) throw new Error("EIO");
    const isFirst = step.name === "open" && count(done, "open") === 1;
    return run().finally(() => (isFirst ? afterFirstOpen?.() : undefined));
  });
  return { files: new OpenFiles(io), done, path };
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

const count = (done: readonly string[], name: string): number => done.filter((each) => each === name).length;

test("reads of one file at one time open it once, and close it", async () => {
  const { files, done, path } = watched();
  writeFileSync(path, "0123456789");
  const read = Array.from({ length: 8 }, (_, offset) => files.read(path, { offset, length: 2 }));
  expect((await Promise.all(read)).map((bytes) => text(bytes))).toEqual(
    Array.from({ length: 8 }, (_, offset) => `${offset}${offset + 1}`),
  );
  expect([count(done, "open"), count(done, "read"), count(done, "close")]).toEqual([1, 8, 1]);
  expect(text(await files.read(path))).toBe("0123456789");
  expect([count(done, "open"), count(done, "close")]).toEqual([2, 2]);
});

test("a read that fails leaves the others alone, and the file closed", async () => {
  const { files, done, path } = watched(undefined, 1);
  writeFileSync(path, "0123456789");
  const range = { offset: 0, length: 1 };
  const [failed, whole] = await Promise.allSettled([files.read(path, range), files.read(path, range)]);
  expect([failed?.status, whole?.status]).toEqual(["rejected", "fulfilled"]);
  expect([count(done, "open"), count(done, "close")]).toEqual([1, 1]);
});

test("what an earlier reader did not find is looked for again by one that began after it was written", async () => {
  let late: Promise<Uint8Array> | undefined;
  const { files, path } = watched(async () => {
    writeFileSync(path, "late");
    late = files.read(path);
  });
  await expect(files.read(path)).rejects.toThrow("ENOENT");
  expect(text((await late) as Uint8Array)).toBe("late");
});

test("a read that begins after a deletion finds nothing, though others still read the file", async () => {
  const root = freshDirectory();
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let isHeld = true;
  const io = watchedIo(async (step, run) => {
    if (step.name === "read" && isHeld) await held;
    return run();
  });
  await directoryStore(root).put(OBJECT, utf8("here"));
  const store = directoryStore(root, io);
  const early = store.get(OBJECT, { offset: 0, length: 4 });
  // Until the file is open.
  await new Promise((resolve) => setTimeout(resolve, 50));
  isHeld = false;
  await store.delete(OBJECT);
  expect(await store.get(OBJECT)).toBeUndefined();
  release();
  expect(text((await early)?.bytes as Uint8Array)).toBe("here");
});

test("a range is read into the room it is given, unless that is too small", async () => {
  const { files, path } = watched();
  writeFileSync(path, "0123456789");
  const room = new Uint8Array(6);
  const fits = await files.read(path, { offset: 2, length: 5 }, room);
  expect([text(fits), fits.buffer === room.buffer]).toEqual(["23456", true]);
  const past = await files.read(path, { offset: 8, length: 6 }, room);
  expect(text(past)).toBe("89");
  const tight = await files.read(path, { offset: 0, length: 7 }, room);
  expect([text(tight), tight.buffer === room.buffer]).toEqual(["0123456", false]);
});
