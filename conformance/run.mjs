// Runs every vector file of this directory against the built library, once with each build of the compute core.
// Prints a table and, last, "N passed, N failed"; exits with 1 when anything failed. Arguments choose files:
// `node conformance/run.mjs cbor.json`.
import { readdirSync, readFileSync } from "node:fs";
import { checksOf, MODULES } from "./checks.mjs";

const library = new URL("../build/lib/", import.meta.url);
const load = (module) => import(new URL(`${module}.js`, library));
const lib = Object.assign({}, ...(await Promise.all(MODULES.map(load))));
const { loadKernels } = await load("kernels/load");

const here = new URL(".", import.meta.url);
const chosen = process.argv.slice(2);
const files = readdirSync(here)
  .filter((name) => name.endsWith(".json") && name !== "http.json")
  .sort();
const totals = { passed: 0, failed: 0 };
const failures = [];

console.log(row("vectors", "core", "passed", "failed"));
for (const file of files.filter((name) => chosen.length === 0 || chosen.includes(name))) {
  const vectors = JSON.parse(readFileSync(new URL(file, here), "utf8"));
  for (const mode of ["scalar", "simd"]) await runFile(file, vectors, mode);
}
for (const failure of failures) console.log(`\n${failure}`);
// Nothing run is a failure, so that a moved directory can't pass.
if (totals.passed + totals.failed === 0) totals.failed++;
console.log(`\n${totals.passed} passed, ${totals.failed} failed`);
process.exit(totals.failed > 0 ? 1 : 0);

async function runFile(file, vectors, mode) {
  let passed = 0;
  let failed = 0;
  for (const { name, run } of await checksFor(file, vectors, mode)) {
    try {
      await run();
      passed++;
    } catch (error) {
      failed++;
      failures.push(
        `${file}, ${mode}, ${name}\n  ${String(error.message ?? error).replaceAll("\n", "\n  ")}`,
      );
    }
  }
  totals.passed += passed;
  totals.failed += failed;
  console.log(row(file, mode, passed, failed));
}

/** The checks of a file; one that fails when they can't even be made. */
async function checksFor(file, vectors, mode) {
  try {
    const kernels = await loadKernels(mode, { fresh: true });
    lib.useBulkHasher((bytes) => kernels.hashBytes(bytes));
    return checksOf(file, vectors, lib, kernels);
  } catch (error) {
    return [
      {
        name: "all",
        run: () => {
          throw error;
        },
      },
    ];
  }
}

function row(file, mode, passed, failed) {
  return file.padEnd(16) + mode.padEnd(8) + String(passed).padStart(7) + String(failed).padStart(8);
}
