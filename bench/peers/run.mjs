// DreamDB beside other vector search libraries, in one run. See README.md.
// usage: node bench/peers/run.mjs [--quick] [--only name,…] [--data name,…] [--rounds n] [--rebuild]
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const here = fileURLToPath(new URL(".", import.meta.url));
const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    data: { type: "string" },
    rounds: { type: "string" },
    rebuild: { type: "boolean", default: false },
  },
});
install();
// After the installation, which some of these need.
const { absence, CONTENDERS, describe } = await import("./contenders.mjs");
const { DATA_SETS, loadTruth, OUT, prepare } = await import("./data.mjs");
const { builtVariants, removeOwn } = await import("./indexes.mjs");
const { race } = await import("./measure.mjs");
const { ownSections } = await import("./own.mjs");
const { isPinned } = await import("./process.mjs");
const { markdown } = await import("./report.mjs");
const { chart } = await import("./chart.mjs");

const rounds = Number(options.rounds ?? (options.quick ? 2 : 5));
const how = { rounds, isQuick: options.quick };
const firsts = options.quick ? 2 : 7;
/** Left out of a quick run: slow to build, and not the peer's best. */
const SLOW = ["ivf_pq", "ivf_rq4"];
const dataSets = options.data?.split(",") ?? (options.quick ? ["words34k"] : ["words", "clustered", "mnist"]);
const names = chosenContenders();
const isWhole = !options.quick && options.only === undefined && options.data === undefined;
const results = {
  machine: { cpu: cpus()[0].model, cores: cpus().length, node: process.version, isPinned },
  rounds,
  isWhole,
  contenders: [],
  absent: [],
  dataSets: {},
};
for (const sign of ["SIGINT", "SIGTERM"])
  process.once(sign, () => removeOwn().finally(() => process.exit(1)));

try {
  const present = [];
  for (const name of names) {
    const reason = await absence(name);
    if (reason !== undefined) results.absent.push({ name, reason });
    else present.push(name);
  }
  results.contenders = await Promise.all(present.map(describe));
  results.machine.loadAtStart = loadavg()[0];
  for (const dataSet of dataSets) await measure(dataSet, present);
  results.machine.loadAtEnd = loadavg()[0];
} finally {
  await removeOwn();
}
await report();

async function measure(dataSet, present) {
  await prepare(dataSet);
  const { lid } = await loadTruth(dataSet);
  const entries = [];
  for (const name of present)
    entries.push(...(await builtVariants(name, dataSet, { rebuild: options.rebuild, wanted: isWanted })));
  if (options.quick) for (const entry of entries) entry.settings = everySecond(entry.settings);
  console.error(`${DATA_SETS[dataSet].title}, LID ${lid.toFixed(1)}: ${entries.length} indexes`);
  await race(entries, { ...how, firsts });
  results.dataSets[dataSet] = { title: DATA_SETS[dataSet].title, lid, entries: entries.map(plain) };
  const own = entries.find(({ contender, failed }) => CONTENDERS[contender].ours && failed === undefined);
  if (own === undefined || !dataSet.startsWith("words")) return;
  const growing = ["words10k", "words34k", "words100k", "words"];
  const smaller = growing.slice(0, growing.indexOf(dataSet));
  try {
    results.own = { dataSet, ...(await ownSections(own, smaller, how)) };
  } catch (error) {
    // What the race found is worth a report all the same.
    console.error(error);
    results.ownFailed = error.message;
    process.exitCode = 1;
  }
}

function isWanted(variant) {
  return !options.quick || !SLOW.includes(variant);
}

function everySecond(settings) {
  return settings.filter((setting, i) => i % 2 === 0 || setting.isTarget);
}

/** What a report needs of an entry. */
function plain({ contender, variant, parameters, figures, megabytes, firstMs, points, failed }) {
  return { contender, variant, parameters, figures, megabytes, firstMs, points, failed };
}

function chosenContenders() {
  const all = Object.keys(CONTENDERS);
  if (options.only === undefined) return all;
  return options.only.split(",").map((wanted) => {
    const name = all.find((candidate) => candidate.toLowerCase() === wanted.toLowerCase());
    if (name === undefined) throw new Error(`--only knows ${all.join(", ")}; not ${wanted}`);
    return name;
  });
}

/** Only a whole run replaces the results that are kept with the source. */
async function report() {
  const folder = isWhole ? `${here}../results/` : OUT;
  const name = isWhole ? "peers" : "partial";
  const text = markdown(results);
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}${name}.json`, `${JSON.stringify(results, rounded, 1)}\n`);
  await writeFile(`${folder}${name}.md`, text);
  await writeFile(`${folder}${name}.svg`, chart(results));
  console.log(text);
  console.error(`written: ${folder}${name}.json, .md, .svg`);
}

/** Five digits are more than any of these figures has. */
function rounded(_key, value) {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
}

function install() {
  if (!existsSync(`${here}../node_modules`))
    installIn(`${here}..`, "the word vectors (300 MB, once)", ["ci"]);
  // Not `npm ci`: it wants a lock of LanceDB's builds for all platforms, and registries don't have them all.
  if (!existsSync(`${here}node_modules`))
    installIn(here, "the peers (300 MB, once)", ["install", "--no-save"]);
  if (existsSync(`${here}node_modules/faiss-node`) || existsSync(`${here}faiss/build/faiss-node.node`))
    return;
  console.error("faiss-node did not install; compiling its source against Debian's faiss…");
  const { status } = spawnSync(process.execPath, [`${here}faiss/build.mjs`], {
    stdio: ["ignore", 2, "ignore"],
  });
  if (status !== 0) console.error("that failed too: faiss-node will be marked as absent");
}

function installIn(folder, what, command) {
  console.error(`installing ${what}…`);
  const { status } = spawnSync("npm", [...command, "--silent"], { cwd: folder, stdio: ["ignore", 2, 2] });
  if (status !== 0) throw new Error(`npm ${command[0]} in ${folder} failed`);
}
