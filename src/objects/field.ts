/** A field of a schema, as people declare it and as a Manifest stores it (spec/0001-data-model.md §6). */
import { type Modality, parseModality } from "../core/modality.ts";
import { DreamDBError } from "../errors.ts";
import { METRICS, metricOf } from "./metric.ts";
import { corrupt, Shape } from "./shape.ts";
import { type Algorithm, MAX_DIM, MAX_LSH_BITS } from "./spatial-index.ts";
import {
  MAX_RABITQ_BITS,
  maxSubspaces,
  type PqCompressor,
  type RabitqCompressor,
} from "./vector-compressor.ts";

export type { Algorithm } from "./spatial-index.ts";

/** What a field may be called; no name that JavaScript gives a meaning of its own, such as `__proto__`. */
export const FIELD_NAME = /^[A-Za-z][A-Za-z0-9_.-]{0,127}$/;

export type MediaKind = "image" | "video" | "audio";
export type ScalarKind = "categorical" | "bool" | "int" | "float" | "string" | "timestamp";

/** The codes that a field's cells are to carry: what a vector compressor is made from. */
export type CompressorSpec =
  | Pick<RabitqCompressor, "algorithm" | "bits">
  | Pick<PqCompressor, "algorithm" | "subspaces" | "bits">;

/** Bits a component of the codes that a built index has when the schema does not say. */
export const DEFAULT_RABITQ_BITS = 4;
/** Bits a run of PQ codes. */
export const DEFAULT_PQ_BITS = 8;

interface FieldBase {
  /** Given once and never reused, so that a rename or a drop leaves stored columns readable. */
  id: number;
  name: string;
  required: boolean;
}

export interface MediaField extends FieldBase {
  kind: MediaKind;
  /** The format, such as "jpeg". */
  mime: string;
}

export interface EmbeddingField extends FieldBase {
  kind: "embedding";
  dim: number;
  algorithm: Algorithm;
  /** Hyperplanes of `lsh-cosine`, in each hash table. */
  lshBits: number;
  /** Hash tables of `lsh-cosine`, when there are several. Not stored with the field: the index says. */
  lshTables?: number;
  /** Whether cells carry the vectors too, so that an exact re-rank costs no further round trip. */
  rerank: boolean;
  /** Left out: what the library thinks best, see `compressorOf`. */
  compressor?: CompressorSpec | "none";
}

export interface ScalarField extends FieldBase {
  kind: ScalarKind;
  /** Whether each batch carries an index of the values; left out when not. */
  index?: true;
}

export type FieldSpec = MediaField | EmbeddingField | ScalarField;

const ALGORITHMS: readonly Algorithm[] = [
  "dreamdb.lsh-cosine",
  "dreamdb.ivf-cosine",
  "dreamdb.ivf-dot",
  "dreamdb.ivf-l2",
  "dreamdb.imi-cosine",
  "dreamdb.vamana-cosine",
  "dreamdb.vamana-l2",
];
const SCALARS = new Set<string>(["categorical", "bool", "int", "float", "string", "timestamp"]);

export function modalityOf(field: FieldSpec): string {
  switch (field.kind) {
    case "image":
    case "video":
    case "audio":
      return `${field.kind}.${field.mime}`;
    case "embedding":
      return `vector.f32;dim=${field.dim}`;
    default:
      return `scalar.${field.kind}`;
  }
}

/** The codes that a built index of this field gets; undefined for none. */
export function compressorOf({ algorithm, compressor }: EmbeddingField): CompressorSpec | undefined {
  if (!isCompressible(algorithm) || compressor === "none") return undefined;
  return compressor ?? { algorithm: `dreamdb.rabitq-${metricOf(algorithm)}`, bits: DEFAULT_RABITQ_BITS };
}

/** Codes are relative to the centroid of a cell; the cells of `lsh-cosine` have none, and graphs have codes of their own. */
export function isCompressible(algorithm: Algorithm): boolean {
  return algorithm !== "dreamdb.lsh-cosine" && !algorithm.startsWith("dreamdb.vamana-");
}

export function fieldToCbor(field: FieldSpec): unknown {
  const shared = { id: field.id, name: field.name, modality: modalityOf(field), required: field.required };
  if (!("dim" in field)) return "index" in field ? { ...shared, index: true } : shared;
  const { algorithm, lshBits, rerank, compressor } = field;
  return {
    ...shared,
    algorithm,
    rerank,
    ...(algorithm === "dreamdb.lsh-cosine" ? { bits: lshBits } : {}),
    ...(compressor === undefined ? {} : { compressor }),
  };
}

export function fieldFromCbor(value: unknown): FieldSpec {
  const shape = new Shape(value, "field");
  const base = { id: shape.uint("id"), name: shape.text("name"), required: shape.flag("required") };
  if (!FIELD_NAME.test(base.name))
    throw corrupt("field.name", base.name, "a letter, then letters, digits, '_', '.' or '-'");
  const modality = storedModality(shape.text("modality"));
  const field = fieldOf(shape, base, modality);
  // A tag that says more than this version reads, such as another parameter.
  if (field === undefined || modalityOf(field) !== shape.text("modality"))
    throw unknownModality(shape.text("modality"));
  return field;
}

function fieldOf(shape: Shape, base: FieldBase, { path, parameters }: Modality): FieldSpec | undefined {
  const [family, kind = ""] = path;
  if (family === "image" || family === "video" || family === "audio")
    return { ...base, kind: family, mime: kind };
  if (family === "scalar" && SCALARS.has(kind))
    return { ...base, kind: kind as ScalarKind, ...(isIndexed(shape) ? { index: true } : {}) };
  if (family === "vector" && kind === "f32")
    return embeddingFromCbor(shape, base, parameters.get("dim") ?? "");
  return undefined;
}

/** The key is there just for fields with an index. */
function isIndexed(shape: Shape): boolean {
  if (!shape.has("index")) return false;
  if (shape.flag("index")) return true;
  throw corrupt("field.index", false, "true, or no such key");
}

function storedModality(tag: string): Modality {
  try {
    return parseModality(tag);
  } catch (error) {
    throw new DreamDBError("Corrupt", "not a modality tag", {
      field: "field.modality",
      found: tag,
      cause: error,
    });
  }
}

function unknownModality(found: string): DreamDBError {
  return new DreamDBError(
    "UnsupportedVersion",
    "a field of a kind this version does not know; upgrade the library",
    {
      field: "field.modality",
      found,
      expected: "image, video, audio, vector.f32 or a scalar",
    },
  );
}

function embeddingFromCbor(shape: Shape, base: FieldBase, dimension: string): EmbeddingField {
  const dim = /^[1-9][0-9]{0,5}$/.test(dimension) ? Number(dimension) : 0;
  if (dim < 1 || dim > MAX_DIM)
    throw corrupt("field.modality", dimension, `a dimension from 1 to ${MAX_DIM}`);
  const algorithm = algorithmFromCbor(shape.text("algorithm"));
  const lshBits = algorithm === "dreamdb.lsh-cosine" ? shape.uint("bits", MAX_LSH_BITS, 1) : 0;
  const rerank = shape.flag("rerank");
  const field: EmbeddingField = { ...base, kind: "embedding", dim, algorithm, lshBits, rerank };
  if (shape.has("compressor")) field.compressor = compressorFromCbor(shape.value("compressor"), field);
  return field;
}

function algorithmFromCbor(found: string): Algorithm {
  const known = ALGORITHMS.find((algorithm) => algorithm === found);
  if (known !== undefined) return known;
  throw new DreamDBError(
    "UnsupportedVersion",
    "a field with an index this version does not know; upgrade the library",
    { field: "field.algorithm", found, expected: ALGORITHMS.join(", ") },
  );
}

function compressorFromCbor(value: unknown, field: EmbeddingField): CompressorSpec | "none" {
  if (!isCompressible(field.algorithm))
    throw corrupt("field.compressor", value, `none with ${field.algorithm}`);
  if (value === "none") return value;
  const shape = new Shape(value, "field.compressor");
  const found = shape.text("algorithm");
  const metric = METRICS.find((name) => found === `dreamdb.rabitq-${name}` || found === `dreamdb.pq-${name}`);
  if (metric === undefined) {
    throw new DreamDBError(
      "UnsupportedVersion",
      "a field with a compressor this version does not know; upgrade the library",
      {
        field: "field.compressor.algorithm",
        found,
        expected: "dreamdb.rabitq-… or dreamdb.pq-…, of cosine, dot or l2",
      },
    );
  }
  if (metric !== metricOf(field.algorithm))
    throw corrupt("field.compressor.algorithm", found, `one of ${metricOf(field.algorithm)}`);
  if (found === `dreamdb.rabitq-${metric}`)
    return { algorithm: `dreamdb.rabitq-${metric}`, bits: shape.uint("bits", MAX_RABITQ_BITS, 1) };
  const bits = shape.uint("bits");
  if (bits !== 4 && bits !== 8) throw corrupt("field.compressor.bits", bits, "4 or 8");
  const subspaces = shape.uint("subspaces", maxSubspaces(field.dim), 1);
  return { algorithm: `dreamdb.pq-${metric}`, subspaces, bits };
}
