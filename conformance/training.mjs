// Arithmetic that the generators of rotation.json, kmeans.json, rabitq.json and pq.json share, from the specification
// alone: nothing here comes from the library.

const { fround } = Math;

export const hex = (bytes) => Buffer.from(bytes).toString("hex");
export const floats = (values) => hex(new Uint8Array(Float32Array.from(values).buffer));
export const seedOf = (n) => Uint8Array.from({ length: 32 }, (_, i) => (n * 37 + i * 11) % 256);

/** `length` bytes of ChaCha20 keystream (RFC 8439) from block 0, the nonce one word and zeros. */
export function keystream(key, nonceWord, length) {
  const out = new DataView(new ArrayBuffer(Math.ceil(length / 64) * 64));
  for (let block = 0; block * 64 < length; block++) {
    chacha(key, nonceWord, block).forEach((word, i) => {
      out.setUint32(64 * block + 4 * i, word, true);
    });
  }
  return out;
}

function chacha(key, nonceWord, counter) {
  const words = new DataView(key.buffer, key.byteOffset);
  const start = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];
  for (let i = 0; i < 32; i += 4) start.push(words.getUint32(i, true));
  start.push(counter, nonceWord, 0, 0);
  const s = Uint32Array.from(start);
  const mix = (to, from, turned, by) => {
    s[to] += s[from];
    const x = s[turned] ^ s[to];
    s[turned] = (x << by) | (x >>> (32 - by));
  };
  for (let i = 0; i < 80; i++) {
    const [column, shift] = [i % 4, i % 8 < 4 ? 0 : 1];
    const [a, b, c, d] = [0, 1, 2, 3].map((row) => 4 * row + ((column + row * shift) % 4));
    mix(a, b, d, 16);
    mix(c, d, b, 12);
    mix(a, b, d, 8);
    mix(c, d, b, 7);
  }
  return s.map((word, i) => word + start[i]);
}

/** Left fold of products in f32. */
export function fold(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum = fround(sum + fround(a[i] * b[i]));
  return sum;
}

/** A whole row-major matrix as rows. */
export function rowsOf(values, dim) {
  return Array.from({ length: values.length / dim }, (_, i) => values.slice(i * dim, (i + 1) * dim));
}

/** Values that tell implementations apart: waves, zeros of both signs, denormals, sums that round. */
export function rows(n, dim, salt, scale = 1) {
  return Array.from({ length: n }, (_, v) =>
    Float32Array.from({ length: dim }, (_, j) => {
      const x = v * dim + j + salt;
      if (v % 11 === 10) return j % 3 === 0 ? -0 : x * 1e-44;
      return scale * ((((x * x * 7919 + 13 * x + 1) % 20011) / 10005 - 1) / Math.sqrt(dim));
    }),
  );
}

/** The function that rotates one vector of dim values into D. */
export function rotation(dim, seed) {
  if (dim > 128) return hadamardRotation(64 * Math.ceil(dim / 64), seed);
  const padded = 16 * Math.ceil(dim / 16);
  const draws = keystream(seed, 0x524f5444, dim * padded * 8);
  const q = [];
  for (let j = 0; j < dim; j++) {
    const column = new Float64Array(padded);
    for (let t = 0; t < padded; t++) {
      const at = 8 * (j * padded + t);
      column[t] = [0, 2, 4, 6].reduce((sum, i) => sum + draws.getUint16(at + i, true), 0) - 131070;
    }
    for (let repeat = 0; repeat < 2; repeat++) {
      for (let i = 0; i < j; i++) {
        let s = 0;
        for (let t = 0; t < padded; t++) s += q[i][t] * column[t];
        for (let t = 0; t < padded; t++) column[t] -= s * q[i][t];
      }
    }
    let squares = 0;
    for (const x of column) squares += x * x;
    const length = Math.sqrt(squares);
    q.push(column.map((x) => x / length));
  }
  return (y) =>
    Float32Array.from({ length: padded }, (_, t) =>
      fold(
        q.map((column) => fround(column[t])),
        y,
      ),
    );
}

function hadamardRotation(padded, seed) {
  const bits = keystream(seed, 0x524f5448, padded / 2);
  const h = 2 ** Math.floor(Math.log2(padded));
  const scale = fround(1 / Math.sqrt(h));
  // The transform by halves: of both halves first, then their sums and differences.
  const transform = (w) => {
    if (w.length === 1) return w;
    const half = w.length / 2;
    const [a, b] = [transform(w.slice(0, half)), transform(w.slice(half))];
    return [...a.map((x, i) => fround(x + b[i])), ...a.map((x, i) => fround(x - b[i]))];
  };
  return (y) => {
    const z = Array.from({ length: padded }, (_, t) => (t < y.length ? y[t] : 0));
    for (let round = 0; round < 4; round++) {
      for (let t = 0; t < padded; t++) {
        if ((bits.getUint8((round * padded) / 8 + (t >> 3)) >> (t & 7)) & 1) z[t] = -z[t];
      }
      const from = round % 2 === 0 ? 0 : padded - h;
      transform(z.slice(from, from + h)).forEach((x, i) => {
        z[from + i] = fround(x * scale);
      });
    }
    return Float32Array.from(z);
  };
}

/** The greatest f32(⟨y,c⟩ − ½|c|²), equal scores to the lowest cell. */
export function cellOf(y, centroids) {
  const scores = centroids.map((c) => {
    let squares = 0;
    for (const x of c) squares += x * x;
    return fround(fold(y, c) + fround(-0.5 * squares));
  });
  return scores.indexOf(Math.max(...scores));
}

/** k centroids of the rows; see the specification of the spatial index. */
export function kmeans(rows, k, iterations, seed) {
  const n = rows.length;
  const order = rows.map((_, row) => row);
  const draws = keystream(seed, 0x4b4d5348, 4 * n);
  for (let i = n - 1; i >= 1; i--) {
    const j = Number((BigInt(draws.getUint32(4 * i, true)) * BigInt(i + 1)) >> 32n);
    [order[i], order[j]] = [order[j], order[i]];
  }
  const centroids = order.slice(0, k).map((row) => rows[row].slice());
  let from = k;
  for (let round = 1; round <= iterations; round++) {
    const used = Math.max(Math.min(n, 4 * k), Math.ceil(n / 2 ** Math.ceil((iterations - round) / 2)));
    const sums = centroids.map((c) => new Float64Array(c.length));
    const counts = centroids.map(() => 0);
    for (let i = 0; i < used; i++) {
      const row = rows[order[(from + i) % n]];
      const cell = cellOf(row, centroids);
      counts[cell]++;
      row.forEach((x, j) => {
        sums[cell][j] += x;
      });
    }
    from += used;
    counts.forEach((count, c) => {
      if (count > 0) centroids[c] = Float32Array.from(sums[c], (sum) => sum / count);
    });
    for (let c = 0; c < k; c++) {
      if (counts[c] > 0) continue;
      const largest = counts.indexOf(Math.max(...counts));
      if (counts[largest] < 2) break;
      counts[c] = Math.floor(counts[largest] / 2);
      counts[largest] -= counts[c];
      const donor = centroids[largest];
      const moved = (turn) =>
        Float32Array.from(donor, (x, j) => {
          const nudged = fround(x * (j % 2 === turn ? 1 + 2 ** -10 : 1 - 2 ** -10));
          return Number.isFinite(nudged) ? nudged : x;
        });
      centroids[c] = moved(0);
      centroids[largest] = moved(1);
    }
  }
  return centroids;
}

/** A whole number, halves to the even one. */
export function even(x) {
  const near = Math.round(x);
  return near - x === 0.5 && near % 2 !== 0 ? near - 1 : near;
}
