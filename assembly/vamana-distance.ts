// Squared Euclidean distances between f32 rows for the graph build (spec/0013 §3): every sum is sum4, four
// accumulators over the coordinates k mod 4 and then (a0 + a1) + (a2 + a3). Rows are padded with zeros to a
// multiple of four coordinates, start at multiples of 16, and are given by their addresses.

/** |x − row|² of each listed row (addresses, u32 × n) to `out` (f32 × n). Both lists have room for a multiple of four. */
export function squaredDistances(x: usize, list: usize, n: u32, rowBytes: usize, out: usize): void {
  if (n == 0) return;
  const last = load<u32>(list + (<usize>(n - 1) << 2));
  for (let i: usize = n; i & 3; i++) store<u32>(list + (i << 2), last);
  for (let i: usize = 0; i < n; i += 4) {
    if (ASC_FEATURE_SIMD) distances4(x, list + (i << 2), rowBytes, out + (i << 2));
    else for (let j: usize = i; j < i + 4; j++) store<f32>(out + (j << 2), distance(x, load<u32>(list + (j << 2)), rowBytes));
  }
}

/** Four rows at once: their four additions a step hide each other's latency. */
// @ts-ignore: decorator
@inline function distances4(x: usize, list: usize, rowBytes: usize, out: usize): void {
  const r0: usize = load<u32>(list), r1: usize = load<u32>(list, 4), r2: usize = load<u32>(list, 8), r3: usize = load<u32>(list, 12);
  let a = f32x4.splat(0), b = a, c = a, d = a, t: v128;
  for (let k: usize = 0; k < rowBytes; k += 16) {
    const y = v128.load(x + k);
    t = f32x4.sub(v128.load(r0 + k), y); a = f32x4.add(a, f32x4.mul(t, t));
    t = f32x4.sub(v128.load(r1 + k), y); b = f32x4.add(b, f32x4.mul(t, t));
    t = f32x4.sub(v128.load(r2 + k), y); c = f32x4.add(c, f32x4.mul(t, t));
    t = f32x4.sub(v128.load(r3 + k), y); d = f32x4.add(d, f32x4.mul(t, t));
  }
  // a0 b0 a2 b2 + a1 b1 a3 b3: the halves of each row's sum, then both halves of four rows
  const ab = f32x4.add(v128.shuffle<i32>(a, b, 0, 4, 2, 6), v128.shuffle<i32>(a, b, 1, 5, 3, 7));
  const cd = f32x4.add(v128.shuffle<i32>(c, d, 0, 4, 2, 6), v128.shuffle<i32>(c, d, 1, 5, 3, 7));
  v128.store(out, f32x4.add(v128.shuffle<i64>(ab, cd, 0, 2), v128.shuffle<i64>(ab, cd, 1, 3)));
}

// @ts-ignore: decorator
@inline function distance(x: usize, row: usize, rowBytes: usize): f32 {
  let a: f32 = 0, b: f32 = 0, c: f32 = 0, d: f32 = 0;
  for (let k: usize = 0; k < rowBytes; k += 16) {
    const s = load<f32>(row + k) - load<f32>(x + k), t = load<f32>(row + k, 4) - load<f32>(x + k, 4);
    const u = load<f32>(row + k, 8) - load<f32>(x + k, 8), v = load<f32>(row + k, 12) - load<f32>(x + k, 12);
    a += s * s;
    b += t * t;
    c += u * u;
    d += v * v;
  }
  return (a + b) + (c + d);
}
