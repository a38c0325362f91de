import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "@jest/globals";
import { directoryStore } from "../../src/store/directory.ts";
import { scratchDirectories } from "./scratch.ts";
import { keysOf, OBJECT, outcome, storeSuite, text, utf8 } from "./suite.ts";

const freshDirectory = scratchDirectories();

storeSuite(
  "directory",
  () => {
    const root = freshDirectory();
    return { open: () => directoryStore(root) };
  },
  { reopens: true, copiesAtOnce: false },
);

const cell = (root: string) => readdirSync(join(root, "refs+/main@")).sort();
const generation = (number: number) => number.toString(16).padStart(16, "0");

test("reading a store that does not exist makes nothing", async () => {
  const root = freshDirectory();
  const store = directoryStore(root);
  expect(await store.get(OBJECT)).toBeUndefined();
  expect(await store.get("refs/main")).toBeUndefined();
  expect(await keysOf(store)).toEqual([]);
  await store.delete("refs/main");
  await store.delete(OBJECT);
  expect(existsSync(root)).toBe(false);
});

test("the layout on disk is the one the spec states", async () => {
  const root = freshDirectory();
  const store = directoryStore(root);
  await store.put(OBJECT, utf8("x"));
  await store.put("refs/main", utf8("1"));
  await store.put("refs/main", utf8("2"));
  expect(readdirSync(root).sort()).toEqual(["objects", "refs+", "tmp"]);
  expect(existsSync(join(root, OBJECT))).toBe(true);
  expect(cell(root)).toEqual([generation(1), generation(2)]);
  expect(readdirSync(join(root, "tmp"))).toEqual([]);
});

test("the last 16 generations are kept, with deletions among them", async () => {
  const root = freshDirectory();
  const store = directoryStore(root);
  for (let i = 0; i < 18; i++) await store.put("refs/main", utf8(`${i}`));
  await store.delete("refs/main");
  for (let i = 0; i < 18; i++) await store.put("refs/main", utf8(`${i}`));
  expect(cell(root)).toEqual(Array.from({ length: 16 }, (_, i) => generation(22 + i)));
});

test("the url names the directory, which may be relative", () => {
  expect(directoryStore("/data/a b").url).toBe("file:///data/a%20b");
  expect(directoryStore("x").url).toBe(pathToFileURL(join(process.cwd(), "x")).href);
  expect(() => directoryStore("")).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
  expect(() => directoryStore("a\0")).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
});

test("a root that is a file is named", async () => {
  const root = freshDirectory();
  mkdirSync(dirname(root));
  writeFileSync(root, "");
  const store = directoryStore(root);
  const refusal = { code: "StoreUnavailable", errno: "ENOTDIR", message: expect.stringContaining(root) };
  await expect(store.put(OBJECT, utf8("x"))).rejects.toMatchObject(refusal);
  await expect(store.put("refs/main", utf8("x"))).rejects.toMatchObject(refusal);
  await expect(store.get(OBJECT)).rejects.toMatchObject(refusal);
  await expect(store.get("refs/main")).rejects.toMatchObject(refusal);
  await expect(keysOf(store)).rejects.toMatchObject(refusal);
});

test("strange files in the tree are not ours", async () => {
  const root = freshDirectory();
  const store = directoryStore(root);
  await store.put("refs/main", utf8("x"));
  await store.put(OBJECT, utf8("y"));
  mkdirSync(join(root, "refs+/Main@"));
  mkdirSync(join(root, "refs+/x=00@"));
  mkdirSync(join(root, "objects+/ab+"), { recursive: true });
  mkdirSync(join(root, "refs+/empty@"));
  for (const name of [
    "tmp/0123",
    "refs+/.DS_Store",
    "refs+/main@/.nfs01",
    "refs+/main@/00000000000000ff.bak",
    "objects/.x",
    "objects/ab/.DS_Store",
    "note@",
  ]) {
    writeFileSync(join(root, name), "junk");
  }
  expect(await keysOf(store)).toEqual([OBJECT, "refs/main"]);
  expect(text(await store.get("refs/main"))).toBe("x");
  expect(await store.get("refs/empty")).toBeUndefined();
  await store.put("refs/main", utf8("z"));
  expect(text(await store.get("refs/main"))).toBe("z");
});

test("an object of the right size is not written again, one cut short is", async () => {
  const root = freshDirectory();
  const store = directoryStore(root);
  await store.put(OBJECT, utf8("abc"));
  await store.put(OBJECT, utf8("xyz"));
  expect(text(await store.get(OBJECT))).toBe("abc");
  writeFileSync(join(root, OBJECT), "ab");
  await store.put(OBJECT, utf8("abc"));
  expect(text(await store.get(OBJECT))).toBe("abc");
});

test("a store made anew at the same path does not take the tags of the old one", async () => {
  const root = freshDirectory();
  const { etag } = await directoryStore(root).put("refs/main", utf8("old"));
  rmSync(root, { recursive: true });
  await directoryStore(root).put("refs/main", utf8("new"));
  expect(await outcome(directoryStore(root).put("refs/main", utf8("x"), { ifMatch: etag }))).toBe("Conflict");
});

test("a store removed while it is open is made again by the next put", async () => {
  const root = freshDirectory();
  const store = directoryStore(root);
  await store.put("refs/main", utf8("1"));
  await store.put(OBJECT, utf8("1"));
  rmSync(root, { recursive: true });
  await store.put("refs/main", utf8("2"), { create: true });
  rmSync(root, { recursive: true });
  await store.put(OBJECT, utf8("2"));
  expect(text(await store.get(OBJECT))).toBe("2");
});

test("2,000 concurrent reads stay below the limit on open files", async () => {
  const root = freshDirectory();
  const store = directoryStore(root);
  await store.put(OBJECT, utf8("x"));
  let open = 0;
  let most = 0;
  const fs = await import("../../src/store/directory.ts");
  const counting = directoryStore(root, {
    ...fs.nodeIo,
    open: async (path, flags) => {
      most = Math.max(most, ++open);
      const file = await fs.nodeIo.open(path, flags);
      const close = file.close.bind(file);
      file.close = () => close().finally(() => open--);
      return file;
    },
  });
  await Promise.all(Array.from({ length: 2000 }, () => counting.get(OBJECT)));
  expect(open).toBe(0);
  expect(most).toBeLessThanOrEqual(64);
});
