// Append cost must not grow: 2,000 appends of 100 records; the last 200 beside the 200 after a warm-up of 200,
// by time and by the objects that each writes.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Dataset, directoryStore, Schema } from "../build/lib/index.node.js";
import { countingStore } from "./counting-store.mjs";
import { median } from "./statistics.mjs";
import { DIM, loadWords } from "./words.mjs";

const APPENDS = Number(process.argv[2] ?? 2000);
const RECORDS = 100;
const WINDOW = 200;

const { words, vectors } = await loadWords();
const directory = await mkdtemp(join(tmpdir(), "dreamdb-appends-"));
try {
  const { store, written, reset } = countingStore(directoryStore(directory));
  const schema = new Schema()
    .addEmbedding("vector", { dim: DIM, algorithm: "dreamdb.lsh-cosine" })
    .addScalarString("word");
  const ds = await Dataset.create("words", schema, store);
  const samples = [];
  for (let n = 0; n < APPENDS; n++) {
    const from = (n * RECORDS) % (words.length - RECORDS);
    const records = Array.from({ length: RECORDS }, (_, i) => ({
      word: words[from + i],
      vector: vectors.subarray((from + i) * DIM, (from + i + 1) * DIM),
    }));
    reset();
    const cpu = process.cpuUsage();
    const started = performance.now();
    await ds.appendMany(records);
    const used = process.cpuUsage(cpu);
    samples.push({
      wallMs: performance.now() - started,
      cpuMs: (used.user + used.system) / 1e3,
      ...written,
    });
  }
  const early = samples.slice(WINDOW, 2 * WINDOW);
  const late = samples.slice(-WINDOW);
  const mean = (list, f) => list.reduce((sum, item) => sum + f(item), 0) / list.length;
  const line = (name, f, digits) =>
    console.log(
      `  ${name.padEnd(26)} ${mean(early, f).toFixed(digits).padStart(9)} ${mean(late, f).toFixed(digits).padStart(9)}   ×${(mean(late, f) / mean(early, f)).toFixed(2)}`,
    );
  console.log(
    `${APPENDS} appends of ${RECORDS} records × ${DIM}, directory; mean of appends ${WINDOW}–${2 * WINDOW - 1} and of the last ${WINDOW}`,
  );
  line("wall ms", (s) => s.wallMs, 2);
  line("CPU ms", (s) => s.cpuMs, 2);
  line("objects written", (s) => s.objects, 2);
  line("KiB written", (s) => s.bytes / 1024, 1);
  const counts = (list) =>
    `${Math.min(...list.map((s) => s.objects))} … ${Math.max(...list.map((s) => s.objects))}, median ${median(list.map((s) => s.objects))}`;
  console.log(`  objects per append: early ${counts(early)}; late ${counts(late)}`);
} finally {
  await rm(directory, { recursive: true, force: true });
}
