import { readFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { fromHex, toHex } from "../../src/core/blake3.ts";
import { compareBytes, decodeCbor, encodeCbor, Tagged } from "../../src/core/cbor.ts";
import { isDreamDBError } from "../../src/errors.ts";
import { fromNotation, notationOf } from "./notation.ts";

const roundTripped = (hex: string): string => toHex(encodeCbor(decodeCbor(fromHex(hex))));
const decoding = (hex: string) => (): unknown => decodeCbor(fromHex(hex));
const coded = (code: string): object => expect.objectContaining({ name: "DreamDBError", code });
const encoded = (value: unknown): string => toHex(encodeCbor(value));

/** `count` arrays, each inside the one before, round `inner`. */
function nested(count: number, inner: unknown): unknown {
  let value = inner;
  for (let i = 0; i < count; i++) value = [value];
  return value;
}

interface Example {
  hex: string;
  value?: unknown;
  refused?: string;
}
const appendix: Example[] = JSON.parse(
  readFileSync(new URL("../fixtures/appendix-a.json", import.meta.url), "utf8"),
);
const isRefused = ({ refused }: Example): boolean => refused !== undefined;

describe("RFC 8949 appendix A", () => {
  test("is here whole", () => {
    expect(appendix.length).toBe(82);
    expect(appendix.filter(isRefused).length).toBe(33);
  });

  test.each(appendix.filter((example) => !isRefused(example)))("$hex round trips", ({ hex, value }) => {
    expect(notationOf(decodeCbor(fromHex(hex)))).toEqual(value);
    expect(encoded(fromNotation(value))).toBe(hex);
    expect(roundTripped(hex)).toBe(hex);
  });

  test.each(appendix.filter(isRefused))("$hex is refused: $refused", ({ hex }) => {
    expect(decoding(hex)).toThrow(coded("NonCanonical"));
  });
});

describe("integers", () => {
  const edges = [0n, 23n, 24n, 255n, 256n, 65535n, 65536n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n];
  const wide = [2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];

  test.each([...edges, ...wide].flatMap((edge) => [edge, -1n - edge]))("%d round trips", (integer) => {
    const decoded = decodeCbor(encodeCbor(integer));
    expect(BigInt(decoded as bigint)).toBe(integer);
    expect(typeof decoded).toBe(Number.isSafeInteger(Number(integer)) ? "number" : "bigint");
    expect(encoded(decoded)).toBe(encoded(integer));
  });

  test.each([2n ** 64n, -(2n ** 64n) - 1n])("%d is beyond 64 bits", (integer) => {
    expect(() => encodeCbor(integer)).toThrow(coded("InvalidArgument"));
  });

  test.each([
    "1817",
    "190018",
    "1900ff",
    "1a0000ffff",
    "1b00000000ffffffff",
    "3800",
    "5803010203",
    "980101",
    "b8010101",
  ])("%s is not the shortest form", (hex) => {
    expect(decoding(hex)).toThrow(coded("NonCanonical"));
  });
});

describe("floats", () => {
  test("take the least of 16, 32 and 64 bits that keeps the value", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.double(),
          fc.float(),
          fc.integer().map((n) => n / 1024),
        ),
        (value) => {
          const bytes = encodeCbor(value);
          expect(Object.is(decodeCbor(bytes), value)).toBe(true);
          if (Number.isSafeInteger(value) && !Object.is(value, -0)) return;
          const isSingle = Object.is(Math.fround(value), value);
          expect(bytes.length).toBe(isHalf(value) ? 3 : isSingle ? 5 : 9);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("every binary16 decodes to its value and back, or is an integer or a second NaN", () => {
    let kept = 0;
    for (let bits = 0; bits < 65536; bits++) {
      const bytes = Uint8Array.of(0xf9, bits >> 8, bits & 255);
      const value = halfOf(bits);
      const isRefusedHalf = Number.isNaN(value)
        ? bits !== 0x7e00
        : Number.isSafeInteger(value) && !Object.is(value, -0);
      const isRight = isRefusedHalf
        ? isRefusedByCode(bytes)
        : Object.is(decodeCbor(bytes), value) && compareBytes(encodeCbor(value), bytes) === 0;
      if (!isRight) throw new Error(`binary16 ${bits.toString(16)}`);
      if (!isRefusedHalf) kept++;
    }
    expect(kept).toBeGreaterThan(30_000);
  });

  test.each([
    "f97e01",
    "f9fe00",
    "f97c01",
    "fa7fc00000",
    "fb7ff8000000000001",
    "fa3fc00000",
    "fb3ff8000000000000",
  ])("%s is a second form", (hex) => {
    expect(decoding(hex)).toThrow(coded("NonCanonical"));
  });

  test.each(["f93c00", "f90000", "fa4b800000", "fac7c35000", "fb4330000000000001"])(
    "%s is an integer, which has its own form",
    (hex) => {
      expect(decoding(hex)).toThrow(coded("NonCanonical"));
    },
  );
});

/** Read as the RFC's appendix D does. */
function halfOf(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  const size =
    exponent === 0
      ? mantissa * 2 ** -24
      : exponent < 31
        ? (mantissa + 1024) * 2 ** (exponent - 25)
        : mantissa === 0
          ? Infinity
          : NaN;
  return bits & 0x8000 ? -size : size;
}

const halves = new Set(Array.from({ length: 65536 }, (_, bits) => halfOf(bits)));
function isHalf(value: number): boolean {
  return halves.has(value);
}

describe("text", () => {
  test.each(["\ud800", "a\udc00", "\udc00\ud800", "\ud83d\ud83d\ude00"])(
    "a lone surrogate is refused (%#)",
    (text) => {
      expect(() => encodeCbor(text)).toThrow(coded("InvalidArgument"));
      expect(() => encodeCbor({ [text]: 1 })).toThrow(coded("InvalidArgument"));
    },
  );

  test.each(["6180", "62c328", "62c080", "63eda080", "64f4908080", "61ff", "62c3"])(
    "%s is no UTF-8 text",
    (hex) => {
      expect(decoding(hex)).toThrow(coded("NonCanonical"));
    },
  );

  test("a byte order mark is part of a text, short or long", () => {
    for (const text of ["\ufeff", `\ufeff${"a".repeat(100)}`, `\ufeff\ufeffü${"ü".repeat(5000)}`]) {
      expect(decodeCbor(encodeCbor(text))).toBe(text);
    }
  });

  test("any text of any length round trips", () => {
    const unit = fc.constantFrom("a", "é", "水", "😀", "\0", "\ufffd", "\u2028");
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 5000, size: "max" }), (units) => {
        const text = units.join("");
        expect(decodeCbor(encodeCbor(text))).toBe(text);
      }),
      { numRuns: 50 },
    );
  });
});

describe("maps", () => {
  test("keys are in bytewise order of their encodings, however given", () => {
    const map = new Map<unknown, unknown>([
      ["aa", 2],
      [-1, 5],
      ["b", 1],
      [100, 4],
      [10, 3],
      [false, 6],
      [[1], 7],
    ]);
    const wanted = "a7" + "0a03" + "186404" + "2005" + "616201" + "62616102" + "810107" + "f406";
    expect(encoded(map)).toBe(wanted);
    expect(encoded(new Map([...map].reverse()))).toBe(wanted);
    expect(encoded({ aa: 2, b: 1 })).toBe("a2616201" + "62616102");
  });

  test.each(["a2616201616101", "a2616101616102", "a201010102", "a2200100" + "01", "a1f9800001"])(
    "%s is refused",
    (hex) => {
      expect(decoding(hex)).toThrow(coded("NonCanonical"));
    },
  );

  test.each([
    [[1, 1n]],
    [[new Uint8Array(2), new Uint8Array(2)]],
    [[[1], [1n]]],
    [[new Map([[1, 2]]), { 1: 2 }, new Map([["1", 2]])]],
  ])("keys with one encoding are refused (%#)", (keys: unknown[]) => {
    expect(() => encodeCbor(new Map(keys.map((key) => [key, 0])))).toThrow(coded("InvalidArgument"));
  });

  test("a key such as __proto__ is data", () => {
    const hostile = JSON.parse('{"__proto__": {"polluted": 1}, "constructor": 2, "toString": 3}');
    const decoded = decodeCbor(encodeCbor(hostile)) as Map<string, unknown>;
    expect([...decoded.keys()]).toEqual(["toString", "__proto__", "constructor"]);
    expect((decoded.get("__proto__") as Map<string, unknown>).get("polluted")).toBe(1);
    expect("polluted" in {}).toBe(false);
    expect(Object.getPrototypeOf(decoded)).toBe(Map.prototype);
  });

  test("maps as keys of maps, 30 deep, take no exponential time", () => {
    let key: unknown = 1;
    for (let i = 0; i < 30; i++) key = new Map([[key, 1]]);
    const bytes = encodeCbor(key);
    expect(toHex(encodeCbor(decodeCbor(bytes)))).toBe(toHex(bytes));
  }, 5000);
});

describe("what is no CBOR value", () => {
  test.each([[new Set([1])], [new Date(0)], [/x/], [() => 1], [Symbol("s")], [new ArrayBuffer(1)]])(
    "%p is refused",
    (value) => {
      expect(() => encodeCbor(value)).toThrow(coded("InvalidArgument"));
      expect(() => encodeCbor([{ a: value }])).toThrow(coded("InvalidArgument"));
    },
  );

  test.each([0, 1, 2, 24, 65520, 65526, 55799])("tag %d is refused, both ways", (tag) => {
    expect(() => encodeCbor(new Tagged(1, tag))).toThrow(coded("InvalidArgument"));
    const head = tag < 24 ? [0xc0 + tag] : tag < 256 ? [0xd8, tag] : [0xd9, tag >> 8, tag & 255];
    expect(() => decodeCbor(Uint8Array.of(...head, 0x40))).toThrow(coded("NonCanonical"));
  });

  test.each([65521, 65522, 65523, 65524, 65525])("tag %d is kept", (tag) => {
    const decoded = decodeCbor(encodeCbor(new Tagged([1], tag))) as Tagged;
    expect(decoded).toBeInstanceOf(Tagged);
    expect([decoded.tag, decoded.value]).toEqual([tag, [1]]);
  });

  test.each(["e0", "f3", "f800", "f814", "f820", "fc", "fd", "fe", "ff", "1c", "5d", "7e", "9f", "bf", "df"])(
    "%s is refused",
    (hex) => {
      expect(decoding(hex)).toThrow(coded("NonCanonical"));
    },
  );

  test.each(["0000", "f6f6", "8000", "a000", "4100" + "00"])("%s has trailing bytes", (hex) => {
    expect(decoding(hex)).toThrow(coded("NonCanonical"));
  });
});

describe("limits", () => {
  test("32 levels and no more, both ways", () => {
    for (const inner of [1, "", new Uint8Array(1), new Map(), 1.5]) {
      expect(encoded(decodeCbor(encodeCbor(nested(32, inner))))).toBe(encoded(nested(32, inner)));
      expect(() => encodeCbor(nested(33, inner))).toThrow(coded("LimitExceeded"));
    }
    expect(decoding("81".repeat(32) + "01")).not.toThrow();
    expect(decoding("81".repeat(33) + "01")).toThrow(coded("LimitExceeded"));
    expect(decoding("a100".repeat(33) + "01")).toThrow(coded("LimitExceeded"));
    expect(decoding("a1".repeat(33) + "01" + "00".repeat(33))).toThrow(coded("LimitExceeded"));
    expect(decoding("d9fff1".repeat(33) + "01")).toThrow(coded("LimitExceeded"));
    expect(decoding("81".repeat(100_000) + "01")).toThrow(coded("LimitExceeded"));
    expect(decoding("d9fff1".repeat(100_000) + "01")).toThrow(coded("LimitExceeded"));
  });

  test("a value that holds itself is refused", () => {
    const self: unknown[] = [];
    self.push(self);
    expect(() => encodeCbor(self)).toThrow(coded("LimitExceeded"));
  });

  test.each([
    "9bffffffffffffffff",
    "9b7fffffffffffffff",
    "bb4000000000000000",
    "5bffffffffffffffff",
    "7b0000000100000000",
    "9affffffff",
    "baffffffff",
    "5affffffff",
    "9a80000000" + "00".repeat(40),
    "bb8000000000000000",
    "9b0020000000000001",
  ])("%s names more than there is, and nothing is allocated for it", (hex) => {
    for (let i = 0; i < 200; i++) {
      const before = process.memoryUsage();
      expect(decoding(hex)).toThrow(coded("NonCanonical"));
      const after = process.memoryUsage();
      expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(16 << 20);
      expect(after.heapUsed - before.heapUsed).toBeLessThan(64 << 20);
    }
  });

  test.each([
    "9bffffffffffffffff",
    "9affffffff" + "00".repeat(40),
    "bb4000000000000000",
    "82" + "00",
    "a1" + "00",
  ])("%s is refused by its count, before any of its items", (hex) => {
    const found = expect.stringMatching(/^a count of \d+$/);
    expect(decoding(hex)).toThrow(expect.objectContaining({ code: "NonCanonical", found }));
  });

  test("the size limit is the caller's, 16 MiB unless said otherwise", () => {
    const bytes = encodeCbor(new Uint8Array(16 << 20));
    expect(() => decodeCbor(bytes)).toThrow(coded("LimitExceeded"));
    expect((decodeCbor(bytes, 17 << 20) as Uint8Array).length).toBe(16 << 20);
    expect(() => decodeCbor(Uint8Array.of(1, 1, 1), 2)).toThrow(coded("LimitExceeded"));
    expect(() => encodeCbor(new Uint8Array(100 << 20))).toThrow(coded("LimitExceeded"));
  });
});

test("results share no memory with the input, and the input is left as it was", () => {
  const bytes = encodeCbor([Uint8Array.of(1, 2, 3)]);
  const keys = Object.getOwnPropertyNames(bytes);
  const [decoded] = decodeCbor(bytes) as [Uint8Array];
  expect(Object.getOwnPropertyNames(bytes)).toEqual(keys);
  bytes.fill(0);
  expect([...decoded]).toEqual([1, 2, 3]);
  const source = Uint8Array.of(9);
  const copy = encodeCbor(source);
  expect(copy.byteLength).toBe(copy.buffer.byteLength);
  source[0] = 0;
  expect(toHex(copy)).toBe("4109");
});

test("bytes inside a larger buffer decode by themselves", () => {
  const inner = encodeCbor(["a", 2 ** 40, 1.5]);
  const outer = new Uint8Array(inner.length + 20).fill(0xff);
  outer.set(inner, 7);
  expect(decodeCbor(outer.subarray(7, 7 + inner.length))).toEqual(["a", 2 ** 40, 1.5]);
});

/** Values as the decoder gives them, up to `depth` levels. */
function values(depth: number): fc.Arbitrary<unknown> {
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: depth, depthSize: "large" },
      scalar,
      fc.array(tie("tree"), { maxLength: 4 }),
      fc.array(fc.tuple(tie("tree"), tie("tree")), { maxLength: 4 }).map(asMap),
      fc.dictionary(key, tie("tree"), { maxKeys: 4 }).map((record) => new Map(Object.entries(record))),
      fc
        .tuple(tie("tree"), fc.integer({ min: 65521, max: 65525 }))
        .map(([value, tag]) => new Tagged(value, tag)),
    ),
  }));
  return tree as fc.Arbitrary<unknown>;
}

const key = fc.oneof(fc.string(), fc.constantFrom("__proto__", "constructor", "length", ""));
const scalar = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc
    .bigInt({ min: -(2n ** 64n), max: 2n ** 64n - 1n })
    .map((n) => (Number.isSafeInteger(Number(n)) ? Number(n) : n)),
  fc.double(),
  fc.string({ unit: "grapheme" }),
  key,
  fc.uint8Array({ maxLength: 40 }),
  fc.constantFrom(true, false, null, undefined, -0, NaN, 2 ** 53, 2n ** 53n, Infinity),
);

/** A Map without two keys of one encoding. */
function asMap(entries: [unknown, unknown][]): Map<unknown, unknown> {
  const byEncoding = new Map(
    entries.map(([name, value]) => [encoded(Object.is(name, -0) ? 0 : name), [name, value] as const]),
  );
  return new Map(byEncoding.values());
}

/** The notation with maps in the order they are stored in. */
function sortedNotation(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortedNotation);
  if (value instanceof Tagged) return { tag: value.tag, value: sortedNotation(value.value) };
  if (!(value instanceof Map)) return notationOf(value);
  const entries = [...value].map(([name, item]) => [
    encoded(name),
    sortedNotation(name),
    sortedNotation(item),
  ]);
  return { map: entries.sort((a, b) => ((a[0] as string) < (b[0] as string) ? -1 : 1)) };
}

test("any value round trips", () => {
  fc.assert(
    fc.property(values(6), (value) => {
      const bytes = encodeCbor(value);
      const decoded = decodeCbor(bytes);
      expect(sortedNotation(decoded)).toEqual(sortedNotation(value));
      expect(toHex(encodeCbor(decoded))).toBe(toHex(bytes));
    }),
    { numRuns: 300 },
  );
});

test("any value inside 32 levels of arrays, maps and tags round trips", () => {
  const wrap = fc.array(fc.constantFrom("array", "value", "key", "tag"), { minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(scalar, wrap, (inner, wraps) => {
      let value: unknown = Object.is(inner, -0) ? 0 : inner;
      for (const how of wraps) {
        if (how === "array") value = [value];
        else if (how === "value") value = new Map([["k", value]]);
        else if (how === "key") value = new Map([[value, 1]]);
        else value = new Tagged(value, 65523);
      }
      const bytes = encodeCbor(value);
      expect(toHex(encodeCbor(decodeCbor(bytes)))).toBe(toHex(bytes));
      expect(() => encodeCbor([value])).toThrow(coded("LimitExceeded"));
    }),
    { numRuns: 100 },
  );
});

/** One encoding a value: what decodes must encode to the very same bytes; what does not must be refused by code. */
function expectOneForm(bytes: Uint8Array): void {
  if (isRefusedByCode(bytes)) return;
  const again = encodeCbor(decodeCbor(bytes));
  if (compareBytes(again, bytes) !== 0) throw new Error(`${toHex(bytes)} came back as ${toHex(again)}`);
}

function isRefusedByCode(bytes: Uint8Array): boolean {
  try {
    decodeCbor(bytes);
    return false;
  } catch (error) {
    if (isDreamDBError(error, "NonCanonical") || isDreamDBError(error, "LimitExceeded")) return true;
    throw error;
  }
}

test("any bit of an encoding flipped gives another value's encoding or is refused", () => {
  fc.assert(
    fc.property(values(3).map(encodeCbor), (bytes) => {
      fc.pre(bytes.length < 100);
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = bytes.slice();
        flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
        expectOneForm(flipped);
      }
    }),
    { numRuns: 200 },
  );
});

test("every encoding cut short is refused", () => {
  fc.assert(
    fc.property(values(3), (value) => {
      const bytes = encodeCbor(value);
      for (let end = 0; end < bytes.length; end++) {
        if (!isRefusedByCode(bytes.subarray(0, end))) throw new Error(`${toHex(bytes)} up to ${end}`);
      }
    }),
    { numRuns: 100 },
  );
});

test("random bytes are refused or are the one form of a value", () => {
  const heads = [0x81, 0x82, 0xa1, 0x61, 0x41, 0xd9, 0xff, 0xf1, 0xf9, 0x18];
  const likely = fc.oneof(fc.nat(255), fc.constantFrom(...heads));
  fc.assert(
    fc.property(fc.array(likely, { maxLength: 60 }), (bytes) => expectOneForm(Uint8Array.from(bytes))),
    { numRuns: 20_000 },
  );
});
