/** Runs the text model, so that the page stays free meanwhile: a text takes some 20 ms, the start up to a second. */
import { createEncoder } from "./encoder.mjs";
import { answer } from "./errand.ts";

export interface TextRequest {
  /** URL of the model's files, with a slash at its end. */
  folder: string;
  /** Left out where the model is only to be loaded. */
  text?: string;
}

type Encoder = Awaited<ReturnType<typeof createEncoder>>;

let encoder: Promise<Encoder> | undefined;

answer<TextRequest, Float32Array | undefined>(async ({ folder, text }, onProgress) => {
  encoder ??= load(folder, onProgress);
  try {
    await encoder;
  } catch (error) {
    encoder = undefined;
    throw error;
  }
  if (text === undefined) return undefined;
  return (await (await encoder).embedMany([text]))[0];
});

async function load(folder: string, onProgress: (share: number) => void): Promise<Encoder> {
  const description = await (await fetched(`${folder}encoder.json`)).json();
  const response = await fetched(`${folder}encoder.bin`);
  const weights = new Uint8Array(description.bytes as number);
  let at = 0;
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (at + part.value.length > weights.length)
      throw new Error("the text model's files do not fit together");
    weights.set(part.value, at);
    at += part.value.length;
    onProgress(at / weights.length);
  }
  if (at !== weights.length)
    throw new Error(`the text model broke off after ${at} of ${weights.length} bytes`);
  return createEncoder(description, weights.buffer, folder);
}

async function fetched(url: string): Promise<Response> {
  const response = await fetch(url).catch(() => undefined);
  if (response?.ok) return response;
  throw new Error(
    `the text model could not be read: ${url} ${response ? `answers ${response.status}` : "does not answer"}`,
  );
}
