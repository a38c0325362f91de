/**
 * Verified reads: every byte that leaves here has been checked against the hash that its index names, and is
 * kept within a budget. Ranges that lie close together travel as one request.
 */
import { type Address, addressDigest, objectKey } from "../core/address.ts";
import { checkHash, equalBytes, toHex } from "../core/blake3.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import { type ColumnHead, decodeColumnHead, type Span } from "../objects/column.ts";
import type { ContainerRef } from "../objects/container-ref.ts";
import { Lru } from "../store/lru.ts";
import { signalled } from "../store/signalled.ts";
import type { Store, StoredValue } from "../store/store.ts";
import { coalesce, type Group, LOCAL_READS, REMOTE_READS, type Reads } from "./coalesce.ts";
import type { Redactions } from "./redactions.ts";

/** Pieces of work under way at once. */
const CONCURRENCY = 8;
/** Reads under way at once: all that one step of a query asks of a remote store, so that it waits for them together. */
const READS_AT_ONCE = 32;

export interface Traffic {
  requests: number;
  bytes: number;
  /** The longest chain of requests each of which was sent after an answer to the one before it. */
  roundTrips: number;
}

/** Is told of each request: its place in its chain, from 0, the bytes of the answer, and how long that took. */
export type TrafficWatcher = (roundTrip: number, bytes: number, ms: number) => void;

/** Spans of one container. */
export interface SpansWanted {
  container: OpenContainer<unknown>;
  spans: readonly Span[];
}

/** A container's decoded head, and its bytes when it was small enough to be read whole. */
export interface OpenContainer<H> {
  ref: ContainerRef;
  head: H;
  whole?: Uint8Array;
}

/**
 * Where bytes are read to that are soon copied elsewhere: one buffer, used again and again. A megabyte allocated for
 * every read would stay until the engine collects it, which is late.
 */
export class Landing {
  private buffer = new Uint8Array(0);
  private used = 0;
  /** The most that was used between two resets. */
  private most = 0;

  /** To be called when nothing that was read is needed any more: it goes stale. */
  reset(): void {
    this.most = Math.max(this.most, this.used);
    this.used = 0;
  }

  /** Lets go of the buffer. */
  abandon(): void {
    this.buffer = new Uint8Array(0);
    this.used = 0;
    this.most = 0;
  }

  /** Room for `length` bytes, until the next `reset`. */
  room(length: number): Uint8Array {
    const from = this.used;
    if (from === 0 && this.most > this.buffer.length) this.buffer = new Uint8Array(this.most);
    this.used += length;
    return this.used <= this.buffer.length ? this.buffer.subarray(from, this.used) : new Uint8Array(length);
  }
}

export class Session {
  readonly store: Store;
  /** What was read from the backend so far. */
  readonly traffic: Traffic;
  /** How ranges are put together. */
  readonly reads: Reads;
  /** What stands for containers that deleted records were taken out of, as soon as anybody has had to know. */
  readonly following: { redactions: Redactions | undefined };
  private readonly watchers: Set<TrafficWatcher>;
  /** Round trips that were begun, and those that an answer has come back from. */
  private readonly trips: { begun: number; answered: number };
  /** What this object is loading, so that nobody asks for it twice at one time. */
  private readonly loading = new Map<string, Promise<unknown>>();
  private readonly cache: Lru<unknown>;

  /**
   * @param cacheBytes budget of the cache of verified bytes
   * @param shared whose cache and counters this one uses as its own
   */
  constructor(store: Store, cacheBytes: number, shared?: Session, reads: Partial<Reads> = {}) {
    this.store = store;
    this.cache = shared?.cache ?? new Lru(cacheBytes);
    this.traffic = shared?.traffic ?? { requests: 0, bytes: 0, roundTrips: 0 };
    this.watchers = shared?.watchers ?? new Set();
    this.trips = shared?.trips ?? { begun: 0, answered: 0 };
    this.following = shared?.following ?? { redactions: undefined };
    this.reads = shared?.reads ?? { ...(store.isRemote === true ? REMOTE_READS : LOCAL_READS), ...reads };
  }

  /** Tells `watcher` of every request until the function that comes back is called. */
  watch(watcher: TrafficWatcher): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  /** A value that may change, such as a ref, as the backend has it now. */
  current(key: string): Promise<StoredValue | undefined> {
    return this.counted(() => this.store.get(key));
  }

  /** Whether an object is there now, past all caches. */
  async isStored(address: Address): Promise<boolean> {
    return (
      (await this.counted(() => this.store.get(objectKey(address), { offset: 0, length: 0 }))) !== undefined
    );
  }

  /** The same session for one call, whose requests end with `signal`. */
  until(signal: AbortSignal | undefined): Session {
    return signal === undefined ? this : new Session(signalled(this.store, signal), 0, this);
  }

  /** A whole object, verified by its address. Errors: `NotFound`, `HashMismatch`. */
  async object(address: Address): Promise<Uint8Array> {
    return this.cached(address, async () => {
      const digest = addressDigest(address);
      const bytes = await this.verified(address, undefined, (found) => checkHash(found, digest, address));
      return { value: bytes, bytes: bytes.length };
    });
  }

  /** The head of a container, decoded once. */
  async open<H>(
    ref: ContainerRef,
    decode: (bytes: Uint8Array, totalBytes: number) => H,
  ): Promise<OpenContainer<H>> {
    return this.cached<OpenContainer<H>>(`${ref.address}#head`, async () => {
      const { head } = ref;
      if (head === undefined) {
        const digest = addressDigest(ref.address);
        const whole = await this.verified(ref.address, undefined, (found) =>
          checkHash(found, digest, ref.address),
        );
        if (whole.length !== ref.bytes) throw lengthMismatch(ref.address, whole.length, ref.bytes);
        return { value: { ref, head: decode(whole, ref.bytes), whole }, bytes: 512 + whole.length };
      }
      const range = { offset: 0, length: head.bytes };
      const bytes = await this.verified(ref.address, range, (found) =>
        checkHash(found, head.hash, `${ref.address} head`),
      );
      return { value: { ref, head: decode(bytes, ref.bytes) }, bytes: 2 * bytes.length };
    });
  }

  openColumn(ref: ContainerRef): Promise<OpenContainer<ColumnHead>> {
    return this.open(ref, decodeColumnHead);
  }

  /**
   * The bytes of `spans` in their order, verified.
   * @param keep whether to keep them in the cache
   * @param landing where bytes that are not kept are read to: they go stale with its next `reset`
   */
  async spans(
    container: OpenContainer<unknown>,
    spans: readonly Span[],
    keep = true,
    landing?: Landing,
  ): Promise<Uint8Array[]> {
    const [bytes] = await this.spansOf([{ container, spans }], keep, landing);
    return bytes as Uint8Array[];
  }

  /** As `spans`, of many containers in one step. @param reads how ranges are put together in place of the session's way */
  async spansOf(
    wanted: readonly SpansWanted[],
    keep = true,
    landing?: Landing,
    reads = this.reads,
  ): Promise<Uint8Array[][]> {
    const out: Uint8Array[][] = wanted.map(({ spans }) => new Array(spans.length));
    const missing: number[][] = wanted.map(() => []);
    for (const [list, { container, spans }] of wanted.entries()) {
      const { ref, whole } = container;
      for (const [i, span] of spans.entries()) {
        const held =
          whole?.subarray(span.offset, span.offset + span.bytes) ??
          (this.cache.get(spanKey(ref.address, span)) as Uint8Array | undefined);
        if (held === undefined) (missing[list] as number[]).push(i);
        else (out[list] as Uint8Array[])[i] = held;
      }
    }
    const lists = wanted.map(({ container, spans }, list) => ({
      address: container.ref.address,
      spans: (missing[list] as number[]).map((i) => spans[i] as Span),
    }));
    await this.readLists(
      lists,
      (list, i, bytes, isOnly) => {
        const { address, spans } = lists[list] as (typeof lists)[number];
        const span = spans[i] as Span;
        checkHash(bytes, span.hash, `${address} bytes ${span.offset}–${span.offset + span.bytes - 1}`);
        const own = isOnly || !keep ? bytes : bytes.slice();
        if (keep) this.cache.set(spanKey(address, span), own, own.length);
        (out[list] as Uint8Array[])[(missing[list] as number[])[i] as number] = own;
      },
      keep ? undefined : landing,
      reads,
    );
    return out;
  }

  /**
   * Reads `spans` coalesced and hands over each; the receiver checks the hash and throws `HashMismatch`, upon
   * which that one span is read once more.
   */
  readSpans(
    address: Address,
    spans: readonly Span[],
    receive: (index: number, bytes: Uint8Array, isOnly: boolean) => void,
  ): Promise<void> {
    return this.readLists([{ address, spans }], (_, index, bytes, isOnly) => receive(index, bytes, isOnly));
  }

  private async readLists(
    lists: readonly { address: Address; spans: readonly Span[] }[],
    receive: (list: number, index: number, bytes: Uint8Array, isOnly: boolean) => void,
    landing?: Landing,
    reads = this.reads,
  ): Promise<void> {
    const groups = coalesce(
      lists.map(({ spans }) => spans),
      reads,
    );
    const read = async ({ list, offset, length, members }: Group): Promise<void> => {
      const { address, spans } = lists[list] as (typeof lists)[number];
      const found = await this.range(address, offset, length, landing?.room(length));
      for (const index of members) {
        const span = spans[index] as Span;
        const start = span.offset - offset;
        const bytes = found.subarray(start, start + span.bytes);
        try {
          receive(list, index, bytes, members.length === 1);
        } catch (error) {
          if (!isDreamDBError(error, "HashMismatch")) throw error;
          receive(list, index, await this.range(address, span.offset, span.bytes, undefined, true), true);
        }
      }
    };
    await inParallel(groups, read, READS_AT_ONCE).catch((error: unknown) => {
      // Reads that are still under way may write there.
      landing?.abandon();
      throw error;
    });
  }

  private async cached<T>(key: string, load: () => Promise<{ value: T; bytes: number }>): Promise<T> {
    const held = this.cache.get(key) as T | undefined;
    if (held !== undefined) return held;
    const underWay = this.loading.get(key) as Promise<T> | undefined;
    if (underWay !== undefined) return underWay;
    const loaded = load().then(({ value, bytes }) => {
      this.cache.set(key, value, bytes);
      return value;
    });
    this.loading.set(key, loaded);
    try {
      return await loaded;
    } finally {
      this.loading.delete(key);
    }
  }

  /** One read, checked; on a mismatch it is read once more, since a transfer may have damaged it. */
  private async verified(
    address: Address,
    range: { offset: number; length: number } | undefined,
    check: (bytes: Uint8Array) => void,
  ): Promise<Uint8Array> {
    const first = await this.read(address, range);
    try {
      check(first);
      return first;
    } catch {
      const second = await this.read(address, range, undefined, true);
      check(second);
      return second;
    }
  }

  private async range(
    address: Address,
    offset: number,
    length: number,
    into?: Uint8Array,
    isAgain = false,
  ): Promise<Uint8Array> {
    const bytes = await this.read(address, { offset, length }, into, isAgain);
    if (bytes.length !== length) {
      const again = await this.read(address, { offset, length }, undefined, true);
      if (again.length !== length) throw lengthMismatch(`${address} from ${offset}`, again.length, length);
      return again;
    }
    return bytes;
  }

  private async read(
    address: Address,
    range: { offset: number; length: number } | undefined,
    into?: Uint8Array,
    isAgain = false,
  ): Promise<Uint8Array> {
    const key = objectKey(address);
    const options = { ...(into === undefined ? {} : { into }), ...(isAgain ? { again: true } : {}) };
    const found = await this.counted(() =>
      into === undefined && !isAgain ? this.store.get(key, range) : this.store.get(key, range, options),
    );
    if (found === undefined) {
      throw new DreamDBError("NotFound", "an object that the dataset refers to is missing", {
        field: key,
        expected: "an object with this address",
      });
    }
    return found.bytes;
  }

  private async counted(ask: () => Promise<StoredValue | undefined>): Promise<StoredValue | undefined> {
    const { traffic, trips, watchers } = this;
    const roundTrip = trips.answered;
    if (roundTrip === trips.begun) {
      trips.begun++;
      traffic.roundTrips++;
    }
    const started = performance.now();
    try {
      const found = await ask();
      const bytes = found?.bytes.length ?? 0;
      traffic.requests++;
      traffic.bytes += bytes;
      for (const watcher of watchers) watcher(roundTrip, bytes, performance.now() - started);
      return found;
    } finally {
      trips.answered = Math.max(trips.answered, roundTrip + 1);
    }
  }
}

function spanKey(address: Address, span: Span): string {
  return `${address}:${span.offset}`;
}

function lengthMismatch(field: string, found: number, expected: number): DreamDBError {
  return new DreamDBError("HashMismatch", "stored object has another length than its index says", {
    field,
    found,
    expected,
  });
}

/** Runs `work` over `items`, a bounded number at a time; the first failure wins. */
export async function inParallel<T>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
  atOnce = CONCURRENCY,
): Promise<void> {
  let next = 0;
  const lanes = Array.from({ length: Math.min(atOnce, items.length) }, async () => {
    while (next < items.length) await work(items[next++] as T);
  });
  await Promise.all(lanes);
}

/** Whether `bytes` have the digest in `expected`; throws `HashMismatch` otherwise. Used where hashing runs elsewhere. */
export function compareDigest(found: Uint8Array, expected: Uint8Array, what: string): void {
  if (!equalBytes(found, expected)) {
    throw new DreamDBError("HashMismatch", "stored bytes do not match their hash", {
      field: what,
      found: toHex(found),
      expected: toHex(expected),
    });
  }
}
