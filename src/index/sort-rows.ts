/** Ordering the rows of a column by their keys. */
import { compareBytes } from "../core/cbor.ts";

/**
 * The given rows by ascending (key, row), where keys are bytes in bytewise order.
 * @param rows ascending
 * @param prefixes for each row number the first eight bytes of its key, big-endian and filled up with zeros, as two
 *   words: what keys of up to eight bytes of one length are told apart by
 * @param compare the whole order of two rows whose prefixes are equal; left out when equal prefixes mean equal keys
 */
export function sortRows(
  rows: Uint32Array,
  prefixes: Uint32Array,
  compare?: (a: number, b: number) => number,
): Uint32Array {
  const order = radixSort(rows, prefixes);
  if (compare === undefined) return order;
  const samePrefix = (a: number, b: number): boolean =>
    prefixes[2 * a] === prefixes[2 * b] && prefixes[2 * a + 1] === prefixes[2 * b + 1];
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && samePrefix(order[from] as number, order[to] as number)) to++;
    if (to - from > 1) order.subarray(from, to).sort((a, b) => compare(a, b) || a - b);
    from = to;
  }
  return order;
}

/** Least significant byte first, so that rows of one prefix stay in order; bytes that all rows share cost nothing. */
function radixSort(rows: Uint32Array, prefixes: Uint32Array): Uint32Array {
  let from = rows.slice();
  let to = new Uint32Array(rows.length);
  const counts = new Uint32Array(256);
  for (let byte = 0; byte < 8; byte++) {
    const word = byte < 4 ? 1 : 0;
    const shift = (byte & 3) * 8;
    counts.fill(0);
    for (let i = 0; i < from.length; i++) {
      const digit = ((prefixes[2 * (from[i] as number) + word] as number) >>> shift) & 255;
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

/** `prefixes` for keys of any length. @param keyOf the key of a row */
export function prefixesOf(
  rows: Uint32Array,
  count: number,
  keyOf: (row: number) => Uint8Array,
): Uint32Array {
  const prefixes = new Uint32Array(2 * count);
  for (const row of rows) {
    const key = keyOf(row);
    prefixes[2 * row] = word(key, 0);
    prefixes[2 * row + 1] = word(key, 4);
  }
  return prefixes;
}

function word(key: Uint8Array, at: number): number {
  return (
    (((key[at] ?? 0) << 24) | ((key[at + 1] ?? 0) << 16) | ((key[at + 2] ?? 0) << 8) | (key[at + 3] ?? 0)) >>>
    0
  );
}

/** Places in `order` at which another key begins. */
export function keyStarts(order: Uint32Array, keyOf: (row: number) => Uint8Array): Uint32Array {
  const starts: number[] = [];
  let previous: Uint8Array | undefined;
  order.forEach((row, place) => {
    const key = keyOf(row);
    if (previous === undefined || compareBytes(previous, key) !== 0) starts.push(place);
    previous = key;
  });
  return Uint32Array.from(starts);
}
