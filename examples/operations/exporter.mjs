// Prometheus exporter: asks `dreamdb … --json` on a schedule, and serves what it said. It decides nothing: thresholds are in alerts.yaml.
//   DATASETS  names, separated by commas            PORT           default 9464; 0: any
//   EVERY_SECONDS  how often to ask, default 60     DREAMDB_BACKEND  as for dreamdb
import { execFile } from "node:child_process";
import { createServer } from "node:http";
import { promisify } from "node:util";

const run = promisify(execFile);
const datasets = (process.env.DATASETS ?? "").split(",").filter(Boolean);
const everyMs = 1000 * Number(process.env.EVERY_SECONDS ?? 60);
if (datasets.length === 0) throw new Error("DATASETS names no dataset");

const HELP = {
  dreamdb_up: "Whether the last look at the dataset succeeded.",
  dreamdb_look_seconds: "How long the last look took.",
  dreamdb_looked_at_seconds: "When the last successful look began, Unix time.",
  dreamdb_records: "Records, without deleted ones.",
  dreamdb_sequence: "Number of the state that the ref names: one more with every commit.",
  dreamdb_written_at_seconds: "When the state was written, by the writer's clock, Unix time.",
  dreamdb_track_rows: "Rows that the index of a vector field covers.",
  dreamdb_track_unindexed_rows: "Rows that every search scans, because the index does not cover them.",
  dreamdb_track_segments: "Segments of the index: each costs a cold query requests.",
  dreamdb_track_cells: "Cells of the index.",
  dreamdb_track_imbalance: "Rows of the fullest cell, as a multiple of the mean.",
  dreamdb_track_fragmentation: "Runs of rows a cell: 1 after a compaction.",
  dreamdb_track_stale_codes: "Whether rows are coded otherwise than the schema asks for.",
};

/** By dataset: [metric, labels, value]. */
const samples = new Map();

async function look(dataset) {
  const startedAt = Date.now();
  const found = [];
  const add = (metric, value, labels = {}) => found.push([metric, { dataset, ...labels }, Number(value)]);
  try {
    const { stdout } = await run("dreamdb", ["inspect", dataset, "--json", "--quiet", "--max-depth", "1"], {
      maxBuffer: 64 << 20,
    });
    const { records, history, tracks } = JSON.parse(stdout);
    const [latest] = history;
    add("dreamdb_records", records);
    add("dreamdb_sequence", latest.seq);
    add("dreamdb_written_at_seconds", Number(BigInt(latest.ts) / 1_000_000n) / 1000);
    add("dreamdb_looked_at_seconds", startedAt / 1000);
    for (const track of tracks) {
      const { field } = track;
      add("dreamdb_track_rows", track.indexedRows, { field });
      add("dreamdb_track_unindexed_rows", track.unindexedRows, { field });
      add("dreamdb_track_segments", track.segments, { field });
      add("dreamdb_track_cells", track.cells, { field });
      add("dreamdb_track_imbalance", track.imbalance, { field });
      add("dreamdb_track_fragmentation", track.fragmentation, { field });
      add("dreamdb_track_stale_codes", track.staleCodes ? 1 : 0, { field });
    }
    add("dreamdb_up", 1);
  } catch (error) {
    console.error(`${dataset}: ${error.stderr || error.message}`);
    // What was last known stays, but for whether it is known.
    found.push(
      ...(samples.get(dataset) ?? []).filter(([metric]) => !/^dreamdb_(up|look_seconds)$/.test(metric)),
    );
    add("dreamdb_up", 0);
  }
  add("dreamdb_look_seconds", (Date.now() - startedAt) / 1000);
  samples.set(dataset, found);
}

/** https://prometheus.io/docs/instrumenting/exposition_formats/ */
function page() {
  const all = [...samples.values()].flat();
  const text = (value) => value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  return Object.entries(HELP)
    .map(([metric, help]) => {
      const lines = all
        .filter(([name]) => name === metric)
        .map(([, labels, value]) => {
          const pairs = Object.entries(labels).map(([key, label]) => `${key}="${text(label)}"`);
          return `${metric}{${pairs.join(",")}} ${value}`;
        });
      return [`# HELP ${metric} ${help}`, `# TYPE ${metric} gauge`, ...lines].join("\n");
    })
    .join("\n");
}

async function lookAtAll() {
  // One after the other: a small machine has one process more to run, not many.
  for (const dataset of datasets) await look(dataset);
  setTimeout(lookAtAll, everyMs);
}

await Promise.all(datasets.map(look));
const server = createServer((request, response) => {
  if (request.url !== "/metrics") {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }).end(`${page()}\n`);
});
server.listen(Number(process.env.PORT ?? 9464), () => console.log(`listening on ${server.address().port}`));
setTimeout(lookAtAll, everyMs);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
