// What a filter costs: evaluating `where` to a bit a row over 340,000 rows, out of columns and out of scalar indexes,
// in one batch and in 34. "cold" opens a session and reads and hashes what it needs from a directory; "warm" has the
// verified bytes in memory. CPU time, best of several, since cores are shared. Then what it costs a vector search, as
// filtered-search.mjs measures it, which takes minutes; "evaluate" as an argument leaves that out.
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readTip } from "../build/lib/dataset/commit.js";
import { FilterCache, matchingOrdinals } from "../build/lib/dataset/filter.js";
import { Session } from "../build/lib/dataset/session.js";
import { filterOf } from "../build/lib/dataset/where.js";
import { Dataset, directoryStore, Schema } from "../build/lib/index.node.js";
import { filteredSearch } from "./filtered-search.mjs";
import { seeded } from "./timing.mjs";

const ROWS = 340_000;
const FILTERS = {
  "categorical eq, 1 of 100": { label: "label 7" },
  "int eq, 1 of 1,000,000": { n: 123_456 },
  "int range, 0.1 %": { n: { gte: 500_000, lt: 501_000 } },
  "int range, 10 %": { n: { gte: 500_000, lt: 600_000 } },
  "int range, 90 %": { n: { gte: 100_000 } },
  "text range, 0.1 %": { text: { gte: "name 500", lt: "name 501" } },
  "categorical eq and int range": { label: "label 7", n: { lt: 100_000 } },
};

const random = seeded(5);
const records = Array.from({ length: ROWS }, () => ({
  label: `label ${Math.floor(random() * 100)}`,
  n: Math.floor(random() * 1_000_000),
  text: `name ${String(Math.floor(random() * 1_000_000)).padStart(6, "0")}`,
}));

async function build(directory, index, batchRows) {
  const schema = new Schema()
    .addScalarCategorical("label", { index })
    .addScalarInt("n", { index })
    .addScalarString("text", { index });
  const ds = await Dataset.create("d", schema, directory);
  const start = process.cpuUsage();
  for (let from = 0; from < ROWS; from += batchRows)
    await ds.appendMany(records.slice(from, from + batchRows));
  const ms = cpuMs(start);
  await ds.close();
  return ms;
}

function cpuMs(start) {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

async function bytesBelow(directory) {
  let sum = 0;
  for (const name of await readdir(directory, { recursive: true })) {
    const info = await stat(join(directory, name));
    if (info.isFile()) sum += info.size;
  }
  return sum;
}

async function evaluate(session, manifest, where) {
  const start = process.cpuUsage();
  const { count } = await matchingOrdinals(
    session,
    manifest,
    filterOf({ where }, manifest.fields),
    new FilterCache(0),
  );
  return { ms: cpuMs(start), count };
}

async function measure(directory, where) {
  const cold = [];
  const warm = [];
  let found;
  for (let round = 0; round < 5; round++) {
    const session = new Session(directoryStore(directory), 256 << 20);
    const { manifest } = await readTip(session, "d");
    const before = { ...session.traffic };
    cold.push((await evaluate(session, manifest, where)).ms);
    const { bytes, requests } = session.traffic;
    for (let i = 0; i < 4; i++) {
      const { ms, count } = await evaluate(session, manifest, where);
      warm.push(ms);
      found = { count, kib: (bytes - before.bytes) / 1024, requests: requests - before.requests };
    }
  }
  return { ...found, cold: Math.min(...cold), warm: Math.min(...warm) };
}

for (const batchRows of [ROWS, 10_000]) {
  const directories = {};
  try {
    const appended = {};
    for (const kind of ["columns", "index"]) {
      directories[kind] = await mkdtemp(join(tmpdir(), "dreamdb-filters-"));
      appended[kind] = await build(directories[kind], kind === "index", batchRows);
    }
    const [bare, indexed] = [await bytesBelow(directories.columns), await bytesBelow(directories.index)];
    console.log(
      `\n${ROWS} rows, ${Math.ceil(ROWS / batchRows)} batches; stored ${(bare / 2 ** 20).toFixed(1)} MiB, with index ` +
        `${(indexed / 2 ** 20).toFixed(1)}; appending took ${appended.columns.toFixed(0)} ms of CPU, with index ${appended.index.toFixed(0)}`,
    );
    console.log(
      "filter                            rows      from      cold ms   warm ms   KiB read   requests",
    );
    for (const [name, where] of Object.entries(FILTERS)) {
      for (const kind of ["columns", "index"]) {
        const { count, cold, warm, kib, requests } = await measure(directories[kind], where);
        console.log(
          `${name.padEnd(33)} ${String(count).padEnd(9)} ${kind.padEnd(9)} ${cold.toFixed(2).padStart(7)} ` +
            `${warm.toFixed(2).padStart(9)} ${kib.toFixed(0).padStart(10)} ${String(requests).padStart(10)}`,
        );
      }
    }
  } finally {
    for (const directory of Object.values(directories)) await rm(directory, { recursive: true, force: true });
  }
}

if (process.argv[2] !== "evaluate") await filteredSearch();
