// The explorer must catch every fault that is planted: a check that can't fail is no check.
import { spawnSync } from "node:child_process";
import { expect, jest, test } from "@jest/globals";
import { MUTANTS } from "./mutants.mjs";

// Far more than it takes: other work on the machine must not fail it.
jest.setTimeout(300_000);

interface Mutant {
  why: string;
  by?: string[];
}

const BY_TWO_WRITERS = ["--only", "interleave", "--scenario", "2", "--faults", "1"];

test.each(Object.entries(MUTANTS as Record<string, Mutant>))("%s", (name, { by = BY_TWO_WRITERS }) => {
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ["test/sim/run.mjs", "--mutant", name, ...by, "--minutes", "1", "--json"],
    { encoding: "utf8" },
  );
  expect(stderr).toBe("");
  const { violations } = JSON.parse(stdout) as { violations: { message: string; trace: string[] }[] };
  expect(violations.length).toBeGreaterThan(0);
  expect(violations[0]?.trace.length).toBeGreaterThan(0);
});
