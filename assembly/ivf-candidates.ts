// The best candidates of a query so far, by estimate, and the estimate of the topK-th of them: the bound that rows
// still to come are held against. Short lists are kept in order; long ones as two top-k heaps, one of the
// candidates and one of the topK best, whose worst is the bound.
//
// A candidate's id counts rows over the selected cells: see QUERY_STARTS.

import {
  QUERY_BOUND, QUERY_HEAPS, QUERY_HELD, QUERY_LIST_IDS, QUERY_LIST_SCORES, QUERY_RERANK, QUERY_TOP_K, QUERY_WORST, SHORT_LIST,
} from "../src/layout/ivf";
import { topkBytes, topkDrain, topkPushIds, topkReset } from "./topk";

/** Empties the list. QUERY_RERANK ≥ QUERY_TOP_K ≥ 1 are set. */
export function resetCandidates(query: usize): void {
  store<u32>(query, 0, QUERY_HELD);
  store<f32>(query, -Infinity, QUERY_WORST);
  store<f32>(query, -Infinity, QUERY_BOUND);
  const keep = load<u32>(query, QUERY_RERANK);
  if (keep <= <u32>SHORT_LIST) return;
  const heaps = load<usize>(query, QUERY_HEAPS);
  topkReset(heaps, keep);
  topkReset(boundHeap(heaps, keep), load<u32>(query, QUERY_TOP_K));
}

// @ts-ignore: decorator
@inline function boundHeap(heaps: usize, keep: u32): usize {
  return heaps + ((topkBytes(keep) + 63) & ~63);
}

/** Offers n scores with their ids (u32). */
export function pushCandidates(query: usize, scores: usize, ids: usize, n: u32): void {
  const keep = load<u32>(query, QUERY_RERANK);
  if (keep <= <u32>SHORT_LIST) {
    let worst = load<f32>(query, QUERY_WORST);
    for (let i: usize = 0; i < <usize>n << 2; i += 4) {
      const score = load<f32>(scores + i);
      if (score > worst) worst = insert(query, keep, score, load<u32>(ids + i));
    }
    return;
  }
  const heaps = load<usize>(query, QUERY_HEAPS), bounds = boundHeap(heaps, keep);
  topkPushIds(heaps, scores, n, 0, ids);
  topkPushIds(bounds, scores, n, 0, ids);
  store<f32>(query, load<f32>(heaps, 8), QUERY_WORST);
  store<f32>(query, load<f32>(bounds, 8), QUERY_BOUND);
}

/** Puts an entry in its place; returns what the next must exceed. */
function insert(query: usize, keep: u32, score: f32, id: u32): f32 {
  const scores = load<usize>(query, QUERY_LIST_SCORES), ids = load<usize>(query, QUERY_LIST_IDS);
  let held = load<u32>(query, QUERY_HELD);
  let at = <usize>(held < keep ? held++ : keep - 1) << 2;
  for (; at > 0 && load<f32>(scores + at - 4) < score; at -= 4) {
    store<f32>(scores + at, load<f32>(scores + at - 4));
    store<u32>(ids + at, load<u32>(ids + at - 4));
  }
  store<f32>(scores + at, score);
  store<u32>(ids + at, id);
  store<u32>(query, held, QUERY_HELD);
  const topK = load<u32>(query, QUERY_TOP_K);
  if (held >= topK) store<f32>(query, load<f32>(scores + (<usize>(topK - 1) << 2)), QUERY_BOUND);
  const worst: f32 = held == keep ? load<f32>(scores + (<usize>(keep - 1) << 2)) : -Infinity;
  store<f32>(query, worst, QUERY_WORST);
  return worst;
}

/** Brings the list into its arrays, best first; returns how many there are. */
export function drainCandidates(query: usize): u32 {
  const keep = load<u32>(query, QUERY_RERANK);
  if (keep > <u32>SHORT_LIST) {
    const held = topkDrain(load<usize>(query, QUERY_HEAPS), load<usize>(query, QUERY_LIST_SCORES), load<usize>(query, QUERY_LIST_IDS));
    store<u32>(query, held, QUERY_HELD);
  }
  return load<u32>(query, QUERY_HELD);
}
