/** `appendMany`: records in, a new Manifest out. */
import { type Address, addressOf } from "../core/address.ts";
import { clampTick } from "../core/time.ts";
import { DreamDBError } from "../errors.ts";
import type { Sealed } from "../objects/column.ts";
import {
  appendToIndex,
  type BatchEntry,
  batchCodec,
  cover,
  type NewPage,
  PAGE_FANOUT,
  type SegmentEntry,
  segmentCodec,
} from "../objects/index-tree.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { LANES, nextFree } from "./anchors.ts";
import type { AppendProgress } from "./append-progress.ts";
import { evenStep, type Prepared, type PreparedBatch, prepareBatches } from "./batch.ts";
import { type Draft, publish } from "./commit.ts";
import type { Context } from "./context.ts";
import type { Deleted } from "./deleted.ts";
import { indexedRowsOf, isStale } from "./health.ts";
import { adopt, type Holding } from "./holding.ts";
import { type Indexers, keyOf } from "./indexer.ts";
import type { RowSource } from "./row-source.ts";
import type { SpaceRegistry } from "./space-registry.ts";
import { refuseTaken } from "./timeline.ts";
import { findOperation, type Tip } from "./tip.ts";
import { Uploads } from "./uploads.ts";

/** What an operator may want to know of a vector field after an append. Figures only: nothing acts on them. */
export interface TrackSignals {
  /** Cells that got rows in this append, and rows of the largest of them. */
  cells: number;
  largestCell: number;
  /** Rows of the largest cell divided by the mean of the non-empty ones; 0 when nothing is in cells. */
  imbalance: number;
  /** Segments that a query has to visit. */
  segments: number;
  /** Runs of rows of one cell in one segment that this append added. */
  fragments: number;
  /** Rows of the dataset in no cell or graph: every search scans them. Rows without a value count as well. */
  unindexedRows: number;
  /** Whether codes are made with another compressor than the schema asks for. */
  staleCodes: boolean;
}

export interface Signals {
  /** Records of the dataset. */
  rows: number;
  /** Batches its columns lie in. */
  batches: number;
  /** By the name of the vector field. */
  tracks: Record<string, TrackSignals>;
}

export interface AppendResult {
  manifest: Address;
  seq: number;
  /** Each record's anchor in Unix nanoseconds, in the order the records were given. */
  anchors: bigint[];
  signals: Signals;
}

export interface AppendTarget {
  ctx: Context;
  name: string;
  origin: bigint;
  indexers: Indexers;
  space: SpaceRegistry;
}

/** What an append is made of, beside its rows. */
export interface AppendOperation {
  source: RowSource;
  opId: Uint8Array;
  /** Whether an earlier attempt with this opId may have taken effect. */
  isResumed: boolean;
  onProgress?: ((progress: AppendProgress) => void) | undefined;
}

/** Rows encoded for a tip, their objects on the way or stored; nothing is published. */
export interface Staged {
  tip: Tip;
  prepared: Prepared;
  uploads: Uploads;
  /** The objects, until an append goes on with them. */
  holding: Holding;
}

/**
 * Encodes rows, a batch at a time, while the objects of those before are stored. What is refused in the first batch, and
 * an anchor that is taken, leaves nothing behind; a refusal in a later one leaves objects that no Manifest names.
 */
export async function stage(
  target: AppendTarget,
  tip: Tip,
  { source, onProgress }: AppendOperation,
): Promise<Staged> {
  const { ctx, origin } = target;
  let rows = 0;
  const uploads = new Uploads(ctx, (bytes, bytesTotal) =>
    onProgress?.({ rows, rowsTotal: source.rows, bytes, bytesTotal }),
  );
  try {
    const prepared = await prepare(target, tip.manifest, source, async (batch, { batches, ticks }) => {
      if (batches.length === 1 && ticks !== undefined)
        await refuseTaken(ctx.session, tip.manifest.timeline, ticks, origin);
      rows += batch.rows;
      await uploads.add(dataObjects(batch));
    });
    return { tip, prepared, uploads, holding: ctx.holding };
  } catch (error) {
    await uploads.stop();
    throw error;
  }
}

/**
 * Appends to the tip, or to whatever the tip has become, and returns it. Data objects are written once.
 * @param staged the rows, when they are encoded already
 */
export async function append(
  target: AppendTarget,
  tip: Tip,
  operation: AppendOperation,
  staged?: Staged,
): Promise<{ tip: Tip; result: AppendResult }> {
  const { ctx, name, origin } = target;
  const { opId, isResumed } = operation;
  const done = isResumed ? await findOperation(ctx.session, tip, opId, -1) : undefined;
  if (done !== undefined) {
    const prepared = staged?.prepared ?? (await prepare(target, tip.manifest, operation.source, release));
    const bases = basesOf(done.manifest, prepared);
    return { tip, result: resultOf(done.address, done.manifest, prepared, bases, origin) };
  }
  let ready = staged ?? (await stage(target, tip, operation));
  let bases = await chooseBases(target, tip, ready);
  await ready.uploads.finish();
  adopt(ctx.holding, ready.holding);

  const published = await publish(ctx, name, tip, {
    opId,
    isResumed,
    async draft(current) {
      if (!isEncodedFor(ready.tip.manifest, current.manifest)) {
        ready = await stage(target, current, operation);
        await ready.uploads.finish();
      }
      if (current !== tip) bases = await chooseBases(target, current, ready);
      return draftOf(target, current, ready.prepared, bases, opId);
    },
  });
  // Not the last draft, perhaps: a request of an earlier attempt that arrived late had other anchors.
  const { own } = published;
  const { prepared } = ready;
  const found = resultOf(own.address, own.manifest, prepared, basesOf(own.manifest, prepared), origin);
  return { tip: published.tip, result: found };
}

async function prepare(
  { ctx, origin, indexers }: AppendTarget,
  manifest: Manifest,
  source: RowSource,
  use: (batch: PreparedBatch, prepared: Prepared) => Promise<void>,
): Promise<Prepared> {
  return prepareBatches(source, manifest, origin, ctx.kernels, await indexers.ofAll(manifest.tracks), use);
}

/** Lets go of bytes that are stored already. */
async function release(batch: PreparedBatch): Promise<void> {
  for (const sealed of dataObjects(batch)) sealed.bytes = new Uint8Array(0);
}

/** Whether columns, cells and codes made for one Manifest are right for the other: a rebuild or another schema may have come between. */
function isEncodedFor(a: Manifest, b: Manifest): boolean {
  if (a === b) return true;
  if (JSON.stringify(a.fields) !== JSON.stringify(b.fields)) return false;
  return [...a.tracks].every(([id, track]) => {
    const other = b.tracks.get(id);
    return other !== undefined && keyOf(track) === keyOf(other);
  });
}

function dataObjects(batch: PreparedBatch): Sealed[] {
  const segments = [...batch.segments.values()].flat().map((segment) => segment.sealed);
  return [batch.anchors, ...batch.columns.values(), ...segments, batch.scalarIndex].filter(
    (sealed) => sealed !== undefined,
  );
}

/** Errors: `DuplicateAnchor` for a tick that a deleted record has: it names that record for good. */
function refuseDeleted(deleted: Deleted, ticks: readonly bigint[], origin: bigint): void {
  if (deleted.within(ticks[0] as bigint, ticks.at(-1) as bigint).length === 0) return;
  const tick = ticks.find((each) => deleted.has(each));
  if (tick === undefined) return;
  throw new DreamDBError("DuplicateAnchor", "a record with this anchor was deleted; nothing was written", {
    field: "_anchor",
    found: tick + origin,
    expected: "an anchor that no record has or had",
    committed: "no",
  });
}

/** The first tick of each batch on top of `tip`. Explicit anchors that are taken by now are refused. */
async function chooseBases(target: AppendTarget, tip: Tip, staged: Staged): Promise<bigint[]> {
  const { ctx, origin, space } = target;
  const { prepared } = staged;
  // Read after the tip: what a compaction dropped from it is known to be deleted.
  const isLater = tip !== staged.tip || prepared.ticks !== undefined;
  const { deleted } = isLater ? await space.refresh(ctx.session) : await space.get(ctx.session);
  const { timeline, autoHigh } = tip.manifest;
  const lane = tip.ref.lane ?? 0;
  if (prepared.ticks !== undefined) {
    refuseDeleted(deleted, prepared.ticks, origin);
    // Staging looked at its own tip already.
    if (tip !== staged.tip) await refuseTaken(ctx.session, timeline, prepared.ticks, origin);
    return prepared.batches.map((batch) => (batch.ticks as bigint[])[0] as bigint);
  }
  const rows = prepared.batches.reduce((sum, batch) => sum + batch.rows, 0);
  let next = await nextFree(ctx.session, timeline, {
    ...{ now: ctx.clock() - origin, autoHigh, lane, rows },
    deleted,
  });
  return prepared.batches.map((batch) => {
    const base = next;
    next += LANES * BigInt(batch.rows);
    return base;
  });
}

function draftOf(
  target: AppendTarget,
  tip: Tip,
  prepared: Prepared,
  bases: bigint[],
  opId: Uint8Array,
): Draft {
  const { ctx, origin } = target;
  const objects: NewPage[] = [];
  const store = (bytes: Uint8Array): Address => {
    const address = addressOf(bytes);
    objects.push({ address, bytes });
    return address;
  };
  const old = tip.manifest;
  const batches = prepared.batches.map((batch, i) => batchEntry(batch, bases[i] as bigint));
  const tracks = new Map<number, Track>();
  for (const [id, track] of old.tracks) {
    const segments = prepared.batches.flatMap((batch, i) =>
      segmentEntries(batch, id, batches[i] as BatchEntry),
    );
    tracks.set(id, { ...track, segments: appendToIndex(track.segments, segments, segmentCodec, store) });
  }
  const isAutomatic = prepared.batches.some((batch) => batch.ticks === undefined);
  const all = cover(batches);
  const now = ctx.clock() - origin;
  const manifest: Manifest = {
    ...old,
    parents: [tip.address],
    seq: old.seq + 1,
    ts: clampTick(now),
    writer: ctx.writer,
    opId,
    op: "append",
    lane: tip.ref.lane ?? 0,
    autoHigh: isAutomatic ? all.base + all.span + 1n : old.autoHigh,
    timeline: appendToIndex(old.timeline, batches, batchCodec, store),
    tracks,
  };
  return { manifest, objects };
}

/** How the timeline names a batch. @param base its first tick */
export function batchEntry(batch: PreparedBatch, base: bigint): BatchEntry {
  const { rows, ticks } = batch;
  const columns = new Map([...batch.columns].map(([id, column]) => [id, column.ref]));
  const index = batch.scalarIndex === undefined ? {} : { scalarIndex: batch.scalarIndex.ref };
  if (batch.anchors !== undefined) {
    const span = ((ticks as bigint[]).at(-1) as bigint) - base;
    return { base, span, rows, anchors: { container: batch.anchors.ref }, columns, ...index };
  }
  const step = ticks === undefined ? (rows === 1 ? 0n : LANES) : (evenStep(ticks) as bigint);
  return { base, span: step * BigInt(rows - 1), rows, anchors: { step }, columns, ...index };
}

function segmentEntries(batch: PreparedBatch, field: number, { base, span }: BatchEntry): SegmentEntry[] {
  const segments = batch.segments.get(field) ?? [];
  return segments.map(({ rows, sealed }) => ({ base, span, rows, container: sealed.ref }));
}

/** Where the batches of an operation that is in ended up: its Manifest names the end of the last. */
function basesOf(manifest: Manifest, prepared: Prepared): bigint[] {
  const rows = prepared.batches.reduce((sum, batch) => sum + batch.rows, 0);
  let next = manifest.autoHigh - 1n - LANES * BigInt(rows - 1);
  return prepared.batches.map((batch) => {
    const base = batch.ticks?.[0] ?? next;
    next += LANES * BigInt(batch.rows);
    return base;
  });
}

function resultOf(
  address: Address,
  manifest: Manifest,
  prepared: Prepared,
  bases: bigint[],
  origin: bigint,
): AppendResult {
  const byPlace: bigint[] = [];
  for (const [i, batch] of prepared.batches.entries()) {
    let next = (bases[i] as bigint) + origin;
    for (let row = 0; row < batch.rows; row++, next += LANES)
      byPlace.push(batch.ticks === undefined ? next : (batch.ticks[row] as bigint) + origin);
  }
  const places = prepared.places;
  const anchors = places === undefined ? byPlace : Array.from(places, (place) => byPlace[place] as bigint);
  return { manifest: address, seq: manifest.seq, anchors, signals: signalsOf(manifest, prepared) };
}

function signalsOf(manifest: Manifest, prepared: Prepared): Signals {
  const tracks: Record<string, TrackSignals> = {};
  for (const field of manifest.fields) {
    const track = manifest.tracks.get(field.id);
    if (track === undefined || field.kind !== "embedding") continue;
    const segments = prepared.batches.flatMap((batch) => batch.segments.get(field.id) ?? []);
    const cells = segments.reduce((sum, segment) => sum + segment.cells, 0);
    const rows = segments.reduce((sum, segment) => sum + segment.rows, 0);
    const largestCell = segments.reduce((most, segment) => Math.max(most, segment.largestCell), 0);
    tracks[field.name] = {
      cells,
      largestCell,
      imbalance: cells === 0 ? 0 : largestCell / (rows / cells),
      segments: countEntries(track.segments),
      fragments: cells,
      unindexedRows: manifest.timeline.rows - indexedRowsOf(track),
      staleCodes: isStale(field, track),
    };
  }
  return { rows: manifest.timeline.rows, batches: countEntries(manifest.timeline), tracks };
}

/** Entries of a tree: every closed page holds PAGE_FANOUT children, so no page need be read. */
function countEntries(root: { pages: { level: number }[]; entries: unknown[] }): number {
  return root.pages.reduce((sum, page) => sum + PAGE_FANOUT ** (page.level + 1), root.entries.length);
}
