import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  addressDigest,
  addressFromCbor,
  addressFromMultihash,
  addressOf,
  addressOfDigest,
  addressToCbor,
  addressToMultihash,
  isAddress,
  objectKey,
} from "../../src/core/address.ts";
import { decodeBase32, encodeBase32 } from "../../src/core/base32.ts";
import { toHex } from "../../src/core/blake3.ts";
import { decodeCbor, encodeCbor, Tagged } from "../../src/core/cbor.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const coded = (code: string): object => expect.objectContaining({ name: "DreamDBError", code });

describe("base32", () => {
  // RFC 4648 section 10, lower case and without padding.
  const vectors: [string, string][] = [
    ["", ""],
    ["f", "my"],
    ["fo", "mzxq"],
    ["foo", "mzxw6"],
    ["foob", "mzxw6yq"],
    ["fooba", "mzxw6ytb"],
    ["foobar", "mzxw6ytboi"],
  ];

  test.each(vectors)("%j is %j", (plain, coded32) => {
    expect(encodeBase32(utf8(plain))).toBe(coded32);
    expect(decodeBase32(coded32)).toEqual(utf8(plain));
  });

  test("any bytes round trip, in the alphabet and the least length", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const text = encodeBase32(bytes);
        expect(text).toMatch(/^[a-z2-7]*$/);
        expect(text.length).toBe(Math.ceil((bytes.length * 8) / 5));
        expect(decodeBase32(text)).toEqual(bytes);
      }),
    );
  });

  test("any text decodes to the bytes it is the encoding of, or is refused", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz234567"), maxLength: 20 }),
        (text) => {
          const isCanonical = canonical(text);
          if (isCanonical) expect(encodeBase32(decodeBase32(text))).toBe(text);
          else expect(() => decodeBase32(text)).toThrow(coded("InvalidAddress"));
        },
      ),
      { numRuns: 2000 },
    );
  });

  test.each(["MY", "my======", "m1", "m0", "m8", "m y", "mý", "😀😀", "mz\n", "mzxw6-"])(
    "%j is refused",
    (text) => {
      expect(() => decodeBase32(text)).toThrow(coded("InvalidAddress"));
    },
  );
});

/** Whether text of the alphabet has a length that bytes give, and zero spare bits. */
function canonical(text: string): boolean {
  const spare = (text.length * 5) % 8;
  if (spare >= 5) return false;
  const last = "abcdefghijklmnopqrstuvwxyz234567".indexOf(text.at(-1) ?? "a");
  return last % 2 ** spare === 0;
}

describe("addresses", () => {
  const known: [string, string, string][] = [
    ["", "dyqk6e2jxh27tingubae32rw3teutg6lexe23qisw7gjve6k4qpteyq", "6e"],
    ["abc", "dyqgin5tvq4emujt763dw5jhhkg3ksgflbdf26o3ap6tlhdm2w6z3bi", "in"],
  ];

  test.each(known)("of %j", (content, address, fan) => {
    expect(addressOf(utf8(content))).toBe(address);
    expect(objectKey(address)).toBe(`objects/${fan}/${address}`);
    expect(toHex(addressToMultihash(address)).slice(0, 4)).toBe("1e20");
  });

  test("any digest makes an address of 55 characters, and comes back from each form", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (digest) => {
        const address = addressOfDigest(digest);
        expect(address).toMatch(/^dyq[a-z2-7]{51}[aiqy]$/);
        expect(isAddress(address)).toBe(true);
        expect(addressDigest(address)).toEqual(digest);
        expect(addressFromMultihash(addressToMultihash(address))).toBe(address);
        const stored = decodeCbor(encodeCbor(addressToCbor(address)));
        expect(addressFromCbor(stored, "x")).toBe(address);
      }),
    );
  });

  test("any one character changed gives another address or none", () => {
    const address = addressOf(utf8("abc"));
    let others = 0;
    for (let i = 0; i < address.length; i++) {
      for (const char of "abcdefghijklmnopqrstuvwxyz234567A0189 =é") {
        const changed = address.slice(0, i) + char + address.slice(i + 1);
        if (!isAddress(changed)) continue;
        others++;
        expect(changed).toMatch(/^dyq[a-p][a-z2-7]{50}[aiqy]$/);
        expect(addressFromMultihash(addressToMultihash(changed))).toBe(changed);
      }
    }
    // 1 in each of three places, 16 in the fourth, 32 in the next 50, 4 in the last.
    expect(others).toBe(3 + 16 + 50 * 32 + 4);
  });

  test.each([
    "",
    "dyq",
    addressOf(utf8("abc")).toUpperCase(),
    `${addressOf(utf8("abc"))}a`,
    addressOf(utf8("abc")).slice(0, -1),
    `${addressOf(utf8("abc")).slice(0, -1)}j`,
    `a${addressOf(utf8("abc")).slice(1)}`,
    `${addressOf(utf8("abc"))}\n`,
    ` ${addressOf(utf8("abc")).slice(1)}`,
  ])("%j is none", (text) => {
    expect(isAddress(text)).toBe(false);
    expect(() => addressToMultihash(text)).toThrow(coded("InvalidAddress"));
  });

  test.each([undefined, null, 5, {}, ["a"]])("%p is none", (value) => {
    expect(() => addressToMultihash(value as string)).toThrow(coded("InvalidAddress"));
  });

  test("multihashes of other hashes and lengths are refused", () => {
    const good = addressToMultihash(addressOf(utf8("abc")));
    for (const wrong of [
      good.subarray(0, 33),
      Uint8Array.of(...good, 0),
      good.with(0, 0x12),
      good.with(1, 0x21),
      new Uint8Array(0),
    ]) {
      expect(() => addressFromMultihash(wrong)).toThrow(coded("InvalidAddress"));
    }
  });

  test("in CBOR only tag 65521 over bytes is one", () => {
    const multihash = addressToMultihash(addressOf(utf8("abc")));
    for (const wrong of [multihash, new Tagged(multihash, 65524), new Tagged("x", 65521), undefined, "dyq"]) {
      expect(() => addressFromCbor(wrong, "x")).toThrow(coded("Corrupt"));
    }
    expect(() => addressFromCbor(new Tagged(multihash.subarray(1), 65521), "x")).toThrow(
      coded("InvalidAddress"),
    );
  });
});
