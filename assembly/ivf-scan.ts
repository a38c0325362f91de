// One-bit estimates of whole blocks of 32 rows (FastScan). A block:
//
//   M × 16 bytes   group m: byte (l % 8)·2 + ((l >> 3) & 1) holds row l's four sign bits of dimensions 4m…4m+3,
//                  in the low half for rows 0…15, in the high half for 16…31
//   32 × i16 A1    −32,768 in rows that are only padding
//   32 × i16 F1    0 there
//
// Even bytes are rows 0…7 (16…23), odd bytes rows 8…15 (24…31): sums widen to u16 without a shuffle, and come out
// in row order. A row's estimate is (A1 >> shift) + F1·((sum of its entries − middle)·J) / 2^15, saturating, in
// units of 2^(shift − 14), less what its cell adds. Integers throughout, so that both builds agree.

import { BLOCK_FACTOR_BYTES, INDEX_PADDED, QUERY_MIDDLE, QUERY_QUANTUM, QUERY_SHIFT, QUERY_TABLE } from "../src/layout/ivf";

/** Below it stands only what is no row. */
const LOWEST: i32 = -32767;


/** Bytes of a block of codes of D dimensions. */
// @ts-ignore: decorator
@inline export function blockBytes(padded: u32): usize {
  return (<usize>padded << 2) + BLOCK_FACTOR_BYTES;
}

/**
 * Lists the rows of `count` blocks whose estimate is above `least`, as u64 tag + row, row counted from the first
 * block's. Shift 0 only. Returns the end of the list.
 */
export function scanAbove(index: usize, query: usize, blocks: usize, count: u32, least: i32, tag: u64, list: usize): usize {
  const groups = load<u32>(index, INDEX_PADDED) >> 2;
  const table = load<usize>(query, QUERY_TABLE);
  const middle = load<i32>(query, QUERY_MIDDLE), quantum = load<i32>(query, QUERY_QUANTUM);
  if (ASC_FEATURE_SIMD) return scanAboveVector(blocks, count, groups, table, middle, quantum, least, tag, list);
  for (let b: u32 = 0; b < count; b++) {
    for (let row: u32 = 0; row < 32; row++) {
      if (estimateOf(blocks, groups, row, table, middle, quantum, 0) <= least) continue;
      store<u64>(list, tag + row);
      list += 8;
    }
    blocks += (<usize>groups << 4) + BLOCK_FACTOR_BYTES;
    tag += 32;
  }
  return list;
}

/** The estimates themselves plus `offset`, saturating but above −32,768, i16 × 32 × count. Any shift. */
export function scanAll(index: usize, query: usize, blocks: usize, count: u32, offset: i32, out: usize): void {
  const groups = load<u32>(index, INDEX_PADDED) >> 2;
  const table = load<usize>(query, QUERY_TABLE);
  const middle = load<i32>(query, QUERY_MIDDLE), quantum = load<i32>(query, QUERY_QUANTUM);
  const shift = load<i32>(query, QUERY_SHIFT);
  offset = max<i32>(-32768, min<i32>(32767, offset));
  if (ASC_FEATURE_SIMD) {
    scanAllVector(blocks, count, groups, table, middle, quantum, shift, offset, out);
    return;
  }
  for (let b: u32 = 0; b < count; b++) {
    for (let row: u32 = 0; row < 32; row++) {
      const estimate = saturate(estimateOf(blocks, groups, row, table, middle, quantum, shift) + offset);
      store<i16>(out, <i16>max<i32>(LOWEST, estimate));
      out += 2;
    }
    blocks += (<usize>groups << 4) + BLOCK_FACTOR_BYTES;
  }
}

function estimateOf(block: usize, groups: u32, row: u32, table: usize, middle: i32, quantum: i32, shift: i32): i32 {
  const half = (row >> 4) << 2;
  let code = block + ((row & 7) << 1) + ((row >> 3) & 1);
  let sum: i32 = 0;
  for (let m: u32 = 0; m < groups; m++) {
    sum += load<u8>(table + ((load<u8>(code) >> <u8>half) & 15));
    table += 16;
    code += 16;
  }
  const factors = block + (<usize>groups << 4) + (<usize>row << 1);
  const product = <i32>load<i16>(factors, 64) * <i32>(<i16>((sum - middle) * quantum));
  return saturate((<i32>load<i16>(factors) >> shift) + saturate((product + 0x4000) >> 15));
}

// @ts-ignore: decorator
@inline function saturate(x: i32): i32 {
  return max<i32>(-32768, min<i32>(32767, x));
}

// One group's look-ups added to s0 (rows 0…15) and s1 (16…31); at most four before they must be widened.
// @ts-ignore: decorator
@inline function lowEntries(entries: v128, codes: v128): v128 {
  return i8x16.swizzle(entries, v128.and(codes, i8x16.splat(15)));
}

// @ts-ignore: decorator
@inline function highEntries(entries: v128, codes: v128): v128 {
  return i8x16.swizzle(entries, v128.and(i16x8.shr_u(codes, 4), i8x16.splat(15)));
}

// @ts-ignore: decorator
@inline function estimates(factors: usize, at: usize, sum: v128, middle: v128, quantum: v128): v128 {
  return i16x8.q15mulr_sat_s(v128.load(factors + at, 64), i16x8.mul(i16x8.sub(sum, middle), quantum));
}

function scanAboveVector(
  p: usize, count: u32, groups: u32, table: usize, middle: i32, quantum: i32, least: i32, tag: u64, list: usize,
): usize {
  const end = table + (<usize>groups << 4);
  const vMiddle = i16x8.splat(<i16>middle), vQuantum = i16x8.splat(<i16>quantum), vLeast = i16x8.splat(<i16>least);
  for (; count != 0; count--) {
    let even0 = i16x8.splat(0), odd0 = even0, even1 = even0, odd1 = even0;
    for (let t = table; t < end; t += 64) {
      let entries = v128.load(t), codes = v128.load(p);
      let s0 = lowEntries(entries, codes), s1 = highEntries(entries, codes);
      entries = v128.load(t, 16);
      codes = v128.load(p, 16);
      s0 = i8x16.add(s0, lowEntries(entries, codes));
      s1 = i8x16.add(s1, highEntries(entries, codes));
      entries = v128.load(t, 32);
      codes = v128.load(p, 32);
      s0 = i8x16.add(s0, lowEntries(entries, codes));
      s1 = i8x16.add(s1, highEntries(entries, codes));
      entries = v128.load(t, 48);
      codes = v128.load(p, 48);
      s0 = i8x16.add(s0, lowEntries(entries, codes));
      s1 = i8x16.add(s1, highEntries(entries, codes));
      even0 = i16x8.add(even0, s0);
      odd0 = i16x8.add(odd0, i16x8.shr_u(s0, 8));
      even1 = i16x8.add(even1, s1);
      odd1 = i16x8.add(odd1, i16x8.shr_u(s1, 8));
      p += 64;
    }
    even0 = i16x8.sub(even0, i16x8.shl(odd0, 8)); // the odd bytes were added 256-fold
    even1 = i16x8.sub(even1, i16x8.shl(odd1, 8));
    even0 = i16x8.add_sat_s(v128.load(p), estimates(p, 0, even0, vMiddle, vQuantum));
    odd0 = i16x8.add_sat_s(v128.load(p, 16), estimates(p, 16, odd0, vMiddle, vQuantum));
    even1 = i16x8.add_sat_s(v128.load(p, 32), estimates(p, 32, even1, vMiddle, vQuantum));
    odd1 = i16x8.add_sat_s(v128.load(p, 48), estimates(p, 48, odd1, vMiddle, vQuantum));
    let above: u32 =
      <u32>i8x16.bitmask(i8x16.narrow_i16x8_s(i16x8.gt_s(even0, vLeast), i16x8.gt_s(odd0, vLeast))) |
      (<u32>i8x16.bitmask(i8x16.narrow_i16x8_s(i16x8.gt_s(even1, vLeast), i16x8.gt_s(odd1, vLeast))) << 16);
    while (above) {
      store<u64>(list, tag + ctz(above));
      list += 8;
      above &= above - 1;
    }
    p += BLOCK_FACTOR_BYTES;
    tag += 32;
  }
  return list;
}

function scanAllVector(p: usize, count: u32, groups: u32, table: usize, middle: i32, quantum: i32, shift: i32, offset: i32, out: usize): void {
  const end = table + (<usize>groups << 4);
  const vMiddle = i16x8.splat(<i16>middle), vQuantum = i16x8.splat(<i16>quantum), vOffset = i16x8.splat(<i16>offset);
  const lowest = i16x8.splat(<i16>LOWEST);
  for (; count != 0; count--) {
    let even0 = i16x8.splat(0), odd0 = even0, even1 = even0, odd1 = even0;
    for (let t = table; t < end; t += 64) {
      let entries = v128.load(t), codes = v128.load(p);
      let s0 = lowEntries(entries, codes), s1 = highEntries(entries, codes);
      entries = v128.load(t, 16);
      codes = v128.load(p, 16);
      s0 = i8x16.add(s0, lowEntries(entries, codes));
      s1 = i8x16.add(s1, highEntries(entries, codes));
      entries = v128.load(t, 32);
      codes = v128.load(p, 32);
      s0 = i8x16.add(s0, lowEntries(entries, codes));
      s1 = i8x16.add(s1, highEntries(entries, codes));
      entries = v128.load(t, 48);
      codes = v128.load(p, 48);
      s0 = i8x16.add(s0, lowEntries(entries, codes));
      s1 = i8x16.add(s1, highEntries(entries, codes));
      even0 = i16x8.add(even0, s0);
      odd0 = i16x8.add(odd0, i16x8.shr_u(s0, 8));
      even1 = i16x8.add(even1, s1);
      odd1 = i16x8.add(odd1, i16x8.shr_u(s1, 8));
      p += 64;
    }
    even0 = i16x8.sub(even0, i16x8.shl(odd0, 8));
    even1 = i16x8.sub(even1, i16x8.shl(odd1, 8));
    even0 = i16x8.add_sat_s(i16x8.shr_s(v128.load(p), shift), estimates(p, 0, even0, vMiddle, vQuantum));
    odd0 = i16x8.add_sat_s(i16x8.shr_s(v128.load(p, 16), shift), estimates(p, 16, odd0, vMiddle, vQuantum));
    even1 = i16x8.add_sat_s(i16x8.shr_s(v128.load(p, 32), shift), estimates(p, 32, even1, vMiddle, vQuantum));
    odd1 = i16x8.add_sat_s(i16x8.shr_s(v128.load(p, 48), shift), estimates(p, 48, odd1, vMiddle, vQuantum));
    v128.store(out, i16x8.max_s(lowest, i16x8.add_sat_s(even0, vOffset)));
    v128.store(out, i16x8.max_s(lowest, i16x8.add_sat_s(odd0, vOffset)), 16);
    v128.store(out, i16x8.max_s(lowest, i16x8.add_sat_s(even1, vOffset)), 32);
    v128.store(out, i16x8.max_s(lowest, i16x8.add_sat_s(odd1, vOffset)), 48);
    p += BLOCK_FACTOR_BYTES;
    out += 64;
  }
}

/** Lists those of n estimates (a multiple of 32) that are above `least` and not above `most`, as u64 tag + place. */
export function listBetween(estimates: usize, n: u32, least: i32, most: i32, tag: u64, list: usize): usize {
  least = max<i32>(-32768, least);
  if (ASC_FEATURE_SIMD) {
    const low = i16x8.splat(<i16>least), high = i16x8.splat(<i16>most);
    for (let i: u32 = 0; i < n; i += 16) {
      const a = v128.load(estimates), b = v128.load(estimates, 16);
      let chosen = <u32>i8x16.bitmask(i8x16.narrow_i16x8_s(
        v128.andnot(i16x8.gt_s(a, low), i16x8.gt_s(a, high)), v128.andnot(i16x8.gt_s(b, low), i16x8.gt_s(b, high))));
      while (chosen) {
        store<u64>(list, tag + i + ctz(chosen));
        list += 8;
        chosen &= chosen - 1;
      }
      estimates += 32;
    }
    return list;
  }
  for (let i: u32 = 0; i < n; i++) {
    const x = <i32>load<i16>(estimates + (<usize>i << 1));
    if (x <= least || x > most) continue;
    store<u64>(list, tag + i);
    list += 8;
  }
  return list;
}

/** A bound that about `wanted` of n estimates (a multiple of 32) lie above, within `tolerance`; more where many are equal. */
export function boundFor(estimates: usize, n: u32, wanted: u32, tolerance: u32): i32 {
  if (wanted >= n) return -32769;
  // Of equal estimates all or none are above a bound: rather all, but never padding, which stands at the lowest.
  let low = -32768, high = 32767;
  if (countAbove(estimates, n, low) <= wanted) return low;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const count = countAbove(estimates, n, middle);
    if (count < wanted) high = middle;
    else {
      low = middle;
      if (count <= wanted + tolerance) break;
    }
  }
  return low;
}

function countAbove(estimates: usize, n: u32, bound: i32): u32 {
  const end = estimates + (<usize>n << 1);
  let count: u32 = 0;
  if (ASC_FEATURE_SIMD) {
    const least = i16x8.splat(<i16>bound);
    while (estimates < end) {
      const stop = min(end, estimates + 32 * 32768); // before a lane's count overflows
      let a = i16x8.splat(0), b = a;
      for (; estimates < stop; estimates += 32) {
        a = i16x8.sub(a, i16x8.gt_s(v128.load(estimates), least));
        b = i16x8.sub(b, i16x8.gt_s(v128.load(estimates, 16), least));
      }
      const s = i32x4.add(i32x4.extadd_pairwise_i16x8_u(a), i32x4.extadd_pairwise_i16x8_u(b));
      count += i32x4.extract_lane(s, 0) + i32x4.extract_lane(s, 1) + i32x4.extract_lane(s, 2) + i32x4.extract_lane(s, 3);
    }
    return count;
  }
  for (; estimates < end; estimates += 2) count += u32(<i32>load<i16>(estimates) > bound);
  return count;
}
