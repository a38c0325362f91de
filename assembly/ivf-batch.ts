// Many queries at once, cell by cell, so that a cell's codes are read once for all queries that probe it. Each query
// first goes through selection and the seed step as it would alone; then (query, slot) pairs are sorted by cell.
// What differs from queries one by one is the order in which a query meets its cells, hence how its bound
// develops: the rows refined may differ, the candidates only where estimates near the bound decide.

import {
  CELL_BLOCKS, CELL_ERROR, CELL_RECORDS, CELL_ROWS, INDEX_BITS, INDEX_CELLS, INDEX_DIM, INDEX_LISTED, INDEX_PADDED, INDEX_RECORD_BYTES, LISTED_ROWS,
  PIECE_ROWS, QUERY_BLOCK, QUERY_BOUND, QUERY_BYTES, QUERY_CELLS, QUERY_CELL_DISTANCES, QUERY_CELL_SCORES, QUERY_COARSE, QUERY_EPSILON, QUERY_HEAPS,
  QUERY_LEVELS, QUERY_LIST_IDS, QUERY_LIST_SCORES, QUERY_REFINED, QUERY_SCANNED, QUERY_SELECTED, QUERY_SHIFT, QUERY_SLOT, QUERY_STARTS, QUERY_TABLE,
  QUERY_VECTOR,
} from "../src/layout/ivf";
import { cellAt } from "./ivf-cells";
import { filterListed, refineInCell } from "./ivf-refine";
import { LANES, WORTH, hasLanes, laidOutBytes, layOut, leaveLanes, scanLanes, takeLane, turnTables } from "./ivf-lanes";
import { blockBytes, scanAbove } from "./ivf-scan";
import { beginSearch, finishSearch, ivfSearch, ivfSelect, listAll, refineAboveBound, seed, toUnits } from "./ivf-search";
import { topkBytes } from "./topk";

const sink = memory.data(4, 4);

// @ts-ignore: decorator
@inline function align(bytes: usize): usize {
  return (bytes + 63) & ~(<usize>63);
}

/** Bytes of one query's own state. */
function stateBytes(padded: u32, nprobe: u32, keep: u32): usize {
  return <usize>QUERY_BYTES + align(<usize>padded * 6) + align((<usize>nprobe + 1) << 2) * 4 + align(<usize>keep << 2) * 2 + 2 * align(topkBytes(keep));
}

// A pair, 16 bytes: the query's state, the slot, and what stands between the query's bound and the least estimate
// to refine (f32): all that the scan needs is read in order, but for the bound and the table.
const PAIR_SLOT: usize = 4;
const PAIR_OFFSET: usize = 8;
const PAIR_BYTES: usize = 16;

// What the scan of a cell works with.
const WORK_WAITING: usize = 0; // → the end of the pending lists
const WORK_CODES: usize = 4; // → the codes of a piece, laid out for lanes
const WORK_PAIRS: usize = 64; // → u32 × 16: the pairs in the lanes
const WORK_COUNTS: usize = 128; // u32 × 16: their rows that passed
const WORK_LANES: usize = 192;
const WORK_HITS: usize = WORK_LANES + 192; // (queries u32, row u32) × PIECE_ROWS
const WORK_ROWS: usize = WORK_HITS + (PIECE_ROWS << 3); // u16 × PIECE_ROWS × 16: each query's rows that passed
const WORK_PENDING: usize = WORK_ROWS + (PIECE_ROWS << 5); // (state u32, end of its listed rows u32) × n

/** Bytes of the work space of `ivfSearchMany`: the queries' states, pairs, where each cell's pairs begin, and the scan's. */
export function ivfBatchBytes(index: usize, n: u32, nprobe: u32, keep: u32): f64 {
  const padded = load<u32>(index, INDEX_PADDED);
  const pairs = <f64>n * <f64>nprobe * <f64>PAIR_BYTES + <f64>(load<u32>(index, INDEX_CELLS) + 1) * 4;
  const scan = <f64>WORK_PENDING + <f64>n * 8 + <f64>(hasLanes(padded) ? laidOutBytes(padded, PIECE_ROWS) : 0);
  return <f64>n * <f64>stateBytes(padded, nprobe, keep) + pairs + scan + 256;
}

/**
 * Searches for n × dim f32 at `vectors`. query: a state to select with. out, for n × topK rows: ticks u64, scores
 * f32, cells u32, rows u32; then counts u32 × n, marked as `ivfSearch` marks them, of which topK at most are written;
 * then rows scanned and refined, u32 each. scratch: results of one query, with room for `room` ≥ keep rows.
 */
export function ivfSearchMany(
  index: usize, query: usize, vectors: usize, n: u32, nprobe: u32, topK: u32, keep: u32, epsilon: f32, filter: usize, exact: bool,
  work: usize, scratch: usize, room: u32, out: usize,
): void {
  const cells = load<u32>(index, INDEX_CELLS), rowBytes = <usize>load<u32>(index, INDEX_DIM) << 2;
  const ownVector = load<usize>(query, QUERY_VECTOR);
  nprobe = min(nprobe, cells);
  const bytes = stateBytes(load<u32>(index, INDEX_PADDED), nprobe, keep);
  const pairs = work + <usize>n * bytes;
  const starts = pairs + <usize>n * nprobe * PAIR_BYTES, scan = starts + align((<usize>cells + 1) << 2);
  store<usize>(scan, scan + WORK_PENDING + align(<usize>n << 3), WORK_CODES);
  const alone = load<u32>(index, INDEX_BITS) < 2;
  const counts = out + 20 * <usize>n * topK;
  memory.fill(counts + (<usize>n << 2), 0, 8);
  for (let i: u32 = 0; i < n; i++) {
    store<usize>(query, vectors + <usize>i * rowBytes, QUERY_VECTOR);
    ivfSelect(index, query, nprobe);
    if (alone) {
      const count = ivfSearch(index, query, topK, keep, epsilon, filter, exact, scratch, room);
      report(query, i, n, topK, count, scratch, room, out, counts);
      continue;
    }
    const state = work + <usize>i * bytes;
    copyState(index, query, state, nprobe, keep);
    beginSearch(index, state, topK, keep, epsilon, filter);
    if (load<u32>(state, QUERY_COARSE) != 0) seed(index, state);
  }
  store<usize>(query, ownVector, QUERY_VECTOR);
  if (alone) return;
  pairUp(index, work, bytes, n, cells, starts, pairs);
  for (let cell: u32 = 0; cell < cells; cell++) {
    const at = starts + (<usize>cell << 2);
    const from = pairs + <usize>load<u32>(at) * PAIR_BYTES, to = pairs + <usize>load<u32>(at, 4) * PAIR_BYTES;
    if (from < to) scanForAll(index, cellAt(index, cell), from, to, filter, scan);
  }
  for (let i: u32 = 0; i < n; i++) {
    const state = work + <usize>i * bytes;
    if (!inPairs(state)) refineAboveBound(index, state);
    const count = finishSearch(index, state, exact, scratch, room);
    report(state, i, n, topK, count, scratch, room, out, counts);
  }
}

/** Whether the scan by pairs knows this query's kind: its one-bit estimates are in the usual units. */
// @ts-ignore: decorator
@inline function inPairs(state: usize): bool {
  return load<u32>(state, QUERY_COARSE) != 0 && load<u32>(state, QUERY_SHIFT) == 0;
}

/** What a search needs of a query that has selected, behind a struct of its own. */
function copyState(index: usize, query: usize, state: usize, nprobe: u32, keep: u32): void {
  const padded = load<u32>(index, INDEX_PADDED), selected = load<u32>(query, QUERY_SELECTED);
  memory.copy(state, query, QUERY_BYTES);
  let at = state + QUERY_BYTES;
  memory.copy(at, load<usize>(query, QUERY_TABLE), <usize>padded << 2);
  memory.copy(at + (<usize>padded << 2), load<usize>(query, QUERY_LEVELS), <usize>padded << 1);
  store<usize>(state, at, QUERY_TABLE);
  store<usize>(state, at + (<usize>padded << 2), QUERY_LEVELS);
  at += align(<usize>padded * 6);
  const step = align((<usize>nprobe + 1) << 2), bytes = <usize>selected << 2;
  memory.copy(at, load<usize>(query, QUERY_CELLS), bytes);
  memory.copy(at + step, load<usize>(query, QUERY_CELL_SCORES), bytes);
  memory.copy(at + 2 * step, load<usize>(query, QUERY_CELL_DISTANCES), bytes);
  store<usize>(state, at, QUERY_CELLS);
  store<usize>(state, at + step, QUERY_CELL_SCORES);
  store<usize>(state, at + 2 * step, QUERY_CELL_DISTANCES);
  store<usize>(state, at + 3 * step, QUERY_STARTS);
  at += 4 * step;
  store<usize>(state, at, QUERY_LIST_SCORES);
  store<usize>(state, at + align(<usize>keep << 2), QUERY_LIST_IDS);
  store<usize>(state, at + 2 * align(<usize>keep << 2), QUERY_HEAPS);
}

/** Sorts the pairs that the seed steps left by cell; starts: cells + 1 × u32. Counts their rows as scanned. */
function pairUp(index: usize, states: usize, bytes: usize, n: u32, cells: u32, starts: usize, pairs: usize): void {
  memory.fill(starts, 0, (<usize>cells + 1) << 2);
  const past = states + <usize>n * bytes;
  for (let state = states; state < past; state += bytes) {
    if (!inPairs(state)) continue;
    const numbers = load<usize>(state, QUERY_CELLS), selected = load<u32>(state, QUERY_SELECTED), first = load<u32>(state, QUERY_SLOT);
    for (let slot = first; slot < selected; slot++) {
      const count = starts + (<usize>load<u32>(numbers + (<usize>slot << 2)) << 2);
      store<u32>(count, load<u32>(count) + 1);
    }
    const rows = load<usize>(state, QUERY_STARTS);
    store<u32>(state, load<u32>(rows + (<usize>selected << 2)), QUERY_SCANNED);
  }
  let before: u32 = 0;
  for (let p = starts; p <= starts + (<usize>cells << 2); p += 4) {
    before += load<u32>(p);
    store<u32>(p, before); // where the cell's pairs end; filling them backwards leaves where they begin
  }
  for (let state = past; state > states; ) {
    state -= bytes;
    if (inPairs(state)) placePairs(index, state, starts, pairs);
  }
}

function placePairs(index: usize, state: usize, ends: usize, pairs: usize): void {
  const numbers = load<usize>(state, QUERY_CELLS), first = load<u32>(state, QUERY_SLOT);
  const scores = load<usize>(state, QUERY_CELL_SCORES), distances = load<usize>(state, QUERY_CELL_DISTANCES);
  const epsilon = load<f32>(state, QUERY_EPSILON);
  for (let slot = load<u32>(state, QUERY_SELECTED); slot > first; ) {
    slot--;
    const at = <usize>slot << 2;
    const number = load<u32>(numbers + at);
    const end = ends + (<usize>number << 2);
    const place = load<u32>(end) - 1;
    store<u32>(end, place);
    const pair = pairs + <usize>place * PAIR_BYTES;
    store<u32>(pair, <u32>state);
    store<u32>(pair, slot, PAIR_SLOT);
    store<f32>(pair, load<f32>(scores + at) + epsilon * load<f32>(distances + at) * load<f32>(cellAt(index, number), CELL_ERROR), PAIR_OFFSET);
  }
}

/** One cell for all its pairs: first every scan, then every record that passed. */
function scanForAll(index: usize, cell: usize, from: usize, to: usize, filter: usize, work: usize): void {
  const padded = load<u32>(index, INDEX_PADDED), rows = load<u32>(cell, CELL_ROWS);
  const codes = load<usize>(cell, CELL_BLOCKS), blocks = (rows + 31) >> 5;
  const inLanes = hasLanes(padded) && to - from >= <usize>WORTH * PAIR_BYTES;
  for (let piece: u32 = 0; piece < blocks; piece += PIECE_ROWS >> 5) {
    const past = min<u32>(blocks, piece + (PIECE_ROWS >> 5));
    let end = load<usize>(index, INDEX_LISTED);
    store<usize>(work, work + WORK_PENDING, WORK_WAITING);
    let isLaidOut = false;
    let held: u32 = 0; // pairs that wait for a lane
    for (let pair = from; pair < to; pair += PAIR_BYTES) {
      const state = <usize>load<u32>(pair), slot = load<u32>(pair, PAIR_SLOT);
      const first = slot == load<u32>(state, QUERY_SLOT) ? max(piece, load<u32>(state, QUERY_BLOCK)) : piece;
      if (first >= past) continue;
      const least = toUnits(load<f32>(state, QUERY_BOUND) - load<f32>(pair, PAIR_OFFSET), 0);
      if (inLanes && first == piece && least > -32768) {
        takeLane(work + WORK_LANES, held, state, least);
        store<u32>(work + (<usize>held << 2), <u32>pair, WORK_PAIRS);
        held++;
        if (held < LANES) continue;
        end = scanTogether(index, cell, piece, past, held, isLaidOut, filter, end, work);
        isLaidOut = true;
        held = 0;
        continue;
      }
      const before = end, tag = (<u64>slot << 32) | (first << 5);
      if (least <= -32768) end = listAll(min(rows, past << 5) - (first << 5), tag, end);
      else end = scanAbove(index, state, codes + <usize>first * blockBytes(padded), past - first, least, tag, end);
      end = pend(index, cell, state, filter, before, end, work);
    }
    if (held >= WORTH) {
      leaveLanes(work + WORK_LANES, held);
      end = scanTogether(index, cell, piece, past, held, isLaidOut, filter, end, work);
      held = 0;
    }
    for (let i: u32 = 0; i < held; i++) {
      const pair = <usize>load<u32>(work + (<usize>i << 2), WORK_PAIRS), state = <usize>load<u32>(pair);
      const least = toUnits(load<f32>(state, QUERY_BOUND) - load<f32>(pair, PAIR_OFFSET), 0);
      const before = end, tag = (<u64>load<u32>(pair, PAIR_SLOT) << 32) | (piece << 5);
      end = scanAbove(index, state, codes + <usize>piece * blockBytes(padded), past - piece, least, tag, end);
      end = pend(index, cell, state, filter, before, end, work);
    }
    refineAll(index, cell, end, work);
  }
}

/** The piece for the pairs that wait, which are in their lanes; returns the new end of the list. */
function scanTogether(
  index: usize, cell: usize, piece: u32, past: u32, held: u32, isLaidOut: bool, filter: usize, end: usize, work: usize,
): usize {
  if (!ASC_FEATURE_SIMD) return end;
  const padded = load<u32>(index, INDEX_PADDED), codes = load<usize>(work, WORK_CODES), hits = work + WORK_HITS;
  if (!isLaidOut) layOut(load<usize>(cell, CELL_BLOCKS) + <usize>piece * blockBytes(padded), past - piece, padded, codes);
  turnTables(work + WORK_LANES, padded);
  const hitsEnd = scanLanes(codes, min(load<u32>(cell, CELL_ROWS), past << 5) - (piece << 5), padded, work + WORK_LANES, hits);
  memory.fill(work + WORK_COUNTS, 0, <usize>LANES << 2);
  for (let p = hits; p < hitsEnd; p += 8) {
    let queries = load<u32>(p);
    const row = <u16>load<u32>(p, 4);
    do {
      const q = <usize>ctz(queries), count = <usize>load<u32>(work + (q << 2), WORK_COUNTS);
      store<u16>(work + ((q * PIECE_ROWS + count) << 1), row, WORK_ROWS);
      store<u32>(work + (q << 2), <u32>count + 1, WORK_COUNTS);
      queries &= queries - 1;
    } while (queries);
  }
  for (let q: usize = 0; q < held; q++) {
    const count = <usize>load<u32>(work + (q << 2), WORK_COUNTS);
    if (count == 0) continue;
    const pair = <usize>load<u32>(work + (q << 2), WORK_PAIRS), rows = work + WORK_ROWS + ((q * PIECE_ROWS) << 1);
    const before = end, tag = (<u64>load<u32>(pair, PAIR_SLOT) << 32) | (piece << 5);
    for (let i: usize = 0; i < count << 1; i += 2) {
      store<u64>(end, tag + load<u16>(rows + i));
      end += 8;
    }
    end = pend(index, cell, load<u32>(pair), filter, before, end, work);
  }
  return end;
}

/** Notes that rows were listed for a query, from `before` on; where no piece more would fit, refines all there are. */
function pend(index: usize, cell: usize, state: usize, filter: usize, before: usize, end: usize, work: usize): usize {
  if (filter != 0) end = filterListed(index, state, filter, before, end);
  if (end == before) return end;
  const waiting = load<usize>(work, WORK_WAITING), list = load<usize>(index, INDEX_LISTED);
  store<u32>(waiting, <u32>state);
  store<u32>(waiting, <u32>end, 4);
  store<usize>(work, waiting + 8, WORK_WAITING);
  if (end <= list + ((LISTED_ROWS - PIECE_ROWS) << 3)) return end;
  refineAll(index, cell, end, work);
  return list;
}

/** Refines the listed rows of one cell, each pending entry (state, end of its rows) the rows after the entry before. */
function refineAll(index: usize, cell: usize, end: usize, work: usize): void {
  const recordBytes = <usize>load<u32>(index, INDEX_RECORD_BYTES), records = load<usize>(cell, CELL_RECORDS);
  let list = load<usize>(index, INDEX_LISTED);
  let touched: u32 = 0;
  for (let p = list; p < end; p += 8) {
    const record = records + <usize>load<u32>(p) * recordBytes;
    for (let j: usize = 0; j < recordBytes; j += 64) touched += load<u8>(record + j);
  }
  store<u32>(sink, touched);
  const past = load<usize>(work, WORK_WAITING);
  for (let p = work + WORK_PENDING; p < past; p += 8) {
    const rowsEnd = <usize>load<u32>(p, 4);
    refineInCell(index, load<u32>(p), records, list, rowsEnd);
    list = rowsEnd;
  }
  store<usize>(work, work + WORK_PENDING, WORK_WAITING);
}

/** Moves a query's results to their place among all, and adds up its counters. */
function report(query: usize, i: u32, n: u32, topK: u32, count: u32, from: usize, room: u32, out: usize, counts: usize): void {
  const written = <usize>min(count & 0x7fffffff, topK), all = <usize>n * topK, before = <usize>i * topK;
  memory.copy(out + (before << 3), from, written << 3);
  memory.copy(out + (all << 3) + (before << 2), from + (<usize>room << 3), written << 2);
  memory.copy(out + 12 * all + (before << 2), from + 12 * <usize>room, written << 2);
  memory.copy(out + 16 * all + (before << 2), from + 16 * <usize>room, written << 2);
  store<u32>(counts + (<usize>i << 2), <u32>written | (count & 0x80000000));
  const totals = counts + (<usize>n << 2);
  store<u32>(totals, load<u32>(totals) + load<u32>(query, QUERY_SCANNED));
  store<u32>(totals, load<u32>(totals, 4) + load<u32>(query, QUERY_REFINED), 4);
}
