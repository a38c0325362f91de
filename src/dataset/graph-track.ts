/**
 * One built graph as a dataset holds it (spec/0013-graph-indexing.md): walked block by block from the backend at first,
 * unless it is small, and whole in the compute core's memory from the second query on, as far as the budget goes. Whatever is in memory, the
 * answers are the same.
 */
import { addressDigest } from "../core/address.ts";
import { checkHash } from "../core/blake3.ts";
import { isDreamDBError } from "../errors.ts";
import { VamanaGraph, type VamanaHits, type WalkOptions } from "../index/vamana.ts";
import { codeStride } from "../kernels/vamana-walk.ts";
import type { ContainerRef } from "../objects/container-ref.ts";
import type { EmbeddingField } from "../objects/field.ts";
import { decodeGraphBlock, decodeGraphPageHead } from "../objects/graph-page.ts";
import { type BatchEntry, batchCodec, type IndexRoot } from "../objects/index-tree.ts";
import type { Manifest } from "../objects/manifest.ts";
import { corrupt } from "../objects/shape.ts";
import type { BuiltGraph } from "../objects/spatial-index.ts";
import { Turns } from "../store/turns.ts";
import type { Context } from "./context.ts";
import { readVectors } from "./ivf-search.ts";
import { RowNumbers } from "./row-numbers.ts";
import { entriesIn } from "./timeline.ts";
import { VectorSource } from "./vector-source.ts";

/** How a query walks. */
export interface Walking {
  topK: number;
  /** Nodes that the walk keeps in view. */
  beam: number;
  /** Nodes whose vectors are scored exactly. */
  rerank: number;
  /** How much further than the topK-th best a node may be to count; undefined: any. */
  slack: number | undefined;
}

/** A bit a node, lowest first, 1 = may be found, and how many those are. */
export interface NodeFilter {
  bits: Uint8Array;
  count: number;
}

/** The state that a graph is asked in: any that has its rows. */
export interface GraphTarget {
  ctx: Context;
  manifest: Manifest;
}

/** Vectors held at a time while those of a graph are put in place. */
const PLACE_MEMORY_BYTES = 32 << 20;

/** A walk from cold storage reads about as much, in a dozen rounds. */
const SMALL_BYTES = 8 << 20;

export class GraphTrack {
  /** Rows of the timeline that it covers, the earliest appended. */
  readonly rows: number;
  private readonly ctx: Context;
  private readonly field: EmbeddingField;
  private readonly graph: VamanaGraph;
  private readonly turns = new Turns();
  private queries = 0;
  /** Whether queries may bring the vectors into memory. */
  private keepsVectors = true;
  /** By node, the number of its row in a timeline: compaction may give rows other numbers. */
  private ordinals: { root: IndexRoot<BatchEntry>; numbers: Promise<Uint32Array> } | undefined;
  private readonly filters = new WeakMap<Uint8Array, NodeFilter>();
  private late: { root: IndexRoot<BatchEntry>; entries: Promise<BatchEntry[]> } | undefined;

  private constructor(ctx: Context, field: EmbeddingField, rows: number, graph: VamanaGraph) {
    this.ctx = ctx;
    this.field = field;
    this.rows = rows;
    this.graph = graph;
  }

  /** Errors: `NotFound`, `HashMismatch`, `Corrupt`, `UnsupportedVersion`. */
  static async open(ctx: Context, field: EmbeddingField, index: BuiltGraph): Promise<GraphTrack> {
    const bytes = await ctx.session.object(index.graph.address);
    const graph = VamanaGraph.open(ctx.kernels, bytes, ctx.residentBytes);
    const { algorithm, dim, rows } = graph.index;
    if (bytes.length !== index.graph.bytes)
      throw corrupt("spatial-index.graph", index.graph.bytes, bytes.length);
    if (algorithm !== index.algorithm) throw corrupt("graph-index.algorithm", algorithm, index.algorithm);
    if (dim !== index.dim) throw corrupt("graph-index.dim", dim, index.dim);
    if (rows > index.rows) throw corrupt("graph-index.rows", rows, `at most ${index.rows}`);
    return new GraphTrack(ctx, field, index.rows, graph);
  }

  /** Rows with a vector. */
  get nodes(): number {
    return this.graph.index.rows;
  }

  /** The nearest nodes, with what the walk did. */
  async search(
    target: GraphTarget,
    query: Float32Array,
    walking: Walking,
    filter?: NodeFilter,
  ): Promise<VamanaHits> {
    const { graph } = this;
    await this.warm(target);
    const options = { ...optionsOf(walking), ...(filter === undefined ? {} : { filter: filter.bits }) };
    if (graph.isLoaded && graph.hasVectors) return graph.search(query, options);
    const cold = {
      ...options,
      readBlock: (page: ContainerRef, offset: number, length: number) => this.read(page, offset, length),
      readVectors: (_: Uint32Array, ticks: BigUint64Array) => readVectors(target, this.field, [...ticks]),
    };
    try {
      return await graph.searchCold(query, cold);
    } catch (error) {
      if (!isDreamDBError(error, "HashMismatch")) throw error;
      // A transfer or a cache may have damaged it: the walk reads once more, past caches.
      const again = {
        ...cold,
        readBlock: (page: ContainerRef, offset: number, length: number) =>
          page.head === undefined
            ? this.read(page, offset, length)
            : this.ctx.session.reread(page.address, offset, length),
      };
      return graph.searchCold(query, again);
    }
  }

  /** As `search`, without waiting; undefined while that takes reading, or there are rows that the graph does not cover. */
  searchNow({ manifest }: GraphTarget, query: Float32Array, walking: Walking): VamanaHits | undefined {
    const { graph } = this;
    if (manifest.timeline.rows !== this.rows || !graph.isLoaded || !graph.hasVectors) return undefined;
    return graph.search(query, optionsOf(walking));
  }

  /**
   * The nearest of the nodes that a filter lets through, all of which are scored; undefined when that takes reading the
   * columns: vectors that are not in memory, or equally near ones that node numbers do not order as rows do.
   */
  async scan(
    target: GraphTarget,
    query: Float32Array,
    topK: number,
    filter: NodeFilter,
  ): Promise<Pick<VamanaHits, "scores" | "ticks"> | undefined> {
    await this.warm(target);
    if (!this.graph.isLoaded || !this.graph.hasVectors) return undefined;
    const { scores, ticks } = this.graph.scan(query, topK + 1, filter.bits);
    if (scores.length > topK && scores[topK - 1] === scores[topK]) return undefined;
    return { scores: scores.subarray(0, topK), ticks: ticks.subarray(0, topK) };
  }

  /**
   * Brings the graph into memory, and the vectors, as far as the budget goes; or else later queries bring none. Calls
   * `onProgress` with pages done.
   */
  async prewarm(
    target: GraphTarget,
    withVectors: boolean,
    onProgress?: (done: { done: number; total: number }) => void,
  ): Promise<void> {
    this.keepsVectors = withVectors;
    await this.load(target, withVectors, onProgress);
    const total = this.graph.index.pages.length;
    onProgress?.({ done: total, total });
  }

  /** The nodes that a filter lets through. @param bits a bit a row of the timeline, as `matchingOrdinals` has them */
  async nodesOf(target: GraphTarget, bits: Uint8Array): Promise<NodeFilter> {
    const held = this.filters.get(bits);
    if (held !== undefined) return held;
    if (!this.isSettled(false)) await this.load(target, false);
    const root = target.manifest.timeline;
    if (this.ordinals?.root !== root) this.ordinals = { root, numbers: this.numberNodes(target) };
    this.ordinals.numbers.catch(() => {
      this.ordinals = undefined;
    });
    const ordinals = await this.ordinals.numbers;
    const found = new Uint8Array(Math.ceil(ordinals.length / 8));
    let count = 0;
    for (let node = 0; node < ordinals.length; node++) {
      const row = ordinals[node] as number;
      const bit = ((bits[row >> 3] as number) >> (row & 7)) & 1;
      count += bit;
      (found[node >> 3] as number) |= bit << (node & 7);
    }
    const filter = { bits: found, count };
    this.filters.set(bits, filter);
    return filter;
  }

  /** The batches appended after the graph was built: what a search has to scan. */
  lateEntries({ ctx, manifest: { timeline } }: GraphTarget): Promise<BatchEntry[]> {
    if (timeline.rows === this.rows) return Promise.resolve([]);
    if (this.late?.root !== timeline) {
      const entries = entriesAfter(ctx, timeline, this.rows);
      this.late = { root: timeline, entries };
      entries.catch(() => {
        this.late = undefined;
      });
    }
    return this.late.entries;
  }

  free(): void {
    this.graph.free();
  }

  /** What a query brings into memory: all from the second one on, and before that a graph as small as what a walk reads. */
  private async warm(target: GraphTarget): Promise<void> {
    const isFirst = this.queries++ === 0;
    if (isFirst && this.graph.index.pages.reduce((sum, page) => sum + page.bytes, 0) > SMALL_BYTES) return;
    const withVectors = !isFirst && this.keepsVectors;
    if (!this.isSettled(withVectors)) await this.load(target, withVectors);
  }

  /** Whether all is in memory that will be. */
  private isSettled(withVectors: boolean): boolean {
    const { isLoaded, hasVectors } = this.graph;
    if (!isLoaded) return !this.fits(false);
    return !withVectors || hasVectors || !this.fits(true);
  }

  private fits(withVectors: boolean): boolean {
    const { dim, degree, rows } = this.graph.index;
    const graphBytes = codeStride(dim) + 4 * degree + 8;
    return rows * (graphBytes + (withVectors ? 4 * dim + 4 : 0)) <= this.ctx.residentBytes;
  }

  private load(
    target: GraphTarget,
    withVectors: boolean,
    onProgress?: (done: { done: number; total: number }) => void,
  ): Promise<void> {
    return this.turns.run("", async () => {
      const { graph } = this;
      if (!graph.isLoaded && this.fits(false)) {
        await graph.loadAll((page, done) => {
          onProgress?.({ done, total: graph.index.pages.length });
          return this.read(page, 0, page.bytes);
        });
      }
      if (withVectors && graph.isLoaded && !graph.hasVectors && this.fits(true))
        await this.placeVectors(target);
    });
  }

  /** The vectors lie in the columns in the order of rows; each goes to the place of its node. */
  private async placeVectors(target: GraphTarget): Promise<void> {
    const { kernels } = this.ctx;
    const { dim } = this.graph.index;
    const numbers = await RowNumbers.of(this.ctx.session, target.manifest.timeline);
    const nodes = new Uint32Array(this.rows).fill(NO_NODE);
    const ordinals = new Uint32Array(this.nodes);
    numbers.fill(this.graph.ticks, ordinals);
    for (const [node, row] of ordinals.entries()) nodes[row] = node;
    this.ordinals ??= { root: target.manifest.timeline, numbers: Promise.resolve(ordinals) };
    const source = await VectorSource.open(
      this.ctx,
      target.manifest,
      this.field,
      PLACE_MEMORY_BYTES,
      0,
      this.rows,
    );
    let placed = 0;
    try {
      await this.graph.placeVectors(async (put) => {
        for await (const run of source.runs()) {
          const rows = new Uint32Array(run.rows);
          numbers.fill(run.ticks, rows);
          for (let i = 0; i < run.rows; i++) {
            const node = nodes[rows[i] as number] as number;
            if (node === NO_NODE)
              throw corrupt(
                "graph-index.rows",
                `no node for the row at ${run.ticks[i]}`,
                "one for each vector",
              );
            put(node, kernels.f32(run.vectors + i * dim * 4, dim));
            placed++;
          }
        }
        if (placed !== this.nodes)
          throw corrupt("graph-index.rows", this.nodes, `the ${placed} vectors there are`);
      });
    } finally {
      source.free();
    }
  }

  private async numberNodes(target: GraphTarget): Promise<Uint32Array> {
    const numbers = await RowNumbers.of(this.ctx.session, target.manifest.timeline);
    const ordinals = new Uint32Array(this.nodes);
    numbers.fill(this.graph.isLoaded ? this.graph.ticks : await this.readTicks(), ordinals);
    return ordinals;
  }

  /** The anchors of all nodes, of a graph too large to be held: it is read through once. */
  private async readTicks(): Promise<BigUint64Array> {
    const { index } = this.graph;
    const ticks = new BigUint64Array(index.rows);
    for (const [i, page] of index.pages.entries()) {
      const bytes = await this.read(page, 0, page.bytes);
      for (const block of decodeGraphPageHead(bytes, index, i).blocks) {
        const part = bytes.subarray(block.offset, block.offset + block.bytes);
        const lists = new Uint32Array(block.nodes * index.degree);
        ticks.set(decodeGraphBlock(index, block, part, lists).anchors, block.firstNode);
      }
    }
    return ticks;
  }

  /** A part of a page, which the walk verifies, or a whole one, verified here. */
  private async read(page: ContainerRef, offset: number, length: number): Promise<Uint8Array> {
    const { session } = this.ctx;
    // Small pages have no hash of their head to read it by.
    if (page.head === undefined)
      return (await session.object(page.address)).subarray(offset, offset + length);
    let found: Uint8Array | undefined;
    const digest = addressDigest(page.address);
    const isWhole = length === page.bytes;
    await session.readSpans(page.address, [{ offset, bytes: length, hash: digest }], (_, bytes) => {
      if (isWhole) checkHash(bytes, digest, page.address);
      found = bytes;
    });
    return found as Uint8Array;
  }
}

const NO_NODE = 0xffff_ffff;

/** All that was scored exactly is taken, so that equal distances are told apart by anchor. */
function optionsOf({ topK, beam, rerank, slack }: Walking): WalkOptions {
  return { topK: rerank, beam, rerank, slack, nearest: Math.min(topK, beam) };
}

async function entriesAfter(
  { session }: Context,
  timeline: IndexRoot<BatchEntry>,
  rows: number,
): Promise<BatchEntry[]> {
  const late: BatchEntry[] = [];
  let row = 0;
  for await (const entry of entriesIn(session, timeline, batchCodec)) {
    if (row >= rows) late.push(entry);
    else if (row + entry.rows > rows)
      throw corrupt("spatial-index.rows", rows, `the end of a batch, such as ${row + entry.rows}`);
    row += entry.rows;
  }
  return late;
}
