import type { Command } from "commander";
import { type Diff, diff, type RecordChange } from "../index.node.ts";
import { existingBackend } from "./backend.ts";
import { type CommonOptions, command, countFrom, Output } from "./command.ts";
import { table } from "./table.ts";
import { plural, toJson } from "./text.ts";

const EXAMPLES = `
dreamdb diff photos/2026-03 photos
dreamdb diff photos worker-0 --limit 5 --fields label
dreamdb diff photos worker-0 --json`;

interface DiffOptions extends CommonOptions {
  limit: number;
  fields?: string;
}

export function diffCommand(): Command {
  return command("diff", "show what one state has that another has not", EXAMPLES)
    .argument("<from>", "dataset, branch or snapshot, or address of a Manifest")
    .argument("<to>", "what to compare with it, of the same dataset")
    .option("--limit <n>", "records to show; 0 shows only counts", countFrom(0), 20)
    .option("--fields <names>", "fields to show, separated by commas; default all")
    .action(compare);
}

async function compare(from: string, to: string, options: DiffOptions): Promise<void> {
  const output = new Output(options);
  const found = await diff(await existingBackend(options.backend), from, to);
  const fields = options.fields?.split(",").map((name) => name.trim());
  const records: RecordChange[] = [];
  if (options.limit > 0) {
    for await (const record of found.records(fields === undefined ? {} : { fields })) {
      records.push(record);
      if (records.length === options.limit) break;
    }
  }
  const { records: _, ...counts } = found;
  output.result({ ...counts, records }, () => describe(found, records, output));
}

const SIGNS = { added: "+", removed: "-", changed: "~" } as const;

function describe(found: Diff, records: readonly RecordChange[], output: Output): string {
  const { rows, added, removed, changed, fields, indexes } = found;
  const lines = [
    `${plural(rows.from, "record")} → ${plural(rows.to, "record")}: ${added} added, ${removed} removed, ${changed} changed`,
  ];
  for (const { change, field, properties } of fields)
    lines.push(`field ${field} ${change}${properties === undefined ? "" : `: ${properties.join(", ")}`}`);
  for (const { field, before, after } of indexes)
    lines.push(`index of ${field}: ${before.spatialIndex} → ${after.spatialIndex}`);
  if (records.length === 0) return lines.join("\n");
  const columns = [{ title: "" }, { title: "anchor" }, { title: "differs" }, { title: "record" }];
  const shown = records.map(({ change, anchor, fields: differing = [], before, after }) => [
    SIGNS[change],
    anchor,
    differing.join(", "),
    toJson(after ?? before),
  ]);
  lines.push("", table(columns, shown, output.style));
  const more = added + removed + changed - records.length;
  if (more > 0) lines.push(`and ${more} more (--limit)`);
  return lines.join("\n");
}
