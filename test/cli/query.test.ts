import { expect, test } from "@jest/globals";
import { jsonLines, type Workplace, workplaces } from "./run.ts";

const workplace = workplaces();
const ROWS = [
  { _anchor: "4000000000000000001", label: "cat", n: 1, ok: true, f: 0.5, v: [1, 0, 0] },
  { _anchor: "4000000000000000002", label: "cat", n: 2, ok: false, f: 0.5, v: [0.9, 0.1, 0] },
  { _anchor: "4000000000000000003", label: "a=b", n: 3, ok: true, f: 1.5, v: [0, 1, 0] },
  { _anchor: "4000000000000000004", label: "a=b", n: 4, ok: true, f: 1.5 },
];
const anchor = (last: number) => `400000000000000000${last}`;

function filled(): Workplace {
  const place = workplace();
  expect(place.run(["ingest", "d", place.file("d.jsonl", jsonLines(ROWS))]).status).toBe(0);
  return place;
}

const { run, file } = filled();
const query = (...args: string[]) => run(["query", "d", "--field", "v", ...args]);
const anchors = (...args: string[]) =>
  query(...args, "--json")
    .json()
    .hits.map((hit: { anchor: string }) => hit.anchor);

test("a table of rank, distance, anchor and scalars", () => {
  const done = query("--vector", "[1, 0, 0]", "--top-k", "2");
  expect(done).toMatchObject({ status: 0, stderr: "" });
  expect(done.stdout.split("\n").map((line) => line.split(/ {2,}/).filter((cell) => cell !== ""))).toEqual([
    ["rank", "distance", "anchor", "label", "n", "ok", "f"],
    ["1", "0.000000", anchor(1), "cat", "1", "true", "0.5"],
    ["2", "0.006116", anchor(2), "cat", "2", "false", "0.5"],
    [],
  ]);
});

test("a document", () => {
  const document = query("--vector", "[1, 0, 0]", "--top-k", "1", "--fields", "label,v", "--json").json();
  expect(document).toMatchObject({ name: "d", field: "v", manifest: expect.stringMatching(/^[a-z2-7]+$/) });
  expect(document.hits).toEqual([
    { rank: 1, distance: expect.closeTo(0), anchor: anchor(1), record: { label: "cat", v: [1, 0, 0] } },
  ]);
});

test("the query from a file, from stdin and from a record, which is left out", () => {
  const path = file("q.json", "[0, 1, 0]\n");
  expect(anchors("--vector-file", path, "--top-k", "1")).toEqual([anchor(3)]);
  const piped = run(["query", "d", "--field", "v", "--vector-file", "-", "--top-k", "1", "--json"], {
    input: "[0, 1, 0]",
  });
  expect(piped.json().hits[0].anchor).toBe(anchor(3));
  expect(anchors("--like", anchor(1), "--top-k", "2")).toEqual([anchor(2), anchor(3)]);
  expect(anchors("--like", anchor(1), "--where", "label=a=b", "--top-k", "2")).toEqual([anchor(3)]);
});

test.each([
  ["label=cat", [1, 2]],
  ["label=a=b", [3]],
  ["n=2", [2]],
  ["ok=TRUE", [1, 3]],
  ["f=1.5", [3]],
])("--where %s", (where, expected) => {
  expect(anchors("--vector", "[1, 0, 0]", "--where", where)).toEqual(expected.map(anchor));
});

test.each([
  ['{"label": "cat"}', [1, 2]],
  ['{"n": {"gte": 2, "lt": "3"}}', [2]],
  ['{"n": {"in": ["3", 1]}}', [1, 3]],
  [' {"not": {"label": "cat"}}', [3]],
  ['{"or": [{"f": {"gt": 1}}, {"ok": false}]}', [2, 3]],
  ["{}", [1, 2, 3]],
])("--where %s", (where, expected) => {
  expect(anchors("--vector", "[1, 0, 0]", "--where", where).sort()).toEqual(expected.map(anchor));
});

test("conditions of both kinds, and of fields named like connectives and times", () => {
  expect(anchors("--vector", "[1, 0, 0]", "--where", "label=cat", "--where", '{"n": {"gt": 1}}')).toEqual([
    anchor(2),
  ]);
  const place = workplace();
  const schema = place.file(
    "schema.json",
    JSON.stringify({
      fields: [
        { name: "not", kind: "int", index: true },
        { name: "at", kind: "timestamp", index: true },
        { name: "v", kind: "embedding", dim: 2 },
      ],
    }),
  );
  const rows = [1, 2, 3].map((i) => ({ not: i, at: `2026-03-0${i}T12:00:00Z`, v: [1, i] }));
  expect(place.run(["ingest", "d", place.file("d.jsonl", jsonLines(rows)), "--schema", schema]).status).toBe(
    0,
  );
  const found = (...where: string[]): unknown[] =>
    place
      .run([
        "query",
        "d",
        "--field",
        "v",
        "--vector",
        "[1, 0]",
        "--json",
        ...where.flatMap((one) => ["--where", one]),
      ])
      .json()
      .hits.map((hit: { record: { not: number } }) => hit.record.not);
  expect(found("not=2")).toEqual([2]);
  expect(found('{"at": {"between": ["2026-03-02T00:00:00Z", "2026-03-03T12:00:00Z"]}}')).toEqual([2, 3]);
  expect(place.run(["inspect", "d", "--json"]).json().schema[0]).toMatchObject({ name: "not", index: true });
});

test("conditions add up, and no match is no failure", () => {
  expect(anchors("--vector", "[1, 0, 0]", "--where", "label=cat", "--where", "ok=false")).toEqual([
    anchor(2),
  ]);
  expect(query("--vector", "[1, 0, 0]", "--where", "label=dog")).toMatchObject({
    status: 0,
    stdout: "no records match\n",
  });
});

test("past states, by snapshot and by Manifest", () => {
  const place = filled();
  const { manifest } = place.run(["snapshot", "d", "before", "--json"]).json();
  place.run(["ingest", "d", place.file("more.jsonl", '{"label":"new","n":9,"ok":true,"f":0,"v":[1,0,0]}')]);
  const count = (...args: string[]) =>
    place.run(["query", ...args, "--field", "v", "--vector", "[1,0,0]", "--json"]).json().hits.length;
  expect([count("d"), count("before"), count("--manifest", manifest)]).toEqual([4, 3, 3]);
});

test.each([
  [["--vector", "[1, 2]"], 2, /2 components.*3 finite numbers/],
  [["--vector", "[0, 0, 0]"], 2, /direction/],
  [["--vector", "1,2,3"], 2, /JSON array of numbers/],
  [["--vector", '[1,2,"3"]'], 2, /JSON array of numbers/],
  [["--vector", "[1e99,0,0]"], 2, /finite/],
  [["--vector-file", "none.json"], 3, /no such file/],
  [["--vector-file", "."], 2, /EISDIR/],
  [["--like", "soon"], 2, /InvalidAnchor/],
  [["--like", "4000000000000000009"], 3, /no record has this anchor/],
  [["--like", anchor(4)], 3, /no vector/],
  [[], 2, /exactly one of/],
  [["--vector", "[1,0,0]", "--like", anchor(1)], 2, /exactly one of/],
  [["--vector", "[1,0,0]", "--where", "label"], 2, /field=value/],
  [["--vector", "[1,0,0]", "--where", "color=red"], 2, /one of label, n, ok, f, v/],
  [["--vector", "[1,0,0]", "--where", "n=x"], 2, /value of kind int/],
  [["--vector", "[1,0,0]", "--where", "v=[1]"], 2, /value of kind embedding/],
  [["--vector", "[1,0,0]", "--where", "n=1", "--where", "n=2"], 2, /each field once/],
  [["--vector", "[1,0,0]", "--where", "{"], 2, /JSON/],
  [["--vector", "[1,0,0]", "--where", '{"n": {"gt": "x"}}'], 2, /n\.gt/],
  [["--vector", "[1,0,0]", "--where", '{"ok": {"lt": true}}'], 2, /no order/],
  [["--vector", "[1,0,0]", "--where", `${'{"not":'.repeat(5000)}{}${"}".repeat(5000)}`], 2, /deep/],
  [["--vector", "[1,0,0]", "--fields", "label,none"], 2, /"none"/],
  [["--vector", "[1,0,0]", "--top-k", "x"], 2, /--top-k/],
  [["--vector", "[1,0,0]", "--field", "label"], 2, /a vector field/],
  [["--vector", "[1,0,0]", "--manifest", "x"], 2, /"both"/],
])("query %j ends with %i", (args, status, message) => {
  expect(query(...args)).toMatchObject({ status, stdout: "", stderr: expect.stringMatching(message) });
});

test("unknown datasets and states", () => {
  expect(run(["query", "none", "--field", "v", "--vector", "[1]"])).toMatchObject({
    status: 3,
    stderr: expect.stringMatching(/NotFound/),
  });
  expect(run(["query", "--field", "v", "--vector", "[1]"])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/name a dataset/),
  });
  expect(run(["query", "--manifest", "xyz", "--field", "v", "--vector", "[1]"])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/InvalidAddress/),
  });
});
