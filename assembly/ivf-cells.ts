// Loading a cell: stored code rows become FastScan blocks (see ivf-scan.ts) and records.
//
// stored row   |<- B planes of D/8 bytes, top bit first ->| i16 A1 | i16 F1 | u16 E1 | u16 EB | f32 aB | f32 fB |
// record       |<- D slots ->| f32 aB | f32 fB | padding to a multiple of 64
//              B ≤ 4: slots of 4 bits, 32 at a time: byte j holds slot j low and slot 16 + j high;
//                     where D ends with 16, byte j of the last 8 holds slot j low and slot 8 + j high
//              B > 4: slots of 8 bits in order

import {
  BLOCK_ROWS, CELL_BLOCKS, CELL_BYTES, CELL_ERROR, CELL_ERROR_SUM, CELL_OFFSET, CELL_OFFSET_SUM, CELL_RECORDS, CELL_ROWS, CELL_WILD, INDEX_BITS, INDEX_CELL_TABLE,
  INDEX_CODE_BYTES, INDEX_PADDED, INDEX_RECORD_BYTES,
} from "../src/layout/ivf";
import { blockBytes } from "./ivf-scan";

const WILD: i32 = 32767;
const EMPTY: i32 = -32768;

// @ts-ignore: decorator
@inline export function cellAt(index: usize, cell: u32): usize {
  return load<usize>(index, INDEX_CELL_TABLE) + <usize>cell * CELL_BYTES;
}

/** Bytes of a record's slots; aB and fB follow them. */
// @ts-ignore: decorator
@inline export function slotBytes(padded: u32, bits: u32): usize {
  return bits > 4 ? padded : padded >> 1;
}

/** Appends n stored code rows at `codes` to a cell that has room for them. */
export function ivfAddRows(index: usize, cell: u32, codes: usize, n: u32): void {
  const at = cellAt(index, cell);
  const padded = load<u32>(index, INDEX_PADDED), bits = load<u32>(index, INDEX_BITS);
  const stride = load<u32>(index, INDEX_CODE_BYTES), recordBytes = <usize>load<u32>(index, INDEX_RECORD_BYTES);
  const first = load<u32>(at, CELL_ROWS), past = first + n;
  const planes = <usize>bits * (padded >> 3);
  let record = load<usize>(at, CELL_RECORDS) + <usize>first * recordBytes;
  let errors: f64 = 0, offsets: f64 = 0;
  let wild: u32 = 0, placed = first;
  for (let row = first; row < past; row++) {
    if (row == placed) {
      const block = load<usize>(at, CELL_BLOCKS) + <usize>(row >> 5) * blockBytes(padded);
      if ((row & 31) == 0) clearBlock(block, padded);
      if (ASC_FEATURE_SIMD && (row & 31) == 0 && past - row >= <u32>BLOCK_ROWS) {
        placeRows(block, codes, stride, padded, planes);
        placed += BLOCK_ROWS;
      } else {
        placeRow(block, row & 31, codes, padded, codes + planes);
        placed++;
      }
    }
    const isWild = <i32>load<i16>(codes + planes) == WILD && load<i16>(codes + planes, 2) == 0;
    if (isWild) wild++;
    else {
      errors += <f64>load<u16>(codes + planes, 4);
      offsets += <f64>load<i16>(codes + planes);
    }
    if (bits > 1) {
      if (bits > 4) packBytes(codes, padded, bits, record);
      else packNibbles(codes, padded, bits, record);
      store<u64>(record + slotBytes(padded, bits), load<u64>(codes + planes, 8));
      record += recordBytes;
    }
    codes += stride;
  }
  store<u32>(at, past, CELL_ROWS);
  wild += load<u32>(at, CELL_WILD);
  store<u32>(at, wild, CELL_WILD);
  errors += load<f64>(at, CELL_ERROR_SUM);
  store<f64>(at, errors, CELL_ERROR_SUM);
  store<f32>(at, past > wild ? <f32>(errors / (65536 * <f64>(past - wild))) : 0, CELL_ERROR);
  offsets += load<f64>(at, CELL_OFFSET_SUM);
  store<f64>(at, offsets, CELL_OFFSET_SUM);
  store<f32>(at, past > wild ? <f32>(offsets / (16384 * <f64>(past - wild))) : 0, CELL_OFFSET);
}

/** A block of padding only. */
export function clearBlock(block: usize, padded: u32): void {
  const factors = block + (<usize>padded << 2);
  memory.fill(block, 0, blockBytes(padded));
  for (let i: usize = 0; i < 2 * BLOCK_ROWS; i += 2) store<i16>(factors + i, <i16>EMPTY);
}

/** Row `row` of a block: its sign bits (D/8 bytes) and, from `factors`, A1 and F1. Its nibbles must still be 0. */
export function placeRow(block: usize, row: u32, signs: usize, padded: u32, factors: usize): void {
  const half = (row >> 4) << 2;
  let to = block + ((row & 7) << 1) + ((row >> 3) & 1);
  for (let p = signs; p < signs + (padded >> 3); p++) {
    const byte = <u32>load<u8>(p);
    store<u8>(to, load<u8>(to) | <u8>((byte & 15) << half));
    store<u8>(to, load<u8>(to, 16) | <u8>((byte >> 4) << half), 16);
    to += 32;
  }
  const at = block + (<usize>padded << 2) + (<usize>row << 1);
  store<u16>(at, load<u16>(factors));
  store<u16>(at, load<u16>(factors, 2), 64);
}

/** All 32 rows of a block at once, as `placeRow` places them: half the time. codes: 32 × stride bytes, the factors at `planes`. */
function placeRows(block: usize, codes: usize, stride: usize, padded: u32, planes: usize): void {
  const low = i8x16.splat(15), high = i8x16.splat(-16);
  const second = codes + 16 * stride;
  let to = block;
  for (let byte: usize = 0; byte < padded >> 3; byte++) {
    const x = bytesOfRows(codes + byte, stride), y = bytesOfRows(second + byte, stride);
    v128.store(to, v128.or(v128.and(x, low), v128.and(i16x8.shl(y, 4), high)));
    v128.store(to, v128.or(v128.and(i16x8.shr_u(x, 4), low), v128.and(y, high)), 16);
    to += 32;
  }
  for (let row: usize = 0; row < 2 * BLOCK_ROWS; row += 2) {
    store<u16>(to + row, load<u16>(codes + planes));
    store<u16>(to + row, load<u16>(codes + planes, 2), 64);
    codes += stride;
  }
}

/** A byte of each of 16 rows, in the order of a block: 0, 8, 1, 9, … */
// @ts-ignore: decorator
@inline function bytesOfRows(p: usize, stride: usize): v128 {
  const q = p + 8 * stride;
  let v = v128.load8_lane(q, v128.load8_lane(p, i8x16.splat(0), 0), 1);
  v = v128.load8_lane(q + stride, v128.load8_lane(p + stride, v, 2), 3);
  v = v128.load8_lane(q + 2 * stride, v128.load8_lane(p + 2 * stride, v, 4), 5);
  v = v128.load8_lane(q + 3 * stride, v128.load8_lane(p + 3 * stride, v, 6), 7);
  v = v128.load8_lane(q + 4 * stride, v128.load8_lane(p + 4 * stride, v, 8), 9);
  v = v128.load8_lane(q + 5 * stride, v128.load8_lane(p + 5 * stride, v, 10), 11);
  v = v128.load8_lane(q + 6 * stride, v128.load8_lane(p + 6 * stride, v, 12), 13);
  return v128.load8_lane(q + 7 * stride, v128.load8_lane(p + 7 * stride, v, 14), 15);
}

/** The 16 slots of dimensions 8·byte … 8·byte + 15. */
// @ts-ignore: decorator
@inline function slots16(codes: usize, planeBytes: usize, bits: u32, byte: usize): v128 {
  let slots = i8x16.splat(0);
  let p = codes + byte;
  for (let plane: u32 = 0; plane < bits; plane++) {
    slots = i8x16.sub(i8x16.add(slots, slots), bits16(p));
    p += planeBytes;
  }
  return slots;
}

/** As `slots16` for 4 bits, without a loop: what most indexes have. */
// @ts-ignore: decorator
@inline function slots16Of4(codes: usize, planeBytes: usize, byte: usize): v128 {
  const p = codes + byte, q = p + 2 * planeBytes;
  const upper = v128.or(v128.and(bits16(p), i8x16.splat(8)), v128.and(bits16(p + planeBytes), i8x16.splat(4)));
  return i8x16.sub(v128.or(upper, v128.and(bits16(q), i8x16.splat(2))), bits16(q + planeBytes));
}

/** 16 bits as lanes of −1 and 0. */
// @ts-ignore: decorator
@inline function bits16(p: usize): v128 {
  const eachBit = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
  const bytes = i8x16.swizzle(v128.load16_splat(p), i8x16(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
  return i8x16.eq(v128.and(bytes, eachBit), eachBit);
}

function packBytes(codes: usize, padded: u32, bits: u32, record: usize): void {
  const planeBytes = <usize>padded >> 3;
  if (ASC_FEATURE_SIMD) {
    for (let byte: usize = 0; byte < planeBytes; byte += 2) v128.store(record + (byte << 3), slots16(codes, planeBytes, bits, byte));
    return;
  }
  for (let t: u32 = 0; t < padded; t++) store<u8>(record + t, <u8>slot(codes, planeBytes, bits, t));
}

function packNibbles(codes: usize, padded: u32, bits: u32, record: usize): void {
  const planeBytes = <usize>padded >> 3;
  let byte: usize = 0;
  if (ASC_FEATURE_SIMD) {
    if (bits == 4) {
      for (; byte + 4 <= planeBytes; byte += 4) {
        const low = slots16Of4(codes, planeBytes, byte), high = slots16Of4(codes, planeBytes, byte + 2);
        v128.store(record + (byte << 2), v128.or(low, i16x8.shl(high, 4)));
      }
    }
    for (; byte + 4 <= planeBytes; byte += 4) {
      const low = slots16(codes, planeBytes, bits, byte), high = slots16(codes, planeBytes, bits, byte + 2);
      v128.store(record + (byte << 2), v128.or(low, i16x8.shl(high, 4)));
    }
  } else {
    for (; byte + 4 <= planeBytes; byte += 4) {
      for (let j: u32 = 0; j < 16; j++) {
        const t = <u32>(byte << 3) + j;
        store<u8>(record + (byte << 2) + j, <u8>(slot(codes, planeBytes, bits, t) | (slot(codes, planeBytes, bits, t + 16) << 4)));
      }
    }
  }
  if (byte == planeBytes) return;
  if (ASC_FEATURE_SIMD) {
    const slots = slots16(codes, planeBytes, bits, byte);
    v128.store64_lane(record + (byte << 2), v128.or(slots, i8x16.shl(v128.shuffle<i64>(slots, slots, 1, 0), 4)), 0);
    return;
  }
  for (let j: u32 = 0; j < 8; j++) {
    const t = <u32>(byte << 3) + j;
    store<u8>(record + (byte << 2) + j, <u8>(slot(codes, planeBytes, bits, t) | (slot(codes, planeBytes, bits, t + 8) << 4)));
  }
}

function slot(codes: usize, planeBytes: usize, bits: u32, t: u32): u32 {
  let value: u32 = 0;
  let p = codes + (t >> 3);
  for (let plane: u32 = 0; plane < bits; plane++) {
    value = (value << 1) | ((<u32>load<u8>(p) >> (t & 7)) & 1);
    p += planeBytes;
  }
  return value;
}
