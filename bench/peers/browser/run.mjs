// Search in a page: DreamDB beside hnswlib-wasm and edgevec, in real headless browsers. See ../README.md.
// usage: node bench/peers/browser/run.mjs [--browsers chromium,firefox] [--rounds n] [--navigations n] [--all] [--quick]
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Dataset, Schema } from "../../../build/node/index.js";
import { ENGINES } from "../../../conformance/engines/engines.mjs";
import { chromium, firefox } from "../../../conformance/engines/page.mjs";
import { withProcess } from "../../../conformance/engines/process.mjs";
import { loadQueries, loadRows, loadTruth, OUT, prepare } from "../data.mjs";
import { recallAt10 } from "../recall.mjs";
import { CONTENDERS } from "./contenders.mjs";
import { markdown } from "./report.mjs";
import { serveBucket, servePages } from "./servers.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const RESULTS = fileURLToPath(new URL("../../results/", import.meta.url));
const BATCH = 10_000;
const BOTH = "chromium,firefox";
/** edgevec builds for minutes: in one browser alone, unless asked for. */
const SLOW = { name: "edgevec", in: "chromium" };
/** Milliseconds that each answer is late, from the page's server and the bucket's. */
const DELAYS = [0, 40];
const BROWSERS = { chromium: chromium(), firefox: firefox({}) };
/** Exact answers a query that pages are given: more than ten, so that ties past the tenth are known. */
const DEPTH = 20;

const { values: options } = parseArgs({
  options: {
    browsers: { type: "string", default: BOTH },
    rounds: { type: "string" },
    navigations: { type: "string" },
    all: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
  },
});
const asksForAll =
  options.browsers === BOTH && !options.quick && (options.rounds ?? options.navigations) === undefined;
const rounds = Number(options.rounds ?? (options.quick ? 2 : 5));
const navigations = Number(options.navigations ?? (options.quick ? 2 : 10));
const DATA_SET = options.quick ? "words10k" : "words50k";
install();
await prepare(DATA_SET);
const { rows, count, dim } = await loadRows(DATA_SET);
const queries = await loadQueries(DATA_SET);
const { ids, scores } = await loadTruth(DATA_SET);
const truth = {
  ids: ids.map((list) => list.slice(0, DEPTH)),
  scores: scores.map((list) => list.slice(0, DEPTH)),
};
const base = await mkdtemp(join(tmpdir(), "dreamdb-bench-browser-"));
for (const sign of ["SIGINT", "SIGTERM"])
  process.once(sign, () => rm(base, { recursive: true, force: true }).finally(() => process.exit(1)));
const machine = { cpu: cpus()[0].model, cores: cpus().length, loadAtStart: loadavg()[0] };
try {
  const dataset = await makeDataset(join(base, "bucket"));
  const browsers = [];
  for (const id of options.browsers.split(",")) {
    const found = await runBrowser(id);
    if (found !== undefined) browsers.push(found);
  }
  await report({ machine: { ...machine, loadAtEnd: loadavg()[0] }, rounds, rows: count, dataset, browsers });
} finally {
  await rm(base, { recursive: true, force: true });
}

/** Only a whole run, in every browser, replaces the results that are kept with the source. */
async function report(results) {
  const isWhole = asksForAll && results.browsers.length === BOTH.split(",").length;
  const path = `${isWhole ? RESULTS : OUT}browser`;
  const text = markdown(results);
  await writeFile(`${path}.json`, `${JSON.stringify(results, rounded, 1)}\n`);
  await writeFile(`${path}.md`, text);
  console.log(text);
  console.error(`written: ${path}.json, .md`);
}

function rounded(_key, value) {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
}

/** The vectors with the library's own defaults. */
async function makeDataset(directory) {
  const schema = new Schema().addEmbedding("vector", { dim });
  const began = performance.now();
  const ds = await Dataset.create("words", schema, directory);
  for (let from = 0; from < count; from += BATCH) {
    const some = Array.from({ length: Math.min(BATCH, count - from) }, (_, i) => ({
      _anchor: BigInt(from + i) + 1n,
      vector: rows.subarray((from + i) * dim, (from + i + 1) * dim),
    }));
    await ds.appendMany(some);
  }
  const { cells } = await ds.rebuildIvf({ field: "vector" });
  await ds.close();
  return { cells, ms: performance.now() - began };
}

async function runBrowser(id) {
  const engine = ENGINES.find((each) => each.id === id);
  const located = engine?.locate();
  if (located === undefined) {
    console.error(`${id} is not installed: left out`);
    return undefined;
  }
  const names = Object.keys(CONTENDERS).filter((name) => options.all || name !== SLOW.name || id === SLOW.in);
  const site = await serveSite(id, located.command, names);
  try {
    const firsts = [];
    for (const delayMs of DELAYS) firsts.push(...(await firstResults(site, delayMs)));
    site.network.delayMs = 0;
    return { id, title: engine.about, version: located.version, firsts, ...(await site.open("/page")) };
  } finally {
    site.close();
  }
}

/** Navigations to a first result, each by a browser of its own that has seen nothing yet, with and without a worker in turn. */
async function firstResults(site, delayMs) {
  const kinds = [true, false].map((worker) => ({ worker, delayMs, runs: [] }));
  site.network.delayMs = delayMs;
  for (let n = 0; n < (delayMs === 0 ? navigations : navigations / 2); n++) {
    for (const { worker, runs } of kinds) {
      const next = `/first?query=${n}&worker=${worker}`;
      const { ids, ...times } = await site.open(`/start?next=${encodeURIComponent(next)}`);
      runs.push({ ...times, ...site.sent(), recall: recallAt10(truth, [ids], n) });
    }
  }
  return kinds;
}

/** The servers of one browser, and what opens it at a path until a page posts what it found. */
async function serveSite(id, command, names) {
  const network = { delayMs: 0 };
  const bucket = await serveBucket(join(base, "bucket"), network);
  const data = new Map([
    ["/data/rows.f32", Buffer.from(rows.buffer, rows.byteOffset, rows.byteLength)],
    ["/data/queries.f32", Buffer.concat(queries.map((query) => Buffer.from(query.buffer)))],
    ["/data/truth.json", JSON.stringify(truth)],
  ]);
  let finish;
  let fail;
  const planOf = ({ searchParams }) => {
    const { next, query, worker } = Object.fromEntries(searchParams);
    const rest = query === undefined ? {} : { query: [...queries[query]], worker: worker === "true" };
    return { bucket: bucket.url, dim, rounds, names, next, ...rest };
  };
  const pages = await servePages(data, network, planOf, (path, value) => {
    if (path === "/log") console.error(value);
    // What is counted begins with the page that is timed.
    if (path === "/started") for (const server of [pages, bucket]) server.taken();
    if (path === "/failed") fail(new Error(value));
    if (path === "/finished") finish(value);
  });
  return {
    network,
    async open(path) {
      const finished = new Promise((resolve, reject) => {
        [finish, fail] = [resolve, reject];
      });
      return withProcess(
        (folder) => [...command, ...BROWSERS[id](folder, pages.url + path)],
        ({ printed, ended }) => {
          const lost = ended.then((how) => {
            throw new Error(`${how} before the page was through: ${printed().slice(-1500)}`);
          });
          return Promise.race([finished, lost]);
        },
      );
    },
    sent: () => ({ page: pages.taken(), bucket: bucket.taken() }),
    close() {
      pages.close();
      bucket.close();
    },
  };
}

function install() {
  const bench = `${HERE}../..`;
  if (!existsSync(`${bench}/node_modules`)) installIn(bench, "the word vectors (300 MB, once)");
  if (!existsSync(`${HERE}node_modules`)) installIn(HERE, "the peers (once)");
}

function installIn(folder, what) {
  console.error(`installing ${what}…`);
  const { status } = spawnSync("npm", ["ci", "--silent"], { cwd: folder, stdio: ["ignore", 2, 2] });
  if (status !== 0) throw new Error(`npm ci in ${folder} failed`);
}
