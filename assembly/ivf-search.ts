// A search over the selected cells: one-bit estimates drop most rows, B-bit records rank the rest, and the best
// candidates are scored exactly. A row is dropped when its estimate is below the topK-th best so far by more than
// `epsilon` of its cell's mean errors, so a good bound is wanted early: the seed step finds one.

import {
  CELL_BLOCKS, CELL_ERROR, CELL_LOADED, CELL_ROWS, CELL_VECTORS, CELL_WILD, INDEX_BITS, INDEX_ESTIMATES, INDEX_IDS,
  INDEX_LISTED, INDEX_PADDED, INDEX_PQ_BOOKS, INDEX_SCORES, PIECE_ROWS, QUERY_BLOCK, QUERY_BOUND, QUERY_CELLS, QUERY_CELL_DISTANCES, QUERY_CELL_SCORES,
  QUERY_COARSE, QUERY_EPSILON, QUERY_FILTER, QUERY_REFINED, QUERY_RERANK, QUERY_SCANNED, QUERY_SELECTED, QUERY_SHIFT, QUERY_SLOT, QUERY_STARTS,
  QUERY_TOP_K, QUERY_WORST,
} from "../src/layout/ivf";
import { drainCandidates, pushCandidates, resetCandidates } from "./ivf-candidates";
import { cellAt } from "./ivf-cells";
import { rankByPq } from "./ivf-pq";
import { filterListed, refine } from "./ivf-refine";
import { rankResident, searchExact, writeCandidates } from "./ivf-rank";
import { blockBytes, boundFor, listBetween, scanAbove, scanAll } from "./ivf-scan";
import { countRows, selectCells } from "./ivf-select";
import { prepareQuery } from "./ivf-table";

/** Candidates that wait for one another's cache misses before they are refined. */
const WAITING: usize = 128;
const AHEAD_CELLS: u32 = 8;
const AHEAD_BYTES: usize = 512;
const PAGE: usize = 4096;
const NOTHING_BELOW: i32 = -32769;
const sink = memory.data(4, 4); // what reading ahead read, so that it counts as used

/** Set in the count of `ivfSearch` when the scores are estimates. */
export const ESTIMATED: u32 = 0x80000000;

/** Prepares the query whose vector stands at QUERY_VECTOR and selects its cells; returns how many. */
export function ivfSelect(index: usize, query: usize, nprobe: u32): u32 {
  prepareQuery(index, query, load<u32>(index, INDEX_BITS));
  return selectCells(index, query, nprobe);
}

/** How many selected cells are not loaded (or, if asked, lack vectors), their numbers to `out`. */
export function ivfMissing(index: usize, query: usize, needVectors: bool, out: usize): u32 {
  const cells = load<usize>(query, QUERY_CELLS), selected = load<u32>(query, QUERY_SELECTED);
  let missing: u32 = 0;
  for (let slot: usize = 0; slot < selected; slot++) {
    const number = load<u32>(cells + (slot << 2));
    const cell = cellAt(index, number);
    if (load<u32>(cell, CELL_LOADED) != 0 && (!needVectors || load<u32>(cell, CELL_ROWS) == 0 || load<usize>(cell, CELL_VECTORS) != 0)) continue;
    store<u32>(out + (<usize>missing << 2), number);
    missing++;
  }
  return missing;
}

/**
 * Searches the selected cells. keep ≥ topK: candidates. filter: a bitset over ordinals, or 0. Results to `out` with
 * room for as many rows (see ivf-rank.ts): the best topK by exact score; or, marked by the top bit of the count, all
 * candidates by estimate when `exact` is false or a candidate's vector is not resident.
 */
export function ivfSearch(index: usize, query: usize, topK: u32, keep: u32, epsilon: f32, filter: usize, exact: bool, out: usize, room: u32): u32 {
  beginSearch(index, query, topK, keep, epsilon, filter);
  const bits = load<u32>(index, INDEX_BITS);
  if (load<usize>(index, INDEX_PQ_BOOKS) != 0) {
    rankByPq(index, query);
    return finishSearch(index, query, exact, out, room);
  }
  if (bits == 0) {
    store<u32>(query, load<u32>(load<usize>(query, QUERY_STARTS) + (<usize>load<u32>(query, QUERY_SELECTED) << 2)), QUERY_SCANNED);
    return searchExact(index, query, out, room);
  }
  if (bits == 1) rankByEstimate(index, query);
  else {
    if (load<u32>(query, QUERY_COARSE) != 0) seed(index, query);
    refineAboveBound(index, query);
  }
  return finishSearch(index, query, exact, out, room);
}

/** Takes a search's parameters; no row is scanned, no candidate held. */
export function beginSearch(index: usize, query: usize, topK: u32, keep: u32, epsilon: f32, filter: usize): void {
  store<u32>(query, topK, QUERY_TOP_K);
  store<u32>(query, keep, QUERY_RERANK);
  store<f32>(query, epsilon, QUERY_EPSILON);
  store<usize>(query, filter, QUERY_FILTER);
  store<u32>(query, 0, QUERY_SCANNED);
  store<u32>(query, 0, QUERY_REFINED);
  store<u32>(query, 0, QUERY_SLOT);
  store<u32>(query, 0, QUERY_BLOCK);
  countRows(index, query);
  resetCandidates(query);
}

/** Results from the candidates held; see `ivfSearch`. */
export function finishSearch(index: usize, query: usize, exact: bool, out: usize, room: u32): u32 {
  const count = drainCandidates(query);
  writeCandidates(index, query, count, out, room);
  if (!exact) return count | ESTIMATED;
  const ranked = rankResident(index, query, count, out, room);
  return ranked < 0 ? count | ESTIMATED : <u32>ranked;
}

/** Of the selection, the cell at `slot`. */
// @ts-ignore: decorator
@inline function cellOfSlot(index: usize, query: usize, slot: u32): usize {
  return cellAt(index, load<u32>(load<usize>(query, QUERY_CELLS) + (<usize>slot << 2)));
}

/** An estimate (less its cell's score) that `score` stands for, in the units of a scan at this shift. */
export function toUnits(score: f32, shift: u32): i32 {
  const units: f32 = floor<f32>(score * <f32>(1 << (14 - shift)));
  return <i32>max<f32>(<f32>NOTHING_BELOW, min<f32>(32766, units));
}

/** Rows of a cell must have estimates above this to be refined. */
function leastOf(query: usize, cell: usize, slot: u32): i32 {
  const at = <usize>slot << 2;
  const margin: f32 = load<f32>(query, QUERY_EPSILON) * load<f32>(load<usize>(query, QUERY_CELL_DISTANCES) + at) * load<f32>(cell, CELL_ERROR);
  const score = load<f32>(load<usize>(query, QUERY_CELL_SCORES) + at);
  return toUnits(load<f32>(query, QUERY_BOUND) - (score + margin), load<u32>(query, QUERY_SHIFT));
}

/**
 * Estimates all rows of the nearest cells, refines the best of them, and then those above the bound these give.
 * At 10 results: 40 of 600 rows. Without it five times as many rows are refined.
 */
export function seed(index: usize, query: usize): void {
  const topK = load<u32>(query, QUERY_TOP_K), selected = load<u32>(query, QUERY_SELECTED);
  const wantedRows = min<u32>(PIECE_ROWS, 560 + 4 * topK), wanted = 20 + 2 * topK;
  const estimates = load<usize>(index, INDEX_ESTIMATES), list = load<usize>(index, INDEX_LISTED);
  let lanes: u32 = 0, slot: u32 = 0, blocks: u32 = 0;
  for (; slot < selected && lanes < wantedRows; slot++) {
    const cell = cellOfSlot(index, query, slot);
    const all = (load<u32>(cell, CELL_ROWS) + 31) >> 5;
    blocks = min(all, (PIECE_ROWS - lanes) >> 5);
    const score = load<f32>(load<usize>(query, QUERY_CELL_SCORES) + (<usize>slot << 2));
    estimateRows(index, query, cell, 0, blocks, toUnits(score, load<u32>(query, QUERY_SHIFT)), estimates + (<usize>lanes << 1));
    lanes += blocks << 5;
    if (blocks < all) break; // the rest of this cell comes later
    blocks = 0;
  }
  store<u32>(query, slot, QUERY_SLOT);
  store<u32>(query, blocks, QUERY_BLOCK);
  const bound = boundFor(estimates, lanes, wanted, wanted >> 3);
  refineSeeds(index, query, estimates, lanes, bound, 32767, list);
  refineSeeds(index, query, estimates, lanes, NOTHING_BELOW, bound, list);
}

/** Refines the seed's rows with estimates above `least` (and above the bound, if there is one) but not above `most`. */
function refineSeeds(index: usize, query: usize, estimates: usize, lanes: u32, least: i32, most: i32, list: usize): void {
  let end = list;
  for (let slot: u32 = 0, at: u32 = 0; at < lanes; slot++) {
    const cell = cellOfSlot(index, query, slot);
    const count = min((load<u32>(cell, CELL_ROWS) + 31) & ~31, lanes - at);
    let above = least;
    if (least == NOTHING_BELOW) {
      const score = load<f32>(load<usize>(query, QUERY_CELL_SCORES) + (<usize>slot << 2));
      above = max<i32>(NOTHING_BELOW, leastOf(query, cell, slot) + toUnits(score, load<u32>(query, QUERY_SHIFT)));
    }
    if (above < most) end = listBetween(estimates + (<usize>at << 1), count, above, most, <u64>slot << 32, end);
    at += count;
  }
  refineListed(index, query, list, end);
}

/** One-bit estimates of `count` blocks of a cell from block `first` on; what is no row gets the lowest value. */
function estimateRows(index: usize, query: usize, cell: usize, first: u32, count: u32, offset: i32, out: usize): void {
  const padded = load<u32>(index, INDEX_PADDED);
  const blocks = load<usize>(cell, CELL_BLOCKS) + <usize>first * blockBytes(padded);
  scanAll(index, query, blocks, count, offset, out);
  const rows = load<u32>(cell, CELL_ROWS) - (first << 5);
  for (let i = rows; i < count << 5; i++) store<i16>(out + (<usize>i << 1), -32768);
  store<u32>(query, load<u32>(query, QUERY_SCANNED) + min(rows, count << 5), QUERY_SCANNED);
  if (load<u32>(cell, CELL_WILD) == 0) return;
  for (let i: u32 = 0; i < min(rows, count << 5); i++) {
    const factors = blocks + <usize>(i >> 5) * blockBytes(padded) + (<usize>padded << 2) + (<usize>(i & 31) << 1);
    if (load<i16>(factors) == 32767 && load<i16>(factors, 64) == 0) store<i16>(out + (<usize>i << 1), 32767);
  }
}

function refineListed(index: usize, query: usize, list: usize, end: usize): void {
  const filter = load<usize>(query, QUERY_FILTER);
  if (filter != 0) end = filterListed(index, query, filter, list, end);
  refine(index, query, list, end);
}

/** The rest of the selection, from the query's place on: what the bound lets through is refined, batch by batch. */
export function refineAboveBound(index: usize, query: usize): void {
  const selected = load<u32>(query, QUERY_SELECTED), padded = load<u32>(index, INDEX_PADDED);
  const list = load<usize>(index, INDEX_LISTED), estimates = load<usize>(index, INDEX_ESTIMATES);
  const coarse = load<u32>(query, QUERY_COARSE) != 0, shift = load<u32>(query, QUERY_SHIFT);
  let end = list;
  let first = load<u32>(query, QUERY_BLOCK);
  let scanned = load<u32>(query, QUERY_SCANNED);
  for (let slot = load<u32>(query, QUERY_SLOT); slot < selected; slot++) {
    const cell = cellOfSlot(index, query, slot);
    const rows = load<u32>(cell, CELL_ROWS), blocks = (rows + 31) >> 5;
    if (slot % AHEAD_CELLS == 0) readAhead(index, query, slot, min(selected, slot + AHEAD_CELLS), padded);
    while (first < blocks) {
      const count = min<u32>(blocks - first, PIECE_ROWS >> 5);
      const from = load<usize>(cell, CELL_BLOCKS) + <usize>first * blockBytes(padded);
      const least = coarse ? leastOf(query, cell, slot) : NOTHING_BELOW;
      const tag = (<u64>slot << 32) | (first << 5);
      if (least <= -32768) end = listAll(min(rows - (first << 5), count << 5), tag, end);
      else if (shift == 0) end = scanAbove(index, query, from, count, least, tag, end);
      else {
        estimateRows(index, query, cell, first, count, 0, estimates);
        end = listBetween(estimates, count << 5, least, 32767, tag, end);
      }
      scanned += min(rows - (first << 5), count << 5);
      first += count;
      if (end - list < WAITING << 3) continue;
      refineListed(index, query, list, end);
      end = list;
    }
    first = 0;
  }
  refineListed(index, query, list, end);
  store<u32>(query, scanned, QUERY_SCANNED);
}

/**
 * Reads the first lines of each of the first two pages of the blocks of some cells: their misses overlap, and the
 * hardware's prefetching takes it from there. −8 % a query; reading whole cells ahead gains less, reading ahead
 * cell by cell or from inside the scan costs more than it gains.
 */
function readAhead(index: usize, query: usize, slot: u32, past: u32, padded: u32): void {
  let touched: u32 = 0;
  for (; slot < past; slot++) {
    const cell = cellOfSlot(index, query, slot);
    const start = load<usize>(cell, CELL_BLOCKS);
    const end = start + <usize>((load<u32>(cell, CELL_ROWS) + 31) >> 5) * blockBytes(padded);
    const nextPage = (start + PAGE) & ~(PAGE - 1);
    for (let p = start; p < min(end, start + AHEAD_BYTES); p += 64) touched += load<u8>(p);
    for (let p = nextPage; p < min(end, nextPage + AHEAD_BYTES); p += 64) touched += load<u8>(p);
  }
  store<u32>(sink, touched);
}

export function listAll(rows: u32, tag: u64, list: usize): usize {
  for (let i: u32 = 0; i < rows; i++) {
    store<u64>(list, tag + i);
    list += 8;
  }
  return list;
}

/** Without records: the candidates are the best by one-bit estimate. */
function rankByEstimate(index: usize, query: usize): void {
  const selected = load<u32>(query, QUERY_SELECTED);
  const list = load<usize>(index, INDEX_LISTED), estimates = load<usize>(index, INDEX_ESTIMATES);
  const filter = load<usize>(query, QUERY_FILTER);
  for (let slot: u32 = 0; slot < selected; slot++) {
    const cell = cellOfSlot(index, query, slot);
    const score = load<f32>(load<usize>(query, QUERY_CELL_SCORES) + (<usize>slot << 2));
    const blocks = (load<u32>(cell, CELL_ROWS) + 31) >> 5;
    for (let first: u32 = 0; first < blocks; first += PIECE_ROWS >> 5) {
      const count = min<u32>(blocks - first, PIECE_ROWS >> 5);
      estimateRows(index, query, cell, first, count, 0, estimates);
      const least = toUnits(load<f32>(query, QUERY_WORST) - score, load<u32>(query, QUERY_SHIFT));
      let end = listBetween(estimates, count << 5, least, 32767, (<u64>slot << 32) | (first << 5), list);
      if (filter != 0) end = filterListed(index, query, filter, list, end);
      offerEstimates(index, query, slot, first << 5, score, list, end, estimates);
    }
  }
}

function offerEstimates(index: usize, query: usize, slot: u32, first: u32, score: f32, list: usize, end: usize, estimates: usize): void {
  const scores = load<usize>(index, INDEX_SCORES), ids = load<usize>(index, INDEX_IDS);
  const start = load<u32>(load<usize>(query, QUERY_STARTS) + (<usize>slot << 2));
  const unit: f32 = <f32>(1 << load<i32>(query, QUERY_SHIFT)) / 16384;
  const count = <u32>((end - list) >> 3);
  for (let i: usize = 0; i < count; i++) {
    const row = load<u32>(list + (i << 3));
    store<f32>(scores + (i << 2), score + <f32>load<i16>(estimates + (<usize>(row - first) << 1)) * unit);
    store<u32>(ids + (i << 2), start + row);
  }
  pushCandidates(query, scores, ids, count);
}
