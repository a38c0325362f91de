// Stress of what builds and searches a spatial index: rotations, k-means, RaBitQ codes, IVF. These kernels work on vectors in the
// index's space, so the rows are scaled by a power of two first.
import { seeded } from "../../bench/timing.mjs";
import { CellAssigner } from "../../build/lib/kernels/cell-assigner.js";
import { IvfIndex } from "../../build/lib/kernels/ivf.js";
import { IvfMatches } from "../../build/lib/kernels/ivf-matches.js";
import { RabitqEncoder, toIndexSpace } from "../../build/lib/kernels/rabitq.js";
import { paddedDim, Rotation, rotationKind } from "../../build/lib/kernels/rotation.js";
import { scaledRows } from "./inputs.mjs";
import { floatBytes, floats, joined } from "./outputs.mjs";

const SEED = Uint8Array.from({ length: 32 }, (_, i) => i * 11 + 5);
const MAX_CELLS = 21;
/** A search looks at no more of the rows: making their codes takes longer than searching them. */
const MAX_ROWS = 400;

/** As RECIPES of stress.mjs. */
export const INDEX_RECIPES = {
  rotation: (kernels, { rows, n, dim }) => {
    const rotation = rotationOf(kernels, dim);
    const out = kernels.alloc(n * rotation.padded * 4);
    const scaled = kernels.copyIn(scaledRows(kernels, rows, n * dim));
    return {
      run: () => rotation.rotate(scaled, n, out),
      result: () => floats(kernels, out, n * rotation.padded),
      free: () => {
        rotation.free();
        for (const pointer of [out, scaled]) kernels.free(pointer);
      },
    };
  },
  "k-means, one round": (kernels, { rows, n, dim }) => {
    const k = Math.min(n, MAX_CELLS);
    const vectors = scaledRows(kernels, rows, n * dim);
    const assigner = new CellAssigner(kernels, vectors.slice(0, k * dim), dim);
    const [y, centroids] = [kernels.copyIn(vectors), kernels.copyIn(vectors.subarray(0, k * dim))];
    const [cells, sums, counts] = [kernels.alloc(n * 4), kernels.alloc(k * dim * 8), kernels.alloc(k * 4)];
    return {
      run: () => {
        assigner.assign(y, n, cells);
        kernels.bytes(sums, k * dim * 8).fill(0);
        kernels.bytes(counts, k * 4).fill(0);
        kernels.exports.addToCells(y, n, dim, cells, sums, counts);
        kernels.exports.moveCentroids(sums, counts, k, dim, centroids);
      },
      result: () => joined(kernels.u32(cells, n).slice(), floats(kernels, centroids, k * dim)),
      free: () => {
        assigner.free();
        for (const pointer of [y, centroids, cells, sums, counts]) kernels.free(pointer);
      },
    };
  },
  "cells through the filter": (kernels, { rows, n, dim }) => {
    const { exports } = kernels;
    const k = Math.min(n, MAX_CELLS);
    const y = kernels.copyIn(scaledRows(kernels, rows, n * dim));
    const packed = kernels.alloc(Math.ceil(k / 16) * (dim + 1) * 64);
    const filter = kernels.alloc(exports.cellFilterBytes(k, dim));
    const cells = kernels.alloc(n * 4);
    exports.packCells(y, k, dim, packed);
    exports.packCellFilter(packed, k, dim, filter);
    return {
      run: () => exports.assignFiltered(y, n, dim, packed, filter, k, cells),
      result: () => kernels.u32(cells, n).slice(),
      free: () => {
        for (const pointer of [y, packed, filter, cells]) kernels.free(pointer);
      },
    };
  },
  "into the index's space, cosine and dot": (kernels, { rows, n, dim }) => {
    const out = kernels.alloc(2 * n * dim * 4);
    return {
      run: () => {
        toIndexSpace(kernels, "cosine", 0, rows, n, dim, out);
        toIndexSpace(kernels, "dot", 3, rows, n, dim, out + n * dim * 4);
      },
      result: () => floats(kernels, out, 2 * n * dim),
      free: () => kernels.free(out),
    };
  },
  "RaBitQ, 1 bit, dot": rabitq("dot", 1),
  "RaBitQ, 4 bits, L2": rabitq("l2", 4),
  "RaBitQ, 7 bits, cosine": rabitq("cosine", 7),
  "IVF, 1-bit codes, estimates only, dot": ivf("dot", 1, { vectors: false, rerank: 0 }),
  "IVF, 4-bit codes, vectors in the cells, L2": ivf("l2", 4, { vectors: true, rerank: 30 }),
  "IVF, 8-bit codes, vectors brought after, cosine": ivf("cosine", 8, { vectors: false, rerank: 30 }),
  "IVF, no codes, masked, dot": ivf("dot", 0, { vectors: true, rerank: 10, masked: true }),
  "IVF, many queries, 4-bit codes, cosine": ivfMany("cosine", 4),
  "IVF, many queries, 1-bit codes, L2": ivfMany("l2", 1),
  "IVF, rows of a filter, vectors in the cells, L2": ivfMatches("l2", true),
  "IVF, rows of a filter, chosen by 4-bit codes, cosine": ivfMatches("cosine", false),
};

/** The codes of up to MAX_ROWS rows, each relative to one of the first as its centroid. */
function rabitq(metric, bits) {
  return (kernels, { rows, n: all, dim }) => {
    const n = Math.min(all, MAX_ROWS);
    const k = Math.min(n, MAX_CELLS);
    const scaled = scaledRows(kernels, rows, n * dim);
    const rotation = rotationOf(kernels, dim);
    const centroids = scaled.slice(0, k * dim);
    const encoder = new RabitqEncoder(kernels, { rotation, centroids, bits, metric });
    const y = kernels.copyIn(scaled);
    const cells = kernels.copyIn(Uint32Array.from({ length: n }, (_, i) => (i * 7) % k));
    const codes = kernels.alloc(n * encoder.codeBytes);
    return {
      run: () => encoder.encode(y, n, cells, codes),
      result: () => kernels.bytes(codes, n * encoder.codeBytes),
      free: () => {
        encoder.free();
        rotation.free();
        for (const pointer of [y, cells, codes]) kernels.free(pointer);
      },
    };
  };
}

/** A search of a few cells of an index whose codes are seeded bytes: any code row is one that may occur. */
function ivf(metric, bits, { vectors, rerank, masked = false }) {
  return (kernels, { rows, n: all, dim, query, mask }) => {
    const n = Math.min(all, MAX_ROWS);
    const scaled = scaledRows(kernels, rows, n * dim);
    const point = scaledRows(kernels, query, dim);
    const index = indexOf(kernels, { metric, bits, dim, n, scaled, vectors });
    // Any rows do for the candidates' vectors, as long as they are the same everywhere.
    const brought = kernels.copyIn(scaled);
    let found = [];
    return {
      run: () => {
        const selected = index.select(point, 8).slice();
        const missing = Uint32Array.from(index.missing(vectors) ?? []);
        const filter = masked ? mask : 0;
        let hits = index.search({ topK: 10, rerank, epsilon: 1.3, filter });
        found = [selected, missing, ...hitsOf(hits)];
        if (hits.exact || rerank === 0 || hits.count > n) return;
        hits = index.rerank(brought);
        found.push(...hitsOf(hits));
      },
      result: () => joined(...found),
      free: () => {
        index.free();
        kernels.free(brought);
      },
    };
  };
}

/** As `ivf`, for many queries at once: the first rows themselves. */
function ivfMany(metric, bits) {
  return (kernels, { rows, n: all, dim }) => {
    const n = Math.min(all, MAX_ROWS);
    const scaled = scaledRows(kernels, rows, n * dim);
    const index = indexOf(kernels, { metric, bits, dim, n, scaled, vectors: true });
    const queries = scaled.slice(0, Math.min(n, 12) * dim);
    let found;
    return {
      run: () => {
        found = index.searchMany(queries, { nprobe: 5, topK: 7, rerank: 20, epsilon: 1.3 });
      },
      result: () => {
        const parts = [found.counts, found.exact, Uint32Array.of(found.scanned, found.refined)];
        // What lies past a query's count is not written.
        found.counts.forEach((count, i) => {
          const at = [i * 7, i * 7 + count];
          parts.push(floatBytes(found.scores.slice(...at)));
          parts.push(...[found.cells, found.rows, found.ticks].map((values) => values.slice(...at)));
        });
        return joined(...parts);
      },
      free: () => index.free(),
    };
  };
}

/** The best of every third row: all of them scored, or those that their codes leave. */
function ivfMatches(metric, vectors) {
  return (kernels, { rows, n: all, dim, query }) => {
    const n = Math.min(all, MAX_ROWS);
    const scaled = scaledRows(kernels, rows, n * dim);
    const point = scaledRows(kernels, query, dim);
    const index = indexOf(kernels, { metric, bits: 4, dim, n, scaled, vectors });
    const matches = new IvfMatches(kernels, index, n);
    const bits = new Uint8Array(Math.ceil(n / 8));
    for (let row = 0; row < n; row += 3) bits[row >> 3] |= 1 << (row & 7);
    const list = matches.list(bits, Math.ceil(n / 3));
    let found = [];
    return {
      run: () => {
        index.select(point, index.cells);
        if (vectors) {
          const { scores, ticks } = matches.score(list, 10);
          found = [floatBytes(scores), ticks, matches.cellsOf(list)];
          return;
        }
        const chosen = matches.choose(list, 10);
        const { cells, rows: within, ticks, count } = chosen;
        const { scores, ticks: best } = matches.scoreVectors(chosen, scaled.slice(0, count * dim), 10);
        found = [cells, within, ticks, floatBytes(scores), best];
      },
      result: () => joined(...found),
      free: () => {
        kernels.free(list.list);
        matches.free();
        index.free();
      },
    };
  };
}

function indexOf(kernels, { metric, bits, dim, n, scaled, vectors }) {
  const cells = Math.min(n, MAX_CELLS);
  const centroids = scaled.slice(0, cells * dim);
  const rotation = { kind: rotationKind(dim), padded: paddedDim(dim), seed: SEED };
  const index = new IvfIndex(kernels, { metric, dim, exponent: 0, centroids, rotation, bits });
  const random = seeded(23);
  for (let cell = 0; cell < cells; cell++) {
    const first = Math.floor((cell * n) / cells);
    const rows = Math.floor(((cell + 1) * n) / cells) - first;
    const part = {
      rows,
      codes: codesOf(rows, bits, rotation.padded, random),
      ticks: BigUint64Array.from({ length: rows }, (_, i) => BigInt(first + i) * 1000n),
      ordinals: Uint32Array.from({ length: rows }, (_, i) => first + i),
    };
    const floats = scaled.slice(first * dim, (first + rows) * dim);
    index.setCell(cell, vectors ? [{ ...part, vectors: new Uint8Array(floats.buffer) }] : [part]);
  }
  return index;
}

/** Stored code rows (spec/0010): planes of seeded bits, then factors of a usual size, one row in fifty a wild one. */
function codesOf(rows, bits, padded, random) {
  if (bits === 0) return new Uint8Array(0);
  const planes = (bits * padded) / 8;
  const stride = planes + (bits === 1 ? 8 : 16);
  const codes = Uint8Array.from({ length: rows * stride }, () => random() * 256);
  const view = new DataView(codes.buffer);
  for (let at = planes; at < codes.length; at += stride) {
    const wild = random() < 0.02;
    view.setInt16(at, wild ? 32767 : random() * 16000 - 8000, true);
    view.setInt16(at + 2, wild ? 0 : random() * 20000, true);
    view.setUint16(at + 4, random() * 3000, true);
    view.setUint16(at + 6, bits === 1 ? 0 : random() * 500, true);
    if (bits === 1) continue;
    view.setFloat32(at + 8, random() - 0.5, true);
    view.setFloat32(at + 12, random(), true);
  }
  return codes;
}

function hitsOf({ count, exact, scores, cells, rows, ticks, scanned, refined, reranked }) {
  return [
    Uint32Array.of(count, exact ? 1 : 0, scanned, refined, reranked),
    floatBytes(scores.slice(0, count)),
    ...[cells, rows, ticks].map((values) => values.slice(0, count)),
  ];
}

function rotationOf(kernels, dim) {
  return new Rotation(kernels, { kind: rotationKind(dim), dim, padded: paddedDim(dim), seed: SEED });
}
