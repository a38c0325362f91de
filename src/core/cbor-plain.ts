/**
 * What cbor.ts asks of a codec, in place of cbor-x in browsers: bytes that it has walked before are decoded, values that it has
 * normalised are encoded and walked after. So nothing is checked here, and nothing else is known
 * (docs/decisions/0059-a-small-codec-in-browsers.md).
 */

/** A tagged item. */
export class Tag {
  value: unknown;
  tag: number;

  constructor(value: unknown, tag: number) {
    this.value = value;
    this.tag = tag;
  }
}

const UINT = 0;
const NEGATIVE = 1;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;
const TAG = 6;
const SIMPLE: readonly unknown[] = [false, true, null, undefined];
const FIRST_SIMPLE = 20;

export class Encoder {
  encode(value: unknown): Uint8Array {
    const out = new Output();
    out.value(value);
    return out.bytes.slice(0, out.length);
  }

  decode(bytes: Uint8Array): unknown {
    return new Input(bytes).value();
  }
}

class Output {
  bytes = new Uint8Array(1024);
  length = 0;
  private view = new DataView(this.bytes.buffer);

  value(value: unknown): void {
    if (typeof value === "number") {
      if (value < 0) this.head(NEGATIVE, -1 - value);
      else this.head(UINT, value);
    } else if (typeof value === "bigint") {
      if (value < 0n) this.head(NEGATIVE, -1n - value);
      else this.head(UINT, value);
    } else if (typeof value === "string") this.run(TEXT, new TextEncoder().encode(value));
    else if (ArrayBuffer.isView(value)) this.run(BYTES, value as Uint8Array);
    else if (Array.isArray(value)) {
      this.head(ARRAY, value.length);
      for (const item of value) this.value(item);
    } else if (value instanceof Map) {
      this.head(MAP, value.size);
      for (const [key, item] of value) {
        this.value(key);
        this.value(item);
      }
    } else if (value instanceof Tag) {
      this.head(TAG, value.tag);
      this.value(value.value);
    } else {
      const at = this.room(1);
      this.bytes[at] = 0xe0 | (FIRST_SIMPLE + SIMPLE.indexOf(value));
    }
  }

  /** An item's first bytes, with its argument in the fewest. */
  private head(major: number, argument: number | bigint): void {
    const isLong = argument > 0xffff_ffff;
    const width = isLong ? 8 : argument > 0xffff ? 4 : argument > 0xff ? 2 : argument > 23 ? 1 : 0;
    const at = this.room(1 + width);
    const info = width === 0 ? Number(argument) : 24 + Math.log2(width);
    this.bytes[at] = (major << 5) | info;
    if (isLong) this.view.setBigUint64(at + 1, BigInt(argument));
    else if (width === 4) this.view.setUint32(at + 1, Number(argument));
    else if (width === 2) this.view.setUint16(at + 1, Number(argument));
    else if (width === 1) this.bytes[at + 1] = Number(argument);
  }

  private run(major: number, bytes: Uint8Array): void {
    this.head(major, bytes.length);
    const at = this.room(bytes.length);
    this.bytes.set(bytes, at);
  }

  /** Where `count` bytes more go; `bytes` may be another buffer afterwards. */
  private room(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.bytes.length) {
      const larger = new Uint8Array(Math.max(this.length, 2 * this.bytes.length));
      larger.set(this.bytes.subarray(0, at));
      this.bytes = larger;
      this.view = new DataView(larger.buffer);
    }
    return at;
  }
}

class Input {
  private at = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  value(): unknown {
    const initial = this.bytes[this.at++] as number;
    const [major, info] = [initial >> 5, initial & 31];
    if (major > TAG) return this.simple(info);
    const argument = this.argument(info);
    if (major === UINT) return argument;
    if (major === NEGATIVE) return typeof argument === "bigint" ? -1n - argument : -1 - argument;
    const count = Number(argument);
    switch (major) {
      case BYTES:
        return this.run(count);
      case TEXT:
        return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.run(count));
      case ARRAY:
        return Array.from({ length: count }, () => this.value());
      case MAP: {
        const map = new Map<unknown, unknown>();
        for (let i = 0; i < count; i++) {
          const key = this.value();
          map.set(key, this.value());
        }
        return map;
      }
      default: {
        const value = this.value();
        return new Tag(value, count);
      }
    }
  }

  private argument(info: number): number | bigint {
    if (info < 24) return info;
    const { at } = this;
    const width = 1 << (info - 24);
    this.at += width;
    if (width === 1) return this.view.getUint8(at);
    if (width === 2) return this.view.getUint16(at);
    return width === 4 ? this.view.getUint32(at) : this.view.getBigUint64(at);
  }

  private simple(info: number): unknown {
    if (info < 25) return SIMPLE[info - FIRST_SIMPLE];
    const { at } = this;
    this.at += 1 << (info - 24);
    if (info === 25) return half(this.view.getUint16(at));
    return info === 26 ? this.view.getFloat32(at) : this.view.getFloat64(at);
  }

  private run(length: number): Uint8Array {
    const { at } = this;
    this.at += length;
    return this.bytes.subarray(at, this.at);
  }
}

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 0x3ff;
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25));
}
