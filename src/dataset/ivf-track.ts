/**
 * One built index in the compute core's memory (spec/0004-spatial-indexing.md §6). Cells come in when a query first
 * asks for them, gathered from every segment of the Track, and stay within a budget. Whatever is resident, the answers
 * are the same.
 */
import { isDreamDBError } from "../errors.ts";
import { type IvfHits, IvfIndex } from "../kernels/ivf.ts";
import type { ChosenMatches, IvfMatches, Matches, MatchHits } from "../kernels/ivf-matches.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { Span } from "../objects/column.ts";
import type { BatchEntry, IndexRoot, SegmentEntry } from "../objects/index-tree.ts";
import type { Track } from "../objects/manifest.ts";
import { distanceOf, type Metric, metricOf } from "../objects/metric.ts";
import { decodeSegmentAnchors, type SegmentBlock } from "../objects/segment.ts";
import { type PqCompressor, rotationOf } from "../objects/vector-compressor.ts";
import { Turns } from "../store/turns.ts";
import { halfOf } from "./coalesce.ts";
import { isPq, readCodebooks } from "./coder.ts";
import type { Ordinals } from "./filter.ts";
import { centroidsOfCells, exponentOf, readCentroids, trainedIndexOf } from "./indexer.ts";
import { FilterMatches } from "./ivf-matches.ts";
import type { RowNumbers } from "./row-numbers.ts";
import {
  blocksOf,
  cellsIn,
  entriesOf,
  mergeRanges,
  type OpenSegment,
  openSegments,
  rowsOfCell,
} from "./segments.ts";
import { Landing, type Session } from "./session.ts";

/** How a query searches the cells. */
export interface Probing {
  topK: number;
  /** Cells that are looked at, nearest first. */
  nprobe: number;
  /** Candidates whose vectors are scored exactly; 0 leaves their estimates. */
  rerank: number;
  /** How many standard errors below the k-th best an estimate may lie and still be looked at. */
  epsilon: number;
  /** A bit for each row of the timeline, lowest first, 1 = may be found; rows have to be numbered. */
  filter?: Uint8Array;
}

/** The rows that a condition leaves, in a timeline. */
export interface RowFilter {
  root: IndexRoot<BatchEntry>;
  ordinals: Ordinals;
}

/** What a search did. */
export interface ProbeStats {
  cells: number;
  scanned: number;
  refined: number;
  reranked: number;
}

/** What is read of a segment, for its rows in some cells. */
interface SegmentPlan extends OpenSegment {
  number: number;
  wanted: { cell: number; from: number; to: number }[];
  blocks: SegmentBlock[];
  spans: Span[];
}

/** Parallel arrays, nearest first. */
export interface Nearest {
  ticks: bigint[];
  distances: number[];
  /** False when distances are estimates. */
  isExact: boolean;
}

/** Rows of a cell as `IvfIndex` takes them. */
interface CellRows {
  rows: number;
  ticks: BigUint64Array;
  ordinals: Uint32Array;
  codes?: Uint8Array;
}

/** Rows that may be among the nearest; parallel arrays. */
interface Candidates {
  cells: number[];
  rows: number[];
  ticks: bigint[];
}

/** A run of a cell's rows in one block of one segment. */
interface Part {
  segment: number;
  /** Rows of the segment. */
  from: number;
  to: number;
}

/** Is told the anchors of the rows that hits will be among, when their vectors are about to be read. */
export type Ahead = (ticks: readonly bigint[]) => void;

/** Reads vectors by anchor, for Tracks whose segments carry none: ticks.length × dim f32. */
export type VectorsOf = (ticks: readonly bigint[]) => Promise<Float32Array>;

/** Filters whose bits stay in the compute core's memory. */
const MAX_FILTERS = 8;
/** Rows of a filter whose vectors are fetched, beside topK; where codes leave more, the columns are read. */
const MOST_CHOSEN = 1024;
/** A batch with so many probes for each cell has all of them read at once. */
const PROBES_TO_WARM = 2;
/** Cells that are read at a time when all are wanted. */
const PREWARM_CELLS = 32;
/** Vectors that are read at a time, on their way into the compute core's memory. */
const RUN_BYTES = 2 << 20;

export class IvfTrack {
  private readonly index: IvfIndex;
  /** Rows of all segments. */
  rows = 0;
  /** Counts the states of the Track that were seen. */
  state = 0;
  private readonly session: Session;
  private readonly kernels: Kernels;
  private readonly budgetBytes: number;
  private root: IndexRoot<SegmentEntry> | undefined;
  private segments: OpenSegment[] = [];
  /** By cell, while it is loaded. */
  private readonly parts: (Part[] | undefined)[];
  /** Cells that some segment has rows in, and by cell 1 for those. */
  usedCells = 0;
  private readonly isUsed: Uint8Array;
  /** Cells that are loaded and hold rows: all that memory is spent on. There may be far more empty ones. */
  private readonly held = new Set<number>();
  /** By cell, 1 while its vectors are in memory. */
  private readonly hasVectors: Uint8Array;
  /** Cells whose vectors were asked for once: from the second time on they stay. */
  private readonly seen: Uint8Array;
  /** The query that last looked at each cell. */
  private readonly lastUse: Uint32Array;
  private queries = 0;
  private isFreed = false;
  private numbers: RowNumbers | undefined;
  private readonly filters = new Map<Uint8Array, number>();
  private readonly matches: FilterMatches;
  /** Bytes of columns that filters were answered from, for want of cells. */
  private bytesBeside = 0;
  /** What the last search found; the next one uses it again. */
  private found: IvfHits | undefined;
  /** The cells of the last query: a view that goes stale. */
  private selected: Uint32Array = new Uint32Array();
  /** Whether vectors may stay in memory. */
  private keepsVectors = true;
  /** What was read and is copied at once; the turns keep it to one reader. */
  private readonly landing = new Landing();
  private readonly turns = new Turns();

  private constructor(session: Session, kernels: Kernels, index: IvfIndex, budgetBytes: number) {
    this.session = session;
    this.kernels = kernels;
    this.index = index;
    this.matches = new FilterMatches(kernels, index);
    this.budgetBytes = budgetBytes;
    this.parts = Array.from({ length: index.cells }, () => undefined);
    this.isUsed = new Uint8Array(index.cells);
    this.hasVectors = new Uint8Array(index.cells);
    this.seen = new Uint8Array(index.cells);
    this.lastUse = new Uint32Array(index.cells);
  }

  /** Errors: `NotFound`, `HashMismatch`, `Corrupt`, `OutOfMemory`. */
  static async open(
    session: Session,
    kernels: Kernels,
    track: Track,
    budgetBytes: number,
  ): Promise<IvfTrack> {
    const trained = trainedIndexOf(track);
    const { algorithm, dim, seed } = trained;
    // In one round trip: none of them needs another.
    const [values, codebooks, segments] = await Promise.all([
      readCentroids(session, trained),
      readCodebooks(session, track),
      entriesOf(session, track).then((entries) => openSegments(session, track, entries)),
    ]);
    const centroids = centroidsOfCells(trained, values);
    const made = track.compressor?.object;
    // Cells are found among rotated centroids, whatever the codes.
    const compressor = made === undefined || isPq(made) ? { ...rotationOf(dim), seed, bits: 0 } : made;
    const { rotation: kind, padded, bits } = compressor;
    const index = new IvfIndex(kernels, {
      metric: metricOf(algorithm),
      dim,
      exponent: exponentOf(trained),
      centroids,
      bits,
      rotation: { kind, padded, seed: compressor.seed },
      pq: codebooks && { shape: made as PqCompressor, codebooks },
    });
    const opened = new IvfTrack(session, kernels, index, budgetBytes);
    await opened.show(track, segments, 0);
    return opened;
  }

  get metric(): Metric {
    return this.index.metric;
  }

  get cells(): number {
    return this.index.cells;
  }

  /** Whether rows are estimated by PQ codes, whose error no query knows. */
  get hasPq(): boolean {
    return this.index.hasPq;
  }

  /** Whether it is in use, and shows the state that `track` is in. */
  isAt(track: Track): boolean {
    return this.root === track.segments && !this.isFreed;
  }

  /** Has the next `sync` look at the segments, whatever state it shows: others may stand for them by now. */
  reopen(): void {
    this.root = undefined;
  }

  /** Moves to another state of the Track: segments that were appended join the cells that are loaded. */
  sync(track: Track): Promise<void> {
    return this.turns.run("", async () => {
      if (this.isAt(track)) return;
      const entries = await entriesOf(this.session, track);
      const held = this.segments.length;
      const isExtended =
        entries.length >= held &&
        this.segments.every(({ entry }, i) => entry.container.address === entries[i]?.container.address);
      if (!isExtended) this.dropAll();
      this.matches.clear();
      // New rows have no number yet: the next filter brings them all.
      this.numbers = undefined;
      const from = this.segments.length;
      await this.show(track, await openSegments(this.session, track, entries.slice(from)), from);
    });
  }

  /** Goes over to the state that `track` is in, whose segments from number `from` on are these. */
  private async show(track: Track, segments: readonly OpenSegment[], from: number): Promise<void> {
    this.segments.push(...segments);
    const changed = this.cellsFrom(from);
    for (const cell of changed) {
      this.usedCells += 1 - (this.isUsed[cell] as number);
      this.isUsed[cell] = 1;
    }
    await this.extend(changed, from);
    this.rows = this.segments.reduce((sum, { entry }) => sum + entry.rows, 0);
    this.root = track.segments;
    this.state++;
  }

  /** Gives the rows in memory, and those that will come, their numbers in the timeline: what filters speak of. */
  numberRows(numbers: RowNumbers): Promise<void> {
    return this.turns.run("", async () => {
      if (this.numbers?.root === numbers.root) return;
      this.numbers = numbers;
      this.matches.clear();
      for (const cell of this.held) {
        const { ticks, ordinals } = this.index.rowsOf(cell);
        numbers.fill(ticks, ordinals);
      }
    });
  }

  /** Whether rows are numbered as in this timeline. */
  isNumbered(root: IndexRoot<BatchEntry>): boolean {
    return this.numbers?.root === root;
  }

  /** Address of a filter's bits in the compute core's memory, where the last few stay. */
  private filterAt(bits: Uint8Array): number {
    const held = this.filters.get(bits);
    if (held !== undefined) return held;
    for (const [oldest, pointer] of this.filters) {
      if (this.filters.size < MAX_FILTERS) break;
      this.kernels.free(pointer);
      this.filters.delete(oldest);
    }
    const pointer = this.kernels.copyIn(bits);
    this.filters.set(bits, pointer);
    return pointer;
  }

  /** The nearest rows, without waiting for anything; undefined when some of what it takes is not in memory. */
  searchNow(query: Float32Array, probing: Probing, stats?: ProbeStats): Nearest | undefined {
    if (this.select(query, probing.nprobe) !== undefined) return undefined;
    const filter = probing.filter === undefined ? 0 : this.filterAt(probing.filter);
    const { topK, rerank, epsilon } = probing;
    const found = this.index.search({ topK, rerank, epsilon, filter });
    this.found = found;
    if (!found.exact && probing.rerank > 0) return undefined;
    return this.nearest(found, stats);
  }

  /**
   * The nearest rows of many queries (n × dim), each cell read once for all that probe it; undefined for those that
   * need what is not in memory, or when not all cells are.
   */
  searchManyNow(queries: Float32Array, probing: Probing): (Nearest | undefined)[] | undefined {
    const { index, metric } = this;
    if (this.parts.some((parts) => parts === undefined)) return undefined;
    const filter = probing.filter === undefined ? 0 : this.filterAt(probing.filter);
    const found = index.searchMany(queries, { ...probing, filter });
    const all: (Nearest | undefined)[] = [];
    for (let i = 0; i < found.counts.length; i++) {
      const isExact = found.exact[i] === 1;
      if (!isExact && probing.rerank > 0) {
        all.push(undefined);
        continue;
      }
      const first = i * probing.topK;
      const ticks: bigint[] = [];
      const distances: number[] = [];
      for (let at = first; at < first + (found.counts[i] as number); at++) {
        ticks.push(found.ticks[at] as bigint);
        distances.push(distanceOf(metric, found.scores[at] as number));
      }
      all.push({ ticks, distances, isExact });
    }
    return all;
  }

  /**
   * As `searchNow`, reading what is missing.
   * Errors: `OutOfMemory` when not even an otherwise empty index has room for the query's cells; nothing of it stays.
   */
  async search(
    query: Float32Array,
    probing: Probing,
    vectorsOf: VectorsOf,
    stats?: ProbeStats,
    ahead?: Ahead,
  ): Promise<Nearest> {
    const cold = (): Promise<Nearest> => this.searchCold(query, probing, vectorsOf, stats, ahead);
    try {
      return this.searchNow(query, probing, stats) ?? (await this.turns.run("", cold));
    } catch (error) {
      if (!isDreamDBError(error, "OutOfMemory")) throw error;
    }
    return this.turns.run("", async () => {
      // What earlier queries left may take the room that this one needs.
      this.dropCells();
      return cold().catch((error) => {
        if (isDreamDBError(error, "OutOfMemory")) this.dropCells();
        throw error;
      });
    });
  }

  private async searchCold(
    query: Float32Array,
    probing: Probing,
    vectorsOf: VectorsOf,
    stats: ProbeStats | undefined,
    ahead: Ahead | undefined,
  ): Promise<Nearest> {
    const missing = this.select(query, probing.nprobe);
    if (missing !== undefined) await this.loadCells(missing, vectorsOf);
    const first = this.searchNow(query, probing, stats);
    if (first !== undefined) return first;
    const candidates = this.candidates();
    ahead?.(candidates.ticks);
    if (this.keepsVectors) {
      const again = candidates.cells.filter((cell) => this.seen[cell] === 1 && this.hasVectors[cell] === 0);
      for (const cell of candidates.cells) this.seen[cell] = 1;
      await this.loadVectors([...new Set(again)]);
      const second = this.searchNow(query, probing, stats);
      if (second !== undefined) return second;
    }
    const vectors = await this.vectorsOfCandidates(candidates, vectorsOf);
    // Other queries ran meanwhile: this one is run anew, to the same candidates, whatever is in memory by now.
    const third = this.searchNow(query, probing, stats);
    if (third !== undefined) return third;
    const pointer = this.kernels.copyIn(vectors);
    try {
      return this.nearest(this.index.rerank(pointer), stats);
    } finally {
      this.kernels.free(pointer);
    }
  }

  /**
   * The nearest of the rows that a filter leaves, all of which are looked at; undefined when that takes reading the
   * columns. Rows are numbered.
   */
  searchMatches(
    query: Float32Array,
    topK: number,
    filter: RowFilter,
    vectorsOf: VectorsOf,
    stats?: ProbeStats,
  ): Promise<Nearest | undefined> | Nearest | undefined {
    return (
      this.scoreMatches(query, topK, filter, stats) ??
      this.turns.run("", () => this.searchMatchesCold(query, topK, filter, vectorsOf, stats))
    );
  }

  /** Says that a filter was answered out of `bytes` of columns: once that is what the cells take, they are loaded. */
  wentBeside(bytes: number): void {
    this.bytesBeside += bytes;
  }

  /** The nearest of a filter's rows, if their vectors are in memory. */
  private scoreMatches(
    query: Float32Array,
    topK: number,
    filter: RowFilter,
    stats: ProbeStats | undefined,
  ): Nearest | undefined {
    const among = this.matchesOf(filter);
    if (among === undefined) return undefined;
    this.index.select(query, 1);
    const found = among.places.score(among.list, topK);
    return (
      found && this.nearestOf(found, stats, { cells: 1, scanned: 0, refined: 0, reranked: among.list.count })
    );
  }

  private async searchMatchesCold(
    query: Float32Array,
    topK: number,
    filter: RowFilter,
    vectorsOf: VectorsOf,
    stats: ProbeStats | undefined,
  ): Promise<Nearest | undefined> {
    if (!(await this.holdAll(vectorsOf))) return undefined;
    const scored = this.scoreMatches(query, topK, filter, stats);
    if (scored !== undefined) return scored;
    const { index, seen, hasVectors } = this;
    const among = this.matchesOf(filter);
    if (among === undefined) return undefined;
    const { places, list } = among;
    const chosen = this.chooseMatches(query, topK, filter);
    if (chosen !== undefined && chosen.count > MOST_CHOSEN + topK) return undefined;
    const { count } = list;
    const cells = new Set(chosen?.cells ?? places.cellsOf(list));
    const again = [...cells].filter((cell) => seen[cell] === 1 && hasVectors[cell] === 0);
    for (const cell of cells) seen[cell] = 1;
    await this.loadVectors(again);
    // Where codes of one bit can't tell, only what is in memory is searched here.
    if (chosen === undefined) return this.scoreMatches(query, topK, filter, stats);
    // Vectors that came may have driven cells out.
    if (!this.isHoldingAll()) return undefined;
    const candidates = { cells: [...chosen.cells], rows: [...chosen.rows], ticks: [...chosen.ticks] };
    const vectors = await this.vectorsOfCandidates(candidates, vectorsOf);
    // Other queries ran meanwhile: the same rows are chosen anew, whatever is in memory by now.
    const last = this.chooseMatches(query, topK, filter);
    if (last === undefined) return undefined;
    const found = places.scoreVectors(last, vectors, topK);
    return this.nearestOf(found, stats, {
      cells: index.cells,
      scanned: count,
      refined: count,
      reranked: last.count,
    });
  }

  /** The rows of a filter that may be among the nearest by their codes. */
  private chooseMatches(
    query: Float32Array,
    topK: number,
    filter: RowFilter,
  ): (Matches & ChosenMatches) | undefined {
    const among = this.matchesOf(filter);
    this.index.select(query, this.index.cells);
    return among?.places.choose(among.list, topK);
  }

  /** Whether all rows can be told by number where they lie in memory: now, or after reading no more than was read beside them. */
  canHoldAll(): boolean {
    const all = this.rows * this.index.rowBytes;
    const lacking = all * (1 - this.held.size / Math.max(1, this.usedCells));
    return this.isHoldingAll() || (all <= this.budgetBytes && lacking <= this.bytesBeside);
  }

  private isHoldingAll(): boolean {
    return this.held.size === this.usedCells;
  }

  /** Loads what cells are lacking, as far as the budget goes; whether that is all of them. */
  private async holdAll(vectorsOf: VectorsOf): Promise<boolean> {
    const lacking: number[] = [];
    for (let cell = 0; cell < this.index.cells; cell++) {
      if (this.isUsed[cell] === 0) continue;
      if (this.parts[cell] === undefined || (this.index.bits === 0 && this.hasVectors[cell] === 0))
        lacking.push(cell);
    }
    for (let from = 0; from < lacking.length; from += PREWARM_CELLS)
      await this.loadCells(lacking.slice(from, from + PREWARM_CELLS), vectorsOf);
    return this.isHoldingAll();
  }

  /** Where the rows of a filter lie, if all cells are in memory, and there is room to know it. */
  private matchesOf({ root, ordinals }: RowFilter): { places: IvfMatches; list: Matches } | undefined {
    if (!this.isNumbered(root) || !this.isHoldingAll()) return undefined;
    const bytes = this.matches.missingBytes(root.rows);
    if (bytes > 0 && (!this.makeRoom([], bytes) || !this.isHoldingAll())) return undefined;
    return { places: this.matches.places(root.rows), list: this.matches.of(ordinals, root.rows) };
  }

  /** Equal distances by anchor, as an exact search gives them. */
  private nearestOf({ scores, ticks }: MatchHits, stats: ProbeStats | undefined, done: ProbeStats): Nearest {
    if (stats !== undefined) Object.assign(stats, done);
    const hits = Array.from(ticks, (tick, i) => ({
      tick,
      distance: distanceOf(this.metric, scores[i] as number),
    })).sort((a, b) => a.distance - b.distance || (a.tick < b.tick ? -1 : 1));
    return {
      ticks: hits.map(({ tick }) => tick),
      distances: hits.map(({ distance }) => distance),
      isExact: true,
    };
  }

  /** Chooses the cells of a query; returns those that are not in memory. */
  private select(query: Float32Array, nprobe: number): number[] | undefined {
    const { index, lastUse } = this;
    this.selected = index.select(query, nprobe);
    this.queries = (this.queries + 1) >>> 0;
    const { selected, queries } = this;
    for (let i = 0; i < selected.length; i++) lastUse[selected[i] as number] = queries;
    return index.missing(index.bits === 0);
  }

  /** What a search that was not exact has left, copied. */
  private candidates(): Candidates {
    const { count, cells, rows, ticks } = this.found as IvfHits;
    return {
      cells: Array.from(cells.subarray(0, count)),
      rows: Array.from(rows.subarray(0, count)),
      ticks: Array.from(ticks.subarray(0, count)),
    };
  }

  private nearest(found: IvfHits, stats: ProbeStats | undefined): Nearest {
    const { metric } = this;
    const { count, exact, scores, ticks: from } = found;
    const ticks: bigint[] = new Array(count);
    const distances: number[] = new Array(count);
    for (let i = 0; i < count; i++) {
      ticks[i] = from[i] as bigint;
      distances[i] = distanceOf(metric, scores[i] as number);
    }
    if (stats !== undefined) {
      const { probed, scanned, refined, reranked } = found;
      Object.assign(stats, { cells: probed, scanned, refined, reranked });
    }
    return { ticks, distances, isExact: exact };
  }

  /**
   * Loads every cell, and their vectors as far as the budget goes; or else none of them, now and by later queries. Calls
   * `onProgress` with cells done.
   */
  prewarm(withVectors: boolean, onProgress?: (done: { done: number; total: number }) => void): Promise<void> {
    return this.turns.run("", async () => {
      this.keepsVectors = withVectors || this.index.bits === 0;
      if (!this.keepsVectors) this.dropVectors();
      await this.loadAll(withVectors, onProgress);
    });
  }

  private async loadAll(
    withVectors: boolean,
    onProgress?: (done: { done: number; total: number }) => void,
  ): Promise<void> {
    const used: number[] = [];
    for (let cell = 0; cell < this.index.cells; cell++) {
      if (this.isUsed[cell] === 1) used.push(cell);
      else if (this.parts[cell] === undefined) this.place(cell, []);
    }
    const total = used.length;
    for (let from = 0; from < total; from += PREWARM_CELLS) {
      const cells = used.slice(from, from + PREWARM_CELLS);
      await this.loadCells(cells.filter((cell) => this.parts[cell] === undefined));
      if (withVectors) await this.loadVectors(cells.filter((cell) => this.hasVectors[cell] === 0));
      onProgress?.({ done: Math.min(total, from + PREWARM_CELLS), total });
    }
    this.landing.abandon();
  }

  /**
   * Before a batch that probes so many cells in all: loads every cell at once when the batch would come by most of
   * them anyway, unless codes would take more than half of the budget.
   */
  async warmFor(probes: number): Promise<void> {
    const { index, parts, budgetBytes } = this;
    if (index.bits === 0 || probes < PROBES_TO_WARM * this.usedCells) return;
    if (this.rows * index.rowBytes > budgetBytes / 2) return;
    if (parts.some((each) => each === undefined)) await this.turns.run("", () => this.loadAll(false));
  }

  /** Bytes held in the compute core's memory. */
  get bytes(): number {
    return this.index.bytes + this.matches.bytes;
  }

  free(): void {
    this.isFreed = true;
    for (const pointer of this.filters.values()) this.kernels.free(pointer);
    this.filters.clear();
    this.matches.clear();
    this.index.free();
  }

  /** Reads `cells` out of all segments; those without rows become empty cells. */
  private async loadCells(cells: readonly number[], vectorsOf?: VectorsOf): Promise<void> {
    if (cells.length === 0) return;
    const wanted = cells.filter((cell) => this.parts[cell] === undefined);
    const read = await this.read(wanted, 0);
    for (const cell of wanted) this.place(cell, read.get(cell) ?? []);
    this.landing.reset();
    // Without codes a cell is its vectors.
    if (this.index.bits === 0) {
      await this.readWhole(cells.filter((cell) => this.isStoredWhole(cell)));
      for (const cell of cells) if (!this.isStoredWhole(cell)) await this.readBare(cell, vectorsOf);
    }
    this.makeRoom(cells, 0);
  }

  /** Makes `list` the rows of a cell. */
  private place(cell: number, list: readonly { rows: CellRows; part: Part }[]): void {
    this.index.setCell(
      cell,
      list.map(({ rows }) => rows),
    );
    this.parts[cell] = list.map(({ part }) => part);
    this.hasVectors[cell] = 0;
    if (list.length > 0) this.held.add(cell);
  }

  /** The cells that the segments from number `from` on have rows in, ascending. */
  private cellsFrom(from: number): number[] {
    const cells = new Set<number>();
    for (const segment of this.segments.slice(from)) for (const { cell } of cellsIn(segment)) cells.add(cell);
    return [...cells].sort((a, b) => a - b);
  }

  /** Adds the rows of the segments from number `from` on, which are in cells `changed`, to those that are loaded. */
  private async extend(changed: readonly number[], from: number): Promise<void> {
    const loaded = changed.filter((cell) => this.parts[cell] !== undefined);
    if (loaded.length === 0) return;
    for (const [cell, read] of await this.read(loaded, from)) {
      for (const { rows, part } of read) {
        this.index.appendCell(cell, rows);
        this.hasVectors[cell] = 0;
        (this.parts[cell] as Part[]).push(part);
        this.held.add(cell);
      }
    }
    this.landing.reset();
  }

  /** The rows of `cells` in the segments from number `from` on, in the order of segments and rows. */
  private async read(
    cells: readonly number[],
    from: number,
  ): Promise<Map<number, { rows: CellRows; part: Part }[]>> {
    const plans = range(from, this.segments.length).map((number) => this.planOf(number, cells));
    const bytes = await this.session.spansOf(plans, false, this.landing);
    const bySegment = plans.map((plan, i) => this.rowsIn(plan, bytes[i] as Uint8Array[]));
    const byCell = new Map<number, { rows: CellRows; part: Part }[]>();
    for (const { cell, rows, part } of bySegment.flat()) {
      const list = byCell.get(cell);
      if (list === undefined) byCell.set(cell, [{ rows, part }]);
      else list.push({ rows, part });
    }
    return byCell;
  }

  /** What of segment `number` holds the rows of `cells`. */
  private planOf(number: number, cells: readonly number[]): SegmentPlan {
    const segment = this.segments[number] as OpenSegment;
    const { entry, container } = segment;
    const { head } = container;
    const wanted = cells.flatMap((cell) => {
      const rows = rowsOfCell(segment, cell);
      return rows === undefined ? [] : [{ cell, ...rows }];
    });
    const blocks = blocksOf(head, mergeRanges(wanted)).map(({ block }) => block);
    const spans = blocks.flatMap(({ anchors, codes }) =>
      codes === undefined ? [anchors] : [anchors, codes],
    );
    return { number, entry, container, wanted, blocks, spans };
  }

  private rowsIn(
    { number, entry, container: { head }, wanted, blocks }: SegmentPlan,
    bytes: readonly Uint8Array[],
  ): { cell: number; rows: CellRows; part: Part }[] {
    const step = blocks[0]?.codes === undefined ? 1 : 2;
    const opened = blocks.map((block, i) => ({
      block,
      ticks: ticksOf(decodeSegmentAnchors(head, block, bytes[step * i] as Uint8Array), entry.base),
      codes: step === 2 ? (bytes[2 * i + 1] as Uint8Array) : undefined,
    }));
    return wanted.flatMap(({ cell, from, to }) =>
      slices(opened, from, to).map(({ opened: { block, ticks, codes }, from: first, to: past }) => {
        const [a, b] = [first - block.firstRow, past - block.firstRow];
        const rowBytes = codes === undefined ? 0 : codes.length / block.rows;
        const ordinals = new Uint32Array(past - first);
        this.numbers?.fill(ticks.subarray(a, b), ordinals);
        const rows = {
          rows: past - first,
          ticks: ticks.subarray(a, b),
          ordinals,
          ...(codes === undefined ? {} : { codes: codes.subarray(a * rowBytes, b * rowBytes) }),
        };
        return { cell, rows, part: { segment: number, from: first, to: past } };
      }),
    );
  }

  /** Reads the vectors of whole cells, as far as the budget and the memory go. */
  private async loadVectors(cells: readonly number[]): Promise<void> {
    try {
      await this.loadVectorsOf(cells);
    } catch (error) {
      // A cell does without: they are read as they are needed.
      if (!isDreamDBError(error, "OutOfMemory")) throw error;
    }
  }

  private async loadVectorsOf(cells: readonly number[]): Promise<void> {
    const batch: number[] = [];
    let bytes = 0;
    for (const cell of cells) {
      const parts = this.parts[cell];
      if (parts === undefined || !this.isStoredWhole(cell)) continue;
      const more = rowsOf(parts) * (4 * this.index.dim + 4);
      if (!this.makeRoom([...batch, cell], bytes + more)) break;
      batch.push(cell);
      bytes += more;
      if (bytes < RUN_BYTES) continue;
      await this.readWhole(batch.splice(0));
      bytes = 0;
    }
    await this.readWhole(batch);
  }

  /** Whether a loaded cell's vectors are in its segments, if it has rows. */
  private isStoredWhole(cell: number): boolean {
    return (this.parts[cell] as Part[]).every((part) => this.blockOf(part).vectors !== undefined);
  }

  /** The block that a part lies in, read out of its segment's head: thousands of them are not worth keeping. */
  private blockOf({ segment, from }: Part): SegmentBlock {
    const { blocks } = (this.segments[segment] as OpenSegment).container.head;
    return blocks.at(blocks.indexOf(from));
  }

  /**
   * Reads all vectors of loaded cells out of their segments: straight into place, a run of blocks at a time, each block
   * once however many of the cells have rows in it.
   */
  private async readWhole(cells: readonly number[]): Promise<void> {
    const { index, kernels, landing } = this;
    const rowBytes = 4 * index.dim;
    const places = new Map<number, number>(); // by cell, the address of its vectors
    const wanted: { part: Part; block: SegmentBlock; to: number }[] = [];
    try {
      for (const cell of cells) {
        const parts = this.parts[cell] as Part[];
        if (parts.length === 0) continue;
        let to = index.blockForVectors(cell);
        places.set(cell, to);
        for (const part of parts) {
          wanted.push({ part, block: this.blockOf(part), to });
          to += (part.to - part.from) * rowBytes;
        }
      }
      wanted.sort((a, b) => a.part.segment - b.part.segment || a.part.from - b.part.from);
      for (const run of runsOf(wanted)) {
        const { container } = this.segments[run.segment] as OpenSegment;
        const read = await this.session.spans(container, run.spans, false, landing);
        for (const { part, block, to, place } of run.members) {
          const from = (part.from - block.firstRow) * rowBytes;
          const length = (part.to - part.from) * rowBytes;
          kernels.bytes(to, length).set((read[place] as Uint8Array).subarray(from, from + length));
        }
        landing.reset();
      }
      if (this.isFreed) return;
      for (const [cell, place] of places) {
        index.adoptVectors(cell, place);
        places.delete(cell);
        this.hasVectors[cell] = 1;
      }
    } finally {
      for (const place of places.values()) kernels.free(place);
    }
  }

  /** Reads all vectors of a loaded cell out of the columns; without a way to read these it has none yet. */
  private async readBare(cell: number, vectorsOf: VectorsOf | undefined): Promise<void> {
    if (vectorsOf === undefined) return;
    const ticks = (await this.read([cell], 0)).get(cell)?.flatMap(({ rows }) => [...rows.ticks]) ?? [];
    this.landing.reset();
    this.index.setVectors(cell, new Uint8Array((await vectorsOf(ticks)).buffer));
    this.hasVectors[cell] = 1;
  }

  /** The vectors of the candidates, in their order. */
  private async vectorsOfCandidates(
    { cells, rows, ticks }: Candidates,
    vectorsOf: VectorsOf,
  ): Promise<Float32Array> {
    const { dim } = this.index;
    const places = cells.map((cell, i) => this.partOf(cell, rows[i] as number));
    const blocks = places.map(({ part }) => this.blockOf(part));
    if (blocks.some(({ vectors }) => vectors === undefined)) return vectorsOf(ticks);
    const rowBytes = 4 * dim;
    const out = new Uint8Array(cells.length * rowBytes);
    const bySegment = new Map<number, number[]>();
    for (const [i, { part }] of places.entries()) {
      const known = bySegment.get(part.segment);
      if (known === undefined) bySegment.set(part.segment, [i]);
      else known.push(i);
    }
    // Candidates of one cell lie in few blocks: each is read once.
    const wanted = [...bySegment].map(([segment, chosen]) => {
      const byBlock = new Map<number, { span: Span; chosen: number[] }>();
      for (const i of chosen) {
        const block = blocks[i] as SegmentBlock;
        const known = byBlock.get(block.firstRow);
        if (known === undefined) byBlock.set(block.firstRow, { span: block.vectors as Span, chosen: [i] });
        else known.chosen.push(i);
      }
      const { container } = this.segments[segment] as OpenSegment;
      return { container, blocks: [...byBlock.values()] };
    });
    const read = await this.session.spansOf(
      wanted.map(({ container, blocks }) => ({ container, spans: blocks.map(({ span }) => span) })),
      this.keepsVectors,
      this.landing,
      halfOf(this.session.reads),
    );
    for (const [s, { blocks: ofSegment }] of wanted.entries()) {
      for (const [b, { chosen }] of ofSegment.entries()) {
        const bytes = (read[s] as Uint8Array[])[b] as Uint8Array;
        for (const i of chosen) {
          const at = ((places[i] as { row: number }).row - (blocks[i] as SegmentBlock).firstRow) * rowBytes;
          out.set(bytes.subarray(at, at + rowBytes), i * rowBytes);
        }
      }
    }
    this.landing.reset();
    return new Float32Array(out.buffer);
  }

  /** Where row `row` of a loaded cell lies. */
  private partOf(cell: number, row: number): { part: Part; row: number } {
    let before = 0;
    for (const part of this.parts[cell] as Part[]) {
      const rows = part.to - part.from;
      if (row < before + rows) return { part, row: part.from + row - before };
      before += rows;
    }
    throw new RangeError(`cell ${cell} has no row ${row}`);
  }

  /**
   * Drops what was longest unused, vectors before codes, until `bytes` more fit. What `keep` names stays, even over
   * the budget. False when they do not fit.
   */
  private makeRoom(keep: readonly number[], bytes: number): boolean {
    const { index, budgetBytes, lastUse } = this;
    if (this.bytes + bytes <= budgetBytes) return true;
    const kept = new Set(keep);
    const byAge = [...this.held]
      .filter((cell) => !kept.has(cell))
      .sort((a, b) => (lastUse[a] as number) - (lastUse[b] as number));
    const isUsedNow = (cell: number): boolean => lastUse[cell] === this.queries;
    for (const cell of byAge) {
      if (this.bytes + bytes <= budgetBytes) return true;
      if (isUsedNow(cell) || this.hasVectors[cell] === 0) continue;
      index.dropVectors(cell);
      this.hasVectors[cell] = 0;
    }
    for (const cell of byAge) {
      if (this.bytes + bytes <= budgetBytes) return true;
      if (isUsedNow(cell)) continue;
      index.dropCell(cell);
      this.held.delete(cell);
      this.parts[cell] = undefined;
      this.hasVectors[cell] = 0;
    }
    return this.bytes + bytes <= budgetBytes;
  }

  private dropVectors(): void {
    for (const cell of this.held) {
      if (this.hasVectors[cell] === 0) continue;
      this.index.dropVectors(cell);
      this.hasVectors[cell] = 0;
    }
  }

  private dropCells(): void {
    this.landing.abandon();
    for (const cell of this.held) {
      this.index.dropCell(cell);
      this.parts[cell] = undefined;
      this.hasVectors[cell] = 0;
    }
    this.held.clear();
  }

  private dropAll(): void {
    for (let cell = 0; cell < this.parts.length; cell++) {
      if (this.parts[cell] === undefined) continue;
      this.index.dropCell(cell);
      this.parts[cell] = undefined;
      this.hasVectors[cell] = 0;
    }
    this.held.clear();
    this.isUsed.fill(0);
    this.usedCells = 0;
    this.segments = [];
  }
}

function rowsOf(parts: readonly Part[]): number {
  return parts.reduce((sum, { from, to }) => sum + to - from, 0);
}

/** Parts of one segment in the order of their rows, cut where the blocks they lie in pass RUN_BYTES. */
function* runsOf<M extends { part: Part; block: SegmentBlock }>(
  ordered: readonly M[],
): Generator<{ segment: number; spans: Span[]; members: (M & { place: number })[] }> {
  let run: { segment: number; spans: Span[]; members: (M & { place: number })[] } | undefined;
  let bytes = 0;
  for (const each of ordered) {
    const { part } = each;
    const span = each.block.vectors as Span;
    if (run !== undefined && (run.segment !== part.segment || bytes >= RUN_BYTES)) {
      yield run;
      run = undefined;
    }
    if (run === undefined) {
      run = { segment: part.segment, spans: [], members: [] };
      bytes = 0;
    }
    if (run.spans.at(-1)?.offset !== span.offset) {
      run.spans.push(span);
      bytes += span.bytes;
    }
    run.members.push({ ...each, place: run.spans.length - 1 });
  }
  if (run !== undefined) yield run;
}

/** Anchors of rows as ticks. */
function ticksOf(offsets: BigUint64Array, base: bigint): BigUint64Array {
  if (base === 0n) return offsets;
  // In halves: a bigint for every row would be 30 MB of garbage where a whole index is loaded.
  const halves = new Uint32Array(offsets.buffer, offsets.byteOffset, 2 * offsets.length);
  const low = Number(base & 0xffffffffn);
  const high = Number(base >> 32n);
  for (let i = 0; i < halves.length; i += 2) {
    const sum = (halves[i] as number) + low;
    halves[i] = sum;
    halves[i + 1] = (halves[i + 1] as number) + high + (sum > 0xffffffff ? 1 : 0);
  }
  return offsets;
}

/** The parts of rows from … to in each of `opened`, whose blocks ascend. */
function slices<T extends { block: SegmentBlock }>(
  opened: readonly T[],
  from: number,
  to: number,
): { opened: T; from: number; to: number }[] {
  const out: { opened: T; from: number; to: number }[] = [];
  for (const each of opened) {
    const first = Math.max(from, each.block.firstRow);
    const past = Math.min(to, each.block.firstRow + each.block.rows);
    if (first < past) out.push({ opened: each, from: first, to: past });
  }
  return out;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
