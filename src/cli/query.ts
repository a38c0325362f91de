import { readFile } from "node:fs/promises";
import { text as readText } from "node:stream/consumers";
import type { Command } from "commander";
import { type Dataset, DreamDBError, type Explanation, type VectorQuery } from "../index.node.ts";
import { openDataset } from "./backend.ts";
import { type CommonOptions, command, countFrom, Output } from "./command.ts";
import { fileError } from "./failure.ts";
import { pairs, table } from "./table.ts";
import { bytesText, plural } from "./text.ts";
import { conditionsOf } from "./where.ts";

const EXAMPLES = `
dreamdb query photos --field embedding --vector '[0.1, 0.9, 0.3]'
dreamdb query photos --field embedding --like 1772366400000000000 --where label=cat --top-k 5
dreamdb query photos --field embedding --vector '[0.1, 0.9, 0.3]' --where '{"year": {"gte": 2020, "lt": 2024}}'
my-model "a red car" | dreamdb query photos --field embedding --vector-file - --json`;

interface QueryOptions extends CommonOptions {
  field: string;
  vector?: string;
  vectorFile?: string;
  like?: string;
  topK: number;
  where: string[];
  fields?: string;
  nprobe?: number;
  beam?: number;
  recall?: number;
  explain?: boolean;
  manifest?: string;
}

interface Hit {
  rank: number;
  distance: number;
  anchor: bigint;
  record: Record<string, unknown>;
}

/** A batch of hits of a dataset whose schema only the running program knows. */
type HitColumns = { _time_anchors: bigint[]; _distances: number[] } & Record<string, unknown[]>;

export function queryCommand(): Command {
  return command("query", "find the records nearest to a vector (cosine)", EXAMPLES)
    .argument("[name]", "dataset, branch or snapshot")
    .requiredOption("--field <name>", "vector field to search")
    .option("--vector <json>", "the query, as a JSON array of numbers")
    .option("--vector-file <path>", "a file with such an array; - for stdin")
    .option("--like <anchor>", "the vector of this record, which itself is left out")
    .option("--top-k <n>", "records to find", countFrom(1), 10)
    .option(
      "--where <condition>",
      "only records with this scalar value (field=value), or that meet a condition in JSON; may be repeated",
      (text: string, all: string[]) => [...all, text],
      [],
    )
    .option("--fields <a,b>", "fields to show (default: all scalars)")
    .option("--nprobe <n>", "cells to look at", countFrom(1))
    .option("--beam <n>", "records a walk along a graph keeps in view", countFrom(1))
    .option(
      "--recall <share>",
      "share of the true nearest to find with a built ivf index, such as 0.95",
      Number,
    )
    .option("--explain", "tell what the query did and cost instead of what it found")
    .option("--manifest <address>", "search a past state instead of a name")
    .action(query);
}

async function query(name: string | undefined, options: QueryOptions): Promise<void> {
  const output = new Output(options);
  const like = options.like === undefined ? undefined : parseAnchor(options.like);
  checkOneVector(options);
  const dataset = await openDataset(name, options.manifest, options.backend);
  if (options.explain === true) {
    const found = await dataset.explain(await queryOf(dataset, options, like));
    await dataset.close();
    output.result(found, () => pairs(Object.entries(explanation(found)), output.style));
    return;
  }
  const hits = await search(dataset, options, like);
  const document = { name: dataset.name, manifest: dataset.currentManifest(), field: options.field, hits };
  await dataset.close();
  output.result(document, () => describe(hits, output));
}

function checkOneVector(options: QueryOptions): void {
  const given = [options.vector, options.vectorFile, options.like].filter((text) => text !== undefined);
  if (given.length === 1) return;
  throw invalid("vector", plural(given.length, "query"), "exactly one of --vector, --vector-file and --like");
}

async function search(dataset: Dataset, options: QueryOptions, like: bigint | undefined): Promise<Hit[]> {
  const batches = await dataset.iterVector(await queryOf(dataset, options, like));
  const hits = (batches as unknown as HitColumns[]).flatMap(hitsOf).filter((hit) => hit.anchor !== like);
  return hits.slice(0, options.topK).map((hit, i) => ({ rank: i + 1, ...hit }));
}

async function queryOf(
  dataset: Dataset,
  options: QueryOptions,
  like: bigint | undefined,
): Promise<VectorQuery> {
  const { field, topK, nprobe, beam, recall } = options;
  const conditions = conditionsOf(dataset.schema.fields, options.where);
  return {
    field,
    query: like === undefined ? await givenVector(options) : await vectorOf(dataset, field, like),
    // One more, since the record that was asked about is its own nearest.
    topK: like === undefined ? topK : topK + 1,
    ...conditions,
    ...(options.fields === undefined ? {} : { fields: options.fields.split(",").map((part) => part.trim()) }),
    ...(nprobe === undefined ? {} : { nprobe }),
    ...(beam === undefined ? {} : { beam }),
    ...(recall === undefined ? {} : { recallTarget: recall }),
  };
}

/** The figures, each with its unit, in the order a reader asks for them. */
function explanation({ ms, measured, bytes, ...figures }: Explanation): Record<string, unknown> {
  return {
    ...figures,
    ...(measured === undefined
      ? {}
      : {
          measured: `recall ${measured.recall.toFixed(3)}, at least ${measured.lowerBound.toFixed(3)}, on ${measured.sample} records`,
        }),
    read: bytesText(bytes),
    "ms in all": ms.total.toFixed(1),
    "ms of the search": ms.search.toFixed(1),
  };
}

function hitsOf(batch: HitColumns): Omit<Hit, "rank">[] {
  const { _time_anchors: anchors, _distances: distances, ...columns } = batch;
  return anchors.map((anchor, i) => {
    const record = Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[i]]));
    return { distance: distances[i] as number, anchor, record };
  });
}

async function givenVector(options: QueryOptions): Promise<number[]> {
  const path = options.vectorFile;
  if (path === undefined) return parseVector(options.vector as string, "vector");
  const reading = path === "-" ? readText(process.stdin) : readFile(path, "utf8");
  const json = await reading.catch((error: unknown) => {
    throw fileError(error, path);
  });
  return parseVector(json, "vector-file");
}

function parseVector(text: string, option: string): number[] {
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.every((component) => typeof component === "number")) return value;
  } catch {
    // Told below, like every other text that is no vector.
  }
  throw invalid(option, text, "a JSON array of numbers, such as [0.1, 0.9]");
}

async function vectorOf(dataset: Dataset, field: string, anchor: bigint): Promise<Float32Array> {
  const record = await dataset.get(anchor, { fields: [field] });
  if (record === undefined) {
    throw new DreamDBError("NotFound", "no record has this anchor", {
      field: "like",
      found: anchor,
      expected: `an anchor of ${dataset.name}`,
    });
  }
  const vector: unknown = record[field];
  if (vector === undefined)
    throw new DreamDBError("NotFound", "this record has no vector", { field, found: anchor });
  return vector as Float32Array;
}

function parseAnchor(text: string): bigint {
  if (/^-?\d+$/.test(text)) return BigInt(text);
  throw new DreamDBError("InvalidAnchor", "not an anchor", {
    field: "like",
    found: text,
    expected: "Unix nanoseconds, in digits",
  });
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "this query can't be", { field, found, expected });
}

function describe(hits: readonly Hit[], output: Output): string {
  if (hits.length === 0) return "no records match";
  const names = Object.keys(hits[0]?.record ?? {});
  const columns = [
    { title: "rank", align: "right" as const },
    { title: "distance", align: "right" as const },
    { title: "anchor" },
    ...names.map((title) => ({ title })),
  ];
  const rows = hits.map(({ rank, distance, anchor, record }) => [
    rank,
    distance.toFixed(6),
    anchor,
    ...names.map((name) => record[name]),
  ]);
  return table(columns, rows, output.style);
}
