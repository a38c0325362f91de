/** delete and compact. */
import { expect, test } from "@jest/globals";
import { jsonLines, type Workplace, workplaces } from "./run.ts";

const workplace = workplaces();

function filled(): Workplace {
  const place = workplace();
  const rows = Array.from({ length: 40 }, (_, i) => ({ n: i, label: `l${i % 4}`, v: [1, i, i * i] }));
  expect(place.run(["ingest", "d", place.file("d.jsonl", jsonLines(rows)), "--batch", "5"]).status).toBe(0);
  expect(place.run(["rebuild-ivf", "d", "--field", "v", "--k", "3"]).status).toBe(0);
  const more = rows.map((row) => ({ ...row, n: row.n + 40 }));
  expect(place.run(["ingest", "d", place.file("e.jsonl", jsonLines(more)), "--batch", "10"]).status).toBe(0);
  return place;
}

test("delete by a condition, by anchors, and not at all", () => {
  const { run } = filled();
  const lt = ["delete", "d", "--where", '{"n": {"lt": 20}}', "--where", "label=l1"];
  expect(run([...lt, "--dry-run"])).toMatchObject({ status: 0, stdout: "would delete 5 records of 80\n" });
  expect(run(["inspect", "d", "--json"]).json().records).toBe(80);
  expect(run([...lt, "--reason", "old"]).stdout).toMatch(/^deleted 5 records, 75 left → [a-z2-7]+\n$/);
  expect(run(lt)).toMatchObject({ status: 0, stdout: "nothing to delete\n" });
  const { hits } = run(["query", "d", "--field", "v", "--vector", "[1,9,81]", "--json"]).json();
  expect(hits[0].record.n).toBe(49);
  const anchor = hits[0].anchor;
  expect(run(["delete", "d", "--anchor", anchor, "--dry-run", "--json"]).json()).toMatchObject({
    records: 1,
  });
  expect(run(["delete", "d", "--anchor", anchor, "--json"]).json()).toMatchObject({ records: 1, left: 74 });
  expect(run(["inspect", "d", "--json"]).json()).toMatchObject({
    records: 74,
    history: [{ op: "delete", rows: 74 }, { op: "delete", rows: 74 }, {}, {}, {}, {}, {}, {}, {}, {}],
  });
  const checked = run(["fsck"]);
  expect(checked.status).toBe(0);
  expect(checked.stdout).toContain("deleted: 6 anchors");
});

test.each([
  [["delete", "d"], 2],
  [["delete", "d", "--anchor", "5", "--where", "n=1"], 2],
  [["delete", "d", "--anchor", "x"], 2],
  [["delete", "d", "--where", "{}"], 2],
  [["delete", "d", "--where", "nothing=1"], 2],
  [["delete", "d", "--anchor", "5"], 3],
  [["delete", "nothing", "--anchor", "5"], 3],
  [["compact", "nothing"], 3],
  [["compact", "d", "--fields", "n"], 2],
  [["compact", "d", "--fields", "v", "--purge"], 2],
  [["compact", "d", "--memory-mib", "x"], 2],
])("%j ends with code %i", (args, status) => {
  const found = filled().run(args as string[]);
  expect(found).toMatchObject({ status, stdout: "" });
  expect(found.stderr).not.toBe("");
});

test("compact, twice, and purge", () => {
  const { run } = filled();
  const planned = run(["compact", "d", "--dry-run", "--json"]).json();
  expect(planned).toMatchObject({ dryRun: true, batchesBefore: 12, batchesAfter: 1 });
  const { stdout, status } = run(["compact", "d"]);
  expect(status).toBe(0);
  expect(stdout).toMatch(
    /^manifest +[a-z2-7]+\nbatches +12 → 1\ncells +3 of 3 compacted\nfragments collapsed +\d+\ndeleted records left out +0\n$/,
  );
  const again = run(["compact", "d", "--json"]).json();
  expect(again).toMatchObject({ batchesBefore: 1, batchesAfter: 1, cellsCompacted: 0 });
  expect(run(["delete", "d", "--where", "n=7"]).status).toBe(0);
  expect(run(["compact", "d", "--json"]).json()).toMatchObject({ rowsDropped: 0 });
  expect(run(["compact", "d", "--purge", "--json"]).json()).toMatchObject({
    rowsDropped: 1,
    graphsDropped: [],
  });
  expect(run(["fsck"]).status).toBe(0);
});

test("help has examples", () => {
  const { run } = workplace();
  for (const verb of ["delete", "compact"])
    expect(run([verb, "--help"]).stdout).toMatch(new RegExp(`Examples:\\n  dreamdb ${verb} photos`));
});

test("gc lists first and deletes later; fsck tells what is left of pruned states", () => {
  const { run } = filled();
  expect(run(["compact", "d"]).status).toBe(0);
  expect(run(["gc", "--dry-run"]).stdout).toMatch(
    /^roots +1 ref, 0 pins\nin use +\d+ objects\nwould be listed +\d+ objects/,
  );
  const listed = run(["gc", "--keep-manifests", "1", "--json"]).json();
  expect(listed).toMatchObject({
    epoch: 1,
    refs: 1,
    deleted: 0,
    dryRun: false,
    due: expect.stringMatching(/^\d{19}$/),
  });
  expect(listed.condemned).toBeGreaterThan(10);
  expect(run(["gc", "--keep-manifests", "1"]).stdout).toMatch(
    /newly listed +0 objects.*\ndeleted +0 objects.*\ndeletes from +\d{4}-/,
  );
  const done = run(["gc", "--age", "0s", "--keep-manifests", "1", "--json"]).json();
  expect(done.deleted).toBeGreaterThanOrEqual(listed.condemned);
  expect(done.reclaimedBytes).toBeGreaterThanOrEqual(listed.condemnedBytes);
  const checked = run(["fsck"]);
  expect(checked.status).toBe(0);
  expect(checked.stdout).toMatch(/\d+ past states without data, as dreamdb gc left them\n/);
  const { history } = run(["inspect", "d", "--json"]).json();
  expect(run(["inspect", "--manifest", history[1].manifest]).status).toBe(3);
  expect(run(["query", "d", "--field", "v", "--vector", "[1,9,81]"]).status).toBe(0);
});

test("gc in parts, and options that can't be", () => {
  const { run, file } = filled();
  expect(run(["branch", "d", "side"]).status).toBe(0);
  expect(
    run(["ingest", "side", file("f.jsonl", jsonLines([{ n: 1, label: "l", v: [1, 2, 3] }]))]).status,
  ).toBe(0);
  expect(run(["refs", "--delete", "side"]).status).toBe(0);
  const jobs = ["0/2", "1/2"].map((part) =>
    run(["gc", "--age", "0s", "--shard", part, "--quiet", "--json"]).json(),
  );
  expect(jobs.every((job) => job.epoch === 1)).toBe(true);
  for (const wrong of [
    ["--age", "soon"],
    ["--shard", "2/2"],
    ["--keep-since", "7"],
    ["--keep-manifests", "0"],
  ])
    expect(run(["gc", ...wrong])).toMatchObject({ status: 2, stdout: "" });
});
