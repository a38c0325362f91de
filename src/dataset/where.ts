/**
 * The language of `where`: what callers may write, its types, and the normal form that filters are evaluated in.
 * Nothing here reads stored data.
 */
import { isWellFormed } from "../core/utf8.ts";
import { DreamDBError } from "../errors.ts";
import type { FieldSpec, ScalarField } from "../objects/field.ts";
import type { Deleted } from "./deleted.ts";
import type { AnyFields, FieldTypes } from "./schema.ts";

const MAX_DEPTH = 32;
const MIN_I64 = -(2n ** 63n);
const MAX_I64 = 2n ** 63n - 1n;

type Orderless<C> = C extends { out: boolean } | { orderless: true } ? true : false;

/** Tests of one field, all of which must hold. A record without a value fails each of them but `exists: false`. */
export type Test<C extends { in: unknown }> = {
  eq?: C["in"];
  ne?: C["in"];
  /** Any of these. */
  in?: readonly C["in"][];
  /** Whether the record has a value. */
  exists?: boolean;
} & (Orderless<C> extends true
  ? unknown
  : {
      lt?: C["in"];
      lte?: C["in"];
      gt?: C["in"];
      gte?: C["in"];
      /** From the first to the second, both included. */
      between?: readonly [C["in"], C["in"]];
    });

type ScalarNames<F extends FieldTypes> = {
  [K in keyof F]: F[K]["column"]["out"] extends Uint8Array | Float32Array ? never : K;
}[keyof F];

/**
 * Which records to take: every key must hold. A field's key takes a value, which the field must equal, or tests.
 * `and`, `or` and `not` always mean the connectives; a field of such a name can be asked for by `whereEq` alone.
 * Text is ordered by code points. Categories and booleans have no order.
 */
export type Where<F extends FieldTypes = AnyFields> = {
  [K in Exclude<ScalarNames<F>, "and" | "or" | "not">]?: F[K]["column"]["in"] | Test<F[K]["column"]>;
} & {
  and?: readonly Where<F>[];
  or?: readonly Where<F>[];
  not?: Where<F>;
};

/** A value as conditions hold it: bigint for int and timestamp (Unix ns), number for float. */
export type Value = string | boolean | number | bigint;

export interface Bound {
  value: Value;
  /** Whether the value itself lies outside. */
  isOpen: boolean;
}

/** A test of one field. */
export type Leaf =
  | { op: "exists"; field: ScalarField }
  /** Ascending, without repeats, at least one. */
  | { op: "among"; field: ScalarField; values: readonly Value[] }
  /** At least one bound; those of int and timestamp are closed and fit 64 bits. */
  | { op: "range"; field: ScalarField; low?: Bound; high?: Bound };

/** That a record is not deleted: what every read asks of a state with deleted records, beside what its caller asks. */
export interface Live {
  op: "live";
  deleted: Deleted;
}

/** The normal form of a filter: `and` of none holds always, `or` of none never. */
export type Condition =
  | { op: "and" | "or"; of: readonly Condition[] }
  | { op: "not"; of: Condition }
  | Live
  | Leaf;

const ALWAYS: Condition = { op: "and", of: [] };
const NEVER: Condition = { op: "or", of: [] };

/**
 * The condition that `where` and `whereEq` make together, or undefined when every record passes.
 * Errors: `InvalidArgument` naming the place, such as `where.or[0].n.lt`, what was found and what was expected.
 */
export function filterOf(
  query: { where?: unknown; whereEq?: unknown },
  fields: readonly FieldSpec[],
): Condition | undefined {
  if (query.whereEq === undefined && query.where === undefined) return undefined;
  const parts: Condition[] = [];
  if (query.whereEq !== undefined) parts.push(equalities(query.whereEq, fields));
  if (query.where !== undefined) parts.push(parse(query.where, "where", fields, 0));
  const condition = all(parts);
  return isAlways(condition) ? undefined : condition;
}

/** What asks both. */
export function both(live: Live | undefined, condition: Condition | undefined): Condition | undefined {
  if (live === undefined || condition === undefined) return live ?? condition;
  return { op: "and", of: [live, condition] };
}

/** One text for all conditions that are written alike but for order, so that results can be kept by it. */
export function canonicalForm(condition: Condition): string {
  switch (condition.op) {
    case "and":
    case "or":
      return `${condition.op}(${condition.of.map(canonicalForm).sort().join()})`;
    case "not":
      return `not(${canonicalForm(condition.of)})`;
    case "live":
      return `live(${condition.deleted.key})`;
    case "exists":
      return `${condition.field.id}?`;
    case "among":
      return `${condition.field.id}=[${condition.values.map(spell).join()}]`;
    case "range":
      return `${condition.field.id}:${spellBound(condition.low)}..${spellBound(condition.high)}`;
  }
}

function spellBound(bound: Bound | undefined): string {
  return bound === undefined ? "" : `${spell(bound.value)}${bound.isOpen ? "!" : ""}`;
}

function spell(value: Value): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

function equalities(whereEq: unknown, fields: readonly FieldSpec[]): Condition {
  const entries = entriesOf(whereEq, "whereEq");
  return all(
    entries.map(([name, wanted]) =>
      equal(fieldOf(name, `whereEq.${name}`, fields, wanted), wanted, "whereEq"),
    ),
  );
}

function parse(where: unknown, path: string, fields: readonly FieldSpec[], depth: number): Condition {
  if (depth > MAX_DEPTH) throw refuse(path, "a condition in a condition", `at most ${MAX_DEPTH} deep`);
  return all(
    entriesOf(where, path).map(([key, value]) => {
      const at = `${path}.${key}`;
      if (key === "and" || key === "or") {
        if (!Array.isArray(value)) throw refuse(at, value, "an array of conditions");
        const parts = value.map((part, i) => parse(part, `${at}[${i}]`, fields, depth + 1));
        return key === "and" ? all(parts) : any(parts);
      }
      if (key === "not") return negate(parse(value, at, fields, depth + 1));
      return test(fieldOf(key, at, fields, value), value, path);
    }),
  );
}

function entriesOf(value: unknown, path: string): [string, unknown][] {
  if (Object.prototype.toString.call(value) === "[object Object]") return Object.entries(value as object);
  throw refuse(path, value, "an object of conditions by field name");
}

function fieldOf(name: string, at: string, fields: readonly FieldSpec[], wanted: unknown): ScalarField {
  const field = fields.find((candidate) => candidate.name === name);
  if (field === undefined) {
    const known = fields.filter(isScalar).map((candidate) => candidate.name);
    throw refuse(at, name, `a scalar field: ${known.join(", ") || "this schema has none"}`);
  }
  if (isScalar(field)) return field;
  throw refuse(at, wanted, `a filter on a scalar field, not on one of kind ${field.kind}`);
}

function isScalar(field: FieldSpec): field is ScalarField {
  return field.kind !== "embedding" && !("mime" in field);
}

/** A field's value, or its tests. */
function test(field: ScalarField, wanted: unknown, path: string): Condition {
  if (Object.prototype.toString.call(wanted) !== "[object Object]") return equal(field, wanted, path);
  const at = `${path}.${field.name}`;
  const entries = Object.entries(wanted as object);
  if (entries.length === 0) throw refuse(at, "no test", TESTS);
  return all(entries.map(([name, value]) => single(field, name, value, at)));
}

const TESTS = "eq, ne, lt, lte, gt, gte, between, in or exists";

function single(field: ScalarField, name: string, value: unknown, path: string): Condition {
  const at = `${path}.${name}`;
  switch (name) {
    case "eq":
      return among(field, [typed(field, value, at)]);
    case "ne":
      return all([{ op: "exists", field }, negate(among(field, [typed(field, value, at)]))]);
    case "in":
      if (!Array.isArray(value)) throw refuse(at, value, "an array of values");
      return among(
        field,
        value.map((one, i) => typed(field, one, `${at}[${i}]`)),
      );
    case "exists":
      if (typeof value !== "boolean") throw refuse(at, value, "true or false");
      return value ? { op: "exists", field } : negate({ op: "exists", field });
    case "lt":
    case "lte":
      return range(field, undefined, { value: ordered(field, value, at), isOpen: name === "lt" });
    case "gt":
    case "gte":
      return range(field, { value: ordered(field, value, at), isOpen: name === "gt" }, undefined);
    case "between": {
      if (!Array.isArray(value) || value.length !== 2) throw refuse(at, value, "an array of two values");
      const [low, high] = value.map((one, i) => ordered(field, one, `${at}[${i}]`)) as [Value, Value];
      return range(field, { value: low, isOpen: false }, { value: high, isOpen: false });
    }
    default:
      throw refuse(at, name, TESTS);
  }
}

function equal(field: ScalarField, wanted: unknown, path: string): Condition {
  return among(field, [typed(field, wanted, `${path}.${field.name}`)]);
}

function ordered(field: ScalarField, value: unknown, at: string): Value {
  if (field.kind === "categorical" || field.kind === "bool")
    throw refuse(at, value, `a field of kind int, float, string or timestamp; ${field.kind} has no order`);
  return typed(field, value, at);
}

/** The value in the type of its field's kind. */
function typed(field: ScalarField, value: unknown, at: string): Value {
  switch (field.kind) {
    case "categorical":
    case "string":
      if (typeof value === "string" && isWellFormed(value)) return value;
      throw mismatch(field, value, at, "well-formed text");
    case "bool":
      if (typeof value === "boolean") return value;
      throw mismatch(field, value, at, "true or false");
    case "float":
      // A zero of either sign is the same number.
      if (typeof value === "number" && !Number.isNaN(value)) return value === 0 ? 0 : value;
      throw mismatch(field, value, at, "a number");
    case "int":
    case "timestamp": {
      const ms = field.kind === "timestamp" ? timeOf(value) : undefined;
      if (ms !== undefined) return BigInt(ms) * 1_000_000n;
      if (typeof value === "bigint") return value;
      if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
      const or = field.kind === "timestamp" ? ", or a valid Date" : "";
      throw mismatch(field, value, at, `a safe integer or a bigint${or}`);
    }
  }
}

/** Milliseconds of a valid Date, of whatever realm. */
function timeOf(value: unknown): number | undefined {
  if (Object.prototype.toString.call(value) !== "[object Date]") return undefined;
  const ms = (value as Date).getTime();
  return Number.isNaN(ms) ? undefined : ms;
}

function among(field: ScalarField, wanted: readonly Value[]): Condition {
  const possible = wanted.filter((value) => typeof value !== "bigint" || fits(value));
  const values = [...new Set(possible)].sort(compareValues);
  return values.length === 0 ? NEVER : { op: "among", field, values };
}

function fits(value: bigint): boolean {
  return value >= MIN_I64 && value <= MAX_I64;
}

/** Ascending by number, false before true, or by code points. */
export function compareValues(a: Value, b: Value): number {
  if (typeof a === "string") return compareText(a, b as string);
  return a < b ? -1 : Number(a > b);
}

/** By code points, which is the order of the UTF-8 bytes; `<` goes by UTF-16 units, where surrogates come before U+E000. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    return Number(isSurrogate(x)) - Number(isSurrogate(y)) || x - y;
  }
  return a.length - b.length;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xe000;
}

function range(field: ScalarField, low: Bound | undefined, high: Bound | undefined): Condition {
  const from = low === undefined ? undefined : closed(low, 1n);
  const to = high === undefined ? undefined : closed(high, -1n);
  if (isBeyond(from, (value) => value > MAX_I64) || isBeyond(to, (value) => value < MIN_I64)) return NEVER;
  const lower = isBeyond(from, (value) => value <= MIN_I64) ? undefined : from;
  const upper = isBeyond(to, (value) => value >= MAX_I64) ? undefined : to;
  if (lower === undefined && upper === undefined) return { op: "exists", field };
  if (lower !== undefined && upper !== undefined && isEmpty(lower, upper)) return NEVER;
  return {
    op: "range",
    field,
    ...(lower === undefined ? {} : { low: lower }),
    ...(upper === undefined ? {} : { high: upper }),
  };
}

/** Integers have neighbours, so that their bounds need not be open. */
function closed(bound: Bound, step: bigint): Bound {
  const { value, isOpen } = bound;
  return typeof value === "bigint" && isOpen ? { value: value + step, isOpen: false } : bound;
}

function isBeyond(bound: Bound | undefined, test: (value: bigint) => boolean): boolean {
  return typeof bound?.value === "bigint" && test(bound.value);
}

function isEmpty(low: Bound, high: Bound): boolean {
  const order = compareValues(low.value, high.value);
  return order > 0 || (order === 0 && (low.isOpen || high.isOpen));
}

function all(parts: readonly Condition[]): Condition {
  const flat = mergeRanges(parts.flatMap((part) => (part.op === "and" ? part.of : [part])));
  if (flat.some(isNever)) return NEVER;
  return flat.length === 1 ? (flat[0] as Condition) : { op: "and", of: flat };
}

function any(parts: readonly Condition[]): Condition {
  const flat = parts.flatMap((part) => (part.op === "or" ? part.of : [part]));
  if (flat.some(isAlways)) return ALWAYS;
  return flat.length === 1 ? (flat[0] as Condition) : { op: "or", of: flat };
}

function negate(condition: Condition): Condition {
  if (condition.op === "not") return condition.of;
  if (isAlways(condition)) return NEVER;
  return isNever(condition) ? ALWAYS : { op: "not", of: condition };
}

function isAlways(condition: Condition): boolean {
  return condition.op === "and" && condition.of.length === 0;
}

function isNever(condition: Condition): boolean {
  return condition.op === "or" && condition.of.length === 0;
}

/** Ranges of one field that must all hold are one range, such as `gte` and `lt` make. */
function mergeRanges(parts: readonly Condition[]): Condition[] {
  const ranges = new Map<number, Extract<Condition, { op: "range" }>>();
  const others: Condition[] = [];
  for (const part of parts) {
    if (part.op !== "range") {
      others.push(part);
      continue;
    }
    const before = ranges.get(part.field.id);
    const both =
      before === undefined
        ? part
        : range(part.field, tighter(before.low, part.low, 1), tighter(before.high, part.high, -1));
    if (both.op !== "range") return [NEVER];
    ranges.set(part.field.id, both);
  }
  return [...ranges.values(), ...others];
}

/** @param sign 1 for lower bounds, of which the greater is the tighter, −1 for upper ones */
function tighter(a: Bound | undefined, b: Bound | undefined, sign: number): Bound | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const order = sign * compareValues(a.value, b.value);
  if (order !== 0) return order > 0 ? a : b;
  return a.isOpen ? a : b;
}

function mismatch(field: ScalarField, found: unknown, at: string, expected: string): DreamDBError {
  return refuse(at, found, `${expected}, for a field of kind ${field.kind}`);
}

function refuse(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "this filter can't be", { field, found, expected });
}
