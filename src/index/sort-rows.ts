/** Ordering the rows of a column by their keys, which are bytes in bytewise order. */

export interface SortedRows {
  /** Ascending by (key, row). */
  order: Uint32Array;
  /** Places in `order` at which another key begins, the first of them 0. */
  starts: Uint32Array;
}

/**
 * @param rows ascending
 * @param prefixes by row number the first eight bytes of its key, filled up with zeros, as two big-endian words
 * @param compare the order of two rows whose prefixes are equal; left out when their keys are equal, too
 */
export function sortRows(
  rows: Uint32Array,
  prefixes: Uint32Array,
  compare?: (a: number, b: number) => number,
): SortedRows {
  const order = radixSort(rows, prefixes);
  const starts: number[] = [];
  for (let from = 0; from < order.length; ) {
    const to = endOfPrefix(order, prefixes, from);
    starts.push(from);
    if (compare !== undefined && to - from > 1) {
      order.subarray(from, to).sort((a, b) => compare(a, b) || a - b);
      for (let i = from + 1; i < to; i++)
        if (compare(order[i - 1] as number, order[i] as number) !== 0) starts.push(i);
    }
    from = to;
  }
  return { order, starts: Uint32Array.from(starts) };
}

function endOfPrefix(order: Uint32Array, prefixes: Uint32Array, from: number): number {
  const first = 2 * (order[from] as number);
  const high = prefixes[first];
  const low = prefixes[first + 1];
  let to = from + 1;
  while (to < order.length) {
    const at = 2 * (order[to] as number);
    if (prefixes[at] !== high || prefixes[at + 1] !== low) break;
    to++;
  }
  return to;
}

/** Least significant byte first, so that rows of one prefix stay in order; bytes that all rows share cost one look. */
function radixSort(rows: Uint32Array, prefixes: Uint32Array): Uint32Array {
  let from = rows.slice();
  let to = new Uint32Array(rows.length);
  const counts = new Uint32Array(256);
  for (let byte = 0; byte < 8; byte++) {
    const word = byte < 4 ? 1 : 0;
    const shift = (byte & 3) * 8;
    counts.fill(0);
    for (let i = 0; i < rows.length; i++) {
      const digit = ((prefixes[2 * (rows[i] as number) + word] as number) >>> shift) & 255;
      counts[digit] = (counts[digit] as number) + 1;
    }
    if (counts.includes(rows.length)) continue;
    let start = 0;
    for (let digit = 0; digit < 256; digit++) {
      const count = counts[digit] as number;
      counts[digit] = start;
      start += count;
    }
    for (let i = 0; i < from.length; i++) {
      const row = from[i] as number;
      const digit = ((prefixes[2 * row + word] as number) >>> shift) & 255;
      to[counts[digit] as number] = row;
      counts[digit] = (counts[digit] as number) + 1;
    }
    [from, to] = [to, from];
  }
  return from;
}

/** Rows by the number of their key in the ascending list of all keys. @param count of keys, each of some row */
export function sortByCode(rows: Uint32Array, codeOf: (row: number) => number, count: number): SortedRows {
  const ends = new Uint32Array(count + 1);
  for (const row of rows) ends[codeOf(row) + 1] = (ends[codeOf(row) + 1] as number) + 1;
  for (let code = 0; code < count; code++)
    ends[code + 1] = (ends[code + 1] as number) + (ends[code] as number);
  const starts = ends.slice(0, count);
  const order = new Uint32Array(rows.length);
  for (const row of rows) {
    const code = codeOf(row);
    order[ends[code] as number] = row;
    ends[code] = (ends[code] as number) + 1;
  }
  return { order, starts };
}
