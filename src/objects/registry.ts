/**
 * A Space's registry: what holds for all its branches and snapshots at once (spec/0020-maintenance.md §2). The value of
 * `meta/<genesis>/registry`, which moves by compare-and-swap.
 */
import { type Address, addressFromCbor, addressToCbor } from "../core/address.ts";
import { encodeCbor } from "../core/cbor.ts";
import { corrupt, decodeObject, FORMAT_VERSION, Shape } from "./shape.ts";

const KIND = "dreamdb.registry";
/** Those that this library reads; what else stands there is kept as it is. */
const KEYS = new Set(["kind", "version", "genesis", "seq", "writeId", "tombstones", "redactions", "gcEpoch"]);

/** A TombstoneList as the registry names it. */
export interface TombstonesRef {
  address: Address;
  bytes: number;
  /** Anchors in the list. */
  count: number;
  /** The list's own bytes, when small: they save readers a round trip. */
  inline?: Uint8Array;
}

export interface Registry {
  genesis: Address;
  /** One more with every write, from 0, so that a rollback shows. */
  seq: number;
  /** 16 random bytes of this write: no two bodies are equal, so no ETag repeats. */
  writeId: Uint8Array;
  /** Oldest first. */
  tombstones: TombstonesRef[];
  /** RedactionMaps, oldest first. */
  redactions: Address[];
  /** As a ref's. Absent: whoever changes the registry has to ask for itself. */
  gcEpoch?: number;
  /** Keys of other parts of the format, as they were read. */
  others: ReadonlyMap<string, unknown>;
}

export function registryKey(genesis: Address): string {
  return `meta/${genesis}/registry`;
}

export function encodeRegistry(registry: Registry): Uint8Array {
  const { genesis, seq, writeId, tombstones, redactions, gcEpoch, others } = registry;
  const body = new Map<string, unknown>(others);
  body.set("kind", KIND);
  body.set("version", FORMAT_VERSION);
  body.set("genesis", addressToCbor(genesis));
  body.set("seq", seq);
  body.set("writeId", writeId);
  body.set(
    "tombstones",
    tombstones.map(({ address, bytes, count, inline }) => {
      const items: unknown[] = [addressToCbor(address), bytes, count];
      return inline === undefined ? items : [...items, inline];
    }),
  );
  body.set("redactions", redactions.map(addressToCbor));
  if (gcEpoch !== undefined) body.set("gcEpoch", gcEpoch);
  return encodeCbor(body);
}

export function decodeRegistry(bytes: Uint8Array): Registry {
  const shape = decodeObject(bytes, KIND);
  const others = [...shape.entries()].filter(([key]) => !KEYS.has(key as string));
  for (const [key] of others) if (typeof key !== "string") throw corrupt("registry", key, "keys of text");
  return {
    genesis: shape.address("genesis"),
    seq: shape.uint("seq"),
    writeId: shape.bytes("writeId", 16),
    tombstones: shape.array("tombstones").map(refFromCbor),
    redactions: shape
      .array("redactions")
      .map((address, i) => addressFromCbor(address, `registry.redactions[${i}]`)),
    ...(shape.has("gcEpoch") ? { gcEpoch: shape.uint("gcEpoch") } : {}),
    others: new Map(others as [string, unknown][]),
  };
}

function refFromCbor(value: unknown): TombstonesRef {
  const shape = new Shape(value, "registry.tombstones").exactly(3, 4);
  const ref = { address: shape.address(0), bytes: shape.uint(1), count: shape.uint(2) };
  return shape.has(3) ? { ...ref, inline: shape.bytes(3, ref.bytes) } : ref;
}
