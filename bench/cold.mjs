// A cold query straight from a bucket: a fresh session opens 340,000 word vectors and finds the nearest ten to a query
// with their words, through a proxy that lets each request wait 40 ms. Connections are kept from one query to the next, as
// browsers and servers keep them; nothing else is. Figures are medians over the queries.
// usage: [eval "$(scripts/rgw.sh env)"] node bench/cold.mjs [--queries=50] [--delay=40] [--nprobe=32,default] [--gap=KiB,…]
//        [--data=directory to build the dataset in, or to find it] [--pace=lockstep]
// Without AWS_ENDPOINT_URL, or with --pace=lockstep, it reads a directory whose requests are answered together every `delay` ms,
// which tells exactly which of them wait for which.
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Dataset, openStore, Schema } from "../build/node/index.js";
import { copyStore, publicBucket } from "./bucket.mjs";
import { startProxy } from "./delaying-proxy.mjs";
import { median } from "./statistics.mjs";
import { DIM, loadWords } from "./words.mjs";

const TOP_K = 10;
const BATCH = 50_000;
/** Every so many rows one is held out of the dataset, as in ivf.mjs: the queries are some of these. */
const EVERY = 341;
const given = Object.fromEntries(
  process.argv.slice(2).map((argument) => argument.replace(/^--/, "").split("=")),
);
const queryCount = Number(given.queries ?? 50);
const delayMs = Number(given.delay ?? 40);
const probes = (given.nprobe ?? "32,default").split(",");
const gaps = given.gap === undefined ? [undefined] : given.gap.split(",").map((kib) => Number(kib) * 1024);

const { words, vectors } = await loadWords();
const temporary = given.data === undefined ? await mkdtemp(join(tmpdir(), "dreamdb-cold-")) : undefined;
const directory = given.data ?? temporary;
const closers = [];
try {
  if (!existsSync(join(directory, "refs+"))) await build(directory);
  const queries = makeQueries();
  const truth = queries.map(nearestWords);
  const open = await opener();
  console.log(
    "nprobe   gap KiB   p50 ms  p90 ms  recall@10  round trips  requests      MB   each round trip: requests, MB, ms",
  );
  for (const nprobe of probes) for (const gap of gaps) await measure(open, queries, truth, nprobe, gap);
} finally {
  for (const close of closers.reverse()) await close();
  if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
}

async function build(path) {
  const schema = new Schema()
    .addEmbedding("vector", {
      ...{ dim: DIM, algorithm: "dreamdb.ivf-cosine", rerank: true },
      compressor: { algorithm: "dreamdb.rabitq-cosine", bits: 4 },
    })
    .addScalarString("word");
  const ds = await Dataset.create("words", schema, path);
  const rows = [...words.keys()].filter((row) => !isHeldOut(row));
  for (let from = 0; from < rows.length; from += BATCH) {
    const batch = rows.slice(from, from + BATCH).map((row, i) => ({
      ...{ _anchor: anchorOf(from + i), word: words[row] },
      vector: vectors.subarray(row * DIM, (row + 1) * DIM),
    }));
    await ds.appendMany(batch);
  }
  const { cells, segments } = await ds.rebuildIvf({ field: "vector" });
  console.log(`${rows.length} vectors in ${cells} cells, ${segments} segments`);
  await ds.close();
}

/** Of the n-th record: evenly spaced, as ticks of a recording are. */
function anchorOf(n) {
  return BigInt(n + 1) * 1000n;
}

function isHeldOut(row) {
  return row % EVERY === 0;
}

function makeQueries() {
  return Array.from({ length: queryCount }, (_, q) => {
    const row = (q * 19 * EVERY) % (words.length - (words.length % EVERY));
    return vectors.slice(row * DIM, (row + 1) * DIM);
  });
}

/** Anchors of the true nearest, all vectors compared. */
function nearestWords(query) {
  const scores = new Float64Array(words.length).fill(Number.NEGATIVE_INFINITY);
  for (let row = 0; row < words.length; row++) {
    if (isHeldOut(row)) continue;
    let dot = 0;
    let squares = 0;
    for (let k = 0; k < DIM; k++) {
      const x = vectors[row * DIM + k];
      dot += x * query[k];
      squares += x * x;
    }
    scores[row] = dot / Math.sqrt(squares);
  }
  const order = Uint32Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]);
  // Rows before it that are held out have no record.
  return new Set(Array.from(order.subarray(0, TOP_K), (row) => anchorOf(row - Math.ceil(row / EVERY))));
}

/** How a fresh session is opened: options → Dataset. */
async function opener() {
  const endpoint = process.env.AWS_ENDPOINT_URL;
  if (endpoint === undefined || given.pace === "lockstep") {
    console.log(`a directory, requests answered together every ${delayMs} ms`);
    return (options) => Dataset.open("words", lockstep(openStore(directory), delayMs), options);
  }
  const bucket = await publicBucket(endpoint);
  closers.push(() => bucket.remove());
  const to = openStore(bucket.url);
  await copyStore(openStore(directory), to);
  await to.close?.();
  const proxy = await startProxy(endpoint, delayMs);
  closers.push(() => proxy.close());
  console.log(`a bucket at ${endpoint}, read unsigned, ${delayMs} ms more for each request`);
  const url = `${proxy.url}/${bucket.name}`;
  return (options) => Dataset.open("words", url, { remote: { sign: false }, ...options });
}

/** `store` as one far away, that answers what was asked meanwhile every so many milliseconds. */
function lockstep(store, ms) {
  let waiting;
  const turn = () => {
    waiting ??= new Promise((resolve) => {
      setTimeout(() => {
        waiting = undefined;
        resolve();
      }, ms);
    });
    return waiting;
  };
  return {
    ...{ url: store.url, isRemote: true },
    async get(key, range) {
      await turn();
      return store.get(key, range);
    },
    put: (...given) => store.put(...given),
    delete: (key) => store.delete(key),
    list: (prefix) => store.list(prefix),
  };
}

async function measure(open, queries, truth, nprobe, gap) {
  const options = gap === undefined ? {} : { reads: { gapBytes: gap } };
  const search = {
    field: "vector",
    topK: TOP_K,
    ...(nprobe === "default" ? {} : { nprobe: Number(nprobe) }),
  };
  const runs = [];
  for (const [i, query] of [queries[0], ...queries].entries()) {
    const started = performance.now();
    const ds = await open(options);
    const [hits] = await ds.iterVector({ ...search, query });
    const ms = performance.now() - started;
    const { traffic } = ds;
    await ds.close();
    // The first one is there to compile code and make connections.
    if (i === 0) continue;
    if (hits.word.some((word) => typeof word !== "string")) throw new Error("a hit without its word");
    const right = hits._time_anchors.filter((anchor) => truth[i - 1].has(anchor)).length;
    runs.push({
      ms,
      recall: right / TOP_K,
      ...traffic,
      phases: await phasesOf(open, options, { ...search, query }),
    });
  }
  const mid = (of) => median(runs.map(of));
  const sorted = runs.map(({ ms }) => ms).sort((a, b) => a - b);
  const depth = Math.max(...runs.map(({ phases }) => phases.length));
  const phases = Array.from({ length: depth }, (_, p) => {
    const at = runs.flatMap(({ phases }) => phases[p] ?? []);
    const most = Math.max(...at.map(({ requests }) => requests));
    const part = (of, digits) => median(at.map(of)).toFixed(digits);
    return `${part((x) => x.requests, 0)} (≤ ${most}), ${part((x) => x.bytes / 1e6, 2)}, ${part((x) => x.ms, 0)}`;
  });
  const recall = runs.reduce((sum, run) => sum + run.recall, 0) / runs.length;
  console.log(
    `${nprobe.padEnd(8)} ${String(gap === undefined ? "default" : gap / 1024).padStart(7)} ${mid((r) => r.ms)
      .toFixed(0)
      .padStart(8)} ` +
      `${sorted[Math.floor(sorted.length * 0.9)].toFixed(0).padStart(7)} ${recall.toFixed(3).padStart(10)} ` +
      `${String(Math.max(...runs.map((r) => r.roundTrips))).padStart(12)} ${String(mid((r) => r.requests)).padStart(9)} ` +
      `${(mid((r) => r.bytes) / 1e6).toFixed(2).padStart(7)}   ${phases.join(" | ")}`,
  );
}

/** The round trips of the same query after opening, which takes one more. */
async function phasesOf(open, options, search) {
  const ds = await open(options);
  const { phases } = await ds.explain(search);
  await ds.close();
  return phases;
}
