// Bundles the explorer with the library as it is now and runs it. With --mutant NAME a fault is planted in the source on
// its way into the bundle, so that the explorer can be seen to catch it; the files themselves stay as they are.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { MUTANTS } from "./mutants.mjs";

const args = process.argv.slice(2);
const at = args.indexOf("--mutant");
const [, mutant] = at < 0 ? [] : args.splice(at, 2);
if (mutant !== undefined && MUTANTS[mutant] === undefined) {
  console.error(`no such mutant; there are: ${Object.keys(MUTANTS).join(", ")}`);
  process.exit(2);
}

// Below build/, so that the bundle finds the compute core by the package's own imports.
const out = mkdtempSync(resolve("build/explore-"));
try {
  const bundle = join(out, "explore.mjs");
  await build({
    entryPoints: ["test/sim/explore.ts"],
    outfile: bundle,
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "error",
    plugins: mutant === undefined ? [] : [planting(MUTANTS[mutant])],
  });
  const { status } = spawnSync(process.execPath, [bundle, ...args], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} finally {
  rmSync(out, { recursive: true, force: true });
}

/** Replaces texts of source files; each must be there once, or the mutant has outlived what it changes. */
function planting({ file, changes }) {
  return {
    name: "planting",
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        if (!path.endsWith(file)) return undefined;
        let contents = await readFile(path, "utf8");
        for (const [from, to] of changes) {
          if (contents.split(from).length !== 2) throw new Error(`${file} does not have once: ${from}`);
          contents = contents.replace(from, () => to);
        }
        return { contents, loader: "ts" };
      });
    },
  };
}
