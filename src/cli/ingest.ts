import { stat } from "node:fs/promises";
import { extname } from "node:path";
import { type Command, Option } from "commander";
import {
  Dataset,
  DreamDBError,
  type FieldSpec,
  isDreamDBError,
  memoryStore,
  type Schema,
} from "../index.node.ts";
import { openArrow } from "./arrow.ts";
import { type CommonOptions, command, countFrom, Output } from "./command.ts";
import { checkSameFields, declarationsOf, readSchema, schemaOf, schemaTable } from "./declaration.ts";
import { fileError } from "./failure.ts";
import { openImageFolder } from "./image-folder.ts";
import { openJsonLines } from "./json-lines.ts";
import { Loader } from "./loader.ts";
import { Progress } from "./progress.ts";
import type { Source } from "./source.ts";
import { pairs } from "./table.ts";
import { plural } from "./text.ts";

const EXAMPLES = `
dreamdb ingest notes notes.jsonl
dreamdb ingest photos ./photos --labels labels.csv
dreamdb ingest vectors embeddings.arrow --anchor-field time
zcat big.jsonl.gz | dreamdb ingest big - --schema schema.json --batch 10000`;

const DETAILS = `
Sources:
  jsonl   one JSON object a line; vectors as arrays, media as {"$file": "path"} or {"$base64": "…"},
          integers beyond 2^53 as text, an anchor of the row's own as "_anchor"
  images  a folder, searched recursively for png, jpg, jpeg, gif and webp files
  arrow   an Arrow IPC file or stream (.arrow, .feather, .arrows); needs the package apache-arrow

A new dataset gets the schema of --schema, or one inferred from the first batch, which is printed.
A dataset that exists keeps its own. A dry run does not look whether anchors are taken. Each batch is one commit: what was committed stays, whatever comes after.
`;

interface IngestOptions extends CommonOptions {
  schema?: string;
  batch: number;
  format?: Format;
  labels?: string;
  allowUnlabelled?: boolean;
  anchorField?: string;
  base?: string;
  skip: number;
  create?: boolean;
  append?: boolean;
  dryRun?: boolean;
}

type Format = "images" | "jsonl" | "arrow";

const FORMATS: Record<string, Format> = {
  ".jsonl": "jsonl",
  ".ndjson": "jsonl",
  ".arrow": "arrow",
  ".arrows": "arrow",
  ".feather": "arrow",
};

export function ingestCommand(): Command {
  return command(
    "ingest",
    "add records from a file, a folder of images or stdin; creates the dataset when there is none",
    EXAMPLES,
    DETAILS,
  )
    .argument("<name>", "dataset")
    .argument("<source>", "file or folder; - for stdin")
    .option("--schema <path>", "schema of a new dataset, as JSON")
    .option("--batch <n>", "records a commit at most (fewer when they are large)", countFrom(1), 1000)
    .addOption(
      new Option("--format <format>", "what the source is (default: guessed from its name)").choices([
        "images",
        "jsonl",
        "arrow",
      ]),
    )
    .option("--labels <path>", "table of the images: .csv, .tsv, .jsonl or .json")
    .option("--allow-unlabelled", "take images that the labels don't name, too")
    .option(
      "--anchor-field <name>",
      'where a row has its anchor: Unix nanoseconds or a time (default: "_anchor")',
    )
    .option(
      "--base <folder>",
      "folder of media files (default: the source's own, or the current one for stdin)",
    )
    .option(
      "--skip <n>",
      "leave out the first n rows, such as those that an earlier run committed",
      countFrom(0),
      0,
    )
    .addOption(new Option("--create", "only create: fail when the dataset exists").conflicts("append"))
    .option("--append", "only append: fail when the dataset does not exist")
    .option("--dry-run", "read everything and check it against the schema, and write nothing")
    .action(ingest);
}

async function ingest(name: string, path: string, options: IngestOptions): Promise<void> {
  const output = new Output(options);
  const startedAt = performance.now();
  const isDryRun = options.dryRun === true;
  const wanted = options.schema === undefined ? undefined : await readSchema(options.schema);
  const stored = await openIfThere(name, options);
  if (stored !== undefined && wanted !== undefined) checkSameFields(stored.schema.fields, wanted.fields);
  const source = await openSource(path, options, output);
  try {
    const schema = stored?.schema ?? wanted ?? (await inferSchema(source, output));
    let created = false;
    const loader = new Loader({
      base: source.base,
      fields: schema.fields,
      anchorField: options.anchorField,
      batch: options.batch,
      skip: options.skip,
      isDryRun,
      open: async () => {
        if (isDryRun) return Dataset.create("dry-run", schema, memoryStore());
        if (stored !== undefined) return stored;
        const made = await create(name, schema, options);
        created = made.created;
        return made.dataset;
      },
    });
    await load(loader, source, schema.fields, output);
    if (isDryRun) {
      const { records, batches } = loader;
      const total = (await stored?.count()) ?? 0;
      const facts = {
        name,
        dryRun: true,
        created: stored === undefined,
        records,
        batches,
        total: total + records,
      };
      output.result(
        { ...facts, schema: declarationsOf(schema.fields) },
        () =>
          `would ${stored === undefined ? "create" : "append to"} ${name}: ${plural(records, "record")} in ${plural(batches, "commit")}, ${facts.total} in all`,
      );
      return;
    }
    const dataset = await loader.finish();
    const seconds = (performance.now() - startedAt) / 1000;
    const facts = {
      name,
      created,
      records: loader.records,
      batches: loader.batches,
      seconds: Number(seconds.toFixed(3)),
      recordsPerSecond: Math.round(loader.records / seconds),
      total: await dataset.count(),
      manifest: dataset.currentManifest(),
    };
    await dataset.close();
    output.result({ ...facts, schema: declarationsOf(schema.fields) }, () =>
      describe(facts, schema.fields, output),
    );
  } finally {
    await source.close();
  }
}

async function openIfThere(name: string, options: IngestOptions): Promise<Dataset | undefined> {
  const found = await Dataset.open(name, options.backend).catch((error: unknown) => {
    if (isDreamDBError(error, "NotFound") && error.field === "name" && !options.append) return undefined;
    throw error;
  });
  if (found !== undefined && options.create) {
    throw new DreamDBError("AlreadyExists", "the dataset exists", {
      field: "name",
      found: name,
      expected: "a new name, or no --create",
    });
  }
  if (found?.isWritable === false) {
    throw new DreamDBError("ReadOnly", "a snapshot can't be written", {
      field: "name",
      found: name,
      expected: "a dataset or branch",
    });
  }
  return found;
}

/** Two runs may race to create one dataset: the loser appends to the winner's, if that has the same fields. */
async function create(
  name: string,
  schema: Schema,
  options: IngestOptions,
): Promise<{ dataset: Dataset; created: boolean }> {
  try {
    return { dataset: await Dataset.create(name, schema, options.backend), created: true };
  } catch (error) {
    if (!isDreamDBError(error, "AlreadyExists") || options.create) throw error;
    const dataset = await Dataset.open(name, options.backend);
    checkSameFields(dataset.schema.fields, schema.fields);
    return { dataset, created: false };
  }
}

async function openSource(path: string, options: IngestOptions, output: Output): Promise<Source> {
  const format = options.format ?? (await guessFormat(path));
  const { batch, anchorField = "_anchor", base, labels, allowUnlabelled = false } = options;
  const shared = { batch, anchorField, base };
  if (format === "images")
    return openImageFolder(path, { ...shared, labels, allowUnlabelled, note: (text) => output.note(text) });
  if (labels !== undefined)
    throw new DreamDBError("InvalidArgument", "--labels goes with a folder of images", {
      field: "labels",
      found: labels,
    });
  return format === "arrow" ? openArrow(path, shared) : openJsonLines(path, shared);
}

async function guessFormat(path: string): Promise<Format> {
  if (path === "-") return "jsonl";
  const found = await stat(path).catch((error: unknown) => {
    throw fileError(error, path);
  });
  const format = found.isDirectory() ? "images" : FORMATS[extname(path).toLowerCase()];
  if (format !== undefined) return format;
  throw new DreamDBError("InvalidArgument", "can't tell what the source is", {
    field: "source",
    found: path,
    expected: `a folder, ${Object.keys(FORMATS).join(", ")}, or --format`,
  });
}

async function inferSchema(source: Source, output: Output): Promise<Schema> {
  const declarations = await source.infer();
  if (declarations.length === 0) {
    throw new DreamDBError("InvalidArgument", "the source is empty, so it shows no schema", {
      field: "source",
      expected: "at least one record, or --schema",
    });
  }
  const schema = schemaOf(declarations);
  const lines = declarationsOf(schema.fields).map((field) => `  ${JSON.stringify(field)}`);
  output.note(`inferred schema:\n{"fields": [\n${lines.join(",\n")}\n]}`);
  return schema;
}

async function load(
  loader: Loader,
  source: Source,
  fields: readonly FieldSpec[],
  output: Output,
): Promise<void> {
  const { unit, total } = source.progress;
  const progress = new Progress({ label: "ingesting", unit, total, isQuiet: output.isQuiet });
  try {
    await loader.load(source.rows(fields), () =>
      progress.update(source.progress.done, `${loader.records} records committed`),
    );
  } finally {
    progress.stop();
  }
}

function describe(
  facts: { name: string; created: boolean; seconds: number } & Record<string, unknown>,
  fields: readonly FieldSpec[],
  output: Output,
): string {
  const { name, created, records, batches, seconds, recordsPerSecond, total, manifest } = facts;
  const lines = pairs(
    [
      ["dataset", `${name} (${created ? "created" : "appended to"})`],
      ["records", `${records} in ${batches} commits, ${total} in all`],
      ["time", `${seconds.toFixed(2)} s, ${recordsPerSecond} records/s`],
      ["manifest", manifest],
    ],
    output.style,
  );
  return `${lines}\n\n${schemaTable(fields, output.style)}`;
}
