/**
 * Pages of a graph: a run of its nodes in blocks that can be read and verified one by one
 * (spec/0013-graph-indexing.md §6).
 *
 *   offset size
 *        0    4  magic "DDBG"
 *        4    2  version, 1
 *        6    2  flags: bit 0, nodes have halves
 *        8    4  first node       12  4  nodes
 *       16    4  dim              20  4  degree
 *       24    4  rows of the graph
 *       28    4  nodes a block, a power of two
 *       32    4  blocks           36  4  zeros
 *       40    8  head bytes       48  8  total bytes
 *       56    8  zeros
 *       64       blocks × { 8 offset, 4 bytes, 4 first node, 32 BLAKE3 }
 *                zeros up to a multiple of 64: here the head ends and the first block begins, each at a multiple of 64
 *
 * A block of m nodes: m × u64 anchor, m × f32 scale, with bit 0 m × f32 half, m × dim i8 codes, and then each node's
 * list as LEB128: how many neighbours, zigzag(first − node), and the difference from each to the next.
 */
import { blake3 } from "../core/blake3.ts";
import { MAX_OBJECT_BYTES } from "../core/cbor.ts";
import { DreamDBError } from "../errors.ts";
import {
  GRAPH_PAGE_BLOCK_ROW_BYTES,
  GRAPH_PAGE_BLOCKS,
  GRAPH_PAGE_HEADER_BYTES,
  NO_NODE,
} from "../layout/graph.ts";
import { align, checkVersion, type Sealed, type Span, seal } from "./column.ts";
import { type GraphIndex, metricOf, pageNodesOf } from "./graph-index.ts";
import { corrupt } from "./shape.ts";

const MAGIC = 0x47424444; // "DDBG"
const VERSION = 1;
const FLAG_HALVES = 1;

/** A block's nodes, ready to be written. */
export interface GraphBlockSource {
  firstNode: number;
  nodes: number;
  dim: number;
  degree: number;
  anchors: BigUint64Array;
  scales: Float32Array;
  /** For l2. */
  halves?: Float32Array;
  /** nodes × dim, −127…127. */
  codes: Int8Array;
  /** nodes × degree, ascending, then NO_NODE. */
  lists: Uint32Array;
}

/** What a page says of itself. */
export interface GraphPageSource {
  firstNode: number;
  nodes: number;
  dim: number;
  degree: number;
  /** Nodes of the whole graph. */
  rows: number;
  blockNodes: number;
  hasHalves: boolean;
}

export interface GraphBlock extends Span {
  firstNode: number;
  nodes: number;
}

export interface GraphPageHead {
  firstNode: number;
  nodes: number;
  blocks: GraphBlock[];
}

/** A block's nodes; `codes` is a view of its bytes. */
export interface GraphNodes {
  anchors: BigUint64Array;
  scales: Float32Array;
  halves: Float32Array | undefined;
  codes: Int8Array;
}

/** @param blocks from `encodeGraphBlock`, each of blockNodes nodes, the last of those that are left */
export function encodeGraphPage(source: GraphPageSource, blocks: readonly Uint8Array[]): Sealed {
  const { firstNode, nodes, blockNodes } = source;
  const count = blocks.length;
  const headBytes = align(GRAPH_PAGE_HEADER_BYTES + count * GRAPH_PAGE_BLOCK_ROW_BYTES);
  const totalBytes = blocks.reduce((at, block) => align(at) + block.length, headBytes);
  if (totalBytes > MAX_OBJECT_BYTES) {
    throw new DreamDBError("LimitExceeded", "a page of a graph is too large", {
      found: totalBytes,
      expected: `at most ${MAX_OBJECT_BYTES} bytes`,
    });
  }
  const out = new Uint8Array(totalBytes);
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, VERSION, true);
  view.setUint16(6, source.hasHalves ? FLAG_HALVES : 0, true);
  [firstNode, nodes, source.dim, source.degree, source.rows, blockNodes, count].forEach((value, i) => {
    view.setUint32(8 + 4 * i, value, true);
  });
  view.setBigUint64(40, BigInt(headBytes), true);
  view.setBigUint64(48, BigInt(totalBytes), true);
  let offset = headBytes;
  blocks.forEach((block, i) => {
    offset = align(offset);
    out.set(block, offset);
    const row = GRAPH_PAGE_HEADER_BYTES + i * GRAPH_PAGE_BLOCK_ROW_BYTES;
    view.setBigUint64(row, BigInt(offset), true);
    view.setUint32(row + 8, block.length, true);
    view.setUint32(row + 12, firstNode + i * blockNodes, true);
    out.set(blake3(block), row + 16);
    offset += block.length;
  });
  return seal(out, headBytes, count);
}

export function encodeGraphBlock(source: GraphBlockSource): Uint8Array {
  const { firstNode, nodes, dim, degree, anchors, scales, halves, codes, lists } = source;
  const factors = halves === undefined ? 4 : 8;
  const out = new Uint8Array(nodes * (8 + factors + dim + 5 * (degree + 1)));
  const view = new DataView(out.buffer);
  for (let i = 0; i < nodes; i++) {
    view.setBigUint64(8 * i, anchors[i] as bigint, true);
    view.setFloat32(8 * nodes + 4 * i, scales[i] as number, true);
    if (halves !== undefined) view.setFloat32(12 * nodes + 4 * i, halves[i] as number, true);
  }
  let at = (8 + factors) * nodes;
  out.set(new Uint8Array(codes.buffer, codes.byteOffset, nodes * dim), at);
  at += nodes * dim;
  for (let i = 0; i < nodes; i++) {
    let length = 0;
    while (length < degree && lists[i * degree + length] !== NO_NODE) length++;
    out[at++] = length;
    let previous = firstNode + i;
    for (let j = 0; j < length; j++) {
      const node = lists[i * degree + j] as number;
      let value = j === 0 ? zigzag(node - previous) : node - previous;
      for (; value > 127; value = Math.floor(value / 128)) out[at++] = (value & 127) | 128;
      out[at++] = value;
      previous = node;
    }
  }
  return out.slice(0, at);
}

function zigzag(difference: number): number {
  return difference < 0 ? -2 * difference - 1 : 2 * difference;
}

/**
 * Reads a head out of verified bytes, which hold the head or the whole page.
 * @param page its place in the index. Errors: `Corrupt`, `UnsupportedVersion`.
 */
export function decodeGraphPageHead(bytes: Uint8Array, index: GraphIndex, page: number): GraphPageHead {
  if (bytes.length < GRAPH_PAGE_HEADER_BYTES)
    throw corrupt("graph-page", `${bytes.length} bytes`, `at least ${GRAPH_PAGE_HEADER_BYTES}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== MAGIC) throw corrupt("graph-page.magic", view.getUint32(0, true), MAGIC);
  const flags = view.getUint16(6, true);
  checkVersion("graph-page", view.getUint16(4, true), flags, FLAG_HALVES);
  const halves = metricOf(index) === "l2" ? FLAG_HALVES : 0;
  if (flags !== halves) throw corrupt("graph-page.flags", flags, halves);
  const firstNode = page * pageNodesOf(index);
  const nodes = Math.min(pageNodesOf(index), index.rows - firstNode);
  const count = Math.ceil(nodes / index.blockNodes);
  const fields = { firstNode, nodes, dim: index.dim, degree: index.degree, rows: index.rows };
  Object.entries({ ...fields, blockNodes: index.blockNodes, blocks: count, zeros: 0 }).forEach(
    ([name, value], i) => {
      const found = view.getUint32(8 + 4 * i, true);
      if (found !== value) throw corrupt(`graph-page.${name}`, found, value);
    },
  );
  const headBytes = align(GRAPH_PAGE_HEADER_BYTES + count * GRAPH_PAGE_BLOCK_ROW_BYTES);
  const totalBytes = (index.pages[page] as { bytes: number }).bytes;
  for (const [at, value] of [
    [40, headBytes],
    [48, totalBytes],
    [56, 0],
  ] as const) {
    const found = view.getBigUint64(at, true);
    if (found !== BigInt(value)) throw corrupt(`graph-page.offset${at}`, found, value);
  }
  if (headBytes > bytes.length) throw corrupt("graph-page.headBytes", headBytes, `at most ${bytes.length}`);
  return { firstNode, nodes, blocks: readBlocks(view, index, { firstNode, nodes, headBytes, totalBytes }) };
}

function readBlocks(
  view: DataView,
  index: GraphIndex,
  page: { firstNode: number; nodes: number; headBytes: number; totalBytes: number },
): GraphBlock[] {
  const blocks: GraphBlock[] = [];
  let end = page.headBytes;
  for (let first = 0; first < page.nodes; first += index.blockNodes) {
    const row = GRAPH_PAGE_HEADER_BYTES + blocks.length * GRAPH_PAGE_BLOCK_ROW_BYTES;
    const field = `graph-page.blocks[${blocks.length}]`;
    const offset = Number(view.getBigUint64(row, true));
    const bytes = view.getUint32(row + 8, true);
    const nodes = Math.min(index.blockNodes, page.nodes - first);
    if (offset !== align(end)) throw corrupt(`${field}.offset`, offset, align(end));
    if (view.getUint32(row + 12, true) !== page.firstNode + first)
      throw corrupt(`${field}.firstNode`, view.getUint32(row + 12, true), page.firstNode + first);
    // Anchor, factors, codes and the length of the list.
    const least = nodes * (nodeBytes(index) + 1);
    const most = nodes * (nodeBytes(index) + 1 + 5 * index.degree);
    if (bytes < least || bytes > most) throw corrupt(`${field}.bytes`, bytes, `${least}…${most}`);
    const hash = new Uint8Array(view.buffer, view.byteOffset + row + 16, 32);
    blocks.push({ offset, bytes, hash, firstNode: page.firstNode + first, nodes });
    end = offset + bytes;
  }
  if (end !== page.totalBytes) throw corrupt("graph-page.totalBytes", page.totalBytes, end);
  return blocks;
}

/** Bytes of a node's anchor, factors and codes. */
function nodeBytes(index: GraphIndex): number {
  return 8 + (metricOf(index) === "l2" ? 8 : 4) + index.dim;
}

/**
 * Reads a block out of its verified bytes.
 * @param lists nodes × degree u32, which take the neighbours, filled up with NO_NODE. Errors: `Corrupt`.
 */
export function decodeGraphBlock(
  index: GraphIndex,
  block: GraphBlock,
  bytes: Uint8Array,
  lists: Uint32Array,
): GraphNodes {
  const { nodes } = block;
  if (bytes.length !== block.bytes) throw corrupt("graph-page.block", `${bytes.length} bytes`, block.bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const floats = (at: number, field: string): Float32Array =>
    Float32Array.from({ length: nodes }, (_, i) => {
      const value = view.getFloat32(at + 4 * i, true);
      if (!(value >= 0 && value < Infinity))
        throw corrupt(`graph-page.${field}`, value, "finite, at least 0");
      return value;
    });
  const anchors = BigUint64Array.from({ length: nodes }, (_, i) => view.getBigUint64(8 * i, true));
  const scales = floats(8 * nodes, "scales");
  const halves = metricOf(index) === "l2" ? floats(12 * nodes, "halves") : undefined;
  const codesAt = nodes * (nodeBytes(index) - index.dim);
  const codes = new Int8Array(bytes.buffer, bytes.byteOffset + codesAt, nodes * index.dim);
  // Sums of products are bounded for codes down to −127.
  if (codes.includes(-128)) throw corrupt("graph-page.codes", -128, "−127…127");
  readLists(index, block, bytes, codesAt + codes.length, lists);
  return { anchors, scales, halves, codes };
}

function readLists(
  index: GraphIndex,
  block: GraphBlock,
  bytes: Uint8Array,
  offset: number,
  lists: Uint32Array,
): void {
  const { degree, rows } = index;
  let at = offset;
  for (let i = 0; i < block.nodes; i++) {
    const node = block.firstNode + i;
    const length = at < bytes.length ? (bytes[at++] as number) : degree + 1;
    if (length > degree) throw corrupt("graph-page.lists", "a list too long, or past the end", degree);
    let previous = node;
    for (let j = 0; j < length; j++) {
      let byte = bytes[at++];
      let value = (byte as number) & 127;
      for (let unit = 128; byte !== undefined && byte > 127; unit *= 128) {
        byte = bytes[at++];
        value += ((byte as number) & 127) * unit;
        if (byte === 0 || unit > 2 ** 28)
          throw corrupt("graph-page.lists", "a varint longer than it need be", "the shortest form");
      }
      if (byte === undefined) throw corrupt("graph-page.lists", "a varint past the end", "a neighbour");
      const difference = j > 0 ? value : value % 2 === 1 ? -(value + 1) / 2 : value / 2;
      const neighbour = previous + difference;
      if (neighbour < 0 || neighbour >= rows || neighbour === node || (j > 0 && difference === 0))
        throw corrupt("graph-page.lists", neighbour, `ascending nodes below ${rows}, without ${node}`);
      lists[i * degree + j] = neighbour;
      previous = neighbour;
    }
    lists.fill(NO_NODE, i * degree + length, (i + 1) * degree);
  }
  if (at !== bytes.length) throw corrupt("graph-page.lists", `${bytes.length - at} bytes left over`, 0);
}

/** Pages of a graph, as runs of its nodes. */
export function pagesOf(rows: number, blockNodes: number): { firstNode: number; nodes: number }[] {
  const pageNodes = blockNodes * GRAPH_PAGE_BLOCKS;
  return Array.from({ length: Math.ceil(rows / pageNodes) }, (_, i) => ({
    firstNode: i * pageNodes,
    nodes: Math.min(pageNodes, rows - i * pageNodes),
  }));
}
