/** Runs the built command as people do: a process of its own, in an empty directory. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterAll } from "@jest/globals";

const MAIN = resolve("build/lib/cli/main.js");

export interface Outcome {
  status: number | null;
  stdout: string;
  stderr: string;
  /** The document on stdout. */
  // biome-ignore lint/suspicious/noExplicitAny: documents differ from command to command
  json: () => any;
}

export interface RunOptions {
  input?: string | Uint8Array;
  env?: Record<string, string>;
}

export interface Workplace {
  path: string;
  /** Writes a file and returns its path. */
  file: (name: string, content: string | Uint8Array) => string;
  /** The store is the default one, `./dreamdb`. */
  run: (args: readonly string[], options?: RunOptions) => Outcome;
}

/** A function that makes fresh working directories, all removed after the tests of the file. */
export function workplaces(): () => Workplace {
  const base = mkdtempSync(join(tmpdir(), "dreamdb-cli-"));
  let count = 0;
  afterAll(() => rmSync(base, { recursive: true, force: true }));
  return () => {
    const path = join(base, `w${count++}`);
    mkdirSync(path);
    return {
      path,
      file: (name, content) => writeBelow(path, name, content),
      run: (args, options) => run(path, args, options),
    };
  };
}

function writeBelow(base: string, name: string, content: string | Uint8Array): string {
  const path = join(base, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

function run(cwd: string, args: readonly string[], { input = "", env = {} }: RunOptions = {}): Outcome {
  const { DREAMDB_BACKEND: _, NODE_OPTIONS: __, ...inherited } = process.env;
  const done = spawnSync(process.execPath, [MAIN, ...args], {
    cwd,
    input,
    encoding: "utf8",
    env: { ...inherited, ...env },
    timeout: 50_000,
    maxBuffer: 64 << 20,
  });
  const { status, stdout, stderr } = done;
  return { status, stdout, stderr, json: () => JSON.parse(stdout) };
}

export function jsonLines(rows: readonly unknown[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
}

/** Bytes that begin like a PNG; nothing here decodes pixels. */
export function png(seed: number): Uint8Array {
  return Uint8Array.from([
    0x89,
    0x50,
    0x4e,
    0x47,
    0x0d,
    0x0a,
    0x1a,
    0x0a,
    seed,
    seed + 1,
    seed + 2,
    seed + 3,
  ]);
}

export function jpeg(seed: number): Uint8Array {
  return Uint8Array.from([0xff, 0xd8, 0xff, 0xe0, 0, 16, 74, 70, 73, 70, seed, 0]);
}

/** Every file below a directory, by its path from there. */
export function filesBelow(path: string, inside = ""): string[] {
  return readdirSync(join(path, inside), { withFileTypes: true }).flatMap((entry) => {
    const below = join(inside, entry.name);
    return entry.isDirectory() ? filesBelow(path, below) : [below];
  });
}
