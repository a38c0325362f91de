// Datasets that pages and Node are asked the same of: every kind of field and index, every way that states come about, and
// what a hostile writer may have put there. The same in every run.
import { Dataset, Schema } from "../../build/lib/index.node.js";
import { ORIGIN, png, randomOf } from "./records.mjs";
import { DIM, VECTORS } from "./table.mjs";

const BUILT = 240;

/** `main`: a field of every kind of vector and scalar; rows in the indexes, behind them, and deleted ones. */
export async function makeTable(store) {
  let schema = new Schema()
    .addScalarCategorical("label", { index: true })
    .addScalarCategorical("tag", { required: false })
    .addScalarBool("flag", { index: true })
    .addScalarInt("n", { index: true })
    .addScalarInt("big", { required: false })
    .addScalarFloat("x", { required: false })
    .addScalarFloat("y", { index: true })
    .addScalarString("s", { index: true })
    .addScalarTimestamp("t", { index: true })
    .addImage("image", { required: false, mime: "png" })
    .addAudio("sound", { required: false })
    .addVideo("film", { required: false });
  for (const [name, { build: _, ...options }] of Object.entries(VECTORS))
    schema = schema.addEmbedding(name, { dim: DIM, ...options });
  const dataset = await Dataset.create("main", schema, store);
  await dataset.appendMany(Array.from({ length: BUILT }, (_, n) => tableRow(n)));
  for (const [field, { build }] of Object.entries(VECTORS)) {
    if (build === "cells") await dataset.rebuildIvf({ field, k: 12 });
    if (build === "graph") await dataset.buildGraph({ field });
  }
  await dataset.appendMany(Array.from({ length: 30 }, (_, i) => tableRow(BUILT + i)));
  await dataset.delete([5n, 77n, 241n, 255n].map((n) => ORIGIN + n));
  await dataset.close();
}

const TEXTS = ["", "a", "ä", "z\u0301", "日本", "👩‍👩‍👧", "\ud7ff\ue000", "x".repeat(300)];
const FLOATS = [0, -0, 5e-324, -1.7976931348623157e308, 0.1, 1 / 3, 2 ** 53, -2.5];

function tableRow(n) {
  const random = randomOf(n);
  // Around six points, as data is that indexes are for.
  const centre = randomOf(1000 + (n % 6));
  const vector = Float32Array.from({ length: DIM }, () => 2 * centre() + random());
  const row = {
    _anchor: ORIGIN + BigInt(n),
    label: ["ash", "birch", "cedar", "dill"][n % 4],
    flag: n % 3 === 0,
    n: n - 100,
    y: FLOATS[n % FLOATS.length],
    s: `${TEXTS[n % TEXTS.length]}${n % 5}`,
    t: ORIGIN + BigInt(n) * 1_000_000_007n,
  };
  if (n % 2 === 0) Object.assign(row, { tag: TEXTS[n % TEXTS.length], x: n / 7 });
  if (n % 5 === 0) row.big = BigInt(n) * 2n ** 54n - 2n ** 63n;
  if (n % 10 === 0) Object.assign(row, { image: png(n), sound: Uint8Array.of(82, 73, 70, 70, n & 255) });
  if (n % 30 === 0) row.film = new Uint8Array(200_000).fill(n);
  for (const [name, { required = true }] of Object.entries(VECTORS))
    if (required || n % 3 !== 0) row[name] = vector;
  return row;
}

/** `main` through all that happens to a dataset: its states by the verb that brought them, in order. */
export async function makeLife(store) {
  const schema = new Schema()
    .addEmbedding("v", { dim: 8 })
    .addScalarCategorical("label", { index: true })
    .addScalarInt("n");
  const rows = (from, count, more = {}) =>
    Array.from({ length: count }, (_, i) => {
      const random = randomOf(from + i);
      return {
        _anchor: ORIGIN + BigInt(from + i),
        v: Float32Array.from({ length: 8 }, random),
        label: ["even", "odd"][(from + i) % 2],
        n: from + i,
        ...more,
      };
    });
  const states = [];
  const main = await Dataset.create("main", schema, store);
  const note = (what, dataset = main) => states.push([what, dataset.currentManifest()]);
  note("created");
  await main.appendMany(rows(0, 60));
  note("appended");
  await main.rebuildIvf({ field: "v", k: 6 });
  note("indexed");
  await main.appendMany(rows(60, 20));
  await main.snapshot("shot");
  note("appended to cells");
  const side = await main.branch("side");
  await side.appendMany(rows(200, 15));
  await main.appendMany(rows(100, 15));
  note("the other branch", side);
  await main.merge("side");
  note("merged");
  await side.appendMany(rows(300, 4, { label: "theirs" }));
  await main.appendMany(rows(302, 4, { label: "ours" }));
  await main.merge("side", { strategy: "union-tracks" });
  note("merged with conflicts");
  await main.delete({ where: { n: { between: [10, 25] } } });
  note("deleted");
  await main.updateSchema(schema.addScalarString("note", { required: false }));
  await main.appendMany(rows(400, 5, { note: "new" }));
  note("with another schema");
  await main.adaIvfStep({ field: "v", splitAbove: 12 });
  note("with cells split");
  await main.publishCompressor({ field: "v", bits: 2 });
  note("with other codes");
  await main.compact();
  note("compacted");
  await main.delete([ORIGIN + 70n, ORIGIN + 200n]);
  await main.compact({ purge: true });
  note("purged");
  for (const dataset of [side, main]) await dataset.close();
  return states;
}

/** `main`: a few records in few objects, to be damaged one by one. */
export async function makeFew(store) {
  const schema = new Schema()
    .addEmbedding("v", { dim: 4 })
    .addScalarInt("n", { index: true })
    .addImage("image");
  const dataset = await Dataset.create("main", schema, store);
  const rows = (from) =>
    Array.from({ length: 40 }, (_, i) => ({
      _anchor: ORIGIN + BigInt(from + i),
      v: Float32Array.from({ length: 4 }, randomOf(from + i)),
      n: from + i,
      image: png(i),
    }));
  await dataset.appendMany(rows(0));
  await dataset.rebuildIvf({ field: "v", k: 3 });
  await dataset.appendMany(rows(40));
  await dataset.close();
}
