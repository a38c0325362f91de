/** Processes that append to one dataset (test/fixtures/dataset-contend.mjs), and the check of what they leave behind. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect } from "@jest/globals";
import { build } from "esbuild";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { rowsOf } from "./records.ts";

export const contendedSchema = new Schema()
  .addScalarCategorical("writer")
  .addScalarInt("n")
  .addEmbedding("v", { dim: 2, algorithm: "dreamdb.lsh-cosine", lshBits: 2 });

/** An append that a process was told of. */
export interface Acknowledged {
  writer: string;
  n: number;
  seq: number;
  anchor: string;
  ms: number;
}

export interface Ending {
  acknowledged: Acknowledged[];
  /** How often each code was met on the way. */
  errors: Record<string, number>;
  failed?: unknown;
}

/** Starts writers; all that live are ended after the tests of the file. */
export interface Contenders {
  /**
   * @param onAcknowledged called with every append that is in
   * @param end ends it after the append under way, however many are still to come
   */
  append(
    url: string,
    writer: string,
    times: number,
    options?: object,
    onAcknowledged?: (so: Acknowledged) => void,
    end?: Promise<unknown>,
  ): Promise<Ending>;
}

/** The library is bundled from the source of this moment, beside node_modules, where the SDK is found. */
export function contenders(): Contenders {
  const folder = resolve(`build/contenders-${process.pid}-${Date.now()}`);
  const module = join(folder, "dreamdb.mjs");
  const living = new Set<ChildProcess>();
  beforeAll(async () => {
    mkdirSync(folder, { recursive: true });
    await build({
      entryPoints: ["src/index.node.ts"],
      outfile: module,
      bundle: true,
      platform: "node",
      format: "esm",
      ignoreAnnotations: true,
      external: ["@aws-sdk/*", "apache-arrow"],
      logLevel: "error",
    });
  });
  afterAll(() => {
    for (const child of living) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    append: (url, writer, times, options = {}, onAcknowledged = () => {}, end = undefined) =>
      new Promise((done) => {
        const script = resolve("test/fixtures/dataset-contend.mjs");
        const args = [
          pathToFileURL(module).href,
          url,
          "main",
          writer,
          String(times),
          JSON.stringify(options),
        ];
        const child = spawn(process.execPath, ["--no-warnings", script, ...args], {
          stdio: ["pipe", "pipe", "inherit"],
        });
        void end?.then(() => child.stdin.end());
        living.add(child);
        const ending: Ending = { acknowledged: [], errors: {}, failed: "ended without a word" };
        createInterface({ input: child.stdout }).on("line", (line) => {
          const said = JSON.parse(line);
          if (said.n !== undefined) {
            ending.acknowledged.push(said);
            onAcknowledged(said);
            return;
          }
          Object.assign(ending, { errors: said.errors });
          if (said.done) delete ending.failed;
          else ending.failed = said.failed;
        });
        child.on("close", () => {
          living.delete(child);
          done(ending);
        });
      }),
  };
}

/** Errors unless each append is in exactly once, as it was acknowledged, in one line of history. @param times of each writer */
export async function expectAllIn(url: string, endings: Ending[], times?: number): Promise<void> {
  expect(endings.map(({ failed }) => failed)).toEqual(endings.map(() => undefined));
  const total = endings.reduce((sum, { acknowledged }) => sum + (times ?? acknowledged.length), 0);
  const dataset = await Dataset.open("main", url);
  const rows = await rowsOf(dataset);
  const found = rows.map((row) => `${row.writer} ${row.n} ${row._anchor}`).sort();
  const said = endings.flatMap(({ acknowledged }) =>
    acknowledged.map(({ writer, n, anchor }) => `${writer} ${n} ${anchor}`),
  );
  expect(said.length).toBe(total);
  expect(found).toEqual(said.sort());
  expect(rows.every((row) => (row.v as Float32Array)[0] === (row.n as number) + 1)).toBe(true);
  expect(new Set(rows.map((row) => row._anchor)).size).toBe(total);

  const history = await dataset.history(total + 10);
  expect(history.map(({ seq }) => seq)).toEqual(Array.from({ length: total + 1 }, (_, i) => total - i));
  const seqs = endings.flatMap(({ acknowledged }) => acknowledged.map(({ seq }) => seq));
  expect(seqs.sort((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, i) => i + 1));
  expect(await fsck(url)).toMatchObject({ ok: true, rows: total, problems: [] });
}

export function sumOfErrors(endings: Ending[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const { errors } of endings)
    for (const [code, times] of Object.entries(errors)) sum[code] = (sum[code] ?? 0) + times;
  return sum;
}
