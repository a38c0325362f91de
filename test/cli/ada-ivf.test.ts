/** ada-ivf-status and ada-ivf-step. */
import { expect, test } from "@jest/globals";
import { jsonLines, type Workplace, workplaces } from "./run.ts";

const workplace = workplaces();

/** Three cells of twelve rows each, then 60 rows that fall into one of them. */
function drifted(): Workplace {
  const place = workplace();
  const near = (i: number, at: number) => [Math.cos(at) + i / 1000, Math.sin(at) + (i % 7) / 500, 0.1];
  const first = Array.from({ length: 36 }, (_, i) => ({ n: i, v: near(i, (i % 3) * 2) }));
  expect(place.run(["ingest", "d", place.file("d.jsonl", jsonLines(first))]).status).toBe(0);
  expect(place.run(["rebuild-ivf", "d", "--field", "v", "--k", "3"]).status).toBe(0);
  const more = Array.from({ length: 60 }, (_, i) => ({ n: 36 + i, v: near(i, 2 + (i % 3) / 20) }));
  expect(place.run(["ingest", "d", place.file("e.jsonl", jsonLines(more))]).status).toBe(0);
  return place;
}

const FIELD = ["--field", "v"];
const BOUNDS = [...FIELD, "--split-above", "30", "--recentre", "0"];

test("status, a dry run, and all stages at once", () => {
  const { run } = drifted();
  const before = run(["ada-ivf-status", "d", ...FIELD, "--scan", "--json"]).json();
  expect(before).toMatchObject({ name: "d", cells: 3, rows: 96, unindexedRows: 0, appendedRows: 60 });
  expect(before.rowsOfCell).toContain(72);
  expect(before.imbalance).toBeCloseTo(72 / 32);
  expect(before.drift).toBeCloseTo(2 / 3);
  expect(before.scan).toMatchObject({ rows: 96, misplacedRows: 0 });
  expect(run(["ada-ivf-status", "d", ...FIELD]).stdout).toMatch(/imbalance +2\.25/);
  const planned = run(["ada-ivf-step", "d", ...BOUNDS, "--dry-run", "--json"]).json();
  expect(planned).toMatchObject({ dryRun: true, splits: [{ rows: 72 }], cellsBefore: 3 });
  expect(run(["inspect", "d", "--json"]).json().history).toHaveLength(4);
  const done = run(["ada-ivf-step", "d", ...BOUNDS]);
  expect(done.status).toBe(0);
  expect(done.stdout).toMatch(/to split +1 cell of 72 rows/);
  const after = run(["ada-ivf-status", "d", ...FIELD, "--json"]).json();
  expect(after.cells).toBe(planned.cells);
  expect(after.imbalance).toBeLessThan(before.imbalance);
  expect(after).toMatchObject({ rows: 96, earlierIndexes: 1 });
  expect(run(["inspect", "d", "--json"]).json().history[0].op).toBe("ada-ivf-step");
  expect(run(["fsck"]).status).toBe(0);
  expect(run(["ada-ivf-step", "d", ...FIELD, "--split-above", "96"]).stdout).toMatch(/published +nothing/);
});

test("one stage after the other, shared by two jobs", () => {
  const { run } = drifted();
  const step = (...args: string[]) => run(["ada-ivf-step", "d", ...args, "--json"]).json();
  const { plan, tasks } = step("--plan", ...BOUNDS, "--neighbours", "2", "--task-rows", "10");
  expect(tasks).toBeGreaterThan(1);
  const parts = ["0/2", "1/2"].map((job) => step("--work", job, "--of", plan).part);
  const { collection } = step("--collect", parts.join(","), "--of", plan);
  expect(run(["inspect", "d", "--json"]).json().history[0].op).toBe("append");
  const published = run(["ada-ivf-step", "d", "--publish", "--of", collection]);
  expect(published.stdout).toMatch(/imbalance/);
  expect(run(["inspect", "d", "--json"]).json().history[0].op).toBe("ada-ivf-step");
  expect(run(["fsck"]).status).toBe(0);
});

let refusing: Workplace | undefined;

test.each([
  [["ada-ivf-status", "d"], 2],
  [["ada-ivf-status", "nothing", ...FIELD], 3],
  [["ada-ivf-status", "d", "--field", "n"], 2],
  [["ada-ivf-step", "d", ...FIELD], 2],
  [["ada-ivf-step", "d", "--split-above", "9"], 2],
  [["ada-ivf-step", "d", ...FIELD, "--split-above", "x"], 2],
  [["ada-ivf-step", "d", ...FIELD, "--imbalance", "1"], 2],
  [["ada-ivf-step", "d", "--work", "2/2", "--of", "x"], 2],
  [["ada-ivf-step", "d", "--work", "0/2"], 2],
  [["ada-ivf-step", "d", "--work", "0/2", "--of", "x"], 2],
  [["ada-ivf-step", "d", "--plan", "--publish", ...BOUNDS], 2],
  [["ada-ivf-step", "nothing", ...BOUNDS], 3],
])("%j ends with code %i", (args, status) => {
  refusing ??= drifted();
  const found = refusing.run(args as string[]);
  expect(found).toMatchObject({ status, stdout: "" });
  expect(found.stderr).not.toBe("");
});
