// Numbers that take long to compute, kept in out/cache/ by what they were computed from. NO_CACHE=1 computes them all anew.
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../out/cache/", import.meta.url));

/**
 * @param {string} name for people who look into the folder
 * @param {(string | ArrayBufferView)[]} inputs all that the result depends on
 * @param {() => Promise<Float32Array>} compute
 * @returns {Promise<{ values: Float32Array, wasKept: boolean }>}
 */
export async function cached(name, inputs, compute) {
  const hash = createHash("sha256");
  // Lengths between the parts: ["ab", "c"] is not ["a", "bc"].
  for (const input of inputs) hash.update(`${input.length ?? input.byteLength}:`).update(input);
  const path = join(FOLDER, `${name}-${hash.digest("hex").slice(0, 16)}.f32`);
  if (process.env.NO_CACHE === "1") return { values: await compute(), wasKept: false };
  const kept = await readFile(path).catch((error) => {
    if (error.code !== "ENOENT") throw error;
  });
  if (kept) return { values: new Float32Array(Uint8Array.from(kept).buffer), wasKept: true };
  const values = await compute();
  await mkdir(FOLDER, { recursive: true });
  // Under its name only when it is whole.
  await writeFile(`${path}.part`, values);
  await rename(`${path}.part`, path);
  return { values, wasKept: false };
}
