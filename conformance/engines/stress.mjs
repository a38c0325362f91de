// Every kernel over seeded inputs larger and nastier than vectors can be, for comparing output bits: between the
// builds (bench/determinism.mjs) and between engines (run.mjs). Inputs are made by exact arithmetic alone, for Math.pow
// and its like differ between engines.
import { seeded } from "../../bench/timing.mjs";
import { best, bytesOf, floats, joined } from "./outputs.mjs";
import { GRAPH_RECIPES } from "./stress-graph.mjs";
import { INDEX_RECIPES } from "./stress-index.mjs";
import { PQ_RECIPES } from "./stress-pq.mjs";

const SEED = Uint8Array.from({ length: 32 }, (_, i) => i * 7);

/** Name → value(random): f32 to fill rows and queries with. */
export const FILLS = {
  ordinary: (random) => random() * 2 - 1,
  denormal: (random) => (random() * 2 - 1) * 1e-39,
  "zeros of both signs": (random) => (random() < 0.5 ? 0 : -0),
  huge: (random) => (random() * 2 - 1) * 3e38,
  "of all sizes": (random) => floatOfBits(random() * 2 ** 31, random() * 254, random() < 0.5),
};

/** Rows × dimensions: whole blocks of lanes, then what is left over when lanes and blocks are full. */
export const SHAPES = [
  { n: 1024, dim: 96 },
  { n: 403, dim: 129 },
  { n: 517, dim: 31 },
  { n: 263, dim: 2 },
  { n: 103, dim: 512 },
  { n: 66, dim: 1 },
];

/**
 * Name → prepare(kernels, input) → { run, result, free? }: `result` gives the output bytes of the last `run`, which may be async;
 * `input` is that of `withInput`, to be left as it was but for `out`. A new kernel gets an entry here, and run.mjs says so when it has neither that nor vectors.
 */
export const RECIPES = {
  "LSH cells, 24 bits": (kernels, { rows, n, dim, out }) => {
    const planes = kernels.lshPlanes(SEED, dim, 24);
    return {
      run: () => kernels.exports.lshCells(rows, n, dim, planes.ptr, 24, out),
      result: () => kernels.bytes(out, n * 4),
      free: () => planes.free(),
    };
  },
  "LSH margins, 64 planes": (kernels, { rows, n, dim }) => {
    const planes = kernels.lshPlanes(SEED, dim, 64);
    const margins = kernels.alloc(n * 64 * 4);
    return {
      run: () => planes.marginsOf(rows, n, margins),
      result: () => floats(kernels, margins, n * 64),
      free: () => {
        planes.free();
        kernels.free(margins);
      },
    };
  },
  "LSH planes, 24 × dim": (kernels, { dim }) => {
    let planes = kernels.lshPlanes(SEED, dim, 24);
    return {
      run: () => {
        planes.free();
        planes = kernels.lshPlanes(SEED, dim, 24);
      },
      result: () => floats(kernels, planes.ptr, kernels.exports.lshPlanesBytes(dim, 24) / 4),
      free: () => planes.free(),
    };
  },
  "inverse norms": (kernels, { rows, n, dim, out }) => ({
    run: () => kernels.rowInvNorms(rows, n, dim, out),
    result: () => floats(kernels, out, n),
  }),
  "cosine scores": (kernels, { rows, norms, n, dim, query, queryInv, out }) => ({
    run: () => kernels.scoresCosine(rows, norms, n, dim, query, queryInv, out),
    result: () => floats(kernels, out, n),
  }),
  "dot scores": (kernels, { rows, n, dim, query, out }) => ({
    run: () => kernels.scoresDot(rows, n, dim, query, out),
    result: () => floats(kernels, out, n),
  }),
  "L2 scores": (kernels, { rows, n, dim, query, out }) => ({
    run: () => kernels.scoresL2(rows, n, dim, query, out),
    result: () => floats(kernels, out, n),
  }),
  "scores of rows anywhere, each metric": (kernels, { rows, norms, n, dim, query, queryInv, index, out }) => {
    const addresses = kernels.copyIn(kernels.u32(index, n).map((row) => rows + row * dim * 4));
    return {
      run: () => {
        for (const metric of [0, 1, 2])
          kernels.exports.scoresAt(metric, addresses, norms, n, dim, query, queryInv, out + metric * n * 4);
      },
      result: () => floats(kernels, out, 3 * n),
      free: () => kernels.free(addresses),
    };
  },
  "cosine scan, top 10": (kernels, { rows, norms, n, dim, query, queryInv }) =>
    best(kernels, 10, (topK) => kernels.scanCosine(rows, norms, n, dim, query, queryInv, 0, topK)),
  "cosine scan of masked rows without norms": (kernels, { rows, n, dim, query, queryInv, mask }) =>
    best(kernels, 10, (topK) => kernels.scanCosine(rows, 0, n, dim, query, queryInv, 7, topK, mask)),
  "dot scan, top 10": (kernels, { rows, n, dim, query }) =>
    best(kernels, 10, (topK) => kernels.scanDot(rows, n, dim, query, 0, topK)),
  "L2 scan of masked rows": (kernels, { rows, n, dim, query, mask }) =>
    best(kernels, 10, (topK) => kernels.scanL2(rows, n, dim, query, 0, topK, mask)),
  "top 100 of n × dim scores": (kernels, { rows, n, dim }) =>
    best(kernels, 100, (topK) => topK.push(rows, n * dim, 0)),
  "top 100 of scores with ids": (kernels, { rows, n, index }) =>
    best(kernels, 100, (topK) => topK.push(rows, n, 3, index)),
  "check for NaN and infinity": (kernels, { rows, n, dim }) => {
    const found = new Int32Array(2);
    const last = rows + (n * dim - 1) * 4;
    return {
      run: () => {
        found[0] = kernels.checkFinite(rows, n * dim);
        const kept = kernels.u32(last, 1)[0];
        kernels.u32(last, 1)[0] = 0x7f800000;
        found[1] = kernels.checkFinite(rows, n * dim);
        kernels.u32(last, 1)[0] = kept;
      },
      result: () => bytesOf(found),
    };
  },
  "BLAKE3 of the rows": (kernels, { rows, n, dim }) => {
    let digest = new Uint8Array(0);
    return {
      run: () => {
        digest = kernels.blake3(rows, n * dim * 4);
      },
      result: () => digest,
    };
  },
  "BLAKE3 in pieces": (kernels, { rows, n, dim }) => {
    let digest = new Uint8Array(0);
    const input = kernels.bytes(rows, n * dim * 4).slice();
    return {
      run: () => {
        digest = kernels.hashBytes(input);
      },
      result: () => digest,
    };
  },
  "ChaCha20, n blocks": (kernels, { rows, n }) => {
    // The first 44 bytes of the rows for a key and a nonce.
    const blocks = kernels.alloc(n * 64);
    return {
      run: () => kernels.exports.keystream(rows, rows + 32, 0xfffffff0, blocks, n),
      result: () => kernels.bytes(blocks, n * 64),
      free: () => kernels.free(blocks),
    };
  },
  "gather n rows": (kernels, { rows, n, dim, index, out }) => ({
    run: () => kernels.gatherRows(rows, dim * 4, index, n, out),
    result: () => kernels.bytes(out, n * dim * 4),
  }),
  ...INDEX_RECIPES,
  ...PQ_RECIPES,
  ...GRAPH_RECIPES,
  "rows by cell": (kernels, { index, n }) => {
    const cells = kernels.u32(index, n).map((cell) => cell & 63);
    let sorted = {};
    return {
      run: () => {
        sorted = kernels.sortByCell(cells, 6);
      },
      result: () => joined(sorted.rows, sorted.cells, sorted.firstRows),
    };
  },
};

/**
 * `work` with seeded input in memory, equal in every engine: `rows` (f32 n × dim), their inverse `norms`, a `query` with
 * `queryInv`, an `index` (u32 × n, below n), a `mask` of rows, and room `out` for n × dim f32, at least n × 4. `keep` leaves it there.
 */
export async function withInput(kernels, fill, { n, dim }, work, keep = false) {
  const random = seeded(11);
  const rows = kernels.copyIn(Float32Array.from({ length: Math.max(n * dim, 11) }, () => fill(random)));
  const query = kernels.copyIn(Float32Array.from({ length: dim }, () => fill(random)));
  const index = kernels.copyIn(Uint32Array.from({ length: n }, () => random() * n));
  const mask = kernels.copyIn(Uint8Array.from({ length: Math.ceil(n / 8) }, () => random() * 256));
  const norms = kernels.alloc(n * 4);
  const out = kernels.alloc(n * Math.max(dim, 4) * 4);
  kernels.rowInvNorms(rows, n, dim, norms);
  const queryInv = kernels.invNorm(query, dim);
  const result = await work({ n, dim, rows, query, index, mask, norms, out, queryInv });
  if (!keep) for (const pointer of [rows, query, index, mask, norms, out]) kernels.free(pointer);
  return result;
}

/** The output bytes of one recipe over the input of `withInput`, a copy. */
export async function output(kernels, prepare, input) {
  const { run, result, free } = prepare(kernels, input);
  await run();
  const bytes = result().slice();
  free?.();
  return bytes;
}

function floatOfBits(mantissa, exponent, negative) {
  const bits = ((negative ? 1 : 0) << 31) | (Math.floor(exponent) << 23) | (mantissa & 0x7fffff);
  return new Float32Array(Uint32Array.of(bits).buffer)[0];
}
