// The tables of a run as Markdown.
import { CONTENDERS } from "./contenders.mjs";
import { goals } from "./goals.mjs";
import { bestAt } from "./measure.mjs";
import { QUOTED } from "./quoted.mjs";

const RECALLS = [0.9, 0.95, 0.99];

export function markdown(results) {
  const sections = Object.entries(results.dataSets).map(([name, set]) => dataSetSection(name, set, results));
  return [heading(results), ...sections, ...ownSection(results), goalSection(results)].join("\n\n") + "\n";
}

function heading({ machine, rounds, contenders, absent, isWhole }) {
  const lines = [
    "# DreamDB beside its peers",
    "",
    `${machine.cpu}, ${machine.cores} cores, Node ${machine.node.slice(1)}; each contender in a process of its own${machine.isPinned ? ", all on one core" : ""}.`,
    `QPS are queries per second of CPU time of the whole process, one query a call, top 10: the median of ${rounds} rounds taken in turn (least–greatest).`,
    `Load of the machine: ${machine.loadAtStart.toFixed(1)} at the start, ${machine.loadAtEnd.toFixed(1)} at the end. Build figures are CPU seconds on one core; memory is what a process that answers queries has resident above an empty one; the first result is timed from the start of a fresh process, page cache warm.`,
    "",
    `Measured: ${contenders.join(", ")}.`,
  ];
  if (!isWhole) lines.splice(2, 0, "A partial run.", "");
  for (const { name, reason } of absent)
    lines.push(`Absent: **${name}** (${reason}); its figures are quoted from an earlier run, not measured.`);
  if (isWhole) lines.push("", "![Recall against queries per second](peers.svg)");
  return lines.join("\n");
}

function dataSetSection(name, set, { absent }) {
  const lines = [
    `## ${capital(set.title)}`,
    "",
    `Local intrinsic dimension ${set.lid.toFixed(1)}.`,
    "",
    "| contender | build CPU s (wall) | memory MB | first result ms | QPS at recall ≥ .90 | ≥ .95 | ≥ .99 |",
    "|---|---:|---:|---:|---:|---:|---:|",
    ...set.entries.map(entryRow),
    ...absent.flatMap((peer) => quotedRow(peer.name, QUOTED[name]?.[peer.name])),
    ...ratioRows(set),
  ];
  const targets = set.entries.flatMap(({ variant, points }) =>
    (points ?? [])
      .filter((point) => point.isTarget)
      .map((point) => `${variant}: ${point.label} gave ${recall(point.recall)} at ${qps(point)}`),
  );
  if (targets.length > 0) lines.push("", `Asked by recall alone: ${targets.join("; ")}.`);
  return lines.join("\n");
}

function entryRow(entry) {
  const name = nameOf(entry);
  if (entry.failed !== undefined) return `| ${name} | failed: ${entry.failed.split("\n")[0]} | | | | | |`;
  const { figures, megabytes, firstMs, points } = entry;
  const cells = RECALLS.map((least) => {
    const best = bestAt(points, least);
    return best === undefined ? "not reached" : qps(best);
  });
  const first =
    firstMs === undefined ? "" : `${whole(firstMs.median)} (${whole(firstMs.low)}–${whole(firstMs.high)})`;
  return `| ${name} | ${buildTime(figures.index)} | ${whole(megabytes)} | ${first} | ${cells.join(" | ")} |`;
}

function quotedRow(name, figures) {
  if (figures === undefined) return [`| ${name}, absent, nothing quoted | | | | | | |`];
  const cell = (value) => (value === undefined ? "" : `*${value.toLocaleString("en")}*`);
  const cells = [figures.build, figures.megabytes, figures.firstMs, ...figures.qps].map(cell);
  return [`| ${name}, *quoted, not measured* | ${cells.join(" | ")} |`];
}

/** This library's best over the best peer, and over each recall's runner-up by name. */
function ratioRows({ entries }) {
  const measured = entries.filter(({ points }) => points !== undefined);
  const ours = measured.filter(({ contender }) => CONTENDERS[contender].ours);
  const peers = measured.filter(({ contender }) => !CONTENDERS[contender].ours);
  if (ours.length === 0 || peers.length === 0) return [];
  const cells = RECALLS.map((least) => {
    const own = fastest(ours, least);
    const peer = fastest(peers, least);
    if (own === undefined || peer === undefined) return "";
    return `**×${(own.point.qps / peer.point.qps).toFixed(2)}** of ${nameOf(peer.entry)}`;
  });
  return [`| **best DreamDB to best measured peer** | | | | ${cells.join(" | ")} |`];
}

export function fastest(entries, least) {
  return entries
    .flatMap((entry) => {
      const point = bestAt(entry.points, least);
      return point === undefined ? [] : [{ entry, point }];
    })
    .reduce((best, one) => (best === undefined || one.point.qps > best.point.qps ? one : best), undefined);
}

function ownSection({ own, ownFailed, dataSets }) {
  if (ownFailed !== undefined) return [`## DreamDB alone\n\nFailed: ${ownFailed.split("\n")[0]}`];
  if (own === undefined) return [];
  const entries = dataSets[own.dataSet].entries.filter(
    ({ contender, figures }) => CONTENDERS[contender].ours && figures,
  );
  const smallest = own.scale.find(({ point }) => point !== undefined);
  const lines = [
    `## DreamDB alone (${own.variant}, word vectors)`,
    "",
    "How the cost of a query at a recall of .95 grows with the rows:",
    "",
    "| rows | × rows | QPS | CPU µs a query | × cost |",
    "|---:|---:|---:|---:|---:|",
    ...own.scale.map(({ rows, point }) =>
      point === undefined
        ? `| ${rows.toLocaleString("en")} | | not reached | | |`
        : `| ${rows.toLocaleString("en")} | ${(rows / smallest.rows).toFixed(1)} | ${qps(point)} | ${(1e6 / point.qps).toFixed(0)} | ${(smallest.point.qps / point.qps).toFixed(1)} |`,
    ),
    "",
    "Filters, at a recall of .95 among the rows that match:",
    "",
    "| rows that match | recall | QPS | cost beside no filter |",
    "|---:|---:|---:|---:|",
    ...own.filters.map(({ share, point, mostAccurate, unfiltered }) => {
      const shown = point ?? mostAccurate;
      const cost = unfiltered === undefined ? "" : `×${(unfiltered.qps / shown.qps).toFixed(2)}`;
      return `| ${(share * 100).toLocaleString("en")} % | ${recall(shown.recall)} | ${qps(shown)} | ${cost} |`;
    }),
    "",
    "Building, word vectors: " +
      entries
        .map(
          ({ variant, figures }) =>
            `${variant}: ingest ${seconds(figures.ingest.cpuSeconds)} CPU s, index ${seconds(figures.index.cpuSeconds)} CPU s, ${whole(figures.bytes / 1e6)} MB on disk`,
        )
        .join("; ") +
      ".",
  ];
  if (own.batch?.batched !== undefined && own.batch.single !== undefined)
    lines.push(
      "",
      `Batches of ${own.batch.size} at a recall of .95: ${qps(own.batch.batched)} QPS beside ${qps(own.batch.single)} one by one.`,
    );
  for (const [verb, what] of own.missing)
    lines.push("", `Not measured: ${what} (\`${verb}\` is not in this build).`);
  return [lines.join("\n")];
}

function goalSection(results) {
  return [
    "## Goals",
    "",
    "| goal | aim | found | |",
    "|---|---|---|---|",
    ...goals(results).map(({ goal, aim, found, verdict }) => `| ${goal} | ${aim} | ${found} | ${verdict} |`),
  ].join("\n");
}

export function nameOf({ contender, variant }) {
  return [contender, variant].filter(Boolean).join(" ");
}

function qps({ qps: middle, low, high }) {
  return `${whole(middle)} (${whole(low)}–${whole(high)})`;
}

function recall(share) {
  return share.toFixed(3).replace(/^0/, "");
}

function buildTime({ cpuSeconds, wallSeconds }) {
  return cpuSeconds < 0.05 ? "–" : `${seconds(cpuSeconds)} (${seconds(wallSeconds)})`;
}

function seconds(value) {
  return value < 0.05 ? "–" : value.toFixed(1);
}

function whole(value) {
  return Math.round(value).toLocaleString("en");
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}
