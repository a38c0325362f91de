/** New refs: of a new dataset, a snapshot or a branch (spec/0005-backend-interface.md §5). */
import type { Address } from "../core/address.ts";
import { equalBytes } from "../core/blake3.ts";
import { refKey } from "../core/ref-name.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import type { NewPage } from "../objects/index-tree.ts";
import type { Manifest } from "../objects/manifest.ts";
import { encodeRef, isLive, type RefBody, type RefTraits, type RefType } from "../objects/ref.ts";
import type { Context } from "./context.ts";
import { EVER, epochOf, hold, readCollections } from "./holding.ts";
import { errnoIn, storeObjects } from "./put-objects.ts";
import { newRef, readRef, readTip, type Tip } from "./tip.ts";

/** The state that a new ref names. */
export interface NamedState {
  address: Address;
  manifest: Manifest;
  bytes: Uint8Array;
  /** Of a state that is stored already: the ref that it was read from, or its own address. */
  readFrom?: string;
  /** Of a new one: what it is made of, and last its Manifest. */
  objects?: readonly NewPage[];
}

/**
 * Creates a ref that must not exist, and never has; a lost reply is read back. The name is reserved first: a collector of garbage
 * that does not know of the state then meets a ref that it rewrites, upon which this begins anew
 * (docs/decisions/0047-new-refs-are-reserved.md).
 */
export async function createRef(
  ctx: Context,
  name: string,
  type: RefType,
  state: NamedState,
  traits: RefTraits = {},
): Promise<Tip> {
  const { address, manifest, bytes, objects = [], readFrom } = state;
  const fresh = objects.map((object) => object.address);
  if (readFrom !== undefined) ctx.holding.states.set(address, readFrom);
  const ref = newRef(ctx, type, address, manifest, bytes, 0, traits);
  let etag = await reserve(ctx, name, ref);
  const { state: collections } = await readCollections(ctx);
  let epoch = collections?.epoch ?? 0;
  // While nothing was ever collected, a state that was read is there.
  ctx.holding.since = collections === undefined ? { epoch: 0 } : EVER;
  for (let attempt = 0; ; attempt++) {
    await hold(ctx, epoch, fresh);
    await storeObjects(ctx, objects.slice(0, -1));
    await storeObjects(ctx, objects.slice(-1));
    const own: RefBody = { ...ref, gcEpoch: epochOf(ctx.holding) };
    try {
      const put = await ctx.store.put(refKey(name), encodeRef(own), { ifMatch: etag });
      return { ref: own, etag: put.etag, manifest, address };
    } catch (error) {
      if (isDreamDBError(error) && error.code !== "Conflict" && error.committed === "no") throw error;
      const now = await ownRef(ctx, name, ref, state).catch(() => undefined);
      if (now === undefined) throw creationUnknown(name, error);
      if (now === "another's") throw nameTaken(name);
      if ("manifest" in now) return now;
      // A request without an answer may still arrive, unless the ref has another tag by now.
      if (now.etag === etag && !isDreamDBError(error, "Conflict")) throw creationUnknown(name, error);
      if (attempt >= ctx.retries) throw creationUnknown(name, error);
      etag = now.etag;
      epoch = now.ref.gcEpoch;
    }
  }
}

/** The tag of the name as it is reserved, by whomever: of those who want it one will have it. Errors: `AlreadyExists`. */
async function reserve(ctx: Context, name: string, ref: RefBody): Promise<string> {
  const { inline: _inline, ...body } = ref;
  for (let attempt = 0; ; attempt++) {
    try {
      const reserved = { ...body, type: "reserved" as const, writeId: ctx.random(16) };
      return (await ctx.store.put(refKey(name), encodeRef(reserved), { create: true })).etag;
    } catch (error) {
      if (isDreamDBError(error) && error.code !== "Conflict" && error.committed === "no") throw error;
      const found = await readRef(ctx.session, name).catch(() => undefined);
      if (found !== undefined && found.ref.type !== "reserved") throw nameTaken(name);
      if (found !== undefined) return found.etag;
      if (attempt < Math.min(ctx.retries, 2)) continue;
      // Nothing but a reservation was sent.
      throw new DreamDBError("StoreUnavailable", `can't reserve "${name}", so nothing was created`, {
        field: "name",
        found: name,
        retryable: true,
        committed: "no",
        cause: error,
        ...errnoIn(error),
      });
    }
  }
}

/** The ref as it is now: the one that was to be created, or still the reservation. */
async function ownRef(
  { session }: Context,
  name: string,
  ref: RefBody,
  state: NamedState,
): Promise<Tip | { etag: string; ref: RefBody } | "another's" | undefined> {
  const found = await readRef(session, name);
  if (found === undefined) return undefined;
  if (found.ref.type === "reserved") return found;
  const now = isLive(found.ref) ? await readTip(session, name) : undefined;
  const isOwn =
    now !== undefined && (equalBytes(now.ref.writeId, ref.writeId) || isOwnBranch(now, ref, state));
  return isOwn ? now : "another's";
}

/**
 * Whether `now` is the new branch, moved on by a writer who was faster than the reply: no other has its Genesis, or, of a
 * branch of a state that there was, its lane.
 */
function isOwnBranch({ ref: now, manifest }: Tip, ref: RefBody, created: NamedState): boolean {
  if (ref.type !== "branch" || now.type !== "branch" || manifest.genesis !== created.manifest.genesis)
    return false;
  return created.manifest.seq === 0 && ref.lane === undefined ? true : now.lane === ref.lane;
}

function creationUnknown(name: string, cause: unknown): DreamDBError {
  const reason = cause instanceof Error ? `: ${cause.message}` : "";
  return new DreamDBError(
    "CommitUnknown",
    `can't tell whether "${name}" was created; open it to see${reason}`,
    {
      field: "name",
      found: name,
      retryable: true,
      committed: "unknown",
      cause,
      ...errnoIn(cause),
    },
  );
}

export function nameTaken(name: string): DreamDBError {
  return new DreamDBError("AlreadyExists", "a dataset, branch or snapshot has this name, or had it", {
    field: "name",
    found: name,
    expected: "a name not used under this backend",
    committed: "no",
  });
}
