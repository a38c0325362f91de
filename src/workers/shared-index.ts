import type { Kernels } from "../kernels/kernels.ts";
import type { IndexParts } from "./messages.ts";
import { inOrder, type WorkerPool } from "./pool.ts";

/** Runs of rows under way for each worker: one at work, one at hand, one on its way back. */
const RUNS_AHEAD = 3;
/** Multiplications of a run of rows: some tens of milliseconds' worth. */
const RUN_PRODUCTS = 3e8;
const MAX_RUN_BYTES = 4 << 20;
const TILE = 64;

/** What workers found of rows, by the rows' numbers. */
export interface Derived {
  cells: Uint32Array;
  /** Address of n codes in this thread's compute core, the caller's to free; 0 for none. */
  codes: number;
}

/** A Track's indexer in every worker of a pool: cuts rows into runs and puts together what comes back. */
export class SharedIndex {
  private readonly pool: WorkerPool;
  private readonly index: number;
  private readonly dim: number;
  private readonly runRows: number;

  private constructor(pool: WorkerPool, { track, centroids }: IndexParts) {
    const { dim } = track.spatialIndex;
    this.pool = pool;
    this.index = pool.newKey();
    this.dim = dim;
    const rows = Math.min(RUN_PRODUCTS / centroids.length, MAX_RUN_BYTES / (4 * dim));
    this.runRows = Math.max(1, rows >= TILE ? Math.floor(rows / TILE) * TILE : Math.floor(rows));
  }

  /** Errors: `OutOfMemory`, also that of a worker; `Aborted` when a worker dies. */
  static async open(pool: WorkerPool, parts: IndexParts): Promise<SharedIndex> {
    const shared = new SharedIndex(pool, parts);
    const { address, spatialIndex, compressor } = parts.track;
    const track = { address, spatialIndex, ...(compressor === undefined ? {} : { compressor }) };
    try {
      const { centroids, codebooks } = parts;
      await pool.callAll("openIndex", { index: shared.index, track, centroids, codebooks });
      return shared;
    } catch (error) {
      shared.free();
      throw error;
    }
  }

  /** The cells of n × dim f32 at `vectors`, and their codes of `codeBytes` a row. Errors: as `open`. */
  async derive(
    kernels: Kernels,
    vectors: number,
    n: number,
    codeBytes: number,
    onProgress: (done: number) => void,
  ): Promise<Derived> {
    const { pool, index, dim, runRows } = this;
    const derived = { cells: new Uint32Array(n), codes: codeBytes === 0 ? 0 : kernels.alloc(n * codeBytes) };
    const starts = Array.from({ length: Math.ceil(n / runRows) }, (_, i) => i * runRows);
    const runs = inOrder(starts, RUNS_AHEAD * pool.size, (first) => {
      const rows = kernels.f32(vectors + first * dim * 4, Math.min(runRows, n - first) * dim).slice();
      return pool.callAny("derive", { index, vectors: rows }, [rows.buffer]);
    });
    try {
      let done = 0;
      for await (const { cells, codes } of runs) {
        derived.cells.set(cells, done);
        kernels.bytes(derived.codes + done * codeBytes, codes.length).set(codes);
        done += cells.length;
        onProgress(done);
      }
      return derived;
    } catch (error) {
      if (derived.codes !== 0) kernels.free(derived.codes);
      throw error;
    }
  }

  free(): void {
    this.pool.forget("releaseIndex", { index: this.index });
  }
}
