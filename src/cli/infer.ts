/** Guessing a schema from rows. */
import { DreamDBError } from "../index.node.ts";
import type { Declaration } from "./declaration.ts";
import { formatOf, isMedia, readMedia } from "./media.ts";
import type { Row } from "./source.ts";
import { parseInteger } from "./value.ts";

export interface InferOptions {
  base: string;
  anchorField: string;
  /** What text becomes. */
  text: "string" | "categorical";
}

/**
 * A field for each name that occurs: arrays of numbers become embeddings, whole numbers ints, numbers floats,
 * media what their bytes begin like. Required are those that every row has.
 * Errors: `SchemaViolation` naming the row, for values that no one kind fits.
 */
export async function inferFields(rows: readonly Row[], options: InferOptions): Promise<Declaration[]> {
  const names = new Set(rows.flatMap((row) => Object.keys(row.values)));
  names.delete(options.anchorField);
  const fields: Declaration[] = [];
  for (const name of names) {
    const present = rows.filter(
      ({ values }) => Object.hasOwn(values, name) && values[name] !== null && values[name] !== undefined,
    );
    if (present.length === 0)
      throw unclear(name, `nothing in the first ${rows.length} rows`, "a value, or --schema");
    const kind = await kindOf(name, present, options);
    fields.push({ name, ...kind, required: present.length === rows.length });
  }
  return fields;
}

async function kindOf(
  name: string,
  rows: readonly Row[],
  options: InferOptions,
): Promise<Omit<Declaration, "name">> {
  const kinds = rows.map(({ values, where }) => plainKindOf(name, values[name], where));
  const kind = kinds.reduce((common, next, i) => {
    const both = commonKind(common, next);
    if (both !== undefined) return both;
    throw unclear(name, `${next} at ${rows[i]?.where}, ${common} before`, "values of one kind, or --schema");
  });
  switch (kind) {
    case "media":
      return mediaKindOf(name, rows, options);
    case "vector":
      return { kind: "embedding", dim: dimOf(name, rows), algorithm: "dreamdb.ivf-cosine" };
    case "text":
    case "digits":
      return { kind: options.text };
    default:
      return { kind };
  }
}

/** "digits" is text that could stand for an integer: it does where the field's other values are integers. */
type PlainKind = "text" | "digits" | "bool" | "int" | "float" | "vector" | "media";

const WIDER: Record<string, PlainKind> = { "int float": "float", "digits int": "int", "digits text": "text" };

function commonKind(a: PlainKind, b: PlainKind): PlainKind | undefined {
  return a === b ? a : (WIDER[`${a} ${b}`] ?? WIDER[`${b} ${a}`]);
}

function plainKindOf(name: string, value: unknown, where: string): PlainKind {
  if (typeof value === "string") return parseInteger(value) === undefined ? "text" : "digits";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float";
  if (Array.isArray(value) && value.length > 0 && value.every((part) => typeof part === "number"))
    return "vector";
  if (isMedia(value)) return "media";
  const found = Array.isArray(value) ? "an array of other things than numbers" : value;
  throw unclear(name, found, `a value DreamDB can hold, at ${where}`);
}

function dimOf(name: string, rows: readonly Row[]): number {
  const dim = ((rows[0] as Row).values[name] as unknown[]).length;
  const odd = rows.find(({ values }) => (values[name] as unknown[]).length !== dim);
  if (odd === undefined) return dim;
  throw unclear(
    name,
    `${(odd.values[name] as unknown[]).length} numbers at ${odd.where}`,
    `${dim} numbers, as in the rows before`,
  );
}

/** One look at the first is enough: later ones are checked as they are read. */
async function mediaKindOf(
  name: string,
  rows: readonly Row[],
  options: InferOptions,
): Promise<Omit<Declaration, "name">> {
  const { values, where } = rows[0] as Row;
  const format = formatOf(await readMedia(values[name], options.base, where, name));
  if (format === undefined)
    throw unclear(
      name,
      `bytes of an unknown format at ${where}`,
      "a known image, audio or video format, or --schema",
    );
  return format;
}

function unclear(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("SchemaViolation", "the schema can't be inferred", { field, found, expected });
}
