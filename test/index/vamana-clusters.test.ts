/** Graphs of vectors in clusters far apart: of the nearest of a node none lies in another cluster. */
import { beforeAll, expect, test } from "@jest/globals";
import { buildVamana, VamanaGraph } from "../../src/index/vamana.ts";
import { decodeGraphBlock, decodeGraphPageHead } from "../../src/objects/graph-page.ts";
import { bothBuilds, cosine, invNorm, seeded } from "../kernels/reference.ts";
import type { Kernels } from "../kernels/subject.ts";

const DIM = 64;
const ROWS = 10_000;
const QUERIES = 60;
const TOP = 10;
const WIDTH = 0.3;
/** More cells a cluster than the 64 that a cell knows of. */
const BUILD = { cells: 1250, candidates: 40, degree: 32 };

let builds: Kernels[];

beforeAll(async () => {
  builds = await bothBuilds();
});

/** Unit vectors round so many centres; `clusterOf` takes a number in [0, 1). */
function draw(
  clusters: number,
  clusterOf: (part: number) => number,
): { rows: Float32Array; queries: Float32Array[] } {
  const random = seeded(5);
  const bell = (): number => (random() + random() + random() + random() - 2) * Math.sqrt(3);
  const centres = Float64Array.from({ length: clusters * DIM }, bell);
  const vector = (): Float32Array => {
    const first = Math.floor(clusterOf(random()) * clusters) * DIM;
    const x = Float32Array.from({ length: DIM }, (_, k) => (centres[first + k] as number) + WIDTH * bell());
    const inverse = invNorm(x);
    return x.map((value) => value * inverse);
  };
  const rows = new Float32Array(ROWS * DIM);
  for (let i = 0; i < ROWS; i++) rows.set(vector(), i * DIM);
  return { rows, queries: Array.from({ length: QUERIES }, vector) };
}

async function build(kernels: Kernels, rows: Float32Array) {
  const vectors = kernels.copyIn(rows);
  try {
    const ticks = BigUint64Array.from({ length: ROWS }, (_, row) => BigInt(row));
    return await buildVamana({ ...BUILD, kernels, metric: "cosine", vectors, n: ROWS, dim: DIM, ticks });
  } finally {
    kernels.free(vectors);
  }
}

/** Nodes that links lead to from the entries. */
function reached({ index, pages }: Awaited<ReturnType<typeof build>>): number {
  const lists = new Uint32Array(ROWS * index.degree);
  for (const [i, { bytes }] of pages.entries()) {
    for (const block of decodeGraphPageHead(bytes, index, i).blocks) {
      const own = lists.subarray(
        block.firstNode * index.degree,
        (block.firstNode + block.nodes) * index.degree,
      );
      decodeGraphBlock(index, block, bytes.subarray(block.offset, block.offset + block.bytes), own);
    }
  }
  const found = new Set(Array.from({ length: index.entries }, (_, node) => node));
  for (const node of found)
    for (const other of lists.subarray(node * index.degree, (node + 1) * index.degree))
      if (other < ROWS) found.add(other);
  return found.size;
}

test.each([
  ["alike in size", 12, (part: number) => part],
  ["of many sizes, some without an entry", 100, (part: number) => part ** 2],
])(
  "clusters %s: all nodes are reached, and a narrow walk finds the nearest",
  async (_, clusters, clusterOf) => {
    const { rows, queries } = draw(clusters, clusterOf);
    const addresses = new Set<string>();
    const tenths = queries.map((query) => {
      const all = Float32Array.from({ length: ROWS }, (_, row) =>
        cosine(rows.subarray(row * DIM, (row + 1) * DIM), query),
      );
      return all.sort().at(-TOP);
    });
    for (const kernels of builds) {
      const built = await build(kernels, rows);
      addresses.add(built.address);
      expect(built.index.entries).toBeLessThanOrEqual(128);
      expect(built.index.heads).toBeGreaterThan(1000);
      expect(reached(built)).toBe(ROWS);
      const graph = VamanaGraph.open(kernels, built.bytes);
      await graph.loadAll(async (_ref, i) => (built.pages[i] as (typeof built.pages)[0]).bytes);
      await graph.loadVectors((first, run) => {
        for (let at = 0; at < run.length; at += DIM) {
          const row = Number(graph.ticks[first + at / DIM]);
          run.set(rows.subarray(row * DIM, (row + 1) * DIM), at);
        }
      });
      let hits = 0;
      for (const [i, query] of queries.entries())
        for (const score of graph.search(query, { topK: TOP, beam: 60, rerank: 40 }).scores)
          hits += Number(score >= (tenths[i] as number));
      expect(hits / QUERIES / TOP).toBeGreaterThanOrEqual(0.95);
      graph.free();
    }
    expect(addresses.size).toBe(1);
  },
);
