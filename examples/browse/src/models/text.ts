/** The text model of the page: texts and records of `meaning` are compared in one space, see prepare/meanings.mjs. */
import { Errands } from "./errand.ts";
import type { TextRequest } from "./text.worker.ts";

export interface TextModel {
  /** 512 numbers of unit length; all zero for a text of nothing but spaces. */
  embed(text: string): Promise<Float32Array>;
}

const errands = new Errands<TextRequest, Float32Array | undefined>(
  () => new Worker(new URL("./text.worker.ts", import.meta.url), { type: "module" }),
);

/**
 * Downloads the model, 14 MB in all, unless it is there already, and starts it in a worker of its own.
 * @param onProgress how much of it is there, 0 to 1
 * Errors: that a file of the model could not be read.
 */
export async function loadTextModel(onProgress: (share: number) => void = () => {}): Promise<TextModel> {
  const folder = new URL("models/", document.baseURI).href;
  await errands.run({ folder }, onProgress);
  return {
    async embed(text) {
      return (await errands.run({ folder, text })) as Float32Array;
    },
  };
}
