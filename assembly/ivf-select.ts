// Which cells a query probes: those whose centroids are nearest (cosine, l2) or have the greatest product (dot).
// A one-bit scan of all centroids names about three times as many as are wanted; these are scored from their
// levels, put in order, and the best are taken. Ties go to the lowest cell.

import {
  CELL_ROWS, INDEX_CELLS, INDEX_CENTROID_BLOCKS, INDEX_CENTROID_LEVELS, INDEX_CENTROID_SQUARES, INDEX_CENTROID_STEP, INDEX_DIM,
  INDEX_ESTIMATES, INDEX_IDS, INDEX_LISTED, INDEX_METRIC, METRIC_DOT, QUERY_CELLS, QUERY_CELL_DISTANCES, QUERY_CELL_SCORES, QUERY_COARSE,
  QUERY_FINE, QUERY_FINE_STEP, QUERY_KEYS, QUERY_SELECTED, QUERY_SQUARES, QUERY_STARTS,
} from "../src/layout/ivf";
import { cellAt } from "./ivf-cells";
import { boundFor, listBetween, scanAll } from "./ivf-scan";
import { topkDrain, topkPush, topkReset } from "./topk";

const BINS: i32 = 512;
const CROWD: u32 = 48; // more in a bin, and insertion is not the way
const bins = memory.data(4 * 512, 64);
const sink = memory.data(4, 4);

/** Selects the `wanted` (at most all) cells of a prepared query; returns how many. */
export function selectCells(index: usize, query: usize, wanted: u32): u32 {
  const cells = load<u32>(index, INDEX_CELLS);
  wanted = min(wanted, cells);
  const listed = load<usize>(index, INDEX_LISTED);
  const end = listCentroids(index, query, cells, wanted, listed);
  const count = <u32>((end - listed) >> 3);
  const scores = load<usize>(query, QUERY_CELL_SCORES), keys = load<usize>(query, QUERY_KEYS);
  scoreListed(index, query, listed, count, scores, keys);
  const taken = takeBest(index, query, listed, count, min(wanted, count));
  finish(index, query, taken);
  return taken;
}

function listCentroids(index: usize, query: usize, cells: u32, wanted: u32, list: usize): usize {
  const worth = wanted * 5 / 2 + 24;
  if (worth >= cells - (cells >> 2) || load<u32>(query, QUERY_COARSE) == 0) {
    for (let c: u32 = 0; c < cells; c++) {
      store<u64>(list, c);
      list += 8;
    }
    return list;
  }
  const estimates = load<usize>(index, INDEX_ESTIMATES);
  const padded = (cells + 31) & ~31;
  scanAll(index, query, load<usize>(index, INDEX_CENTROID_BLOCKS), padded >> 5, 0, estimates);
  for (let c = cells; c < padded; c++) store<i16>(estimates + (<usize>c << 1), -32768);
  const bound = boundFor(estimates, padded, worth, worth >> 4);
  return listBetween(estimates, padded, bound, 32767, 0, list);
}

/** ⟨point, c⟩ and the key that orders cells, of each listed centroid, by its place in the list. */
function scoreListed(index: usize, query: usize, list: usize, count: u32, scores: usize, keys: usize): void {
  const stride = <usize>((load<u32>(index, INDEX_DIM) + 7) & ~7) << 1;
  const levels = load<usize>(index, INDEX_CENTROID_LEVELS), fine = load<usize>(query, QUERY_FINE);
  const squares = load<usize>(index, INDEX_CENTROID_SQUARES);
  const step: f32 = load<f32>(index, INDEX_CENTROID_STEP) * load<f32>(query, QUERY_FINE_STEP);
  const half: f32 = load<u32>(index, INDEX_METRIC) == METRIC_DOT ? 0 : 0.5;
  let touched: u32 = 0;
  for (let i: usize = 0; i < count; i++) {
    const row = levels + <usize>load<u32>(list + (i << 3)) * stride;
    for (let j: usize = 0; j < stride; j += 64) touched += load<u8>(row + j);
  }
  store<u32>(sink, touched);
  for (let i: usize = 0; i < count; i++) {
    const cell = <usize>load<u32>(list + (i << 3));
    const score: f32 = <f32>product(levels + cell * stride, fine, stride) * step;
    store<f32>(scores + (i << 2), score);
    store<f32>(keys + (i << 2), score - half * load<f32>(squares + (cell << 2)));
  }
}

/** Σ a·b over `bytes` bytes of i16, a multiple of 16. */
function product(a: usize, b: usize, bytes: usize): i32 {
  if (ASC_FEATURE_SIMD) {
    let s = i32x4.splat(0), t = s;
    const end = a + bytes;
    for (; a + 32 <= end; a += 32, b += 32) {
      s = i32x4.add(s, i32x4.dot_i16x8_s(v128.load(a), v128.load(b)));
      t = i32x4.add(t, i32x4.dot_i16x8_s(v128.load(a, 16), v128.load(b, 16)));
    }
    if (a < end) s = i32x4.add(s, i32x4.dot_i16x8_s(v128.load(a), v128.load(b)));
    s = i32x4.add(s, t);
    s = i32x4.add(s, v128.shuffle<i32>(s, s, 2, 3, 0, 1));
    return i32x4.extract_lane(s, 0) + i32x4.extract_lane(s, 1);
  }
  let sum: i32 = 0;
  for (let i: usize = 0; i < bytes; i += 2) sum += <i32>load<i16>(a + i) * <i32>load<i16>(b + i);
  return sum;
}

/** The best `wanted` of `count` by key, in order, to the query's arrays; returns how many. */
function takeBest(index: usize, query: usize, list: usize, count: u32, wanted: u32): u32 {
  const keys = load<usize>(query, QUERY_KEYS), scores = load<usize>(query, QUERY_CELL_SCORES);
  const cells = load<usize>(query, QUERY_CELLS);
  const sorted = list + (<usize>count << 3); // behind the list: (place u32, key f32)
  if (!sortByBins(keys, list, count, wanted, sorted)) sortByHeap(keys, count, wanted, sorted, load<usize>(index, INDEX_IDS));
  for (let i: usize = 0; i < wanted; i++) {
    const place = <usize>load<u32>(sorted + (i << 3));
    store<u32>(cells + (i << 2), load<u32>(list + (place << 3)));
    store<f32>(sorted + (i << 3), load<f32>(scores + (place << 2)), 4);
  }
  for (let i: usize = 0; i < wanted; i++) store<f32>(scores + (i << 2), load<f32>(sorted + (i << 3), 4));
  return wanted;
}

/**
 * By 512 bins between the best and the worst key, then by insertion, which finds little to do. False, and nothing
 * sorted, where keys crowd in few bins. An entry's bin is noted in the high half of its place in the list.
 */
function sortByBins(keys: usize, list: usize, count: u32, wanted: u32, sorted: usize): bool {
  const best = greatestOf(keys, count, 1), worst = -greatestOf(keys, count, -1);
  const perBin: f32 = best > worst ? <f32>(BINS - 1) / (best - worst) : 0;
  memory.fill(bins, 0, 4 * BINS);
  for (let i: usize = 0; i < count; i++) {
    const bin = <u32>min<i32>(BINS - 1, <i32>((best - load<f32>(keys + (i << 2))) * perBin)) << 2;
    store<u32>(list + (i << 3), bin, 4);
    store<u32>(bins + bin, load<u32>(bins + bin) + 1);
  }
  let before: u32 = 0, end: u32 = 0; // past the last bin that is taken
  for (; before < wanted; end += 4) {
    const size = load<u32>(bins + end);
    if (size > CROWD) return false;
    store<u32>(bins + end, before);
    before += size;
  }
  for (let i: usize = 0; i < count; i++) {
    const bin = load<u32>(list + (i << 3), 4);
    if (bin >= end) continue;
    const place = load<u32>(bins + bin);
    store<u32>(bins + bin, place + 1);
    const to = sorted + (<usize>place << 3);
    store<u32>(to, <u32>i);
    store<f32>(to, load<f32>(keys + (i << 2)), 4);
  }
  insertionSort(sorted, before);
  return true;
}

/** The greatest of sign · key. */
function greatestOf(keys: usize, count: u32, sign: f32): f32 {
  let best: f32 = -Infinity;
  const end = keys + (<usize>count << 2);
  if (ASC_FEATURE_SIMD) {
    const signs = f32x4.splat(sign);
    let m = f32x4.splat(best);
    for (; keys + 16 <= end; keys += 16) m = f32x4.max(m, f32x4.mul(signs, v128.load(keys)));
    best = max(max(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)), max(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)));
  }
  for (; keys < end; keys += 4) best = max(best, sign * load<f32>(keys));
  return best;
}

/** (place u32, key f32) by descending key; equal keys keep their order. */
function insertionSort(entries: usize, count: u32): void {
  const end = entries + (<usize>count << 3);
  for (let p = entries + 8; p < end; p += 8) {
    const entry = load<u64>(p);
    const key = load<f32>(p, 4);
    let to = p;
    for (; to > entries && load<f32>(to - 8, 4) < key; to -= 8) store<u64>(to, load<u64>(to - 8));
    store<u64>(to, entry);
  }
}

function sortByHeap(keys: usize, count: u32, wanted: u32, sorted: usize, places: usize): void {
  topkReset(sorted, wanted);
  topkPush(sorted, keys, count, 0);
  topkDrain(sorted, keys, places);
  for (let i: usize = 0; i < wanted; i++) store<u32>(sorted + (i << 3), load<u32>(places + (i << 2)));
}

/** Distances to the centroids, and how many rows stand before each cell. */
function finish(index: usize, query: usize, count: u32): void {
  const cells = load<usize>(query, QUERY_CELLS), scores = load<usize>(query, QUERY_CELL_SCORES);
  const distances = load<usize>(query, QUERY_CELL_DISTANCES);
  const squares = load<usize>(index, INDEX_CENTROID_SQUARES);
  const own = load<f32>(query, QUERY_SQUARES);
  for (let i: usize = 0; i < <usize>count << 2; i += 4) {
    const square = load<f32>(squares + (<usize>load<u32>(cells + i) << 2));
    store<f32>(distances + i, sqrt<f32>(max<f32>(0, own - 2 * load<f32>(scores + i) + square)));
  }
  store<u32>(query, count, QUERY_SELECTED);
}

/** Counts the selection's rows; called again by every search, since cells may have been loaded in between. */
export function countRows(index: usize, query: usize): void {
  const cells = load<usize>(query, QUERY_CELLS), starts = load<usize>(query, QUERY_STARTS);
  const count = <usize>load<u32>(query, QUERY_SELECTED) << 2;
  let rows: u32 = 0;
  for (let i: usize = 0; i < count; i += 4) {
    store<u32>(starts + i, rows);
    rows += load<u32>(cellAt(index, load<u32>(cells + i)), CELL_ROWS);
  }
  store<u32>(starts + count, rows);
}
