import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { type Address, addressOf } from "../../src/core/address.ts";
import { blake3, toHex } from "../../src/core/blake3.ts";
import { decodeCbor, encodeCbor } from "../../src/core/cbor.ts";
import { MAX_TICK } from "../../src/core/time.ts";
import { NO_NODE } from "../../src/layout/graph.ts";
import type { Sealed } from "../../src/objects/column.ts";
import {
  blockNodesOf,
  decodeGraphIndex,
  defaultGraphSeed,
  encodeGraphIndex,
  type GraphIndex,
} from "../../src/objects/graph-index.ts";
import {
  decodeGraphBlock,
  decodeGraphPageHead,
  encodeGraphBlock,
  encodeGraphPage,
  type GraphBlock,
  type GraphBlockSource,
  type GraphPageHead,
  pagesOf,
} from "../../src/objects/graph-page.ts";
import { everyDamage, everyHugeNumber, outcome } from "./damage.ts";

const coded = (code: string): object => expect.objectContaining({ name: "DreamDBError", code });

interface Shape {
  rows: number;
  dim: number;
  degree: number;
  blockNodes: number;
  isL2: boolean;
}

/** A page's nodes. */
type Nodes = GraphBlockSource & { rows: number; blockNodes: number };

function pageOf(source: Nodes): Sealed {
  const { firstNode, nodes, dim, degree, blockNodes, halves } = source;
  const blocks: Uint8Array[] = [];
  for (let from = 0; from < nodes; from += blockNodes) {
    const to = Math.min(from + blockNodes, nodes);
    blocks.push(
      encodeGraphBlock({
        ...{ firstNode: firstNode + from, nodes: to - from, dim, degree },
        anchors: source.anchors.slice(from, to),
        scales: source.scales.slice(from, to),
        ...(halves === undefined ? {} : { halves: halves.slice(from, to) }),
        // Views, as a caller may have them.
        codes: source.codes.subarray(from * dim, to * dim),
        lists: source.lists.subarray(from * degree, to * degree),
      }),
    );
  }
  return encodeGraphPage({ ...source, hasHalves: halves !== undefined }, blocks);
}

/** A graph whose node i has the neighbours `listOf` says, made into pages. */
function graphOf(
  shape: Shape,
  listOf: (node: number) => number[],
): { index: GraphIndex; pages: Sealed[]; sources: Nodes[] } {
  const { rows, dim, degree, blockNodes, isL2 } = shape;
  const sources = pagesOf(rows, blockNodes).map(({ firstNode, nodes }): Nodes => {
    const lists = new Uint32Array(nodes * degree).fill(NO_NODE);
    for (let i = 0; i < nodes; i++) lists.set(listOf(firstNode + i), i * degree);
    return {
      ...{ firstNode, nodes, dim, degree, rows, blockNodes, lists },
      anchors: BigUint64Array.from({ length: nodes }, (_, i) => MAX_TICK - BigInt((firstNode + i) * 4099)),
      scales: Float32Array.from({ length: nodes }, (_, i) => i / 7),
      ...(isL2 ? { halves: Float32Array.from({ length: nodes }, (_, i) => i / 3) } : {}),
      codes: Int8Array.from({ length: nodes * dim }, (_, i) => ((i * 37) % 255) - 127),
    };
  });
  const pages = sources.map(pageOf);
  const index: GraphIndex = {
    algorithm: isL2 ? "dreamdb.vamana-l2" : "dreamdb.vamana-cosine",
    ...{
      dim,
      exponent: isL2 ? -3 : 0,
      rows,
      degree,
      entries: 1 + ((rows - 1) % 256),
      heads: rows,
      blockNodes,
    },
    ...{ cells: 1, iterations: 6, candidates: 250, probes: 10 },
    seed: defaultGraphSeed(isL2 ? "l2" : "cosine", dim, degree),
    parents: [],
    pages: pages.map((page) => page.ref),
  };
  return { index, pages, sources };
}

function headOf(index: GraphIndex, page: Sealed, i: number): GraphPageHead {
  const { head } = page.ref;
  if (head === undefined) return decodeGraphPageHead(page.bytes, index, i);
  const bytes = page.bytes.slice(0, head.bytes);
  expect(blake3(bytes)).toEqual(head.hash);
  return decodeGraphPageHead(bytes, index, i);
}

function expectRoundTrip({ index, pages, sources }: ReturnType<typeof graphOf>): void {
  const { dim, degree } = index;
  expect(decodeGraphIndex(encodeGraphIndex(index))).toEqual(index);
  pages.forEach((page, p) => {
    const source = sources[p] as Nodes;
    expect(addressOf(page.bytes)).toBe(page.ref.address);
    const head = headOf(index, page, p);
    expect([head.firstNode, head.nodes]).toEqual([source.firstNode, source.nodes]);
    let node = 0;
    for (const block of head.blocks) {
      expect(block.firstNode).toBe(source.firstNode + node);
      const bytes = page.bytes.slice(block.offset, block.offset + block.bytes);
      expect(toHex(blake3(bytes))).toBe(toHex(block.hash));
      const lists = new Uint32Array(block.nodes * degree);
      const nodes = decodeGraphBlock(index, block, bytes, lists);
      const past = node + block.nodes;
      expect(lists).toEqual(source.lists.slice(node * degree, past * degree));
      expect(nodes.anchors).toEqual(source.anchors.slice(node, past));
      expect(nodes.scales).toEqual(source.scales.slice(node, past));
      expect(nodes.halves).toEqual(source.halves?.slice(node, past));
      expect([...nodes.codes]).toEqual([...source.codes.slice(node * dim, past * dim)]);
      node = past;
    }
    expect(node).toBe(source.nodes);
  });
}

describe("round trips", () => {
  test("of any lists", () => {
    const shapes = fc.record({
      rows: fc.integer({ min: 1, max: 300 }),
      dim: fc.constantFrom(1, 3, 17),
      degree: fc.constantFrom(4, 8, 64),
      blockNodes: fc.constantFrom(1, 2, 16, 256),
      isL2: fc.boolean(),
    });
    const picks = fc.array(fc.nat(), { minLength: 1, maxLength: 400 });
    fc.assert(
      fc.property(shapes, picks, (shape, numbers) => {
        const listOf = (node: number): number[] => {
          const length = (numbers[node % numbers.length] as number) % (shape.degree + 1);
          const chosen = Array.from(
            { length },
            (_, j) => (numbers[(node * 7 + j) % numbers.length] as number) % shape.rows,
          );
          return [...new Set(chosen)].filter((other) => other !== node).sort((a, b) => a - b);
        };
        expectRoundTrip(graphOf(shape, listOf));
      }),
      { numRuns: 80 },
    );
  });

  test("of node numbers far apart", () => {
    // A page in the middle of 2^31 − 1 nodes can be encoded by itself.
    const rows = 2 ** 31 - 1;
    const shape = { rows, dim: 1, degree: 8, blockNodes: 2 };
    const firstNode = 2 ** 30;
    const list = [0, 1, 127, 128, firstNode - 1, firstNode + 1, rows - 2, rows - 1];
    const page = pageOf({
      ...{ ...shape, firstNode, nodes: 1, anchors: BigUint64Array.of(0n), scales: Float32Array.of(1) },
      ...{ codes: Int8Array.of(-127), lists: Uint32Array.from(list) },
    });
    const index = { ...graphOf({ ...shape, rows: 1, isL2: false }, () => []).index, rows };
    const block = { ...spanOf(page), firstNode, nodes: 1 };
    const lists = new Uint32Array(8);
    decodeGraphBlock(index, block, page.bytes.slice(block.offset), lists);
    expect([...lists]).toEqual(list);
  });

  test("pages and blocks are cut where the specification says", () => {
    expect(pagesOf(300, 2)).toEqual([
      { firstNode: 0, nodes: 256 },
      { firstNode: 256, nodes: 44 },
    ]);
    expect([
      blockNodesOf(1, 64),
      blockNodesOf(100, 64),
      blockNodesOf(768, 64),
      blockNodesOf(65_536, 64),
    ]).toEqual([256, 256, 64, 1]);
  });
});

/** Where the only block of a page lies. */
function spanOf({ bytes }: Sealed): GraphBlock {
  const view = new DataView(bytes.buffer);
  const offset = Number(view.getBigUint64(64, true));
  return { offset, bytes: view.getUint32(72, true), hash: bytes.slice(80, 112), firstNode: 0, nodes: 0 };
}

const ring =
  (rows: number, degree: number) =>
  (node: number): number[] =>
    [...new Set(Array.from({ length: Math.min(degree, rows - 1) }, (_, j) => (node + j + 1) % rows))].sort(
      (a, b) => a - b,
    );
const examples = {
  "of one block": graphOf({ rows: 5, dim: 3, degree: 4, blockNodes: 8, isL2: false }, ring(5, 4)),
  "of three blocks for l2": graphOf({ rows: 5, dim: 2, degree: 4, blockNodes: 2, isL2: true }, ring(5, 3)),
};

describe.each(Object.entries(examples))("a page %s", (_, { index, pages }) => {
  const page = pages[0] as Sealed;
  const whole = decodeGraphPageHead(page.bytes, index, 0);
  const head = page.bytes.slice(0, (whole.blocks[0] as GraphBlock).offset);

  test("whose head is damaged in any bit, or cut, is refused by code or still adds up", () => {
    const codes = new Set<string>();
    const visit = (damaged: Uint8Array, what: string): void => {
      const found = outcome(() => decodeGraphPageHead(damaged, index, 0), what);
      if ("code" in found) return void codes.add(found.code);
      expect(damaged.length).toBe(head.length);
      expect(found.value.nodes).toBe(5);
      for (const block of found.value.blocks)
        expect(block.offset + block.bytes).toBeLessThanOrEqual(page.bytes.length);
    };
    everyDamage(head, visit);
    everyHugeNumber(head, head.length, visit);
    expect([...codes].sort()).toEqual(["Corrupt", "UnsupportedVersion"]);
  });

  test("whose blocks are damaged in any bit, or cut, is refused or has lists of nodes there are", () => {
    for (const block of whole.blocks) {
      const bytes = page.bytes.slice(block.offset, block.offset + block.bytes);
      everyDamage(bytes, (damaged, what) => {
        const lists = new Uint32Array(block.nodes * 4);
        const found = outcome(() => decodeGraphBlock(index, block, damaged, lists), what);
        if ("code" in found) return expect(found.code).toBe("Corrupt");
        expect(damaged.length).toBe(bytes.length);
        expect(found.value.codes.includes(-128)).toBe(false);
        for (let i = 0; i < block.nodes; i++) {
          const list = [...lists.slice(4 * i, 4 * i + 4)].filter((other) => other !== NO_NODE);
          expect(list.every((other, j) => other < 5 && (j === 0 || other > (list[j - 1] as number)))).toBe(
            true,
          );
          expect(list).not.toContain(block.firstNode + i);
        }
      });
    }
  });

  test("of another graph, place, length, magic, version or flags is refused", () => {
    const decode =
      (bytes: Uint8Array, of: GraphIndex, place = 0) =>
      () =>
        decodeGraphPageHead(bytes, of, place);
    for (const other of [{ dim: 9 }, { degree: 8 }, { rows: 6 }, { blockNodes: 1 }]) {
      expect(decode(head, { ...index, ...other })).toThrow(coded("Corrupt"));
    }
    const longer = index.pages.map((ref) => ({ ...ref, bytes: ref.bytes + 1 }));
    expect(decode(head, { ...index, pages: longer })).toThrow(coded("Corrupt"));
    const algorithm = index.algorithm === "dreamdb.vamana-l2" ? "dreamdb.vamana-cosine" : "dreamdb.vamana-l2";
    expect(decode(head, { ...index, algorithm })).toThrow(coded("Corrupt"));
    for (const [at, value, code] of [
      [0, 0, "Corrupt"],
      [4, 0, "Corrupt"],
      [4, 2, "UnsupportedVersion"],
      [6, 2, "UnsupportedVersion"],
      [8, 1, "Corrupt"],
      [36, 1, "Corrupt"],
      [56, 1, "Corrupt"],
    ] as const) {
      expect(decode(head.with(at, value), index)).toThrow(coded(code));
    }
  });
});

describe("a list", () => {
  const { index, pages } = graphOf({ rows: 400, dim: 1, degree: 4, blockNodes: 512, isL2: false }, () => []);
  // The lists of 400 nodes without neighbours, and the first of them anew.
  const block = headOf(index, pages[0] as Sealed, 0).blocks[0] as GraphBlock;
  const bytes = (pages[0] as Sealed).bytes.slice(block.offset, block.offset + block.bytes);
  const decode = (...first: number[]): number[] => {
    const damaged = new Uint8Array([...bytes.slice(0, 400 * 13), ...first, ...bytes.slice(400 * 13 + 1)]);
    const lists = new Uint32Array(1600);
    decodeGraphBlock(index, { ...block, bytes: damaged.length }, damaged, lists);
    return [...lists.slice(0, 4)];
  };

  test("as written", () => {
    expect(decode(0)).toEqual([NO_NODE, NO_NODE, NO_NODE, NO_NODE]);
    expect(decode(2, 2, 1)).toEqual([1, 2, NO_NODE, NO_NODE]);
    expect(decode(4, 2, 1, 127, 0x80, 0x01)).toEqual([1, 2, 129, 257]);
    expect(decode(1, 0x9e, 0x06)).toEqual([399, NO_NODE, NO_NODE, NO_NODE]);
  });

  test.each([
    ["too long", [5, 2, 1, 1, 1, 1]],
    ["with the node itself", [1, 0]],
    ["below 0", [1, 1]],
    ["with a node twice", [2, 2, 0]],
    ["past the last node", [1, 0xa0, 0x06]],
    ["with a varint longer than it need be", [1, 0x82, 0x00]],
    ["with a varint without end", [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]],
    ["with something left over", [0, 0]],
  ])("%s is refused", (_, first) => {
    expect(() => decode(...first)).toThrow(coded("Corrupt"));
  });

  test("missing is refused", () => {
    const short = bytes.slice(0, -1);
    const lists = new Uint32Array(1600);
    expect(() => decodeGraphBlock(index, { ...block, bytes: short.length }, short, lists)).toThrow(
      coded("Corrupt"),
    );
    expect(() => decodeGraphBlock(index, block, short, lists)).toThrow(coded("Corrupt"));
  });

  test("of a code of −128, or a factor that is negative or not finite, is refused", () => {
    const changed = (at: number, ...values: number[]): (() => void) => {
      const damaged = bytes.slice();
      damaged.set(values, at);
      return () => void decodeGraphBlock(index, block, damaged, new Uint32Array(1600));
    };
    expect(changed(400 * 12, 0x80)).toThrow(coded("Corrupt"));
    expect(changed(400 * 8, 0, 0, 0x80, 0xbf)).toThrow(coded("Corrupt"));
    expect(changed(400 * 8, 0, 0, 0x80, 0x7f)).toThrow(coded("Corrupt"));
    expect(changed(400 * 8, 0, 0, 0xc0, 0x7f)).toThrow(coded("Corrupt"));
  });
});

describe("a graph index", () => {
  const { index } = examples["of three blocks for l2"];
  const parents: Address[] = [addressOf(Uint8Array.of(1)), addressOf(Uint8Array.of(2))];
  const bytes = encodeGraphIndex({ ...index, parents });
  const withKey = (key: string, value?: unknown): Uint8Array => {
    const map = decodeCbor(bytes) as Map<string, unknown>;
    if (value === undefined) map.delete(key);
    else map.set(key, value);
    return encodeCbor(map);
  };

  test("round trips with parents", () => {
    expect(decodeGraphIndex(bytes)).toEqual({ ...index, parents });
  });

  test("damaged in any bit, or cut, is refused by code or still is one", () => {
    everyDamage(bytes, (damaged, what) => {
      const found = outcome(() => decodeGraphIndex(damaged), what);
      if ("code" in found)
        expect(["Corrupt", "UnsupportedVersion", "InvalidAddress", "LimitExceeded"]).toContain(found.code);
      else expect(found.value.entries).toBeLessThanOrEqual(found.value.heads);
    });
  });

  test.each([
    ["rows", 0],
    ["rows", 2 ** 31],
    ["dim", 0],
    ["degree", 2],
    ["degree", 6],
    ["degree", 68],
    ["entries", 0],
    ["entries", 6],
    ["heads", 4],
    ["heads", 6],
    ["blockNodes", 3],
    ["blockNodes", 0],
    ["exponent", 301],
    ["exponent", "1"],
    ["seed", new Uint8Array(31)],
    ["pages", []],
    ["kind", "dreamdb.graph"],
    ["cells", 6],
    ["candidates", 0],
    ["probes", 65],
  ])("with %s %p is refused", (key, value) => {
    expect(() => decodeGraphIndex(withKey(key, value))).toThrow(coded("Corrupt"));
    expect(() => decodeGraphIndex(withKey(key))).toThrow(coded("Corrupt"));
  });

  test("of a newer version or another algorithm is told apart", () => {
    expect(() => decodeGraphIndex(withKey("version", 2))).toThrow(coded("UnsupportedVersion"));
    expect(() => decodeGraphIndex(withKey("algorithm", "dreamdb.hnsw-cosine"))).toThrow(
      coded("UnsupportedVersion"),
    );
  });
});
