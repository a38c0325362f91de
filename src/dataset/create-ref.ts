/** New refs: of a new dataset, a snapshot or a branch (spec/0005-backend-interface.md §5). */
import type { Address } from "../core/address.ts";
import { equalBytes } from "../core/blake3.ts";
import { refKey } from "../core/ref-name.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import type { Manifest } from "../objects/manifest.ts";
import { encodeRef, type RefBody, type RefTraits, type RefType } from "../objects/ref.ts";
import type { Context } from "./context.ts";
import { errnoIn } from "./put-objects.ts";
import { newRef, readRef, readTip, type Tip } from "./tip.ts";

/** The state that a new ref names. */
export interface NamedState {
  address: Address;
  manifest: Manifest;
  bytes: Uint8Array;
}

/** Creates a ref that must not exist, and never has; a lost reply is read back. */
export async function createRef(
  ctx: Context,
  name: string,
  type: RefType,
  state: NamedState,
  { gcEpoch = 0, ...traits }: RefTraits & { gcEpoch?: number } = {},
): Promise<Tip> {
  const ref = newRef(ctx, type, state.address, state.manifest, state.bytes, gcEpoch, traits);
  try {
    const { etag } = await ctx.store.put(refKey(name), encodeRef(ref), { create: true });
    return { ref, etag, manifest: state.manifest, address: state.address };
  } catch (error) {
    if (isDreamDBError(error) && error.code !== "Conflict" && error.committed === "no") throw error;
    const now = await ownRef(ctx, name, ref, state).catch(() => "unread" as const);
    if (now === "unread" || now === undefined) throw creationUnknown(name, error);
    if (now === "another's") throw nameTaken(name);
    return now;
  }
}

/** The ref as it is now, if it is the one that was to be created. */
async function ownRef(
  { session }: Context,
  name: string,
  ref: RefBody,
  state: NamedState,
): Promise<Tip | "another's" | undefined> {
  const found = await readRef(session, name);
  if (found === undefined) return undefined;
  const now = found.ref.type === "dead" ? undefined : await readTip(session, name);
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
