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
import type { Store } from "../store/store.ts";

/** Two ranges with less between them are read as one. */
const COALESCE_GAP_BYTES = 64 << 10;
/** A coalesced read stops growing here. */
const COALESCE_MAX_BYTES = 4 << 20;
/** Requests under way at once. */
const CONCURRENCY = 8;

export interface Traffic {
  requests: number;
  bytes: number;
  /** Times that a request was sent while none was under way: each waited for the answers before it. */
  roundTrips: number;
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
  readonly traffic: Traffic = { requests: 0, bytes: 0, roundTrips: 0 };
  private underWay = 0;
  private readonly cache: Lru<unknown>;

  /** @param cacheBytes budget of the cache of verified bytes */
  constructor(store: Store, cacheBytes: number) {
    this.store = store;
    this.cache = new Lru(cacheBytes);
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
    const { ref, whole } = container;
    if (whole !== undefined)
      return spans.map((span) => whole.subarray(span.offset, span.offset + span.bytes));
    const out: Uint8Array[] = new Array(spans.length);
    const missing: number[] = [];
    spans.forEach((span, i) => {
      const held = this.cache.get(spanKey(ref.address, span)) as Uint8Array | undefined;
      if (held === undefined) missing.push(i);
      else out[i] = held;
    });
    await this.readSpans(
      ref.address,
      missing.map((i) => spans[i] as Span),
      (i, bytes, isOnly) => {
        const span = spans[missing[i] as number] as Span;
        checkHash(bytes, span.hash, `${ref.address} bytes ${span.offset}–${span.offset + span.bytes - 1}`);
        const own = isOnly || !keep ? bytes : bytes.slice();
        if (keep) this.cache.set(spanKey(ref.address, span), own, own.length);
        out[missing[i] as number] = own;
      },
      keep ? undefined : landing,
    );
    return out;
  }

  /**
   * Reads `spans` coalesced and hands over each; the receiver checks the hash and throws `HashMismatch`, upon
   * which that one span is read once more.
   */
  async readSpans(
    address: Address,
    spans: readonly Span[],
    receive: (index: number, bytes: Uint8Array, isOnly: boolean) => void,
    landing?: Landing,
  ): Promise<void> {
    const groups = coalesce(spans);
    await inParallel(groups, async (group) => {
      const found = await this.range(address, group.offset, group.length, landing?.room(group.length));
      for (const index of group.members) {
        const span = spans[index] as Span;
        const start = span.offset - group.offset;
        const bytes = found.subarray(start, start + span.bytes);
        try {
          receive(index, bytes, group.members.length === 1);
        } catch (error) {
          if (!isDreamDBError(error, "HashMismatch")) throw error;
          receive(index, await this.range(address, span.offset, span.bytes), true);
        }
      }
    }).catch((error: unknown) => {
      // Reads that are still under way may write there.
      landing?.abandon();
      throw error;
    });
  }

  private async cached<T>(key: string, load: () => Promise<{ value: T; bytes: number }>): Promise<T> {
    const held = this.cache.get(key) as T | undefined;
    if (held !== undefined) return held;
    const { value, bytes } = await load();
    this.cache.set(key, value, bytes);
    return value;
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
      const second = await this.read(address, range);
      check(second);
      return second;
    }
  }

  private async range(
    address: Address,
    offset: number,
    length: number,
    into?: Uint8Array,
  ): Promise<Uint8Array> {
    const bytes = await this.read(address, { offset, length }, into);
    if (bytes.length !== length) {
      const again = await this.read(address, { offset, length });
      if (again.length !== length) throw lengthMismatch(`${address} from ${offset}`, again.length, length);
      return again;
    }
    return bytes;
  }

  private async read(
    address: Address,
    range: { offset: number; length: number } | undefined,
    into?: Uint8Array,
  ): Promise<Uint8Array> {
    if (this.underWay++ === 0) this.traffic.roundTrips++;
    const key = objectKey(address);
    const asked = into === undefined ? this.store.get(key, range) : this.store.get(key, range, into);
    const found = await asked.finally(() => this.underWay--);
    if (found === undefined) {
      throw new DreamDBError("NotFound", "an object that the dataset refers to is missing", {
        field: key,
        expected: "an object with this address",
      });
    }
    this.traffic.requests++;
    this.traffic.bytes += found.bytes.length;
    return found.bytes;
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

interface Group {
  offset: number;
  length: number;
  members: number[];
}

/** Plans which spans share a read; a pure function. */
export function coalesce(spans: readonly Span[]): Group[] {
  const order = spans.map((_, i) => i).sort((a, b) => (spans[a] as Span).offset - (spans[b] as Span).offset);
  const groups: Group[] = [];
  for (const index of order) {
    const span = spans[index] as Span;
    const end = span.offset + span.bytes;
    const last = groups.at(-1);
    if (
      last !== undefined &&
      span.offset - (last.offset + last.length) <= COALESCE_GAP_BYTES &&
      end - last.offset <= COALESCE_MAX_BYTES
    ) {
      last.length = Math.max(last.length, end - last.offset);
      last.members.push(index);
    } else {
      groups.push({ offset: span.offset, length: span.bytes, members: [index] });
    }
  }
  return groups;
}

/** Runs `work` over `items`, a bounded number at a time; the first failure wins. */
export async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const lanes = Array.from({ length: Math.min(CONCURRENCY, items.length) }, async () => {
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
