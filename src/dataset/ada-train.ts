/**
 * Where the new centroids of a step of index maintenance lie (spec/0020-maintenance.md §9): the parts of a cell by k-means on
 * a sample of its rows, and then, with them, the cells beside it.
 */
import { blake3 } from "../core/blake3.ts";
import { CellAssigner } from "../kernels/cell-assigner.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { sampleRows, trainKmeans } from "../kernels/kmeans.ts";
import { toIndexSpace } from "../kernels/rabitq.ts";
import type { EmbeddingField } from "../objects/field.ts";
import type { Manifest } from "../objects/manifest.ts";
import { metricOf } from "../objects/metric.ts";
import type { TrainedIndex } from "../objects/spatial-index.ts";
import type { AdaIvfProgress } from "./ada-base.ts";
import { breathe } from "./breathe.ts";
import { rowsOfCells, VectorsByAnchor } from "./cell-rows.ts";
import type { Context } from "./context.ts";
import type { OpenSegment } from "./segments.ts";

/** Vectors of samples held at a time. */
const SAMPLE_BYTES = 64 << 20;

/** A cell that is to be split into so many parts. */
export interface Split {
  cell: number;
  rows: number;
  parts: number;
}

export interface Training {
  recentre: number;
  sample: number;
  iterations: number;
  seed: Uint8Array;
  onProgress: ((progress: AdaIvfProgress) => void) | undefined;
}

export interface Planned {
  manifest: Manifest;
  field: EmbeddingField;
  index: TrainedIndex;
  segments: readonly OpenSegment[];
}

/** New centroids for each cell that can be split, by cell, ascending. */
export async function trainParts(
  ctx: Context,
  { manifest, field, index, segments }: Planned,
  splits: readonly Split[],
  training: Training,
): Promise<Map<number, Float32Array[]>> {
  const parts = new Map<number, Float32Array[]>();
  if (splits.length === 0) return parts;
  const source = await VectorsByAnchor.open(ctx, field, manifest.timeline);
  const rowBytes = 4 * field.dim;
  for (let first = 0; first < splits.length; ) {
    let past = first;
    let held = 0;
    do {
      const { rows, parts: wanted } = splits[past++] as Split;
      held += Math.min(rows, wanted * training.sample) * rowBytes;
    } while (past < splits.length && held < SAMPLE_BYTES);
    const some = splits.slice(first, past);
    for (const [cell, found] of await trainSome(ctx, source, index, segments, some, training, () =>
      training.onProgress?.({ stage: "plan", done: ++first, total: splits.length }),
    ))
      parts.set(cell, found);
    first = past;
  }
  return parts;
}

async function trainSome(
  { kernels, session }: Context,
  source: VectorsByAnchor,
  index: TrainedIndex,
  segments: readonly OpenSegment[],
  splits: readonly Split[],
  { sample, iterations, seed }: Training,
  onTrained: () => void,
): Promise<Map<number, Float32Array[]>> {
  const { dim } = index;
  const { ticks, cells } = await rowsOfCells(session, segments, new Set(splits.map(({ cell }) => cell)));
  const rowsOf = new Map<number, number[]>(splits.map(({ cell }) => [cell, []]));
  cells.forEach((cell, row) => {
    rowsOf.get(cell)?.push(row);
  });
  const drawn = splits.map(({ cell, parts }) => {
    const rows = rowsOf.get(cell) as number[];
    const own = seedOf(seed, cell);
    const picks = sampleRows(kernels, own, rows.length, Math.min(rows.length, parts * sample));
    return { cell, parts, seed: own, rows: Array.from(picks, (pick) => rows[pick] as number) };
  });
  const all = drawn.flatMap(({ rows }) => rows);
  const order = Array.from(all.keys()).sort((a, b) => (all[a] as number) - (all[b] as number));
  const read = kernels.alloc(all.length * dim * 4);
  try {
    await source.read(
      BigUint64Array.from(order, (i) => ticks[all[i] as number] as bigint),
      read,
    );
    const place = new Uint32Array(all.length);
    order.forEach((i, at) => {
      place[i] = at;
    });
    const found = new Map<number, Float32Array[]>();
    let first = 0;
    for (const { cell, parts, seed: own, rows } of drawn) {
      const x = kernels.alloc(rows.length * dim * 4);
      try {
        const places = kernels.copyIn(place.subarray(first, first + rows.length));
        kernels.gatherRows(read, 4 * dim, places, rows.length, x);
        kernels.free(places);
        toIndexSpace(kernels, metricOf(index.algorithm), index.exponent, x, rows.length, dim, x);
        const how = { vectors: x, n: rows.length, dim, k: parts, iterations, seed: own };
        const used = withRows(kernels, await trainKmeans(kernels, how), how);
        if (used.length > 1) found.set(cell, used);
      } finally {
        kernels.free(x);
      }
      first += rows.length;
      onTrained();
      await breathe();
    }
    return found;
  } finally {
    kernels.free(read);
  }
}

/** Centroids that any of n vectors is nearest to. */
function withRows(
  kernels: Kernels,
  values: Float32Array,
  { vectors, n, dim }: { vectors: number; n: number; dim: number },
): Float32Array[] {
  const counts = new Uint32Array(values.length / dim);
  const to = kernels.alloc(4 * n);
  try {
    assigned(kernels, values, dim, vectors, n, to);
    for (const part of kernels.u32(to, n)) (counts[part] as number)++;
  } finally {
    kernels.free(to);
  }
  const used = [...counts.keys()].filter((part) => (counts[part] as number) > 0);
  return used.map((part) => values.slice(part * dim, (part + 1) * dim));
}

export interface Chosen {
  rows: Float64Array;
  centroids: Float32Array;
  dissolved: readonly number[];
  /** Receives the cells that are recentred, as split into one part. */
  parts: Map<number, Float32Array[]>;
}

/**
 * Trains the parts anew together with the cells nearest to them: the rounds of k-means go on, from the parts and the old
 * centroids, on a sample of the rows of all these cells. Returns the cells that are not split themselves.
 */
export async function recentre(
  ctx: Context,
  { manifest, field, index, segments }: Planned,
  { rows, centroids, dissolved, parts }: Chosen,
  { recentre: wanted, sample, iterations, seed }: Training,
): Promise<number[]> {
  const { dim } = index;
  if (wanted === 0 || parts.size === 0) return [];
  const gone = new Set([...dissolved, ...parts.keys()]);
  const stays = (cell: number): boolean => !gone.has(cell) && (rows[cell] as number) > 0;
  const near = new Set(
    [...parts.values()].flatMap((values) =>
      values.flatMap((part) => nearestCells(centroids, dim, part, wanted, stays)),
    ),
  );
  const found = [...near].sort((a, b) => a - b);
  for (const cell of found) parts.set(cell, [centroids.slice(cell * dim, (cell + 1) * dim)]);
  const source = await VectorsByAnchor.open(ctx, field, manifest.timeline);
  const held = await rowsOfCells(ctx.session, segments, new Set(parts.keys()));
  const count = Math.min(held.ticks.length, sample * [...parts.values()].flat().length);
  const picks = sampleRows(ctx.kernels, seed, held.ticks.length, count);
  const x = ctx.kernels.alloc(count * dim * 4);
  try {
    await source.read(
      BigUint64Array.from(picks, (row) => held.ticks[row] as bigint),
      x,
    );
    toIndexSpace(ctx.kernels, metricOf(index.algorithm), index.exponent, x, count, dim, x);
    const moved = await lloyd(ctx.kernels, [...parts.values()].flat(), x, count, dim, iterations);
    let next = 0;
    for (const [cell, { length }] of parts) {
      parts.set(cell, moved.slice(next, next + length));
      next += length;
    }
  } finally {
    ctx.kernels.free(x);
  }
  return found;
}

/** Rounds of k-means over all of n vectors; a centroid without any stays. */
async function lloyd(
  kernels: Kernels,
  from: readonly Float32Array[],
  vectors: number,
  n: number,
  dim: number,
  iterations: number,
): Promise<Float32Array[]> {
  const values = new Float32Array(from.length * dim);
  from.forEach((value, i) => {
    values.set(value, i * dim);
  });
  const to = kernels.alloc(4 * n);
  try {
    for (let round = 0; round < iterations; round++) {
      assigned(kernels, values, dim, vectors, n, to);
      const cells = kernels.u32(to, n);
      const y = kernels.f32(vectors, n * dim);
      const sums = new Float64Array(values.length);
      const counts = new Uint32Array(from.length);
      for (let row = 0; row < n; row++) {
        const cell = cells[row] as number;
        (counts[cell] as number)++;
        for (let i = 0, at = cell * dim; i < dim; i++, at++)
          (sums[at] as number) += y[row * dim + i] as number;
      }
      sums.forEach((sum, at) => {
        const rows = counts[Math.floor(at / dim)] as number;
        if (rows > 0) values[at] = sum / rows;
      });
      await breathe();
    }
  } finally {
    kernels.free(to);
  }
  return from.map((_, i) => values.slice(i * dim, (i + 1) * dim));
}

/** The nearest of these centroids to each of n vectors, to `to` (u32 × n). */
function assigned(
  kernels: Kernels,
  centroids: Float32Array,
  dim: number,
  vectors: number,
  n: number,
  to: number,
): void {
  const assigner = new CellAssigner(kernels, centroids, dim);
  try {
    assigner.assign(vectors, n, to);
  } finally {
    assigner.free();
  }
}

/** A cell's own seed, so that what is drawn for it depends on no other. */
function seedOf(seed: Uint8Array, cell: number): Uint8Array {
  const text = new Uint8Array(seed.length + 4);
  text.set(seed);
  new DataView(text.buffer).setUint32(seed.length, cell, true);
  return blake3(text);
}

/** The `count` cells that `isWanted` lets through whose centroids are nearest, equal ones by number. */
export function nearestCells(
  centroids: Float32Array,
  dim: number,
  to: Float32Array,
  wanted: number,
  isWanted: (cell: number) => boolean,
): number[] {
  const best: { cell: number; distance: number }[] = [];
  for (let cell = 0; cell * dim < centroids.length; cell++) {
    const most = best.length < wanted ? Number.POSITIVE_INFINITY : (best.at(-1)?.distance as number);
    let distance = 0;
    const first = cell * dim;
    for (let i = 0; i < dim && distance < most; i++) {
      const difference = (centroids[first + i] as number) - (to[i] as number);
      distance += difference * difference;
    }
    if (!(distance < most) || !isWanted(cell)) continue;
    let place = best.length;
    while (place > 0 && (best[place - 1] as { distance: number }).distance > distance) place--;
    best.splice(place, 0, { cell, distance });
    if (best.length > wanted) best.pop();
  }
  return best.map(({ cell }) => cell);
}
