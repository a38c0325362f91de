/** A reader's word that it needs a state for a while (spec/0020-maintenance.md §8): the value of `pins/<id>`, written once. */
import { type Address, addressToCbor } from "../core/address.ts";
import { encodeCbor } from "../core/cbor.ts";
import { decodeObject, FORMAT_VERSION } from "./shape.ts";

const KIND = "dreamdb.pin";

export interface PinBody {
  manifest: Address;
  /** Until when it holds, and when it was made: Unix nanoseconds. */
  expires: bigint;
  ts: bigint;
}

export function pinKey(id: string): string {
  return `pins/${id}`;
}

export function encodePin({ manifest, expires, ts }: PinBody): Uint8Array {
  return encodeCbor({ kind: KIND, version: FORMAT_VERSION, manifest: addressToCbor(manifest), expires, ts });
}

/** Errors: `Corrupt`, `UnsupportedVersion`. */
export function decodePin(bytes: Uint8Array): PinBody {
  const shape = decodeObject(bytes, KIND);
  return { manifest: shape.address("manifest"), expires: shape.u64("expires"), ts: shape.u64("ts") };
}
