/** All vectors of a field, out of the columns and into the compute core's memory, a bounded number at a time. */
import { DreamDBError } from "../errors.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { sampleRows } from "../kernels/kmeans.ts";
import type { EmbeddingField } from "../objects/field.ts";
import { type BatchEntry, batchCodec } from "../objects/index-tree.ts";
import type { Manifest } from "../objects/manifest.ts";
import type { Context } from "./context.ts";
import { type Deleted, eachDead } from "./deleted.ts";
import { ColumnReader } from "./rows.ts";
import type { Session } from "./session.ts";
import { anchorsOf, entriesIn } from "./timeline.ts";

/** Rows that have a vector: dim f32 each at `vectors`, and their anchors. */
export interface VectorRun {
  vectors: number;
  rows: number;
  ticks: BigUint64Array;
  /** Rows of the run's batches, those without a value too, and the number of each row of the run among them. */
  batchRows: number;
  places: Uint32Array;
}

/** Blocks that are read at a time: 1 MiB. */
const READ_BLOCKS = 16;

export class VectorSource {
  readonly field: EmbeddingField;
  /** Rows of the batches that have the field: an upper bound, since some rows may be without a value. */
  readonly rows: number;
  readonly memoryBytes: number;
  private readonly session: Session;
  private readonly kernels: Kernels;
  private readonly groups: BatchEntry[][];
  /** Numbers of rows that samples leave out, ascending. */
  private dead: Uint32Array = new Uint32Array();
  /** The one run there is, when everything fits: read once, used for the sample and the segments. */
  private whole: VectorRun | undefined;

  private constructor(ctx: Context, field: EmbeddingField, groups: BatchEntry[][], memoryBytes: number) {
    this.field = field;
    this.session = ctx.session;
    this.kernels = ctx.kernels;
    this.groups = groups;
    this.memoryBytes = memoryBytes;
    this.rows = groups.flat().reduce((sum, entry) => sum + entry.rows, 0);
  }

  /** @param fromRow, toRow the rows of the timeline, in append order, whose vectors are wanted; whole batches. Default all */
  static async open(
    ctx: Context,
    manifest: Manifest,
    field: EmbeddingField,
    memoryBytes: number,
    fromRow = 0,
    toRow = Number.POSITIVE_INFINITY,
  ): Promise<VectorSource> {
    const entries: BatchEntry[] = [];
    let row = 0;
    for await (const entry of entriesIn(ctx.session, manifest.timeline, batchCodec)) {
      if (row >= toRow) break;
      row += entry.rows;
      if (row > fromRow) entries.push(entry);
    }
    return VectorSource.of(ctx, field, entries, memoryBytes);
  }

  /** The vectors of some batches. */
  static of(
    ctx: Context,
    field: EmbeddingField,
    entries: readonly BatchEntry[],
    memoryBytes: number,
  ): VectorSource {
    const groups: BatchEntry[][] = [];
    let held = 0;
    for (const entry of entries) {
      if (!entry.columns.has(field.id)) continue;
      const bytes = entry.rows * field.dim * 4;
      if (groups.length === 0 || held + bytes > memoryBytes) {
        groups.push([]);
        held = 0;
      }
      groups.at(-1)?.push(entry);
      held += bytes;
    }
    return new VectorSource(ctx, field, groups, memoryBytes);
  }

  /** From now on samples have no deleted row; runs have them still. */
  async leaveOut(deleted: Deleted): Promise<void> {
    const dead: number[] = [];
    let before = 0;
    for (const entry of this.groups.flat()) {
      await eachDead(this.session, entry, deleted, (row) => dead.push(before + row));
      before += entry.rows;
    }
    this.dead = Uint32Array.from(dead);
  }

  /** Rows that a sample may have: an upper bound, as `rows` is. */
  get drawable(): number {
    return this.rows - this.dead.length;
  }

  /** Runs of at most `memoryBytes`, or one batch; each is gone when the next is asked for. */
  async *runs(): AsyncGenerator<VectorRun> {
    if (this.groups.length === 1) {
      this.whole ??= await this.load(this.groups[0] as BatchEntry[]);
      yield this.whole;
      return;
    }
    for (const group of this.groups) {
      const run = await this.load(group);
      try {
        yield run;
      } finally {
        this.kernels.free(run.vectors);
      }
    }
  }

  /**
   * Copies a sample to `out` (count × dim f32) and returns how many rows it has: those of `sampleRows` over all rows of
   * the batches that have the field, but for those left out, less the ones without a value.
   * @param onProgress called with the rows read
   * @param ticks receives the anchors of the rows
   */
  async sample(
    count: number,
    seed: Uint8Array,
    out: number,
    onProgress: (done: number) => void,
    ticks?: BigUint64Array,
  ): Promise<number> {
    const { kernels } = this;
    const rowBytes = 4 * this.field.dim;
    const picks = sampleRows(kernels, seed, this.drawable, count);
    let passed = 0;
    for (const [i, pick] of picks.entries()) {
      while (passed < this.dead.length && (this.dead[passed] as number) <= pick + passed) passed++;
      picks[i] = pick + passed;
    }
    let taken = 0;
    let next = 0;
    let before = 0;
    for await (const run of this.runs()) {
      const chosen = new Uint32Array(Math.min(picks.length - next, run.rows));
      let n = 0;
      let row = 0;
      for (; next < picks.length && (picks[next] as number) < before + run.batchRows; next++) {
        const place = (picks[next] as number) - before;
        while (row < run.rows && (run.places[row] as number) < place) row++;
        if (row >= run.rows || run.places[row] !== place) continue;
        if (ticks !== undefined) ticks[taken + n] = run.ticks[row] as bigint;
        chosen[n++] = row;
      }
      const index = kernels.copyIn(chosen);
      kernels.exports.gatherRows(run.vectors, rowBytes, index, n, out + taken * rowBytes);
      kernels.free(index);
      taken += n;
      before += run.batchRows;
      onProgress(before);
    }
    return taken;
  }

  free(): void {
    if (this.whole !== undefined) this.kernels.free(this.whole.vectors);
    this.whole = undefined;
  }

  private async load(entries: readonly BatchEntry[]): Promise<VectorRun> {
    const { kernels, field } = this;
    const most = entries.reduce((sum, entry) => sum + entry.rows, 0);
    const vectors = kernels.alloc(most * field.dim * 4);
    const ticks = new BigUint64Array(most);
    const places = new Uint32Array(most);
    let rows = 0;
    let batchRows = 0;
    try {
      for (const entry of entries) {
        const to = vectors + rows * field.dim * 4;
        rows += await this.loadBatch(entry, to, ticks.subarray(rows), places.subarray(rows), batchRows);
        batchRows += entry.rows;
      }
      return { vectors, rows, ticks: ticks.subarray(0, rows), batchRows, places: places.subarray(0, rows) };
    } catch (error) {
      kernels.free(vectors);
      throw error;
    }
  }

  /** Copies the vectors that a batch has to `out`, their anchors to `ticks` and their numbers to `places`; returns how many. */
  private async loadBatch(
    entry: BatchEntry,
    out: number,
    ticks: BigUint64Array,
    places: Uint32Array,
    firstPlace: number,
  ): Promise<number> {
    const { session, kernels, field } = this;
    const reader = await ColumnReader.open(session, field, entry, true);
    if (reader === undefined) {
      throw new DreamDBError("Corrupt", "a batch without the column that its entry names", {
        field: field.name,
      });
    }
    const { head, opened } = reader;
    const anchors = await anchorsOf(session, entry);
    const rowBytes = 4 * field.dim;
    let rows = 0;
    for (let from = 0; from < head.blocks.length; from += READ_BLOCKS) {
      const blocks = head.blocks.slice(from, from + READ_BLOCKS);
      const parts = await session.spans(opened, blocks, false);
      blocks.forEach((block, i) => {
        const bytes = parts[i] as Uint8Array;
        const values = bytes.subarray(block.bytes - block.rows * rowBytes);
        const isPresent = (row: number): boolean =>
          !head.hasPresence || (((bytes[row >> 3] as number) >> (row & 7)) & 1) === 1;
        // Whole stretches of rows that have a value are copied at once.
        for (let row = 0; row < block.rows; ) {
          let past = row;
          while (past < block.rows && isPresent(past)) {
            ticks[rows + past - row] = anchors.tick(block.firstRow + past);
            places[rows + past - row] = firstPlace + block.firstRow + past;
            past++;
          }
          if (past > row) {
            kernels
              .bytes(out + rows * rowBytes, (past - row) * rowBytes)
              .set(values.subarray(row * rowBytes, past * rowBytes));
            rows += past - row;
          }
          row = past + 1;
        }
      });
    }
    return rows;
  }
}
