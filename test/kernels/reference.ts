/** The kernels again in plain JS, one rounding at a time: slow, and plainly what FORMAT says. */
import { type Kernels, loadKernels } from "./subject.ts";

const { fround } = Math;

export async function bothBuilds(): Promise<Kernels[]> {
  return [await loadKernels("scalar", { fresh: true }), await loadKernels("simd", { fresh: true })];
}

/** Left fold of a·b in f32. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum = fround(sum + fround((a[k] as number) * (b[k] as number)));
  return sum;
}

/** Left fold of (a − b)² in f32, negated. */
export function negatedDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) {
    const d = fround((a[k] as number) - (b[k] as number));
    sum = fround(sum + fround(d * d));
  }
  return -sum;
}

export function invNorm(a: ArrayLike<number>): number {
  const squares = dot(a, a);
  return squares === 0 ? 0 : fround(1 / fround(Math.sqrt(squares)));
}

export function cosine(a: ArrayLike<number>, q: ArrayLike<number>): number {
  const score = fround(fround(dot(a, q) * invNorm(a)) * invNorm(q));
  return Number.isNaN(score) ? -Infinity : score;
}

/** One block of ChaCha20 keystream (RFC 8439 section 2.3.1). */
export function chachaBlock(key: Uint8Array, nonce: Uint8Array, counter: number): Uint8Array {
  const words = (bytes: Uint8Array): number[] =>
    Array.from({ length: bytes.length / 4 }, (_, i) =>
      new DataView(bytes.buffer, bytes.byteOffset).getUint32(4 * i, true),
    );
  const start = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, ...words(key), counter, ...words(nonce)];
  const s = Uint32Array.from(start);
  const rotate = (x: number, n: number): number => (x << n) | (x >>> (32 - n));
  const quarter = (a: number, b: number, c: number, d: number): void => {
    for (const [to, from, mixed, n] of [
      [a, b, d, 16],
      [c, d, b, 12],
      [a, b, d, 8],
      [c, d, b, 7],
    ] as const) {
      s[to] = (s[to] as number) + (s[from] as number);
      s[mixed] = rotate((s[mixed] as number) ^ (s[to] as number), n);
    }
  };
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 4; i++) quarter(i, 4 + i, 8 + i, 12 + i);
    for (let i = 0; i < 4; i++) quarter(i, 4 + ((i + 1) & 3), 8 + ((i + 2) & 3), 12 + ((i + 3) & 3));
  }
  const out = new DataView(new ArrayBuffer(64));
  s.forEach((word, i) => {
    out.setUint32(4 * i, (word + (start[i] as number)) >>> 0, true);
  });
  return new Uint8Array(out.buffer);
}

/** bits × dim hyperplanes, plane by plane. */
export function hyperplanes(seed: Uint8Array, dim: number, bits: number, table = 0): Float32Array[] {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setUint32(0, table, true);
  const stream = new Uint8Array(Math.ceil((8 * dim * bits) / 64) * 64);
  for (let i = 0; i * 64 < stream.length; i++) stream.set(chachaBlock(seed, nonce, i), i * 64);
  const u16 = new DataView(stream.buffer);
  return Array.from({ length: bits }, (_, j) => {
    const g = Array.from({ length: dim }, (_, k) => {
      const at = 8 * (j * dim + k);
      return [0, 2, 4, 6].reduce((sum, i) => sum + u16.getUint16(at + i, true), -131070);
    });
    const length = Math.sqrt(g.reduce((sum, x) => sum + x * x, 0));
    return Float32Array.from(g, (x) => (length === 0 ? 0 : x / length));
  });
}

export function cellOf(x: ArrayLike<number>, planes: readonly Float32Array[]): number {
  return planes.reduce((cell, plane, j) => (dot(x, plane) >= 0 ? cell + 2 ** j : cell), 0);
}

/** Best k of scores by higher score, then lower id; a score that is not a number counts as −∞. */
export function bestOf(
  scores: ArrayLike<number>,
  k: number,
  ids?: ArrayLike<number>,
): { scores: number[]; ids: number[] } {
  const entries = Array.from(scores, (score, i) => ({
    score: Number.isNaN(score) ? -Infinity : score,
    id: ids?.[i] ?? i,
  }));
  entries.sort((a, b) => (a.score === b.score ? a.id - b.id : b.score > a.score ? 1 : -1));
  const best = entries.slice(0, k);
  return { scores: best.map((entry) => entry.score), ids: best.map((entry) => entry.id) };
}

/** A small seeded generator (mulberry32): numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Ways to fill vectors, the nasty ones included. Every value is finite. */
export const FILLS: Record<string, (random: () => number) => number> = {
  ordinary: (random) => random() * 2 - 1,
  denormal: (random) => (random() * 2 - 1) * 1e-39,
  tiny: (random) => (random() * 2 - 1) * 1e-23,
  signedZero: (random) => (random() < 0.5 ? 0 : -0),
  huge: (random) => (random() < 0.5 ? 3e38 : -3e38) * random(),
  mixed: (random) => (random() * 2 - 1) * 10 ** Math.floor(random() * 70 - 35),
  equal: () => 0.5,
};

export function filled(
  length: number,
  fill: (random: () => number) => number,
  random: () => number,
): Float32Array {
  return Float32Array.from({ length }, () => fill(random));
}

/** The bit patterns, NaN as one pattern: engines differ in which NaN they make. */
export function bitsOf(values: ArrayLike<number>): Uint32Array {
  const floats = Float32Array.from(values);
  return new Uint32Array(floats.buffer).map((bits, i) => (Number.isNaN(floats[i]) ? 0x7fc00000 : bits));
}
