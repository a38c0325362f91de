/** A branch: a new ref at a state there is, with a lane of its own (spec/0008-versioning-collab.md §2). */
import type { Address } from "../core/address.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import { decodeLanes, encodeLanes, lanesKey, nextLane } from "../objects/lanes.ts";
import type { Manifest } from "../objects/manifest.ts";
import { corrupt } from "../objects/shape.ts";
import type { Context } from "./context.ts";
import { createRef, nameTaken } from "./create-ref.ts";
import { readRef, type Tip } from "./tip.ts";

/** Creates a branch of a stored state. @param readFrom the ref that it was read from, or its own address */
export async function createBranch(
  ctx: Context,
  name: string,
  { address, manifest, readFrom }: { address: Address; manifest: Manifest; readFrom: string },
): Promise<Tip> {
  // Seen before a lane is taken for nothing; the put decides.
  const found = await readRef(ctx.session, name);
  if (found !== undefined && found.ref.type !== "reserved") throw nameTaken(name);
  const bytes = await ctx.session.object(address);
  const lane = await takeLane(ctx, manifest.genesis);
  return createRef(ctx, name, "branch", { address, manifest, bytes, readFrom }, { lane });
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
