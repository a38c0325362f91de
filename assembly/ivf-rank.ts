// The last step: exact scores of the candidates from their vectors, and the order of the results. Scores have the
// bits of the exact scan: the same folds over the query and the vectors as they were given.
//
// Results, for room of R rows: ticks u64 × R, scores f32 × R, cells u32 × R, rows in their cell u32 × R.

import {
  CELL_NORMS, CELL_ORDINALS, CELL_ROWS, CELL_TICKS, CELL_VECTORS, INDEX_ADDRESSES, INDEX_DIM, INDEX_METRIC, INDEX_RANKED, INDEX_SCORES,
  METRIC_COSINE, METRIC_L2, PIECE_ROWS, QUERY_CELLS, QUERY_FILTER, QUERY_INVERSE_NORM, QUERY_LIST_IDS, QUERY_LIST_SCORES, QUERY_SCALE,
  QUERY_SELECTED, QUERY_SQUARES, QUERY_STARTS, QUERY_TOP_K, QUERY_VECTOR,
} from "../src/layout/ivf";
import { bestId, bestPush, bestReset, bestScore, bestSort, bestTick } from "./ivf-best";
import { cellAt } from "./ivf-cells";
import { rowInvNorms, scoresAt, scoresCosine, scoresDistance, scoresDot } from "./scan";

const sink = memory.data(4, 4);

/** The slot of the selection that row `id` of all its rows is in. */
function slotOf(query: usize, id: u32): u32 {
  const starts = load<usize>(query, QUERY_STARTS);
  let low: u32 = 0, high = load<u32>(query, QUERY_SELECTED);
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (load<u32>(starts + (<usize>middle << 2)) <= id) low = middle;
    else high = middle;
  }
  return low;
}

/** The `count` candidates of the drained list, cell, row and tick, with their estimated scores, to `out`. */
export function writeCandidates(index: usize, query: usize, count: u32, out: usize, room: u32): void {
  const estimates = load<usize>(query, QUERY_LIST_SCORES), ids = load<usize>(query, QUERY_LIST_IDS);
  for (let i: u32 = 0; i < count; i++) {
    const score = estimatedScore(index, query, load<f32>(estimates + (<usize>i << 2)));
    writeRow(index, query, load<u32>(ids + (<usize>i << 2)), score, i, out, room);
  }
}

/** An estimate of ⟨point, y⟩ (less ½|y|² for l2) in the user's units. */
function estimatedScore(index: usize, query: usize, estimate: f32): f32 {
  const scale = load<f32>(query, QUERY_SCALE);
  if (load<u32>(index, INDEX_METRIC) != METRIC_L2) return estimate * scale;
  return min<f32>(0, 2 * estimate - load<f32>(query, QUERY_SQUARES)) * scale;
}

function writeRow(index: usize, query: usize, id: u32, score: f32, place: u32, out: usize, room: u32): void {
  const slot = <usize>slotOf(query, id) << 2;
  const cell = load<u32>(load<usize>(query, QUERY_CELLS) + slot);
  const row = id - load<u32>(load<usize>(query, QUERY_STARTS) + slot);
  const ticks = load<usize>(cellAt(index, cell), CELL_TICKS);
  store<u64>(out + (<usize>place << 3), load<u64>(ticks + (<usize>row << 3)));
  const scores = out + (<usize>room << 3);
  store<f32>(scores + (<usize>place << 2), score);
  store<u32>(scores + (<usize>(room + place) << 2), cell);
  store<u32>(scores + (<usize>(2 * room + place) << 2), row);
}

/**
 * Scores the candidates written to `out` exactly and leaves the best topK there, in order. Returns how many, or −1
 * (and nothing done) when a candidate's vector is not resident.
 */
export function rankResident(index: usize, query: usize, count: u32, out: usize, room: u32): i32 {
  const dim = load<u32>(index, INDEX_DIM);
  const cells = out + 12 * <usize>room, rows = out + 16 * <usize>room;
  const addresses = load<usize>(index, INDEX_ADDRESSES), scores = load<usize>(index, INDEX_SCORES);
  const norms = scores + (<usize>count << 2);
  let touched: f32 = 0;
  for (let i: usize = 0; i < <usize>count << 2; i += 4) {
    const cell = cellAt(index, load<u32>(cells + i));
    const vectors = load<usize>(cell, CELL_VECTORS), row = <usize>load<u32>(rows + i);
    if (vectors == 0) return -1;
    const at = vectors + (row * dim << 2);
    store<u32>(addresses + i, <u32>at);
    for (let j: usize = 0; j < <usize>dim << 2; j += 64) touched += load<f32>(at + j);
    store<f32>(norms + i, load<f32>(load<usize>(cell, CELL_NORMS) + (row << 2)));
  }
  store<f32>(sink, touched);
  return <i32>rank(index, query, count, out, room);
}

/** As `rankResident`, from count × dim f32 at `vectors`, in the order of the candidates. */
export function ivfRank(index: usize, query: usize, count: u32, vectors: usize, out: usize, room: u32): u32 {
  const dim = load<u32>(index, INDEX_DIM);
  const addresses = load<usize>(index, INDEX_ADDRESSES);
  for (let i: usize = 0; i < count; i++) store<u32>(addresses + (i << 2), <u32>(vectors + (i * dim << 2)));
  if (load<u32>(index, INDEX_METRIC) == METRIC_COSINE) rowInvNorms(vectors, count, dim, load<usize>(index, INDEX_SCORES) + (<usize>count << 2));
  return rank(index, query, count, out, room);
}

/** Scores the rows at INDEX_ADDRESSES, their norms behind the scores, and puts them in order. */
function rank(index: usize, query: usize, count: u32, out: usize, room: u32): u32 {
  const scores = load<usize>(index, INDEX_SCORES), ranked = load<usize>(index, INDEX_RANKED);
  scoresAt(
    load<u32>(index, INDEX_METRIC), load<usize>(index, INDEX_ADDRESSES), scores + (<usize>count << 2), count, load<u32>(index, INDEX_DIM),
    load<usize>(query, QUERY_VECTOR), load<f32>(query, QUERY_INVERSE_NORM), scores);
  bestReset(ranked, min(count, load<u32>(query, QUERY_TOP_K)));
  for (let i: u32 = 0; i < count; i++) bestPush(ranked, load<f32>(scores + (<usize>i << 2)), load<u64>(out + (<usize>i << 3)), i);
  const held = bestSort(ranked);
  reorder(ranked, held, count, out, room, scores);
  return held;
}

/** Cells and rows of the results take their new places; `spare` holds a copy meanwhile. */
function reorder(ranked: usize, held: u32, count: u32, out: usize, room: u32, spare: usize): void {
  const scores = out + 8 * <usize>room, cells = out + 12 * <usize>room, rows = out + 16 * <usize>room;
  const cellsBefore = spare, rowsBefore = spare + (<usize>count << 2);
  memory.copy(cellsBefore, cells, <usize>count << 2);
  memory.copy(rowsBefore, rows, <usize>count << 2);
  for (let i: u32 = 0; i < held; i++) {
    const from = <usize>bestId(ranked, i) << 2, to = <usize>i << 2;
    store<u64>(out + (to << 1), bestTick(ranked, i));
    store<f32>(scores + to, bestScore(ranked, i));
    store<u32>(cells + to, load<u32>(cellsBefore + from));
    store<u32>(rows + to, load<u32>(rowsBefore + from));
  }
}

/** The exact search over the selected cells, for an index without codes. Cells without vectors are passed over. */
export function searchExact(index: usize, query: usize, out: usize, room: u32): u32 {
  const selected = load<u32>(query, QUERY_SELECTED), filter = load<usize>(query, QUERY_FILTER), dim = load<u32>(index, INDEX_DIM);
  const ranked = load<usize>(index, INDEX_RANKED), scores = load<usize>(index, INDEX_SCORES);
  bestReset(ranked, load<u32>(query, QUERY_TOP_K));
  for (let slot: u32 = 0; slot < selected; slot++) {
    const cell = cellAt(index, load<u32>(load<usize>(query, QUERY_CELLS) + (<usize>slot << 2)));
    const start = load<u32>(load<usize>(query, QUERY_STARTS) + (<usize>slot << 2));
    if (load<usize>(cell, CELL_VECTORS) == 0) continue;
    const rows = load<u32>(cell, CELL_ROWS);
    for (let first: u32 = 0; first < rows; first += PIECE_ROWS) {
      const count = min<u32>(PIECE_ROWS, rows - first);
      scoreRows(index, query, cell, first, count, dim, scores);
      for (let i: u32 = 0; i < count; i++) {
        const row = <usize>(first + i);
        if (filter != 0 && !passes(filter, load<u32>(load<usize>(cell, CELL_ORDINALS) + (row << 2)))) continue;
        bestPush(ranked, load<f32>(scores + (<usize>i << 2)), load<u64>(load<usize>(cell, CELL_TICKS) + (row << 3)), start + first + i);
      }
    }
  }
  const held = bestSort(ranked);
  for (let i: u32 = 0; i < held; i++) writeRow(index, query, bestId(ranked, i), bestScore(ranked, i), i, out, room);
  return held;
}

// @ts-ignore: decorator
@inline function passes(filter: usize, ordinal: u32): bool {
  return ((load<u8>(filter + (ordinal >> 3)) >> <u8>(ordinal & 7)) & 1) != 0;
}

function scoreRows(index: usize, query: usize, cell: usize, first: u32, count: u32, dim: u32, out: usize): void {
  const metric = load<u32>(index, INDEX_METRIC);
  const rows = load<usize>(cell, CELL_VECTORS) + (<usize>first * dim << 2);
  const vector = load<usize>(query, QUERY_VECTOR);
  if (metric == METRIC_COSINE) {
    scoresCosine(rows, load<usize>(cell, CELL_NORMS) + (<usize>first << 2), count, dim, vector, load<f32>(query, QUERY_INVERSE_NORM), out);
  } else if (metric == METRIC_L2) scoresDistance(rows, count, dim, vector, out);
  else scoresDot(rows, count, dim, vector, out);
}
