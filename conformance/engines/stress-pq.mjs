// Stress of product quantisation: codebooks, codes, and both ways to score them.
import { PqCodebooks, PqEncoder } from "../../build/lib/kernels/pq.js";
import { residualsOf, trainPq } from "../../build/lib/kernels/pq-training.js";
import { blocks, scaledRows } from "./inputs.mjs";
import { floatBytes, floats, joined } from "./outputs.mjs";

const SEED = Uint8Array.from({ length: 32 }, (_, i) => i * 13 + 1);
const MAX_ROWS = 400;
const CELLS = 3;

/** As RECIPES of stress.mjs. */
export const PQ_RECIPES = {
  "PQ, 4 bits, trained, scanned in blocks": (kernels, input) => {
    const { shape, n, residuals, encoded, own } = prepared(kernels, input, 4, "dot");
    let found = [];
    return {
      run: async () => {
        const trained = await trainPq(kernels, { ...shape, residuals, n, iterations: 2, seed: SEED });
        found = encoded(trained, (codes, stride, table) => {
          const { exports } = kernels;
          const m = shape.subspaces;
          const count = Math.ceil(n / 32);
          const [bytes, sums, scores] = [own.room(m * 16 + 8), own.room(count * 64), own.room(n * 4)];
          const blocked = own.room(exports.pqBlockBytes(n, m));
          exports.pqByteTable(table, m, bytes, bytes + m * 16);
          exports.pqBlocks(codes, n, stride, m, blocked);
          exports.pqScan(blocked, count, m, bytes, sums);
          exports.pqNibbleScores(codes, n, stride, m, table, scores);
          return [
            kernels.bytes(bytes, m * 16).slice(),
            floats(kernels, bytes + m * 16, 2),
            kernels.bytes(sums, count * 64).slice(),
            floats(kernels, scores, n),
          ];
        });
        found.push(floatBytes(trained));
      },
      result: () => joined(...found),
      free: own.free,
    };
  },
  "PQ, 8 bits, L2": (kernels, input) => {
    const { shape, n, scaled, encoded, own } = prepared(kernels, input, 8, "l2");
    // Not trained: that would want more rows than some shapes have.
    const made = Float32Array.from({ length: 256 * shape.dim }, (_, i) => scaled[(i * 31) % scaled.length]);
    let found = [];
    return {
      run: () => {
        found = encoded(made, (codes, stride, table) => {
          const out = own.room(n * 4);
          kernels.exports.pqScores(codes, n, stride, shape.subspaces, table, out);
          return [floats(kernels, out, n)];
        });
      },
      result: () => joined(...found),
      free: own.free,
    };
  },
};

/** Rows with their residuals in memory; `encoded(codebooks, score)` gives codes, table, and what `score` makes of them. */
function prepared(kernels, { rows, n: all, dim, query }, bits, metric) {
  const own = blocks(kernels);
  const n = Math.min(all, MAX_ROWS);
  const shape = { dim, bits, subspaces: Math.min(dim, 10) };
  const scaled = scaledRows(kernels, rows, n * dim);
  const centroids = scaled.slice(0, CELLS * dim);
  const [y, point] = [own.copyIn(scaled), own.copyIn(scaledRows(kernels, query, dim))];
  const cells = own.copyIn(Uint32Array.from({ length: n }, (_, i) => i % CELLS));
  const residuals = own.room(n * dim * 4);
  residualsOf(kernels, y, n, dim, cells, own.copyIn(centroids), residuals);

  const encoded = (values, score) => {
    const codebooks = new PqCodebooks(kernels, shape, values);
    const encoder = new PqEncoder(kernels, { codebooks, centroids, metric });
    const stride = encoder.codeBytes;
    const entries = shape.subspaces * 2 ** bits;
    const [codes, table] = [own.room(n * stride), own.room(entries * 4)];
    encoder.encode(y, n, cells, codes);
    codebooks.table(point, table);
    const scores = score(codes, stride, table);
    encoder.free();
    codebooks.free();
    return [kernels.bytes(codes, n * stride).slice(), floats(kernels, table, entries), ...scores];
  };
  return { shape, n, scaled, residuals, encoded, own };
}
