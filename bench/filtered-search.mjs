// What a filter costs a vector search over the word vectors, and what it finds: CPU time of filtered queries divided by
// that of the same queries without a filter in the same round, with the recall of both. Everything is in memory, but
// for "codes alone". Run after a build: node bench/filtered-search.mjs [directory to keep the built dataset in]
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Dataset, Schema } from "../build/lib/index.node.js";
import { loadQueries, loadRows, loadTruth, matchesFilter, prepare, prepareFilter } from "./peers/data.mjs";
import { recallAt10 } from "./peers/recall.mjs";
import { median, spread } from "./statistics.mjs";

const DATA = "words";
const BATCH = 10_000;
const ROUNDS = 9;
const SAMPLE = 200;
/** Shares of the rows that match: those of `FILTERS`, and one in 40 and 2,000, which have no stored answers. */
const FILTERS = { half: 1 / 2, twentieth: 1 / 20, fortieth: 1 / 40, twohundredth: 1 / 200, few: 1 / 2000 };
const HAS_TRUTH = ["half", "twentieth", "twohundredth"];
const SETTINGS = { defaults: {}, "recallTarget .95": { recallTarget: 0.95 } };
const RESIDENT = 1 << 30;

if (process.argv[1] === fileURLToPath(import.meta.url)) await filteredSearch(process.argv[2]);

/** Prints the table. @param kept directory to build the dataset in, or to find it in; else one that is removed */
export async function filteredSearch(kept) {
  await prepare(DATA);
  for (const filter of HAS_TRUTH) await prepareFilter(DATA, filter);
  const directory = kept ?? (await mkdtemp(join(tmpdir(), "dreamdb-filtered-")));
  try {
    if (!existsSync(join(directory, "built"))) await build(directory);
    for (const vectors of [true, false]) await measure(directory, vectors);
  } finally {
    if (kept === undefined) await rm(directory, { recursive: true, force: true });
  }
}

async function build(directory) {
  const { rows, dim, count } = await loadRows(DATA);
  let schema = new Schema().addEmbedding("vector", { dim });
  for (const filter of Object.keys(FILTERS)) schema = schema.addScalarInt(filter, { index: true });
  const ds = await Dataset.create("d", schema, directory);
  for (let from = 0; from < count; from += BATCH)
    await ds.appendMany(
      Array.from({ length: Math.min(BATCH, count - from) }, (_, i) => ({
        _anchor: BigInt(from + i) + 1n,
        vector: rows.subarray((from + i) * dim, (from + i + 1) * dim),
        ...scalars(from + i),
      })),
    );
  await ds.rebuildIvf({ field: "vector", k: 1024, sample: 65_536, iterations: 8 });
  await ds.close();
  await writeFile(join(directory, "built"), "");
}

function scalars(row) {
  const one = (filter) => (HAS_TRUTH.includes(filter) ? matchesFilter(row, filter) : isOneIn(row, filter));
  return Object.fromEntries(Object.keys(FILTERS).map((filter) => [filter, one(filter) ? 1 : 0]));
}

function isOneIn(row, filter) {
  return (Math.imul(row + 7, 0x9e3779b1) >>> 0) / 2 ** 32 < FILTERS[filter];
}

async function measure(directory, vectors) {
  const queries = await loadQueries(DATA);
  const ds = await Dataset.open("d", directory, { residentBytes: RESIDENT, cacheBytes: RESIDENT });
  await ds.prewarm({ fields: ["vector"], vectors });
  console.log(`\n${vectors ? "codes and vectors in memory" : "codes alone in memory"}`);
  console.log(
    "setting            filter         search   recall@10   µs a query                 × unfiltered",
  );
  for (const [label, options] of Object.entries(SETTINGS)) {
    const contenders = [undefined, ...Object.keys(FILTERS)].map((filter) => ({
      filter,
      micros: [],
      ratios: [],
    }));
    for (const each of contenders) Object.assign(each, await recallOf(ds, queries, options, each.filter));
    for (let round = 0; round < ROUNDS; round++) {
      const share = queries.slice((round * 97) % 800, ((round * 97) % 800) + SAMPLE);
      for (const each of contenders) {
        const start = process.cpuUsage();
        for (const query of share) await search(ds, query, options, each.filter);
        const { user, system } = process.cpuUsage(start);
        each.micros.push((user + system) / share.length);
        each.ratios.push(each.micros.at(-1) / contenders[0].micros.at(-1));
      }
    }
    for (const { filter = "none", recall, strategy, micros, ratios } of contenders)
      console.log(
        `${label.padEnd(18)} ${filter.padEnd(14)} ${strategy.padEnd(8)} ${recall.padEnd(8)} ` +
          `${median(micros).toFixed(0).padStart(7)} ${spread(micros).padEnd(24)} ${median(ratios).toFixed(2).padStart(6)} ${spread(ratios, 2)}`,
      );
  }
  await ds.close();
}

async function recallOf(ds, queries, options, filter) {
  const query = queries[0];
  const { strategy } = await ds.explain({
    field: "vector",
    query,
    topK: 10,
    fields: [],
    ...options,
    ...where(filter),
  });
  if (filter !== undefined && !HAS_TRUTH.includes(filter)) {
    for (const query of queries.slice(0, 20)) await search(ds, query, options, filter);
    return { recall: "–", strategy };
  }
  const found = [];
  for (const query of queries) found.push(await search(ds, query, options, filter));
  return { recall: recallAt10(await loadTruth(DATA, filter), found).toFixed(4), strategy };
}

function where(filter) {
  return filter === undefined ? {} : { whereEq: { [filter]: 1 } };
}

async function search(ds, query, options, filter) {
  const [batch] = await ds.iterVector({
    field: "vector",
    query,
    topK: 10,
    fields: [],
    ...options,
    ...where(filter),
  });
  return Array.from(batch._time_anchors, (anchor) => Number(anchor) - 1);
}
