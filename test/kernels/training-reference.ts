/** Rotation, k-means and codes again in plain JS, one rounding at a time: slow, and plainly what the spec says. */
import { chachaBlock } from "./reference.ts";

const { fround } = Math;

/** `bytes` bytes of keystream from the beginning, nonce word 0 as given. */
export function stream(seed: Uint8Array, nonceWord: number, bytes: number): DataView {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setUint32(0, nonceWord, true);
  const out = new Uint8Array(Math.ceil(bytes / 64) * 64);
  for (let i = 0; i * 64 < out.length; i++) out.set(chachaBlock(seed, nonce, i), i * 64);
  return new DataView(out.buffer);
}

/** Rotates one vector of dim values into D. */
export type Rotate = (y: ArrayLike<number>) => Float32Array;

export function rotationOf(dim: number, seed: Uint8Array): Rotate {
  return dim <= 128 ? dense(dim, Math.ceil(dim / 16) * 16, seed) : hadamard(Math.ceil(dim / 64) * 64, seed);
}

function dense(dim: number, padded: number, seed: Uint8Array): Rotate {
  const draws = stream(seed, 0x524f5444, dim * padded * 8);
  const columns: Float64Array[] = [];
  const product = (a: Float64Array, b: Float64Array): number =>
    a.reduce((sum, x, t) => sum + x * at(b, t), 0);
  for (let j = 0; j < dim; j++) {
    const column = Float64Array.from({ length: padded }, (_, t) =>
      [0, 2, 4, 6].reduce((sum, i) => sum + draws.getUint16(8 * (j * padded + t) + i, true), -131070),
    );
    for (const earlier of [...columns, ...columns]) {
      const s = product(earlier, column);
      for (let t = 0; t < padded; t++) column[t] = at(column, t) - s * at(earlier, t);
    }
    const length = Math.sqrt(product(column, column));
    columns.push(column.map((x) => x / length));
  }
  const rounded = columns.map((column) => Float32Array.from(column));
  return (y) =>
    Float32Array.from({ length: padded }, (_, t) =>
      rounded.reduce((sum, column, j) => fround(sum + fround(at(column, t) * at(y, j))), 0),
    );
}

function hadamard(padded: number, seed: Uint8Array): Rotate {
  const bits = stream(seed, 0x524f5448, padded / 2);
  const h = 2 ** Math.floor(Math.log2(padded));
  const scale = fround(1 / Math.sqrt(h));
  return (y) => {
    const z = new Float32Array(padded);
    z.set(Array.from(y));
    for (let round = 0; round < 4; round++) {
      for (let t = 0; t < padded; t++) {
        const i = round * padded + t;
        if ((bits.getUint8(i >> 3) >> (i & 7)) & 1) z[t] = -at(z, t);
      }
      const w = round % 2 === 0 ? z.subarray(0, h) : z.subarray(padded - h);
      for (let len = 1; len < h; len *= 2) {
        for (let i = 0; i < h; i++) {
          if (i & len) continue;
          const [a, b] = [at(w, i), at(w, i + len)];
          w[i] = a + b;
          w[i + len] = a - b;
        }
      }
      for (let i = 0; i < h; i++) w[i] = at(w, i) * scale;
    }
    return z;
  };
}

/** The cell of the greatest f32(fold + h), equal scores to the lowest. */
export function cellOfVector(y: ArrayLike<number>, centroids: readonly ArrayLike<number>[]): number {
  let best = -Infinity;
  let cell = 0;
  centroids.forEach((centroid, c) => {
    const half = fround(-0.5 * Array.from(centroid).reduce((sum, x) => sum + x * x, 0));
    const score = fround(fold(y, centroid) + half);
    if (score > best) [best, cell] = [score, c];
  });
  return cell;
}

/** Left fold of a·b in f32. */
export function fold(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum = fround(sum + fround(at(a, i) * at(b, i)));
  return sum;
}

/** `count` of `total` rows by the seed, one from each of `count` equal parts. */
export function drawnRows(seed: Uint8Array, total: number, count: number): number[] {
  const draws = stream(seed, 0x4b4d5341, count * 4);
  return Array.from({ length: count }, (_, i) => {
    const [first, past] = [Math.floor((i * total) / count), Math.floor(((i + 1) * total) / count)];
    return first + Math.floor(((past - first) * draws.getUint32(4 * i, true)) / 2 ** 32);
  });
}

/** Lloyd's rounds over the rows: k centroids. */
export function kmeans(
  rows: readonly Float32Array<ArrayBuffer>[],
  k: number,
  iterations: number,
  seed: Uint8Array,
): Float32Array[] {
  const n = rows.length;
  const shuffled = [...rows];
  const draws = stream(seed, 0x4b4d5348, n * 4);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(((i + 1) * draws.getUint32(4 * i, true)) / 2 ** 32);
    [shuffled[i], shuffled[j]] = [
      shuffled[j] as Float32Array<ArrayBuffer>,
      shuffled[i] as Float32Array<ArrayBuffer>,
    ];
  }
  const centroids = shuffled.slice(0, k).map((row) => row.slice());
  let next = k;
  for (let round = 0; round < iterations; round++) {
    const members: Float32Array<ArrayBufferLike>[][] = centroids.map(() => []);
    // The last round takes all rows, the two before it half of them, and so on down to four a centroid.
    const half = 2 ** Math.ceil((iterations - 1 - round) / 2);
    const used = Math.max(Math.min(n, 4 * k), Math.ceil(n / half));
    for (const past = next + used; next < past; next++) {
      const row = shuffled[next % n] as Float32Array;
      members[cellOfVector(row, centroids)]?.push(row);
    }
    members.forEach((own, c) => {
      if (own.length > 0) centroids[c] = mean(own);
    });
    const counts = members.map((own) => own.length);
    for (let empty = counts.indexOf(0); empty >= 0; empty = counts.indexOf(0)) {
      const largest = counts.indexOf(Math.max(...counts));
      if (at(counts, largest) < 2) break;
      counts[empty] = at(counts, largest) >> 1;
      counts[largest] = at(counts, largest) - at(counts, empty);
      const donor = centroids[largest] as Float32Array;
      const [up, down] = [1 + 1 / 1024, 1 - 1 / 1024].map((by) =>
        Array.from(donor, (c) => (Number.isFinite(fround(c * by)) ? fround(c * by) : c)),
      ) as [number[], number[]];
      centroids[empty] = Float32Array.from(donor, (_, j) => at(j % 2 === 0 ? up : down, j));
      centroids[largest] = Float32Array.from(donor, (_, j) => at(j % 2 === 0 ? down : up, j));
    }
  }
  return centroids;
}

function mean(rows: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const dim = (rows[0] as Float32Array).length;
  return Float32Array.from(
    { length: dim },
    (_, j) => rows.reduce((sum, row) => sum + at(row, j), 0) / rows.length,
  );
}

/** Four chains of f32 sums, term t in chain t mod 4. */
function sum4(length: number, term: (t: number) => number): number {
  const chains = [0, 0, 0, 0];
  for (let t = 0; t < length; t++) chains[t % 4] = fround(at(chains, t % 4) + term(t));
  return fround(fround(at(chains, 0) + at(chains, 1)) + fround(at(chains, 2) + at(chains, 3)));
}

const STEPS = [0, 0, 0.9957, 0.586, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308];
const GREATEST = 3.4028234663852886e38;

/** The stored code of a rotated row z in the cell of rotated centroid c; hy is ½|y|² for l2, else 0. */
export function rabitqCode(z: Float32Array, c: Float32Array, bits: number, hy: number): Uint8Array {
  const D = z.length;
  const r = z.map((value, t) => value - at(c, t));
  const length = r.map(Math.abs);
  const times = (a: number, b: number): number => fround(a * b);
  const rn = sum4(D, (t) => times(at(r, t), at(r, t)));
  const cr = sum4(D, (t) => times(at(c, t), at(r, t)));
  const level = 2 ** (bits - 1);
  const is = fround(1 / Math.sqrt(D));
  const error = (squares: number): number =>
    fround(fround(Math.sqrt(Math.max(0, fround(squares - rn)))) / fround(Math.sqrt(D - 1)));
  if (rn < 2 ** -96) {
    const a = fround(cr - hy);
    return storedCode(new Array(D).fill(level), bits, [
      a,
      0,
      0,
      0,
      Math.abs(a) <= GREATEST ? a : GREATEST,
      0,
    ]);
  }
  const sign = Array.from(r, (value) => (value >= 0 ? 1 : -1));
  const l1 = sum4(D, (t) => at(length, t));
  const cb = sum4(D, (t) => at(sign, t) * at(c, t));
  const f1 = l1 > 0 ? fround(rn / times(l1, is)) : 0;
  const a1 = fround(fround(cr - times(times(f1, cb), is)) - hy);
  const e1 = error(times(f1, f1));
  if (bits === 1)
    return storedCode(
      sign.map((s) => (s > 0 ? 1 : 0)),
      1,
      [a1, f1, e1, 0, 0, 0],
    );

  // min and the clamp of what is not a number to the top are one rule.
  const steps = (inv: number, top: number): number[] =>
    Array.from(length, (x) => (Math.floor(times(x, inv)) < top ? Math.floor(times(x, inv)) : top));
  const sigma = fround(Math.sqrt(fround(rn / D)));
  let best = { score: -Infinity, inv: 0, dot: 0, nn: 0 };
  for (let s = 0; s < 8; s++) {
    const inv = fround(1 / times(sigma, times(fround(at(STEPS, bits)), fround((7 + s) / 10))));
    const g = steps(inv, level - 1).map((m) => m + 0.5);
    const dot = sum4(D, (t) => times(at(g, t), at(length, t)));
    const nn = sum4(D, (t) => times(at(g, t), at(g, t)));
    const score = fround(dot / fround(Math.sqrt(nn)));
    if (score > best.score) best = { score, inv, dot, nn };
  }
  const m = steps(best.inv, best.inv === 0 ? 0 : level - 1);
  const code = m.map((step, t) => (at(sign, t) > 0 ? level + step : level - 1 - step));
  const cq = sum4(D, (t) => times(at(sign, t) * (at(m, t) + 0.5), at(c, t)));
  const f = best.dot > 0 ? fround(rn / best.dot) : 0;
  const a = fround(fround(cr - times(f, cq)) - hy);
  const e = error(times(times(f, f), best.nn));
  if (Math.abs(a) <= GREATEST && f <= GREATEST) return storedCode(code, bits, [a1, f1, e1, e, a, f]);
  const signs = sign.map((s) => (s > 0 ? level : level - 1));
  return storedCode(signs, bits, [a1, f1, e1, Infinity, GREATEST, 0]);
}

function storedCode(
  code: readonly number[],
  bits: number,
  [a1, f1, e1, e, a, f]: [number, number, number, number, number, number],
): Uint8Array {
  const planeBytes = code.length / 8;
  const out = new DataView(new ArrayBuffer(bits * planeBytes + (bits === 1 ? 8 : 16)));
  code.forEach((u, t) => {
    for (let plane = 0; plane < bits; plane++) {
      const byte = plane * planeBytes + (t >> 3);
      out.setUint8(byte, out.getUint8(byte) | (((u >> (bits - 1 - plane)) & 1) << (t & 7)));
    }
  });
  const [fixedA, fixedF] = [nearestEven(fround(a1 * 16384)), nearestEven(fround(f1 * 16384))];
  const inside = Math.abs(fixedA) <= 32767 && fixedF <= 32767;
  const fixedError = (value: number): number => {
    const fixed = nearestEven(fround(value * 65536));
    return fixed < 65535 ? fixed : 65535;
  };
  const factors = bits * planeBytes;
  out.setInt16(factors, inside ? fixedA : 32767, true);
  out.setInt16(factors + 2, inside ? fixedF : 0, true);
  out.setUint16(factors + 4, fixedError(e1), true);
  out.setUint16(factors + 6, fixedError(e), true);
  if (bits > 1) {
    out.setFloat32(factors + 8, a, true);
    out.setFloat32(factors + 12, f, true);
  }
  return new Uint8Array(out.buffer);
}

/** Where subspaces begin, and the end. */
export function pqEdges(dim: number, m: number): number[] {
  return Array.from({ length: m + 1 }, (_, s) => s * Math.floor(dim / m) + Math.min(s, dim % m));
}

/** Codeword j, of coordinates from … past − 1, of codebooks: 2^bits × dim values. */
function codeword(
  codebooks: Float32Array,
  from: number,
  past: number,
  bits: number,
  j: number,
): Float32Array {
  const row = (j * codebooks.length) / 2 ** bits;
  return codebooks.subarray(row + from, row + past);
}

/** ½|ŷ|² of the vector c + codewords that codes stand for. */
export function pqHalfSquares(
  codes: readonly number[],
  c: Float32Array,
  codebooks: Float32Array,
  bits: number,
): number {
  const edges = pqEdges(c.length, codes.length);
  const words = codes.flatMap((code, s) => [
    ...codeword(codebooks, at(edges, s), at(edges, s + 1), bits, code),
  ]);
  const decoded = c.map((value, j) => fround(value + at(words, j)));
  return fround(0.5 * fold(decoded, decoded));
}

/** The nearest codeword of each subspace of r = y − c. */
export function pqCodes(
  y: Float32Array,
  c: Float32Array,
  codebooks: Float32Array,
  m: number,
  bits: number,
): number[] {
  const r = y.map((value, j) => value - at(c, j));
  const edges = pqEdges(y.length, m);
  return Array.from({ length: m }, (_, s) => {
    const [from, past] = [at(edges, s), at(edges, s + 1)];
    const words = Array.from({ length: 2 ** bits }, (_, j) => codeword(codebooks, from, past, bits, j));
    return cellOfVector(r.subarray(from, past), words);
  });
}

/** The query's inner product with every codeword, a row of 2^bits a subspace. */
export function pqTable(q: Float32Array, codebooks: Float32Array, m: number, bits: number): number[][] {
  const edges = pqEdges(q.length, m);
  return Array.from({ length: m }, (_, s) => {
    const [from, past] = [at(edges, s), at(edges, s + 1)];
    return Array.from({ length: 2 ** bits }, (_, j) =>
      fold(q.subarray(from, past), codeword(codebooks, from, past, bits, j)),
    );
  });
}

/** A table of 16 entries a subspace in bytes up to 63, with what turns their sums into scores. */
export function pqByteTable(table: readonly number[][]): { bytes: number[]; bias: number; quantum: number } {
  const lows = table.map((row) => Math.min(...row));
  const range = Math.max(...table.map((row, s) => fround(Math.max(...row) - at(lows, s))));
  const inverse = range > 0 ? fround(63 / range) : 0;
  const bytes = table.flatMap((row, s) =>
    row.map((value) => {
      const x = nearestEven(fround(fround(value - at(lows, s)) * inverse));
      return x < 63 ? x : 63;
    }),
  );
  return { bytes, bias: lows.reduce((sum, low) => fround(sum + low), 0), quantum: fround(range / 63) };
}

function nearestEven(x: number): number {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

function at(values: ArrayLike<number>, i: number): number {
  return values[i] as number;
}
