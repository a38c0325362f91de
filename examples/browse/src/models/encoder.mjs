// The sentence encoder, for Node and pages alike: text in, 512 numbers of unit length out. Texts that mean the same have a
// small cosine distance. It is the lite Universal Sentence Encoder (Cer et al., 2018), run by TensorFlow.js in WebAssembly.

import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { loadGraphModel } from "@tensorflow/tfjs-converter";
import { env, setBackend, tensor1d, tensor2d } from "@tensorflow/tfjs-core";
import { Tokenizer } from "@tensorflow-models/universal-sentence-encoder";

export const MEANING_DIM = 512;

/** Cost grows with the square of a text's length, and what comes after a few sentences adds little. */
const LONGEST_TEXT = 1000;

/**
 * @typedef {{ modelTopology: object, weightSpecs: object[], vocabulary: [piece: string, score: number][] }} Description
 * @param {Description} description encoder.json of prepare/models.mjs
 * @param {ArrayBuffer} weights encoder.bin
 * @param {string} wasmFolder the folder or URL of TensorFlow's .wasm files, with a slash at its end
 */
export async function createEncoder({ modelTopology, weightSpecs, vocabulary }, weights, wasmFolder) {
  // Threads would want a cross-origin isolated page, and start their workers from blob: URLs, which a strict policy refuses.
  env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  setWasmPaths(wasmFolder);
  if (!(await setBackend("wasm"))) throw new Error("TensorFlow's WebAssembly backend does not start");
  const artifacts = { modelTopology, weightSpecs, weightData: weights };
  const model = await loadGraphModel({ load: async () => artifacts });
  const tokenizer = new Tokenizer(vocabulary);

  return {
    /**
     * @param {string[]} texts
     * @returns {Promise<Float32Array[]>} one vector a text; of a text without any characters all zero
     */
    async embedMany(texts) {
      const vectors = texts.map(() => new Float32Array(MEANING_DIM));
      const pieces = texts.map((text) => tokenizer.encode(plain(text)));
      const rows = vectors.map((_, i) => i).filter((i) => pieces[i].length > 0);
      if (rows.length === 0) return vectors;
      const indices = tensor2d(
        rows.flatMap((i, row) => pieces[i].map((_, at) => [row, at])),
        undefined,
        "int32",
      );
      const values = tensor1d(
        rows.flatMap((i) => pieces[i]),
        "int32",
      );
      const output = await model.executeAsync({ indices, values });
      const flat = await output.data();
      for (const tensor of [indices, values, output]) tensor.dispose();
      for (const [row, i] of rows.entries())
        vectors[i].set(flat.subarray(row * MEANING_DIM, (row + 1) * MEANING_DIM));
      return vectors;
    },
  };
}

/** Case and runs of spaces say nothing in a search box, but would change the vector. */
function plain(text) {
  return text.trim().slice(0, LONGEST_TEXT).toLowerCase().replace(/\s+/g, " ");
}
