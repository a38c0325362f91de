// Every kernel in both builds: how much faster SIMD is, and whether the outputs are the same bits, over
// ordinary values and over ones made to bring out any difference in order or rounding.

import { loadKernels } from "../build/lib/kernels/load.js";
import { FILLS, output, RECIPES, SHAPES, withInput } from "../conformance/engines/stress.mjs";
import { compare, ratio } from "./timing.mjs";

const builds = [await loadKernels("scalar", { fresh: true }), await loadKernels("simd", { fresh: true })];
/** Rows × dimensions of what is timed. */
const TIMED = { n: 2000, dim: 100 };

let failures = 0;
console.log(`${"kernel".padEnd(48)} ${"SIMD / scalar".padStart(13)}   bits`);
for (const [name, prepare] of Object.entries(RECIPES)) {
  const differing = [];
  for (const [fill, value] of Object.entries(FILLS)) if (!(await same(prepare, value))) differing.push(fill);
  const verdict = differing.length === 0 ? "identical" : `DIFFERENT for ${differing.join(", ")}`;
  console.log(`${name.padEnd(48)} ${(await gain(prepare)).padStart(13)}   ${verdict}`);
  failures += differing.length;
}
process.exitCode = failures === 0 ? 0 : 1;

/** How many times faster SIMD is; what takes turns with other work is not timed. */
async function gain(prepare) {
  const [scalar, simd] = await Promise.all(
    builds.map((kernels) =>
      withInput(kernels, FILLS.ordinary, TIMED, (input) => prepare(kernels, input).run, true),
    ),
  );
  if (scalar() instanceof Promise) return "–";
  const taken = compare({ scalar, simd }, { rounds: 7, minSampleMs: 20 });
  return `${ratio(taken.scalar, taken.simd)}×`;
}

/** Whether both builds give the same bits for a fill, in all shapes. */
async function same(prepare, fill) {
  for (const shape of SHAPES) {
    const outputs = builds.map((kernels) =>
      withInput(kernels, fill, shape, (input) => output(kernels, prepare, input)),
    );
    const [scalar, simd] = await Promise.all(outputs);
    if (!Buffer.from(scalar).equals(simd)) return false;
  }
  return true;
}
