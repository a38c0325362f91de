// The centroids of an index, in three forms: one-bit codes relative to their mean (to find the few hundred worth a
// closer look), i16 levels (for ⟨q, c⟩ to about 10^−5: a quarter of the time of f32 rows), and |c|².

import {
  INDEX_CELLS, INDEX_CENTROID_BLOCKS, INDEX_CENTROID_LEVELS, INDEX_CENTROID_SQUARES, INDEX_CENTROID_STEP, INDEX_DIM, INDEX_METRIC,
  INDEX_PADDED, INDEX_ROTATION_KIND, INDEX_ROTATION_TABLE, METRIC_DOT,
} from "../src/layout/ivf";
import { clearBlock, placeRow } from "./ivf-cells";
import { blockBytes } from "./ivf-scan";
import { rotate } from "./rotation";

const code = memory.data(8192 + 8, 64); // signs of one centroid, then its A1 and F1

/** Makes the three forms. centroids: cells × dim f32. scratch: (dim + 2·D) × f32. */
export function ivfLoadCentroids(index: usize, centroids: usize, scratch: usize): void {
  const cells = load<u32>(index, INDEX_CELLS), dim = load<u32>(index, INDEX_DIM), padded = load<u32>(index, INDEX_PADDED);
  quantiseCentroids(index, centroids, cells, dim);
  const mean = scratch, meanRotated = mean + (<usize>dim << 2), rotated = meanRotated + (<usize>padded << 2);
  meanOf(centroids, cells, dim, mean);
  const kind = load<u32>(index, INDEX_ROTATION_KIND), table = load<usize>(index, INDEX_ROTATION_TABLE);
  rotate(kind, table, dim, padded, mean, 1, meanRotated);
  const squares = load<usize>(index, INDEX_CENTROID_SQUARES);
  const weight: f32 = load<u32>(index, INDEX_METRIC) == METRIC_DOT ? 0 : 0.5;
  for (let c: u32 = 0; c < cells; c++) {
    const block = load<usize>(index, INDEX_CENTROID_BLOCKS) + <usize>(c >> 5) * blockBytes(padded);
    if ((c & 31) == 0) clearBlock(block, padded);
    rotate(kind, table, dim, padded, centroids + (<usize>c * dim << 2), 1, rotated);
    encode(rotated, meanRotated, padded, weight * load<f32>(squares + (<usize>c << 2)));
    placeRow(block, c & 31, code, padded, code + (padded >> 3));
  }
}

function meanOf(rows: usize, n: u32, dim: u32, out: usize): void {
  for (let i: usize = 0; i < <usize>dim << 2; i += 4) {
    let sum: f64 = 0;
    for (let r: usize = 0; r < n; r++) sum += load<f32>(rows + (r * dim << 2) + i);
    store<f32>(out + i, <f32>(sum / <f64>n));
  }
}

/** As a row's one-bit code (A1 less `lower`), with the mean in the centroid's place. What doesn't fit is clamped. */
function encode(z: usize, mean: usize, padded: u32, lower: f32): void {
  let rn: f64 = 0, l1: f64 = 0, cr: f64 = 0, cb: f64 = 0;
  for (let t: u32 = 0; t < padded; t += 8) {
    let bits: u32 = 0;
    for (let b: u32 = 0; b < 8; b++) {
      const at = <usize>(t + b) << 2;
      const m = <f64>load<f32>(mean + at), r = <f64>load<f32>(z + at) - m;
      rn += r * r;
      l1 += abs(r);
      cr += m * r;
      cb += r >= 0 ? m : -m;
      bits |= u32(r >= 0) << b;
    }
    store<u8>(code + (t >> 3), <u8>bits);
  }
  const scale = 1 / sqrt<f64>(<f64>padded);
  const f = l1 > 0 ? rn / (l1 * scale) : 0;
  const a = cr - f * cb * scale - <f64>lower;
  store<i16>(code + (padded >> 3), <i16>max<f64>(-32767, min<f64>(32767, nearest<f64>(a * 16384))));
  store<i16>(code + (padded >> 3), <i16>min<f64>(32767, nearest<f64>(f * 16384)), 2);
}

/** Levels of which the longest centroid has a length of 32,767, so that sums of products with a query's stay in i32. */
function quantiseCentroids(index: usize, centroids: usize, cells: u32, dim: u32): void {
  const squares = load<usize>(index, INDEX_CENTROID_SQUARES);
  let most: f64 = 0;
  for (let c: usize = 0; c < cells; c++) {
    let sum: f64 = 0;
    for (let i: usize = 0; i < dim; i++) {
      const x = <f64>load<f32>(centroids + ((c * dim + i) << 2));
      sum += x * x;
    }
    store<f32>(squares + (c << 2), <f32>sum);
    most = max(most, sum);
  }
  const scale: f64 = most > 0 ? 32767 / sqrt(most) : 0;
  store<f32>(index, scale > 0 ? <f32>(1 / scale) : 0, INDEX_CENTROID_STEP);
  const stride = <usize>((dim + 7) & ~7) << 1;
  let to = load<usize>(index, INDEX_CENTROID_LEVELS);
  for (let c: usize = 0; c < cells; c++) {
    memory.fill(to, 0, stride);
    for (let i: usize = 0; i < dim; i++) {
      store<i16>(to + (i << 1), <i16>nearest<f64>(<f64>load<f32>(centroids + ((c * dim + i) << 2)) * scale));
    }
    to += stride;
  }
}
