// Writes rabitq.json: rows, their centroid and the stored codes of one to eight bits.
import { even, floats, fold, hex, rotation, rows, seedOf } from "./training.mjs";
import { writeVectors } from "./write-vectors.mjs";

const { fround } = Math;
const STEP = { 2: 0.9957, 3: 0.586, 4: 0.3352, 5: 0.1881, 6: 0.1041, 7: 0.0569, 8: 0.0308 };
const GREATEST = (2 - 2 ** -23) * 2 ** 127;

const cases = [];
for (const [dim, bits, metric, scale] of [
  [1, 1, "dot", 1],
  [3, 4, "l2", 1],
  [16, 2, "cosine", 1],
  [17, 8, "dot", 0.1],
  [100, 1, "cosine", 0.5],
  [100, 3, "cosine", 0.5],
  [100, 4, "cosine", 0.5],
  [100, 4, "l2", 3],
  [100, 7, "l2", 0.5],
  [130, 4, "dot", 0.5],
  [200, 5, "cosine", 0.5],
  [64, 6, "dot", 1e19],
  [64, 4, "l2", 1e-18],
]) {
  const seed = seedOf(cases.length + 80);
  const rotate = rotation(dim, seed);
  const [centroid, ...vectors] = rows(5, dim, 3 * cases.length, scale);
  vectors.push(rows(11, dim, 1)[10], centroid.slice());
  const c = rotate(centroid);
  const codes = vectors.map((y) => {
    const hy = metric === "l2" ? fround(0.5 * fold(y, y)) : 0;
    return hex(code(rotate(y), c, bits, hy));
  });
  cases.push({
    dim,
    bits,
    metric,
    seed: hex(seed),
    centroid: floats(centroid),
    vectors: vectors.map(floats),
    codes,
  });
}
writeVectors("rabitq.json", {
  about:
    "Stored RaBitQ codes of vectors in the cell of `centroid`, all in index space; the seed is the rotation's. Vectors are the hex of little-endian f32.",
  cases,
});

function sum4(terms) {
  const chains = [0, 1, 2, 3].map((chain) =>
    terms.filter((_, t) => t % 4 === chain).reduce((sum, x) => fround(sum + x), 0),
  );
  return fround(fround(chains[0] + chains[1]) + fround(chains[2] + chains[3]));
}

function code(z, c, bits, hy) {
  const D = z.length;
  const r = [...z].map((x, t) => fround(x - c[t]));
  const s = r.map((x) => (x >= 0 ? 1 : -1));
  const rn = sum4(r.map((x) => fround(x * x)));
  const cr = sum4(r.map((x, t) => fround(c[t] * x)));
  const L = 2 ** (bits - 1);
  const known = fround(cr - hy);
  if (rn < 2 ** -96)
    return stored(r.fill(L), bits, known, 0, 0, 0, Math.abs(known) <= GREATEST ? known : GREATEST, 0);
  const is = fround(1 / Math.sqrt(D));
  const error = (squares) =>
    fround(fround(Math.sqrt(Math.max(0, fround(squares - rn)))) / fround(Math.sqrt(D - 1)));
  const l1 = sum4(r.map(Math.abs));
  const cb = sum4(s.map((sign, t) => sign * c[t]));
  const f1 = l1 > 0 ? fround(rn / fround(l1 * is)) : 0;
  const a1 = fround(fround(cr - fround(fround(f1 * cb) * is)) - hy);
  const e1 = error(fround(f1 * f1));
  if (bits === 1)
    return stored(
      s.map((sign) => (sign > 0 ? 1 : 0)),
      1,
      a1,
      f1,
      e1,
      0,
      0,
      0,
    );
  const sigma = fround(Math.sqrt(fround(rn / D)));
  let best = { score: -Infinity };
  for (let trial = 7; trial <= 14; trial++) {
    const step = fround(sigma * fround(fround(STEP[bits]) * fround(trial / 10)));
    const inv = fround(1 / step);
    const g = r.map((x, t) => {
      const m = Math.floor(fround(Math.abs(x) * inv));
      return s[t] * ((m < L - 1 ? m : L - 1) + 0.5);
    });
    const dot = sum4(g.map((x, t) => fround(x * r[t])));
    const nn = sum4(g.map((x) => fround(x * x)));
    const score = fround(dot / fround(Math.sqrt(nn)));
    if (score > best.score) best = { score, g, dot, nn };
  }
  const f = best.dot > 0 ? fround(rn / best.dot) : 0;
  const cq = best.g === undefined ? Number.NaN : sum4(best.g.map((x, t) => fround(x * c[t])));
  const a = fround(fround(cr - fround(f * cq)) - hy);
  if (!(Math.abs(a) <= GREATEST && f <= GREATEST))
    return stored(
      s.map((sign) => (sign > 0 ? L : L - 1)),
      bits,
      a1,
      f1,
      e1,
      Infinity,
      GREATEST,
      0,
    );
  const e = error(fround(fround(f * f) * best.nn));
  return stored(
    best.g.map((x) => x - 0.5 + L),
    bits,
    a1,
    f1,
    e1,
    e,
    a,
    f,
  );
}

function stored(u, bits, a1, f1, e1, e, a, f) {
  const out = Buffer.alloc((bits * u.length) / 8 + (bits === 1 ? 8 : 16));
  for (let plane = 0; plane < bits; plane++) {
    u.forEach((x, t) => {
      const bit = Math.floor(x / 2 ** (bits - 1 - plane)) % 2;
      out[(plane * u.length) / 8 + (t >> 3)] += bit * 2 ** (t % 8);
    });
  }
  const [A, F] = [even(fround(a1 * 16384)), even(fround(f1 * 16384))];
  const inside = A >= -32767 && A <= 32767 && F <= 32767;
  let at = (bits * u.length) / 8;
  at = out.writeInt16LE(inside ? A : 32767, at);
  at = out.writeInt16LE(inside ? F : 0, at);
  for (const x of [e1, e]) {
    const E = even(fround(x * 65536));
    at = out.writeUInt16LE(E < 65535 ? E : 65535, at);
  }
  if (bits === 1) return out;
  at = out.writeFloatLE(a, at);
  out.writeFloatLE(f, at);
  return out;
}
