import type { Command } from "commander";
import { DreamDBError } from "../index.node.ts";
import { checkFreeName, openDataset } from "./backend.ts";
import { type CommonOptions, command, Output } from "./command.ts";

const EXAMPLES = `
dreamdb branch photos worker-0
dreamdb ingest worker-0 share-0.jsonl
dreamdb branch photos/2026-03 fixes
dreamdb branch again --manifest bciq…`;

interface BranchOptions extends CommonOptions {
  manifest?: string;
  dryRun?: boolean;
}

export function branchCommand(): Command {
  return command("branch", "create a branch of a dataset's present state, or of a past one", EXAMPLES)
    .argument("<name>", "dataset, branch or snapshot; with --manifest the new branch")
    .argument("[branch]", "name of the new branch; no ref may have or have had it")
    .option("--manifest <address>", "a past state instead of a name")
    .option("--dry-run", "only tell whether it could be done")
    .action(branch);
}

async function branch(name: string, created: string | undefined, options: BranchOptions): Promise<void> {
  const output = new Output(options);
  // With --manifest there is one name: the branch's.
  const source = options.manifest === undefined || created !== undefined ? name : undefined;
  const label = source === undefined ? name : created;
  if (label === undefined) throw missingName();
  const dataset = await openDataset(source, options.manifest, options.backend);
  if (options.dryRun === true) {
    await checkFreeName(label, options.backend);
    const facts = {
      name: label,
      dryRun: true,
      manifest: dataset.currentManifest(),
      records: await dataset.count(),
    };
    await dataset.close();
    output.result(facts, () => `would create ${label} → ${facts.manifest} (${facts.records} records)`);
    return;
  }
  const made = await dataset.branch(label);
  const manifest = made.currentManifest();
  const records = await made.count();
  await made.close();
  await dataset.close();
  output.result({ name: label, manifest, records }, () => `${label} → ${manifest} (${records} records)`);
}

function missingName(): DreamDBError {
  return new DreamDBError("InvalidArgument", "name the new branch", {
    field: "branch",
    found: undefined,
    expected: "dreamdb branch <name> <branch>",
  });
}
