import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { Encoder as Reference, Tag as ReferenceTag } from "#cbor-x";
import { decodeCbor, encodeCbor } from "../../src/core/cbor.ts";
import { Encoder, Tag } from "../../src/core/cbor-plain.ts";

const plain = new Encoder();
// As src/core/cbor.ts has it.
const reference = new Reference({
  useRecords: false,
  variableMapSize: true,
  tagUint8Array: false,
  mapsAsObjects: false,
});

/** The same value with the other codec's tags. */
function translated(value: unknown, Made: typeof Tag, From: typeof Tag): unknown {
  if (value instanceof From) return new Made(translated(value.value, Made, From), value.tag);
  if (Array.isArray(value)) return value.map((item) => translated(item, Made, From));
  if (value instanceof Map)
    return new Map(
      [...value].map(([key, item]) => [translated(key, Made, From), translated(item, Made, From)]),
    );
  // cbor-x leaves a property behind on what it reads.
  return ArrayBuffer.isView(value) ? Uint8Array.from(value as Uint8Array) : value;
}

const scalars = fc.oneof(
  fc.integer(),
  fc.constantFrom(
    0,
    23,
    24,
    255,
    256,
    65535,
    65536,
    2 ** 32 - 1,
    -1,
    -24,
    -25,
    -256,
    -257,
    -65537,
    -(2 ** 32),
  ),
  fc.bigInt({ min: 2n ** 32n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: -(2n ** 63n), max: -(2n ** 32n) - 1n }),
  fc.boolean(),
  fc.constantFrom(null, undefined),
  fc.string({ unit: "binary", maxLength: 300 }),
  fc.constantFrom("\ufeffmark", "", "x".repeat(70_000)),
  fc.uint8Array({ maxLength: 300 }),
);

/** As `revive` of cbor.ts has it: whether 64 bits are read as number or bigint makes no difference. */
function revived(value: unknown): unknown {
  if (value instanceof Tag) return new Tag(revived(value.value), value.tag);
  if (Array.isArray(value)) return value.map(revived);
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [revived(key), revived(item)]));
  return typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** What `normalise` of cbor.ts hands to a codec. */
const normal = fc.letrec((tie) => ({
  item: fc.oneof(
    { maxDepth: 5 },
    scalars,
    fc.array(tie("item"), { maxLength: 30 }),
    fc
      .uniqueArray(fc.tuple(fc.oneof(fc.string(), fc.nat(70_000)), tie("item")), {
        maxLength: 30,
        selector: ([key]) => key,
      })
      .map((entries) => new Map(entries as [unknown, unknown][])),
    fc.tuple(tie("item"), fc.constantFrom(65521, 65525, 65526)).map(([value, tag]) => new Tag(value, tag)),
  ),
})).item;

test("both codecs write the same bytes and read the same values", () => {
  fc.assert(
    fc.property(normal, (value) => {
      const bytes = plain.encode(value);
      const expected = reference.encode(translated(value, ReferenceTag as typeof Tag, Tag));
      expect(Buffer.from(bytes).equals(Buffer.from(expected))).toBe(true);
      const [mine, theirs] = [plain.decode(bytes), reference.decode(Uint8Array.from(bytes))];
      expect(revived(mine)).toEqual(revived(translated(theirs, Tag, ReferenceTag as typeof Tag)));
    }),
    { numRuns: 1000 },
  );
});

test("floats of every width are read as they are", () => {
  for (const value of [
    0.5,
    -0,
    65504,
    2 ** -24,
    1.1,
    1e300,
    Number.NaN,
    Number.NEGATIVE_INFINITY,
    2 ** -14 * 1.5,
  ])
    expect(plain.decode(encodeCbor(value))).toBe(decodeCbor(encodeCbor(value)));
});

test("the vectors of the format are read alike", () => {
  const { cases } = JSON.parse(readFileSync("conformance/cbor.json", "utf8")) as { cases: { hex: string }[] };
  expect(cases.length).toBeGreaterThan(50);
  for (const { hex } of cases) {
    const bytes = Uint8Array.from(Buffer.from(hex, "hex"));
    const theirs = translated(reference.decode(bytes.slice()), Tag, ReferenceTag as typeof Tag);
    expect([hex, revived(plain.decode(bytes))]).toEqual([hex, revived(theirs)]);
  }
});
