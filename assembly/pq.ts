// Product quantisation (Jégou, Douze and Schmid, PAMI 2011) of residuals r = y − c: dim coordinates in m contiguous
// subspaces, the first dim mod m of them one longer, each coded as the nearest of 256 or 16 codewords.
//
//   codebooks   2^bits × dim f32: row i holds codeword i of each subspace, one after the other
//   packed      the codewords of each subspace in the layout of kmeans.ts, subspace after subspace
//   code        8 bits: m bytes. 4 bits: ⌈m/2⌉ bytes, even subspaces in the low nibbles. l2: + f32 ½|ŷ|², ŷ = c + codewords
//   table       m × 2^bits f32: the query's inner product with every codeword, a left fold over the coordinates
//   block       32 rows of 4-bit codes for a scan by look-ups in registers (André, Kermarrec and Le Scouarnec, VLDB
//               2015): 16 bytes a subspace, row l in byte (l mod 8)·2 + (l/8 mod 2), low nibble for l < 16, else high

import { assignCells } from "./kmeans";
import { foldPairOf } from "./lsh";

const TILE: u32 = 64;
/** Greatest entry of a byte table: four of them add up in a byte. */
const MOST: f32 = 63;

const cellsOfTile = memory.data(4 * 64, 64);
const spare = memory.data(64, 64);

// @ts-ignore: decorator
@inline function widthOf(dim: u32, m: u32, s: u32): u32 {
  return dim / m + u32(s < dim % m);
}

// @ts-ignore: decorator
@inline function packedBytes(width: u32, bits: u32): usize {
  return <usize>((1 << bits) >> 4) * (width + 1) * 64;
}

/** r = y − c of n × dim vectors in their cells (u32 × n), to `out`. */
export function residuals(y: usize, n: u32, dim: u32, cells: usize, centroids: usize, out: usize): void {
  const bytes = <usize>dim << 2;
  for (let v: u32 = 0; v < n; v++) {
    const c = centroids + <usize>load<u32>(cells + (<usize>v << 2)) * bytes;
    let j: usize = 0;
    if (ASC_FEATURE_SIMD) {
      for (; j + 16 <= bytes; j += 16) v128.store(out + j, f32x4.sub(v128.load(y + j), v128.load(c + j)));
    }
    for (; j < bytes; j += 4) store<f32>(out + j, load<f32>(y + j) - load<f32>(c + j));
    y += bytes;
    out += bytes;
  }
}

/** The coordinates from … from + width − 1 of n × dim vectors, n × width to `out`. */
export function sliceColumns(x: usize, n: u32, dim: u32, from: u32, width: u32, out: usize): void {
  x += <usize>from << 2;
  for (let v: u32 = 0; v < n; v++) {
    for (let j: usize = 0; j < <usize>width << 2; j += 4) store<f32>(out + j, load<f32>(x + j));
    x += <usize>dim << 2;
    out += <usize>width << 2;
  }
}

/** Bytes of scratch that `pqEncode` needs. */
export function pqScratchBytes(dim: u32): u32 {
  return 2 * TILE * dim * 4;
}

/** Codes of n × dim vectors in their cells, `stride` bytes apart. squares: whether ½|ŷ|² follows each. */
export function pqEncode(
  y: usize, n: u32, dim: u32, cells: usize, centroids: usize, packed: usize, m: u32, bits: u32,
  squares: bool, out: usize, stride: u32, scratch: usize,
): void {
  const columns = scratch + <usize>TILE * dim * 4;
  for (let first: u32 = 0; first < n; first += TILE) {
    const count = min(TILE, n - first);
    const rows = y + <usize>first * dim * 4;
    const codes = out + <usize>first * stride;
    residuals(rows, count, dim, cells + (<usize>first << 2), centroids, scratch);
    let from: u32 = 0, books = packed;
    for (let s: u32 = 0; s < m; s++) {
      const width = widthOf(dim, m, s);
      sliceColumns(scratch, count, dim, from, width, columns);
      assignCells(columns, count, width, books, 1 << bits, cellsOfTile);
      storeCodes(count, s, bits, codes, stride);
      from += width;
      books += packedBytes(width, bits);
    }
    if (squares) storeHalfSquares(count, dim, cells + (<usize>first << 2), centroids, packed, m, bits, codes, stride);
  }
}

function storeCodes(count: u32, s: u32, bits: u32, codes: usize, stride: u32): void {
  for (let v: usize = 0; v < count; v++) {
    const code = load<u32>(cellsOfTile + (v << 2));
    const at = codes + v * stride + (bits == 8 ? s : s >> 1);
    if (bits == 4 && s & 1) store<u8>(at, load<u8>(at) | (code << 4));
    else store<u8>(at, code);
  }
}

/** Behind each code ½|ŷ|², a left fold over all coordinates of what the code stands for: ŷ_j = f32(c_j + codeword_j). */
function storeHalfSquares(
  count: u32, dim: u32, cells: usize, centroids: usize, packed: usize, m: u32, bits: u32, codes: usize, stride: u32,
): void {
  for (let v: u32 = 0; v < count; v++) {
    let c = centroids + <usize>load<u32>(cells + (<usize>v << 2)) * (<usize>dim << 2);
    let sum: f32 = 0;
    let books = packed;
    for (let s: u32 = 0; s < m; s++) {
      const width = widthOf(dim, m, s), code = codeAt(codes, s, bits);
      let w = books + <usize>(code >> 4) * width * 64 + (<usize>(code & 15) << 2);
      for (const end = c + (<usize>width << 2); c < end; c += 4) {
        const x = load<f32>(c) + load<f32>(w);
        sum += x * x;
        w += 64;
      }
      books += packedBytes(width, bits);
    }
    store<f32>(codes + stride - 4, 0.5 * sum);
    codes += stride;
  }
}

// @ts-ignore: decorator
@inline function codeAt(row: usize, s: u32, bits: u32): u32 {
  return bits == 8 ? load<u8>(row + s) : (<u32>load<u8>(row + (s >> 1)) >> ((s & 1) << 2)) & 15;
}

/** The query's table (m × 2^bits f32). */
export function pqTable(q: usize, dim: u32, packed: usize, m: u32, bits: u32, table: usize): void {
  for (let s: u32 = 0; s < m; s++) {
    const width = widthOf(dim, m, s);
    for (let group: usize = 0; group < <usize>(1 << bits) >> 4; group++) {
      const weights = packed + group * width * 64;
      if (ASC_FEATURE_SIMD) foldPairOf<v128>(q, q, weights, width, table, spare);
      else foldPairOf<f32>(q, q, weights, width, table, spare);
      table += 64;
    }
    q += <usize>width << 2;
    packed += packedBytes(width, bits);
  }
}

/**
 * Σ table[s][code] of n 8-bit codes, `stride` bytes apart, to `out` (f32 × n): a left fold over the subspaces. Four rows
 * in flight; one loop for both builds, for there is no gather.
 */
export function pqScores(codes: usize, n: u32, stride: u32, m: u32, table: usize, out: usize): void {
  let v: u32 = 0;
  for (; v + 4 <= n; v += 4) {
    let p0 = codes, p1 = p0 + stride, p2 = p1 + stride, p3 = p2 + stride;
    let a: f32 = 0, b: f32 = 0, c: f32 = 0, d: f32 = 0;
    let t = table;
    const whole = p0 + (m & ~3), end = p0 + m;
    while (p0 < whole) {
      a += load<f32>(t + (<usize>load<u8>(p0) << 2)); b += load<f32>(t + (<usize>load<u8>(p1) << 2));
      c += load<f32>(t + (<usize>load<u8>(p2) << 2)); d += load<f32>(t + (<usize>load<u8>(p3) << 2));
      a += load<f32>(t + (<usize>load<u8>(p0, 1) << 2), 1024); b += load<f32>(t + (<usize>load<u8>(p1, 1) << 2), 1024);
      c += load<f32>(t + (<usize>load<u8>(p2, 1) << 2), 1024); d += load<f32>(t + (<usize>load<u8>(p3, 1) << 2), 1024);
      a += load<f32>(t + (<usize>load<u8>(p0, 2) << 2), 2048); b += load<f32>(t + (<usize>load<u8>(p1, 2) << 2), 2048);
      c += load<f32>(t + (<usize>load<u8>(p2, 2) << 2), 2048); d += load<f32>(t + (<usize>load<u8>(p3, 2) << 2), 2048);
      a += load<f32>(t + (<usize>load<u8>(p0, 3) << 2), 3072); b += load<f32>(t + (<usize>load<u8>(p1, 3) << 2), 3072);
      c += load<f32>(t + (<usize>load<u8>(p2, 3) << 2), 3072); d += load<f32>(t + (<usize>load<u8>(p3, 3) << 2), 3072);
      p0 += 4; p1 += 4; p2 += 4; p3 += 4;
      t += 4096;
    }
    while (p0 < end) {
      a += entry(t, load<u8>(p0++)); b += entry(t, load<u8>(p1++));
      c += entry(t, load<u8>(p2++)); d += entry(t, load<u8>(p3++));
      t += 1024;
    }
    store<f32>(out, a);
    store<f32>(out, b, 4);
    store<f32>(out, c, 8);
    store<f32>(out, d, 12);
    codes += 4 * <usize>stride;
    out += 16;
  }
  for (; v < n; v++) {
    let a: f32 = 0;
    for (let s: u32 = 0; s < m; s++) a += entry(table + (<usize>s << 10), load<u8>(codes + s));
    store<f32>(out, a);
    codes += stride;
    out += 4;
  }
}

/** As `pqScores`, of 4-bit codes: two subspaces a byte, whose 32 entries stand side by side. */
export function pqNibbleScores(codes: usize, n: u32, stride: u32, m: u32, table: usize, out: usize): void {
  for (let v: u32 = 0; v < n; v++) {
    let a: f32 = 0;
    let t = table, p = codes;
    for (const end = codes + (m >> 1); p < end; p++) {
      const pair = <u32>load<u8>(p);
      a += entry(t, pair & 15);
      a += entry(t + 64, pair >> 4);
      t += 128;
    }
    if (m & 1) a += entry(t, load<u8>(p) & 15);
    store<f32>(out, a);
    codes += stride;
    out += 4;
  }
}

// @ts-ignore: decorator
@inline function entry(t: usize, code: u32): f32 {
  return load<f32>(t + (<usize>code << 2));
}

/** Bytes of the blocks of n 4-bit codes. */
export function pqBlockBytes(n: u32, m: u32): u32 {
  return ((n + 31) >> 5) * m * 16;
}

/** n 4-bit codes, `stride` bytes apart, to blocks; rows past the last are zero. */
export function pqBlocks(codes: usize, n: u32, stride: u32, m: u32, blocks: usize): void {
  memory.fill(blocks, 0, pqBlockBytes(n, m));
  for (let v: u32 = 0; v < n; v++) {
    const block = blocks + <usize>(v >> 5) * m * 16 + ((v & 7) << 1) + ((v >> 3) & 1);
    const shift = (v & 16) >> 2;
    for (let s: u32 = 0; s < m; s++) {
      const code = (load<u8>(codes + (s >> 1)) >> <u8>((s & 1) << 2)) & 15;
      const at = block + (<usize>s << 4);
      store<u8>(at, load<u8>(at) | (code << <u8>shift));
    }
    codes += stride;
  }
}

/**
 * The table (m × 16 f32) in bytes: entry = nearest(f32(T − lo)·(63/range)), lo the subspace's least, range the widest of
 * all subspaces. At `scale` then stand two f32: bias = Σ lo (a left fold), quantum = range/63.
 */
export function pqByteTable(table: usize, m: u32, bytes: usize, scale: usize): void {
  let range: f32 = 0, bias: f32 = 0;
  for (let s: usize = 0; s < m; s++) {
    const lo = least(table + (s << 6));
    let hi = lo;
    for (let j: usize = 0; j < 64; j += 4) hi = max<f32>(hi, load<f32>(table + (s << 6) + j));
    range = max<f32>(range, hi - lo);
    bias += lo;
  }
  const inverse: f32 = range > 0 ? MOST / range : 0;
  for (let s: usize = 0; s < m; s++) {
    const lo = least(table + (s << 6));
    for (let j: usize = 0; j < 16; j++) {
      const x = nearest<f32>((load<f32>(table + (s << 6) + (j << 2)) - lo) * inverse);
      store<u8>(bytes + (s << 4) + j, x < MOST ? <u8>x : <u8>MOST);
    }
  }
  store<f32>(scale, bias);
  store<f32>(scale, range / MOST, 4);
}

function least(entries: usize): f32 {
  let lo = load<f32>(entries);
  for (let j: usize = 4; j < 64; j += 4) lo = min<f32>(lo, load<f32>(entries + j));
  return lo;
}

/** Σ of byte entries of every row of `count` blocks, to `out` (u16, 32 a block, in row order); m ≤ 1040. */
export function pqScan(blocks: usize, count: u32, m: u32, bytes: usize, out: usize): void {
  for (let block: u32 = 0; block < count; block++) {
    if (ASC_FEATURE_SIMD) scanBlock(blocks, m, bytes, out);
    else scanBlockScalar(blocks, m, bytes, out);
    blocks += <usize>m << 4;
    out += 64;
  }
}

/** Even bytes of a look-up are rows 0–7 (and 16–23), odd ones 8–15 (24–31): halves of u16 lanes in row order. */
// @ts-ignore: decorator
@inline function scanBlock(block: usize, m: u32, bytes: usize, out: usize): void {
  const nibble = i8x16.splat(15), even = i16x8.splat(255);
  let a = i16x8.splat(0), b = a, c = a, d = a;
  const end = bytes + (<usize>m << 4);
  while (bytes < end) {
    let low = i8x16.splat(0), high = low;
    // Up to four look-ups add up in a byte.
    for (const stop = min(end, bytes + 64); bytes < stop; bytes += 16) {
      const codes = v128.load(block), entries = v128.load(bytes);
      low = i8x16.add(low, i8x16.swizzle(entries, v128.and(codes, nibble)));
      high = i8x16.add(high, i8x16.swizzle(entries, i8x16.shr_u(codes, 4)));
      block += 16;
    }
    a = i16x8.add(a, v128.and(low, even));
    b = i16x8.add(b, i16x8.shr_u(low, 8));
    c = i16x8.add(c, v128.and(high, even));
    d = i16x8.add(d, i16x8.shr_u(high, 8));
  }
  v128.store(out, a);
  v128.store(out, b, 16);
  v128.store(out, c, 32);
  v128.store(out, d, 48);
}

/** Four bytes of every subspace at a time: eight rows, whose sums stay in registers. */
function scanBlockScalar(block: usize, m: u32, bytes: usize, out: usize): void {
  const end = bytes + (<usize>m << 4);
  for (let at: usize = 0; at < 16; at += 4) {
    let a: u32 = 0, b: u32 = 0, c: u32 = 0, d: u32 = 0, e: u32 = 0, f: u32 = 0, g: u32 = 0, h: u32 = 0;
    let p = block + at;
    for (let t = bytes; t < end; t += 16) {
      const codes = load<u32>(p);
      a += load<u8>(t + (codes & 15));
      e += load<u8>(t + ((codes >> 4) & 15));
      b += load<u8>(t + ((codes >> 8) & 15));
      f += load<u8>(t + ((codes >> 12) & 15));
      c += load<u8>(t + ((codes >> 16) & 15));
      g += load<u8>(t + ((codes >> 20) & 15));
      d += load<u8>(t + ((codes >> 24) & 15));
      h += load<u8>(t + (codes >> 28));
      p += 16;
    }
    // Bytes at, at + 2 are rows at/2, at/2 + 1; those between them are 8 rows on; high nibbles 16 rows on.
    const sums = out + at;
    store<u16>(sums, a);
    store<u16>(sums, c, 2);
    store<u16>(sums, b, 16);
    store<u16>(sums, d, 18);
    store<u16>(sums, e, 32);
    store<u16>(sums, g, 34);
    store<u16>(sums, f, 48);
    store<u16>(sums, h, 50);
  }
}
