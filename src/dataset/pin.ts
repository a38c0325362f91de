/** Pins: a reader's word that it needs a state for a while (spec/0020-maintenance.md §8). */
import type { Address } from "../core/address.ts";
import { toHex } from "../core/blake3.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import { encodePin, pinKey } from "../objects/pin.ts";
import type { Context } from "./context.ts";
import { EVER, hold, readCollections } from "./holding.ts";

/** A state that no collection takes the data of before `expires`. */
export interface Pin {
  id: string;
  manifest: Address;
  /** Unix nanoseconds; by the clocks of pinner and collector, which may differ. */
  expires: bigint;
  /** A new pin of the same state in place of this one. Errors: as `Dataset.pin`; this one then stays. */
  renew(leaseMs: number): Promise<Pin>;
  /** Ends it before its time. Errors: `StoreUnavailable`, upon which it ends with its time. */
  release(): Promise<void>;
}

/**
 * Pins a state. The pin is written first and looks for collections after that: one that begins later finds it, and those that
 * began before are known then. @param readFrom the ref that the state was read from, or its own address
 */
export async function createPin(
  ctx: Context,
  manifest: Address,
  readFrom: string,
  leaseMs: number,
): Promise<Pin> {
  const now = ctx.clock();
  const expires = now + BigInt(Math.ceil(checkLease(leaseMs) * 1e6));
  const id = toHex(ctx.random(16));
  const key = pinKey(id);
  const release = (): Promise<void> => ctx.store.delete(key);
  await putPin(ctx, key, encodePin({ manifest, expires, ts: now }));
  try {
    const { state } = await readCollections(ctx);
    // While nothing was ever collected, a state that was read is there.
    ctx.holding.since = state === undefined ? { epoch: 0 } : EVER;
    ctx.holding.states.set(manifest, readFrom);
    await hold(ctx, state?.epoch ?? 0);
  } catch (error) {
    await release().catch(() => {});
    throw error;
  }
  const renew = async (lease: number): Promise<Pin> => {
    const next = await createPin(ctx, manifest, readFrom, lease);
    await release();
    return next;
  };
  return { id, manifest, expires, renew, release };
}

async function putPin(ctx: Context, key: string, bytes: Uint8Array): Promise<void> {
  try {
    await ctx.store.put(key, bytes, { create: true });
  } catch (error) {
    if (!isDreamDBError(error) || (error.code !== "Conflict" && error.committed === "no")) throw error;
    // The id is random: what is there is the own one.
    if ((await ctx.store.get(key)) === undefined) throw error;
  }
}

function checkLease(leaseMs: number): number {
  if (typeof leaseMs === "number" && leaseMs > 0 && leaseMs <= Number.MAX_SAFE_INTEGER / 1e6) return leaseMs;
  throw new DreamDBError("InvalidArgument", "not a lease", {
    field: "leaseMs",
    found: leaseMs,
    expected: "milliseconds, more than 0",
    committed: "no",
  });
}
