// Ingest of all word vectors with the word as text into a directory, in batches of 10,000. Prints records per
// second of CPU time (user + system) of this process, the input already in memory as plain records.
// usage: node bench/ingest.mjs [algorithm] [rounds] [keep-directory]
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Dataset, Schema } from "../build/lib/index.node.js";
import { median, spread } from "./statistics.mjs";
import { DIM, loadWords } from "./words.mjs";

const algorithm = process.argv[2] ?? "dreamdb.lsh-cosine";
const rounds = Number(process.argv[3] ?? 5);
const keep = process.argv[4];
const BATCH = 10_000;

const { words, vectors } = await loadWords();
const records = words.map((word, i) => ({ word, vector: vectors.subarray(i * DIM, (i + 1) * DIM) }));
const rates = [];
const walls = [];
for (let round = 0; round < rounds; round++) {
  const directory = keep ?? (await mkdtemp(join(tmpdir(), "dreamdb-ingest-")));
  if (keep !== undefined) await rm(keep, { recursive: true, force: true });
  const schema = new Schema().addEmbedding("vector", { dim: DIM, algorithm }).addScalarString("word");
  const ds = await Dataset.create("words", schema, directory);
  const cpu = process.cpuUsage();
  const started = performance.now();
  for (let from = 0; from < records.length; from += BATCH)
    await ds.appendMany(records.slice(from, from + BATCH));
  const wallMs = performance.now() - started;
  const used = process.cpuUsage(cpu);
  rates.push(records.length / ((used.user + used.system) / 1e6));
  walls.push(records.length / (wallMs / 1e3));
  console.error(
    `round ${round}: user ${(used.user / 1e3).toFixed(0)} ms, system ${(used.system / 1e3).toFixed(0)} ms, wall ${wallMs.toFixed(0)} ms`,
  );
  await ds.close();
  if (keep === undefined) await rm(directory, { recursive: true, force: true });
}
console.log(`ingest ${records.length} × ${DIM} ${algorithm}, batches of ${BATCH}`);
console.log(`  records/s of CPU time   ${median(rates).toFixed(0)}  ${spread(rates)}`);
console.log(`  records/s of wall time  ${median(walls).toFixed(0)}  ${spread(walls)}`);
