/** The body of a ref, the only mutable thing there is (spec/0005-backend-interface.md §4). */
import { type Address, addressToCbor } from "../core/address.ts";
import { encodeCbor } from "../core/cbor.ts";
import { corrupt, decodeObject, FORMAT_VERSION, type Shape } from "./shape.ts";

const KIND = "dreamdb.ref";
/** A Manifest up to this size travels inside the ref, which saves readers a round trip. */
export const INLINE_MANIFEST_BYTES = 64 << 10;

/** Lanes are numbered 0 to this; 0 is the trunk's. */
export const MAX_LANE = 4095;

/** `reserved`: a name that somebody is about to give, or was; there is no such ref yet. */
export type RefType = "branch" | "tag" | "dead" | "reserved";

export interface RefBody {
  type: RefType;
  manifest: Address;
  /** The Manifest's sequence number, so that a rollback shows. */
  seq: number;
  /** 16 random bytes of this write: no two bodies are equal, so no ETag repeats. */
  writeId: Uint8Array;
  /** The operation that moved the ref. */
  opId: Uint8Array;
  /** Collections up to this one are known to whoever reads the ref (spec/0020-maintenance.md §7.4). */
  gcEpoch: number;
  /** The writer's clock, Unix nanoseconds. */
  ts: bigint;
  /** The Manifest's own bytes, when small. */
  inline?: Uint8Array;
  /** Of a branch: the lane of the automatic anchors that are given on it. Absent for the trunk, whose lane is 0. */
  lane?: number;
  /** Whether the ref may not be deleted, nor name a state that does not descend from its present one. */
  isProtected?: true;
}

/** What stays with a ref when it moves. */
export type RefTraits = Pick<RefBody, "lane" | "isProtected">;

export function traitsOf({ lane, isProtected }: RefBody): RefTraits {
  return { ...(lane === undefined ? {} : { lane }), ...(isProtected === undefined ? {} : { isProtected }) };
}

export function encodeRef(ref: RefBody): Uint8Array {
  const { type, manifest, seq, writeId, opId, gcEpoch, ts, inline, lane, isProtected } = ref;
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
    ...(lane === undefined ? {} : { lane }),
    ...(isProtected === undefined ? {} : { protected: true }),
  });
}

export function decodeRef(bytes: Uint8Array): RefBody {
  const shape = decodeObject(bytes, KIND);
  const type = shape.text("type");
  if (!isRefType(type)) throw corrupt("ref.type", type, "branch, tag, dead or reserved");
  return {
    type,
    manifest: shape.address("manifest"),
    seq: shape.uint("seq"),
    writeId: shape.bytes("writeId", 16),
    opId: shape.bytes("opId", 16),
    gcEpoch: shape.uint("gcEpoch"),
    ts: shape.u64("ts"),
    ...(shape.has("inline") ? { inline: shape.bytes("inline") } : {}),
    ...(shape.has("lane") ? { lane: shape.uint("lane", MAX_LANE, 1) } : {}),
    ...(isProtected(shape) ? { isProtected: true } : {}),
  };
}

function isRefType(type: string): type is RefType {
  return type === "branch" || type === "tag" || type === "dead" || type === "reserved";
}

/** Whether there is a branch or snapshot: not one that was deleted, or is still to come. */
export function isLive({ type }: RefBody): boolean {
  return type === "branch" || type === "tag";
}

function isProtected(shape: Shape): boolean {
  if (!shape.has("protected")) return false;
  if (shape.flag("protected")) return true;
  throw corrupt("ref.protected", false, "true, or left out");
}
