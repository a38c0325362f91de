// Vectors of texts, computed by the same model and from the same files as in the page.
import { MEANING_DIM } from "../src/models/encoder.mjs";
import { cached } from "./cache.mjs";
import { loadEncoder, modelFingerprint } from "./models.mjs";
import { step } from "./progress.mjs";

const BATCH = 32;

/** @returns {Promise<Float32Array[]>} 512 numbers of unit length a text */
export async function meaningsOf(name, texts) {
  const progress = step(`Embed ${texts.length} texts of ${name}`);
  const { values, wasKept } = await cached(
    `meanings-${name}`,
    [await modelFingerprint(), ...texts],
    async () => {
      const encoder = await loadEncoder();
      const all = new Float32Array(texts.length * MEANING_DIM);
      // Texts of one length together: a batch costs as much as its longest text in each row.
      const order = texts.map((_, i) => i).sort((a, b) => texts[a].length - texts[b].length || a - b);
      for (let from = 0; from < order.length; from += BATCH) {
        const rows = order.slice(from, from + BATCH);
        const vectors = await encoder.embedMany(rows.map((i) => texts[i]));
        for (const [row, i] of rows.entries()) all.set(vectors[row], i * MEANING_DIM);
        progress.at((from + rows.length) / order.length);
      }
      return all;
    },
  );
  progress.done(wasKept ? "kept from an earlier run" : undefined);
  return texts.map((_, i) => values.subarray(i * MEANING_DIM, (i + 1) * MEANING_DIM));
}
