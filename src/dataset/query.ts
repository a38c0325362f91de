/**
 * `iterVector`: the nearest records by cosine (spec/0004-spatial-indexing.md §5). Distances are always exact:
 * cells only decide which vectors are looked at.
 */
import { DreamDBError } from "../errors.ts";
import { MAX_BEAM, MAX_SLACK } from "../kernels/vamana-walk.ts";
import type { EmbeddingField, FieldSpec } from "../objects/field.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { type Metric, metricOf } from "../objects/metric.ts";
import { type BuiltGraph, isGraph, isTrained } from "../objects/spatial-index.ts";
import type { Calibration } from "./calibrate.ts";
import type { Context } from "./context.ts";
import { Scan, scanColumns } from "./exact-search.ts";
import { type Explaining, type Explanation, newExplaining } from "./explain.ts";
import { matchingOrdinals, matchingRows } from "./filter.ts";
import type { GraphTracks, OpenedGraph } from "./graph-tracks.ts";
import { type Hit, hitsOf, type Source } from "./hits.ts";
import { type Indexers, planesOf } from "./indexer.ts";
import { hitsOfNearest, isEnough, noBatchHolds, probingOf, readVectors, searchIvf } from "./ivf-search.ts";
import type { IvfTrack, Nearest, Probing, RowFilter } from "./ivf-track.ts";
import type { IvfTracks } from "./ivf-tracks.ts";
import { seldom } from "./later.ts";
import { cellsOf, probesOf, scanCells } from "./lsh-search.ts";
import { RowNumbers } from "./row-numbers.ts";
import { readRows } from "./rows.ts";
import { RowsAhead } from "./rows-ahead.ts";
import type { AnyFields, FieldTypes } from "./schema.ts";
import { type Columns, emptyColumns } from "./stream.ts";
import { locateAll } from "./timeline.ts";
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
   * Cells that are looked at, nearest first; widened until topK records are found. Of a built index, unless these are all
   * its cells, some are left out in which no row can be expected to be among the nearest. Of `lsh-cosine` with several tables,
   * so many a table, on average. All of them make a search of `lsh-cosine` exact. Default: in all an eighth of the cells
   * that one table of `lsh-cosine` has, and 3 · √cells of a built index, times its cells for each that has rows.
   */
  nprobe?: number;
  /**
   * For a built index: candidates whose vectors are scored exactly, as a multiple of topK. Default 3, with PQ codes 10,
   * and 24 candidates at least. With `ivf-…` or `imi-cosine`, 0 reads no vectors at all: distances are then estimates, and
   * batches say so.
   */
  rerankFactor?: number;
  /**
   * For a built index: standard errors that an estimate may lie below the topK-th best and still be looked at; cells are
   * left out by it too. More finds more and takes longer. Default 1.4. PQ codes have no such
   * error.
   */
  epsilon?: number;
  /**
   * For a built `vamana-…`: nodes that a walk keeps in view, topK to 65,536. More is slower and finds more. Default
   * 0.42 · √nodes, 64 to 512, and 2 · topK at least; with a filter it is widened.
   */
  beam?: number;
  /**
   * For a built `vamana-…`: a walk leaves out nodes further than (1 + slack) times the distance of the topK-th best so far,
   * 0 to 100, and so ends early where the nearest are clear. Less is faster and finds less. Default 0.08 with the default
   * beam; none are left out beside a `beam` of your own, or a filter.
   */
  slack?: number;
  /**
   * For a built index: the share of the true topK that is wanted, above 0 and below 1. The first query that names one
   * measures, on records of the dataset itself, how many probes or how wide a beam surely reach it. Not beside
   * `nprobe`, `epsilon` or `beam`.
   */
  recallTarget?: number;
}

const MAX_TOP_K = 1 << 20;
/** A filter that leaves a share s of the rows has s^−0.25 times as many cells probed: measured on word vectors. */
const FILTER_WIDENING = 0.25;
/** A vector takes this much longer to score than a code to scan: fewer matches than that are scored one by one. */
const EXACT_SHARE = 1 / 16;
/** Beyond this many results an index saves little: the search is exact. */
const MAX_PROBED_TOP_K = 4096;
const DEFAULT_TOP_K = 10;
const DEFAULT_BATCH_SIZE = 64;

export interface SearchTarget {
  ctx: Context;
  manifest: Manifest;
  /** Of the anchors, or how to come by it. */
  origin: bigint | (() => Promise<bigint>);
  indexers: Indexers;
  ivf: IvfTracks;
  graphs: GraphTracks;
}

export async function originOf({ origin }: SearchTarget): Promise<bigint> {
  return typeof origin === "bigint" ? origin : origin();
}

/** Runs a query and gives its hits, nearest first, in batches of columns. */
export async function* search(target: SearchTarget, query: VectorQuery): AsyncGenerator<Columns> {
  const plan = vectorPlanOf(target.manifest, query);
  const { hits, isExact, ahead } = findNow(target, plan) ?? (await findHits(target, plan));
  for (const some of batchesOf(hits, plan.batchSize))
    yield await materialise(target, plan.fields, some, isExact, ahead);
}

/** As `search`, all batches at once: what is in memory is answered without waiting for anything. */
export async function searchAll(target: SearchTarget, query: VectorQuery): Promise<Columns[]> {
  const plan = vectorPlanOf(target.manifest, query);
  const { hits, isExact, ahead } = findNow(target, plan) ?? (await findHits(target, plan));
  const batches: Columns[] = [];
  for (const some of batchesOf(hits, plan.batchSize))
    batches.push(await materialise(target, plan.fields, some, isExact, ahead));
  return batches;
}

function batchesOf(hits: readonly Hit[], size: number): (readonly Hit[])[] {
  if (hits.length <= size) return hits.length === 0 ? [] : [hits];
  return Array.from({ length: Math.ceil(hits.length / size) }, (_, i) =>
    hits.slice(i * size, (i + 1) * size),
  );
}

/** Runs a query and tells what it did. */
export async function explain(target: SearchTarget, query: VectorQuery): Promise<Explanation> {
  const { session } = target.ctx;
  const trips = new Map<number, { requests: number; bytes: number; ms: number }>();
  const unwatch = session.watch((roundTrip, bytes, ms) => {
    const trip = trips.get(roundTrip) ?? { requests: 0, bytes: 0, ms: 0 };
    trips.set(roundTrip, {
      requests: trip.requests + 1,
      bytes: trip.bytes + bytes,
      ms: Math.max(trip.ms, ms),
    });
  });
  try {
    const started = performance.now();
    const plan = vectorPlanOf(target.manifest, query);
    const explaining = newExplaining();
    const { hits, isExact, ahead } = await findHits(target, plan, explaining);
    const searched = performance.now();
    await materialise(target, plan.fields, hits, isExact, ahead);
    const { stats, ...figures } = explaining;
    const phases = [...trips].sort(([a], [b]) => a - b).map(([, trip]) => trip);
    return {
      ...figures,
      ...(figures.strategy === "ivf" ? { ...stats, cells: figures.cells, cellsProbed: stats.cells } : {}),
      hits: hits.length,
      isExact,
      requests: phases.reduce((sum, { requests }) => sum + requests, 0),
      bytes: phases.reduce((sum, { bytes }) => sum + bytes, 0),
      roundTrips: phases.length,
      phases,
      ms: { total: performance.now() - started, search: searched - started },
    };
  } finally {
    unwatch();
  }
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
  slack: number | undefined;
}

interface VectorPlan extends Plan {
  /** The caller's own array where it can be: whoever waits for anything takes a copy first. */
  vector: Float32Array;
}

function vectorPlanOf(manifest: Manifest, query: VectorQuery): VectorPlan {
  const plan = planOf(manifest, query);
  const given: unknown = query.query;
  const isUsable = isFloat32(given) && given.length === plan.field.dim;
  const vector = isUsable ? checkedVector(plan.field, given, "query") : vectorOf(plan.field, given, "query");
  return Object.assign(plan, { vector });
}

function isFloat32(value: unknown): value is Float32Array {
  return Object.prototype.toString.call(value) === "[object Float32Array]";
}

/**
 * A copy of a caller's vector, in `vector` if it is given.
 * Errors: `InvalidArgument` naming `name`, unless it is as long as the field's vectors, finite, and has a direction.
 */
export function vectorOf(
  field: EmbeddingField,
  values: unknown,
  name: string,
  vector = new Float32Array(field.dim),
): Float32Array {
  copyVector(values, field.dim, vector, 0, (found) => invalid(name, found, `${field.dim} finite numbers`));
  return checkedVector(field, vector, name);
}

/** The vector itself, when it is finite and has a direction. */
function checkedVector(field: EmbeddingField, vector: Float32Array, name: string): Float32Array {
  if (isOfPlainLength(vector)) return vector;
  const bad = vector.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw invalid(name, vector[bad], `a finite f32 at component ${bad}`);
  checkDirection(metricOf(field.algorithm), vector, name);
  return vector;
}

/** Whether |vector|² is far from both ends of f32: then nothing is wrong with it, and one pass says so. */
function isOfPlainLength(vector: Float32Array): boolean {
  // Four sums, because additions wait for one another.
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (; i + 4 <= vector.length; i += 4) {
    a += (vector[i] as number) * (vector[i] as number);
    b += (vector[i + 1] as number) * (vector[i + 1] as number);
    c += (vector[i + 2] as number) * (vector[i + 2] as number);
    d += (vector[i + 3] as number) * (vector[i + 3] as number);
  }
  for (; i < vector.length; i++) a += (vector[i] as number) * (vector[i] as number);
  const squares = a + b + c + d;
  return squares > 1e-30 && squares < 1e38;
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
  checkTuning(query);
  const { rerankFactor, epsilon, recallTarget } = query;
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
    slack: slackOf(query),
    rerankFactor,
    epsilon,
    recallTarget,
  };
}

function slackOf({ slack }: Omit<VectorQuery, "query">): number | undefined {
  if (slack === undefined || (slack >= 0 && slack <= MAX_SLACK)) return slack;
  throw invalid("slack", slack, `a number from 0 to ${MAX_SLACK}`);
}

function checkTuning({
  rerankFactor,
  epsilon,
  recallTarget,
  nprobe,
  beam,
}: Omit<VectorQuery, "query">): void {
  if (rerankFactor !== undefined && !(rerankFactor === 0 || (rerankFactor >= 1 && rerankFactor <= 1024)))
    throw invalid("rerankFactor", rerankFactor, "0, or a number from 1 to 1024");
  if (epsilon !== undefined && !(epsilon >= 0 && epsilon <= 100))
    throw invalid("epsilon", epsilon, "a number from 0 to 100");
  if (recallTarget !== undefined && !(recallTarget > 0 && recallTarget < 1))
    throw invalid("recallTarget", recallTarget, "a number above 0 and below 1");
  if (recallTarget !== undefined && (nprobe ?? epsilon ?? beam) !== undefined)
    throw invalid("recallTarget", `${recallTarget} beside nprobe, epsilon or beam`, "one or the other");
}

/** The named fields, or by default all scalars. Errors: `InvalidArgument` for an unknown name. */
export function chosenFields(
  fields: readonly FieldSpec[],
  names: readonly string[] | undefined,
  byDefault = isScalar,
): FieldSpec[] {
  if (names === undefined) return fields.filter(byDefault);
  if (!Array.isArray(names)) throw invalid("fields", names, "an array of field names");
  if (names.length === 0) return [];
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
  /** Fields of records that may be hits, where these were read ahead. */
  ahead?: RowsAhead | undefined;
}

/**
 * What an index that is in memory answers without waiting: for a query of a tenth of a millisecond, each promise
 * that is left out counts. Undefined when it takes more than that.
 */
export function findNow(target: SearchTarget, plan: VectorPlan): Found | undefined {
  const graph = target.graphs.opened(plan.track);
  if (graph !== undefined) return walkNow(target, plan, graph);
  const ready = readyFor(target, plan);
  return ready && foundOf(ready.ivf.searchNow(plan.vector, ready.probing), ready.probing, ready.ivf);
}

function walkNow(target: SearchTarget, plan: VectorPlan, opened: OpenedGraph): Found | undefined {
  const { field, topK, condition, recallTarget, vector } = plan;
  if (condition !== undefined || recallTarget !== undefined || topK > MAX_PROBED_TOP_K) return undefined;
  const { graph, searchGraphNow, walkingOf } = opened;
  const walking = walkingOf(topK, graph.nodes, plan);
  const hits = searchGraphNow(target, graph, metricOf(field.algorithm), vector, walking);
  return hits && { hits, isExact: true };
}

/** Brings in what `findManyNow` needs for so many queries, where that is less work than one after the other. */
export async function warmFor({ ivf }: SearchTarget, plan: Plan, queries: number): Promise<void> {
  const { track, topK, condition } = plan;
  if (queries < 2 || condition !== undefined || topK > MAX_PROBED_TOP_K || !isTrained(track.spatialIndex))
    return;
  const opened = await ivf.of(track);
  await opened.warmFor(queries * probingOf(opened, topK, plan).nprobe);
}

/** As `findNow` for many vectors (n × dim) at once: those that it leaves undefined are searched one by one. */
export function findManyNow(target: SearchTarget, plan: Plan, vectors: Float32Array): (Found | undefined)[] {
  const ready = readyFor(target, plan);
  if (ready === undefined) return [];
  const { ivf, probing } = ready;
  return (ivf.searchManyNow(vectors, probing) ?? []).map((nearest) => foundOf(nearest, probing, ivf));
}

/** The index in memory that a plan can be carried out with, and its figures. */
function readyFor({ ivf }: SearchTarget, plan: Plan): { ivf: IvfTrack; probing: Probing } | undefined {
  const { track, topK, recallTarget } = plan;
  const opened = ivf.opened(track);
  if (opened === undefined || plan.condition !== undefined || topK > MAX_PROBED_TOP_K) return undefined;
  const measured = recallTarget === undefined ? plan : ivf.measured(track, opened, { ...plan, recallTarget });
  if (measured === undefined) return undefined;
  return {
    ivf: opened,
    probing: probingOf(opened, topK, measured),
  };
}

function foundOf(nearest: Nearest | undefined, probing: Probing, ivf: IvfTrack): Found | undefined {
  if (nearest === undefined || !isEnough(nearest, probing, ivf, ivf.rows)) return undefined;
  return { hits: hitsOfNearest(nearest), isExact: nearest.isExact };
}

export async function findHits(
  target: SearchTarget,
  given: VectorPlan,
  explaining?: Explaining,
): Promise<Found> {
  const plan = { ...given, vector: given.vector.slice() };
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
      target.ivf.opened(plan.track)?.wentBeside(4 * plan.field.dim * scan.scored);
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
  const { spatialIndex } = track;
  if (recallTarget === undefined || topK > MAX_PROBED_TOP_K) return undefined;
  const wanted = { topK, recallTarget, rerankFactor: plan.rerankFactor };
  if (isGraph(spatialIndex)) {
    const linked = { ...track, spatialIndex };
    const graph = await target.graphs.of(field, linked);
    return target.graphs.calibrated(target, linked, graph, field, wanted);
  }
  if (!isTrained(spatialIndex)) return undefined;
  const ivf = await target.ivf.of(track);
  return target.ivf.calibrated(target, track, ivf, field, wanted);
}

async function findByGraph(
  target: SearchTarget,
  plan: VectorPlan,
  track: Track & { spatialIndex: BuiltGraph },
  explaining: Explaining | undefined,
): Promise<Hit[] | undefined> {
  const { field, vector, topK, condition } = plan;
  const { searchGraph, walkingOf } = await seldom();
  const graph = await target.graphs.of(field, track);
  const measured = await measuredFor(target, plan);
  if (explaining !== undefined && measured !== undefined) explaining.measured = toldOf(measured);
  const walking = walkingOf(topK, graph.nodes, measured ?? plan);
  return searchGraph(target, graph, field, vector, walking, condition, explaining);
}

async function findByIvf(
  target: SearchTarget,
  plan: VectorPlan,
  explaining: Explaining | undefined,
): Promise<Found | undefined> {
  const { field, track, vector, topK } = plan;
  const ahead = RowsAhead.for(target.ctx.session, target.manifest, plan.fields);
  if (target.ivf.opened(track) === undefined) ahead?.warm();
  const ivf = await target.ivf.of(track);
  const { cells } = ivf;
  const measured = await measuredFor(target, plan);
  const probing = probingOf(ivf, topK, measured ?? plan);
  const filter = await filterFor(target, plan, ivf, probing);
  if (filter === "read the columns") return undefined;
  if ("scan" in filter) {
    const vectorsOf = (ticks: readonly bigint[]) => readVectors(target, field, ticks);
    const found = await ivf.searchMatches(vector, topK, filter.scan, vectorsOf, explaining?.stats);
    if (found === undefined) return undefined;
    if (explaining !== undefined) {
      const { cells: cellsProbed, ...figures } = explaining.stats;
      Object.assign(explaining, { ...figures, cells, cellsProbed });
    }
    return { hits: hitsOfNearest(found), isExact: true };
  }
  if (explaining !== undefined) {
    const { nprobe, epsilon, rerank } = filter;
    Object.assign(explaining, { strategy: "ivf", cells, nprobe, epsilon, rerank });
    if (measured !== undefined) explaining.measured = toldOf(measured);
  }
  const { matching } = filter;
  const found = await searchIvf(target, ivf, field, vector, filter, matching, explaining?.stats, (ticks) =>
    ahead?.start(ticks),
  );
  return { ...found, ahead };
}

function toldOf({ recall, lowerBound, sample }: Calibration): NonNullable<Explaining["measured"]> {
  return { recall, lowerBound, sample };
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
): Promise<(Probing & { matching: number }) | { scan: RowFilter } | "read the columns"> {
  if (condition === undefined) return { ...probing, matching: ivf.rows };
  const root = manifest.timeline;
  const ordinals = await matchingOrdinals(ctx.session, manifest, condition);
  const { bits, count } = ordinals;
  const share = count / Math.max(1, root.rows);
  const nprobe = Math.min(ivf.cells, Math.ceil(probing.nprobe * Math.max(share, 1e-9) ** -FILTER_WIDENING));
  const isScanned = count < EXACT_SHARE * ivf.rows * (nprobe / ivf.cells);
  if (isScanned && !ivf.canHoldAll()) return "read the columns";
  if (!ivf.isNumbered(root)) await ivf.numberRows(await RowNumbers.of(ctx.session, root));
  if (isScanned) return { scan: { root, ordinals } };
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

/**
 * Hits as columns, with the chosen fields read for them; at once when there are none.
 * @param ahead what was read of these fields before
 */
export function materialise(
  target: SearchTarget,
  fields: readonly FieldSpec[],
  hits: readonly Hit[],
  isExact: boolean,
  ahead?: RowsAhead,
): Columns | Promise<Columns> {
  const { origin } = target;
  if (typeof origin !== "bigint")
    return origin().then((known) => materialise({ ...target, origin: known }, fields, hits, isExact, ahead));
  const columns = withoutFields(origin, fields, hits, isExact);
  return fields.length === 0 ? columns : readFields(target, fields, hits, columns, ahead);
}

/** Hits whose fields are read in one step: the blocks of all of them are in memory at a time. */
const HITS_AT_ONCE = 64;

async function readFields(
  { ctx: { session }, manifest: { timeline } }: SearchTarget,
  fields: readonly FieldSpec[],
  hits: readonly Hit[],
  columns: Columns,
  ahead: RowsAhead | undefined,
): Promise<Columns> {
  const known = await ahead?.rows();
  const rows = hits.map(({ tick }) => known?.get(tick));
  const missing = [...hits.keys()].filter((i) => rows[i] === undefined);
  for (let from = 0; from < missing.length; from += HITS_AT_ONCE) {
    const some = missing.slice(from, from + HITS_AT_ONCE);
    const unplaced = some.filter((i) => hits[i]?.at === undefined);
    const found = await locateAll(
      session,
      timeline,
      unplaced.map((i) => (hits[i] as Hit).tick),
    );
    const at = new Map(unplaced.map((i, n) => [i, found[n]]));
    const places = some.map((i) => {
      const { at: own, tick } = hits[i] as Hit;
      return own ?? at.get(i) ?? noBatchHolds("segment.anchors", tick);
    });
    const read = await readRows(session, fields, places);
    some.forEach((i, n) => {
      rows[i] = read[n];
    });
  }
  fields.forEach((field, f) => {
    columns[field.name] = rows.map((row) => row?.[f]);
  });
  return columns;
}

/** The columns of `hits` that take no reading; those of `fields` are empty. */
export function withoutFields(
  origin: bigint,
  fields: readonly FieldSpec[],
  hits: readonly Hit[],
  isExact: boolean,
): Columns {
  const out = emptyColumns(fields);
  out._time_anchors = hits.map((hit) => hit.tick + origin);
  out._distances = hits.map((hit) => hit.distance);
  if (!isExact) (out as { _estimated?: true })._estimated = true;
  return out;
}
