// What runs inside an engine: all vectors and the stress digests, on both builds of the compute core. The entry that
// bundle.mjs writes hands it the library and the vector files.
import { hash } from "../../build/vendor/blake3.js";
import { checksOf } from "../checks.mjs";
import { toHex } from "../notation.mjs";
import { FILLS, output, RECIPES, SHAPES, withInput } from "./stress.mjs";

const MODES = ["scalar", "simd"];

/**
 * `called` names the kernels that ran at all, `stressed` those of them that ran under stress.
 * @param lib the library's functions, `loadKernels` among them
 * @param vectorFiles name → content
 * @returns `auto`, the mode the library chooses by itself; `scalar` and `simd`, of each mode
 *   { passed, failures, digests, called, stressed, seconds }, or { lacking: true }, or { error }
 */
export async function runAll(lib, vectorFiles) {
  const results = { auto: (await lib.loadKernels("auto", { fresh: true })).mode };
  for (const mode of MODES) {
    try {
      const lacking = mode === "simd" && !lib.hasSimd();
      results[mode] = lacking ? { lacking } : await runBuild(lib, vectorFiles, mode);
    } catch (error) {
      results[mode] = { error: textOf(error) };
    }
  }
  return results;
}

async function runBuild(lib, vectorFiles, mode) {
  const start = Date.now();
  const kernels = await lib.loadKernels(mode, { fresh: true });
  const called = new Set();
  kernels.exports = counted(kernels.exports, called);
  if (kernels.mode !== mode || kernels.exports.isSimd() !== (mode === "simd" ? 1 : 0))
    throw new Error(`asked for the ${mode} build, got another`);

  const digests = await stress(kernels);
  const afterStress = kernels.live().blocks;
  const stressed = new Set(called);
  const { passed, failures } = await runVectors(lib, vectorFiles, kernels, mode);
  // One block is the instance's own.
  for (const blocks of [afterStress, kernels.live().blocks])
    if (blocks !== 1) failures.push(`${mode}: ${blocks - 1} blocks of memory were not freed`);

  const seconds = (Date.now() - start) / 1000;
  return { passed, failures, digests, called: [...called], stressed: [...stressed], seconds };
}

/** Recipe → digest of its outputs over all fills and shapes, by a hash that is not one of the kernels. */
async function stress(kernels) {
  const outputs = {};
  for (const fill of Object.values(FILLS))
    for (const shape of SHAPES)
      await withInput(kernels, fill, shape, async (input) => {
        for (const [name, prepare] of Object.entries(RECIPES)) {
          outputs[name] ??= "";
          outputs[name] += toHex(hash(await output(kernels, prepare, input)));
        }
      });
  return Object.fromEntries(Object.entries(outputs).map(([name, hashes]) => [name, hashOfText(hashes)]));
}

function hashOfText(text) {
  return toHex(hash(Uint8Array.from(text, (char) => char.charCodeAt(0))));
}

async function runVectors(lib, vectorFiles, kernels, mode) {
  const passed = {};
  const failures = [];
  lib.useBulkHasher((bytes) => kernels.hashBytes(bytes));
  for (const [file, vectors] of Object.entries(vectorFiles)) {
    passed[file] = 0;
    for (const { name, run } of checksOf(file, vectors, lib, kernels)) {
      try {
        await run();
        passed[file]++;
      } catch (error) {
        failures.push(`${file}, ${mode}, ${name}: ${textOf(error)}`);
      }
    }
  }
  return { passed, failures };
}

/** The same exports, noting the names of those that are called. */
function counted(exports, called) {
  const counting = {};
  for (const [name, value] of Object.entries(exports)) {
    counting[name] = value;
    if (typeof value !== "function") continue;
    counting[name] = (...args) => {
      called.add(name);
      return value(...args);
    };
  }
  return counting;
}

function textOf(error) {
  return `${error?.name}: ${error?.message}\n${error?.stack ?? ""}`.slice(0, 800);
}
