/** A Space's registry as a session knows it: read with the first verb that needs it, and again with every refresh. */
import { type Address, addressOf } from "../core/address.ts";
import { equalBytes } from "../core/blake3.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import type { Manifest } from "../objects/manifest.ts";
import { decodeRegistry, encodeRegistry, type Registry, registryKey } from "../objects/registry.ts";
import { corrupt } from "../objects/shape.ts";
import { decodeTombstones, type TombstoneList } from "../objects/tombstones.ts";
import type { Context } from "./context.ts";
import { Deleted, deadNow, deadRows, NONE_DELETED } from "./deleted.ts";
import { epochOf, hold, readCollections } from "./holding.ts";
import { errnoIn } from "./put-objects.ts";
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

  /** What every read of a state has to ask of its rows: undefined where none of them is deleted. */
  async live(manifest: Manifest, session = this.session): Promise<Live | undefined> {
    const { deleted } = await this.get(session);
    return (await deadRows(session, manifest, deleted)) === 0 ? undefined : { op: "live", deleted };
  }

  /** Takes the lists that the registry is to name off those of collectors, as for a ref; the epoch that it is then at. */
  private async held(ctx: Context, { gcEpoch }: Registry): Promise<number> {
    if (gcEpoch === undefined) await readCollections(ctx);
    await hold(ctx, gcEpoch ?? epochOf(ctx.holding));
    return gcEpoch ?? epochOf(ctx.holding);
  }

  /** Rows of a state that are not deleted. */
  async count(manifest: Manifest, session = this.session): Promise<number> {
    const { deleted } = await this.get(session);
    return manifest.timeline.rows - (await deadRows(session, manifest, deleted));
  }

  /**
   * Changes the registry by compare-and-swap.
   * @param change makes the next body's parts of the registry as it is, undefined while there is none; it is called again
   * when another writer was faster. Undefined when nothing is left to change
   * Errors: `Conflict` after `ctx.retries` lost races; `CommitUnknown` when the backend's answer was lost and could not be
   * read back.
   */
  async change(
    ctx: Context,
    change: (
      state: RegistryState,
    ) => Promise<Partial<Pick<Registry, "tombstones" | "redactions">> | undefined>,
  ): Promise<RegistryState> {
    const key = registryKey(this.genesis);
    for (let attempt = 0; ; attempt++) {
      const state = await this.refresh(ctx.session);
      const changed = await change(state);
      if (changed === undefined) return state;
      const empty = { genesis: this.genesis, tombstones: [], redactions: [], others: new Map() };
      // What is there can be rewritten by a collector, which tells writers of what it is about to delete: so the first is empty.
      const next: Registry = {
        ...(state.registry ?? empty),
        ...(state.registry === undefined
          ? {}
          : { ...changed, gcEpoch: await this.held(ctx, state.registry) }),
        seq: state.seq + 1,
        writeId: ctx.random(16),
      };
      try {
        const condition = state.etag === undefined ? { create: true as const } : { ifMatch: state.etag };
        await ctx.store.put(key, encodeRegistry(next), condition);
        const now = await this.refresh(ctx.session);
        if (state.registry !== undefined) return now;
        continue;
      } catch (error) {
        if (isDreamDBError(error) && error.code !== "Conflict" && error.committed === "no") throw error;
        const isLost = isDreamDBError(error, "Conflict");
        const now = await this.refresh(ctx.session).catch((cause) => {
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
}

function unknown(field: string, cause: unknown): DreamDBError {
  const reason = cause instanceof Error ? `: ${cause.message}` : "";
  return new DreamDBError(
    "CommitUnknown",
    `can't tell whether the registry was changed; asking for the same again changes nothing twice${reason}`,
    { field, retryable: true, committed: "unknown", cause, ...errnoIn(cause) },
  );
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
