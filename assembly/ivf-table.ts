// What a query becomes before it meets codes:
//
//   vector  →  point    in the index's space: length 1 (cosine, dot) or times 2^−exponent (l2)
//           →  rotated  D coordinates
//           →  table    16 u8 entries for every 4 coordinates: the one-bit code's share of Σ s_t·(Rq)_t
//           →  levels   i16: for the B-bit records
//           →  fine     i16: the point again, for the centroids
//
// Table entries are whole steps of Δ = J·√D / 2^15, J an integer, and 0 is the least of each 16: their sum is at
// once an integer and, less its middle and times J, Σ s_t·(Rq)_t / √D in units of 2^−15. An entry is at most 63,
// so that four look-ups add up in a byte. Steps coarse enough for 28 look-ups in a byte save 5 % of the time and
// cost 0.3 % of recall, which takes 6 % more cells to win back.

import {
  INDEX_DIM, INDEX_METRIC, INDEX_PADDED, INDEX_ROTATION_KIND, INDEX_ROTATION_TABLE, INDEX_UNIT, METRIC_DOT, METRIC_L2, QUERY_COARSE,
  QUERY_FINE, QUERY_FINE_STEP, QUERY_INVERSE_NORM, QUERY_LEVELS, QUERY_LEVEL_STEP, QUERY_LEVEL_SUM, QUERY_MIDDLE, QUERY_POINT,
  QUERY_QUANTUM, QUERY_ROTATED, QUERY_SCALE, QUERY_SHIFT, QUERY_SQUARES, QUERY_TABLE, QUERY_VECTOR,
} from "../src/layout/ivf";
import { rotate } from "./rotation";
import { rowInvNorms } from "./scan";

const MOST_OF_ENTRY: f32 = 63;
const MOST_OF_I16: f32 = 32767;
// |levels| and |fine| stay below what keeps every i32 sum of products in range, by Cauchy and Schwarz.
const MOST_OF_FINE: f32 = 65000; // × 32,767, the length of a centroid in levels at most
const MOST_OF_PRODUCT: f64 = 2140000000;
/** Beyond this length a query's one-bit estimates are too coarse to drop rows by. */
const FAR: f64 = 2;

/** Derives all of a query from its vector. bits: of the codes; 0 needs no table. */
export function prepareQuery(index: usize, query: usize, bits: u32): void {
  const dim = load<u32>(index, INDEX_DIM), padded = load<u32>(index, INDEX_PADDED);
  makePoint(index, query, dim);
  quantiseFine(load<usize>(query, QUERY_POINT), dim, query);
  const rotated = load<usize>(query, QUERY_ROTATED);
  rotate(load<u32>(index, INDEX_ROTATION_KIND), load<usize>(index, INDEX_ROTATION_TABLE), dim, padded, load<usize>(query, QUERY_POINT), 1, rotated);
  makeTable(rotated, padded, query);
  if (bits > 1) quantiseLevels(rotated, padded, bits, query);
}

function makePoint(index: usize, query: usize, dim: u32): void {
  const vector = load<usize>(query, QUERY_VECTOR), point = load<usize>(query, QUERY_POINT);
  const metric = load<u32>(index, INDEX_METRIC);
  const length = sqrt<f64>(squares64(vector, dim));
  const unit = load<f64>(index, INDEX_UNIT);
  const factor: f64 = metric == METRIC_L2 ? unit : length > 0 ? 1 / length : 0;
  for (let i: usize = 0; i < <usize>dim << 2; i += 4) store<f32>(point + i, <f32>(<f64>load<f32>(vector + i) * factor));
  const reached: f64 = metric == METRIC_L2 ? length * unit : factor > 0 ? 1 : 0;
  store<f32>(query, <f32>(reached * reached), QUERY_SQUARES);
  store<f32>(query, <f32>(metric == METRIC_DOT ? length / unit : metric == METRIC_L2 ? 1 / (unit * unit) : 1), QUERY_SCALE);
  store<u32>(query, <u32>(reached <= FAR), QUERY_COARSE);
  rowInvNorms(vector, 1, dim, query + QUERY_INVERSE_NORM);
}

/** Σ x² in f64, which no f32 overflows: four sums, for speed. */
function squares64(x: usize, dim: u32): f64 {
  let a: f64 = 0, b: f64 = 0, c: f64 = 0, d: f64 = 0;
  const end = x + (<usize>dim << 2), whole = x + (<usize>(dim & ~3) << 2);
  for (; x < whole; x += 16) {
    const x0 = <f64>load<f32>(x), x1 = <f64>load<f32>(x, 4), x2 = <f64>load<f32>(x, 8), x3 = <f64>load<f32>(x, 12);
    a += x0 * x0;
    b += x1 * x1;
    c += x2 * x2;
    d += x3 * x3;
  }
  for (; x < end; x += 4) a += <f64>load<f32>(x) * <f64>load<f32>(x);
  return a + b + (c + d);
}

/** point ≈ fine · step, with |fine| ≤ 65,000 as a whole and 32,767 in each. */
function quantiseFine(point: usize, dim: u32, query: usize): void {
  const fine = load<usize>(query, QUERY_FINE);
  const length = sqrt<f32>(load<f32>(query, QUERY_SQUARES));
  const most = greatest(point, dim);
  let scale: f32 = most > 0 ? min(MOST_OF_I16 / most, MOST_OF_FINE / length) : 0;
  if (!(scale < Infinity)) scale = 0; // a query of denormals is as good as none
  quantise(point, dim, scale, fine);
  for (let i = dim; i & 7; i++) store<u16>(fine + (<usize>i << 1), 0);
  store<f32>(query, scale > 0 ? <f32>1 / scale : 0, QUERY_FINE_STEP);
}

/** rotated ≈ levels · step, as finely as sums with B-bit codes stay in i32. */
function quantiseLevels(rotated: usize, padded: u32, bits: u32, query: usize): void {
  const levels = load<usize>(query, QUERY_LEVELS);
  const length = sqrt<f32>(load<f32>(query, QUERY_SQUARES));
  const most = greatest(rotated, padded);
  const longest = <f32>(MOST_OF_PRODUCT / (<f64>((1 << bits) - 1) * sqrt<f64>(<f64>padded)) - sqrt<f64>(<f64>padded));
  let scale: f32 = most > 0 ? min(MOST_OF_I16 / most, longest / length) : 0;
  if (!(scale < Infinity)) scale = 0;
  const sum = quantise(rotated, padded, scale, levels);
  store<f32>(query, scale > 0 ? <f32>1 / scale : 0, QUERY_LEVEL_STEP);
  store<f32>(query, <f32>sum, QUERY_LEVEL_SUM);
}

/** Greatest |x|. */
function greatest(x: usize, n: u32): f32 {
  let most: f32 = 0;
  const end = x + (<usize>n << 2);
  if (ASC_FEATURE_SIMD) {
    let m = f32x4.splat(0);
    for (; x + 16 <= end; x += 16) m = f32x4.max(m, f32x4.abs(v128.load(x)));
    most = max(max(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)), max(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)));
  }
  for (; x < end; x += 4) most = max(most, abs(load<f32>(x)));
  return most;
}

/** nearest(x · scale) as i16 to `out`; returns their sum. */
function quantise(x: usize, n: u32, scale: f32, out: usize): i32 {
  let sum: i32 = 0;
  const end = x + (<usize>n << 2);
  if (ASC_FEATURE_SIMD) {
    const s = f32x4.splat(scale);
    let total = i32x4.splat(0);
    for (; x + 32 <= end; x += 32) {
      const a = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(x), s)));
      const b = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(x, 16), s)));
      const both = i16x8.narrow_i32x4_s(a, b);
      v128.store(out, both);
      total = i32x4.add(total, i32x4.extadd_pairwise_i16x8_s(both));
      out += 16;
    }
    sum = i32x4.extract_lane(total, 0) + i32x4.extract_lane(total, 1) + i32x4.extract_lane(total, 2) + i32x4.extract_lane(total, 3);
  }
  for (; x < end; x += 4) {
    const level = max<i32>(-32768, min<i32>(32767, <i32>nearest<f32>(load<f32>(x) * scale)));
    store<i16>(out, <i16>level);
    sum += level;
    out += 2;
  }
  return sum;
}

/**
 * The table and its constants. The quantum J is the least for which entries stay in their range; the shift is the
 * least for which every possible sum, in the estimates' units, stays in i16: 0 for |q| ≤ 1 but for freaks.
 */
function makeTable(rotated: usize, padded: u32, query: usize): void {
  const table = load<usize>(query, QUERY_TABLE);
  const end = rotated + (<usize>padded << 2);
  let most: f32 = 0, total: f32 = 0;
  for (let p = rotated; p < end; p += 16) {
    const s = spread(p);
    total += s;
    most = max(most, s);
  }
  const root = <f32>sqrt<f64>(<f64>padded);
  let shift: u32 = 0;
  let quantum: i32 = 0, middle: i32 = 0;
  for (; ; shift++) {
    const fixed = <f32>(1 << (15 - shift)) / root; // of Σ s·q: what one is, in the units of a sum
    quantum = max<i32>(1, <i32>ceil<f32>(2 * most * fixed / MOST_OF_ENTRY));
    const perUnit = fixed / <f32>quantum;
    const highest = fillTable(rotated, end, perUnit, table);
    middle = <i32>nearest<f32>(total * perUnit);
    if (max(middle, highest - middle) * quantum <= 32767 || shift == 14) break;
  }
  store<i32>(query, quantum, QUERY_QUANTUM);
  store<i32>(query, middle, QUERY_MIDDLE);
  store<u32>(query, shift, QUERY_SHIFT);
  if (shift > 6) store<u32>(query, 0, QUERY_COARSE);
}

// @ts-ignore: decorator
@inline function spread(p: usize): f32 {
  return abs(load<f32>(p)) + abs(load<f32>(p, 4)) + (abs(load<f32>(p, 8)) + abs(load<f32>(p, 12)));
}

/** Entry x of a group: nearest((s + Σ ±q_b) · perUnit), + where bit b of x is set. Returns the greatest sum there is. */
function fillTable(rotated: usize, end: usize, perUnit: f32, table: usize): i32 {
  let highest: i32 = 0;
  for (let p = rotated; p < end; p += 16) {
    const a = load<f32>(p) * perUnit, b = load<f32>(p, 4) * perUnit, c = load<f32>(p, 8) * perUnit, d = load<f32>(p, 12) * perUnit;
    const s = abs(a) + abs(b) + (abs(c) + abs(d));
    if (ASC_FEATURE_SIMD) {
      const ab = f32x4.add(f32x4.splat(s), f32x4.add(f32x4.mul(f32x4.splat(a), f32x4(-1, 1, -1, 1)), f32x4.mul(f32x4.splat(b), f32x4(-1, -1, 1, 1))));
      const less = f32x4.sub(ab, f32x4.splat(c)), more = f32x4.add(ab, f32x4.splat(c)), e = f32x4.splat(d);
      const e0 = whole(f32x4.sub(less, e)), e1 = whole(f32x4.sub(more, e)), e2 = whole(f32x4.add(less, e)), e3 = whole(f32x4.add(more, e));
      v128.store(table, i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(e0, e1), i16x8.narrow_i32x4_s(e2, e3)));
    } else {
      for (let x: u32 = 0; x < 16; x++) {
        const ab = s + ((x & 1 ? a : -a) + (x & 2 ? b : -b));
        const abc = x & 4 ? ab + c : ab - c;
        const entry = <i32>nearest<f32>(x & 8 ? abc + d : abc - d);
        store<u8>(table + x, <u8>max<i32>(0, min<i32>(255, entry)));
      }
    }
    const top = u32(a >= 0) | (u32(b >= 0) << 1) | (u32(c >= 0) << 2) | (u32(d >= 0) << 3);
    highest += load<u8>(table + top);
    table += 16;
  }
  return highest;
}

// @ts-ignore: decorator
@inline function whole(x: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(x));
}
