/**
 * What was read of objects, kept by the browser beyond the page (the Cache API, in pages and workers alike): a store in front of
 * another. Every entry carries the BLAKE3 of its bytes, so that damaged ones count as absent; who reads checks the bytes by their
 * own hash as ever, and asks `again` past the cache where they are not what they should be.
 */
import { blake3, toHex } from "../core/blake3.ts";
import { isObjectKey } from "./key.ts";
import type { ByteRange, GetOptions, Store, StoredValue } from "./store.ts";

/** A cache over its budget is brought down to this share of it. */
const LEFT_AFTER_EVICTION = 0.8;
const DIGEST = "x-blake3";
const LENGTH = "x-bytes";
/** Requests need an address; this one is of nobody, by RFC 2606, and is never sent. */
const PLACE = "https://dreamdb.invalid/";

export interface PersistedOptions {
  /** Budget in bytes, roughly: each page counts what it adds. */
  bytes: number;
  name?: string;
  /** In place of the browser's own. */
  caches?: CacheStorage | undefined;
}

/**
 * `store`, with objects and ranges of them kept. Where there is no such cache (in pages that are not secure contexts, in Node)
 * or it fails, it is done without.
 */
export function persisted(store: Store, options: PersistedOptions): Store {
  const cache = new PersistentCache(options);
  const get = async (
    key: string,
    range?: ByteRange,
    given?: GetOptions,
  ): Promise<StoredValue | undefined> => {
    if (!isObjectKey(key)) return store.get(key, range, given);
    const name = nameOf(key, range);
    const held = given?.again === true ? undefined : await cache.read(name);
    if (held !== undefined) return { bytes: held, etag: "immutable" };
    const found = await store.get(key, range, given);
    // Not waited for: what was read is wanted now. A view into a buffer that is used again has to be copied first.
    if (found !== undefined) void cache.write(name, found.bytes.slice());
    return found;
  };
  return {
    url: store.url,
    ...(store.sharedUrl === undefined ? {} : { sharedUrl: store.sharedUrl }),
    ...(store.isRemote === undefined ? {} : { isRemote: store.isRemote }),
    get,
    put: (...given) => store.put(...given),
    delete: (...given) => store.delete(...given),
    list: (...given) => store.list(...given),
    close: async () => store.close?.(),
  };
}

function nameOf(key: string, range: ByteRange | undefined): string {
  const address = key.slice(key.lastIndexOf("/") + 1);
  return PLACE + (range === undefined ? address : `${address}.${range.offset}-${range.length}`);
}

class PersistentCache {
  readonly #budget: number;
  readonly #opened: Promise<Cache | undefined>;
  /** Bytes held, as far as this page knows; undefined until it has looked. */
  #held: Promise<number> | undefined;
  #added = 0;
  #evicting: Promise<void> | undefined;

  constructor({ bytes, name = "dreamdb", caches }: PersistedOptions) {
    this.#budget = bytes;
    this.#opened = openCache(name, caches);
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    try {
      const cache = await this.#opened;
      const found = await cache?.match(name);
      if (found === undefined) return undefined;
      const bytes = new Uint8Array(await found.arrayBuffer());
      if (found.headers.get(DIGEST) === toHex(blake3(bytes))) return bytes;
      await cache?.delete(name);
    } catch {
      // As if it were not there.
    }
    return undefined;
  }

  async write(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (bytes.length > this.#budget) return;
    try {
      const cache = await this.#opened;
      if (cache === undefined) return;
      this.#held ??= entriesOf(cache).then((entries) => entries.reduce((sum, entry) => sum + entry.bytes, 0));
      const held = await this.#held;
      const headers = { [DIGEST]: toHex(blake3(bytes)), [LENGTH]: String(bytes.length) };
      await cache.put(name, new Response(bytes, { headers }));
      this.#added += bytes.length;
      if (held + this.#added > this.#budget) await this.#evict(cache);
    } catch {
      // No room, or no leave: what is kept stays as it is.
    }
  }

  /** One at a time: removes what was kept longest. */
  #evict(cache: Cache): Promise<void> {
    this.#evicting ??= this.#removeOldest(cache).finally(() => {
      this.#evicting = undefined;
    });
    return this.#evicting;
  }

  async #removeOldest(cache: Cache): Promise<void> {
    const entries = await entriesOf(cache);
    let held = entries.reduce((sum, { bytes }) => sum + bytes, 0);
    if (held > this.#budget) {
      for (const { request, bytes } of entries) {
        if (held <= LEFT_AFTER_EVICTION * this.#budget) break;
        await cache.delete(request);
        held -= bytes;
      }
    }
    this.#held = Promise.resolve(held);
    this.#added = 0;
  }
}

/** Frames without an origin may not even ask for it. */
async function openCache(name: string, given: CacheStorage | undefined): Promise<Cache | undefined> {
  try {
    const caches = given ?? (globalThis as { caches?: CacheStorage }).caches;
    return await caches?.open(name);
  } catch {
    return undefined;
  }
}

/** In the order of their keeping. */
async function entriesOf(cache: Cache): Promise<{ request: Request; bytes: number }[]> {
  const requests = await cache.keys();
  return Promise.all(
    requests.map(async (request) => {
      const found = await cache.match(request);
      return { request, bytes: Number(found?.headers.get(LENGTH) ?? 0) };
    }),
  );
}
