/**
 * What was read of objects, kept by the browser beyond the page (the Cache API, in pages and workers alike). Every entry carries
 * the BLAKE3 of its bytes, so that damaged ones count as absent.
 */
import { blake3, toHex } from "../core/blake3.ts";
import { type Keeper, kept } from "./kept.ts";
import type { Store } from "./store.ts";

/** A cache over its budget is brought down to this share of it. */
const LEFT_AFTER_EVICTION = 0.8;
/** Bytes on their way into the cache; what comes beyond is not kept. */
const MAX_WAITING_BYTES = 64 << 20;
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
  // Workers for batch queries may open the store by its address, past what is kept.
  const { sharedUrl } = store;
  return { ...kept(store, cache), ...(sharedUrl === undefined ? {} : { sharedUrl }) };
}

class PersistentCache implements Keeper {
  readonly #budget: number;
  readonly #opened: Promise<Cache | undefined>;
  /** Bytes held, as far as this page knows; undefined until it has looked. */
  #held: number | undefined;
  /** Writes come one after the other, so that what is held is counted right. */
  #last: Promise<void> = Promise.resolve();
  #waitingBytes = 0;

  constructor({ bytes, name = "dreamdb", caches }: PersistedOptions) {
    this.#budget = bytes;
    this.#opened = openCache(name, caches);
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    try {
      const cache = await this.#opened;
      const found = await cache?.match(PLACE + name);
      if (found === undefined) return undefined;
      const bytes = new Uint8Array(await found.arrayBuffer());
      if (found.headers.get(DIGEST) === toHex(blake3(bytes))) return bytes;
      await cache?.delete(PLACE + name);
    } catch {
      // As if it were not there.
    }
    return undefined;
  }

  /** Copies what it is to keep, and is not waited for: what was read is wanted now. */
  write(name: string, bytes: Uint8Array): void {
    if (bytes.length > Math.min(this.#budget, MAX_WAITING_BYTES - this.#waitingBytes)) return;
    const own = bytes.slice();
    this.#waitingBytes += own.length;
    this.#last = this.#last
      .then(() => this.#write(name, own))
      // No room, or no leave: what is kept stays as it is.
      .catch(() => undefined)
      .then(() => {
        this.#waitingBytes -= own.length;
      });
  }

  /** What is on its way into the cache would end with a worker. */
  settled(): Promise<void> {
    return this.#last;
  }

  async #write(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const cache = await this.#opened;
    if (cache === undefined) return;
    this.#held ??= bytesOf(await entriesOf(cache));
    const headers = { [DIGEST]: toHex(blake3(bytes)), [LENGTH]: String(bytes.length) };
    this.#held += bytes.length;
    if (this.#held > this.#budget) this.#held = (await this.#makeRoom(cache, bytes.length)) + bytes.length;
    await cache.put(PLACE + name, new Response(bytes, { headers }));
  }

  /** Removes what was kept longest, until `wanted` bytes fit in what is to be left. @returns the bytes that stay */
  async #makeRoom(cache: Cache, wanted: number): Promise<number> {
    const entries = await entriesOf(cache);
    const most = Math.max(0, LEFT_AFTER_EVICTION * this.#budget - wanted);
    let held = bytesOf(entries);
    if (held + wanted <= this.#budget) return held;
    for (const { request, bytes } of entries) {
      if (held <= most) break;
      await cache.delete(request);
      held -= bytes;
    }
    return held;
  }
}

interface Entry {
  request: Request;
  bytes: number;
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
async function entriesOf(cache: Cache): Promise<Entry[]> {
  const requests = await cache.keys();
  return Promise.all(
    requests.map(async (request) => {
      const found = await cache.match(request);
      return { request, bytes: Number(found?.headers.get(LENGTH) ?? 0) };
    }),
  );
}

function bytesOf(entries: readonly Entry[]): number {
  return entries.reduce((sum, { bytes }) => sum + bytes, 0);
}
