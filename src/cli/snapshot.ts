import type { Command } from "commander";
import { Dataset } from "../index.node.ts";
import { existingBackend } from "./backend.ts";
import { type CommonOptions, command, Output } from "./command.ts";

const EXAMPLES = `
dreamdb snapshot photos photos/2026-03
dreamdb query photos/2026-03 --field embedding --vector '[0.1, 0.9]'`;

export function snapshotCommand(): Command {
  return command("snapshot", "pin a label to a dataset's present state, for good", EXAMPLES)
    .argument("<name>", "dataset")
    .argument("<label>", "name of the snapshot")
    .action(snapshot);
}

async function snapshot(name: string, label: string, options: CommonOptions): Promise<void> {
  const output = new Output(options);
  const dataset = await Dataset.open(name, await existingBackend(options.backend));
  const { manifest } = await dataset.snapshot(label);
  const records = await dataset.count();
  await dataset.close();
  output.result({ name, label, manifest, records }, () => `${label} → ${manifest} (${records} records)`);
}
