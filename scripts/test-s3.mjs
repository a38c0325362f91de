// The suites that need real object stores: `npm run test:s3 [-- --full] [-- arguments for jest]`. Starts Ceph's gateway and
// Swift, runs the store suite and the dataset suites against them, then pages in browsers against Ceph, unless there are arguments
// for jest, and stops them. A missing package is a failure; a missing browser is one in CI.
// --full has 16 processes append 50 times each to one ref, kills a cluster ten times, and takes some ten minutes more.
// The last line is "N passed, N failed[, N skipped]".
// DREAMDB_TEST_S3_URL names an S3 server that runs already; Ceph is then not started (AWS_* must be set).
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const servers = [];
const own = process.argv.slice(2).filter((arg) => arg !== "--full");
const scratch = mkdtempSync(join(tmpdir(), "dreamdb-s3-"));
const results = join(scratch, "jest.json");
process.exitCode = run();
rmSync(scratch, { recursive: true, force: true });

function run() {
  try {
    const env = { ...process.env };
    if (process.argv.includes("--full")) env.DREAMDB_TEST_FULL = "1";
    if (env.DREAMDB_TEST_S3_URL === undefined) {
      Object.assign(env, start("rgw"));
      env.DREAMDB_TEST_S3_URL = env.AWS_ENDPOINT_URL;
    }
    const swift = start("swift");
    env.DREAMDB_TEST_SWIFT = JSON.stringify(swift);
    const began = performance.now();
    const jest = ["--experimental-vm-modules", "--no-warnings", "node_modules/jest/bin/jest.js"];
    // One file at a time: they share the servers, and the figures that they print are worth more.
    const args = [...jest, "-i", "-c", "jest.s3.config.json", "--json", `--outputFile=${results}`, ...own];
    const { status } = spawnSync(process.execPath, args, { stdio: ["inherit", "ignore", "inherit"], env });
    console.log(`against real object stores: ${Math.round((performance.now() - began) / 1000)} s`);
    return report(status ?? 1, own.length > 0 ? { passed: 0, failed: 0, skipped: 0 } : runPages(env));
  } catch (error) {
    console.error(error.message);
    console.log("0 passed, 1 failed");
    return 1;
  } finally {
    for (const name of servers) spawnSync("bash", [`scripts/${name}.sh`, "stop"], { stdio: "inherit" });
  }
}

/** Pages in browsers against the gateway: their counts. They are of the library as it was built last. */
function runPages(env) {
  const began = performance.now();
  const args = ["--no-warnings", "scripts/test-browser.mjs", "--ceph"];
  const { status, stdout } = spawnSync(process.execPath, args, {
    env,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  const counts = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/m.exec(stdout);
  process.stdout.write(stdout.replace(counts?.[0] ?? "", ""));
  console.log(`pages against Ceph: ${Math.round((performance.now() - began) / 1000)} s`);
  const [, passed = 0, failed = 0, skipped = 0] = (counts ?? []).map((text) => Number(text ?? 0));
  const isLost = counts === null || (status !== 0 && failed === 0);
  return { passed, failed: failed + (isLost ? 1 : 0), skipped };
}

function report(status, pages) {
  const found = JSON.parse(readFileSync(results, "utf8"));
  const failed = found.numFailedTests + found.numRuntimeErrorTestSuites;
  const skipped = found.numPendingTests + found.numTodoTests + pages.skipped;
  // Nothing run is a failure.
  const others = failed === 0 && (status !== 0 || found.numPassedTests === 0) ? 1 : 0;
  const all = { passed: found.numPassedTests + pages.passed, failed: failed + others + pages.failed };
  console.log(`${all.passed} passed, ${all.failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  return all.failed > 0 ? 1 : 0;
}

/** Starts a server and gives what it says to export. */
function start(name) {
  const script = `scripts/${name}.sh`;
  const began = performance.now();
  // One that somebody has started already is used, and left to them.
  if (spawnSync("bash", [script, "status"]).status !== 0) servers.push(name);
  const { status } = spawnSync("bash", [script, "start"], { stdio: "inherit" });
  if (status !== 0) throw new Error(`${script} start failed; ${script} install brings the packages`);
  console.log(`${name}: up after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  const { stdout } = spawnSync("bash", [script, "env"], { encoding: "utf8" });
  return Object.fromEntries(
    stdout
      .trim()
      .split(/\s+/)
      .slice(1)
      .map((pair) => pair.split(/=(.*)/).slice(0, 2)),
  );
}
