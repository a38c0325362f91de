/**
 * `compact`: a state's rows in few batches in the order of time, and each cell's rows in one run (spec/0020-maintenance.md
 * §4). It reads columns alone, which are the truth; what is compact already is left as it is, so that a second call finds
 * nothing to do. Queries read the old state until the new one is published.
 */
import { type Address, addressOf } from "../core/address.ts";
import { clampTick } from "../core/time.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
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
import { encodeSegment } from "../objects/segment.ts";
import { encodeSpatialIndex, isGraph, tablesOf } from "../objects/spatial-index.ts";
import type { AppendTarget } from "./append.ts";
import { type PreparedBatch, rowsOfBatch, sealBatch } from "./batch.ts";
import { type Draft, publish } from "./commit.ts";
import type { Cancellable } from "./context.ts";
import { eachDead } from "./deleted.ts";
import { beginHolding } from "./holding.ts";
import { type Indexer, keyOf } from "./indexer.ts";
import { putObjects } from "./put-objects.ts";
import { memory, segmentsOf } from "./rebuild.ts";
import { type Redacted, redactStates } from "./redact.ts";
import { TARGET_BYTES } from "./row-source.ts";
import { cellsIn, entriesOf, openSegments } from "./segments.ts";
import { startingIndex } from "./starting-index.ts";
import { streamColumns } from "./stream.ts";
import { entriesIn } from "./timeline.ts";
import type { Tip } from "./tip.ts";
import { columnBuilder } from "./values.ts";
import { VectorSource } from "./vector-source.ts";
import type { Live } from "./where.ts";

export interface CompactProgress {
  /**
   * Rows of columns that are rewritten, then vectors that are sorted into cells again; when purging, then batches and segments of
   * all other states.
   */
  stage: "columns" | "cells" | "states";
  done: number;
  total: number;
}

export interface CompactOptions extends Cancellable {
  /** Vector fields whose cells are compacted; columns are then left as they are. Default: columns, and all vector fields. */
  fields?: string[];
  /**
   * Leaves no deleted row in the new state: every batch that has one is rewritten, and a graph that covers one is given up, so
   * that the field is scanned until `buildGraph`. For batches, segments and graphs of older states, of snapshots and of other
   * branches, others without deleted records are written, which stand for them from then on; the old ones stay in the backend
   * until garbage is collected. Not beside `fields`. Default false.
   */
  purge?: boolean;
  /** Vectors held in memory at a time, in bytes. Default 1 GiB. */
  memoryBytes?: number;
  /** Only tells what there is to do: nothing is written. Default false. */
  dryRun?: boolean;
  onProgress?: (progress: CompactProgress) => void;
}

export interface CompactResult {
  /** The state of now: the one before, when nothing was to do. */
  manifest: Address;
  /** Cells with rows, of all fields that were looked at, and those that were in more than one run. */
  cellsExamined: number;
  cellsCompacted: number;
  /** Runs of rows of one cell that there are fewer now. */
  fragmentsCollapsed: number;
  /** Batches of the columns before, and after. With `dryRun`, about so many. */
  batchesBefore: number;
  batchesAfter: number;
  /** Deleted rows that the new state does not hold any more. */
  rowsDropped: number;
  /** Vector fields whose graph was given up, since it covered rows that are dropped. */
  graphsDropped: string[];
  /** When purging: batches, segments and graphs of older states and other branches that others stand for now. */
  redacted: Redacted;
}

/** A batch is full from half of the target on: it is joined with no other. */
const FULL_BYTES = TARGET_BYTES / 2;
/** Batches are rewritten for their deleted rows where these are more than so large a part. */
const DEAD_SHARE = 1 / 8;
/** Rows read at a time. */
const READ_ROWS = 1024;

/** Batches that become one, or a few, in the order of time. */
interface Group {
  entries: BatchEntry[];
  isRewritten: boolean;
}

/** A field's segments before, and after when they are to be made anew. */
interface Folded {
  before: SegmentEntry[];
  after: SegmentEntry[] | undefined;
}

/**
 * Compacts the tip and publishes it. What is appended meanwhile is kept, uncompacted.
 * Errors: `InvalidArgument`, `Conflict` when another writer rebuilt or compacted meanwhile, `OutOfMemory`,
 * `StoreUnavailable`, `CommitUnknown`. After any but `CommitUnknown` nothing changed.
 */
export async function compact(
  target: AppendTarget,
  tip: Tip,
  options: CompactOptions,
): Promise<{ tip: Tip; result: CompactResult }> {
  const { ctx, name, space } = target;
  const { session } = ctx;
  const old = tip.manifest;
  const memoryBytes = memory(options.memoryBytes);
  const fields = chosenFields(old, options.fields);
  if (options.purge === true && options.fields !== undefined)
    throw invalid("purge", "purge beside fields", "one or the other: all fields are purged");
  // What was put in the place of deleted records counts as this operation's own.
  await beginHolding(ctx);
  await space.refresh(session);
  const live = await space.live(old, session);
  const before = await batchesOf(session, old.timeline);
  const lost = options.purge === true ? await graphsWithDead(target, old, before, live) : [];
  const dropped = await withoutGraphs(target, old, lost);
  const columns =
    options.fields === undefined
      ? await compactColumns(target, dropped, before, live, options)
      : { entries: before, isChanged: false };
  const timeline = inlineRoot(columns.entries);
  const result: CompactResult = {
    manifest: tip.address,
    cellsExamined: 0,
    cellsCompacted: 0,
    fragmentsCollapsed: 0,
    batchesBefore: before.length,
    batchesAfter: columns.entries.length,
    rowsDropped: old.timeline.rows - timeline.rows,
    graphsDropped: lost.map(({ name }) => name),
    redacted: { batches: 0, segments: 0, graphs: 0 },
  };
  const folds = new Map<number, Folded>();
  for (const field of old.fields) {
    if (field.kind !== "embedding") continue;
    const track = old.tracks.get(field.id) as Track;
    // Rows that are dropped from the columns are dropped from every field's cells.
    const isForced = timeline.rows < old.timeline.rows;
    if (!fields.includes(field) && !isForced) continue;
    const state = { ...old, timeline };
    const how = { track, memoryBytes, isForced };
    const fold = await compactCells(target, state, field, how, result, options);
    if (fold !== undefined) folds.set(field.id, fold);
  }
  const isChanged = columns.isChanged || [...folds.values()].some(({ after }) => after !== undefined);
  const isDryRun = options.dryRun === true;
  if (!isChanged || isDryRun) {
    if (options.purge === true) result.redacted = await redactOthers(target, options);
    return { tip, result };
  }
  const opId = ctx.random(16);
  const published = await publish(ctx, name, tip, {
    opId,
    draft: (current) =>
      draftOf(target, current, { old, dropped, before, after: columns.entries, folds }, opId),
  });
  try {
    if (options.purge === true) result.redacted = await redactOthers(target, options);
  } catch (error) {
    if (isDreamDBError(error)) Object.assign(error, { committed: "yes" });
    throw error;
  }
  return { tip: published.tip, result: { ...result, manifest: published.own.address } };
}

/** Histories keep every state: what the new one leaves out is taken out of those as well. */
function redactOthers(target: AppendTarget, { dryRun, onProgress }: CompactOptions): Promise<Redacted> {
  return redactStates(target, {
    dryRun: dryRun === true,
    onProgress: (done, total) => onProgress?.({ stage: "states", done, total }),
  });
}

/** The named vector fields, or all. */
function chosenFields({ fields }: Manifest, names: readonly string[] | undefined): EmbeddingField[] {
  const vectors = fields.filter((field): field is EmbeddingField => field.kind === "embedding");
  if (names === undefined) return vectors;
  if (!Array.isArray(names) || names.length === 0) throw invalid("fields", names, "names of vector fields");
  return names.map((name) => {
    const field = vectors.find((each) => each.name === name);
    if (field !== undefined) return field;
    const known = vectors.map((each) => each.name).join(", ");
    throw invalid("fields", name, known === "" ? "none: there are no vector fields" : `one of ${known}`);
  });
}

/** Fields whose graph covers a deleted row. */
async function graphsWithDead(
  { ctx }: AppendTarget,
  { fields, tracks }: Manifest,
  batches: readonly BatchEntry[],
  live: Live | undefined,
): Promise<EmbeddingField[]> {
  if (live === undefined) return [];
  let firstDead = Number.POSITIVE_INFINITY;
  let row = 0;
  for (const entry of batches) {
    const first = row;
    await eachDead(ctx.session, entry, live.deleted, (at) => {
      firstDead = Math.min(firstDead, first + at);
    });
    row += entry.rows;
  }
  return fields.filter((field): field is EmbeddingField => {
    const index = tracks.get(field.id)?.spatialIndex;
    return index !== undefined && isGraph(index) && index.rows > firstDead;
  });
}

/** The state with the index of these fields as it was before any graph. */
async function withoutGraphs(
  { ctx }: AppendTarget,
  manifest: Manifest,
  fields: readonly EmbeddingField[],
): Promise<Manifest> {
  const tracks = new Map(manifest.tracks);
  for (const field of fields) {
    const spatialIndex = await startingIndex(ctx, field, undefined);
    const address = addressOf(encodeSpatialIndex(spatialIndex));
    tracks.set(field.id, { address, spatialIndex, segments: emptyIndex() });
  }
  return { ...manifest, tracks };
}

interface Compacted {
  old: Manifest;
  /** The same without the graphs that are given up. */
  dropped: Manifest;
  before: BatchEntry[];
  after: BatchEntry[];
  folds: ReadonlyMap<number, Folded>;
}

/** The state after `current`: what was compacted in its place, and behind it what was appended since. */
async function draftOf(
  { ctx, origin }: AppendTarget,
  current: Tip,
  { old, dropped, before, after, folds }: Compacted,
  opId: Uint8Array,
): Promise<Draft> {
  const objects: NewPage[] = [];
  const store = (bytes: Uint8Array): Address => {
    const address = addressOf(bytes);
    objects.push({ address, bytes });
    return address;
  };
  const now = current.manifest;
  const batches = await batchesOf(ctx.session, now.timeline);
  if (!isExtension(batches, before)) throw replaced("timeline");
  const late = batches.slice(before.length);
  const tracks = new Map(now.tracks);
  for (const [id, fold] of folds) {
    const track = now.tracks.get(id);
    if (track === undefined || keyOf(track) !== keyOf(old.tracks.get(id) as Track))
      throw replaced(`field ${id}`);
    const entries = await entriesOf(ctx.session, track);
    const was = fold.before;
    if (was.some(({ container }, i) => entries[i]?.container.address !== container.address))
      throw replaced(`field ${id}`);
    if (fold.after === undefined) continue;
    const all = [...fold.after, ...entries.slice(was.length)];
    const { lineage: _, ...own } = track;
    tracks.set(id, { ...own, segments: appendToIndex(emptyIndex(), all, segmentCodec, store) });
  }
  for (const [id, track] of dropped.tracks) {
    const was = old.tracks.get(id) as Track;
    if (track === was) continue;
    const current = now.tracks.get(id);
    if (current === undefined || keyOf(current) !== keyOf(was)) throw replaced(`field ${id}`);
    store(encodeSpatialIndex(track.spatialIndex));
    tracks.set(id, track);
  }
  const manifest: Manifest = {
    ...now,
    parents: [current.address],
    seq: now.seq + 1,
    ts: clampTick(ctx.clock() - origin),
    writer: ctx.writer,
    opId,
    op: "compact",
    timeline: appendToIndex(emptyIndex<BatchEntry>(), [...after, ...late], batchCodec, store),
    tracks,
  };
  if (ctx.session.following.redactions?.isEmpty === false) {
    // What stands for an entry is named directly now; another purge may put something else in its place, and no state lead to it.
    const segments = [...folds.values()].flatMap((fold) => fold.after ?? []);
    for (const address of containersOf([...after, ...late], segments)) ctx.holding.puts.add(address);
  }
  return { manifest, objects };
}

function* containersOf(
  batches: readonly BatchEntry[],
  segments: readonly SegmentEntry[],
): Generator<Address> {
  for (const { anchors, columns, scalarIndex } of batches) {
    if ("container" in anchors) yield anchors.container.address;
    for (const { address } of columns.values()) yield address;
    if (scalarIndex !== undefined) yield scalarIndex.address;
  }
  for (const { container } of segments) yield container.address;
}

/** Whether a timeline of now begins with the batches that it had before. */
function isExtension(now: readonly BatchEntry[], before: readonly BatchEntry[]): boolean {
  return before.every((entry, i) => {
    const other = now[i];
    if (other === undefined || other.base !== entry.base || other.rows !== entry.rows) return false;
    const same = [...entry.columns].every(([id, { address }]) => other.columns.get(id)?.address === address);
    return same && other.columns.size === entry.columns.size;
  });
}

function replaced(field: string): DreamDBError {
  return new DreamDBError(
    "Conflict",
    "another writer rebuilt or compacted meanwhile; nothing was published",
    {
      field,
      found: "other containers",
      expected: "those that were compacted",
      retryable: true,
      committed: "no",
    },
  );
}

async function batchesOf(
  session: AppendTarget["ctx"]["session"],
  timeline: IndexRoot<BatchEntry>,
): Promise<BatchEntry[]> {
  const entries: BatchEntry[] = [];
  for await (const entry of entriesIn(session, timeline, batchCodec)) entries.push(entry);
  return entries;
}

/** A timeline of these batches that nobody stores. */
function inlineRoot(entries: BatchEntry[]): IndexRoot<BatchEntry> {
  return { pages: [], entries, rows: entries.reduce((sum, { rows }) => sum + rows, 0) };
}

/** Batches in the order of time, joined where they are small or overlap, rewritten where much of them is deleted. */
async function compactColumns(
  target: AppendTarget,
  manifest: Manifest,
  before: readonly BatchEntry[],
  live: Live | undefined,
  options: CompactOptions,
): Promise<{ entries: BatchEntry[]; isChanged: boolean }> {
  const entries: BatchEntry[] = [];
  const zones = zonesOf(manifest, before);
  for (const { batches, isFixed } of zones) {
    let zone = batches;
    // What is left of a group of overlapping batches may join the next one.
    for (;;) {
      const share = options.purge === true ? 0 : DEAD_SHARE;
      const groups = await groupsOf(target, manifest, zone, isFixed ? undefined : live, share);
      const next: BatchEntry[] = [];
      const total = groups.reduce((sum, each) => sum + (each.isRewritten ? rowsIn(each) : 0), 0);
      let done = 0;
      for (const group of groups) {
        if (!group.isRewritten) next.push(...group.entries);
        else if (options.dryRun === true)
          next.push({
            ...(group.entries[0] as BatchEntry),
            rows: await liveRowsOf(target, group, isFixed ? undefined : live),
          });
        else {
          next.push(...(await rewrite(target, manifest, group, isFixed ? undefined : live)));
          done += rowsIn(group);
          options.onProgress?.({ stage: "columns", done, total });
        }
      }
      zone = next;
      if (total === 0 || options.dryRun === true) break;
    }
    entries.push(...zone);
  }
  return {
    entries,
    isChanged: entries.length !== before.length || entries.some((entry, i) => entry !== before[i]),
  };
}

function rowsIn({ entries }: Group): number {
  return entries.reduce((sum, { rows }) => sum + rows, 0);
}

async function liveRowsOf({ ctx }: AppendTarget, group: Group, live: Live | undefined): Promise<number> {
  let rows = rowsIn(group);
  if (live === undefined) return rows;
  for (const entry of group.entries) await eachDead(ctx.session, entry, live.deleted, () => rows--);
  return rows;
}

/** A graph covers the rows appended first: these stay the same rows, before all others. */
function zonesOf(
  { tracks }: Manifest,
  entries: readonly BatchEntry[],
): { batches: BatchEntry[]; isFixed: boolean }[] {
  const ends = [...tracks.values()].flatMap(({ spatialIndex }) =>
    isGraph(spatialIndex) ? [spatialIndex.rows] : [],
  );
  const zones: { batches: BatchEntry[]; isFixed: boolean }[] = [];
  const last = Math.max(0, ...ends);
  let row = 0;
  for (const entry of entries) {
    if (zones.length === 0 || ends.includes(row)) zones.push({ batches: [], isFixed: row < last });
    zones.at(-1)?.batches.push(entry);
    row += entry.rows;
  }
  return zones;
}

async function groupsOf(
  { ctx }: AppendTarget,
  { fields }: Manifest,
  batches: readonly BatchEntry[],
  live: Live | undefined,
  deadShare: number,
): Promise<Group[]> {
  const byTime = [...batches].sort((a, b) => (a.base < b.base ? -1 : Number(a.base > b.base)));
  const fullRows = rowsOfBatch(fields) / 2;
  const isFull = (entries: readonly BatchEntry[]): boolean =>
    entries.reduce((sum, { rows }) => sum + rows, 0) >= fullRows || largestColumn(entries) >= FULL_BYTES;
  const groups: Group[] = [];
  let end = -1n;
  for (const entry of byTime) {
    const last = groups.at(-1);
    const overlaps = entry.base <= end;
    if (last !== undefined && (overlaps || !(isFull(last.entries) || isFull([entry])))) {
      last.entries.push(entry);
      last.isRewritten = true;
    } else groups.push({ entries: [entry], isRewritten: false });
    if (entry.base + entry.span > end) end = entry.base + entry.span;
  }
  if (live === undefined) return groups;
  for (const group of groups) {
    if (group.isRewritten) continue;
    const [entry] = group.entries as [BatchEntry];
    let dead = 0;
    await eachDead(ctx.session, entry, live.deleted, () => dead++);
    group.isRewritten = dead > deadShare * entry.rows;
  }
  return groups;
}

/** Bytes of the largest column that the batches would have together. */
function largestColumn(entries: readonly BatchEntry[]): number {
  const bytes = new Map<number, number>();
  for (const { columns } of entries)
    for (const [id, ref] of columns) bytes.set(id, (bytes.get(id) ?? 0) + ref.bytes);
  return Math.max(0, ...bytes.values());
}

/** The group's rows that are not deleted, in the order of time, in as few batches as they fit in. */
async function rewrite(
  { ctx, origin }: AppendTarget,
  manifest: Manifest,
  group: Group,
  live: Live | undefined,
): Promise<BatchEntry[]> {
  const { session, kernels } = ctx;
  const { fields } = manifest;
  const written: BatchEntry[] = [];
  const most = Math.min(rowsOfBatch(fields), rowsIn(group));
  // Deleted rows that stay in place may have no values any more.
  const open = () => fields.map((field) => columnBuilder({ ...field, required: false }, most));
  let builders = open();
  let ticks: bigint[] = [];
  const close = async (): Promise<void> => {
    if (ticks.length === 0) return;
    const columns = builders.map((builder) => builder.finish());
    const rowOf = (row: number): number => row;
    const batch = await sealBatch(manifest, columns, ticks.length, ticks, kernels, new Map(), rowOf);
    await putObjects(
      ctx,
      sealedOf(batch).map(({ ref, bytes }) => ({ address: ref.address, bytes })),
    );
    written.push(entryOf(batch, ticks));
    builders = open();
    ticks = [];
  };
  const rows = streamColumns({
    session,
    manifest: { ...manifest, timeline: inlineRoot(group.entries) },
    origin,
    fields,
    range: { from: 0n, to: 2n ** 64n - 1n },
    batchSize: READ_ROWS,
    condition: live,
  });
  for await (const columns of rows) {
    for (const [row, anchor] of columns._time_anchors.entries()) {
      fields.forEach((field, f) => {
        builders[f]?.push((columns[field.name] as unknown[])[row], row);
      });
      ticks.push(anchor - origin);
      if (ticks.length === most || builders.some(({ bytes }) => bytes >= TARGET_BYTES)) await close();
    }
  }
  await close();
  return written;
}

function sealedOf({ anchors, columns, scalarIndex }: PreparedBatch) {
  return [anchors, ...columns.values(), scalarIndex].filter((sealed) => sealed !== undefined);
}

function entryOf(
  { rows, anchors, columns, scalarIndex }: PreparedBatch,
  ticks: readonly bigint[],
): BatchEntry {
  const base = ticks[0] as bigint;
  const span = (ticks.at(-1) as bigint) - base;
  const step = rows === 1 ? 0n : (ticks[1] as bigint) - base;
  return {
    ...{ base, span, rows },
    anchors: anchors === undefined ? { step } : { container: anchors.ref },
    columns: new Map([...columns].map(([id, { ref }]) => [id, ref])),
    ...(scalarIndex === undefined ? {} : { scalarIndex: scalarIndex.ref }),
  };
}

/**
 * The field's segments made anew, out of the columns of `state`, when cells are in several runs or hold rows that `state` has
 * no more; undefined for an index without segments.
 */
async function compactCells(
  { ctx, indexers }: AppendTarget,
  state: Manifest,
  field: EmbeddingField,
  { track, memoryBytes, isForced }: { track: Track; memoryBytes: number; isForced: boolean },
  result: CompactResult,
  { dryRun, onProgress }: CompactOptions,
): Promise<Folded | undefined> {
  const before = await entriesOf(ctx.session, track);
  const indexer = await indexers.of(track);
  if (indexer === undefined || before.length === 0) return undefined;
  const runs = await runsOfCells(ctx.session, track, before);
  const fragments = [...runs.values()].reduce((sum, each) => sum + each, 0);
  const scattered = [...runs.values()].filter((each) => each > 1).length;
  result.cellsExamined += runs.size;
  const source = await VectorSource.open(ctx, state, field, memoryBytes);
  try {
    // With a lineage, segments have rows that do not count.
    if (scattered === 0 && !isForced && track.lineage === undefined) return { before, after: undefined };
    if (dryRun === true) {
      result.cellsCompacted += scattered;
      result.fragmentsCollapsed += fragments - runs.size;
      return { before, after: [] };
    }
    const after: SegmentEntry[] = [];
    let done = 0;
    for await (const run of source.runs()) {
      for (let table = 0; table < tablesOf(track.spatialIndex); table++) {
        for (const part of segmentsOf(
          ctx.kernels,
          track,
          indexer as Indexer,
          run,
          undefined,
          field.rerank,
          table,
        )) {
          const sealed = encodeSegment(part.source);
          await putObjects(ctx, [{ address: sealed.ref.address, bytes: sealed.bytes }]);
          after.push({
            base: part.base,
            span: part.span,
            rows: part.order.rows.length,
            container: sealed.ref,
          });
        }
      }
      done += run.batchRows;
      onProgress?.({ stage: "cells", done, total: source.rows });
    }
    const isSame =
      after.length === before.length &&
      after.every(({ container }, i) => container.address === before[i]?.container.address);
    if (isSame) return { before, after: undefined };
    result.cellsCompacted += scattered;
    const now = await runsOfCells(ctx.session, track, after);
    result.fragmentsCollapsed += fragments - [...now.values()].reduce((sum, each) => sum + each, 0);
    return { before, after };
  } finally {
    source.free();
  }
}

/** In how many runs each cell's rows lie, by cell. */
async function runsOfCells(
  session: AppendTarget["ctx"]["session"],
  track: Track,
  entries: readonly SegmentEntry[],
): Promise<Map<number, number>> {
  const runs = new Map<number, number>();
  for (const segment of await openSegments(session, track, entries))
    for (const { cell } of cellsIn(segment)) runs.set(cell, (runs.get(cell) ?? 0) + 1);
  return runs;
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "this can't be compacted like this; nothing was written", {
    field,
    found,
    expected,
    committed: "no",
  });
}
