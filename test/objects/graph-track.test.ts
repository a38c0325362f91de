/** A SpatialIndex that names a graph, and the Track and Manifest around it. */
import { describe, expect, test } from "@jest/globals";
import { addressOf } from "../../src/core/address.ts";
import { decodeCbor, encodeCbor } from "../../src/core/cbor.ts";
import type { EmbeddingField } from "../../src/objects/field.ts";
import { emptyIndex, type IndexRoot, type SegmentEntry } from "../../src/objects/index-tree.ts";
import { decodeManifest, encodeManifest, type Manifest } from "../../src/objects/manifest.ts";
import {
  type BuiltGraph,
  cellCount,
  decodeSpatialIndex,
  encodeSpatialIndex,
  isGraph,
  isTrained,
  type SpatialIndex,
} from "../../src/objects/spatial-index.ts";

const coded = (code: string): object => expect.objectContaining({ name: "DreamDBError", code });
const address = addressOf(Uint8Array.of(1));

const graph: BuiltGraph = {
  algorithm: "dreamdb.vamana-l2",
  dim: 3,
  rows: 5,
  graph: { address, bytes: 200 },
  parents: [address],
};

describe("a SpatialIndex with a graph", () => {
  test("comes back as it was, built and not", () => {
    const before: SpatialIndex = { algorithm: "dreamdb.vamana-cosine", dim: 3, cells: 1, parents: [] };
    for (const index of [graph, before]) expect(decodeSpatialIndex(encodeSpatialIndex(index))).toEqual(index);
    expect([isGraph(graph), isGraph(before), isTrained(graph), isTrained(before)]).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect([cellCount(graph), cellCount(before)]).toEqual([1, 1]);
  });

  test.each([
    ["no rows", "rows", 0],
    ["rows that are no number", "rows", "5"],
    ["a graph without its length", "graph", []],
    ["a graph that is no address", "graph", ["x", 200]],
  ])("is refused with %s", (_, key, value) => {
    const map = decodeCbor(encodeSpatialIndex(graph)) as Map<string, unknown>;
    map.set(key, value);
    expect(() => decodeSpatialIndex(encodeCbor(map))).toThrow(coded("Corrupt"));
  });

  test("without a graph has one cell", () => {
    const map = decodeCbor(encodeSpatialIndex(graph)) as Map<string, unknown>;
    map.delete("graph");
    expect(() => decodeSpatialIndex(encodeCbor(map))).toThrow(coded("Corrupt"));
  });
});

describe("a Manifest whose Track names a graph", () => {
  const field: EmbeddingField = {
    id: 0,
    name: "v",
    required: true,
    kind: "embedding",
    dim: 3,
    algorithm: "dreamdb.vamana-l2",
    lshBits: 0,
    rerank: true,
  };
  const encoded = (index: BuiltGraph, segments: IndexRoot<SegmentEntry> = emptyIndex(), rows = 5) => {
    const entry = { base: 0n, span: BigInt(rows - 1), rows, anchors: { step: 1n }, columns: new Map() };
    const manifest: Manifest = {
      genesis: address,
      parents: [address],
      seq: 1,
      ts: 0n,
      writer: "w",
      opId: new Uint8Array(16),
      op: "build-graph",
      fields: [field],
      nextFieldId: 1,
      autoHigh: 0n,
      lane: 0,
      timeline: { pages: [], entries: [entry], rows },
      tracks: new Map([
        [0, { address: addressOf(encodeSpatialIndex(index)), spatialIndex: index, segments }],
      ]),
    };
    return encodeManifest(manifest);
  };

  test("comes back as it was", () => {
    for (const rows of [5, 9]) {
      const manifest = decodeManifest(encoded(graph, emptyIndex(), rows));
      expect(manifest.tracks.get(0)?.spatialIndex).toEqual(graph);
      expect(manifest.fields).toEqual([field]);
    }
  });

  test("is refused when the graph has more rows than the timeline, or there are segments", () => {
    expect(() => decodeManifest(encoded({ ...graph, rows: 6 }))).toThrow(coded("Corrupt"));
    const segment = { base: 0n, span: 0n, rows: 1, container: { address, bytes: 300 } };
    const segments = { pages: [], entries: [segment], rows: 1 };
    expect(() => decodeManifest(encoded(graph, segments))).toThrow(coded("Corrupt"));
  });
});
