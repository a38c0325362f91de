// A cold query from a bucket, beside LanceDB's on the same bucket: for every query a fresh session opens the 340,479 word
// vectors through a proxy that lets each request wait, and finds the ids of the nearest ten. The proxy counts for both.
// usage: eval "$(scripts/rgw.sh env)"; node bench/peers/cold.mjs [--queries=50] [--delay=40] [--rounds=2]
// LanceDB's tables are those that `npm run bench:peers` keeps in bench/out/peers; one that is not there is built first.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Dataset, openStore } from "../../build/node/index.js";
import { copyStore, publicBucket } from "../bucket.mjs";
import { startProxy } from "../delaying-proxy.mjs";
import { median, spread } from "../statistics.mjs";
import { loadQueries, loadRows, loadTruth, prepare } from "./data.mjs";
import * as dreamdb from "./dreamdb.mjs";
import { builtVariants } from "./indexes.mjs";
import { recallAt10 } from "./recall.mjs";

const DATA = "words";
const K = 10;
const OUT = new URL("../results/cold.md", import.meta.url);
const given = Object.fromEntries(process.argv.slice(2).map((argument) => argument.slice(2).split("=")));
const queryCount = Number(given.queries ?? 50);
const delayMs = Number(given.delay ?? 40);
const rounds = Number(given.rounds ?? 2);
const endpoint = process.env.AWS_ENDPOINT_URL;
if (endpoint === undefined)
  throw new Error('no server: scripts/rgw.sh start && eval "$(scripts/rgw.sh env)"');

const closers = [];
try {
  await prepare(DATA);
  const queries = (await loadQueries(DATA)).slice(0, queryCount);
  const truth = await loadTruth(DATA);
  const bucket = await publicBucket(endpoint);
  closers.push(() => bucket.remove());
  const proxy = await startProxy(endpoint, delayMs);
  closers.push(() => proxy.close());
  const url = `${proxy.url}/${bucket.name}`;
  const contenders = [...(await ours(bucket, url)), ...(await lancedb(bucket, proxy.url))];
  for (const contender of contenders) contender.samples = [];
  // Rounds go over all contenders in turn.
  for (let round = 0; round <= rounds; round++) {
    for (const contender of contenders) {
      // The first round is there to compile code and to warm the server.
      const sample = await measure(contender, round === 0 ? queries.slice(0, 5) : queries, truth, proxy);
      if (round > 0) contender.samples.push(sample);
    }
  }
  const table = report(contenders);
  console.log(table);
  if (queryCount >= 50 && rounds >= 2) await writeFile(OUT, table);
} finally {
  for (const close of closers.reverse()) await close();
}

async function ours(bucket, url) {
  const directory = await mkdtemp(join(tmpdir(), "dreamdb-cold-"));
  closers.push(() => rm(directory, { recursive: true, force: true }));
  const data = await loadRows(DATA);
  const [{ parameters }] = dreamdb.variants(data);
  const made = await dreamdb.build(data, directory, parameters);
  await made.ingest();
  await made.index();
  await made.save();
  const to = openStore(`${bucket.url}/dreamdb`);
  await copyStore(openStore(directory), to);
  await to.close?.();
  return [{ nprobe: 32 }, { nprobe: 56 }, {}].map((options) => ({
    name: "DreamDB",
    setting: options.nprobe === undefined ? "defaults" : `nprobe ${options.nprobe}`,
    async ask(query) {
      const ds = await Dataset.open("vectors", `${url}/dreamdb`, { remote: { sign: false } });
      const [hits] = await ds.iterVector({ field: "vector", topK: K, fields: [], query, ...options });
      await ds.close();
      return hits._time_anchors.map((anchor) => Number(anchor) - 1);
    },
  }));
}

async function lancedb(bucket, proxyUrl) {
  const { connect } = await import("@lancedb/lancedb");
  const kinds = ["ivf_pq", "ivf_rq4", "ivf_flat"];
  const built = await builtVariants("LanceDB", DATA, { wanted: (name) => kinds.includes(name) });
  const storageOptions = {
    aws_endpoint: proxyUrl,
    aws_region: "us-east-1",
    aws_skip_signature: "true",
    aws_virtual_hosted_style_request: "false",
    allow_http: "true",
  };
  const list = [];
  for (const { variant, directory, failed } of built) {
    if (failed !== undefined) continue;
    await bucket.putFiles(directory, variant);
    const { dim } = await loadRows(DATA);
    const width = variant === "ivf_rq4" ? Math.ceil(dim / 8) * 8 : dim;
    // About what reaches .9 with the least work.
    const settings = { ivf_flat: [[30, 0]], ivf_rq4: [[40, 10]], ivf_pq: [[20, 5]] }[variant];
    for (const [nprobes, refine] of settings) {
      list.push({
        name: `LanceDB ${variant}`,
        setting: `nprobes ${nprobes}${refine > 0 ? `, refine ${refine}` : ""}`,
        async ask(vector) {
          const wide = new Float32Array(width);
          wide.set(vector);
          const db = await connect(`s3://${bucket.name}/${variant}`, { storageOptions });
          const table = await db.openTable("vectors");
          let query = table.query().nearestTo(wide).distanceType("cosine").nprobes(nprobes).limit(K);
          if (refine > 0) query = query.refineFactor(refine);
          const found = await query.withRowId().select(["_rowid", "_distance"]).toArrow();
          table.close();
          db.close();
          return Array.from(found.getChild("_rowid").toArray(), Number);
        },
      });
    }
  }
  return list;
}

async function measure({ ask }, queries, truth, proxy) {
  const runs = [];
  const found = [];
  for (const query of queries) {
    await proxy.take();
    const started = performance.now();
    found.push(await ask(query));
    const ms = performance.now() - started;
    runs.push({ ms, ...(await proxy.take()) });
  }
  const mid = (of) => median(runs.map(of));
  const sorted = runs.map(({ ms }) => ms).sort((a, b) => a - b);
  return {
    recall: recallAt10(truth, found),
    ms: mid((run) => run.ms),
    p90: sorted[Math.floor(sorted.length * 0.9)],
    requests: mid((run) => run.requests),
    steps: mid((run) => run.steps),
    mb: mid((run) => run.bytes) / 1e6,
  };
}

function report(contenders) {
  const lines = contenders.map(({ name, setting, samples }) => {
    const of = (key) => samples.map((sample) => sample[key]);
    const cell = (key, digits) => median(of(key)).toFixed(digits);
    return `| ${name} | ${setting} | ${cell("recall", 3)} | ${cell("ms", 0)} ${spread(of("ms"), 0)} | ${cell("p90", 0)} | ${cell("requests", 0)} | ${cell("steps", 0)} | ${cell("mb", 2)} |`;
  });
  return [
    "# Cold queries from a bucket",
    "",
    `Word vectors, 340,479 × 100, on a Ceph gateway of this machine, each request ${delayMs} ms later than it came; ${queryCount} queries, each by a`,
    `fresh session with warm code and connections as each library keeps them; medians, over ${rounds} rounds. Steps are requests that wait for others.`,
    "",
    "| who | setting | recall@10 | p50 ms (extremes of rounds) | p90 ms | requests | steps | MB |",
    "|---|---|---|---|---|---|---|---|",
    ...lines,
    "",
  ].join("\n");
}
