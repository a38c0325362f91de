/** The DAG of Manifests (spec/0008-versioning-collab.md §4): which states descend from which, and where they parted. */
import { type Address, addressToMultihash } from "../core/address.ts";
import { compareBytes } from "../core/cbor.ts";
import { DreamDBError } from "../errors.ts";
import type { Manifest } from "../objects/manifest.ts";
import type { Session } from "./session.ts";
import { readManifest } from "./tip.ts";

/** A Manifest and its address. */
export interface State {
  address: Address;
  manifest: Manifest;
}

/** A greatest common ancestor of two or more heads. */
export interface Base extends State {
  /** Bit i: head number i descends from it, or is it. */
  heads: bigint;
}

export interface Ancestry {
  /** Heads that are not ancestors of others, by ascending address; equal ones once. */
  heads: State[];
  /** For each pair of heads, the common ancestors that no other common ancestor of the pair descends from; by ascending address. */
  bases: Base[];
}

/** By the bytes of their addresses. */
export function byAddress(a: { address: Address }, b: { address: Address }): number {
  return compareBytes(addressToMultihash(a.address), addressToMultihash(b.address));
}

/**
 * Where the histories of `states` part. Reads every Manifest that lies after the oldest of the bases, and a few before.
 * Errors: `LineageMismatch` when they belong to different Spaces, or have no common ancestor.
 */
export async function ancestryOf(session: Session, states: readonly State[]): Promise<Ancestry> {
  refuseStrangers(states);
  const distinct = [...new Map(states.map((state) => [state.address, state])).values()].sort(byAddress);
  const walked = await walk(session, distinct);
  const isAncestor = (i: number): boolean =>
    walked.reaching.get((distinct[i] as State).address) !== 1n << BigInt(i);
  const kept = [...distinct.keys()].filter((i) => !isAncestor(i));
  const heads = kept.map((i) => distinct[i] as State);
  if (heads.length === distinct.length) return { heads, bases: walked.bases };
  if (heads.length === 1) return { heads, bases: [] };
  const { bases } = await walk(session, heads);
  return { heads, bases };
}

/** Whether `ancestor` is `state`, or one of its ancestors. */
export async function descendsFrom(session: Session, state: State, ancestor: State): Promise<boolean> {
  const waiting = [state];
  const seen = new Set<Address>();
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    if (node.address === ancestor.address) return true;
    if (node.manifest.seq <= ancestor.manifest.seq) continue;
    for (const parent of node.manifest.parents) {
      if (seen.has(parent)) continue;
      seen.add(parent);
      waiting.push({ address: parent, manifest: await readManifest(session, parent) });
    }
  }
  return false;
}

interface Node extends State {
  /** Heads that it is reached from. */
  mask: bigint;
  /** Masks of the children that it was reached from. */
  children: bigint[];
}

/**
 * Goes back from the heads, the highest `seq` first, so that every Manifest comes after all that descend from it. Once all that
 * wait lie behind a Manifest that every head has, there is nothing more to find.
 */
async function walk(
  session: Session,
  heads: readonly State[],
): Promise<{ bases: Base[]; reaching: Map<Address, bigint> }> {
  const all = (1n << BigInt(heads.length)) - 1n;
  const waiting = new Map<Address, Node>();
  const reaching = new Map<Address, bigint>();
  const bases: Base[] = [];
  heads.forEach((head, i) => {
    waiting.set(head.address, { ...head, mask: 1n << BigInt(i), children: [] });
  });
  let open = heads.length;
  const isOpen = ({ children }: Node): boolean => !children.includes(all);
  while (open > 0) {
    const node = newest(waiting);
    waiting.delete(node.address);
    if (isOpen(node)) open--;
    reaching.set(node.address, node.mask);
    const { address, manifest, mask } = node;
    if (hasOwnPair(node)) bases.push({ address, manifest, heads: mask });
    for (const parent of manifest.parents) {
      const known = waiting.get(parent);
      if (known === undefined) {
        const found = await readManifest(session, parent);
        checkParent(found, manifest, parent);
        const next = { address: parent, manifest: found, mask, children: [mask] };
        waiting.set(parent, next);
        if (isOpen(next)) open++;
        continue;
      }
      const wasOpen = isOpen(known);
      known.mask |= mask;
      known.children.push(mask);
      if (wasOpen && !isOpen(known)) open--;
    }
  }
  return { bases: bases.sort(byAddress), reaching };
}

function newest(waiting: ReadonlyMap<Address, Node>): Node {
  let found: Node | undefined;
  for (const node of waiting.values())
    if (found === undefined || node.manifest.seq > found.manifest.seq) found = node;
  return found as Node;
}

/** Whether two heads have it in common that no child of it has in common. */
function hasOwnPair({ mask, children }: Node): boolean {
  const bits: bigint[] = [];
  for (let bit = 1n; bit <= mask; bit <<= 1n) if ((mask & bit) !== 0n) bits.push(bit);
  return bits.some((a, i) =>
    bits.slice(i + 1).some((b) => !children.some((child) => (child & a) !== 0n && (child & b) !== 0n)),
  );
}

function checkParent(parent: Manifest, child: Manifest, address: Address): void {
  if (parent.genesis === child.genesis && parent.seq < child.seq) return;
  throw new DreamDBError("LineageMismatch", "a Manifest and its parent do not belong together", {
    field: "manifest.parents",
    found: `${address} of sequence ${parent.seq}`,
    expected: `one of the same Space, before sequence ${child.seq}`,
  });
}

function refuseStrangers(states: readonly State[]): void {
  const genesis = states[0]?.manifest.genesis;
  const stranger = states.find(({ manifest }) => manifest.genesis !== genesis);
  if (stranger === undefined) return;
  throw new DreamDBError("LineageMismatch", "states of different datasets can't be brought together", {
    field: "genesis",
    found: stranger.manifest.genesis,
    expected: genesis,
  });
}
