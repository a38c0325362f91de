/**
 * Collecting garbage (spec/0020-maintenance.md §7): objects that no root reaches are condemned, every ref is rewritten so that no
 * writer goes on without knowing that, and those which nothing has come to need are deleted when a later call finds them old enough.
 */
import { type Address, isAddress, objectKey } from "../core/address.ts";
import { equalBytes } from "../core/blake3.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import { type ListRef, type SplitSet, splitSet } from "../objects/address-list.ts";
import { decodeGcState, encodeGcState, GC_KEY, type GcState, type Round } from "../objects/gc-state.ts";
import { decodeLanes } from "../objects/lanes.ts";
import { decodePin } from "../objects/pin.ts";
import { decodeRef, encodeRef, isLive, type RefBody } from "../objects/ref.ts";
import { decodeRegistry, encodeRegistry, type Registry } from "../objects/registry.ts";
import { openStore } from "../store/open.ts";
import type { StoreOptions } from "../store/remote/options.ts";
import { signalled } from "../store/signalled.ts";
import type { Store } from "../store/store.ts";
import { entriesOf, reachedBy } from "./complete.ts";
import type { Backend, Cancellable } from "./context.ts";
import { keptBy, Marker } from "./mark.ts";
import { storeObjects } from "./put-objects.ts";
import { readRedactions } from "./redactions.ts";
import { inParallel, Session } from "./session.ts";

export interface GcOptions extends Cancellable {
  /** For backends reached by HTTP. */
  remote?: StoreOptions;
  /**
   * Milliseconds that what is condemned stays before a later call deletes it; 0: this call does. Longer than any operation of a
   * writer, any reader without a pin that is not to be disturbed, any request on its way, and any pause of a collector.
   */
  ageMs: number;
  /** Keep the data of so many of the latest states of each branch, from 1. Default: all. */
  keepManifests?: number;
  /** Keep the data of states that were published in the last so many milliseconds. With `keepManifests`: what either keeps. */
  keepSinceMs?: number;
  /** Only tell what would be condemned. Default false. */
  dryRun?: boolean;
  /** Delete only this part, of so many, of what is condemned: each may be the work of another job. Default all. */
  shard?: { index: number; count: number };
  onProgress?: (progress: GcProgress) => void;
  /** Unix nanoseconds now. */
  clock?: () => bigint;
  /** Random bytes, for ids. */
  random?: (count: number) => Uint8Array;
  /** Waits so many milliseconds after lost races. */
  sleep?: (ms: number) => Promise<void>;
  /** Lost races of one compare-and-swap that are made good before `Conflict`. Default 100. */
  retries?: number;
}

export interface GcProgress {
  stage: "fence" | "mark" | "list" | "delete";
  /** Refs, objects marked, objects listed, objects deleted. */
  done: number;
  total?: number;
}

export interface GcResult {
  /** Number of the latest collection. */
  epoch: number;
  /** Roots: branches and snapshots, and pins that hold. */
  refs: number;
  pins: number;
  /** Objects that stay because something reaches them; 0 when there was nothing to mark for. */
  marked: number;
  /** States of histories that stay without their data, those of earlier collections included. */
  pruned: number;
  /** Objects that this call condemned, or with `dryRun` would, and their bytes. */
  condemned: number;
  condemnedBytes: number;
  /** Objects that were condemned and stay: writers came to need them. */
  spared: number;
  /** Objects deleted, and their bytes. */
  deleted: number;
  reclaimedBytes: number;
  /** From when on a call deletes what is condemned by now, Unix nanoseconds. Absent when nothing is. */
  due?: bigint;
}

const DEFAULT_RETRIES = 100;
const MAX_SHARDS = 1024;
/** Deletes under way at once. */
const DELETES_AT_ONCE = 32;
const CACHE_BYTES = 64 << 20;

/**
 * Deletes objects that nothing reaches any more: what crashes and lost races left behind, what deleted refs and compactions let go
 * of, and what the policy prunes of histories. In two steps: a call condemns, and a later one, `ageMs` after it, deletes what is
 * still not needed and condemns anew. Writers and readers go on meanwhile.
 * Errors: `InvalidArgument`; `Conflict` while another collector deletes, or after lost races; `NotFound`, `HashMismatch`,
 * `Corrupt` when a root or what it leads to can't be read: then nothing is deleted; `StoreUnavailable`, `CommitUnknown`. After any
 * error it may be called again: what was begun is gone on with.
 */
export async function gc(backend: Backend | { backend: Backend }, options: GcOptions): Promise<GcResult> {
  const checked = checkOptions(options);
  const store = signalled(openStore(backend, checked.remote ?? {}), options.signal);
  return new Collector(store, checked).run();
}

interface Checked extends GcOptions {
  shard: { index: number; count: number };
  clock: () => bigint;
  random: (count: number) => Uint8Array;
  sleep: (ms: number) => Promise<void>;
  retries: number;
}

/** What there is to mark from. */
interface Roots {
  branches: Address[];
  tags: Address[];
  pins: Address[];
  registries: Registry[];
  /** Objects that stay by themselves. */
  others: Address[];
}

/** What a policy keeps, and what that reaches. */
interface Marked {
  marker: Marker;
  /** Of an ancestor of a root: whether its data goes. */
  isSkeleton: (manifest: Address) => boolean;
}

class Collector {
  private readonly store: Store;
  private readonly session: Session;
  private readonly options: Checked;
  private readonly ageNs: bigint;
  private readonly owner: Uint8Array;
  private readonly result: GcResult = {
    epoch: 0,
    refs: 0,
    pins: 0,
    marked: 0,
    pruned: 0,
    condemned: 0,
    condemnedBytes: 0,
    spared: 0,
    deleted: 0,
    reclaimedBytes: 0,
  };

  constructor(store: Store, options: Checked) {
    this.store = store;
    this.session = new Session(store, CACHE_BYTES);
    this.options = options;
    this.ageNs = BigInt(Math.ceil(options.ageMs * 1e6));
    this.owner = options.random(16);
  }

  async run(): Promise<GcResult> {
    const { dryRun = false, ageMs } = this.options;
    const { round, epoch } = await this.read();
    if (dryRun) await this.rehearse(round);
    else if (round?.phase === "condemned" && !this.isDue(round.ts)) {
      // Its collector may have been killed before it had rewritten every ref.
      await this.roots(epoch);
    } else {
      let marked: Marked | undefined;
      if (round?.phase === "condemned") marked = await this.finish();
      else if (round !== undefined) await this.sweep();
      const isCondemned = (await this.read()).round === undefined && (await this.condemn(marked));
      if (isCondemned && ageMs === 0) await this.finish();
    }
    return this.report();
  }

  private async report(): Promise<GcResult> {
    const { round, epoch, pruned } = await this.read();
    const due = round?.phase !== "condemned" ? {} : { due: round.ts + this.ageNs };
    return { ...this.result, epoch, pruned: countOf(pruned), ...due };
  }

  private isDue(ts: bigint): boolean {
    return this.options.clock() - ts >= this.ageNs;
  }

  private async rehearse(round: Round | undefined): Promise<void> {
    const { marker } = await this.mark(await this.roots(undefined), undefined);
    const listed = await entriesOf(this.session, round?.condemned ?? []);
    for (const [address, bytes] of await this.garbage(marker)) {
      if (listed.has(address)) continue;
      this.result.condemned++;
      this.result.condemnedBytes += bytes;
    }
  }

  /**
   * Puts on a list what nothing reaches, and tells writers by rewriting every ref. False when there is nothing.
   * @param marked by this call, if it kept all
   */
  private async condemn(marked: Marked | undefined): Promise<boolean> {
    const { keepManifests, keepSinceMs, clock } = this.options;
    const isKeepingAll = keepManifests === undefined && keepSinceMs === undefined;
    const { marker } =
      marked !== undefined && isKeepingAll ? marked : await this.mark(await this.roots(undefined), undefined);
    const garbage = await this.garbage(marker);
    const known = await entriesOf(this.session, (await this.read()).pruned);
    const doomed = [...marker.skeletons].filter((address) => !known.has(address));
    if (garbage.size === 0 && doomed.length === 0) return false;
    const made = await this.change(async (state) => {
      // Another collector has begun meanwhile.
      if (state.round !== undefined) return undefined;
      const round: Round = {
        phase: "condemned",
        ts: clock(),
        condemned: await this.stored(garbage),
        doomed: await this.stored(doomed),
        spared: [],
        states: [],
        taken: [],
      };
      return { ...state, epoch: state.epoch + 1, round };
    });
    if (made === undefined) return false;
    this.result.condemned += garbage.size;
    for (const bytes of garbage.values()) this.result.condemnedBytes += bytes;
    await this.roots(made.epoch);
    return true;
  }

  /** Deletes what the list still has when all that anybody came to need is taken off it. */
  private async finish(): Promise<Marked> {
    const { epoch, round } = await this.read();
    const { listed, marked } = await this.unlessOvertaken(epoch, async () => {
      const listed = await entriesOf(this.session, round?.condemned ?? []);
      const doomed = await entriesOf(this.session, round?.doomed ?? []);
      return { listed, marked: await this.mark(await this.roots(epoch), doomed) };
    });
    const { marker, isSkeleton } = marked;
    let going = new Map<Address, number>();
    const made = await this.change(async (state) => {
      const now = state.round;
      // Another collector was faster: it may be helped.
      if (state.epoch !== epoch || now?.phase !== "condemned") return undefined;
      for (const named of now.states) await this.markHeld(named, marker, isSkeleton);
      const spared = new Set([...now.spared, ...listsIn(state)]);
      going = new Map([...listed].filter(([address]) => !marker.live.has(address) && !spared.has(address)));
      const next: Round = {
        ...now,
        phase: "deleting",
        ts: this.options.clock(),
        condemned: await this.stored(going),
        doomed: [],
      };
      return { ...state, pruned: await this.pruned(state, marker, going), round: next };
    });
    if (made !== undefined) {
      this.result.spared += listed.size - going.size;
      await this.drop([...(round?.condemned ?? []), ...(round?.doomed ?? [])]);
    }
    await this.sweep();
    return marked;
  }

  /** Another collector that goes on with this round takes its lists away, and what they name: that is no damage. */
  private async unlessOvertaken<T>(epoch: number, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!isDreamDBError(error, "NotFound")) throw error;
      const state = await this.read();
      if (state.epoch === epoch && state.round?.phase === "condemned") throw error;
      throw new DreamDBError("Conflict", "another collector went on with this collection; call again", {
        field: GC_KEY,
        found: `epoch ${state.epoch}, ${state.round === undefined ? "ended" : state.round.phase}`,
        expected: `epoch ${epoch}, condemned`,
        retryable: true,
        committed: "no",
        cause: error,
      });
    }
  }

  /** Deletes list by list what nobody else is at work on, and ends the round when none is left. */
  private async sweep(): Promise<void> {
    let dropped: ListRef | undefined;
    for (let done: number | undefined; ; ) {
      const took = await this.take(done);
      await this.drop([dropped]);
      if (took === undefined) return;
      await this.deleteListed(took);
      done = took.list;
      dropped = took.ref;
    }
  }

  /** Lists that nobody names any more, so that a collection leaves no garbage itself. No two lists are equal: they are nobody else's. */
  private async drop(lists: SplitSet): Promise<void> {
    for (const ref of lists) if (ref !== undefined) await this.store.delete(objectKey(ref.address));
  }

  /** Takes the next list. @param done the one that it had and that is no longer needed */
  private async take(
    done: number | undefined,
  ): Promise<{ list: number; ref: ListRef; ts: bigint } | undefined> {
    const { shard, clock } = this.options;
    let took: { list: number; ref: ListRef; ts: bigint } | undefined;
    await this.change(async (state) => {
      took = undefined;
      const round = state.round;
      if (round?.phase !== "deleting") return undefined;
      if (done !== undefined) this.refuseLost(round, done);
      const condemned = round.condemned.map((ref, i) => (i === done ? undefined : ref));
      const taken = round.taken.filter(({ list }) => list !== done);
      if (condemned.every((ref) => ref === undefined)) {
        const { round: _ended, ...rest } = state;
        return rest;
      }
      for (const [list, ref] of condemned.entries()) {
        const isOther = Math.floor((list * shard.count) / condemned.length) !== shard.index;
        const holder = taken.find((each) => each.list === list);
        if (ref === undefined || isOther || (holder !== undefined && !this.isDue(holder.ts))) continue;
        took = { list, ref, ts: clock() };
        const others = taken.filter((each) => each !== holder);
        const next = { ...round, condemned, taken: [...others, { list, ts: took.ts, owner: this.owner }] };
        return { ...state, round: next };
      }
      return done === undefined ? undefined : { ...state, round: { ...round, condemned, taken } };
    });
    return took;
  }

  private async deleteListed({ list, ref, ts }: { list: number; ref: ListRef; ts: bigint }): Promise<void> {
    const { clock, onProgress } = this.options;
    const entries = await entriesOf(this.session, [ref]);
    let seenAt = ts;
    const work = async ([address, bytes]: [Address, number]): Promise<void> => {
      // One that was away for long may have been given up, and another have ended the round: then nothing may be deleted any more.
      if (this.ageNs > 0n && (clock() - seenAt) * 2n >= this.ageNs) seenAt = await this.touch(list);
      await this.store.delete(objectKey(address));
      this.result.deleted++;
      this.result.reclaimedBytes += bytes;
      onProgress?.({ stage: "delete", done: this.result.deleted });
    };
    await inParallel([...entries], work, DELETES_AT_ONCE);
  }

  /** Tells that a list is being worked on. */
  private async touch(list: number): Promise<bigint> {
    const ts = this.options.clock();
    await this.change(async (state) => {
      const { round } = state;
      this.refuseLost(round, list);
      const taken = (round as Round).taken.map((each) => (each.list === list ? { ...each, ts } : each));
      return { ...state, round: { ...(round as Round), taken } };
    });
    return ts;
  }

  private refuseLost(round: Round | undefined, list: number): void {
    const holder = round?.taken.find((each) => each.list === list);
    if (holder !== undefined && equalBytes(holder.owner, this.owner)) return;
    throw new DreamDBError("Conflict", "another collector went on with what this one had taken", {
      field: GC_KEY,
      found: `list ${list} in other hands`,
      expected: "no pause longer than the age",
      retryable: true,
      committed: "no",
    });
  }

  /** The Manifests that stay without data: those there were, and those of the round that nothing came to need. */
  private async pruned(
    state: GcState,
    { skeletons }: Marker,
    going: ReadonlyMap<Address, number>,
  ): Promise<SplitSet> {
    const known = await entriesOf(this.session, state.pruned);
    const all = new Set([...known.keys(), ...skeletons].filter((address) => !going.has(address)));
    if (all.size === known.size && [...all].every((address) => known.has(address))) return state.pruned;
    return this.stored([...all]);
  }

  /** @param doomed Manifests that may go without their data; undefined: all that the policy does not keep */
  private async mark(roots: Roots, doomed: ReadonlyMap<Address, number> | undefined): Promise<Marked> {
    const { keepManifests, keepSinceMs, clock } = this.options;
    const since = keepSinceMs === undefined ? undefined : clock() - BigInt(Math.ceil(keepSinceMs * 1e6));
    const kept = await keptBy(this.session, roots.branches, {
      ...(keepManifests === undefined ? {} : { manifests: keepManifests }),
      ...(since === undefined ? {} : { since }),
    });
    const state = await this.read();
    const pruned = await entriesOf(this.session, state.pruned);
    const isSkeleton = (address: Address): boolean =>
      pruned.has(address) ||
      (kept !== undefined && !kept.has(address) && (doomed === undefined || doomed.has(address)));
    const marker = new Marker(this.session, (done) => this.options.onProgress?.({ stage: "mark", done }));
    for (const { genesis, tombstones, redactions } of roots.registries) {
      await marker.tombstones(tombstones.map(({ address }) => address));
      for (const address of [genesis, ...redactions]) marker.live.add(address);
      marker.redacted(genesis, await readRedactions(this.session, { genesis, redactions }));
    }
    // What was pruned does not come back with another policy; and a pin of it was never confirmed.
    const held = [...(kept ?? [])].filter((address) => !pruned.has(address));
    await marker.states([...roots.branches, ...roots.tags, ...held], isSkeleton);
    for (const pin of roots.pins) if (!pruned.has(pin)) await this.markHeld(pin, marker, isSkeleton);
    for (const address of [...roots.others, ...listsIn(state)]) marker.live.add(address);
    this.result.marked = marker.live.size;
    return { marker, isSkeleton };
  }

  /**
   * What a pin or a writer names. Where something of it is gone that was never confirmed, or is lost: whoever named it is about to be
   * told, or was killed, and nobody could collect any more if it were a root.
   */
  private async markHeld(
    state: Address,
    marker: Marker,
    isSkeleton: (manifest: Address) => boolean,
  ): Promise<void> {
    if (marker.full.has(state)) return;
    try {
      await reachedBy(this.session, state, isSkeleton, marker);
    } catch (error) {
      if (isDreamDBError(error, "NotFound")) return;
      throw error;
    }
    await marker.states([state], isSkeleton);
  }

  /**
   * All roots. With an epoch, each ref and registry is rewritten that has a lower one: whoever read it before can't move it any more.
   */
  private async roots(epoch: number | undefined): Promise<Roots> {
    const roots: Roots = { branches: [], tags: [], pins: [], registries: [], others: [] };
    const now = this.options.clock();
    for await (const { key } of this.store.list("pins/")) {
      const found = await this.store.get(key);
      const pin = found && decodePin(found.bytes);
      if (pin === undefined) continue;
      if (pin.expires > now) roots.pins.push(pin.manifest);
      else if (epoch !== undefined) await this.store.delete(key);
    }
    for await (const { key } of this.store.list("meta/")) {
      if (key.endsWith("/registry")) roots.registries.push(await this.fencedRegistry(key, epoch));
      else if (key.endsWith("/lanes")) roots.others.push(decodeLanes((await this.cell(key)).bytes).genesis);
      else if (key !== GC_KEY && key !== "meta/probe") throw unknownCell(key);
    }
    let fenced = 0;
    for await (const { key } of this.store.list("refs/")) {
      const ref = await this.fencedRef(key, epoch);
      if (ref.type === "branch") roots.branches.push(ref.manifest);
      if (ref.type === "tag") roots.tags.push(ref.manifest);
      this.options.onProgress?.({ stage: "fence", done: ++fenced });
    }
    this.result.refs = roots.branches.length + roots.tags.length;
    this.result.pins = roots.pins.length;
    return roots;
  }

  private async fencedRef(key: string, epoch: number | undefined): Promise<RefBody> {
    for (let attempt = 0; ; attempt++) {
      const found = await this.cell(key);
      const ref = decodeRef(found.bytes);
      const isMovable = isLive(ref) || ref.type === "reserved";
      if (epoch === undefined || ref.gcEpoch >= epoch || !isMovable) return ref;
      const body = { ...ref, gcEpoch: epoch, writeId: this.options.random(16) };
      if (await this.swapped(key, encodeRef(body), found.etag, attempt)) return body;
    }
  }

  private async fencedRegistry(key: string, epoch: number | undefined): Promise<Registry> {
    for (let attempt = 0; ; attempt++) {
      const found = await this.cell(key);
      const registry = decodeRegistry(found.bytes);
      if (epoch === undefined || (registry.gcEpoch ?? -1) >= epoch) return registry;
      const { seq } = registry;
      const body = { ...registry, gcEpoch: epoch, seq: seq + 1, writeId: this.options.random(16) };
      if (await this.swapped(key, encodeRegistry(body), found.etag, attempt)) return body;
    }
  }

  /** A root that is listed and not there is no reason to go on. */
  private async cell(key: string): Promise<{ bytes: Uint8Array; etag: string }> {
    const found = await this.store.get(key);
    if (found !== undefined) return found;
    throw new DreamDBError("NotFound", "a root is listed and not there; nothing was deleted", { field: key });
  }

  /** False when another was faster, or nobody knows; whoever asks looks again. */
  private async swapped(key: string, bytes: Uint8Array, ifMatch: string, attempt: number): Promise<boolean> {
    try {
      await this.store.put(key, bytes, { ifMatch });
      return true;
    } catch (error) {
      if (!isDreamDBError(error) || (error.code !== "Conflict" && error.committed === "no")) throw error;
      if (attempt >= this.options.retries) throw crowded(key, attempt + 1, error);
      await this.pause(attempt);
      return false;
    }
  }

  private async garbage({ live }: Marker): Promise<Map<Address, number>> {
    const found = new Map<Address, number>();
    let done = 0;
    for await (const { key, bytes } of this.store.list("objects/")) {
      const address = key.slice(key.lastIndexOf("/") + 1);
      if (isAddress(address) && objectKey(address) === key && !live.has(address)) found.set(address, bytes);
      if (++done % 1000 === 0) this.options.onProgress?.({ stage: "list", done });
    }
    return found;
  }

  /** Stores a set. Lists of objects say how long these are. */
  private async stored(entries: ReadonlyMap<Address, number> | readonly Address[]): Promise<SplitSet> {
    const hasSizes = !Array.isArray(entries);
    const pairs = Array.isArray(entries) ? entries.map((address) => [address, 0] as const) : entries;
    const { set, objects } = splitSet(pairs as Iterable<[Address, number]>, hasSizes, () =>
      this.options.random(16),
    );
    await storeObjects({ store: this.store }, objects);
    return set;
  }

  /** What a set has, with the bytes of each where they are known. */
  private async read(): Promise<GcState> {
    const found = await this.store.get(GC_KEY);
    return found === undefined ? EMPTY : decodeGcState(found.bytes);
  }

  /**
   * Changes the cell by compare-and-swap. @param make the next value, undefined when there is nothing to change; called again when
   * another was faster
   */
  private async change(make: (state: GcState) => Promise<GcState | undefined>): Promise<GcState | undefined> {
    for (let attempt = 0; ; attempt++) {
      const found = await this.store.get(GC_KEY);
      const made = await make(found === undefined ? EMPTY : decodeGcState(found.bytes));
      if (made === undefined) return undefined;
      const next = { ...made, writeId: this.options.random(16) };
      const condition = found === undefined ? { create: true as const } : { ifMatch: found.etag };
      try {
        await this.store.put(GC_KEY, encodeGcState(next), condition);
        return next;
      } catch (error) {
        if (!isDreamDBError(error) || (error.code !== "Conflict" && error.committed === "no")) throw error;
        const now = await this.store.get(GC_KEY);
        if (now !== undefined && equalBytes(decodeGcState(now.bytes).writeId, next.writeId)) return next;
        if (error.code !== "Conflict" && now?.etag === found?.etag) throw unknown(error);
        if (attempt >= this.options.retries) throw crowded(GC_KEY, attempt + 1, error);
        await this.pause(attempt);
      }
    }
  }

  private pause(attempt: number): Promise<void> {
    const share = (this.options.random(1)[0] as number) / 256;
    return this.options.sleep(share * Math.min(1000, 4 * 2 ** attempt));
  }
}

const EMPTY: GcState = { epoch: 0, writeId: new Uint8Array(16), pruned: [] };

/** The lists that the cell names are no garbage. */
function listsIn({ round, pruned }: GcState): Address[] {
  const all = [...pruned, ...(round?.condemned ?? []), ...(round?.doomed ?? [])];
  return all.flatMap((ref) => (ref === undefined ? [] : [ref.address]));
}

function countOf(set: SplitSet): number {
  return set.reduce((sum, ref) => sum + (ref?.count ?? 0), 0);
}

function checkOptions(options: GcOptions): Checked {
  const { ageMs, keepManifests, keepSinceMs, shard = { index: 0, count: 1 } } = options;
  if (!(typeof ageMs === "number" && ageMs >= 0 && ageMs <= Number.MAX_SAFE_INTEGER))
    throw invalid("ageMs", ageMs, "milliseconds, from 0");
  if (keepManifests !== undefined && !(Number.isSafeInteger(keepManifests) && keepManifests >= 1))
    throw invalid("keepManifests", keepManifests, "an integer from 1");
  if (
    keepSinceMs !== undefined &&
    !(typeof keepSinceMs === "number" && keepSinceMs >= 0 && Number.isFinite(keepSinceMs))
  )
    throw invalid("keepSinceMs", keepSinceMs, "milliseconds, from 0");
  const { index, count } = shard;
  if (!Number.isSafeInteger(count) || count < 1 || count > MAX_SHARDS)
    throw invalid("shard.count", count, `an integer from 1 to ${MAX_SHARDS}`);
  if (!Number.isSafeInteger(index) || index < 0 || index >= count)
    throw invalid("shard.index", index, `an integer from 0 to ${count - 1}`);
  return {
    ...options,
    shard: { index, count },
    clock: options.clock ?? (() => BigInt(Date.now()) * 1_000_000n),
    random: options.random ?? ((bytes) => crypto.getRandomValues(new Uint8Array(bytes))),
    sleep: options.sleep ?? ((ms) => new Promise((resolve) => setTimeout(resolve, ms))),
    retries: options.retries ?? DEFAULT_RETRIES,
  };
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "this option can't be", { field, found, expected });
}

function crowded(field: string, races: number, cause: unknown): DreamDBError {
  return new DreamDBError("Conflict", "others changed the value each time", {
    field,
    found: `${races} lost races`,
    expected: "one won",
    retryable: true,
    committed: "no",
    cause,
  });
}

function unknown(cause: unknown): DreamDBError {
  return new DreamDBError(
    "CommitUnknown",
    "can't tell whether a step of the collection was written; call again",
    {
      field: GC_KEY,
      retryable: true,
      committed: "unknown",
      cause,
    },
  );
}

function unknownCell(key: string): DreamDBError {
  return new DreamDBError(
    "UnsupportedVersion",
    "a cell of a newer format may name objects; nothing was deleted",
    {
      field: key,
      expected: "meta/gc, meta/probe, and the registry and lanes of Spaces",
    },
  );
}
