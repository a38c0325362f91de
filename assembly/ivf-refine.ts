// Scores of single rows from their B-bit records. All records of a batch are read at their first bytes before any is
// computed on: their cache misses then overlap.

import {
  CELL_ORDINALS, CELL_RECORDS, INDEX_ADDRESSES, INDEX_BITS, INDEX_IDS, INDEX_PADDED, INDEX_RECORD_BYTES, INDEX_SCORES, QUERY_CELLS,
  QUERY_CELL_SCORES, QUERY_LEVELS, QUERY_LEVEL_STEP, QUERY_LEVEL_SUM, QUERY_REFINED, QUERY_STARTS,
} from "../src/layout/ivf";
import { pushCandidates } from "./ivf-candidates";
import { cellAt, slotBytes } from "./ivf-cells";

const sink = memory.data(4, 4);

/** Estimates each listed row (u64: slot in the selection high, row in the cell low) and offers it to the candidates. */
export function refine(index: usize, query: usize, list: usize, end: usize): void {
  const count = <u32>((end - list) >> 3);
  if (count == 0) return;
  const recordBytes = <usize>load<u32>(index, INDEX_RECORD_BYTES);
  const addresses = load<usize>(index, INDEX_ADDRESSES), ids = load<usize>(index, INDEX_IDS), scores = load<usize>(index, INDEX_SCORES);
  locate(index, query, list, count, recordBytes, addresses, ids);
  const bits = load<u32>(index, INDEX_BITS), padded = load<u32>(index, INDEX_PADDED);
  const slots = slotBytes(padded, bits);
  const levels = load<usize>(query, QUERY_LEVELS);
  const step = load<f32>(query, QUERY_LEVEL_STEP);
  const middle: f32 = (<f32>(1 << (bits - 1)) - 0.5) * load<f32>(query, QUERY_LEVEL_SUM);
  const cellScores = load<usize>(query, QUERY_CELL_SCORES);
  for (let i: usize = 0; i < <usize>count << 2; i += 4) {
    const record = <usize>load<u32>(addresses + i);
    const product: f32 = bits > 4 ? <f32>productOfBytes(record, levels, padded) : <f32>productOfNibbles(record, levels, padded);
    const cellScore = load<f32>(cellScores + (<usize>load<u32>(list + (i << 1), 4) << 2));
    store<f32>(scores + i, cellScore + (load<f32>(record + slots) + load<f32>(record + slots, 4) * ((product - middle) * step)));
  }
  pushCandidates(query, scores, ids, count);
  store<u32>(query, load<u32>(query, QUERY_REFINED) + count, QUERY_REFINED);
}

/** As `refine`, for rows that are all of one slot's cell, whose records were read ahead. */
export function refineInCell(index: usize, query: usize, records: usize, list: usize, end: usize): void {
  const bits = load<u32>(index, INDEX_BITS), padded = load<u32>(index, INDEX_PADDED);
  const recordBytes = <usize>load<u32>(index, INDEX_RECORD_BYTES), slots = slotBytes(padded, bits);
  const levels = load<usize>(query, QUERY_LEVELS);
  const step = load<f32>(query, QUERY_LEVEL_STEP);
  const middle: f32 = (<f32>(1 << (bits - 1)) - 0.5) * load<f32>(query, QUERY_LEVEL_SUM);
  const slot = <usize>load<u32>(list, 4) << 2;
  const cellScore = load<f32>(load<usize>(query, QUERY_CELL_SCORES) + slot), start = load<u32>(load<usize>(query, QUERY_STARTS) + slot);
  const ids = load<usize>(index, INDEX_IDS), scores = load<usize>(index, INDEX_SCORES);
  const count = <u32>((end - list) >> 3);
  for (let i: usize = 0; i < <usize>count << 2; i += 4) {
    const row = load<u32>(list + (i << 1));
    const record = records + <usize>row * recordBytes;
    const product: f32 = bits > 4 ? <f32>productOfBytes(record, levels, padded) : <f32>productOfNibbles(record, levels, padded);
    store<f32>(scores + i, cellScore + (load<f32>(record + slots) + load<f32>(record + slots, 4) * ((product - middle) * step)));
    store<u32>(ids + i, start + row);
  }
  pushCandidates(query, scores, ids, count);
  store<u32>(query, load<u32>(query, QUERY_REFINED) + count, QUERY_REFINED);
}

/** Addresses and ids of the listed rows; reads a byte of every cache line of their records on the way. */
function locate(index: usize, query: usize, list: usize, count: u32, recordBytes: usize, addresses: usize, ids: usize): void {
  const cells = load<usize>(query, QUERY_CELLS), starts = load<usize>(query, QUERY_STARTS);
  let slot: u32 = -1, start: u32 = 0, touched: u32 = 0;
  let records: usize = 0;
  for (let i: usize = 0; i < <usize>count << 2; i += 4) {
    const entry = load<u64>(list + (i << 1));
    const row = <u32>entry;
    if (<u32>(entry >> 32) != slot) {
      slot = <u32>(entry >> 32);
      start = load<u32>(starts + (<usize>slot << 2));
      records = load<usize>(cellAt(index, load<u32>(cells + (<usize>slot << 2))), CELL_RECORDS);
    }
    const record = records + <usize>row * recordBytes;
    store<u32>(addresses + i, <u32>record);
    store<u32>(ids + i, start + row);
    for (let j: usize = 0; j < recordBytes; j += 64) touched += load<u8>(record + j);
  }
  store<u32>(sink, touched);
}

/** Keeps those listed rows whose ordinal's bit is set; returns the new end of the list. */
export function filterListed(index: usize, query: usize, filter: usize, list: usize, end: usize): usize {
  const cells = load<usize>(query, QUERY_CELLS);
  let to = list;
  for (; list < end; list += 8) {
    const entry = load<u64>(list);
    const cell = cellAt(index, load<u32>(cells + (<usize>(entry >> 32) << 2)));
    const ordinal = load<u32>(load<usize>(cell, CELL_ORDINALS) + (<usize>(<u32>entry) << 2));
    store<u64>(to, entry);
    to += <usize>((load<u8>(filter + (ordinal >> 3)) >> <u8>(ordinal & 7)) & 1) << 3;
  }
  return to;
}

// @ts-ignore: decorator
@inline function lowProduct(slots: v128, levels: usize): v128 {
  return i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(slots), v128.load(levels));
}

// @ts-ignore: decorator
@inline function highProduct(slots: v128, levels: usize): v128 {
  return i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(slots), v128.load(levels, 16));
}

// @ts-ignore: decorator
@inline function total(a: v128): i32 {
  a = i32x4.add(a, v128.shuffle<i32>(a, a, 2, 3, 0, 1));
  return i32x4.extract_lane(a, 0) + i32x4.extract_lane(a, 1);
}

/** Σ u·level over D slots of 4 bits; see ivf-cells.ts for their order. */
export function productOfNibbles(record: usize, levels: usize, padded: u32): i32 {
  if (ASC_FEATURE_SIMD) {
    const nibble = i8x16.splat(15);
    let a = i32x4.splat(0), b = a;
    const end = record + (<usize>(padded & ~31) >> 1);
    for (; record < end; record += 16) {
      const x = v128.load(record);
      const low = v128.and(x, nibble), high = v128.and(i16x8.shr_u(x, 4), nibble);
      a = i32x4.add(a, i32x4.add(lowProduct(low, levels), highProduct(low, levels)));
      b = i32x4.add(b, i32x4.add(lowProduct(high, levels + 32), highProduct(high, levels + 32)));
      levels += 64;
    }
    if (padded & 16) {
      const x = v128.load64_zero(record);
      a = i32x4.add(a, lowProduct(v128.and(x, nibble), levels));
      b = i32x4.add(b, lowProduct(v128.and(i16x8.shr_u(x, 4), nibble), levels + 16));
    }
    return total(i32x4.add(a, b));
  }
  let sum: i32 = 0;
  const end = record + (<usize>(padded & ~31) >> 1);
  for (; record < end; record += 16) {
    for (let j: usize = 0; j < 16; j++) sum += nibblesProduct(load<u8>(record + j), levels + (j << 1), 32);
    levels += 64;
  }
  if (padded & 16) for (let j: usize = 0; j < 8; j++) sum += nibblesProduct(load<u8>(record + j), levels + (j << 1), 16);
  return sum;
}

// @ts-ignore: decorator
@inline function nibblesProduct(byte: u32, levels: usize, apart: usize): i32 {
  return <i32>(byte & 15) * <i32>load<i16>(levels) + <i32>(byte >> 4) * <i32>load<i16>(levels + apart);
}

/** Σ u·level over D slots of 8 bits. */
export function productOfBytes(record: usize, levels: usize, padded: u32): i32 {
  const end = record + padded;
  if (ASC_FEATURE_SIMD) {
    let a = i32x4.splat(0), b = a;
    for (; record < end; record += 16) {
      const x = v128.load(record);
      a = i32x4.add(a, lowProduct(x, levels));
      b = i32x4.add(b, highProduct(x, levels));
      levels += 32;
    }
    return total(i32x4.add(a, b));
  }
  let sum: i32 = 0;
  for (; record < end; record++) {
    sum += <i32>load<u8>(record) * <i32>load<i16>(levels);
    levels += 2;
  }
  return sum;
}
