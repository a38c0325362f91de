// The graph index on the word vectors: build CPU seconds, bytes a node, recall@10 against queries a CPU second, and what
// a walk from cold storage reads. Run after a build: node bench/vamana.mjs [rows] [queries] [build options as JSON]
import { blake3, useBulkHasher } from "../build/lib/core/blake3.js";
import { buildVamana, VamanaGraph } from "../build/lib/index/vamana.js";
import { loadKernels } from "../build/lib/kernels/load.js";
import { codeStride } from "../build/lib/kernels/vamana-walk.js";
import { median, spread } from "./statistics.mjs";
import { DIM, loadWords } from "./words.mjs";

const TOP = 10;
const ROUNDS = 5;
const BEAMS = [40, 60, 90, 120, 160, 200, 300, 440, 600, 900];
const COLD_QUERIES = 20;

const wanted = Number(process.argv[2] ?? Infinity);
const queryCount = Number(process.argv[3] ?? 1000);
const options = JSON.parse(process.argv[4] ?? "{}");
const kernels = await loadKernels("simd", { fresh: true });
useBulkHasher((bytes) => kernels.hashBytes(bytes));
const { rows, queries } = await split();
const n = rows.length / DIM;
const truth = exactScores();

const built = await timed(build);
console.log(
  `${n} rows × ${DIM}; build ${built.seconds.toFixed(1)} CPU s (${Math.round(n / built.seconds)} rows/s), longest turn ${built.pause} CPU ms`,
);
const { bytes, pages } = built.result;
const stored = pages.reduce((sum, page) => sum + page.bytes.length, bytes.length);
const pageOf = new Map(pages.map((page) => [page.ref.address, page.bytes]));
const graph = VamanaGraph.open(kernels, bytes);
const loaded = await timed(() => graph.loadAll(async (ref) => pageOf.get(ref.address)));
await graph.loadVectors((first, run) => {
  for (let i = 0; i * DIM < run.length; i++) run.set(vectorOf(graph.ticks[first + i]), i * DIM);
});
const inMemory = codeStride(DIM) + graph.index.degree * 4;
console.log(
  `bytes a node: ${(stored / n).toFixed(1)} stored, ${inMemory} in memory, ${inMemory + DIM * 4 + 4} with f32 vectors; load ${loaded.seconds.toFixed(2)} CPU s`,
);
console.log(`GraphIndex ${built.result.address}, BLAKE3 of the index ${hex(blake3(bytes)).slice(0, 16)}…`);

console.log("\nbeam  rerank  recall@10  queries a CPU second");
for (const beam of BEAMS) {
  const rerank = Math.min(beam, Math.max(20, beam >> 3));
  const found = queries.map((query) => graph.search(query, { topK: TOP, beam, rerank }));
  const rates = [];
  for (let round = 0; round < ROUNDS; round++) {
    const { seconds } = await timed(() => {
      for (const query of queries) graph.search(query, { topK: TOP, beam, rerank });
    });
    rates.push(queries.length / seconds);
  }
  console.log(
    `${String(beam).padStart(4)}${String(rerank).padStart(8)}${recall(found).toFixed(4).padStart(11)}${median(rates).toFixed(0).padStart(12)} ${spread(rates)}`,
  );
}

console.log("\ncold, nothing cached: beam  recall@10  reads  KiB  round trips (median of each)");
for (const beam of [20, 60, 160]) {
  const costs = [];
  const found = [];
  for (const query of queries.slice(0, COLD_QUERIES)) {
    const cost = { reads: 0, bytes: 0, trips: 0 };
    found.push(await coldSearch(query, beam, cost));
    costs.push(cost);
  }
  const middle = (key) => median(costs.map((cost) => cost[key]));
  console.log(
    `${String(beam).padStart(4)}${recall(found).toFixed(3).padStart(8)}${String(middle("reads")).padStart(7)}${String(middle("bytes") >> 10).padStart(8)}${String(middle("trips")).padStart(5)}`,
  );
}
graph.free();

/** Every 341st word is a query, the others, up to the number wanted, are the rows. */
async function split() {
  const { vectors } = await loadWords();
  const total = vectors.length / DIM;
  const every = Math.floor(total / queryCount);
  const isQuery = (i) => i % every === 0 && i / every < queryCount;
  const others = Array.from({ length: total }, (_, i) => i).filter((i) => !isQuery(i));
  const count = Math.min(wanted, others.length);
  const x = new Float32Array(count * DIM);
  for (let i = 0; i < count; i++) {
    const row = others[Math.floor((i * others.length) / count)];
    x.set(vectors.subarray(row * DIM, (row + 1) * DIM), i * DIM);
  }
  const held = Array.from({ length: queryCount }, (_, i) =>
    vectors.slice(i * every * DIM, (i * every + 1) * DIM),
  );
  return { rows: x, queries: held };
}

/** Of each query the score of the tenth nearest row. */
function exactScores() {
  const at = kernels.copyIn(rows);
  const norms = kernels.alloc(n * 4);
  kernels.rowInvNorms(at, n, DIM, norms);
  const top = kernels.topK(TOP);
  const q = kernels.alloc(DIM * 4);
  const worst = queries.map((query) => {
    kernels.f32(q, DIM).set(query);
    kernels.scanCosine(at, norms, n, DIM, q, kernels.invNorm(q, DIM), 0, top);
    return top.drain().scores.at(-1);
  });
  top.free();
  for (const pointer of [q, norms, at]) kernels.free(pointer);
  return worst;
}

async function build() {
  const y = kernels.copyIn(rows);
  const norms = kernels.alloc(n * 4);
  kernels.rowInvNorms(y, n, DIM, norms);
  for (let row = 0; row < n; row++) {
    const inverse = kernels.f32(norms + row * 4, 1)[0];
    const x = kernels.f32(y + row * DIM * 4, DIM);
    for (let k = 0; k < DIM; k++) x[k] *= inverse;
  }
  kernels.free(norms);
  const ticks = BigUint64Array.from({ length: n }, (_, row) => BigInt(row));
  const result = await buildVamana({
    ...{ kernels, metric: "cosine", vectors: y, n, dim: DIM, ticks },
    ...options,
  });
  kernels.free(y);
  return result;
}

function vectorOf(tick) {
  return rows.subarray(Number(tick) * DIM, (Number(tick) + 1) * DIM);
}

/** A found row counts when it is as near as the tenth nearest. */
function recall(found) {
  let hits = 0;
  found.forEach(({ scores }, i) => {
    for (const score of scores) hits += Number(score >= truth[i]);
  });
  return hits / found.length / TOP;
}

async function coldSearch(query, beam, cost) {
  const cold = VamanaGraph.open(kernels, bytes);
  let isTrip = false;
  const readBlock = async (ref, offset, length) => {
    cost.trips += Number(!isTrip);
    isTrip = true;
    cost.reads++;
    cost.bytes += length;
    await new Promise((resolve) => setImmediate(resolve));
    isTrip = false;
    return pageOf.get(ref.address).slice(offset, offset + length);
  };
  const readVectors = async (nodes, ticks) => {
    const out = new Float32Array(nodes.length * DIM);
    for (const [i, tick] of ticks.entries()) out.set(vectorOf(tick), i * DIM);
    return out;
  };
  const result = await cold.searchCold(query, { topK: TOP, beam, rerank: 20, readBlock, readVectors });
  cold.free();
  return result;
}

/** CPU seconds of `run`, and the most CPU time (ms) for which other work had to wait. */
async function timed(run) {
  const cpuMs = () => process.cpuUsage().user / 1000;
  let pause = 0;
  let last = cpuMs();
  const timer = setInterval(() => {
    pause = Math.max(pause, cpuMs() - last);
    last = cpuMs();
  }, 1);
  const start = process.cpuUsage();
  const result = await run();
  const { user, system } = process.cpuUsage(start);
  clearInterval(timer);
  return { result, seconds: (user + system) / 1e6, pause: Math.round(pause) };
}

function hex(hash) {
  return Buffer.from(hash).toString("hex");
}
