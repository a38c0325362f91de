/** What a query did, for those who tune it. */
import type { ProbeStats } from "./ivf-track.ts";

/** How a query is carried out: over all rows, by hyperplanes, by the cells of a built index, or along a graph. */
export type Strategy = "exact" | "lsh" | "ivf" | "graph";

export interface Explanation {
  strategy: Strategy;
  /** Records found. */
  hits: number;
  /** False when distances are estimates, since `rerankFactor` was 0. */
  isExact: boolean;
  /** Cells of the index, 1 without one. */
  cells: number;
  /** Cells that rows were looked at in; more than `nprobe` when too little was found in those. */
  cellsProbed: number;
  /** Rows whose codes were scanned, or scored on a walk, then looked at more closely, and rows whose vectors were scored. */
  scanned: number;
  refined: number;
  reranked: number;
  /** The figures a search of a built index ran with, given, by default, or measured for `recallTarget`. */
  nprobe?: number;
  epsilon?: number;
  rerank?: number;
  /** The beam that a graph was walked with, and nodes whose neighbours were looked at. */
  beam?: number;
  expanded?: number;
  /**
   * With `recallTarget`: the recall that these reached on `sample` records of the dataset, and what that of other queries
   * is at least, with a confidence of 99 %.
   */
  measured?: { recall: number; lowerBound: number; sample: number };
  /** Read from the backend. */
  requests: number;
  bytes: number;
  /** Times that the query had to wait for the backend before it could ask for more. */
  roundTrips: number;
  /** What each of them asked for, and how long the slowest request of it took; of other calls that run meanwhile, theirs too. */
  phases: { requests: number; bytes: number; ms: number }[];
  /** Milliseconds: in all, and for the search without the reading of fields. */
  ms: { total: number; search: number };
}

/** Filled in by a search. */
export type Explaining = Omit<
  Explanation,
  "hits" | "isExact" | "requests" | "bytes" | "roundTrips" | "phases" | "ms"
> & {
  stats: ProbeStats;
};

export function newExplaining(): Explaining {
  const stats = { cells: 0, scanned: 0, refined: 0, reranked: 0 };
  return { strategy: "exact", cells: 1, cellsProbed: 0, scanned: 0, refined: 0, reranked: 0, stats };
}
