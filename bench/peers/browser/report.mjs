// The figures of a run as Markdown.
import { median } from "../../statistics.mjs";
import { OWN } from "./contenders.mjs";

const RECALLS = [0.95, 0.99];

export function markdown({ machine, rounds, rows, dataset, browsers }) {
  return `# Search in a page

Word vectors, ${whole(rows)} × 100, unit length, 1,000 queries that are not among them, recall@10 against exact answers. \`npm run bench:browser\`;
${machine.cores} cores of ${machine.cpu}, load ${machine.loadAtStart.toFixed(1)} … ${machine.loadAtEnd.toFixed(1)}. Medians with their extremes.

DreamDB's dataset was made in Node with the library's defaults, in ${(dataset.ms / 1000).toFixed(1)} s (${dataset.cells} cells), and is searched in a directory that is served by
HTTP from another origin. The others build their index in the page, out of ${((rows * 400) / 1e6).toFixed(0)} MB of vectors.
${browsers.map((browser) => browserPart(browser, rounds)).join("")}`;
}

function browserPart({ id, version, firsts, race, holds, isIsolated }, rounds) {
  return `
## ${id === "chromium" ? "Chromium" : "Firefox"} ${version}

From a navigation to the first ten hits: ${firsts[0].runs.length} browsers that had seen nothing yet (${firsts.at(-1).runs.length} with late answers); of these the page's and library's code, and the opening. Late: each answer of
either server ${firsts.at(-1).delayMs} ms later than it came.

| DreamDB | late | first result, ms | code | opening | requests to the bucket | MB | requests of page and code | kB, not compressed | recall@10 |
|---|---|---|---|---|---|---|---|---|---|
${firsts.map(firstRow).join("\n")}

What it takes a page to be ready, and the first search (one time each, over loopback):

| | |
|---|---|
${race.map(({ name, ready }) => `| ${name} | ${ready.map(([what, ms]) => `${what} ${whole(ms)} ms`).join(", ")} |`).join("\n")}

One query after the other, with everything in memory, at the fastest setting that reaches a recall; ${rounds} rounds in which all take turns, in a page that
${isIsolated ? "is cross-origin isolated" : "is not cross-origin isolated, so that its clock is coarse"}:

| recall@10 | who | setting | recall | p50, ms | p99, ms | queries a second | DreamDB in a worker, times that | on the page's thread |
|---|---|---|---|---|---|---|---|---|
${RECALLS.flatMap((recall) => raceRows(race, recall)).join("\n")}

The page's own thread, while a Space is opened, its index read and searched, the next as soon as one is answered:

| | searches | tasks over 50 ms | the longest, ms | longest time between frames, ms |
|---|---|---|---|---|
${Object.entries(holds).map(holdRow).join("\n")}
`;
}

function firstRow({ worker, delayMs, runs }) {
  const of = (figure, digits = 0) => spread(runs.map(figure), digits);
  return `| ${[
    worker ? "worker" : "page's thread",
    delayMs === 0 ? "no" : `${delayMs} ms`,
    of(({ found }) => found),
    of(({ loaded }) => loaded),
    of(({ opened, loaded }) => opened - loaded),
    of(({ bucket }) => bucket.requests),
    of(({ bucket }) => bucket.bytes / 1e6, 1),
    of(({ page }) => page.requests),
    of(({ page }) => page.bytes / 1e3),
    (runs.reduce((sum, { recall }) => sum + recall, 0) / runs.length).toFixed(3),
  ].join(" | ")} |`;
}

function raceRows(race, recall) {
  const own = race.filter(({ name }) => name.startsWith(OWN)).map((entry) => bestOf(entry, recall));
  return race.map((entry) => {
    const point = bestOf(entry, recall);
    if (point === undefined) return `| ≥ ${recall} | ${entry.name} | not reached | | | | | | |`;
    const { label, recall: reached, p50, p99, qps } = point;
    const ratios = own.map((ours) => (ours === undefined ? "" : (ours.qps.median / qps.median).toFixed(2)));
    const figures = [of(p50, 3), of(p99, 3), of(qps, 0)];
    return `| ≥ ${recall} | ${entry.name} | ${label} | ${reached.toFixed(4)} | ${[...figures, ...ratios].join(" | ")} |`;
  });
}

/** The fastest point that finds at least this share. */
function bestOf({ points }, recall) {
  const good = points.filter((point) => point.recall >= recall);
  return good.sort((a, b) => b.qps.median - a.qps.median)[0];
}

function holdRow([name, { answered, longTasks, longestTaskMs, longestFrameMs }]) {
  const tasks = longTasks ?? "not told by this browser";
  const [task, frame] = [longestTaskMs, longestFrameMs].map((ms) => (ms === undefined ? "" : whole(ms)));
  return `| ${name} | ${whole(answered)} | ${tasks} | ${task} | ${frame} |`;
}

function spread(values, digits) {
  return of({ median: median(values), low: Math.min(...values), high: Math.max(...values) }, digits);
}

function of({ median, low, high }, digits) {
  const show = (value) => (digits === 0 ? whole(value) : value.toFixed(digits));
  return show(low) === show(high) ? show(low) : `${show(median)} (${show(low)} … ${show(high)})`;
}

function whole(value) {
  return Math.round(value).toLocaleString("en");
}
