/** rebuild-ivf, publish-rabitq, and what query tells of an index. */
import { expect, test } from "@jest/globals";
import { seeded } from "../dataset/records.ts";
import { jsonLines, type Workplace, workplaces } from "./run.ts";

const workplace = workplaces();
const DIM = 6;

function filled(rows = 300): Workplace {
  const place = workplace();
  const random = seeded(1);
  const records = Array.from({ length: rows }, (_, n) => ({
    n,
    v: Array.from({ length: DIM }, () => random() - 0.5),
  }));
  expect(place.run(["ingest", "d", place.file("d.jsonl", jsonLines(records))]).status).toBe(0);
  return place;
}

const VECTOR = JSON.stringify(Array.from({ length: DIM }, (_, i) => i - 2));

test("build, look, query, and build anew", () => {
  const { run } = filled();
  const query = ["query", "d", "--field", "v", "--vector", VECTOR, "--json"];
  const exact = run(query).json().hits;
  expect(run([...query, "--explain"]).json()).toMatchObject({ strategy: "exact", hits: 10 });

  const built = run(["rebuild-ivf", "d", "--field", "v", "--k", "12"]);
  expect(built.status).toBe(0);
  expect(built.stdout).toMatch(
    /^manifest +[a-z2-7]+\nrecords in cells +300\ncells +12\nsegments +1 object\nimbalance +\d/,
  );
  expect(run(["inspect", "d", "--json"]).json().tracks).toMatchObject([
    { field: "v", cells: 12, indexedRows: 300, unindexedRows: 0, compressor: "dreamdb.rabitq-cosine" },
  ]);
  expect(run([...query, "--nprobe", "12"]).json().hits).toEqual(exact);

  const told = run([...query, "--explain", "--recall", "0.9"]).json();
  expect(told).toMatchObject({ strategy: "ivf", cells: 12, hits: 10, measured: { sample: 100 } });
  const text = run(["query", "d", "--field", "v", "--vector", VECTOR, "--explain", "--nprobe", "3"]).stdout;
  expect(text).toMatch(/^strategy +ivf\n/);
  expect(text).toMatch(/\ncellsProbed +3\n/);

  const coded = run(["publish-rabitq", "d", "--field", "v", "--bits", "7", "--json"]).json();
  expect(coded).toMatchObject({ name: "d", cells: 12, rows: 300 });
  expect(run([...query, "--nprobe", "12"]).json().hits).toEqual(exact);
  expect(run(["fsck"]).status).toBe(0);
});

test("PQ codes are published, and found by", () => {
  const { run } = filled();
  const query = ["query", "d", "--field", "v", "--vector", "[1,0,0.5,0,0.2,0]", "--json"];
  const exact = run(query).json().hits;
  expect(run(["rebuild-ivf", "d", "--field", "v", "--k", "5"]).status).toBe(0);
  const args = ["publish-pq", "d", "--field", "v", "--subspaces", "3", "--json"];
  expect(run([...args, "--bits", "4", "--seed", "2"]).json()).toMatchObject({ cells: 5, rows: 300 });
  expect(run(["inspect", "d", "--json"]).json().tracks[0].compressor).toBe("dreamdb.pq-cosine");
  expect(run([...query, "--nprobe", "5"]).json().hits).toEqual(exact);
  expect(run(["fsck"]).status).toBe(0);
  for (const more of [
    ["--bits", "5"],
    ["--subspaces", "7"],
  ])
    expect(run([...args, ...more])).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/InvalidArgument/),
    });
});

test("the same seed gives the same cells, on any number of threads", () => {
  const { run } = filled(80);
  const cells = (seed: string, ...more: string[]) => {
    expect(run(["rebuild-ivf", "d", "--field", "v", "--k", "4", "--seed", seed, ...more]).status).toBe(0);
    return run(["inspect", "d", "--json"]).json().tracks[0].density;
  };
  const first = cells("5");
  expect(cells("5")).toEqual(first);
  expect(cells("5", "--workers", "2")).toEqual(first);
  expect(run(["publish-rabitq", "d", "--field", "v", "--workers", "2"]).status).toBe(0);
  expect(run(["fsck"]).status).toBe(0);
});

test.each([
  ["a field that is not there", ["--field", "w"], 2, /InvalidArgument/],
  ["more cells than records", ["--field", "v", "--k", "301"], 2, /InvalidArgument.*found: 301/],
  ["no field", [], 2, /--field/],
  ["1000 threads", ["--field", "v", "--workers", "1000"], 2, /InvalidArgument.*workers/],
  ["k = 0", ["--field", "v", "--k", "0"], 2, /whole number from 1/],
])("%s is refused", (_, args, status, message) => {
  const { run } = filled();
  const done = run(["rebuild-ivf", "d", ...args]);
  expect(done.status).toBe(status);
  expect(done.stderr).toMatch(message);
});

test("a dataset that is not there", () => {
  const { run } = filled(3);
  expect(run(["rebuild-ivf", "nope", "--field", "v"]).status).toBe(3);
});
