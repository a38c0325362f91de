/** Schemas as JSON: `{"fields": [{"name": "label", "kind": "categorical"}, …]}`. */
import { readFile } from "node:fs/promises";
import { DreamDBError, type FieldSpec, Schema } from "../index.node.ts";
import { fileError } from "./failure.ts";
import { table } from "./table.ts";
import type { Style } from "./terminal.ts";

export type Kind = FieldSpec["kind"];

/** A field as a schema file holds it; what is left out gets the library's default. */
export interface Declaration {
  name: string;
  kind: Kind;
  required?: boolean;
  mime?: string;
  dim?: number;
  algorithm?: string;
  lshBits?: number;
  lshTables?: number;
  rerank?: boolean;
  index?: boolean;
}

const MEDIA = ["mime", "required"];
const SCALAR = ["required", "index"];

/** The builder's method for each kind, and the options that kind may have. */
const KINDS: Record<Kind, { method: keyof Schema & `add${string}`; options: readonly string[] }> = {
  image: { method: "addImage", options: MEDIA },
  video: { method: "addVideo", options: MEDIA },
  audio: { method: "addAudio", options: MEDIA },
  embedding: {
    method: "addEmbedding",
    options: ["dim", "algorithm", "lshBits", "lshTables", "rerank", "required"],
  },
  categorical: { method: "addScalarCategorical", options: SCALAR },
  bool: { method: "addScalarBool", options: SCALAR },
  int: { method: "addScalarInt", options: SCALAR },
  float: { method: "addScalarFloat", options: SCALAR },
  string: { method: "addScalarString", options: SCALAR },
  timestamp: { method: "addScalarTimestamp", options: SCALAR },
};

/** Errors: `NotFound`, `InvalidArgument` for a file that isn't JSON, `SchemaViolation` for a schema that can't be. */
export async function readSchema(path: string): Promise<Schema> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw fileError(error, path);
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new DreamDBError("InvalidArgument", `not JSON: ${(cause as Error).message}`, {
      field: "schema",
      found: path,
      cause,
    });
  }
  const fields = (json as { fields?: unknown } | null)?.fields;
  if (!Array.isArray(fields)) throw violation("fields", fields, '{"fields": [{"name": …, "kind": …}, …]}');
  return schemaOf(fields);
}

export function schemaOf(declarations: readonly unknown[]): Schema {
  return declarations.reduce<Schema>(addField, new Schema());
}

function addField(schema: Schema, declaration: unknown, index: number): Schema {
  if (typeof declaration !== "object" || declaration === null)
    throw violation(`fields[${index}]`, declaration, "an object");
  const { name, kind, ...options } = declaration as Declaration;
  if (typeof kind !== "string" || !Object.hasOwn(KINDS, kind))
    throw violation(`fields[${index}].kind`, kind, Object.keys(KINDS).join(", "));
  const { method, options: known } = KINDS[kind];
  for (const option of Object.keys(options)) {
    if (!known.includes(option))
      throw violation(`fields[${index}].${option}`, option, `${kind} fields have ${known.join(", ")}`);
  }
  const add = schema[method] as (name: string, options: object) => unknown;
  return add.call(schema, name, options) as Schema;
}

/** The inverse of `schemaOf`: what a schema file for these fields says. */
export function declarationsOf(fields: readonly FieldSpec[]): Declaration[] {
  return fields.map((field) => {
    const { name, kind, required } = field;
    if ("mime" in field) return { name, kind, mime: field.mime, required };
    if (field.kind !== "embedding") return { name, kind, required, ...(field.index ? { index: true } : {}) };
    const { dim, algorithm, lshBits, lshTables, rerank } = field;
    return {
      name,
      kind,
      dim,
      algorithm,
      ...(algorithm === "dreamdb.lsh-cosine" ? { lshBits } : {}),
      ...(lshTables === undefined ? {} : { lshTables }),
      rerank,
      required,
    };
  });
}

/** Errors: `SchemaViolation` when a dataset's fields are not the ones that --schema asks for. */
export function checkSameFields(stored: readonly FieldSpec[], wanted: readonly FieldSpec[]): void {
  const have = new Map(declarationsOf(stored).map((field) => [field.name, JSON.stringify(field)]));
  const want = new Map(declarationsOf(wanted).map((field) => [field.name, JSON.stringify(field)]));
  for (const name of new Set([...have.keys(), ...want.keys()])) {
    if (have.get(name) === want.get(name)) continue;
    throw new DreamDBError("SchemaViolation", "the dataset exists with another schema than --schema", {
      field: name,
      found: have.get(name) ?? "no such field",
      expected: want.get(name) ?? "no such field",
    });
  }
}

export function schemaTable(fields: readonly FieldSpec[], style: Style): string {
  const columns = [{ title: "field" }, { title: "kind" }, { title: "required" }, { title: "details" }];
  return table(
    columns,
    fields.map((field) => [field.name, field.kind, field.required ? "yes" : "no", detailsOf(field)]),
    style,
  );
}

function detailsOf(field: FieldSpec): string {
  if ("mime" in field) return field.mime;
  if (field.kind !== "embedding") return field.index ? "index" : "";
  const bits = field.algorithm === "dreamdb.lsh-cosine" ? `, ${field.lshBits} bits` : "";
  const tables = field.lshTables === undefined ? "" : `, ${field.lshTables} tables`;
  return `dim ${field.dim}, ${field.algorithm}${bits}${tables}`;
}

function violation(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("SchemaViolation", "this schema can't be", { field, found, expected });
}
