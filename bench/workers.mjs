// rebuildIvf and queryMany over the word vectors on 0, 1, 2, … worker threads: wall seconds, and CPU seconds of each
// thread (Linux only), the main thread first. Run after a build: node bench/workers.mjs [threads…]
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Dataset, Schema } from "../build/lib/index.node.js";
import { DIM, loadWords } from "./words.mjs";

const QUERIES = 1000;
const TICKS_A_SECOND = 100;
const threads = process.argv.slice(2).map(Number);
const base = await mkdtemp(join(tmpdir(), "dreamdb-workers-"));

try {
  const { vectors } = await loadWords();
  const rows = vectors.length / DIM - QUERIES;
  const queries = vectors.subarray(rows * DIM);
  await ingest(join(base, "words"), vectors, rows);
  for (const workers of threads.length > 0 ? threads : [0, 1, 2]) {
    const path = join(base, `words-${workers}`);
    await cp(join(base, "words"), path, { recursive: true });
    await measure(path, workers, queries);
    await rm(path, { recursive: true });
  }
} finally {
  await rm(base, { recursive: true, force: true });
}

async function ingest(path, vectors, rows) {
  const ds = await Dataset.create("words", new Schema().addEmbedding("v", { dim: DIM }), path);
  for (let row = 0; row < rows; row += 50_000) {
    const count = Math.min(50_000, rows - row);
    await ds.appendMany(
      Array.from({ length: count }, (_, i) => ({
        v: vectors.subarray((row + i) * DIM, (row + i + 1) * DIM),
        _anchor: BigInt(row + i + 1),
      })),
    );
  }
  await ds.close();
}

async function measure(path, workers, queries) {
  const options = { workers, clock: () => 1n << 60n, random: (count) => new Uint8Array(count) };
  const ds = await Dataset.open("words", path, options);
  const stages = {};
  let last = performance.now();
  const build = await timed(() =>
    ds.rebuildIvf({
      field: "v",
      onProgress({ stage }) {
        const now = performance.now();
        stages[stage] = (stages[stage] ?? 0) + (now - last) / 1000;
        last = now;
      },
    }),
  );
  const parts = Object.entries(stages).map(([stage, seconds]) => `${stage} ${seconds.toFixed(2)}`);
  console.log(`${workers} workers: build ${show(build)}  [${parts.join(", ")}]  ${build.value.manifest}`);
  const query = { field: "v", queries, topK: 10, fields: [], nprobe: 26 };
  for (const run of ["cold", "warm", "warm"]) {
    const many = await timed(() => ds.queryMany(query));
    console.log(`  ${QUERIES} queries ${run}: ${show(many)}  ${(QUERIES / many.wall).toFixed(0)} a second`);
  }
  await ds.close();
}

async function timed(work) {
  const before = await cpuOfThreads();
  const started = performance.now();
  const value = await work();
  const wall = (performance.now() - started) / 1000;
  const after = await cpuOfThreads();
  const main = String(process.pid);
  const spent = [...after].map(([id, ticks]) => [id, (ticks - (before.get(id) ?? 0)) / TICKS_A_SECOND]);
  const rest = spent.filter(([id, cpu]) => id !== main && cpu >= 0.05).map(([, cpu]) => cpu);
  return { value, wall, cpu: [spent.find(([id]) => id === main)?.[1] ?? 0, ...rest.sort((a, b) => b - a)] };
}

function show({ wall, cpu }) {
  return `${wall.toFixed(2)} s wall, CPU ${cpu.map((seconds) => seconds.toFixed(2)).join(" + ")}`;
}

/** Thread id → CPU time so far. */
async function cpuOfThreads() {
  const ids = await readdir("/proc/self/task").catch(() => []);
  const found = await Promise.all(
    ids.map(async (id) => {
      const text = await readFile(`/proc/self/task/${id}/stat`, "utf8").catch(() => undefined);
      const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
      return fields === undefined ? undefined : [id, Number(fields[11]) + Number(fields[12])];
    }),
  );
  return new Map(found.filter((each) => each !== undefined));
}
