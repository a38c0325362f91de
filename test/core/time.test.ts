import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { toHex } from "../../src/core/blake3.ts";
import { decodeCbor, encodeCbor, Tagged } from "../../src/core/cbor.ts";
import {
  formatTick,
  fromTick,
  MAX_TICK,
  parseTick,
  tickFromCbor,
  tickToCbor,
  toTick,
  uint64,
} from "../../src/core/time.ts";

const coded = (code: string): object => expect.objectContaining({ name: "DreamDBError", code });
const tick = fc.bigInt({ min: 0n, max: MAX_TICK });
const edges = [0n, 1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, MAX_TICK];

describe("anchors", () => {
  test("of any origin round trip, at nanosecond exactness", () => {
    fc.assert(
      fc.property(fc.oneof(tick, fc.constantFrom(...edges)), tick, (stored, origin) => {
        expect(toTick(fromTick(stored, origin), origin)).toBe(stored);
      }),
    );
  });

  test("before the origin or beyond 64 bits are refused", () => {
    const origin = 1_700_000_000_000_000_000n;
    expect(toTick(origin, origin)).toBe(0n);
    expect(toTick(origin + MAX_TICK, origin)).toBe(MAX_TICK);
    expect(() => toTick(origin - 1n, origin)).toThrow(coded("InvalidAnchor"));
    expect(() => toTick(origin + MAX_TICK + 1n, origin)).toThrow(coded("InvalidAnchor"));
  });

  test.each([5, 5.5, "5", null, undefined, new Date(0), {}])("%p is none", (value) => {
    expect(() => toTick(value as bigint, 0n)).toThrow(coded("InvalidAnchor"));
  });
});

describe("the text form", () => {
  test("is 16 digits in the order of time", () => {
    fc.assert(
      fc.property(tick, tick, (a, b) => {
        expect(formatTick(a)).toMatch(/^[0-9a-f]{16}$/);
        expect(parseTick(formatTick(a))).toBe(a);
        expect(formatTick(a) < formatTick(b)).toBe(a < b);
      }),
    );
    expect(formatTick(86_400_000_000_000n)).toBe("00004e94914f0000");
  });

  test.each([
    "",
    "0",
    "00000000000000000",
    "000000000000000A",
    "0x00000000000000",
    "000000000000000g",
    " 000000000000000",
    "000000000000000\n",
    "-000000000000001",
  ])("%j is refused", (text) => {
    expect(() => parseTick(text)).toThrow(coded("InvalidAnchor"));
  });

  test.each([-1n, MAX_TICK + 1n])("%d has none", (value) => {
    expect(() => formatTick(value)).toThrow(coded("InvalidAnchor"));
  });
});

describe("in CBOR", () => {
  test("tag 65524 over an unsigned integer, exact at every size", () => {
    for (const stored of edges) {
      const bytes = encodeCbor(tickToCbor(stored));
      expect(toHex(bytes).startsWith("d9fff4")).toBe(true);
      expect(tickFromCbor(decodeCbor(bytes), "ts")).toBe(stored);
    }
    expect(toHex(encodeCbor(tickToCbor(MAX_TICK)))).toBe("d9fff41bffffffffffffffff");
  });

  test.each([-1, 1.5, -0, "0", null, undefined, [0], -(2n ** 64n), MAX_TICK + 1n, 2 ** 53, NaN])(
    "%p is no tick",
    (value) => {
      expect(() => tickFromCbor(new Tagged(value, 65524), "ts")).toThrow(coded("Corrupt"));
      expect(() => uint64(value, "ts")).toThrow(coded("Corrupt"));
    },
  );

  test.each([[0], [new Tagged(0, 65521)], [undefined], ["0"]])("%p is no anchor", (value) => {
    expect(() => tickFromCbor(value, "ts")).toThrow(coded("Corrupt"));
  });
});
