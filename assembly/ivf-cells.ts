// Loading a cell: stored code rows become FastScan blocks (see ivf-scan.ts) and records.
//
// stored row   |<- B planes of D/8 bytes, top bit first ->| i16 A1 | i16 F1 | u16 E1 | u16 EB | f32 aB | f32 fB |
// record       |<- D slots ->| f32 aB | f32 fB | padding to a multiple of 64
//              B ≤ 4: slots of 4 bits, 32 at a time: byte j holds slot j low and slot 16 + j high;
//                     where D ends with 16, byte j of the last 8 holds slot j low and slot 8 + j high
//              B > 4: slots of 8 bits in order

import {
  BLOCK_ROWS, CELL_BLOCKS, CELL_BYTES, CELL_ERROR, CELL_ERROR_SUM, CELL_RECORDS, CELL_ROWS, CELL_WILD, INDEX_BITS, INDEX_CELL_TABLE,
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
  let errors: f64 = 0;
  let wild: u32 = 0;
  for (let row = first; row < past; row++) {
    const block = load<usize>(at, CELL_BLOCKS) + <usize>(row >> 5) * blockBytes(padded);
    if ((row & 31) == 0) clearBlock(block, padded);
    placeRow(block, row & 31, codes, padded, codes + planes);
    const isWild = <i32>load<i16>(codes + planes) == WILD && load<i16>(codes + planes, 2) == 0;
    if (isWild) wild++;
    else errors += <f64>load<u16>(codes + planes, 4);
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

/** The 16 slots of dimensions 8·byte … 8·byte + 15. */
// @ts-ignore: decorator
@inline function slots16(codes: usize, planeBytes: usize, bits: u32, byte: usize): v128 {
  const spreadBits = i8x16(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const eachBit = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
  let slots = i8x16.splat(0);
  let p = codes + byte;
  for (let plane: u32 = 0; plane < bits; plane++) {
    const set = i8x16.eq(v128.and(i8x16.swizzle(v128.load16_splat(p), spreadBits), eachBit), eachBit);
    slots = i8x16.sub(i8x16.add(slots, slots), set);
    p += planeBytes;
  }
  return slots;
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
