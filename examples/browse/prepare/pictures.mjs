// Pictures of the emoji: described as in the page, and mirrored.
import { convertIndexedToRgb, decode, encode } from "fast-png";
import { describePixels } from "../../quickstart/descriptor.mjs";

/** @returns {{ width: number, height: number, channels: number, data: Uint8Array }} */
export function pixelsOf(png) {
  const image = decode(png);
  if (!image.palette) return image;
  const { width, height, palette } = image;
  return { width, height, channels: palette[0].length, data: convertIndexedToRgb(image) };
}

/** @returns {Float32Array} 320 numbers, see describePixels */
export function lookOf(png) {
  return describePixels(pixelsOf(png));
}

/** The picture as a mirror shows it. */
export function mirrored(png) {
  const { width, height, channels, data } = pixelsOf(png);
  const flipped = new Uint8Array(width * height * channels);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const x = pixel % width;
    const from = (pixel - x + (width - 1 - x)) * channels;
    flipped.set(data.subarray(from, from + channels), pixel * channels);
  }
  return encode({ width, height, channels, data: flipped });
}
