// Moving rows: by an index, and the stable order that puts rows of one cell together.

const counts = memory.data(4 * 256, 64);

/** Row index[i] of `src` becomes row i of `dst`; rows of rowBytes bytes, index u32 × n. */
export function gatherRows(src: usize, rowBytes: u32, index: usize, n: u32, dst: usize): void {
  for (let i: u32 = 0; i < n; i++) {
    copyRow(dst, src + <usize>load<u32>(index + (<usize>i << 2)) * rowBytes, rowBytes);
    dst += rowBytes;
  }
}

/** Copies in steps of 16 bytes, the last one overlapping: memory.copy leaves the compiled code on every call. */
// @ts-ignore: decorator
@inline function copyRow(dst: usize, src: usize, bytes: u32): void {
  if (!ASC_FEATURE_SIMD || bytes < 16 || bytes > 16384) {
    memory.copy(dst, src, bytes);
    return;
  }
  const last = <usize>bytes - 16;
  for (let k: usize = 0; k < last; k += 16) v128.store(dst + k, v128.load(src + k));
  v128.store(dst + last, v128.load(src + last));
}

/**
 * The rows 0 … n − 1 in ascending order of their cell (u32 × n, below 2^bits), equal cells in row order:
 * a radix sort by bytes of the cell number. `scratch` holds n × u32.
 */
export function sortByCell(cells: usize, n: u32, bits: u32, order: usize, scratch: usize): void {
  const passes = (bits + 7) / 8;
  let from = passes & 1 ? scratch : order;
  for (let i: u32 = 0; i < n; i++) store<u32>(from + (<usize>i << 2), i);
  for (let pass: u32 = 0; pass < passes; pass++) {
    const to = from == order ? scratch : order;
    radixPass(cells, n, pass * 8, from, to);
    from = to;
  }
}

function radixPass(cells: usize, n: u32, shift: u32, from: usize, to: usize): void {
  memory.fill(counts, 0, 4 * 256);
  for (let i: u32 = 0; i < n; i++) {
    const slot = digit(cells, i, shift);
    store<u32>(slot, load<u32>(slot) + 1);
  }
  let start: u32 = 0;
  for (let slot = counts; slot < counts + 4 * 256; slot += 4) {
    const count = load<u32>(slot);
    store<u32>(slot, start);
    start += count;
  }
  for (let i: u32 = 0; i < n; i++) {
    const row = load<u32>(from + (<usize>i << 2));
    const slot = digit(cells, row, shift);
    const at = load<u32>(slot);
    store<u32>(slot, at + 1);
    store<u32>(to + (<usize>at << 2), row);
  }
}

// @ts-ignore: decorator
@inline function digit(cells: usize, row: u32, shift: u32): usize {
  return counts + (<usize>((load<u32>(cells + (<usize>row << 2)) >> shift) & 255) << 2);
}

/** The non-empty cells in order, as (cell u32, first place in the order u32) pairs; returns how many. */
export function cellRuns(cells: usize, order: usize, n: u32, out: usize): u32 {
  let runs: usize = 0;
  for (let i: u32 = 0; i < n; i++) {
    const cell = load<u32>(cells + (<usize>load<u32>(order + (<usize>i << 2)) << 2));
    if (runs != 0 && load<u32>(out + ((runs - 1) << 3)) == cell) continue;
    store<u32>(out + (runs << 3), cell);
    store<u32>(out + (runs << 3), i, 4);
    runs++;
  }
  return <u32>runs;
}
