/** JSON Lines: one object a line, from a file or a pipe. */
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { DreamDBError } from "../index.node.ts";
import type { Declaration } from "./declaration.ts";
import { fileError } from "./failure.ts";
import { inferFields } from "./infer.ts";
import { linesOf } from "./lines.ts";
import type { Row, Source, SourceOptions, SourceProgress } from "./source.ts";

/** @param path "-" for stdin */
export async function openJsonLines(path: string, options: SourceOptions): Promise<Source> {
  if (path === "-") return new JsonLines(process.stdin, undefined, options, options.base ?? ".");
  try {
    const file = await open(path);
    const { size } = await file.stat();
    // A pipe or device has no size to count up to.
    return new JsonLines(
      chunksOf(file, path),
      size > 0 ? size : undefined,
      options,
      options.base ?? dirname(path),
    );
  } catch (error) {
    throw fileError(error, path);
  }
}

async function* chunksOf(file: FileHandle, path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream("", { fd: file, highWaterMark: 1 << 20 });
  } catch (error) {
    throw fileError(error, path);
  }
}

class JsonLines implements Source {
  readonly base: string;
  readonly progress: SourceProgress;
  private readonly options: SourceOptions;
  private readonly reading: AsyncGenerator<Row>;
  private readonly looked: Row[] = [];

  constructor(
    chunks: AsyncIterable<Uint8Array>,
    total: number | undefined,
    options: SourceOptions,
    base: string,
  ) {
    this.base = resolve(base);
    this.options = options;
    this.progress = { unit: "bytes", done: 0, total };
    this.reading = rowsOf(this.counted(chunks));
  }

  async infer(): Promise<Declaration[]> {
    while (this.looked.length < this.options.batch) {
      const next = await this.reading.next();
      if (next.done) break;
      this.looked.push(next.value);
    }
    const { anchorField } = this.options;
    return inferFields(this.looked, { base: this.base, anchorField, text: "string" });
  }

  async *rows(): AsyncGenerator<Row> {
    yield* this.looked.splice(0);
    yield* this.reading;
  }

  async close(): Promise<void> {
    await this.reading.return(undefined);
  }

  private async *counted(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      this.progress.done += chunk.length;
      yield chunk;
    }
  }
}

async function* rowsOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Row> {
  for await (const { number, text } of linesOf(chunks)) {
    if (text.trim() === "") continue;
    yield { where: `line ${number}`, values: parseObject(text, `line ${number}`) };
  }
}

/** Errors: `InvalidArgument` naming the place, for text that is no JSON object. */
export function parseObject(text: string, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DreamDBError("InvalidArgument", `${where} is not JSON: ${(cause as Error).message}`, {
      committed: "no",
      cause,
    });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new DreamDBError("InvalidArgument", `${where} is no JSON object`, {
    found: value,
    expected: "one object a line",
    committed: "no",
  });
}
