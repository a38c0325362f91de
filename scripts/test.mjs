// The whole check, as `npm test` and CI run it: build, lint and types, tests, conformance vectors on both builds of
// the compute core, the determinism matrix (on all engines in CI, elsewhere on this Node alone: `npm run engines` does
// the rest), pages in real browsers, the browse example in Chromium (where its packages are installed, as in CI), and the suites on real object stores (in CI, elsewhere with DREAMDB_TEST_S3=1 or as `npm run test:s3`: they
// need Debian's packages of Ceph and Swift, and some minutes). Ends with one line, "N passed, N failed[, N skipped]", and exits non-zero on any failure.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const scratch = mkdtempSync(join(tmpdir(), "dreamdb-test-"));
const jestResults = join(scratch, "jest.json");
const totals = { passed: 0, failed: 0, skipped: 0 };

step("build", "npm", ["run", "-s", "build"]);
step("lint", "npx", ["biome", "check", "--error-on-warnings", "."]);
step("types", "npx", ["tsc", "-p", "tsconfig.test.json"]);
runJest();
runCounted("conformance vectors", ["conformance/run.mjs"]);
runCounted("engines", [
  "conformance/engines/run.mjs",
  ...(process.env.CI === "true" ? ["--required"] : ["--only", "node"]),
]);
// Browsers that are not installed fail in CI; elsewhere they are skipped, and counted so.
runCounted("pages in browsers", ["scripts/test-browser.mjs"]);
if (process.env.CI === "true")
  step("install the browse example", "npm", ["ci", "--ignore-scripts", "--prefix", "examples/browse"]);
runCounted("browse example", ["examples/browse/test/run.mjs"]);
if (process.env.CI === "true" || process.env.DREAMDB_TEST_S3 === "1") {
  runCounted("real object stores", ["scripts/test-s3.mjs"]);
}
rmSync(scratch, { recursive: true, force: true });

const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : "";
console.log(`${totals.passed} passed, ${totals.failed} failed${skipped}`);
process.exit(totals.failed > 0 ? 1 : 0);

function heading(name) {
  console.log(`\n── ${name}, ${Math.round(process.uptime())} s after the start`);
}

/** One command that counts as one check; the rest goes on after a failure of lint or types, not of the build. */
function step(name, command, args) {
  heading(name);
  const { status } = spawnSync(command, args, { stdio: "inherit" });
  if (status === 0) {
    totals.passed++;
    return;
  }
  totals.failed++;
  if (name === "build") {
    console.log(`${totals.passed} passed, ${totals.failed} failed`);
    process.exit(1);
  }
}

function runJest() {
  heading("tests");
  const args = [
    "--experimental-vm-modules",
    "--no-warnings",
    "node_modules/jest/bin/jest.js",
    "--json",
    `--outputFile=${jestResults}`,
  ];
  spawnSync(process.execPath, [...args, ...process.argv.slice(2)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const results = readResults();
  if (results === undefined) {
    console.log("jest ended without results");
    totals.failed++;
    return;
  }
  totals.passed += results.numPassedTests;
  totals.failed += results.numFailedTests + results.numRuntimeErrorTestSuites;
  totals.skipped += results.numPendingTests + results.numTodoTests;
}

function readResults() {
  try {
    return JSON.parse(readFileSync(jestResults, "utf8"));
  } catch {
    return undefined;
  }
}

/** A program that counts its own checks and says so in its last line. */
function runCounted(name, args) {
  heading(name);
  const { status, stdout } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 2 ** 26,
  });
  const counts = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/m.exec(stdout);
  process.stdout.write(stdout);
  totals.passed += Number(counts?.[1] ?? 0);
  totals.failed += Number(counts?.[2] ?? 0);
  totals.skipped += Number(counts?.[3] ?? 0);
  if (counts === null || (status !== 0 && Number(counts[2]) === 0)) totals.failed++;
}
