import { DreamDBError } from "../errors.ts";
import { NO_NODE } from "../layout/graph.ts";
import type { Kernels } from "./kernels.ts";
import { TopK } from "./top-k.ts";

export const MAX_DEGREE = 64;
const MAX_DIM = 65_536;
const MAX_NODES = 2 ** 31 - 1;
const MAX_CANDIDATES = 1024;
const MAX_NEAR = 64;
/** Other work may run at least this often. */
const TURN_MS = 40;
/** A call into the compute core aims at this long, so that a turn ends in time. */
const CALL_MS = 8;
/** Fields of the build's block, as assembly/vamana-build.ts lists them. */
const BUILD_WORDS = 17;
/** Of the heads, so many at most are entries: a tenth of what a walk scores on word vectors, and on clusters every part of the space. */
const MOST_ENTRIES = 128;

export interface LinkOptions {
  /** Address of n × dim finite f32 in index space; only read. */
  vectors: number;
  n: number;
  dim: number;
  /** k × dim. */
  centroids: Float32Array;
  /** Each row's cell, below k. */
  cells: Uint32Array;
  /** Longest neighbour list, a multiple of 4 up to 64. Default 64. */
  degree?: number;
  /** How many of the nearest candidates a node is linked among, up to 1,024. Default 250. */
  candidates?: number;
  /** Cells whose rows are a node's candidates, up to 64. Default 10. */
  probes?: number;
  /** Called about every 40 ms of work, and at the end. What it throws ends the build. */
  onProgress?: (progress: { done: number; total: number }) => void;
}

/** A finished graph in the compute core's memory, until `free`. Nodes are rows: one of each cell first, then the others in the order of their cells. */
export interface LinkedGraph {
  n: number;
  dim: number;
  degree: number;
  /** So many first nodes are where walks begin. */
  entries: number;
  /** So many first nodes each stand for a cell. */
  heads: number;
  /** The row of each node. */
  rows: Uint32Array;
  /** Address of the vectors in node order, each padded with zeros to `rowBytes`. */
  vectors: number;
  rowBytes: number;
  /** Address of n × degree u32: each node's neighbours, ascending, then NO_NODE. */
  lists: number;
  /** Edges added so that every node can be reached from the entries. */
  repaired: number;
  free(): void;
}

/** Work in pieces that lets other work run every TURN_MS and says how far it is. */
class Turns {
  private readonly onProgress: LinkOptions["onProgress"];
  private readonly total: number;
  private done = 0;
  private turnStart = performance.now();

  constructor(total: number, onProgress: LinkOptions["onProgress"]) {
    this.total = total;
    this.onProgress = onProgress;
  }

  /** Calls `run` over 0 … count − 1 in runs that each take some milliseconds; every item counts `weight`. */
  async over(count: number, weight: number, run: (first: number, past: number) => void): Promise<void> {
    let size = 16;
    for (let first = 0; first < count; ) {
      const past = Math.min(first + size, count);
      const start = performance.now();
      run(first, past);
      const ms = performance.now() - start;
      this.done += (past - first) * weight;
      if (ms < CALL_MS / 2) size = Math.min(size * 2, 1 << 20);
      else if (ms > CALL_MS * 2) size = Math.max(1, size >> 1);
      first = past;
      await this.rest();
    }
  }

  async rest(): Promise<void> {
    if (performance.now() - this.turnStart < TURN_MS - CALL_MS) return;
    this.onProgress?.({ done: this.done, total: this.total });
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.turnStart = performance.now();
  }

  finish(): void {
    this.onProgress?.({ done: this.total, total: this.total });
  }
}

/** Blocks of the compute core that are freed together. */
class Blocks {
  private readonly kernels: Kernels;
  private pointers: number[] = [];

  constructor(kernels: Kernels) {
    this.kernels = kernels;
  }

  alloc(bytes: number): number {
    const pointer = this.kernels.alloc(bytes);
    this.pointers.push(pointer);
    return pointer;
  }

  free(...pointers: number[]): void {
    for (const pointer of pointers) this.kernels.free(pointer);
    this.pointers = this.pointers.filter((pointer) => !pointers.includes(pointer));
  }

  freeAll(): void {
    this.free(...this.pointers);
  }
}

/**
 * Links n vectors to a graph (spec/0013 §3): the same lists on any engine, in both builds of the compute core. Lets
 * other work run every 40 ms or so.
 * @throws DreamDBError InvalidArgument (n, dim, centroids, cells, degree, candidates, probes, a vector that is not
 *   finite), OutOfMemory; everything is freed then
 */
export async function linkVamana(kernels: Kernels, options: LinkOptions): Promise<LinkedGraph> {
  checkOptions(kernels, options);
  const blocks = new Blocks(kernels);
  try {
    return await link(kernels, blocks, options);
  } catch (error) {
    blocks.freeAll();
    throw error;
  }
}

async function link(kernels: Kernels, blocks: Blocks, options: LinkOptions): Promise<LinkedGraph> {
  const { n, dim, degree = MAX_DEGREE, candidates = 250 } = options;
  const { exports } = kernels;
  const rowBytes = Math.ceil(dim / 4) * 16;
  const turns = new Turns(n * 20, options.onProgress);
  const build = blocks.alloc(BUILD_WORDS * 4);
  const grouped = groupCells(options);
  await turns.rest();
  const near = Math.min(MAX_NEAR, grouped.cells.length);
  const probes = Math.min(options.probes ?? 10, near);
  const vectors = blocks.alloc(n * rowBytes);
  const lists = blocks.alloc(n * degree * 4);

  const chain = blocks.alloc(grouped.cells.length * (rowBytes + near * 4 + 12) + 4);
  const nearCells = chain + grouped.cells.length * rowBytes;
  const starts = nearCells + grouped.cells.length * near * 4;
  const heads = starts + (grouped.cells.length + 1) * 4;
  const headCells = heads + grouped.cells.length * 4;
  const setBuild = (edgeStarts: number, edges: number, marks: number): void => {
    kernels
      .u32(build, BUILD_WORDS)
      .set([
        n,
        rowBytes,
        vectors,
        degree,
        grouped.cells.length,
        starts,
        chain,
        nearCells,
        near,
        probes,
        candidates,
        lists,
        edgeStarts,
        edges,
        marks,
        heads,
        headCells,
      ]);
  };
  setBuild(0, 0, 0);

  // Cells are put in the order of a walk from each to its nearest neighbour, so that near cells lie near in bytes.
  const { length: k } = grouped.cells;
  copyCentroids(kernels, options, grouped.cells, chain, rowBytes);
  await turns.over(k, n / k, (first, past) => exports.vamanaNearCells(build, first, past));
  const order = chainOf(kernels.u32(nearCells, k * near), k, near);
  const cells = order.map((i) => grouped.cells[i] as number);
  copyCentroids(kernels, options, cells, chain, rowBytes);
  await turns.over(k, n / k, (first, past) => exports.vamanaNearCells(build, first, past));

  const headRows = new Uint32Array(k);
  await turns.over(k, n / k, (first, past) => {
    for (let cell = first; cell < past; cell++)
      headRows[cell] = headOf(
        kernels,
        options,
        grouped.rows[order[cell] as number] as Uint32Array,
        chain + cell * rowBytes,
      );
  });
  const { rows, firsts, entries, headsOf } = numberNodes(grouped, order, headRows, n);
  await turns.rest();
  kernels.u32(starts, k + 1).set(firsts);
  kernels.u32(heads, k).set(headsOf);
  for (let cell = 0; cell < k; cell++) kernels.u32(headCells, k)[headsOf[cell] as number] = cell;
  await turns.over(n, 1, (first, past) => {
    const floats = rowBytes / 4;
    for (let node = first; node < past; node++) {
      const row = kernels.f32(options.vectors + (rows[node] as number) * dim * 4, dim);
      const out = kernels.f32(vectors + node * rowBytes, floats);
      out.set(row);
      out.fill(0, dim);
    }
  });
  await turns.over(n, 10, (first, past) => exports.vamanaLink(build, first, past));
  // The heads are linked among each other, too: a walk crosses empty space by these.
  const spans = blocks.alloc(k * 4 * degree);
  const mostSpans = Math.ceil(degree / 8);
  await turns.over(k, n / k, (first, past) => exports.vamanaSpan(build, first, past, mostSpans, spans));

  const edgeStarts = blocks.alloc((n + 1) * 4 + Math.ceil(n / 8));
  const marks = edgeStarts + (n + 1) * 4;
  kernels.bytes(edgeStarts, (n + 1) * 4 + Math.ceil(n / 8)).fill(0);
  setBuild(edgeStarts, 0, marks);
  await turns.over(n, 0.5, (first, past) => exports.vamanaCountEdges(build, lists, first, past));
  exports.vamanaCountEdges(build, spans, 0, k);
  const total = sumUp(kernels.u32(edgeStarts, n + 1));
  const edges = blocks.alloc(total * 4);
  setBuild(edgeStarts, edges, marks);
  await turns.over(n, 0.5, (first, past) => exports.vamanaPlaceEdges(build, lists, first, past));
  exports.vamanaPlaceEdges(build, spans, 0, k);
  await turns.over(n, 4, (first, past) => exports.vamanaRelink(build, first, past));
  blocks.free(edgeStarts, edges, spans);

  const repaired = await reachAll({
    kernels,
    build,
    lists,
    n,
    degree,
    entries,
    headsOf,
    firsts,
    nearCells,
    near,
    turns,
  });
  turns.finish();
  blocks.free(build, chain);
  return {
    ...{ n, dim, degree, entries, heads: k, rows, vectors, rowBytes, lists, repaired },
    free: () => blocks.freeAll(),
  };
}

interface Grouped {
  /** Numbers of the cells that are not empty. */
  cells: number[];
  /** The rows of each of them, ascending. */
  rows: Uint32Array[];
}

function groupCells({ cells, centroids, dim, n }: LinkOptions): Grouped {
  const k = centroids.length / dim;
  const ends = new Uint32Array(k + 1);
  for (const cell of cells) ends[cell + 1] = (ends[cell + 1] as number) + 1;
  sumUp(ends);
  const places = ends.slice();
  const rows = new Uint32Array(n);
  for (let row = 0; row < n; row++) {
    const cell = cells[row] as number;
    const place = places[cell] as number;
    rows[place] = row;
    places[cell] = place + 1;
  }
  const full = Array.from({ length: k }, (_, cell) => cell).filter(
    (cell) => (ends[cell + 1] as number) > (ends[cell] as number),
  );
  return { cells: full, rows: full.map((cell) => rows.subarray(ends[cell], ends[cell + 1])) };
}

/** Each count becomes the sum up to it. */
function sumUp(counts: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < counts.length; i++) {
    sum += counts[i] as number;
    counts[i] = sum;
  }
  return sum;
}

function copyCentroids(
  kernels: Kernels,
  { centroids, dim }: LinkOptions,
  cells: readonly number[],
  out: number,
  rowBytes: number,
): void {
  const floats = rowBytes / 4;
  const view = kernels.f32(out, cells.length * floats);
  view.fill(0);
  cells.forEach((cell, i) => {
    view.set(centroids.subarray(cell * dim, (cell + 1) * dim), i * floats);
  });
}

/** From cell 0 always to the nearest cell not yet visited; where all near ones are, to the lowest. */
function chainOf(nearCells: Uint32Array, k: number, near: number): number[] {
  const isVisited = new Uint8Array(k);
  const order: number[] = [];
  let lowest = 0;
  let cell = 0;
  while (order.length < k) {
    isVisited[cell] = 1;
    order.push(cell);
    const next = nearCells.subarray(cell * near, (cell + 1) * near).find((other) => isVisited[other] === 0);
    while (isVisited[lowest] === 1) lowest++;
    cell = next ?? lowest;
  }
  return order;
}

/** The nodes: first the heads, of these first the entries, then the other rows cell by cell. */
function numberNodes(
  grouped: Grouped,
  order: readonly number[],
  headRows: Uint32Array,
  n: number,
): { rows: Uint32Array; firsts: Uint32Array; entries: number; headsOf: Uint32Array } {
  const k = order.length;
  // Every so manieth cell of the chain: together they have something of every part of the space.
  const stride = Math.ceil(k / MOST_ENTRIES);
  const cells = order.map((_, cell) => cell);
  const entryCells = cells.filter((cell) => cell % stride === 0);
  const inOrder = [...entryCells, ...cells.filter((cell) => cell % stride !== 0)];
  const rows = new Uint32Array(n);
  const headsOf = new Uint32Array(k);
  const firsts = new Uint32Array(k + 1);
  let node = 0;
  for (const cell of inOrder) {
    headsOf[cell] = node;
    rows[node++] = headRows[cell] as number;
  }
  order.forEach((group, cell) => {
    firsts[cell] = node;
    for (const row of grouped.rows[group] as Uint32Array) if (row !== headRows[cell]) rows[node++] = row;
  });
  firsts[k] = node;
  return { rows, firsts, entries: entryCells.length, headsOf };
}

/** Of the rows of a cell the one nearest to its centroid, the lowest of equal ones. */
function headOf(
  kernels: Kernels,
  { vectors, dim }: LinkOptions,
  rows: Uint32Array,
  centroid: number,
): number {
  const topK = new TopK(kernels, 1);
  try {
    for (const row of rows) kernels.scanL2(vectors + row * dim * 4, 1, dim, centroid, row, topK);
    return topK.drain().ids[0] as number;
  } finally {
    topK.free();
  }
}

interface Reach {
  kernels: Kernels;
  build: number;
  lists: number;
  n: number;
  degree: number;
  entries: number;
  headsOf: Uint32Array;
  firsts: Uint32Array;
  nearCells: number;
  near: number;
  turns: Turns;
}

/**
 * Adds an edge to each part of the graph that can't be reached from the entries, from a node that can and is near; where
 * that node's list is full the edge takes the place of one by which nothing was reached first. Returns how many.
 */
async function reachAll(reach: Reach): Promise<number> {
  const { kernels, lists, n, degree, entries, turns } = reach;
  const parents = new Uint32Array(n).fill(NO_NODE);
  const queue = new Uint32Array(n);
  let held = 0;
  let next = 0;
  const enter = (node: number, parent: number): void => {
    parents[node] = parent;
    queue[held++] = node;
  };
  const spread = async (): Promise<void> => {
    while (next < held) {
      const past = Math.min(held, next + 4096);
      const view = kernels.u32(lists, n * degree);
      for (; next < past; next++) {
        const node = queue[next] as number;
        for (let at = node * degree; at < (node + 1) * degree; at++) {
          const other = view[at] as number;
          if (other === NO_NODE) break;
          if (parents[other] !== NO_NODE) continue;
          enter(other, node);
        }
      }
      await turns.rest();
    }
  };
  for (let node = 0; node < entries; node++) enter(node, node);
  await spread();
  let repaired = 0;
  for (let node = 0; held < n; node++) {
    if (parents[node] !== NO_NODE) continue;
    enter(node, attach(reach, parents, node));
    await spread();
    repaired++;
  }
  return repaired;
}

/** Gives some reached node near `node` an edge to it, and returns that node. */
function attach(reach: Reach, parents: Uint32Array, node: number): number {
  const { kernels, lists, degree } = reach;
  const own = kernels.u32(lists + node * degree * 4, degree).slice();
  for (const pool of nearPools(reach, own, node)) {
    const reached = pool.filter((other) => parents[other] !== NO_NODE);
    for (const other of byDistance(reach, node, reached)) {
      if (addEdge(reach, parents, other, node)) return other;
    }
  }
  // Not to be reached: a tree has leaves, and a leaf's list has an edge to spare.
  throw new DreamDBError("Corrupt", "no node can take another edge", { field: "lists" });
}

/** Places to look for a reached node in: the node's own list, the cells near its own, all cells. */
function* nearPools(reach: Reach, own: Uint32Array, node: number): Generator<Uint32Array> {
  const { kernels, firsts, headsOf, nearCells, near } = reach;
  yield own.filter((other) => other !== NO_NODE);
  let cell = headsOf.indexOf(node);
  if (cell < 0) cell = firsts.findLastIndex((first) => first <= node);
  const cells = [
    ...kernels.u32(nearCells + cell * near * 4, near),
    ...Array.from({ length: firsts.length - 1 }, (_, i) => i),
  ];
  for (const other of cells) {
    yield headsOf.subarray(other, other + 1);
    const [first, past] = [firsts[other] as number, firsts[other + 1] as number];
    for (let from = first; from < past; from += 1024) {
      const count = Math.min(1024, past - from);
      yield Uint32Array.from({ length: count }, (_, i) => from + i);
    }
  }
}

/** At most 1,024 nodes, nearest to `node` first, ties by number. */
function byDistance({ kernels, build }: Reach, node: number, nodes: Uint32Array): number[] {
  const { length } = nodes;
  const list = kernels.alloc(length * 8 + 16);
  try {
    kernels.u32(list, length).set(nodes);
    kernels.exports.vamanaDistances(build, node, list, length, list + Math.ceil(length / 4) * 16);
    const distances = kernels.f32(list + Math.ceil(length / 4) * 16, length).slice();
    const order = Array.from(nodes, (_, i) => i);
    order.sort(
      (a, b) =>
        (distances[a] as number) - (distances[b] as number) || (nodes[a] as number) - (nodes[b] as number),
    );
    return order.map((i) => nodes[i] as number);
  } finally {
    kernels.free(list);
  }
}

function addEdge(reach: Reach, parents: Uint32Array, from: number, to: number): boolean {
  const { kernels, lists, degree } = reach;
  const list = kernels.u32(lists + from * degree * 4, degree);
  let place = list.indexOf(NO_NODE);
  if (place < 0) place = list.findLastIndex((other) => parents[other] !== from);
  if (place < 0) return false;
  list[place] = to;
  list.sort();
  return true;
}

function checkOptions(kernels: Kernels, options: LinkOptions): void {
  const { n, dim, centroids, cells, degree = MAX_DEGREE, candidates = 250, probes = 10 } = options;
  whole("n", n, 1, MAX_NODES);
  whole("dim", dim, 1, MAX_DIM);
  whole("degree", degree, 4, MAX_DEGREE);
  if (degree % 4 !== 0) throw invalid("degree", degree, "a multiple of 4");
  whole("candidates", candidates, 1, MAX_CANDIDATES);
  whole("probes", probes, 1, MAX_NEAR);
  if (centroids.length === 0 || centroids.length % dim !== 0)
    throw invalid("centroids", centroids.length, `k × ${dim} values`);
  const bad = centroids.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw invalid(`centroids[${bad}]`, centroids[bad], "a finite number");
  if (cells.length !== n) throw invalid("cells", cells.length, `${n} cells`);
  const k = centroids.length / dim;
  const wrong = cells.findIndex((cell) => cell >= k);
  if (wrong >= 0) throw invalid(`cells[${wrong}]`, cells[wrong], `0…${k - 1}`);
  const rows = Math.max(1, Math.floor((1 << 24) / dim));
  for (let first = 0; first < n; first += rows) {
    const count = Math.min(rows, n - first) * dim;
    const at = kernels.checkFinite(options.vectors + first * dim * 4, count);
    if (at >= 0) throw invalid(`vectors[${first * dim + at}]`, "not finite", "a finite number");
  }
}

function whole(field: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most)
    throw invalid(field, value, `a whole number, ${least}…${most}`);
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "no graph can be built like this", { field, found, expected });
}
