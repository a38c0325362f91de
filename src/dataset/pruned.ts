/** Which states and objects the lists of collections name (spec/0020-maintenance.md §7): what is read of them to open a state by its address. */
import { type Address, addressDigest } from "../core/address.ts";
import { DreamDBError } from "../errors.ts";
import { decodeAddressList, hasDigest, listFor, type SplitSet } from "../objects/address-list.ts";
import { decodeGcState, GC_KEY } from "../objects/gc-state.ts";
import { inParallel, type Session } from "./session.ts";

/** Errors: `NotFound` for a state whose data was collected. Its Manifest may be there. */
export async function refusePruned(session: Session, address: Address): Promise<void> {
  const found = await session.current(GC_KEY);
  if (found === undefined) return;
  const { pruned } = decodeGcState(found.bytes);
  if ((await listed(session, pruned, [address])).size > 0) throw gone(address);
}

/** Those of `addresses` that a set has. */
export async function listed(
  session: Session,
  set: SplitSet,
  addresses: readonly Address[],
): Promise<Set<Address>> {
  const found = new Set<Address>();
  const byList = new Map<Address, Address[]>();
  for (const address of addresses) {
    const ref = listFor(set, address);
    if (ref === undefined) continue;
    const asked = byList.get(ref.address);
    if (asked === undefined) byList.set(ref.address, [address]);
    else asked.push(address);
  }
  await inParallel([...byList], async ([list, asked]) => {
    const decoded = decodeAddressList(await session.object(list));
    for (const address of asked) if (hasDigest(decoded, addressDigest(address))) found.add(address);
  });
  return found;
}

export function gone(address: Address, cause?: unknown): DreamDBError {
  return new DreamDBError("NotFound", "this state's data was collected as garbage", {
    field: "manifest",
    found: address,
    expected: "a state that a ref or pin names, or that collections were told to keep",
    committed: "no",
    ...(cause === undefined ? {} : { cause }),
  });
}
