/** `appendMany`: records in, a new Manifest out. */
import { type Address, addressOf } from "../core/address.ts";
import { clampTick } from "../core/time.ts";
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
import { evenStep, type Prepared, type PreparedBatch, prepareBatches } from "./batch.ts";
import { type Draft, findOperation, publish, putObjects, type Tip } from "./commit.ts";
import type { Context } from "./context.ts";
import { indexedRowsOf, isStale } from "./health.ts";
import { type Indexers, keyOf } from "./indexer.ts";
import { refuseTaken } from "./timeline.ts";

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
}

/** Appends to the tip, or to whatever the tip has become, and returns it. Data objects are written once. */
export async function append(
  target: AppendTarget,
  tip: Tip,
  records: readonly Record<string, unknown>[],
  opId: Uint8Array,
  isResumed: boolean,
): Promise<{ tip: Tip; result: AppendResult }> {
  const { ctx, name, origin } = target;
  let prepared = await prepare(target, tip.manifest, records);
  const done = isResumed ? await findOperation(ctx.session, tip, opId, -1) : undefined;
  if (done !== undefined)
    return {
      tip,
      result: resultOf(done.address, done.manifest, prepared, basesOf(done.manifest, prepared), origin),
    };
  // Before anything is written, so that a refusal leaves nothing behind.
  let bases = await chooseBases(target, tip, prepared);
  await putObjects(ctx, dataObjects(prepared));

  const published = await publish(ctx, name, tip, {
    opId,
    isResumed,
    async draft(current) {
      if (current !== tip) {
        if (!hasSameIndexes(tip.manifest, current.manifest)) {
          prepared = await prepare(target, current.manifest, records);
          await putObjects(ctx, dataObjects(prepared));
        }
        bases = await chooseBases(target, current, prepared);
      }
      return draftOf(target, current, prepared, bases, opId);
    },
  });
  // Not the last draft, perhaps: a request of an earlier attempt that arrived late had other anchors.
  const { own } = published;
  const found = resultOf(own.address, own.manifest, prepared, basesOf(own.manifest, prepared), origin);
  return { tip: published.tip, result: found };
}

async function prepare(
  { ctx, origin, indexers }: AppendTarget,
  manifest: Manifest,
  records: readonly Record<string, unknown>[],
): Promise<Prepared> {
  return prepareBatches(records, manifest, origin, ctx.kernels, await indexers.ofAll(manifest.tracks));
}

/** Whether cells and codes made for one Manifest are right for the other: a rebuild may have come between. */
function hasSameIndexes(a: Manifest, b: Manifest): boolean {
  return [...a.tracks].every(([id, track]) => {
    const other = b.tracks.get(id);
    return other !== undefined && keyOf(track) === keyOf(other);
  });
}

function dataObjects(prepared: Prepared): NewPage[] {
  const objects: NewPage[] = [];
  const add = (sealed: Sealed | undefined): void => {
    if (sealed !== undefined) objects.push({ address: sealed.ref.address, bytes: sealed.bytes });
  };
  for (const batch of prepared.batches) {
    add(batch.anchors);
    for (const column of batch.columns.values()) add(column);
    for (const segments of batch.segments.values()) for (const segment of segments) add(segment.sealed);
    add(batch.scalarIndex);
  }
  return objects;
}

/** The first tick of each batch on top of `tip`. Explicit anchors that are taken by now are refused. */
async function chooseBases(target: AppendTarget, tip: Tip, prepared: Prepared): Promise<bigint[]> {
  const { ctx, origin } = target;
  const { timeline, autoHigh, lane } = tip.manifest;
  const explicit = prepared.batches.flatMap((batch) => batch.ticks ?? []);
  if (explicit.length > 0) {
    await refuseTaken(ctx.session, timeline, explicit, origin);
    return prepared.batches.map((batch) => (batch.ticks as bigint[])[0] as bigint);
  }
  const rows = prepared.batches.reduce((sum, batch) => sum + batch.rows, 0);
  let next = await nextFree(ctx.session, timeline, { now: ctx.clock() - origin, autoHigh, lane, rows });
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
    autoHigh: isAutomatic ? all.base + all.span + 1n : old.autoHigh,
    timeline: appendToIndex(old.timeline, batches, batchCodec, store),
    tracks,
  };
  return { manifest, objects };
}

function batchEntry(batch: PreparedBatch, base: bigint): BatchEntry {
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
  const byPlace = prepared.batches.flatMap((batch, i) =>
    batch.ticks === undefined
      ? Array.from({ length: batch.rows }, (_, row) => (bases[i] as bigint) + LANES * BigInt(row) + origin)
      : batch.ticks.map((tick) => tick + origin),
  );
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
