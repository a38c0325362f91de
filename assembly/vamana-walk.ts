// The greedy walk over a graph (spec/0013 §5). A pool holds the best BEAM nodes seen; again and again the best
// POP of them not yet expanded are, all at once: their neighbours not seen before are scored and merged in.
// It ends when every node of the pool is expanded. At first it goes over heads alone, from the entries, to the best
// NARROW heads of all: that is a few long strides to the right part of the space, where the walk over all nodes begins. A walk can stop for blocks that are not in memory and go on
// when they are; it then does exactly what it would have done with all of them.
//
// Graph, u32 each:
const WIDTH: usize = 4; //         i8 components of a row, see vamana-codes.ts
const STRIDE: usize = 8; //        bytes from row to row
const DEGREE: usize = 12; //       places of a list, a multiple of 4
const ROWS: usize = 16; //         address of the rows, node by node
const LISTS: usize = 20; //        address of the lists, node by node; 0: nodes lie in blocks, by the table
const TABLE: usize = 24; //        address of each block's rows, behind which its lists lie; 0: not in memory
const BLOCK_SHIFT: usize = 28; //  2^this nodes a block
const HEADS: usize = 32; //        so many first nodes are heads
//
// Walk, u32 each unless it says otherwise:
const BEAM: usize = 0;
const HELD: usize = 4; //          nodes in the pool
const CURSOR: usize = 8; //        no node before this place of the pool is unexpanded
const PENDING: usize = 12; //      nodes in CANDIDATES that are to be scored
const STEP: usize = 16; //         f32, of the query
const QUERY: usize = 20; //        address of i16 × WIDTH
const SEEN: usize = 24; //         address of a bit a node
const POOL: usize = 28; //         address of BEAM + MAX_NEW keys
const CANDIDATES: usize = 32; //   address of MAX_NEW u32
const MISSING: usize = 36; //      address of MAX_NEW u32: the blocks a walk stopped for
const FILTER: usize = 40; //       address of a bit a node, or 0: only these are results
const RESULTS: usize = 44; //      address of a top-k of results; used with a filter only
const SCORED: usize = 48; //       count of nodes scored
const EXPANDED: usize = 52; //     count of nodes expanded
const NEAREST: usize = 56; //      the walk leaves out what is much worse than this place of the pool, from 1; 0: nothing
const TOP: usize = 60; //          f32: the score that a vector equal to the query would have
const REACH: usize = 64; //        f32: what is how many times as far, squared, is left out
const OPENING: usize = 68; //      1 while the walk goes over heads alone
//
// A key (i64) orders the pool, greatest first: the score's bits in signed order, then 31 bits of ~node, and bit 0
// while the node is not expanded.

import { NO_NODE } from "../src/layout/graph";
import { gatherRows } from "./gather";
import { topkDrain, topkPushIds } from "./topk";
import { sortAscending } from "./vamana-build";
import { scoreRows } from "./vamana-codes";

const POP: u32 = 4;
const NARROW: u32 = 4;
const MAX_NEW: u32 = 256; // POP lists of 64

const addresses = memory.data(4 * 260, 64);
const scores = memory.data(4 * 260, 64);
const fresh = memory.data(8 * 256, 64); // keys to merge, greatest first
const popped = memory.data(4 * 4, 16);
const allowed = memory.data(4 * 256, 64);
const allowedScores = memory.data(4 * 256, 64);

/** Starts a walk at the first `entries` nodes, at most MAX_NEW; SEEN is cleared (`nodes` bits). Then call `vamanaWalk`. */
export function vamanaStart(walk: usize, entries: u32, nodes: u32): void {
  memory.fill(load<u32>(walk, SEEN), 0, (<usize>nodes + 7) >> 3);
  store<u32>(walk, 0, HELD);
  store<u32>(walk, 0, CURSOR);
  store<u32>(walk, 0, SCORED);
  store<u32>(walk, 0, EXPANDED);
  const candidates: usize = load<u32>(walk, CANDIDATES), seen: usize = load<u32>(walk, SEEN);
  for (let node: u32 = 0; node < entries; node++) {
    store<u32>(candidates + (<usize>node << 2), node);
    const byte = seen + (node >> 3);
    store<u8>(byte, load<u8>(byte) | <u8>((<u32>1) << (node & 7)));
  }
  store<u32>(walk, entries, PENDING);
  store<u32>(walk, 1, OPENING);
}

/** Walks to the end and returns 0; or stops and returns how many blocks at MISSING it needs to go on. */
export function vamanaWalk(graph: usize, walk: usize): u32 {
  if (load<u32>(graph, LISTS) != 0) return walkOn(graph, walk, false);
  return walkOn(graph, walk, true);
}

// @ts-ignore: decorator
@inline function walkOn(graph: usize, walk: usize, inBlocks: bool): u32 {
  const width: usize = load<u32>(graph, WIDTH), stride: usize = load<u32>(graph, STRIDE);
  const rows: usize = load<u32>(graph, ROWS), lists: usize = load<u32>(graph, LISTS);
  const listBytes = <usize>load<u32>(graph, DEGREE) << 2;
  const touchBytes = min<usize>(listBytes, 128); // most lists are no longer
  const table: usize = load<u32>(graph, TABLE), shift = load<u32>(graph, BLOCK_SHIFT);
  const inBlock: u32 = (1 << shift) - 1;
  const beam = load<u32>(walk, BEAM), step = load<f32>(walk, STEP);
  const query: usize = load<u32>(walk, QUERY), seen: usize = load<u32>(walk, SEEN);
  const pool: usize = load<u32>(walk, POOL), candidates: usize = load<u32>(walk, CANDIDATES);
  let held = load<u32>(walk, HELD), cursor = load<u32>(walk, CURSOR), pending = load<u32>(walk, PENDING);
  let scored = load<u32>(walk, SCORED), expanded = load<u32>(walk, EXPANDED);
  const nearest = load<u32>(walk, NEAREST), top = load<f32>(walk, TOP), reach = load<f32>(walk, REACH);
  const heads = load<u32>(graph, HEADS);
  let isOpening = load<u32>(walk, OPENING) != 0;
  let missing: u32 = 0;
  let touched: u32 = 0;
  let limit = limitOf(pool, held, nearest, top, reach);

  for (;;) {
    if (pending != 0) {
      for (let i: usize = 0; i < pending; i++) {
        const node = load<u32>(candidates + (i << 2));
        if (inBlocks) {
          const block: usize = load<u32>(table + (<usize>(node >> shift) << 2));
          if (block == 0) missing = addMissing(load<u32>(walk, MISSING), missing, node >> shift);
          store<u32>(addresses + (i << 2), block + <usize>(node & inBlock) * stride);
        } else store<u32>(addresses + (i << 2), rows + <usize>node * stride);
      }
      if (missing != 0) break;
      if (!inBlocks) {
        // These are most likely expanded next: their lists come from memory while the rows do.
        const past = min(held, cursor + POP);
        for (let i = cursor; i < past; i++) {
          const list = lists + <usize>nodeOf(load<i64>(pool + (<usize>i << 3))) * listBytes;
          for (let k: usize = 0; k < touchBytes; k += 64) touched ^= load<u32>(list + k);
        }
      }
      scoreRows(addresses, pending, width, stride, query, step, scores);
      scored += pending;
      if (load<u32>(walk, FILTER) != 0) offerResults(walk, pending);
      const count = chooseFresh(pool, held, beam, candidates, pending, limit);
      pending = 0;
      if (count != 0) {
        const after = min(beam, held + count);
        cursor = min(cursor, merge(pool, held, after, count));
        held = after;
        limit = limitOf(pool, held, nearest, top, reach);
      }
    }
    let count: usize = 0;
    const last = isOpening ? min(held, NARROW) : held;
    while (cursor < last && count < POP) {
      const slot = pool + (<usize>cursor << 3);
      const key = load<i64>(slot);
      if (scoreOf(key) < limit) break;
      cursor++;
      if ((key & 1) == 0) continue;
      store<i64>(slot, key & ~1);
      const node = nodeOf(key);
      const list = inBlocks
        ? <usize>load<u32>(table + (<usize>(node >> shift) << 2)) + (stride << shift) + <usize>(node & inBlock) * listBytes
        : lists + <usize>node * listBytes;
      store<u32>(popped + (count << 2), list);
      count++;
      for (let k: usize = 0; k < touchBytes; k += 64) touched ^= load<u32>(list + k);
    }
    if (count == 0) {
      if (!isOpening) break;
      // All that was seen stays; now its other neighbours count too.
      isOpening = false;
      for (let i: usize = 0; i < held; i++) store<i64>(pool + (i << 3), load<i64>(pool + (i << 3)) | 1);
      cursor = 0;
      continue;
    }
    expanded += <u32>count;
    // Lists are ascending and end with NO_NODE, or are full.
    const bound = isOpening ? heads : NO_NODE;
    let next = candidates;
    for (let i: usize = 0; i < count; i++) {
      let at: usize = load<u32>(popped + (i << 2));
      const end = at + listBytes;
      for (; at < end; at += 4) {
        const node = load<u32>(at);
        if (node >= bound) break;
        const byte = seen + (node >> 3);
        const bits: u32 = load<u8>(byte), bit: u32 = 1 << (node & 7);
        store<u32>(next, node);
        next += usize((bits & bit) == 0) << 2;
        store<u8>(byte, bits | bit);
      }
    }
    pending = <u32>((next - candidates) >> 2);
  }
  store<u32>(popped, touched);
  store<u32>(walk, held, HELD);
  store<u32>(walk, cursor, CURSOR);
  store<u32>(walk, pending, PENDING);
  store<u32>(walk, scored, SCORED);
  store<u32>(walk, expanded, EXPANDED);
  store<u32>(walk, u32(isOpening), OPENING);
  return missing;
}

/** Offers the scored candidates that the filter lets through to RESULTS. */
function offerResults(walk: usize, pending: u32): void {
  const filter: usize = load<u32>(walk, FILTER), candidates: usize = load<u32>(walk, CANDIDATES);
  let count: usize = 0;
  for (let i: usize = 0; i < pending; i++) {
    const node = load<u32>(candidates + (i << 2));
    store<u32>(allowed + (count << 2), node);
    store<f32>(allowedScores + (count << 2), load<f32>(scores + (i << 2)));
    count += (load<u8>(filter + (node >> 3)) >> (node & 7)) & 1;
  }
  topkPushIds(load<u32>(walk, RESULTS), allowedScores, <u32>count, 0, allowed);
}

/**
 * The best `most` nodes of an ended walk, in ascending order, to `out` (u32, with room for `most`); returns how many.
 * With a filter RESULTS must be a top-k of `most`, and is emptied.
 */
export function vamanaNodes(walk: usize, most: u32, out: usize): u32 {
  let count = min(most, load<u32>(walk, HELD));
  if (load<u32>(walk, FILTER) != 0) {
    // Their scores are not wanted: they go where the pool is.
    count = topkDrain(load<u32>(walk, RESULTS), load<u32>(walk, POOL), out);
  } else {
    const pool: usize = load<u32>(walk, POOL);
    for (let i: usize = 0; i < count; i++) store<u32>(out + (i << 2), nodeOf(load<i64>(pool + (i << 3))));
  }
  sortAscending(out, count);
  return count;
}

/** Rows (rowBytes) and inverse norms (f32; none when `invNorms` is 0) of listed nodes, one after the other. */
export function vamanaGather(nodes: usize, n: u32, rows: usize, rowBytes: u32, invNorms: usize, outRows: usize, outNorms: usize): void {
  let touched: u32 = 0;
  for (let i: usize = 0; i < n; i++) {
    const node: usize = load<u32>(nodes + (i << 2));
    for (let k: usize = 0; k < rowBytes; k += 64) touched ^= load<u8>(rows + node * rowBytes + k);
    if (invNorms != 0) store<f32>(outNorms + (i << 2), load<f32>(invNorms + (node << 2)));
  }
  store<u32>(popped, touched);
  gatherRows(rows, rowBytes, nodes, n, outRows);
}

function addMissing(list: usize, count: u32, block: u32): u32 {
  for (let i: usize = 0; i < count; i++) if (load<u32>(list + (i << 2)) == block) return count;
  store<u32>(list + (<usize>count << 2), block);
  return count + 1;
}

// @ts-ignore: decorator
@inline function keyOf(score: f32, node: u32): i64 {
  if (score != score) score = -Infinity;
  const bits = reinterpret<i32>(score + 0); // −0 becomes +0: the two are equal scores
  const ordered = bits ^ ((bits >> 31) & 0x7fffffff);
  return (<i64>ordered << 32) | <i64>((<u64>(~node & 0x7fffffff) << 1) | 1);
}

// @ts-ignore: decorator
@inline function nodeOf(key: i64): u32 {
  return ~(<u32>(key >> 1)) & 0x7fffffff;
}

// @ts-ignore: decorator
@inline function scoreOf(key: i64): f32 {
  const ordered = <i32>(key >> 32);
  return reinterpret<f32>(ordered ^ ((ordered >> 31) & 0x7fffffff));
}

/**
 * The least score that still counts: with ½d² = TOP − score (l2; in proportion to it for cosine) that of REACH times the
 * d² of place NEAREST.
 */
// @ts-ignore: decorator
@inline function limitOf(pool: usize, held: u32, nearest: u32, top: f32, reach: f32): f32 {
  if (nearest == 0 || held < nearest) return -Infinity;
  const limit: f32 = top - reach * (top - scoreOf(load<i64>(pool + (<usize>nearest << 3) - 8)));
  return limit == limit ? limit : -Infinity;
}

/** Keys of the scored candidates, sorted, to `fresh`: those above the limit that the pool has room for or that beat its last; how many. */
// @ts-ignore: decorator
@inline function chooseFresh(pool: usize, held: u32, beam: u32, candidates: usize, pending: u32, limit: f32): u32 {
  const worst: i64 = held < beam ? i64.MIN_VALUE : load<i64>(pool + (<usize>held << 3) - 8);
  const threshold: f32 = max<f32>(limit, held < beam ? -Infinity : scoreOf(worst));
  let count: usize = 0;
  if (ASC_FEATURE_SIMD) {
    const least = f32x4.splat(threshold);
    const past = <usize>pending;
    for (let i: usize = 0; i < past; i += 4) {
      let better = ~i32x4.bitmask(f32x4.lt(v128.load(scores + (i << 2)), least)) & 15;
      if (i + 4 > past) better &= (1 << <i32>(past - i)) - 1;
      while (better) {
        const j = i + ctz(better);
        better &= better - 1;
        const key = keyOf(load<f32>(scores + (j << 2)), load<u32>(candidates + (j << 2)));
        if (key > worst) count = insertFresh(count, key);
      }
    }
  } else {
    for (let i: usize = 0; i < pending; i++) {
      const score = load<f32>(scores + (i << 2));
      if (score < threshold) continue;
      const key = keyOf(score, load<u32>(candidates + (i << 2)));
      if (key > worst) count = insertFresh(count, key);
    }
  }
  return <u32>count;
}

// @ts-ignore: decorator
@inline function insertFresh(count: usize, key: i64): usize {
  let at = fresh + (count << 3);
  while (at > fresh && load<i64>(at - 8) < key) {
    store<i64>(at, load<i64>(at - 8));
    at -= 8;
  }
  store<i64>(at, key);
  return count + 1;
}

/**
 * Merges `count` fresh keys into the pool, which held `before` and will hold `after`: what falls off its end goes first.
 * Returns the place of the first key that came in.
 */
// @ts-ignore: decorator
@inline function merge(pool: usize, before: u32, after: u32, count: u32): u32 {
  let m: usize = count, i: usize = before;
  for (let drop = before + count - after; drop != 0; drop--) {
    if (i == 0 || load<i64>(fresh + (m << 3) - 8) < load<i64>(pool + (i << 3) - 8)) m--;
    else i--;
  }
  let a = pool + (i << 3);
  while (m != 0) {
    const key = load<i64>(fresh + (m << 3) - 8);
    const shift = m << 3;
    while (a > pool && load<i64>(a - 8) < key) {
      a -= 8;
      store<i64>(a + shift, load<i64>(a));
    }
    m--;
    store<i64>(a + (m << 3), key);
  }
  return <u32>((a - pool) >> 3);
}
