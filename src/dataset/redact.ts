/**
 * Taking deleted records out of the states that histories and snapshots name (spec/0020-maintenance.md §5). Manifests are what
 * their addresses say, so none of them changes: batches and segments without those rows are written beside the old ones, and the
 * registry says which stand for which.
 */
import { type Address, addressOf, objectKey } from "../core/address.ts";
import { isDreamDBError } from "../errors.ts";
import type { ContainerRef } from "../objects/container-ref.ts";
import {
  type BatchEntry,
  batchCodec,
  type EntryCodec,
  type IndexRoot,
  type Interval,
  type PageRef,
  type SegmentEntry,
  segmentCodec,
} from "../objects/index-tree.ts";
import { codingOf, type LineageRef, type Manifest, type Track } from "../objects/manifest.ts";
import { decodePin } from "../objects/pin.ts";
import { digestOfEntry, encodeRedactions, type RedactionMap } from "../objects/redactions.ts";
import { decodeRef, isLive } from "../objects/ref.ts";
import { decodeScalarIndexHead } from "../objects/scalar-index.ts";
import { decodeSegmentHead } from "../objects/segment.ts";
import { encodeSpatialIndex, isGraph } from "../objects/spatial-index.ts";
import { changeRegistry } from "./change-registry.ts";
import type { Context } from "./context.ts";
import { type Deleted, eachDead } from "./deleted.ts";
import { putObjects } from "./put-objects.ts";
import { redactBatch, redactSegment, segmentRows } from "./redact-containers.ts";
import { Redactions, readRedactions } from "./redactions.ts";
import { hiddenIn, readLineage, rowsThatCount } from "./segments.ts";
import type { SpaceRegistry } from "./space-registry.ts";
import { startingIndex } from "./starting-index.ts";
import { readPage, storedEntriesIn } from "./timeline.ts";
import { readManifest } from "./tip.ts";

/** What of older states, and of other branches, got something in its place. */
export interface Redacted {
  batches: number;
  segments: number;
  graphs: number;
}

export interface RedactTarget {
  ctx: Context;
  space: SpaceRegistry;
}

/** Entries of one object: of hundreds of columns, they still stay below what metadata may take. */
const ENTRIES_OF_MAP = 512;

/**
 * Writes a batch, and a segment, without deleted rows for each that has one, in whatever state any ref of the Space reaches, and
 * enters them into the registry. What was made for all deletions of now is left as it is.
 * Errors: `Conflict` after lost races, `NotFound`, `StoreUnavailable`, `CommitUnknown`; then nothing was entered.
 */
export async function redactStates(
  target: RedactTarget,
  { dryRun, onProgress }: { dryRun: boolean; onProgress?: (done: number, total: number) => void },
): Promise<Redacted> {
  const { ctx, space } = target;
  const { deleted } = await space.refresh(ctx.session);
  const redacted: Redacted = { batches: 0, segments: 0, graphs: 0 };
  if (deleted.size === 0) return redacted;
  await space.follow(ctx.session);
  const known = ctx.session.following.redactions ?? new Redactions();
  const found = await condemnedIn(target, deleted, known);
  const made = new Redactions();
  const total = found.batches.length + found.segments.length;
  let done = 0;
  for (const { key, entry, dead } of found.batches) {
    const seen = known.entry(entry, batchCodec) as BatchEntry;
    const rewritten = await unlessGone(() => rewriteBatch(ctx, seen, deleted, dryRun));
    if (rewritten !== undefined) {
      redacted.batches++;
      made.batches.set(key, { key, dead, entry: rewritten });
    }
    onProgress?.(++done, total);
  }
  for (const { entry, dead, track } of found.segments) {
    const { lineage } = track;
    const before = known.of(entry, segmentCodec, lineage);
    const isMade = made.of(entry, segmentCodec, lineage) !== undefined;
    const seen = isMade ? undefined : before === undefined ? entry : before.entry;
    const rewritten = seen && (await unlessGone(() => rewriteSegment(ctx, seen, track, deleted, dryRun)));
    if (rewritten !== undefined) {
      // Of all rows the same is left whatever Track has them, with a lineage or without.
      const counted = rewritten.isInPart ? lineage?.address : undefined;
      const key = before?.key ?? digestOfEntry(entry, segmentCodec, counted);
      redacted.segments++;
      made.segments.set(key, { key, dead, entry: rewritten.entry });
    }
    onProgress?.(++done, total);
  }
  for (const graph of found.graphs) {
    redacted.graphs++;
    made.indexes.set(graph.graph, graph);
  }
  if (dryRun || redacted.batches + redacted.segments + redacted.graphs === 0) return redacted;
  await putObjects(
    ctx,
    found.graphs.map(({ address, inline }) => ({ address, bytes: inline })),
  );
  await enter(target, made);
  await space.follow(ctx.session);
  return redacted;
}

/** Puts redactions into the registry, beside those that are there by then. */
async function enter({ ctx, space }: RedactTarget, made: Redactions): Promise<void> {
  await changeRegistry(space, ctx, async ({ registry }) => {
    const before = registry?.redactions ?? [];
    const all = await readRedactions(ctx.session, { genesis: space.genesis, redactions: before });
    const maps = mapsOf(space.genesis, all.add(asLists(made)));
    const objects = maps.map((map) => {
      const bytes = encodeRedactions(map);
      return { address: addressOf(bytes), bytes };
    });
    const addresses = objects.map(({ address }) => address);
    if (addresses.join() === before.join()) return undefined;
    await putObjects(ctx, objects);
    return { redactions: addresses };
  });
}

function asLists({ batches, segments, indexes }: Redactions) {
  return {
    batches: [...batches.values()],
    segments: [...segments.values()],
    indexes: [...indexes.values()],
  };
}

/** In ascending order, so that equal redactions make equal objects. */
function mapsOf(genesis: Address, redactions: Redactions): RedactionMap[] {
  const byKey = (a: { key: string }, b: { key: string }): number => (a.key < b.key ? -1 : 1);
  const { batches, segments, indexes } = asLists(redactions);
  batches.sort(byKey);
  segments.sort(byKey);
  indexes.sort((a, b) => (a.graph < b.graph ? -1 : 1));
  const maps: RedactionMap[] = [];
  const most = Math.max(batches.length, segments.length, indexes.length);
  for (let at = 0; at < most; at += ENTRIES_OF_MAP) {
    const end = at + ENTRIES_OF_MAP;
    maps.push({
      genesis,
      batches: batches.slice(at, end),
      segments: segments.slice(at, end),
      indexes: indexes.slice(at, end),
    });
  }
  return maps;
}

interface Condemned {
  batches: { key: string; entry: BatchEntry; dead: number }[];
  segments: { entry: SegmentEntry; dead: number; track: Track }[];
  graphs: { graph: Address; address: Address; inline: Uint8Array; spatialIndex: Track["spatialIndex"] }[];
}

/** Entries, each once, with deleted anchors in their time that no redaction was made for; and graphs that cover a deleted row. */
async function condemnedIn(
  { ctx, space }: RedactTarget,
  deleted: Deleted,
  known: Redactions,
): Promise<Condemned> {
  const { session } = ctx;
  const found: Condemned = { batches: [], segments: [], graphs: [] };
  const seen = new Set<string>();
  const deadIn = ({ base, span }: Interval): number => deleted.within(base, base + span).length;
  const look = <E extends Interval>(
    entry: E,
    codec: EntryCodec<E>,
    lineage?: LineageRef,
  ): { key: string; dead: number } | undefined => {
    const dead = deadIn(entry);
    if (dead === 0) return undefined;
    const key = digestOfEntry(entry, codec, lineage?.address);
    if (seen.has(key)) return undefined;
    seen.add(key);
    return (known.of(entry, codec, lineage)?.dead ?? 0) < dead ? { key, dead } : undefined;
  };
  for await (const manifest of statesOf(ctx, space.genesis)) {
    await eachStored(session, manifest.timeline, batchCodec, seen, deadIn, (entry) => {
      const at = look(entry, batchCodec);
      if (at !== undefined) found.batches.push({ ...at, entry });
    });
    for (const [id, track] of manifest.tracks) {
      const { segments, lineage } = track;
      const use = (entry: SegmentEntry): void => {
        const at = look(entry, segmentCodec, lineage);
        if (at !== undefined) found.segments.push({ dead: at.dead, entry, track });
      };
      await eachStored(session, segments, segmentCodec, seen, deadIn, use, lineage);
      if (!isGraph(track.spatialIndex) || seen.has(track.address) || known.indexes.has(track.address))
        continue;
      seen.add(track.address);
      const field = manifest.fields.find((each) => each.id === id);
      if (field?.kind !== "embedding") continue;
      const { rows } = track.spatialIndex;
      if ((await unlessGone(() => hasDead(ctx, manifest, rows, deleted))) !== true) continue;
      const spatialIndex = await startingIndex(ctx, field, undefined);
      const inline = encodeSpatialIndex(spatialIndex);
      found.graphs.push({ graph: track.address, address: addressOf(inline), inline, spatialIndex });
    }
  }
  return found;
}

/** Whether any of the first `rows` rows of a state is deleted. */
async function hasDead(
  { session }: Context,
  { timeline }: Manifest,
  rows: number,
  deleted: Deleted,
): Promise<boolean> {
  let row = 0;
  for await (const entry of storedEntriesIn(session, timeline, batchCodec)) {
    if (row >= rows) return false;
    row += entry.rows;
    let isFound = false;
    await eachDead(session, entry, deleted, () => {
      isFound = true;
    });
    if (isFound) return true;
  }
  return false;
}

/** Every Manifest that refs and pins of the Space reach, each once. */
export async function* statesOf(
  ctx: Pick<Context, "store" | "session">,
  genesis: Address,
): AsyncGenerator<Manifest> {
  const { store, session } = ctx;
  const seen = new Set<Address>();
  async function* history(from: Address): AsyncGenerator<Manifest> {
    const waiting = [from];
    for (let address = waiting.pop(); address !== undefined; address = waiting.pop()) {
      if (seen.has(address)) continue;
      seen.add(address);
      const manifest = await readManifest(session, address);
      // A state's ancestors are of its Space.
      if (manifest.genesis !== genesis) continue;
      waiting.push(...manifest.parents);
      yield manifest;
    }
  }
  for await (const { key } of store.list("refs/")) {
    const found = await store.get(key);
    const ref = found && decodeRef(found.bytes);
    if (ref !== undefined && isLive(ref)) yield* history(ref.manifest);
  }
  for await (const { key } of store.list("pins/")) {
    const found = await store.get(key);
    if (found === undefined) continue;
    const { manifest } = decodePin(found.bytes);
    // One that was not confirmed, or has expired, may name a state that is gone.
    if ((await store.get(objectKey(manifest), { offset: 0, length: 0 })) !== undefined)
      yield* history(manifest);
  }
}

/** Calls `use` with the entries of a tree, but for those of pages that were gone over before or have nothing deleted in their time. */
async function eachStored<E extends Interval>(
  session: Context["session"],
  root: IndexRoot<E>,
  codec: EntryCodec<E>,
  seen: Set<string>,
  deadIn: (interval: Interval) => number,
  use: (entry: E) => void,
  lineage?: LineageRef,
): Promise<void> {
  const open = async (page: PageRef): Promise<void> => {
    const name = lineage === undefined ? page.address : `${page.address} ${lineage.address}`;
    if (seen.has(name) || deadIn(page) === 0) return;
    seen.add(name);
    for (const child of await readPage(session, page, codec)) {
      if (page.level > 0) await open(child as PageRef);
      else use(child as E);
    }
  };
  for (const page of root.pages) await open(page);
  for (const entry of root.entries) use(entry);
}

/**
 * What `work` comes to; undefined where a container that it reads is gone, with whatever it held. A state whose data was given up
 * names such containers, and so does one that is damaged, which is for `fsck` to say.
 */
async function unlessGone<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (isDreamDBError(error, "NotFound")) return undefined;
    throw error;
  }
}

/** The batch with the same rows, of which those deleted have no values; undefined for a batch without any. */
async function rewriteBatch(
  ctx: Context,
  entry: BatchEntry,
  deleted: Deleted,
  dryRun: boolean,
): Promise<BatchEntry | undefined> {
  const dead = new Set<number>();
  await eachDead(ctx.session, entry, deleted, (row) => dead.add(row));
  if (dead.size === 0) return undefined;
  if (dryRun) return entry;
  const columns = new Map<number, Uint8Array>();
  for (const [id, ref] of entry.columns) columns.set(id, await wholeOf(ctx, ref));
  const indexed = new Set<number>();
  if (entry.scalarIndex !== undefined) {
    const index = await wholeOf(ctx, entry.scalarIndex);
    for (const id of decodeScalarIndexHead(index, index.length).trees.keys()) indexed.add(id);
  }
  const made = redactBatch(columns, entry.rows, dead, indexed);
  const sealed = [...made.columns.values(), ...(made.scalarIndex === undefined ? [] : [made.scalarIndex])];
  await putObjects(
    ctx,
    sealed.map(({ ref, bytes }) => ({ address: ref.address, bytes })),
  );
  const { base, span, rows, anchors } = entry;
  return {
    ...{ base, span, rows, anchors },
    columns: new Map([...made.columns].map(([id, { ref }]) => [id, ref])),
    ...(made.scalarIndex === undefined ? {} : { scalarIndex: made.scalarIndex.ref }),
  };
}

/**
 * The segment without deleted rows, `entry` undefined when none is left, `isInPart` where the Track does not count all of its rows;
 * undefined for a segment that has no deleted row.
 */
async function rewriteSegment(
  ctx: Context,
  entry: SegmentEntry,
  track: Track,
  deleted: Deleted,
  dryRun: boolean,
): Promise<{ entry: SegmentEntry | undefined; isInPart: boolean } | undefined> {
  const coding = codingOf(track);
  const bytes = await wholeOf(ctx, entry.container);
  const rows = segmentRows(bytes, coding);
  const isDead = (offset: bigint): boolean => deleted.has(entry.base + offset);
  if (!rows.offsets.some(isDead)) return undefined;
  const isInPart = entry.rows < rows.head.rows;
  if (dryRun) return { entry, isInPart };
  const made = redactSegment(bytes, coding, rows, isDead);
  if (made === undefined) return { entry: undefined, isInPart };
  const { ref, bytes: sealed } = made.sealed;
  const head = decodeSegmentHead(sealed, { totalBytes: sealed.length, ...coding });
  const hidden = hiddenIn(track, await readLineage(ctx.session, track), head);
  const left = rowsThatCount({ container: { head }, ...(hidden === undefined ? {} : { hidden }) });
  if (left === 0) return { entry: undefined, isInPart };
  await putObjects(ctx, [{ address: ref.address, bytes: sealed }]);
  return { entry: { base: entry.base, span: entry.span, rows: left, container: ref }, isInPart };
}

/** A container's bytes, verified. Not kept: each is read once. */
async function wholeOf({ session }: Context, { address }: ContainerRef): Promise<Uint8Array> {
  return session.object(address);
}
