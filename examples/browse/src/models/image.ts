/** What a picture looks like, as numbers that are compared with those of `look`, see prepare/pictures.mjs. */
import { Errands } from "./errand.ts";

const errands = new Errands<Blob, Float32Array>(
  () => new Worker(new URL("./image.worker.ts", import.meta.url), { type: "module" }),
);

/**
 * 320 numbers of unit length, of any picture that the browser can decode; all zero for one that is white all over.
 * Errors: that it can't be decoded.
 */
export function describeImage(blob: Blob): Promise<Float32Array> {
  return errands.run(blob);
}
