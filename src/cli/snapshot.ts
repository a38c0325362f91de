import type { Command } from "commander";
import { Dataset } from "../index.node.ts";
import { checkFreeName, existingBackend } from "./backend.ts";
import { type CommonOptions, command, Output } from "./command.ts";

const EXAMPLES = `
dreamdb snapshot photos photos/2026-03
dreamdb query photos/2026-03 --field embedding --vector '[0.1, 0.9]'`;

interface SnapshotOptions extends CommonOptions {
  dryRun?: boolean;
}

export function snapshotCommand(): Command {
  return command("snapshot", "pin a label to a dataset's present state, for good", EXAMPLES)
    .argument("<name>", "dataset")
    .argument("<label>", "name of the new one; no ref may have it")
    .option("--dry-run", "only tell whether it could be done")
    .action(snapshot);
}

async function snapshot(name: string, label: string, options: SnapshotOptions): Promise<void> {
  const output = new Output(options);
  const backend = await existingBackend(options.backend);
  const dataset = await Dataset.open(name, backend);
  if (options.dryRun === true) {
    await checkFreeName(label, backend);
    const facts = {
      name,
      label,
      dryRun: true,
      manifest: dataset.currentManifest(),
      records: await dataset.count(),
    };
    await dataset.close();
    output.result(facts, () => `would pin ${label} → ${facts.manifest} (${facts.records} records)`);
    return;
  }
  const { manifest } = await dataset.snapshot(label);
  const records = await dataset.count();
  await dataset.close();
  output.result({ name, label, manifest, records }, () => `${label} → ${manifest} (${records} records)`);
}
