/** build-graph, and what query and inspect tell of a graph. */
import { expect, test } from "@jest/globals";
import { seeded } from "../dataset/records.ts";
import { jsonLines, type Workplace, workplaces } from "./run.ts";

const workplace = workplaces();
const DIM = 6;
const VECTOR = JSON.stringify(Array.from({ length: DIM }, (_, i) => i - 2));

function filled(algorithm = "dreamdb.vamana-cosine"): Workplace {
  const place = workplace();
  const random = seeded(1);
  const records = Array.from({ length: 300 }, (_, n) => ({
    n,
    v: Array.from({ length: DIM }, () => random() - 0.5),
  }));
  const fields = [
    { name: "n", kind: "int" },
    { name: "v", kind: "embedding", dim: DIM, algorithm },
  ];
  const schema = place.file("schema.json", JSON.stringify({ fields }));
  const source = place.file("d.jsonl", jsonLines(records));
  expect(place.run(["ingest", "d", source, "--schema", schema]).status).toBe(0);
  return place;
}

test("build, look and query", () => {
  const { run } = filled();
  const query = ["query", "d", "--field", "v", "--vector", VECTOR, "--json"];
  const exact = run(query).json().hits;
  const built = run(["build-graph", "d", "--field", "v", "--degree", "16"]);
  expect(built.status).toBe(0);
  expect(built.stdout).toMatch(
    /^manifest +[a-z2-7]+\nrecords in the graph +300\nneighbours at most +16\nstored +\d.* in 1 page\nappended meanwhile +0\n/,
  );
  expect(run(["inspect", "d", "--json"]).json().tracks).toMatchObject([
    { field: "v", algorithm: "dreamdb.vamana-cosine", indexedRows: 300, unindexedRows: 0 },
  ]);
  expect(run([...query, "--beam", "300"]).json().hits).toEqual(exact);
  expect(run([...query, "--explain", "--beam", "50"]).json()).toMatchObject({
    strategy: "graph",
    beam: 50,
    hits: 10,
  });
  expect(run(["build-graph", "d", "--field", "v", "--json"]).json()).toMatchObject({
    nodes: 300,
    degree: 64,
  });
  expect(run(["fsck"]).status).toBe(0);
});

test.each([
  ["a degree that is no multiple of 4", ["--field", "v", "--degree", "6"], 2, /InvalidArgument.*found: 6/],
  ["a field that is not there", ["--field", "w"], 2, /InvalidArgument/],
  ["no field", [], 2, /--field/],
])("%s is refused", (_, args, status, message) => {
  const { run } = filled();
  const done = run(["build-graph", "d", ...args]);
  expect(done.status).toBe(status);
  expect(done.stderr).toMatch(message);
});

test("a field without a graph, and a dataset that is not there", () => {
  const { run } = filled("dreamdb.ivf-cosine");
  expect(run(["build-graph", "d", "--field", "v"]).status).toBe(2);
  expect(run(["build-graph", "nope", "--field", "v"]).status).toBe(3);
});
