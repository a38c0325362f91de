/**
 * Working off the tasks of a plan (spec/0020-maintenance.md §9): rows of the cells that change, and of their neighbours,
 * are put in the cells that are nearest now, with codes, and stored in segments of the new index. Jobs may share the tasks;
 * what comes out of a task depends on the plan alone.
 */
import { type Address, addressOf } from "../core/address.ts";
import { encodeStepPart, type StepPlan, type TaskResult } from "../objects/ada-step.ts";
import type { EmbeddingField } from "../objects/field.ts";
import type { SegmentEntry } from "../objects/index-tree.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { encodeSegment } from "../objects/segment.ts";
import type { Derived } from "../workers/shared-index.ts";
import {
  type AdaIvfProgress,
  baseTrack,
  fieldOf,
  invalid,
  nextTrack,
  openTrack,
  readPlan,
} from "./ada-base.ts";
import { breathe } from "./breathe.ts";
import { rowsOfCells, VectorsByAnchor } from "./cell-rows.ts";
import type { Cancellable, Context } from "./context.ts";
import type { Indexer, Indexers } from "./indexer.ts";
import { putObjects } from "./put-objects.ts";
import { segmentsOf } from "./rebuild.ts";
import type { OpenSegment } from "./segments.ts";
import type { VectorRun } from "./vector-source.ts";

export interface AdaIvfWorkOptions extends Cancellable {
  /** What `adaIvfPlan` gave. */
  plan: Address;
  /** This job's number, from 0, of so many that share the tasks. Default 0 of 1. */
  shard?: number;
  shards?: number;
  onProgress?: (progress: AdaIvfProgress) => void;
}

/** What a job has done. */
export interface AdaIvfPart {
  /** For `adaIvfCollect`. */
  part: Address;
  tasks: number;
  /** Rows that were looked at, that changed their cell, and that were written. */
  rows: number;
  movedRows: number;
  writtenRows: number;
}

/** Works off every task whose number is `shard` modulo `shards`. Errors: `InvalidArgument`, `NotFound`, `OutOfMemory`. */
export async function adaIvfWork(
  ctx: Context,
  indexers: Indexers,
  manifest: Manifest,
  options: AdaIvfWorkOptions,
): Promise<AdaIvfPart> {
  const { shard = 0, shards = 1 } = options;
  if (!Number.isSafeInteger(shards) || shards < 1) throw invalid("shards", shards, "a number of jobs");
  if (!Number.isSafeInteger(shard) || shard < 0 || shard >= shards)
    throw invalid("shard", shard, `a number from 0 to ${shards - 1}`);
  const { session } = ctx;
  const plan = await readPlan(session, manifest, options.plan);
  const field = fieldOf(manifest, plan.base);
  const before = await baseTrack(session, plan.base);
  const track = nextTrack(plan, before);
  const work: Work = {
    ...{ ctx, plan, field, track },
    segments: await openTrack(session, before),
    indexer: (await indexers.of(track)) as Indexer,
    source: await VectorsByAnchor.open(ctx, field, plan.base.timeline),
    sources: new Set(plan.sources),
  };
  const results: TaskResult[] = [];
  const total = Math.ceil((plan.tasks.length - shard) / shards);
  for (let task = shard; task < plan.tasks.length; task += shards) {
    results.push(await workOff(work, task));
    options.onProgress?.({ stage: "work", done: results.length, total });
    await breathe();
  }
  const bytes = encodeStepPart({ plan: options.plan, results });
  const address = addressOf(bytes);
  await putObjects(ctx, [{ address, bytes }]);
  const sum = (of: (result: TaskResult) => number): number =>
    results.reduce((all, each) => all + of(each), 0);
  return {
    part: address,
    tasks: results.length,
    rows: sum(({ rows }) => rows),
    movedRows: sum(({ movedRows }) => movedRows),
    writtenRows: sum(({ segments }) => segments.reduce((all, { rows }) => all + rows, 0)),
  };
}

interface Work {
  ctx: Context;
  plan: StepPlan;
  field: EmbeddingField;
  /** That the plan leads to. */
  track: Track;
  /** Of the state before. */
  segments: readonly OpenSegment[];
  indexer: Indexer;
  source: VectorsByAnchor;
  /** Cells whose rows all go to new places. */
  sources: ReadonlySet<number>;
}

async function workOff(work: Work, task: number): Promise<TaskResult> {
  const { ctx, plan, field, track, segments, indexer, source, sources } = work;
  const { kernels, session } = ctx;
  const { dim } = field;
  const cells = plan.tasks[task] as number[];
  const { ticks, cells: before } = await rowsOfCells(session, segments, new Set(cells));
  const n = ticks.length;
  const vectors = kernels.alloc(Math.max(1, n) * dim * 4);
  try {
    await source.read(ticks, vectors);
    const now = indexer.cellsOf(vectors, n);
    const isMoved = (row: number): boolean => sources.has(before[row] as number) || now[row] !== before[row];
    const rewritten = rewrittenOf(cells, before, isMoved, sources, plan.reassignPpm);
    const isChosen = new Set([...sources, ...rewritten]);
    const rows = Uint32Array.from(before.keys()).filter((row) => isChosen.has(before[row] as number));
    const movedRows = rows.reduce((sum, row) => sum + Number(isMoved(row)), 0);
    const chosen = rows.length === n ? vectors : gathered(kernels, vectors, dim, rows);
    try {
      const run = runOf(
        chosen,
        rows.length === n ? ticks : BigUint64Array.from(rows, (row) => ticks[row] as bigint),
      );
      const derived = { cells: rows.length === n ? now : rows.map((row) => now[row] as number), codes: 0 };
      const stored = await sealRun(ctx, track, indexer, run, field.rerank, derived);
      return { task, rewritten, rows: n, movedRows, segments: stored };
    } finally {
      if (chosen !== vectors) kernels.free(chosen);
    }
  } finally {
    kernels.free(vectors);
  }
}

/** Neighbours of which enough rows have a nearer cell. */
function rewrittenOf(
  cells: readonly number[],
  before: Uint32Array,
  isMoved: (row: number) => boolean,
  sources: ReadonlySet<number>,
  reassignPpm: number,
): number[] {
  const counts = new Map(
    cells.filter((cell) => !sources.has(cell)).map((cell) => [cell, { rows: 0, moved: 0 }]),
  );
  before.forEach((cell, row) => {
    const found = counts.get(cell);
    if (found === undefined) return;
    found.rows++;
    if (isMoved(row)) found.moved++;
  });
  return [...counts]
    .filter(([, { rows, moved }]) => moved > 0 && moved * 1e6 >= reassignPpm * rows)
    .map(([cell]) => cell)
    .sort((a, b) => a - b);
}

function gathered(kernels: Context["kernels"], vectors: number, dim: number, rows: Uint32Array): number {
  const index = kernels.copyIn(rows);
  try {
    const out = kernels.alloc(Math.max(1, rows.length) * dim * 4);
    kernels.gatherRows(vectors, 4 * dim, index, rows.length, out);
    return out;
  } finally {
    kernels.free(index);
  }
}

function runOf(vectors: number, ticks: BigUint64Array): VectorRun {
  const rows = ticks.length;
  return { vectors, rows, ticks, batchRows: rows, places: Uint32Array.from({ length: rows }, (_, i) => i) };
}

/** Segments of a run's rows, stored. */
export async function sealRun(
  ctx: Context,
  track: Track,
  indexer: Indexer,
  run: VectorRun,
  withVectors: boolean,
  derived?: Derived,
): Promise<SegmentEntry[]> {
  const entries: SegmentEntry[] = [];
  if (run.rows === 0) return entries;
  for (const { base, span, order, source } of segmentsOf(
    ctx.kernels,
    track,
    indexer,
    run,
    derived,
    withVectors,
  )) {
    const sealed = encodeSegment(source);
    await putObjects(ctx, [{ address: sealed.ref.address, bytes: sealed.bytes }]);
    entries.push({ base, span, rows: order.rows.length, container: sealed.ref });
  }
  return entries;
}
