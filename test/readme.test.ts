/** The README's tour runs as it stands and prints what the README says it prints. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { expect, test } from "@jest/globals";

const readme = readFileSync("README.md", "utf8");

function block(language: string): string {
  const found = new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(readme);
  if (found?.[1] === undefined) throw new Error(`README.md has no ${language} block`);
  return found[1];
}

test("the tour prints what the README says", () => {
  const entry = pathToFileURL("build/lib/index.node.js").href;
  const code = block("js").replace("@dreamlake/dreamdb", entry);
  const run = spawnSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8" });
  expect(run.stderr).toBe("");
  expect(run.stdout).toBe(block("text"));
});
