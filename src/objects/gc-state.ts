/**
 * What collections of garbage have come to (spec/0020-maintenance.md §7.1): the value of `meta/gc`, one for each backend, which
 * moves by compare-and-swap.
 */
import { type Address, addressFromCbor, addressToCbor } from "../core/address.ts";
import { encodeCbor } from "../core/cbor.ts";
import { type SplitSet, splitSetFromCbor, splitSetToCbor } from "./address-list.ts";
import { corrupt, decodeObject, FORMAT_VERSION, Shape } from "./shape.ts";

const KIND = "dreamdb.gc";

export const GC_KEY = "meta/gc";

/** A collection that has begun and not ended. */
export interface Round {
  /** `condemned`: writers may take objects off the list. `deleting`: what is listed is deleted, and may not be used. */
  phase: "condemned" | "deleting";
  /** When it came to this phase: the collector's clock, Unix nanoseconds. */
  ts: bigint;
  /** Objects to delete; lists that are done are left out. */
  condemned: SplitSet;
  /** Manifests that stay without their data. */
  doomed: SplitSet;
  /** Objects that writers took off the list. */
  spared: Address[];
  /** States that refs, pins and merges were made of meanwhile: all they reach stays. */
  states: Address[];
  /** While deleting: lists that collectors have taken to delete from. */
  taken: Taken[];
}

export interface Taken {
  /** The list's number in `condemned`. */
  list: number;
  /** When it was taken, or its collector last said that it is at work: Unix nanoseconds. */
  ts: bigint;
  /** 16 random bytes of the collector. */
  owner: Uint8Array;
}

export interface GcState {
  /** Of the latest round: how many there have been. A ref with this `gcEpoch` was rewritten since that round began. */
  epoch: number;
  /** 16 random bytes of this write: no two bodies are equal, so no ETag repeats. */
  writeId: Uint8Array;
  /** Absent while none is under way. */
  round?: Round;
  /** Manifests whose data was deleted, or may have been. */
  pruned: SplitSet;
}

export function encodeGcState({ epoch, writeId, round, pruned }: GcState): Uint8Array {
  return encodeCbor({
    kind: KIND,
    version: FORMAT_VERSION,
    epoch,
    writeId,
    ...(round === undefined ? {} : { round: roundToCbor(round) }),
    pruned: splitSetToCbor(pruned),
  });
}

/** Errors: `Corrupt`, `UnsupportedVersion`. */
export function decodeGcState(bytes: Uint8Array): GcState {
  const shape = decodeObject(bytes, KIND);
  const state = {
    epoch: shape.uint("epoch"),
    writeId: shape.bytes("writeId", 16),
    pruned: splitSetFromCbor(shape.array("pruned"), "gc.pruned"),
  };
  return shape.has("round") ? { ...state, round: roundFromCbor(shape.map("round")) } : state;
}

function roundToCbor({ phase, ts, condemned, doomed, spared, states, taken }: Round): unknown {
  return {
    phase,
    ts,
    condemned: splitSetToCbor(condemned),
    doomed: splitSetToCbor(doomed),
    spared: spared.map(addressToCbor),
    states: states.map(addressToCbor),
    taken: taken.map((each) => [each.list, each.ts, each.owner]),
  };
}

function roundFromCbor(value: unknown): Round {
  const shape = new Shape(value, "gc.round");
  const phase = shape.text("phase");
  if (phase !== "condemned" && phase !== "deleting")
    throw corrupt("gc.round.phase", phase, "condemned or deleting");
  const addresses = (key: "spared" | "states"): Address[] =>
    shape.array(key).map((address) => addressFromCbor(address, `gc.round.${key}`));
  const condemned = splitSetFromCbor(shape.array("condemned"), "gc.round.condemned");
  return {
    phase,
    ts: shape.u64("ts"),
    condemned,
    doomed: splitSetFromCbor(shape.array("doomed"), "gc.round.doomed"),
    spared: addresses("spared"),
    states: addresses("states"),
    taken: shape.array("taken").map((each) => {
      const items = new Shape(each, "gc.round.taken").exactly(3);
      return { list: items.uint(0, condemned.length - 1), ts: items.u64(1), owner: items.bytes(2, 16) };
    }),
  };
}
