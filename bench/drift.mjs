// An index that drifting data outgrows: 64 cells of 10,000 word vectors, 90,000 more that come in the order of their first
// principal component. Steps of maintenance after each append that needs one, beside no maintenance, and a rebuild at the end.
// How much each writes, and the recall among equally many bytes of codes.
import { Dataset, memoryStore, Schema } from "../build/lib/index.node.js";
import { countingStore } from "./counting-store.mjs";
import { median } from "./statistics.mjs";
import { DIM, loadWords } from "./words.mjs";

const option = (name, usual) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? usual : Number(process.argv[at + 1]);
};
const FIRST = option("first", 10_000);
const LAST = option("last", 10 * FIRST);
const APPEND = option("append", 2_000);
const CELLS = option("cells", 64);
const IMBALANCE = option("imbalance", undefined);
const SPLIT_ABOVE = option(
  "split-above",
  IMBALANCE === undefined ? Math.round((2 * FIRST) / CELLS) : undefined,
);
const MERGE_BELOW = option("merge-below", 0);
const NEIGHBOURS = option("neighbours", undefined);
const REASSIGN = option("reassign-above", undefined);
const RECENTRE = option("recentre", undefined);
const QUERIES = option("queries", 300);
const TOP_K = 10;
const MAX_STEPS = 5;

const { vectors: words } = await loadWords();
const all = ordered(words, LAST + QUERIES);
// Queries are spread over all of the data, and in none of it.
const isQuery = (row) => row % Math.ceil((LAST + QUERIES) / QUERIES) === 7 && row < LAST + QUERIES;
const rows = [...Array(LAST + QUERIES).keys()];
const queries = rows.filter(isQuery).map((row) => vectorAt(row));
const stored = rows.filter((row) => !isQuery(row)).slice(0, LAST);

const schema = new Schema().addEmbedding("v", { dim: DIM }).addScalarInt("n");
const field = "v";
const none = await grown(false);
const kept = await grown(true);
const rebuilt = await rebuild(kept.store, kept.status.cells);

console.log(
  `${FIRST} vectors in ${CELLS} cells, then ${LAST - FIRST} more, ${APPEND} an append; steps with ${
    SPLIT_ABOVE === undefined ? `imbalance ${IMBALANCE}` : `splitAbove ${SPLIT_ABOVE}`
  }, mergeBelow ${MERGE_BELOW}`,
);
const truth = queries.map((query) => nearestOf(query));
const bytesARow = rebuilt.rowBytes;
const budgets = [0.01, 0.02, 0.05, 0.1].map((share) => share * LAST * bytesARow);
for (const [name, { ds, status }] of [
  ["none", none],
  ["steps", kept],
  ["rebuild", rebuilt],
]) {
  const curve = await curveOf(ds, status.usedCells);
  const recalls = budgets.map(
    (bytes) => `${(bytes / 2 ** 20).toFixed(2)} MiB ${at(curve, bytes).toFixed(4)}`,
  );
  console.log(
    `  ${name.padEnd(8)} cells ${String(status.cells).padStart(5)}  imbalance ${status.imbalance.toFixed(2).padStart(6)}  recall@${TOP_K} of codes a query: ${recalls.join(", ")}`,
  );
}
const perRebuild = (n) => n * bytesARow;
const shares = kept.steps.map(({ bytes, rows }) => bytes / perRebuild(rows));
const sum = (list) => list.reduce((total, each) => total + each, 0);
const stepBytes = sum(kept.steps.map(({ bytes }) => bytes));
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(2)} MiB`;
const percent = (share) => `${(100 * share).toFixed(1)} %`;
console.log(
  `  ${kept.steps.length} times maintained, in ${sum(kept.steps.map(({ steps }) => steps))} steps; imbalance before each up to ${Math.max(...kept.steps.map(({ before }) => before)).toFixed(2)}, after the last of them ${kept.status.imbalance.toFixed(2)}`,
);
console.log(
  `  bytes each time, beside a rebuild at that time: median ${percent(median(shares))}, most ${percent(Math.max(...shares))}, all together ${percent(stepBytes / sum(kept.steps.map(({ rows }) => perRebuild(rows))))}`,
);
console.log(
  `  bytes in all: ${mib(stepBytes)}; one rebuild at the end: ${mib(rebuilt.bytes)}; a step's median CPU ${median(kept.steps.map(({ cpu }) => cpu)).toFixed(0)} ms, that rebuild's ${rebuilt.cpu.toFixed(0)} ms`,
);

async function grown(isMaintained) {
  const { store, written, reset } = countingStore(memoryStore());
  const ds = await Dataset.create("words", schema, store);
  const recordsFrom = (from, to) =>
    stored.slice(from, to).map((row, i) => ({ v: vectorAt(row), n: from + i }));
  await ds.appendMany(recordsFrom(0, FIRST));
  await ds.rebuildIvf({ field, k: CELLS });
  const steps = [];
  for (let n = FIRST; n < LAST; n += APPEND) {
    await ds.appendMany(recordsFrom(n, n + APPEND));
    if (!isMaintained) continue;
    const before = (await ds.adaIvfStatus({ field })).imbalance;
    reset();
    const cpu = process.cpuUsage();
    let taken = 0;
    for (; taken < MAX_STEPS; taken++) {
      const given = {
        splitAbove: SPLIT_ABOVE,
        imbalance: IMBALANCE,
        neighbours: NEIGHBOURS,
        recentre: RECENTRE,
        reassignAbove: REASSIGN,
        mergeBelow: MERGE_BELOW === 0 ? undefined : MERGE_BELOW,
      };
      const done = await ds.adaIvfStep({
        field,
        ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
      });
      if (done.manifest === undefined) break;
    }
    const { user, system } = process.cpuUsage(cpu);
    if (taken > 0)
      steps.push({
        before,
        steps: taken,
        bytes: written.bytes,
        rows: n + APPEND,
        cpu: (user + system) / 1e3,
      });
  }
  return { ds, store, status: await ds.adaIvfStatus({ field }), steps };
}

/** The same data, all of it built anew with as many cells. */
async function rebuild(from, k) {
  const { store, written, reset } = countingStore(from);
  const other = await (await Dataset.open("words", from)).snapshot("before");
  void other;
  const ds = await Dataset.open("words", store);
  reset();
  const cpu = process.cpuUsage();
  await ds.rebuildIvf({ field, k });
  const { user, system } = process.cpuUsage(cpu);
  const { bytes } = written;
  kept.ds = await Dataset.open("before", from);
  return {
    ds,
    bytes,
    rowBytes: bytes / LAST,
    cpu: (user + system) / 1e3,
    status: await ds.adaIvfStatus({ field }),
  };
}

/** Recall and bytes of codes for each number of probes. */
async function curveOf(ds, cells) {
  const curve = [];
  for (let nprobe = 1; nprobe <= cells; nprobe = Math.ceil(nprobe * 1.4)) {
    let found = 0;
    let scanned = 0;
    for (const [i, query] of queries.entries()) {
      // All cells that are probed are scanned, with many rows looked at closely: cells decide, not codes.
      const { plan, stats } = await explained(ds, {
        field,
        query,
        topK: TOP_K,
        nprobe,
        epsilon: 9,
        rerankFactor: 40,
        fields: ["n"],
      });
      scanned += stats;
      const ids = new Set(truth[i]);
      found += plan.filter((n) => ids.has(n)).length;
    }
    curve.push({ bytes: (scanned / queries.length) * bytesARow, recall: found / (queries.length * TOP_K) });
    if (curve.at(-1).bytes > budgets.at(-1)) break;
  }
  return curve;
}

async function explained(ds, query) {
  const told = await ds.explain(query);
  const [hits] = await ds.iterVector(query);
  return { plan: hits.n, stats: told.scanned };
}

/** The recall of a curve at so many bytes, between its points in a straight line. */
function at(curve, bytes) {
  const past = curve.findIndex((point) => point.bytes >= bytes);
  if (past <= 0) return past < 0 ? curve.at(-1).recall : curve[0].recall * (bytes / curve[0].bytes);
  const [a, b] = [curve[past - 1], curve[past]];
  return a.recall + ((b.recall - a.recall) * (bytes - a.bytes)) / (b.bytes - a.bytes);
}

/** The numbers of the records nearest to a query, by cosine. */
function nearestOf(query) {
  const best = [];
  stored.forEach((row, n) => {
    let dot = 0;
    for (let i = 0; i < DIM; i++) dot += query[i] * all[row * DIM + i];
    if (best.length === TOP_K && dot <= best.at(-1).dot) return;
    const place = best.findIndex((each) => each.dot < dot);
    best.splice(place < 0 ? best.length : place, 0, { n, dot });
    if (best.length > TOP_K) best.pop();
  });
  return best.map(({ n }) => n);
}

function vectorAt(row) {
  return all.subarray(row * DIM, (row + 1) * DIM);
}

/** Unit vectors, every so many of the words, in the order of their first principal component. */
function ordered(values, count) {
  const stride = Math.floor(values.length / DIM / count);
  const units = new Float32Array(count * DIM);
  for (let row = 0; row < count; row++) {
    const from = values.subarray(row * stride * DIM, (row * stride + 1) * DIM);
    const length = Math.hypot(...from);
    for (let i = 0; i < DIM; i++) units[row * DIM + i] = from[i] / length;
  }
  const mean = new Float64Array(DIM);
  units.forEach((value, i) => {
    mean[i % DIM] += value / count;
  });
  let axis = Float64Array.from({ length: DIM }, (_, i) => Math.sin(i + 1));
  for (let round = 0; round < 20; round++) {
    const next = new Float64Array(DIM);
    for (let row = 0; row < count; row += 7) {
      let dot = 0;
      for (let i = 0; i < DIM; i++) dot += (units[row * DIM + i] - mean[i]) * axis[i];
      for (let i = 0; i < DIM; i++) next[i] += dot * (units[row * DIM + i] - mean[i]);
    }
    const length = Math.hypot(...next);
    axis = next.map((value) => value / length);
  }
  const scores = Array.from({ length: count }, (_, row) => {
    let dot = 0;
    for (let i = 0; i < DIM; i++) dot += units[row * DIM + i] * axis[i];
    return { row, dot };
  }).sort((a, b) => a.dot - b.dot);
  const out = new Float32Array(count * DIM);
  scores.forEach(({ row }, place) => {
    out.set(units.subarray(row * DIM, (row + 1) * DIM), place * DIM);
  });
  return out;
}
