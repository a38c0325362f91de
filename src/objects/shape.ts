/** Reading the CBOR maps and arrays of stored objects, with every type and range checked. */
import { type Address, addressFromCbor } from "../core/address.ts";
import { decodeCbor, isIntegral } from "../core/cbor.ts";
import { tickFromCbor, uint64 } from "../core/time.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";

/** The version of every object kind that this library writes, and the highest it reads. */
export const FORMAT_VERSION = 1;

/** A decoded CBOR map or array whose items are read by key with their types checked. */
export class Shape {
  private readonly items: Map<unknown, unknown> | unknown[];
  private readonly what: string;

  constructor(items: unknown, what: string) {
    if (!(items instanceof Map) && !Array.isArray(items)) throw corrupt(what, items, "a map or an array");
    this.items = items;
    this.what = what;
  }

  /** Refuses a map, and an array of another length. @param most items when the last ones may be left out */
  exactly(count: number, most = count): this {
    const expected = most === count ? count : `${count} to ${most}`;
    if (!Array.isArray(this.items)) throw corrupt(this.what, this.items, `an array of ${expected}`);
    if (this.items.length < count || this.items.length > most)
      throw corrupt(this.what, `${this.items.length} items`, expected);
    return this;
  }

  has(key: string | number): boolean {
    return Array.isArray(this.items) ? (key as number) < this.items.length : this.items.has(key);
  }

  uint(key: string | number, max = Number.MAX_SAFE_INTEGER, min = 0): number {
    const value = this.value(key);
    if (typeof value !== "number" || !isIntegral(value) || value < min || value > max) {
      throw corrupt(this.name(key), value, `an integer from ${min} to ${max}`);
    }
    return value;
  }

  u64(key: string | number): bigint {
    return uint64(this.value(key), this.name(key));
  }

  /** A signed difference of two ticks. */
  difference(key: string | number): bigint {
    const value = this.value(key);
    if (typeof value === "bigint") return value;
    if (typeof value === "number" && isIntegral(value)) return BigInt(value);
    throw corrupt(this.name(key), value, "an integer");
  }

  tick(key: string | number): bigint {
    return tickFromCbor(this.value(key), this.name(key));
  }

  text(key: string | number): string {
    const value = this.value(key);
    if (typeof value !== "string") throw corrupt(this.name(key), value, "text");
    return value;
  }

  flag(key: string | number): boolean {
    const value = this.value(key);
    if (typeof value !== "boolean") throw corrupt(this.name(key), value, "true or false");
    return value;
  }

  bytes(key: string | number, length?: number): Uint8Array {
    const value = this.value(key);
    if (!ArrayBuffer.isView(value) || (length !== undefined && value.byteLength !== length)) {
      throw corrupt(this.name(key), value, length === undefined ? "bytes" : `${length} bytes`);
    }
    return value as Uint8Array;
  }

  address(key: string | number): Address {
    return addressFromCbor(this.value(key), this.name(key));
  }

  array(key: string | number): unknown[] {
    const value = this.value(key);
    if (!Array.isArray(value)) throw corrupt(this.name(key), value, "an array");
    return value;
  }

  map(key: string | number): Map<unknown, unknown> {
    const value = this.value(key);
    if (!(value instanceof Map)) throw corrupt(this.name(key), value, "a map");
    return value;
  }

  /** Keys and values of a map. */
  entries(): [unknown, unknown][] {
    return Array.isArray(this.items) ? [...this.items.entries()] : [...this.items];
  }

  value(key: string | number): unknown {
    return Array.isArray(this.items) ? this.items[key as number] : this.items.get(key);
  }

  private name(key: string | number): string {
    return `${this.what}.${key}`;
  }
}

/**
 * Decodes an object of the given kind. Errors: `Corrupt` when the kind is another, `UnsupportedVersion` when a
 * newer library wrote it.
 */
export function decodeObject(bytes: Uint8Array, kind: string): Shape {
  const shape = new Shape(decodeAsCorrupt(bytes, kind), kind);
  const found = shape.value("kind");
  if (found !== kind) throw corrupt("kind", found, kind);
  const version = shape.uint("version", Number.MAX_SAFE_INTEGER, 1);
  if (version > FORMAT_VERSION) {
    throw new DreamDBError("UnsupportedVersion", `${kind} of a newer format; upgrade the library`, {
      field: "version",
      found: version,
      expected: `at most ${FORMAT_VERSION}`,
    });
  }
  return shape;
}

function decodeAsCorrupt(bytes: Uint8Array, kind: string): unknown {
  try {
    return decodeCbor(bytes);
  } catch (error) {
    if (isDreamDBError(error, "NonCanonical")) {
      throw new DreamDBError("Corrupt", `stored ${kind} is not deterministic CBOR`, {
        field: kind,
        found: bytes,
        cause: error,
      });
    }
    throw error;
  }
}

/** A map keyed by field ids, read entry by entry. */
export function byFieldId<T>(
  map: Map<unknown, unknown>,
  what: string,
  read: (value: unknown, id: number) => T,
): Map<number, T> {
  const out = new Map<number, T>();
  for (const [id, value] of map) {
    if (typeof id !== "number" || !isIntegral(id) || id < 0) throw corrupt(what, id, "a field id");
    out.set(id, read(value, id));
  }
  return out;
}

export function corrupt(field: string, found: unknown, expected: unknown): DreamDBError {
  return new DreamDBError("Corrupt", "malformed stored object", { field, found, expected });
}
