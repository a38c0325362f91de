// A small image descriptor, 320 numbers: where the colours are, and which way the edges run. It runs in pages too.

export const LOOK_DIM = 320;

const COLOUR_GRID = 8; // 8 × 8 cells × mean (r, g, b)           = 192 numbers
const EDGE_GRID = 4; //   4 × 4 cells × histogram of 8 directions = 128 numbers
const DIRECTIONS = 8;

/**
 * @param {{ width: number, height: number, channels: number, data: ArrayLike<number> }} picture samples 0 … 255, row by row
 *   from the top; channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA
 * @returns {Float32Array} 320 numbers of unit length: similar pictures have a small cosine distance
 */
export function describePixels(picture) {
  const { width, height, rgb } = inkOnWhite(picture);
  const look = new Float32Array(LOOK_DIM);
  look.set(unit(colourMeans(rgb, width, height)), 0);
  look.set(unit(edgeHistograms(rgb, width, height)), COLOUR_GRID ** 2 * 3);
  return unit(look);
}

/** Lays the picture over white and measures each channel as its difference from white, 0 … 1: empty paper is 0. */
function inkOnWhite({ width, height, channels, data }) {
  const rgb = new Float32Array(width * height * 3);
  const colours = channels < 3 ? 1 : 3;
  const hasAlpha = channels === colours + 1;
  for (let pixel = 0; pixel < width * height; pixel++) {
    const at = pixel * channels;
    const alpha = hasAlpha ? data[at + colours] / 255 : 1;
    for (let c = 0; c < 3; c++) {
      rgb[pixel * 3 + c] = alpha * (1 - data[at + Math.min(c, colours - 1)] / 255);
    }
  }
  return { width, height, rgb };
}

function colourMeans(rgb, width, height) {
  const means = new Float32Array(COLOUR_GRID ** 2 * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const cell = cellOf(x, width, COLOUR_GRID) + COLOUR_GRID * cellOf(y, height, COLOUR_GRID);
      for (let c = 0; c < 3; c++) means[cell * 3 + c] += rgb[(y * width + x) * 3 + c];
    }
  }
  return means; // sums rather than means: the caller scales to unit length
}

/** Histogram of oriented gradients (Dalal and Triggs, 2005), without their block normalisation. */
function edgeHistograms(rgb, width, height) {
  const histograms = new Float32Array(EDGE_GRID ** 2 * DIRECTIONS);
  const ink = (x, y) => {
    const at = (y * width + x) * 3;
    return 0.299 * rgb[at] + 0.587 * rgb[at + 1] + 0.114 * rgb[at + 2];
  };
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const dx = ink(x + 1, y) - ink(x - 1, y);
      const dy = ink(x, y + 1) - ink(x, y - 1);
      const strength = Math.hypot(dx, dy);
      if (strength === 0) continue;
      // A direction and its opposite are the same edge; its strength is shared between the two nearest bins.
      const turn = ((Math.atan2(dy, dx) / Math.PI + 1) % 1) * DIRECTIONS;
      const bin = Math.floor(turn) % DIRECTIONS;
      const share = turn - Math.floor(turn);
      const cell = (cellOf(x, width, EDGE_GRID) + EDGE_GRID * cellOf(y, height, EDGE_GRID)) * DIRECTIONS;
      histograms[cell + bin] += strength * (1 - share);
      histograms[cell + ((bin + 1) % DIRECTIONS)] += strength * share;
    }
  }
  return histograms.map(Math.sqrt); // one strong outline should not drown the rest
}

function cellOf(position, size, grid) {
  return Math.floor((position * grid) / size);
}

/** Scales to length 1; a blank picture has no direction and stays all zero. */
function unit(values) {
  const length = Math.hypot(...values);
  return length > 0 ? values.map((value) => value / length) : values;
}
