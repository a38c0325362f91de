import { expect, test } from "@jest/globals";
import { addressOf, objectKey } from "../../src/core/address.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { persisted } from "../../src/store/persisted.ts";
import type { Store } from "../../src/store/store.ts";

/** Cache storage as browsers have it, in order of keeping; `fail` makes every call of it fail. */
function fakeCaches() {
  const held = new Map<string, Map<string, Response>>();
  const state = { fail: false, held };
  const open = async (name: string) => {
    const entries = held.get(name) ?? new Map<string, Response>();
    held.set(name, entries);
    const keyOf = (request: string | Request) => (typeof request === "string" ? request : request.url);
    const guard = () => {
      if (state.fail) throw new Error("QuotaExceededError");
    };
    return {
      async match(request: string | Request) {
        guard();
        return entries.get(keyOf(request))?.clone();
      },
      async put(request: string | Request, response: Response) {
        guard();
        entries.set(keyOf(request), response);
      },
      async delete(request: string | Request) {
        guard();
        return entries.delete(keyOf(request));
      },
      async keys() {
        guard();
        return [...entries.keys()].map((url) => new Request(url));
      },
    };
  };
  return { ...state, state, caches: { open } as unknown as CacheStorage };
}

/** A store of three objects of 1,000 bytes, and the keys that were read of it. */
async function filled() {
  const inner = memoryStore();
  const keys: string[] = [];
  for (let i = 0; i < 3; i++) {
    const bytes = new Uint8Array(1000).fill(i);
    keys.push(objectKey(addressOf(bytes)));
    await inner.put(keys[i] as string, bytes);
  }
  const asked: string[] = [];
  const store: Store = {
    ...inner,
    url: inner.url,
    get: (key, range, options) => {
      asked.push(key);
      return inner.get(key, range, options);
    },
    put: (...given) => inner.put(...given),
    delete: (...given) => inner.delete(...given),
    list: (...given) => inner.list(...given),
  };
  return { store, keys: keys as [string, string, string], asked };
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

test("objects and ranges are read once, refs every time", async () => {
  const { store, keys, asked } = await filled();
  const { caches } = fakeCaches();
  await store.put("refs/x", Uint8Array.of(7));
  for (let visit = 0; visit < 2; visit++) {
    const cached = persisted(store, { bytes: 10_000, caches });
    expect((await cached.get(keys[1]))?.bytes).toEqual(new Uint8Array(1000).fill(1));
    expect((await cached.get(keys[2], { offset: 10, length: 20 }))?.bytes).toEqual(
      new Uint8Array(20).fill(2),
    );
    expect((await cached.get("refs/x"))?.bytes).toEqual(Uint8Array.of(7));
    expect(await cached.get(objectKey(addressOf(Uint8Array.of(1))))).toBeUndefined();
    await settled();
  }
  expect(asked.filter((key) => key === keys[1])).toHaveLength(1);
  expect(asked.filter((key) => key === keys[2])).toHaveLength(1);
  expect(asked.filter((key) => key === "refs/x")).toHaveLength(2);
});

test("what is damaged, or asked for again, is read from the store", async () => {
  const { store, keys, asked } = await filled();
  const { caches, held } = fakeCaches();
  const cached = persisted(store, { bytes: 10_000, name: "own", caches });
  await cached.get(keys[0]);
  await settled();
  const entries = held.get("own") as Map<string, Response>;
  const [[url, kept]] = [...entries] as [[string, Response]];
  const damaged = new Uint8Array(1000);
  damaged[5] = 9;
  entries.set(url, new Response(damaged, { headers: kept.headers }));
  expect((await cached.get(keys[0]))?.bytes).toEqual(new Uint8Array(1000));
  expect(asked).toHaveLength(2);
  await settled();
  await cached.get(keys[0], undefined, { again: true });
  expect(asked).toHaveLength(3);
});

test("it stays within its budget, and what was kept longest goes first", async () => {
  const { store, keys, asked } = await filled();
  const { caches, held } = fakeCaches();
  const cached = persisted(store, { bytes: 2500, caches });
  await Promise.all(keys.map((key) => cached.get(key)));
  await settled();
  expect([...(held.get("dreamdb") as Map<string, Response>).keys()].map((url) => url.slice(-55))).toEqual([
    keys[1].slice(-55),
    keys[2].slice(-55),
  ]);
  asked.length = 0;
  for (const key of [keys[1], keys[2], keys[0]]) await cached.get(key);
  expect(asked).toEqual([keys[0]]);
});

test("closing waits for what is on its way into the cache", async () => {
  const { store, keys } = await filled();
  const { caches, held } = fakeCaches();
  const cached = persisted(store, { bytes: 10_000, caches });
  await Promise.all(keys.map((key) => cached.get(key)));
  await cached.close?.();
  expect(held.get("dreamdb")?.size).toBe(3);
});

test("an object beyond the budget is not kept, nor does it drive others out", async () => {
  const { store, keys } = await filled();
  const { caches, held } = fakeCaches();
  const cached = persisted(store, { bytes: 500, caches });
  await cached.get(keys[0], { offset: 0, length: 400 });
  await cached.get(keys[1]);
  await settled();
  expect([...(held.get("dreamdb") as Map<string, Response>).keys()]).toEqual([
    expect.stringContaining(".0-400"),
  ]);
});

test("a cache that fails, or that there is none of, is done without", async () => {
  const { store, keys } = await filled();
  const { caches, state } = fakeCaches();
  state.fail = true;
  for (const each of [persisted(store, { bytes: 500, caches }), persisted(store, { bytes: 500 })]) {
    expect((await each.get(keys[0]))?.bytes.length).toBe(1000);
    await settled();
    expect((await each.get(keys[0]))?.bytes.length).toBe(1000);
  }
});
