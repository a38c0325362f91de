import { expect, test } from "@jest/globals";
import { jpeg, jsonLines, png, workplaces } from "./run.ts";

const workplace = workplaces();

const ROWS = [
  { text: "one", kind: "a", n: 1, big: "9007199254740993", v: [1, 0, 0], ok: true, f: 1 },
  { text: "two", kind: "b", n: 2, big: "5", v: [0, 1, 0], ok: false, f: 2.5 },
  { text: "three", kind: "a", n: 3, big: "-5", v: [0, 0, 1], ok: true, f: 3, extra: "x" },
];

test("infers a schema, prints it, and tells what it did", () => {
  const { file, run } = workplace();
  const done = run(["ingest", "notes", file("notes.jsonl", jsonLines(ROWS))]);
  expect(done).toMatchObject({ status: 0, stderr: expect.stringMatching(/^inferred schema:\n/) });
  const printed = JSON.parse(done.stderr.slice("inferred schema:\n".length));
  expect(
    printed.fields.map(({ name, kind, required }: Record<string, unknown>) => [name, kind, required]),
  ).toEqual([
    ["text", "string", true],
    ["kind", "string", true],
    ["n", "int", true],
    ["big", "string", true],
    ["v", "embedding", true],
    ["ok", "bool", true],
    ["f", "float", true],
    ["extra", "string", false],
  ]);
  expect(done.stdout).toMatch(
    /^dataset +notes \(created\)\nrecords +3 in 1 commits, 3 in all\ntime +\d.*records\/s\nmanifest +[a-z2-7]{50,}\n\nfield +kind/,
  );
  // What is printed is a schema file.
  const again = run([
    "ingest",
    "notes",
    "notes.jsonl",
    "--schema",
    file("schema.json", JSON.stringify(printed)),
    "--json",
    "--quiet",
  ]);
  expect(again).toMatchObject({ status: 0, stderr: "" });
  expect(again.json()).toMatchObject({
    name: "notes",
    created: false,
    records: 3,
    batches: 1,
    total: 6,
    schema: printed.fields,
  });
});

test("a schema decides over the look of values; integers keep their digits", () => {
  const { file, run } = workplace();
  const fields = [
    { name: "kind", kind: "categorical" },
    { name: "big", kind: "int" },
    { name: "at", kind: "timestamp" },
    { name: "v", kind: "embedding", dim: 2, algorithm: "dreamdb.lsh-cosine", lshBits: 3 },
    { name: "note", kind: "string", required: false },
  ];
  const rows = [
    {
      kind: "a",
      big: "9223372036854775807",
      at: "2026-03-01T12:00:00.000000001Z",
      v: [1, 0],
      _anchor: "4000000000000000001",
    },
    { kind: "b", big: 7, at: "5", v: [0, 1], note: null, _anchor: "4000000000000000000" },
  ];
  const schema = file("schema.json", JSON.stringify({ fields }));
  const made = run(["ingest", "d", file("d.jsonl", jsonLines(rows)), "--schema", schema, "--json"]);
  expect(made).toMatchObject({ status: 0, stderr: "" });
  const { hits } = run([
    "query",
    "d",
    "--field",
    "v",
    "--vector",
    "[1, 0.1]",
    "--nprobe",
    "8",
    "--json",
  ]).json();
  expect(hits.map(({ anchor, record }: Record<string, unknown>) => [anchor, record])).toEqual([
    ["4000000000000000001", { kind: "a", big: "9223372036854775807", at: "1772366400000000001" }],
    ["4000000000000000000", { kind: "b", big: 7, at: "5" }],
  ]);
});

test("numbers in digits count as integers among integers only", () => {
  const { file, run } = workplace();
  const rows = [
    { n: 1, s: "1" },
    { n: "9007199254740993", s: "x" },
  ];
  const { schema } = run(["ingest", "d", file("d.jsonl", jsonLines(rows)), "--json"]).json();
  expect(schema.map((field: { kind: string }) => field.kind)).toEqual(["int", "string"]);
});

test("reads stdin, with media from files and base64", () => {
  const { file, run } = workplace();
  file("media/a.png", png(1));
  const rows = [
    { id: 1, image: { $file: "a.png" } },
    { id: 2, image: { $base64: Buffer.from(png(2)).toString("base64") } },
  ];
  const done = run(["ingest", "d", "-", "--base", "media", "--json"], { input: jsonLines(rows) });
  expect(done.status).toBe(0);
  expect(done.json().schema[1]).toEqual({ name: "image", kind: "image", mime: "png", required: true });
  const wrong = run(["ingest", "d", "-"], {
    input: jsonLines([{ id: 3, image: { $base64: Buffer.from(jpeg(2)).toString("base64") } }]),
  });
  expect(wrong).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/line 1 .*"image\/jpeg".*image\/png/),
  });
});

test("the anchor may have a name of its own", () => {
  const { file, run } = workplace();
  const rows = [{ t: "2100-01-01T00:00:00Z", v: [1, 0] }];
  const done = run(["ingest", "d", file("d.jsonl", jsonLines(rows)), "--anchor-field", "t", "--json"]);
  expect(done.json().schema).toHaveLength(1);
  const { hits } = run(["query", "d", "--field", "v", "--like", "4102444800000000000", "--json"]).json();
  expect(hits).toEqual([]);
  expect(run(["ingest", "d", "d.jsonl", "--anchor-field", "t"])).toMatchObject({
    status: 4,
    stderr: expect.stringMatching(/DuplicateAnchor: line 1: /),
  });
  expect(run(["ingest", "d", file("e.jsonl", '{"v":[1,0]}'), "--anchor-field", "t"])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/InvalidAnchor: line 1 /),
  });
});

test("a bad line says where it is, what was committed before, and how to go on", () => {
  const { file, run } = workplace();
  const rows = Array.from({ length: 9 }, (_, i) => ({ n: i, v: i === 6 ? [1] : [1, i] }));
  const source = file("d.jsonl", `\n${jsonLines(rows)}`);
  const done = run(["ingest", "d", source, "--batch", "2", "--json", "--quiet"]);
  expect(done.status).toBe(2);
  expect(done.stderr).toMatch(
    /^dreamdb: SchemaViolation: line 8 does not fit the schema .*"1 numbers".*"2 finite numbers".*6 records were committed before; --skip 6 goes on from there\n$/,
  );
  expect(done.json().error).toMatchObject({
    code: "SchemaViolation",
    field: "v",
    records: 6,
    skip: 6,
    committed: "no",
  });
  expect(run(["inspect", "d", "--json"]).json().records).toBe(6);
  file("d.jsonl", jsonLines(rows.map((row) => ({ ...row, v: [1, row.n] }))));
  expect(run(["ingest", "d", source, "--skip", "6", "--json"]).json()).toMatchObject({
    records: 3,
    total: 9,
  });
});

test("what only the library sees is put to the right line as well", () => {
  const { file, run } = workplace();
  const source = file("d.jsonl", '{"s":"a"}\n\n{"s":"\\ud800"}\n');
  expect(run(["ingest", "d", source, "--quiet"])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/^dreamdb: SchemaViolation: line 3: /),
  });
});

test("a bad first batch creates nothing", () => {
  const { file, run } = workplace();
  const schema = file("schema.json", '{"fields":[{"name":"n","kind":"int"}]}');
  expect(run(["ingest", "d", file("d.jsonl", '{"n":"x"}'), "--schema", schema]).status).toBe(2);
  expect(run(["inspect", "d"]).status).toBe(3);
});

test("an empty source makes an empty dataset, when there is a schema for it", () => {
  const { file, run } = workplace();
  const empty = file("d.jsonl", "\n");
  expect(run(["ingest", "d", empty])).toMatchObject({ status: 2, stderr: expect.stringMatching(/empty/) });
  const schema = file("schema.json", '{"fields":[{"name":"n","kind":"int"}]}');
  expect(run(["ingest", "d", empty, "--schema", schema, "--json"]).json()).toMatchObject({
    created: true,
    records: 0,
    total: 0,
  });
});

test("--create and --append insist", () => {
  const { file, run } = workplace();
  const source = file("d.jsonl", '{"n":1}\n');
  expect(run(["ingest", "d", source, "--append"]).status).toBe(3);
  expect(run(["ingest", "d", source, "--create"]).status).toBe(0);
  expect(run(["ingest", "d", source, "--create"]).status).toBe(4);
  expect(run(["ingest", "d", source, "--append"]).status).toBe(0);
  expect(run(["ingest", "d", source, "--append", "--create"]).status).toBe(2);
});

test.each([
  ["not JSON", "{", /line 1 is not JSON/],
  ["an array", "[1]", /line 1 is no JSON object/],
  ["an unknown shape", '{"a":{"b":1}}', /"a".*line 1/],
  ["a list of text", '{"a":["b"]}', /"a".*line 1/],
  ["vectors of two lengths", '{"a":[1]}\n{"a":[1,2]}', /"a".*2 numbers at line 2/],
  ["values of two kinds", '{"a":1}\n{"a":"b"}', /"a".*text at line 2, int before/],
  ["nothing but nulls", '{"a":null}', /"a".*nothing in the first 1 rows/],
  ["a name that can't be", '{"_a":1}', /"_a"/],
  ["bytes of no known format", '{"a":{"$base64":"AAAA"}}', /unknown format at line 1/],
  ["not UTF-8", Buffer.from('{"a":"\xff"}', "latin1"), /line 1 is not UTF-8/],
])("%s can't be ingested", (_, content, message) => {
  const { file, run } = workplace();
  expect(run(["ingest", "d", file("d.jsonl", content)])).toMatchObject({
    status: 2,
    stdout: "",
    stderr: expect.stringMatching(message),
  });
});

test.each([
  ["not JSON", "{", /InvalidArgument: not JSON/],
  ["no fields", "{}", /SchemaViolation.*"fields"/],
  ["an unknown kind", '{"fields":[{"name":"a","kind":"text"}]}', /fields\[0\]\.kind/],
  ["an unknown option", '{"fields":[{"name":"a","kind":"int","dim":3}]}', /fields\[0\]\.dim/],
  ["no dimension", '{"fields":[{"name":"a","kind":"embedding"}]}', /a\.dim/],
  ["a name twice", '{"fields":[{"name":"a","kind":"int"},{"name":"a","kind":"int"}]}', /not used before/],
])("a schema file with %s is refused", (_, content, message) => {
  const { file, run } = workplace();
  const done = run(["ingest", "d", file("d.jsonl", '{"a":1}'), "--schema", file("schema.json", content)]);
  expect(done).toMatchObject({ status: 2, stderr: expect.stringMatching(message) });
});

test("a dataset keeps its schema", () => {
  const { file, run } = workplace();
  run(["ingest", "d", file("d.jsonl", '{"a":1}')]);
  const other = file("schema.json", '{"fields":[{"name":"a","kind":"float"}]}');
  expect(run(["ingest", "d", "d.jsonl", "--schema", other])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/exists with another schema/),
  });
  expect(run(["ingest", "d", file("e.jsonl", '{"a":1,"constructor":2}')])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/line 1 has a field that the schema lacks/),
  });
});

test.each([
  [["d", "none.jsonl"], 3, /no such file/],
  [["d", "d.txt"], 2, /can't tell what the source is/],
  [["d", ".", "--format", "jsonl"], 2, /EISDIR/],
  [["../d", "d.jsonl"], 2, /InvalidName/],
  [["d", "d.jsonl", "--batch", "0"], 2, /--batch/],
  [["d", "d.jsonl", "--schema", "none.json"], 3, /no such file/],
  [["d", "d.jsonl", "--labels", "l.csv"], 2, /--labels goes with/],
  [["d"], 2, /missing required argument 'source'/],
])("ingest %j ends with %i", (args, status, message) => {
  const { file, run } = workplace();
  file("d.jsonl", '{"a":1}');
  file("d.txt", "x");
  expect(run(["ingest", ...args])).toMatchObject({ status, stderr: expect.stringMatching(message) });
});
