/** `delete`: no read of any branch or snapshot returns a record again (spec/0020-maintenance.md §3). */
import { type Address, addressOf } from "../core/address.ts";
import { clampTick, toTick } from "../core/time.ts";
import { isWellFormed } from "../core/utf8.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import { nextRow } from "../index/bitset.ts";
import { batchCodec, type NewPage } from "../objects/index-tree.ts";
import type { Manifest } from "../objects/manifest.ts";
import type { TombstonesRef } from "../objects/registry.ts";
import { decodeTombstones, encodeTombstones, type TombstoneList } from "../objects/tombstones.ts";
import { changeRegistry } from "./change-registry.ts";
import { publish } from "./commit.ts";
import type { Cancellable, Context } from "./context.ts";
import { matchBatch } from "./filter.ts";
import { putObjects } from "./put-objects.ts";
import type { AnyFields, FieldTypes } from "./schema.ts";
import { inParallel, type Session } from "./session.ts";
import type { SpaceRegistry } from "./space-registry.ts";
import { anchorsOf, entriesIn, firstAtLeast } from "./timeline.ts";
import { readTip, refuseRollback, type Tip } from "./tip.ts";
import { both, filterOf, type Where } from "./where.ts";

/** Records to delete: their anchors in Unix nanoseconds, or a condition on their scalars. */
export type Doomed<F extends FieldTypes = AnyFields> = readonly bigint[] | { where: Where<F> };

export interface DeleteOptions extends Cancellable {
  /** Why, for those who look at `deletions()` later. At most 1,024 characters. Default "". */
  reason?: string;
}

/** One call of `delete`. */
export interface Deletion {
  reason: string;
  /** The writer's clock, Unix nanoseconds. A hint: clocks err. */
  ts: bigint;
  /** Unix nanoseconds, ascending. */
  anchors: bigint[];
}

export interface DeleteTarget {
  ctx: Context;
  name: string;
  origin: bigint;
  space: SpaceRegistry;
}

const MAX_REASON_CHARS = 1024;
/** Anchors of one list at most: some 9 MB. */
const MAX_LIST = 1 << 20;
/** When so many lists stand in the registry, they become one. */
const MAX_LISTS = 64;
/** A list up to this size stands in the registry itself, and all of them together up to the second. */
const INLINE_BYTES = 8 << 10;
const ALL_INLINE_BYTES = 64 << 10;

/**
 * Deletes records of the tip. The registry decides; the Manifest that follows only records it, so that histories show it.
 * Errors: `InvalidArgument`, `InvalidAnchor`, `NotFound` for an anchor without a record, upon which nothing is deleted;
 * `Conflict`, `CommitUnknown`, `StoreUnavailable`; with `committed: "yes"` when records are deleted, but no Manifest says so.
 */
export async function deleteRecords(
  target: DeleteTarget,
  from: Tip,
  doomed: Doomed,
  options: DeleteOptions,
): Promise<{ tip: Tip; result: Address }> {
  const { ctx, name, space } = target;
  const reason = checkReason(options.reason ?? "");
  const wanted = Array.isArray(doomed) ? checkAnchors(doomed, target.origin) : undefined;
  const condition = wanted === undefined ? whereOf(doomed, from.manifest) : undefined;
  // What other writers added since is deleted as well, and not missed.
  const [tip] = await Promise.all([freshTip(ctx, name, from), space.refresh(ctx.session)]);
  const ticks =
    wanted === undefined
      ? await matching(target, tip.manifest, condition)
      : await checkPresent(target, tip.manifest, wanted);
  const isNew = await condemn(target, ticks, reason);
  if (!isNew) return { tip, result: tip.address };
  const opId = ctx.random(16);
  try {
    const published = await publish(ctx, name, tip, {
      opId,
      draft: async (current) => ({ manifest: recordOf(target, current, opId), objects: [] }),
    });
    return { tip: published.tip, result: published.own.address };
  } catch (error) {
    if (isDreamDBError(error)) Object.assign(error, { committed: "yes" });
    throw error;
  }
}

function recordOf({ ctx, origin }: DeleteTarget, { manifest, address }: Tip, opId: Uint8Array): Manifest {
  const ts = clampTick(ctx.clock() - origin);
  return {
    ...manifest,
    parents: [address],
    seq: manifest.seq + 1,
    ts,
    writer: ctx.writer,
    opId,
    op: "delete",
  };
}

async function freshTip({ session }: Context, name: string, from: Tip): Promise<Tip> {
  const seen = await readTip(session, name);
  if (seen === undefined)
    throw new DreamDBError("NotFound", "the ref is gone", { field: "name", found: name, committed: "no" });
  refuseRollback(name, from, seen, { committed: "no" });
  return seen.etag === from.etag ? from : seen;
}

/** Enters into the registry what is not in there yet; false when all of it was. */
async function condemn(target: DeleteTarget, ticks: BigUint64Array, reason: string): Promise<boolean> {
  const { ctx, space, origin } = target;
  let isNew = false;
  await changeRegistry(space, ctx, async ({ deleted, registry }) => {
    const fresh = [...ticks].filter((tick) => !deleted.has(tick));
    // Lost races may have brought all of them in.
    if (fresh.length === 0) return undefined;
    isNew = true;
    const ts = clampTick(ctx.clock() - origin);
    const lists: TombstoneList[] = [];
    for (let at = 0; at < fresh.length; at += MAX_LIST)
      lists.push({ genesis: space.genesis, anchors: fresh.slice(at, at + MAX_LIST), reason, ts });
    const refs = [...(registry?.tombstones ?? []), ...(await store(ctx, lists))];
    const folded = refs.length > MAX_LISTS ? await fold(ctx, refs, lists) : refs;
    return { tombstones: withinLimits(folded) };
  });
  return isNew;
}

async function store(ctx: Context, lists: readonly TombstoneList[]): Promise<TombstonesRef[]> {
  const objects: NewPage[] = lists.map((list) => {
    const bytes = encodeTombstones(list);
    return { address: addressOf(bytes), bytes };
  });
  await putObjects(ctx, objects);
  return objects.map(({ address, bytes }, i) => {
    const count = (lists[i] as TombstoneList).anchors.length;
    const ref = { address, bytes: bytes.length, count };
    return bytes.length <= INLINE_BYTES ? { ...ref, inline: bytes } : ref;
  });
}

/** One list for all that are not long themselves, so that readers have few to read; it names them, for their reasons. */
async function fold(
  ctx: Context,
  refs: readonly TombstonesRef[],
  lists: readonly TombstoneList[],
): Promise<TombstonesRef[]> {
  const long = refs.filter(({ count }) => count > MAX_LIST / 2);
  const short = refs.filter(({ count }) => count <= MAX_LIST / 2);
  const folded: TombstonesRef[] = [];
  for (let at = 0; at < short.length; ) {
    let count = 0;
    const from = at;
    while (at < short.length && count + (short[at] as TombstonesRef).count <= MAX_LIST)
      count += (short[at++] as TombstonesRef).count;
    const some = short.slice(from, at);
    const anchors = new Set<bigint>();
    for (const ref of some)
      for (const anchor of (await readList(ctx.session, ref)).anchors) anchors.add(anchor);
    const { genesis, ts } = lists[0] as TombstoneList;
    const all = [...anchors].sort((a, b) => (a < b ? -1 : 1));
    const of = some.map(({ address }) => address);
    folded.push(...(await store(ctx, [{ genesis, anchors: all, reason: "", ts, of }])));
  }
  return [...long, ...folded];
}

/** The latest lists stay inline as far as there is room. */
function withinLimits(refs: readonly TombstonesRef[]): TombstonesRef[] {
  let held = 0;
  return refs
    .toReversed()
    .map(({ inline, ...ref }) => {
      held += inline?.length ?? 0;
      return inline === undefined || held > ALL_INLINE_BYTES ? ref : { ...ref, inline };
    })
    .reverse();
}

async function readList(session: Session, { address, inline }: Pick<TombstonesRef, "address" | "inline">) {
  return decodeTombstones(inline ?? (await session.object(address)));
}

/** Every deletion of a Space, oldest first. */
export async function deletionsOf(
  space: SpaceRegistry,
  session: Session,
  origin: bigint,
): Promise<Deletion[]> {
  const { registry } = await space.get(session);
  const deletions: Deletion[] = [];
  const open = async (refs: readonly Pick<TombstonesRef, "address" | "inline">[]): Promise<void> => {
    const lists: TombstoneList[] = new Array(refs.length);
    await inParallel([...refs.keys()], async (i) => {
      lists[i] = await readList(session, refs[i] as TombstonesRef);
    });
    for (const { of, reason, ts, anchors } of lists) {
      if (of !== undefined) await open(of.map((address) => ({ address })));
      else deletions.push({ reason, ts: ts + origin, anchors: anchors.map((anchor) => anchor + origin) });
    }
  };
  await open(registry?.tombstones ?? []);
  return deletions.sort((a, b) => (a.ts < b.ts ? -1 : Number(a.ts > b.ts)));
}

/** Ticks, ascending, each once. */
function checkAnchors(anchors: readonly bigint[], origin: bigint): BigUint64Array {
  if (anchors.length === 0) throw invalid("anchors", "none", "at least one anchor");
  const ticks = BigUint64Array.from(anchors, (anchor, i) => toTick(anchor, origin, `anchors[${i}]`)).sort();
  return ticks.filter((tick, i) => i === 0 || tick !== ticks[i - 1]);
}

function whereOf(doomed: unknown, { fields }: Manifest) {
  const where =
    typeof doomed === "object" && doomed !== null ? (doomed as { where?: unknown }).where : undefined;
  if (where === undefined) throw invalid("anchors", doomed, "an array of anchors, or { where }");
  const condition = filterOf({ where }, fields);
  // What a variable that is unexpectedly empty would make of it.
  if (condition === undefined)
    throw invalid("where", "a condition that holds always", "one that chooses records");
  return condition;
}

function checkReason(reason: string): string {
  if (typeof reason === "string" && reason.length <= MAX_REASON_CHARS && isWellFormed(reason)) return reason;
  throw invalid("reason", reason, `well-formed text of at most ${MAX_REASON_CHARS} characters`);
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "these can't be deleted; nothing was", {
    field,
    found,
    expected,
    committed: "no",
  });
}

/** The ticks themselves. Errors: `NotFound` for one that is neither a record's nor deleted. */
async function checkPresent(
  { ctx, space, origin }: DeleteTarget,
  { timeline }: Manifest,
  ticks: BigUint64Array,
): Promise<BigUint64Array> {
  const { deleted } = await space.get(ctx.session);
  const missing = new Set(ticks.filter((tick) => !deleted.has(tick)));
  if (missing.size === 0) return ticks;
  const range = { from: ticks[0] as bigint, to: ticks.at(-1) as bigint };
  for await (const entry of entriesIn(ctx.session, timeline, batchCodec, range)) {
    const first = firstAtLeast(ticks, entry.base);
    const past = firstAtLeast(ticks, entry.base + entry.span + 1n);
    if (first >= past) continue;
    const anchors = await anchorsOf(ctx.session, entry);
    for (const tick of ticks.subarray(first, past)) {
      const row = anchors.rowFrom(tick);
      if (row < anchors.rows && anchors.tick(row) === tick) missing.delete(tick);
    }
  }
  const [tick] = missing;
  if (tick === undefined) return ticks;
  throw new DreamDBError("NotFound", "no record has this anchor; nothing was deleted", {
    field: "anchors",
    found: tick + origin,
    expected: "the anchor of a record of this branch, or of one deleted before",
    committed: "no",
  });
}

/** The anchors of the rows that meet a condition and are not deleted, ascending. */
async function matching(
  { ctx, space }: DeleteTarget,
  manifest: Manifest,
  condition: ReturnType<typeof filterOf>,
): Promise<BigUint64Array> {
  const { session } = ctx;
  const wanted = both(await space.live(manifest, session), condition);
  if (wanted === undefined) return new BigUint64Array();
  const ticks: bigint[] = [];
  for await (const entry of entriesIn(session, manifest.timeline, batchCodec)) {
    const bits = await matchBatch(session, entry, wanted);
    let row = nextRow(bits, 0, entry.rows);
    if (row === entry.rows) continue;
    const anchors = await anchorsOf(session, entry);
    for (; row < entry.rows; row = nextRow(bits, row + 1, entry.rows)) ticks.push(anchors.tick(row));
  }
  return BigUint64Array.from(ticks).sort();
}
