/** How an index names a container, with what it takes to verify a part of it (spec/0007 §3). */
import { type Address, addressFromCbor, addressToCbor } from "../core/address.ts";
import { MAX_OBJECT_BYTES } from "../core/cbor.ts";
import { corrupt, Shape } from "./shape.ts";

export interface ContainerRef {
  address: Address;
  /** Length of the whole object. */
  bytes: number;
  /** Where the head ends, and its BLAKE3: present when the container has more than one block. */
  head?: { bytes: number; hash: Uint8Array };
}

export function containerRefToCbor(ref: ContainerRef): unknown[] {
  const short = [addressToCbor(ref.address), ref.bytes];
  return ref.head === undefined ? short : [...short, ref.head.bytes, ref.head.hash];
}

export function containerRefFromCbor(value: unknown, field: string): ContainerRef {
  const shape = new Shape(value, field);
  const length = (value as unknown[]).length;
  const ref: ContainerRef = {
    address: addressFromCbor(shape.value(0), field),
    bytes: shape.uint(1, MAX_OBJECT_BYTES),
  };
  if (length === 2) return ref;
  if (length !== 4) throw corrupt(field, `${length} items`, "2 or 4");
  ref.head = { bytes: shape.uint(2, ref.bytes), hash: shape.bytes(3, 32) };
  return ref;
}
