// Lane arithmetic with one source for both builds: T is v128 (four lanes) where there is SIMD, and f32 or
// u32 (one lane) where there is not. Loops written over T run the same operations in the same order.
// No operation here is reassociated or fused, so that both builds give the same bits.

// @ts-ignore: decorator
@inline export function splatF<T>(x: f32): T {
  if (isVector<T>()) return <T>f32x4.splat(x);
  else return <T>x;
}

// @ts-ignore: decorator
@inline export function loadSplatF<T>(pointer: usize): T {
  if (isVector<T>()) return <T>v128.load32_splat(pointer);
  else return <T>load<f32>(pointer);
}

/** acc + a·b, rounded twice. */
// @ts-ignore: decorator
@inline export function mulAddF<T>(acc: T, a: T, b: T): T {
  if (isVector<T>()) return <T>f32x4.add(acc, f32x4.mul(a, b));
  else return <T>(acc + a * b);
}

// @ts-ignore: decorator
@inline export function addF<T>(a: T, b: T): T {
  if (isVector<T>()) return <T>f32x4.add(a, b);
  else return <T>(a + b);
}

// @ts-ignore: decorator
@inline export function subF<T>(a: T, b: T): T {
  if (isVector<T>()) return <T>f32x4.sub(a, b);
  else return <T>(a - b);
}

// @ts-ignore: decorator
@inline export function mulF<T>(a: T, b: T): T {
  if (isVector<T>()) return <T>f32x4.mul(a, b);
  else return <T>(a * b);
}

// @ts-ignore: decorator
@inline export function splatU<T>(x: u32): T {
  if (isVector<T>()) return <T>i32x4.splat(<i32>x);
  else return <T>x;
}

// @ts-ignore: decorator
@inline export function addU<T>(a: T, b: T): T {
  if (isVector<T>()) return <T>i32x4.add(a, b);
  else return <T>(a + b);
}

// @ts-ignore: decorator
@inline export function xorU<T>(a: T, b: T): T {
  if (isVector<T>()) return <T>v128.xor(a, b);
  else return <T>(a ^ b);
}

/** Every lane rotated right by 16 bits. A swizzle by a constant beats a shuffle of x with itself. */
// @ts-ignore: decorator
@inline export function rotate16<T>(x: T): T {
  if (isVector<T>()) return <T>i8x16.swizzle(x, i8x16(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  else return <T>rotr<u32>(x, 16);
}

// @ts-ignore: decorator
@inline export function rotate12<T>(x: T): T {
  if (isVector<T>()) return <T>v128.or(i32x4.shr_u(x, 12), i32x4.shl(x, 20));
  else return <T>rotr<u32>(x, 12);
}

// @ts-ignore: decorator
@inline export function rotate8<T>(x: T): T {
  if (isVector<T>()) return <T>i8x16.swizzle(x, i8x16(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12));
  else return <T>rotr<u32>(x, 8);
}

// @ts-ignore: decorator
@inline export function rotate7<T>(x: T): T {
  if (isVector<T>()) return <T>v128.or(i32x4.shr_u(x, 7), i32x4.shl(x, 25));
  else return <T>rotr<u32>(x, 7);
}

/** 1 in the SIMD build, 0 in the scalar one. */
export function isSimd(): i32 {
  return ASC_FEATURE_SIMD ? 1 : 0;
}
