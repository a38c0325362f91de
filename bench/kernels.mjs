// The compute core against its goals: SIMD against scalar, against what the memory gives, against blake3-wasm.
import { createHash } from "node:crypto";
import { loadKernels } from "../build/lib/kernels/load.js";
import { hash } from "../build/vendor/blake3.js";
import { compare, rate, ratio, seeded, time } from "./timing.mjs";

const simd = await loadKernels("simd");
const scalar = await loadKernels("scalar");
const random = seeded(1);
const print = (...lines) => console.log(lines.join("\n"));

lsh(512, 256, 256);
lsh(512, 12, 1024);
lsh(100, 12, 1024);
scan(341_479, 100);
topK(1_000_000);
blake3(1024);
blake3(65_536);
blake3(1_048_576);

function lsh(dim, bits, n) {
  const seed = Uint8Array.from({ length: 32 }, () => random() * 256);
  const values = Float32Array.from({ length: n * dim }, () => random() - 0.5);
  const contender = (kernels) => {
    const planes = kernels.lshPlanes(seed, dim, bits);
    const x = kernels.copyIn(values);
    const out = kernels.alloc(n * bits * 4);
    return {
      batch: () =>
        bits > 32 ? planes.marginsOf(x, n, out) : kernels.exports.lshCells(x, n, dim, planes.ptr, bits, out),
      one: () => planes.marginsOf(x, 1, out),
    };
  };
  const [fast, slow] = [contender(simd), contender(scalar)];
  const taken = compare({ simd: fast.batch, scalar: slow.batch, one: fast.one });
  const flops = (2 * dim * bits) / 1e6;
  print(
    `\nLSH, ${dim} dimensions × ${bits} planes, batches of ${n}`,
    rate("SIMD", taken.simd, flops * n, "GFLOP/s"),
    rate("scalar", taken.scalar, flops * n, "GFLOP/s"),
    rate("SIMD, one vector a call", taken.one, flops, "GFLOP/s"),
    `SIMD is ${ratio(taken.scalar, taken.simd)}× scalar; ${((taken.simd.median * 1000) / n).toFixed(2)} µs a vector`,
  );
}

function scan(n, dim) {
  const block = new Float32Array(n * dim).map(() => random() - 0.5);
  const contender = (kernels) => {
    const rows = kernels.copyIn(block);
    const norms = kernels.alloc(n * 4);
    kernels.rowInvNorms(rows, n, dim, norms);
    const best = kernels.topK(10);
    const queryInv = kernels.invNorm(rows, dim);
    return {
      scan: () => kernels.scanCosine(rows, norms, n, dim, rows, queryInv, 0, best),
      scanAndNorms: () => kernels.scanCosine(rows, 0, n, dim, rows, queryInv, 0, best),
      read: () => kernels.exports.checkFinite(rows, n * dim),
    };
  };
  const [fast, slow] = [contender(simd), contender(scalar)];
  const options = { rounds: 9, minSampleMs: 1 };
  const taken = compare(
    { simd: fast.scan, cold: fast.scanAndNorms, scalar: slow.scan, read: fast.read },
    options,
  );
  const gigabytes = (n * dim * 4) / 1e6;
  print(
    `\nExact cosine, top 10 of ${n} × ${dim} f32 (${(gigabytes / 1000).toFixed(3)} GB)`,
    time("SIMD", taken.simd),
    rate("", taken.simd, gigabytes, "GB/s"),
    time("SIMD, norms computed on the way", taken.cold),
    time("scalar", taken.scalar),
    rate("only reading (checkFinite)", taken.read, gigabytes, "GB/s"),
    `SIMD is ${ratio(taken.scalar, taken.simd)}× scalar, at ${((100 * taken.read.median) / taken.simd.median).toFixed(0)} % of the read rate`,
  );
}

function topK(n) {
  const scores = Float32Array.from({ length: n }, () => random());
  const contender = (kernels, k) => {
    const at = kernels.copyIn(scores);
    const best = kernels.topK(k);
    return () => {
      best.reset();
      best.push(at, n, 0);
    };
  };
  const drain = (k) => {
    const push = contender(simd, k);
    const best = simd.topK(k);
    const at = simd.copyIn(scores);
    const all = () => {
      best.push(at, n, 0);
      best.drain();
    };
    return { push, all };
  };
  const large = drain(100_000);
  const taken = compare(
    { simd: contender(simd, 10), scalar: contender(scalar, 10), large: large.push, drained: large.all },
    { rounds: 9, minSampleMs: 20 },
  );
  print(
    `\nTop k of ${n} scores`,
    rate("k = 10, SIMD", taken.simd, n / 1e6, "G scores/s", 2),
    rate("k = 10, scalar", taken.scalar, n / 1e6, "G scores/s", 2),
    time("k = 100,000, SIMD", taken.large),
    time("k = 100,000, SIMD, with drain", taken.drained),
    `SIMD is ${ratio(taken.scalar, taken.simd)}× scalar`,
  );
}

function blake3(bytes) {
  const input = Uint8Array.from({ length: bytes }, () => random() * 256);
  const at = simd.copyIn(input);
  const slow = scalar.copyIn(input);
  const taken = compare({
    simd: () => simd.blake3(at, bytes),
    copied: () => simd.hashBytes(input),
    scalar: () => scalar.blake3(slow, bytes),
    library: () => hash(input),
    sha256: () => createHash("sha256").update(input).digest(),
  });
  print(
    `\nBLAKE3 of ${bytes} bytes`,
    rate("SIMD, in memory", taken.simd, bytes / 1e6, "GB/s", 2),
    rate("SIMD, copied in", taken.copied, bytes / 1e6, "GB/s", 2),
    rate("scalar, in memory", taken.scalar, bytes / 1e6, "GB/s", 2),
    rate("blake3-wasm", taken.library, bytes / 1e6, "GB/s", 2),
    rate("SHA-256 of Node", taken.sha256, bytes / 1e6, "GB/s", 2),
    `SIMD is ${ratio(taken.scalar, taken.simd)}× scalar, copied in ${ratio(taken.library, taken.copied)}× blake3-wasm`,
  );
}
