/**
 * How many branches a Space has given a lane of its own (spec/0008-versioning-collab.md §2): one small cell beside the
 * refs. Readers never ask for it.
 */
import { type Address, addressToCbor } from "../core/address.ts";
import { encodeCbor } from "../core/cbor.ts";
import { MAX_LANE } from "./ref.ts";
import { decodeObject, FORMAT_VERSION } from "./shape.ts";

const KIND = "dreamdb.lanes";

export interface Lanes {
  genesis: Address;
  /** Lanes given so far, those that came round again included. */
  given: number;
  /** 16 random bytes of this write, so that no two bodies are equal. */
  writeId: Uint8Array;
}

export function lanesKey(genesis: Address): string {
  return `meta/${genesis}/lanes`;
}

/** The lane that comes after so many: 1 to 4095, and then from 1 again. */
export function nextLane(given: number): number {
  return 1 + (given % MAX_LANE);
}

export function encodeLanes({ genesis, given, writeId }: Lanes): Uint8Array {
  return encodeCbor({
    kind: KIND,
    version: FORMAT_VERSION,
    genesis: addressToCbor(genesis),
    given,
    writeId,
  });
}

/** Errors: `Corrupt`, `UnsupportedVersion`. */
export function decodeLanes(bytes: Uint8Array): Lanes {
  const shape = decodeObject(bytes, KIND);
  return {
    genesis: shape.address("genesis"),
    given: shape.uint("given"),
    writeId: shape.bytes("writeId", 16),
  };
}
