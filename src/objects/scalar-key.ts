/**
 * Keys: scalar values as bytes whose bytewise order is the order of the values (spec/0011-scalar-indexing.md §3), so
 * that one tree serves every kind.
 */
import { ValueType } from "./column.ts";

const SIGN = 2n ** 63n;
const utf8 = new TextEncoder();

/** Bytes of a key, 0 when keys differ in length; undefined for types that have none. */
export function keyWidth(type: number): number | undefined {
  switch (type) {
    case ValueType.bool:
      return 1;
    case ValueType.i64:
    case ValueType.timestamp:
    case ValueType.f64:
      return 8;
    case ValueType.utf8:
    case ValueType.categorical:
      return 0;
    default:
      return undefined;
  }
}

/** The key of a value of `type`: text, a boolean, a number for f64, a bigint of 64 bits for i64 and timestamp. */
export function keyOf(type: number, value: string | boolean | number | bigint): Uint8Array {
  if (typeof value === "string") return utf8.encode(value);
  if (typeof value === "boolean") return Uint8Array.of(value ? 1 : 0);
  const key = new Uint8Array(8);
  const view = new DataView(key.buffer);
  if (type !== ValueType.f64) {
    view.setBigUint64(0, BigInt.asUintN(64, BigInt(value) + SIGN));
    return key;
  }
  view.setFloat64(0, Number(value));
  orderFloat(view);
  return key;
}

/** The keys of a column's fixed-width values, row after row; `values` are as the column stores them. */
export function keysOfColumn(type: number, values: Uint8Array): Uint8Array {
  if (type === ValueType.bool) return values;
  const from = new DataView(values.buffer, values.byteOffset, values.byteLength);
  const keys = new Uint8Array(values.length);
  const to = new DataView(keys.buffer);
  for (let at = 0; at < values.length; at += 8) {
    const low = from.getUint32(at, true);
    const high = from.getUint32(at + 4, true);
    if (type !== ValueType.f64) {
      to.setUint32(at, high ^ 0x80000000);
      to.setUint32(at + 4, low);
      continue;
    }
    // Zero of either sign is one number; a negative float grows as its bits shrink.
    const isZero = low === 0 && (high & 0x7fffffff) === 0;
    const isNegative = high >>> 31 === 1 && !isZero;
    to.setUint32(at, isZero ? 0x80000000 : isNegative ? ~high : high | 0x80000000);
    to.setUint32(at + 4, isNegative ? ~low : low);
  }
  return keys;
}

function orderFloat(view: DataView): void {
  const bits = view.getBigUint64(0);
  const zeroless = bits === SIGN ? 0n : bits;
  view.setBigUint64(0, zeroless >= SIGN ? BigInt.asUintN(64, ~zeroless) : zeroless | SIGN);
}
