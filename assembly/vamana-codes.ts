// The 8-bit rows that a graph walk goes by (spec/0013 §4), and scores of them. A row as it lies in memory, at a stride
// that is a multiple of 64 so that it touches as few cache lines as it can:
//
//   [ i8 × width, width = dim padded with zeros to a multiple of 16 ][ scale f32 ][ half f32 ][ unused ]
//
// It stands for scale · code; half is ½|y|² for l2 and 0 for cosine. A query is i16 × width with one step.
//
//   score = f32(f32(f32(Σ code·query) · scale) · step) − half          the sum exact in i32

/** Codes n rows of dim f32 (`rowBytes` apart) at stride `stride`. */
export function vamanaCodes(rows: usize, n: u32, dim: u32, rowBytes: usize, hasHalf: bool, out: usize, stride: usize): void {
  const width = (<usize>dim + 15) & ~15;
  for (let i: u32 = 0; i < n; i++) {
    let most: f32 = 0;
    let squares: f32 = 0;
    for (let k: usize = 0; k < dim; k++) {
      const y = load<f32>(rows + (k << 2));
      most = max(most, abs(y));
      squares += y * y;
    }
    const inverse: f32 = most > 0 ? <f32>127 / most : 0;
    const isCoded = inverse > 0 && inverse < Infinity; // a row too small to be coded counts as zero
    memory.fill(out, 0, stride);
    if (isCoded) {
      for (let k: usize = 0; k < dim; k++) store<i8>(out + k, <i8>nearest<f32>(min<f32>(127, max<f32>(-127, load<f32>(rows + (k << 2)) * inverse))));
      store<f32>(out + width, most / 127);
    }
    if (hasHalf) store<f32>(out + width, <f32>0.5 * squares, 4);
    rows += rowBytes;
    out += stride;
  }
}

/**
 * Codes a query of dim f32 as i16 × width at `out` and returns its step. Its largest value becomes as much as sums of
 * width products can bear in i32, at most 32,767.
 */
export function vamanaQuery(query: usize, dim: u32, out: usize): f32 {
  const width = (<usize>dim + 15) & ~15;
  memory.fill(out, 0, width << 1);
  let most: f32 = 0;
  for (let k: usize = 0; k < dim; k++) most = max(most, abs(load<f32>(query + (k << 2))));
  const limit = <f32>min<u32>(32767, 0x7fffffff / (127 * <u32>width));
  const inverse: f32 = most > 0 ? limit / most : 0;
  if (!(inverse > 0 && inverse < Infinity)) return 0;
  for (let k: usize = 0; k < dim; k++) store<i16>(out + (k << 1), <i16>nearest<f32>(min<f32>(limit, max<f32>(-limit, load<f32>(query + (k << 2)) * inverse))));
  return most / limit;
}

/**
 * Scores of listed rows (addresses, u32 × n) to `out` (f32 × n); both have room for a multiple of four.
 * Rows are read once before any is scored: their cache misses then overlap, which is worth a third to a half of a walk.
 */
// @ts-ignore: decorator
@inline export function scoreRows(list: usize, n: u32, width: usize, stride: usize, query: usize, step: f32, out: usize): void {
  let touched: u32 = 0;
  for (let i: usize = 0; i < n; i++) {
    const row: usize = load<u32>(list + (i << 2));
    for (let k: usize = 0; k < stride; k += 64) touched ^= load<u8>(row + k);
  }
  store<u32>(sink, touched);
  const last = load<u32>(list + (<usize>(n - 1) << 2));
  for (let i: usize = n; i & 3; i++) store<u32>(list + (i << 2), last);
  for (let i: usize = 0; i < n; i += 4) {
    if (ASC_FEATURE_SIMD) score4(list + (i << 2), width, query, step, out + (i << 2));
    else for (let j: usize = i; j < i + 4; j++) store<f32>(out + (j << 2), score(load<u32>(list + (j << 2)), width, query, step));
  }
}

const sink = memory.data(4, 4); // what touching read, so that it counts as used

// @ts-ignore: decorator
@inline function score4(list: usize, width: usize, query: usize, step: f32, out: usize): void {
  const r0: usize = load<u32>(list), r1: usize = load<u32>(list, 4), r2: usize = load<u32>(list, 8), r3: usize = load<u32>(list, 12);
  let a = i32x4.splat(0), b = a, c = a, d = a;
  for (let k: usize = 0; k < width; k += 8) {
    const q = v128.load(query + (k << 1));
    a = i32x4.add(a, i32x4.dot_i16x8_s(v128.load_ext<i8>(r0 + k), q));
    b = i32x4.add(b, i32x4.dot_i16x8_s(v128.load_ext<i8>(r1 + k), q));
    c = i32x4.add(c, i32x4.dot_i16x8_s(v128.load_ext<i8>(r2 + k), q));
    d = i32x4.add(d, i32x4.dot_i16x8_s(v128.load_ext<i8>(r3 + k), q));
  }
  const ab = i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 2, 6), v128.shuffle<i32>(a, b, 1, 5, 3, 7));
  const cd = i32x4.add(v128.shuffle<i32>(c, d, 0, 4, 2, 6), v128.shuffle<i32>(c, d, 1, 5, 3, 7));
  const sums = f32x4.convert_i32x4_s(i32x4.add(v128.shuffle<i64>(ab, cd, 0, 2), v128.shuffle<i64>(ab, cd, 1, 3)));
  // scale half of four rows → four scales, four halves
  const f01 = v128.shuffle<i32>(v128.load64_zero(r0 + width), v128.load64_zero(r1 + width), 0, 4, 1, 5);
  const f23 = v128.shuffle<i32>(v128.load64_zero(r2 + width), v128.load64_zero(r3 + width), 0, 4, 1, 5);
  const scales = v128.shuffle<i64>(f01, f23, 0, 2), halves = v128.shuffle<i64>(f01, f23, 1, 3);
  v128.store(out, f32x4.sub(f32x4.mul(f32x4.mul(sums, scales), f32x4.splat(step)), halves));
}

// @ts-ignore: decorator
@inline function score(row: usize, width: usize, query: usize, step: f32): f32 {
  let sum: i32 = 0;
  for (let k: usize = 0; k < width; k += 4) {
    sum += <i32>load<i8>(row + k) * <i32>load<i16>(query + (k << 1)) + <i32>load<i8>(row + k, 1) * <i32>load<i16>(query + (k << 1), 2);
    sum += <i32>load<i8>(row + k, 2) * <i32>load<i16>(query + (k << 1), 4) + <i32>load<i8>(row + k, 3) * <i32>load<i16>(query + (k << 1), 6);
  }
  const scaled: f32 = <f32>sum * load<f32>(row + width) * step;
  return scaled - load<f32>(row + width, 4);
}
