/**
 * Whether states that another ref is to reach have all that they lead to (spec/0020-maintenance.md §7.4): a collection may have come
 * since they were read.
 */
import { type Address, addressOfDigest, isAddress } from "../core/address.ts";
import { isDreamDBError } from "../errors.ts";
import { decodeAddressList, digestAt, type SplitSet } from "../objects/address-list.ts";
import type { GcState } from "../objects/gc-state.ts";
import { decodeRegistry, registryKey } from "../objects/registry.ts";
import { descendsFrom } from "./ancestry.ts";
import { Marker } from "./mark.ts";
import { gone, listed } from "./pruned.ts";
import { readRedactions } from "./redactions.ts";
import { inParallel, type Session } from "./session.ts";
import { readManifest, readTip } from "./tip.ts";

/**
 * Errors: `NotFound` for a state that was pruned, or of which something is gone or about to be deleted.
 * @param states and of each the ref that it was read from; its own address when it was none
 * @param collections as they were read last, after the states
 */
export async function refuseIncomplete(
  session: Session,
  states: ReadonlyMap<Address, string>,
  { round, pruned }: GcState,
): Promise<void> {
  const known = await listed(session, pruned, [...states.keys()]);
  for (const [state, ref] of states) {
    if (known.has(state)) throw gone(state);
    // What a ref leads to is never deleted, and on no list that is worked off.
    if (!isAddress(ref) && (await isInHistory(session, state, ref))) continue;
    const skeletons = await entriesOf(session, pruned);
    const needs = await reachedBy(session, state, (address) => skeletons.has(address));
    const going = await listed(session, round?.phase === "deleting" ? round.condemned : [], needs);
    if (going.size > 0) throw gone(state);
    await inParallel(needs, async (address) => {
      if (!(await session.isStored(address))) throw gone(state);
    });
  }
}

/** Whether a ref leads to the state now. */
async function isInHistory(session: Session, address: Address, ref: string): Promise<boolean> {
  const tip = await readTip(session, ref);
  if (tip === undefined) return false;
  if (tip.address === address) return true;
  return descendsFrom(session, tip, { address, manifest: await readManifest(session, address) });
}

/**
 * All objects that a state leads to, without those that `marked` found already. Errors: `NotFound`.
 * @param isSkeleton of an ancestor: whether it is without its data
 */
export async function reachedBy(
  session: Session,
  state: Address,
  isSkeleton: (manifest: Address) => boolean,
  marked?: Marker,
): Promise<Address[]> {
  const marker = new Marker(session, undefined, marked);
  try {
    const { genesis } = await readManifest(session, state);
    const registry = await session.current(registryKey(genesis));
    if (registry !== undefined)
      marker.redacted(genesis, await readRedactions(session, decodeRegistry(registry.bytes)));
    await marker.states([state], isSkeleton);
  } catch (error) {
    if (isDreamDBError(error, "NotFound")) throw gone(state, error);
    throw error;
  }
  return [...marker.live];
}

/** What a set has, and the sizes, 0 where it has none. */
export async function entriesOf(session: Session, set: SplitSet): Promise<Map<Address, number>> {
  const found = new Map<Address, number>();
  for (const ref of set) {
    if (ref === undefined) continue;
    const { digests, sizes } = decodeAddressList(await session.object(ref.address));
    for (let i = 0; i < ref.count; i++) found.set(addressOfDigest(digestAt(digests, i)), sizes?.[i] ?? 0);
  }
  return found;
}
