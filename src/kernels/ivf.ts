import { DreamDBError } from "../errors.ts";
import * as at from "../layout/ivf.ts";
import type { Kernels } from "./kernels.ts";
import { PqCodebooks, type PqShape, pqCodeBytes } from "./pq.ts";
import { codeBytes, type Metric } from "./rabitq.ts";
import { Rotation, type RotationKind } from "./rotation.ts";

export interface IvfOptions {
  metric: Metric;
  dim: number;
  /** Vectors of dot and l2 stand in the index times 2^−exponent; 0 for cosine. */
  exponent: number;
  /** cells × dim, in the index's space. */
  centroids: Float32Array;
  rotation: { kind: RotationKind; padded: number; seed: Uint8Array };
  /** Of a RaBitQ code, 1…8; 0: none, every row of a probed cell is scored from its vector. */
  bits: number;
  /** PQ codes in place of RaBitQ's: `bits` above is not looked at. Values as `trainPq` gives them. */
  pq?: { shape: PqShape; codebooks: Float32Array } | undefined;
}

/** Rows of one cell, as one fragment holds them. */
export interface CellPart {
  rows: number;
  /** rows × W bytes as stored; absent only in an index without codes. */
  codes?: Uint8Array;
  /** Anchors relative to the dataset's origin. */
  ticks: BigUint64Array;
  /** Row numbers in the timeline, for filters. */
  ordinals: Uint32Array;
  /** rows × dim f32, for a cell whose vectors are resident. */
  vectors?: Uint8Array;
}

export interface IvfSearchOptions {
  /** 1…65,536. */
  topK: number;
  /** Candidates scored exactly, at least topK where it is not 0; 0: the results carry estimated scores. */
  rerank: number;
  /** How many mean errors below the bound a row's one-bit estimate may be before the row is dropped. */
  epsilon: number;
  /** Address of a bitset over ordinals: bit i, lowest first, lets ordinal i take part. 0: no filter. */
  filter?: number;
}

/**
 * What a search found, best first: one object, used again by the next search. The arrays are longer than `count`, and
 * go stale at the next call that may allocate.
 */
export interface IvfHits {
  count: number;
  /** False: `scores` are estimates, and the rows are the candidates, whose vectors `rerank` wants. */
  exact: boolean;
  /** Cosine, dot product or negated squared distance: exactly the exact scan's bits where `exact`. */
  scores: Float32Array;
  cells: Uint32Array;
  /** Row in its cell, in the order the cell was loaded in. */
  rows: Uint32Array;
  ticks: BigUint64Array;
  /** Cells that rows were looked at in; fewer than were selected where the bound left some without hope. */
  probed: number;
  /** Rows whose code was looked at. */
  scanned: number;
  /** Rows whose B-bit record was read. */
  refined: number;
  /** Rows scored from their vectors. */
  reranked: number;
}

export interface IvfBatchOptions extends IvfSearchOptions {
  /** Cells probed for each query. */
  nprobe: number;
}

/** What a batch found: copies, topK places a query, of which the first `counts` are filled, best first. */
export interface IvfBatchHits {
  counts: Uint32Array;
  /** 1 where a query's scores are exact; 0 where they are estimates, for want of a candidate's vector or of a re-rank. */
  exact: Uint8Array;
  scores: Float32Array;
  cells: Uint32Array;
  rows: Uint32Array;
  ticks: BigUint64Array;
  /** Over all queries, as in `IvfHits`. */
  scanned: number;
  refined: number;
}

const METRICS: Record<Metric, number> = {
  cosine: at.METRIC_COSINE,
  dot: at.METRIC_DOT,
  l2: at.METRIC_L2,
};
const MAX_TOP_K = 65_536;
const MAX_KEPT = 1 << 20;
const MAX_BITS = 8;
const MAX_EXPONENT = 300;
const ESTIMATED = 0x80000000;
/** Codes and vectors are copied in at most so many bytes at a time. */
const STAGING_BYTES = 1 << 18;

/**
 * An IVF index with RaBitQ or PQ codes, resident in the compute core's memory and searchable there. Cells come and go
 * one by one; a search is `select`, then loading what `missing` names, then `search`.
 */
export class IvfIndex {
  readonly cells: number;
  readonly dim: number;
  /** Of the codes, of either kind; 0 without. */
  readonly bits: number;
  readonly metric: Metric;
  private readonly kernels: Kernels;
  private readonly rotation: Rotation;
  private readonly codebooks: PqCodebooks | undefined;
  private readonly padded: number;
  private readonly codeBytes: number;
  private readonly recordBytes: number;
  private readonly blocks: number[] = []; // addresses of everything allocated for the index as a whole
  private readonly cellBlocks: Uint32Array; // address of what holds a cell's codes, ticks and ordinals
  private readonly index: number;
  private readonly query: number;
  private readonly staging: number;
  private readonly stagingBytes: number;
  private room = 0; // rows that a search may keep
  private roomBlock = 0;
  private results = 0;
  private cellBytes = 0;
  private cellTable = 0;
  private queryVector: Float32Array = new Float32Array();
  private queryHead: Uint32Array = new Uint32Array();
  private selection: Uint32Array = new Uint32Array();
  private readonly hits: IvfHits;
  private candidates = 0;

  /** @throws DreamDBError InvalidArgument (metric, dim, bits, exponent, centroids, rotation), OutOfMemory */
  constructor(kernels: Kernels, options: IvfOptions) {
    const { metric, dim, exponent, centroids, rotation, pq } = options;
    const bits = pq?.shape.bits ?? options.bits;
    if (!Object.hasOwn(METRICS, metric)) throw invalid("metric", metric, "cosine, dot or l2");
    if (!Number.isInteger(bits) || bits < 0 || bits > MAX_BITS) throw invalid("bits", bits, `0…${MAX_BITS}`);
    if (!Number.isInteger(exponent) || Math.abs(exponent) > MAX_EXPONENT)
      throw invalid("exponent", exponent, `−${MAX_EXPONENT}…${MAX_EXPONENT}`);
    const cells = centroids.length / dim;
    if (!Number.isInteger(cells) || cells < 1)
      throw invalid("centroids", centroids.length, `a positive multiple of ${dim}`);
    this.kernels = kernels;
    this.rotation = new Rotation(kernels, { ...rotation, dim });
    this.cells = cells;
    this.dim = dim;
    this.bits = bits;
    this.metric = metric;
    this.padded = rotation.padded;
    if (pq !== undefined) this.codeBytes = this.recordBytes = pqCodeBytes(pq.shape, metric);
    else {
      this.codeBytes = bits === 0 ? 0 : codeBytes(this.padded, bits);
      this.recordBytes = bits < 2 ? 0 : align((bits > 4 ? this.padded : this.padded / 2) + 8);
    }
    this.cellBlocks = new Uint32Array(cells);
    try {
      if (pq !== undefined) this.codebooks = new PqCodebooks(kernels, pq.shape, pq.codebooks);
      this.index = this.take(at.INDEX_BYTES);
      this.query = this.take(at.QUERY_BYTES);
      this.stagingBytes = Math.max(STAGING_BYTES, this.codeBytes, 4 * (dim + 2 * this.padded), 4 * cells);
      this.staging = this.take(this.stagingBytes);
      this.layIndex(METRICS[metric], exponent);
      this.layQuery();
      this.loadCentroids(centroids);
      this.ensureRoom(64);
    } catch (error) {
      this.free();
      throw error;
    }
    this.hits = {
      count: 0,
      exact: true,
      scores: new Float32Array(),
      cells: new Uint32Array(),
      rows: new Uint32Array(),
      ticks: new BigUint64Array(),
      probed: 0,
      scanned: 0,
      refined: 0,
      reranked: 0,
    };
  }

  get hasPq(): boolean {
    return this.codebooks !== undefined;
  }

  /** Bytes that the cells loaded now take, and the index itself. */
  get bytes(): number {
    return this.cellBytes;
  }

  /** Bytes that a row of a loaded cell takes; without codes, those of its vector too. */
  get rowBytes(): number {
    const blocks = this.blockBytes(at.BLOCK_ROWS) / at.BLOCK_ROWS;
    return blocks + this.recordBytes + 12 + (this.bits === 0 ? this.vectorBytes(1) : 0);
  }

  /** Addresses of the index and of the last query (src/layout/ivf.ts), for searches of another kind. */
  get addresses(): { index: number; query: number } {
    return { index: this.index, query: this.query };
  }

  /** Makes work space for searches that keep so many rows. @throws DreamDBError OutOfMemory */
  reserve(rows: number): void {
    if (rows > this.room) this.ensureRoom(rows);
  }

  /**
   * The cells to probe for a query (dim values), nearest first; the query is remembered for `missing` and `search`.
   * The result is a view: it goes stale at the next `select` or any call that may allocate.
   * @throws DreamDBError InvalidArgument (query, nprobe)
   */
  select(query: Float32Array, nprobe: number): Uint32Array {
    if (query.length !== this.dim) throw invalid("query", query.length, `${this.dim} values`);
    if (!Number.isInteger(nprobe) || nprobe < 1) throw invalid("nprobe", nprobe, "a positive integer");
    if (this.queryVector.length === 0) this.layViews();
    this.queryVector.set(query);
    const { exports } = this.kernels;
    if (exports.checkFinite(this.pointerOf(at.QUERY_VECTOR), this.dim) >= 0)
      throw invalid("query", "NaN or infinity", "finite values");
    const count = exports.ivfSelect(this.index, this.query, nprobe);
    if (this.selection.length !== count)
      this.selection = this.kernels.u32(this.pointerOf(at.QUERY_CELLS), count);
    return this.selection;
  }

  /** The selected cells that are not loaded (or, if `needVectors`, lack their vectors); undefined when there are none. */
  missing(needVectors: boolean): number[] | undefined {
    const out = this.staging;
    const count = this.kernels.exports.ivfMissing(this.index, this.query, needVectors ? 1 : 0, out);
    return count === 0 ? undefined : Array.from(this.kernels.u32(out, count));
  }

  /**
   * Searches the selected cells that are loaded. In an index without codes, cells without vectors are passed over;
   * otherwise, should a candidate's vector not be resident, the candidates come back for `rerank`.
   * @throws DreamDBError InvalidArgument (topK, rerank, epsilon), OutOfMemory
   */
  search(options: IvfSearchOptions): IvfHits {
    const { topK, rerank, epsilon, filter = 0 } = options;
    const keep = this.checkSearch(topK, rerank, epsilon);
    const { hits, room } = this;
    const found = this.kernels.exports.ivfSearch(
      this.index,
      this.query,
      topK,
      keep,
      epsilon,
      filter,
      rerank > 0 ? 1 : 0,
      this.results,
      room,
    );
    if (hits.scores.length !== room) this.layResults();
    if (this.queryHead.length === 0) this.layViews();
    hits.count = (found & ~ESTIMATED) >>> 0;
    hits.exact = found >= 0;
    this.candidates = hits.exact ? 0 : hits.count;
    hits.probed = this.queryHead[at.QUERY_PROBED / 4] as number;
    hits.scanned = this.queryHead[at.QUERY_SCANNED / 4] as number;
    hits.refined = this.queryHead[at.QUERY_REFINED / 4] as number;
    hits.reranked =
      this.bits === 0 ? hits.scanned : hits.exact ? (this.queryHead[at.QUERY_HELD / 4] as number) : 0;
    return hits;
  }

  /**
   * Scores the candidates of the last search exactly, from their vectors (count × dim f32 at an address, in the order
   * of the candidates), and leaves the best topK of them.
   * @throws DreamDBError InvalidArgument when the last search left no candidates
   */
  rerank(vectors: number): IvfHits {
    const { hits, candidates } = this;
    if (hits.exact) throw invalid("search", "exact", "a search that left candidates");
    const { exports } = this.kernels;
    hits.count = exports.ivfRank(this.index, this.query, candidates, vectors, this.results, this.room);
    if (hits.scores.length === 0) this.layResults();
    hits.exact = true;
    hits.reranked = candidates;
    this.candidates = 0;
    return hits;
  }

  /**
   * Searches for many queries (n × dim values) at once, among the cells that are loaded: a cell's codes are read
   * once for all queries that probe it. Results are those of single searches but for the order in which a query's
   * cells are scanned, which may change which rows near its bound are refined.
   * @throws DreamDBError InvalidArgument (queries, nprobe, topK, rerank, epsilon), OutOfMemory
   */
  searchMany(queries: Float32Array, options: IvfBatchOptions): IvfBatchHits {
    const { nprobe, topK, rerank, epsilon, filter = 0 } = options;
    const { kernels, dim, cells } = this;
    const n = queries.length / dim;
    if (!Number.isInteger(n)) throw invalid("queries", queries.length, `a multiple of ${dim}`);
    if (!Number.isInteger(nprobe) || nprobe < 1) throw invalid("nprobe", nprobe, "a positive integer");
    const keep = this.checkSearch(topK, rerank, epsilon);
    const probes = Math.min(nprobe, cells);
    const work = Math.ceil(kernels.exports.ivfBatchBytes(this.index, n, probes, keep));
    const outBytes = n * topK * 20 + n * 4 + 8;
    const block = kernels.alloc(align(work) + align(queries.byteLength) + outBytes);
    try {
      const vectors = block + align(work);
      const out = vectors + align(queries.byteLength);
      kernels.f32(vectors, queries.length).set(queries);
      if (kernels.checkFinite(vectors, queries.length) >= 0)
        throw invalid("queries", "NaN or infinity", "finite values");
      kernels.exports.ivfSearchMany(
        this.index,
        this.query,
        vectors,
        n,
        probes,
        topK,
        keep,
        epsilon,
        filter,
        rerank > 0 ? 1 : 0,
        block,
        this.results,
        this.room,
        out,
      );
      this.hits.exact = true; // the single query's candidates are gone
      return this.copyOut(out, n, topK);
    } finally {
      kernels.free(block);
    }
  }

  /**
   * Makes `parts`, one after the other, the rows of a cell, in place of what was loaded; copies them in.
   * @throws DreamDBError InvalidArgument (cell, parts that don't fit), OutOfMemory (the cell stays as it was)
   */
  setCell(cell: number, parts: readonly CellPart[]): void {
    this.checkCell(cell);
    let rows = 0;
    for (const part of parts) {
      this.checkPart(part);
      rows += part.rows;
    }
    const block = rows === 0 ? 0 : this.kernels.alloc(this.sizeOf(rows));
    this.dropCell(cell);
    this.placeCell(cell, block, rows);
    this.field(cell, at.CELL_LOADED, 1);
    for (const part of parts) this.addRows(cell, part);
    if (rows > 0 && parts.every((part) => part.vectors !== undefined || part.rows === 0))
      this.copyVectors(cell, parts);
  }

  /**
   * Adds rows to a loaded cell. Where its vectors are resident and the part brings none, they are dropped.
   * @throws DreamDBError InvalidArgument (cell not loaded, part that doesn't fit), OutOfMemory (the cell stays as it was)
   */
  appendCell(cell: number, part: CellPart): void {
    this.checkCell(cell);
    this.checkPart(part);
    if (this.read(cell, at.CELL_LOADED) === 0) throw invalid("cell", cell, "a cell that is loaded");
    if (part.rows === 0) return;
    const rows = this.read(cell, at.CELL_ROWS);
    const capacity = this.read(cell, at.CELL_CAPACITY);
    if (rows + part.rows > capacity) this.growCell(cell, Math.ceil((rows + part.rows) * 1.25));
    const vectors = this.read(cell, at.CELL_VECTORS);
    this.addRows(cell, part);
    if (vectors !== 0 || rows === 0) this.appendVectors(cell, rows, part);
  }

  /**
   * Makes a cell's vectors resident: rows × dim f32 in row order.
   * @throws DreamDBError InvalidArgument (cell not loaded, length), OutOfMemory
   */
  setVectors(cell: number, vectors: Uint8Array): void {
    this.checkCell(cell);
    const rows = this.read(cell, at.CELL_ROWS);
    if (this.read(cell, at.CELL_LOADED) === 0) throw invalid("cell", cell, "a cell that is loaded");
    if (vectors.length !== rows * this.dim * 4)
      throw invalid("vectors", vectors.length, `${rows * this.dim * 4} bytes`);
    this.copyVectors(cell, [{ rows, vectors }]);
  }

  /**
   * A block for the vectors of a loaded cell, rows × dim f32 in row order at its start, that `adoptVectors` makes
   * resident once they are there; until then the caller owns it. @throws DreamDBError InvalidArgument, OutOfMemory
   */
  blockForVectors(cell: number): number {
    this.checkCell(cell);
    if (this.read(cell, at.CELL_LOADED) === 0) throw invalid("cell", cell, "a cell that is loaded");
    return this.kernels.alloc(this.vectorBytes(this.read(cell, at.CELL_ROWS)));
  }

  /** Makes a block of `blockForVectors`, filled since, the cell's vectors. The cell's rows must be what they were then. */
  adoptVectors(cell: number, block: number): void {
    const { kernels, dim } = this;
    const rows = this.read(cell, at.CELL_ROWS);
    this.dropVectors(cell);
    this.cellBytes += this.vectorBytes(rows);
    kernels.rowInvNorms(block, rows, dim, block + rows * dim * 4);
    this.field(cell, at.CELL_VECTORS, block);
    this.field(cell, at.CELL_NORMS, block + rows * dim * 4);
  }

  /** Views of a loaded cell's anchors and row numbers, which the caller may write; stale at the next allocation. */
  rowsOf(cell: number): { ticks: BigUint64Array; ordinals: Uint32Array } {
    this.checkCell(cell);
    const rows = this.read(cell, at.CELL_ROWS);
    const ticks = this.read(cell, at.CELL_TICKS);
    return {
      ticks: new BigUint64Array(this.kernels.bytes(ticks, 0).buffer, ticks, rows),
      ordinals: this.kernels.u32(this.read(cell, at.CELL_ORDINALS), rows),
    };
  }

  /** Forgets a cell; harmless when it is not loaded. */
  dropCell(cell: number): void {
    this.checkCell(cell);
    this.dropVectors(cell);
    const block = this.cellBlocks[cell] as number;
    if (block !== 0) {
      this.kernels.free(block);
      this.cellBytes -= this.sizeOf(this.read(cell, at.CELL_CAPACITY));
    }
    this.cellBlocks[cell] = 0;
    this.kernels.bytes(this.cellAt(cell), at.CELL_BYTES).fill(0);
  }

  /** Forgets a cell's vectors; harmless when there are none. */
  dropVectors(cell: number): void {
    this.checkCell(cell);
    const vectors = this.read(cell, at.CELL_VECTORS);
    if (vectors === 0) return;
    this.kernels.free(vectors);
    this.cellBytes -= this.vectorBytes(this.read(cell, at.CELL_ROWS));
    this.field(cell, at.CELL_VECTORS, 0);
    this.field(cell, at.CELL_NORMS, 0);
  }

  /** Gives all memory back; once is enough, more is harmless. */
  free(): void {
    if (this.blocks.length > 0 && this.cellTable !== 0)
      for (let cell = 0; cell < this.cells; cell++) this.dropCell(cell);
    for (const block of this.blocks.splice(0)) this.kernels.free(block);
    if (this.roomBlock !== 0) this.kernels.free(this.roomBlock);
    this.roomBlock = 0;
    this.cellBytes = 0;
    this.codebooks?.free();
    this.rotation.free();
  }

  /** Room for a search; returns how many candidates it keeps. */
  private checkSearch(topK: number, rerank: number, epsilon: number): number {
    if (!Number.isInteger(topK) || topK < 1 || topK > MAX_TOP_K)
      throw invalid("topK", topK, `1…${MAX_TOP_K}`);
    if (!Number.isInteger(rerank) || rerank < 0 || rerank > MAX_KEPT)
      throw invalid("rerank", rerank, `0…${MAX_KEPT}`);
    if (!(epsilon >= 0)) throw invalid("epsilon", epsilon, "a number of at least 0");
    const keep = Math.max(topK, rerank);
    if (keep > this.room) this.ensureRoom(keep);
    return keep;
  }

  private copyOut(out: number, n: number, topK: number): IvfBatchHits {
    const { kernels } = this;
    const all = n * topK;
    const marked = kernels.u32(out + all * 20, n);
    const totals = kernels.u32(out + all * 20 + n * 4, 2);
    return {
      counts: marked.map((count) => (count & ~ESTIMATED) >>> 0),
      exact: Uint8Array.from(marked, (count) => (count < ESTIMATED ? 1 : 0)),
      scores: kernels.f32(out + all * 8, all).slice(),
      cells: kernels.u32(out + all * 12, all).slice(),
      rows: kernels.u32(out + all * 16, all).slice(),
      ticks: new BigUint64Array(kernels.bytes(out, 0).buffer, out, all).slice(),
      scanned: totals[0] as number,
      refined: totals[1] as number,
    };
  }

  private layIndex(metric: number, exponent: number): void {
    const { kernels, cells, dim, padded, index } = this;
    kernels.bytes(index, at.INDEX_BYTES).fill(0);
    const padding = align32(cells);
    this.cellTable = this.take(cells * at.CELL_BYTES);
    kernels.bytes(this.cellTable, cells * at.CELL_BYTES).fill(0);
    const fields: [number, number][] = [
      [at.INDEX_METRIC, metric],
      [at.INDEX_DIM, dim],
      [at.INDEX_PADDED, padded],
      [at.INDEX_CELLS, cells],
      [at.INDEX_BITS, this.codebooks === undefined ? this.bits : 0],
      [at.INDEX_CODE_BYTES, this.codeBytes],
      [at.INDEX_RECORD_BYTES, this.recordBytes],
      [at.INDEX_ROTATION_KIND, this.rotation.code],
      [at.INDEX_ROTATION_TABLE, this.rotation.table],
      [at.INDEX_CELL_TABLE, this.cellTable],
      [at.INDEX_CENTROID_BLOCKS, this.take((padding / 32) * (padded * 4 + at.BLOCK_FACTOR_BYTES))],
      [at.INDEX_CENTROID_LEVELS, this.take(cells * at.levelBytes(dim))],
      [at.INDEX_CENTROID_SQUARES, this.take(cells * 4)],
      [at.INDEX_ESTIMATES, this.take(Math.max(at.PIECE_ROWS, padding) * 2)],
      [at.INDEX_LISTED, this.take(Math.max(at.LISTED_ROWS, 2 * cells + 8) * 8)],
    ];
    if (this.codebooks !== undefined) {
      const { shape, ptr } = this.codebooks;
      fields.push(
        [at.INDEX_PQ_BOOKS, ptr],
        [at.INDEX_PQ_SUBSPACES, shape.subspaces],
        [at.INDEX_PQ_BITS, shape.bits],
        [at.INDEX_PQ_TABLE, this.take(shape.subspaces * 2 ** shape.bits * 4)],
      );
    }
    const head = kernels.u32(index, at.INDEX_BYTES / 4);
    for (const [offset, value] of fields) head[offset / 4] = value;
    new Float64Array(kernels.bytes(index, 0).buffer, index + at.INDEX_UNIT, 1)[0] = 2 ** -exponent;
  }

  private layQuery(): void {
    const { kernels, cells, dim, padded, query } = this;
    kernels.bytes(query, at.QUERY_BYTES).fill(0);
    const fields: [number, number][] = [
      [at.QUERY_VECTOR, this.take(dim * 4)],
      [at.QUERY_POINT, this.take(dim * 4)],
      [at.QUERY_ROTATED, this.take(padded * 4)],
      [at.QUERY_TABLE, this.take(padded * 4)],
      [at.QUERY_LEVELS, this.take(padded * 2)],
      [at.QUERY_FINE, this.take(at.levelBytes(dim))],
      [at.QUERY_CELLS, this.take(cells * 4)],
      [at.QUERY_CELL_SCORES, this.take(cells * 4)],
      [at.QUERY_CELL_DISTANCES, this.take(cells * 4)],
      [at.QUERY_STARTS, this.take((cells + 1) * 4)],
      [at.QUERY_KEYS, this.take(cells * 4)],
    ];
    const head = kernels.u32(query, at.QUERY_BYTES / 4);
    for (const [offset, value] of fields) head[offset / 4] = value;
  }

  private loadCentroids(centroids: Float32Array): void {
    const { kernels } = this;
    const copy = kernels.copyIn(centroids);
    kernels.exports.ivfLoadCentroids(this.index, copy, this.staging);
    kernels.free(copy);
  }

  /** Lays out what depends on how many candidates a search keeps. @throws DreamDBError OutOfMemory */
  private ensureRoom(rows: number): void {
    const { kernels } = this;
    const { exports } = kernels;
    const room = align32(rows);
    const listed = Math.max(at.LISTED_ROWS, this.cells, room);
    const sizes: [offset: number, owner: number, bytes: number][] = [
      [at.INDEX_ADDRESSES, this.index, listed * 4],
      [at.INDEX_SCORES, this.index, listed * 8],
      [at.INDEX_IDS, this.index, listed * 4],
      [at.INDEX_RANKED, this.index, exports.bestBytes(room)],
      [at.QUERY_LIST_SCORES, this.query, room * 4],
      [at.QUERY_LIST_IDS, this.query, room * 4],
      [at.QUERY_HEAPS, this.query, 2 * align(exports.topkBytes(room))],
    ];
    const total = sizes.reduce((sum, [, , bytes]) => sum + align(bytes), 0);
    const block = kernels.alloc(total + room * 20);
    if (this.roomBlock !== 0) kernels.free(this.roomBlock);
    this.roomBlock = block;
    let pointer = block;
    for (const [offset, owner, bytes] of sizes) {
      kernels.u32(owner + offset, 1)[0] = pointer;
      pointer += align(bytes);
    }
    this.results = pointer;
    this.room = room;
  }

  private layViews(): void {
    this.queryVector = this.kernels.f32(this.pointerOf(at.QUERY_VECTOR), this.dim);
    this.queryHead = this.kernels.u32(this.query, at.QUERY_BYTES / 4);
    this.selection = new Uint32Array();
  }

  private layResults(): void {
    const { kernels, hits, room, results } = this;
    hits.ticks = new BigUint64Array(kernels.bytes(results, 0).buffer, results, room);
    hits.scores = kernels.f32(results + room * 8, room);
    hits.cells = kernels.u32(results + room * 12, room);
    hits.rows = kernels.u32(results + room * 16, room);
  }

  private pointerOf(offset: number): number {
    if (this.queryHead.length === 0) this.queryHead = this.kernels.u32(this.query, at.QUERY_BYTES / 4);
    return this.queryHead[offset / 4] as number;
  }

  private take(bytes: number): number {
    const pointer = this.kernels.alloc(bytes);
    this.blocks.push(pointer);
    return pointer;
  }

  private cellAt(cell: number): number {
    return this.cellTable + cell * at.CELL_BYTES;
  }

  private read(cell: number, offset: number): number {
    return this.kernels.u32(this.cellAt(cell) + offset, 1)[0] as number;
  }

  private field(cell: number, offset: number, value: number): void {
    this.kernels.u32(this.cellAt(cell) + offset, 1)[0] = value;
  }

  private checkCell(cell: number): void {
    if (Number.isInteger(cell) && cell >= 0 && cell < this.cells) return;
    throw invalid("cell", cell, `0…${this.cells - 1}`);
  }

  private checkPart(part: CellPart): void {
    const { rows, codes, ticks, ordinals, vectors } = part;
    if (ticks.length !== rows) throw invalid("ticks", ticks.length, rows);
    if (ordinals.length !== rows) throw invalid("ordinals", ordinals.length, rows);
    const codeBytes = rows * this.codeBytes;
    if ((codes?.length ?? 0) !== codeBytes) throw invalid("codes", codes?.length, `${codeBytes} bytes`);
    if (vectors !== undefined && vectors.length !== rows * this.dim * 4)
      throw invalid("vectors", vectors.length, `${rows * this.dim * 4} bytes`);
  }

  private blockBytes(capacity: number): number {
    return this.bits === 0 || this.codebooks !== undefined
      ? 0
      : Math.ceil(capacity / at.BLOCK_ROWS) * (this.padded * 4 + at.BLOCK_FACTOR_BYTES);
  }

  /** Bytes of a cell of so many rows: blocks, records, ticks, ordinals. */
  private sizeOf(capacity: number): number {
    return this.blockBytes(capacity) + align8(capacity * this.recordBytes) + capacity * 12;
  }

  private vectorBytes(rows: number): number {
    return rows * (this.dim + 1) * 4;
  }

  private placeCell(cell: number, block: number, capacity: number): void {
    const records = block + this.blockBytes(capacity);
    const ticks = records + align8(capacity * this.recordBytes);
    this.cellBlocks[cell] = block;
    if (block !== 0) this.cellBytes += this.sizeOf(capacity);
    this.field(cell, at.CELL_CAPACITY, capacity);
    this.field(cell, at.CELL_BLOCKS, block);
    this.field(cell, at.CELL_RECORDS, records);
    this.field(cell, at.CELL_TICKS, ticks);
    this.field(cell, at.CELL_ORDINALS, ticks + capacity * 8);
  }

  private growCell(cell: number, capacity: number): void {
    const { kernels } = this;
    const block = kernels.alloc(this.sizeOf(capacity));
    const fields = [at.CELL_BLOCKS, at.CELL_RECORDS, at.CELL_TICKS, at.CELL_ORDINALS];
    const before = fields.map((field) => this.read(cell, field));
    const [rows, oldCapacity, oldBlock] = [
      this.read(cell, at.CELL_ROWS),
      this.read(cell, at.CELL_CAPACITY),
      this.cellBlocks[cell] as number,
    ];
    this.placeCell(cell, block, capacity);
    const lengths = [this.blockBytes(rows), rows * this.recordBytes, rows * 8, rows * 4];
    lengths.forEach((length, i) => {
      const from = kernels.bytes(before[i] as number, length);
      kernels.bytes(this.read(cell, fields[i] as number), length).set(from);
    });
    if (oldBlock === 0) return;
    kernels.free(oldBlock);
    this.cellBytes -= this.sizeOf(oldCapacity);
  }

  /** Copies a part's rows behind the cell's; there is room. */
  private addRows(cell: number, part: CellPart): void {
    const { kernels, codeBytes, staging } = this;
    const { rows, codes, ticks, ordinals } = part;
    const before = this.read(cell, at.CELL_ROWS);
    const bytes = (values: ArrayBufferView): Uint8Array =>
      new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    kernels.bytes(this.read(cell, at.CELL_TICKS) + before * 8, rows * 8).set(bytes(ticks));
    kernels.bytes(this.read(cell, at.CELL_ORDINALS) + before * 4, rows * 4).set(bytes(ordinals));
    if (codes === undefined || codeBytes === 0) {
      this.field(cell, at.CELL_ROWS, before + rows);
      return;
    }
    if (this.codebooks !== undefined) {
      kernels.bytes(this.read(cell, at.CELL_RECORDS) + before * codeBytes, codes.length).set(codes);
      this.field(cell, at.CELL_ROWS, before + rows);
      return;
    }
    const step = Math.floor(this.stagingBytes / codeBytes);
    for (let row = 0; row < rows; row += step) {
      const count = Math.min(step, rows - row);
      kernels
        .bytes(staging, count * codeBytes)
        .set(codes.subarray(row * codeBytes, (row + count) * codeBytes));
      kernels.exports.ivfAddRows(this.index, cell, staging, count);
    }
  }

  private copyVectors(cell: number, parts: readonly { rows: number; vectors?: Uint8Array }[]): void {
    const { kernels } = this;
    const rows = this.read(cell, at.CELL_ROWS);
    if (rows === 0) return;
    const block = kernels.alloc(this.vectorBytes(rows));
    let to = block;
    for (const { vectors } of parts) {
      if (vectors === undefined) continue;
      kernels.bytes(to, vectors.length).set(vectors);
      to += vectors.length;
    }
    this.adoptVectors(cell, block);
  }

  private appendVectors(cell: number, rowsBefore: number, part: CellPart): void {
    const { kernels, dim } = this;
    const rows = rowsBefore + part.rows;
    const before = this.read(cell, at.CELL_VECTORS);
    const block = part.vectors === undefined ? 0 : kernels.alloc(this.vectorBytes(rows));
    if (part.vectors !== undefined) {
      const length = rowsBefore * dim * 4;
      kernels.bytes(block, length).set(kernels.bytes(before, length));
      kernels.bytes(block + length, part.vectors.length).set(part.vectors);
      kernels.rowInvNorms(block, rows, dim, block + rows * dim * 4);
      this.cellBytes += this.vectorBytes(rows);
    }
    if (before !== 0) {
      kernels.free(before);
      this.cellBytes -= this.vectorBytes(rowsBefore);
    }
    this.field(cell, at.CELL_VECTORS, block);
    this.field(cell, at.CELL_NORMS, block === 0 ? 0 : block + rows * dim * 4);
  }
}

function align(bytes: number): number {
  return Math.ceil(bytes / 64) * 64;
}

function align32(n: number): number {
  return Math.ceil(n / 32) * 32;
}

function align8(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

function invalid(field: string, found: unknown, expected: unknown): DreamDBError {
  return new DreamDBError("InvalidArgument", "the index can't be used like this", { field, found, expected });
}
