/**
 * Time (spec/0003-time-encoding.md): public anchors are Unix nanoseconds as bigint; stored ones are u64 ticks
 * of a nanosecond since the Space's Genesis. Integer arithmetic only.
 */
import { DreamDBError } from "../errors.ts";
import { isIntegral, Tagged } from "./cbor.ts";

export const TIME_TAG = 65524;
export const MAX_TICK = 2n ** 64n - 1n;

/** The tick of a public anchor. Errors: `InvalidAnchor` before Genesis or beyond u64. */
export function toTick(anchor: bigint, origin: bigint, field = "_anchor"): bigint {
  if (typeof anchor !== "bigint") {
    throw new DreamDBError("InvalidAnchor", "an anchor is a bigint of Unix nanoseconds", {
      field,
      found: anchor,
      expected: "bigint",
    });
  }
  const tick = anchor - origin;
  if (tick < 0n || tick > MAX_TICK) {
    throw new DreamDBError(
      "InvalidAnchor",
      tick < 0n ? "anchor before the dataset's time zero" : "anchor beyond 64 bits",
      {
        field,
        found: anchor,
        expected: `${origin}n … ${origin + MAX_TICK}n`,
      },
    );
  }
  return tick;
}

/** The nearest tick there is, for clocks that point before the origin or past the end of time. */
export function clampTick(tick: bigint): bigint {
  if (tick < 0n) return 0n;
  return tick > MAX_TICK ? MAX_TICK : tick;
}

export function fromTick(tick: bigint, origin: bigint): bigint {
  return tick + origin;
}

/** Sixteen lower-case hex digits, so that text order is time order. */
export function formatTick(tick: bigint): string {
  if (tick < 0n || tick > MAX_TICK) {
    throw new DreamDBError("InvalidAnchor", "tick beyond 64 bits", { found: tick, expected: "0 … 2^64 − 1" });
  }
  return tick.toString(16).padStart(16, "0");
}

export function parseTick(text: string): bigint {
  if (!/^[0-9a-f]{16}$/.test(text)) {
    throw new DreamDBError("InvalidAnchor", "not the text form of a tick", {
      found: text,
      expected: "16 lower-case hex digits",
    });
  }
  return BigInt(`0x${text}`);
}

export function tickToCbor(tick: bigint): Tagged {
  return new Tagged(tick, TIME_TAG);
}

export function tickFromCbor(value: unknown, field: string): bigint {
  if (!(value instanceof Tagged) || value.tag !== TIME_TAG) {
    throw new DreamDBError("Corrupt", "not a time anchor", {
      field,
      found: value,
      expected: `tag ${TIME_TAG}`,
    });
  }
  return uint64(value.value, field);
}

/** An unsigned 64-bit integer out of decoded CBOR, as bigint. */
export function uint64(value: unknown, field: string): bigint {
  const wide = typeof value === "number" && isIntegral(value) ? BigInt(value) : value;
  if (typeof wide !== "bigint" || wide < 0n || wide > MAX_TICK) {
    throw new DreamDBError("Corrupt", "not an unsigned 64-bit integer", {
      field,
      found: value,
      expected: "0 … 2^64 − 1",
    });
  }
  return wide;
}
