/**
 * `recallTarget`: what it takes to reach it, measured on records of the dataset itself. A sample's recall is a guess at
 * that of other queries, so a setting is taken only when the lower end of what the sample allows for reaches the target.
 */

import { MAX_BEAM } from "../kernels/vamana-walk.ts";
import type { EmbeddingField } from "../objects/field.ts";
import { type Metric, metricOf } from "../objects/metric.ts";
import { Scan, scanColumns } from "./exact-search.ts";
import { searchGraph, walkingOf } from "./graph-search.ts";
import type { GraphTarget, GraphTrack } from "./graph-track.ts";
import { hitsOf, type Source } from "./hits.ts";
import { probingOf, readVectors, searchIvf } from "./ivf-search.ts";
import type { IvfTrack, ProbeStats } from "./ivf-track.ts";
import { VectorSource } from "./vector-source.ts";

/** What a query runs with to reach a recall. */
export interface Calibration {
  /** Of cells. */
  nprobe?: number;
  epsilon?: number;
  /** Of a graph. */
  beam?: number;
  rerankFactor: number | undefined;
  /** The share of the true topK that these found for the sample. */
  recall: number;
  /** The recall of other queries is at least this, with a confidence of 99 %. */
  lowerBound: number;
  /** Records that it was measured on. */
  sample: number;
}

/** What is asked of an index. */
export interface RecallWanted {
  topK: number;
  recallTarget: number;
  /** As the caller gave it. */
  rerankFactor: number | undefined;
}

/** Records to measure on: at a recall of .95, the lower end is then .01 below what is measured. */
const SAMPLE = 400;
/** Beyond 10 neighbours each, the sample is large enough to be asked fewer. */
const LEAST_SAMPLE = 50;
const SAMPLE_SEED = new Uint8Array(32);
/** One-sided 99 % of a normal distribution, in deviations. */
const CONFIDENCE = 2.33;
/** Other queries miss so many times what records of the dataset do, which the index was made for: 3 to 13 % more on word vectors. */
const MISSED_BY_OTHERS = 1.1;
/** As that for graphs, whose sample is made up: 1.5 times as many on random vectors, fewer on word vectors and on clusters. */
const MISSED_IN_GRAPHS = 1.3;
/** A row that is looked at more closely takes so many times what its first code does. */
const REFINED_COST = 12;
const MOST_EPSILON = 8;
const MOST_RERANK = 64;
/** PQ codes drop no row for its error: more candidates are all that helps. */
const MOST_PQ_RERANK = 1024;
const USUAL_RERANK = 3;
/**
 * More of the benefit of the doubt for estimates may do with fewer cells, and less of it with more of them, most of which are
 * left out: what is tried beside the usual, each way until it costs more.
 */
const EPSILON_STEPS = [
  [0.85, 0.72, 0.6],
  [1.25, 1.6],
];
/** With less of it, so many times the cells are tried at most. */
const MORE_CELLS = 4;

/** Errors ε that suit a recall: more probes do not help when too many candidates are cut off. */
function epsilonFor(recallTarget: number): number {
  return Math.max(1.2, 1.35 + (recallTarget - 0.95) * 9);
}

/**
 * The cheapest probing that surely finds `recallTarget` of the true neighbours of other records; the one that finds
 * most where none does.
 */
export async function calibrateIvf(
  target: GraphTarget,
  ivf: IvfTrack,
  field: EmbeddingField,
  wanted: RecallWanted,
): Promise<Calibration> {
  const { topK, recallTarget } = wanted;
  const sample = await Sample.of(target, field, topK);
  const measure = async (nprobe: number, epsilon: number, rerankFactor: number | undefined) => {
    const probing = probingOf(ivf, topK + 1, { nprobe, epsilon, rerankFactor });
    const stats: ProbeStats = { cells: 0, scanned: 0, refined: 0, reranked: 0 };
    let cost = 0;
    const measured = await sample.measure(async (query) => {
      const { hits } = await searchIvf(target, ivf, field, query, probing, ivf.rows, stats);
      cost += stats.scanned + REFINED_COST * stats.refined;
      return hits;
    });
    return { nprobe, epsilon, rerankFactor, ...measured, cost };
  };
  const { cells } = ivf;
  const mostRerank = ivf.hasPq ? MOST_PQ_RERANK : MOST_RERANK;
  let { rerankFactor } = wanted;
  let all = await measure(cells, epsilonFor(recallTarget), rerankFactor);
  while (all.lowerBound < recallTarget) {
    // Either too many candidates were dropped for their estimates, or too few were scored.
    const wider = all.epsilon < MOST_EPSILON ? await measure(cells, all.epsilon * 1.5, rerankFactor) : all;
    const factor = 2 * (rerankFactor ?? USUAL_RERANK);
    if (wider.recall > all.recall) all = wider;
    else if (wanted.rerankFactor === undefined && factor <= mostRerank) {
      rerankFactor = factor;
      all = await measure(cells, all.epsilon, rerankFactor);
    } else return all;
  }
  const leastAt = (epsilon: number, enough: typeof all) =>
    leastOf((nprobe) => measure(nprobe, epsilon, rerankFactor), 1, enough.nprobe, enough, recallTarget);
  const usual = await leastAt(all.epsilon, all);
  let best = usual;
  for (const steps of EPSILON_STEPS) {
    for (const step of steps) {
      const epsilon = usual.epsilon * step;
      const most = step > 1 ? usual.nprobe : Math.min(cells, MORE_CELLS * usual.nprobe);
      const enough = await measure(most, epsilon, rerankFactor);
      if (enough.lowerBound < recallTarget) break;
      const least = await leastAt(epsilon, enough);
      if (least.cost >= best.cost) break;
      best = least;
    }
  }
  const { cost, ...found } = best;
  return found;
}

/**
 * As `calibrateIvf`, for the beam of a walk. Records themselves won't do as queries: their links lead straight to their
 * neighbours. Each is moved away from one of them, so that it stays where records may lie: in any direction it would leave,
 * in a space of many components, the few in which they differ, and have the same neighbours as before.
 */
export async function calibrateGraph(
  target: GraphTarget,
  graph: GraphTrack,
  field: EmbeddingField,
  wanted: RecallWanted,
): Promise<Calibration> {
  const { topK, recallTarget } = wanted;
  const { beam: usual } = walkingOf(2, graph.nodes, {});
  const near = walkingOf(2, graph.nodes, { beam: usual });
  const metric = metricOf(field.algorithm);
  const sample = await Sample.of(target, field, topK, async (vectors, ticks) => {
    const beside: bigint[] = [];
    for (const [i, vector] of vectors.entries()) {
      const hits = (await searchGraph(target, graph, field, vector, near, undefined)) ?? [];
      const others = hits.map(({ tick }) => tick).filter((tick) => tick !== ticks[i]);
      beside.push(others[0] ?? (ticks[i] as bigint));
    }
    const others = await readVectors(target, field, beside);
    const { dim } = field;
    for (const [i, vector] of vectors.entries())
      moveAway(vector, others.subarray(i * dim, (i + 1) * dim), metric);
  });
  const measure = async (beam: number, rerankFactor: number | undefined) => {
    const walking = walkingOf(topK, graph.nodes, { beam, rerankFactor });
    const measured = await sample.measure((query) =>
      searchGraph(target, graph, field, query, walking, undefined),
    );
    return { beam, rerankFactor, ...measured };
  };
  const least = topK;
  const most = Math.max(least, Math.min(MAX_BEAM, graph.nodes));
  let { rerankFactor } = wanted;
  let enough = await measure(Math.min(most, walkingOf(least, graph.nodes, {}).beam), rerankFactor);
  while (enough.lowerBound < recallTarget) {
    const factor = 2 * (rerankFactor ?? USUAL_RERANK);
    if (enough.beam < most) enough = await measure(Math.min(most, 2 * enough.beam), rerankFactor);
    else if (wanted.rerankFactor === undefined && factor <= MOST_RERANK) {
      rerankFactor = factor;
      enough = await measure(most, rerankFactor);
    } else return enough;
  }
  return leastOf((beam) => measure(beam, rerankFactor), least, enough.beam, enough, recallTarget);
}

/** Bisects an effort between `least` and `most`, which is enough, to about 6 % of it. */
async function leastOf<M extends { lowerBound: number }>(
  measure: (effort: number) => Promise<M>,
  least: number,
  most: number,
  enough: M,
  recallTarget: number,
): Promise<M> {
  let tooFew = least - 1;
  let found = enough;
  let effort = most;
  while (effort - tooFew > Math.max(1, effort / 16)) {
    const middle = Math.floor((tooFew + effort) / 2);
    const tried = await measure(middle);
    if (tried.lowerBound >= recallTarget) [found, effort] = [tried, middle];
    else tooFew = middle;
  }
  return found;
}

/** Queries with their true neighbours. */
class Sample {
  private readonly topK: number;
  private readonly missedByOthers: number;
  private readonly queries: { vector: Float32Array; own: bigint | undefined; neighbours: Set<bigint> }[];

  private constructor(topK: number, missedByOthers: number, queries: Sample["queries"]) {
    this.topK = topK;
    this.missedByOthers = missedByOthers;
    this.queries = queries;
  }

  /**
   * Records as queries, each record's own row left out, so that it counts as a query from outside.
   * @param move makes other queries of them instead, in place
   */
  static async of(
    target: GraphTarget,
    field: EmbeddingField,
    topK: number,
    move?: (vectors: Float32Array[], ticks: BigUint64Array) => Promise<void>,
  ): Promise<Sample> {
    const count = Math.max(LEAST_SAMPLE, Math.ceil((SAMPLE * 10) / Math.max(10, topK)));
    const { vectors, ticks } = await draw(target, field, count);
    await move?.(vectors, ticks);
    const truth = await exactly(target, field, vectors, topK + 1);
    return new Sample(
      topK,
      move === undefined ? MISSED_BY_OTHERS : MISSED_IN_GRAPHS,
      vectors.map((vector, i) => {
        const own = move === undefined ? ticks[i] : undefined;
        const others = (truth[i] as bigint[]).filter((other) => other !== own);
        return { vector, own, neighbours: new Set(others.slice(0, topK)) };
      }),
    );
  }

  /** @param search finds topK of others than the record itself */
  async measure(
    search: (query: Float32Array) => Promise<{ tick: bigint }[] | undefined>,
  ): Promise<{ recall: number; lowerBound: number; sample: number }> {
    const { queries, topK, missedByOthers } = this;
    const recalls: number[] = [];
    for (const { vector, own, neighbours } of queries) {
      if (neighbours.size === 0) continue;
      const hits = (await search(vector)) ?? [];
      const others = hits.filter((hit) => hit.tick !== own).slice(0, topK);
      recalls.push(others.filter((hit) => neighbours.has(hit.tick)).length / neighbours.size);
    }
    return { ...boundsOf(recalls, missedByOthers), sample: queries.length };
  }
}

/** Moves a vector away from another by their distance: that of their directions for cosine. */
function moveAway(vector: Float32Array, other: Float32Array, metric: Metric): void {
  const scale = metric === "cosine" ? Math.hypot(...vector) / (Math.hypot(...other) || 1) : 1;
  for (let i = 0; i < vector.length; i++) {
    const value = vector[i] as number;
    vector[i] = 2 * value - scale * (other[i] as number);
  }
}

/** The mean, and what that of other queries is at least. */
function boundsOf(
  recalls: readonly number[],
  missedByOthers: number,
): { recall: number; lowerBound: number } {
  const n = recalls.length;
  if (n === 0) return { recall: 1, lowerBound: 1 };
  const recall = recalls.reduce((sum, each) => sum + each, 0) / n;
  const variance = recalls.reduce((sum, each) => sum + (each - recall) ** 2, 0) / Math.max(1, n - 1);
  const missed = 1 - recall + CONFIDENCE * Math.sqrt(variance / n);
  return { recall, lowerBound: missed === 0 ? 1 : Math.max(0, 1 - missedByOthers * missed) };
}

/** Vectors held at a time while the sample is drawn. */
const SAMPLE_MEMORY_BYTES = 64 << 20;

async function draw(
  { ctx, manifest }: GraphTarget,
  field: EmbeddingField,
  count: number,
): Promise<{ vectors: Float32Array[]; ticks: BigUint64Array }> {
  const { kernels } = ctx;
  const source = await VectorSource.open(ctx, manifest, field, SAMPLE_MEMORY_BYTES);
  const most = Math.min(count, source.rows);
  const out = kernels.alloc(most * 4 * field.dim);
  try {
    const ticks = new BigUint64Array(most);
    const rows = await source.sample(most, SAMPLE_SEED, out, () => undefined, ticks);
    const all = kernels.f32(out, rows * field.dim).slice();
    const vectors = Array.from({ length: rows }, (_, i) => all.subarray(i * field.dim, (i + 1) * field.dim));
    return { vectors, ticks };
  } finally {
    kernels.free(out);
    source.free();
  }
}

/** The true neighbours of many queries, nearest first; the columns are read once for all of them. */
async function exactly(
  target: GraphTarget,
  field: EmbeddingField,
  queries: readonly Float32Array[],
  topK: number,
): Promise<bigint[][]> {
  const scans: Scan<Source>[] = [];
  try {
    for (const query of queries)
      scans.push(new Scan<Source>(target.ctx.kernels, metricOf(field.algorithm), query, topK));
    const all: Pick<Scan<Source>, "add" | "block"> = {
      add: (source, rows) => scans.map((scan) => scan.add(source, rows))[0] ?? 0,
      block: (...block) => {
        for (const scan of scans) scan.block(...block);
      },
    };
    await scanColumns(target, field, all, () => Promise.resolve("all"));
    const found: bigint[][] = [];
    for (const scan of scans) found.push((await hitsOf(target.ctx.session, scan)).map(({ tick }) => tick));
    return found;
  } finally {
    for (const scan of scans) scan.free();
  }
}
