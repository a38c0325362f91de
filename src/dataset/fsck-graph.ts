/** Checking a graph whole: every page as hashed and well-formed, and its nodes the rows that have a vector. */
import { blake3, equalBytes } from "../core/blake3.ts";
import { openBlock } from "../objects/column.ts";
import type { FieldSpec } from "../objects/field.ts";
import { decodeGraphIndex, type GraphIndex } from "../objects/graph-index.ts";
import { decodeGraphBlock, decodeGraphPageHead } from "../objects/graph-page.ts";
import { batchCodec } from "../objects/index-tree.ts";
import type { Manifest } from "../objects/manifest.ts";
import { corrupt } from "../objects/shape.ts";
import type { BuiltGraph } from "../objects/spatial-index.ts";
import type { Deleted } from "./deleted.ts";
import { ColumnReader } from "./rows.ts";
import type { Session } from "./session.ts";
import { anchorsOf, entriesIn } from "./timeline.ts";

/** Reads a GraphIndex. Errors: `Corrupt` when it is not the one that the Track speaks of, `UnsupportedVersion`. */
export function checkGraphIndex(bytes: Uint8Array, track: BuiltGraph): GraphIndex {
  const index = decodeGraphIndex(bytes);
  if (bytes.length !== track.graph.bytes)
    throw corrupt("spatial-index.graph", track.graph.bytes, bytes.length);
  if (index.algorithm !== track.algorithm)
    throw corrupt("graph-index.algorithm", index.algorithm, track.algorithm);
  if (index.dim !== track.dim) throw corrupt("graph-index.dim", index.dim, track.dim);
  if (index.rows > track.rows) throw corrupt("graph-index.rows", index.rows, `at most ${track.rows}`);
  return index;
}

/** Checks page number `page` of a graph and returns the anchors of its nodes. Errors: `Corrupt`, `UnsupportedVersion`. */
export function checkGraphPage(bytes: Uint8Array, index: GraphIndex, page: number): BigUint64Array {
  const head = decodeGraphPageHead(bytes, index, page);
  const anchors = new BigUint64Array(head.nodes);
  for (const block of head.blocks) {
    const part = bytes.subarray(block.offset, block.offset + block.bytes);
    if (!equalBytes(blake3(part), block.hash))
      throw corrupt("graph-page.block hash", block.firstNode, "the hash in the head");
    const lists = new Uint32Array(block.nodes * index.degree);
    anchors.set(decodeGraphBlock(index, block, part, lists).anchors, block.firstNode - head.firstNode);
  }
  return anchors;
}

/**
 * Errors: `Corrupt` unless the nodes are exactly the rows, out of the first `rows` of the timeline, that have a vector. Deleted
 * records do not count: a purge takes their vectors out before their node.
 */
export async function checkNodes(
  session: Session,
  manifest: Manifest,
  field: FieldSpec,
  rows: number,
  anchors: BigUint64Array,
  deleted: Deleted,
): Promise<void> {
  const isLive = (tick: bigint): boolean => !deleted.has(tick);
  const nodes = anchors.filter(isLive).sort();
  const wanted = (await rowsWithValue(session, manifest, field, rows)).filter(isLive).sort();
  const at = nodes.findIndex((anchor, i) => anchor !== wanted[i]);
  if (at >= 0) throw corrupt("graph-page.anchors", nodes[at], wanted[at] ?? "no more nodes");
  if (nodes.length < wanted.length)
    throw corrupt("graph-index.rows", nodes.length, `${wanted.length}, a node for each vector`);
}

/** The anchors of the rows, out of the first `rows` of the timeline, that have a value, batch by batch. */
export async function rowsWithValue(
  session: Session,
  { timeline }: Manifest,
  field: FieldSpec,
  rows: number,
): Promise<BigUint64Array> {
  const ticks = new BigUint64Array(rows);
  let filled = 0;
  let row = 0;
  for await (const entry of entriesIn(session, timeline, batchCodec)) {
    if (row >= rows) break;
    row += entry.rows;
    const reader = await ColumnReader.open(session, field, entry, true);
    if (reader === undefined) continue;
    const { head, opened } = reader;
    const anchors = await anchorsOf(session, entry);
    for (const block of head.blocks) {
      const [bytes] = head.hasPresence ? await session.spans(opened, [block], false) : [];
      const values = bytes === undefined ? undefined : openBlock(head, block, bytes);
      for (let i = 0; i < block.rows; i++)
        if (values === undefined || values.isPresent(i)) ticks[filled++] = anchors.tick(block.firstRow + i);
    }
  }
  if (row !== rows) throw corrupt("spatial-index.rows", rows, `the end of a batch, such as ${row}`);
  return ticks.subarray(0, filled);
}
