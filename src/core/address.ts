/**
 * Content addresses (spec/0002-content-addressing.md §3): the BLAKE3-256 multihash of an object's bytes in
 * base32. In code an address is its text; on storage inside CBOR it is tag 65521 over the multihash.
 */
import { DreamDBError } from "../errors.ts";
import { decodeBase32, encodeBase32 } from "./base32.ts";
import { blake3, HASH_BYTES } from "./blake3.ts";
import { Tagged } from "./cbor.ts";

/** A text address: 55 characters of lower-case base32. */
export type Address = string;

/** Multihash code of BLAKE3, then the digest's length. */
const MULTIHASH_PREFIX = [0x1e, HASH_BYTES] as const;
export const MULTIHASH_BYTES = 2 + HASH_BYTES;
export const ADDRESS_CHARS = 55;
export const ADDRESS_TAG = 65521;

export function addressOf(bytes: Uint8Array): Address {
  return addressOfDigest(blake3(bytes));
}

export function addressOfDigest(digest: Uint8Array): Address {
  const multihash = new Uint8Array(MULTIHASH_BYTES);
  multihash.set(MULTIHASH_PREFIX);
  multihash.set(digest, 2);
  return encodeBase32(multihash);
}

/** The 34 multihash bytes of an address; throws `InvalidAddress` when it is none. */
export function addressToMultihash(address: Address, field = "address"): Uint8Array {
  const bytes = isAddressShaped(address) ? decodeBase32(address) : new Uint8Array(0);
  if (!isMultihash(bytes)) {
    throw new DreamDBError("InvalidAddress", "not a content address", {
      field,
      found: address,
      expected: "55 characters of base32 of a BLAKE3 multihash",
    });
  }
  return bytes;
}

export function addressFromMultihash(multihash: Uint8Array, field = "address"): Address {
  if (!isMultihash(multihash)) {
    throw new DreamDBError("InvalidAddress", "not a BLAKE3 multihash", {
      field,
      found: multihash,
      expected: "0x1e 0x20 and 32 bytes",
    });
  }
  return encodeBase32(multihash);
}

/** True for text that parses as an address. */
export function isAddress(text: string): boolean {
  try {
    addressToMultihash(text);
    return true;
  } catch {
    return false;
  }
}

/** The 32 digest bytes inside an address. */
export function addressDigest(address: Address): Uint8Array {
  return addressToMultihash(address).subarray(2);
}

/** Where an object lives: fanned out by the first two characters that vary freely, the fifth and sixth. */
export function objectKey(address: Address): string {
  return `objects/${address.slice(4, 6)}/${address}`;
}

export function addressToCbor(address: Address): Tagged {
  return new Tagged(addressToMultihash(address), ADDRESS_TAG);
}

export function addressFromCbor(value: unknown, field: string): Address {
  if (!(value instanceof Tagged) || value.tag !== ADDRESS_TAG || !ArrayBuffer.isView(value.value)) {
    throw new DreamDBError("Corrupt", "not an address", {
      field,
      found: value,
      expected: `tag ${ADDRESS_TAG} over 34 bytes`,
    });
  }
  return addressFromMultihash(value.value as Uint8Array, field);
}

function isAddressShaped(text: string): boolean {
  return typeof text === "string" && /^[a-z2-7]{55}$/.test(text);
}

function isMultihash(bytes: Uint8Array): boolean {
  return (
    bytes.length === MULTIHASH_BYTES && bytes[0] === MULTIHASH_PREFIX[0] && bytes[1] === MULTIHASH_PREFIX[1]
  );
}
