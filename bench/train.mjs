// Building an index over the word vectors, step by step, in CPU seconds of one core; then how the kernels scale.
// Run after a build: node bench/train.mjs [scalar]
import { CellAssigner, sampleRows, trainKmeans } from "../build/lib/kernels/kmeans.js";
import { loadKernels } from "../build/lib/kernels/load.js";
import { PqCodebooks, PqEncoder } from "../build/lib/kernels/pq.js";
import { codeBytes, paddedDim, RabitqEncoder, toIndexSpace } from "../build/lib/kernels/rabitq.js";
import { Rotation, rotationKind } from "../build/lib/kernels/rotation.js";
import { median, spread } from "./statistics.mjs";
import { compare, rate, seeded } from "./timing.mjs";
import { DIM, loadWords } from "./words.mjs";

const mode = process.argv[2] ?? "simd";
const HELD_OUT = 1000;
const CELLS = 1024;
const PER_CELL = 64;
const ROUNDS = 8;
const BITS = 4;
const RUNS = 3;
const seed = new Uint8Array(32).fill(1);
const kernels = await loadKernels(mode, { fresh: true });

await wholeBuild();
for (const [dim, k] of [
  [128, 1024],
  [512, 1024],
  [100, 4096],
])
  assignment(dim, k);
for (const dim of [100, 128, 512, 768, 1024]) codes(dim);
for (const [subspaces, bits] of [
  [16, 8],
  [32, 8],
  [64, 8],
  [32, 4],
  [64, 4],
])
  products(128, subspaces, bits);

async function wholeBuild() {
  const { vectors } = await loadWords();
  const n = vectors.length / DIM - HELD_OUT;
  const x = kernels.copyIn(vectors.subarray(0, n * DIM));
  const y = kernels.alloc(n * DIM * 4);
  const cells = kernels.alloc(n * 4);
  const padded = paddedDim(DIM);
  const codesAt = kernels.alloc(n * codeBytes(padded, BITS));
  const sample = kernels.alloc(PER_CELL * CELLS * DIM * 4);
  const taken = { space: [], sample: [], train: [], assign: [], encode: [], whole: [] };
  let figures = "";
  for (let run = 0; run < RUNS; run++) {
    const step = stopwatch(taken);
    toIndexSpace(kernels, "cosine", 0, x, n, DIM, y);
    step("space");
    takeSample(y, n, sample);
    step("sample");
    const options = { vectors: sample, n: PER_CELL * CELLS, dim: DIM, k: CELLS, iterations: ROUNDS, seed };
    const centroids = await trainKmeans(kernels, options);
    step("train");
    const assigner = new CellAssigner(kernels, centroids, DIM);
    assigner.assign(y, n, cells);
    assigner.free();
    step("assign");
    const rotation = new Rotation(kernels, { kind: rotationKind(DIM), dim: DIM, padded, seed });
    const encoder = new RabitqEncoder(kernels, { rotation, centroids, bits: BITS, metric: "cosine" });
    encoder.encode(y, n, cells, codesAt);
    encoder.free();
    rotation.free();
    step("encode");
    taken.whole.push(
      ["space", "sample", "train", "assign", "encode"].reduce((s, key) => s + taken[key].at(-1), 0),
    );
    figures = quality(kernels.f32(y, n * DIM), kernels.u32(cells, n), centroids);
  }
  console.log(`\n${n} word vectors of ${DIM} dimensions, ${CELLS} cells, ${BITS} bits, ${mode}; CPU seconds`);
  for (const [name, seconds] of Object.entries(taken))
    console.log(`${name.padEnd(10)} ${median(seconds).toFixed(2).padStart(6)} ${spread(seconds, 2)}`);
  console.log(`${Math.round(n / median(taken.whole))} vectors a second; ${figures}`);
  for (const pointer of [x, y, cells, codesAt, sample]) kernels.free(pointer);
}

function takeSample(y, n, sample) {
  const rows = sampleRows(kernels, seed, n, PER_CELL * CELLS);
  const index = kernels.copyIn(Uint32Array.from(rows));
  kernels.gatherRows(y, DIM * 4, index, rows.length, sample);
  kernels.free(index);
}

/** How far rows are from their centroids, and how uneven cells are: 1 when all are of one size. */
function quality(y, cells, centroids) {
  const counts = new Uint32Array(CELLS);
  let squares = 0;
  cells.forEach((cell, row) => {
    counts[cell]++;
    for (let j = 0; j < DIM; j++) squares += (y[row * DIM + j] - centroids[cell * DIM + j]) ** 2;
  });
  const uneven = counts.reduce((sum, count) => sum + count ** 2, 0) * (CELLS / cells.length ** 2);
  return `mean |r|² ${(squares / cells.length).toFixed(4)}, Σ n²·k/N² ${uneven.toFixed(3)}`;
}

function stopwatch(taken) {
  let before = process.cpuUsage();
  return (name) => {
    const { user, system } = process.cpuUsage(before);
    taken[name].push((user + system) / 1e6);
    before = process.cpuUsage();
  };
}

function assignment(dim, k) {
  const random = seeded(dim);
  const n = 512;
  const assigner = new CellAssigner(kernels, values(k * dim, random), dim);
  const y = kernels.copyIn(values(n * dim, random));
  const cells = kernels.alloc(n * 4);
  const taken = compare({ assign: () => assigner.assign(y, n, cells) });
  console.log(rate(`\nassignment, ${dim} × ${k} cells`, taken.assign, (2 * n * dim * k) / 1e6, "GFLOP/s"));
  assigner.free();
  for (const pointer of [y, cells]) kernels.free(pointer);
}

function codes(dim) {
  const random = seeded(dim);
  const n = 512;
  const padded = paddedDim(dim);
  const rotation = new Rotation(kernels, { kind: rotationKind(dim), dim, padded, seed });
  const y = kernels.copyIn(values(n * dim, random));
  const z = kernels.alloc(n * padded * 4);
  const cells = kernels.copyIn(new Uint32Array(n));
  const contenders = {
    rotate: () => rotation.rotate(y, n, z),
    "rotate, one a call": () => rotation.rotate(y, 1, z),
  };
  for (const bits of [1, 4, 8]) {
    const encoder = new RabitqEncoder(kernels, {
      rotation,
      centroids: values(dim, random),
      bits,
      metric: "dot",
    });
    const out = kernels.alloc(n * encoder.codeBytes);
    contenders[`code of ${bits} bits`] = () => encoder.encode(y, n, cells, out);
  }
  console.log(`\n${dim} dimensions, µs a row`);
  for (const [name, { median, best, worst }] of Object.entries(compare(contenders, { rounds: 9 }))) {
    const show = (ms) => ((1000 * ms) / (name.endsWith("call") ? 1 : n)).toFixed(3);
    console.log(`${name.padEnd(22)} ${show(median).padStart(8)} (${show(best)} … ${show(worst)})`);
  }
  rotation.free();
  for (const pointer of [y, z, cells]) kernels.free(pointer);
}

function products(dim, subspaces, bits) {
  const random = seeded(subspaces);
  const n = 8192;
  const codebooks = new PqCodebooks(kernels, { dim, subspaces, bits }, values(2 ** bits * dim, random));
  const encoder = new PqEncoder(kernels, { codebooks, centroids: new Float32Array(dim), metric: "dot" });
  const y = kernels.copyIn(values(512 * dim, random));
  const cells = kernels.copyIn(new Uint32Array(512));
  const codes = kernels.copyIn(Uint8Array.from({ length: n * encoder.codeBytes }, () => random() * 256));
  const table = kernels.copyIn(values(subspaces * 2 ** bits, random));
  const out = kernels.alloc(Math.max(n * 4, 512 * encoder.codeBytes));
  const { exports } = kernels;
  let scan = () => exports.pqScores(codes, n, encoder.codeBytes, subspaces, table, out);
  if (bits === 4) {
    const [bytes, blocks] = [
      kernels.alloc(subspaces * 16 + 8),
      kernels.alloc(exports.pqBlockBytes(n, subspaces)),
    ];
    exports.pqByteTable(table, subspaces, bytes, bytes + subspaces * 16);
    exports.pqBlocks(codes, n, encoder.codeBytes, subspaces, blocks);
    scan = () => exports.pqScan(blocks, n / 32, subspaces, bytes, out);
  }
  const taken = compare({ scan, encode: () => encoder.encode(y, 512, cells, out) }, { rounds: 9 });
  console.log(`\nPQ, ${dim} dimensions in ${subspaces} of ${bits} bits`);
  console.log(rate("scan", taken.scan, n / 1e3, "M codes/s", 0));
  console.log(rate("encode", taken.encode, 512, "thousand rows/s", 0));
}

function values(length, random) {
  return Float32Array.from({ length }, () => random() - 0.5);
}
