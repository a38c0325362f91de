// Cells of an index: the nearest centroid of a vector, and Lloyd's rounds that place the centroids.
//
// Centroids stand in groups of 16, coordinate by coordinate, with −½|c|² of each behind them all:
//
//   packed[group][j][16] f32, then halves[group][16] f32; past the last centroid 0 and −∞
//
// A vector's cell is the one with the greatest f32(⟨y,c⟩ − ½|c|²), the dot product a left fold in f32; equal
// scores go to the lowest cell. A score that is not a number never wins.

import { foldPairOf } from "./lsh";

const GROUP_BYTES: u32 = 64;
// Vectors per pass over all centroids: their values and their best so far stay in the first two cache levels.
const TILE: u32 = 64;
/** How far the two halves of a split cell start from each other. */
const NUDGE: f64 = 1 / 1024;

const lanes0 = memory.data(64, 64);
const lanes1 = memory.data(64, 64);
const bestScores = memory.data(16 * 65, 64); // f32 × 4 a vector: the best of the cells 0, 4, 8 …, of 1, 5, 9 …
const bestCells = memory.data(16 * 65, 64); // u32 × 4: which those are; place 64 is the pair of an odd vector

/** Packs k × dim f32 (row after row) as above. */
export function packCells(centroids: usize, k: u32, dim: u32, packed: usize): void {
  const groups = (k + 15) >> 4;
  const halves = packed + <usize>groups * dim * GROUP_BYTES;
  memory.fill(packed, 0, <usize>groups * dim * GROUP_BYTES);
  for (let cell: usize = 0; cell < <usize>groups << 4; cell++) {
    if (cell >= k) {
      store<f32>(halves + (cell << 2), -Infinity);
      continue;
    }
    const row = centroids + ((cell * dim) << 2);
    const lane = packed + (cell >> 4) * dim * GROUP_BYTES + ((cell & 15) << 2);
    let squares: f64 = 0;
    for (let j: usize = 0; j < dim; j++) {
      const c = load<f32>(row + (j << 2));
      squares += <f64>c * <f64>c;
      store<f32>(lane + (j << 6), c);
    }
    store<f32>(halves + (cell << 2), <f32>(-0.5 * squares));
  }
}

/** The cell (u32 × n) of n × dim vectors. */
export function assignCells(y: usize, n: u32, dim: u32, packed: usize, k: u32, out: usize): void {
  const groups = (k + 15) >> 4;
  const halves = packed + <usize>groups * dim * GROUP_BYTES;
  for (let first: u32 = 0; first < n; first += TILE) {
    const count = min(TILE, n - first);
    forgetBest();
    for (let group: u32 = 0; group < groups; group++) {
      const weights = packed + <usize>group * dim * GROUP_BYTES;
      offerGroup(y + ((<usize>first * dim) << 2), count, dim, weights, halves + <usize>group * GROUP_BYTES, group << 4);
    }
    for (let v: u32 = 0; v < count; v++) store<u32>(out + (<usize>(first + v) << 2), bestOf(v));
  }
}

function forgetBest(): void {
  for (let at: usize = 0; at < 16 * 65; at += 4) store<f32>(bestScores + at, -Infinity);
  memory.fill(bestCells, 0, 16 * 65);
}

function offerGroup(y: usize, count: u32, dim: u32, weights: usize, halves: usize, cell: u32): void {
  const rowBytes = <usize>dim << 2;
  for (let v: u32 = 0; v < count; v += 2) {
    const y0 = y + <usize>v * rowBytes;
    const y1 = v + 1 < count ? y0 + rowBytes : y0;
    if (ASC_FEATURE_SIMD) {
      foldPairOf<v128>(y0, y1, weights, dim, lanes0, lanes1);
      const at = <usize>v << 4;
      offer(lanes0, halves, cell, at);
      offer(lanes1, halves, cell, at + 16);
    } else {
      foldPairOf<f32>(y0, y1, weights, dim, lanes0, lanes1);
      offerOne(lanes0, halves, cell, <usize>v << 4);
      offerOne(lanes1, halves, cell, (<usize>v << 4) + 16);
    }
  }
}

/** 16 dot products against the four best so far, four cells a step in ascending order: ties stay with the lower. */
// @ts-ignore: decorator
@inline function offer(lanes: usize, halves: usize, cell: u32, at: usize): void {
  let best = v128.load(bestScores + at), cells = v128.load(bestCells + at);
  let next = i32x4.add(i32x4.splat(<i32>cell), i32x4(0, 1, 2, 3));
  for (let i: usize = 0; i < 64; i += 16) {
    const score = f32x4.add(v128.load(lanes + i), v128.load(halves + i));
    const better = f32x4.gt(score, best);
    best = v128.bitselect(score, best, better);
    cells = v128.bitselect(next, cells, better);
    next = i32x4.add(next, i32x4.splat(4));
  }
  v128.store(bestScores + at, best);
  v128.store(bestCells + at, cells);
}

/** As `offer`, with all cells in the first place. */
function offerOne(lanes: usize, halves: usize, cell: u32, at: usize): void {
  let best = load<f32>(bestScores + at);
  let which = load<u32>(bestCells + at);
  for (let i: u32 = 0; i < 16; i++) {
    const score: f32 = load<f32>(lanes + (<usize>i << 2)) + load<f32>(halves + (<usize>i << 2));
    if (!(score > best)) continue;
    best = score;
    which = cell + i;
  }
  store<f32>(bestScores + at, best);
  store<u32>(bestCells + at, which);
}

/** The best of a vector's four places; equal scores go to the lowest cell. */
function bestOf(v: u32): u32 {
  const at = <usize>v << 4;
  let best = load<f32>(bestScores + at);
  let cell = load<u32>(bestCells + at);
  for (let i: usize = 4; i < 16; i += 4) {
    const score = load<f32>(bestScores + at + i);
    const other = load<u32>(bestCells + at + i);
    if (!(score > best || (score == best && other < cell))) continue;
    best = score;
    cell = other;
  }
  return cell;
}

/** Adds n × dim vectors to the f64 sums (k × dim) of their cells, in row order, and counts them (u32 × k). */
export function addToCells(y: usize, n: u32, dim: u32, cells: usize, sums: usize, counts: usize): void {
  for (let v: u32 = 0; v < n; v++) {
    const cell = <usize>load<u32>(cells + (<usize>v << 2));
    const count = counts + (cell << 2);
    store<u32>(count, load<u32>(count) + 1);
    addRow(y + ((<usize>v * dim) << 2), dim, sums + ((cell * dim) << 3));
  }
}

function addRow(row: usize, dim: u32, sums: usize): void {
  let j: usize = 0;
  if (ASC_FEATURE_SIMD) {
    for (; j + 4 <= dim; j += 4) {
      const x = v128.load(row + (j << 2));
      const sum = sums + (j << 3);
      v128.store(sum, f64x2.add(v128.load(sum), f64x2.promote_low_f32x4(x)));
      const high = f64x2.promote_low_f32x4(v128.shuffle<i64>(x, x, 1, 1));
      v128.store(sum, f64x2.add(v128.load(sum, 16), high), 16);
    }
  }
  for (; j < dim; j++) {
    const sum = sums + (j << 3);
    store<f64>(sum, load<f64>(sum) + <f64>load<f32>(row + (j << 2)));
  }
}

/**
 * Moves every centroid to the mean of its vectors, f32(sum / count), then gives each empty cell, in ascending
 * order, half of the largest (the lowest of equals; none smaller than two): both start a nudge off its centroid,
 * coordinates in turn up and down. Leaves in `counts` what each cell then owns; returns how many were empty.
 */
export function moveCentroids(sums: usize, counts: usize, k: u32, dim: u32, centroids: usize): u32 {
  let empty: u32 = 0;
  for (let cell: usize = 0; cell < k; cell++) {
    const count = load<u32>(counts + (cell << 2));
    if (count == 0) empty++;
    else moveCentroid(sums + ((cell * dim) << 3), <f64>count, dim, centroids + ((cell * dim) << 2));
  }
  let left = empty;
  for (let cell: usize = 0; left != 0; cell++) {
    if (load<u32>(counts + (cell << 2)) != 0) continue;
    left--;
    const largest = largestOf(counts, k);
    const count = load<u32>(counts + (largest << 2));
    if (count < 2) break;
    store<u32>(counts + (cell << 2), count >> 1);
    store<u32>(counts + (largest << 2), count - (count >> 1));
    split(centroids + ((largest * dim) << 2), centroids + ((cell * dim) << 2), dim);
  }
  return empty;
}

function moveCentroid(sums: usize, count: f64, dim: u32, centroid: usize): void {
  for (let j: usize = 0; j < dim; j++) store<f32>(centroid + (j << 2), <f32>(load<f64>(sums + (j << 3)) / count));
}

function largestOf(counts: usize, k: u32): usize {
  let largest: usize = 0;
  for (let cell: usize = 1; cell < k; cell++) {
    if (load<u32>(counts + (cell << 2)) > load<u32>(counts + (largest << 2))) largest = cell;
  }
  return largest;
}

function split(donor: usize, taker: usize, dim: u32): void {
  for (let j: usize = 0; j < dim; j++) {
    const c = <f64>load<f32>(donor + (j << 2));
    const up = nudged(c, 1 + NUDGE), down = nudged(c, 1 - NUDGE);
    store<f32>(taker + (j << 2), j & 1 ? down : up);
    store<f32>(donor + (j << 2), j & 1 ? up : down);
  }
}

/** f32(c · by), or c where that is beyond f32. */
function nudged(c: f64, by: f64): f32 {
  const moved = <f32>(c * by);
  return abs<f32>(moved) == Infinity ? <f32>c : moved;
}
