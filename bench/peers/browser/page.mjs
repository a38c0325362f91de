// The race, in the page: recall of every setting, then rounds in which all contenders take turns. Posts its figures.
import { median } from "../../statistics.mjs";
import { recallAt10 } from "../recall.mjs";
import { CONTENDERS, OWN } from "./contenders.mjs";
import { plan, post } from "./plan.mjs";

/** What a setting is timed for in one round. */
const SAMPLE_MS = 500;
/** Recalls that speeds are compared at. */
const RECALLS = [0.95, 0.99];
/** Settings for each recall that are timed in rounds: the fastest when first tried. */
const FINALISTS = 2;
/** For which the page's thread is watched while it searches. */
const HOLD_MS = 2000;

const { rounds, bucket, dim, names } = plan;
const floats = async (name) => new Float32Array(await (await fetch(`/data/${name}`)).arrayBuffer());
const flat = await floats("queries.f32");
const queries = Array.from({ length: flat.length / dim }, (_, i) => flat.slice(i * dim, (i + 1) * dim));
const truth = await (await fetch("/data/truth.json")).json();
const page = { rows: () => floats("rows.f32"), dim, bucket };

const contestants = [];
for (const name of names) {
  const opened = await CONTENDERS[name](page);
  const firstMs = await firstOf(opened);
  await log(`${name}: ${opened.ready.map(([what, took]) => `${what} ${took.toFixed(0)} ms`).join(", ")}`);
  contestants.push({ name, opened, ready: [...opened.ready, ["first result", firstMs]] });
}
for (const each of contestants) each.finalists = await finalistsOf(each);
for (let round = 0; round < rounds; round++) {
  await log(`round ${round + 1} of ${rounds}`);
  for (const { opened, finalists } of contestants)
    for (const finalist of finalists) finalist.samples.push(await sample(opened, finalist.setting, round));
}
const figures = contestants.map(({ name, ready, finalists }) => ({
  name,
  ready,
  points: finalists.map(({ setting, recall, samples }) => ({
    label: setting.label,
    recall,
    ...summary(samples),
  })),
}));
for (const { opened } of contestants) await opened.close?.();
const holds = {};
for (const name of names.filter((each) => each.startsWith(OWN))) holds[name] = await holdOf(CONTENDERS[name]);
await post("/finished", { race: figures, holds, isIsolated: crossOriginIsolated });

/**
 * The longest that the page's thread was held while a Space was opened, its index read and searched: its longest task, which browsers
 * tell of from 50 ms on, and the longest time between two frames, in ms.
 */
async function holdOf(open) {
  await settled();
  const tasks = [];
  const started = performance.now();
  const observer = new PerformanceObserver((list) => {
    tasks.push(...list.getEntries().filter(({ startTime }) => startTime >= started));
  });
  if (PerformanceObserver.supportedEntryTypes.includes("longtask")) observer.observe({ type: "longtask" });
  const frames = [];
  let isOver = false;
  const frame = (now) => {
    frames.push(now);
    if (!isOver) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  const opened = await open(page);
  opened.use(opened.settings[0]);
  const began = performance.now();
  let answered = 0;
  for (; performance.now() - began < HOLD_MS; answered++) {
    await opened.ids(queries[answered % queries.length]);
    await turn();
  }
  isOver = true;
  await settled();
  observer.disconnect();
  await opened.close();
  return {
    answered,
    longTasks: PerformanceObserver.supportedEntryTypes.includes("longtask") ? tasks.length : undefined,
    longestTaskMs: tasks.length === 0 ? undefined : Math.max(...tasks.map(({ duration }) => duration)),
    longestFrameMs:
      frames.length < 2 ? undefined : Math.max(...frames.slice(1).map((now, i) => now - frames[i])),
  };
}

/** Ends the task that runs, which awaiting what is there already does not. */
function turn() {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}

/** Observers are told of tasks later. */
function settled() {
  return new Promise((resolve) => setTimeout(resolve, 300));
}

async function firstOf({ use, ids, settings }) {
  use(settings[0]);
  const began = performance.now();
  await ids(queries[0]);
  return performance.now() - began;
}

/** The fastest settings that reach each recall. */
async function finalistsOf({ name, opened }) {
  const tried = [];
  for (const setting of opened.settings) {
    opened.use(setting);
    const found = [];
    const began = performance.now();
    for (const query of queries) found.push(await opened.ids(query));
    const qps = (1000 * queries.length) / (performance.now() - began);
    const recall = recallAt10(truth, found);
    await log(`  ${name} ${setting.label}: recall ${recall.toFixed(4)}, about ${qps.toFixed(0)} QPS`);
    tried.push({ setting, recall, qps, samples: [] });
  }
  const chosen = RECALLS.flatMap((recall) =>
    tried
      .filter((one) => one.recall >= recall)
      .sort((a, b) => b.qps - a.qps)
      .slice(0, FINALISTS),
  );
  return [...new Set(chosen)];
}

/** Milliseconds of each of as many queries as there is time for. */
async function sample({ use, ids }, setting, round) {
  use(setting);
  const times = [];
  const began = performance.now();
  let last = began;
  for (let i = round * 197; last - began < SAMPLE_MS; i++) {
    const found = ids(queries[i % queries.length]);
    // Whoever answers at once is not charged for a turn of the event loop.
    if (typeof found.then === "function") await found;
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  return times;
}

function summary(samples) {
  const each = (figure) => {
    const values = samples.map(figure);
    return { median: median(values), low: Math.min(...values), high: Math.max(...values) };
  };
  return {
    qps: each((times) => (1000 * times.length) / times.reduce((sum, ms) => sum + ms, 0)),
    p50: each((times) => quantile(times, 0.5)),
    p99: each((times) => quantile(times, 0.99)),
  };
}

function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

async function log(line) {
  await post("/log", line);
}
