/** What is known of files: a table with the file's name in one column. */
import { readFile } from "node:fs/promises";
import { extname, posix } from "node:path";
import { DreamDBError, isDreamDBError } from "../index.node.ts";
import { parseCsv } from "./csv.ts";
import { fileError } from "./failure.ts";
import { parseObject } from "./json-lines.ts";

/** Each file's values, by its path below the folder; the column that names it is not among them. */
export type Labels = Map<string, Record<string, unknown>>;

type Entry = { line: number; file: unknown; values: Record<string, unknown> };

/** Errors: `NotFound`, `InvalidArgument` with the line, also for a file that is named twice. */
export async function readLabels(path: string): Promise<Labels> {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path));
    return collect(entriesOf(text, path));
  } catch (error) {
    if (isDreamDBError(error))
      throw new DreamDBError(error.code, `${path}: ${error.message}`, { cause: error });
    if (error instanceof TypeError)
      throw new DreamDBError("InvalidArgument", "not UTF-8", { field: "labels", found: path, cause: error });
    throw fileError(error, path);
  }
}

function entriesOf(text: string, path: string): Entry[] {
  switch (extname(path).toLowerCase()) {
    case ".csv":
      return fromCsv(text, ",");
    case ".tsv":
      return fromCsv(text, "\t");
    case ".jsonl":
    case ".ndjson":
      return fromJsonLines(text);
    case ".json":
      return fromJson(text);
    default:
      throw new DreamDBError("InvalidArgument", "not a kind of labels file", {
        field: "labels",
        found: path,
        expected: ".csv, .tsv, .jsonl or .json",
      });
  }
}

/** The file's name is in the column `file`, or else in the first. An empty cell means no value. */
function fromCsv(text: string, separator: "," | "\t"): Entry[] {
  const [header, ...rows] = parseCsv(text, separator);
  const names = header?.cells.map((name) => name.trim()) ?? [];
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (names.length === 0 || twice !== undefined) {
    throw new DreamDBError("InvalidArgument", "line 1 is no header", {
      found: twice ?? "nothing",
      expected: "a name for each column, all different",
    });
  }
  const fileAt = Math.max(0, names.indexOf("file"));
  return rows.map(({ line, cells }) => {
    const values = names.flatMap((name, i) =>
      i === fileAt ? [] : [[name, cells[i] === "" ? undefined : cells[i]]],
    );
    return { line, file: cells[fileAt], values: Object.fromEntries(values) as Record<string, unknown> };
  });
}

function fromJsonLines(text: string): Entry[] {
  return text
    .replace(/^\ufeff/, "")
    .split("\n")
    .flatMap((line, i) =>
      line.trim() === "" ? [] : [fromObject(parseObject(line, `line ${i + 1}`), i + 1)],
    );
}

/** An array of rows, or an object that gives each file its label or its row. */
function fromJson(text: string): Entry[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new DreamDBError("InvalidArgument", `not JSON: ${(cause as Error).message}`, { cause });
  }
  if (Array.isArray(json))
    return json.map((row, i) => fromObject(parseObject(JSON.stringify(row), `row ${i + 1}`), i + 1));
  return Object.entries(parseObject(text, "the document")).map(([file, value], i) => {
    const isRow = typeof value === "object" && value !== null && !Array.isArray(value);
    return { line: i + 1, file, values: isRow ? (value as Record<string, unknown>) : { label: value } };
  });
}

function fromObject({ file, ...values }: Record<string, unknown>, line: number): Entry {
  return { line, file, values };
}

function collect(entries: readonly Entry[]): Labels {
  const labels: Labels = new Map();
  for (const { line, file, values } of entries) {
    if (typeof file !== "string" || file === "") {
      throw new DreamDBError("InvalidArgument", `line ${line} names no file`, {
        field: "file",
        found: file,
        expected: "a path below the folder",
      });
    }
    const path = posix.normalize(file.replaceAll("\\", "/"));
    if (labels.has(path))
      throw new DreamDBError("InvalidArgument", `line ${line} names a file again`, {
        field: "file",
        found: file,
        expected: "each file once",
      });
    labels.set(path, values);
  }
  return labels;
}
