// Writes time.json: anchors and ticks as arithmetic on integers of any size.
import { writeVectors } from "./write-vectors.mjs";

const MAX = 2n ** 64n - 1n;
const origins = [0n, 1_700_000_000_000_000_000n, MAX];
const ticks = [
  0n,
  1n,
  23n,
  24n,
  255n,
  256n,
  4096n,
  65535n,
  65536n,
  1_000_000_000n,
  2n ** 32n - 1n,
  2n ** 32n,
  86_400_000_000_000n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 63n - 1n,
  2n ** 63n,
  MAX - 1n,
  MAX,
];
const cases = origins.flatMap((origin) =>
  ticks.map((tick) => ({
    origin: String(origin),
    anchor: String(origin + tick),
    tick: String(tick),
    text: tick.toString(16).padStart(16, "0"),
    cbor: `d9fff4${uint(tick)}`,
  })),
);

const refused = [
  ["1", "0", "before the origin"],
  ["1700000000000000000", "1699999999999999999", "before the origin"],
  ["0", "-1", "before the origin"],
  ["0", "18446744073709551616", "a tick beyond 64 bits"],
  ["1700000000000000000", "20146744073709551616", "a tick beyond 64 bits"],
].map(([origin, anchor, why]) => ({ origin, anchor, why, code: "InvalidAnchor" }));

const refusedText = [
  ["", "no text"],
  ["0", "one digit"],
  ["000000000000000", "15 digits"],
  ["00000000000000000", "17 digits"],
  ["000000000000000A", "a capital"],
  ["0x00000000000000", "a prefix"],
  ["000000000000000g", "no hexadecimal digit"],
  [" 000000000000000", "a space"],
  ["-000000000000001", "a sign"],
].map(([text, why]) => ({ text, why, code: "InvalidAnchor" }));

const refusedCbor = [
  ["00", "no tag"],
  ["d9fff100", "another tag"],
  ["d9fff420", "-1"],
  ["d9fff4f93e00", "1.5"],
  ["d9fff4f98000", "-0.0"],
  ["d9fff4fa5a000000", "2^53 as a float"],
  ["d9fff46130", "text"],
  ["d9fff44100", "bytes"],
  ["d9fff4f6", "null"],
  ["d9fff4d9fff400", "a time anchor inside another"],
].map(([hex, why]) => ({ hex, why, code: "Corrupt" }));

writeVectors("time.json", {
  about:
    "Anchors (Unix ns) of Spaces with the given origin, as ticks, in the text form and as CBOR time anchors; and what is none. Integers are decimal text.",
  cases,
  refused,
  refusedText,
  refusedCbor,
});

/** An unsigned integer in CBOR, hexadecimal. */
function uint(n) {
  const width = [1, 2, 4, 8].find((bytes) => n < 2n ** BigInt(8 * bytes));
  const hex = (value, bytes) => value.toString(16).padStart(2 * bytes, "0");
  return n < 24n ? hex(n, 1) : (0x18 + Math.log2(width)).toString(16) + hex(n, width);
}
