/**
 * File names of compare-and-swap cells, injective on disks that ignore case.
 *
 *   key            refs/Main/a
 *   directories    refs+ / main=01+ / a@
 *
 * A segment becomes its lower-case form; where it has capitals, `=` and the hex bitmap of their positions
 * (bit i of byte i/8, least significant first, trailing zero bytes dropped) follow. The last segment ends in
 * `@`, the others in `+`, so that `refs/a` may live beside `refs/a/b`. None of `=+@` may stand in a key.
 * Source: spec/0005-backend-interface.md.
 */
import { DreamDBError } from "../errors.ts";

/** The longest name that every common file system takes, in bytes. */
const MAX_NAME_BYTES = 255;

const ENCODED = /^([a-z0-9._-]+)(?:=((?:[0-9a-f]{2})+))?([+@])$/;

/** The cell's directory below the root, `/`-separated. Errors: `InvalidName` when a segment is too long. */
export function cellPath(key: string): string {
  const segments = key.split("/");
  const last = segments.length - 1;
  return segments.map((segment, i) => encode(segment, i === last ? "@" : "+", key)).join("/");
}

/** The segment that a directory name stands for; undefined for a name this encoding does not make. */
export function decodeName(name: string): { segment: string; final: boolean } | undefined {
  const match = ENCODED.exec(name);
  if (match === null) return undefined;
  const segment = restoreCapitals(match[1]!, match[2] ?? "");
  const isOwn = segment !== undefined && name === segmentName(segment) + match[3]!;
  return isOwn ? { segment, final: match[3] === "@" } : undefined;
}

function encode(segment: string, suffix: "+" | "@", key: string): string {
  const name = segmentName(segment) + suffix;
  if (name.length <= MAX_NAME_BYTES) return name;
  throw new DreamDBError("InvalidName", "a segment of the key is too long for a file name", {
    field: key,
    found: `${name.length} bytes`,
    expected: `at most ${MAX_NAME_BYTES} bytes`,
  });
}

function segmentName(segment: string): string {
  const bitmap: number[] = [];
  for (let i = 0; i < segment.length; i++) {
    if (isCapital(segment.charCodeAt(i))) {
      while (bitmap.length <= i >> 3) bitmap.push(0);
      bitmap[i >> 3]! |= 1 << (i & 7);
    }
  }
  const hex = bitmap.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return segment.toLowerCase() + (hex === "" ? "" : `=${hex}`);
}

function restoreCapitals(lower: string, hex: string): string | undefined {
  if (hex.length / 2 > Math.ceil(lower.length / 8)) return undefined;
  return Array.from(lower, (char, i) => {
    const byte = Number.parseInt(hex.slice((i >> 3) * 2, (i >> 3) * 2 + 2) || "0", 16);
    return (byte >> (i & 7)) & 1 ? char.toUpperCase() : char;
  }).join("");
}

function isCapital(code: number): boolean {
  return code >= 0x41 && code <= 0x5a;
}
