/**
 * Moving a ref (spec/0005-backend-interface.md §5). Objects first, then the Manifest, then one compare-and-swap;
 * whatever happens to it, the writer learns whether its operation is in, out, or can't be told.
 */
import { type Address, addressOf } from "../core/address.ts";
import { equalBytes, toHex } from "../core/blake3.ts";
import { refKey } from "../core/ref-name.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import type { NewPage } from "../objects/index-tree.ts";
import { encodeManifest, type Manifest } from "../objects/manifest.ts";
import { encodeRef, type RefBody, traitsOf } from "../objects/ref.ts";
import type { Context } from "./context.ts";
import { hold } from "./holding.ts";
import { errnoIn, storeObjects } from "./put-objects.ts";
import type { Session } from "./session.ts";
import { findOperation, newRef, readTip, refuseRollback, type Tip } from "./tip.ts";

/** What an operation publishes on top of a tip: the Manifest, and pages that must be stored before it. */
export interface Draft {
  manifest: Manifest;
  objects: NewPage[];
  /** The Manifest's bytes when they are stored already: the ref is to name a state that there is. */
  stored?: Uint8Array;
}

export interface Operation {
  opId: Uint8Array;
  /** Whether a request of an earlier call may still be on its way. Default false: the opId is new. */
  isResumed?: boolean;
  /**
   * Builds on the given tip; called again after another writer moved the ref. Undefined: the tip is as it should be, and
   * nothing is to be published. The Manifest may have an opId of its own in place of the operation's.
   */
  draft(tip: Tip): Promise<Draft | undefined>;
}

/** What publishing came to: the state that holds the operation, and the ref as it is by now, which may be further. */
export interface Published {
  own: { address: Address; manifest: Manifest };
  tip: Tip;
}

/**
 * Publishes an operation on a branch.
 * Errors: `Conflict` after `ctx.retries` lost races; `CommitUnknown` with the opId when the backend's answer was
 * lost and could not be read back; whatever `draft` throws. Nothing is half-visible in any of these.
 */
export async function publish(
  ctx: Context,
  name: string,
  tip: Tip,
  operation: Operation,
): Promise<Published> {
  const { pace } = ctx;
  // Up to here the operation has been looked for: it can only be in what comes later.
  let searchedSeq = tip.ref.seq;
  let current = tip;
  // Every id under which an attempt may have taken effect.
  const opIds = [operation.opId];
  for (let attempt = 0; ; attempt++) {
    if (pace.isCrowded) {
      await pace.wait(ctx);
      // Others have moved the ref meanwhile, most likely: what is built on an old tip is lost before it is sent.
      const seen = await freshTip(ctx, name, current, operation.opId);
      // Requests of this call are settled by now. To look for them nevertheless would take long enough to lose the race.
      if (operation.isResumed === true) {
        const late = await findOwn(ctx.session, name, seen, opIds, searchedSeq);
        if (late !== undefined) return { own: late, tip: seen };
        searchedSeq = seen.ref.seq;
      }
      current = seen;
    }
    const draft = await operation.draft(current);
    if (draft === undefined) return { own: current, tip: current };
    const { opId } = draft.manifest;
    if (!opIds.some((tried) => equalBytes(tried, opId))) opIds.push(opId);
    const bytes = draft.stored ?? encodeManifest(draft.manifest);
    const address = addressOf(bytes);
    const made = draft.stored === undefined ? [{ address, bytes }] : [];
    await hold(
      ctx,
      current.ref.gcEpoch,
      [...draft.objects, ...made].map((object) => object.address),
    );
    await storeObjects(ctx, draft.objects);
    await storeObjects(ctx, made);
    const { gcEpoch } = current.ref;
    const ref = newRef(ctx, "branch", address, draft.manifest, bytes, gcEpoch, traitsOf(current.ref));
    const swapped = await swap(ctx, name, ref, current.etag, opId);
    if (swapped.etag !== undefined) {
      pace.won();
      const moved = { ref, etag: swapped.etag, manifest: draft.manifest, address };
      return { own: moved, tip: moved };
    }
    const seen = swapped.tip;
    if (equalBytes(seen.ref.writeId, ref.writeId)) return { own: seen, tip: seen };
    refuseRollback(name, current, seen, { committed: "no" });
    const own = await findOwn(ctx.session, name, seen, opIds, searchedSeq);
    if (own !== undefined) return { own, tip: seen };
    searchedSeq = seen.ref.seq;
    if (attempt >= ctx.retries) {
      throw new DreamDBError("Conflict", `other writers moved "${name}" each time; nothing was published`, {
        field: name,
        found: `${attempt + 1} lost races`,
        expected: `one won within ${ctx.retries} retries`,
        retryable: true,
        committed: "no",
        opId: toHex(operation.opId),
      });
    }
    current = seen;
    pace.lost();
  }
}

/** The tip by now. Nothing of the operation is under way, so that no error leaves its outcome open. */
async function freshTip(ctx: Context, name: string, current: Tip, opId: Uint8Array): Promise<Tip> {
  const seen = await readTip(ctx.session, name);
  if (seen === undefined) {
    throw new DreamDBError("NotFound", "the ref was deleted meanwhile", {
      field: name,
      committed: "no",
      opId: toHex(opId),
    });
  }
  refuseRollback(name, current, seen, { committed: "no" });
  // The same state: the caller compares tips to see whether it has to build anew.
  return seen.etag === current.etag ? current : seen;
}

/** As `findOperation`, for a writer whose swap may have taken effect: not being able to look leaves that open. */
async function findOwn(
  session: Session,
  name: string,
  seen: Tip,
  opIds: readonly Uint8Array[],
  startSeq: number,
): ReturnType<typeof findOperation> {
  try {
    return await findOperation(session, seen, opIds, startSeq);
  } catch (error) {
    throw commitUnknown(name, opIds.at(-1) as Uint8Array, error);
  }
}

/** The new tag when the swap was acknowledged; otherwise the tip as it is now, for the caller to look for itself in. */
async function swap(
  ctx: Context,
  name: string,
  ref: RefBody,
  etag: string,
  opId: Uint8Array,
): Promise<{ etag: string } | { etag: undefined; tip: Tip }> {
  let unknown: unknown;
  try {
    return await ctx.store.put(refKey(name), encodeRef(ref), { ifMatch: etag });
  } catch (error) {
    // A full disk, say: the backend knows that the ref did not move.
    if (isDreamDBError(error) && error.code !== "Conflict" && error.committed === "no") throw error;
    // Visible, perhaps, but the disk failed to make it durable: reading it back would prove too little.
    if (isDreamDBError(error, "CommitUnknown") && error.errno !== undefined)
      throw commitUnknown(name, opId, error);
    if (!isDreamDBError(error, "Conflict")) unknown = error;
  }
  const tip = await readBack(ctx, name, opId, unknown);
  // The same tag as before: an unacknowledged request may still be on its way, so its outcome is open.
  if (unknown !== undefined && tip.etag === etag) throw commitUnknown(name, opId, unknown);
  return { etag: undefined, tip };
}

async function readBack(ctx: Context, name: string, opId: Uint8Array, cause: unknown): Promise<Tip> {
  let tip: Tip | undefined;
  try {
    tip = await readTip(ctx.session, name);
  } catch (error) {
    throw commitUnknown(name, opId, error);
  }
  if (tip === undefined) {
    throw new DreamDBError("NotFound", "the ref was deleted meanwhile", {
      field: name,
      cause,
      committed: "unknown",
      opId: toHex(opId),
    });
  }
  return tip;
}

function commitUnknown(name: string, opId: Uint8Array, cause: unknown): DreamDBError {
  const reason = cause instanceof Error ? `: ${cause.message}` : "";
  return new DreamDBError(
    "CommitUnknown",
    `can't tell whether the commit to "${name}" took effect; ask resume(opId)${reason}`,
    {
      field: name,
      retryable: true,
      committed: "unknown",
      opId: toHex(opId),
      cause,
      ...errnoIn(cause),
    },
  );
}
