/** Making segments: rows grouped by cell, with the codes and vectors that cells carry. */
import type { Kernels } from "../kernels/kernels.ts";
import type { Sealed } from "../objects/column.ts";
import type { Track } from "../objects/manifest.ts";
import { encodeSegment, type SegmentSource } from "../objects/segment.ts";
import type { Indexer } from "./indexer.ts";

/** A segment, and what an operator may want to know of it. */
export interface PreparedSegment {
  sealed: Sealed;
  rows: number;
  cells: number;
  largestCell: number;
}

/** Rows by ascending cell, then anchor. */
export interface CellOrder {
  /** Row numbers in that order. */
  rows: Uint32Array;
  /** The non-empty cells, ascending, and where each begins in `rows`. */
  cells: Uint32Array;
  firstRows: Uint32Array;
}

/** Rows whose vectors are gathered at a time: they stay in the second-level cache until they are encoded. */
const TILE_BYTES = 256 << 10;

/**
 * Groups rows by cell; rows come in ascending order of their anchors. Rows that `presence` denies are left out.
 * @param cellBits bits that hold every cell's number
 */
export function orderByCell(
  kernels: Kernels,
  cellOfRow: Uint32Array,
  cellBits: number,
  presence?: Uint8Array,
): CellOrder {
  if (presence === undefined) return kernels.sortByCell(cellOfRow, cellBits);
  const present = Uint32Array.from(cellOfRow.keys()).filter((row) => presence[row] === 1);
  const order = kernels.sortByCell(
    present.map((row) => cellOfRow[row] as number),
    cellBits,
  );
  return { ...order, rows: order.rows.map((i) => present[i] as number) };
}

/** A segment of the rows of `order`; see `segmentOf`. */
export function sealSegment(...parts: Parameters<typeof segmentOf>): PreparedSegment {
  const [, , , , { rows, cells, firstRows }] = parts;
  const sealed = encodeSegment(segmentOf(...parts));
  let largestCell = 0;
  firstRows.forEach((first, i) => {
    largestCell = Math.max(largestCell, (firstRows[i + 1] ?? rows.length) - first);
  });
  return { sealed, rows: rows.length, cells: cells.length, largestCell };
}

/**
 * What a segment is made of, gathered in the order of its rows.
 * @param vectors address of the vectors, dim f32 each, that `order.rows` numbers
 * @param ticks each row's anchor by row number, and `base` what they are stored relative to
 * @param withVectors whether the segment carries the vectors too
 * @param codes address of each row's code by row number, when they are made already
 */
export function segmentOf(
  kernels: Kernels,
  track: Track,
  indexer: Indexer,
  vectors: number,
  order: CellOrder,
  ticks: BigUint64Array,
  base: bigint,
  withVectors: boolean,
  codes = 0,
): SegmentSource {
  const { dim } = track.spatialIndex;
  const { rows, cells, firstRows } = order;
  const made = gatherAndEncode(kernels, indexer, dim, vectors, order, withVectors, codes);
  return {
    spatialIndex: track.address,
    dim,
    rows: rows.length,
    cells,
    firstRows,
    offsets: offsetsOf(ticks, rows, base),
    ...(made.vectors === undefined ? {} : { vectors: made.vectors }),
    ...(made.codes === undefined || track.compressor === undefined
      ? {}
      : { codes: { compressor: track.compressor.address, rowBytes: indexer.codeBytes, bytes: made.codes } }),
  };
}

/** The anchors of `rows` less `base`, reckoned in halves, which takes a tenth of the time that bigints take. */
function offsetsOf(ticks: BigUint64Array, rows: Uint32Array, base: bigint): BigUint64Array {
  const out = new BigUint64Array(rows.length);
  const from = new Uint32Array(ticks.buffer, ticks.byteOffset, 2 * ticks.length);
  const to = new Uint32Array(out.buffer);
  const [baseLow, baseHigh] = [Number(base & 0xffffffffn), Number(base >> 32n)];
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] as number;
    const low = (from[2 * row] as number) - baseLow;
    to[2 * i] = low;
    to[2 * i + 1] = (from[2 * row + 1] as number) - baseHigh - (low < 0 ? 1 : 0);
  }
  return out;
}

/** Vectors and codes in the order of the rows. */
function gatherAndEncode(
  kernels: Kernels,
  indexer: Indexer,
  dim: number,
  source: number,
  { rows, cells, firstRows }: CellOrder,
  withVectors: boolean,
  made: number,
): { vectors?: Uint8Array; codes?: Uint8Array } {
  const { codeBytes } = indexer;
  const vectors = withVectors ? new Uint8Array(rows.length * dim * 4) : undefined;
  const codes = codeBytes > 0 ? new Uint8Array(rows.length * codeBytes) : undefined;
  const tileRows = Math.max(1, Math.min(rows.length, Math.floor(TILE_BYTES / (4 * dim))));
  const tile = kernels.alloc(tileRows * (4 * dim + 8 + codeBytes));
  const index = tile + tileRows * 4 * dim;
  const cellOf = index + tileRows * 4;
  const code = cellOf + tileRows * 4;
  try {
    let cell = 0;
    for (let first = 0; first < rows.length; first += tileRows) {
      const n = Math.min(tileRows, rows.length - first);
      kernels.u32(index, n).set(rows.subarray(first, first + n));
      if (vectors !== undefined || made === 0) kernels.gatherRows(source, 4 * dim, index, n, tile);
      vectors?.set(kernels.bytes(tile, n * dim * 4), first * dim * 4);
      if (codes === undefined) continue;
      if (made !== 0) {
        kernels.gatherRows(made, codeBytes, index, n, code);
        codes.set(kernels.bytes(code, n * codeBytes), first * codeBytes);
        continue;
      }
      const tileCells = kernels.u32(cellOf, n);
      for (let i = 0; i < n; i++) {
        while (first + i >= (firstRows[cell + 1] ?? Number.POSITIVE_INFINITY)) cell++;
        tileCells[i] = cells[cell] as number;
      }
      indexer.encode(tile, n, cellOf, code);
      codes.set(kernels.bytes(code, n * codeBytes), first * codeBytes);
    }
  } finally {
    kernels.free(tile);
  }
  return { ...(vectors === undefined ? {} : { vectors }), ...(codes === undefined ? {} : { codes }) };
}
