import { type Command, Option } from "commander";
import { Dataset, type MergeConflict, type MergeResult, type MergeStrategy } from "../index.node.ts";
import { existingBackend } from "./backend.ts";
import { type CommonOptions, command, countFrom, Output } from "./command.ts";
import { ExitCode } from "./exit-code.ts";
import { table } from "./table.ts";
import { plural } from "./text.ts";

const ONE_EXAMPLES = `
dreamdb merge photos worker-0
dreamdb merge photos fixes --dry-run
dreamdb merge photos fixes --strategy ours --json
dreamdb merge photos worker-0 --strategy fast-forward || echo "photos has gone on"`;

const MANY_EXAMPLES = `
dreamdb merge-many photos worker-0 worker-1 worker-2
dreamdb merge-many photos worker-0 worker-1 --strategy refuse-on-conflict --dry-run --json`;

const DETAILS = `
Strategies:
  fast-forward        only move the ref on, when the other side descends from it
  refuse-on-conflict  unite, unless two sides have different records at one anchor
  union-tracks        of different records keep the one whose content has the greatest hash
  ours, theirs        of different records keep this side's, or the other side's

A dry run writes nothing; it ends with exit code 4 where the merge would be refused.
`;

const STRATEGIES = ["fast-forward", "refuse-on-conflict", "union-tracks", "ours", "theirs"];

interface MergeCliOptions extends CommonOptions {
  strategy: MergeStrategy;
  dryRun?: boolean;
  onUnrelatedIndex: "refuse" | "delta";
  conflicts: number;
}

export function mergeCommand(): Command {
  return withOptions(
    command("merge", "bring a branch or snapshot into a dataset", ONE_EXAMPLES, DETAILS)
      .argument("<name>", "dataset or branch that is to have both")
      .argument("<source>", "branch or snapshot, or address of a Manifest"),
    "refuse-on-conflict",
  ).action((name: string, source: string, options: MergeCliOptions) => merge(name, [source], options));
}

export function mergeManyCommand(): Command {
  return withOptions(
    command("merge-many", "bring several branches into a dataset, in one commit", MANY_EXAMPLES, DETAILS)
      .argument("<name>", "dataset or branch that is to have all")
      .argument("<sources...>", "branches or snapshots; their order does not matter"),
    "union-tracks",
  ).action(merge);
}

function withOptions(made: Command, strategy: MergeStrategy): Command {
  return made
    .addOption(
      new Option("--strategy <name>", "what to do where sides differ").choices(STRATEGIES).default(strategy),
    )
    .option("--dry-run", "tell what would be done, and write nothing")
    .addOption(
      new Option(
        "--on-unrelated-index <what>",
        "where both sides built an index of a field: refuse, or keep the larger and encode the other side's rows for it",
      )
        .choices(["refuse", "delta"])
        .default("refuse"),
    )
    .option("--conflicts <n>", "conflicts to tell in full; all are counted", countFrom(0), 20);
}

async function merge(name: string, sources: string[], options: MergeCliOptions): Promise<void> {
  const output = new Output(options);
  const dataset = await Dataset.open(name, await existingBackend(options.backend));
  const { strategy, dryRun = false, onUnrelatedIndex, conflicts: conflictLimit } = options;
  try {
    const result = await dataset.mergeMany(sources, { strategy, dryRun, onUnrelatedIndex, conflictLimit });
    output.result({ name, ...result }, () => describe(name, result, output));
    if (result.refusedBy !== undefined) process.exitCode = ExitCode.conflict;
  } finally {
    await dataset.close();
  }
}

function describe(name: string, result: MergeResult, output: Output): string {
  const { kind, rows, added, manifest, conflicts, conflictCount, tracks, isDryRun, refusedBy } = result;
  const lines: string[] = [];
  if (conflictCount > 0) lines.push(conflictTable(conflicts, output), "");
  const more = conflictCount - conflicts.length;
  if (more > 0) lines.push(`and ${plural(more, "conflict")} more (--conflicts)`, "");
  if (refusedBy !== undefined) lines.push(`would be refused: ${refusedBy}`);
  else if (kind === "up-to-date") lines.push(`${name} has it all already (${plural(rows, "record")})`);
  else {
    const verb = kind === "merge" ? "merged" : "moved on";
    const change = `${added < 0 ? added : `+${added}`} → ${plural(rows, "record")}`;
    lines.push(`${isDryRun ? `would be ${verb}` : verb}: ${change}`);
  }
  for (const [field, { encodedRows, unindexedRows }] of Object.entries(tracks)) {
    if (encodedRows > 0)
      lines.push(`${field}: ${plural(encodedRows, "row")} encoded for the index that stays`);
    if (unindexedRows > 0) lines.push(`${field}: ${plural(unindexedRows, "row")} in no index`);
  }
  if (manifest !== undefined && !isDryRun) lines.push(`${name} → ${manifest}`);
  return lines.join("\n");
}

function conflictTable(conflicts: readonly MergeConflict[], output: Output): string {
  const columns = [{ title: "conflict" }, { title: "at" }, { title: "differs" }, { title: "kept" }];
  const rows = conflicts.map((conflict) => {
    const kept = conflict.versions[conflict.kept]?.refs.join(", ");
    if (conflict.kind === "record")
      return ["record", conflict.anchor, conflict.fields.join(", "), `that of ${kept}`];
    return [
      conflict.kind,
      conflict.field,
      conflict.kind === "field" ? "compressor" : "index",
      `that of ${kept}`,
    ];
  });
  return table(columns, rows, output.style);
}
