import type { Kernels } from "../kernels/kernels.ts";
import { type CellFinder, rowsPerSlice } from "../kernels/kmeans.ts";
import { inOrder, type WorkerPool } from "./pool.ts";

/** Pieces under way for each worker: none waits while this thread adds up what came back. */
const PIECES_AHEAD = 8;
/** Bytes that are handed to a worker at a time. */
const HANDOVER_BYTES = 8 << 20;
const TILE = 64;

export interface Sample {
  /** Address of n × dim f32 in this thread's compute core. */
  vectors: number;
  n: number;
  dim: number;
  /** Cells of the training. */
  k: number;
}

/**
 * A training sample dealt out to the workers of a pool, once: the order in which rows are looked at is cut into pieces,
 * piece i is worker i's, modulo their number. So every stretch of the order, whatever round it is for, keeps all of them
 * busy, and only centroids go out and cells come back.
 */
export class SharedSample implements CellFinder {
  readonly pieceRows: number;
  private readonly pool: WorkerPool;
  private readonly sample: Sample;
  private readonly share: number;

  private constructor(pool: WorkerPool, sample: Sample, pieceRows: number) {
    this.pool = pool;
    this.sample = sample;
    this.pieceRows = pieceRows;
    this.share = pool.newKey();
  }

  /** Errors: `OutOfMemory`, also that of a worker; `Aborted` when a worker dies. */
  static async deal(
    pool: WorkerPool,
    kernels: Kernels,
    sample: Sample,
    order: Uint32Array,
  ): Promise<SharedSample> {
    const { n, dim, k } = sample;
    const even = TILE * Math.ceil(n / (4 * pool.size) / TILE);
    const shared = new SharedSample(pool, sample, Math.min(2 * rowsPerSlice(k, dim), even));
    try {
      await Promise.all(pool.members.map((_, worker) => shared.fill(kernels, worker, order)));
      return shared;
    } catch (error) {
      shared.free();
      throw error;
    }
  }

  async *cellsOf(centroids: Float32Array, first: number, rows: number): AsyncGenerator<Uint32Array> {
    const { pool, share, sample, pieceRows } = this;
    // Answers come in the order of asking, so nobody need wait for this one; its errors are those of the next.
    pool.callAll("aimShare", { share, centroids }).catch(() => undefined);
    const width = PIECES_AHEAD * pool.size;
    yield* inOrder(pieces(first, rows, sample.n, pieceRows), width, ({ piece, row, count }) =>
      pool.call(piece % pool.size, "assignShare", {
        share,
        first: this.localRow(piece) + row,
        rows: count,
      }),
    );
  }

  free(): void {
    this.pool.forget("releaseShare", { share: this.share });
  }

  /** Copies a worker's pieces to it, some at a time. */
  private async fill(kernels: Kernels, worker: number, order: Uint32Array): Promise<void> {
    const { pool, share, pieceRows } = this;
    const { vectors, n, dim } = this.sample;
    const all = Math.ceil(n / pieceRows);
    const own = Array.from(
      { length: Math.ceil((all - worker) / pool.size) },
      (_, i) => worker + i * pool.size,
    );
    const rowsOf = (piece: number): number => Math.min(pieceRows, n - piece * pieceRows);
    const rows = own.reduce((sum, piece) => sum + rowsOf(piece), 0);
    await pool.call(worker, "openShare", { share, rows, dim });
    const step = Math.max(1, Math.floor(HANDOVER_BYTES / (pieceRows * dim * 4)));
    for (let i = 0; i < own.length; i += step) {
      const part = own.slice(i, i + step);
      const count = part.reduce((sum, piece) => sum + rowsOf(piece), 0);
      const out = new Float32Array(count * dim);
      let to = 0;
      for (const piece of part) {
        for (const row of order.subarray(piece * pieceRows, piece * pieceRows + rowsOf(piece))) {
          out.set(kernels.f32(vectors + row * dim * 4, dim), to);
          to += dim;
        }
      }
      await pool.call(worker, "fillShare", { share, at: i * pieceRows, vectors: out }, [out.buffer]);
    }
  }

  /** Where a piece begins in its worker's share. */
  private localRow(piece: number): number {
    return Math.floor(piece / this.pool.size) * this.pieceRows;
  }
}

/** A stretch of the order, cut where pieces end. */
function* pieces(
  first: number,
  rows: number,
  n: number,
  pieceRows: number,
): Generator<{ piece: number; row: number; count: number }> {
  for (let done = 0; done < rows; ) {
    const place = (first + done) % n;
    const piece = Math.floor(place / pieceRows);
    const row = place - piece * pieceRows;
    const count = Math.min(rows - done, pieceRows - row, n - place);
    yield { piece, row, count };
    done += count;
  }
}
