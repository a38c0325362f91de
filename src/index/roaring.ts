/**
 * Roaring bitmaps in their portable serialisation (github.com/RoaringBitmap/RoaringFormatSpec), which every Roaring
 * library reads. Numbers are split by their upper 16 bits, the key, into containers of one of three kinds:
 *
 *   array    2 × cardinality bytes: the lower 16 bits, ascending; cardinality up to 4,096
 *   bitset   8,192 bytes: a bit a number, least significant first; cardinality above 4,096
 *   run      2 + 4 × runs bytes: count of runs, then first number and length − 1 of each
 *
 *   cookie   12346 and the number of containers, u32 each, when no container is a run; otherwise u32
 *            12347 + (containers − 1) × 65536, and a bit a container, 1 = run
 *   header   containers × { u16 key, u16 cardinality − 1 }
 *   offsets  containers × u32, from the start; left out when there are runs and fewer than 4 containers
 *
 * Sets are combined as bit sets, not as containers: the answer of a filter is a bit a row in any case
 * (docs/decisions/0008-roaring-codec.md).
 */
import { corrupt } from "../objects/shape.ts";
import { addRange, addRow, type Bits, ones } from "./bitset.ts";

const COOKIE_NO_RUNS = 12346;
const COOKIE_RUNS = 12347;
/** With runs and fewer containers than this, offsets are left out. */
const NO_OFFSETS_BELOW = 4;
const MAX_ARRAY = 4096;
const BITSET_BYTES = 8192;
const WHAT = "scalar-index.bitmap";

/** Rows [from, to) of a list that share a key, and the kind of container that takes the fewest bytes. */
interface Part {
  from: number;
  to: number;
  runs: number;
  isRun: boolean;
  bytes: number;
}

/** @param rows ascending, without repeats; at least one */
export function encodeRoaring(rows: Uint32Array): Uint8Array {
  const parts = partsOf(rows);
  const hasRuns = parts.some((part) => part.isRun);
  const hasOffsets = !hasRuns || parts.length >= NO_OFFSETS_BELOW;
  const headerAt = hasRuns ? 4 + Math.ceil(parts.length / 8) : 8;
  const offsetsAt = headerAt + 4 * parts.length;
  let at = offsetsAt + (hasOffsets ? 4 * parts.length : 0);
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.bytes, at));
  const view = new DataView(out.buffer);
  if (hasRuns) view.setUint32(0, COOKIE_RUNS + (parts.length - 1) * 65536, true);
  else view.setUint32(0, COOKIE_NO_RUNS, true);
  if (!hasRuns) view.setUint32(4, parts.length, true);
  parts.forEach((part, i) => {
    if (part.isRun) out[4 + (i >> 3)] = (out[4 + (i >> 3)] as number) | (1 << (i & 7));
    view.setUint16(headerAt + 4 * i, (rows[part.from] as number) >>> 16, true);
    view.setUint16(headerAt + 4 * i + 2, part.to - part.from - 1, true);
    if (hasOffsets) view.setUint32(offsetsAt + 4 * i, at, true);
    writePart(view, at, rows, part);
    at += part.bytes;
  });
  return out;
}

function partsOf(rows: Uint32Array): Part[] {
  const parts: Part[] = [];
  for (let from = 0; from < rows.length; ) {
    const key = (rows[from] as number) >>> 16;
    let runs = 1;
    let to = from + 1;
    for (; to < rows.length && (rows[to] as number) >>> 16 === key; to++)
      if (rows[to] !== (rows[to - 1] as number) + 1) runs++;
    const plain = to - from <= MAX_ARRAY ? 2 * (to - from) : BITSET_BYTES;
    const isRun = 2 + 4 * runs < plain;
    parts.push({ from, to, runs, isRun, bytes: isRun ? 2 + 4 * runs : plain });
    from = to;
  }
  return parts;
}

function writePart(view: DataView, at: number, rows: Uint32Array, { from, to, runs, isRun }: Part): void {
  if (isRun) {
    view.setUint16(at, runs, true);
    let slot = at - 2;
    for (let i = from; i < to; i++) {
      const row = rows[i] as number;
      if (i === from || row !== (rows[i - 1] as number) + 1) {
        slot += 4;
        view.setUint16(slot, row & 0xffff, true);
      } else view.setUint16(slot + 2, view.getUint16(slot + 2, true) + 1, true);
    }
    return;
  }
  if (to - from <= MAX_ARRAY) {
    for (let i = from; i < to; i++) view.setUint16(at + 2 * (i - from), (rows[i] as number) & 0xffff, true);
    return;
  }
  for (let i = from; i < to; i++) {
    const low = (rows[i] as number) & 0xffff;
    view.setUint8(at + (low >> 3), view.getUint8(at + (low >> 3)) | (1 << (low & 7)));
  }
}

/**
 * Adds the numbers of a serialised bitmap to `bits` and returns how many there are.
 * Errors: `Corrupt` when the bytes are no bitmap, or have a number of `rows` or more.
 */
export function addRoaring(bytes: Uint8Array, rows: number, bits: Bits): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { count, headerAt, isRun, containersAt, offsetsAt } = readHeader(view);
  let at = containersAt;
  let total = 0;
  let previous = -1;
  for (let i = 0; i < count; i++) {
    const key = view.getUint16(headerAt + 4 * i, true);
    const cardinality = view.getUint16(headerAt + 4 * i + 2, true) + 1;
    if (key <= previous) throw corrupt(`${WHAT}.key`, key, "ascending keys");
    previous = key;
    if (offsetsAt !== undefined && view.getUint32(offsetsAt + 4 * i, true) !== at)
      throw corrupt(`${WHAT}.offset`, view.getUint32(offsetsAt + 4 * i, true), at);
    if (key * 65536 >= rows) throw corrupt(`${WHAT}.key`, key, `rows below ${rows}`);
    const base = key * 65536;
    const limit = Math.min(65536, rows - base);
    if (isRun(i)) at = addRuns(view, at, base, limit, cardinality, bits);
    else if (cardinality <= MAX_ARRAY) at = addArray(view, at, base, limit, cardinality, bits);
    else at = addBitset(view, at, base, limit, cardinality, bits);
    total += cardinality;
  }
  if (at !== bytes.length) throw corrupt(WHAT, `${bytes.length} bytes`, at);
  return total;
}

function readHeader(view: DataView): {
  count: number;
  headerAt: number;
  isRun: (container: number) => boolean;
  containersAt: number;
  offsetsAt: number | undefined;
} {
  need(view, 0, 8);
  const cookie = view.getUint32(0, true);
  const hasRuns = (cookie & 0xffff) === COOKIE_RUNS;
  if (!hasRuns && cookie !== COOKIE_NO_RUNS) throw corrupt(`${WHAT}.cookie`, cookie, COOKIE_NO_RUNS);
  const count = hasRuns ? (cookie >>> 16) + 1 : view.getUint32(4, true);
  const headerAt = hasRuns ? 4 + Math.ceil(count / 8) : 8;
  const hasOffsets = !hasRuns || count >= NO_OFFSETS_BELOW;
  const offsetsAt = headerAt + 4 * count;
  const containersAt = offsetsAt + (hasOffsets ? 4 * count : 0);
  if (count < 1 || count > 65536) throw corrupt(`${WHAT}.containers`, count, "1 to 65536");
  need(view, 0, containersAt);
  const isRun = (i: number): boolean => hasRuns && ((view.getUint8(4 + (i >> 3)) >> (i & 7)) & 1) === 1;
  return { count, headerAt, isRun, containersAt, offsetsAt: hasOffsets ? offsetsAt : undefined };
}

function need(view: DataView, at: number, bytes: number): void {
  if (at + bytes > view.byteLength) throw corrupt(WHAT, `${view.byteLength} bytes`, `at least ${at + bytes}`);
}

function addRuns(
  view: DataView,
  at: number,
  base: number,
  limit: number,
  cardinality: number,
  bits: Bits,
): number {
  need(view, at, 2);
  const runs = view.getUint16(at, true);
  need(view, at + 2, 4 * runs);
  let end = 0;
  let found = 0;
  for (let i = 0; i < runs; i++) {
    const first = view.getUint16(at + 2 + 4 * i, true);
    const length = view.getUint16(at + 4 + 4 * i, true) + 1;
    if ((i > 0 && first < end) || first + length > limit)
      throw corrupt(`${WHAT}.run`, first, `ascending runs below ${limit}`);
    end = first + length;
    found += length;
    addRange(bits, base + first, base + end);
  }
  if (found !== cardinality) throw corrupt(`${WHAT}.cardinality`, found, cardinality);
  return at + 2 + 4 * runs;
}

function addArray(
  view: DataView,
  at: number,
  base: number,
  limit: number,
  cardinality: number,
  bits: Bits,
): number {
  need(view, at, 2 * cardinality);
  let previous = -1;
  for (let i = 0; i < cardinality; i++) {
    const low = view.getUint16(at + 2 * i, true);
    if (low <= previous || low >= limit) throw corrupt(`${WHAT}.array`, low, `ascending rows below ${limit}`);
    previous = low;
    addRow(bits, base + low);
  }
  return at + 2 * cardinality;
}

function addBitset(
  view: DataView,
  at: number,
  base: number,
  limit: number,
  cardinality: number,
  bits: Bits,
): number {
  need(view, at, BITSET_BYTES);
  let found = 0;
  for (let i = 0; i < BITSET_BYTES / 4; i++) {
    const word = view.getUint32(at + 4 * i, true);
    if (word === 0) continue;
    if (32 * i + 32 - Math.clz32(word) > limit)
      throw corrupt(`${WHAT}.bitset`, 32 * i, `rows below ${limit}`);
    bits[base / 32 + i] = (bits[base / 32 + i] as number) | word;
    found += ones(word);
  }
  if (found !== cardinality) throw corrupt(`${WHAT}.cardinality`, found, cardinality);
  return at + BITSET_BYTES;
}
