/** branch, merge, merge-many, diff, refs --delete and --protect. */
import { expect, test } from "@jest/globals";
import { jsonLines, type Workplace, workplaces } from "./run.ts";

const workplace = workplaces();

function filled(): Workplace {
  const place = workplace();
  const rows = Array.from({ length: 4 }, (_, i) => ({ label: `l${i}`, v: [1, i] }));
  expect(place.run(["ingest", "d", place.file("d.jsonl", jsonLines(rows))]).status).toBe(0);
  expect(place.run(["branch", "d", "w0"])).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^w0 → \S+ \(4 records\)\n$/),
  });
  expect(place.run(["branch", "d", "w1", "--json"]).json()).toMatchObject({ name: "w1", records: 4 });
  return place;
}

const put = ({ run, file }: Workplace, name: string, rows: object[]) =>
  expect(run(["ingest", name, file(`${name}.jsonl`, jsonLines(rows))]).status).toBe(0);

test("workers on branches, and one commit of all", () => {
  const place = filled();
  const { run } = place;
  put(place, "w0", [{ label: "a", v: [2, 1] }]);
  put(place, "w1", [
    { label: "b", v: [3, 1] },
    { label: "c", v: [4, 1] },
  ]);
  expect(run(["merge-many", "d", "w0", "w1", "--dry-run", "--json"]).json()).toMatchObject({
    isDryRun: true,
    rows: 7,
    added: 3,
  });
  expect(run(["inspect", "d", "--json"]).json().records).toBe(4);
  const merged = run(["merge-many", "d", "w0", "w1"]);
  expect(merged).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^merged: \+3 → 7 records\n(v: .*\n)?d → \S+\n$/),
  });
  expect(run(["merge", "w0", "d", "--strategy", "fast-forward"]).stdout).toMatch(
    /^moved on: \+2 → 7 records\n/,
  );
  expect(run(["merge", "d", "w0"]).stdout).toBe(
    "d has it all already (7 records)\n".replace(
      "\n",
      `\nd → ${run(["refs", "--json"]).json().refs[0].manifest}\n`,
    ),
  );
  expect(run(["diff", "w1", "d"]).stdout).toMatch(
    /^6 records → 7 records: 1 added, 0 removed, 0 changed\n\n.*\n\+ +\d+ .*"label":"a"/,
  );
  expect(run(["fsck"]).status).toBe(0);
});

test("conflicts: told, refused with exit code 4, decided by a strategy", () => {
  const place = filled();
  const { run } = place;
  put(place, "w0", [{ _anchor: "2000", label: "mine", v: [2, 1] }]);
  put(place, "w1", [{ _anchor: "2000", label: "yours", v: [2, 1] }]);
  const dry = run(["merge", "w0", "w1", "--dry-run", "--json"]);
  expect(dry.status).toBe(4);
  expect(dry.json()).toMatchObject({
    refusedBy: "MergeConflict",
    conflictCount: 1,
    conflicts: [{ anchor: "2000", fields: ["label"] }],
  });
  expect(run(["merge", "w0", "w1", "--dry-run"]).stdout).toMatch(
    /^conflict +at +differs +kept\nrecord +2000 +label +that of w[01]\n\nwould be refused: MergeConflict\n/,
  );
  const refused = run(["merge", "w0", "w1", "--json"]);
  expect(refused.status).toBe(4);
  expect(refused.json().error).toMatchObject({
    code: "MergeConflict",
    committed: "no",
    conflicts: [{ kind: "record" }],
  });
  expect(run(["merge", "w0", "w1", "--strategy", "fast-forward"]).status).toBe(4);
  expect(run(["merge", "w0", "w1", "--strategy", "theirs"]).status).toBe(0);
  expect(run(["diff", "w1", "w0", "--json"]).json()).toMatchObject({
    added: 0,
    removed: 0,
    changed: 0,
    records: [],
  });
  expect(run(["merge", "w0", "none"]).status).toBe(3);
  expect(run(["merge", "w0", "w1", "--strategy", "magic"]).status).toBe(2);
});

test("refs are deleted and protected", () => {
  const { run } = filled();
  expect(run(["refs", "--protect", "d"]).stdout).toBe("d can't be deleted now\n");
  expect(run(["refs", "--delete", "d"]).status).toBe(2);
  expect(run(["refs"]).stdout).toMatch(/\nd +branch, protected +/);
  expect(run(["refs", "--unprotect", "d", "--json"]).json()).toMatchObject({ name: "d", protected: false });
  expect(run(["refs", "--delete", "w0", "--manifest", "a".repeat(55)]).status).toBe(4);
  expect(run(["refs", "--delete", "w0", "--json"]).json()).toMatchObject({ name: "w0", deleted: true });
  expect(run(["refs", "--delete", "w0"]).status).toBe(3);
  expect(run(["branch", "d", "w0"]).status).toBe(4);
  expect(run(["refs", "--delete", "w1", "--protect", "d"]).status).toBe(2);
  expect(run(["branch", "d"]).status).toBe(2);
});
