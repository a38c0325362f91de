/** Changing a Space's registry by compare-and-swap (spec/0020-maintenance.md §2). */
import { equalBytes } from "../core/blake3.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import { encodeRegistry, type Registry, registryKey } from "../objects/registry.ts";
import type { Context } from "./context.ts";
import { epochOf, hold, readCollections } from "./holding.ts";
import { errnoIn } from "./put-objects.ts";
import type { RegistryState, SpaceRegistry } from "./space-registry.ts";

/**
 * Changes the registry.
 * @param change makes the next body's parts of the registry as it is, undefined while there is none; it is called again
 * when another writer was faster. Undefined when nothing is left to change
 * Errors: `Conflict` after `ctx.retries` lost races; `CommitUnknown` when the backend's answer was lost and could not be
 * read back.
 */
export async function changeRegistry(
  space: SpaceRegistry,
  ctx: Context,
  change: (state: RegistryState) => Promise<Partial<Pick<Registry, "tombstones" | "redactions">> | undefined>,
): Promise<RegistryState> {
  const key = registryKey(space.genesis);
  for (let attempt = 0; ; attempt++) {
    const state = await space.refresh(ctx.session);
    const changed = await change(state);
    if (changed === undefined) return state;
    const empty = { genesis: space.genesis, tombstones: [], redactions: [], others: new Map() };
    // What is there can be rewritten by a collector, which tells writers of what it is about to delete: so the first is empty.
    const next: Registry = {
      ...(state.registry ?? empty),
      ...(state.registry === undefined ? {} : { ...changed, gcEpoch: await held(ctx, state.registry) }),
      seq: state.seq + 1,
      writeId: ctx.random(16),
    };
    try {
      const condition = state.etag === undefined ? { create: true as const } : { ifMatch: state.etag };
      await ctx.store.put(key, encodeRegistry(next), condition);
      const now = await space.refresh(ctx.session);
      if (state.registry !== undefined) return now;
      continue;
    } catch (error) {
      if (isDreamDBError(error) && error.code !== "Conflict" && error.committed === "no") throw error;
      const isLost = isDreamDBError(error, "Conflict");
      const now = await space.refresh(ctx.session).catch((cause) => {
        throw unknown(key, isLost ? cause : error);
      });
      const isOwn = now.registry !== undefined && equalBytes(now.registry.writeId, next.writeId);
      if (isOwn && state.registry !== undefined) return now;
      if (isOwn) continue;
      // The same tag as before: an unacknowledged request may still be on its way, so its outcome is open.
      if (!isLost && now.etag === state.etag) throw unknown(key, error);
    }
    if (attempt >= ctx.retries) {
      throw new DreamDBError(
        "Conflict",
        "other writers changed the registry each time; nothing was changed",
        {
          field: key,
          found: `${attempt + 1} lost races`,
          expected: `one won within ${ctx.retries} retries`,
          retryable: true,
          committed: "no",
        },
      );
    }
    await ctx.sleep(((ctx.random(1)[0] as number) / 256) * Math.min(1000, 4 * 2 ** attempt));
  }
}

/** Takes the lists that the registry is to name off those of collectors, as for a ref; the epoch that it is then at. */
async function held(ctx: Context, { gcEpoch }: Registry): Promise<number> {
  if (gcEpoch === undefined) await readCollections(ctx);
  await hold(ctx, gcEpoch ?? epochOf(ctx.holding));
  return gcEpoch ?? epochOf(ctx.holding);
}

function unknown(field: string, cause: unknown): DreamDBError {
  const reason = cause instanceof Error ? `: ${cause.message}` : "";
  return new DreamDBError(
    "CommitUnknown",
    `can't tell whether the registry was changed; asking for the same again changes nothing twice${reason}`,
    { field, retryable: true, committed: "unknown", cause, ...errnoIn(cause) },
  );
}
