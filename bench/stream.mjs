// iterStream over everything, at two sizes ten times apart: how far resident memory grows while it runs. Each size
// is read in a process of its own; the growth counts from after opening to the highest sample.
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Dataset, Schema } from "../build/lib/index.node.js";
import { DIM, loadWords } from "./words.mjs";

const ENTRY = fileURLToPath(new URL("../build/lib/index.node.js", import.meta.url));
const CHILD = `
import { Dataset } from ${JSON.stringify(ENTRY)};
const ds = await Dataset.open(process.argv[2], { backend: process.argv[1] });
const startMiB = process.memoryUsage().rss / 2 ** 20;
let peakMiB = startMiB, rows = 0, check = 0;
const started = performance.now();
for await (const batch of ds.iterStream({ batchSize: 256 })) {
  rows += batch._time_anchors.length;
  check += batch.vector[0][0] + batch.word[0].length;
  peakMiB = Math.max(peakMiB, process.memoryUsage.rss() / 2 ** 20);
}
console.log(JSON.stringify({ rows, startMiB, peakMiB, ms: performance.now() - started }));
`;

const { words, vectors } = await loadWords();
const directory = await mkdtemp(join(tmpdir(), "dreamdb-stream-"));
try {
  console.log("records     MiB of vectors   resident before → peak (growth)   records/s");
  for (const count of [34_147, 341_470]) {
    const name = `words-${count}`;
    const schema = new Schema().addEmbedding("vector", { dim: DIM }).addScalarString("word");
    const ds = await Dataset.create(name, schema, directory);
    for (let from = 0; from < count; from += 10_000) {
      const size = Math.min(10_000, count - from);
      await ds.appendMany(
        Array.from({ length: size }, (_, i) => ({
          word: words[from + i],
          vector: vectors.subarray((from + i) * DIM, (from + i + 1) * DIM),
        })),
      );
    }
    await ds.close();
    const { stdout, stderr } = spawnSync(process.execPath, [
      "--input-type=module",
      "-e",
      CHILD,
      directory,
      name,
    ]);
    if (stdout.length === 0) throw new Error(String(stderr));
    const { rows, startMiB, peakMiB, ms } = JSON.parse(stdout);
    console.log(
      `${String(rows).padEnd(11)} ${((rows * DIM * 4) / 2 ** 20).toFixed(0).padStart(10)}       ` +
        `${startMiB.toFixed(0)} → ${peakMiB.toFixed(0)} MiB (${(peakMiB - startMiB).toFixed(0)})`.padEnd(34) +
        `${((rows / ms) * 1e3).toFixed(0)}`,
    );
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
