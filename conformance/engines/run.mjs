// The determinism matrix: every vector and the stress digests, with both builds of the compute core, on every engine
// that is installed. `npm run engines -- [--only node,jsc] [--required] [--json] [--record]`, or `--install`; see README.md.
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { ENGINES } from "./engines.mjs";
import { howToInstall, install } from "./install.mjs";
import { fail, judgeCoverage, judgeEngine, noFindings } from "./judge.mjs";

const DIGESTS = new URL("digests.json", import.meta.url);
/** Every line of this interface that begins like a method is a kernel. */
const EXPORTS = new URL("../../src/kernels/exports.ts", import.meta.url);
/** An engine keeps one core busy; the machines of CI have two. */
const AT_ONCE = 2;

const { values: options } = parseArgs({
  options: {
    only: { type: "string" },
    required: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    install: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
  },
});
const engines = chosen(options);
if (options.install) process.exit(install(engines) ? 0 : 1);

const say = options.json ? () => {} : (text) => console.log(text);
const findings = noFindings();
await runMatrix();
if (options.json) console.log(JSON.stringify(findings, null, 2));
for (const text of findings.notes) say(`\nNOTE ${text}`);
for (const text of findings.failures) say(`\nFAILED ${text}`);
const { passed, failed, skipped } = findings.totals;
say(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exitCode = failed > 0 ? 1 : 0;

async function runMatrix() {
  // Only now, so that installing needs nothing of the project's own dependencies.
  const { bundle } = await import("./bundle.mjs");
  const script = await bundle();
  let recorded = options.record ? undefined : JSON.parse(readFileSync(DIGESTS, "utf8")).digests;
  let first;
  say(line("engine", "version", "build", "vectors", "digest", "", "seconds"));
  for await (const outcome of outcomesOf(script)) {
    const digests = outcome.result?.scalar?.digests;
    if (digests !== undefined) first ??= outcome;
    recorded ??= digests;
    const { length } = findings.rows;
    judgeEngine(outcome, recorded ?? {}, process.env.CI === "true", findings);
    for (const row of findings.rows.slice(length)) say(lineOf(row));
    if (findings.rows.length === length)
      say(line(outcome.engine.id, outcome.missing ? "NOT INSTALLED" : "FAILED"));
  }
  if (first === undefined) return fail(findings, "no engine ran");
  judgeCoverage(first, kernelNames(), findings);
  if (options.record) record(recorded);
}

/** The outcomes in the order of the engines, of which AT_ONCE run at a time. */
async function* outcomesOf(script) {
  const running = [];
  for (const engine of engines) {
    if (running.length === AT_ONCE) yield await running.shift();
    running.push(outcomeOf(engine, script));
  }
  for (const outcome of running) yield await outcome;
}

async function outcomeOf(engine, script) {
  const located = engine.locate();
  if (located === undefined) return { engine, missing: howToInstall(engine) };
  const { command, version } = located;
  try {
    return { engine, version, result: await engine.run(command, script) };
  } catch (error) {
    return { engine, version, error: error.message };
  }
}

function chosen({ only, required }) {
  const known = ENGINES.map(({ id }) => id);
  const ids = only?.split(",") ?? known;
  const unknown = ids.filter((id) => !known.includes(id));
  if (unknown.length > 0) {
    console.error(`no engine ${unknown.join(", ")}; there are ${known.join(", ")}`);
    process.exit(2);
  }
  return ENGINES.filter((engine) => ids.includes(engine.id) && (engine.required || !required));
}

function kernelNames() {
  return [...readFileSync(EXPORTS, "utf8").matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name);
}

/** Puts the digests on record, unless engines disagree about them. */
function record(digests) {
  if (findings.totals.failed > 0) return findings.notes.push("nothing recorded, for something failed");
  const about =
    "Digests of the outputs of conformance/engines/stress.mjs; written by npm run engines -- --record.";
  writeFileSync(DIGESTS, `${JSON.stringify({ about, digests }, null, 2)}\n`);
}

function lineOf({ engine, version, build, vectors, total, digest, verdict, seconds }) {
  if (digest === undefined) return line(engine, version, build, "", "", verdict);
  return line(engine, version, build, `${vectors}/${total}`, digest, verdict, seconds.toFixed(1));
}

function line(engine, version = "", build = "", vectors = "", digest = "", verdict = "", seconds = "") {
  const columns = [engine.padEnd(18), version.padEnd(20), build.padEnd(7), vectors.padStart(8)];
  return `${columns.join(" ")}  ${digest.padEnd(16)} ${verdict.padEnd(9)} ${seconds.padStart(7)}`.trimEnd();
}
