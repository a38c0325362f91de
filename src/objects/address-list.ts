/**
 * Sets of objects too large for the cell that names them (spec/0020-maintenance.md §7.2): AddressLists, split by the first bits
 * of the digests, so that whoever asks for one address reads one list.
 */
import { type Address, addressDigest, addressFromCbor, addressOf, addressToCbor } from "../core/address.ts";
import { compareBytes, encodeCbor } from "../core/cbor.ts";
import type { NewPage } from "./index-tree.ts";
import { corrupt, decodeObject, FORMAT_VERSION, Shape } from "./shape.ts";

const KIND = "dreamdb.addresses";
const DIGEST_BYTES = 32;
/** Addresses that lists have on average at most: 72 KiB with sizes. */
const PER_LIST = 2048;
const MAX_LISTS = 1 << 16;

/** A list as the cell names it. */
export interface ListRef {
  address: Address;
  bytes: number;
  count: number;
}

/** 2^b of them, or none: number i has the digests whose first b bits are i; undefined where there are none, or none any more. */
export type SplitSet = readonly (ListRef | undefined)[];

export interface AddressList {
  /** Digests, 32 bytes each, strictly ascending. */
  digests: Uint8Array;
  /** Bytes of each object; left out where nobody asks. */
  sizes?: Uint32Array;
}

/** @param nonce 16 random bytes: a list is never equal to an older one, which may be garbage that is being deleted */
export function encodeAddressList({ digests, sizes }: AddressList, nonce: Uint8Array): Uint8Array {
  return encodeCbor({
    kind: KIND,
    version: FORMAT_VERSION,
    nonce,
    digests,
    ...(sizes === undefined ? {} : { sizes: littleEndian(sizes) }),
  });
}

/** Errors: `Corrupt`, `UnsupportedVersion`. */
export function decodeAddressList(bytes: Uint8Array): AddressList {
  const shape = decodeObject(bytes, KIND);
  shape.bytes("nonce", 16);
  const digests = shape.bytes("digests");
  const count = digests.length / DIGEST_BYTES;
  if (!Number.isInteger(count)) throw corrupt("addresses.digests", digests.length, "a multiple of 32 bytes");
  for (let i = 1; i < count; i++) {
    if (compareBytes(digestAt(digests, i - 1), digestAt(digests, i)) >= 0)
      throw corrupt("addresses.digests", "digests out of order", "strictly ascending");
  }
  if (!shape.has("sizes")) return { digests };
  const packed = shape.bytes("sizes", 4 * count);
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  return { digests, sizes: Uint32Array.from({ length: count }, (_, i) => view.getUint32(4 * i, true)) };
}

export function digestAt(digests: Uint8Array, i: number): Uint8Array {
  return digests.subarray(DIGEST_BYTES * i, DIGEST_BYTES * (i + 1));
}

export function hasDigest({ digests }: AddressList, digest: Uint8Array): boolean {
  let low = 0;
  let high = digests.length / DIGEST_BYTES - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const order = compareBytes(digestAt(digests, middle), digest);
    if (order === 0) return true;
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}

/** The list that would have an address. */
export function listFor(set: SplitSet, address: Address): ListRef | undefined {
  return set[numberOf(addressDigest(address), Math.log2(set.length))];
}

/** Splits a set. @param sizes of objects, when they are to be kept */
export function splitSet(
  entries: Iterable<readonly [Address, number]>,
  hasSizes: boolean,
  nonce: () => Uint8Array,
): { set: SplitSet; objects: NewPage[] } {
  const sorted = [...entries]
    .map(([address, bytes]) => ({ digest: addressDigest(address), bytes }))
    .sort((a, b) => compareBytes(a.digest, b.digest));
  const objects: NewPage[] = [];
  if (sorted.length === 0) return { set: [], objects };
  const bits = Math.max(0, Math.ceil(Math.log2(sorted.length / PER_LIST)));
  const set: (ListRef | undefined)[] = new Array(1 << bits).fill(undefined);
  for (let from = 0; from < sorted.length; ) {
    const number = numberOf((sorted[from] as { digest: Uint8Array }).digest, bits);
    let to = from;
    while (to < sorted.length && numberOf((sorted[to] as { digest: Uint8Array }).digest, bits) === number)
      to++;
    const part = sorted.slice(from, to);
    const digests = new Uint8Array(DIGEST_BYTES * part.length);
    for (const [i, { digest }] of part.entries()) digests.set(digest, DIGEST_BYTES * i);
    const sizes = hasSizes ? { sizes: Uint32Array.from(part, (each) => each.bytes) } : {};
    const bytes = encodeAddressList({ digests, ...sizes }, nonce());
    const address = addressOf(bytes);
    objects.push({ address, bytes });
    set[number] = { address, bytes: bytes.length, count: part.length };
    from = to;
  }
  return { set, objects };
}

export function splitSetToCbor(set: SplitSet): unknown[] {
  return set.map((ref) => (ref === undefined ? null : [addressToCbor(ref.address), ref.bytes, ref.count]));
}

export function splitSetFromCbor(items: unknown[], field: string): SplitSet {
  const count = items.length;
  if (count > MAX_LISTS || (count & (count - 1)) !== 0)
    throw corrupt(field, `${count} lists`, "a power of two");
  return items.map((item) => {
    if (item === null) return undefined;
    const shape = new Shape(item, field).exactly(3);
    return { address: addressFromCbor(shape.value(0), field), bytes: shape.uint(1), count: shape.uint(2) };
  });
}

/** The first `bits` bits of a digest, as a number. */
function numberOf(digest: Uint8Array, bits: number): number {
  const first = ((digest[0] as number) << 8) | (digest[1] as number);
  return first >> (16 - bits);
}

function littleEndian(numbers: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(4 * numbers.length);
  const view = new DataView(bytes.buffer);
  numbers.forEach((number, i) => {
    view.setUint32(4 * i, number, true);
  });
  return bytes;
}
