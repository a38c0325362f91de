import type { IvfIndex } from "./ivf.ts";
import type { Kernels } from "./kernels.ts";

/** The rows that a filter leaves, in the order of the timeline: a list in the compute core's memory. */
export interface Matches {
  /** Address of u64 × count: a row's cell high, its row in that cell low. */
  list: number;
  count: number;
  bytes: number;
}

/** What a search of matches found, best first, equal ones in the order of the timeline; copies. */
export interface MatchHits {
  scores: Float32Array;
  ticks: BigUint64Array;
}

/** Those matches that may be among the best; parallel arrays. */
export interface ChosenMatches {
  cells: Uint32Array;
  rows: Uint32Array;
  ticks: BigUint64Array;
}

/**
 * Exact search of the rows that a filter leaves, by where they lie in the cells of an index, all of which are loaded. It
 * holds for as long as no cell gets other rows; cells may go and come again, and so may their vectors.
 */
export class IvfMatches {
  /** Rows of the timeline, with or without a vector. */
  readonly rows: number;
  private readonly kernels: Kernels;
  private readonly index: IvfIndex;
  private readonly places: number;
  private readonly starts: number;
  private scratch = 0;
  private scratchBytes = 0;

  /** Takes down where each row lies; rows of cells have their ordinals. @throws DreamDBError OutOfMemory */
  constructor(kernels: Kernels, index: IvfIndex, rows: number) {
    this.kernels = kernels;
    this.index = index;
    this.rows = rows;
    this.places = kernels.alloc(4 * rows);
    try {
      this.starts = kernels.alloc(4 * index.cells);
    } catch (error) {
      kernels.free(this.places);
      throw error;
    }
    kernels.exports.ivfNumberPlaces(index.addresses.index, rows, this.places, this.starts);
  }

  /** Bytes for an index of so many cells over so many rows. */
  static bytesFor(cells: number, rows: number): number {
    return 4 * (cells + rows);
  }

  get bytes(): number {
    return IvfMatches.bytesFor(this.index.cells, this.rows) + this.scratchBytes;
  }

  /**
   * The rows that a filter leaves, to be freed by the caller.
   * @param bits a bit for each row of the timeline, lowest first, none beyond
   * @param count how many are set
   * @throws DreamDBError OutOfMemory
   */
  list(bits: Uint8Array, count: number): Matches {
    const { kernels, index, rows, places, starts } = this;
    const bytes = Math.max(8, 8 * count);
    const list = kernels.alloc(bytes);
    const filter = this.room(4 * Math.ceil(rows / 32));
    kernels.bytes(filter, 4 * Math.ceil(rows / 32)).fill(0);
    kernels.bytes(filter, bits.length).set(bits);
    const found = kernels.exports.ivfListMatches(index.addresses.index, filter, rows, places, starts, list);
    return { list, count: found, bytes };
  }

  /** The cells of the matches, one a row. */
  cellsOf({ list, count }: Matches): Uint32Array {
    const entries = this.kernels.u32(list, 2 * count);
    return Uint32Array.from({ length: count }, (_, i) => entries[2 * i + 1] as number);
  }

  /**
   * The best topK of the matches for the query that `IvfIndex.select` was last called with, all of them scored;
   * undefined when a vector is not resident.
   * @throws DreamDBError OutOfMemory
   */
  score({ list, count }: Matches, topK: number): MatchHits | undefined {
    return this.run(list, count, topK, 0, 0);
  }

  /**
   * Those of the matches that may be among the topK best by their codes, for the query that `IvfIndex.select` last
   * chose all cells for; undefined when codes can't tell: they have one bit, or there are none.
   * @throws DreamDBError OutOfMemory
   */
  choose({ list, count }: Matches, topK: number): (Matches & ChosenMatches) | undefined {
    const { kernels, index } = this;
    const { exports } = kernels;
    const at = index.addresses;
    const sizes = [4 * index.cells, 8 * count, exports.topkBytes(topK)].map(align);
    const slots = this.room(sizes.reduce((sum, bytes) => sum + bytes, 0) + 8 * count);
    const work = slots + (sizes[0] as number);
    const heap = work + (sizes[1] as number);
    const chosen = heap + (sizes[2] as number);
    const found = exports.ivfChooseMatches(at.index, at.query, list, count, topK, slots, work, heap, chosen);
    if (found < 0) return undefined;
    const entries = kernels.u32(chosen, 2 * found);
    const rows = Uint32Array.from({ length: found }, (_, i) => entries[2 * i] as number);
    const cells = this.cellsOf({ list: chosen, count: found, bytes: 0 });
    const ticks = BigUint64Array.from(
      cells,
      (cell, i) => index.rowsOf(cell).ticks[rows[i] as number] as bigint,
    );
    return { list: chosen, count: found, bytes: 0, cells, rows, ticks };
  }

  /**
   * As `score`, of vectors that the caller brings: count × dim values in the order of the matches.
   * @throws DreamDBError OutOfMemory
   */
  scoreVectors({ list, count }: Matches, vectors: Float32Array, topK: number): MatchHits {
    const { kernels, index } = this;
    const pointer = kernels.alloc(vectors.byteLength + 4 * count);
    try {
      kernels.f32(pointer, vectors.length).set(vectors);
      const norms = pointer + vectors.byteLength;
      kernels.rowInvNorms(pointer, count, index.dim, norms);
      return this.run(list, count, topK, pointer, norms) as MatchHits;
    } finally {
      kernels.free(pointer);
    }
  }

  free(): void {
    const { kernels } = this;
    for (const block of [this.places, this.starts, this.scratch]) if (block !== 0) kernels.free(block);
    this.scratch = 0;
    this.scratchBytes = 0;
  }

  private run(
    list: number,
    count: number,
    topK: number,
    vectors: number,
    norms: number,
  ): MatchHits | undefined {
    const { kernels, index } = this;
    const room = Math.max(1, Math.min(topK, count));
    index.reserve(room);
    const at = index.addresses;
    const out = kernels.alloc(20 * room);
    try {
      const held = kernels.exports.ivfScoreMatches(
        at.index,
        at.query,
        list,
        count,
        room,
        vectors,
        norms,
        out,
        room,
      );
      if (held < 0) return undefined;
      const ticks = new BigUint64Array(kernels.bytes(out, 0).buffer, out, held).slice();
      return { ticks, scores: kernels.f32(out + 8 * room, held).slice() };
    } finally {
      kernels.free(out);
    }
  }

  /** Work space, kept for the next search. */
  private room(bytes: number): number {
    if (bytes <= this.scratchBytes) return this.scratch;
    const block = this.kernels.alloc(bytes);
    if (this.scratch !== 0) this.kernels.free(this.scratch);
    this.scratch = block;
    this.scratchBytes = bytes;
    return block;
  }
}

function align(bytes: number): number {
  return Math.ceil(bytes / 64) * 64;
}
