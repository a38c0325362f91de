import { type DreamDBError, isDreamDBError } from "../../src/errors.ts";
import { directoryStore } from "../../src/store/directory.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { httpStore } from "../../src/store/remote/http.ts";
import { s3Store } from "../../src/store/remote/s3.ts";
import type { ByteRange, ListedKey, PutCondition, Store, StoredValue } from "../../src/store/store.ts";
import { withServer } from "../store/object-server.ts";
import { freshS3Places, S3_URL } from "../store/s3-place.ts";

/**
 * Every kind of store, each made new and empty; `fresh` gives an unused path. Under `npm run test:s3` that is signed S3
 * alone, since `npm test` has run the others.
 */
export function storeKinds(fresh: () => string): [name: string, make: () => Store][] {
  if (S3_URL !== undefined) {
    const freshPlace = freshS3Places();
    return [["s3", () => s3Store(freshPlace())]];
  }
  const server = withServer();
  let places = 0;
  return [
    ["memory", () => memoryStore()],
    ["directory", () => directoryStore(fresh())],
    ["http", () => httpStore(`${server.url}/bucket/p${places++}`, { onWarning: () => {} })],
  ];
}

/** One request to a store, counted from 0. */
export interface Request {
  number: number;
  verb: "get" | "put" | "delete" | "list";
  key: string;
  condition?: PutCondition;
  range?: ByteRange;
}

/** A store whose requests all go through `around`, which may wait, fail, or not run them at all. */
export function watchedStore(
  inner: Store,
  around: (request: Request, run: () => Promise<unknown>) => Promise<unknown>,
): Store {
  let number = 0;
  const watch = <T>(request: Omit<Request, "number">, run: () => Promise<T>) =>
    around({ number: number++, ...request }, run) as Promise<T>;
  return {
    url: inner.url,
    get: (key, range) =>
      watch<StoredValue | undefined>({ verb: "get", key, ...(range === undefined ? {} : { range }) }, () =>
        inner.get(key, range),
      ),
    put: (key, bytes, condition) =>
      watch({ verb: "put", key, ...(condition === undefined ? {} : { condition }) }, () =>
        inner.put(key, bytes, condition),
      ),
    delete: (key) => watch({ verb: "delete", key }, () => inner.delete(key)),
    async *list(prefix) {
      yield* await watch({ verb: "list", key: prefix }, () => listing(inner, prefix));
    },
  };
}

export async function listing(store: Store, prefix = ""): Promise<ListedKey[]> {
  const keys: ListedKey[] = [];
  for await (const item of store.list(prefix)) keys.push(item);
  return keys;
}

/** Everything a store holds, with the tags of its refs: equal before and after when nothing was written. */
export async function contents(store: Store): Promise<string[]> {
  const lines: string[] = [];
  for (const { key, bytes } of await listing(store)) {
    lines.push(`${key} ${bytes} ${(await store.get(key))!.etag}`);
  }
  return lines;
}

/** A copy in memory, so that each run of a test starts from the same state. */
export async function copyOf(store: Store): Promise<Store> {
  const copy = memoryStore();
  for (const { key } of await listing(store)) await copy.put(key, (await store.get(key))!.bytes);
  return copy;
}

/** What `work` throws, as a DreamDBError; anything else, and no error at all, fails the test. */
export async function refusal(work: () => unknown): Promise<DreamDBError> {
  try {
    await work();
  } catch (error) {
    if (isDreamDBError(error)) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}
