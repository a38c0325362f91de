// A filter before the nearest centroid: dot products in 16-bit integers tell which cells could be a row's, and
// only those are scored as assignCells does. Every cell comes out as assignCells gives it.
//
// A row and the centroids of a group of 16 are scaled by a power of two to a length below 2^15 and rounded to
// i16. By Cauchy and Schwarz no integer dot product passes (2^15 + ½√dim)², which an i32 holds. With ŷ and ĉ the
// rounded vectors, scaled back (exactly), u = 2^-24 and estimate = f32(f32(⟨ŷ,ĉ⟩) + h):
//
//   ⟨y,c⟩ − ⟨ŷ,ĉ⟩ = ⟨y−ŷ,ĉ⟩ + ⟨y,c−ĉ⟩      at most |y−ŷ|·|ĉ| + |y|·|c−ĉ|
//   the fold, rounded dim times              at most 1.004·dim·u·|y|·|c| away, and dim·2^-150 where products underflow
//   the integer in f32, the sums with h      at most u·(2·|y|·|c| + 2·|h|), up to factors of 1 + dim·u
//   comparing with bounds, each rounded      at most 4·u·(|y|·|c| + |h|) for each of the two cells
//
//   error = |y|·P + |y−ŷ|·Q + R,  P = max|c−ĉ| + (dim + 16)·u·max|c|,  Q = max(|c| + |c−ĉ|),  R = 16·u·max|h| + 2^-110
//
// over the 16 cells of a group, all made greater by a hundredth, which is far more than what computing them rounds
// away. |score − estimate| ≤ error: a cell whose estimate + error is below another's estimate − error has a lower score.
//
//   filter: u32 usable, 12 bytes, then a group: f32 1/scale, P, Q, R
//           the groups' i16[dim / 2][16][2], dim raised to a multiple of 4
//           room for the i16 of a tile of rows

import { assignCells } from "./kmeans";

// As many rows against a group as leave their integers and the group's in the first two cache levels.
const TILE: u32 = 64;
const HEADER: usize = 16;
const GROUP_BYTES: u32 = 64;
/** Entries of a row's list of cells that could be its own. */
const ROOM: u32 = 16;
/** Longest vectors that are filtered, 2^40, and the shortest that get a scale of their own. */
const LONGEST: f32 = 1099511627776;
const SHORTEST: f32 = 9.094947017729282e-13;
/** 2^-60: keeps products of bounds out of the denormals. */
const SMALL: f64 = 8.673617379884035e-19;
const SLACK: f64 = 1.01;
const LOWEST: f32 = -3.4028234663852886e38;

const mostOf = memory.data(64, 64); // estimate + error of a group's cells
const tail = memory.data(16, 16);
// A row: the greatest estimate − error so far, 1/scale, |y|, |y − ŷ|, the last two rounded up. Place 64 is the
// partner of an odd row.
const rowStates = memory.data(16 * 65, 64);
const listLengths = memory.data(4 * 65, 16);
const lists = memory.data(8 * 16 * 65, 16); // u32 cell, f32 estimate + error

/** Bytes of a filter. */
export function cellFilterBytes(k: u32, dim: u32): usize {
  const groups = <usize>((k + 15) >> 4);
  return HEADER + groups * 16 + groups * weightBytes(dim) + <usize>TILE * rowBytes(dim);
}

// @ts-ignore: decorator
@inline function rowBytes(dim: u32): usize {
  return <usize>((dim + 3) >> 2) << 3;
}

// @ts-ignore: decorator
@inline function weightBytes(dim: u32): usize {
  return rowBytes(dim) << 4;
}

/** Makes the filter of centroids that packCells has packed. */
export function packCellFilter(packed: usize, k: u32, dim: u32, filter: usize): void {
  const groups = (k + 15) >> 4;
  const bounds = filter + HEADER;
  const weights = bounds + (<usize>groups << 4);
  const halves = packed + <usize>groups * dim * GROUP_BYTES;
  let usable: u32 = ASC_FEATURE_SIMD ? 1 : 0;
  for (let group: u32 = 0; usable && group < groups; group++) {
    const cells = min<u32>(16, k - (group << 4));
    const from = packed + <usize>group * dim * GROUP_BYTES;
    const to = weights + <usize>group * weightBytes(dim);
    usable = packGroup(from, halves + <usize>group * GROUP_BYTES, cells, dim, to, bounds + (<usize>group << 4)) ? 1 : 0;
  }
  store<u32>(filter, usable);
}

function packGroup(from: usize, halves: usize, cells: u32, dim: u32, to: usize, bounds: usize): bool {
  let longest: f64 = 0, half: f64 = 0, residual: f64 = 0;
  for (let cell: usize = 0; cell < cells; cell++) {
    longest = max(longest, lengthOf(from + (cell << 2), dim));
    half = max(half, <f64>abs(load<f32>(halves + (cell << 2))));
  }
  longest *= SLACK;
  if (!(longest <= <f64>LONGEST)) return false;
  const scale = scaleOf(<f32>longest);
  memory.fill(to, 0, weightBytes(dim));
  for (let cell: usize = 0; cell < cells; cell++) {
    residual = max(residual, roundCentroid(from + (cell << 2), dim, <f64>scale, to + (cell << 2)));
  }
  residual /= <f64>scale;
  const u = 1.0 / 16777216.0;
  store<f32>(bounds, 1 / scale);
  store<f32>(bounds, <f32>(SLACK * (residual + <f64>(dim + 16) * u * (longest + SMALL))), 4);
  store<f32>(bounds, <f32>(SLACK * (longest + residual + SMALL)), 8);
  store<f32>(bounds, <f32>(SLACK * (16 * u * half + 7.703719777548943e-34)), 12);
  return true;
}

/** The length of a packed centroid; not a number, or infinite, where that is not to be had. */
function lengthOf(lane: usize, dim: u32): f64 {
  let squares: f64 = 0;
  for (let j: usize = 0; j < dim; j++) {
    const c = <f64>load<f32>(lane + (j << 6));
    squares += c * c;
  }
  return sqrt(squares);
}

/** The power of two that brings a length of at most 2^40 below 2^15, and no shorter than 2^14 if it is not tiny. */
// @ts-ignore: decorator
@inline function scaleOf(length: f32): f32 {
  const exponent = reinterpret<u32>(max(length, SHORTEST)) >> 23;
  return reinterpret<f32>((127 + 14 + 127 - exponent) << 23);
}

/** Rounds a packed centroid to i16; returns the length of what rounding took, in the same scale. */
function roundCentroid(lane: usize, dim: u32, scale: f64, to: usize): f64 {
  let squares: f64 = 0;
  for (let j: usize = 0; j < dim; j++) {
    const c = <f64>load<f32>(lane + (j << 6)) * scale;
    const rounded = min<f64>(nearest<f64>(c), 32767);
    store<i16>(to + ((j >> 1) << 6) + ((j & 1) << 1), <i16>rounded);
    squares += (c - rounded) * (c - rounded);
  }
  return sqrt(squares);
}

/** The cells (u32 × n) of n × dim vectors, as assignCells gives them. */
export function assignFiltered(y: usize, n: u32, dim: u32, packed: usize, filter: usize, k: u32, out: usize): void {
  let first: u32 = 0;
  if (load<u32>(filter)) {
    // Where most rows of a tile could be in many cells, so will those of the next: no filter for the rest.
    for (let left: u32 = 0; first < n && left <= TILE / 2; first += TILE) {
      const rows = y + ((<usize>first * dim) << 2);
      left = assignTile(rows, min(TILE, n - first), dim, packed, filter, k, out + (<usize>first << 2));
    }
  }
  if (first >= n) return;
  assignCells(y + ((<usize>first * dim) << 2), n - first, dim, packed, k, out + (<usize>first << 2));
}

/** Returns how many rows were left to assignCells. */
function assignTile(y: usize, count: u32, dim: u32, packed: usize, filter: usize, k: u32, out: usize): u32 {
  const groups = (k + 15) >> 4;
  const bounds = filter + HEADER;
  const weights = bounds + (<usize>groups << 4);
  const rows = weights + <usize>groups * weightBytes(dim);
  const halves = packed + <usize>groups * dim * GROUP_BYTES;
  for (let v: u32 = 0; v < count; v++) {
    roundRow(y + ((<usize>v * dim) << 2), dim, rows + <usize>v * rowBytes(dim), rowStates + (<usize>v << 4));
  }
  memory.fill(listLengths, 0, 4 * 65);
  store<f32>(rowStates + 16 * 64, Infinity);
  for (let group: u32 = 0; group < groups; group++) {
    const at = <usize>group;
    filterGroup(rows, count, dim, weights + at * weightBytes(dim), halves + at * GROUP_BYTES, bounds + (at << 4), group << 4);
  }
  return settle(y, count, dim, packed, k, out);
}

/** Rounds a row to i16 and starts its state. A row that is too long or not finite becomes 0 and is offered no cell. */
function roundRow(row: usize, dim: u32, to: usize, state: usize): void {
  if (ASC_FEATURE_SIMD) {
    const whole = <usize>(dim & ~3) << 2;
    memory.fill(tail, 0, 16);
    memory.copy(tail, row + whole, <usize>(dim & 3) << 2);
    let x = v128.load(tail);
    let squares = f32x4.mul(x, x);
    for (let at: usize = 0; at < whole; at += 16) {
      x = v128.load(row + at);
      squares = f32x4.add(squares, f32x4.mul(x, x));
    }
    const length: f32 = upperLength(squares) + <f32>SMALL;
    const known = length <= LONGEST;
    const scale = known ? scaleOf(length) : 0;
    store<f32>(state, known ? LOWEST : Infinity);
    if (!known) {
      memory.fill(to, 0, rowBytes(dim));
      return;
    }
    const by = f32x4.splat(scale);
    squares = f32x4.splat(0);
    for (let at: usize = 0; at < rowBytes(dim) << 1; at += 16) {
      x = f32x4.mul(v128.load(at < whole ? row + at : tail), by);
      const rounded = f32x4.pmin(f32x4.nearest(x), f32x4.splat(32767));
      const integers = i32x4.trunc_sat_f32x4_s(rounded);
      v128.store64_lane(to + (at >> 1), i16x8.narrow_i32x4_s(integers, integers), 0);
      x = f32x4.sub(x, rounded);
      squares = f32x4.add(squares, f32x4.mul(x, x));
    }
    store<f32>(state, 1 / scale, 4);
    store<f32>(state, length, 8);
    // Coordinates so small that their squares are lost add less than 2^-10 of a step.
    store<f32>(state, (upperLength(squares) + 0.0009765625) / scale, 12);
  }
}

/** More than the root of the sum of four lanes, each a sum of at most 2^14 squares in f32 that did not underflow. */
// @ts-ignore: decorator
@inline function upperLength(squares: v128): f32 {
  const sum = f32x4.extract_lane(squares, 0) + f32x4.extract_lane(squares, 1) + f32x4.extract_lane(squares, 2) + f32x4.extract_lane(squares, 3);
  return sqrt<f32>(sum) * <f32>SLACK;
}

/** Offers the 16 cells of a group to the rows of a tile. */
function filterGroup(rows: usize, count: u32, dim: u32, weights: usize, halves: usize, bounds: usize, cell: u32): void {
  if (ASC_FEATURE_SIMD) {
    const bytes = rowBytes(dim);
    for (let v: u32 = 0; v < count; v += 2) {
      const odd = v + 1 == count;
      const row = rows + <usize>v * bytes;
      filterPair(row, odd ? row : row + bytes, weights, bytes, halves, bounds, cell, v, odd ? 64 : v + 1);
    }
  }
}

/** Two rows against the 16 centroids of a group, two coordinates an instruction. */
function filterPair(
  row0: usize, row1: usize, weights: usize, bytes: usize, halves: usize, bounds: usize, cell: u32, v0: u32, v1: u32,
): void {
  let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
  let b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  const end = row0 + bytes;
  let p = row0, q = row1, w = weights;
  let s: v128, t: v128, x: v128;
  // Four coordinates a turn; the way out in between, never taken, keeps V8 from hoisting loads, as in foldPairOf.
  while (p < end) {
    s = v128.load32_splat(p); t = v128.load32_splat(q);
    x = v128.load(w); a0 = i32x4.add(a0, i32x4.dot_i16x8_s(s, x)); b0 = i32x4.add(b0, i32x4.dot_i16x8_s(t, x));
    x = v128.load(w, 16); a1 = i32x4.add(a1, i32x4.dot_i16x8_s(s, x)); b1 = i32x4.add(b1, i32x4.dot_i16x8_s(t, x));
    x = v128.load(w, 32); a2 = i32x4.add(a2, i32x4.dot_i16x8_s(s, x)); b2 = i32x4.add(b2, i32x4.dot_i16x8_s(t, x));
    x = v128.load(w, 48); a3 = i32x4.add(a3, i32x4.dot_i16x8_s(s, x)); b3 = i32x4.add(b3, i32x4.dot_i16x8_s(t, x));
    if (p + 4 == end) break;
    s = v128.load32_splat(p, 4); t = v128.load32_splat(q, 4);
    x = v128.load(w, 64); a0 = i32x4.add(a0, i32x4.dot_i16x8_s(s, x)); b0 = i32x4.add(b0, i32x4.dot_i16x8_s(t, x));
    x = v128.load(w, 80); a1 = i32x4.add(a1, i32x4.dot_i16x8_s(s, x)); b1 = i32x4.add(b1, i32x4.dot_i16x8_s(t, x));
    x = v128.load(w, 96); a2 = i32x4.add(a2, i32x4.dot_i16x8_s(s, x)); b2 = i32x4.add(b2, i32x4.dot_i16x8_s(t, x));
    x = v128.load(w, 112); a3 = i32x4.add(a3, i32x4.dot_i16x8_s(s, x)); b3 = i32x4.add(b3, i32x4.dot_i16x8_s(t, x));
    p += 8;
    q += 8;
    w += 128;
  }
  offerLanes(a0, a1, a2, a3, halves, bounds, cell, v0);
  offerLanes(b0, b1, b2, b3, halves, bounds, cell, v1);
}

/** Turns 16 integers into estimates, and lists the cells that could be the row's. */
// @ts-ignore: decorator
@inline function offerLanes(i0: v128, i1: v128, i2: v128, i3: v128, halves: usize, bounds: usize, cell: u32, v: u32): void {
  const state = rowStates + (<usize>v << 4);
  const error: f32 = load<f32>(state, 8) * load<f32>(bounds, 4) + load<f32>(state, 12) * load<f32>(bounds, 8) + load<f32>(bounds, 12);
  const by = f32x4.splat(load<f32>(state, 4) * load<f32>(bounds));
  const e0 = f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i0), by), v128.load(halves));
  const e1 = f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i1), by), v128.load(halves, 16));
  const e2 = f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i2), by), v128.load(halves, 32));
  const e3 = f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i3), by), v128.load(halves, 48));
  const greatest = f32x4.pmax(f32x4.pmax(e0, e1), f32x4.pmax(e2, e3));
  if (v128.any_true(f32x4.ge(greatest, f32x4.splat(load<f32>(state) - error)))) listLanes(e0, e1, e2, e3, error, cell, v);
}

/** Lists those of 16 cells, by their estimates, that could be the row's. */
function listLanes(e0: v128, e1: v128, e2: v128, e3: v128, error: f32, cell: u32, v: u32): void {
  const state = rowStates + (<usize>v << 4);
  let top = f32x4.pmax(f32x4.pmax(e0, e1), f32x4.pmax(e2, e3));
  top = f32x4.pmax(top, v128.shuffle<i64>(top, top, 1, 0));
  const greatest = max(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1));
  const best = max<f32>(load<f32>(state), greatest - error);
  store<f32>(state, best);
  const by = f32x4.splat(error), least = f32x4.splat(best);
  e0 = f32x4.add(e0, by);
  e1 = f32x4.add(e1, by);
  e2 = f32x4.add(e2, by);
  e3 = f32x4.add(e3, by);
  v128.store(mostOf, e0);
  v128.store(mostOf, e1, 16);
  v128.store(mostOf, e2, 32);
  v128.store(mostOf, e3, 48);
  let possible: u32 =
    <u32>i32x4.bitmask(f32x4.ge(e0, least)) |
    (<u32>i32x4.bitmask(f32x4.ge(e1, least)) << 4) |
    (<u32>i32x4.bitmask(f32x4.ge(e2, least)) << 8) |
    (<u32>i32x4.bitmask(f32x4.ge(e3, least)) << 12);
  const list = lists + <usize>v * ROOM * 8;
  let length = load<u32>(listLengths + (<usize>v << 2));
  for (; possible != 0; possible &= possible - 1) {
    if (length == ROOM) length = keepPossible(list, length, best);
    if (length == ROOM) {
      // Too many for the list: the row is left to assignCells and takes no further cells.
      store<f32>(state, Infinity);
      length = 0;
      break;
    }
    const i = <u32>ctz(possible);
    const entry = list + (<usize>length << 3);
    store<u32>(entry, cell + i);
    store<f32>(entry, load<f32>(mostOf + (<usize>i << 2)), 4);
    length++;
  }
  store<u32>(listLengths + (<usize>v << 2), length);
}

/** Drops the entries that no longer reach the best; returns how many stay, in their order. */
function keepPossible(list: usize, length: u32, best: f32): u32 {
  let kept: u32 = 0;
  for (let i: u32 = 0; i < length; i++) {
    const entry = list + (<usize>i << 3);
    if (!(load<f32>(entry, 4) >= best)) continue;
    store<u64>(list + (<usize>kept << 3), load<u64>(entry));
    kept++;
  }
  return kept;
}

/** The cells of a tile's rows from their lists; rows without one go to assignCells, neighbours together. */
function settle(y: usize, count: u32, dim: u32, packed: usize, k: u32, out: usize): u32 {
  let left: u32 = 0;
  let run: u32 = 0;
  for (let v: u32 = 0; v <= count; v++) {
    const listed = v < count ? load<u32>(listLengths + (<usize>v << 2)) : 0;
    if (v < count && listed == 0) {
      run++;
      continue;
    }
    if (run != 0) {
      const first = <usize>(v - run);
      assignCells(y + ((first * dim) << 2), run, dim, packed, k, out + (first << 2));
      left += run;
      run = 0;
    }
    if (v == count) break;
    const list = lists + <usize>v * ROOM * 8;
    const kept = keepPossible(list, listed, load<f32>(rowStates + (<usize>v << 4)));
    const row = y + ((<usize>v * dim) << 2);
    store<u32>(out + (<usize>v << 2), kept == 1 ? load<u32>(list) : bestListed(row, dim, packed, k, list, kept));
  }
  return left;
}

/** The listed cell of the greatest score, the first of equals: lists ascend. */
function bestListed(row: usize, dim: u32, packed: usize, k: u32, list: usize, length: u32): u32 {
  const halves = packed + <usize>((k + 15) >> 4) * dim * GROUP_BYTES;
  let best: f32 = -Infinity;
  let which: u32 = 0;
  for (let i: u32 = 0; i < length; i++) {
    const cell = <usize>load<u32>(list + (<usize>i << 3));
    const lane = packed + (cell >> 4) * dim * GROUP_BYTES + ((cell & 15) << 2);
    let sum: f32 = 0;
    for (let j: usize = 0; j < dim; j++) sum += load<f32>(row + (j << 2)) * load<f32>(lane + (j << 6));
    const score: f32 = sum + load<f32>(halves + (cell << 2));
    if (!(score > best)) continue;
    best = score;
    which = <u32>cell;
  }
  return which;
}
