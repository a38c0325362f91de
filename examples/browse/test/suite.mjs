// Builds the page, prepares the buckets, and runs all tests.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "vite";
import { writeModels } from "../prepare/models.mjs";
import { tests } from "./harness.mjs";
import { SCREENS, startStage } from "./stage.mjs";
import "./types.mjs";
import "./looks.mjs";
import "./data.mjs";
import "./state.mjs";
import "./models.mjs";
import "./opening.mjs";
import "./searching.mjs";
import "./history.mjs";
import "./map.mjs";
import "./keyboard.mjs";
import "./hostile.mjs";
import "./losses.mjs";

/** Tests beside each other. */
const AT_ONCE = 3;

const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

/** @param chromium its command and version, as conformance/engines locates it */
export async function runSuite({ command: [executablePath], version }) {
  const { values: options } = parseArgs({
    options: {
      grep: { type: "string", default: "" },
      verbose: { type: "boolean" },
      // The page as it was built before.
      built: { type: "boolean" },
    },
  });
  const began = Date.now();
  const wanted = tests.filter(({ name }) => name.includes(options.grep));
  if (wanted.length === 0) {
    console.log(`FAILED  no test's name has "${options.grep}"\n0 passed, 1 failed`);
    process.exitCode = 1;
    return;
  }
  await writeModels();
  if (!options.built)
    await build({ root: fileURLToPath(new URL("../", import.meta.url)), logLevel: "error" });
  const stage = await startStage(executablePath);
  console.log(`built and prepared in ${seconds(began)}`);

  const results = [];
  const run = async (test) => {
    const from = Date.now();
    const failure = await runOne(stage, test);
    results.push(failure);
    if (failure !== undefined) console.log(`FAILED  ${test.name} (${seconds(from)})\n${failure}`);
    else if (options.verbose) console.log(`ok      ${test.name} (${seconds(from)})`);
  };
  const beside = wanted.filter(({ alone }) => !alone);
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let next = beside.shift(); next !== undefined; next = beside.shift()) await run(next);
    }),
  );
  for (const each of wanted.filter(({ alone }) => alone)) await run(each);
  await stage.close();

  const failed = results.filter((failure) => failure !== undefined).length;
  console.log(`Chromium ${version}: ${results.length} tests in ${seconds(began)}`);
  console.log(`${results.length - failed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
}

/** What went wrong, if anything did. A picture of the page is left with those of the others. */
async function runOne(stage, { name, run }) {
  const pages = [];
  const open = async (given) => {
    const page = await stage.open(given);
    pages.push(page);
    return page;
  };
  const wrongs = () => pages.flatMap((page) => page.wrongs);
  try {
    await run({ ...stage, open });
    return wrongs().length > 0 ? `the page did what it must not:\n${wrongs().join("\n")}` : undefined;
  } catch (error) {
    const path = join(SCREENS, `failed-${name.replaceAll(/[^a-z]+/g, "-")}.png`);
    await pages
      .at(-1)
      ?.screenshot({ path })
      .catch(() => undefined);
    return [error.stack, ...wrongs()].join("\n");
  } finally {
    for (const page of pages) await page.end().catch(() => undefined);
  }
}
