/** A field of a schema, as people declare it and as a Manifest stores it (spec/0001-data-model.md §6). */
import { type Modality, parseModality } from "../core/modality.ts";
import { DreamDBError } from "../errors.ts";
import { corrupt, Shape } from "./shape.ts";
import { MAX_DIM, MAX_LSH_BITS } from "./spatial-index.ts";

/** What a field may be called; no name that JavaScript gives a meaning of its own, such as `__proto__`. */
export const FIELD_NAME = /^[A-Za-z][A-Za-z0-9_.-]{0,127}$/;

export type MediaKind = "image" | "video" | "audio";
export type ScalarKind = "categorical" | "bool" | "int" | "float" | "string" | "timestamp";
export type Algorithm = "dreamdb.lsh-cosine" | "dreamdb.ivf-cosine";

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
  /** Hyperplanes of `lsh-cosine`. */
  lshBits: number;
  /** Whether cells carry the vectors too, so that an exact re-rank costs no further round trip. */
  rerank: boolean;
}

export interface ScalarField extends FieldBase {
  kind: ScalarKind;
  /** Whether each batch carries an index of the values; left out when not. */
  index?: true;
}

export type FieldSpec = MediaField | EmbeddingField | ScalarField;

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

export function fieldToCbor(field: FieldSpec): unknown {
  const shared = { id: field.id, name: field.name, modality: modalityOf(field), required: field.required };
  if (!("dim" in field)) return "index" in field ? { ...shared, index: true } : shared;
  const { algorithm, lshBits, rerank } = field;
  return { ...shared, algorithm, rerank, ...(algorithm === "dreamdb.lsh-cosine" ? { bits: lshBits } : {}) };
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
  const algorithm = shape.text("algorithm");
  if (algorithm !== "dreamdb.lsh-cosine" && algorithm !== "dreamdb.ivf-cosine") {
    throw new DreamDBError(
      "UnsupportedVersion",
      "a field with an index this version does not know; upgrade the library",
      {
        field: "field.algorithm",
        found: algorithm,
        expected: "dreamdb.lsh-cosine or dreamdb.ivf-cosine",
      },
    );
  }
  const lshBits = algorithm === "dreamdb.lsh-cosine" ? shape.uint("bits", MAX_LSH_BITS, 1) : 0;
  return { ...base, kind: "embedding", dim, algorithm, lshBits, rerank: shape.flag("rerank") };
}
