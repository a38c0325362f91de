// Exact scoring of row-major f32 rows. Every sum is a left fold over the coordinates in f32, from +0:
// the SIMD build multiplies four coordinates of four rows, transposes the products so that a row is a
// lane, and adds them in order; the scalar build adds them one by one. Both give the same bits.
//
// Work goes tile by tile: up to TILE_ROWS row addresses are listed (all rows, or those a mask lets
// through), their sums land in a small buffer, and that buffer becomes scores and is offered to the top-k.

import { topkPush, topkPushIds } from "./topk";

const TILE_ROWS: u32 = 1020;
const TILE_BYTES: u32 = 98304; // of rows: a second fold over the same tile finds it in the cache

// At 512 dimensions reading ahead costs a fifth: twelve rows now and twelve to come are more than 32 KiB.
const AHEAD_DIM: u32 = 256;

const enum Term { Dot, Square, Distance }
const enum Metric { Cosine, Dot, Distance }

const addresses = memory.data(4 * 1024, 64); // u32: where each row of the tile starts
const indices = memory.data(4 * 1024, 64); // u32: its number in the block, under a mask
const sums = memory.data(4 * 1024, 64); // f32: its fold, then its score
const norms = memory.data(4 * 1024, 64); // f32: its inverse norm, where it must be computed or gathered
const sink = memory.data(4, 4); // what reading ahead read, so that it counts as used

/** The first of `count` f32 that is NaN or infinite, or −1. */
export function checkFinite(p: usize, count: u32): i32 {
  let i: u32 = 0;
  if (ASC_FEATURE_SIMD) {
    const exponent = i32x4.splat(0x7f800000);
    for (; i + 16 <= count; i += 16) {
      const x = p + (<usize>i << 2);
      const a = i32x4.eq(v128.and(v128.load(x), exponent), exponent);
      const b = i32x4.eq(v128.and(v128.load(x, 16), exponent), exponent);
      const c = i32x4.eq(v128.and(v128.load(x, 32), exponent), exponent);
      const d = i32x4.eq(v128.and(v128.load(x, 48), exponent), exponent);
      if (v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) break;
    }
  }
  for (; i < count; i++) if ((load<u32>(p + (<usize>i << 2)) & 0x7f800000) == 0x7f800000) return <i32>i;
  return -1;
}

/** f32(1 / f32(√ss)) of each of n rows to `out`, ss the fold of squares; 0 where ss is 0. */
export function rowInvNorms(rows: usize, n: u32, dim: u32, out: usize): void {
  const step = tileRows(dim);
  for (let first: u32 = 0; first < n; first += step) {
    const count = min(step, n - first);
    listRows(rows + <usize>first * dim * 4, count, dim << 2);
    invNormsOfTile(count, dim, rows, aheadLimit(rows, n, dim));
    memory.copy(out + (<usize>first << 2), norms, <usize>count << 2);
  }
}

/**
 * Offers the cosine of every row to the top-k `state`, row i as id firstId + i.
 * invNorms: f32 × n, or 0 to compute them on the way; qInv: the query's; mask: bit i (lowest first) lets row i
 * through, or 0 for all rows.
 */
export function scanCosine(rows: usize, invNorms: usize, n: u32, dim: u32, q: usize, qInv: f32, firstId: u32, state: usize, mask: usize): void {
  scan(Metric.Cosine, rows, invNorms, n, dim, q, qInv, firstId, state, mask, 0);
}

/** As `scanCosine`, by dot product. */
export function scanDot(rows: usize, n: u32, dim: u32, q: usize, firstId: u32, state: usize, mask: usize): void {
  scan(Metric.Dot, rows, 0, n, dim, q, 0, firstId, state, mask, 0);
}

/** As `scanCosine`, by squared Euclidean distance, negated so that higher is better. */
export function scanDistance(rows: usize, n: u32, dim: u32, q: usize, firstId: u32, state: usize, mask: usize): void {
  scan(Metric.Distance, rows, 0, n, dim, q, 0, firstId, state, mask, 0);
}

/** The cosine scores themselves, f32 × n. */
export function scoresCosine(rows: usize, invNorms: usize, n: u32, dim: u32, q: usize, qInv: f32, out: usize): void {
  scan(Metric.Cosine, rows, invNorms, n, dim, q, qInv, 0, 0, 0, out);
}

export function scoresDot(rows: usize, n: u32, dim: u32, q: usize, out: usize): void {
  scan(Metric.Dot, rows, 0, n, dim, q, 0, 0, 0, 0, out);
}

export function scoresDistance(rows: usize, n: u32, dim: u32, q: usize, out: usize): void {
  scan(Metric.Distance, rows, 0, n, dim, q, 0, 0, 0, 0, out);
}

/**
 * The scores of rows that stand anywhere, f32 × n to `out`. rows: u32 × n addresses. invNorms: f32 × n, read by
 * cosine only. metric: 0 cosine, 1 dot, 2 squared distance, negated.
 */
export function scoresAt(metric: u32, rows: usize, invNorms: usize, n: u32, dim: u32, q: usize, qInv: f32, out: usize): void {
  const step = tileRows(dim);
  const rowBytes = dim << 2;
  for (let first: u32 = 0; first < n; first += step) {
    const count = min(step, n - first);
    memory.copy(addresses, rows + (<usize>first << 2), <usize>count << 2);
    padList(count);
    // Where reading ahead may idle: twelve rows' bytes that surely exist, as they end where a row does.
    const past = row(addresses, 0) + rowBytes;
    const idle = past > 12 * <usize>rowBytes ? past - 12 * <usize>rowBytes : 0;
    if (metric == Metric.Distance) foldDistances(count, q, dim, sums, idle, 0);
    else foldDots(count, q, dim, sums, idle, 0);
    if (metric == Metric.Cosine) finishCosine(count, invNorms + (<usize>first << 2), qInv);
    else finish(count, metric == Metric.Distance);
    memory.copy(out + (<usize>first << 2), sums, <usize>count << 2);
  }
}

function scan(
  metric: Metric, rows: usize, invNorms: usize, n: u32, dim: u32, q: usize, qInv: f32,
  firstId: u32, state: usize, mask: usize, out: usize,
): void {
  const step = tileRows(dim);
  const end = mask == 0 ? aheadLimit(rows, n, dim) : 0;
  for (let first: u32 = 0; first < n; ) {
    const base = rows + <usize>first * dim * 4;
    let past = min(first + step, n);
    let count = past - first;
    if (mask == 0) listRows(base, count, dim << 2);
    else count = listMasked(rows, dim << 2, mask, first, past);
    if (count != 0) {
      if (metric == Metric.Distance) foldDistances(count, q, dim, sums, rows, end);
      else foldDots(count, q, dim, sums, rows, end);
      if (metric == Metric.Cosine) {
        const tileNorms = normsOfTile(rows, invNorms, first, count, dim, mask);
        finishCosine(count, tileNorms, qInv);
      } else finish(count, metric == Metric.Distance);
      if (out != 0) memory.copy(out + (<usize>first << 2), sums, <usize>count << 2);
      else if (mask == 0) topkPush(state, sums, count, firstId + first);
      else topkPushIds(state, sums, count, firstId, indices);
    }
    first = past;
  }
}

/** Where reading ahead must stop: the end of the rows; 0, for never, when twelve rows would fill the first-level cache. */
function aheadLimit(rows: usize, n: u32, dim: u32): usize {
  return dim <= AHEAD_DIM ? rows + <usize>n * dim * 4 : 0;
}

function tileRows(dim: u32): u32 {
  return max<u32>(12, min<u32>(TILE_ROWS, TILE_BYTES / (dim << 2) / 12 * 12));
}

function listRows(base: usize, count: u32, rowBytes: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    store<u32>(addresses + (<usize>i << 2), base);
    base += rowBytes;
  }
  padList(count);
}

/** Lists the rows first … past − 1 whose mask bit is set; returns how many. */
function listMasked(rows: usize, rowBytes: u32, mask: usize, first: u32, past: u32): u32 {
  let count: usize = 0;
  for (let i = first; i < past; ) {
    let bits = <u32>load<u8>(mask + (i >> 3)) >> (i & 7);
    const inByte = min(8 - (i & 7), past - i);
    bits &= (1 << inByte) - 1;
    while (bits) {
      const row = i + ctz(bits);
      bits &= bits - 1;
      store<u32>(addresses + (count << 2), rows + <usize>row * rowBytes);
      store<u32>(indices + (count << 2), row);
      count++;
    }
    i += inByte;
  }
  padList(<u32>count);
  return <u32>count;
}

/** Repeats the last address up to a multiple of four: blocks of rows need no special last case. */
function padList(count: u32): void {
  if (count == 0) return;
  const last = load<u32>(addresses + (<usize>(count - 1) << 2));
  for (; count & 3; count++) store<u32>(addresses + (<usize>count << 2), last);
}

function normsOfTile(rows: usize, invNorms: usize, first: u32, count: u32, dim: u32, mask: usize): usize {
  if (invNorms == 0) {
    invNormsOfTile(count, dim, rows, 0);
    return norms;
  }
  if (mask == 0) return invNorms + (<usize>first << 2);
  for (let i: usize = 0; i < count; i++) {
    store<f32>(norms + (i << 2), load<f32>(invNorms + (<usize>load<u32>(indices + (i << 2)) << 2)));
  }
  return norms;
}

function invNormsOfTile(count: u32, dim: u32, start: usize, end: usize): void {
  foldSquares(count, dim, norms, start, end);
  for (let i: usize = 0; i < count; i++) {
    const squares = load<f32>(norms + (i << 2));
    store<f32>(norms + (i << 2), squares == 0 ? 0 : <f32>1 / sqrt<f32>(squares));
  }
}

/** score = (dot · inv of the row) · inv of the query; −∞ where that is not a number. */
function finishCosine(count: u32, tileNorms: usize, qInv: f32): void {
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    const q4 = f32x4.splat(qInv), worst = f32x4.splat(-Infinity);
    for (; i + 4 <= count; i += 4) {
      const s = f32x4.mul(f32x4.mul(v128.load(sums + (i << 2)), v128.load(tileNorms + (i << 2))), q4);
      v128.store(sums + (i << 2), v128.bitselect(s, worst, f32x4.eq(s, s)));
    }
  }
  for (; i < count; i++) {
    const s: f32 = load<f32>(sums + (i << 2)) * load<f32>(tileNorms + (i << 2)) * qInv;
    store<f32>(sums + (i << 2), s == s ? s : -Infinity);
  }
}

function finish(count: u32, negate: bool): void {
  for (let i: usize = 0; i < count; i++) {
    let s = load<f32>(sums + (i << 2));
    if (s != s) s = -Infinity;
    store<f32>(sums + (i << 2), negate ? -s : s);
  }
}

// The three folds are exported only to keep the optimiser from inlining them into their one caller, whose
// variables would take the registers their loops need: in both builds the scan then runs at 50–70 % of the speed.

/** Σ x·q of each listed row to `out`; see `foldTile`. */
export function foldDots(count: u32, q: usize, dim: u32, out: usize, start: usize, end: usize): void {
  foldTile(Term.Dot, count, q, dim, out, start, end);
}

/** Σ x² of each listed row. */
export function foldSquares(count: u32, dim: u32, out: usize, start: usize, end: usize): void {
  foldTile(Term.Square, count, 0, dim, out, start, end);
}

/** Σ (x − q)² of each listed row. */
export function foldDistances(count: u32, q: usize, dim: u32, out: usize, start: usize, end: usize): void {
  foldTile(Term.Distance, count, q, dim, out, start, end);
}

/**
 * The fold of each listed row to `out`. `start`: the block's first row. `end`: how far the loop may read ahead
 * where rows follow one another without a gap; 0 for rows picked by a mask.
 */
// @ts-ignore: decorator
@inline function foldTile(term: Term, count: u32, q: usize, dim: u32, out: usize, start: usize, end: usize): void {
  const list = addresses;
  let i: usize = 0;
  if (ASC_FEATURE_SIMD) {
    for (; i + 12 <= count; i += 12) fold12(term, list + (i << 2), q, dim, out + (i << 2), start, end);
    for (; i < count; i += 4) fold4(term, list + (i << 2), q, dim, out + (i << 2));
  } else {
    for (; i < count; i += 4) foldScalar4(term, list + (i << 2), q, dim, out + (i << 2));
  }
}

// @ts-ignore: decorator
@inline function term4(term: Term, x: v128, q: v128): v128 {
  if (term == Term.Dot) return f32x4.mul(x, q);
  else if (term == Term.Square) return f32x4.mul(x, x);
  else return f32x4.mul(f32x4.sub(x, q), f32x4.sub(x, q));
}

// @ts-ignore: decorator
@inline function term1(term: Term, x: f32, q: f32): f32 {
  if (term == Term.Dot) return x * q;
  else if (term == Term.Square) return x * x;
  else return (x - q) * (x - q);
}

/**
 * acc + the four coordinates of four rows, in order. a…d hold one row each:
 *   a0 a1 a2 a3        a0 b0 a1 b1        a0 b0 c0 d0   first
 *   b0 b1 b2 b3   →    a2 b2 a3 b3   →    a1 b1 c1 d1   second
 *   c0 c1 c2 c3        c0 d0 c1 d1        a2 b2 c2 d2   third
 *   d0 d1 d2 d3        c2 d2 c3 d3        a3 b3 c3 d3   fourth
 */
// @ts-ignore: decorator
@inline function addInOrder(acc: v128, a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  acc = f32x4.add(acc, v128.shuffle<i64>(ab, cd, 0, 2));
  acc = f32x4.add(acc, v128.shuffle<i64>(ab, cd, 1, 3));
  const ef = v128.shuffle<i32>(a, b, 2, 6, 3, 7), gh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  acc = f32x4.add(acc, v128.shuffle<i64>(ef, gh, 0, 2));
  return f32x4.add(acc, v128.shuffle<i64>(ef, gh, 1, 3));
}

/** One coordinate of four rows as lanes: the coordinates past the last multiple of four. */
// @ts-ignore: decorator
@inline function column(r0: usize, r1: usize, r2: usize, r3: usize, at: usize): v128 {
  return v128.load32_lane(r3 + at, v128.load32_lane(r2 + at, v128.load32_lane(r1 + at, v128.load32_zero(r0 + at), 1), 2), 3);
}

// @ts-ignore: decorator
@inline function row(list: usize, i: usize): usize {
  return <usize>load<u32>(list + (i << 2));
}

/**
 * Twelve rows in flight, to cover the latency of the additions; and, where rows follow one another, a byte
 * read of every cache line of the next twelve on the way. One stream of reads in address order is what
 * the hardware's prefetching wants: 14.6 instead of 7.4 GB/s from main memory, 28 instead of 23 from the
 * third-level cache. Where that makes no sense the reads go to `idle`, twelve rows long.
 */
// @ts-ignore: decorator
@inline function fold12(term: Term, list: usize, q: usize, dim: u32, out: usize, idle: usize, limit: usize): void {
  const r0 = row(list, 0), r1 = row(list, 1), r2 = row(list, 2), r3 = row(list, 3);
  const r4 = row(list, 4), r5 = row(list, 5), r6 = row(list, 6), r7 = row(list, 7);
  const r8 = row(list, 8), r9 = row(list, 9), r10 = row(list, 10), r11 = row(list, 11);
  let a = f32x4.splat(0), b = a, c = a;
  const end = <usize>dim << 2, whole = end & ~15;
  const next = r0 + 12 * end;
  let touch = next + 12 * end <= limit ? next : idle;
  let touched: u32 = 0;
  let k: usize = 0;
  for (; k < whole; k += 16) {
    touched ^= load<u8>(touch) ^ load<u8>(touch, 64) ^ load<u8>(touch, 128);
    touch += 192;
    const y = term == Term.Square ? a : v128.load(q + k);
    a = addInOrder(a, term4(term, v128.load(r0 + k), y), term4(term, v128.load(r1 + k), y), term4(term, v128.load(r2 + k), y), term4(term, v128.load(r3 + k), y));
    b = addInOrder(b, term4(term, v128.load(r4 + k), y), term4(term, v128.load(r5 + k), y), term4(term, v128.load(r6 + k), y), term4(term, v128.load(r7 + k), y));
    c = addInOrder(c, term4(term, v128.load(r8 + k), y), term4(term, v128.load(r9 + k), y), term4(term, v128.load(r10 + k), y), term4(term, v128.load(r11 + k), y));
  }
  for (; k < end; k += 4) {
    const y = term == Term.Square ? a : v128.load32_splat(q + k);
    a = f32x4.add(a, term4(term, column(r0, r1, r2, r3, k), y));
    b = f32x4.add(b, term4(term, column(r4, r5, r6, r7, k), y));
    c = f32x4.add(c, term4(term, column(r8, r9, r10, r11, k), y));
  }
  store<u32>(sink, touched);
  v128.store(out, a);
  v128.store(out, b, 16);
  v128.store(out, c, 32);
}

// @ts-ignore: decorator
@inline function fold4(term: Term, list: usize, q: usize, dim: u32, out: usize): void {
  const r0 = row(list, 0), r1 = row(list, 1), r2 = row(list, 2), r3 = row(list, 3);
  let a = f32x4.splat(0);
  const end = <usize>dim << 2, whole = end & ~15;
  let k: usize = 0;
  for (; k < whole; k += 16) {
    const y = term == Term.Square ? a : v128.load(q + k);
    a = addInOrder(a, term4(term, v128.load(r0 + k), y), term4(term, v128.load(r1 + k), y), term4(term, v128.load(r2 + k), y), term4(term, v128.load(r3 + k), y));
  }
  for (; k < end; k += 4) {
    const y = term == Term.Square ? a : v128.load32_splat(q + k);
    a = f32x4.add(a, term4(term, column(r0, r1, r2, r3, k), y));
  }
  v128.store(out, a);
}

// @ts-ignore: decorator
@inline function foldScalar4(term: Term, list: usize, q: usize, dim: u32, out: usize): void {
  const r0 = row(list, 0), r1 = row(list, 1), r2 = row(list, 2), r3 = row(list, 3);
  let a: f32 = 0, b: f32 = 0, c: f32 = 0, d: f32 = 0;
  const end = <usize>dim << 2;
  for (let k: usize = 0; k < end; k += 4) {
    const y: f32 = term == Term.Square ? 0 : load<f32>(q + k);
    a += term1(term, load<f32>(r0 + k), y);
    b += term1(term, load<f32>(r1 + k), y);
    c += term1(term, load<f32>(r2 + k), y);
    d += term1(term, load<f32>(r3 + k), y);
  }
  store<f32>(out, a);
  store<f32>(out, b, 4);
  store<f32>(out, c, 8);
  store<f32>(out, d, 12);
}
