import type { Command } from "commander";
import { listRefs, type RefEntry } from "../index.node.ts";
import { existingBackend } from "./backend.ts";
import { type CommonOptions, command, Output } from "./command.ts";
import { table } from "./table.ts";

const EXAMPLES = `
dreamdb refs
dreamdb refs --backend /data/store --json`;

const COLUMNS = [
  { title: "name" },
  { title: "type" },
  { title: "seq", align: "right" as const },
  { title: "manifest" },
];

export function refsCommand(): Command {
  return command("refs", "list datasets, branches and snapshots", EXAMPLES).action(refs);
}

async function refs(options: CommonOptions): Promise<void> {
  const output = new Output(options);
  const found = await listRefs(await existingBackend(options.backend));
  output.result({ refs: found }, () => {
    if (found.length === 0) return "no datasets yet";
    return table(
      COLUMNS,
      found.map((ref) => [ref.name, typeName(ref), ref.seq, ref.manifest]),
      output.style,
    );
  });
}

function typeName(ref: RefEntry): string {
  return ref.type === "tag" ? "snapshot" : ref.type;
}
