// RaBitQ codes (Gao and Long, SIGMOD 2024; the extension to several bits, SIGMOD 2025): a row's residual to its
// centroid, rotated, as B bits a dimension and a few factors that make an inner product with them an estimate.
//
// A stored code, W = B · D/8 + 8 bytes, or + 16 where B ≥ 2:
//
//   B planes of D/8 bytes   the top bits of all dimensions first; dimension t is bit t mod 8 of byte t/8
//   A1 i16, F1 i16, E1 u16, EB u16   the 1-bit estimate and both errors, as fixed point
//   a f32, f f32                     the B-bit estimate, where B ≥ 2
//
// Sums over dimensions are four chains in f32, dimension t in chain t mod 4, then (0 + 1) + (2 + 3): a v128 holds
// them in the SIMD build, four variables in the scalar one. The spec defines every step; both builds give its bits.

import { rotate } from "./rotation";

/** Below this the squared length of a residual counts as 0; the estimate loses 2^−48 at most. */
const LEAST: f32 = 1.262177448e-29; // 2^−96
const GREATEST: f32 = 3.4028234663852886e38;
/** Steps tried: f32((7 + s) / 10) of the one that fits a Gaussian best. */
const TRIALS: u32 = 8;

// What `measure` and `tryTwo` found of a row.
let rn: f32 = 0;
let cr: f32 = 0;
let l1: f32 = 0;
let cb: f32 = 0;
let dot0: f32 = 0;
let nn0: f32 = 0;
let dot1: f32 = 0;
let nn1: f32 = 0;
let cq: f32 = 0;

/** The step that fits a Gaussian of deviation 1 best, by bits. */
function gaussianStep(bits: u32): f32 {
  switch (bits) {
    case 2: return 0.9957;
    case 3: return 0.586;
    case 4: return 0.3352;
    case 5: return 0.1881;
    case 6: return 0.1041;
    case 7: return 0.0569;
    default: return 0.0308;
  }
}

/** Bytes of scratch that `rabitqEncode` needs for `tile` rows at a time. */
export function rabitqScratchBytes(padded: u32, tile: u32): u32 {
  return tile * padded * 4 + padded * 8;
}

/**
 * Codes (n × W bytes) of n × dim vectors in index space. cells: u32 × n; centroids: all of them, rotated, D f32 each;
 * squares: whether estimates are of a distance, less ½|y|². Takes `tile` rows at a time.
 */
export function rabitqEncode(
  y: usize, n: u32, dim: u32, cells: usize, centroids: usize, kind: u32, table: usize, padded: u32,
  bits: u32, squares: bool, out: usize, scratch: usize, tile: u32,
): void {
  const rowBytes = <usize>dim << 2, bytes = <usize>padded << 2;
  const stride = bits * (padded >> 3) + (bits == 1 ? 8 : 16);
  const lengths = scratch + <usize>tile * bytes;
  for (let first: u32 = 0; first < n; first += tile) {
    const count = min(tile, n - first);
    const rows = y + <usize>first * rowBytes;
    rotate(kind, table, dim, padded, rows, count, scratch);
    for (let v: u32 = 0; v < count; v++) {
      const cell = <usize>load<u32>(cells + (<usize>(first + v) << 2));
      const hy: f32 = squares ? 0.5 * foldSquares(rows + <usize>v * rowBytes, rowBytes) : 0;
      encodeRow(scratch + <usize>v * bytes, centroids + cell * bytes, padded, bits, hy, lengths, out);
      out += stride;
    }
  }
}

function foldSquares(y: usize, bytes: usize): f32 {
  let sum: f32 = 0;
  for (let j: usize = 0; j < bytes; j += 4) sum += load<f32>(y + j) * load<f32>(y + j);
  return sum;
}

/** One row: z becomes its residual. lengths: room for the residual's |r_t| and a byte a dimension. */
function encodeRow(z: usize, centroid: usize, padded: u32, bits: u32, hy: f32, lengths: usize, out: usize): void {
  const bytes = <usize>padded << 2;
  const factors = out + bits * (padded >> 3);
  measure(z, centroid, bytes, lengths);
  if (rn < LEAST) {
    const known: f32 = cr - hy;
    setAllBits(out, bits, padded >> 3);
    storeFactors(factors, bits, known, 0, 0, 0, abs<f32>(known) <= GREATEST ? known : GREATEST, 0);
    return;
  }
  const is = <f32>(1 / sqrt<f64>(<f64>padded));
  const spread = sqrt<f32>(<f32>(padded - 1));
  const f1: f32 = l1 > 0 ? rn / (l1 * is) : 0;
  const a1: f32 = cr - f1 * cb * is - hy;
  const e1: f32 = sqrt<f32>(max<f32>(0, f1 * f1 - rn)) / spread;
  if (bits == 1) {
    quantise(z, lengths, centroid, bytes, 0, 1, lengths + bytes);
    packPlanes(lengths + bytes, padded, 1, out);
    storeFactors(factors, 1, a1, f1, e1, 0, 0, 0);
    return;
  }
  const level = <f32>(1 << (bits - 1));
  const inv = bestInverse(lengths, bytes, bits, level - 1);
  const dot = dot0, nn = nn0;
  let f: f32 = dot > 0 ? rn / dot : 0;
  quantise(z, lengths, centroid, bytes, inv, bits, lengths + bytes);
  let a: f32 = cr - f * cq - hy;
  let e: f32 = sqrt<f32>(max<f32>(0, f * f * nn - rn)) / spread;
  // Sums beyond f32: the code of the signs alone, and an estimate that passes every filter.
  if (!(abs<f32>(a) <= GREATEST && f <= GREATEST)) {
    quantise(z, lengths, centroid, bytes, 0, bits, lengths + bytes);
    a = GREATEST;
    f = 0;
    e = Infinity;
  }
  packPlanes(lengths + bytes, padded, bits, out);
  storeFactors(factors, bits, a1, f1, e1, e, a, f);
}

/** r = z − c in place of z, its |r_t| to `lengths`; rn, cr, l1 and cb. */
function measure(z: usize, centroid: usize, bytes: usize, lengths: usize): void {
  if (ASC_FEATURE_SIMD) {
    const signBit = i32x4.splat(0x80000000), zero = f32x4.splat(0);
    let s0 = zero, s1 = zero, s2 = zero, s3 = zero;
    for (let t: usize = 0; t < bytes; t += 16) {
      const c = v128.load(centroid + t);
      const r = f32x4.sub(v128.load(z + t), c);
      const length = f32x4.abs(r);
      v128.store(z + t, r);
      v128.store(lengths + t, length);
      s0 = f32x4.add(s0, f32x4.mul(r, r));
      s1 = f32x4.add(s1, f32x4.mul(c, r));
      s2 = f32x4.add(s2, length);
      s3 = f32x4.add(s3, v128.xor(c, v128.andnot(signBit, f32x4.ge(r, zero))));
    }
    rn = sumOfLanes(s0);
    cr = sumOfLanes(s1);
    l1 = sumOfLanes(s2);
    cb = sumOfLanes(s3);
  } else {
    let s0: f32 = 0, s1: f32 = 0, s2: f32 = 0, s3: f32 = 0;
    // A chain at a time: the four of a sum are added as (0 + 1) + (2 + 3).
    let low0: f32 = 0, low1: f32 = 0, low2: f32 = 0, low3: f32 = 0;
    let half0: f32 = 0, half1: f32 = 0, half2: f32 = 0, half3: f32 = 0;
    for (let chain: usize = 0; chain < 16; chain += 4) {
      s0 = s1 = s2 = s3 = 0;
      for (let t = chain; t < bytes; t += 16) {
        const c = load<f32>(centroid + t);
        const r: f32 = load<f32>(z + t) - c;
        const length = abs<f32>(r);
        store<f32>(z + t, r);
        store<f32>(lengths + t, length);
        s0 += r * r;
        s1 += c * r;
        s2 += length;
        s3 += r >= 0 ? c : -c;
      }
      if (chain == 0 || chain == 8) {
        low0 = s0; low1 = s1; low2 = s2; low3 = s3;
      } else if (chain == 4) {
        half0 = low0 + s0; half1 = low1 + s1; half2 = low2 + s2; half3 = low3 + s3;
      }
    }
    rn = half0 + (low0 + s0);
    cr = half1 + (low1 + s1);
    l1 = half2 + (low2 + s2);
    cb = half3 + (low3 + s3);
  }
}

// @ts-ignore: decorator
@inline function sumOfLanes(s: v128): f32 {
  return f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 1) + (f32x4.extract_lane(s, 2) + f32x4.extract_lane(s, 3));
}

/** 1/step of the step whose code has the greatest cosine with the residual, the first of equals; its sums in dot0, nn0. */
function bestInverse(lengths: usize, bytes: usize, bits: u32, top: f32): f32 {
  const sigma = sqrt<f32>(rn / <f32>(<u32>bytes >> 2));
  const fit = gaussianStep(bits);
  let best: f32 = -Infinity, bestInv: f32 = 0, bestDot: f32 = 0, bestNn: f32 = 0;
  for (let s: u32 = 0; s < TRIALS; s += 2) {
    const inv0: f32 = 1 / (sigma * (fit * <f32>(<f64>(7 + s) / 10)));
    const inv1: f32 = 1 / (sigma * (fit * <f32>(<f64>(8 + s) / 10)));
    tryTwo(lengths, bytes, inv0, inv1, top);
    const score0: f32 = dot0 / sqrt<f32>(nn0), score1: f32 = dot1 / sqrt<f32>(nn1);
    if (score0 > best) {
      best = score0;
      bestInv = inv0;
      bestDot = dot0;
      bestNn = nn0;
    }
    if (score1 > best) {
      best = score1;
      bestInv = inv1;
      bestDot = dot1;
      bestNn = nn1;
    }
  }
  dot0 = bestDot;
  nn0 = bestNn;
  return bestInv;
}

/** Σ |g|·|r| and Σ g² of two steps. Signs cancel: |g_t| = min(floor(|r_t|/step), L − 1) + ½. */
function tryTwo(lengths: usize, bytes: usize, inv0: f32, inv1: f32, top: f32): void {
  if (ASC_FEATURE_SIMD) {
    const i0 = f32x4.splat(inv0), i1 = f32x4.splat(inv1), most = f32x4.splat(top), half = f32x4.splat(0.5);
    let d0 = f32x4.splat(0), n0 = d0, d1 = d0, n1 = d0;
    for (const end = lengths + bytes; lengths < end; lengths += 16) {
      const length = v128.load(lengths);
      const g0 = f32x4.add(f32x4.pmin(most, f32x4.floor(f32x4.mul(length, i0))), half);
      d0 = f32x4.add(d0, f32x4.mul(g0, length));
      n0 = f32x4.add(n0, f32x4.mul(g0, g0));
      const g1 = f32x4.add(f32x4.pmin(most, f32x4.floor(f32x4.mul(length, i1))), half);
      d1 = f32x4.add(d1, f32x4.mul(g1, length));
      n1 = f32x4.add(n1, f32x4.mul(g1, g1));
    }
    dot0 = sumOfLanes(d0);
    nn0 = sumOfLanes(n0);
    dot1 = sumOfLanes(d1);
    nn1 = sumOfLanes(n1);
  } else {
    tryOne(lengths, bytes, inv1, top);
    dot1 = dot0;
    nn1 = nn0;
    tryOne(lengths, bytes, inv0, top);
  }
}

/** The scalar build's: to dot0 and nn0. */
function tryOne(lengths: usize, bytes: usize, inv: f32, top: f32): void {
  let d0: f32 = 0, d1: f32 = 0, d2: f32 = 0, d3: f32 = 0;
  let n0: f32 = 0, n1: f32 = 0, n2: f32 = 0, n3: f32 = 0;
  for (const end = lengths + bytes; lengths < end; lengths += 16) {
    const x0 = load<f32>(lengths), x1 = load<f32>(lengths, 4), x2 = load<f32>(lengths, 8), x3 = load<f32>(lengths, 12);
    const g0 = magnitude(x0, inv, top), g1 = magnitude(x1, inv, top), g2 = magnitude(x2, inv, top), g3 = magnitude(x3, inv, top);
    d0 += g0 * x0;
    d1 += g1 * x1;
    d2 += g2 * x2;
    d3 += g3 * x3;
    n0 += g0 * g0;
    n1 += g1 * g1;
    n2 += g2 * g2;
    n3 += g3 * g3;
  }
  dot0 = d0 + d1 + (d2 + d3);
  nn0 = n0 + n1 + (n2 + n3);
}

// @ts-ignore: decorator
@inline function magnitude(length: f32, inv: f32, top: f32): f32 {
  return floored(length, inv, top) + 0.5;
}

/** min(floor(length · inv), top), or top where that is not a number. */
// @ts-ignore: decorator
@inline function floored(length: f32, inv: f32, top: f32): f32 {
  const m = floor<f32>(length * inv);
  return m < top ? m : top;
}

/**
 * A byte a dimension to `codes`: m + L where r ≥ 0, else its complement, L − 1 − m; and cq = Σ g·c.
 * inv = 0 leaves the signs alone: m is 0 everywhere.
 */
function quantise(r: usize, lengths: usize, centroid: usize, bytes: usize, inv: f32, bits: u32, codes: usize): void {
  const level: i32 = 1 << (bits - 1);
  const top: f32 = inv == 0 ? 0 : <f32>(level - 1);
  if (ASC_FEATURE_SIMD) {
    const i4 = f32x4.splat(inv), most = f32x4.splat(top);
    const above = i8x16.splat(<i8>level), all = i8x16.splat(<i8>(2 * level - 1));
    let sum = f32x4.splat(0);
    for (let t: usize = 0; t < bytes; t += 64) {
      const m0 = f32x4.pmin(most, f32x4.floor(f32x4.mul(v128.load(lengths + t), i4)));
      const n0 = negative(r + t);
      sum = f32x4.add(sum, weighed(m0, n0, centroid + t));
      const m1 = f32x4.pmin(most, f32x4.floor(f32x4.mul(v128.load(lengths + t, 16), i4)));
      const n1 = negative(r + t + 16);
      sum = f32x4.add(sum, weighed(m1, n1, centroid + t + 16));
      const m2 = f32x4.pmin(most, f32x4.floor(f32x4.mul(v128.load(lengths + t, 32), i4)));
      const n2 = negative(r + t + 32);
      sum = f32x4.add(sum, weighed(m2, n2, centroid + t + 32));
      const m3 = f32x4.pmin(most, f32x4.floor(f32x4.mul(v128.load(lengths + t, 48), i4)));
      const n3 = negative(r + t + 48);
      sum = f32x4.add(sum, weighed(m3, n3, centroid + t + 48));
      const m = i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(whole(m0), whole(m1)), i16x8.narrow_i32x4_s(whole(m2), whole(m3)));
      const flips = v128.and(i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(n0, n1), i16x8.narrow_i32x4_s(n2, n3)), all);
      v128.store(codes + (t >> 2), v128.xor(i8x16.add(m, above), flips));
    }
    cq = sumOfLanes(sum);
  } else {
    let s0: f32 = 0, s1: f32 = 0, s2: f32 = 0, s3: f32 = 0;
    for (let t: usize = 0; t < bytes; t += 16) {
      s0 += quantiseOne(r + t, lengths + t, centroid + t, inv, top, level, codes + (t >> 2));
      s1 += quantiseOne(r + t + 4, lengths + t + 4, centroid + t + 4, inv, top, level, codes + (t >> 2) + 1);
      s2 += quantiseOne(r + t + 8, lengths + t + 8, centroid + t + 8, inv, top, level, codes + (t >> 2) + 2);
      s3 += quantiseOne(r + t + 12, lengths + t + 12, centroid + t + 12, inv, top, level, codes + (t >> 2) + 3);
    }
    cq = s0 + s1 + (s2 + s3);
  }
}

/** All ones in the lanes where r ≥ 0 does not hold. */
// @ts-ignore: decorator
@inline function negative(r: usize): v128 {
  return v128.not(f32x4.ge(v128.load(r), f32x4.splat(0)));
}

/** g · c. */
// @ts-ignore: decorator
@inline function weighed(m: v128, negatives: v128, centroid: usize): v128 {
  const g = v128.xor(f32x4.add(m, f32x4.splat(0.5)), v128.and(negatives, i32x4.splat(0x80000000)));
  return f32x4.mul(g, v128.load(centroid));
}

/** Whole numbers below 256 as i32: adding 2^23 leaves them in the low bits. */
// @ts-ignore: decorator
@inline function whole(m: v128): v128 {
  return v128.and(f32x4.add(m, f32x4.splat(8388608)), i32x4.splat(255));
}

// @ts-ignore: decorator
@inline function quantiseOne(r: usize, length: usize, centroid: usize, inv: f32, top: f32, level: i32, code: usize): f32 {
  const m = floored(load<f32>(length), inv, top);
  const u = level + <i32>m;
  const up = load<f32>(r) >= 0;
  store<u8>(code, up ? u : 2 * level - 1 - u);
  const g: f32 = m + 0.5;
  return (up ? g : -g) * load<f32>(centroid);
}

/** Codes of a byte a dimension to planes of bits, the top bit's first. */
function packPlanes(codes: usize, padded: u32, bits: u32, out: usize): void {
  const planeBytes = <usize>(padded >> 3);
  if (ASC_FEATURE_SIMD) {
    for (let t: usize = 0; t < padded; t += 16) {
      let x = i8x16.shl(v128.load(codes + t), <i32>(8 - bits));
      for (let to = out + (t >> 3), past = to + <usize>bits * planeBytes; to < past; to += planeBytes) {
        store<u16>(to, <u16>i8x16.bitmask(x));
        x = i8x16.add(x, x);
      }
    }
  } else {
    for (let at: usize = 0; at < planeBytes; at++) {
      // Eight bytes, eight planes: the bits that a multiplication gathers in its top byte, lowest dimension lowest.
      const eight = load<u64>(codes + (at << 3));
      for (let plane: u32 = 0; plane < bits; plane++) {
        const picked = (eight >> (bits - 1 - plane)) & 0x0101010101010101;
        store<u8>(out + <usize>plane * planeBytes + at, <u8>((picked * 0x0102040810204080) >> 56));
      }
    }
  }
}

/** Every dimension's code L: ones in the top plane, zeros below. */
function setAllBits(out: usize, bits: u32, planeBytes: u32): void {
  memory.fill(out, 255, planeBytes);
  memory.fill(out + planeBytes, 0, (bits - 1) * planeBytes);
}

/** A1 and F1 beyond their range mark a row that passes every 1-bit filter. */
function storeFactors(at: usize, bits: u32, a1: f32, f1: f32, e1: f32, e: f32, a: f32, f: f32): void {
  const fixedA = nearest<f32>(a1 * 16384), fixedF = nearest<f32>(f1 * 16384);
  const inside = fixedA >= -32767 && fixedA <= 32767 && fixedF <= 32767;
  store<i16>(at, inside ? <i16>fixedA : 32767);
  store<i16>(at, inside ? <i16>fixedF : 0, 2);
  store<u16>(at, fixedError(e1), 4);
  store<u16>(at, fixedError(e), 6);
  if (bits == 1) return;
  store<f32>(at, a, 8);
  store<f32>(at, f, 12);
}

// @ts-ignore: decorator
@inline function fixedError(e: f32): u16 {
  const fixed = nearest<f32>(e * 65536);
  return fixed < 65535 ? <u16>fixed : 65535;
}

/** y = f32(x · inv) of n × dim vectors, inv (f32 × n) as `rowInvNorms` gives it; `out` may be `x`. */
export function scaleRows(x: usize, invNorms: usize, n: u32, dim: u32, out: usize): void {
  const bytes = <usize>dim << 2;
  for (let v: u32 = 0; v < n; v++) {
    const inv = load<f32>(invNorms + (<usize>v << 2));
    let j: usize = 0;
    if (ASC_FEATURE_SIMD) {
      const inv4 = f32x4.splat(inv);
      for (; j + 16 <= bytes; j += 16) v128.store(out + j, f32x4.mul(v128.load(x + j), inv4));
    }
    for (; j < bytes; j += 4) store<f32>(out + j, load<f32>(x + j) * inv);
    x += bytes;
    out += bytes;
  }
}

/** y = f32(x · factor) of `count` values, in f64 for powers of two beyond f32; `out` may be `x`. */
export function scaleValues(x: usize, count: u32, factor: f64, out: usize): void {
  for (let i: usize = 0; i < <usize>count << 2; i += 4) store<f32>(out + i, <f32>(<f64>load<f32>(x + i) * factor));
}
