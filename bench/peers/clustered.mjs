// A seeded data set like the embeddings of a large model: many clusters of different sizes on one curved manifold
// of few dimensions, in a space of many, with a little noise off it. Only +, ×, / and seeded integers, so that every
// engine makes the same values.
import { seeded } from "../timing.mjs";

const LATENT = 40;
const HIDDEN = 64;
const CLUSTERS = 100;
/** Of a cluster, in units of the distance between centres. */
const WIDTH = 0.6;
const NOISE = 0.002;

/** @returns {{ rows: Float32Array, queries: Float32Array }} rows × dim and queries × dim, drawn alike */
export function clustered(rows, queries, dim, seed = 20) {
  const random = seeded(seed);
  // Four uniform numbers make a bell that is near enough to a Gaussian; variance 1.
  const bell = () => (random() + random() + random() + random() - 2) * Math.sqrt(3);
  const table = (n) => Float64Array.from({ length: n }, bell);
  const centres = table(CLUSTERS * LATENT);
  const bend = table(HIDDEN * LATENT);
  const linear = table(dim * LATENT);
  const curved = table(dim * HIDDEN);
  const latent = new Float64Array(LATENT);
  const hidden = new Float64Array(HIDDEN);

  const draw = (count) => {
    const out = new Float32Array(count * dim);
    for (let i = 0; i < count; i++) {
      // The square makes some clusters far larger than others.
      const cluster = Math.floor(random() ** 2 * CLUSTERS);
      for (let k = 0; k < LATENT; k++) latent[k] = centres[cluster * LATENT + k] + WIDTH * bell();
      for (let h = 0; h < HIDDEN; h++) {
        let sum = 0;
        for (let k = 0; k < LATENT; k++) sum += bend[h * LATENT + k] * latent[k];
        const x = sum / 5;
        hidden[h] = x / (1 + Math.abs(x));
      }
      for (let d = 0; d < dim; d++) {
        let sum = 0;
        for (let k = 0; k < LATENT; k++) sum += linear[d * LATENT + k] * latent[k];
        let bent = 0;
        for (let h = 0; h < HIDDEN; h++) bent += curved[d * HIDDEN + h] * hidden[h];
        out[i * dim + d] = sum / 5 + bent / 5 + NOISE * bell();
      }
    }
    return out;
  };
  return { rows: draw(rows), queries: draw(queries) };
}
