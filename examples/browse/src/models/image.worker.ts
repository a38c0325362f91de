/** Decodes a picture and describes it, away from the page: some cameras' pictures take a while. */
import { describePixels } from "../../../quickstart/descriptor.mjs";
import { answer } from "./errand.ts";

/** The pictures of the datasets are squares of this side. */
const SIDE = 64;

answer<Blob, Float32Array>(async (blob) => {
  // As the numbers stand in the file, like a decoder without colour profiles gives them.
  const picture = await createImageBitmap(blob, { colorSpaceConversion: "none" }).catch(() => {
    throw new Error("this is no picture that the browser can decode");
  });
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  if (context === null) throw new Error("this browser draws no pictures in workers");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, SIDE, SIDE);
  context.imageSmoothingQuality = "high";
  // All of the picture in the middle of the square, on white, as the others are.
  const scale = SIDE / Math.max(picture.width, picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  context.drawImage(picture, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
  picture.close();
  const { data } = context.getImageData(0, 0, SIDE, SIDE);
  return describePixels({ width: SIDE, height: SIDE, channels: 4, data });
});
