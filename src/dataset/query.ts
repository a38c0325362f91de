/**
 * `iterVector`: the nearest records by cosine (spec/0004-spatial-indexing.md §5). Distances are always exact:
 * cells only decide which vectors are looked at.
 */
import { DreamDBError } from "../errors.ts";
import { MAX_BEAM } from "../kernels/vamana-walk.ts";
import type { EmbeddingField, FieldSpec } from "../objects/field.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { type Metric, metricOf } from "../objects/metric.ts";
import { type BuiltGraph, isGraph, isTrained } from "../objects/spatial-index.ts";
import type { Calibration } from "./calibrate.ts";
import type { Context } from "./context.ts";
import { Scan, scanColumns } from "./exact-search.ts";
import { type Explaining, type Explanation, newExplaining } from "./explain.ts";
import { matchingOrdinals, matchingRows } from "./filter.ts";
import type { GraphTracks } from "./graph-tracks.ts";
import { type Hit, hitsOf, type Source } from "./hits.ts";
import { type Indexers, planesOf } from "./indexer.ts";
import { hitsOfNearest, isEnough, probingOf, searchIvf } from "./ivf-search.ts";
import type { IvfTrack, Nearest, Probing } from "./ivf-track.ts";
import type { IvfTracks } from "./ivf-tracks.ts";
import { seldom } from "./later.ts";
import { cellsOf, probesOf, scanCells } from "./lsh-search.ts";
import { RowNumbers } from "./row-numbers.ts";
import { readRow } from "./rows.ts";
import type { AnyFields, FieldTypes } from "./schema.ts";
import { inParallel } from "./session.ts";
import { type Columns, emptyColumns } from "./stream.ts";
import { locate } from "./timeline.ts";
import { copyVector } from "./values.ts";
import { type Condition, filterOf, type Where } from "./where.ts";

export interface VectorQuery<F extends FieldTypes = AnyFields> {
  /** Name of the vector field. */
  field: string;
  /** As many components as the field has. */
  query: number[] | Float32Array;
  /** Results in all. Default 10. */
  topK?: number;
  /** Results a batch. Default 64. */
  batchSize?: number;
  /** Only records that meet this condition on their scalars; such a search is exact. */
  where?: Where<F>;
  /** Only records whose scalars equal these values: short for a `where` of values alone, and added to it. */
  whereEq?: Record<string, string | number | bigint | boolean | Date>;
  /** Fields that hits carry: by default every scalar; vectors and media only when named. */
  fields?: string[];
  /**
   * Cells that are looked at, nearest first; widened until topK records are found. Of `lsh-cosine` with several tables,
   * so many a table, on average. All of them make a search of `lsh-cosine` exact. Default: in all an eighth of the cells
   * that one table of `lsh-cosine` has, and 2.75 · √cells of a built index, times its cells for each that has rows.
   */
  nprobe?: number;
  /**
   * For a built index: candidates whose vectors are scored exactly, as a multiple of topK. Default 3, with PQ codes 10,
   * and 24 candidates at least. With `ivf-…` or `imi-cosine`, 0 reads no vectors at all: distances are then estimates, and
   * batches say so.
   */
  rerankFactor?: number;
  /**
   * For a built index: standard errors that an estimate may lie below the topK-th best and still be looked at.
   * More finds more and takes longer. Default 1.4. PQ codes have no such error.
   */
  epsilon?: number;
  /**
   * For a built `vamana-…`: nodes that a walk keeps in view, topK to 65,536. More is slower and finds more. Default
   * 0.31 · √nodes, 64 to 512, and 2 · topK at least; with a filter it is widened.
   */
  beam?: number;
  /**
   * For a built `ivf-…` or `imi-cosine`: the share of the true topK that is wanted, above 0 and below 1. The first query
   * that names one measures, on records of the dataset itself, how many probes reach it. Not beside `nprobe` or
   * `epsilon`.
   */
  recallTarget?: number;
}

const MAX_TOP_K = 1 << 20;
/** A filter that leaves a share s of the rows has s^−0.4 times as many cells probed: measured on word vectors. */
const FILTER_WIDENING = 0.4;
/** A vector takes this much longer to score than a code to scan: fewer matches than that are scored one by one. */
const EXACT_SHARE = 1 / 12;
/** Beyond this many results an index saves little: the search is exact. */
const MAX_PROBED_TOP_K = 4096;
const DEFAULT_TOP_K = 10;
const DEFAULT_BATCH_SIZE = 64;

export interface SearchTarget {
  ctx: Context;
  manifest: Manifest;
  origin: bigint;
  indexers: Indexers;
  ivf: IvfTracks;
  graphs: GraphTracks;
}

/** Runs a query and gives its hits, nearest first, in batches of columns. */
export async function* search(target: SearchTarget, query: VectorQuery): AsyncGenerator<Columns> {
  const plan = vectorPlanOf(target.manifest, query);
  const { hits, isExact } = findNow(target, plan) ?? (await findHits(target, plan));
  for (let from = 0; from < hits.length; from += plan.batchSize) {
    yield await materialise(target, plan.fields, hits.slice(from, from + plan.batchSize), isExact);
  }
}

/** Runs a query and tells what it did. */
export async function explain(target: SearchTarget, query: VectorQuery): Promise<Explanation> {
  const { traffic } = target.ctx.session;
  const before = { ...traffic };
  const started = performance.now();
  const plan = vectorPlanOf(target.manifest, query);
  const explaining = newExplaining();
  const { hits, isExact } = await findHits(target, plan, explaining);
  const searched = performance.now();
  await materialise(target, plan.fields, hits, isExact);
  const { stats, ...figures } = explaining;
  return {
    ...figures,
    ...(figures.strategy === "ivf" ? { ...stats, cells: figures.cells, cellsProbed: stats.cells } : {}),
    hits: hits.length,
    isExact,
    requests: traffic.requests - before.requests,
    bytes: traffic.bytes - before.bytes,
    roundTrips: traffic.roundTrips - before.roundTrips,
    ms: { total: performance.now() - started, search: searched - started },
  };
}

/** A query that was checked, but for its vector. */
export interface Plan {
  field: EmbeddingField;
  track: Track;
  topK: number;
  batchSize: number;
  condition: Condition | undefined;
  fields: FieldSpec[];
  nprobe: number | undefined;
  rerankFactor: number | undefined;
  epsilon: number | undefined;
  recallTarget: number | undefined;
  beam: number | undefined;
}

interface VectorPlan extends Plan {
  vector: Float32Array;
}

function vectorPlanOf(manifest: Manifest, query: VectorQuery): VectorPlan {
  const plan = planOf(manifest, query);
  return { ...plan, vector: vectorOf(plan.field, query.query, "query") };
}

/** Errors: `InvalidArgument` naming `name`, unless it is as long as the field's vectors, finite, and has a direction. */
export function vectorOf(field: EmbeddingField, values: unknown, name: string): Float32Array {
  const vector = new Float32Array(field.dim);
  copyVector(values, field.dim, vector, 0, (found) => invalid(name, found, `${field.dim} finite numbers`));
  const bad = vector.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw invalid(name, vector[bad], `a finite f32 at component ${bad}`);
  checkDirection(metricOf(field.algorithm), vector, name);
  return vector;
}

export function planOf(manifest: Manifest, query: Omit<VectorQuery, "query">): Plan {
  const field = manifest.fields.find((candidate) => candidate.name === query.field);
  if (field?.kind !== "embedding") {
    throw invalid(
      "field",
      query.field,
      field === undefined ? `one of ${manifest.fields.map(({ name }) => name).join(", ")}` : "a vector field",
    );
  }
  return {
    field,
    track: manifest.tracks.get(field.id) as Track,
    topK: Math.min(
      positive("topK", query.topK ?? DEFAULT_TOP_K, MAX_TOP_K),
      Math.max(1, manifest.timeline.rows),
    ),
    batchSize: positive("batchSize", query.batchSize ?? DEFAULT_BATCH_SIZE, MAX_TOP_K),
    condition: filterOf(query, manifest.fields),
    fields: chosenFields(manifest.fields, query.fields),
    nprobe: query.nprobe === undefined ? undefined : positive("nprobe", query.nprobe, 2 ** 32 - 1),
    beam: query.beam === undefined ? undefined : positive("beam", query.beam, MAX_BEAM),
    ...tuningOf(query),
  };
}

function tuningOf({ rerankFactor, epsilon, recallTarget, nprobe }: Omit<VectorQuery, "query">): {
  rerankFactor: number | undefined;
  epsilon: number | undefined;
  recallTarget: number | undefined;
} {
  if (rerankFactor !== undefined && !(rerankFactor === 0 || (rerankFactor >= 1 && rerankFactor <= 1024)))
    throw invalid("rerankFactor", rerankFactor, "0, or a number from 1 to 1024");
  if (epsilon !== undefined && !(epsilon >= 0 && epsilon <= 100))
    throw invalid("epsilon", epsilon, "a number from 0 to 100");
  if (recallTarget !== undefined && !(recallTarget > 0 && recallTarget < 1))
    throw invalid("recallTarget", recallTarget, "a number above 0 and below 1");
  if (recallTarget !== undefined && (nprobe !== undefined || epsilon !== undefined))
    throw invalid("recallTarget", `${recallTarget} beside nprobe or epsilon`, "one or the other");
  return { rerankFactor, epsilon, recallTarget };
}

/** The named fields, or by default all scalars. Errors: `InvalidArgument` for an unknown name. */
export function chosenFields(
  fields: readonly FieldSpec[],
  names: readonly string[] | undefined,
  byDefault = isScalar,
): FieldSpec[] {
  if (names === undefined) return fields.filter(byDefault);
  if (!Array.isArray(names)) throw invalid("fields", names, "an array of field names");
  return [...new Set<string>(names)].map((name) => {
    const field = fields.find((candidate) => candidate.name === name);
    if (field === undefined)
      throw invalid("fields", name, `one of ${fields.map((candidate) => candidate.name).join(", ")}`);
    return field;
  });
}

function isScalar(field: FieldSpec): boolean {
  return (
    field.kind !== "embedding" && field.kind !== "image" && field.kind !== "video" && field.kind !== "audio"
  );
}

export function positive(field: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw invalid(field, value, `an integer from 1 to ${max}`);
}

function invalid(field: string, found: unknown, expected: unknown): DreamDBError {
  return new DreamDBError("InvalidArgument", "this argument can't be", { field, found, expected });
}

export interface Found {
  hits: Hit[];
  /** False when distances are estimates. */
  isExact: boolean;
}

/**
 * What an index that is in memory answers without waiting: for a query of a tenth of a millisecond, each promise
 * that is left out counts. Undefined when it takes more than that.
 */
export function findNow(target: SearchTarget, plan: VectorPlan): Found | undefined {
  const ready = readyFor(target, plan);
  return ready && foundOf(ready.ivf.searchNow(plan.vector, ready.probing), ready.probing, ready.ivf);
}

/** As `findNow` for many vectors at once: those that it leaves undefined are searched one by one. */
export function findManyNow(
  target: SearchTarget,
  plan: Plan,
  vectors: readonly Float32Array[],
): (Found | undefined)[] {
  const ready = readyFor(target, plan);
  if (ready === undefined) return [];
  const { ivf, probing } = ready;
  const joined = new Float32Array(vectors.length * plan.field.dim);
  vectors.forEach((vector, i) => {
    joined.set(vector, i * plan.field.dim);
  });
  return (ivf.searchManyNow(joined, probing) ?? []).map((nearest) => foundOf(nearest, probing, ivf));
}

/** The index in memory that a plan can be carried out with, and its figures. */
function readyFor({ ivf }: SearchTarget, plan: Plan): { ivf: IvfTrack; probing: Probing } | undefined {
  const { track, topK, recallTarget } = plan;
  const opened = ivf.opened(track);
  if (opened === undefined || plan.condition !== undefined || topK > MAX_PROBED_TOP_K) return undefined;
  const measured = recallTarget === undefined ? plan : ivf.measured(track, opened, topK, recallTarget);
  if (measured === undefined) return undefined;
  return {
    ivf: opened,
    probing: probingOf(opened, topK, {
      ...measured,
      rerankFactor: plan.rerankFactor ?? measured.rerankFactor,
    }),
  };
}

function foundOf(nearest: Nearest | undefined, probing: Probing, ivf: IvfTrack): Found | undefined {
  if (nearest === undefined || !isEnough(nearest, probing, ivf, ivf.rows)) return undefined;
  return { hits: hitsOfNearest(nearest), isExact: nearest.isExact };
}

export async function findHits(
  target: SearchTarget,
  plan: VectorPlan,
  explaining?: Explaining,
): Promise<Found> {
  const { spatialIndex } = plan.track;
  if (isGraph(spatialIndex) && plan.topK <= MAX_PROBED_TOP_K) {
    const hits = await findByGraph(target, plan, { ...plan.track, spatialIndex }, explaining);
    if (hits !== undefined) return { hits, isExact: true };
  }
  // A trained index is searched without what encodes rows for it, which takes as long to make as the search.
  const isBuilt = isTrained(spatialIndex);
  const indexer = isBuilt ? undefined : await target.indexers.of(plan.track);
  const planes = plan.condition === undefined ? planesOf(indexer) : undefined;
  if (isBuilt && plan.topK <= MAX_PROBED_TOP_K) {
    const found = await findByIvf(target, plan, explaining);
    if (found !== undefined) return found;
  }
  const isProbed = planes !== undefined && probesOf(plan, planes) < cellsOf(planes);
  const { kernels, session } = target.ctx;
  // Each of several hash tables may come up with the same rows.
  const kept = plan.topK * (isProbed ? planes.length : 1);
  const scan = new Scan<Source>(kernels, metricOf(plan.field.algorithm), plan.vector, kept);
  try {
    const cellsProbed = isProbed ? await scanCells(target, plan, scan, planes) : 1;
    if (!isProbed) {
      await scanColumns(target, plan.field, scan, (entry) =>
        plan.condition === undefined ? Promise.resolve("all") : matchingRows(session, entry, plan.condition),
      );
    }
    if (explaining !== undefined) {
      explaining.strategy = isProbed ? "lsh" : "exact";
      if (isProbed) Object.assign(explaining, { cells: planes.length * cellsOf(planes), cellsProbed });
      explaining.reranked = scan.scored;
    }
    return { hits: (await hitsOf(session, scan)).slice(0, plan.topK), isExact: true };
  } finally {
    scan.free();
  }
}

/** What reaches the plan's `recallTarget`; undefined when none was named, or no built index is searched. */
export async function measuredFor(target: SearchTarget, plan: Plan): Promise<Calibration | undefined> {
  const { field, track, topK, recallTarget } = plan;
  if (recallTarget === undefined || topK > MAX_PROBED_TOP_K || !isTrained(track.spatialIndex))
    return undefined;
  const ivf = await target.ivf.of(track);
  return target.ivf.calibrated(target, track, ivf, field, topK, recallTarget);
}

async function findByGraph(
  target: SearchTarget,
  plan: VectorPlan,
  track: Track & { spatialIndex: BuiltGraph },
  explaining: Explaining | undefined,
): Promise<Hit[] | undefined> {
  const { field, vector, topK, condition, recallTarget } = plan;
  if (recallTarget !== undefined)
    throw invalid("recallTarget", recallTarget, "a built ivf-… index; a graph is searched with `beam`");
  const { searchGraph, walkingOf } = await seldom();
  const graph = await target.graphs.of(field, track);
  const walking = walkingOf(topK, graph.nodes, plan);
  return searchGraph(target, graph, field, vector, walking, condition, explaining);
}

async function findByIvf(
  target: SearchTarget,
  plan: VectorPlan,
  explaining: Explaining | undefined,
): Promise<Found | undefined> {
  const { field, track, vector, topK } = plan;
  const ivf = await target.ivf.of(track);
  const { cells } = ivf;
  const measured = await measuredFor(target, plan);
  const probing = probingOf(
    ivf,
    topK,
    measured === undefined ? plan : { ...measured, rerankFactor: plan.rerankFactor ?? measured.rerankFactor },
  );
  const filter = await filterFor(target, plan, ivf, probing);
  if (filter === "scan the matches") return undefined;
  if (explaining !== undefined) {
    const { nprobe, epsilon, rerank } = filter;
    Object.assign(explaining, { strategy: "ivf", cells, nprobe, epsilon, rerank });
    if (measured !== undefined) explaining.measured = { recall: measured.recall, sample: measured.sample };
  }
  return searchIvf(target, ivf, field, vector, filter, filter.matching, explaining?.stats);
}

/**
 * The figures of a filtered search: the fewer rows match, the further away the nearest of them are, so more cells are
 * probed. Where all of the matching vectors are scored sooner than that, they are.
 */
async function filterFor(
  { ctx, manifest }: SearchTarget,
  { condition }: Plan,
  ivf: IvfTrack,
  probing: Probing,
): Promise<(Probing & { matching: number }) | "scan the matches"> {
  if (condition === undefined) return { ...probing, matching: ivf.rows };
  const root = manifest.timeline;
  const { bits, count } = await matchingOrdinals(ctx.session, manifest, condition);
  const share = count / Math.max(1, root.rows);
  const nprobe = Math.min(ivf.cells, Math.ceil(probing.nprobe * Math.max(share, 1e-9) ** -FILTER_WIDENING));
  if (count < EXACT_SHARE * ivf.rows * (nprobe / ivf.cells)) return "scan the matches";
  if (!ivf.isNumbered(root)) await ivf.numberRows(await RowNumbers.of(ctx.session, root));
  return { ...probing, nprobe, filter: bits, matching: count };
}

/** A cosine needs a direction: a length above 0 that f32 can hold. */
function checkDirection(metric: Metric, vector: Float32Array, name: string): void {
  if (metric !== "cosine") return;
  let squares = 0;
  for (let i = 0; i < vector.length; i++)
    squares = Math.fround(squares + Math.fround((vector[i] as number) * (vector[i] as number)));
  if (squares > 0 && squares < Number.POSITIVE_INFINITY) return;
  throw invalid(name, "a length of zero, or beyond f32", "a vector with a direction, for cosine");
}

/** Reads the chosen fields of `hits`. */
export async function materialise(
  target: SearchTarget,
  fields: readonly FieldSpec[],
  hits: readonly Hit[],
  isExact: boolean,
): Promise<Columns> {
  const { session } = target.ctx;
  const out = emptyColumns(fields);
  const rows: unknown[][] = fields.length === 0 ? [] : hits.map(() => []);
  if (fields.length > 0)
    await inParallel([...hits.keys()], async (i) => {
      const hit = hits[i] as Hit;
      const at = hit.at ?? (await locate(session, target.manifest.timeline, hit.tick));
      if (at === undefined) {
        throw new DreamDBError("Corrupt", "a cell names a record that no batch holds", {
          field: "segment.anchors",
          found: hit.tick,
        });
      }
      rows[i] = await readRow(session, fields, at);
    });
  out._time_anchors = hits.map((hit) => hit.tick + target.origin);
  out._distances = hits.map((hit) => hit.distance);
  if (!isExact) (out as { _estimated?: true })._estimated = true;
  fields.forEach((field, f) => {
    out[field.name] = rows.map((row) => row[f]);
  });
  return out;
}
