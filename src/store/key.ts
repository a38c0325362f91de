import { DreamDBError } from "../errors.ts";
import type { ByteRange, PutCondition } from "./store.ts";

/** S3 allows 1,024 bytes and file systems 4,096 a path; object keys and refs stay far below both. */
const MAX_KEY_BYTES = 1200;

/** A set that every backend can name: no escape, no separator of any system, no percent-encoding. */
const SEGMENT = /^[A-Za-z0-9._-]+$/;

const OBJECT_KEY = /^objects\/[a-z0-9]{2}\/[a-z0-9_-]{1,200}$/;

/** True for keys of immutable, content-addressed values; every other key is a compare-and-swap cell. */
export function isObjectKey(key: string): boolean {
  return key.startsWith("objects/");
}

/** True for the whole key of an object: `objects/<2 characters>/<address>`. */
export function isWholeObjectKey(key: string): boolean {
  return OBJECT_KEY.test(key);
}

/**
 * The last guard in front of a backend, whatever the layers above have checked.
 * Errors: `InvalidName` for a key that is empty, absolute, over 1,200 bytes, that has an empty, `.` or `..`
 * segment, a character outside `[A-Za-z0-9._-]`, or that lies under `objects/` in another shape than
 * `objects/<2 characters>/<address>`.
 */
export function checkKey(key: string): void {
  if (typeof key !== "string" || key.length === 0 || key.length > MAX_KEY_BYTES) refuse(key);
  for (const segment of key.split("/")) if (!isSafeSegment(segment)) refuse(key);
  if (isObjectKey(key) && !isWholeObjectKey(key)) refuse(key, "objects/<2 characters>/<address>");
}

/** A prefix is the beginning of some key: empty, or whole segments and perhaps part of a last one. */
export function checkPrefix(prefix: string): void {
  if (typeof prefix !== "string" || prefix.length > MAX_KEY_BYTES) refuse(prefix);
  const segments = prefix.split("/");
  const last = segments.pop()!;
  for (const segment of segments) if (!isSafeSegment(segment)) refuse(prefix);
  if (last !== "" && !SEGMENT.test(last)) refuse(prefix);
  if (last === "..") refuse(prefix);
}

/** Errors: `InvalidArgument` unless both numbers are non-negative safe integers. */
export function checkRange(range: ByteRange): void {
  if (isCount(range.offset) && isCount(range.length)) return;
  throw new DreamDBError("InvalidArgument", "a byte range counts from 0", {
    field: "range",
    found: `offset ${range.offset}, length ${range.length}`,
    expected: "non-negative integers",
  });
}

/** Errors: `InvalidArgument` for `ifMatch` on an object, which never has a second value. */
export function checkCondition(key: string, condition: PutCondition | undefined): void {
  if (condition === undefined || "create" in condition || !isObjectKey(key)) return;
  throw new DreamDBError("InvalidArgument", "keys under objects/ are immutable and can't be swapped", {
    field: key,
    found: "ifMatch",
    expected: "create, or no condition",
  });
}

/** The error for a condition that does not hold; `found` is the current tag, undefined when the key is absent. */
export function conflict(key: string, condition: PutCondition, found: string | undefined): DreamDBError {
  return new DreamDBError("Conflict", "the value was changed by another writer", {
    field: key,
    found: found ?? "no value",
    expected: "create" in condition ? "no value" : condition.ifMatch,
    committed: "no",
  });
}

function isSafeSegment(segment: string): boolean {
  return SEGMENT.test(segment) && segment !== "." && segment !== "..";
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function refuse(
  key: string,
  expected = "segments of [A-Za-z0-9._-] joined by /, at most 1,200 bytes",
): never {
  throw new DreamDBError("InvalidName", "not a key of a store", { field: "key", found: key, expected });
}
