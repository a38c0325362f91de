// Opening and walking graphs, without the dataset around them (spec/0013-graph-indexing.md).
import { addressOf } from "../core/address.ts";
import { checkHash } from "../core/blake3.ts";
import { DreamDBError } from "../errors.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { TopK } from "../kernels/top-k.ts";
import {
  checkBeam,
  codeStride,
  codeWidth,
  type Going,
  GraphWalk,
  layGraph,
  MAX_SLACK,
} from "../kernels/vamana-walk.ts";
import type { ContainerRef } from "../objects/container-ref.ts";
import { decodeGraphIndex, type GraphIndex, metricOf, pageNodesOf } from "../objects/graph-index.ts";
import {
  decodeGraphBlock,
  decodeGraphPageHead,
  type GraphBlock,
  type GraphNodes,
  type GraphPageHead,
} from "../objects/graph-page.ts";

export { buildVamana, type VamanaBuild, type VamanaSource } from "./vamana-build.ts";

/** Bytes of decoded blocks that stay in memory between cold walks. */
const CACHE_BYTES = 64 << 20;
const DEFAULT_BEAM = 120;

/** Reads `length` bytes at `offset` of a page; what comes back is verified. */
export type ReadBlock = (page: ContainerRef, offset: number, length: number) => Promise<Uint8Array>;
/** The original vectors of some nodes, one after the other (count × dim). */
export type ReadVectors = (nodes: Uint32Array, ticks: BigUint64Array) => Promise<Float32Array>;

export interface WalkOptions {
  topK: number;
  /** Nodes a walk keeps in view: more is slower and finds more. At least topK. Default 120. */
  beam?: number;
  /**
   * Nodes further than (1 + slack) times the distance of the topK-th best so far are left out, which ends a walk early
   * where the query's neighbourhood is clear; without effect beside a filter. Default: none are.
   */
  slack?: number | undefined;
  /** Which best the slack is reckoned from, 1 … beam. Default topK. */
  nearest?: number | undefined;
  /** Nodes scored exactly, topK … beam. Default twice topK, at least 20. */
  rerank?: number;
  /** A bit a node, lowest first, or its address: a node without is walked through but not returned. */
  filter?: Uint8Array | number;
}

export interface ColdWalkOptions extends WalkOptions {
  readBlock: ReadBlock;
  /** Not needed when the vectors are in memory. */
  readVectors?: ReadVectors;
}

export interface VamanaHits {
  /** As `scanCosine` or `scanL2` give them for the original vectors, best first, ties by node. */
  scores: Float32Array;
  nodes: Uint32Array;
  ticks: BigUint64Array;
  /** Nodes that the walk scored by their codes, and those whose neighbours it looked at. */
  scored: number;
  expanded: number;
}

interface Plan {
  topK: number;
  beam: number;
  rerank: number;
  going: Going;
}

interface Desk {
  top: TopK;
  /** Vectors that there is room for. */
  n: number;
  block: number;
}

/** A graph over the compute core: walked whole in memory, or block by block as a walk comes by. Until `free`. */
export class VamanaGraph {
  readonly index: GraphIndex;
  private readonly kernels: Kernels;
  private resident: Resident | undefined;
  private cold: ColdBlocks | undefined;
  private walk: GraphWalk | undefined;
  private desk: Desk | undefined;
  private vectors: { rows: number; invNorms: number } | undefined;

  private readonly cacheBytes: number;

  private constructor(kernels: Kernels, index: GraphIndex, cacheBytes: number) {
    this.kernels = kernels;
    this.index = index;
    this.cacheBytes = cacheBytes;
  }

  /**
   * A graph of which nothing is in memory yet.
   * @param bytes a verified GraphIndex
   * @param cacheBytes of blocks that stay in memory between cold walks; those of walks under way may be more. Default 64 MiB
   * Errors: `Corrupt`, `UnsupportedVersion`
   */
  static open(kernels: Kernels, bytes: Uint8Array, cacheBytes = CACHE_BYTES): VamanaGraph {
    return new VamanaGraph(kernels, decodeGraphIndex(bytes), cacheBytes);
  }

  /** True when walks need no reading. */
  get isLoaded(): boolean {
    return this.resident !== undefined;
  }

  /** True when a search need not read vectors either. */
  get hasVectors(): boolean {
    return this.vectors !== undefined;
  }

  /** The anchor of each node. @throws DreamDBError InvalidArgument before `loadAll` */
  get ticks(): BigUint64Array {
    if (this.resident !== undefined) return this.resident.ticks;
    throw invalid("graph", "not loaded", "a graph after loadAll");
  }

  /**
   * Reads all pages into memory and verifies them.
   * Errors: `HashMismatch`, `Corrupt`, `UnsupportedVersion`, `OutOfMemory`; the graph is then as it was.
   */
  async loadAll(readPage: (page: ContainerRef, i: number) => Promise<Uint8Array>): Promise<void> {
    if (this.resident !== undefined) return;
    const loaded = new Resident(this.kernels, this.index);
    try {
      for (const [i, ref] of this.index.pages.entries()) loaded.addPage(i, ref, await readPage(ref, i));
    } catch (error) {
      loaded.free();
      throw error;
    }
    this.resident = loaded;
  }

  /**
   * Takes the original vectors of all nodes into memory, in runs: `fill` gets a view of runs × dim f32 to write the
   * vectors of the nodes first, first + 1, … to. Errors: `OutOfMemory`.
   */
  async loadVectors(fill: (first: number, rows: Float32Array) => void | Promise<void>): Promise<void> {
    const { kernels, index } = this;
    const { rows: n, dim } = index;
    const rows = kernels.alloc(n * dim * 4);
    let invNorms = 0;
    try {
      invNorms = kernels.alloc(n * 4);
      const step = Math.max(1, Math.floor((1 << 20) / dim));
      // `fill` may wait, and memory grow meanwhile, so it writes outside the compute core.
      for (let first = 0; first < n; first += step) {
        const count = Math.min(step, n - first);
        const run = new Float32Array(count * dim);
        await fill(first, run);
        kernels.f32(rows + first * dim * 4, count * dim).set(run);
        kernels.rowInvNorms(rows + first * dim * 4, count, dim, invNorms + first * 4);
      }
    } catch (error) {
      kernels.free(rows);
      if (invNorms !== 0) kernels.free(invNorms);
      throw error;
    }
    this.dropVectors();
    this.vectors = { rows, invNorms };
  }

  /**
   * As `loadVectors`, for vectors that come in another order than that of the nodes: `fill` hands each node's to `put`.
   * Nodes that it leaves out have zeros. Errors: `OutOfMemory`, and what `fill` throws.
   */
  async placeVectors(
    fill: (put: (node: number, vector: Float32Array) => void) => Promise<void>,
  ): Promise<void> {
    const { kernels, index } = this;
    const { rows: n, dim } = index;
    const rows = kernels.alloc(n * dim * 4);
    let invNorms = 0;
    try {
      invNorms = kernels.alloc(n * 4);
      kernels.bytes(rows, n * dim * 4).fill(0);
      await fill((node, vector) => kernels.f32(rows + node * dim * 4, dim).set(vector));
      kernels.rowInvNorms(rows, n, dim, invNorms);
    } catch (error) {
      kernels.free(rows);
      if (invNorms !== 0) kernels.free(invNorms);
      throw error;
    }
    this.dropVectors();
    this.vectors = { rows, invNorms };
  }

  dropVectors(): void {
    if (this.vectors === undefined) return;
    this.kernels.free(this.vectors.rows);
    this.kernels.free(this.vectors.invNorms);
    this.vectors = undefined;
  }

  /**
   * The nearest nodes to a query (dim finite values), in memory.
   * @throws DreamDBError InvalidArgument (query, options; before `loadAll` and `loadVectors`), OutOfMemory
   */
  search(query: Float32Array, options: WalkOptions): VamanaHits {
    const { resident, vectors, index } = this;
    if (resident === undefined || vectors === undefined)
      throw invalid("graph", "not in memory", "a graph after loadAll and loadVectors, or searchCold");
    const plan = this.plan(query, options);
    if (this.walk === undefined || this.walk.maxBeam < plan.beam) {
      this.walk?.free();
      this.walk = undefined;
      this.walk = new GraphWalk(this.kernels, resident.graph, index.rows, index.dim, plan.beam);
    }
    const { walk } = this;
    return this.withFilter(options.filter, plan, (filter, results) => {
      walk.start(this.toIndexSpace(query), index.entries, plan.going, filter, results);
      walk.go();
      const { nodes, count } = walk.best(plan.rerank);
      const best = this.kernels.u32(nodes, count).slice();
      const ranked = this.rank(query, best, plan, (node) => resident.ticks[node] as bigint);
      return { ...ranked, ...walk.counts };
    });
  }

  /**
   * As `search`, with the same result, reading what is not in memory: the blocks a walk comes to, several at a time, and
   * the vectors at its end. Several may be under way.
   * Errors: as `search`, and `HashMismatch`, `Corrupt`, `UnsupportedVersion`, and what the readers throw.
   */
  async searchCold(query: Float32Array, options: ColdWalkOptions): Promise<VamanaHits> {
    const { kernels, index, resident } = this;
    const plan = this.plan(query, options);
    if (this.vectors === undefined && options.readVectors === undefined)
      throw invalid("readVectors", undefined, "a reader while the vectors are not in memory");
    if (resident !== undefined && this.vectors !== undefined) return this.search(query, options);
    if (resident === undefined) this.cold ??= new ColdBlocks(kernels, index, this.cacheBytes);
    const cold = resident === undefined ? this.cold : undefined;
    await cold?.enter();
    const owned: { free(): void }[] = [];
    try {
      const graph = (resident ?? cold)?.graph as number;
      const walk = new GraphWalk(kernels, graph, index.rows, index.dim, plan.beam);
      owned.push(walk);
      const { filter, results, free } = this.layFilter(options.filter, plan);
      owned.push({ free });
      walk.start(this.toIndexSpace(query), index.entries, plan.going, filter, results);
      for (let missing = walk.go(); missing !== undefined; missing = walk.go()) {
        await cold?.load(missing, options.readBlock);
      }
      const best = walk.best(plan.rerank);
      const nodes = kernels.u32(best.nodes, best.count).slice();
      const tickOf = (node: number): bigint =>
        (resident === undefined ? cold?.tickOf(node) : resident.ticks[node]) as bigint;
      const ticks = BigUint64Array.from(nodes, tickOf);
      const vectors = this.vectors === undefined ? await options.readVectors?.(nodes, ticks) : undefined;
      if (vectors !== undefined && vectors.length !== nodes.length * index.dim)
        throw invalid("readVectors", vectors.length, `${nodes.length * index.dim} values`);
      const ranked = this.rank(query, nodes, plan, (node) => ticks[nodes.indexOf(node)] as bigint, vectors);
      return { ...ranked, ...walk.counts };
    } finally {
      for (const item of owned) item.free();
      cold?.leave();
    }
  }

  /**
   * The nearest of the nodes that a filter lets through by their original vectors, all of which are scored.
   * @throws DreamDBError InvalidArgument (query, topK; before `loadAll` and `loadVectors`), OutOfMemory
   */
  scan(query: Float32Array, topK: number, filter: Uint8Array): Omit<VamanaHits, "scored" | "expanded"> {
    const { kernels, index, resident, vectors } = this;
    if (resident === undefined || vectors === undefined)
      throw invalid("graph", "not in memory", "a graph after loadAll and loadVectors");
    this.plan(query, { topK, filter });
    const { rows: n, dim } = index;
    const top = kernels.topK(topK);
    let block = 0;
    try {
      block = kernels.alloc(dim * 4 + filter.length);
      kernels.f32(block, dim).set(query);
      const bits = block + dim * 4;
      kernels.bytes(bits, filter.length).set(filter);
      if (metricOf(index) === "l2") kernels.scanL2(vectors.rows, n, dim, block, 0, top, bits);
      else {
        const inverse = kernels.invNorm(block, dim);
        kernels.scanCosine(vectors.rows, vectors.invNorms, n, dim, block, inverse, 0, top, bits);
      }
      const { scores, ids: nodes } = top.drain();
      const tickOf = (node: number): bigint => resident.ticks[node] as bigint;
      return { scores, nodes, ticks: BigUint64Array.from(nodes, tickOf) };
    } finally {
      if (block !== 0) kernels.free(block);
      top.free();
    }
  }

  /** Gives all memory back; no walk may be under way. */
  free(): void {
    this.dropVectors();
    this.freeDesk();
    this.walk?.free();
    this.resident?.free();
    this.cold?.free();
    this.walk = undefined;
    this.resident = undefined;
    this.cold = undefined;
  }

  private plan(query: Float32Array, options: WalkOptions): Plan {
    const { dim, rows } = this.index;
    const { topK } = options;
    if (query.length !== dim) throw invalid("query", query.length, `${dim} values`);
    if (!areFinite(query)) throw invalid("query", query, "finite values");
    checkBeam(topK);
    const beam = options.beam ?? Math.max(DEFAULT_BEAM, topK);
    checkBeam(beam);
    if (beam < topK) throw invalid("beam", beam, `at least topK, ${topK}`);
    const rerank = options.rerank ?? Math.min(beam, Math.max(20, 2 * topK));
    if (!Number.isInteger(rerank) || rerank < topK || rerank > beam)
      throw invalid("rerank", rerank, `topK … beam, ${topK}…${beam}`);
    if (typeof options.filter === "object" && options.filter.length < Math.ceil(rows / 8))
      throw invalid("filter", options.filter.length, `${Math.ceil(rows / 8)} bytes`);
    const { slack, nearest = topK, filter = 0 } = options;
    if (slack !== undefined && !(slack >= 0 && slack <= MAX_SLACK))
      throw invalid("slack", slack, `a number from 0 to ${MAX_SLACK}`);
    if (!Number.isInteger(nearest) || nearest < 1 || nearest > beam)
      throw invalid("nearest", nearest, `1 … beam, 1…${beam}`);
    const isWithin = slack !== undefined && filter === 0;
    const within = isWithin ? { nearest, slack, isL2: metricOf(this.index) === "l2" } : undefined;
    return { topK, beam, rerank, going: { beam, within } };
  }

  private layFilter(
    filter: Uint8Array | number | undefined,
    { rerank }: Plan,
  ): { filter: number; results: TopK | undefined; free(): void } {
    if (filter === undefined || filter === 0) return { filter: 0, results: undefined, free: () => {} };
    const results = this.kernels.topK(rerank);
    if (typeof filter === "number") return { filter, results, free: () => results.free() };
    try {
      const copy = this.kernels.copyIn(filter);
      const free = (): void => {
        this.kernels.free(copy);
        results.free();
      };
      return { filter: copy, results, free };
    } catch (error) {
      results.free();
      throw error;
    }
  }

  private withFilter<T>(
    given: Uint8Array | number | undefined,
    plan: Plan,
    run: (filter: number, results: TopK | undefined) => T,
  ): T {
    const { filter, results, free } = this.layFilter(given, plan);
    try {
      return run(filter, results);
    } finally {
      free();
    }
  }

  /** A cosine walk does not mind the query's length. */
  private toIndexSpace(query: Float32Array): Float32Array {
    const { exponent } = this.index;
    return exponent === 0 ? query : query.map((value) => value * 2 ** -exponent);
  }

  /** The best topK of some nodes (ascending) by their exact scores. @param given their vectors, where those are not in memory */
  private rank(
    query: Float32Array,
    nodes: Uint32Array,
    { topK }: Plan,
    tickOf: (node: number) => bigint,
    given?: Float32Array,
  ): Omit<VamanaHits, "scored" | "expanded"> {
    const { kernels, index } = this;
    const { dim } = index;
    const { length: n } = nodes;
    const { top, block } = this.deskFor(topK, n);
    const [rows, norms] = [block + dim * 4, block + (n + 1) * dim * 4];
    kernels.f32(block, dim).set(query);
    if (given !== undefined) {
      kernels.f32(rows, n * dim).set(given);
      kernels.rowInvNorms(rows, n, dim, norms);
    } else {
      const vectors = this.vectors as { rows: number; invNorms: number };
      kernels.u32(norms + n * 4, n).set(nodes);
      kernels.exports.vamanaGather(norms + n * 4, n, vectors.rows, dim * 4, vectors.invNorms, rows, norms);
    }
    if (metricOf(index) === "l2") kernels.scanL2(rows, n, dim, block, 0, top);
    else kernels.scanCosine(rows, norms, n, dim, block, kernels.invNorm(block, dim), 0, top);
    const { scores, ids } = top.drain();
    const found = ids.map((i) => nodes[i] as number);
    const ticks = new BigUint64Array(found.length);
    for (let i = 0; i < found.length; i++) ticks[i] = tickOf(found[i] as number);
    return { scores, nodes: found, ticks };
  }

  /** Room to score n vectors in, kept from query to query. Errors: `OutOfMemory`. */
  private deskFor(topK: number, n: number): Desk {
    const { desk, kernels } = this;
    if (desk !== undefined && desk.top.k === topK && desk.n >= n) {
      desk.top.reset();
      return desk;
    }
    this.freeDesk();
    const top = kernels.topK(topK);
    try {
      const room = Math.max(n, topK);
      const block = kernels.alloc((room + 1) * this.index.dim * 4 + room * 8);
      this.desk = { top, n: room, block };
      return this.desk;
    } catch (error) {
      top.free();
      throw error;
    }
  }

  private freeDesk(): void {
    if (this.desk === undefined) return;
    this.kernels.free(this.desk.block);
    this.desk.top.free();
    this.desk = undefined;
  }
}

function areFinite(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return false;
  return true;
}

/** Lays a decoded node's codes and factors out as the walk wants them. */
function layRow(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  index: GraphIndex,
  nodes: GraphNodes,
  i: number,
): void {
  const { dim } = index;
  const width = codeWidth(dim);
  bytes.fill(0, at + dim, at + codeStride(dim));
  const codes = nodes.codes;
  bytes.set(new Uint8Array(codes.buffer, codes.byteOffset + i * dim, dim), at);
  view.setFloat32(at + width, nodes.scales[i] as number, true);
  if (nodes.halves !== undefined) view.setFloat32(at + width + 4, nodes.halves[i] as number, true);
}

function layRows(kernels: Kernels, out: number, index: GraphIndex, nodes: GraphNodes, count: number): void {
  const stride = codeStride(index.dim);
  const bytes = kernels.bytes(out, count * stride);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < count; i++) layRow(view, bytes, i * stride, index, nodes, i);
}

/** Cache lines are often fetched by the pair: a row of two lines had better not lie across two pairs. */
const PAIR = 128;

/** A whole graph in memory. */
class Resident {
  readonly graph: number;
  readonly ticks: BigUint64Array;
  private readonly kernels: Kernels;
  private readonly index: GraphIndex;
  private readonly block: number;
  private readonly rows: number;
  private readonly lists: number;

  constructor(kernels: Kernels, index: GraphIndex) {
    this.kernels = kernels;
    this.index = index;
    this.ticks = new BigUint64Array(index.rows);
    const rowBytes = index.rows * codeStride(index.dim);
    const listBytes = index.rows * index.degree * 4;
    this.block = kernels.alloc(rowBytes + listBytes + 2 * PAIR);
    this.rows = Math.ceil(this.block / PAIR) * PAIR;
    this.lists = Math.ceil((this.rows + rowBytes) / PAIR) * PAIR;
    const { rows, lists } = this;
    try {
      this.graph = layGraph(kernels, index.rows, index.dim, index.degree, index.heads, { rows, lists });
    } catch (error) {
      kernels.free(this.block);
      throw error;
    }
  }

  addPage(i: number, ref: ContainerRef, bytes: Uint8Array): void {
    const { kernels, index } = this;
    const found = addressOf(bytes);
    if (found !== ref.address)
      throw new DreamDBError("HashMismatch", "a page of a graph is not what its address says", {
        field: `graph-index.pages[${i}]`,
        found,
        expected: ref.address,
      });
    for (const block of decodeGraphPageHead(bytes, index, i).blocks) {
      const { firstNode, nodes: count } = block;
      const part = bytes.subarray(block.offset, block.offset + block.bytes);
      const lists = kernels.u32(this.lists + firstNode * index.degree * 4, count * index.degree);
      const nodes = decodeGraphBlock(index, block, part, lists);
      layRows(kernels, this.rows + firstNode * codeStride(index.dim), index, nodes, count);
      this.ticks.set(nodes.anchors, firstNode);
    }
  }

  free(): void {
    for (const pointer of [this.block, this.graph]) this.kernels.free(pointer);
  }
}

/** The blocks of a graph that walks have come by, each with its rows and, behind them, its lists. */
class ColdBlocks {
  readonly graph: number;
  private readonly kernels: Kernels;
  private readonly index: GraphIndex;
  private readonly table: number;
  private readonly blockCount: number;
  private readonly blockBytes: number;
  /** Least recently read first. */
  private readonly held = new Map<number, { pointer: number; anchors: BigUint64Array }>();
  private readonly heads = new Map<number, Promise<GraphPageHead>>();
  private readonly underWay = new Map<number, Promise<void>>();
  private walks = 0;
  private waiting: (() => void)[] = [];

  private readonly cacheBytes: number;

  constructor(kernels: Kernels, index: GraphIndex, cacheBytes: number) {
    this.kernels = kernels;
    this.index = index;
    this.cacheBytes = cacheBytes;
    this.blockCount = Math.ceil(index.rows / index.blockNodes);
    this.blockBytes = index.blockNodes * (codeStride(index.dim) + index.degree * 4);
    this.table = kernels.alloc(this.blockCount * 4);
    kernels.u32(this.table, this.blockCount).fill(0);
    const blockShift = Math.log2(index.blockNodes);
    try {
      this.graph = layGraph(kernels, index.rows, index.dim, index.degree, index.heads, {
        table: this.table,
        blockShift,
      });
    } catch (error) {
      kernels.free(this.table);
      throw error;
    }
  }

  /**
   * A walk's blocks must stay until it ends, so blocks are dropped only when none is under way. Where more are held than
   * should be, a walk waits for that.
   */
  async enter(): Promise<void> {
    while (this.walks > 0 && this.isFull()) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.walks++;
  }

  leave(): void {
    this.walks--;
    if (this.walks > 0) return;
    for (const [block, { pointer }] of this.held) {
      if (!this.isFull()) break;
      this.kernels.u32(this.table, this.blockCount)[block] = 0;
      this.kernels.free(pointer);
      this.held.delete(block);
    }
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  /** Reads blocks, all at once, those that another walk is reading not again. */
  async load(blocks: Uint32Array, read: ReadBlock): Promise<void> {
    const results = await Promise.allSettled(Array.from(blocks, (block) => this.loadOne(block, read)));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  tickOf(node: number): bigint {
    const { blockNodes } = this.index;
    return this.held.get(Math.floor(node / blockNodes))?.anchors[node % blockNodes] as bigint;
  }

  free(): void {
    for (const { pointer } of this.held.values()) this.kernels.free(pointer);
    this.kernels.free(this.table);
    this.kernels.free(this.graph);
  }

  private isFull(): boolean {
    return this.held.size * this.blockBytes > this.cacheBytes;
  }

  private loadOne(block: number, read: ReadBlock): Promise<void> {
    if (this.held.has(block)) return Promise.resolve();
    const other = this.underWay.get(block);
    if (other !== undefined) return other;
    const reading = this.fetch(block, read).finally(() => this.underWay.delete(block));
    this.underWay.set(block, reading);
    return reading;
  }

  private async fetch(number: number, read: ReadBlock): Promise<void> {
    const { kernels, index } = this;
    const page = Math.floor((number * index.blockNodes) / pageNodesOf(index));
    const ref = index.pages[page] as ContainerRef;
    const head = await this.headOf(page, ref, read);
    const block = head.blocks[number - Math.floor(head.firstNode / index.blockNodes)] as GraphBlock;
    const bytes = await read(ref, block.offset, block.bytes);
    checkHash(bytes, block.hash, "graph-page.block");
    const lists = new Uint32Array(block.nodes * index.degree);
    const nodes = decodeGraphBlock(index, block, bytes, lists);
    const pointer = kernels.alloc(this.blockBytes);
    layRows(kernels, pointer, index, nodes, block.nodes);
    kernels.u32(pointer + index.blockNodes * codeStride(index.dim), lists.length).set(lists);
    kernels.u32(this.table, this.blockCount)[number] = pointer;
    this.held.set(number, { pointer, anchors: nodes.anchors });
  }

  private headOf(page: number, ref: ContainerRef, read: ReadBlock): Promise<GraphPageHead> {
    let head = this.heads.get(page);
    if (head === undefined) {
      head = this.readHead(page, ref, read);
      this.heads.set(page, head);
      head.catch(() => this.heads.delete(page));
    }
    return head;
  }

  private async readHead(page: number, ref: ContainerRef, read: ReadBlock): Promise<GraphPageHead> {
    const bytes = await read(ref, 0, ref.head?.bytes ?? ref.bytes);
    if (ref.head !== undefined) checkHash(bytes, ref.head.hash, "graph-page.head");
    else if (addressOf(bytes) !== ref.address)
      throw new DreamDBError("HashMismatch", "a page of a graph is not what its address says", {
        field: "graph-page",
        found: addressOf(bytes),
        expected: ref.address,
      });
    return decodeGraphPageHead(bytes, this.index, page);
  }
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "the graph can't be searched like this", {
    field,
    found,
    expected,
  });
}
