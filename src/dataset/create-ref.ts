/** New refs: of a new dataset, a snapshot, or a branch with a lane of its own (spec/0008-versioning-collab.md §2). */
import type { Address } from "../core/address.ts";
import { equalBytes } from "../core/blake3.ts";
import { refKey } from "../core/ref-name.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import { decodeLanes, encodeLanes, lanesKey, nextLane } from "../objects/lanes.ts";
import type { Manifest } from "../objects/manifest.ts";
import { encodeRef, type RefBody, type RefTraits, type RefType } from "../objects/ref.ts";
import { corrupt } from "../objects/shape.ts";
import { errnoIn, newRef, readRef, readTip, type Tip } from "./commit.ts";
import type { Context } from "./context.ts";

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

/** Creates a branch of a stored state. */
export async function createBranch(
  ctx: Context,
  name: string,
  { address, manifest, gcEpoch }: { address: Address; manifest: Manifest; gcEpoch: number },
): Promise<Tip> {
  // Seen before a lane is taken for nothing; the put decides.
  if ((await readRef(ctx.session, name)) !== undefined) throw nameTaken(name);
  const bytes = await ctx.session.object(address);
  const lane = await takeLane(ctx, manifest.genesis);
  return createRef(ctx, name, "branch", { address, manifest, bytes }, { gcEpoch, lane });
}

/**
 * A lane that no other branch of the Space has, unless it has had 4,095 since. A put whose reply is lost is not looked for: at
 * worst a lane is left out. Errors: `Conflict` when others take lanes all the time, `StoreUnavailable`.
 */
async function takeLane(ctx: Context, genesis: Address): Promise<number> {
  const key = lanesKey(genesis);
  let lost: unknown;
  for (let attempt = 0; attempt <= ctx.retries; attempt++) {
    const found = await ctx.session.current(key);
    const lanes = found && decodeLanes(found.bytes);
    if (lanes !== undefined && lanes.genesis !== genesis)
      throw corrupt("lanes.genesis", lanes.genesis, genesis);
    const given = lanes?.given ?? 0;
    const body = encodeLanes({ genesis, given: given + 1, writeId: ctx.random(16) });
    try {
      await ctx.store.put(key, body, found === undefined ? { create: true } : { ifMatch: found.etag });
      return nextLane(given);
    } catch (error) {
      if (!isDreamDBError(error)) throw error;
      if (error.code !== "Conflict" && error.code !== "CommitUnknown") throw error;
      lost = error;
      await ctx.sleep(Number(ctx.random(1)[0]) % (2 * (attempt + 1)));
    }
  }
  throw new DreamDBError("Conflict", "others took lanes each time; no branch was created", {
    field: key,
    found: `${ctx.retries + 1} lost races`,
    expected: `one won within ${ctx.retries} retries`,
    retryable: true,
    committed: "no",
    cause: lost,
  });
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
