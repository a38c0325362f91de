// Search in a page: DreamDB beside hnswlib-wasm and edgevec, in real headless browsers. See ../README.md.
// usage: node bench/peers/browser/run.mjs [--browsers chromium,firefox] [--rounds n] [--navigations n] [--only name]
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Dataset, Schema } from "../../../build/node/index.js";
import { ENGINES } from "../../../conformance/engines/engines.mjs";
import { chromium, firefox } from "../../../conformance/engines/page.mjs";
import { withProcess } from "../../../conformance/engines/process.mjs";
import { loadQueries, loadRows, loadTruth, OUT, prepare } from "../data.mjs";
import { recallAt10 } from "../recall.mjs";
import { serveBucket, servePages } from "./servers.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const RESULTS = fileURLToPath(new URL("../../results/", import.meta.url));
const DATA_SET = "words50k";
const BATCH = 10_000;
const BROWSERS = { chromium: chromium(), firefox: firefox({}) };
/** Exact answers a query that pages are given: more than ten, so that ties past the tenth are known. */
const DEPTH = 20;

const { values: options } = parseArgs({
  options: {
    browsers: { type: "string", default: "chromium,firefox" },
    rounds: { type: "string", default: "5" },
    navigations: { type: "string", default: "10" },
    only: { type: "string" },
  },
});
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
try {
  const made = await makeDataset(join(base, "bucket"));
  const results = [];
  for (const id of options.browsers.split(",")) {
    const found = await runBrowser(id);
    if (found !== undefined) results.push(found);
  }
  console.log(JSON.stringify({ made, results }, null, 1));
} finally {
  await rm(base, { recursive: true, force: true });
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
  const site = await serveSite(id, located.command);
  try {
    const firsts = await firstResults(site);
    const race = await site.open(`/page`);
    return { id, version: located.version, firsts, ...race };
  } finally {
    site.close();
  }
}

/** Navigations to a first result, each by a browser of its own that has seen nothing yet, with and without a worker in turn. */
async function firstResults(site) {
  const runs = { worker: [], page: [] };
  for (let n = 0; n < Number(options.navigations); n++) {
    for (const [how, taken] of Object.entries(runs)) {
      const next = `/first?query=${n}&worker=${how === "worker"}`;
      const { ids, ...times } = await site.open(`/start?next=${encodeURIComponent(next)}`);
      const { page, bucket } = site.sent();
      taken.push({ ...times, page, bucket, recall: recallAt10(truth, [ids], n) });
    }
  }
  return runs;
}

/** The servers of one browser, and what opens it at a path until a page posts what it found. */
async function serveSite(id, command) {
  const bucket = await serveBucket(join(base, "bucket"));
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
    return { bucket: bucket.url, dim, rounds: Number(options.rounds), only: options.only, next, ...rest };
  };
  const pages = await servePages(data, planOf, (path, value) => {
    if (path === "/log") console.error(value);
    if (path === "/failed") fail(new Error(value));
    if (path === "/finished") finish(value);
  });
  return {
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
