// The dataset `glosses`: what words mean, found by what you mean.
import { Dataset, Schema } from "@dreamlake/dreamdb";
import { MEANING_DIM } from "../src/models/encoder.mjs";
import { mapOf } from "./map.mjs";
import { meaningsOf } from "./meanings.mjs";
import { step } from "./progress.mjs";
import { seededBytes } from "./random.mjs";
import { loadGlosses } from "./wordnet.mjs";

const BATCHES = 8;
const DAY = 86_400_000_000_000n;
/** The batches are dated one a day from here, and not by the clock, so that each run makes the same bytes. */
const FIRST_DAY = BigInt(Date.UTC(2011, 5, 1)) * 1_000_000n;

/** @param {string} backend @param {{ count: number }} options */
export async function makeGlosses(backend, { count }) {
  const glosses = await loadGlosses(count);
  const meanings = await meaningsOf(
    "glosses",
    glosses.map(({ words, definition }) => `${words}: ${definition}`),
  );
  const map = await mapOf("glosses", meanings);
  const records = glosses.map(({ definition, ...rest }, i) => ({
    ...rest,
    meaning: meanings[i],
    map_x: map[i].x,
    map_y: map[i].y,
  }));

  const progress = step("Write the dataset glosses");
  let now = FIRST_DAY;
  const dataset = await Dataset.create(
    "glosses",
    new Schema()
      .addScalarString("word")
      .addScalarString("words")
      .addScalarString("gloss")
      .addScalarCategorical("pos", { index: true })
      .addScalarCategorical("topic", { index: true })
      .addScalarInt("uses")
      .addEmbedding("meaning", { dim: MEANING_DIM, algorithm: "dreamdb.ivf-cosine" })
      .addScalarFloat("map_x")
      .addScalarFloat("map_y"),
    backend,
    { clock: () => now, random: seededBytes("glosses"), writer: "browse" },
  );
  const size = Math.ceil(records.length / BATCHES);
  for (let from = 0; from < records.length; from += size) {
    await dataset.appendMany(records.slice(from, from + size));
    now += DAY;
    progress.at(from / records.length);
    if (from === 0) await dataset.snapshot("glosses-most-used");
  }
  await dataset.compact();
  await dataset.rebuildIvf({ field: "meaning" });
  await dataset.close();
  progress.done(`${records.length} records`);
}
