/** How far apart two vectors are (spec/0004-spatial-indexing.md §1). */
export type Metric = "cosine" | "dot" | "l2";

/** The metric in an algorithm's name, such as `dreamdb.ivf-l2`. */
export function metricOf(algorithm: string): Metric {
  if (algorithm.endsWith("-dot")) return "dot";
  return algorithm.endsWith("-l2") ? "l2" : "cosine";
}

/**
 * The distance that a kernel's score stands for, 0 or least for the nearest: 1 − cosine; the negated dot product;
 * the squared Euclidean distance.
 */
export function distanceOf(metric: Metric, score: number): number {
  return metric === "cosine" ? Math.fround(1 - score) : 0 - score;
}
