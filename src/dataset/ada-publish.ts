/**
 * The last two stages of a step of index maintenance (spec/0020-maintenance.md §9): what jobs did is put together to the
 * segments of the new Track, and published; and all four stages at once.
 */
import { type Address, addressOf } from "../core/address.ts";
import {
  decodeStepCollection,
  decodeStepPart,
  encodeStepCollection,
  type StepCollection,
  type StepPlan,
  type TaskResult,
} from "../objects/ada-step.ts";
import { type CellLineage, encodeCellLineage, hiddenCells } from "../objects/cell-lineage.ts";
import type { EmbeddingField } from "../objects/field.ts";
import {
  type BatchEntry,
  batchCodec,
  type NewPage,
  type SegmentEntry,
  segmentCodec,
} from "../objects/index-tree.ts";
import type { LineageRef, Manifest, Track } from "../objects/manifest.ts";
import {
  type AdaIvfProgress,
  baseTrack,
  fieldOf,
  invalid,
  nextTrack,
  openTrack,
  readPlan,
} from "./ada-base.ts";
import { type AdaIvfOptions, type AdaIvfPlan, adaIvfPlan, countRows, imbalanceOf } from "./ada-plan.ts";
import { adaIvfWork, sealRun } from "./ada-work.ts";
import { publish } from "./commit.ts";
import type { Cancellable, Context } from "./context.ts";
import { beginHolding, EVER } from "./holding.ts";
import { type Indexer, readCentroids } from "./indexer.ts";
import { addedTo } from "./merge-entries.ts";
import { putObjects } from "./put-objects.ts";
import { draftOf, memory, type RebuildTarget, refuseReplaced, rowsReplaced } from "./rebuild.ts";
import { type OpenSegment, openSegments, readLineage, rowsThatCount } from "./segments.ts";
import type { Session } from "./session.ts";
import { readTip, refuseRollback, type Tip } from "./tip.ts";
import { VectorSource } from "./vector-source.ts";

export interface AdaIvfCollectOptions extends Cancellable {
  /** What `adaIvfPlan` gave. */
  plan: Address;
  /** What `adaIvfWork` gave, of all jobs, in any order. */
  parts: readonly Address[];
  onProgress?: (progress: AdaIvfProgress) => void;
}

/** What all jobs did. */
export interface AdaIvfCollection {
  /** For `adaIvfPublish`. */
  collection: Address;
  /** Segments of the new Track: those that stay, in whole or in part, and new ones. */
  segmentsKept: number;
  segmentsNew: number;
  movedRows: number;
  writtenRows: number;
}

export interface AdaIvfPublishOptions extends Cancellable {
  /** What `adaIvfCollect` gave. */
  collection: Address;
  /** Vectors of rows appended meanwhile that are held at a time, in bytes. Default 1 GiB. */
  memoryBytes?: number;
  onProgress?: (progress: AdaIvfProgress) => void;
}

export interface AdaIvfPublished {
  /** The state of now. */
  manifest: Address;
  seq: number;
  cells: number;
  segments: number;
  /** Rows that changed their cell, those written, rows appended since the plan included, and bytes of all that. */
  movedRows: number;
  writtenRows: number;
  writtenBytes: number;
  /** Rows of the largest cell divided by the mean of those with rows, after the step. */
  imbalance: number;
}

/** What a whole step did; without `manifest` and all after it when nothing was to do, and with `dryRun`. */
export type AdaIvfStep = AdaIvfPlan & Partial<AdaIvfPublished>;

/** Puts the parts of all jobs together. Errors: `InvalidArgument` when a task is missing, `NotFound`, `LimitExceeded`. */
export async function adaIvfCollect(
  ctx: Context,
  manifest: Manifest,
  options: AdaIvfCollectOptions,
): Promise<AdaIvfCollection> {
  const { session } = ctx;
  const plan = await readPlan(session, manifest, options.plan);
  const results = await resultsOf(session, plan, options);
  const before = await baseTrack(session, plan.base);
  const opened = await openTrack(session, before);
  const { kept, lineage } = keep(opened, await readLineage(session, before), plan, results);
  options.onProgress?.({ stage: "collect", done: opened.length, total: opened.length });
  const made = results.flatMap(({ segments }) => segments);
  const objects: NewPage[] = [];
  if (lineage !== undefined) {
    const bytes = encodeCellLineage(lineage);
    objects.push({ address: addressOf(bytes), bytes });
  }
  const [ref] = objects.map(({ address, bytes }): LineageRef => ({ address, bytes: bytes.length }));
  const movedRows = results.reduce((sum, result) => sum + result.movedRows, 0);
  const writtenRows = made.reduce((sum, { rows }) => sum + rows, 0);
  const bytes = encodeStepCollection({
    plan: options.plan,
    ...(ref === undefined ? {} : { lineage: ref }),
    ...{ kept, made, movedRows },
  });
  const address = addressOf(bytes);
  await putObjects(ctx, objects);
  await putObjects(ctx, [{ address, bytes }]);
  return {
    ...{ collection: address, segmentsKept: kept.length, segmentsNew: made.length },
    ...{ movedRows, writtenRows },
  };
}

/** The result of each task, in their order. */
async function resultsOf(
  session: Session,
  plan: StepPlan,
  { plan: address, parts }: AdaIvfCollectOptions,
): Promise<TaskResult[]> {
  const byTask = new Map<number, TaskResult>();
  for (const each of parts) {
    const part = decodeStepPart(await session.object(each));
    if (part.plan !== address) throw invalid("parts", part.plan, `parts of ${address}`);
    for (const result of part.results) byTask.set(result.task, result);
  }
  return plan.tasks.map((_, task) => {
    const result = byTask.get(task);
    if (result !== undefined) return result;
    throw invalid("parts", `no result of task ${task}`, `one for each of ${plan.tasks.length} tasks`);
  });
}

/** Segments of the state before that still have rows, with as many as count, and which these are; no lineage when none has. */
function keep(
  opened: readonly OpenSegment[],
  old: CellLineage | undefined,
  { base, index, changed }: StepPlan,
  results: readonly TaskResult[],
): { kept: SegmentEntry[]; lineage: CellLineage | undefined } {
  const earlier = [...(old?.earlier ?? []), base.spatialIndex];
  const newest = earlier.length;
  const since = new Uint16Array(index.cells);
  old?.since.subarray(0, index.cells).forEach((generation, cell) => {
    since[cell] = generation;
  });
  for (const cell of [...changed, ...results.flatMap(({ rewritten }) => rewritten)]) since[cell] = newest;
  const kept: SegmentEntry[] = [];
  const named = new Set<Address>();
  for (const { entry, container } of opened) {
    const { cells, spatialIndex } = container.head;
    const hidden = hiddenCells({ since }, earlier.indexOf(spatialIndex), cells);
    const rows = rowsThatCount({ container, ...(hidden === undefined ? {} : { hidden }) });
    if (rows === 0) continue;
    kept.push({ ...entry, rows });
    named.add(spatialIndex);
  }
  if (named.size === 0) return { kept, lineage: undefined };
  // Indexes that no row is left of are forgotten, and later generations move up.
  const isNamed = (address: Address): boolean => named.has(address);
  const places = Array.from({ length: newest + 1 }, (_, g) => earlier.slice(0, g).filter(isNamed).length);
  const lineage = {
    earlier: earlier.filter(isNamed),
    since: Uint8Array.from(since, (generation) => places[generation] as number),
  };
  return { kept, lineage };
}

/**
 * Publishes what was collected. Rows appended since the plan are put in the cells of the new index. A collection that is
 * published already changes nothing.
 * Errors: `Conflict` when another writer rebuilt, compacted or made a step since the plan.
 */
export async function adaIvfPublish(
  target: RebuildTarget,
  tip: Tip,
  options: AdaIvfPublishOptions,
): Promise<{ tip: Tip; result: AdaIvfPublished }> {
  const { ctx, name, origin } = target;
  const { session } = ctx;
  // The plan may be of a later state than this object has seen.
  const latest = (await readTip(session, name)) ?? tip;
  refuseRollback(name, tip, latest, { committed: "no" });
  const collection = decodeStepCollection(await session.object(options.collection));
  const plan = await readPlan(session, tip.manifest, collection.plan);
  const { base } = plan;
  const field = fieldOf(tip.manifest, base);
  const before = await baseTrack(session, base);
  const { lineage } = collection;
  const track = { ...nextTrack(plan, before), ...(lineage === undefined ? {} : { lineage }) };
  await holdStored(ctx, plan, track, collection);
  await checkStored(session, plan, track, collection);
  const late: SegmentEntry[] = [];
  let covered = base.timeline;
  const opId = ctx.random(16);
  const isIn = ({ manifest }: Tip): boolean => manifest.tracks.get(field.id)?.address === plan.address;
  const published = await publish(ctx, name, latest.etag === tip.etag ? tip : latest, {
    opId,
    async draft(current) {
      if (isIn(current)) return undefined;
      const now = current.manifest;
      refuseReplaced(now, field, before);
      const held = now.tracks.get(field.id) as Track;
      if ((await addedTo(session, base.segments, held.segments, segmentCodec)) === undefined)
        throw rowsReplaced(field);
      const later = await addedTo(session, covered, now.timeline, batchCodec);
      if (later === undefined) throw rowsReplaced(field);
      late.push(...(await encodeLate(target, track, field, later.added, memory(options.memoryBytes))));
      covered = now.timeline;
      const entries = [...collection.kept, ...collection.made, ...late];
      return draftOf(ctx, origin, current, { field, op: "ada-ivf-step", track, entries, opId });
    },
  });
  const { own } = published;
  const rows = countRows(
    await openTrack(session, own.manifest.tracks.get(field.id) as Track),
    plan.index.cells,
  );
  options.onProgress?.({ stage: "publish", done: 1, total: 1 });
  const made = [...collection.made, ...late];
  const written = made.reduce((sum, { container }) => sum + container.bytes, 0);
  return {
    tip: published.tip,
    result: {
      manifest: own.address,
      seq: own.manifest.seq,
      cells: plan.index.cells,
      segments: collection.kept.length + made.length,
      movedRows: collection.movedRows,
      writtenRows: made.reduce((sum, entry) => sum + entry.rows, 0),
      writtenBytes: written + plan.index.centroids.bytes + (lineage?.bytes ?? 0),
      imbalance: imbalanceOf(rows),
    },
  };
}

/** What other jobs stored is held as if this operation had, and looked for again if anything was ever collected. */
async function holdStored(
  ctx: Context,
  plan: StepPlan,
  track: Track,
  { kept, made }: StepCollection,
): Promise<void> {
  await beginHolding(ctx);
  ctx.holding.since = EVER;
  const stored = [plan, plan.index.centroids, ...[...kept, ...made].map(({ container }) => container)];
  if (track.lineage !== undefined) stored.push(track.lineage);
  for (const { address } of stored) ctx.holding.puts.add(address);
}

/** Other jobs stored these, perhaps long ago: what the new state names has to be there still. Errors: `NotFound`, `Corrupt`. */
async function checkStored(
  session: Session,
  plan: StepPlan,
  track: Track,
  { kept, made }: StepCollection,
): Promise<void> {
  await session.object(plan.address);
  await readCentroids(session, plan.index);
  await openSegments(session, track, [...kept, ...made]);
}

/** Segments of the new index for rows that came in since. */
async function encodeLate(
  { ctx, indexers }: RebuildTarget,
  track: Track,
  field: EmbeddingField,
  batches: readonly BatchEntry[],
  memoryBytes: number,
): Promise<SegmentEntry[]> {
  const entries: SegmentEntry[] = [];
  if (batches.length === 0) return entries;
  const indexer = (await indexers.of(track)) as Indexer;
  const source = VectorSource.of(ctx, field, batches, memoryBytes);
  try {
    for await (const run of source.runs())
      entries.push(...(await sealRun(ctx, track, indexer, run, field.rerank)));
  } finally {
    source.free();
  }
  return entries;
}

/** All four stages. Errors: those of each; nothing is published after any but `CommitUnknown`. */
export async function adaIvfStep(
  target: RebuildTarget,
  tip: Tip,
  options: AdaIvfOptions & { memoryBytes?: number; dryRun?: boolean },
): Promise<{ tip: Tip; result: AdaIvfStep }> {
  const { ctx, indexers } = target;
  const { manifest } = tip;
  const { memoryBytes, ...chosen } = options;
  const planned = await adaIvfPlan(ctx, manifest, chosen);
  const { plan } = planned;
  if (plan === undefined) return { tip, result: planned };
  const more = options.onProgress === undefined ? {} : { onProgress: options.onProgress };
  const { part } = await adaIvfWork(ctx, indexers, manifest, { plan, ...more });
  const { collection } = await adaIvfCollect(ctx, manifest, { plan, parts: [part], ...more });
  const { tip: after, result } = await adaIvfPublish(target, tip, {
    ...{ collection, ...more },
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
  });
  return { tip: after, result: { ...planned, ...result } };
}
