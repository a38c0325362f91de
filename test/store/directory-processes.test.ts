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

async function run(
  fixture: string,
  ...args: string[]
): Promise<{ code: number | null; signal: string | null }> {
  const child = fork(resolve("test/fixtures", fixture), [module, ...args], { execArgv: [] });
  const [code, signal] = await once(child, "exit");
  return { code, signal };
}

test("8 processes × 50 increments of one counter lose none", async () => {
  const root = freshDirectory();
  const children = Array.from({ length: 8 }, () => run("store-increment.mjs", root, "refs/counter", "50"));
  for (const end of await Promise.all(children)) expect(end).toEqual({ code: 0, signal: null });
  expect(text(await directoryStore(root).get("refs/counter"))).toBe("400");
  expect(readdirSync(join(root, "refs+/counter@")).length).toBe(16);
  expect(readdirSync(join(root, "tmp"))).toEqual([]);
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
