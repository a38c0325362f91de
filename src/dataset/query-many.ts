/** `queryMany`: the nearest records to each of many vectors, on this thread or shared out to workers. */
import type { Address } from "../core/address.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import type { EmbeddingField } from "../objects/field.ts";
import type { ReadFrom } from "../workers/messages.ts";
import { inOrder, type WorkerPool } from "../workers/pool.ts";
import type { Calibration } from "./calibrate.ts";
import {
  type Found,
  findHits,
  findManyNow,
  findNow,
  materialise,
  measuredFor,
  type Plan,
  planOf,
  type SearchTarget,
  type VectorQuery,
  vectorOf,
} from "./query.ts";
import type { AnyFields, FieldTypes } from "./schema.ts";
import type { Columns } from "./stream.ts";

export interface ManyVectorQuery<F extends FieldTypes = AnyFields>
  extends Omit<VectorQuery<F>, "query" | "batchSize"> {
  /** Vectors of as many components as the field has, in an array or one behind the other. */
  queries: readonly (number[] | Float32Array)[] | Float32Array;
}

/** Queries that are searched, or that a worker takes, at a time: enough for cells to be read once for many of them. */
const MAX_SHARE = 256;
/** Shares under way for each worker. */
const SHARES_AHEAD = 2;
/** What a query says beside its vectors; anything else a caller's object may hold stays here. */
const OPTIONS: Record<Exclude<keyof ManyVectorQuery, "queries">, true> = {
  field: true,
  topK: true,
  where: true,
  whereEq: true,
  fields: true,
  nprobe: true,
  rerankFactor: true,
  epsilon: true,
  beam: true,
  recallTarget: true,
};

/** One batch of hits, nearest first, for each query, in their order. */
export async function queryMany(
  target: SearchTarget,
  query: ManyVectorQuery,
  at: Address,
): Promise<Columns[]> {
  const { pool, store } = target.ctx;
  if (pool === undefined || store.sharedUrl === undefined) return searchHere(target, query);
  try {
    return await searchOnWorkers(target, pool, store.sharedUrl, query, at);
  } catch (error) {
    // A backend that the application registered is not known in the workers.
    if (isDreamDBError(error, "UnsupportedBackend")) return searchHere(target, query);
    throw error;
  }
}

/** As `queryMany`, all on this thread. */
export async function searchHere(target: SearchTarget, query: ManyVectorQuery): Promise<Columns[]> {
  const plan = planOf(target.manifest, query);
  const vectors = vectorsOf(plan.field, query.queries);
  const found = await searchMany(target, plan, vectors);
  const batches: Columns[] = [];
  for (const { hits, isExact } of found) batches.push(await materialise(target, plan.fields, hits, isExact));
  return batches;
}

/** The hits of each vector. */
export async function searchMany(
  target: SearchTarget,
  plan: Plan,
  vectors: readonly Float32Array[],
): Promise<Found[]> {
  const found: Found[] = [];
  for (let first = 0; first < vectors.length; first += MAX_SHARE) {
    const share = vectors.slice(first, first + MAX_SHARE);
    const ready = findManyNow(target, plan, share);
    for (const [i, vector] of share.entries()) {
      const each = { ...plan, vector };
      found.push(ready[i] ?? findNow(target, each) ?? (await findHits(target, each)));
    }
  }
  return found;
}

async function searchOnWorkers(
  target: SearchTarget,
  pool: WorkerPool,
  url: string,
  query: ManyVectorQuery,
  at: Address,
): Promise<Columns[]> {
  const { ctx, manifest, origin } = target;
  const plan = planOf(manifest, query);
  const vectors = vectorsOf(plan.field, query.queries);
  const names = Object.keys(OPTIONS) as (keyof typeof OPTIONS)[];
  const given = Object.fromEntries(
    names.filter((name) => query[name] !== undefined).map((name) => [name, query[name]]),
  );
  // Measured once, here, and not in every worker.
  const measured = await measuredFor(target, plan);
  const options =
    measured === undefined
      ? given
      : { ...given, ...tuningOf({ ...measured, rerankFactor: plan.rerankFactor ?? measured.rerankFactor }) };
  const from: ReadFrom = {
    url,
    manifest: at,
    origin,
    cacheBytes: ctx.cacheBytes,
    residentBytes: ctx.residentBytes,
  };
  const size = Math.min(MAX_SHARE, Math.ceil(vectors.length / pool.size));
  const starts = Array.from({ length: Math.ceil(vectors.length / size) }, (_, i) => i * size);
  const shares = inOrder(starts, SHARES_AHEAD * pool.size, (first) => {
    const share = joined(plan.field.dim, vectors.slice(first, first + size));
    return pool.callAny("search", { from, query: options, vectors: share }, [share.buffer]);
  });
  const all: Columns[] = [];
  const { traffic } = ctx.session;
  for await (const { batches, traffic: more } of shares) {
    all.push(...batches);
    traffic.requests += more.requests;
    traffic.bytes += more.bytes;
    traffic.roundTrips += more.roundTrips;
  }
  return all;
}

/** What was measured, in place of the recall that was asked for. */
function tuningOf({ nprobe, epsilon, rerankFactor }: Calibration): Record<string, number | undefined> {
  const rerank = rerankFactor === undefined ? {} : { rerankFactor };
  return { ...rerank, nprobe, epsilon, recallTarget: undefined };
}

/** Errors: `InvalidArgument` naming the query that is no vector of the field. */
function vectorsOf(field: EmbeddingField, queries: ManyVectorQuery["queries"]): Float32Array[] {
  const { dim } = field;
  if (ArrayBuffer.isView(queries)) {
    const values = queries as Float32Array;
    if (values.BYTES_PER_ELEMENT !== 4 || values.length % dim !== 0)
      throw invalid(`${values.length} values`, `a Float32Array of n × ${dim} values`);
    return Array.from({ length: values.length / dim }, (_, i) =>
      vectorOf(field, values.subarray(i * dim, (i + 1) * dim), `queries[${i}]`),
    );
  }
  if (!Array.isArray(queries))
    throw invalid(queries, `an array of vectors, or a Float32Array of n × ${dim} values`);
  return queries.map((each, i) => vectorOf(field, each, `queries[${i}]`));
}

function joined(dim: number, vectors: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const all = new Float32Array(vectors.length * dim);
  vectors.forEach((vector, i) => {
    all.set(vector, i * dim);
  });
  return all;
}

function invalid(found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "these can't be queries", { field: "queries", found, expected });
}
