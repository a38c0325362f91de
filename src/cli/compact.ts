import type { Command } from "commander";
import { type CompactProgress, type CompactResult, Dataset } from "../index.node.ts";
import { existingBackend } from "./backend.ts";
import { type CommonOptions, command, countFrom, Output } from "./command.ts";
import { Stages } from "./progress.ts";
import { pairs } from "./table.ts";

const EXAMPLES = `
dreamdb compact photos
dreamdb compact photos --dry-run --json
dreamdb compact photos --fields embedding --memory-mib 256
dreamdb compact photos --purge`;

const DETAILS = `
Reads and appends go on meanwhile. Where nothing is to do, nothing is written, so that it can run as often as one likes.
`;

interface CompactCliOptions extends CommonOptions {
  fields?: string;
  purge?: boolean;
  dryRun?: boolean;
  memoryMib?: number;
}

export function compactCommand(): Command {
  return command(
    "compact",
    "bring what many appends left behind into few batches and runs",
    EXAMPLES,
    DETAILS,
  )
    .argument("<name>", "dataset or branch")
    .option(
      "--fields <names>",
      "vector fields whose cells to compact, with commas (default: all, and the columns)",
    )
    .option("--purge", "leave no deleted record in the new state; a graph that covers one is given up")
    .option("--dry-run", "only tell what there is to do")
    .option("--memory-mib <n>", "vectors held in memory at a time (default: 1024)", countFrom(1))
    .action(run);
}

async function run(name: string, options: CompactCliOptions): Promise<void> {
  const output = new Output(options);
  const { fields, purge = false, dryRun = false, memoryMib } = options;
  const dataset = await Dataset.open(name, await existingBackend(options.backend));
  const stages = new Stages(LABELS, output.isQuiet);
  try {
    const found = await dataset.compact({
      ...(fields === undefined ? {} : { fields: fields.split(",") }),
      ...(memoryMib === undefined ? {} : { memoryBytes: memoryMib * 2 ** 20 }),
      ...{ purge, dryRun },
      onProgress: (progress) => stages.update(progress),
    });
    stages.stop();
    output.result({ name, dryRun, ...found }, () => describe(found, output));
    if (found.graphsDropped.length > 0 && !dryRun)
      output.note(
        `given up: the graphs of ${found.graphsDropped.join(", ")}; dreamdb build-graph makes them anew`,
      );
  } finally {
    stages.stop();
    await dataset.close();
  }
}

const LABELS: Record<CompactProgress["stage"], { label: string; unit: string }> = {
  columns: { label: "rewriting columns", unit: "records" },
  cells: { label: "sorting into cells", unit: "records" },
  states: { label: "taking deleted records out of older states", unit: "batches and segments" },
};

function describe(found: CompactResult, output: Output): string {
  const facts: [string, unknown][] = [
    ["manifest", found.manifest],
    ["batches", `${found.batchesBefore} → ${found.batchesAfter}`],
    ["cells", `${found.cellsCompacted} of ${found.cellsExamined} compacted`],
    ["fragments collapsed", found.fragmentsCollapsed],
    ["deleted records left out", found.rowsDropped],
  ];
  const { batches, segments, graphs } = found.redacted;
  if (batches + segments + graphs > 0)
    facts.push(["redacted in older states", `${batches} batches, ${segments} segments, ${graphs} graphs`]);
  return pairs(facts, output.style);
}
