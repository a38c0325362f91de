// A collector with an age of one second beside writers and readers in processes of their own. Longer, and on other backends: bench/gc.mjs.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, jest, test } from "@jest/globals";
import { scratchDirectories } from "../store/scratch.ts";

jest.setTimeout(240_000);

const freshDirectory = scratchDirectories();

test("nothing that was acknowledged is lost, and what is garbage goes", async () => {
  const root = freshDirectory();
  const library = join(dirname(root), "dreamdb.mjs");
  const options = [
    "--bundle",
    "--platform=node",
    "--format=esm",
    "--ignore-annotations",
    `--outfile=${library}`,
  ];
  execFileSync("node_modules/.bin/esbuild", ["src/index.node.ts", ...options], { stdio: "pipe" });
  const child = spawn(
    process.execPath,
    [
      ...["bench/gc.mjs", "--target", root, "--library", pathToFileURL(library).href],
      ...["--seconds", "10", "--age", "1", "--keep", "2", "--writers", "2", "--readers", "1"],
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let text = "";
  child.stdout.on("data", (chunk) => {
    text += chunk;
  });
  await once(child, "close");
  const found = JSON.parse(text);
  expect(found).toMatchObject({ ok: true, wrong: [] });
  expect(found.rows).toBeGreaterThan(10);
  expect(found.deleted).toBeGreaterThan(0);
});
