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

function at(values: ArrayLike<number>, i: number): number {
  return values[i] as number;
}
