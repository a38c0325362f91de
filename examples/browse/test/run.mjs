// The page as it is built, in a real browser, against real buckets: `npm test [-- --grep words]`, with --verbose for times.
// Chromium is Debian's: `npm run engines -- --install --only chromium` in the root. Ends with "N passed, N failed[, N skipped]".
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "vite";
import { ENGINES } from "../../../conformance/engines/engines.mjs";
import { howToInstall } from "../../../conformance/engines/install.mjs";
import { writeModels } from "../prepare/models.mjs";
import { tests } from "./harness.mjs";
import { SCREENS, startStage } from "./stage.mjs";
import "./opening.mjs";
import "./searching.mjs";
import "./history.mjs";
import "./map.mjs";
import "./keyboard.mjs";
import "./hostile.mjs";
import "./looks.mjs";
import "./data.mjs";
import "./models.mjs";

const { values: options } = parseArgs({
  options: {
    grep: { type: "string", default: "" },
    verbose: { type: "boolean" },
    built: { type: "boolean" },
  },
});
/** Tests beside each other. */
const AT_ONCE = 3;

const engine = ENGINES.find(({ id }) => id === "chromium");
const located = engine.locate();
if (located === undefined) {
  const isFailure = process.env.CI === "true";
  console.log(`${isFailure ? "FAILED" : "SKIPPED"}  Chromium is not installed: ${howToInstall(engine)}`);
  console.log(isFailure ? "0 passed, 1 failed" : "0 passed, 0 failed, 1 skipped");
  process.exit(isFailure ? 1 : 0);
}

const began = Date.now();
const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;
await writeModels();
if (!options.built) await build({ root: new URL("..", import.meta.url).pathname, logLevel: "error" });
const stage = await startStage(located.command[0]);
console.log(`built and prepared in ${seconds(began)}`);
let [passed, failed] = [0, 0];
const wanted = tests.filter(({ name }) => name.includes(options.grep));
const beside = wanted.filter(({ alone }) => !alone);
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (let next = beside.shift(); next !== undefined; next = beside.shift()) await runOne(next);
  }),
);
for (const each of wanted.filter(({ alone }) => alone)) await runOne(each);
await stage.close();
console.log(`Chromium ${located.version}: ${passed + failed} tests in ${seconds(began)}`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);

async function runOne({ name, run }) {
  const from = Date.now();
  const pages = [];
  const open = async (given) => {
    const page = await stage.open(given);
    pages.push(page);
    return page;
  };
  try {
    await run({ ...stage, open });
    for (const { wrongs } of pages)
      if (wrongs.length > 0) throw new Error(`the page did wrong:\n${wrongs.join("\n")}`);
    passed++;
    if (options.verbose) console.log(`ok      ${name} (${seconds(from)})`);
  } catch (error) {
    failed++;
    const more = pages.flatMap(({ wrongs }) => wrongs).join("\n");
    console.log(`FAILED  ${name} (${seconds(from)})\n${error.stack}${more === "" ? "" : `\nand\n${more}`}`);
    await pages
      .at(-1)
      ?.screenshot({ path: join(SCREENS, `failed-${failed}.png`) })
      .catch(() => {});
  }
  for (const page of pages) await page.end().catch(() => {});
}
