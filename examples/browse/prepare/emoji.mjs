// The dataset `emoji`, with the history that emoji have: one append a release, dated as it came out. Beside it
//
//   emoji-1.0, emoji-5.0, emoji-13.0   snapshots
//   emoji-16                           a branch where the newest release was prepared and then merged
//   emoji-mirrored                     a branch of release 1.0, with all its animals once more, seen in a mirror
import { Dataset, Schema } from "@dreamlake/dreamdb";
import { LOOK_DIM } from "../../quickstart/descriptor.mjs";
import { MEANING_DIM } from "../src/models/encoder.mjs";
import { loadEmoji, RELEASES } from "./emoji-data.mjs";
import { mapOf } from "./map.mjs";
import { meaningsOf } from "./meanings.mjs";
import { lookOf, mirrored } from "./pictures.mjs";
import { step } from "./progress.mjs";
import { seededBytes } from "./random.mjs";

const HOUR = 3_600_000_000_000n;

/** @param {string} backend @param {{ count: number }} options */
export async function makeEmoji(backend, { count }) {
  const records = await describe(await loadEmoji(count));
  const progress = step("Write the dataset emoji");
  // The clock says what the calendar said, not what it says now: so history shows the years, and each run makes the same bytes.
  const time = { now: dateOf("0.6") };
  const dataset = await Dataset.create("emoji", schemaOfEmoji(), backend, {
    clock: () => time.now,
    random: seededBytes("emoji"),
    writer: "browse",
  });

  /** Appends a release, each record anchored to its day, in Unicode's order. */
  const append = async (target, release) => {
    time.now = dateOf(release);
    const own = records.filter((record) => record.release === release);
    // With --emoji N a small release may have none of the few.
    if (own.length > 0)
      await target.appendMany(own.map((record, i) => ({ ...record, _anchor: time.now + BigInt(i) })));
    time.now += HOUR;
    progress.at(RELEASES.findIndex(([name]) => name === release) / RELEASES.length);
  };
  const index = async (target) => {
    for (const field of ["look", "meaning"]) await target.rebuildIvf({ field });
  };

  for (const release of ["0.6", "0.7", "1.0"]) await append(dataset, release);
  await dataset.snapshot("emoji-1.0");
  await mirror(await dataset.branch("emoji-mirrored"), records, time);
  for (const release of ["2.0", "3.0", "4.0", "5.0"]) await append(dataset, release);
  await index(dataset);
  await dataset.snapshot("emoji-5.0");
  for (const release of ["11.0", "12.0", "12.1", "13.0"]) await append(dataset, release);
  await dataset.snapshot("emoji-13.0");
  for (const release of ["13.1", "14.0", "15.0"]) await append(dataset, release);

  const next = await dataset.branch("emoji-16");
  await append(dataset, "15.1");
  await append(next, "16.0");
  await dataset.merge("emoji-16");
  await dataset.compact();
  await index(dataset);
  for (const opened of [next, dataset]) await opened.close();
  progress.done(`${records.length} records`);
}

function schemaOfEmoji() {
  return new Schema()
    .addImage("image", { mime: "png" })
    .addScalarString("name")
    .addScalarString("emoji")
    .addScalarString("keywords")
    .addScalarCategorical("category", { index: true })
    .addScalarCategorical("subcategory", { index: true })
    .addScalarCategorical("release", { index: true })
    .addEmbedding("look", { dim: LOOK_DIM, algorithm: "dreamdb.ivf-cosine" })
    .addEmbedding("meaning", { dim: MEANING_DIM, algorithm: "dreamdb.ivf-cosine" })
    .addScalarFloat("map_x")
    .addScalarFloat("map_y");
}

/** Adds to each emoji how it looks, what it means and where it lies on the map. */
async function describe(emoji) {
  const progress = step(`Describe ${emoji.length} pictures`);
  const looks = emoji.map(({ image }) => lookOf(image));
  progress.done();
  const meanings = await meaningsOf(
    "emoji",
    emoji.map(({ name, keywords }) => `${name}: ${keywords}`),
  );
  const map = await mapOf("emoji", meanings);
  return emoji.map((record, i) => ({
    ...record,
    look: looks[i],
    meaning: meanings[i],
    map_x: map[i].x,
    map_y: map[i].y,
  }));
}

/** Appends the animals of the branch as a mirror shows them. */
async function mirror(branch, records, time) {
  const releases = ["0.6", "0.7", "1.0"];
  const animals = records.filter(
    ({ category, release }) => category === "Animals & Nature" && releases.includes(release),
  );
  time.now += HOUR;
  const twins = animals.map((record, i) => {
    const image = mirrored(record.image);
    const name = `${record.name}, mirrored`;
    return { ...record, name, image, look: lookOf(image), _anchor: time.now + BigInt(i) };
  });
  await branch.appendMany(twins);
  await branch.close();
}

/** Noon of the day a release came out, in Unix nanoseconds. */
function dateOf(release) {
  const [, day] = RELEASES.find(([name]) => name === release);
  return BigInt(Date.parse(`${day}T12:00Z`)) * 1_000_000n;
}
