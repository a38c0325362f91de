/** Deleting and protecting refs (spec/0008-versioning-collab.md §3): one compare-and-swap of the ref's body. */
import type { Address } from "../core/address.ts";
import { equalBytes } from "../core/blake3.ts";
import { checkRefName, refKey } from "../core/ref-name.ts";
import { DreamDBError, isDreamDBError, writing } from "../errors.ts";
import { encodeRef, isLive, type RefBody } from "../objects/ref.ts";
import { openStore } from "../store/open.ts";
import type { StoreOptions } from "../store/remote/options.ts";
import { signalled } from "../store/signalled.ts";
import type { Backend, Cancellable, Context } from "./context.ts";
import { errnoIn } from "./put-objects.ts";
import { Session } from "./session.ts";
import { readRef } from "./tip.ts";

export interface DeleteRefOptions extends StoreOptions, Cancellable {
  /** Only while the ref names this Manifest: `Conflict` when it has moved. Default: whatever it names. */
  manifest?: Address;
}

/** What changing a ref takes. */
type RefContext = Pick<Context, "store" | "session" | "clock" | "random">;

const RETRIES = 100;

/**
 * Deletes a branch or snapshot. The name can't be used again; what it named stays stored, and is read as long as another ref
 * reaches it. Errors: `NotFound`, `ReadOnly` for a protected ref, `Conflict`, `CommitUnknown`, `StoreUnavailable`.
 */
export function deleteRef(
  backend: Backend | { backend: Backend },
  name: string,
  options: DeleteRefOptions = {},
): Promise<{ name: string; manifest: Address }> {
  const { manifest } = options;
  return changeRef(contextOf(backend, options), name, (ref) => {
    if (ref.isProtected) throw protectedRef(name);
    if (manifest !== undefined && manifest !== ref.manifest) throw moved(name, ref.manifest, manifest);
    const { inline: _inline, lane: _lane, ...rest } = ref;
    return { ...rest, type: "dead" };
  });
}

/**
 * Protects a branch or snapshot, or ends that: a protected ref can't be deleted, and only moves on, to states that descend
 * from its own. Errors: `NotFound`, `Conflict`, `CommitUnknown`, `StoreUnavailable`.
 */
export function protectRef(
  backend: Backend | { backend: Backend },
  name: string,
  isProtected = true,
  options: StoreOptions & Cancellable = {},
): Promise<{ name: string; manifest: Address }> {
  return changeRef(contextOf(backend, options), name, (ref) => {
    if ((ref.isProtected ?? false) === isProtected) return undefined;
    const { isProtected: _was, ...rest } = ref;
    return isProtected ? { ...rest, isProtected } : rest;
  });
}

function contextOf(
  backend: Backend | { backend: Backend },
  { signal, ...options }: StoreOptions & Cancellable,
): RefContext {
  const store = signalled(openStore(backend, options), signal);
  return {
    store,
    session: new Session(store, 0),
    clock: () => BigInt(Date.now()) * 1_000_000n,
    random: (count) => crypto.getRandomValues(new Uint8Array(count)),
  };
}

/** @param change the new body, but for what every put has anew; undefined when nothing is to be changed */
function changeRef(
  ctx: RefContext,
  name: string,
  change: (ref: RefBody) => RefBody | undefined,
): Promise<{ name: string; manifest: Address }> {
  checkRefName(name);
  return writing(async () => {
    for (let attempt = 0; ; attempt++) {
      const found = await readRef(ctx.session, name);
      if (found === undefined || !isLive(found.ref)) throw gone(name);
      const changed = change(found.ref);
      if (changed === undefined) return { name, manifest: found.ref.manifest };
      const ref = { ...changed, writeId: ctx.random(16), ts: ctx.clock() };
      try {
        await ctx.store.put(refKey(name), encodeRef(ref), { ifMatch: found.etag });
        return { name, manifest: ref.manifest };
      } catch (error) {
        if (isDreamDBError(error) && error.code !== "Conflict" && error.committed === "no") throw error;
        const now = await readRef(ctx.session, name).catch((cause) => {
          throw changeUnknown(name, cause);
        });
        if (now !== undefined && equalBytes(now.ref.writeId, ref.writeId))
          return { name, manifest: ref.manifest };
        const isOpen = !isDreamDBError(error, "Conflict") && now?.etag === found.etag;
        if (isOpen) throw changeUnknown(name, error);
        if (attempt >= RETRIES) throw crowded(name, attempt + 1);
      }
    }
  });
}

function gone(name: string): DreamDBError {
  return new DreamDBError("NotFound", "no dataset, branch or snapshot has this name", {
    field: "name",
    found: name,
    expected: "the name of a ref",
    committed: "no",
  });
}

function protectedRef(name: string): DreamDBError {
  return new DreamDBError("ReadOnly", "a protected ref can't be deleted", {
    field: "name",
    found: name,
    expected: "a ref that is not protected",
    committed: "no",
  });
}

function moved(name: string, found: Address, expected: Address): DreamDBError {
  return new DreamDBError("Conflict", `"${name}" has moved; nothing was changed`, {
    field: "manifest",
    found,
    expected,
    committed: "no",
  });
}

function crowded(name: string, races: number): DreamDBError {
  return new DreamDBError("Conflict", `other writers moved "${name}" each time; nothing was changed`, {
    field: "name",
    found: `${races} lost races`,
    expected: `one won within ${RETRIES} retries`,
    retryable: true,
    committed: "no",
  });
}

function changeUnknown(name: string, cause: unknown): DreamDBError {
  return new DreamDBError("CommitUnknown", `can't tell whether "${name}" was changed; list the refs to see`, {
    field: "name",
    found: name,
    retryable: true,
    committed: "unknown",
    cause,
    ...errnoIn(cause),
  });
}
