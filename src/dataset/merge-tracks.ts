/**
 * Which index a vector field keeps when heads are merged, and which segments (spec/0008-versioning-collab.md §7). Segments are
 * united where they hold just the rows of batches that stay; rows that are left without are encoded from their columns.
 */
import { type Address, addressOf } from "../core/address.ts";
import type { EmbeddingField } from "../objects/field.ts";
import {
  appendToIndex,
  type BatchEntry,
  batchCodec,
  emptyIndex,
  type IndexRoot,
  type NewPage,
  type SegmentEntry,
  segmentCodec,
} from "../objects/index-tree.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import {
  decodeSpatialIndex,
  type ExactIndex,
  encodeSpatialIndex,
  type GraphAlgorithm,
  isTrained,
} from "../objects/spatial-index.ts";
import { type Base, byAddress, type State } from "./ancestry.ts";
import type { Context } from "./context.ts";
import { indexedRowsOf } from "./health.ts";
import { type Indexer, type Indexers, keyOf } from "./indexer.ts";
import {
  byTime,
  commonLength,
  type Held,
  type Listed,
  type Listings,
  listTrees,
  unite,
} from "./merge-entries.ts";
import { putObject } from "./put-objects.ts";
import { extremes, timeOrder } from "./rebuild.ts";
import { RowNumbers } from "./row-numbers.ts";
import { orderByCell, sealSegment } from "./seal-segment.ts";
import { anchorsIn, type OpenSegment, openSegments } from "./segments.ts";
import type { Session } from "./session.ts";
import { VectorSource } from "./vector-source.ts";

/** One of the indexes that heads have of a field. */
export interface TrackOption {
  /** Of SpatialIndex and compressor. */
  key: string;
  track: Track;
  /** Heads that have it, a bit each. */
  heads: bigint;
  /** Rows that it covers in the head where it covers most. */
  rows: number;
}

/** The options of a field that no other takes the place of, the one that covers most rows first. One of them: no conflict. */
export async function trackOptions(
  session: Session,
  heads: readonly State[],
  bases: readonly Base[],
  field: number,
): Promise<TrackOption[]> {
  const options = new Map<string, TrackOption>();
  for (const [h, { manifest }] of heads.entries()) {
    // A side may not have the field yet.
    const track = manifest.tracks.get(field);
    if (track === undefined) continue;
    const key = keyOf(track);
    const rows = indexedRowsOf(track);
    const known = options.get(key);
    if (known === undefined) options.set(key, { key, track, heads: 1n << BigInt(h), rows });
    else {
      Object.assign(known, { heads: known.heads | (1n << BigInt(h)), rows: Math.max(known.rows, rows) });
      // A head that compacted needs no lineage; the segments of another may.
      if (known.track.lineage === undefined) known.track = track;
    }
  }
  const old = new Set(bases.flatMap(({ manifest }) => manifest.tracks.get(field) ?? []).map(keyOf));
  const kept: TrackOption[] = [];
  for (const option of options.values()) {
    let isReplaced = false;
    for (const other of options.values()) {
      if (other === option || isReplaced) continue;
      isReplaced =
        other.track.address === option.track.address
          ? old.has(option.key) && !old.has(other.key)
          : await isTrainedAfter(session, other.track, option.track.address);
    }
    if (!isReplaced) kept.push(option);
  }
  return kept.sort((a, b) => b.rows - a.rows || (a.key > b.key ? -1 : 1));
}

/** Whether a Track's SpatialIndex names another among its parents, or theirs. */
async function isTrainedAfter(
  session: Session,
  { spatialIndex }: Track,
  ancestor: Address,
): Promise<boolean> {
  const waiting = [...spatialIndex.parents];
  const seen = new Set(waiting);
  for (let address = waiting.pop(); address !== undefined; address = waiting.pop()) {
    if (address === ancestor) return true;
    for (const parent of decodeSpatialIndex(await session.object(address)).parents) {
      if (seen.has(parent)) continue;
      seen.add(parent);
      waiting.push(parent);
    }
  }
  return false;
}

/** What is merged, as far as Tracks have to know. */
export interface MergedRows {
  heads: readonly State[];
  bases: readonly Base[];
  /** The timelines of the heads and of the bases, in this order. */
  listings: Listings<BatchEntry>;
  /** The batches of the merged timeline, after those that all begin with. */
  batches: Listed<BatchEntry>[];
  /** Their keys. */
  kept: ReadonlySet<string>;
}

/** What becomes of a field's index. */
export interface TrackPlan {
  track: Track;
  /** Pages of segments that stay as they are, and the segments after them, in their order. */
  segments: Pick<IndexRoot<SegmentEntry>, "pages"> & { entries: SegmentEntry[] };
  stored: ReadonlySet<Address>;
  /** Batches whose rows are encoded anew. */
  missing: BatchEntry[];
}

export async function planTrack(
  session: Session,
  merged: MergedRows,
  field: EmbeddingField,
  { key, track }: TrackOption,
): Promise<TrackPlan> {
  const { heads, bases } = merged;
  const trackIn = ({ manifest }: { manifest: Manifest }): Track | undefined => manifest.tracks.get(field.id);
  const keyIn = (state: { manifest: Manifest }): string | undefined => {
    const own = trackIn(state);
    return own && keyOf(own);
  };
  const isBare = !isTrained(track.spatialIndex) && !("tables" in track.spatialIndex);
  if (isBare) return { track, segments: { pages: [], entries: [] }, stored: new Set(), missing: [] };
  if ([...heads, ...bases].every((state) => keyIn(state) === key)) {
    const listings = await listTrees(
      session,
      [...heads, ...bases].map((state) => (trackIn(state) as Track).segments),
      segmentCodec,
    );
    const united = unitedSegments(merged, listings);
    if (united !== undefined) {
      const { pages, stored } = listings;
      return { track, segments: { pages, entries: united }, stored, missing: [] };
    }
  }
  return sortedOut(session, merged, field, { key, track });
}

/**
 * The union, without a look into segments. Undefined unless it is sure to hold each row once: every batch of every head stays, every
 * segment of a base is still in the heads after it, and what two heads share, a base of theirs has.
 */
function unitedSegments(
  { heads, bases, listings: rows, kept }: MergedRows,
  { rests }: Listings<SegmentEntry>,
): SegmentEntry[] | undefined {
  const keysOf = <E>(lists: readonly Listed<E>[][]): Set<string>[] =>
    lists.map((list) => new Set(list.map(({ key }) => key)));
  const batches = keysOf(rows.rests);
  if (batches.slice(0, heads.length).some((keys) => [...keys].some((key) => !kept.has(key))))
    return undefined;
  const segments = keysOf(rests);
  const inBases = (key: string, a: number, b: number): boolean =>
    bases.some((base, i) => {
      const pair = (1n << BigInt(a)) | (1n << BigInt(b));
      return (base.heads & pair) === pair && (batches[heads.length + i] as Set<string>).has(key);
    });
  for (let a = 0; a < heads.length; a++) {
    for (let b = a + 1; b < heads.length; b++)
      for (const key of batches[a] as Set<string>)
        if ((batches[b] as Set<string>).has(key) && !inBases(key, a, b)) return undefined;
  }
  for (const [i, base] of bases.entries()) {
    for (const h of heads.keys()) {
      if (((base.heads >> BigInt(h)) & 1n) === 0n) continue;
      const own = segments[h] as Set<string>;
      if ([...(segments[heads.length + i] as Set<string>)].some((key) => !own.has(key))) return undefined;
    }
  }
  return inOrder(rests.slice(0, heads.length));
}

/** What all begin with, and then the rest by time. */
function inOrder(lists: readonly Listed<SegmentEntry>[][], only?: ReadonlySet<string>): SegmentEntry[] {
  const isChosen = ({ key }: Listed<SegmentEntry>): boolean => only === undefined || only.has(key);
  const length = commonLength(lists);
  const first = (lists[0] ?? []).slice(0, length).filter(isChosen);
  const known = new Set(first.map(({ key }) => key));
  const rest: Held<SegmentEntry>[] = [...unite(lists, []).values()].filter(
    (listed) => !known.has(listed.key) && isChosen(listed),
  );
  return [...first, ...rest.sort(byTime)].map(({ entry }) => entry);
}

/** Takes segments head by head, those whose rows are all of batches that stay and that no other segment has. */
async function sortedOut(
  session: Session,
  { heads, listings, batches, kept }: MergedRows,
  field: EmbeddingField,
  { key, track }: { key: string; track: Track },
): Promise<TrackPlan> {
  const trackIn = ({ manifest }: State): Track => manifest.tracks.get(field.id) as Track;
  const shared = { pages: listings.pages, entries: [], rows: 0 };
  const beginning = (await listTrees(session, [shared], batchCodec, false)).rests[0] as Listed<BatchEntry>[];
  const staying = new Set([...kept, ...beginning.map((batch) => batch.key)]);
  const having = heads
    .map((head, h) => ({ head, own: [...beginning, ...(listings.rests[h] as Listed<BatchEntry>[])] }))
    .filter(({ head }) => trackIn(head) !== undefined && keyOf(trackIn(head)) === key)
    .sort(
      (a, b) => trackIn(b.head).segments.rows - trackIn(a.head).segments.rows || byAddress(a.head, b.head),
    );
  const covered = new Set<string>();
  const accepted = new Set<string>();
  const lists: Listed<SegmentEntry>[][] = [];
  for (const { head, own } of having) {
    const { rests } = await listTrees(session, [trackIn(head).segments], segmentCodec, false);
    const list = rests[0] as Listed<SegmentEntry>[];
    const isWhole = accepted.size === 0 && own.every((batch) => staying.has(batch.key));
    const taken = isWhole ? list : await apartOf(session, head, trackIn(head), own, list, staying, covered);
    if (isWhole) for (const batch of own) covered.add(batch.key);
    for (const segment of taken) accepted.add(segment.key);
    lists.push(list);
  }
  const missing = [...beginning, ...batches].filter(
    (batch) => batch.entry.columns.has(field.id) && !covered.has(batch.key),
  );
  return {
    track,
    segments: { pages: [], entries: inOrder(lists, accepted) },
    stored: new Set(),
    missing: missing.map(({ entry }) => entry),
  };
}

/**
 * The segments of a head that hold rows of batches which stay and are not covered yet, and nothing else; covers these. Segments and
 * batches that have rows in common are taken together or not at all.
 */
async function apartOf(
  session: Session,
  head: State,
  track: Track,
  batches: readonly Listed<BatchEntry>[],
  segments: readonly Listed<SegmentEntry>[],
  staying: ReadonlySet<string>,
  covered: Set<string>,
): Promise<Listed<SegmentEntry>[]> {
  const numbers = await RowNumbers.of(session, head.manifest.timeline);
  let rows = 0;
  const ends = batches.map(({ entry }) => (rows += entry.rows));
  const batchOf = (row: number): number => {
    let low = 0;
    let high = ends.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((ends[middle] as number) > row) high = middle;
      else low = middle + 1;
    }
    return low;
  };
  // Batches, then segments: each points to another of its group, and the last of the chain stands for the group.
  const group = Array.from({ length: batches.length + segments.length }, (_, i) => i);
  const find = (i: number): number => {
    let at = i;
    while (group[at] !== at) {
      group[at] = group[group[at] as number] as number;
      at = group[at] as number;
    }
    return at;
  };
  const touched = new Set<number>();
  for (const [s, { entry }] of segments.entries()) {
    const ticks = await ticksOf(session, track, entry);
    const ordinals = new Uint32Array(ticks.length);
    numbers.fill(ticks, ordinals);
    for (const ordinal of ordinals) {
      const batch = batchOf(ordinal);
      touched.add(batch);
      group[find(batch)] = find(batches.length + s);
    }
  }
  const bad = new Set<number>();
  for (const b of touched) {
    const { key } = batches[b] as Listed<BatchEntry>;
    if (!staying.has(key) || covered.has(key)) bad.add(find(b));
  }
  for (const b of touched) if (!bad.has(find(b))) covered.add((batches[b] as Listed<BatchEntry>).key);
  return segments.filter((_, s) => !bad.has(find(batches.length + s)));
}

async function ticksOf(session: Session, track: Track, listed: SegmentEntry): Promise<BigUint64Array> {
  const { redactions } = session.following;
  const entry = redactions === undefined ? listed : redactions.entry(listed, segmentCodec, track.lineage);
  if (entry === undefined) return new BigUint64Array();
  const [opened] = (await openSegments(session, track, [entry])) as [OpenSegment];
  const ticks = new BigUint64Array(entry.rows);
  let filled = 0;
  for await (const part of anchorsIn(session, opened)) {
    ticks.set(part, filled);
    filled += part.length;
  }
  return ticks;
}

/** Vectors that are encoded at a time. */
const RUN_BYTES = 64 << 20;

/** What making the Tracks takes. */
export interface TrackBuilding {
  ctx: Context;
  indexers: Indexers;
  /** Receives what has to be stored before the Manifest. */
  objects: NewPage[];
}

/** The Track of a plan, with segments for the rows that had none; these are stored at once. */
export async function buildTrack(
  { ctx, indexers, objects }: TrackBuilding,
  field: EmbeddingField,
  { track, segments, stored, missing }: TrackPlan,
): Promise<{ track: Track; encodedRows: number }> {
  const indexer = await indexers.of(track);
  const made = indexer === undefined ? [] : await encodeBatches(ctx, field, track, indexer, missing);
  const pages = segments.pages.reduce((sum, page) => sum + page.rows, 0);
  const tree = appendToIndex<SegmentEntry>(
    { pages: segments.pages, entries: [], rows: pages },
    [...segments.entries, ...made],
    segmentCodec,
    storing(objects, stored),
  );
  const encodedRows = made.reduce((sum, entry) => sum + entry.rows, 0) / (indexer?.tables ?? 1);
  return { track: { ...track, segments: tree }, encodedRows };
}

/** Takes pages that are not stored yet. */
export function storing(objects: NewPage[], stored: ReadonlySet<Address>): (bytes: Uint8Array) => Address {
  return (bytes) => {
    const address = addressOf(bytes);
    if (!stored.has(address)) objects.push({ address, bytes });
    return address;
  };
}

async function encodeBatches(
  ctx: Context,
  field: EmbeddingField,
  track: Track,
  indexer: Indexer,
  missing: readonly BatchEntry[],
): Promise<SegmentEntry[]> {
  const { kernels } = ctx;
  const entries: SegmentEntry[] = [];
  const source = VectorSource.of(ctx, field, missing, RUN_BYTES);
  try {
    for await (const { vectors, rows, ticks } of source.runs()) {
      if (rows === 0) continue;
      const byTick = timeOrder(ticks);
      for (let table = 0; table < indexer.tables; table++) {
        const cells = indexer.cellsOf(vectors, rows, table);
        const inTime = byTick === undefined ? cells : byTick.map((row) => cells[row] as number);
        const sorted = orderByCell(kernels, inTime, indexer.cellBits);
        const numbers = byTick === undefined ? sorted.rows : sorted.rows.map((i) => byTick[i] as number);
        const order = { ...sorted, rows: numbers };
        const [base, last] = extremes(ticks, order);
        const { sealed } = sealSegment(kernels, track, indexer, vectors, order, ticks, base, field.rerank);
        await putObject(ctx, { address: sealed.ref.address, bytes: sealed.bytes });
        entries.push({ base, span: last - base, rows, container: sealed.ref });
      }
    }
  } finally {
    source.free();
  }
  return entries;
}

/** A Track of one exact cell, in place of a graph whose rows are not the first of the merged timeline. */
export function withoutGraph({ address, spatialIndex }: Track, objects: NewPage[]): Track {
  const { dim } = spatialIndex;
  const index: ExactIndex = {
    algorithm: spatialIndex.algorithm as GraphAlgorithm,
    dim,
    cells: 1,
    parents: [address],
  };
  const bytes = encodeSpatialIndex(index);
  objects.push({ address: addressOf(bytes), bytes });
  return { address: addressOf(bytes), spatialIndex: index, segments: emptyIndex() };
}
