/** How the nodes of a graph are found and walked: a self-describing object (spec/0013-graph-indexing.md §5). */
import { type Address, addressFromCbor, addressToCbor } from "../core/address.ts";
import { blake3 } from "../core/blake3.ts";
import { encodeCbor } from "../core/cbor.ts";
import { DreamDBError } from "../errors.ts";
import {
  GRAPH_PAGE_BLOCKS,
  MAX_GRAPH_CANDIDATES,
  MAX_GRAPH_DEGREE,
  MAX_GRAPH_ENTRIES,
} from "../layout/graph.ts";
import { type ContainerRef, containerRefFromCbor, containerRefToCbor } from "./container-ref.ts";
import { corrupt, decodeObject, FORMAT_VERSION } from "./shape.ts";
import { MAX_DIM } from "./spatial-index.ts";

const KIND = "dreamdb.graph-index";
const MAX_NODES = 2 ** 31 - 1;
/** Beyond it no f32 is left. */
const MAX_EXPONENT = 300;
const BLOCK_BYTES = 65_536;

export type GraphMetric = "cosine" | "l2";

export interface GraphIndex {
  algorithm: "dreamdb.vamana-cosine" | "dreamdb.vamana-l2";
  dim: number;
  /** l2: vectors were divided by 2^exponent. 0 for cosine. */
  exponent: number;
  /** Nodes of the graph. */
  rows: number;
  /** Longest neighbour list, a multiple of 4. */
  degree: number;
  /** So many first nodes are where every walk sets out from, at most 256. */
  entries: number;
  /** So many first nodes each stand for a cell of the build; the entries are some of them. */
  heads: number;
  /** Nodes of every block but the last: a power of two. */
  blockNodes: number;
  /** How it was built: cells and rounds of the k-means, seed, candidates and probed cells of each node. */
  cells: number;
  iterations: number;
  candidates: number;
  probes: number;
  /** 32 bytes. */
  seed: Uint8Array;
  parents: Address[];
  /** Each has the next GRAPH_PAGE_BLOCKS blocks of nodes. */
  pages: ContainerRef[];
}

export function metricOf(index: GraphIndex): GraphMetric {
  return index.algorithm === "dreamdb.vamana-l2" ? "l2" : "cosine";
}

/** Equal parameters draw the same samples, so that equal vectors give equal graphs. */
export function defaultGraphSeed(metric: GraphMetric, dim: number, degree: number): Uint8Array {
  return blake3(new TextEncoder().encode(`dreamdb.vamana-${metric}/${dim}/${degree}`));
}

/** The most nodes, as a power of two, of which a block is sure to stay near 64 KiB. */
export function blockNodesOf(dim: number, degree: number): number {
  return 2 ** Math.max(0, Math.floor(Math.log2(BLOCK_BYTES / (dim + 16 + 2 * degree))));
}

export function pageNodesOf(index: GraphIndex): number {
  return index.blockNodes * GRAPH_PAGE_BLOCKS;
}

export function encodeGraphIndex(index: GraphIndex): Uint8Array {
  const { pages, parents, exponent, ...fields } = index;
  return encodeCbor({
    kind: KIND,
    version: FORMAT_VERSION,
    ...fields,
    ...(metricOf(index) === "l2" ? { exponent } : {}),
    parents: parents.map(addressToCbor),
    pages: pages.map(containerRefToCbor),
  });
}

/** Errors: `Corrupt`, `UnsupportedVersion` (another algorithm, too). */
export function decodeGraphIndex(bytes: Uint8Array): GraphIndex {
  const shape = decodeObject(bytes, KIND);
  const algorithm = shape.text("algorithm");
  if (algorithm !== "dreamdb.vamana-cosine" && algorithm !== "dreamdb.vamana-l2") {
    throw new DreamDBError("UnsupportedVersion", "a graph this version cannot walk; upgrade the library", {
      field: "algorithm",
      found: algorithm,
      expected: "dreamdb.vamana-cosine or dreamdb.vamana-l2",
    });
  }
  const rows = shape.uint("rows", MAX_NODES, 1);
  const index: GraphIndex = {
    algorithm,
    dim: shape.uint("dim", MAX_DIM, 1),
    exponent: algorithm === "dreamdb.vamana-l2" ? exponentOf(shape.difference("exponent")) : 0,
    rows,
    degree: shape.uint("degree", MAX_GRAPH_DEGREE, 4),
    entries: shape.uint("entries", Math.min(rows, MAX_GRAPH_ENTRIES), 1),
    heads: shape.uint("heads", rows, 1),
    blockNodes: shape.uint("blockNodes", BLOCK_BYTES, 1),
    cells: shape.uint("cells", rows, 1),
    iterations: shape.uint("iterations"),
    candidates: shape.uint("candidates", MAX_GRAPH_CANDIDATES, 1),
    probes: shape.uint("probes", 64, 1),
    seed: shape.bytes("seed", 32),
    parents: shape.array("parents").map((parent, i) => addressFromCbor(parent, `graph-index.parents[${i}]`)),
    pages: shape.array("pages").map((ref, i) => containerRefFromCbor(ref, `graph-index.pages[${i}]`)),
  };
  if (index.degree % 4 !== 0) throw corrupt("graph-index.degree", index.degree, "a multiple of 4");
  if (index.heads < index.entries)
    throw corrupt("graph-index.heads", index.heads, `at least the ${index.entries} entries`);
  if ((index.blockNodes & (index.blockNodes - 1)) !== 0)
    throw corrupt("graph-index.blockNodes", index.blockNodes, "a power of two");
  const pages = Math.ceil(rows / pageNodesOf(index));
  if (index.pages.length !== pages) throw corrupt("graph-index.pages", `${index.pages.length} pages`, pages);
  return index;
}

function exponentOf(value: bigint): number {
  if (value >= -MAX_EXPONENT && value <= MAX_EXPONENT) return Number(value);
  throw corrupt("graph-index.exponent", value, `−${MAX_EXPONENT}…${MAX_EXPONENT}`);
}
