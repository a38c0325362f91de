// One contender in a process of its own, told over IPC to build an index, or to open one and answer and time queries.
import { CONTENDERS } from "./contenders.mjs";
import { DATA_SETS, loadQueries, loadRows } from "./data.mjs";

const startRss = process.memoryUsage.rss();
let queries;
let opened;

const commands = {
  /** Builds and saves; only the stages' own work is timed. */
  async build({ contender, variant, parameters, dataSet, directory }) {
    const module = await CONTENDERS[contender].load();
    const stages = await module.build(await loadRows(dataSet), directory, parameters, variant);
    const figures = {};
    for (const stage of ["ingest", "index"])
      if (stages[stage] !== undefined) figures[stage] = await timed(stages[stage]);
    await stages.save();
    return figures;
  },

  async open({ contender, variant, parameters, dataSet, directory }) {
    queries = await loadQueries(dataSet);
    opened = await (await CONTENDERS[contender].load()).open(
      { dim: DATA_SETS[dataSet].dim },
      directory,
      parameters,
      variant,
    );
    await opened.warm?.();
  },

  /** Ids for `count` queries from `from` on, and the CPU time they took. */
  async answer({ setting, from, count }) {
    await opened.use(setting);
    const ids = [];
    const took = await timed(() => ask(setting, from, count, (found) => ids.push(plainIds(found))));
    return { ids, ...took };
  },

  /** CPU and wall time of `count` queries from `from` on, after some to warm up. */
  async time({ setting, from, count }) {
    await opened.use(setting);
    const warmUp = Math.ceil(count / 8);
    await ask(setting, from - warmUp + queries.length, warmUp, () => {});
    globalThis.gc?.();
    return timed(() => ask(setting, from, count, () => {}));
  },

  /** Bytes resident above what this process had at its start, the queries aside. */
  memory() {
    globalThis.gc?.();
    const own = queries.reduce((sum, query) => sum + query.byteLength, 0);
    return { bytes: process.memoryUsage.rss() - startRss - own, parts: opened.memory?.() };
  },

  stop() {
    setImmediate(() => process.exit(0));
  },
};

async function ask(setting, from, count, take) {
  const queryAt = (i) => queries[(from + i) % queries.length];
  if (setting.batch !== undefined) {
    for (let done = 0; done < count; done += setting.batch) {
      const n = Math.min(setting.batch, count - done);
      const some = Array.from({ length: n }, (_, i) => queryAt(done + i));
      for (const found of await opened.searchMany(some)) take(found);
    }
    return;
  }
  for (let i = 0; i < count; i++) {
    let found = opened.search(queryAt(i));
    // A contender that answers at once is not charged for a turn of the event loop.
    if (typeof found.then === "function") found = await found;
    take(found);
  }
}

/** Anchors are ids from 1 on; others count from 0. */
function plainIds(found) {
  const first = opened.firstId ?? 0;
  return Array.from(found, (id) => Number(id) - first);
}

/** Of this process with all its threads, in seconds. */
async function timed(work) {
  const cpu = process.cpuUsage();
  const started = performance.now();
  await work();
  const wallSeconds = (performance.now() - started) / 1e3;
  const used = process.cpuUsage(cpu);
  return { cpuSeconds: (used.user + used.system) / 1e6, wallSeconds };
}

process.on("message", async ({ command, ...task }) => {
  try {
    process.send({ done: (await commands[command](task)) ?? {} });
  } catch (error) {
    process.send({ failed: error.stack ?? String(error) });
  }
});

// Whoever gave the orders is gone.
process.on("disconnect", () => process.exit(1));
