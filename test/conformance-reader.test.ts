/**
 * A reader written from spec/ alone, in Python, reads what the library writes: conformance/check-reader.mjs. It needs
 * python3-cbor2, python3-numpy and b3sum; without them the test fails in CI, and is skipped elsewhere under a name that says so.
 */
import { spawnSync } from "node:child_process";
import { expect, test } from "@jest/globals";

const TOOLS_MISSING = 3;
const install = "apt-get install -y --no-install-recommends python3-cbor2 python3-numpy b3sum";

const missing = [
  { name: "python3-cbor2", command: "/usr/bin/python3", args: ["-c", "import cbor2"] },
  { name: "python3-numpy", command: "/usr/bin/python3", args: ["-c", "import numpy"] },
  { name: "b3sum", command: "b3sum", args: ["--version"] },
]
  .filter(({ command, args }) => spawnSync(command, args).status !== 0)
  .map(({ name }) => name)
  .join(" and ");

if (missing !== "" && !process.env.CI) {
  console.warn(`NOT CHECKED against the independent reader: ${missing} missing. ${install}`);
  test.skip(`SKIPPED, ${missing} missing (${install}): the independent reader reads every value`, () => {});
} else {
  test("the independent reader reads every value, and reports all damage", () => {
    const run = spawnSync(process.execPath, ["conformance/check-reader.mjs"], { encoding: "utf8" });
    const output = `${run.stdout}${run.stderr}`;
    if (run.status === TOOLS_MISSING) throw new Error(`CI must have the tools. ${output}`);
    expect(run.status === 0 ? "" : output).toBe("");
    expect(run.stdout).toContain("reader.py and the library agree");
    expect(run.stdout).not.toContain("MISMATCH");
  }, 600_000);
}
