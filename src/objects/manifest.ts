/** A Manifest: one immutable state of a dataset, and a node of the version DAG (spec/0001-data-model.md §5). */
import { type Address, addressFromCbor, addressOf, addressToCbor } from "../core/address.ts";
import { encodeCbor } from "../core/cbor.ts";
import { tickToCbor } from "../core/time.ts";
import { type FieldSpec, fieldFromCbor, fieldToCbor } from "./field.ts";
import {
  type BatchEntry,
  batchCodec,
  type IndexRoot,
  indexFromCbor,
  indexToCbor,
  type SegmentEntry,
  segmentCodec,
} from "./index-tree.ts";
import { metricOf } from "./metric.ts";
import type { SegmentCoding } from "./segment.ts";
import { byFieldId, corrupt, decodeObject, FORMAT_VERSION, Shape } from "./shape.ts";
import {
  cellCount,
  decodeSpatialIndex,
  encodeSpatialIndex,
  isGraph,
  isTrained,
  type SpatialIndex,
  tablesOf,
} from "./spatial-index.ts";
import {
  codeRowBytes,
  decodeVectorCompressor,
  encodeVectorCompressor,
  type VectorCompressor,
} from "./vector-compressor.ts";

const KIND = "dreamdb.manifest";
/** A byte a cell, and some. */
const MAX_LINEAGE_BYTES = 1 << 24;

export interface Track {
  /** The address of the SpatialIndex, and the object itself, which the Manifest carries inline. */
  address: Address;
  spatialIndex: SpatialIndex;
  /** What the segments' codes are made with, which the Manifest carries inline too; only with a trained index. */
  compressor?: TrackCompressor;
  /** Which rows count of segments that name an earlier index; only where there may be such segments. */
  lineage?: LineageRef;
  /** Empty until the index is built: then the columns themselves are scanned. */
  segments: IndexRoot<SegmentEntry>;
}

/** A CellLineage and its length in bytes. */
export interface LineageRef {
  address: Address;
  bytes: number;
}

export interface TrackCompressor {
  address: Address;
  object: VectorCompressor;
}

export interface Manifest {
  genesis: Address;
  parents: Address[];
  /** One more than the highest of the parents', 0 for the first. */
  seq: number;
  /** The writer's clock as a tick; a hint for people, never trusted. */
  ts: bigint;
  writer: string;
  /** The operation that published it: a writer that lost a reply finds its own here. */
  opId: Uint8Array;
  /** The verb, such as "append". */
  op: string;
  fields: FieldSpec[];
  /** The id the next new field will get. */
  nextFieldId: number;
  /** One past the highest anchor given automatically, 0 when there is none. */
  autoHigh: bigint;
  /** 0 on the trunk; automatic anchors are ≡ lane modulo 4096. */
  lane: number;
  timeline: IndexRoot<BatchEntry>;
  /** One for each vector field, by field id. */
  tracks: Map<number, Track>;
}

export function encodeManifest(manifest: Manifest): Uint8Array {
  return encodeCbor({
    kind: KIND,
    version: FORMAT_VERSION,
    genesis: addressToCbor(manifest.genesis),
    parents: manifest.parents.map(addressToCbor),
    seq: manifest.seq,
    ts: tickToCbor(manifest.ts),
    writer: manifest.writer,
    opId: manifest.opId,
    op: manifest.op,
    schema: { fields: manifest.fields.map(fieldToCbor), nextId: manifest.nextFieldId },
    rows: manifest.timeline.rows,
    autoHigh: manifest.autoHigh,
    lane: manifest.lane,
    timeline: indexToCbor(manifest.timeline, batchCodec),
    tracks: new Map([...manifest.tracks].map(([id, track]) => [id, trackToCbor(track)])),
  });
}

export function decodeManifest(bytes: Uint8Array): Manifest {
  const shape = decodeObject(bytes, KIND);
  const tracks = byFieldId(shape.map("tracks"), "manifest.tracks", trackFromCbor);
  const schema = new Shape(shape.map("schema"), "manifest.schema");
  const fields = schema.array("fields").map((field) => withTables(fieldFromCbor(field), tracks));
  const manifest: Manifest = {
    genesis: shape.address("genesis"),
    parents: shape.array("parents").map((parent, i) => addressFromCbor(parent, `manifest.parents[${i}]`)),
    seq: shape.uint("seq"),
    ts: shape.tick("ts"),
    writer: shape.text("writer"),
    opId: shape.bytes("opId", 16),
    op: shape.text("op"),
    fields,
    nextFieldId: schema.uint("nextId"),
    autoHigh: shape.u64("autoHigh"),
    lane: shape.uint("lane", 4095),
    timeline: indexFromCbor(shape.value("timeline"), batchCodec),
    tracks,
  };
  if (shape.uint("rows") !== manifest.timeline.rows)
    throw corrupt("manifest.rows", shape.uint("rows"), manifest.timeline.rows);
  if (new Set(manifest.parents).size !== manifest.parents.length)
    throw corrupt("manifest.parents", "a repeated parent", "different ones");
  if ((manifest.seq === 0) !== (manifest.parents.length === 0))
    throw corrupt("manifest.seq", manifest.seq, "0 just for the first");
  checkFields(manifest);
  return manifest;
}

/** A field with what only its index says. */
function withTables(field: FieldSpec, tracks: ReadonlyMap<number, Track>): FieldSpec {
  const index = tracks.get(field.id)?.spatialIndex;
  if (field.kind !== "embedding" || index?.algorithm !== "dreamdb.lsh-cosine" || index.tables === 1)
    return field;
  return { ...field, lshTables: index.tables };
}

/** Ids and names are unique, ids have been given, and exactly the vector fields have a Track of their dimension. */
function checkFields({ fields, nextFieldId, tracks, timeline }: Manifest): void {
  if (new Set(fields.map((field) => field.name)).size !== fields.length)
    throw corrupt("manifest.schema", "a repeated name", "unique names");
  if (new Set(fields.map((field) => field.id)).size !== fields.length)
    throw corrupt("manifest.schema", "a repeated id", "unique ids");
  if (fields.some((field) => field.id >= nextFieldId))
    throw corrupt("manifest.schema.nextId", nextFieldId, "above every id");
  const vectors = fields.filter((field) => field.kind === "embedding");
  for (const field of vectors) {
    const index = tracks.get(field.id)?.spatialIndex;
    const sameBits = index?.algorithm !== "dreamdb.lsh-cosine" || index.bits === field.lshBits;
    if (index?.dim !== field.dim || index.algorithm !== field.algorithm || !sameBits) {
      throw corrupt(
        "manifest.tracks",
        `no ${field.algorithm} track of dimension ${field.dim} for "${field.name}"`,
        "one for each vector field",
      );
    }
  }
  for (const { spatialIndex } of tracks.values()) {
    if (isGraph(spatialIndex) && spatialIndex.rows > timeline.rows)
      throw corrupt(
        "track.spatialIndex.rows",
        spatialIndex.rows,
        `at most the ${timeline.rows} of the timeline`,
      );
  }
  if (tracks.size !== vectors.length) throw corrupt("manifest.tracks", tracks.size, vectors.length);
}

/** What the segments of a Track are made with, which their heads have to agree with. */
export function codingOf({ address, spatialIndex, compressor, lineage }: Track): SegmentCoding {
  const { dim } = spatialIndex;
  const tables = tablesOf(spatialIndex);
  const coding: SegmentCoding = { spatialIndex: address, dim, cells: cellCount(spatialIndex), tables };
  if (lineage !== undefined) coding.hasEarlier = true;
  if (compressor === undefined) return coding;
  const rowBytes = codeRowBytes(compressor.object);
  return { ...coding, compressor: { address: compressor.address, rowBytes } };
}

function trackToCbor({ address, spatialIndex, compressor, lineage, segments }: Track): unknown {
  const track = {
    spatialIndex: addressToCbor(address),
    inline: encodeSpatialIndex(spatialIndex),
    segments: indexToCbor(segments, segmentCodec),
    ...(lineage === undefined ? {} : { lineage: [addressToCbor(lineage.address), lineage.bytes] }),
  };
  if (compressor === undefined) return track;
  return {
    ...track,
    compressor: addressToCbor(compressor.address),
    compressorInline: encodeVectorCompressor(compressor.object),
  };
}

function trackFromCbor(value: unknown): Track {
  const shape = new Shape(value, "track");
  const inline = shape.bytes("inline");
  const address = shape.address("spatialIndex");
  if (addressOf(inline) !== address) throw corrupt("track.inline", addressOf(inline), address);
  const track: Track = {
    address,
    spatialIndex: decodeSpatialIndex(inline),
    segments: indexFromCbor(shape.value("segments"), segmentCodec),
  };
  const { spatialIndex, segments } = track;
  if (!isTrained(spatialIndex) && !("tables" in spatialIndex) && segments.rows > 0)
    throw corrupt("track.segments.rows", segments.rows, "0 before the index is built, and with a graph");
  if (shape.has("lineage")) track.lineage = lineageFromCbor(shape, spatialIndex);
  if (shape.has("compressor") || shape.has("compressorInline"))
    track.compressor = compressorFromCbor(shape, spatialIndex);
  return track;
}

function lineageFromCbor(shape: Shape, index: SpatialIndex): LineageRef {
  const ref = new Shape(shape.value("lineage"), "track.lineage").exactly(2);
  if (!isTrained(index) || index.algorithm === "dreamdb.imi-cosine")
    throw corrupt("track.lineage", index.algorithm, "none without a centroid for each cell");
  return { address: ref.address(0), bytes: ref.uint(1, MAX_LINEAGE_BYTES, 1) };
}

/** Made for the vectors of the index, and for its metric. */
function compressorFromCbor(shape: Shape, index: SpatialIndex): TrackCompressor {
  const inline = shape.bytes("compressorInline");
  const address = shape.address("compressor");
  if (addressOf(inline) !== address) throw corrupt("track.compressorInline", addressOf(inline), address);
  const object = decodeVectorCompressor(inline);
  if (!isTrained(index)) throw corrupt("track.compressor", object.algorithm, "none without centroids");
  if (object.dim !== index.dim) throw corrupt("track.compressor.dim", object.dim, index.dim);
  if (metricOf(object.algorithm) !== metricOf(index.algorithm))
    throw corrupt("track.compressor.algorithm", object.algorithm, `one of ${metricOf(index.algorithm)}`);
  return { address, object };
}
