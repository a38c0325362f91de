// The suites that need real object stores: `npm run test:s3 [-- arguments for jest]`. Starts Ceph's gateway and Swift,
// runs the store suite and the dataset suites against them, and stops them. A missing package is a failure.
// DREAMDB_TEST_S3_URL names an S3 server that runs already; Ceph is then not started (AWS_* must be set).
import { spawnSync } from "node:child_process";

const servers = [];
process.exitCode = run();

function run() {
  try {
    const env = { ...process.env };
    if (env.DREAMDB_TEST_S3_URL === undefined) {
      Object.assign(env, start("rgw"));
      env.DREAMDB_TEST_S3_URL = env.AWS_ENDPOINT_URL;
    }
    const swift = start("swift");
    env.DREAMDB_TEST_SWIFT = JSON.stringify(swift);
    const began = performance.now();
    const jest = ["--experimental-vm-modules", "--no-warnings", "node_modules/jest/bin/jest.js"];
    const args = [...jest, "-c", "jest.s3.config.json", ...process.argv.slice(2)];
    const { status } = spawnSync(process.execPath, args, { stdio: "inherit", env });
    console.log(`against real object stores: ${Math.round((performance.now() - began) / 1000)} s`);
    return status ?? 1;
  } catch (error) {
    console.error(error.message);
    return 1;
  } finally {
    for (const name of servers) spawnSync("bash", [`scripts/${name}.sh`, "stop"], { stdio: "inherit" });
  }
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
