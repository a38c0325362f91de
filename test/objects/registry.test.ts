// The registry's body: the specification's listings byte for byte, what is kept that this version does not know, what is refused.
import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { addressOf } from "../../src/core/address.ts";
import { decodeCbor, encodeCbor } from "../../src/core/cbor.ts";
import { decodeRegistry, encodeRegistry, registryKey } from "../../src/objects/registry.ts";
import { decodeTombstones, encodeTombstones } from "../../src/objects/tombstones.ts";
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

test("a list and a registry of the specification are read, and written the same", () => {
  const { bytes, text } = listing("tombstones");
  const list = decodeTombstones(bytes);
  expect(list).toMatchObject({ anchors: [4096n, 2n ** 40n], reason: "asked for", ts: 2n ** 41n });
  expect(encodeTombstones(list)).toEqual(bytes);
  expect(text).toContain(addressOf(bytes));
  const spec = listing("registry");
  const registry = decodeRegistry(spec.bytes);
  expect(registry).toMatchObject({ genesis: list.genesis, seq: 0, redactions: [] });
  expect(registry.tombstones).toEqual([
    { address: addressOf(bytes), bytes: bytes.length, count: 2, inline: bytes },
  ]);
  expect(encodeRegistry(registry)).toEqual(spec.bytes);
  expect(spec.text).toContain(`key ${registryKey(registry.genesis)}`);
});

const body = () => decodeCbor(listing("registry").bytes) as Map<string, unknown>;

test("keys of other parts of the format are kept as they are", () => {
  const others = fc.dictionary(
    fc.string().filter((key) => !body().has(key)),
    fc.oneof(fc.integer({ min: 0 }), fc.string(), fc.array(fc.nat())),
  );
  fc.assert(
    fc.property(others, (more) => {
      const bytes = encodeCbor(new Map([...body(), ...Object.entries(more)]));
      expect(encodeRegistry(decodeRegistry(bytes))).toEqual(bytes);
    }),
  );
});

test.each([
  ["genesis", undefined],
  ["seq", -1],
  ["writeId", new Uint8Array(15)],
  ["tombstones", [[1, 2, 3]]],
  ["tombstones", [[]]],
  ["redactions", 0],
  ["redactions", ["x"]],
  ["kind", "dreamdb.ref"],
])("is refused with another %s", async (key, value) => {
  const changed = body();
  if (value === undefined) changed.delete(key);
  else changed.set(key, value);
  expect(await refusal(() => decodeRegistry(encodeCbor(changed)))).toMatchObject({ code: "Corrupt" });
});

test("is refused when a newer version wrote it", async () => {
  const changed = encodeCbor(new Map([...body(), ["version", 2]]));
  expect(await refusal(() => decodeRegistry(changed))).toMatchObject({ code: "UnsupportedVersion" });
});

test("a list inside that has another length than it says is refused", async () => {
  const [ref] = body().get("tombstones") as unknown[][];
  const changed = encodeCbor(new Map([...body(), ["tombstones", [[ref?.[0], 5, 2, ref?.[3]]]]]));
  expect(await refusal(() => decodeRegistry(changed))).toMatchObject({ code: "Corrupt" });
});
