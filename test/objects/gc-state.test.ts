// The cell of collections, its lists, and pins: the specification's listings byte for byte, sets of any size, what is refused.
import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { addressDigest, addressOf, addressOfDigest } from "../../src/core/address.ts";
import { blake3 } from "../../src/core/blake3.ts";
import { decodeCbor, encodeCbor } from "../../src/core/cbor.ts";
import {
  decodeAddressList,
  digestAt,
  encodeAddressList,
  hasDigest,
  listFor,
  splitSet,
  splitSetFromCbor,
  splitSetToCbor,
} from "../../src/objects/address-list.ts";
import { decodeGcState, encodeGcState, GC_KEY } from "../../src/objects/gc-state.ts";
import { decodePin, encodePin, pinKey } from "../../src/objects/pin.ts";
import { refusal } from "../dataset/stores.ts";

/** The bytes of a listing of spec/0020. */
function listing(name: string): { bytes: Uint8Array; text: string } {
  const text = readFileSync("spec/0020-maintenance.md", "utf8");
  const found = new RegExp(`<!-- example: ${name} -->\\n\`\`\`text\\n(.*?)\`\`\``, "s").exec(
    text,
  )?.[1] as string;
  const rows = found.split("\n").map((row) => /^ *([0-9a-f]+)( *#.*)?$/.exec(row)?.[1] ?? "");
  return { bytes: Uint8Array.from(Buffer.from(rows.join(""), "hex")), text: found };
}

const nonce = new Uint8Array(16).fill(0xa5);

test("the listings of the specification are read, and written the same", () => {
  const list = listing("addresses");
  const decoded = decodeAddressList(list.bytes);
  expect(encodeAddressList(decoded, nonce)).toEqual(list.bytes);
  expect(decoded.sizes).toHaveLength(1);
  const cell = listing("gc");
  const state = decodeGcState(cell.bytes);
  expect(state).toMatchObject({ epoch: 7, pruned: [] });
  expect(state.round).toMatchObject({
    phase: "condemned",
    ts: 1_700_000_000_000_000_000n,
    condemned: [{ address: addressOf(list.bytes), bytes: list.bytes.length, count: 1 }],
  });
  expect(encodeGcState(state)).toEqual(cell.bytes);
  expect(cell.text).toContain(`key ${GC_KEY}`);
  const pin = listing("pin");
  expect(encodePin(decodePin(pin.bytes))).toEqual(pin.bytes);
  expect(pin.text).toContain(`key ${pinKey("000102030405060708090a0b0c0d0e0f")}`);
});

test("sets of any size: each address is in the one list that is asked for it", () => {
  fc.assert(
    fc.property(fc.constantFrom(0, 1, 2, 2047, 2048, 2049, 9000), fc.integer(), (count, seed) => {
      const addresses = Array.from({ length: count }, (_, i) =>
        addressOfDigest(blake3(new TextEncoder().encode(`${seed} ${i}`))),
      );
      const { set, objects } = splitSet(
        addresses.map((address, i) => [address, i] as const),
        true,
        () => nonce,
      );
      const again = splitSetFromCbor(splitSetToCbor(set), "set");
      expect(again).toEqual(set);
      const lists = new Map(objects.map(({ address, bytes }) => [address, decodeAddressList(bytes)]));
      for (const [i, address] of addresses.entries()) {
        const list = lists.get(listFor(again, address)?.address as string)!;
        expect(hasDigest(list, addressDigest(address))).toBe(true);
        const at = Array.from({ length: list.digests.length / 32 }, (_, j) => j).find(
          (j) => addressOfDigest(digestAt(list.digests, j)) === address,
        );
        expect(list.sizes?.[at as number]).toBe(i);
        if (i > 20) break;
      }
      expect(set.reduce((sum, ref) => sum + (ref?.count ?? 0), 0)).toBe(count);
      const other = addressOf(new TextEncoder().encode("not in there"));
      const ref = listFor(again, other);
      expect(ref !== undefined && hasDigest(lists.get(ref.address)!, addressDigest(other))).toBe(false);
    }),
    { numRuns: 20 },
  );
});

const altered = (name: string, change: (map: Map<string, unknown>) => void): Uint8Array => {
  const map = decodeCbor(listing(name).bytes) as Map<string, unknown>;
  change(map);
  return encodeCbor(map);
};
const round = (map: Map<string, unknown>): Map<string, unknown> => map.get("round") as Map<string, unknown>;

test.each<[string, Uint8Array, (bytes: Uint8Array) => unknown]>([
  ["no epoch", altered("gc", (map) => map.delete("epoch")), decodeGcState],
  ["another phase", altered("gc", (map) => round(map).set("phase", "done")), decodeGcState],
  ["three lists", altered("gc", (map) => round(map).set("condemned", [null, null, null])), decodeGcState],
  [
    "a list taken that there is not",
    altered("gc", (map) => round(map).set("taken", [[1, 0, nonce]])),
    decodeGcState,
  ],
  ["a short owner", altered("gc", (map) => round(map).set("taken", [[0, 0, nonce.slice(1)]])), decodeGcState],
  ["a cut digest", altered("addresses", (map) => map.set("digests", new Uint8Array(31))), decodeAddressList],
  ["digests twice", altered("addresses", (map) => map.set("digests", new Uint8Array(64))), decodeAddressList],
  ["sizes of others", altered("addresses", (map) => map.set("sizes", new Uint8Array(8))), decodeAddressList],
  ["a pin of nothing", altered("pin", (map) => map.delete("manifest")), decodePin],
])("refused: %s", async (_, bytes, decode) => {
  expect((await refusal(() => decode(bytes))).code).toBe("Corrupt");
});
