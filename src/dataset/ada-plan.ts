/**
 * Planning a step of index maintenance (spec/0020-maintenance.md §9): which cells are split and which are dissolved, where
 * their new centroids lie, and what rows have to be looked at. Idea: Mohoney et al., "Incremental IVF Index Maintenance for
 * Streaming Vector Search" (Ada-IVF, 2024), and the reassignment among neighbours of SPFresh (Xu et al., 2023).
 */
import { type Address, addressOf } from "../core/address.ts";
import { blake3 } from "../core/blake3.ts";
import { encodeStepBase, encodeStepPlan, type StepBase, type StepPlan } from "../objects/ada-step.ts";
import { encodeCentroids } from "../objects/centroids.ts";
import type { EmbeddingField } from "../objects/field.ts";
import type { NewPage } from "../objects/index-tree.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { encodeSpatialIndex, type TrainedIndex } from "../objects/spatial-index.ts";
import { type AdaIvfProgress, invalid, openTrack, steppable } from "./ada-base.ts";
import { nearestCells, recentre, type Split, trainParts } from "./ada-train.ts";
import type { Cancellable, Context } from "./context.ts";
import { readCentroids } from "./indexer.ts";
import { putObjects } from "./put-objects.ts";
import { count } from "./rebuild.ts";
import { cellsIn, type OpenSegment } from "./segments.ts";

/** One of `splitAbove`, `imbalance` and `mergeBelow` at least; what is too much or too little is the caller's to say. */
export interface AdaIvfOptions extends Cancellable {
  /** Name of the vector field. */
  field: string;
  /** Cells with more rows are split, into parts of about half as many. Not beside `imbalance`. */
  splitAbove?: number;
  /** Cells with more rows than so many times the mean are split, a number above 1. */
  imbalance?: number;
  /** Cells with fewer rows are dissolved: their rows go to the nearest of the others. Default 0: none. */
  mergeBelow?: number;
  /** The most cells that are split or dissolved in this step, the largest ones first. Default: no limit. */
  limit?: number;
  /** For each part of a cell that is split, the nearest other cells whose centroids are trained anew as well. Default 2. */
  recentre?: number;
  /** For each part, further cells near it whose rows may have a nearer cell now. Default 0. */
  neighbours?: number;
  /** The share of a neighbour's rows that have to have a nearer cell for it to be rewritten, 0 to 1. Default 0.1. */
  reassignAbove?: number;
  /** Rows of a cell that are looked at for each of its parts. Default 128. */
  sample?: number;
  /** Rounds of k-means. Default 8. */
  iterations?: number;
  /** Chooses the samples and the first centroids. Default 0. */
  seed?: number;
  /** Rows of a task at most, but for a cell that has more: tasks are what jobs share. Default 64 MiB of vectors. */
  taskRows?: number;
  onProgress?: (progress: AdaIvfProgress) => void;
}

/** What is to be done. */
export interface AdaIvfPlan {
  /** The plan's address; undefined when nothing is to do, and with `dryRun`. */
  plan: Address | undefined;
  /** Cells that are split, with their rows and the number of their parts. */
  splits: { cell: number; rows: number; parts: number }[];
  /** Cells near those whose centroids are moved as well. */
  recentred: number[];
  /** Cells that are dissolved, with their rows. */
  merges: { cell: number; rows: number }[];
  /** Cells beyond the bound that can't be split: their rows, or those looked at, are all the same. */
  unsplittable: number[];
  /** Cells of the index before, and after the step. */
  cellsBefore: number;
  cells: number;
  /** Rows of the largest cell divided by the mean of those with rows, before the step. */
  imbalance: number;
  /** Tasks that jobs may share, and rows that these look at. */
  tasks: number;
  rows: number;
}

const DEFAULT_RECENTRE = 2;
const DEFAULT_NEIGHBOURS = 0;
const DEFAULT_REASSIGN = 0.1;
const DEFAULT_SAMPLE_PER_PART = 128;
const DEFAULT_ITERATIONS = 8;
const TASK_BYTES = 64 << 20;
const MAX_ITERATIONS = 1000;
/** How often the bound is adapted to the number of cells that it leads to. */
const BOUND_ROUNDS = 32;

interface Bounds {
  splitAbove: number;
  /** Rows that a part should have. */
  partRows: number;
  mergeBelow: number;
  limit: number;
}

/** Plans a step for the state of `manifest`, and stores the plan. Errors: `InvalidArgument`, `LimitExceeded`, `OutOfMemory`. */
export async function adaIvfPlan(
  ctx: Context,
  manifest: Manifest,
  options: AdaIvfOptions & { dryRun?: boolean },
): Promise<AdaIvfPlan> {
  const { session } = ctx;
  const { field, track, index } = steppable(manifest, options.field);
  const chosen = checked(options, field);
  const segments = await openTrack(session, track);
  const rows = countRows(segments, index.cells);
  const centroids = await readCentroids(session, index);
  const bounds = boundsOf(rows, options);
  const { splits, dissolved } = chooseCells(rows, centroids, index.dim, bounds);
  const base = baseOf(manifest, field, track);
  const { onProgress: _, signal: __, dryRun: ___, field: ____, ...given } = options;
  const seed = blake3(encodeStepBase(base, JSON.stringify(Object.entries({ ...given, ...chosen }).sort())));
  const training = { ...chosen, seed, onProgress: options.onProgress };
  const parts = await trainParts(ctx, { manifest, field, index, segments }, splits, training);
  const splitCells = [...parts.keys()];
  const recentred = await recentre(
    ctx,
    { manifest, field, index, segments },
    { rows, centroids, dissolved, parts },
    training,
  );
  const unsplittable = splits.filter(({ cell }) => !parts.has(cell)).map(({ cell }) => cell);
  const done = splits.filter(({ cell }) => splitCells.includes(cell));
  const result: AdaIvfPlan = {
    plan: undefined,
    splits: done.map(({ cell, rows }) => ({ cell, rows, parts: (parts.get(cell) as Float32Array[]).length })),
    recentred,
    merges: dissolved.map((cell) => ({ cell, rows: rows[cell] as number })),
    unsplittable,
    cellsBefore: index.cells,
    cells: index.cells,
    imbalance: imbalanceOf(rows),
    tasks: 0,
    rows: 0,
  };
  if (done.length === 0 && dissolved.length === 0) return result;
  const numbered = numberCells(centroids, index, parts, dissolved);
  const near = neighboursOf(centroids, index.dim, rows, parts, numbered, chosen.neighbours);
  const sources = new Set([...parts.keys(), ...dissolved, ...numbered.moved]);
  const tasks = tasksOf(rows, [...parts.keys()], sources, near, chosen.taskRows);
  const table = encodeCentroids(numbered.values, numbered.cells, index.dim);
  const next: TrainedIndex = {
    ...index,
    cells: numbered.cells,
    centroids: { address: addressOf(table), bytes: table.length },
    seed,
    sample: done.reduce((sum, { rows, parts }) => sum + Math.min(rows, parts * chosen.sample), 0),
    iterations: chosen.iterations,
    parents: [track.address],
  };
  const encoded = encodeSpatialIndex(next);
  const plan: StepPlan = {
    base,
    index: next,
    address: addressOf(encoded),
    sources: [...sources].sort((a, b) => a - b),
    changed: numbered.changed,
    tasks,
    reassignPpm: Math.round(chosen.reassignAbove * 1e6),
  };
  result.cells = numbered.cells;
  result.tasks = tasks.length;
  result.rows = tasks.flat().reduce((sum, cell) => sum + (rows[cell] as number), 0);
  if (options.dryRun === true) return result;
  const bytes = encodeStepPlan(plan);
  const objects: NewPage[] = [
    { address: next.centroids.address, bytes: table },
    { address: plan.address, bytes: encoded },
  ];
  await putObjects(ctx, objects);
  // Last: whoever has its address finds what it names.
  await putObjects(ctx, [{ address: addressOf(bytes), bytes }]);
  return { ...result, plan: addressOf(bytes) };
}

function checked(options: AdaIvfOptions, field: EmbeddingField) {
  const { splitAbove, imbalance, mergeBelow, reassignAbove = DEFAULT_REASSIGN } = options;
  if (splitAbove === undefined && imbalance === undefined && mergeBelow === undefined)
    throw invalid("splitAbove", "none of the bounds", "splitAbove, imbalance or mergeBelow");
  if (splitAbove !== undefined && imbalance !== undefined)
    throw invalid("imbalance", "both splitAbove and imbalance", "one of them");
  if (imbalance !== undefined && !(Number.isFinite(imbalance) && imbalance > 1))
    throw invalid("imbalance", imbalance, "a number above 1");
  if (!(reassignAbove >= 0 && reassignAbove <= 1))
    throw invalid("reassignAbove", reassignAbove, "a share from 0 to 1");
  if (splitAbove !== undefined) count("splitAbove", splitAbove, 2 ** 32 - 1);
  if (mergeBelow !== undefined) count("mergeBelow", mergeBelow, 2 ** 32 - 1, 0);
  if (options.limit !== undefined) count("limit", options.limit, 2 ** 32 - 1);
  const taskRows = Math.max(1, Math.floor(TASK_BYTES / (4 * field.dim)));
  return {
    reassignAbove,
    recentre: count("recentre", options.recentre ?? DEFAULT_RECENTRE, 2 ** 16, 0),
    neighbours: count("neighbours", options.neighbours ?? DEFAULT_NEIGHBOURS, 2 ** 16, 0),
    sample: count("sample", options.sample ?? DEFAULT_SAMPLE_PER_PART, 2 ** 20),
    iterations: count("iterations", options.iterations ?? DEFAULT_ITERATIONS, MAX_ITERATIONS, 0),
    seed: count("seed", options.seed ?? 0, Number.MAX_SAFE_INTEGER, 0),
    taskRows: count("taskRows", options.taskRows ?? taskRows, 2 ** 32 - 1),
  };
}

function baseOf(manifest: Manifest, field: EmbeddingField, track: Track): StepBase {
  return {
    genesis: manifest.genesis,
    field: field.id,
    spatialIndex: track.address,
    ...(track.compressor === undefined ? {} : { compressor: track.compressor.address }),
    ...(track.lineage === undefined ? {} : { lineage: track.lineage }),
    segments: track.segments,
    timeline: manifest.timeline,
  };
}

/** Rows of each cell. */
export function countRows(segments: readonly OpenSegment[], cells: number): Float64Array {
  const rows = new Float64Array(cells);
  for (const segment of segments)
    for (const { cell, from, to } of cellsIn(segment)) (rows[cell] as number) += to - from;
  return rows;
}

/** Rows of the largest cell divided by the mean of those with rows; 0 without rows. */
export function imbalanceOf(rows: Float64Array): number {
  const used = rows.reduce((sum, each) => sum + Number(each > 0), 0);
  const all = rows.reduce((sum, each) => sum + each, 0);
  return used === 0 ? 0 : rows.reduce((most, each) => Math.max(most, each), 0) / (all / used);
}

function boundsOf(rows: Float64Array, options: AdaIvfOptions): Bounds {
  const { splitAbove = Number.POSITIVE_INFINITY, imbalance, mergeBelow = 0 } = options;
  const limit = options.limit ?? Number.POSITIVE_INFINITY;
  if (imbalance === undefined) return { splitAbove, partRows: splitAbove / 2, mergeBelow, limit };
  const all = rows.reduce((sum, each) => sum + each, 0);
  const used = rows.reduce((sum, each) => sum + Number(each > 0), 0);
  // Splitting makes more cells, so that the mean falls, and the bound with it.
  let cells = Math.max(1, used);
  for (let round = 0; ; round++) {
    const mean = all / cells;
    const bound = {
      splitAbove: imbalance * mean,
      partRows: mean * Math.max(1, imbalance / 2),
      mergeBelow,
      limit,
    };
    const after = rows.reduce(
      (sum, each) => sum + (each > bound.splitAbove ? partsOf(each, bound) - 1 : 0),
      used,
    );
    if (after <= cells || round === BOUND_ROUNDS) return bound;
    cells = after;
  }
}

function partsOf(rows: number, { partRows }: Pick<Bounds, "partRows">): number {
  return Math.max(2, Math.round(rows / partRows));
}

/** Cells to split, and to dissolve; both ascending. */
function chooseCells(
  rows: Float64Array,
  centroids: Float32Array,
  dim: number,
  bounds: Bounds,
): { splits: Split[]; dissolved: number[] } {
  const byRows = Array.from(rows.keys()).sort((a, b) => (rows[b] as number) - (rows[a] as number) || a - b);
  const splits = byRows
    .filter((cell) => (rows[cell] as number) > bounds.splitAbove && (rows[cell] as number) > 1)
    .slice(0, bounds.limit)
    .map((cell) => ({
      ...{ cell, rows: rows[cell] as number },
      parts: Math.min(rows[cell] as number, partsOf(rows[cell] as number, bounds)),
    }));
  const gone = new Set(splits.map(({ cell }) => cell));
  const expected = rows.slice();
  const dissolved: number[] = [];
  for (const cell of byRows.reverse()) {
    if ((rows[cell] as number) >= bounds.mergeBelow || splits.length + dissolved.length >= bounds.limit)
      break;
    // One that took another in may be large enough by now.
    if (gone.has(cell) || (expected[cell] as number) >= bounds.mergeBelow) continue;
    const [nearest] = nearestCells(
      centroids,
      dim,
      centroids.subarray(cell * dim, (cell + 1) * dim),
      1,
      (other) => other !== cell && !gone.has(other),
    );
    if (nearest === undefined) break;
    (expected[nearest] as number) += expected[cell] as number;
    gone.add(cell);
    dissolved.push(cell);
  }
  return { splits: splits.sort((a, b) => a.cell - b.cell), dissolved: dissolved.sort((a, b) => a - b) };
}

interface Numbered {
  cells: number;
  values: Float32Array;
  /** Cells of the base that got another number, ascending. */
  moved: number[];
  /** New cells whose number meant something else before, ascending. */
  changed: number[];
}

const NEW = -1;
const FREE = -2;

/**
 * Numbers the cells: those that stay keep theirs; a split cell's goes to its first part; other parts take those of
 * dissolved cells, then new ones at the end; and where numbers are left over, the last cells move there.
 */
function numberCells(
  centroids: Float32Array,
  { cells, dim }: TrainedIndex,
  parts: ReadonlyMap<number, Float32Array[]>,
  dissolved: readonly number[],
): Numbered {
  const origin = Array.from({ length: cells }, (_, cell) => cell);
  const values = origin.map((cell) => centroids.subarray(cell * dim, (cell + 1) * dim));
  const free = [...dissolved];
  for (const cell of free) origin[cell] = FREE;
  for (const [cell, [first]] of parts) {
    origin[cell] = NEW;
    values[cell] = first as Float32Array;
  }
  for (const part of [...parts.values()].flatMap(([, ...rest]) => rest)) {
    const at = free.shift() ?? origin.length;
    origin[at] = NEW;
    values[at] = part;
  }
  const moved: number[] = [];
  while (free.length > 0) {
    const last = origin.pop() as number;
    const value = values.pop() as Float32Array;
    if (last === FREE) {
      free.pop();
      continue;
    }
    const at = free.shift() as number;
    origin[at] = last;
    values[at] = value;
    if (last !== NEW) moved.push(last);
  }
  const table = new Float32Array(origin.length * dim);
  values.forEach((value, cell) => {
    table.set(value, cell * dim);
  });
  const changed = [...origin.keys()].filter((cell) => origin[cell] !== cell);
  return { cells: origin.length, values: table, moved: moved.sort((a, b) => a - b), changed };
}

/** For each split cell the cells of the base that stay and lie nearest to one of its parts. */
function neighboursOf(
  centroids: Float32Array,
  dim: number,
  rows: Float64Array,
  parts: ReadonlyMap<number, Float32Array[]>,
  { moved, changed, cells }: Numbered,
  wanted: number,
): Map<number, number[]> {
  const isGone = new Set([...moved, ...changed]);
  const stays = (cell: number): boolean => cell < cells && !isGone.has(cell) && (rows[cell] as number) > 0;
  const near = new Map<number, number[]>();
  if (wanted === 0) return near;
  for (const [cell, values] of parts) {
    const found = new Set(values.flatMap((part) => nearestCells(centroids, dim, part, wanted, stays)));
    near.set(
      cell,
      [...found].sort((a, b) => a - b),
    );
  }
  return near;
}

/** Cells to look at, in tasks of at most so many rows: a split cell beside its neighbours, then the others. */
function tasksOf(
  rows: Float64Array,
  split: readonly number[],
  sources: ReadonlySet<number>,
  near: ReadonlyMap<number, readonly number[]>,
  taskRows: number,
): number[][] {
  const ordered = [...new Set([...split.flatMap((cell) => [cell, ...(near.get(cell) ?? [])]), ...sources])];
  const tasks: number[][] = [];
  let held = 0;
  for (const cell of ordered.filter((each) => (rows[each] as number) > 0)) {
    const more = rows[cell] as number;
    if (tasks.length === 0 || held + more > taskRows) {
      tasks.push([]);
      held = 0;
    }
    tasks.at(-1)?.push(cell);
    held += more;
  }
  return tasks;
}
