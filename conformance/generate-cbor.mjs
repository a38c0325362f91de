// Writes cbor.json. The encoder here is its own, straight from RFC 8949 §3 and §4.2.1, and shares nothing with the
// library: one that is wrong shows against the other.
import { writeVectors } from "./write-vectors.mjs";

const int = (value) => ({ int: String(value) });
const float = (value) => ({ float: String(value) });
const text = (value) => ({ text: value });
const bytes = (hex) => ({ bytes: hex });
const array = (...items) => ({ array: items });
const map = (...entries) => ({ map: entries });
const tag = (number, value) => ({ tag: number, value });

const edges = [
  0n,
  1n,
  10n,
  23n,
  24n,
  25n,
  100n,
  255n,
  256n,
  1000n,
  65535n,
  65536n,
  1000000n,
  2n ** 32n - 1n,
  2n ** 32n,
];
const wide = [
  10n ** 12n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];
const integers = [...edges, ...wide].flatMap((n) => [int(n), int(-1n - n)]);

const floats = [
  "-0",
  0.5,
  1.5,
  1.1,
  -4.1,
  65504.5,
  2 ** -24,
  0.00006103515625,
  2 ** -25,
  1e-7,
  0.1,
  0.333251953125,
  1.401298464324817e-45,
  1.1754943508222875e-38,
  3.4028234663852886e38,
  3.4028235677973366e38,
  1e300,
  5e-324,
  2.2250738585072014e-308,
  2 ** 53,
  2 ** 63,
  2 ** 64,
  -(2 ** 53),
  16777217.5,
  "Infinity",
  "-Infinity",
  "NaN",
].map(float);

const texts = [
  "",
  "a",
  "IETF",
  '"\\',
  "ü",
  "水",
  "𐅑",
  "\u0000",
  "ﬀ",
  "x".repeat(23),
  "x".repeat(24),
  "é".repeat(128),
].map(text);
const strings = ["", "01020304", "ff".repeat(23), "ff".repeat(24), "00".repeat(256)].map(bytes);
const multihash = `1e20${"00".repeat(32)}`;

const values = [
  ...integers,
  ...floats,
  false,
  true,
  null,
  { undefined: true },
  ...texts,
  ...strings,
  array(),
  array(int(1), array(int(2), int(3)), array()),
  array(...Array.from({ length: 25 }, (_, i) => int(i + 1))),
  map(),
  map([int(1), int(2)], [int(3), int(4)]),
  map([text("aa"), int(2)], [int(-1), int(5)], [text("b"), int(1)], [int(100), int(4)], [int(10), int(3)]),
  map(
    [false, int(8)],
    [array(int(-1)), int(6)],
    [array(int(100)), int(7)],
    [text("z"), int(4)],
    [text("aa"), int(5)],
    [int(10), int(1)],
  ),
  map([text("__proto__"), map([text("a"), int(1)])], [text("constructor"), null]),
  map(
    [float(1.5), text("float")],
    [int("-18446744073709551616"), text("wide")],
    [bytes("00"), text("bytes")],
    [null, text("null")],
  ),
  map([map([int(1), int(2)]), array()]),
  map(...Array.from({ length: 30 }, (_, i) => [int(29 - i), int(i)])),
  tag(65521, bytes(multihash)),
  tag(65522, text("image.jpeg")),
  tag(65523, array(int(0), int(10))),
  tag(65524, int(1000)),
  tag(65525, array(int(5), int(6))),
  nest(32, int(7)),
  nest(32, array()),
];

const refused = [
  ["", "nothing"],
  ["1800", "0 in two bytes"],
  ["1817", "23 in two bytes"],
  ["1900ff", "255 in three bytes"],
  ["1a0000ffff", "65535 in five bytes"],
  ["1b00000000ffffffff", "2^32 - 1 in nine bytes"],
  ["3800", "-1 in two bytes"],
  ["5803010203", "a length of 3 in two bytes"],
  ["780161", "a length of 1 in two bytes"],
  ["980101", "a count of 1 in two bytes"],
  ["b8010101", "a count of 1 in two bytes"],
  ["da0000fff100", "a tag number in five bytes"],
  ["1c", "reserved additional information 28"],
  ["5e", "reserved additional information 30"],
  ["5f4101ff", "a byte string of indefinite length"],
  ["7f6161ff", "a text of indefinite length"],
  ["9f01ff", "an array of indefinite length"],
  ["bf0101ff", "a map of indefinite length"],
  ["ff", "a break by itself"],
  ["f90000", "the integer 0 as a float"],
  ["f93c00", "the integer 1 as a float"],
  ["fa4b800000", "the integer 2^24 as a float"],
  ["fa3fc00000", "1.5 as f32, which f16 keeps"],
  ["fb3ff8000000000000", "1.5 as f64, which f16 keeps"],
  ["fb3ff1999980000000", "an f32 value as f64"],
  ["fa7f800000", "infinity as f32"],
  ["f97e01", "NaN with a payload"],
  ["f9fe00", "NaN with a sign"],
  ["fa7fc00000", "NaN as f32"],
  ["fb7ff8000000000000", "NaN as f64"],
  ["e0", "simple value 0"],
  ["f0", "simple value 16"],
  ["f3", "simple value 19"],
  ["f818", "simple value 24"],
  ["f820", "simple value 32"],
  ["f8ff", "simple value 255"],
  ["a201010102", "a key twice"],
  ["a2616201616101", "keys out of order"],
  ["a220010001", "keys out of order: -1 before 0"],
  ["a262616101616200", "keys out of order: a longer text before a shorter"],
  ["a1f9800000", "-0.0 as a key, which many languages can't tell from 0"],
  ["c249010000000000000000", "a bignum"],
  ["c11a514b67b0", "tag 1"],
  ["d9d9f700", "tag 55799"],
  ["d9fff000", "tag 65520"],
  ["d9fff600", "tag 65526"],
  ["61ff", "text that is no UTF-8"],
  ["62c080", "an overlong UTF-8 form"],
  ["63eda080", "a surrogate in UTF-8"],
  ["64f4908080", "a code point above U+10FFFF"],
  ["0000", "a byte after the item"],
  ["8201", "an array cut short"],
  ["a101", "a map cut short"],
  ["4201", "a byte string cut short"],
  ["19ff", "an integer cut short"],
  ["d9fff1", "a tag without content"],
  ["9bffffffffffffffff", "an array of 2^64 - 1 items"],
  ["bb7fffffffffffffff", "a map of 2^63 - 1 entries"],
  ["5b7fffffffffffffff", "a byte string of 2^63 - 1 bytes"],
  ["7affffffff", "a text of 2^32 - 1 bytes"],
].map(([hex, why]) => ({ hex, why, code: "NonCanonical" }));

const tooDeep = [
  ["81".repeat(33) + "00", "an item inside 33 arrays"],
  ["a100".repeat(33) + "00", "an item inside 33 maps"],
  ["d9fff4".repeat(33) + "00", "an item inside 33 tags"],
  ["81".repeat(5000), "5,000 arrays that never end"],
].map(([hex, why]) => ({ hex, why, code: "LimitExceeded" }));

writeVectors("cbor.json", {
  about:
    "Values, in the notation of README.md, and their one encoding; and bytes that a decoder refuses, with why and the error's code.",
  cases: values.map((value) => ({ value, hex: encode(value) })),
  refused: [...refused, ...tooDeep],
});

function nest(levels, value) {
  return levels === 0 ? value : array(nest(levels - 1, value));
}

/** Hexadecimal of the one deterministic encoding. */
function encode(value) {
  if (value === false) return "f4";
  if (value === true) return "f5";
  if (value === null) return "f6";
  if ("undefined" in value) return "f7";
  if ("int" in value) return BigInt(value.int) < 0n ? head(1, -1n - BigInt(value.int)) : head(0, value.int);
  if ("float" in value) return encodeFloat(Number(value.float));
  if ("bytes" in value) return head(2, value.bytes.length / 2) + value.bytes;
  if ("text" in value) return encodeText(value.text);
  if ("array" in value) return head(4, value.array.length) + value.array.map(encode).join("");
  if ("map" in value) {
    // Sorting hexadecimal text sorts the bytes.
    const entries = value.map
      .map(([key, item]) => [encode(key), encode(item)])
      .sort(([a], [b]) => (a < b ? -1 : 1));
    return head(5, entries.length) + entries.flat().join("");
  }
  return head(6, value.tag) + encode(value.value);
}

function encodeText(value) {
  const hex = Buffer.from(value, "utf8").toString("hex");
  return head(3, hex.length / 2) + hex;
}

/** Initial byte and argument. */
function head(major, argument) {
  const n = BigInt(argument);
  const first = (info) => (major * 32 + info).toString(16).padStart(2, "0");
  const rest = (width) => n.toString(16).padStart(2 * width, "0");
  if (n < 24n) return first(Number(n));
  if (n < 2n ** 8n) return first(24) + rest(1);
  if (n < 2n ** 16n) return first(25) + rest(2);
  if (n < 2n ** 32n) return first(26) + rest(4);
  return first(27) + rest(8);
}

function encodeFloat(value) {
  if (Number.isNaN(value)) return "f97e00";
  for (let bits = 0; bits < 65536; bits++) {
    if (Object.is(halfOf(bits), value)) return "f9" + bits.toString(16).padStart(4, "0");
  }
  const buffer = Buffer.alloc(8);
  if (Object.is(Math.fround(value), value)) {
    buffer.writeFloatBE(value);
    return "fa" + buffer.toString("hex", 0, 4);
  }
  buffer.writeDoubleBE(value);
  return "fb" + buffer.toString("hex");
}

/** RFC 8949 appendix D. */
function halfOf(bits) {
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  let size = (mantissa + 1024) * 2 ** (exponent - 25);
  if (exponent === 0) size = mantissa * 2 ** -24;
  if (exponent === 31) size = mantissa === 0 ? Infinity : NaN;
  return bits & 0x8000 ? -size : size;
}
