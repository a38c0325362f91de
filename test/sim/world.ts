/**
 * The simulated backend: values in memory, and what a network may do to a request on its way there and back. Who asks
 * hands over a `Call`; whoever drives the simulation decides when it arrives and how it ends.
 */
import { blake3, toHex } from "../../src/core/blake3.ts";
import { DreamDBError } from "../../src/errors.ts";
import {
  checkCondition,
  checkKey,
  checkPrefix,
  checkRange,
  conflict,
  isObjectKey,
} from "../../src/store/key.ts";
import type { ByteRange, ListedKey, PutCondition, Store, StoredValue } from "../../src/store/store.ts";

export type Call =
  | { verb: "get"; key: string; range?: ByteRange }
  | { verb: "put"; key: string; bytes: Uint8Array; condition?: PutCondition }
  | { verb: "delete"; key: string }
  /** `part`: 0 or 1 of the half of the keys up to, or from, the middle of all addresses. */
  | { verb: "list"; key: string; part?: 0 | 1 };

/** What came of a call at the backend. */
export type Reply =
  | { is: "value"; value: StoredValue | undefined }
  | { is: "etag"; etag: string }
  | { is: "conflict"; found: string | undefined }
  | { is: "keys"; keys: ListedKey[] }
  | { is: "done" };

/** What the library is told in place of a reply. */
export type Failure =
  /** 503, 429, a connection refused, a deadline passed: says nothing of the outcome. */
  | "unavailable"
  /** The backend says itself that it can't tell: 500 in the middle of a put. */
  | "unknown"
  /** 409, and a 412 that a copy of the request caused: nothing was done by this one. */
  | "conflict"
  /** A full disk or a refused quota: nothing was done, and waiting does not help. */
  | "full";

/**
 * The state of the backend. Tags are made from the bytes, as S3 does, so that only unique bodies make unique tags
 * (spec/0005 §1). Refs are linearisable: a call that arrives sees all that arrived before it. LIST is not.
 */
export class World {
  readonly values: Map<string, StoredValue>;
  /** Keys in the order they came to be; a stale LIST shows a beginning of it. */
  readonly born: string[];

  constructor(from?: World) {
    this.values = new Map(from?.values);
    this.born = [...(from?.born ?? [])];
  }

  /** Carries a call out. A conditional put whose condition fails is a reply, not an error. */
  apply(call: Call): Reply {
    switch (call.verb) {
      case "get":
        return { is: "value", value: cut(this.values.get(call.key), call.range) };
      case "put": {
        const current = this.values.get(call.key)?.etag;
        const { condition } = call;
        if (condition !== undefined && !holds(condition, current)) return { is: "conflict", found: current };
        if (!this.values.has(call.key)) this.born.push(call.key);
        const value = { bytes: call.bytes.slice(), etag: etagOf(call.key, call.bytes) };
        this.values.set(call.key, value);
        return { is: "etag", etag: value.etag };
      }
      case "delete":
        this.values.delete(call.key);
        return { is: "done" };
      case "list":
        return { is: "keys", keys: this.keys(call.key, this.born.length).filter(inPart(call.part)) };
    }
  }

  /** The listing as it was when only the first `known` keys had been made. */
  keys(prefix: string, known: number): ListedKey[] {
    return this.born
      .slice(0, known)
      .filter((key) => key.startsWith(prefix) && this.values.has(key))
      .sort()
      .map((key) => ({ key, bytes: this.values.get(key)!.bytes.length }));
  }
}

function inPart(part: 0 | 1 | undefined): (listed: ListedKey) => boolean {
  return ({ key }) => part === undefined || key < MIDDLE === (part === 0);
}

const MIDDLE = "objects/j";

export function etagOf(key: string, bytes: Uint8Array): string {
  return isObjectKey(key) ? "immutable" : toHex(blake3(bytes).subarray(0, 12));
}

function cut(value: StoredValue | undefined, range: ByteRange | undefined): StoredValue | undefined {
  if (value === undefined) return undefined;
  const { offset, length } = range ?? { offset: 0, length: value.bytes.length };
  return { bytes: value.bytes.slice(offset, offset + length), etag: value.etag };
}

function holds(condition: PutCondition, etag: string | undefined): boolean {
  return "create" in condition ? etag === undefined : etag === condition.ifMatch;
}

/**
 * A Store whose every request is handed to `send`, which answers, fails, or never comes back.
 * @param listsInParts objects are listed in two requests, so that something may happen between
 */
export function clientStore(
  send: (call: Call) => Promise<Reply>,
  { listsInParts = false }: { listsInParts?: boolean } = {},
): Store {
  return {
    url: "sim://",
    async get(key, range) {
      checkKey(key);
      if (range !== undefined) checkRange(range);
      const reply = await send({ verb: "get", key, ...(range === undefined ? {} : { range }) });
      if (reply.is === "value") return reply.value;
      throw new Error(`a get answered with ${reply.is}`);
    },
    async put(key, bytes, condition) {
      checkKey(key);
      checkCondition(key, condition);
      // The body as it was when it was sent, whatever becomes of the caller's buffer.
      const call = { verb: "put" as const, key, bytes: bytes.slice() };
      const reply = await send(condition === undefined ? call : { ...call, condition });
      if (reply.is === "etag") return { etag: reply.etag };
      if (reply.is === "conflict" && condition !== undefined) throw conflict(key, condition, reply.found);
      throw new Error(`a put answered with ${reply.is}`);
    },
    async delete(key) {
      checkKey(key);
      await send({ verb: "delete", key });
    },
    async *list(prefix) {
      checkPrefix(prefix);
      const parts = listsInParts && prefix === "objects/" ? ([0, 1] as const) : [undefined];
      for (const part of parts) {
        const reply = await send({ verb: "list", key: prefix, ...(part === undefined ? {} : { part }) });
        if (reply.is === "keys") yield* reply.keys;
      }
    },
  };
}

/** A store straight onto the world, for looking at it when nothing is under way. */
export function directStore(world: World): Store {
  return clientStore(async (call) => world.apply(call));
}

export function failure(kind: Failure, call: Call): DreamDBError {
  const details = { field: call.key };
  switch (kind) {
    case "unavailable":
      return new DreamDBError("StoreUnavailable", "the backend does not answer", {
        ...details,
        retryable: true,
      });
    case "unknown":
      return new DreamDBError("CommitUnknown", "the backend can't tell", {
        ...details,
        retryable: true,
        committed: "unknown",
      });
    case "full":
      return new DreamDBError("StoreUnavailable", "the quota is used up", {
        ...details,
        errno: "EDQUOT",
        committed: "no",
      });
    case "conflict": {
      const condition = call.verb === "put" ? call.condition : undefined;
      return conflict(call.key, condition ?? { create: true }, "a concurrent write");
    }
  }
}

export function isRef(key: string): boolean {
  return key.startsWith("refs/");
}

/** Random bytes that are the same every time, a stream of its own for each `name`. */
export function randomBytes(name: string): (count: number) => Uint8Array {
  let drawn = 0;
  return (count) => {
    const out = new Uint8Array(count);
    for (let at = 0; at < count; at += 32)
      out.set(
        blake3(new TextEncoder().encode(`${name}/${drawn++}`)).subarray(0, Math.min(32, count - at)),
        at,
      );
    return out;
  };
}
