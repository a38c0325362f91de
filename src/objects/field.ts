/** A field of a schema, as people declare it and as a Manifest stores it (spec/0001-data-model.md §6). */
import { parseModality } from "../core/modality.ts";
import { corrupt, Shape } from "./shape.ts";

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
  if (field.kind !== "embedding") return shared;
  const { algorithm, lshBits, rerank } = field;
  return { ...shared, algorithm, rerank, ...(algorithm === "dreamdb.lsh-cosine" ? { bits: lshBits } : {}) };
}

export function fieldFromCbor(value: unknown): FieldSpec {
  const shape = new Shape(value, "field");
  const base = { id: shape.uint("id"), name: shape.text("name"), required: shape.flag("required") };
  const modality = parseModality(shape.text("modality"), "field.modality");
  const [family = "", kind = ""] = modality.path;
  if (family === "image" || family === "video" || family === "audio") return { ...base, kind: family, mime: kind };
  if (family === "scalar" && SCALARS.has(kind)) return { ...base, kind: kind as ScalarKind };
  if (family === "vector" && kind === "f32") return embeddingFromCbor(shape, base, Number(modality.parameters.get("dim")));
  throw corrupt("field.modality", shape.text("modality"), "a modality this version knows");
}

function embeddingFromCbor(shape: Shape, base: FieldBase, dim: number): EmbeddingField {
  const algorithm = shape.text("algorithm");
  if (algorithm !== "dreamdb.lsh-cosine" && algorithm !== "dreamdb.ivf-cosine") {
    throw corrupt("field.algorithm", algorithm, "dreamdb.lsh-cosine or dreamdb.ivf-cosine");
  }
  if (!Number.isSafeInteger(dim) || dim < 1) throw corrupt("field.modality", dim, "a positive dimension");
  const lshBits = shape.has("bits") ? shape.uint("bits", 24) : 0;
  return { ...base, kind: "embedding", dim, algorithm, lshBits, rerank: shape.flag("rerank") };
}
