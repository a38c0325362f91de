// What this library sets out to reach, judged by the figures of a run.
import { bestAt } from "./measure.mjs";
import { QUOTED } from "./quoted.mjs";

const NOT_MEASURED = { found: "not measured", verdict: "open" };

/** @returns {{ goal: string, aim: string, found: string, verdict: string }[]} */
export function goals(results) {
  const words = setOf(results, "words");
  const clustered = setOf(results, "clustered");
  const main = words.ours("ivf") ?? words.ours("lsh");
  const indexRate = (entry) => rowsPerSecond(entry, 340_479);
  return [
    overFaiss("words, recall ≥ .95", words, main, 0.95, 1, 8),
    overFaiss("words, recall ≥ .99", words, main, 0.99, 2),
    overFaiss("clustered, recall ≥ .95", clustered, clustered.ours("ivf") ?? clustered.ours("lsh"), 0.95, 1),
    over(
      "no index, words ≥ .95",
      "50 × the plain JS loop",
      words.best(/^no index/, 0.95),
      words.peer("plain JS", 0.95),
      50,
    ),
    batch(results.own?.batch),
    atLeast(
      "index build, rows per CPU second",
      60_000,
      120_000,
      main?.variant === "ivf" ? indexRate(main) : undefined,
    ),
    atMost("fresh process to first result, words, ms", 200, 100, main?.firstMs?.median),
    memory("resident, vectors in memory", 200, words.ours("ivf")),
    memory("resident, vectors on disk", 100, words.ours("ivf, codes resident")),
    growth(results.own?.scale),
    ...filterGoals(results.own?.filters),
    over(
      "graph, words ≥ .95",
      "3.5 × hnswlib-node",
      pointOf(words.ours("graph"), 0.95),
      words.peer("hnswlib-node", 0.95),
      3.5,
    ),
  ];
}

function setOf({ dataSets }, name) {
  const entries = (dataSets[name]?.entries ?? []).filter(({ points }) => points !== undefined);
  const ours = (variant) =>
    entries.find((entry) => entry.contender === "DreamDB" && entry.variant === variant);
  const fastest = (some, recall) =>
    bestAt(
      some.flatMap(({ points }) => points),
      recall,
    );
  return {
    name,
    ours,
    best: (pattern, recall) =>
      fastest(
        entries.filter(({ contender, variant }) => contender === "DreamDB" && pattern.test(variant)),
        recall,
      ),
    peer: (contender, recall) =>
      fastest(
        entries.filter((entry) => entry.contender === contender),
        recall,
      ),
  };
}

function pointOf(entry, recall) {
  return entry === undefined ? undefined : bestAt(entry.points, recall);
}

/** Five times faiss: the one measured in this run, or else the figure quoted. */
function overFaiss(goal, set, entry, recall, column, aim) {
  const measured = set.peer("faiss-node", recall);
  const quoted = QUOTED[set.name]?.["faiss-node"].qps[column];
  const faiss = measured?.qps ?? quoted;
  const own = pointOf(entry, recall);
  const head = { goal, aim: `5 × faiss${aim === undefined ? "" : `, better ${aim} ×`}` };
  if (own === undefined || faiss === undefined) return { ...head, ...NOT_MEASURED };
  const origin =
    measured === undefined
      ? "quoted"
      : `measured here; an earlier run had ${quoted?.toLocaleString("en") ?? "none"}`;
  return {
    ...head,
    found: `×${(own.qps / faiss).toFixed(2)}: ${whole(own.qps)} beside ${whole(faiss)} (${origin})`,
    verdict: verdict(own.qps >= 5 * faiss, aim !== undefined && own.qps >= aim * faiss),
  };
}

function over(goal, aim, own, other, factor) {
  if (own === undefined || other === undefined) return { goal, aim, ...NOT_MEASURED };
  return {
    goal,
    aim,
    found: `×${(own.qps / other.qps).toFixed(2)}: ${whole(own.qps)} beside ${whole(other.qps)}`,
    verdict: verdict(own.qps >= factor * other.qps),
  };
}

function batch(figures) {
  const head = { goal: "batch of 256, words ≥ .95", aim: "1.5 × one by one, better 3 ×" };
  if (figures?.batched === undefined || figures.single === undefined) return { ...head, ...NOT_MEASURED };
  const ratio = figures.batched.qps / figures.single.qps;
  return {
    ...head,
    found: `×${ratio.toFixed(2)}: ${whole(figures.batched.qps)} beside ${whole(figures.single.qps)}`,
    verdict: verdict(ratio >= 1.5, ratio >= 3),
  };
}

function rowsPerSecond(entry, rows) {
  return entry === undefined ? undefined : rows / entry.figures.index.cpuSeconds;
}

function atLeast(goal, least, better, value) {
  const aim = `${least.toLocaleString("en")}, better ${better.toLocaleString("en")}`;
  if (value === undefined) return { goal, aim, ...NOT_MEASURED };
  return { goal, aim, found: whole(value), verdict: verdict(value >= least, value >= better) };
}

function atMost(goal, most, better, value) {
  const aim = `${most}, better ${better}`;
  if (value === undefined) return { goal, aim, ...NOT_MEASURED };
  return { goal, aim, found: whole(value), verdict: verdict(value <= most, value <= better) };
}

function memory(goal, most, entry) {
  const aim = `≤ ${most} MB`;
  if (entry === undefined) return { goal, aim, ...NOT_MEASURED };
  const point = pointOf(entry, 0.95);
  const speed =
    point === undefined
      ? "a recall of .95 not reached"
      : `${whole(point.qps)} QPS at a recall of ${point.recall.toFixed(3)}`;
  return {
    goal,
    aim,
    found: `${whole(entry.megabytes)} MB, ${speed}`,
    verdict: verdict(entry.megabytes <= most),
  };
}

function growth(scale) {
  const head = { goal: "cost of a query against rows", aim: "grows slower" };
  const first = scale?.[0];
  const last = scale?.at(-1);
  if (first?.point === undefined || last?.point === undefined) return { ...head, ...NOT_MEASURED };
  const rows = last.rows / first.rows;
  const cost = first.point.qps / last.point.qps;
  return {
    ...head,
    found: `rows ×${rows.toFixed(1)}, cost ×${cost.toFixed(1)}`,
    verdict: verdict(cost < rows),
  };
}

function filterGoals(filters) {
  const aim = "recall ≥ .95, cost ≤ 3 × unfiltered";
  if (filters === undefined) return [{ goal: "filters", aim, ...NOT_MEASURED }];
  return filters.map(({ share, point, mostAccurate, unfiltered }) => {
    const goal = `filter that leaves ${share * 100} %`;
    if (unfiltered === undefined) return { goal, aim, ...NOT_MEASURED };
    const shown = point ?? mostAccurate;
    const cost = unfiltered.qps / shown.qps;
    return {
      goal,
      aim,
      found: `recall ${shown.recall.toFixed(3)}, cost ×${cost.toFixed(2)}`,
      verdict: verdict(point !== undefined && cost <= 3),
    };
  });
}

function verdict(isReached, isBetter = false) {
  if (isBetter) return "**reached, and the better aim**";
  return isReached ? "**reached**" : "missed";
}

function whole(value) {
  return Math.round(value).toLocaleString("en");
}
