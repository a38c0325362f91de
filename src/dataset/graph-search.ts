/** Search of a built graph (spec/0013-graph-indexing.md §7): a walk, and a scan of the rows appended since. */
import { DreamDBError } from "../errors.ts";
import type { VamanaHits } from "../index/vamana.ts";
import { MAX_BEAM } from "../kernels/vamana-walk.ts";
import type { EmbeddingField } from "../objects/field.ts";
import type { BatchEntry } from "../objects/index-tree.ts";
import { distanceOf, type Metric, metricOf } from "../objects/metric.ts";
import { Scan, scanColumns } from "./exact-search.ts";
import type { Explaining } from "./explain.ts";
import { matchingOrdinals, matchingRows } from "./filter.ts";
import type { GraphTarget, GraphTrack, NodeFilter, Walking } from "./graph-track.ts";
import { type Hit, hitsOf, type Source } from "./hits.ts";
import type { Condition } from "./where.ts";

/** What the caller may say of a walk. */
export interface WalkingOptions {
  beam?: number | undefined;
  slack?: number | undefined;
  rerankFactor?: number | undefined;
}

/** √nodes times this when the caller says nothing, within bounds: recall@10 of about .95 on 34k and on 340k word vectors. */
const DEFAULT_BEAM = 0.42;
const DEFAULT_SLACK = 0.08;
const LEAST_BEAM = 64;
const MOST_BEAM = 512;
const DEFAULT_RERANK_FACTOR = 3;
const LEAST_RERANK = 24;
/** Nodes that a walk scores for each place of its beam, about. */
const SCORED_PER_PLACE = 12;

/** The figures a query walks a graph of `nodes` with. Errors: `InvalidArgument` for a beam below topK, or no re-ranking at all. */
export function walkingOf(
  topK: number,
  nodes: number,
  { beam, slack, rerankFactor }: WalkingOptions,
): Walking {
  if (rerankFactor === 0)
    throw invalid("rerankFactor", 0, "at least 1: what a graph finds is always scored exactly");
  if (beam !== undefined && beam < topK) throw invalid("beam", beam, `at least topK, ${topK}`);
  const usual = Math.min(MOST_BEAM, Math.ceil(DEFAULT_BEAM * Math.sqrt(nodes)));
  const wide = beam ?? Math.max(LEAST_BEAM, usual, 2 * topK);
  const factor = rerankFactor ?? DEFAULT_RERANK_FACTOR;
  const rerank = Math.max(topK, rerankFactor === undefined ? LEAST_RERANK : 0, Math.ceil(factor * topK));
  const near = slack ?? (beam === undefined ? DEFAULT_SLACK : undefined);
  return { topK, beam: wide, rerank: Math.min(wide, rerank), slack: near };
}

/**
 * The nearest rows of a graph and of what was appended after it. Where so few match that all of them are scored sooner
 * than a walk finds them, they are; undefined when that takes reading the columns.
 */
export async function searchGraph(
  target: GraphTarget,
  graph: GraphTrack,
  field: EmbeddingField,
  query: Float32Array,
  walking: Walking,
  condition: Condition | undefined,
  explaining?: Explaining,
): Promise<Hit[] | undefined> {
  const late = await graph.lateEntries(target);
  const filter = condition === undefined ? undefined : await filterOf(target, graph, condition);
  const found =
    (await walk(target, graph, field, query, walking, filter, explaining)) ??
    (await scanMatches(target, graph, field, query, walking.topK, filter as NodeFilter, explaining));
  if (found === undefined) return undefined;
  const scanned = await scanLate(target, field, query, walking.topK, condition, late, explaining);
  return [...found, ...scanned].sort(byDistance).slice(0, walking.topK);
}

/** As `searchGraph` for all rows, without waiting; undefined when that can't be. */
export function searchGraphNow(
  target: GraphTarget,
  graph: GraphTrack,
  metric: Metric,
  query: Float32Array,
  walking: Walking,
): Hit[] | undefined {
  const found = graph.searchNow(target, query, walking);
  if (found === undefined || found.nodes.length < Math.min(walking.topK, graph.nodes)) return undefined;
  return nodeHits(metric, found).sort(byDistance).slice(0, walking.topK);
}

async function filterOf(target: GraphTarget, graph: GraphTrack, condition: Condition): Promise<NodeFilter> {
  const { bits } = await matchingOrdinals(target.ctx.session, target.manifest, condition);
  return graph.nodesOf(target, bits);
}

/** Widens the beam where a filter leaves less than was asked for; undefined when all that it leaves had better be scored. */
async function walk(
  target: GraphTarget,
  graph: GraphTrack,
  field: EmbeddingField,
  query: Float32Array,
  { topK, beam, rerank, slack }: Walking,
  filter: NodeFilter | undefined,
  explaining: Explaining | undefined,
): Promise<Hit[] | undefined> {
  const metric = metricOf(field.algorithm);
  const matching = filter?.count ?? graph.nodes;
  let wide = filter === undefined ? beam : widened(beam, topK, matching / graph.nodes);
  for (;;) {
    if (filter !== undefined && matching < wide * SCORED_PER_PLACE) return undefined;
    const walking = { topK, beam: wide, rerank, slack };
    const found = await graph.search(target, query, walking, filter);
    if (explaining !== undefined) {
      explaining.strategy = "graph";
      explaining.beam = wide;
      explaining.rerank = rerank;
      explaining.scanned += found.scored;
      explaining.expanded = (explaining.expanded ?? 0) + found.expanded;
      explaining.reranked += found.nodes.length;
    }
    if (found.nodes.length >= Math.min(topK, matching)) return nodeHits(metric, found);
    if (wide === MAX_BEAM) return undefined;
    wide = Math.min(MAX_BEAM, 2 * wide);
  }
}

async function scanMatches(
  target: GraphTarget,
  graph: GraphTrack,
  field: EmbeddingField,
  query: Float32Array,
  topK: number,
  filter: NodeFilter,
  explaining: Explaining | undefined,
): Promise<Hit[] | undefined> {
  const found = filter.count === 0 ? NOTHING : await graph.scan(target, query, topK, filter);
  if (found === undefined) return undefined;
  if (explaining !== undefined) {
    explaining.strategy = "exact";
    explaining.reranked += filter.count;
  }
  return nodeHits(metricOf(field.algorithm), found);
}

const NOTHING = { scores: new Float32Array(), ticks: new BigUint64Array() };

function nodeHits(metric: Metric, { scores, ticks }: Pick<VamanaHits, "scores" | "ticks">): Hit[] {
  return Array.from(ticks, (tick, i) => ({ tick, distance: distanceOf(metric, scores[i] as number) }));
}

/** Where a share of the rows matches, the topK nearest of them lie among the topK / share nearest. */
function widened(beam: number, topK: number, share: number): number {
  return Math.min(MAX_BEAM, Math.ceil(beam + topK / Math.max(share, 1e-9)));
}

async function scanLate(
  target: GraphTarget,
  field: EmbeddingField,
  query: Float32Array,
  topK: number,
  condition: Condition | undefined,
  late: readonly BatchEntry[],
  explaining: Explaining | undefined,
): Promise<Hit[]> {
  if (late.length === 0) return [];
  const { kernels, session } = target.ctx;
  const scan = new Scan<Source>(kernels, metricOf(field.algorithm), query, topK);
  try {
    const choose = (entry: BatchEntry): Promise<Uint8Array | "all" | undefined> =>
      condition === undefined ? Promise.resolve("all") : matchingRows(session, entry, condition);
    await scanColumns(target, field, scan, choose, late);
    if (explaining !== undefined) explaining.reranked += scan.scored;
    return await hitsOf(session, scan);
  } finally {
    scan.free();
  }
}

function byDistance(a: Hit, b: Hit): number {
  return a.distance - b.distance || (a.tick < b.tick ? -1 : 1);
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "the graph can't be searched like this", {
    field,
    found,
    expected,
  });
}
