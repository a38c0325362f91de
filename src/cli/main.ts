#!/usr/bin/env node
/** `dreamdb`: one command, one verb. */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { adaIvfStatusCommand, adaIvfStepCommand } from "./ada-ivf.ts";
import { branchCommand } from "./branch.ts";
import { buildGraphCommand } from "./build-graph.ts";
import { compactCommand } from "./compact.ts";
import { deleteCommand } from "./delete.ts";
import { diffCommand } from "./diff.ts";
import { EXIT_CODES_HELP } from "./exit-code.ts";
import { report } from "./failure.ts";
import { fsckCommand } from "./fsck.ts";
import { ingestCommand } from "./ingest.ts";
import { inspectCommand } from "./inspect.ts";
import { mergeCommand, mergeManyCommand } from "./merge.ts";
import { queryCommand } from "./query.ts";
import { publishPqCommand, publishRabitqCommand, rebuildIvfCommand } from "./rebuild-ivf.ts";
import { refsCommand } from "./refs.ts";
import { snapshotCommand } from "./snapshot.ts";
import { surviveClosedPipes } from "./terminal.ts";

const commands = [
  ingestCommand,
  queryCommand,
  inspectCommand,
  rebuildIvfCommand,
  publishRabitqCommand,
  publishPqCommand,
  buildGraphCommand,
  adaIvfStatusCommand,
  adaIvfStepCommand,
  compactCommand,
  deleteCommand,
  snapshotCommand,
  branchCommand,
  mergeCommand,
  mergeManyCommand,
  diffCommand,
  refsCommand,
  fsckCommand,
];

function program(): Command {
  const root = new Command("dreamdb")
    .description("Searchable, versioned, content-addressed datasets in a plain directory.")
    .version(version(), "--version", "print the version")
    .addHelpText("after", `${EXIT_CODES_HELP}\n\nEvery command takes --json, and --help with examples.`);
  for (const create of commands) root.addCommand(create());
  for (const each of [root, ...root.commands])
    each.exitOverride().configureOutput({ outputError: () => undefined });
  return root;
}

function version(): string {
  const manifest = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}

surviveClosedPipes();
try {
  await program().parseAsync();
} catch (error) {
  // Not process.exit: what was written to a pipe must arrive first.
  process.exitCode = report(error, process.argv.includes("--json"));
}
