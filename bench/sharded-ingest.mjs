// The word vectors, ingested by several processes, each its slice on a branch of its own, and brought together by one merge: in every
// order of the arguments the same Manifest, nothing rewritten, and the recall of a single writer that encoded for the same cells.
// Run after a build: node bench/sharded-ingest.mjs [processes=8]
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Dataset, fsck, openStore, Schema } from "../build/lib/index.node.js";
import { countingStore } from "./counting-store.mjs";
import { DIM, loadWords } from "./words.mjs";

const QUERIES = 1000;
const TRAINED = 50_000;
const BATCH = 5000;
const ORDERS = 12;
const FIELD = "v";

if (process.send !== undefined) {
  const [path, branch, from, to] = process.argv.slice(2);
  const ds = await Dataset.open(branch, path);
  await append(ds, (await loadWords()).vectors, Number(from), Number(to));
  await ds.close();
  process.disconnect();
} else {
  const base = await mkdtemp(join(tmpdir(), "dreamdb-sharded-"));
  try {
    await compare(base, Number(process.argv[2] ?? 8));
  } finally {
    await rm(base, { recursive: true, force: true });
  }
}

async function compare(base, processes) {
  const { vectors } = await loadWords();
  const rows = vectors.length / DIM - QUERIES;
  const queries = vectors.slice(rows * DIM);
  const main = await Dataset.create("main", new Schema().addEmbedding(FIELD, { dim: DIM }), base);
  await append(main, vectors, 0, TRAINED);
  await main.rebuildIvf({ field: FIELD, k: 1024 });
  const single = await main.branch("single");
  const names = Array.from({ length: processes }, (_, i) => `worker-${i}`);
  for (const name of names) await main.branch(name);
  console.log(`${TRAINED} records with 1,024 cells, then ${rows - TRAINED} more`);

  const started = performance.now();
  const share = (i) => TRAINED + Math.floor(((rows - TRAINED) * i) / processes);
  const ends = names.map(async (name, i) => {
    const worker = fork(fileURLToPath(import.meta.url), [base, name, share(i), share(i + 1)]);
    return (await once(worker, "exit"))[0];
  });
  const codes = await Promise.all(ends);
  if (codes.some((code) => code !== 0)) throw new Error(`workers ended with ${codes}`);
  console.log(`${processes} processes, each on its branch: ${seconds(started)} s`);

  const results = [];
  for (let i = 0; i < ORDERS; i++) {
    const copy = await main.branch(`order-${i}`);
    const { store, kinds } = countingStore(openStore(base));
    const target = await Dataset.open(copy.name, store);
    const before = performance.now();
    const { manifest, rows, conflictCount, tracks } = await target.mergeMany(shuffled(names, i));
    results.push({
      manifest,
      rows,
      conflictCount,
      ...tracks[FIELD],
      seconds: seconds(before),
      puts: kinds,
    });
    await target.close();
    await copy.close();
  }
  const [first] = results;
  const manifests = new Set(results.map(({ manifest }) => manifest));
  console.log(
    `merged in ${ORDERS} orders: ${manifests.size} Manifest(s); the first in ${first.seconds} s:`,
    first,
  );
  if (manifests.size !== 1 || first.rows !== rows) throw new Error("not all is there, or not the same");

  const before = performance.now();
  await append(single, vectors, TRAINED, rows);
  console.log(`a single process: ${seconds(before)} s`);
  await main.mergeMany(names);
  const truth = await exact(vectors, rows, queries);
  for (const [name, ds] of Object.entries({ merged: main, single })) {
    for (const nprobe of [16, 96, 256])
      console.log(
        `${name}, nprobe ${nprobe}: recall@10 ${(await recall(ds, queries, truth, nprobe)).toFixed(4)}`,
      );
  }
  const { ok, problems } = await fsck(base);
  console.log(`fsck: ${ok ? "sound" : JSON.stringify(problems)}`);
  if (!ok) process.exitCode = 1;
}

async function append(ds, vectors, from, to) {
  for (let row = from; row < to; row += BATCH) {
    const count = Math.min(BATCH, to - row);
    await ds.appendMany(
      Array.from({ length: count }, (_, i) => ({
        [FIELD]: vectors.subarray((row + i) * DIM, (row + i + 1) * DIM),
        _anchor: BigInt(row + i + 1),
      })),
    );
  }
}

/** Anchors of the nearest ten of each query, of a dataset without an index. */
async function exact(vectors, rows, queries) {
  const ds = await Dataset.create("exact", new Schema().addEmbedding(FIELD, { dim: DIM }), "memory://exact");
  await append(ds, vectors, 0, rows);
  return nearest(ds, queries, {});
}

async function nearest(ds, queries, options) {
  const found = await ds.queryMany({ field: FIELD, queries, topK: 10, fields: [], ...options });
  return found.map((batch) => batch._time_anchors);
}

async function recall(ds, queries, truth, nprobe) {
  const found = await nearest(ds, queries, { nprobe });
  const hits = found.map((anchors, q) => anchors.filter((anchor) => truth[q].includes(anchor)).length);
  return hits.reduce((sum, count) => sum + count, 0) / (10 * truth.length);
}

function shuffled(names, seed) {
  const order = [...names];
  for (let i = order.length - 1; i > 0; i--) {
    const j = (seed * 7919 + i * 104_729) % (i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

function seconds(since) {
  return ((performance.now() - since) / 1000).toFixed(1);
}
