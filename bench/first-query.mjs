// A fresh process to its first exact top 10 through lsh-cosine on all word vectors, from the page cache; every
// byte used is verified by its hash. Each run is a child process; time is from spawn to the printed answer.
// usage: node bench/first-query.mjs [runs]
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Dataset, Schema } from "../build/node/index.js";
import { median, spread } from "./statistics.mjs";
import { DIM, loadWords } from "./words.mjs";

const ENTRY = fileURLToPath(new URL("../build/node/index.js", import.meta.url));
const CHILD = `
import { Dataset } from ${JSON.stringify(ENTRY)};
const imported = performance.now();
const ds = await Dataset.open("words", { backend: process.argv[1] });
const opened = performance.now();
const query = JSON.parse(process.argv[2]);
const nprobe = process.argv[3] === "default" ? {} : { nprobe: Number(process.argv[3]) };
const [hits] = await ds.iterVector({ field: "vector", query, topK: 10, fields: [], ...nprobe });
const done = performance.now();
console.log(JSON.stringify({ anchors: hits._time_anchors.map(String), imported, opened, done, ...ds.traffic }));
`;

const runs = Number(process.argv[2] ?? 10);
const { words, vectors } = await loadWords();
const directory = await mkdtemp(join(tmpdir(), "dreamdb-first-"));
try {
  const schema = new Schema()
    .addEmbedding("vector", { dim: DIM, algorithm: "dreamdb.lsh-cosine" })
    .addScalarString("word");
  const ds = await Dataset.create("words", schema, directory);
  const anchors = [];
  for (let from = 0; from < words.length; from += 10_000) {
    const batch = words.slice(from, from + 10_000).map((word, i) => ({ word, vector: row(from + i) }));
    anchors.push(...(await ds.appendMany(batch)).anchors);
  }
  console.log(
    "nprobe   ms from spawn (median)          import / open / query ms   MB read  requests  recall@10",
  );
  for (const nprobe of ["default", "64", "1024", "4096"]) await measure(ds, nprobe);
} finally {
  await rm(directory, { recursive: true, force: true });
}

async function measure(ds, nprobe) {
  const times = [];
  const parts = [];
  let recall = 0;
  let last;
  for (let run = 0; run < runs; run++) {
    const query = Array.from(row((run * 7919 + 13) % words.length));
    const started = performance.now();
    const { stdout, stderr } = spawnSync(process.execPath, [
      "--input-type=module",
      "-e",
      CHILD,
      directory,
      JSON.stringify(query),
      nprobe,
    ]);
    times.push(performance.now() - started);
    if (stdout.length === 0) throw new Error(String(stderr));
    last = JSON.parse(stdout);
    parts.push(last);
    const [exact] = await ds.iterVector({ field: "vector", query, topK: 10, fields: [], nprobe: 4096 });
    const truth = new Set(exact._time_anchors.map(String));
    recall += last.anchors.filter((anchor) => truth.has(anchor)).length / 10;
  }
  const part = (f) => median(parts.map(f)).toFixed(0);
  console.log(
    `${nprobe.padEnd(8)} ${median(times).toFixed(0).padStart(4)} ${spread(times).padEnd(24)}  ` +
      `${part((p) => p.imported)} / ${part((p) => p.opened - p.imported)} / ${part((p) => p.done - p.opened)}`.padEnd(
        26,
      ) +
      `${(median(parts.map((p) => p.bytes)) / 1e6).toFixed(1).padStart(7)}  ${String(last.requests).padStart(8)}  ${(recall / runs).toFixed(3)}`,
  );
}

function row(i) {
  return vectors.subarray(i * DIM, (i + 1) * DIM);
}
