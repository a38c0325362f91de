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
  originOf,
  type Plan,
  planOf,
  type SearchTarget,
  type VectorQuery,
  vectorOf,
  warmFor,
  withoutFields,
} from "./query.ts";
import type { AnyFields, FieldTypes } from "./schema.ts";
import type { Columns } from "./stream.ts";

export interface ManyVectorQuery<F extends FieldTypes = AnyFields>
  extends Omit<VectorQuery<F>, "query" | "batchSize"> {
  /** Vectors of as many components as the field has, in an array or one behind the other. */
  queries: readonly (number[] | Float32Array)[] | Float32Array;
}

/**
 * Queries that are searched, or that a worker takes, at a time: the more, the more of them meet in a cell, which is then
 * scanned for sixteen at once. Fewer where each keeps many candidates, of which there may be so many in all.
 */
const MAX_SHARE = 1024;
const MAX_KEPT = 1 << 16;
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
  slack: true,
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
  const { fields } = plan;
  const origin = await originOf(target);
  if (fields.length === 0)
    return found.map(({ hits, isExact }) => withoutFields(origin, fields, hits, isExact));
  const batches: Columns[] = [];
  for (const { hits, isExact, ahead } of found)
    batches.push(await materialise({ ...target, origin }, fields, hits, isExact, ahead));
  return batches;
}

/** The hits of each of n × dim values. */
async function searchMany(target: SearchTarget, plan: Plan, vectors: Float32Array): Promise<Found[]> {
  const { dim } = plan.field;
  const size = shareOf(plan);
  const found: Found[] = [];
  await warmFor(target, plan, vectors.length / dim);
  for (let first = 0; first < vectors.length / dim; first += size) {
    const share = vectors.subarray(first * dim, (first + size) * dim);
    const ready = findManyNow(target, plan, share);
    for (let i = 0; i < share.length / dim; i++) {
      const now = ready[i];
      if (now !== undefined) {
        found.push(now);
        continue;
      }
      const each = { ...plan, vector: share.slice(i * dim, (i + 1) * dim) };
      found.push(findNow(target, each) ?? (await findHits(target, each)));
    }
  }
  return found;
}

function shareOf({ topK, rerankFactor }: Plan): number {
  return Math.max(16, Math.min(MAX_SHARE, Math.floor(MAX_KEPT / (topK * Math.max(1, rerankFactor ?? 3)))));
}

async function searchOnWorkers(
  target: SearchTarget,
  pool: WorkerPool,
  url: string,
  query: ManyVectorQuery,
  at: Address,
): Promise<Columns[]> {
  const { ctx, manifest } = target;
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
    origin: await originOf(target),
    cacheBytes: ctx.cacheBytes,
    residentBytes: ctx.residentBytes,
  };
  const { dim } = plan.field;
  const queries = vectors.length / dim;
  const size = Math.min(shareOf(plan), Math.ceil(queries / pool.size));
  const starts = Array.from({ length: Math.ceil(queries / size) }, (_, i) => i * size);
  const shares = inOrder(starts, SHARES_AHEAD * pool.size, (first) => {
    const share = vectors.slice(first * dim, (first + size) * dim);
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
function tuningOf({ nprobe, epsilon, beam, rerankFactor }: Calibration): Record<string, number | undefined> {
  const tuning = { nprobe, epsilon, beam, rerankFactor };
  const given = Object.entries(tuning).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(given), recallTarget: undefined };
}

/** n × dim values, copied. Errors: `InvalidArgument` naming the query that is no vector of the field. */
function vectorsOf(field: EmbeddingField, queries: ManyVectorQuery["queries"]): Float32Array<ArrayBuffer> {
  const { dim } = field;
  const isJoined = ArrayBuffer.isView(queries);
  if (isJoined) {
    const values = queries as Float32Array;
    if (values.BYTES_PER_ELEMENT !== 4 || values.length % dim !== 0)
      throw invalid(`${values.length} values`, `a Float32Array of n × ${dim} values`);
  } else if (!Array.isArray(queries))
    throw invalid(queries, `an array of vectors, or a Float32Array of n × ${dim} values`);
  const vectors = new Float32Array(isJoined ? queries.length : queries.length * dim);
  for (let i = 0; i < vectors.length / dim; i++) {
    const [from, to] = [i * dim, (i + 1) * dim];
    const given = isJoined ? (queries as Float32Array).subarray(from, to) : queries[i];
    vectorOf(field, given, `queries[${i}]`, vectors.subarray(from, to));
  }
  return vectors;
}

function invalid(found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "these can't be queries", { field: "queries", found, expected });
}
