// Recall of every setting, then queries per second of CPU time in rounds, all contenders in turn within each round so
// that a busy machine hits them alike.
import { median } from "../statistics.mjs";
import { loadTruth } from "./data.mjs";
import { remember } from "./indexes.mjs";
import { Contestant, firstResult } from "./process.mjs";
import { recallAt10 } from "./recall.mjs";

const QUERIES = 1000;
const SAMPLE_CPU_SECONDS = 0.4;
const PROBE = 50;
/** Of the queries and of the time, in a quick run. */
const QUICK_SHARE = 0.4;
/** A setting is not timed when another of the same index finds as much and was this much faster when tried. */
const CLEARLY_FASTER = 1.5;

/**
 * Opens every entry (of indexes.mjs) and gives it `points` ({ label, recall, qps, low, high }) and, with
 * `firsts` > 0, `megabytes` and `firstMs`.
 */
export async function race(entries, { rounds, firsts = 0, isQuick = false }) {
  const share = isQuick ? QUICK_SHARE : 1;
  const runners = [];
  try {
    for (const entry of entries) {
      if (entry.failed !== undefined) continue;
      const runner = { entry, contestant: contestantOf(entry) };
      try {
        await runner.contestant.ask("open");
        runner.tried = await tryAll(runner, share * QUERIES);
        runners.push(runner);
      } catch (error) {
        entry.failed = error.message;
        console.error(`${entry.contender} ${entry.variant}: ${error.message}`);
        await runner.contestant.stop();
      }
    }
    await timeInRounds(runners, rounds, share * SAMPLE_CPU_SECONDS);
  } finally {
    for (const { contestant } of runners) await contestant.stop();
  }
  if (firsts === 0) return;
  for (const { entry } of runners) entry.megabytes = await residentMegabytes(entry);
  await firstResults(runners, firsts);
}

function contestantOf({ contender, variant, parameters, dataSet, directory }) {
  return new Contestant({ contender, variant, parameters, dataSet, directory });
}

const truths = new Map();

async function truthOf(dataSet, filter) {
  const key = `${dataSet} ${filter}`;
  if (!truths.has(key)) truths.set(key, await loadTruth(dataSet, filter));
  return truths.get(key);
}

/** Every setting with its recall and a first idea of its speed; those that lose on both are dropped. */
async function tryAll({ entry, contestant }, queries) {
  const known = {};
  const tried = [];
  for (const setting of entry.settings) {
    const figures = await tryOne(entry, contestant, setting, queries);
    known[setting.label] = { recall: figures.recall, asked: figures.asked };
    tried.push({ setting, ...figures, samples: [] });
    console.error(
      `  ${entry.contender} ${entry.variant} ${setting.label}: recall ${figures.recall.toFixed(4)}, about ${figures.qps.toFixed(0)} QPS`,
    );
  }
  await remember(entry, known);
  return tried.filter(
    (one) =>
      one.setting.isTarget || !tried.some((other) => sameTask(one, other) && isClearlyBetter(other, one)),
  );
}

/** Settings are compared only where they answer the same queries in the same way. */
function sameTask({ setting: a }, { setting: b }) {
  return a.filter === b.filter && a.batch === b.batch;
}

function isClearlyBetter(a, b) {
  return a.recall >= b.recall && a.qps > b.qps * CLEARLY_FASTER;
}

/**
 * Recall over all queries where they take a moment, over a fifth of them for slow exact ones; or as it is known. The
 * speed is only a first idea.
 */
async function tryOne({ dataSet, known }, contestant, setting, queries) {
  const probe = await contestant.ask("answer", { setting, from: 0, count: PROBE });
  const asked = probe.cpuSeconds > 1 ? queries / 5 : queries;
  const kept = known?.[setting.label];
  if (kept !== undefined && kept.asked >= asked) {
    // Not the probe's own speed, for that was this process's first try.
    const { cpuSeconds } = await contestant.ask("answer", { setting, from: PROBE, count: PROBE });
    return { ...kept, qps: PROBE / cpuSeconds };
  }
  const { ids, cpuSeconds } = await contestant.ask("answer", { setting, from: 0, count: asked });
  const recall = recallAt10(await truthOf(dataSet, setting.filter), ids);
  return { recall, asked, qps: asked / cpuSeconds };
}

async function timeInRounds(runners, rounds, seconds) {
  for (let round = 0; round < rounds; round++) {
    console.error(`round ${round + 1} of ${rounds}`);
    for (const { contestant, tried } of runners)
      for (const one of tried) one.samples.push(await sample(contestant, one, round, seconds));
  }
  for (const { entry, tried } of runners)
    entry.points = tried.map(({ setting, recall, samples }) => pointOf(setting, recall, samples));
}

/** Queries per CPU second of one sample. */
async function sample(contestant, { setting, qps }, round, seconds) {
  const least = setting.batch === undefined ? 8 : 2 * setting.batch;
  const count = Math.max(least, Math.min(4 * QUERIES, Math.round(qps * seconds)));
  const { cpuSeconds } = await contestant.ask("time", { setting, from: (round * 197) % QUERIES, count });
  return count / cpuSeconds;
}

function pointOf(setting, recall, samples) {
  return {
    label: setting.label,
    recall,
    qps: median(samples),
    low: Math.min(...samples),
    high: Math.max(...samples),
    ...(setting.isTarget ? { isTarget: true } : {}),
    ...(setting.filter === undefined ? {} : { filter: setting.filter }),
    ...(setting.batch === undefined ? {} : { batch: setting.batch }),
  };
}

/** The fastest point that finds at least this share, or undefined. */
export function bestAt(points = [], recall = 0) {
  return points
    .filter((point) => point.recall >= recall)
    .reduce((best, point) => (best === undefined || point.qps > best.qps ? point : best), undefined);
}

/** A process that has answered a few seconds' worth of queries, but never had another setting or index in memory. */
async function residentMegabytes(entry) {
  const { setting, point } = usual(entry);
  const contestant = contestantOf(entry);
  try {
    await contestant.ask("open");
    const count = Math.ceil(Math.min(QUERIES, 3 * point.qps));
    await contestant.ask("answer", { setting, from: 0, count });
    return (await contestant.ask("memory")).bytes / 1e6;
  } finally {
    await contestant.stop();
  }
}

/** The fastest setting for a recall of .95, or else the most accurate. */
function usual({ points, settings }) {
  const point = bestAt(points, 0.95) ?? points.reduce((a, b) => (a.recall > b.recall ? a : b));
  return { point, setting: settings.find(({ label }) => label === point.label) };
}

/** Fresh processes, in turn, each at its usual setting. */
async function firstResults(runners, count) {
  const times = new Map(runners.map(({ entry }) => [entry, []]));
  for (let run = -1; run < count; run++) {
    for (const { entry } of runners) {
      const { setting } = usual(entry);
      const { ms, ids } = await firstResult(entry, setting);
      if (recallAt10(await truthOf(entry.dataSet), [ids]) === 0)
        throw new Error(`${entry.contender}: a first result that is wrong`);
      // The first run only fills the page cache.
      if (run >= 0) times.get(entry).push(ms);
    }
  }
  for (const [entry, ms] of times)
    entry.firstMs = { median: median(ms), low: Math.min(...ms), high: Math.max(...ms) };
}
