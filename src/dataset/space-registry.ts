/** A Space's registry as a session knows it: read with the first verb that needs it, and again with every refresh. */
import { type Address, addressOf } from "../core/address.ts";
import { DreamDBError } from "../errors.ts";
import type { Manifest } from "../objects/manifest.ts";
import { decodeRegistry, type Registry, registryKey } from "../objects/registry.ts";
import { corrupt } from "../objects/shape.ts";
import { decodeTombstones, type TombstoneList } from "../objects/tombstones.ts";
import { Deleted, deadNow, deadRows, NONE_DELETED } from "./deleted.ts";
import { readRedactions } from "./redactions.ts";
import { inParallel, type Session } from "./session.ts";
import type { Live } from "./where.ts";

export interface RegistryState {
  /** −1 while there is none. */
  seq: number;
  /** Both undefined while there is none. */
  registry: Registry | undefined;
  etag: string | undefined;
  deleted: Deleted;
}

const ABSENT: RegistryState = { seq: -1, registry: undefined, etag: undefined, deleted: NONE_DELETED };

export class SpaceRegistry {
  readonly genesis: Address;
  /** As soon as it was read. */
  known: RegistryState | undefined;
  private readonly session: Session;
  private loading: Promise<RegistryState> | undefined;
  /** The redactions that the session follows. */
  private followed = "";

  constructor(session: Session, genesis: Address) {
    this.session = session;
    this.genesis = genesis;
  }

  /** Of a Space that was made just now. */
  static ofNew(session: Session, genesis: Address): SpaceRegistry {
    const space = new SpaceRegistry(session, genesis);
    space.known = ABSENT;
    return space;
  }

  /** What is known, or the registry of now. Errors: `Corrupt`, `HashMismatch`, `NotFound`, `StoreUnavailable`. */
  async get(session = this.session): Promise<RegistryState> {
    if (this.known !== undefined) return this.known;
    if (session !== this.session) return this.refresh(session);
    this.loading ??= this.refresh().finally(() => {
      this.loading = undefined;
    });
    return this.loading;
  }

  /** The registry of now. Errors: as `get`; `RefRollback` when the backend shows an older one than was read before. */
  async refresh(session = this.session): Promise<RegistryState> {
    const found = await session.current(registryKey(this.genesis));
    const before = this.known ?? ABSENT;
    if (found !== undefined && found.etag === before.etag) return before;
    const registry = found === undefined ? undefined : decodeRegistry(found.bytes);
    if (registry !== undefined && registry.genesis !== this.genesis)
      throw corrupt("registry.genesis", registry.genesis, this.genesis);
    const seq = registry?.seq ?? -1;
    const deleted =
      registry === undefined ? NONE_DELETED : await deletedOf(session, registry, before.deleted);
    // Another refresh may have come further meanwhile.
    const latest = this.known ?? ABSENT;
    if (seq < before.seq) {
      throw new DreamDBError("RefRollback", "the backend shows an older registry than was read before", {
        field: registryKey(this.genesis),
        found: `sequence ${seq}`,
        expected: `sequence ${before.seq} or a later one`,
      });
    }
    if (seq < latest.seq) return latest;
    this.known = { seq, registry, etag: found?.etag, deleted };
    return this.known;
  }

  /** The registry, at least as late as number `seq`. */
  async atLeast(seq: number): Promise<RegistryState> {
    return this.known !== undefined && this.known.seq >= seq ? this.known : this.refresh();
  }

  /** Whether it is known by now that no row of a state is deleted. */
  hasAllRows(manifest: Manifest): boolean {
    return this.known !== undefined && deadNow(manifest, this.known.deleted) === 0;
  }

  /**
   * Lets the session read what stands for containers that were redacted, as the registry has it; reads the registry anew first
   * when a container was missing. True when that is more than it knew.
   */
  async follow(session = this.session, isMissing = false): Promise<boolean> {
    const { registry } = isMissing ? await this.refresh(session) : await this.get(session);
    const key = registry?.redactions.join() ?? "";
    if (registry === undefined || key === this.followed) return false;
    session.following.redactions = await readRedactions(session, registry);
    this.followed = key;
    return true;
  }

  /** What every read of a state has to ask of its rows: undefined where none of them is deleted. */
  async live(manifest: Manifest, session = this.session): Promise<Live | undefined> {
    const { deleted } = await this.get(session);
    return (await deadRows(session, manifest, deleted)) === 0 ? undefined : { op: "live", deleted };
  }

  /** Rows of a state that are not deleted. */
  async count(manifest: Manifest, session = this.session): Promise<number> {
    const { deleted } = await this.get(session);
    return manifest.timeline.rows - (await deadRows(session, manifest, deleted));
  }
}

/** Reads the lists that a registry names. */
async function deletedOf(
  session: Session,
  { tombstones, genesis }: Registry,
  before: Deleted,
): Promise<Deleted> {
  const key = tombstones.map(({ address }) => address).join();
  if (key === before.key) return before;
  const lists: TombstoneList[] = new Array(tombstones.length);
  await inParallel([...tombstones.keys()], async (i) => {
    const { address, inline, count } = tombstones[i] as (typeof tombstones)[number];
    if (inline !== undefined && addressOf(inline) !== address) {
      throw new DreamDBError("HashMismatch", "the list inside a registry does not match its address", {
        field: "registry.tombstones",
        found: addressOf(inline),
        expected: address,
      });
    }
    const list = decodeTombstones(inline ?? (await session.object(address)));
    if (list.genesis !== genesis) throw corrupt("tombstones.genesis", list.genesis, genesis);
    if (list.anchors.length !== count) throw corrupt("registry.tombstones", count, list.anchors.length);
    lists[i] = list;
  });
  const ticks = new BigUint64Array(lists.reduce((sum, { anchors }) => sum + anchors.length, 0));
  let at = 0;
  for (const { anchors } of lists) for (const anchor of anchors) ticks[at++] = anchor;
  return new Deleted(ticks, key);
}
