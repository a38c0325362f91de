/** Names of refs: datasets, branches and tags share one namespace (spec/0002-content-addressing.md §7). */
import { DreamDBError } from "../errors.ts";

const SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const MAX_SEGMENTS = 8;

/** Returns `name` when it may name a ref; throws `InvalidName` otherwise. */
export function checkRefName(name: string, field = "name"): string {
  if (typeof name === "string") {
    const segments = name.split("/");
    if (segments.length <= MAX_SEGMENTS && segments.every(isSegment)) return name;
  }
  throw new DreamDBError("InvalidName", "not a ref name", {
    field,
    found: name,
    expected:
      "1–8 segments of letters, digits, '.', '_' and '-', joined by '/', none with '..' or a final dot",
  });
}

export function refKey(name: string): string {
  return `refs/${checkRefName(name)}`;
}

function isSegment(segment: string): boolean {
  return SEGMENT.test(segment) && !segment.includes("..") && !segment.endsWith(".");
}
