import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { addressOf, objectKey } from "../../src/core/address.ts";
import { Session } from "../../src/dataset/session.ts";
import { cachedInDirectory } from "../../src/store/directory-cache.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { refusal } from "../dataset/stores.ts";
import { scratchDirectories } from "./scratch.ts";

const scratch = scratchDirectories();

async function behind(bytes?: number) {
  const directory = scratch();
  const inner = memoryStore();
  let gets = 0;
  let damage = false;
  const counted: Store = {
    url: inner.url,
    async get(...given) {
      gets++;
      const found = await inner.get(...given);
      if (damage && found !== undefined) found.bytes[0] = (found.bytes[0] as number) ^ 1;
      damage = false;
      return found;
    },
    put: (...given) => inner.put(...given),
    delete: (...given) => inner.delete(...given),
    list: (...given) => inner.list(...given),
  };
  const open = () => cachedInDirectory(counted, { directory, ...(bytes === undefined ? {} : { bytes }) });
  const put = async (value: Uint8Array) => {
    const address = addressOf(value);
    await inner.put(objectKey(address), value);
    return address;
  };
  return {
    ...{ directory, open, put, inner },
    gets: () => gets,
    damageNext: () => {
      damage = true;
    },
  };
}

const value = (n: number, length = 1000) => Uint8Array.from({ length }, (_, i) => n + i);

test("objects and ranges are read once, by all who share the directory", async () => {
  const { open, put, gets } = await behind();
  const key = objectKey(await put(value(1)));
  for (const store of [open(), open()]) {
    for (const range of [undefined, { offset: 10, length: 20 }]) {
      const found = await store.get(key, range);
      expect(Array.from(found?.bytes ?? [])).toEqual(
        Array.from(range === undefined ? value(1) : value(1).subarray(10, 30)),
      );
    }
  }
  expect(gets()).toBe(2);
});

test("refs are never kept", async () => {
  const { open, inner } = await behind();
  const store = open();
  await inner.put("refs/a", value(1));
  await store.get("refs/a");
  await inner.put("refs/a", value(2));
  expect((await store.get("refs/a"))?.bytes).toEqual(value(2));
});

test("an absent object is asked for again", async () => {
  const { open, put } = await behind();
  const store = open();
  const key = objectKey(addressOf(value(1)));
  expect(await store.get(key)).toBeUndefined();
  await put(value(1));
  expect((await store.get(key))?.bytes).toEqual(value(1));
});

test.each([
  ["damaged", (bytes: Uint8Array) => bytes.map((byte, i) => (i === 40 ? byte ^ 1 : byte))],
  ["torn", (bytes: Uint8Array) => bytes.subarray(0, 500)],
  ["empty", () => new Uint8Array()],
])("a %s file counts as absent", async (_, change) => {
  const { directory, open, put, gets } = await behind();
  const key = objectKey(await put(value(1)));
  await open().get(key);
  const [name] = await readdir(directory);
  const path = join(directory, name as string);
  await writeFile(path, change(await readFile(path)));
  expect(new Uint8Array((await open().get(key))?.bytes ?? [])).toEqual(value(1));
  expect(gets()).toBe(2);
});

test("what a transfer damaged is read past the cache, and replaced in it", async () => {
  const { open, put, gets, damageNext } = await behind();
  const address = await put(value(1));
  damageNext();
  const read = (store: Store) => new Session(store, 0).object(address);
  expect(new Uint8Array(await read(open()))).toEqual(value(1));
  expect(new Uint8Array(await read(open()))).toEqual(value(1));
  expect(gets()).toBe(2);
});

test("what was longest unused goes when the budget is passed", async () => {
  const { directory, open, put } = await behind(5000);
  const store = open();
  for (let n = 0; n < 12; n++) await store.get(objectKey(await put(value(n))));
  const names = await readdir(directory);
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).size));
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(5000);
  expect(names.length).toBeGreaterThan(1);
});

test("a cache that can't be written is done without", async () => {
  const { inner, put } = await behind();
  const address = await put(value(1));
  const store = cachedInDirectory(inner, { directory: "/dev/null/cache" });
  expect((await store.get(objectKey(address)))?.bytes).toEqual(value(1));
});

test("options are checked", async () => {
  const { inner } = await behind();
  expect(await refusal(async () => cachedInDirectory(inner, { directory: "" }))).toMatchObject({
    code: "InvalidArgument",
  });
});
