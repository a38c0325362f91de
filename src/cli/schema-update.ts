import type { Command } from "commander";
import { Dataset, type FieldChange } from "../index.node.ts";
import { existingBackend } from "./backend.ts";
import { type CommonOptions, command, Output } from "./command.ts";
import { declarationsOf, readSchema } from "./declaration.ts";
import { plural } from "./text.ts";

const EXAMPLES = `
dreamdb inspect photos --json | jq '{fields: .schema}' > schema.json
dreamdb schema-update photos schema.json --dry-run
dreamdb schema-update photos schema.json --drop thumbnail,old_label --json`;

const DETAILS = `
The file holds the whole new schema, as "dreamdb ingest --schema" takes it. Fields are told by their names. Of a field that is there
"required", "index", "rerank" and "mime" may change; it can be required only if every record has a value. A new field has no
value in the records that there are, so it can't be required unless there are none. No record is written anew: an index of a
scalar field covers what is appended from now on, and the rest once "dreamdb compact" rewrites it.

Snapshots and past states keep the schema that they have.
`;

interface SchemaUpdateOptions extends CommonOptions {
  drop?: string;
  dryRun?: boolean;
}

export function schemaUpdateCommand(): Command {
  return command(
    "schema-update",
    "change a dataset's fields and their flags, without ingesting anew",
    EXAMPLES,
    DETAILS,
  )
    .argument("<name>", "dataset or branch")
    .argument("<schema>", "file with the whole new schema, as JSON")
    .option("--drop <names>", "fields that the new schema leaves out, with commas; no other may be left out")
    .option("--dry-run", "tell what would change, or what stands in the way, and write nothing")
    .action(run);
}

async function run(name: string, path: string, options: SchemaUpdateOptions): Promise<void> {
  const output = new Output(options);
  const schema = await readSchema(path);
  const dryRun = options.dryRun === true;
  const drop = options.drop?.split(",").map((each) => each.trim()) ?? [];
  const dataset = await Dataset.open(name, await existingBackend(options.backend));
  try {
    const { manifest, changes } = await dataset.updateSchema(schema, { drop, dryRun });
    const fields = declarationsOf(dryRun ? schema.fields : dataset.schema.fields);
    output.result({ name, dryRun, manifest, changes, schema: fields }, () =>
      describe(changes, dryRun, manifest),
    );
  } finally {
    await dataset.close();
  }
}

function describe(changes: readonly FieldChange[], dryRun: boolean, manifest: string): string {
  if (changes.length === 0) return "nothing to change";
  const lines = changes.map(
    ({ change, field, properties = [] }) =>
      `${field}: ${[change, properties.join(", ")].filter(Boolean).join(" ")}`,
  );
  const told = plural(changes.length, "field");
  return [...lines, dryRun ? `would change ${told}` : `changed ${told} → ${manifest}`].join("\n");
}
