/** Anchors that no read may return any more (spec/0020-maintenance.md §1). */
import { type Address, addressFromCbor, addressToCbor } from "../core/address.ts";
import { encodeCbor } from "../core/cbor.ts";
import { tickToCbor, uint64 } from "../core/time.ts";
import { corrupt, decodeObject, FORMAT_VERSION } from "./shape.ts";

const KIND = "dreamdb.tombstones";

export interface TombstoneList {
  genesis: Address;
  /** Ticks, ascending. */
  anchors: bigint[];
  reason: string;
  /** The writer's clock, as a tick. */
  ts: bigint;
  /** Of a list that stands for many: those, oldest first, whose anchors it repeats and whose reasons hold. */
  of?: Address[];
}

export function encodeTombstones(list: TombstoneList): Uint8Array {
  const { anchors, reason, ts, of } = list;
  return encodeCbor({
    kind: KIND,
    version: FORMAT_VERSION,
    genesis: addressToCbor(list.genesis),
    anchors,
    reason,
    ts: tickToCbor(ts),
    ...(of === undefined ? {} : { of: of.map(addressToCbor) }),
  });
}

export function decodeTombstones(bytes: Uint8Array): TombstoneList {
  const shape = decodeObject(bytes, KIND);
  const anchors = shape.array("anchors").map((anchor, i) => uint64(anchor, `tombstones.anchors[${i}]`));
  if (anchors.some((anchor, i) => i > 0 && anchor <= (anchors[i - 1] as bigint))) {
    throw corrupt("tombstones.anchors", "anchors out of order", "strictly ascending");
  }
  const list = {
    genesis: shape.address("genesis"),
    anchors,
    reason: shape.text("reason"),
    ts: shape.tick("ts"),
  };
  if (!shape.has("of")) return list;
  return { ...list, of: shape.array("of").map((each, i) => addressFromCbor(each, `tombstones.of[${i}]`)) };
}
