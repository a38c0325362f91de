// PNGs to numbers: decoded by fast-png, described by descriptor.mjs.

import { convertIndexedToRgb, decode } from "fast-png";
import { describePixels } from "./descriptor.mjs";

/**
 * @param {Uint8Array} png any 8-bit PNG
 * @returns {Float32Array} see describePixels
 */
export function describeImage(png) {
  const image = decode(png);
  const { width, height, palette } = image;
  return palette
    ? describePixels({ width, height, channels: palette[0].length, data: convertIndexedToRgb(image) })
    : describePixels(image);
}
