/**
 * What collections of garbage have come to (spec/0020-maintenance.md §6.1): the value of `meta/gc`, one for each backend, which
 * moves by compare-and-swap.
 */
import { type Address, addressFromCbor, addressToCbor } from "../core/address.ts";
import { encodeCbor } from "../core/cbor.ts";
import { type SplitSet, splitSetFromCbor, splitSetToCbor } from "./address-list.ts";
import { corrupt, decodeObject, FORMAT_VERSION, Shape } from "./shape.ts";

const KIND = "dreamdb.gc";
const MAX_SHARDS = 1024;

export const GC_KEY = "meta/gc";

/** One collection that has begun and not ended. */
export interface Round {
  /** Its number. A ref whose `gcEpoch` is as high was rewritten since the round began. */
  epoch: number;
  /** Which part of the objects it is about: those of part `index` of `count`. */
  shard: { index: number; count: number };
  /** `condemned`: writers may take objects off the list. `deleting`: what is listed is deleted, and may not be used. */
  phase: "condemned" | "deleting";
  /** When it came to this phase, or was last seen at work: the collector's clock, Unix nanoseconds. */
  ts: bigint;
  /** 16 random bytes of the collector that deletes. */
  owner: Uint8Array;
  /** Objects to delete. */
  condemned: SplitSet;
  /** Manifests that stay without their data. */
  doomed: SplitSet;
  /** Objects that writers took off the list. */
  spared: Address[];
  /** States that refs, pins and merges were made of meanwhile: all they reach stays. */
  states: Address[];
}

export interface GcState {
  /** Of the latest round; 0 before the first. */
  epoch: number;
  /** 16 random bytes of this write: no two bodies are equal, so no ETag repeats. */
  writeId: Uint8Array;
  rounds: Round[];
  /** Manifests whose data was deleted, or may have been. */
  pruned: SplitSet;
}

export function encodeGcState({ epoch, writeId, rounds, pruned }: GcState): Uint8Array {
  return encodeCbor({
    kind: KIND,
    version: FORMAT_VERSION,
    epoch,
    writeId,
    rounds: rounds.map((round) => ({
      epoch: round.epoch,
      shard: [round.shard.index, round.shard.count],
      phase: round.phase,
      ts: round.ts,
      owner: round.owner,
      condemned: splitSetToCbor(round.condemned),
      doomed: splitSetToCbor(round.doomed),
      spared: round.spared.map(addressToCbor),
      states: round.states.map(addressToCbor),
    })),
    pruned: splitSetToCbor(pruned),
  });
}

/** Errors: `Corrupt`, `UnsupportedVersion`. */
export function decodeGcState(bytes: Uint8Array): GcState {
  const shape = decodeObject(bytes, KIND);
  const epoch = shape.uint("epoch");
  return {
    epoch,
    writeId: shape.bytes("writeId", 16),
    rounds: shape.array("rounds").map((round) => roundFromCbor(round, epoch)),
    pruned: splitSetFromCbor(shape.array("pruned"), "gc.pruned"),
  };
}

function roundFromCbor(value: unknown, latest: number): Round {
  const shape = new Shape(value, "gc.round");
  const phase = shape.text("phase");
  if (phase !== "condemned" && phase !== "deleting")
    throw corrupt("gc.phase", phase, "condemned or deleting");
  const parts = new Shape(shape.array("shard"), "gc.shard").exactly(2);
  const count = parts.uint(1, MAX_SHARDS, 1);
  const addresses = (key: "spared" | "states"): Address[] =>
    shape.array(key).map((address) => addressFromCbor(address, `gc.${key}`));
  return {
    epoch: shape.uint("epoch", latest, 1),
    shard: { index: parts.uint(0, count - 1), count },
    phase,
    ts: shape.u64("ts"),
    owner: shape.bytes("owner", 16),
    condemned: splitSetFromCbor(shape.array("condemned"), "gc.condemned"),
    doomed: splitSetFromCbor(shape.array("doomed"), "gc.doomed"),
    spared: addresses("spared"),
    states: addresses("states"),
  };
}
