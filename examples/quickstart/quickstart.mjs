// The quickstart, to be read from top to bottom: two real data sets go into a store, are searched, pinned, extended
// and looked at as they were before. Run it with `npm run quickstart` in the root of the repository.

import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { Dataset, fsck, Schema } from "@dreamlake/dreamdb";
import { loadEmoji, loadWords, WORD_DIM } from "./data.mjs";
import { LOOK_DIM } from "./descriptor.mjs";
import { describeImage } from "./picture.mjs";
import { contactSheet } from "./sheet.mjs";
import { chapter, inBatches, printTable, printTimes, say } from "./terminal.mjs";

const sheetFile = fileURLToPath(new URL("out/contact-sheet.html", import.meta.url));

// A backend is where the data lives: here a directory. No server runs. Each run starts from an empty one.
const backend = fileURLToPath(new URL("out/store", import.meta.url));
await rm(backend, { recursive: true, force: true });

// ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
chapter("Read 50,000 word vectors and 1,911 emoji, and describe each picture by 320 numbers");

const words = await loadWords(50_000); // { word, rank, vector }
const emoji = await loadEmoji(); //       { name, category, subcategory, image }
await inBatches("pictures", emoji, 100, async (batch) => {
  for (const record of batch) record.look = describeImage(record.image);
});

// ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
chapter("Create two datasets and append records");

const wordDataset = await Dataset.create(
  "words",
  new Schema()
    .addEmbedding("vector", { dim: WORD_DIM, algorithm: "dreamdb.lsh-cosine" })
    .addScalarString("word")
    .addScalarInt("rank"),
  backend,
);
await inBatches("words   ", words, 5_000, (batch) => wordDataset.appendMany(batch));

const emojiDataset = await Dataset.create(
  "emoji",
  new Schema()
    .addImage("image", { mime: "png" })
    .addEmbedding("look", { dim: LOOK_DIM, algorithm: "dreamdb.ivf-cosine" })
    .addScalarString("name")
    .addScalarCategorical("category")
    .addScalarCategorical("subcategory"),
  backend,
);
// Only the first half for now, in the order of Unicode: the rest comes later, to see what a snapshot is good for.
const half = Math.ceil(emoji.length / 2);
await inBatches("emoji   ", emoji.slice(0, half), 250, (batch) => emojiDataset.appendMany(batch));

// ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
chapter("Which words are used like these?");

/** Runs a query. Results come in batches of columns; this makes one object of each hit. */
async function search(dataset, query) {
  const hits = [];
  for await (const { _time_anchors, _distances, ...columns } of dataset.iterVector(query)) {
    _time_anchors.forEach((anchor, i) => {
      const fields = Object.entries(columns).map(([name, values]) => [name, values[i]]);
      hits.push({ anchor, distance: _distances[i], ...Object.fromEntries(fields) });
    });
  }
  return hits;
}

/** The words nearest to one word; the first hit is always the word itself. */
async function neighbours(word) {
  const { vector } = words.find((record) => record.word === word);
  const hits = await search(wordDataset, { field: "vector", query: vector, topK: 9 });
  return { word, hits: hits.filter((hit) => hit.word !== word) };
}

const neighbourhoods = [];
for (const word of ["king", "guitar", "paris", "coffee", "planet", "violin", "python", "tuesday"]) {
  neighbourhoods.push(await neighbours(word));
}
const shown = neighbourhoods.slice(0, 5);
printTable(
  shown.map(({ word }) => word),
  shown[0].hits.map((_, i) => shown.map(({ hits }) => `${hits[i].distance.toFixed(2)} ${hits[i].word}`)),
);

// ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
chapter("Which pictures look like this one?");

const find = (name) => emoji.find((record) => record.name === name);

/** The nine emoji that look most like one, without itself, with their pictures as the store holds them. */
async function lookAlikes(dataset, { name, look }, whereEq = {}) {
  const fields = ["image", "name", "category"];
  const hits = await search(dataset, { field: "look", query: look, topK: 10, whereEq, fields });
  return hits.filter((hit) => hit.name !== name).slice(0, 9);
}

function printHits(hits, count = hits.length) {
  printTable(
    ["distance", "name", "category"],
    hits.slice(0, count).map(({ distance, name, category }) => [distance.toFixed(3), name, category]),
  );
}

const cat = find("Cat face");
const catsThen = await lookAlikes(emojiDataset, cat);
say(`Look-alikes of “${cat.name}” among the first ${await emojiDataset.count()} emoji:`);
printHits(catsThen, 5);

// A filter searches only the records whose scalars have the given values.
const pizza = find("Slice of pizza");
const animals = { category: "Animals & Nature" };
const pizzaAnimals = await lookAlikes(emojiDataset, pizza, animals);
console.log();
say(`Look-alikes of “${pizza.name}” in the category ${animals.category}:`);
printHits(pizzaAnimals, 5);

// ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
chapter("Take snapshots, then append the other half of the emoji");

for (const dataset of [emojiDataset, wordDataset]) {
  const { label, manifest } = await dataset.snapshot(`first-light/${dataset.name}`);
  say(`${label.padEnd(18)} ${manifest}`);
}

const countThen = await emojiDataset.count();
await inBatches("emoji   ", emoji.slice(half), 250, (batch) => emojiDataset.appendMany(batch));
say(
  `${countThen} emoji before, ${await emojiDataset.count()} now: the cats of the other half have moved to the front.`,
);
const catsNow = await lookAlikes(emojiDataset, cat);
printHits(catsNow, 5);

// ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
chapter("Travel back in time");

const past = await Dataset.openRef("first-light/emoji", backend);
assert.deepEqual(await lookAlikes(past, cat), catsThen);
say(
  `The snapshot has ${await past.count()} emoji and gives the old answers, distances and pictures unchanged.`,
);

const history = await emojiDataset.history();
printTable(
  ["version", "made by", "emoji", "manifest"],
  history.map(({ seq, op, rows, manifest }) => [seq, op, rows, `${manifest.slice(0, 16)}…`]),
);

// ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
chapter("Check every byte of the store, and draw the contact sheet");

const { ok, objects, bytes, problems } = await fsck(backend);
assert.ok(ok, JSON.stringify(problems));
say(`${objects} objects, ${(bytes / 1e6).toFixed(1)} MB: each one's content has the hash that is its name.`);

const gallery = [];
for (const name of [
  "Cat face",
  "Heavy black heart", // the red one: Unicode named it when fonts had no colours
  "Slice of pizza",
  "Sweden Flag",
  "Clock face three oclock",
  "Red apple",
  "Guide dog",
  "Snowman",
  "Violin",
]) {
  gallery.push({ query: find(name), hits: await lookAlikes(emojiDataset, find(name)) });
}
const html = contactSheet({
  counts: { emoji: await emojiDataset.count(), words: await wordDataset.count(), bytes },
  gallery,
  filtered: {
    query: pizza,
    category: animals.category,
    hits: await lookAlikes(emojiDataset, pizza, animals),
  },
  travel: {
    query: cat,
    label: past.name,
    before: { count: countThen, hits: catsThen },
    after: { count: await emojiDataset.count(), hits: catsNow },
  },
  neighbourhoods,
});
await writeFile(sheetFile, html);

for (const dataset of [wordDataset, emojiDataset, past]) await dataset.close();

const installSeconds = Number(process.env.QUICKSTART_INSTALL_SECONDS ?? 0);
printTimes(installSeconds > 0 ? [{ title: "Install the example's packages", seconds: installSeconds }] : []);
console.log(`\nOpen the contact sheet: ${sheetFile}`);
