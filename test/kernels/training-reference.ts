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
  const draws = stream(seed, 0x4b4d4e53, count * 4);
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
  const centroids = drawnRows(seed, rows.length, k).map((row) => (rows[row] as Float32Array).slice());
  for (let round = 0; round < iterations; round++) {
    const members: Float32Array<ArrayBufferLike>[][] = centroids.map(() => []);
    for (const row of rows) members[cellOfVector(row, centroids)]?.push(row);
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

function at(values: ArrayLike<number>, i: number): number {
  return values[i] as number;
}
