import type { Command } from "commander";
import type { HistoryEntry, TrackHealth } from "../index.node.ts";
import { openDataset } from "./backend.ts";
import { type CommonOptions, command, countFrom, Output } from "./command.ts";
import { declarationsOf, schemaTable } from "./declaration.ts";
import { pairs, table } from "./table.ts";
import { timeText } from "./text.ts";

const EXAMPLES = `
dreamdb inspect photos
dreamdb inspect photos --json | jq '{fields: .schema}' > schema.json
dreamdb inspect --manifest bciq… --max-depth 3`;

interface InspectOptions extends CommonOptions {
  manifest?: string;
  maxDepth: number;
}

export function inspectCommand(): Command {
  return command("inspect", "show a dataset's schema, counts, tracks and history", EXAMPLES)
    .argument("[name]", "dataset, branch or snapshot")
    .option("--manifest <address>", "a past state instead of a name")
    .option("--max-depth <n>", "Manifests of the history to show", countFrom(1), 10)
    .action(inspect);
}

async function inspect(name: string | undefined, options: InspectOptions): Promise<void> {
  const output = new Output(options);
  const dataset = await openDataset(name, options.manifest, options.backend);
  const { fields } = dataset.schema;
  const history = await dataset.history(options.maxDepth);
  const facts = {
    name: dataset.name,
    manifest: dataset.currentManifest(),
    writable: dataset.isWritable,
    records: await dataset.count(),
  };
  const { tracks } = await dataset.health();
  await dataset.close();
  output.result({ ...facts, schema: declarationsOf(fields), tracks, history: history.map(withTime) }, () =>
    [
      pairs(Object.entries(facts), output.style),
      schemaTable(fields, output.style),
      ...(tracks.length > 0 ? [trackTable(tracks, output)] : []),
      historyTable(history, output),
    ].join("\n\n"),
  );
}

function trackTable(tracks: readonly TrackHealth[], output: Output): string {
  const right = "right" as const;
  const columns = [
    { title: "track" },
    { title: "algorithm" },
    { title: "cells", align: right },
    { title: "rows in cells", align: right },
    { title: "not in cells", align: right },
    { title: "segments", align: right },
    { title: "imbalance", align: right },
    { title: "fragmentation", align: right },
  ];
  const rows = tracks.map((track) => [
    track.field,
    track.algorithm,
    track.cells,
    track.indexedRows,
    track.unindexedRows,
    track.segments,
    track.imbalance.toFixed(2),
    track.fragmentation.toFixed(2),
  ]);
  return table(columns, rows, output.style);
}

function historyTable(history: readonly HistoryEntry[], output: Output): string {
  const columns = [
    { title: "seq", align: "right" as const },
    { title: "op" },
    { title: "records", align: "right" as const },
    { title: "time (writer's clock)" },
    { title: "writer" },
    { title: "manifest" },
  ];
  const rows = history.map(({ seq, op, rows, ts, writer, manifest }) => [
    seq,
    op,
    rows,
    timeText(ts),
    writer,
    manifest,
  ]);
  return table(columns, rows, output.style);
}

function withTime(entry: HistoryEntry): unknown {
  return { ...entry, time: timeText(entry.ts) };
}
