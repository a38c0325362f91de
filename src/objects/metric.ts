/** What a vector field's algorithm says of distance (spec/0004-spatial-indexing.md §1). */

import type { Metric } from "../kernels/rabitq.ts";

export type { Metric };

export const METRICS: readonly Metric[] = ["cosine", "dot", "l2"];

/** The metric in the name of an index or compressor, such as `dreamdb.ivf-l2`. */
export function metricOf(algorithm: `dreamdb.${string}-${Metric}`): Metric {
  return algorithm.slice(algorithm.lastIndexOf("-") + 1) as Metric;
}

/**
 * The distance that a kernel's score stands for, least for the nearest: 1 − cosine; the negated dot product; the
 * squared Euclidean distance.
 */
export function distanceOf(metric: Metric, score: number): number {
  return metric === "cosine" ? Math.fround(1 - score) : 0 - score;
}
