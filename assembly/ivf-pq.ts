// A search by PQ codes: every row of a probed cell is scored by look-ups, and the best are the candidates. There is
// no error to hold a bound against, so that no row is dropped before.

import {
  CELL_ORDINALS, CELL_RECORDS, CELL_ROWS, INDEX_DIM, INDEX_IDS, INDEX_METRIC, INDEX_PQ_BITS, INDEX_PQ_BOOKS, INDEX_PQ_SUBSPACES,
  INDEX_PQ_TABLE, INDEX_RECORD_BYTES, INDEX_SCORES, METRIC_L2, PIECE_ROWS, QUERY_CELLS, QUERY_CELL_SCORES, QUERY_FILTER, QUERY_POINT,
  QUERY_SCANNED, QUERY_SELECTED, QUERY_STARTS, QUERY_WORST,
} from "../src/layout/ivf";
import { pushCandidates } from "./ivf-candidates";
import { cellAt } from "./ivf-cells";
import { pqNibbleScores, pqScores, pqTable } from "./pq";

/** Offers all rows of the selected cells to the candidates, by ⟨point, c⟩ + Σ table[code], less ½|ŷ|² for l2. */
export function rankByPq(index: usize, query: usize): void {
  const m = load<u32>(index, INDEX_PQ_SUBSPACES), bits = load<u32>(index, INDEX_PQ_BITS);
  const table = load<usize>(index, INDEX_PQ_TABLE), stride = load<u32>(index, INDEX_RECORD_BYTES);
  const scores = load<usize>(index, INDEX_SCORES), selected = load<u32>(query, QUERY_SELECTED);
  pqTable(load<usize>(query, QUERY_POINT), load<u32>(index, INDEX_DIM), load<usize>(index, INDEX_PQ_BOOKS), m, bits, table);
  let scanned: u32 = 0;
  for (let slot: u32 = 0; slot < selected; slot++) {
    const cell = cellAt(index, load<u32>(load<usize>(query, QUERY_CELLS) + (<usize>slot << 2)));
    const rows = load<u32>(cell, CELL_ROWS);
    for (let first: u32 = 0; first < rows; first += PIECE_ROWS) {
      const count = min<u32>(PIECE_ROWS, rows - first);
      const codes = load<usize>(cell, CELL_RECORDS) + <usize>first * stride;
      if (bits == 8) pqScores(codes, count, stride, m, table, scores);
      else pqNibbleScores(codes, count, stride, m, table, scores);
      offerRows(index, query, cell, slot, first, count, codes, stride);
    }
    scanned += rows;
  }
  store<u32>(query, scanned, QUERY_SCANNED);
}

function offerRows(index: usize, query: usize, cell: usize, slot: u32, first: u32, count: u32, codes: usize, stride: u32): void {
  const scores = load<usize>(index, INDEX_SCORES), ids = load<usize>(index, INDEX_IDS);
  const filter = load<usize>(query, QUERY_FILTER), worst = load<f32>(query, QUERY_WORST);
  const ordinals = load<usize>(cell, CELL_ORDINALS) + (<usize>first << 2);
  const start = load<u32>(load<usize>(query, QUERY_STARTS) + (<usize>slot << 2)) + first;
  const cellScore = load<f32>(load<usize>(query, QUERY_CELL_SCORES) + (<usize>slot << 2));
  const isL2 = load<u32>(index, INDEX_METRIC) == METRIC_L2;
  let kept: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    codes += stride;
    if (filter != 0) {
      const ordinal = load<u32>(ordinals + (<usize>i << 2));
      if (((load<u8>(filter + (ordinal >> 3)) >> <u8>(ordinal & 7)) & 1) == 0) continue;
    }
    let score = cellScore + load<f32>(scores + (<usize>i << 2));
    if (isL2) score -= load<f32>(codes - 4);
    if (!(score > worst)) continue;
    store<f32>(scores + (<usize>kept << 2), score);
    store<u32>(ids + (<usize>kept << 2), start + i);
    kept++;
  }
  pushCandidates(query, scores, ids, kept);
}
