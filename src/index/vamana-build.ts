// Building graphs and the objects that store them, without the dataset around them (spec/0013-graph-indexing.md).
import { type Address, addressOf } from "../core/address.ts";
import { DreamDBError } from "../errors.ts";
import { CellAssigner } from "../kernels/cell-assigner.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { sampleRows, trainKmeans } from "../kernels/kmeans.ts";
import { type LinkedGraph, linkVamana } from "../kernels/vamana.ts";
import { codeStride, codeWidth } from "../kernels/vamana-walk.ts";
import type { Sealed } from "../objects/column.ts";
import {
  blockNodesOf,
  defaultGraphSeed,
  encodeGraphIndex,
  type GraphIndex,
  type GraphMetric,
  metricOf,
} from "../objects/graph-index.ts";
import { encodeGraphBlock, encodeGraphPage, pagesOf } from "../objects/graph-page.ts";

/** Rows of a cell, on average, where the number of cells is not given. */
const CELL_ROWS = 128;
const SAMPLE_PER_CELL = 64;
const ITERATIONS = 6;
const DEGREE = 64;
const CANDIDATES = 250;
const PROBES = 20;
/** Of the progress: what training and assigning count, and what writing the pages does. */
const TRAIN_SHARE = 0.2;
const PAGES_SHARE = 0.05;
/** Other work may run at least this often. */
const TURN_MS = 30;

export interface VamanaSource {
  kernels: Kernels;
  metric: GraphMetric;
  /** Address of n × dim finite f32 in index space: of unit length for cosine, divided by 2^exponent for l2. Only read. */
  vectors: number;
  n: number;
  dim: number;
  /** The anchor of each row. */
  ticks: BigUint64Array;
  /** For l2. Default 0. */
  exponent?: number;
  /** Longest neighbour list, a multiple of 4 up to 64. Default 64. */
  degree?: number;
  /** How many of the nearest nodes a node is linked among. Default 250. */
  candidates?: number;
  /** Cells those are looked for in. Default 20. */
  probes?: number;
  /** Cells of the k-means. Default n / 128. */
  cells?: number;
  iterations?: number;
  /** 32 bytes. Default by metric, dim and degree. */
  seed?: Uint8Array;
  /** Graphs this one was made from. */
  parents?: Address[];
  /** Called about every 40 ms with the part done, up to 1. What it throws ends the build. */
  onProgress?: (done: number) => void;
}

export interface VamanaBuild {
  address: Address;
  bytes: Uint8Array;
  index: GraphIndex;
  /** To be stored before the index. */
  pages: Sealed[];
}

/**
 * Builds the graph of n vectors and the objects that store it. Equal input gives equal bytes, on any engine. Lets other
 * work run every 40 ms or so.
 * @throws DreamDBError InvalidArgument (what `trainKmeans` and `linkVamana` refuse), OutOfMemory
 */
export async function buildVamana(source: VamanaSource): Promise<VamanaBuild> {
  const { kernels, metric, n, dim, ticks, degree = DEGREE, onProgress } = source;
  if (!Number.isInteger(n) || n < 1) throw invalid("n", n, "at least one vector");
  if (ticks.length !== n) throw invalid("ticks", ticks.length, `${n} anchors`);
  const seed = source.seed ?? defaultGraphSeed(metric, dim, degree);
  const cells = Math.min(n, source.cells ?? Math.max(1, Math.round(n / CELL_ROWS)));
  const iterations = source.iterations ?? ITERATIONS;
  const candidates = source.candidates ?? CANDIDATES;
  const probes = source.probes ?? PROBES;
  const grouped = await groupRows(source, { cells, iterations, seed });
  const linked = await linkVamana(kernels, {
    ...{ vectors: source.vectors, n, dim, degree, candidates, probes },
    ...grouped,
    onProgress: ({ done, total }) =>
      onProgress?.(TRAIN_SHARE + (1 - TRAIN_SHARE - PAGES_SHARE) * (done / total)),
  });
  try {
    const index: GraphIndex = {
      algorithm: metric === "l2" ? "dreamdb.vamana-l2" : "dreamdb.vamana-cosine",
      ...{
        dim,
        exponent: source.exponent ?? 0,
        rows: n,
        degree,
        entries: linked.entries,
        heads: linked.heads,
      },
      ...{ blockNodes: blockNodesOf(dim, degree), cells, iterations, candidates, probes, seed },
      parents: source.parents ?? [],
      pages: [],
    };
    const pages = await writePages(source, linked, index);
    index.pages = pages.map((page) => page.ref);
    const bytes = encodeGraphIndex(index);
    return { address: addressOf(bytes), bytes, index, pages };
  } finally {
    linked.free();
  }
}

async function groupRows(
  { kernels, vectors, n, dim, onProgress }: VamanaSource,
  { cells: k, iterations, seed }: { cells: number; iterations: number; seed: Uint8Array },
): Promise<{ centroids: Float32Array; cells: Uint32Array }> {
  const sampled = Math.min(n, k * SAMPLE_PER_CELL);
  const sample = kernels.alloc(sampled * dim * 4);
  let centroids: Float32Array;
  try {
    const chosen = kernels.copyIn(Uint32Array.from(sampleRows(kernels, seed, n, sampled)));
    kernels.gatherRows(vectors, dim * 4, chosen, sampled, sample);
    kernels.free(chosen);
    await new Promise((resolve) => setTimeout(resolve, 0));
    centroids = await trainKmeans(kernels, {
      ...{ vectors: sample, n: sampled, dim, k, iterations, seed },
      onProgress: ({ done, total }) => onProgress?.(TRAIN_SHARE * 0.7 * (total === 0 ? 1 : done / total)),
    });
  } finally {
    kernels.free(sample);
  }
  const assigner = new CellAssigner(kernels, centroids, dim);
  let out = 0;
  try {
    out = kernels.alloc(n * 4);
    const step = Math.max(64, Math.floor(2e8 / (k * dim) / 64) * 64);
    for (let first = 0; first < n; first += step) {
      assigner.assign(vectors + first * dim * 4, Math.min(step, n - first), out + first * 4);
      onProgress?.(TRAIN_SHARE * (0.7 + (0.3 * first) / n));
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    return { centroids, cells: kernels.u32(out, n).slice() };
  } finally {
    if (out !== 0) kernels.free(out);
    assigner.free();
  }
}

async function writePages(
  { kernels, ticks, onProgress }: VamanaSource,
  linked: LinkedGraph,
  index: GraphIndex,
): Promise<Sealed[]> {
  const { dim, degree, rows, blockNodes } = index;
  const pages: Sealed[] = [];
  let turn = performance.now();
  for (const { firstNode, nodes } of pagesOf(rows, blockNodes)) {
    const blocks: Uint8Array[] = [];
    for (let at = 0; at < nodes; at += blockNodes) {
      const run = { firstNode: firstNode + at, nodes: Math.min(blockNodes, nodes - at) };
      blocks.push(writeBlock(kernels, linked, index, run, ticks));
      if (performance.now() - turn < TURN_MS) continue;
      onProgress?.(1 - PAGES_SHARE * (1 - (firstNode + at) / rows));
      await new Promise((resolve) => setTimeout(resolve, 0));
      turn = performance.now();
    }
    const hasHalves = metricOf(index) === "l2";
    pages.push(encodeGraphPage({ firstNode, nodes, dim, degree, rows, blockNodes, hasHalves }, blocks));
  }
  onProgress?.(1);
  return pages;
}

/** One block of a page, of nodes from `firstNode` on. */
function writeBlock(
  kernels: Kernels,
  linked: LinkedGraph,
  index: GraphIndex,
  { firstNode, nodes }: { firstNode: number; nodes: number },
  ticks: BigUint64Array,
): Uint8Array {
  const { dim, degree } = index;
  const stride = codeStride(dim);
  const isL2 = metricOf(index) === "l2";
  const coded = kernels.alloc(nodes * stride);
  try {
    const from = linked.vectors + firstNode * linked.rowBytes;
    kernels.exports.vamanaCodes(from, nodes, dim, linked.rowBytes, isL2 ? 1 : 0, coded, stride);
    const bytes = kernels.bytes(coded, nodes * stride);
    const floats = kernels.f32(coded, (nodes * stride) / 4);
    const codes = new Int8Array(nodes * dim);
    for (let i = 0; i < nodes; i++) codes.set(bytes.subarray(i * stride, i * stride + dim), i * dim);
    const factors = (at: number): Float32Array =>
      Float32Array.from(
        { length: nodes },
        (_, i) => floats[(i * stride + codeWidth(dim)) / 4 + at] as number,
      );
    const halves = isL2 ? factors(1) : undefined;
    const far = halves?.indexOf(Number.POSITIVE_INFINITY) ?? -1;
    if (far >= 0)
      throw invalid(
        `vectors[${linked.rows[firstNode + far]}]`,
        "too long",
        "a length whose square is an f32",
      );
    const anchors = new BigUint64Array(nodes);
    for (let i = 0; i < nodes; i++) anchors[i] = ticks[linked.rows[firstNode + i] as number] as bigint;
    return encodeGraphBlock({
      ...{ firstNode, nodes, dim, degree, anchors, codes, scales: factors(0) },
      ...(halves === undefined ? {} : { halves }),
      lists: kernels.u32(linked.lists + firstNode * degree * 4, nodes * degree),
    });
  } finally {
    kernels.free(coded);
  }
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "no graph can be built like this", { field, found, expected });
}
