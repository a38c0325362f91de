// Search of the few rows that a filter leaves, where they lie in the cells. Such a row is an entry of a list: u64, its
// cell high and its row in that cell low, in the order of rows in the timeline. Where all their vectors are resident,
// all are scored; else codes tell which may be among the best, and only these vectors are asked for.

import {
  CELL_NORMS, CELL_ORDINALS, CELL_RECORDS, CELL_ROWS, CELL_TICKS, CELL_VECTORS, INDEX_ADDRESSES, INDEX_BITS, INDEX_CELLS, INDEX_DIM,
  INDEX_METRIC, INDEX_PADDED, INDEX_RANKED, INDEX_RECORD_BYTES, INDEX_SCORES, QUERY_CELLS, QUERY_CELL_DISTANCES, QUERY_CELL_SCORES,
  QUERY_INVERSE_NORM, QUERY_LEVELS, QUERY_LEVEL_STEP, QUERY_LEVEL_SUM, QUERY_SELECTED, QUERY_SQUARES, QUERY_VECTOR,
} from "../src/layout/ivf";
import { bestId, bestPush, bestReset, bestScore, bestSort } from "./ivf-best";
import { cellAt, slotBytes } from "./ivf-cells";
import { productOfBytes, productOfNibbles } from "./ivf-refine";
import { scoresAt } from "./scan";
import { topkPush, topkReset } from "./topk";

const NO_PLACE: u32 = 0xffffffff;
/** Vectors that are read ahead of being scored: 100 KiB at 256 components. */
const TILE: u32 = 128;
/** Records that are read ahead. */
const RECORDS: u32 = 64;
/**
 * Six standard errors of a row's estimate, in steps of its code times |point − c|: a step's uniform error has a
 * deviation of 1/√12. One row in 10^9 errs by more.
 */
const SIX_ERRORS: f32 = 1.75;
/** What the query's own levels and those of the centroids may add. */
const LEVEL_ERROR: f32 = 0.05;
const CENTROID_ERROR: f32 = 0.0002;

const sink = memory.data(4, 4);

/**
 * Numbers all rows of all cells: by ordinal (below `rows`), how many rows stand before it, cell after cell, to
 * `places` (u32 × rows), 2^32 − 1 where there is none; by cell, the rows before it, to `starts` (u32 × cells).
 */
export function ivfNumberPlaces(index: usize, rows: u32, places: usize, starts: usize): void {
  memory.fill(places, 0xff, <usize>rows << 2);
  let place: u32 = 0;
  for (let c: u32 = 0; c < load<u32>(index, INDEX_CELLS); c++) {
    const cell = cellAt(index, c);
    const ordinals = load<usize>(cell, CELL_ORDINALS), count = load<u32>(cell, CELL_ROWS);
    store<u32>(starts + (<usize>c << 2), place);
    for (let row: u32 = 0; row < count; row++) {
      const ordinal = load<u32>(ordinals + (<usize>row << 2));
      if (ordinal < rows) store<u32>(places + (<usize>ordinal << 2), place + row);
    }
    place += count;
  }
}

/** Lists the rows of a bitset over ordinals (⌈rows/32⌉ u32, none set from `rows` on) to `out`; returns how many have a place. */
export function ivfListMatches(index: usize, filter: usize, rows: u32, places: usize, starts: usize, out: usize): u32 {
  const cells = load<u32>(index, INDEX_CELLS);
  let count: usize = 0;
  for (let first: u32 = 0; first < rows; first += 32) {
    let bits = load<u32>(filter + (first >> 3));
    while (bits) {
      const place = load<u32>(places + (<usize>(first + ctz(bits)) << 2));
      bits &= bits - 1;
      if (place == NO_PLACE) continue;
      const cell = cellOfPlace(starts, cells, place);
      store<u64>(out + (count << 3), (<u64>cell << 32) | (place - load<u32>(starts + (<usize>cell << 2))));
      count++;
    }
  }
  return <u32>count;
}

/** The last cell that begins at or before `place`: empty ones begin where the next does. */
function cellOfPlace(starts: usize, cells: u32, place: u32): u32 {
  let low: u32 = 0, high = cells;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (load<u32>(starts + (<usize>middle << 2)) <= place) low = middle;
    else high = middle;
  }
  return low;
}

/**
 * Scores all rows of the list exactly and leaves the best topK (at most `room`) in `out` (see ivf-rank.ts), best first,
 * equal ones in the list's order. The query is prepared. vectors: count × dim f32 in the list's order, and norms their
 * inverse lengths; 0: the resident ones. Returns how many, or −1 when one of those is not resident.
 */
export function ivfScoreMatches(
  index: usize, query: usize, list: usize, count: u32, topK: u32, vectors: usize, norms: usize, out: usize, room: u32,
): i32 {
  const dim = load<u32>(index, INDEX_DIM), metric = load<u32>(index, INDEX_METRIC);
  const addresses = load<usize>(index, INDEX_ADDRESSES), scores = load<usize>(index, INDEX_SCORES);
  const tileNorms = scores + (<usize>TILE << 2), ranked = load<usize>(index, INDEX_RANKED);
  const vector = load<usize>(query, QUERY_VECTOR), inverse = load<f32>(query, QUERY_INVERSE_NORM);
  bestReset(ranked, topK);
  for (let first: u32 = 0; first < count; first += TILE) {
    const n = min(TILE, count - first);
    let inverses = tileNorms;
    if (vectors != 0) {
      for (let i: u32 = 0; i < n; i++) store<u32>(addresses + (<usize>i << 2), <u32>(vectors + (<usize>(first + i) * dim << 2)));
      inverses = norms + (<usize>first << 2);
    } else if (!locateVectors(index, list + (<usize>first << 3), n, dim, addresses, tileNorms)) return -1;
    scoresAt(metric, addresses, inverses, n, dim, vector, inverse, scores);
    for (let i: u32 = 0; i < n; i++) bestPush(ranked, load<f32>(scores + (<usize>i << 2)), first + i, first + i);
  }
  const held = bestSort(ranked);
  for (let i: u32 = 0; i < held; i++) writeMatch(index, list, bestId(ranked, i), bestScore(ranked, i), i, out, room);
  return <i32>held;
}

/** Addresses and inverse norms of n listed rows, their bytes read ahead; false when a vector is not resident. */
function locateVectors(index: usize, list: usize, n: u32, dim: u32, addresses: usize, norms: usize): bool {
  let touched: f32 = 0;
  for (let i: usize = 0; i < n; i++) {
    const cell = cellAt(index, load<u32>(list + (i << 3), 4)), row = <usize>load<u32>(list + (i << 3));
    const vectors = load<usize>(cell, CELL_VECTORS);
    if (vectors == 0) return false;
    const at = vectors + (row * dim << 2);
    store<u32>(addresses + (i << 2), <u32>at);
    for (let j: usize = 0; j < <usize>dim << 2; j += 64) touched += load<f32>(at + j);
    store<f32>(norms + (i << 2), load<f32>(load<usize>(cell, CELL_NORMS) + (row << 2)));
  }
  store<f32>(sink, touched);
  return true;
}

// @ts-ignore: decorator
@inline function writeMatch(index: usize, list: usize, place: u32, score: f32, to: u32, out: usize, room: u32): void {
  const row = load<u32>(list + (<usize>place << 3)), cell = load<u32>(list + (<usize>place << 3), 4);
  const scores = out + (<usize>room << 3);
  store<u64>(out + (<usize>to << 3), load<u64>(load<usize>(cellAt(index, cell), CELL_TICKS) + (<usize>row << 3)));
  store<f32>(scores + (<usize>to << 2), score);
  store<u32>(scores + (<usize>(room + to) << 2), cell);
  store<u32>(scores + (<usize>(2 * room + to) << 2), row);
}

/**
 * Lists those rows of the list that may be among the topK best by their codes, in the list's order, to `chosen` (u64
 * each). All cells are selected. work: count × 2 f32, `heap`: a top-k state of topK. Returns how many, or −1 when
 * the index has no records.
 */
export function ivfChooseMatches(index: usize, query: usize, list: usize, count: u32, topK: u32, slots: usize, work: usize, heap: usize, chosen: usize): i32 {
  if (load<u32>(index, INDEX_BITS) < 2) return -1;
  const cells = load<usize>(query, QUERY_CELLS);
  for (let slot: u32 = 0; slot < load<u32>(query, QUERY_SELECTED); slot++) {
    store<u32>(slots + (<usize>load<u32>(cells + (<usize>slot << 2)) << 2), slot);
  }
  const least = work, most = work + (<usize>count << 2);
  for (let first: u32 = 0; first < count; first += RECORDS) {
    estimateMatches(index, query, list, first, min(count, first + RECORDS), slots, least, most);
  }
  topkReset(heap, topK);
  topkPush(heap, least, count, 0);
  const bound = load<f32>(heap, 8); // −∞ where there are not so many
  let to = chosen;
  for (let i: usize = 0; i < count; i++) {
    if (load<f32>(most + (i << 2)) < bound) continue;
    store<u64>(to, load<u64>(list + (i << 3)));
    to += 8;
  }
  return <i32>((to - chosen) >> 3);
}

/** What the scores of rows first … past − 1 of the list are surely not below and not above. */
function estimateMatches(index: usize, query: usize, list: usize, first: u32, past: u32, slots: usize, least: usize, most: usize): void {
  const bits = load<u32>(index, INDEX_BITS), padded = load<u32>(index, INDEX_PADDED);
  const recordBytes = <usize>load<u32>(index, INDEX_RECORD_BYTES), slotted = slotBytes(padded, bits);
  const levels = load<usize>(query, QUERY_LEVELS), step = load<f32>(query, QUERY_LEVEL_STEP);
  const middle: f32 = (<f32>(1 << (bits - 1)) - 0.5) * load<f32>(query, QUERY_LEVEL_SUM);
  const length: f32 = sqrt<f32>(load<f32>(query, QUERY_SQUARES));
  const cellScores = load<usize>(query, QUERY_CELL_SCORES), distances = load<usize>(query, QUERY_CELL_DISTANCES);
  const addresses = load<usize>(index, INDEX_ADDRESSES);
  let touched: u32 = 0;
  for (let i = first; i < past; i++) {
    const entry = list + (<usize>i << 3);
    const record = load<usize>(cellAt(index, load<u32>(entry, 4)), CELL_RECORDS) + <usize>load<u32>(entry) * recordBytes;
    store<u32>(addresses + (<usize>(i - first) << 2), <u32>record);
    for (let j: usize = 0; j < recordBytes; j += 64) touched += load<u8>(record + j);
  }
  store<u32>(sink, touched);
  for (let i = first; i < past; i++) {
    const record = <usize>load<u32>(addresses + (<usize>(i - first) << 2));
    const slot = <usize>load<u32>(slots + (<usize>load<u32>(list + (<usize>i << 3), 4) << 2)) << 2;
    const product: f32 = bits > 4 ? <f32>productOfBytes(record, levels, padded) : <f32>productOfNibbles(record, levels, padded);
    const factor = load<f32>(record + slotted, 4);
    const score: f32 = load<f32>(cellScores + slot) + (load<f32>(record + slotted) + factor * ((product - middle) * step));
    const error: f32 = abs<f32>(factor) * (SIX_ERRORS * load<f32>(distances + slot) + LEVEL_ERROR * length) + CENTROID_ERROR * length;
    store<f32>(least + (<usize>i << 2), score - error);
    store<f32>(most + (<usize>i << 2), score + error);
  }
}
