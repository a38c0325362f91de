// Vectors of texts, computed by the same model and from the same files as in the page.
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { MEANING_DIM } from "../src/models/encoder.mjs";
import { cached } from "./cache.mjs";
import { modelFingerprint } from "./models.mjs";
import { step } from "./progress.mjs";

const BATCH = 32;
/** A thread takes a second to start and 100 MB; more than these gain little. */
const MOST_THREADS = 8;

/** @returns {Promise<Float32Array[]>} 512 numbers of unit length a text */
export async function meaningsOf(name, texts) {
  const progress = step(`Embed ${texts.length} texts of ${name}`);
  const inputs = [await modelFingerprint(), ...texts];
  const { values, wasKept } = await cached(`meanings-${name}`, inputs, () => embedAll(texts, progress));
  progress.done(wasKept ? "kept from an earlier run" : undefined);
  return texts.map((_, i) => values.subarray(i * MEANING_DIM, (i + 1) * MEANING_DIM));
}

async function embedAll(texts, progress) {
  const all = new Float32Array(texts.length * MEANING_DIM);
  // Texts of one length together: each costs as much as the longest of its batch. Long ones first, so that threads end together.
  const order = texts.map((_, i) => i).sort((a, b) => texts[b].length - texts[a].length || a - b);
  const batches = [];
  for (let from = 0; from < order.length; from += BATCH) batches.push(order.slice(from, from + BATCH));

  const total = batches.length;
  const threads = Math.min(availableParallelism(), MOST_THREADS, Math.ceil(total / 8));
  await Promise.all(Array.from({ length: threads }, () => work(texts, batches, all, progress, total)));
  return all;
}

/** One thread takes batches while there are any. */
async function work(texts, batches, all, progress, total) {
  const worker = new Worker(new URL("./meanings-worker.mjs", import.meta.url));
  try {
    for (let rows = batches.shift(); rows; rows = batches.shift()) {
      const vectors = await ask(
        worker,
        rows.map((i) => texts[i]),
      );
      for (const [row, i] of rows.entries()) all.set(vectors[row], i * MEANING_DIM);
      progress.at(1 - batches.length / total);
    }
  } finally {
    await worker.terminate();
  }
}

function ask(worker, texts) {
  const answered = once(worker, "message"); // throws what the worker throws
  worker.postMessage(texts);
  return answered.then(([vectors]) => vectors);
}
