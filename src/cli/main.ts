#!/usr/bin/env node
/** `dreamdb`: one command, one verb. */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { adaIvfStatusCommand, adaIvfStepCommand } from "./ada-ivf.ts";
import { branchCommand } from "./branch.ts";
import { buildGraphCommand } from "./build-graph.ts";
import { compactCommand } from "./compact.ts";
import { completionCommand } from "./completion.ts";
import { deleteCommand } from "./delete.ts";
import { diffCommand } from "./diff.ts";
import { EXIT_STATUS } from "./exit-code.ts";
import { report } from "./failure.ts";
import { fsckCommand } from "./fsck.ts";
import { gcCommand } from "./gc.ts";
import { withManual } from "./help.ts";
import { ingestCommand } from "./ingest.ts";
import { inspectCommand } from "./inspect.ts";
import { mergeCommand, mergeManyCommand } from "./merge.ts";
import { queryCommand } from "./query.ts";
import { publishPqCommand, publishRabitqCommand, rebuildIvfCommand } from "./rebuild-ivf.ts";
import { refsCommand } from "./refs.ts";
import { schemaUpdateCommand } from "./schema-update.ts";
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
  schemaUpdateCommand,
  fsckCommand,
  gcCommand,
  completionCommand,
];

const EXAMPLES = `
dreamdb ingest photos ./photos --labels labels.csv
dreamdb query photos --field embedding --vector '[0.1, 0.9, 0.3]'
dreamdb inspect photos --json`;

const DETAILS = `
Every command takes --json, and --help for its own page. Results go to stdout; progress, notes and errors to stderr.
`;

function program(): Command {
  const root = new Command("dreamdb")
    .description("searchable, versioned, content-addressed datasets in a directory or an object store")
    .version(version(), "--version", "print the version")
    .helpCommand(false);
  withManual(root, { details: DETAILS, examples: EXAMPLES, exitStatus: EXIT_STATUS });
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
