/**
 * `recallTarget`: what it takes to reach it, measured on records of the dataset itself. A sample's recall is a guess at
 * that of other queries, so a setting is taken only when the lower end of what the sample allows for reaches the target.
 */

import { MAX_BEAM } from "../kernels/vamana-walk.ts";
import type { EmbeddingField } from "../objects/field.ts";
import { metricOf } from "../objects/metric.ts";
import { Scan, scanColumns } from "./exact-search.ts";
import { searchGraph, walkingOf } from "./graph-search.ts";
import type { GraphTarget, GraphTrack } from "./graph-track.ts";
import { hitsOf, type Source } from "./hits.ts";
import { probingOf, searchIvf } from "./ivf-search.ts";
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
/** A row that is looked at more closely takes so many times what its first code does. */
const REFINED_COST = 12;
const MOST_EPSILON = 8;
const MOST_RERANK = 64;
/** PQ codes drop no row for its error: more candidates are all that helps. */
const MOST_PQ_RERANK = 1024;
const USUAL_RERANK = 3;
/** More of the benefit of the doubt for estimates may do with fewer cells: what is tried beside the usual. */
const EPSILON_STEPS = [1, 1.25, 1.6];

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
  let best = all;
  for (const step of EPSILON_STEPS) {
    const epsilon = all.epsilon * step;
    const enough = step === 1 ? all : await measure(best.nprobe, epsilon, rerankFactor);
    const least = await leastOf(
      (nprobe) => measure(nprobe, epsilon, rerankFactor),
      1,
      enough.nprobe,
      enough,
      recallTarget,
    );
    if (step > 1 && least.cost >= best.cost) break;
    best = least;
  }
  const { cost, ...found } = best;
  return found;
}

/** As `calibrateIvf`, for the beam of a walk. */
export async function calibrateGraph(
  target: GraphTarget,
  graph: GraphTrack,
  field: EmbeddingField,
  wanted: RecallWanted,
): Promise<Calibration> {
  const { topK, recallTarget } = wanted;
  const sample = await Sample.of(target, field, topK);
  const measure = async (beam: number, rerankFactor: number | undefined) => {
    const walking = walkingOf(topK + 1, graph.nodes, { beam, rerankFactor });
    const measured = await sample.measure((query) =>
      searchGraph(target, graph, field, query, walking, undefined),
    );
    return { beam, rerankFactor, ...measured };
  };
  const least = topK + 1;
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

/** Records with their true neighbours. Each record's own row is left out, so that it counts as a query from outside. */
class Sample {
  private readonly topK: number;
  private readonly records: { vector: Float32Array; tick: bigint; neighbours: Set<bigint> }[];

  private constructor(topK: number, records: Sample["records"]) {
    this.topK = topK;
    this.records = records;
  }

  static async of(target: GraphTarget, field: EmbeddingField, topK: number): Promise<Sample> {
    const count = Math.max(LEAST_SAMPLE, Math.ceil((SAMPLE * 10) / Math.max(10, topK)));
    const drawn = await draw(target, field, count);
    const truth = await exactly(target, field, drawn.vectors, topK + 1);
    return new Sample(
      topK,
      drawn.vectors.map((vector, i) => {
        const tick = drawn.ticks[i] as bigint;
        const others = (truth[i] as bigint[]).filter((other) => other !== tick);
        return { vector, tick, neighbours: new Set(others.slice(0, topK)) };
      }),
    );
  }

  /** @param search finds topK + 1, the record itself among them */
  async measure(
    search: (query: Float32Array) => Promise<{ tick: bigint }[] | undefined>,
  ): Promise<{ recall: number; lowerBound: number; sample: number }> {
    const { records, topK } = this;
    const recalls: number[] = [];
    for (const { vector, tick, neighbours } of records) {
      if (neighbours.size === 0) continue;
      const hits = (await search(vector)) ?? [];
      const others = hits.filter((hit) => hit.tick !== tick).slice(0, topK);
      recalls.push(others.filter((hit) => neighbours.has(hit.tick)).length / neighbours.size);
    }
    return { ...boundsOf(recalls), sample: records.length };
  }
}

/** The mean, and what that of other queries is at least. */
function boundsOf(recalls: readonly number[]): { recall: number; lowerBound: number } {
  const n = recalls.length;
  if (n === 0) return { recall: 1, lowerBound: 1 };
  const recall = recalls.reduce((sum, each) => sum + each, 0) / n;
  const variance = recalls.reduce((sum, each) => sum + (each - recall) ** 2, 0) / Math.max(1, n - 1);
  const missed = 1 - recall + CONFIDENCE * Math.sqrt(variance / n);
  return { recall, lowerBound: missed === 0 ? 1 : Math.max(0, 1 - MISSED_BY_OTHERS * missed) };
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
