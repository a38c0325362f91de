/** `health`: how well an index fits its data, as figures. Nothing acts on them; thresholds are the operator's. */
import { type CompressorSpec, compressorOf, type EmbeddingField } from "../objects/field.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { cellCount, isGraph, tablesOf } from "../objects/spatial-index.ts";
import type { VectorCompressor } from "../objects/vector-compressor.ts";
import type { Context } from "./context.ts";
import { cellsIn, entriesOf, openSegments } from "./segments.ts";
import type { SpaceRegistry } from "./space-registry.ts";

/** The state of one vector field's index. */
export interface TrackHealth {
  field: string;
  algorithm: string;
  dim: number;
  /** What codes are made with, such as `dreamdb.rabitq-cosine`; undefined for none. */
  compressor?: string;
  /** Cells of the index, and those that hold rows. */
  cells: number;
  usedCells: number;
  /** Rows in cells, each once however many hash tables there are; or those that a graph covers, with a vector or not. */
  indexedRows: number;
  /** Rows of the dataset that are in no cell, or that a graph does not cover: every search scans them. Rows without a value count as well. */
  unindexedRows: number;
  segments: number;
  /** Runs of rows of one cell in one segment: what a cold query may have to read, over all cells. */
  fragments: number;
  /** Fragments divided by used cells: 1 right after a rebuild of a field that fits in memory. */
  fragmentation: number;
  /** Rows of the largest cell divided by the mean of the used ones; 0 without rows in cells. */
  imbalance: number;
  /** Rows of a used cell: the least, the 10th, 50th and 90th percentile, and the most. */
  density: { least: number; p10: number; median: number; p90: number; most: number };
  /** Whether codes are made with another compressor than the schema asks for: a rebuild would change them. */
  staleCodes: boolean;
}

export interface Health {
  /** Records, without those deleted. */
  rows: number;
  /** Deleted records whose bytes are still stored here: figures of the tracks count them. */
  deletedRows: number;
  tracks: TrackHealth[];
}

/** Reads the heads of all segments; their contents are not needed. */
export async function healthOf(ctx: Context, manifest: Manifest, space: SpaceRegistry): Promise<Health> {
  const tracks: TrackHealth[] = [];
  for (const field of manifest.fields) {
    if (field.kind !== "embedding") continue;
    tracks.push(await trackHealth(ctx, manifest, field, manifest.tracks.get(field.id) as Track));
  }
  const rows = await space.count(manifest, ctx.session);
  return { rows, deletedRows: manifest.timeline.rows - rows, tracks };
}

async function trackHealth(
  { session }: Context,
  manifest: Manifest,
  field: EmbeddingField,
  track: Track,
): Promise<TrackHealth> {
  const entries = await entriesOf(session, track);
  const rowsOfCell = new Map<number, number>();
  let fragments = 0;
  for (const segment of await openSegments(session, track, entries)) {
    for (const { cell, from, to } of cellsIn(segment)) {
      fragments++;
      rowsOfCell.set(cell, (rowsOfCell.get(cell) ?? 0) + to - from);
    }
  }
  const densities = Float64Array.from(rowsOfCell.values()).sort();
  const { spatialIndex } = track;
  const rowsInCells = entries.reduce((sum, entry) => sum + entry.rows, 0);
  const indexedRows = indexedRowsOf(track);
  const at = (share: number): number => densities[Math.round(share * (densities.length - 1))] ?? 0;
  const usedCells = densities.length;
  const compressor = track.compressor?.object;
  return {
    field: field.name,
    algorithm: spatialIndex.algorithm,
    dim: field.dim,
    ...(compressor === undefined ? {} : { compressor: compressor.algorithm }),
    cells: cellCount(spatialIndex),
    usedCells,
    indexedRows,
    unindexedRows: manifest.timeline.rows - indexedRows,
    segments: entries.length,
    fragments,
    fragmentation: usedCells === 0 ? 0 : fragments / usedCells,
    imbalance: usedCells === 0 ? 0 : at(1) / (rowsInCells / usedCells),
    density: { least: at(0), p10: at(0.1), median: at(0.5), p90: at(0.9), most: at(1) },
    staleCodes: isStale(field, track),
  };
}

/** Rows in cells, each once, or those that a graph covers. */
export function indexedRowsOf({ spatialIndex, segments }: Track): number {
  return isGraph(spatialIndex) ? spatialIndex.rows : segments.rows / tablesOf(spatialIndex);
}

/** Whether rows are coded with another compressor than the schema asks for. */
export function isStale(field: EmbeddingField, track: Track): boolean {
  return indexedRowsOf(track) > 0 && !isMadeBy(track.compressor?.object, compressorOf(field));
}

/** Whether a Track's codes are those that its field asks for. */
function isMadeBy(compressor: VectorCompressor | undefined, spec: CompressorSpec | undefined): boolean {
  if (compressor === undefined || spec === undefined) return compressor === spec;
  const runs = (of: CompressorSpec): number => ("subspaces" in of ? of.subspaces : 0);
  return (
    compressor.algorithm === spec.algorithm &&
    compressor.bits === spec.bits &&
    runs(compressor) === runs(spec)
  );
}
