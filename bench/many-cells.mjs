// What an append costs by the number of cells: 200 records × 100 to an index of 100 cells, and to one of 10,000, in turns
// in one run, by time and by what each writes.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Dataset, directoryStore, memoryStore, Schema } from "../build/lib/index.node.js";
import { countingStore } from "./counting-store.mjs";
import { median } from "./statistics.mjs";
import { DIM, loadWords } from "./words.mjs";

const APPENDS = Number(process.argv[2] ?? 120);
const RECORDS = 200;
const WARM_UP = 20;
const BASE = 40_000;
const CELLS = [100, 10_000];
const onDisk = !process.argv.includes("--memory");

const { vectors } = await loadWords();
const directory = await mkdtemp(join(tmpdir(), "dreamdb-many-cells-"));
const recordsFrom = (first, count) =>
  Array.from({ length: count }, (_, i) => ({
    vector: vectors.subarray((first + i) * DIM, (first + i + 1) * DIM),
    n: first + i,
  }));

async function prepare(cells) {
  const inner = onDisk ? directoryStore(join(directory, String(cells))) : memoryStore();
  const { store, written, reset } = countingStore(inner);
  const schema = new Schema().addEmbedding("vector", { dim: DIM }).addScalarInt("n");
  const ds = await Dataset.create("words", schema, store);
  await ds.appendMany(recordsFrom(0, BASE));
  await ds.rebuildIvf({ field: "vector", k: cells, sample: Math.max(cells, 20_000), iterations: 1 });
  return { cells, ds, written, reset, samples: [] };
}

try {
  const sets = [];
  for (const cells of CELLS) sets.push(await prepare(cells));
  for (let n = 0; n < APPENDS + WARM_UP; n++) {
    const records = recordsFrom(BASE + ((n * RECORDS) % 200_000), RECORDS);
    for (const { ds, written, reset, samples } of n % 2 === 0 ? sets : [...sets].reverse()) {
      reset();
      const cpu = process.cpuUsage();
      const started = performance.now();
      await ds.appendMany(records);
      const wall = performance.now() - started;
      const used = process.cpuUsage(cpu);
      if (n >= WARM_UP) samples.push({ wall, cpu: (used.user + used.system) / 1e3, ...written });
    }
  }
  const [few, many] = sets.map(({ samples }) => samples);
  console.log(
    `${APPENDS} appends of ${RECORDS} records × ${DIM} to ${BASE}, ${onDisk ? "directory" : "memory"}; medians, of ${CELLS.join(" and of ")} cells`,
  );
  const line = (name, key, digits) => {
    const [a, b] = [few, many].map((samples) => median(samples.map((sample) => sample[key])));
    console.log(
      `  ${name.padEnd(18)} ${a.toFixed(digits).padStart(9)} ${b.toFixed(digits).padStart(9)}   ×${(b / a).toFixed(2)}`,
    );
  };
  line("wall ms", "wall", 2);
  line("CPU ms", "cpu", 2);
  line("objects written", "objects", 0);
  line("bytes written", "bytes", 0);
  for (const [i, samples] of [few, many].entries()) {
    const half = samples.length / 2;
    const [early, late] = [samples.slice(0, half), samples.slice(half)].map((part) => [
      median(part.map(({ wall }) => wall)).toFixed(2),
      median(part.map(({ bytes }) => bytes)),
    ]);
    console.log(
      `  ${CELLS[i]} cells, first half and second: ${early[0]} and ${late[0]} ms, ${early[1]} and ${late[1]} bytes`,
    );
  }
  for (const { ds } of sets) await ds.close();
} finally {
  await rm(directory, { recursive: true, force: true });
}
