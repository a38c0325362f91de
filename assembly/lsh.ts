// Random-hyperplane hashing (FORMAT: dreamdb.lsh-cosine). Planes stand in groups of 16, coordinate by
// coordinate, so that one coordinate of a vector meets 16 planes at once:
//
//   planes[group][k][16] f32, the lanes past the last plane zero
//
// Every dot product is a left fold over k from +0 in f32, one plane a lane, so that the bits are the same
// in both builds. Two vectors against four v128 is the widest block that stays in registers under V8.

import { keystream } from "./chacha20";
import { loadSplatF, mulAddF, splatF } from "./lanes";

const GROUP: u32 = 16;
const GROUP_BYTES: u32 = 64;
// Vectors per pass over all planes: 64 × 512 × f32 = 128 KiB stays in the second-level cache.
const TILE: u32 = 64;

const lanes0 = memory.data(64, 64);
const lanes1 = memory.data(64, 64);
const nonce = memory.data(12, 16);

/** Bytes of the planes of an index: groups × dim × 64. */
export function lshPlanesBytes(dim: u32, bits: u32): u32 {
  return ((bits + GROUP - 1) / GROUP) * dim * GROUP_BYTES;
}

/** Bytes of scratch that `lshPlanes` needs: one plane's keystream, at any alignment to its blocks. */
export function lshScratchBytes(dim: u32): u32 {
  return dim * 8 + 128;
}

/** Draws the planes of `table` from the 32-byte seed into `planes`. */
export function lshPlanes(seed: usize, table: u32, dim: u32, bits: u32, planes: usize, scratch: usize): void {
  memory.fill(planes, 0, lshPlanesBytes(dim, bits));
  store<u32>(nonce, table);
  for (let j: u32 = 0; j < bits; j++) {
    const firstByte = <u64>j * dim * 8;
    const firstBlock = <u32>(firstByte >> 6);
    const pastBlock = <u32>((firstByte + dim * 8 + 63) >> 6);
    keystream(seed, nonce, firstBlock, scratch, pastBlock - firstBlock);
    const lane = planes + <usize>(j / GROUP) * dim * GROUP_BYTES + (<usize>(j % GROUP) << 2);
    drawPlane(scratch + <usize>(firstByte & 63), dim, lane);
  }
}

/** One plane from its keystream bytes: sums of four u16, brought to unit length. Stored at stride 64. */
function drawPlane(stream: usize, dim: u32, lane: usize): void {
  let squares: f64 = 0; // exact: an integer far below 2^53
  for (let k: usize = 0; k < dim; k++) {
    const g = <f64>gaussian(stream + (k << 3));
    squares += g * g;
  }
  if (squares == 0) return;
  const length = sqrt(squares);
  for (let k: usize = 0; k < dim; k++) store<f32>(lane + (k << 6), <f32>(<f64>gaussian(stream + (k << 3)) / length));
}

// @ts-ignore: decorator
@inline function gaussian(p: usize): i32 {
  return <i32>load<u16>(p) + <i32>load<u16>(p, 2) + <i32>load<u16>(p, 4) + <i32>load<u16>(p, 6) - 131070;
}

/** Cell numbers (u32 × n) of n × dim vectors; bits 1…24 (any up to 32 work). */
export function lshCells(x: usize, n: u32, dim: u32, planes: usize, bits: u32, out: usize): void {
  const groups = (bits + GROUP - 1) / GROUP;
  const keep: u32 = bits >= 32 ? -1 : (1 << bits) - 1;
  for (let v: u32 = 0; v < n; v += 2) {
    const x0 = x + <usize>v * dim * 4;
    const x1 = v + 1 < n ? x0 + dim * 4 : x0;
    let cell0: u32 = 0, cell1: u32 = 0;
    for (let g: u32 = 0; g < groups; g++) {
      foldPair(x0, x1, planes + <usize>g * dim * GROUP_BYTES, dim, lanes0, lanes1);
      cell0 |= signs(lanes0) << (g * GROUP);
      cell1 |= signs(lanes1) << (g * GROUP);
    }
    store<u32>(out + (<usize>v << 2), cell0 & keep);
    if (v + 1 < n) store<u32>(out + (<usize>v << 2), cell1 & keep, 4);
  }
}

/** Margins (f32, n × bits) of n × dim vectors; any number of bits. */
export function lshMargins(x: usize, n: u32, dim: u32, planes: usize, bits: u32, out: usize): void {
  for (let first: u32 = 0; first < n; first += TILE) {
    const past = min(first + TILE, n);
    for (let g: u32 = 0; g * GROUP < bits; g++) {
      const group = planes + <usize>g * dim * GROUP_BYTES;
      const width = min<u32>(GROUP, bits - g * GROUP) << 2;
      marginsOfGroup(x, first, past, dim, group, width, out + (<usize>g << 6), <usize>bits << 2);
    }
  }
}

function marginsOfGroup(x: usize, first: u32, past: u32, dim: u32, group: usize, width: u32, out: usize, outStride: usize): void {
  for (let v = first; v < past; v += 2) {
    const x0 = x + <usize>v * dim * 4;
    const o0 = out + <usize>v * outStride;
    if (v + 1 < past && width == GROUP_BYTES) {
      foldPair(x0, x0 + dim * 4, group, dim, o0, o0 + outStride);
      continue;
    }
    foldPair(x0, v + 1 < past ? x0 + dim * 4 : x0, group, dim, lanes0, lanes1);
    memory.copy(o0, lanes0, width);
    if (v + 1 < past) memory.copy(o0 + outStride, lanes1, width);
  }
}

// @ts-ignore: decorator
@inline function foldPair(x0: usize, x1: usize, group: usize, dim: u32, out0: usize, out1: usize): void {
  if (ASC_FEATURE_SIMD) foldPairOf<v128>(x0, x1, group, dim, out0, out1);
  else foldPairOf<f32>(x0, x1, group, dim, out0, out1);
}

/** Two vectors against the 16 planes of a group, 4 × T planes at a time. */
export function foldPairOf<T>(x0: usize, x1: usize, group: usize, dim: u32, out0: usize, out1: usize): void {
  const end = x0 + (<usize>dim << 2);
  for (let part: usize = 0; part < GROUP_BYTES; part += 4 * sizeof<T>()) {
    let a0 = splatF<T>(0), a1 = a0, a2 = a0, a3 = a0;
    let b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let p = x0, q = x1, w = group + part;
    let s: T, t: T, y: T;
    // Four coordinates a turn, with a way out after each: 7 % over one a turn. The exits keep V8 from
    // hoisting the loads of all four ahead of the arithmetic, which spills and halves the speed.
    while (p < end) {
      s = loadSplatF<T>(p); t = loadSplatF<T>(q);
      y = load<T>(w); a0 = mulAddF<T>(a0, s, y); b0 = mulAddF<T>(b0, t, y);
      y = load<T>(w, sizeof<T>()); a1 = mulAddF<T>(a1, s, y); b1 = mulAddF<T>(b1, t, y);
      y = load<T>(w, 2 * sizeof<T>()); a2 = mulAddF<T>(a2, s, y); b2 = mulAddF<T>(b2, t, y);
      y = load<T>(w, 3 * sizeof<T>()); a3 = mulAddF<T>(a3, s, y); b3 = mulAddF<T>(b3, t, y);
      if (p + 4 == end) break;
      s = loadSplatF<T>(p + 4); t = loadSplatF<T>(q + 4);
      y = load<T>(w, 64); a0 = mulAddF<T>(a0, s, y); b0 = mulAddF<T>(b0, t, y);
      y = load<T>(w, 64 + sizeof<T>()); a1 = mulAddF<T>(a1, s, y); b1 = mulAddF<T>(b1, t, y);
      y = load<T>(w, 64 + 2 * sizeof<T>()); a2 = mulAddF<T>(a2, s, y); b2 = mulAddF<T>(b2, t, y);
      y = load<T>(w, 64 + 3 * sizeof<T>()); a3 = mulAddF<T>(a3, s, y); b3 = mulAddF<T>(b3, t, y);
      if (p + 8 == end) break;
      s = loadSplatF<T>(p + 8); t = loadSplatF<T>(q + 8);
      y = load<T>(w, 128); a0 = mulAddF<T>(a0, s, y); b0 = mulAddF<T>(b0, t, y);
      y = load<T>(w, 128 + sizeof<T>()); a1 = mulAddF<T>(a1, s, y); b1 = mulAddF<T>(b1, t, y);
      y = load<T>(w, 128 + 2 * sizeof<T>()); a2 = mulAddF<T>(a2, s, y); b2 = mulAddF<T>(b2, t, y);
      y = load<T>(w, 128 + 3 * sizeof<T>()); a3 = mulAddF<T>(a3, s, y); b3 = mulAddF<T>(b3, t, y);
      if (p + 12 == end) break;
      s = loadSplatF<T>(p + 12); t = loadSplatF<T>(q + 12);
      y = load<T>(w, 192); a0 = mulAddF<T>(a0, s, y); b0 = mulAddF<T>(b0, t, y);
      y = load<T>(w, 192 + sizeof<T>()); a1 = mulAddF<T>(a1, s, y); b1 = mulAddF<T>(b1, t, y);
      y = load<T>(w, 192 + 2 * sizeof<T>()); a2 = mulAddF<T>(a2, s, y); b2 = mulAddF<T>(b2, t, y);
      y = load<T>(w, 192 + 3 * sizeof<T>()); a3 = mulAddF<T>(a3, s, y); b3 = mulAddF<T>(b3, t, y);
      p += 16;
      q += 16;
      w += 4 * GROUP_BYTES;
    }
    store<T>(out0 + part, a0);
    store<T>(out0 + part, a1, sizeof<T>());
    store<T>(out0 + part, a2, 2 * sizeof<T>());
    store<T>(out0 + part, a3, 3 * sizeof<T>());
    store<T>(out1 + part, b0);
    store<T>(out1 + part, b1, sizeof<T>());
    store<T>(out1 + part, b2, 2 * sizeof<T>());
    store<T>(out1 + part, b3, 3 * sizeof<T>());
  }
}

/** Bit j = 1 when lane j of 16 is at least 0. */
function signs(lanes: usize): u32 {
  if (ASC_FEATURE_SIMD) {
    const zero = f32x4.splat(0);
    return (
      <u32>i32x4.bitmask(f32x4.ge(v128.load(lanes), zero)) |
      (<u32>i32x4.bitmask(f32x4.ge(v128.load(lanes, 16), zero)) << 4) |
      (<u32>i32x4.bitmask(f32x4.ge(v128.load(lanes, 32), zero)) << 8) |
      (<u32>i32x4.bitmask(f32x4.ge(v128.load(lanes, 48), zero)) << 12)
    );
  }
  let bits: u32 = 0;
  for (let j: u32 = 0; j < GROUP; j++) bits |= u32(load<f32>(lanes + (<usize>j << 2)) >= 0) << j;
  return bits;
}
