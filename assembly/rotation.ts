// The random rotation ahead of RaBitQ codes: dim coordinates become D.
//
// dense: an orthonormal matrix, columns drawn from the seed. It stands as LSH planes do, so that one
// coordinate of a vector meets 16 outputs at once:   table[group][j][16] f32, D / 16 groups
// hadamard: four rounds of random signs and a Walsh–Hadamard transform. table[round][D] u32: 0 or the sign bit
//
// Every output is one chain of f32 operations, whichever lane it is computed in: the builds agree.

import { keystream } from "./chacha20";
import { addF, loadSplatF, mulAddF, mulF, splatF, subF } from "./lanes";
import { foldPairOf } from "./lsh";

const enum Kind { Dense, Hadamard }

const ROUNDS: u32 = 4;
const DENSE_NONCE: u32 = 0x524f5444; // "ROTD"
const HADAMARD_NONCE: u32 = 0x524f5448; // "ROTH"
// Vectors per pass over the matrix: 64 × 128 f32 in and out are 64 KiB.
const TILE: u32 = 64;

const nonce = memory.data(12, 16);
const spare = memory.data(64, 64); // where the pair of an odd vector goes

/** Bytes of the table of a rotation. */
export function rotationBytes(kind: u32, dim: u32, padded: u32): u32 {
  return kind == Kind.Dense ? dim * padded * 4 : ROUNDS * padded * 4;
}

/** Bytes of scratch that `rotationTable` needs: whole blocks of keystream. */
export function rotationScratchBytes(kind: u32, dim: u32, padded: u32): u32 {
  return kind == Kind.Dense ? dim * padded * 8 : (ROUNDS * padded / 8 + 63) & ~63;
}

/** Draws the table of a rotation from the 32-byte seed. padded: a multiple of 16 (dense) or 64 (hadamard). */
export function rotationTable(kind: u32, seed: usize, dim: u32, padded: u32, table: usize, scratch: usize): void {
  store<u32>(nonce, kind == Kind.Dense ? DENSE_NONCE : HADAMARD_NONCE);
  keystream(seed, nonce, 0, scratch, rotationScratchBytes(kind, dim, padded) / 64);
  if (kind == Kind.Dense) {
    orthonormalise(scratch, dim, padded);
    packColumns(scratch, dim, padded, table);
    return;
  }
  for (let i: u32 = 0; i < ROUNDS * padded; i++) {
    const bit = (load<u8>(scratch + (i >> 3)) >> <u8>(i & 7)) & 1;
    store<u32>(table + (<usize>i << 2), <u32>bit << 31);
  }
}

/**
 * The keystream at `columns` becomes dim columns of D f64, each a sum of four u16 an entry, then orthonormal:
 * every column is made orthogonal to all before it, twice (Kahan's "twice is enough"), then brought to length 1.
 */
function orthonormalise(columns: usize, dim: u32, padded: u32): void {
  const bytes = <usize>padded << 3;
  for (let j: u32 = 0; j < dim; j++) {
    const column = columns + <usize>j * bytes;
    const end = column + bytes;
    for (let p = column; p < end; p += 8) {
      store<f64>(p, <f64>(<i32>load<u16>(p) + <i32>load<u16>(p, 2) + <i32>load<u16>(p, 4) + <i32>load<u16>(p, 6) - 131070));
    }
    for (let repeat = 0; repeat < 2; repeat++) {
      for (let earlier = columns; earlier < column; earlier += bytes) removeProjection(column, earlier, bytes);
    }
    const length = sqrt<f64>(dot64(column, column, bytes));
    if (length != 0) for (let p = column; p < end; p += 8) store<f64>(p, load<f64>(p) / length);
  }
}

function removeProjection(column: usize, earlier: usize, bytes: usize): void {
  const s = dot64(earlier, column, bytes);
  for (const end = column + bytes; column < end; column += 32) {
    store<f64>(column, load<f64>(column) - s * load<f64>(earlier));
    store<f64>(column, load<f64>(column, 8) - s * load<f64>(earlier, 8), 8);
    store<f64>(column, load<f64>(column, 16) - s * load<f64>(earlier, 16), 16);
    store<f64>(column, load<f64>(column, 24) - s * load<f64>(earlier, 24), 24);
    earlier += 32;
  }
}

/** A left fold. Steps of four, since a table is drawn once, by code that V8 has not optimised yet. */
function dot64(a: usize, b: usize, bytes: usize): f64 {
  let sum: f64 = 0;
  for (const end = a + bytes; a < end; a += 32) {
    sum += load<f64>(a) * load<f64>(b);
    sum += load<f64>(a, 8) * load<f64>(b, 8);
    sum += load<f64>(a, 16) * load<f64>(b, 16);
    sum += load<f64>(a, 24) * load<f64>(b, 24);
    b += 32;
  }
  return sum;
}

function packColumns(columns: usize, dim: u32, padded: u32, table: usize): void {
  for (let j: usize = 0; j < dim; j++) {
    for (let t: usize = 0; t < padded; t++) {
      const to = table + (((t >> 4) * dim + j) << 6) + ((t & 15) << 2);
      store<f32>(to, <f32>load<f64>(columns + ((j * padded + t) << 3)));
    }
  }
}

/** n vectors of dim f32 at `y` become n × D f32 at `out`. */
export function rotate(kind: u32, table: usize, dim: u32, padded: u32, y: usize, n: u32, out: usize): void {
  if (kind == Kind.Dense) {
    if (n == 1) rotateOne(table, dim, padded, y, out);
    else for (let v: u32 = 0; v < n; v += TILE) rotateTile(table, dim, padded, y, v, min(v + TILE, n), out);
    return;
  }
  for (let v: u32 = 0; v < n; v++) {
    const z = out + (<usize>v * padded << 2);
    memory.copy(z, y + (<usize>v * dim << 2), <usize>dim << 2);
    memory.fill(z + (<usize>dim << 2), 0, <usize>(padded - dim) << 2);
    signsAndHadamard(table, padded, z);
  }
}

function rotateTile(table: usize, dim: u32, padded: u32, y: usize, first: u32, past: u32, out: usize): void {
  const rowBytes = <usize>dim << 2, outBytes = <usize>padded << 2;
  for (let column: usize = 0; column < outBytes; column += 64) {
    const group = table + column * dim;
    for (let v = first; v < past; v += 2) {
      const y0 = y + <usize>v * rowBytes;
      const z0 = out + <usize>v * outBytes + column;
      const pair = v + 1 < past;
      const y1 = pair ? y0 + rowBytes : y0, z1 = pair ? z0 + outBytes : spare;
      if (ASC_FEATURE_SIMD) foldPairOf<v128>(y0, y1, group, dim, z0, z1);
      else foldPairOf<f32>(y0, y1, group, dim, z0, z1);
    }
  }
}

/** One vector: two groups at a time, for as many sums in flight as a pair of vectors has. */
function rotateOne(table: usize, dim: u32, padded: u32, y: usize, z: usize): void {
  const groupBytes = <usize>dim << 6;
  let left = padded >> 4;
  for (; left >= 2; left -= 2) {
    if (ASC_FEATURE_SIMD) foldTwoGroups<v128>(y, table, dim, z);
    else foldTwoGroups<f32>(y, table, dim, z);
    table += 2 * groupBytes;
    z += 128;
  }
  if (left == 0) return;
  if (ASC_FEATURE_SIMD) foldPairOf<v128>(y, y, table, dim, z, spare);
  else foldPairOf<f32>(y, y, table, dim, z, spare);
}

function foldTwoGroups<T>(y: usize, table: usize, dim: u32, z: usize): void {
  const groupBytes = <usize>dim << 6;
  for (let part: usize = 0; part < 64; part += 4 * sizeof<T>()) {
    let a0 = splatF<T>(0), a1 = a0, a2 = a0, a3 = a0;
    let b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let v = table + part, w = v + groupBytes;
    const end = y + (<usize>dim << 2);
    for (let p = y; p < end; p += 4) {
      const s = loadSplatF<T>(p);
      a0 = mulAddF<T>(a0, s, load<T>(v));
      a1 = mulAddF<T>(a1, s, load<T>(v, sizeof<T>()));
      a2 = mulAddF<T>(a2, s, load<T>(v, 2 * sizeof<T>()));
      a3 = mulAddF<T>(a3, s, load<T>(v, 3 * sizeof<T>()));
      if (v == 0) break; // never: keeps V8 from hoisting the loads below, which spills
      b0 = mulAddF<T>(b0, s, load<T>(w));
      b1 = mulAddF<T>(b1, s, load<T>(w, sizeof<T>()));
      b2 = mulAddF<T>(b2, s, load<T>(w, 2 * sizeof<T>()));
      b3 = mulAddF<T>(b3, s, load<T>(w, 3 * sizeof<T>()));
      v += 64;
      w += 64;
    }
    const z0 = z + part;
    store<T>(z0, a0);
    store<T>(z0, a1, sizeof<T>());
    store<T>(z0, a2, 2 * sizeof<T>());
    store<T>(z0, a3, 3 * sizeof<T>());
    store<T>(z0, b0, 64);
    store<T>(z0, b1, 64 + sizeof<T>());
    store<T>(z0, b2, 64 + 2 * sizeof<T>());
    store<T>(z0, b3, 64 + 3 * sizeof<T>());
  }
}

/** The four rounds over one vector of D f32 in place: each transforms the first or the last h coordinates. */
function signsAndHadamard(table: usize, padded: u32, z: usize): void {
  const h = <u32>1 << (31 - clz(padded));
  const bytes = <usize>padded << 2, window = <usize>h << 2;
  const scale = <f32>(1 / sqrt<f64>(<f64>h));
  for (let round: u32 = 0; round < ROUNDS; round++) {
    const masks = table + <usize>round * bytes;
    const from = round & 1 ? bytes - window : 0;
    flip(z, masks, 0, from);
    flip(z, masks, from + window, bytes);
    hadamard(z + from, masks + from, h, scale);
  }
}

function flip(z: usize, masks: usize, from: usize, past: usize): void {
  for (let t = from; t < past; t += 16) {
    if (ASC_FEATURE_SIMD) v128.store(z + t, v128.xor(v128.load(z + t), v128.load(masks + t)));
    else for (let i = t; i < t + 16; i += 4) store<u32>(z + i, load<u32>(z + i) ^ load<u32>(masks + i));
  }
}

/** Signs, then the butterflies of h values, h at least 64, then the scale: several stages a pass over memory. */
function hadamard(w: usize, masks: usize, h: u32, scale: f32): void {
  const end = w + (<usize>h << 2);
  let gap: usize; // bytes between the two of a butterfly
  if (ASC_FEATURE_SIMD) {
    for (let p = w; p < end; p += 64) {
      firstStages(p, masks);
      masks += 64;
    }
    gap = 64;
  } else {
    for (let p = w; p < end; p += 16) {
      const x0 = signed(p, masks), x1 = signed(p + 4, masks + 4), x2 = signed(p + 8, masks + 8), x3 = signed(p + 12, masks + 12);
      const s0: f32 = x0 + x1, d0: f32 = x0 - x1, s1: f32 = x2 + x3, d1: f32 = x2 - x3;
      store<f32>(p, s0 + s1);
      store<f32>(p, d0 + d1, 4);
      store<f32>(p, s0 - s1, 8);
      store<f32>(p, d0 - d1, 12);
      masks += 16;
    }
    gap = 16;
  }
  const half = <usize>h << 1;
  for (; gap << 2 <= half; gap <<= 2) {
    if (ASC_FEATURE_SIMD) twoStages<v128>(w, end, gap, 1, false);
    else twoStages<f32>(w, end, gap, 1, false);
  }
  if (ASC_FEATURE_SIMD) {
    if (gap == half) lastStage<v128>(w, end, gap, scale);
    else twoStages<v128>(w, end, gap, scale, true);
  } else {
    if (gap == half) lastStage<f32>(w, end, gap, scale);
    else twoStages<f32>(w, end, gap, scale, true);
  }
}

// @ts-ignore: decorator
@inline function signed(p: usize, mask: usize): f32 {
  return reinterpret<f32>(load<u32>(p) ^ load<u32>(mask));
}

/** Signs and the stages of distance 1, 2, 4 and 8 over 16 values. */
// @ts-ignore: decorator
@inline function firstStages(p: usize, masks: usize): void {
  const a = withinLanes(v128.xor(v128.load(p), v128.load(masks)));
  const b = withinLanes(v128.xor(v128.load(p, 16), v128.load(masks, 16)));
  const c = withinLanes(v128.xor(v128.load(p, 32), v128.load(masks, 32)));
  const d = withinLanes(v128.xor(v128.load(p, 48), v128.load(masks, 48)));
  const ab = f32x4.add(a, b), ba = f32x4.sub(a, b), cd = f32x4.add(c, d), dc = f32x4.sub(c, d);
  v128.store(p, f32x4.add(ab, cd));
  v128.store(p, f32x4.add(ba, dc), 16);
  v128.store(p, f32x4.sub(ab, cd), 32);
  v128.store(p, f32x4.sub(ba, dc), 48);
}

/** x0 x1 x2 x3 → the stages of distance 1 and 2; a − b is a + (−b), rounded alike. */
// @ts-ignore: decorator
@inline function withinLanes(x: v128): v128 {
  const odd = v128.xor(v128.shuffle<i32>(x, x, 1, 1, 3, 3), i32x4(0, 0x80000000, 0, 0x80000000));
  const y = f32x4.add(v128.shuffle<i32>(x, x, 0, 0, 2, 2), odd);
  const high = v128.xor(v128.shuffle<i32>(y, y, 2, 3, 2, 3), i32x4(0, 0, 0x80000000, 0x80000000));
  return f32x4.add(v128.shuffle<i32>(y, y, 0, 1, 0, 1), high);
}

/** The stages of distance `gap` and 2·gap bytes. */
// @ts-ignore: decorator
@inline function twoStages<T>(w: usize, end: usize, gap: usize, scale: f32, last: bool): void {
  const factor = splatF<T>(scale);
  for (let block = w; block < end; block += gap << 2) {
    for (let p = block; p < block + gap; p += sizeof<T>()) {
      const p1 = p + gap, p2 = p1 + gap, p3 = p2 + gap;
      const a = load<T>(p), b = load<T>(p1), c = load<T>(p2), d = load<T>(p3);
      const ab = addF<T>(a, b), ba = subF<T>(a, b), cd = addF<T>(c, d), dc = subF<T>(c, d);
      if (last) {
        store<T>(p, mulF<T>(addF<T>(ab, cd), factor));
        store<T>(p1, mulF<T>(addF<T>(ba, dc), factor));
        store<T>(p2, mulF<T>(subF<T>(ab, cd), factor));
        store<T>(p3, mulF<T>(subF<T>(ba, dc), factor));
      } else {
        store<T>(p, addF<T>(ab, cd));
        store<T>(p1, addF<T>(ba, dc));
        store<T>(p2, subF<T>(ab, cd));
        store<T>(p3, subF<T>(ba, dc));
      }
    }
  }
}

/** The stage of distance `gap` = half of all, with the scale. */
// @ts-ignore: decorator
@inline function lastStage<T>(w: usize, end: usize, gap: usize, scale: f32): void {
  const factor = splatF<T>(scale);
  for (let p = w; p + gap < end; p += sizeof<T>()) {
    const a = load<T>(p), b = load<T>(p + gap);
    store<T>(p, mulF<T>(addF<T>(a, b), factor));
    store<T>(p + gap, mulF<T>(subF<T>(a, b), factor));
  }
}
