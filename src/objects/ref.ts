/** The body of a ref, the only mutable thing there is (spec/0005-backend-interface.md §4). */
import { type Address, addressToCbor } from "../core/address.ts";
import { encodeCbor } from "../core/cbor.ts";
import { corrupt, decodeObject, FORMAT_VERSION } from "./shape.ts";

const KIND = "dreamdb.ref";
/** A Manifest up to this size travels inside the ref, which saves readers a round trip. */
export const INLINE_MANIFEST_BYTES = 64 << 10;

export type RefType = "branch" | "tag" | "dead";

export interface RefBody {
  type: RefType;
  manifest: Address;
  /** The Manifest's sequence number, so that a rollback shows. */
  seq: number;
  /** 16 random bytes of this write: no two bodies are equal, so no ETag repeats. */
  writeId: Uint8Array;
  /** The operation that moved the ref. */
  opId: Uint8Array;
  gcEpoch: number;
  /** The writer's clock, Unix nanoseconds. */
  ts: bigint;
  /** The Manifest's own bytes, when small. */
  inline?: Uint8Array;
}

export function encodeRef(ref: RefBody): Uint8Array {
  const { type, manifest, seq, writeId, opId, gcEpoch, ts, inline } = ref;
  return encodeCbor({
    kind: KIND,
    version: FORMAT_VERSION,
    type,
    manifest: addressToCbor(manifest),
    seq,
    writeId,
    opId,
    gcEpoch,
    ts,
    ...(inline === undefined ? {} : { inline }),
  });
}

export function decodeRef(bytes: Uint8Array): RefBody {
  const shape = decodeObject(bytes, KIND);
  const type = shape.text("type");
  if (type !== "branch" && type !== "tag" && type !== "dead")
    throw corrupt("ref.type", type, "branch, tag or dead");
  return {
    type,
    manifest: shape.address("manifest"),
    seq: shape.uint("seq"),
    writeId: shape.bytes("writeId", 16),
    opId: shape.bytes("opId", 16),
    gcEpoch: shape.uint("gcEpoch"),
    ts: shape.u64("ts"),
    ...(shape.has("inline") ? { inline: shape.bytes("inline") } : {}),
  };
}
