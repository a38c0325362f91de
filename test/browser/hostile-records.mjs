import { Dataset, Schema } from "../../build/lib/index.node.js";
import { mediaOf, NAMES, textsOf } from "./hostile-data.mjs";
import { ORIGIN, png } from "./records.mjs";

/** `main`: records whose text and media are what a hostile writer puts there, under formats that they have not. */
export async function makeHostile(store, foreign) {
  let schema = new Schema()
    .addScalarCategorical("label", { index: true })
    .addScalarString("note", { index: true })
    .addImage("image", { required: false, mime: "png" })
    .addAudio("audio", { required: false, mime: "wav" })
    .addVideo("video", { required: false, mime: "svg-xml" })
    .addEmbedding("v", { dim: 2 });
  for (const name of NAMES) schema = schema.addScalarCategorical(name, { index: true, required: false });
  const dataset = await Dataset.create("main", schema, store);
  const media = mediaOf(foreign, png(7));
  const texts = textsOf(foreign);
  await dataset.appendMany(
    Array.from({ length: Math.max(texts.length, media.length) }, (_, i) => {
      const text = texts[i % texts.length];
      const [, kind, bytes] = media[i % media.length];
      const named = Object.fromEntries(NAMES.map((name) => [name, text]));
      return { _anchor: ORIGIN + BigInt(i), label: text, note: text, [kind]: bytes, v: [1, i], ...named };
    }),
  );
  await dataset.close();
  return { count: Math.max(texts.length, media.length) };
}
