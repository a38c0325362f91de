// Writes lsh.json: hyperplanes, margins, cells and probe order of `dreamdb.lsh-cosine`, from FORMAT alone. It shares no
// code with the library but BLAKE3, for the default seeds. Run after a build: node conformance/generate-lsh.mjs
import { writeFile } from "node:fs/promises";
import { hash } from "../build/vendor/blake3.js";

const { fround } = Math;
const cases = [];
for (const [dim, bits, seed] of [
  [1, 1, defaultSeed(1, 1)],
  [2, 3, new Uint8Array(32)],
  [3, 9, Uint8Array.from({ length: 32 }, (_, i) => i)],
  [13, 17, Uint8Array.from({ length: 32 }, (_, i) => 255 - i)],
  [100, 12, defaultSeed(100, 12)],
  [33, 24, defaultSeed(33, 24)],
  [512, 12, defaultSeed(512, 12)],
]) {
  const planes = hyperplanes(seed, dim, bits);
  cases.push({
    dim,
    bits,
    seed: hex(seed),
    firstPlaneValues: floats(planes[0].slice(0, 16)),
    lastPlaneValues: floats(planes.at(-1).slice(-16)),
    vectors: vectors(dim).map((x) => {
      const margins = planes.map((plane) => dot(x, plane));
      return {
        x: floats(x),
        margins: floats(margins),
        cell: cellOf(margins),
        probes: firstProbes(margins, 10),
      };
    }),
  });
}
const document = {
  about:
    "dreamdb.lsh-cosine, table 0. Arrays of f32 are the hex of their little-endian bytes; firstPlaneValues are the first 16 of plane 0, lastPlaneValues the last 16 of the last plane (fewer when dim is below 16); probes are the first 10 cells in probe order, the vector's own first.",
  cases,
};
await writeFile(new URL("lsh.json", import.meta.url), `${JSON.stringify(document, null, 1)}\n`);

function defaultSeed(dim, bits) {
  return hash(new TextEncoder().encode(`dreamdb.lsh-cosine/${dim}/${bits}`));
}

/** A few vectors that tell implementations apart: directions, zeros of both signs, denormals, sums that round. */
function vectors(dim) {
  const wave = Float32Array.from({ length: dim }, (_, k) => ((k * k * 7919 + 13 * k + 1) % 2003) / 1001 - 1);
  return [
    wave,
    wave.map((x) => -x),
    Float32Array.from({ length: dim }, (_, k) => (k === 0 ? 1 : 0)),
    new Float32Array(dim).fill(-0),
    wave.map((x, k) => x * 10 ** ((k % 9) * 4 - 16)),
    wave.map((x) => x * 1e-40),
  ];
}

function hyperplanes(seed, dim, bits) {
  const stream = new DataView(new ArrayBuffer(Math.ceil((bits * dim) / 8) * 64));
  for (let block = 0; block * 64 < stream.byteLength; block++) {
    chacha(seed, block).forEach((word, i) => {
      stream.setUint32(64 * block + 4 * i, word, true);
    });
  }
  return Array.from({ length: bits }, (_, j) => {
    const draws = Array.from({ length: dim }, (_, k) => {
      const at = 8 * (j * dim + k);
      const [a, b, c, d] = [0, 2, 4, 6].map((i) => stream.getUint16(at + i, true));
      return a + b + c + d - 131070;
    });
    const squares = draws.reduce((sum, g) => sum + BigInt(g) ** 2n, 0n);
    return Float32Array.from(draws, (g) => (squares === 0n ? 0 : g / Math.sqrt(Number(squares))));
  });
}

/** The 16 words of a ChaCha20 block (RFC 8439), with a nonce of zeros. */
function chacha(key, counter) {
  const words = new DataView(key.buffer, key.byteOffset);
  const start = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];
  for (let i = 0; i < 32; i += 4) start.push(words.getUint32(i, true));
  start.push(counter, 0, 0, 0);
  const s = Uint32Array.from(start);
  const mix = (to, from, turned, by) => {
    s[to] += s[from];
    const x = s[turned] ^ s[to];
    s[turned] = (x << by) | (x >>> (32 - by));
  };
  const quarter = (a, b, c, d) => {
    mix(a, b, d, 16);
    mix(c, d, b, 12);
    mix(a, b, d, 8);
    mix(c, d, b, 7);
  };
  for (let i = 0; i < 80; i++) {
    const [column, shift] = [i % 4, i % 8 < 4 ? 0 : 1];
    quarter(
      column,
      4 + ((column + shift) % 4),
      8 + ((column + 2 * shift) % 4),
      12 + ((column + 3 * shift) % 4),
    );
  }
  return s.map((word, i) => word + start[i]);
}

function dot(x, plane) {
  let sum = 0;
  for (let k = 0; k < x.length; k++) sum = fround(sum + fround(x[k] * plane[k]));
  return sum;
}

function cellOf(margins) {
  return margins.reduce((cell, margin, j) => (margin >= 0 ? cell + 2 ** j : cell), 0);
}

/** By sorting all sets of flipped bits; sets of more bits than fit are left out where 2^bits is too many. */
function firstProbes(margins, count) {
  let masks = Array.from({ length: 2 ** Math.min(margins.length, 12) }, (_, i) => i);
  if (margins.length > 12) {
    // The first ten sets are made of the ten cheapest bits at most: any dearer bit alone costs more than each of those.
    const order = margins.map((_, j) => j).sort((a, b) => margins[a] ** 2 - margins[b] ** 2 || a - b);
    const bits = order.slice(0, 12);
    masks = masks.map((mask) => bits.reduce((spread, j, i) => spread + ((mask >> i) & 1) * 2 ** j, 0));
  }
  const costs = new Map(
    masks.map((mask) => [mask, margins.reduce((sum, m, j) => ((mask >> j) & 1 ? sum + m * m : sum), 0)]),
  );
  masks.sort((a, b) => costs.get(a) - costs.get(b) || a - b);
  return masks.slice(0, count).map((mask) => (cellOf(margins) ^ mask) >>> 0);
}

function floats(values) {
  return hex(new Uint8Array(Float32Array.from(values).buffer));
}

function hex(bytes) {
  return Buffer.from(bytes).toString("hex");
}
