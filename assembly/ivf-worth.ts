// Which of the selected cells are worth a scan, once a bound is known. A row that beats the bound must stand out in
// its cell: lie above the cell's mean score by so many of its mean errors, times |q − c|. The more that takes, and the
// further down the selection the cell is, the less likely it is that there is such a row; the product of the two, the
// place as its logarithm, tells cells with neighbours from those without better than either, on word vectors, digits
// and clusters alike: a recall of .95 takes 15 to 40 % fewer rows than from a fixed number of cells. What a row must
// stand out by is a matter of angles, hence √D, and about the same for all of them; a few dimensions that all matter
// have wider ones, hence a little more.

import {
  CELL_ERROR, CELL_OFFSET, CELL_WILD, INDEX_CELLS, INDEX_METRIC, INDEX_PADDED, METRIC_DOT, QUERY_BOUND, QUERY_CELLS, QUERY_CELL_DISTANCES,
  QUERY_CELL_SCORES, QUERY_COARSE, QUERY_EPSILON, QUERY_FILTER, QUERY_SELECTED,
} from "../src/layout/ivf";
import { cellAt } from "./ivf-cells";

/** Times epsilon and √(D + FEW), what is expected of the best row of a cell at the end of the selection, in mean errors. */
const STANDS_OUT: f32 = 0.38;
const FEW: u32 = 24;

/**
 * What a query gives its cells the benefit of; infinite where each is to be scanned: where all cells are selected,
 * where a filter leaves fewer rows than the bound tells, where rows differ in length.
 */
export function reachOf(index: usize, query: usize): f32 {
  const selected = load<u32>(query, QUERY_SELECTED);
  if (selected >= load<u32>(index, INDEX_CELLS) || load<u32>(query, QUERY_COARSE) == 0) return Infinity;
  if (load<usize>(query, QUERY_FILTER) != 0 || load<u32>(index, INDEX_METRIC) == METRIC_DOT) return Infinity;
  return STANDS_OUT * load<f32>(query, QUERY_EPSILON) * sqrt<f32>(<f32>(load<u32>(index, INDEX_PADDED) + FEW)) * logarithm(selected);
}

/** log2 n and at most .09 less, in steps of 2^−23: the bits of a float are nearly its logarithm. */
// @ts-ignore: decorator
@inline function logarithm(n: u32): f32 {
  return <f32>(reinterpret<i32>(<f32>n) - 0x3f800000);
}

/** The bound from which on the cell at a place of the selection is not worth a scan. */
// @ts-ignore: decorator
@inline export function worthUpTo(index: usize, query: usize, slot: u32, reach: f32): f32 {
  const at = <usize>slot << 2;
  const cell = cellAt(index, load<u32>(load<usize>(query, QUERY_CELLS) + at));
  if (slot == 0 || reach == Infinity || load<u32>(cell, CELL_WILD) != 0) return Infinity;
  const mean = load<f32>(load<usize>(query, QUERY_CELL_SCORES) + at) + load<f32>(cell, CELL_OFFSET);
  return mean + reach * load<f32>(load<usize>(query, QUERY_CELL_DISTANCES) + at) * load<f32>(cell, CELL_ERROR) / logarithm(slot + 1);
}

/** Whether it is worth one by the query's bound. */
// @ts-ignore: decorator
@inline export function isWorth(index: usize, query: usize, slot: u32, reach: f32): bool {
  return load<f32>(query, QUERY_BOUND) <= worthUpTo(index, query, slot, reach);
}
