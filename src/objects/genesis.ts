/** The Genesis names a Space and fixes its time zero (spec/0001-data-model.md §3). */
import { encodeCbor } from "../core/cbor.ts";
import { decodeObject, FORMAT_VERSION } from "./shape.ts";

const KIND = "dreamdb.genesis";

export interface Genesis {
  /** Unix nanoseconds of tick 0. */
  origin: bigint;
  /** 16 random bytes that make the Space's address its own. */
  nonce: Uint8Array;
  /** The name it was created under; a label, not an identity. */
  name: string;
}

export function encodeGenesis(genesis: Genesis): Uint8Array {
  return encodeCbor({
    kind: KIND,
    version: FORMAT_VERSION,
    origin: genesis.origin,
    nonce: genesis.nonce,
    name: genesis.name,
  });
}

export function decodeGenesis(bytes: Uint8Array): Genesis {
  const shape = decodeObject(bytes, KIND);
  return { origin: shape.u64("origin"), nonce: shape.bytes("nonce", 16), name: shape.text("name") };
}
