// A cell scanned for 16 queries at once: queries stand in the lanes, and a row's four sign bits choose one vector of 16
// look-ups, one for each query. Nothing is unpacked or shuffled by query, so that a row costs a query half of what it
// costs alone (0.65 ns instead of 1.15 at 112 dimensions); tables have to be turned round for it, which pays from
// `WORTH` queries on. The estimates are those of ivf-scan.ts to the bit. Only for the SIMD build.
//
//   codes   for each block M × 32 × u16: where in `table` a row's look-ups of group m stand; then the 128 bytes of factors
//   table   M × 16 × 16 u8: for group m and sign bits x, every query's entry; of query q in byte 2 q, from 8 on 2 q − 15
//   lanes   i16 × 16 each: the queries' middles, their quanta, and the bounds that estimates have to be above; then
//           u32 × 16: where their tables stand, in the order of the bytes

import { BLOCK_FACTOR_BYTES, BLOCK_ROWS, QUERY_MIDDLE, QUERY_QUANTUM, QUERY_TABLE } from "../src/layout/ivf";

/** Queries scanned for at once. */
export const LANES: u32 = 16;
/** So many queries at least, or each is scanned for alone. */
export const WORTH: u32 = 8;
export const LANES_BYTES: usize = 160;
const QUANTA: usize = 32;
const LEASTS: usize = 64;
const TABLES: usize = 96;
const NOTHING_ABOVE: i16 = 32767;

const MAX_PADDED: u32 = 256; // beyond it the turned tables no longer stay in the first-level cache
const table = memory.data(16384, 64);
const half = memory.data(16384, 64); // the tables turned half way

/** Whether codes of D dimensions can be scanned like this. */
// @ts-ignore: decorator
@inline export function hasLanes(padded: u32): bool {
  return ASC_FEATURE_SIMD && padded <= MAX_PADDED;
}

/** Bytes of `count` rows, a multiple of 32, laid out as `layOut` does. */
// @ts-ignore: decorator
@inline export function laidOutBytes(padded: u32, count: u32): usize {
  return <usize>(count >> 5) * ((<usize>padded << 4) + BLOCK_FACTOR_BYTES);
}

/** Lays out the codes of `count` blocks for `scanLanes`. */
export function layOut(blocks: usize, count: u32, padded: u32, out: usize): void {
  const nibble = i16x8.splat(0xf0);
  for (; count != 0; count--) {
    let base = i16x8.splat(0);
    for (let m: u32 = 0; m < padded >> 2; m++) {
      const x = v128.load(blocks); // i16 lane l: rows l, 16 + l, 8 + l, 24 + l from the lowest four bits up
      v128.store(out, i16x8.add(base, v128.and(i16x8.shl(x, 4), nibble)));
      v128.store(out, i16x8.add(base, v128.and(i16x8.shr_u(x, 4), nibble)), 16);
      v128.store(out, i16x8.add(base, v128.and(x, nibble)), 32);
      v128.store(out, i16x8.add(base, v128.and(i16x8.shr_u(x, 8), nibble)), 48);
      base = i16x8.add(base, i16x8.splat(256));
      blocks += 16;
      out += 2 * BLOCK_ROWS;
    }
    memory.copy(out, blocks, BLOCK_FACTOR_BYTES);
    blocks += BLOCK_FACTOR_BYTES;
    out += BLOCK_FACTOR_BYTES;
  }
}

/** Puts a query into lane `q`: its rows are those with estimates above `least`. */
// @ts-ignore: decorator
@inline export function takeLane(lanes: usize, q: u32, query: usize, least: i32): void {
  const lane = lanes + (<usize>q << 1);
  store<i16>(lane, <i16>load<i32>(query, QUERY_MIDDLE));
  store<i16>(lane, <i16>load<i32>(query, QUERY_QUANTUM), QUANTA);
  store<i16>(lane, <i16>least, LEASTS);
  store<u32>(lanes + (<usize>(((q & 7) << 1) | (q >> 3)) << 2), load<u32>(query, QUERY_TABLE), TABLES);
}

/** Fills the lanes from `q` on with nothing. Lane 0 is taken. */
export function leaveLanes(lanes: usize, q: u32): void {
  for (; q < LANES; q++) {
    store<i16>(lanes + (<usize>q << 1), NOTHING_ABOVE, LEASTS);
    store<u32>(lanes + (<usize>(((q & 7) << 1) | (q >> 3)) << 2), load<u32>(lanes, TABLES), TABLES);
  }
}

/** Turns the tables of the queries in the lanes into the one that `scanLanes` reads. */
export function turnTables(lanes: usize, padded: u32): void {
  const bytes = <usize>padded << 2;
  for (let i: usize = 0; i < 4; i++) {
    const p = lanes + TABLES + (i << 2), out = half + (i << 6);
    const a = <usize>load<u32>(p), b = <usize>load<u32>(p, 16), c = <usize>load<u32>(p, 32), d = <usize>load<u32>(p, 48);
    for (let at: usize = 0; at < bytes; at += 16) mix(v128.load(a + at), v128.load(b + at), v128.load(c + at), v128.load(d + at), out + (at << 4));
  }
  for (let at: usize = 0; at < bytes << 4; at += 256) {
    for (let i: usize = 0; i < 64; i += 16) {
      const p = half + at + i;
      mix(v128.load(p), v128.load(p, 64), v128.load(p, 128), v128.load(p, 192), table + at + (i << 2));
    }
  }
}

/** Half of turning a matrix of 16 × 16 bytes: rows i, i + 4, i + 8 and i + 12 become 4 i … 4 i + 3. */
// @ts-ignore: decorator
@inline function mix(a: v128, b: v128, c: v128, d: v128, out: usize): void {
  const ac = lowBytes(a, c), acHigh = highBytes(a, c), bd = lowBytes(b, d), bdHigh = highBytes(b, d);
  v128.store(out, lowBytes(ac, bd));
  v128.store(out, highBytes(ac, bd), 16);
  v128.store(out, lowBytes(acHigh, bdHigh), 32);
  v128.store(out, highBytes(acHigh, bdHigh), 48);
}

// @ts-ignore: decorator
@inline function lowBytes(a: v128, b: v128): v128 {
  return v128.shuffle<u8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

// @ts-ignore: decorator
@inline function highBytes(a: v128, b: v128): v128 {
  return v128.shuffle<u8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** The entries of a row's sign bits in four groups, which a byte holds the sum of. */
// @ts-ignore: decorator
@inline function fourGroups(p: usize): v128 {
  const s = i8x16.add(v128.load(load<u16>(p), table), v128.load(load<u16>(p, 64), table));
  return i8x16.add(s, i8x16.add(v128.load(load<u16>(p, 128), table), v128.load(load<u16>(p, 192), table)));
}

/**
 * The rows, of `count` laid out ones, whose estimate is above some query's bound, as (u32: a bit for each of the 16
 * queries, u32: the row). Returns the end of the list.
 */
export function scanLanes(codes: usize, count: u32, padded: u32, lanes: usize, list: usize): usize {
  const middle0 = v128.load(lanes), middle1 = v128.load(lanes, 16), quantum0 = v128.load(lanes, 32), quantum1 = v128.load(lanes, 48);
  const least0 = v128.load(lanes, 64), least1 = v128.load(lanes, 80);
  for (let row: u32 = 0; row < count; ) {
    const factors = codes + (<usize>padded << 4), end = <usize>min<u32>(BLOCK_ROWS, count - row) << 1;
    for (let r: usize = 0; r < end; r += 2, row++) {
      let even = i16x8.splat(0), odd = even;
      let p = codes + r;
      if (padded & 16) {
        even = fourGroups(p);
        odd = i16x8.shr_u(even, 8);
        p += 256;
      }
      for (; p < factors; p += 512) { // eight groups at a time: −5 %
        const s = fourGroups(p), t = fourGroups(p + 256);
        even = i16x8.add(even, s);
        odd = i16x8.add(odd, i16x8.shr_u(s, 8));
        even = i16x8.add(even, t);
        odd = i16x8.add(odd, i16x8.shr_u(t, 8));
      }
      even = i16x8.sub(even, i16x8.shl(odd, 8)); // the odd bytes were added 256-fold
      const a = v128.load16_splat(factors + r), f = v128.load16_splat(factors + r, 64);
      even = i16x8.add_sat_s(a, i16x8.q15mulr_sat_s(f, i16x8.mul(i16x8.sub(even, middle0), quantum0)));
      odd = i16x8.add_sat_s(a, i16x8.q15mulr_sat_s(f, i16x8.mul(i16x8.sub(odd, middle1), quantum1)));
      const above = i8x16.bitmask(i8x16.narrow_i16x8_s(i16x8.gt_s(even, least0), i16x8.gt_s(odd, least1)));
      if (above == 0) continue;
      store<u32>(list, <u32>above);
      store<u32>(list, row, 4);
      list += 8;
    }
    codes = factors + BLOCK_FACTOR_BYTES;
  }
  return list;
}
