/** What each field of a state is, as the Manifest alone tells: nothing is read for it. */
import { type FieldSpec, modalityOf } from "../objects/field.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { cellCount, isGraph, isTrained, tablesOf } from "../objects/spatial-index.ts";

/** How a field can be searched. */
export interface TrackIndex {
  /** `cells` of hyperplanes or centroids, a `graph`; `none` until one is built: every row is scanned; `values` of a scalar. */
  kind: "cells" | "graph" | "none" | "values";
  /** Rows it covers; searches scan the others. */
  rows: number;
  /** Cells, of all hash tables. */
  cells?: number;
  /** What its codes are made with, such as `dreamdb.rabitq-cosine`. */
  compressor?: string;
}

/** A field, and how much of it there is. */
export interface TrackInfo {
  name: string;
  kind: FieldSpec["kind"];
  /** Such as `image.jpeg`, `vector.f32;dim=512` or `scalar.categorical`. */
  modality: string;
  required: boolean;
  /** Records of the state, those without a value here and those deleted but not yet compacted away included. */
  rows: number;
  /** Of media: the declared format. */
  mime?: string;
  /** Of vectors. */
  dim?: number;
  algorithm?: string;
  /** Of vectors, and of scalars that have one. */
  index?: TrackIndex;
}

export function tracksOf(manifest: Manifest): TrackInfo[] {
  const { rows } = manifest.timeline;
  return manifest.fields.map((field) => {
    const { name, kind, required } = field;
    const info: TrackInfo = { name, kind, modality: modalityOf(field), required, rows };
    if ("mime" in field) return { ...info, mime: field.mime };
    if (!("dim" in field)) return "index" in field ? { ...info, index: { kind: "values", rows } } : info;
    const { dim, algorithm } = field;
    const track = manifest.tracks.get(field.id);
    return { ...info, dim, algorithm, ...(track === undefined ? {} : { index: indexOf(track) }) };
  });
}

function indexOf({ spatialIndex, segments, compressor }: Track): TrackIndex {
  if (isGraph(spatialIndex)) return { kind: "graph", rows: spatialIndex.rows };
  const rows = segments.rows / tablesOf(spatialIndex);
  if (!isTrained(spatialIndex) && !("tables" in spatialIndex)) return { kind: "none", rows };
  const codes = compressor === undefined ? {} : { compressor: compressor.object.algorithm };
  return { kind: "cells", rows, cells: cellCount(spatialIndex), ...codes };
}
