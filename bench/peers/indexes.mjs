// Built indexes. Those of peers stay in bench/out/peers with the figures of their making, so that a second run only
// asks queries; those of this library are made anew in every run, for its code changes.
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { CONTENDERS, describe } from "./contenders.mjs";
import { DATA_SETS, loadRows, OUT } from "./data.mjs";
import { Contestant } from "./process.mjs";

let ownRoot;
/** The index that is being built, where a run that ends early would leave half of it. */
let unfinished;

/** Every variant of a contender on a data set, with its index built: what `Contestant` takes, and `figures`. */
export async function builtVariants(contender, dataSet, { rebuild = false, wanted = () => true } = {}) {
  const module = await CONTENDERS[contender].load();
  const { count } = await loadRows(dataSet);
  const { dim } = DATA_SETS[dataSet];
  const built = [];
  for (const { name: variant, parameters } of module.variants({ dim, count })) {
    if (!wanted(variant)) continue;
    const entry = { contender, variant, parameters, dataSet, count };
    entry.settings = module.settings({ name: variant, dim, count, parameters });
    const shared = CONTENDERS[contender].ours ? built.find((other) => sameIndex(other, entry)) : undefined;
    try {
      if (shared === undefined) await provide(entry, rebuild);
      else Object.assign(entry, { directory: shared.directory, figures: shared.figures });
    } catch (error) {
      entry.failed = error.message;
      console.error(`${contender} ${variant}: ${error.message}`);
    }
    built.push(entry);
  }
  return built;
}

/** Configurations that differ only in what they keep in memory read one index. */
function sameIndex(a, b) {
  const indexOf = ({ parameters: { resident, ...rest } }) => JSON.stringify(rest);
  return a.failed === undefined && indexOf(a) === indexOf(b);
}

async function provide(entry, rebuild) {
  const { contender, variant, parameters, dataSet } = entry;
  const ours = CONTENDERS[contender].ours === true;
  const label = [dataSet, contender, variant].filter(Boolean).join("-").replaceAll(/[ ,]+/g, "_");
  const directory = ours ? `${await own()}/${label}` : `${OUT}${label}`;
  const made = JSON.stringify({ version: await describe(contender), parameters });
  const figuresFile = `${directory}/figures.json`;
  if (!ours && !rebuild && existsSync(figuresFile)) {
    const kept = JSON.parse(await readFile(figuresFile, "utf8"));
    if (kept.made === made) {
      Object.assign(entry, { directory, figures: kept.figures, known: kept.known });
      return;
    }
  }
  console.error(`building ${label}…`);
  const part = ours ? directory : `${directory}.${process.pid}.part`;
  await mkdir(part, { recursive: true });
  unfinished = part;
  const contestant = new Contestant({ contender, variant, parameters, dataSet, directory: part });
  try {
    const figures = { ...(await contestant.ask("build")), bytes: await bytesIn(part) };
    Object.assign(entry, { directory, figures, known: {} });
    if (ours) return;
    await writeFile(`${part}/figures.json`, JSON.stringify({ made, figures, known: {} }));
    await rm(directory, { recursive: true, force: true });
    await rename(part, directory);
  } catch (error) {
    await rm(part, { recursive: true, force: true });
    throw error;
  } finally {
    unfinished = undefined;
    await contestant.stop();
  }
}

/** Keeps the recall of each setting, which does not change while the index stays. */
export async function remember(entry, known) {
  if (CONTENDERS[entry.contender].ours) return;
  const file = `${entry.directory}/figures.json`;
  const kept = JSON.parse(await readFile(file, "utf8"));
  await writeFile(file, JSON.stringify({ ...kept, known: { ...kept.known, ...known } }));
}

/** Indexes that no later run may find: this library's, and one half built. */
export async function removeOwn() {
  for (const directory of [ownRoot, unfinished])
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
}

async function own() {
  await mkdir(OUT, { recursive: true });
  ownRoot ??= await mkdtemp(`${OUT}own-`);
  return ownRoot;
}

async function bytesIn(directory) {
  let bytes = 0;
  for (const name of await readdir(directory, { recursive: true })) {
    const found = await stat(`${directory}/${name}`);
    if (found.isFile()) bytes += found.size;
  }
  return bytes;
}
