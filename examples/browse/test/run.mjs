// `npm test [-- --grep words] [--verbose] [--built]`: the page as it is built, in Debian's Chromium, against real buckets.
// What is not installed fails in CI; elsewhere it is skipped, and counted so. Ends with "N passed, N failed[, N skipped]".
import { existsSync } from "node:fs";
import { ENGINES } from "../../../conformance/engines/engines.mjs";
import { howToInstall } from "../../../conformance/engines/install.mjs";

const engine = ENGINES.find(({ id }) => id === "chromium");
const located = engine.locate();
const lacks = [
  existsSync(new URL("../node_modules/.package-lock.json", import.meta.url))
    ? undefined
    : "the example's packages: npm ci --ignore-scripts --prefix examples/browse",
  located === undefined ? `Chromium: ${howToInstall(engine)}` : undefined,
].filter((lack) => lack !== undefined);

if (lacks.length === 0) {
  const { runSuite } = await import("./suite.mjs");
  await runSuite(located);
} else {
  const isFailure = process.env.CI === "true";
  for (const lack of lacks) console.log(`${isFailure ? "FAILED" : "SKIPPED"}  not installed: ${lack}`);
  console.log(isFailure ? "0 passed, 1 failed" : "0 passed, 0 failed, 1 skipped");
  process.exitCode = isFailure ? 1 : 0;
}
