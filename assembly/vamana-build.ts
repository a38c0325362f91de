// The graph build (spec/0013 §3): every node is linked to those of its nearest nodes that no nearer link
// already leads to (a strict relative neighbourhood), links are made mutual, and lists that
// became too long are pruned once more by the same rule. The nodes that stand for their cells, the heads, are numbered
// first, the others cell by cell, so that a cell's rows lie together. All of it goes node by node with nothing
// carried over, hence in any cut into calls.
//
// Equal distances are ordered by the nodes' numbers, which turns a crowd of equal vectors into a chain; by
// plain "strictly nearer" they would fill each other's lists and lose the rest of the space.
//
// The build's block, u32 each:
const N: usize = 0; //             nodes
const ROW_BYTES: usize = 4; //     of a vector and of a centroid, padded to a multiple of 16
const VECTORS: usize = 8; //       address of n rows in node order
const DEGREE: usize = 12; //       longest list, 1 … 64
const CELLS: usize = 16; //        cells; so many first nodes are their heads
const STARTS: usize = 20; //       address of cells + 1: the first node of each that is no head
const CENTROIDS: usize = 24; //    address of cells × ROW_BYTES
const NEAR: usize = 28; //         address of cells × NEAR_COUNT cell numbers, nearest first
const NEAR_COUNT: usize = 32; //   ≤ MAX_NEAR
const PROBES: usize = 36; //       cells whose nodes are a node's candidates, ≤ NEAR_COUNT
const CANDIDATES: usize = 40; //   of those, how many nearest ones are looked at, ≤ MAX_CANDIDATES
const LISTS: usize = 44; //        address of n × DEGREE node numbers, filled up with NO_NODE
const EDGE_STARTS: usize = 48; //  address of n + 1: where a node's edges begin
const EDGES: usize = 52; //        address of the edges, both directions
const MARKS: usize = 56; //        address of ⌈n / 8⌉ zero bytes
const HEADS: usize = 60; //        address of cells: the head of each, the node nearest to its centroid
const HEAD_CELLS: usize = 64; //   address of cells: the cell of each head

import { squaredDistances } from "./vamana-distance";
import { NO_NODE } from "../src/layout/graph";
import { topkDrain, topkPushIds, topkReset } from "./topk";

const MAX_NEAR: u32 = 64;
const MAX_CANDIDATES: u32 = 1024;
// Rows compared with a node at most: cells of very different sizes must not make the build quadratic.
const MAX_ROWS: u32 = 8192;
const TILE: u32 = 512;
// Lists of candidates below have room for MAX_CANDIDATES, MAX_NEAR heads, the node itself, and a multiple of four.

const addresses = memory.data(4 * 1156, 64);
const distances = memory.data(4 * 1156, 64);
const tags = memory.data(4 * 1156, 64);
const ids = memory.data(4 * 1156, 64); // the candidates still standing, nearest first,
const nearness = memory.data(4 * 1156, 64); // and their distances
const headIds = memory.data(4 * 68, 64);
const headNearness = memory.data(4 * 68, 64);
const probed = memory.data(4 * 64, 64);
const links = memory.data(4 * 64, 64);
const best = memory.data(16 + 8 * 1025, 64); // a top-k

/** Cells nearest to each of the cells first … past − 1, itself first among equals, to NEAR. */
export function vamanaNearCells(build: usize, first: u32, past: u32): void {
  const cells = load<u32>(build, CELLS), count = load<u32>(build, NEAR_COUNT);
  const rowBytes: usize = load<u32>(build, ROW_BYTES), centroids: usize = load<u32>(build, CENTROIDS);
  for (let cell = first; cell < past; cell++) {
    topkReset(best, count);
    offerRows(centroids + <usize>cell * rowBytes, cell, centroids, rowBytes, 0, cells);
    const found = topkDrain(best, nearness, tags);
    const out = <usize>load<u32>(build, NEAR) + <usize>cell * count * 4;
    for (let i: usize = 0; i < found; i++) store<u32>(out + (i << 2), idOf(cell, load<u32>(tags + (i << 2))));
  }
}

/** The lists of the nodes first … past − 1, from the nodes of their nearest cells. */
export function vamanaLink(build: usize, first: u32, past: u32): void {
  const rowBytes: usize = load<u32>(build, ROW_BYTES), vectors: usize = load<u32>(build, VECTORS);
  const starts: usize = load<u32>(build, STARTS), probes = load<u32>(build, PROBES);
  const cells = load<u32>(build, CELLS);
  let cell: u32 = 0;
  for (let node = first; node < past; node++) {
    if (node < cells || node == first || node == cells) cell = cellOf(build, node);
    while (node >= cells && node >= load<u32>(starts + (<usize>cell << 2), 4)) cell++;
    const x = vectors + <usize>node * rowBytes;
    nearestCells(build, x, cell);
    const heads = nearHeads(build, node, cell);
    topkReset(best, load<u32>(build, CANDIDATES) + 1); // the node itself is among them
    let left = MAX_ROWS;
    for (let i: usize = 0; i < probes && left != 0; i++) {
      const probe = load<u32>(probed + (i << 2));
      let from = load<u32>(starts + (<usize>probe << 2)), to = load<u32>(starts + (<usize>probe << 2), 4);
      if (to - from > left) {
        if (probe == cell && node >= from && node - from > left / 2) from = min(node - left / 2, to - left);
        to = from + left;
      }
      offerRows(x, node, vectors, rowBytes, from, to);
      left -= to - from;
    }
    const degree = prune(build, node, addHeads(node, takeBest(node), heads), load<u32>(build, DEGREE), links);
    writeList(build, node, degree);
  }
}

/**
 * The spans of the heads first … past − 1: up to `most` links of each among all heads, by which walks cross from cell to
 * cell. They go to `out`, DEGREE places each.
 */
export function vamanaSpan(build: usize, first: u32, past: u32, most: u32, out: usize): void {
  const rowBytes: usize = load<u32>(build, ROW_BYTES), vectors: usize = load<u32>(build, VECTORS);
  const degree = load<u32>(build, DEGREE), heads = load<u32>(build, CELLS);
  for (let head = first; head < past; head++) {
    topkReset(best, MAX_CANDIDATES + 1);
    offerRows(vectors + <usize>head * rowBytes, head, vectors, rowBytes, 0, heads);
    const count = prune(build, head, takeBest(head), most, links);
    copyList(out + <usize>head * degree * 4, count, degree);
  }
}

/** Adds to the counts at EDGE_STARTS[node + 1] the edges that the lists (DEGREE places each) of the nodes first … past − 1 give each node. */
export function vamanaCountEdges(build: usize, lists: usize, first: u32, past: u32): void {
  const counts = <usize>load<u32>(build, EDGE_STARTS) + 4;
  const degree = load<u32>(build, DEGREE);
  for (let i = first; i < past; i++) {
    const own = counts + (<usize>i << 2);
    let at = lists + <usize>i * degree * 4;
    for (let j: u32 = 0; j < degree; j++, at += 4) {
      const other = load<u32>(at);
      if (other == NO_NODE) break;
      const slot = counts + (<usize>other << 2);
      store<u32>(slot, load<u32>(slot) + 1);
      store<u32>(own, load<u32>(own) + 1);
    }
  }
}

/** Puts those edges at the places EDGE_STARTS gives, which move on as they fill. */
export function vamanaPlaceEdges(build: usize, lists: usize, first: u32, past: u32): void {
  const places: usize = load<u32>(build, EDGE_STARTS), edges: usize = load<u32>(build, EDGES);
  const degree = load<u32>(build, DEGREE);
  for (let node = first; node < past; node++) {
    let at = lists + <usize>node * degree * 4;
    for (let j: u32 = 0; j < degree; j++, at += 4) {
      const other = load<u32>(at);
      if (other == NO_NODE) break;
      place(places, edges, node, other);
      place(places, edges, other, node);
    }
  }
}

// @ts-ignore: decorator
@inline function place(places: usize, edges: usize, node: u32, other: u32): void {
  const slot = places + (<usize>node << 2);
  const at = load<u32>(slot);
  store<u32>(edges + (<usize>at << 2), other);
  store<u32>(slot, at + 1);
}

/** The final lists of the nodes first … past − 1 from their edges (EDGE_STARTS[node] is where they END), ascending. */
export function vamanaRelink(build: usize, first: u32, past: u32): void {
  const ends: usize = load<u32>(build, EDGE_STARTS), edges: usize = load<u32>(build, EDGES);
  const marks: usize = load<u32>(build, MARKS), most = load<u32>(build, DEGREE), heads = load<u32>(build, CELLS);
  for (let node = first; node < past; node++) {
    const from = node == 0 ? 0 : load<u32>(ends + (<usize>node << 2) - 4), to = load<u32>(ends + (<usize>node << 2));
    const list = edges + (<usize>from << 2);
    const count = unique(list, to - from, marks);
    let degree = count;
    if (count <= most) memory.copy(links, list, <usize>count << 2);
    else if (node >= heads) degree = pruneListed(build, node, list, count, most, links);
    else {
      // A head keeps its links to heads, which its nearer ones would otherwise strike out.
      const spans = headsFirst(list, count, heads);
      if (spans <= most >> 1) {
        memory.copy(links, list, <usize>spans << 2);
        degree = spans;
      } else degree = pruneListed(build, node, list, spans, most >> 1, links);
      const rest = list + (<usize>spans << 2);
      degree += pruneListed(build, node, rest, count - spans, most - degree, links + (<usize>degree << 2));
    }
    sortAscending(links, degree);
    writeList(build, node, degree);
  }
}

/** Of `n` listed nodes, up to the 1,024 nearest, those to link, at most `most`, to `out`; returns how many. */
function pruneListed(build: usize, node: u32, list: usize, n: u32, most: u32, out: usize): u32 {
  const rowBytes: usize = load<u32>(build, ROW_BYTES), vectors: usize = load<u32>(build, VECTORS);
  if (n == 0 || most == 0) return 0;
  topkReset(best, min(n, MAX_CANDIDATES));
  for (let i: u32 = 0; i < n; i += TILE) {
    offerListed(vectors + <usize>node * rowBytes, node, vectors, rowBytes, list + (<usize>i << 2), min(TILE, n - i));
  }
  return prune(build, node, takeBest(node), most, out);
}

/** Puts the heads of a list before its other nodes; returns how many they are. */
function headsFirst(list: usize, n: u32, heads: u32): u32 {
  let count: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const id = load<u32>(list + (<usize>i << 2));
    if (id >= heads) continue;
    const slot = list + (<usize>count << 2);
    store<u32>(list + (<usize>i << 2), load<u32>(slot));
    store<u32>(slot, id);
    count++;
  }
  return count;
}

/** |row of `node` − row of each listed node|² (ids u32 × n, n ≤ 1,024) to `out` (f32 × n, room for a multiple of four). */
export function vamanaDistances(build: usize, node: u32, list: usize, n: u32, out: usize): void {
  const rowBytes: usize = load<u32>(build, ROW_BYTES), vectors: usize = load<u32>(build, VECTORS);
  for (let i: usize = 0; i < n; i++) store<u32>(addresses + (i << 2), vectors + <usize>load<u32>(list + (i << 2)) * rowBytes);
  squaredDistances(vectors + <usize>node * rowBytes, addresses, n, rowBytes, out);
}

function cellOf(build: usize, node: u32): u32 {
  if (node < load<u32>(build, CELLS)) return load<u32>(<usize>load<u32>(build, HEAD_CELLS) + (<usize>node << 2));
  const starts: usize = load<u32>(build, STARTS);
  let low: u32 = 0, high = load<u32>(build, CELLS) - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (load<u32>(starts + (<usize>middle << 2)) <= node) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The PROBES cells nearest to x among those near its own, to `probed`; ties by nearness to the own cell. */
function nearestCells(build: usize, x: usize, cell: u32): void {
  const rowBytes: usize = load<u32>(build, ROW_BYTES), centroids: usize = load<u32>(build, CENTROIDS);
  const count = load<u32>(build, NEAR_COUNT), probes = load<u32>(build, PROBES);
  const near = <usize>load<u32>(build, NEAR) + <usize>cell * count * 4;
  for (let i: usize = 0; i < count; i++) store<u32>(addresses + (i << 2), centroids + <usize>load<u32>(near + (i << 2)) * rowBytes);
  squaredDistances(x, addresses, count, rowBytes, distances);
  for (let p: usize = 0; p < probes; p++) {
    let nearest: usize = 0;
    let least: f32 = Infinity;
    for (let i: usize = 0; i < count; i++) {
      const d = load<f32>(distances + (i << 2));
      // A taken one is −1; one beyond f32 counts when nothing else is left.
      if (d >= 0 && (d < least || load<f32>(distances + (nearest << 2)) < 0)) {
        least = d;
        nearest = i;
      }
    }
    store<f32>(distances + (nearest << 2), -1);
    store<u32>(probed + (p << 2), load<u32>(near + (nearest << 2)));
  }
}

/** The heads of the cells near the node's own, nearest first, to `headIds` and `headNearness`; returns how many. */
function nearHeads(build: usize, node: u32, cell: u32): u32 {
  const rowBytes: usize = load<u32>(build, ROW_BYTES), vectors: usize = load<u32>(build, VECTORS);
  const count = load<u32>(build, NEAR_COUNT), heads: usize = load<u32>(build, HEADS);
  const near = <usize>load<u32>(build, NEAR) + <usize>cell * count * 4;
  for (let i: usize = 0; i < count; i++) store<u32>(headIds + (i << 2), load<u32>(heads + (<usize>load<u32>(near + (i << 2)) << 2)));
  topkReset(best, count);
  offerListed(vectors + <usize>node * rowBytes, node, vectors, rowBytes, headIds, count);
  const found = takeBest(node);
  memory.copy(headIds, ids, <usize>found << 2);
  memory.copy(headNearness, nearness, <usize>found << 2);
  return found;
}

/**
 * Merges the heads into the candidates: a node whose nearest nodes all belong to one crowd would know of nothing else.
 * Returns how many candidates there are.
 */
function addHeads(node: u32, count: u32, heads: u32): u32 {
  let i: usize = 0, h: usize = 0, to: usize = 0;
  while (i < count || h < heads) {
    let fromHeads = i == count;
    if (i < count && h < heads) {
      const a = load<f32>(nearness + (i << 2)), b = load<f32>(headNearness + (h << 2));
      const id = load<u32>(ids + (i << 2)), head = load<u32>(headIds + (h << 2));
      if (id == head) h++;
      else fromHeads = b < a || (b == a && tagOf(node, head) < tagOf(node, id));
    }
    store<u32>(tags + (to << 2), fromHeads ? load<u32>(headIds + (h << 2)) : load<u32>(ids + (i << 2)));
    store<f32>(distances + (to << 2), fromHeads ? load<f32>(headNearness + (h << 2)) : load<f32>(nearness + (i << 2)));
    if (fromHeads) h++;
    else i++;
    to++;
  }
  memory.copy(ids, tags, to << 2);
  memory.copy(nearness, distances, to << 2);
  return <u32>to;
}

/** Offers the rows from … to − 1 at `base` to `best` by their distance to x, the row of number `own`. */
function offerRows(x: usize, own: u32, base: usize, rowBytes: usize, from: u32, to: u32): void {
  while (from < to) {
    const count = min(TILE, to - from);
    let row = base + <usize>from * rowBytes;
    for (let i: usize = 0; i < count; i++, row += rowBytes) {
      store<u32>(addresses + (i << 2), row);
      store<u32>(tags + (i << 2), tagOf(own, from + <u32>i));
    }
    offer(x, count, rowBytes);
    from += count;
  }
}

/** As `offerRows`, of listed rows, at most TILE. */
function offerListed(x: usize, own: u32, base: usize, rowBytes: usize, list: usize, count: u32): void {
  for (let i: usize = 0; i < count; i++) {
    const id = load<u32>(list + (i << 2));
    store<u32>(addresses + (i << 2), base + <usize>id * rowBytes);
    store<u32>(tags + (i << 2), tagOf(own, id));
  }
  offer(x, count, rowBytes);
}

// @ts-ignore: decorator
@inline function offer(x: usize, count: u32, rowBytes: usize): void {
  squaredDistances(x, addresses, count, rowBytes, distances);
  for (let i: usize = 0; i < count; i++) store<f32>(distances + (i << 2), -load<f32>(distances + (i << 2)));
  topkPushIds(best, distances, count, 0, tags);
}

/** The order of node numbers seen from `own` among equal distances: own, own − 1, own + 1, own − 2, … */
// @ts-ignore: decorator
@inline function tagOf(own: u32, id: u32): u32 {
  return id < own ? 2 * (own - id) - 1 : 2 * (id - own);
}

// @ts-ignore: decorator
@inline function idOf(own: u32, tag: u32): u32 {
  return tag & 1 ? own - (tag + 1) / 2 : own + tag / 2;
}

/** Empties `best` into `ids` and `nearness`, without the node itself; returns how many there are. */
function takeBest(node: u32): u32 {
  const found = topkDrain(best, distances, tags);
  let count: usize = 0;
  for (let i: usize = 0; i < found; i++) {
    const tag = load<u32>(tags + (i << 2));
    if (tag == 0) continue;
    store<u32>(ids + (count << 2), idOf(node, tag));
    store<f32>(nearness + (count << 2), -load<f32>(distances + (i << 2)));
    count++;
  }
  return <u32>count;
}

/**
 * Of the candidates `ids`, nearest first, those to link, at most `most` (≥ 1), to `out`; returns how many. The nearest
 * one left is linked, and every candidate that is nearer to it than to the node falls; again until none is left.
 */
function prune(build: usize, node: u32, count: u32, most: u32, out: usize): u32 {
  const rowBytes: usize = load<u32>(build, ROW_BYTES), vectors: usize = load<u32>(build, VECTORS);
  let degree: u32 = 0;
  let from: usize = 0, to: usize = count;
  while (from < to) {
    const link = load<u32>(ids + (from << 2));
    from++;
    store<u32>(out + (<usize>degree << 2), link);
    degree++;
    if (degree == most) break;
    for (let i = from; i < to; i++) {
      store<u32>(addresses + ((i - from) << 2), vectors + <usize>load<u32>(ids + (i << 2)) * rowBytes);
    }
    squaredDistances(vectors + <usize>link * rowBytes, addresses, <u32>(to - from), rowBytes, distances);
    let kept = from;
    for (let i = from; i < to; i++) {
      const id = load<u32>(ids + (i << 2));
      const d = load<f32>(nearness + (i << 2)), other = load<f32>(distances + ((i - from) << 2));
      store<u32>(ids + (kept << 2), id);
      store<f32>(nearness + (kept << 2), d);
      kept += usize(!(other < d) && !(other == d && tagOf(id, link) < tagOf(id, node)));
    }
    to = kept;
  }
  return degree;
}

function writeList(build: usize, node: u32, count: u32): void {
  const degree = load<u32>(build, DEGREE);
  copyList(<usize>load<u32>(build, LISTS) + <usize>node * degree * 4, count, degree);
}

function copyList(out: usize, count: u32, degree: u32): void {
  for (let i: usize = 0; i < degree; i++) store<u32>(out + (i << 2), i < count ? load<u32>(links + (i << 2)) : NO_NODE);
}

/** Keeps the first of each number of a list, in place; returns how many are left. `marks` is left zero. */
function unique(list: usize, n: u32, marks: usize): u32 {
  let count: usize = 0;
  for (let i: usize = 0; i < n; i++) {
    const id = load<u32>(list + (i << 2));
    const byte = marks + (id >> 3);
    const bits: u32 = load<u8>(byte), bit: u32 = 1 << (id & 7);
    store<u32>(list + (count << 2), id);
    count += usize((bits & bit) == 0);
    store<u8>(byte, bits | bit);
  }
  for (let i: usize = 0; i < count; i++) store<u8>(marks + (load<u32>(list + (i << 2)) >> 3), 0);
  return <u32>count;
}

/** Shell's sort: lists of up to 64 mostly, of some thousands at times. */
export function sortAscending(list: usize, n: u32): void {
  let gap: usize = 1;
  while (gap * 3 + 1 < n) gap = gap * 3 + 1;
  for (; gap != 0; gap /= 3) {
    for (let i = gap; i < <usize>n; i++) {
      const value = load<u32>(list + (i << 2));
      let hole = i;
      while (hole >= gap && load<u32>(list + ((hole - gap) << 2)) > value) {
        store<u32>(list + (hole << 2), load<u32>(list + ((hole - gap) << 2)));
        hole -= gap;
      }
      store<u32>(list + (hole << 2), value);
    }
  }
}
