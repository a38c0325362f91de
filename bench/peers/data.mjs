// The data sets, unit length throughout so that every contender may use cosine or a plain dot product, and the
// exact answers. Made once, then kept as flat files in bench/out/peers.
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { OUT as BENCH_OUT, loadWords, DIM as WORD_DIM } from "../words.mjs";
import { clustered } from "./clustered.mjs";
import { exactAnswers, TRUTH_DEPTH } from "./truth.mjs";

export const OUT = `${BENCH_OUT}peers/`;
const QUERIES = 1000;

/** name → title, dim, `rows` and `queries` as made by `make`. Subsets of the words share their queries. */
export const DATA_SETS = {
  words: { title: "word vectors, 340,479 × 100", dim: WORD_DIM, make: makeWords },
  clustered: { title: "clustered, 100,000 × 768", dim: 768, make: () => clustered(100_000, QUERIES, 768) },
  mnist: { title: "MNIST digits, 9,000 × 784", dim: 784, make: makeDigits },
  words100k: { title: "word vectors, 100,000 of them", dim: WORD_DIM, make: () => subset(100_000) },
  words50k: { title: "word vectors, 50,000 of them", dim: WORD_DIM, make: () => subset(50_000) },
  words34k: { title: "word vectors, 34,000 of them", dim: WORD_DIM, make: () => subset(34_000) },
  words10k: { title: "word vectors, 10,000 of them", dim: WORD_DIM, make: () => subset(10_000) },
};

/** Fields to filter by: a row matches when a hash of its number is 0 modulo `one in`. */
export const FILTERS = { half: 2, twentieth: 20, twohundredth: 200 };

export function matchesFilter(row, name) {
  let h = Math.imul(row + 1, 0x9e3779b1) >>> 0;
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b) >>> 0;
  return ((h ^ (h >>> 13)) >>> 0) % FILTERS[name] === 0;
}

/** Makes the files of a data set unless they are there. */
export async function prepare(name) {
  await mkdir(OUT, { recursive: true });
  const { dim, make } = DATA_SETS[name];
  if (!existsSync(fileOf(name, "queries.f32"))) {
    console.error(`making ${name}, once…`);
    const { rows, queries } = await make();
    for (const vectors of [rows, queries]) toUnitLength(vectors, dim);
    await keep(fileOf(name, "rows.f32"), rows);
    await keep(fileOf(name, "queries.f32"), queries);
  }
  if (!existsSync(fileOf(name, "truth.json"))) await keepTruth(name, "truth", undefined);
}

/** As `prepare`, for the exact answers among the rows that match a filter. */
export async function prepareFilter(name, filter) {
  if (!existsSync(fileOf(name, `truth-${filter}.json`)))
    await keepTruth(name, `truth-${filter}`, (row) => matchesFilter(row, filter));
}

/** @returns {Promise<{ dim: number, count: number, rows: Float32Array }>} count × dim */
export async function loadRows(name) {
  const rows = await floats(fileOf(name, "rows.f32"));
  const { dim } = DATA_SETS[name];
  return { dim, count: rows.length / dim, rows };
}

/**
 * In files, neighbouring queries are alike (words of one frequency, one digit). Everyone gets them shuffled, so that a
 * few stand for all, and don't find their part of an index in the processor's cache.
 * @returns {Promise<Float32Array[]>} each of dim components
 */
export async function loadQueries(name) {
  return shuffled(await storedQueries(name));
}

/**
 * The exact answers: for each query (of `loadQueries`, in that order) the ids and scores of the best 100, best first,
 * and the set's local intrinsic dimension.
 */
export async function loadTruth(name, filter) {
  const file = fileOf(name, filter === undefined ? "truth.json" : `truth-${filter}.json`);
  const { ids, scores, lid } = JSON.parse(await readFile(file, "utf8"));
  return { ids: shuffled(ids), scores: shuffled(scores), lid };
}

/** Takes steps prime to the number of items; the first stays first. */
function shuffled(items) {
  return items.map((_, i) => items[(i * 389) % items.length]);
}

async function storedQueries(name) {
  const all = await floats(fileOf(name, "queries.f32"));
  const { dim } = DATA_SETS[name];
  return Array.from({ length: all.length / dim }, (_, i) => all.slice(i * dim, (i + 1) * dim));
}

async function keepTruth(name, kind, matches) {
  console.error(`exact answers of ${name}${matches === undefined ? "" : ` (${kind})`}, once…`);
  const { rows, dim } = await loadRows(name);
  const truth = await exactAnswers(rows, await storedQueries(name), dim, matches);
  await keep(fileOf(name, `${kind}.json`), JSON.stringify({ ...truth, depth: TRUTH_DEPTH }));
}

/** 1,000 words spread evenly over the frequency order are the queries; all others are the rows. */
async function makeWords() {
  const { words, vectors } = await loadWords();
  const stride = Math.floor(words.length / QUERIES);
  const isQuery = (i) => i % stride === stride >> 1 && Math.floor(i / stride) < QUERIES;
  const rows = new Float32Array((words.length - QUERIES) * WORD_DIM);
  const queries = new Float32Array(QUERIES * WORD_DIM);
  let row = 0;
  let query = 0;
  for (let i = 0; i < words.length; i++) {
    const vector = vectors.subarray(i * WORD_DIM, (i + 1) * WORD_DIM);
    if (isQuery(i)) queries.set(vector, query++ * WORD_DIM);
    else rows.set(vector, row++ * WORD_DIM);
  }
  return { rows, queries };
}

/** Every so manieth word, so that each subset has frequent and rare words in the proportion of all. */
async function subset(count) {
  await prepare("words");
  const { rows: all, count: total, dim } = await loadRows("words");
  const rows = new Float32Array(count * dim);
  for (let i = 0; i < count; i++) {
    const from = Math.floor((i * total) / count) * dim;
    rows.set(all.subarray(from, from + dim), i * dim);
  }
  return { rows, queries: await floats(fileOf("words", "queries.f32")) };
}

/** The package keeps its 10,000 digits in the order 0…9; every tenth is a query. */
async function makeDigits() {
  const require = createRequire(import.meta.url);
  const digits = Array.from({ length: 10 }, (_, d) => require(`mnist/src/digits/${d}.json`).data);
  const pixels = Float32Array.from(digits.flat());
  const dim = 784;
  const rows = [];
  const queries = [];
  for (let i = 0; i < pixels.length / dim; i++)
    (i % 10 === 5 ? queries : rows).push(pixels.subarray(i * dim, (i + 1) * dim));
  return { rows: concat(rows, dim), queries: concat(queries, dim) };
}

function concat(vectors, dim) {
  const all = new Float32Array(vectors.length * dim);
  vectors.forEach((vector, i) => {
    all.set(vector, i * dim);
  });
  return all;
}

function toUnitLength(vectors, dim) {
  for (let at = 0; at < vectors.length; at += dim) {
    let sum = 0;
    for (let k = at; k < at + dim; k++) sum += vectors[k] * vectors[k];
    if (sum === 0) throw new Error(`vector ${at / dim} has no direction`);
    const inverse = 1 / Math.sqrt(sum);
    for (let k = at; k < at + dim; k++) vectors[k] *= inverse;
  }
}

function fileOf(name, rest) {
  return `${OUT}${name}.${rest}`;
}

async function floats(file) {
  const bytes = await readFile(file);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

async function keep(file, value) {
  const part = `${file}.${process.pid}.part`;
  await writeFile(part, value);
  await rename(part, file);
}
