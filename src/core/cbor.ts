/**
 * Deterministic CBOR: RFC 8949 §4.2.1, strict in both directions (spec/0002-content-addressing.md §4).
 * cbor-x does the coding; this file puts keys in order, shortens floats, and walks every input before cbor-x
 * sees it, so that nothing is allocated for bytes that are not canonical or pass a limit.
 */
import { Encoder, Tag } from "#cbor-x";
import { DreamDBError } from "../errors.ts";
import { isWellFormed } from "./utf8.ts";

/** A tagged item: `new Tagged(value, tag)`. Tags 65521–65525 are DreamDB's; no other is accepted. */
export const Tagged = Tag;
export type Tagged = Tag;

export const MAX_DEPTH = 32;
/** Ceiling for any object. */
export const MAX_OBJECT_BYTES = 100 << 20;
/** Ceiling for a CBOR object. */
export const MAX_METADATA_BYTES = 16 << 20;
export const FIRST_TAG = 65521;
export const LAST_TAG = 65525;
/** Never stored: see `raw`. */
const RAW_TAG = 65526;

const codec = new Encoder({
  useRecords: false,
  variableMapSize: true,
  tagUint8Array: false,
  mapsAsObjects: false,
});

/**
 * Encodes numbers (integers up to 64 bits, as number or bigint; floats), text, bytes, booleans, null,
 * undefined, arrays, Maps, plain objects (own keys) and `Tagged`. Errors: `InvalidArgument`, `LimitExceeded`.
 */
export function encodeCbor(value: unknown): Uint8Array {
  return encodeNormal(normalise(value, 0));
}

function encodeNormal(value: unknown): Uint8Array {
  const encoded = codec.encode(value);
  const walk = new Walk(encoded, MAX_OBJECT_BYTES, true);
  walk.item(0);
  return walk.raws.length === 0 ? Uint8Array.from(encoded) : spliceRaws(encoded, walk.raws);
}

/**
 * Decodes one item that must fill `bytes` exactly. Maps become `Map`; integers number when safe, otherwise bigint.
 * Errors: `NonCanonical` (not the one deterministic form), `LimitExceeded` (size or depth).
 */
export function decodeCbor(bytes: Uint8Array, maxBytes = MAX_METADATA_BYTES): unknown {
  const walk = new Walk(bytes, maxBytes, false);
  walk.item(0);
  if (walk.at !== bytes.length) {
    throw nonCanonical(walk.at, `${bytes.length - walk.at} trailing bytes`, "the end of the item");
  }
  // A view of its own, since cbor-x leaves a property behind on the array it reads.
  return revive(codec.decode(bytes.subarray()));
}

/** A value as cbor-x needs it: maps in key order, integers in the type it encodes shortest. */
function normalise(value: unknown, depth: number): unknown {
  if (depth > MAX_DEPTH) throw tooDeep();
  switch (typeof value) {
    case "number":
      return isIntegral(value) ? integer(BigInt(value)) : raw(encodeFloat(value));
    case "bigint":
      return integer(value);
    case "string":
      return wellFormed(value);
    case "boolean":
    case "undefined":
      return value;
    case "object":
      return value === null ? null : normaliseObject(value, depth);
    default:
      throw new DreamDBError("InvalidArgument", "CBOR has no such type", { found: typeof value });
  }
}

function normaliseObject(value: object, depth: number): unknown {
  if (value instanceof Tagged) {
    if (value.tag < FIRST_TAG || value.tag > LAST_TAG) {
      throw new DreamDBError("InvalidArgument", "unknown CBOR tag", {
        found: value.tag,
        expected: "65521–65525",
      });
    }
    return new Tagged(normalise(value.value, depth + 1), value.tag);
  }
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (Array.isArray(value)) return value.map((item) => normalise(item, depth + 1));
  if (!(value instanceof Map) && Object.prototype.toString.call(value) !== "[object Object]") {
    throw new DreamDBError("InvalidArgument", "CBOR has no such type", {
      found: value,
      expected: "a Map or a plain object",
    });
  }
  return normaliseMap(value instanceof Map ? [...value] : Object.entries(value), depth);
}

function normaliseMap(entries: [unknown, unknown][], depth: number): Map<unknown, unknown> {
  const keyed = entries.map(([name, item]) => {
    const key = normalise(name, depth + 1);
    return { order: encodeNormal(key), key, item: normalise(item, depth + 1) };
  });
  keyed.sort((a, b) => compareBytes(a.order, b.order));
  keyed.forEach(({ order, key }, i) => {
    // Such as 1 and 1n, which would silently become one.
    if (i > 0 && compareBytes((keyed[i - 1] as { order: Uint8Array }).order, order) === 0) {
      throw new DreamDBError("InvalidArgument", "two map keys with one encoding", {
        found: key,
        expected: "different keys",
      });
    }
  });
  return new Map(keyed.map(({ key, item }) => [key, item]));
}

/** cbor-x writes numbers up to 32 bits shortest, bigints in 64 bits, and those below −2^63 as bignums. */
function integer(value: bigint): unknown {
  if (value >= 2n ** 64n || value < -(2n ** 64n)) {
    throw new DreamDBError("InvalidArgument", "integer beyond 64 bits", {
      found: value,
      expected: "−2^64 … 2^64 − 1",
    });
  }
  if (value >= -(2n ** 32n) && value < 2n ** 32n) return Number(value);
  if (value >= -(2n ** 63n)) return value;
  const bytes = new Uint8Array(9);
  bytes[0] = 0x3b;
  new DataView(bytes.buffer).setBigUint64(1, -1n - value);
  return raw(bytes);
}

/** Bytes that are already CBOR, carried through cbor-x under a tag that `spliceRaws` takes off again. */
function raw(bytes: Uint8Array): Tagged {
  return new Tagged(bytes, RAW_TAG);
}

function wellFormed(text: string): string {
  if (!isWellFormed(text)) {
    throw new DreamDBError("InvalidArgument", "text with a lone surrogate", {
      found: text,
      expected: "well-formed Unicode",
    });
  }
  return text;
}

/** Integers to number where safe, 64-bit ones included. */
function revive(value: unknown): unknown {
  if (typeof value === "bigint") {
    return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
      ? Number(value)
      : value;
  }
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Tagged) return new Tagged(revive(value.value), value.tag);
  if (ArrayBuffer.isView(value)) return Uint8Array.from(value as Uint8Array);
  if (Array.isArray(value)) return value.map(revive);
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [revive(key), revive(item)]));
  return value;
}

interface RawItem {
  /** Where the carrying tag's first byte is. */
  at: number;
  /** Bytes of tag and byte string together. */
  width: number;
  bytes: Uint8Array;
}

/** One pass over an encoded item that checks form and limits and allocates nothing that the input names. */
class Walk {
  at = 0;
  /** Found only while encoding. */
  readonly raws: RawItem[] = [];
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly encoding: boolean;

  constructor(bytes: Uint8Array, maxBytes: number, encoding: boolean) {
    if (bytes.length > maxBytes) {
      throw new DreamDBError("LimitExceeded", "object too large", {
        found: bytes.length,
        expected: `at most ${maxBytes} bytes`,
      });
    }
    this.bytes = bytes;
    this.encoding = encoding;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  item(depth: number): void {
    if (depth > MAX_DEPTH) throw tooDeep();
    const start = this.at;
    const initial = this.byte();
    const major = initial >> 5;
    const info = initial & 31;
    if (major === 7) {
      this.simple(start, info);
      return;
    }
    const argument = this.argument(start, info);
    switch (major) {
      case 0:
      case 1:
        return;
      case 2:
        this.skip(argument);
        return;
      case 3:
        this.text(argument);
        return;
      case 4:
        this.count(argument, 1);
        for (let i = 0; i < argument; i++) this.item(depth + 1);
        return;
      case 5:
        this.count(argument, 2);
        this.map(argument, depth);
        return;
      default:
        if (argument === RAW_TAG && this.encoding) {
          this.raw(start);
          return;
        }
        if (argument < FIRST_TAG || argument > LAST_TAG)
          throw nonCanonical(start, `tag ${argument}`, "tag 65521–65525");
        this.item(depth + 1);
    }
  }

  private map(count: number, depth: number): void {
    let previous: Uint8Array | undefined;
    for (let i = 0; i < count; i++) {
      const start = this.at;
      this.item(depth + 1);
      const key = this.bytes.subarray(start, this.at);
      if (isMinusZero(key))
        throw nonCanonical(start, "-0.0 as a map key", "a key that a Map can tell from 0");
      // `normaliseMap` has seen to the order, and raw keys do not stand here as they will be.
      if (!this.encoding && previous !== undefined && compareBytes(previous, key) >= 0) {
        throw nonCanonical(start, "a map key out of order or repeated", "ascending keys");
      }
      previous = key;
      this.item(depth + 1);
    }
  }

  /** The argument of an item's head; 64-bit ones above 2^53 come back rounded, which no count or length survives. */
  private argument(start: number, info: number): number {
    if (info < 24) return info;
    if (info > 27) throw nonCanonical(start, "an indefinite length or reserved value", "a definite length");
    const width = 1 << (info - 24);
    const at = this.at;
    this.skip(width);
    const value =
      width === 1
        ? this.view.getUint8(at)
        : width === 2
          ? this.view.getUint16(at)
          : width === 4
            ? this.view.getUint32(at)
            : this.view.getUint32(at) * 2 ** 32 + this.view.getUint32(at + 4);
    const least = width === 1 ? 24 : 2 ** (width * 4);
    if (value < least) throw nonCanonical(start, `${value} in ${width} bytes`, "the shortest form");
    return value;
  }

  private simple(start: number, info: number): void {
    if (info >= 20 && info <= 23) return;
    if (info < 25 || info > 27)
      throw nonCanonical(start, `simple value ${info}`, "false, true, null, undefined or a float");
    const width = 1 << (info - 24);
    const at = this.at;
    this.skip(width);
    if (width === 2) {
      const bits = this.view.getUint16(at);
      const isNan = (bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0;
      if (isNan && bits !== 0x7e00) throw nonCanonical(start, "a NaN with a payload", "f97e00");
      if (isIntegral(halfValue(bits))) throw nonCanonical(start, "an integer as a float", "an integer item");
      return;
    }
    const value = width === 4 ? this.view.getFloat32(at) : this.view.getFloat64(at);
    if (encodeFloat(value).length < 1 + width)
      throw nonCanonical(start, `a float in ${width} bytes`, "its shortest form");
    if (isIntegral(value)) throw nonCanonical(start, "an integer as a float", "an integer item");
  }

  private raw(start: number): void {
    const length = this.argument(this.at, this.byte() & 31);
    this.skip(length);
    this.raws.push({
      at: start,
      width: this.at - start,
      bytes: this.bytes.subarray(this.at - length, this.at),
    });
  }

  private text(length: number): void {
    const start = this.at;
    this.skip(length);
    const text = this.bytes.subarray(start, this.at);
    if (text.every((byte) => byte < 0x80)) return;
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(text);
    } catch {
      throw nonCanonical(start, "malformed UTF-8", "UTF-8 text");
    }
  }

  private byte(): number {
    const byte = this.bytes[this.at];
    if (byte === undefined) throw nonCanonical(this.at, "the end of the bytes", "more");
    this.at++;
    return byte;
  }

  private skip(length: number): void {
    if (length > this.bytes.length - this.at)
      throw nonCanonical(this.at, `${this.bytes.length - this.at} bytes left`, `${length}`);
    this.at += length;
  }

  /** Every item takes at least a byte, so a count beyond the rest of the input is refused before any loop. */
  private count(items: number, bytesEach: number): void {
    if (items * bytesEach > this.bytes.length - this.at) {
      throw nonCanonical(this.at, `a count of ${items}`, "one that fits the remaining bytes");
    }
  }
}

/** Whether `value` is stored as an integer: in JS, 1.0 and 1 are one value, so they must be one encoding. */
export function isIntegral(value: number): boolean {
  return Number.isSafeInteger(value) && !Object.is(value, -0);
}

function isMinusZero(item: Uint8Array): boolean {
  return item.length === 3 && item[0] === 0xf9 && item[1] === 0x80 && item[2] === 0;
}

/** The value of binary16 bits; infinity and NaN as infinity. */
function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 0x3ff;
  if (exponent === 31) return sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25));
}

/** The shortest float item that keeps `value`; NaN has just one form, f97e00. */
function encodeFloat(value: number): Uint8Array {
  const half = halfBits(value);
  if (half !== undefined) return Uint8Array.of(0xf9, half >> 8, half & 255);
  const single = Object.is(Math.fround(value), value);
  const bytes = new Uint8Array(single ? 5 : 9);
  bytes[0] = single ? 0xfa : 0xfb;
  const view = new DataView(bytes.buffer);
  if (single) view.setFloat32(1, value);
  else view.setFloat64(1, value);
  return bytes;
}

/** The binary16 bits of `value` when it has exactly that value, otherwise undefined. */
function halfBits(value: number): number | undefined {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size === 0) return sign;
  if (size === Number.POSITIVE_INFINITY) return sign | 0x7c00;
  if (size > 65504) return undefined;
  // Below 2^-14 the exponent is fixed: the value must be a multiple of 2^-24.
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  for (const e of [exponent, exponent - 1, exponent + 1]) {
    if (e < -14 || e > 15) continue;
    const mantissa = size * 2 ** (10 - e);
    if (!Number.isInteger(mantissa) || mantissa >= 2048) continue;
    if (mantissa >= 1024) return sign | ((e + 15) << 10) | (mantissa - 1024);
    if (e === -14) return sign | mantissa;
  }
  return undefined;
}

function spliceRaws(encoded: Uint8Array, raws: RawItem[]): Uint8Array {
  const saved = raws.reduce((sum, item) => sum + item.width - item.bytes.length, 0);
  const out = new Uint8Array(encoded.length - saved);
  let from = 0;
  let to = 0;
  for (const item of raws) {
    out.set(encoded.subarray(from, item.at), to);
    to += item.at - from;
    out.set(item.bytes, to);
    to += item.bytes.length;
    from = item.at + item.width;
  }
  out.set(encoded.subarray(from), to);
  return out;
}

/** Bytewise order, a prefix first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

function nonCanonical(at: number, found: string, expected: string): DreamDBError {
  return new DreamDBError("NonCanonical", `not deterministic CBOR at byte ${at}`, { found, expected });
}

function tooDeep(): DreamDBError {
  return new DreamDBError("LimitExceeded", "CBOR nested too deep", {
    expected: `at most ${MAX_DEPTH} levels`,
  });
}
