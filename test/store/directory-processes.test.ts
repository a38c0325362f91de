import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, expect, test } from "@jest/globals";
import { directoryStore } from "../../src/store/directory.ts";
import { scratchDirectories } from "./scratch.ts";
import { keysOf, OBJECT, text, utf8 } from "./suite.ts";

const freshDirectory = scratchDirectories();

/** The store as plain JavaScript, made from the source of this moment, for child processes. */
let module = "";

beforeAll(() => {
  const out = join(dirname(freshDirectory()), "directory.mjs");
  const options = ["--bundle", "--platform=node", "--format=esm", `--outfile=${out}`];
  execFileSync("node_modules/.bin/esbuild", ["src/store/directory.ts", ...options], { stdio: "pipe" });
  module = pathToFileURL(out).href;
});

interface End {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

async function run(fixture: string, ...args: string[]): Promise<End> {
  const child = fork(resolve("test/fixtures", fixture), [module, ...args], { execArgv: [], silent: true });
  const end: End = { code: null, signal: null, stdout: "", stderr: "" };
  child.stdout!.on("data", (chunk) => (end.stdout += chunk));
  child.stderr!.on("data", (chunk) => (end.stderr += chunk));
  [end.code, end.signal] = await once(child, "close");
  return end;
}

/** Races 8 processes, of which `stalling` sleep `stall` ms in the middle of swaps; the number of swaps in doubt. */
async function race(times: number, stalling: number, stall: number): Promise<number> {
  const root = freshDirectory();
  const writers = Array.from({ length: 8 }, (_, i) => `w${i}`);
  const ends = await Promise.all(
    writers.map((writer, i) =>
      run("store-increment.mjs", root, "refs/counts", writer, `${times}`, `${i < stalling ? stall : 0}`),
    ),
  );
  for (const end of ends) expect(end).toMatchObject({ code: 0, signal: null, stderr: "" });
  const counts = JSON.parse(text(await directoryStore(root).get("refs/counts"))!);
  expect(counts).toEqual(Object.fromEntries(writers.map((writer) => [writer, times])));
  expect(readdirSync(join(root, "tmp"))).toEqual([]);
  return ends.reduce((sum, end) => sum + Number(end.stdout), 0);
}

test("8 processes × 50 increments lose none and count none twice", async () => {
  await race(50, 0, 0);
});

test("nor do they when some are overtaken in the middle of a swap", async () => {
  expect(await race(50, 2, 300)).toBeGreaterThan(0);
});

test.each([
  ["refs/main", "link"],
  ["refs/main", "readdir"],
  ["refs/main", "unlink"],
  [OBJECT, "rename"],
  [OBJECT, "stat"],
])("a process killed while putting %s, at %s, leaves at most a temporary file", async (key, operation) => {
  const root = freshDirectory();
  expect(await run("store-killed.mjs", root, key, operation)).toMatchObject({ signal: "SIGKILL" });
  const store = directoryStore(root);
  const value = await store.get(key);
  expect(text(value)).toBe(operation === "unlink" ? "killed" : undefined);
  expect(await keysOf(store)).toEqual(value === undefined ? [] : [key]);
  await store.put(key, utf8("next"));
  if (key !== OBJECT) await store.put(key, utf8("next"), { ifMatch: (await store.get(key))!.etag });
  expect(text(await store.get(key))).toBe("next");
});
