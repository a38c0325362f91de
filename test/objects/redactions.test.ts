import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { addressFromCbor, addressOf } from "../../src/core/address.ts";
import { fromHex } from "../../src/core/blake3.ts";
import { decodeCbor, encodeCbor } from "../../src/core/cbor.ts";
import { containerRefFromCbor } from "../../src/objects/container-ref.ts";
import { type BatchEntry, batchCodec, segmentCodec } from "../../src/objects/index-tree.ts";
import {
  decodeRedactions,
  digestOfEntry,
  encodeRedactions,
  type RedactionMap,
} from "../../src/objects/redactions.ts";
import { encodeSpatialIndex } from "../../src/objects/spatial-index.ts";

const coded = (code: string) => expect.objectContaining({ code });

/** The bytes of a worked example of the specification, and the address or key that it says they have. */
function example(name: string): { bytes: Uint8Array; address: string; key: string } {
  const spec = readFileSync("spec/0020-maintenance.md", "utf8");
  const of = new RegExp(`<!-- example: ${name} -->\\n\`\`\`text\\n([\\s\\S]*?)\`\`\``);
  const [, block = ""] = of.exec(spec) ?? [];
  const lines = block.split("\n\n")[0]?.split("\n") ?? [];
  const hex = lines.map((line) => line.split("#")[0]?.trim()).join("");
  const after = (word: string): string => new RegExp(`\\n${word} (\\S+)`).exec(block)?.[1] ?? "";
  return { bytes: fromHex(hex), address: after("address"), key: after("key") };
}

const address = (n: number) => addressOf(Uint8Array.of(n));
const entry = (n: number): BatchEntry => ({
  base: BigInt(1000 * n),
  span: 5n,
  rows: 6,
  anchors: { step: 1n },
  columns: new Map([[0, { address: address(n), bytes: 100 }]]),
});
const keys = [1, 2].map((n) => digestOfEntry(entry(n), batchCodec)).sort();
const inline = encodeSpatialIndex({ algorithm: "dreamdb.vamana-l2", dim: 3, cells: 1, parents: [] });
const map: RedactionMap = {
  genesis: address(0),
  batches: keys.map((key, i) => ({ key, dead: i + 1, entry: entry(10 + i) })),
  segments: keys.map((key, i) => ({
    key,
    dead: 1,
    entry:
      i === 0 ? undefined : { base: 7n, span: 9n, rows: 2, container: { address: address(9), bytes: 300 } },
  })),
  indexes: [
    {
      graph: address(5),
      address: addressOf(inline),
      inline,
      spatialIndex: { algorithm: "dreamdb.vamana-l2", dim: 3, cells: 1, parents: [] },
    },
  ],
};

test("the key of a segment that counts in part is that of the specification, and another without the lineage", () => {
  const { bytes, key } = example("redaction-key");
  const [base, span, rows, container, lineage] = decodeCbor(bytes) as [
    number,
    number,
    number,
    unknown,
    unknown,
  ];
  const segment = {
    ...{ base: BigInt(base), span: BigInt(span), rows },
    container: containerRefFromCbor(container, "segment"),
  };
  expect(digestOfEntry(segment, segmentCodec, addressFromCbor(lineage, "lineage"))).toBe(key);
  expect(digestOfEntry(segment, segmentCodec)).not.toBe(key);
});

test("a map comes back as it was", () => {
  expect(decodeRedactions(encodeRedactions(map))).toEqual(map);
});

test("the example of the specification is read, and written to the byte", () => {
  const { bytes, address: expected } = example("redactions");
  const found = decodeRedactions(bytes);
  expect(found).toMatchObject({
    batches: [{ dead: 1, entry: { base: 8192n, rows: 3 } }],
    segments: [{ entry: undefined }],
    indexes: [],
  });
  expect(encodeRedactions(found)).toEqual(bytes);
  expect(addressOf(bytes)).toBe(expected);
});

test("keys tell entries apart by their first tick, and columns by what is listed", () => {
  expect(
    new Set(
      [entry(1), { ...entry(1), base: 1001n }, { ...entry(1), columns: new Map() }].map((each) =>
        digestOfEntry(each, batchCodec),
      ),
    ).size,
  ).toBe(3);
});

test("what is not in order, or incomplete, or of another index is refused", () => {
  const broken = (change: (body: Map<string, unknown>) => void): Uint8Array => {
    const body = decodeCbor(encodeRedactions(map)) as Map<string, unknown>;
    change(body);
    return encodeCbor(body);
  };
  const list = (body: Map<string, unknown>, key: string) => body.get(key) as unknown[][];
  for (const bytes of [
    broken((body) => list(body, "batches").reverse()),
    broken((body) => body.set("segments", [...list(body, "segments"), list(body, "segments")[0]])),
    broken((body) => list(body, "batches")[0]?.pop()),
    broken((body) => list(body, "indexes")[0]?.splice(2, 1, Uint8Array.of(1, 2))),
    broken((body) => body.delete("indexes")),
    broken((body) => list(body, "batches")[0]?.splice(0, 1, Uint8Array.of(1))),
  ])
    expect(() => decodeRedactions(bytes)).toThrow(coded("Corrupt"));
});
