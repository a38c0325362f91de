// The resident IVF index over the word vectors: recall@10 against queries per CPU second of one core, for a few
// settings; where the time goes; memory. Run after a build: node bench/ivf.mjs [cells=2048] [bits=4]
import { IvfIndex } from "../build/lib/kernels/ivf.js";
import { CellAssigner, sampleRows, trainKmeans } from "../build/lib/kernels/kmeans.js";
import { loadKernels } from "../build/lib/kernels/load.js";
import { codeBytes, paddedDim, RabitqEncoder, toIndexSpace } from "../build/lib/kernels/rabitq.js";
import { Rotation, rotationKind } from "../build/lib/kernels/rotation.js";
import { median, spread } from "./statistics.mjs";
import { DIM, loadWords } from "./words.mjs";

const CELLS = Number(process.argv[2] ?? 2048);
const BITS = Number(process.argv[3] ?? 4);
const QUERIES = 1000;
const EVERY = 341; // this many rows apart, rows are held out as queries
const PER_CELL = 64;
const ITERATIONS = 10;
const TOP_K = 10;
const ROUNDS = 9;
const BATCH = 256;
const SETTINGS = [
  [0.018, 1.2, 24],
  [0.028, 1.3, 24],
  [0.034, 1.3, 24],
  [0.038, 1.3, 24],
  [0.058, 1.35, 24],
  [0.066, 1.4, 24],
  [0.075, 1.4, 24],
  [0.18, 1.7, 24],
  [0.2, 1.8, 24],
  [0.22, 1.8, 28],
].map(([share, epsilon, rerank]) => ({
  nprobe: Math.round(share * CELLS),
  topK: TOP_K,
  rerank: BITS === 1 ? 16 * rerank : rerank,
  epsilon,
}));

const seed = new Uint8Array(32).fill(1);
const kernels = await loadKernels("simd", { fresh: true });
const { base, queries } = await splitWords();
const n = base.length / DIM;
const truth = exactNeighbours();
const index = await build();
const list = Array.from({ length: QUERIES }, (_, q) => queries.slice(q * DIM, (q + 1) * DIM));
report(SETTINGS.map(measure));
phases(SETTINGS[5]);

async function splitWords() {
  const { vectors } = await loadWords();
  const rows = vectors.length / DIM;
  const held = (i) => i % EVERY === 0 && i < QUERIES * EVERY;
  const pick = (wanted) => {
    const kept = Array.from({ length: rows }, (_, i) => i).filter((i) => held(i) === wanted);
    const out = new Float32Array(kept.length * DIM);
    kept.forEach((row, i) => {
      out.set(vectors.subarray(row * DIM, (row + 1) * DIM), i * DIM);
    });
    return out;
  };
  return { base: pick(false), queries: pick(true) };
}

function exactNeighbours() {
  const rows = kernels.copyIn(base);
  const norms = kernels.alloc(n * 4);
  kernels.rowInvNorms(rows, n, DIM, norms);
  const query = kernels.copyIn(queries);
  const best = kernels.topK(TOP_K);
  const out = [];
  for (let q = 0; q < QUERIES; q++) {
    const at = query + q * DIM * 4;
    kernels.scanCosine(rows, norms, n, DIM, at, kernels.invNorm(at, DIM), 0, best);
    out.push(new Set(best.drain().ids));
  }
  best.free();
  for (const pointer of [rows, norms, query]) kernels.free(pointer);
  return out;
}

async function build() {
  const start = cpu();
  const padded = paddedDim(DIM);
  const y = kernels.copyIn(base);
  toIndexSpace(kernels, "cosine", 0, y, n, DIM, y);
  const sampled = sampleRows(kernels, seed, n, Math.min(n, PER_CELL * CELLS));
  const sample = kernels.alloc(sampled.length * DIM * 4);
  const order = kernels.copyIn(Uint32Array.from(sampled));
  kernels.gatherRows(y, DIM * 4, order, sampled.length, sample);
  const options = { dim: DIM, k: CELLS, iterations: ITERATIONS, seed };
  const centroids = await trainKmeans(kernels, { ...options, vectors: sample, n: sampled.length });
  const cells = kernels.alloc(n * 4);
  const assigner = new CellAssigner(kernels, centroids, DIM);
  assigner.assign(y, n, cells);
  assigner.free();
  const rotation = new Rotation(kernels, { kind: rotationKind(DIM), dim: DIM, padded, seed });
  const encoder = new RabitqEncoder(kernels, { rotation, centroids, bits: BITS, metric: "cosine" });
  const codesAt = kernels.alloc(n * codeBytes(padded, BITS));
  encoder.encode(y, n, cells, codesAt);
  encoder.free();
  rotation.free();
  const built = cpu();
  const index = new IvfIndex(kernels, {
    metric: "cosine",
    dim: DIM,
    exponent: 0,
    centroids,
    bits: BITS,
    rotation: { kind: rotationKind(DIM), padded, seed },
  });
  const parts = partsOf(kernels.u32(cells, n), kernels.bytes(codesAt, n * codeBytes(padded, BITS)).slice());
  for (const pointer of [y, sample, order, cells, codesAt]) kernels.free(pointer);
  const started = cpu();
  parts.forEach((part, cell) => {
    index.setCell(cell, [part]);
  });
  const loaded = cpu();
  const codesOnly = index.bytes;
  parts.forEach((part, cell) => {
    index.setVectors(cell, part.rowBytes());
  });
  console.log(
    `${n} word vectors of ${DIM} dimensions, ${CELLS} cells, ${BITS} bits; built in ${((built - start) / 1e6).toFixed(1)} s of CPU;`,
    `codes loaded at ${((1000 * (loaded - started)) / n).toFixed(0)} ns a row;`,
    `${(codesOnly / 1e6).toFixed(1)} MB without vectors, ${(index.bytes / 1e6).toFixed(1)} MB with`,
  );
  return index;
}

/** What each cell is loaded from; a row's tick and ordinal are its number. */
function partsOf(cellOf, codes) {
  const stride = codes.length / n;
  const rowsOf = Array.from({ length: CELLS }, () => []);
  cellOf.forEach((cell, row) => {
    rowsOf[cell].push(row);
  });
  return rowsOf.map((rows) => {
    const gathered = new Uint8Array(rows.length * stride);
    rows.forEach((row, i) => {
      gathered.set(codes.subarray(row * stride, (row + 1) * stride), i * stride);
    });
    const rowBytes = () => {
      const out = new Float32Array(rows.length * DIM);
      rows.forEach((row, i) => {
        out.set(base.subarray(row * DIM, (row + 1) * DIM), i * DIM);
      });
      return new Uint8Array(out.buffer);
    };
    return {
      rows: rows.length,
      codes: gathered,
      ticks: BigUint64Array.from(rows, BigInt),
      ordinals: Uint32Array.from(rows),
      rowBytes,
    };
  });
}

function one(q, options) {
  index.select(list[q], options.nprobe);
  return index.search(options);
}

function many(options, each) {
  for (let q = 0; q < QUERIES; q += BATCH) {
    const past = Math.min(q + BATCH, QUERIES);
    const hits = index.searchMany(queries.subarray(q * DIM, past * DIM), options);
    each?.(hits, q, past - q);
  }
}

/** Recall and counts now; the times are filled in round by round, all settings in turn. */
function measure(options) {
  const counts = { scanned: 0, refined: 0, found: 0, foundByBatch: 0 };
  for (let q = 0; q < QUERIES; q++) {
    const hits = one(q, options);
    counts.scanned += hits.scanned / QUERIES;
    counts.refined += hits.refined / QUERIES;
    counts.found += foundOf(truth[q], hits.ticks.subarray(0, hits.count));
  }
  many(options, (hits, first, size) => {
    for (let i = 0; i < size; i++)
      counts.foundByBatch += foundOf(truth[first + i], hits.ticks.subarray(i * TOP_K, (i + 1) * TOP_K));
  });
  return { options, ...counts, single: [], batch: [] };
}

function foundOf(wanted, ticks) {
  let found = 0;
  for (const tick of ticks) if (wanted.has(Number(tick))) found++;
  return found / (QUERIES * TOP_K);
}

function report(settings) {
  for (let round = 0; round < ROUNDS; round++) {
    for (const { options, single, batch } of settings) {
      single.push(
        rateOf(() => {
          for (let q = 0; q < QUERIES; q++) one(q, options);
        }),
      );
      batch.push(rateOf(() => many(options)));
    }
  }
  console.log(
    `\nrecall@10 and queries per CPU second: one at a time; in batches of ${BATCH} (least … most of the rounds)`,
  );
  for (const { options, scanned, refined, found, foundByBatch, single, batch } of settings) {
    const { nprobe, epsilon, rerank } = options;
    console.log(
      `probe ${String(nprobe).padStart(4)}  ε ${epsilon.toFixed(2)}  re-rank ${rerank}`,
      ` ${found.toFixed(4)}  ${median(single).toFixed(0).padStart(6)} ${spread(single)}`,
      ` ${foundByBatch.toFixed(4)}  ${median(batch).toFixed(0).padStart(6)} ${spread(batch)}`,
      ` ${Math.round(scanned)} rows scanned, ${Math.round(refined)} refined`,
    );
  }
  for (const least of [0.9, 0.95, 0.99]) {
    const fit = settings.filter(({ found }) => found >= least);
    const best = Math.max(0, ...fit.map(({ single }) => median(single)));
    console.log(
      `recall ≥ ${least}: ${fit.length === 0 ? "not reached" : `${best.toFixed(0)} queries a CPU second`}`,
    );
  }
}

function rateOf(run) {
  const start = cpu();
  run();
  return (1e6 * QUERIES) / (cpu() - start);
}

/** Each step with all before it: the differences are the steps' own time. */
function phases(options) {
  const steps = {
    "query and table (1 cell)": (q) => index.select(list[q], 1),
    "+ selection": (q) => index.select(list[q], options.nprobe),
    "+ scan and refine": (q) => one(q, { ...options, rerank: 0 }),
    "+ exact re-rank": (q) => one(q, options),
  };
  console.log(`\nµs a query up to each step, probe ${options.nprobe}, ε ${options.epsilon}`);
  const taken = Object.values(steps).map(() => []);
  for (let round = 0; round < ROUNDS; round++) {
    Object.values(steps).forEach((step, i) => {
      taken[i].push(
        1e6 /
          rateOf(() => {
            for (let q = 0; q < QUERIES; q++) step(q);
          }),
      );
    });
  }
  Object.keys(steps).forEach((name, i) => {
    console.log(`${name.padEnd(26)} ${median(taken[i]).toFixed(1).padStart(6)} ${spread(taken[i], 1)}`);
  });
}

function cpu() {
  const { user, system } = process.cpuUsage();
  return user + system;
}
