/** `--where`: conditions as `field=value`, or in the library's language as JSON. */
import { DreamDBError, type FieldSpec, type Where } from "../index.node.ts";
import { parseText } from "./value.ts";

const CONNECTIVES = ["and", "or", "not"];
/** More than the library takes, which refuses what is left as it is here. */
const MAX_DEPTH = 100;

/** What the options ask for together, as a query takes it. */
interface Conditions {
  where: { and: Where[] };
  whereEq: Record<string, string | number | bigint | boolean>;
}

/** Errors: `InvalidArgument` naming the option. What conditions in JSON may say, the library checks. */
export function conditionsOf(fields: readonly FieldSpec[], texts: readonly string[]): Conditions {
  const conditions: Conditions = { where: { and: [] }, whereEq: {} };
  for (const text of texts) {
    if (text.trimStart().startsWith("{")) {
      conditions.where.and.push(fromJson(fields, text));
      continue;
    }
    const at = text.indexOf("=");
    if (at < 1) throw invalid(text, "field=value, or a condition in JSON");
    const name = text.slice(0, at);
    if (Object.hasOwn(conditions.whereEq, name)) throw invalid(text, "each field once");
    conditions.whereEq[name] = readValue(fields, name, text.slice(at + 1), text);
  }
  return conditions;
}

/** The value as its field's kind wants it. */
function readValue(
  fields: readonly FieldSpec[],
  name: string,
  value: string,
  text: string,
): string | number | bigint | boolean {
  const field = fields.find((candidate) => candidate.name === name);
  if (field === undefined)
    throw invalid(name, `one of ${fields.map((candidate) => candidate.name).join(", ")}`);
  const parsed = parseText(field, value);
  if (parsed === undefined || typeof parsed === "object")
    throw invalid(text, `${name}= and a value of kind ${field.kind}`);
  return parsed;
}

function fromJson(fields: readonly FieldSpec[], text: string): Where {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw invalid(text, `JSON, but: ${(cause as Error).message}`);
  }
  return withValues(json, fields) as Where;
}

/** JSON has no integers of 64 bits and no times: for fields of those kinds, text stands for them. */
function withValues(where: unknown, fields: readonly FieldSpec[], depth = 0): unknown {
  if (typeof where !== "object" || where === null || depth > MAX_DEPTH) return where;
  if (Array.isArray(where)) return where.map((part) => withValues(part, fields, depth + 1));
  const entries = Object.entries(where).map(([key, value]) => {
    if (CONNECTIVES.includes(key)) return [key, withValues(value, fields, depth + 1)];
    const field = fields.find((candidate) => candidate.name === key);
    return [key, field?.kind === "int" || field?.kind === "timestamp" ? readTexts(field, value) : value];
  });
  return Object.fromEntries(entries);
}

/** @param depth of the value: alone, in a test, in a list of a test */
function readTexts(field: FieldSpec, value: unknown, depth = 0): unknown {
  if (typeof value === "string") return parseText(field, value) ?? value;
  if (typeof value !== "object" || value === null || depth > 1) return value;
  if (Array.isArray(value)) return value.map((one) => readTexts(field, one, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [name, readTexts(field, one, depth + 1)]),
  );
}

function invalid(found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "this query can't be", { field: "where", found, expected });
}
