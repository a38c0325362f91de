/** `adaIvfStatus`: how the rows lie in the cells of a built index, out of the current Track. Figures only: nothing acts on them. */
import { toIndexSpace } from "../kernels/rabitq.ts";
import type { EmbeddingField } from "../objects/field.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { metricOf } from "../objects/metric.ts";
import type { TrainedIndex } from "../objects/spatial-index.ts";
import { openTrack, steppable } from "./ada-base.ts";
import { countRows, imbalanceOf } from "./ada-plan.ts";
import { breathe } from "./breathe.ts";
import { rowsOfCells } from "./cell-rows.ts";
import type { Cancellable, Context } from "./context.ts";
import { type Indexer, type Indexers, readCentroids } from "./indexer.ts";
import { memory } from "./rebuild.ts";
import { cellsIn, type OpenSegment, readLineage, rowsThatCount } from "./segments.ts";
import { firstAtLeast } from "./timeline.ts";
import { VectorSource } from "./vector-source.ts";

export interface AdaIvfStatusOptions extends Cancellable {
  /** Name of the vector field. */
  field: string;
  /** Also looks at every vector: `scan` of the result. Default false. */
  scan?: boolean;
  /** Vectors held at a time by that, in bytes. Default 1 GiB. */
  memoryBytes?: number;
  /** Rows that were looked at. */
  onProgress?: (progress: { done: number; total: number }) => void;
}

export interface AdaIvfStatus {
  field: string;
  algorithm: string;
  /** Cells of the index, and those that have rows. */
  cells: number;
  usedCells: number;
  /** Rows in cells, and those of the dataset that are in none. */
  rows: number;
  unindexedRows: number;
  /** Rows of the largest cell divided by the mean of those with rows. */
  imbalance: number;
  /** Rows of a cell that has some: the least, the 10th, 50th and 90th percentile, the most, and the mean. */
  density: { least: number; p10: number; median: number; p90: number; most: number; mean: number };
  /** Rows of each cell, by its number. */
  rowsOfCell: number[];
  /** Rows appended since cells were last arranged (built, stepped or compacted), later than all before. */
  appendedRows: number;
  /** How differently these lie in the cells than the others: half the sum of the differences of all cells' shares, 0 to 1. */
  drift: number;
  segments: number;
  /** Runs of rows of one cell in one segment. */
  fragments: number;
  /** Earlier indexes whose segments still hold rows, and rows in these segments that count no more: `compact` drops them. */
  earlierIndexes: number;
  hiddenRows: number;
  /** Only when it was asked for. */
  scan?: AdaIvfScan;
}

/** What the vectors say. Lengths are in the space of the index: of cosine, on the unit sphere. */
export interface AdaIvfScan {
  rows: number;
  /** Rows that lie in another cell than the nearest of today. */
  misplacedRows: number;
  /** Mean squared distance of a row from its cell's centroid. */
  error: number;
  /** How far the mean of a cell's rows is from its centroid, as a part of the root of `error`; mean over rows. */
  shift: number;
  /** The same by cell; 0 for those without rows. */
  shiftOfCell: number[];
}

/** Reads the heads of all segments, and with `scan` all vectors. Errors: `InvalidArgument`, `NotFound`, `Corrupt`. */
export async function adaIvfStatus(
  ctx: Context,
  indexers: Indexers,
  manifest: Manifest,
  options: AdaIvfStatusOptions,
): Promise<AdaIvfStatus> {
  const { session } = ctx;
  const { field, track, index } = steppable(manifest, options.field);
  const segments = await openTrack(session, track);
  const rowsOfCell = countRows(segments, index.cells);
  const used = rowsOfCell.filter((rows) => rows > 0).sort();
  const at = (share: number): number => used[Math.round(share * (used.length - 1))] ?? 0;
  const rows = used.reduce((sum, each) => sum + each, 0);
  const lineage = await readLineage(session, track);
  const status: AdaIvfStatus = {
    field: field.name,
    algorithm: index.algorithm,
    cells: index.cells,
    usedCells: used.length,
    rows,
    unindexedRows: manifest.timeline.rows - rows,
    imbalance: imbalanceOf(rowsOfCell),
    density: {
      ...{ least: at(0), p10: at(0.1), median: at(0.5), p90: at(0.9), most: at(1) },
      mean: used.length === 0 ? 0 : rows / used.length,
    },
    rowsOfCell: [...rowsOfCell],
    ...driftOf(segments, index.cells),
    segments: segments.length,
    fragments: segments.reduce((sum, segment) => sum + [...cellsIn(segment)].length, 0),
    earlierIndexes: lineage?.earlier.length ?? 0,
    hiddenRows: segments.reduce((sum, each) => sum + each.container.head.rows - rowsThatCount(each), 0),
  };
  if (options.scan !== true) return status;
  const indexer = (await indexers.of(track)) as Indexer;
  return {
    ...status,
    scan: await scanned(ctx, { manifest, field, track, index, segments, indexer }, options),
  };
}

function driftOf(
  segments: readonly OpenSegment[],
  cells: number,
): Pick<AdaIvfStatus, "appendedRows" | "drift"> {
  let end = -1n;
  const arranged: OpenSegment[] = [];
  const appended: OpenSegment[] = [];
  for (const segment of segments) {
    const { base, span } = segment.entry;
    (end >= 0n && base > end ? appended : arranged).push(segment);
    if (base + span > end) end = base + span;
  }
  const [before, since] = [countRows(arranged, cells), countRows(appended, cells)];
  const sum = (of: Float64Array): number => of.reduce((all, each) => all + each, 0);
  const [allBefore, allSince] = [sum(before), sum(since)];
  if (allSince === 0) return { appendedRows: 0, drift: 0 };
  const differences = before.reduce(
    (all, rows, cell) => all + Math.abs(rows / allBefore - (since[cell] as number) / allSince),
    0,
  );
  return { appendedRows: allSince, drift: differences / 2 };
}

interface Scanned {
  manifest: Manifest;
  field: EmbeddingField;
  track: Track;
  index: TrainedIndex;
  segments: readonly OpenSegment[];
  indexer: Indexer;
}

async function scanned(
  ctx: Context,
  { manifest, field, index, segments, indexer }: Scanned,
  options: AdaIvfStatusOptions,
): Promise<AdaIvfScan> {
  const { kernels, session } = ctx;
  const { dim, cells } = index;
  const held = await rowsOfCells(
    session,
    segments,
    new Set(Array.from({ length: cells }, (_, cell) => cell)),
  );
  const centroids = await readCentroids(session, index);
  const sums = new Float64Array(cells * dim);
  const counts = new Float64Array(cells);
  let squares = 0;
  let rows = 0;
  let misplacedRows = 0;
  const source = await VectorSource.open(ctx, manifest, field, memory(options.memoryBytes));
  try {
    for await (const run of source.runs()) {
      const nearest = indexer.cellsOf(run.vectors, run.rows);
      const y = kernels.alloc(Math.max(1, run.rows) * dim * 4);
      try {
        toIndexSpace(kernels, metricOf(index.algorithm), index.exponent, run.vectors, run.rows, dim, y);
        const values = kernels.f32(y, run.rows * dim);
        for (let row = 0; row < run.rows; row++) {
          const place = firstAtLeast(held.ticks, run.ticks[row] as bigint);
          const cell = held.cells[place] as number;
          if (nearest[row] !== cell) misplacedRows++;
          (counts[cell] as number)++;
          for (let i = 0; i < dim; i++) {
            const value = values[row * dim + i] as number;
            (sums[cell * dim + i] as number) += value;
            squares += (value - (centroids[cell * dim + i] as number)) ** 2;
          }
        }
      } finally {
        kernels.free(y);
      }
      rows += run.rows;
      options.onProgress?.({ done: rows, total: source.rows });
      await breathe();
    }
  } finally {
    source.free();
  }
  const error = rows === 0 ? 0 : squares / rows;
  const shiftOfCell = Array.from(counts, (n, cell) => {
    if (n === 0 || error === 0) return 0;
    let square = 0;
    for (let i = 0; i < dim; i++)
      square += ((sums[cell * dim + i] as number) / n - (centroids[cell * dim + i] as number)) ** 2;
    return Math.sqrt(square / error);
  });
  const shift = shiftOfCell.reduce((sum, each, cell) => sum + each * (counts[cell] as number), 0);
  return { rows, misplacedRows, error, shift: rows === 0 ? 0 : shift / rows, shiftOfCell };
}
