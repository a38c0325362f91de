import type { Command } from "commander";
import { Dataset, DreamDBError, type Where } from "../index.node.ts";
import { existingBackend } from "./backend.ts";
import { type CommonOptions, command, Output } from "./command.ts";
import { plural } from "./text.ts";
import { conditionsOf } from "./where.ts";

const EXAMPLES = `
dreamdb delete photos --anchor 1779083474791115000 --reason "asked for by the person shown"
dreamdb delete photos --where '{"taken": {"lt": "2020-01-01T00:00:00Z"}}' --dry-run
dreamdb delete photos --where label=cat --where '{"score": {"lt": 0.2}}' --json`;

const DETAILS = `
No read of any branch or snapshot of the dataset returns a deleted record again. There is no undo. The bytes stay until
"dreamdb compact --purge" leaves them out of the state of now, and older states are given up.
`;

interface DeleteCliOptions extends CommonOptions {
  anchor: string[];
  where: string[];
  reason: string;
  dryRun?: boolean;
}

export function deleteCommand(): Command {
  const all = (value: string, before: string[]): string[] => [...before, value];
  return command("delete", "delete records, from every branch and snapshot, for good", EXAMPLES, DETAILS)
    .argument("<name>", "dataset or branch")
    .option("--anchor <ns>", "a record, by its anchor in Unix nanoseconds; may be given again", all, [])
    .option("--where <condition>", "field=value, or a condition in JSON; may be given again", all, [])
    .option("--reason <text>", "kept with the deletion", "")
    .option("--dry-run", "only count the records that would be deleted")
    .action(run);
}

async function run(name: string, options: DeleteCliOptions): Promise<void> {
  const output = new Output(options);
  const isByAnchor = options.anchor.length > 0;
  if (isByAnchor === options.where.length > 0)
    throw invalid("delete", isByAnchor ? "both --anchor and --where" : "neither", "--anchor or --where");
  const anchors = options.anchor.map(anchorOf);
  const dataset = await Dataset.open(name, await existingBackend(options.backend));
  try {
    const doomed = isByAnchor ? anchors : { where: whereOf(dataset, options.where) };
    const before = await dataset.count();
    if (options.dryRun === true) {
      const records = isByAnchor
        ? await present(dataset, anchors)
        : await matching(dataset, doomed as { where: Where });
      const document = { name, dryRun: true, records, manifest: dataset.currentManifest() };
      output.result(document, () => `would delete ${plural(records, "record")} of ${before}`);
      return;
    }
    const manifest = await dataset.delete(doomed, { reason: options.reason });
    const left = await dataset.count();
    output.result({ name, dryRun: false, records: before - left, left, manifest }, () =>
      before === left
        ? "nothing to delete"
        : `deleted ${plural(before - left, "record")}, ${left} left → ${manifest}`,
    );
  } finally {
    await dataset.close();
  }
}

function anchorOf(text: string): bigint {
  if (/^\d{1,20}$/.test(text)) return BigInt(text);
  throw invalid("anchor", text, "Unix nanoseconds as digits");
}

function whereOf(dataset: Dataset, texts: readonly string[]): Where {
  const { where, whereEq } = conditionsOf(dataset.schema.fields, texts);
  const equalities = Object.entries(whereEq).map(([field, value]) => ({ [field]: { eq: value } }) as Where);
  return { and: [...where.and, ...equalities] };
}

async function present(dataset: Dataset, anchors: readonly bigint[]): Promise<number> {
  let records = 0;
  for (const anchor of new Set(anchors))
    if ((await dataset.get(anchor, { fields: [] })) !== undefined) records++;
  return records;
}

async function matching(dataset: Dataset, { where }: { where: Where }): Promise<number> {
  let records = 0;
  for await (const { _time_anchors } of dataset.iterStream({ where, fields: [], batchSize: 65_536 }))
    records += _time_anchors.length;
  return records;
}

function invalid(field: string, found: string, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "this can't be deleted", { field, found, expected });
}
