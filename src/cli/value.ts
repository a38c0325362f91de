/** From what sources hold (JSON values, CSV text, Arrow cells) to what the library takes. */
import { DreamDBError, type FieldSpec } from "../index.node.ts";
import { checkFormat, readMedia } from "./media.ts";

const MAX_I64 = 2n ** 63n - 1n;
const INTEGER = /^[+-]?\d{1,20}$/;
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const RFC_3339 = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/;

type Parsed = string | number | bigint | boolean | number[];

/** What each kind may look like, for messages. */
const EXPECTED: Record<FieldSpec["kind"], string> = {
  image: "image bytes",
  video: "video bytes",
  audio: "audio bytes",
  embedding: "an array of finite numbers",
  categorical: "text",
  string: "text",
  bool: "true or false",
  int: "an integer of 64 bits; beyond 2^53 as text, since JSON numbers lose digits",
  float: "a finite number",
  timestamp: "Unix nanoseconds as text, or a time such as 2026-03-01T12:00:00Z",
};

/** Reads text as a value of the field's kind; undefined when it isn't one. */
export function parseText(field: FieldSpec, text: string): Parsed | undefined {
  switch (field.kind) {
    case "categorical":
    case "string":
      return text;
    case "bool":
      return /^true$/i.test(text) ? true : /^false$/i.test(text) ? false : undefined;
    case "int":
      return parseInteger(text);
    case "float":
      return DECIMAL.test(text) && Number.isFinite(Number(text)) ? Number(text) : undefined;
    case "timestamp":
      return parseInteger(text) ?? parseTime(text);
    case "embedding":
      return parseNumbers(text);
    default:
      return undefined;
  }
}

/** A 64-bit integer in digits, or undefined. */
export function parseInteger(text: string): bigint | undefined {
  if (!INTEGER.test(text)) return undefined;
  const value = BigInt(text.startsWith("+") ? text.slice(1) : text);
  return value >= -MAX_I64 - 1n && value <= MAX_I64 ? value : undefined;
}

/** RFC 3339, which Date reads to the millisecond only; the fraction is added by hand. */
export function parseTime(text: string): bigint | undefined {
  const [, day, time, fraction = "", zone] = RFC_3339.exec(text) ?? [];
  const ms = Date.parse(`${day}T${time}${zone?.toUpperCase()}`);
  // Date takes February 30 for March 2.
  if (Number.isNaN(ms) || new Date(`${day}T00:00:00Z`).toISOString().slice(0, 10) !== day) return undefined;
  return BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, "0"));
}

function parseNumbers(text: string): number[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The value of `field` that `raw` stands for, or undefined for none.
 * @param base folder that media files lie below
 * @param where the row, for messages
 * Errors: `SchemaViolation` naming row and field.
 */
export async function toValue(field: FieldSpec, raw: unknown, base: string, where: string): Promise<unknown> {
  if (raw === undefined || raw === null) {
    if (!field.required) return undefined;
    throw violation(`${where} lacks a required field`, field, raw, EXPECTED[field.kind]);
  }
  if (field.kind === "image" || field.kind === "video" || field.kind === "audio") {
    const bytes = await readMedia(raw, base, where, field.name);
    checkFormat(field, bytes, where);
    return bytes;
  }
  const value = typeof raw === "string" ? parseText(field, raw) : raw;
  if (field.kind === "embedding") checkVector(field.name, field.dim, value ?? raw, where);
  else if (!isOfKind(field, value))
    throw violation(`${where} does not fit the schema`, field, raw, EXPECTED[field.kind]);
  return value;
}

function isOfKind(field: FieldSpec, value: unknown): boolean {
  switch (field.kind) {
    case "bool":
      return typeof value === "boolean";
    case "float":
      return typeof value === "number" && Number.isFinite(value);
    case "int":
    case "timestamp":
      return typeof value === "bigint" || Number.isSafeInteger(value);
    default:
      return typeof value === "string";
  }
}

function checkVector(name: string, dim: number, value: unknown, where: string): void {
  const found = whyNoVector(value, dim);
  if (found === undefined) return;
  throw new DreamDBError("SchemaViolation", `${where} does not fit the schema`, {
    field: name,
    found,
    expected: `${dim} finite numbers`,
    committed: "no",
  });
}

function whyNoVector(value: unknown, dim: number): unknown {
  if (!Array.isArray(value) && !(value instanceof Float32Array) && !(value instanceof Float64Array))
    return value;
  if (value.length !== dim) return `${value.length} numbers`;
  const bad = value.findIndex(
    (component: unknown) => typeof component !== "number" || !Number.isFinite(component),
  );
  return bad < 0 ? undefined : `${String(value[bad])} at ${bad}`;
}

/** Unix nanoseconds out of digits, an integer, or a time. Errors: `InvalidAnchor` naming the row. */
export function toAnchor(raw: unknown, field: string, where: string): bigint {
  if (typeof raw === "bigint") return raw;
  if (typeof raw === "number" && Number.isSafeInteger(raw)) return BigInt(raw);
  const value = typeof raw === "string" ? (parseInteger(raw) ?? parseTime(raw)) : undefined;
  if (value !== undefined) return value;
  throw new DreamDBError("InvalidAnchor", `${where} has no usable anchor`, {
    field,
    found: raw,
    expected: EXPECTED.timestamp,
    committed: "no",
  });
}

function violation(message: string, field: FieldSpec, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("SchemaViolation", message, {
    field: field.name,
    found,
    expected,
    committed: "no",
  });
}
