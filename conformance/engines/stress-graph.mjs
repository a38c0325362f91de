// Stress of graph indexes: a graph is linked and walked.
import { CellAssigner } from "../../build/lib/kernels/cell-assigner.js";
import { linkVamana } from "../../build/lib/kernels/vamana.js";
import { codeStride, GraphWalk, layGraph } from "../../build/lib/kernels/vamana-walk.js";
import { blocks, scaledRows } from "./inputs.mjs";
import { floats, joined } from "./outputs.mjs";

const MAX_ROWS = 300;
const CELLS = 9;
const DEGREE = 12;
const BEAM = 24;

/** As RECIPES of stress.mjs. */
export const GRAPH_RECIPES = {
  "Vamana, linked and walked": (kernels, { rows, n: all, dim, query }) => {
    const n = Math.min(all, MAX_ROWS);
    const scaled = scaledRows(kernels, rows, n * dim);
    const point = scaledRows(kernels, query, dim);
    let found = [];
    return {
      run: async () => {
        const own = blocks(kernels);
        const graph = await link(kernels, scaled, n, dim, own);
        const { entries, heads, repaired } = graph;
        const lists = kernels.u32(graph.lists, n * DEGREE).slice();
        found = [
          Uint32Array.of(entries, heads, repaired),
          graph.rows,
          lists,
          ...walked(kernels, graph, point, own),
        ];
        graph.free();
        own.free();
      },
      result: () => joined(...found),
    };
  },
  "Vamana, distances of a list": (kernels, { rows, n: all, dim }) => {
    const n = Math.min(all, MAX_ROWS);
    const own = blocks(kernels);
    const vectors = own.copyIn(paddedRows(scaledRows(kernels, rows, n * dim), n, dim));
    // The head of the build's block, as assembly/vamana-build.ts lists it.
    const build = own.copyIn(buildBlock(vectors, n, dim));
    const list = own.copyIn(Uint32Array.from({ length: Math.ceil(n / 4) * 4 }, (_, i) => (i * 7) % n));
    const out = own.room(Math.ceil(n / 4) * 16);
    return {
      run: () => kernels.exports.vamanaDistances(build, 0, list, n, out),
      result: () => floats(kernels, out, n),
      free: own.free,
    };
  },
};

async function link(kernels, scaled, n, dim, own) {
  const k = Math.min(n, CELLS);
  const centroids = scaled.slice(0, k * dim);
  const vectors = own.copyIn(scaled);
  const assigner = new CellAssigner(kernels, centroids, dim);
  const assigned = own.room(n * 4);
  assigner.assign(vectors, n, assigned);
  assigner.free();
  const cells = kernels.u32(assigned, n).slice();
  const sizes = { degree: DEGREE, candidates: 40, probes: Math.min(k, 4) };
  return linkVamana(kernels, { vectors, n, dim, centroids, cells, ...sizes });
}

/** The coded rows, the nodes a walk finds, what it cost, and those nodes' vectors. */
function walked(kernels, graph, point, own) {
  const { n, dim, rowBytes, lists, entries, heads } = graph;
  const stride = codeStride(dim);
  const coded = own.room(n * stride);
  kernels.exports.vamanaCodes(graph.vectors, n, dim, rowBytes, 1, coded, stride);
  const place = layGraph(kernels, n, dim, DEGREE, heads, { rows: coded, lists });
  const walk = new GraphWalk(kernels, place, n, dim, BEAM);
  walk.start(point, entries, { beam: Math.min(n, BEAM), within: { nearest: 1, slack: 0.5, isL2: true } });
  const missing = walk.go() ?? new Uint32Array(0);
  const { nodes, count } = walk.best(10);
  const best = kernels.u32(nodes, count).slice();
  const { scored, expanded } = walk.counts;
  const listed = own.copyIn(best);
  const [norms, outRows, outNorms] = [own.room(n * 4), own.room(count * rowBytes), own.room(count * 4)];
  kernels.rowInvNorms(graph.vectors, n, rowBytes / 4, norms);
  kernels.exports.vamanaGather(listed, count, graph.vectors, rowBytes, norms, outRows, outNorms);
  walk.free();
  kernels.free(place);
  return [
    kernels.bytes(coded, n * stride).slice(),
    ...[missing, best, Uint32Array.of(scored, expanded)],
    ...[floats(kernels, outRows, (count * rowBytes) / 4), floats(kernels, outNorms, count)],
  ];
}

/** The fields that distances read, as assembly/vamana-build.ts lists them. */
function buildBlock(vectors, n, dim) {
  return Uint32Array.of(n, widthOf(dim) * 4, vectors, ...new Uint32Array(13));
}

/** n × dim values, each row filled up with zeros. */
function paddedRows(values, n, dim) {
  const width = widthOf(dim);
  const padded = new Float32Array(n * width);
  for (let i = 0; i < n; i++) padded.set(values.subarray(i * dim, (i + 1) * dim), i * width);
  return padded;
}

function widthOf(dim) {
  return Math.ceil(dim / 4) * 4;
}
