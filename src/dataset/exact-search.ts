/** Exact search: every vector of the columns, or of the rows that a filter leaves, is scored. */
import { DreamDBError } from "../errors.ts";
import type { Kernels, TopK } from "../kernels/kernels.ts";
import type { EmbeddingField } from "../objects/field.ts";
import { type BatchEntry, batchCodec } from "../objects/index-tree.ts";
import type { Manifest } from "../objects/manifest.ts";
import type { Metric } from "../objects/metric.ts";
import type { Context } from "./context.ts";
import { ColumnReader } from "./rows.ts";
import { entriesIn } from "./timeline.ts";

/** A query's vector and running best, in the compute core's memory. `S` says where a run of rows comes from. */
export class Scan<S> {
  readonly metric: Metric;
  /** Rows of the blocks that were scored, or passed by a mask. */
  scored = 0;
  private readonly sources: { source: S; firstId: number }[] = [];
  private readonly kernels: Kernels;
  private readonly query: number;
  private readonly inverse: number;
  private readonly best: TopK;
  private readonly dim: number;
  private nextId = 0;

  /** Errors: `InvalidArgument` for a vector that is not finite, or has no direction where the metric asks for one. */
  constructor(kernels: Kernels, metric: Metric, vector: Float32Array, topK: number) {
    this.kernels = kernels;
    this.metric = metric;
    this.dim = vector.length;
    this.query = kernels.copyIn(vector);
    try {
      this.inverse = checkQuery(kernels, metric, this.query, vector.length);
      this.best = kernels.topK(topK);
    } catch (error) {
      kernels.free(this.query);
      throw error;
    }
  }

  /** Reserves ids for the rows of a source; returns the first. */
  add(source: S, rows: number): number {
    const firstId = this.nextId;
    if (firstId + rows > 2 ** 32) {
      throw new DreamDBError("LimitExceeded", "an exact search can't number this many rows", {
        field: "rows",
        found: firstId + rows,
        expected: "at most 2^32, or an index",
      });
    }
    this.sources.push({ source, firstId });
    this.nextId += rows;
    return firstId;
  }

  /** Scores `rows` vectors and keeps the best; `mask` has a bit a row, lowest first, 0 = skip. */
  block(pointer: number, invNorms: number, rows: number, firstId: number, mask?: Uint8Array): void {
    const { kernels, dim, query, inverse, best } = this;
    this.scored += rows;
    const bits = mask === undefined ? 0 : kernels.copyIn(mask);
    try {
      if (this.metric === "cosine")
        kernels.scanCosine(pointer, invNorms, rows, dim, query, inverse, firstId, best, bits);
      else if (this.metric === "dot") kernels.scanDot(pointer, rows, dim, query, firstId, best, bits);
      else kernels.scanL2(pointer, rows, dim, query, firstId, best, bits);
    } finally {
      if (bits !== 0) kernels.free(bits);
    }
  }

  /** The best rows, best first: where each comes from, its number there, and its score. */
  drain(): { source: S; row: number; score: number }[] {
    const { scores, ids } = this.best.drain();
    return Array.from(ids, (id, i) => {
      const { source, firstId } = this.sourceOf(id);
      return { source, row: id - firstId, score: scores[i] as number };
    });
  }

  private sourceOf(id: number): { source: S; firstId: number } {
    let low = 0;
    let high = this.sources.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.sources[middle] as { firstId: number }).firstId <= id) low = middle;
      else high = middle - 1;
    }
    return this.sources[low] as { source: S; firstId: number };
  }

  free(): void {
    this.best.free();
    this.kernels.free(this.query);
  }
}

/** The inverse length of the query at `pointer`. */
function checkQuery(kernels: Kernels, metric: Metric, pointer: number, dim: number): number {
  const bad = kernels.checkFinite(pointer, dim);
  if (bad >= 0) {
    throw invalidQuery(kernels.f32(pointer + 4 * bad, 1)[0], `a finite f32 at component ${bad}`);
  }
  const inverse = kernels.invNorm(pointer, dim);
  if (metric === "cosine" && inverse === 0)
    throw invalidQuery("a length of zero, or beyond f32", "a vector with a direction, for cosine");
  return inverse;
}

function invalidQuery(found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "this query can't be", { field: "query", found, expected });
}

/**
 * Scores the vectors of the rows that `choose` leaves of each batch: a byte a row, 0 = skip, or all, or none of
 * them (undefined).
 * @param entries the batches. Default all of them
 */
export async function scanColumns<S>(
  target: { ctx: Context; manifest: Manifest },
  field: EmbeddingField,
  scan: Pick<Scan<S | { entry: BatchEntry }>, "add" | "block">,
  choose: (entry: BatchEntry) => Promise<Uint8Array | "all" | undefined>,
  entries: Iterable<BatchEntry> | AsyncIterable<BatchEntry> = entriesIn(
    target.ctx.session,
    target.manifest.timeline,
    batchCodec,
  ),
): Promise<void> {
  const { session, vectors } = target.ctx;
  for await (const entry of entries) {
    const reader = await ColumnReader.open(session, field, entry, false);
    const chosen = reader === undefined ? undefined : await choose(entry);
    if (reader === undefined || chosen === undefined) continue;
    const { head } = reader;
    const firstId = scan.add({ entry }, entry.rows);
    const blocks =
      chosen === "all"
        ? head.blocks
        : head.blocks.filter((block) =>
            chosen.subarray(block.firstRow, block.firstRow + block.rows).includes(1),
          );
    const spans = blocks.map((block) => ({
      span: block,
      rows: block.rows,
      skipBytes: block.bytes - block.rows * head.width,
    }));
    await vectors.visit(reader.opened, field.dim, spans, (i, resident) => {
      const { firstRow, rows } = blocks[i] as { firstRow: number; rows: number };
      const mask =
        chosen === "all"
          ? resident.present
          : bitmap(chosen.subarray(firstRow, firstRow + rows), resident.present);
      scan.block(resident.pointer, resident.invNorms, rows, firstId + firstRow, mask);
    });
  }
}

/** A bit for each byte of `chosen` that is not 0, where `present` has one too. */
function bitmap(chosen: Uint8Array, present: Uint8Array | undefined): Uint8Array {
  const bits = new Uint8Array(Math.ceil(chosen.length / 8));
  for (let row = 0; row < chosen.length; row++)
    if (chosen[row] !== 0) bits[row >> 3] = (bits[row >> 3] as number) | (1 << (row & 7));
  if (present !== undefined)
    for (let i = 0; i < bits.length; i++) (bits[i] as number) &= present[i] as number;
  return bits;
}
