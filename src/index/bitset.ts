/**
 * Sets of row numbers, one bit a row: row r is bit r mod 32, least significant first, of word r / 32. Bits past the
 * last row are zero. As bytes (the host is little-endian, as WebAssembly is) row r is bit r mod 8 of byte r / 8.
 */
export type Bits = Uint32Array;

/** The empty set of up to `rows` rows. */
export function noRows(rows: number): Bits {
  return new Uint32Array(Math.ceil(rows / 32));
}

export function allRows(rows: number): Bits {
  const bits = noRows(rows);
  addRange(bits, 0, rows);
  return bits;
}

export function addRow(bits: Bits, row: number): void {
  bits[row >>> 5] = (bits[row >>> 5] as number) | (1 << (row & 31));
}

export function removeRow(bits: Bits, row: number): void {
  bits[row >>> 5] = (bits[row >>> 5] as number) & ~(1 << (row & 31));
}

export function hasRow(bits: Bits, row: number): boolean {
  return (((bits[row >>> 5] as number) >>> (row & 31)) & 1) === 1;
}

/** Adds rows [from, to). */
export function addRange(bits: Bits, from: number, to: number): void {
  if (from >= to) return;
  const first = from >>> 5;
  const last = (to - 1) >>> 5;
  const head = -1 << (from & 31);
  const tail = -1 >>> (31 - ((to - 1) & 31));
  if (first === last) {
    bits[first] = (bits[first] as number) | (head & tail);
    return;
  }
  bits[first] = (bits[first] as number) | head;
  bits.fill(0xffffffff, first + 1, last);
  bits[last] = (bits[last] as number) | tail;
}

/** Leaves in `bits` what is also in `other`. */
export function keepCommon(bits: Bits, other: Bits): void {
  for (let i = 0; i < bits.length; i++) bits[i] = (bits[i] as number) & (other[i] as number);
}

export function addAll(bits: Bits, other: Bits): void {
  for (let i = 0; i < bits.length; i++) bits[i] = (bits[i] as number) | (other[i] as number);
}

/** Turns the set into that of all other rows below `rows`. */
export function complement(bits: Bits, rows: number): void {
  for (let i = 0; i < bits.length; i++) bits[i] = ~(bits[i] as number);
  if ((rows & 31) !== 0) bits[bits.length - 1] = (bits.at(-1) as number) & (-1 >>> (32 - (rows & 31)));
}

export function countRows(bits: Bits): number {
  let count = 0;
  for (let i = 0; i < bits.length; i++) count += ones(bits[i] as number);
  return count;
}

export function isNoRow(bits: Bits): boolean {
  for (let i = 0; i < bits.length; i++) if (bits[i] !== 0) return false;
  return true;
}

/** The first row of the set from `from` on and below `end`, or `end`. */
export function nextRow(bits: Bits, from: number, end: number): number {
  if (from >= end) return end;
  let at = from >>> 5;
  let word = (bits[at] as number) & (-1 << (from & 31));
  while (word === 0) {
    at++;
    if (at * 32 >= end) return end;
    word = bits[at] as number;
  }
  return Math.min(end, at * 32 + 31 - Math.clz32(word & -word));
}

/** The first row from `from` on and below `end` that is not in the set, or `end`. */
export function nextGap(bits: Bits, from: number, end: number): number {
  let row = from;
  while (row < end && hasRow(bits, row)) row += (row & 31) === 0 && bits[row >>> 5] === 0xffffffff ? 32 : 1;
  return Math.min(row, end);
}

/** Adds the rows of `source`, each `shift` higher. */
export function addShifted(bits: Bits, source: Bits, shift: number): void {
  const at = shift >>> 5;
  const by = shift & 31;
  for (let i = 0; i < source.length; i++) {
    const word = source[i] as number;
    bits[at + i] = (bits[at + i] as number) | (word << by);
    if (by !== 0 && word >>> (32 - by) !== 0)
      bits[at + i + 1] = (bits[at + i + 1] as number) | (word >>> (32 - by));
  }
}

/** Set bits of a 32-bit word (Hacker's Delight, 5-1). */
export function ones(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  n = (n + (n >>> 4)) & 0x0f0f0f0f;
  return Math.imul(n, 0x01010101) >>> 24;
}
