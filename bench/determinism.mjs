// Every kernel in both builds: how much faster SIMD is, and whether the outputs are the same bits, over
// ordinary values and over ones made to bring out any difference in order or rounding.
import { loadKernels } from "../build/lib/kernels/load.js";
import { compare, ratio, seeded } from "./timing.mjs";

const builds = [await loadKernels("scalar", { fresh: true }), await loadKernels("simd", { fresh: true })];
const N = 2000;
const DIM = 100;
const SEED = Uint8Array.from({ length: 32 }, (_, i) => i * 7);

const FILLS = {
  ordinary: (random) => random() * 2 - 1,
  denormal: (random) => (random() * 2 - 1) * 1e-39,
  "zeros of both signs": (random) => (random() < 0.5 ? 0 : -0),
  huge: (random) => (random() * 2 - 1) * 3e38,
  "of all sizes": (random) => (random() * 2 - 1) * 10 ** Math.floor(random() * 70 - 35),
};

/** Name → prepare(kernels, at) → { run, result }: `result` gives the output bytes of the last `run`. */
const KERNELS = {
  "LSH cells, 24 bits": (kernels, at) => {
    const planes = kernels.lshPlanes(SEED, DIM, 24);
    return {
      run: () => kernels.exports.lshCells(at.rows, N, DIM, planes.ptr, 24, at.out),
      result: () => kernels.bytes(at.out, N * 4),
    };
  },
  "LSH margins, 64 planes": (kernels, at) => {
    const planes = kernels.lshPlanes(SEED, DIM, 64);
    return { run: () => planes.marginsOf(at.rows, N, at.out), result: () => floats(kernels, at.out, N * 64) };
  },
  "LSH planes, 24 × 100": (kernels) => {
    let planes = kernels.lshPlanes(SEED, DIM, 24);
    return {
      run: () => {
        planes.free();
        planes = kernels.lshPlanes(SEED, DIM, 24);
      },
      result: () => floats(kernels, planes.ptr, 32 * DIM),
    };
  },
  "inverse norms": (kernels, at) => ({
    run: () => kernels.rowInvNorms(at.rows, N, DIM, at.out),
    result: () => floats(kernels, at.out, N),
  }),
  "cosine scores": (kernels, at) => ({
    run: () => kernels.scoresCosine(at.rows, at.norms, N, DIM, at.query, at.queryInv, at.out),
    result: () => floats(kernels, at.out, N),
  }),
  "dot scores": (kernels, at) => ({
    run: () => kernels.scoresDot(at.rows, N, DIM, at.query, at.out),
    result: () => floats(kernels, at.out, N),
  }),
  "L2 scores": (kernels, at) => ({
    run: () => kernels.scoresL2(at.rows, N, DIM, at.query, at.out),
    result: () => floats(kernels, at.out, N),
  }),
  "cosine scan, top 10": (kernels, at) => {
    const best = kernels.topK(10);
    return {
      run: () => {
        best.reset();
        kernels.scanCosine(at.rows, at.norms, N, DIM, at.query, at.queryInv, 0, best);
      },
      result: () => drained(best),
    };
  },
  "top 100 of 200,000 scores": (kernels, at) => {
    const best = kernels.topK(100);
    return {
      run: () => {
        best.reset();
        best.push(at.rows, N * DIM, 0);
      },
      result: () => drained(best),
    };
  },
  "check for NaN and infinity": (kernels, at) => {
    let found = 0;
    return {
      run: () => {
        found = kernels.checkFinite(at.rows, N * DIM);
      },
      result: () => Uint8Array.of(found & 255),
    };
  },
  "BLAKE3 of 800 kB": (kernels, at) => {
    let digest = new Uint8Array(0);
    return {
      run: () => {
        digest = kernels.blake3(at.rows, N * DIM * 4);
      },
      result: () => digest,
    };
  },
  "gather 2,000 rows": (kernels, at) => ({
    run: () => kernels.gatherRows(at.rows, DIM * 4, at.index, N, at.out),
    result: () => kernels.bytes(at.out, N * DIM * 4),
  }),
};

let failures = 0;
console.log(`${"kernel".padEnd(28)} ${"SIMD / scalar".padStart(13)}   bits`);
for (const [name, prepare] of Object.entries(KERNELS)) {
  const differing = Object.entries(FILLS).flatMap(([fill, value]) => (same(prepare, value) ? [] : [fill]));
  const [scalar, simd] = builds.map((kernels) =>
    withInput(kernels, FILLS.ordinary, (at) => prepare(kernels, at).run, true),
  );
  const taken = compare({ scalar, simd }, { rounds: 7, minSampleMs: 20 });
  const verdict = differing.length === 0 ? "identical" : `DIFFERENT for ${differing.join(", ")}`;
  console.log(`${name.padEnd(28)} ${`${ratio(taken.scalar, taken.simd)}×`.padStart(13)}   ${verdict}`);
  failures += differing.length;
}
process.exitCode = failures === 0 ? 0 : 1;

function same(prepare, fill) {
  const [scalar, simd] = builds.map((kernels) =>
    withInput(kernels, fill, (at) => {
      const { run, result } = prepare(kernels, at);
      run();
      return Buffer.from(result());
    }),
  );
  return scalar.equals(simd);
}

/** `work` with rows, their inverse norms, a query and an index in memory, equal in both builds. */
function withInput(kernels, fill, work, keep = false) {
  const random = seeded(11);
  const rows = kernels.copyIn(Float32Array.from({ length: N * DIM }, () => fill(random)));
  const query = kernels.copyIn(Float32Array.from({ length: DIM }, () => fill(random)));
  const index = kernels.copyIn(Uint32Array.from({ length: N }, () => random() * N));
  const norms = kernels.alloc(N * 4);
  const out = kernels.alloc(N * DIM * 4);
  kernels.rowInvNorms(rows, N, DIM, norms);
  const result = work({ rows, query, index, norms, out, queryInv: kernels.invNorm(query, DIM) });
  if (!keep) for (const pointer of [rows, query, index, norms, out]) kernels.free(pointer);
  return result;
}

/** Copies f32, all NaN made one: engines differ in which NaN they make, and none is ever stored. */
function floats(kernels, pointer, count) {
  const values = kernels.f32(pointer, count).map((x) => (Number.isNaN(x) ? Number.NaN : x));
  return new Uint8Array(values.buffer);
}

function drained(best) {
  const { scores, ids } = best.drain();
  return Buffer.concat([new Uint8Array(scores.buffer), new Uint8Array(ids.buffer)]);
}
