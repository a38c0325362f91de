/**
 * The order in which trained cells are numbered (spec/0004-spatial-indexing.md §7): each is followed by the nearest of
 * those that are left, so that cells a query probes lie side by side in segments and are read as few ranges.
 */

/** Beyond so many centroids, whose pairs take too long to compare, they stay as they were trained. */
export const MAX_CHAIN = 16_384;
/** Terms of a sum between two looks at whether it is too large already. */
const STRIDE = 16;

/** `values` (k × dim) row by row in the order of the chain, which begins with row 0. */
export function inChainOrder(values: Float32Array, dim: number): Float32Array {
  const k = values.length / dim;
  if (k > MAX_CHAIN) return values;
  const out = values.slice();
  const left = Uint32Array.from({ length: k }, (_, row) => row);
  let at = 0;
  for (let place = 1; place < k; place++) {
    // Those left stay in ascending order, so that of equals the lowest comes first.
    left.copyWithin(at, at + 1);
    const count = k - place;
    const previous = out.subarray((place - 1) * dim, place * dim);
    at = nearestOf(values, left, count, previous, dim);
    const row = left[at] as number;
    out.set(values.subarray(row * dim, (row + 1) * dim), place * dim);
  }
  return out;
}

/** The place in `left` of the row whose squared distance to `point` is least. */
function nearestOf(
  values: Float32Array,
  left: Uint32Array,
  count: number,
  point: Float32Array,
  dim: number,
): number {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < count; i++) {
    const start = (left[i] as number) * dim;
    let sum = 0;
    for (let j = 0; j < dim && sum < least; ) {
      const end = Math.min(dim, j + STRIDE);
      for (; j < end; j++) {
        const d = (point[j] as number) - (values[start + j] as number);
        sum += d * d;
      }
    }
    if (sum < least) {
      least = sum;
      best = i;
    }
  }
  return best;
}
