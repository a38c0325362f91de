import { expect, test } from "@jest/globals";
import * as arrow from "apache-arrow";
import { png, type Workplace, workplaces } from "./run.ts";

const workplace = workplaces();

const floats = (values: (number[] | null)[], item: arrow.DataType = new arrow.Float32()) =>
  arrow.vectorFromArray(values, new arrow.FixedSizeList(2, new arrow.Field("item", item as arrow.Float32)));

function sample(): arrow.Table {
  const nanoseconds = arrow.makeVector({
    data: BigInt64Array.of(1772366400000000001n, 2n, 3n),
    type: new arrow.TimestampNanosecond(),
  } as never);
  return new arrow.Table({
    v: floats([
      [1, 0],
      [0, 1],
      [1, 1],
    ]),
    w: floats(
      [
        [1, 0],
        [0, 1],
        [1, 1],
      ],
      new arrow.Float64(),
    ),
    label: arrow.vectorFromArray(["a", "b", "a"]),
    text: arrow.vectorFromArray(["x", null, "z"], new arrow.Utf8()),
    ok: arrow.vectorFromArray([true, false, true], new arrow.Bool()),
    big: arrow.vectorFromArray([1n, 2n ** 60n, -1n], new arrow.Int64()),
    small: arrow.vectorFromArray([1, 2, 3], new arrow.Uint8()),
    f: arrow.vectorFromArray([0.5, 1, 2], new arrow.Float32()),
    ns: nanoseconds as arrow.Vector,
    us: arrow.makeVector({
      data: BigInt64Array.of(1772366400000001n, 2n, 3n),
      type: new arrow.TimestampMicrosecond(),
    } as never) as arrow.Vector,
    day: arrow.vectorFromArray([new Date("2026-03-01"), new Date(0), new Date(0)], new arrow.DateDay()),
    image: arrow.vectorFromArray([png(1), png(2), png(3)], new arrow.Binary()),
  } as never) as unknown as arrow.Table;
}

const KINDS =
  "embedding embedding categorical string bool int int float timestamp timestamp timestamp image".split(" ");

const ingest = ({ file, run }: Workplace, name: string, bytes: Uint8Array, ...more: string[]) =>
  run(["ingest", "d", file(name, bytes), "--json", ...more]);

test.each([
  ["d.arrow", "file"],
  ["d.feather", "file"],
  ["d.arrows", "stream"],
] as const)("%s: columns become fields and keep their values", (name, format) => {
  const place = workplace();
  const done = ingest(place, name, arrow.tableToIPC(sample(), format));
  expect(done).toMatchObject({ status: 0 });
  expect(done.json().schema.map((field: { kind: string }) => field.kind)).toEqual(KINDS);
  const { hits } = place
    .run([
      "query",
      "d",
      "--field",
      "v",
      "--vector",
      "[1, 0]",
      "--top-k",
      "3",
      "--json",
      "--fields",
      "w,label,text,ok,big,small,f,ns,us,day,image",
    ])
    .json();
  expect(hits[0].record).toEqual({
    w: [1, 0],
    label: "a",
    text: "x",
    ok: true,
    big: 1,
    small: 1,
    f: 0.5,
    ns: "1772366400000000001",
    us: "1772366400000001000",
    day: "1772323200000000000",
    image: { bytes: 12 },
  });
  expect(hits[2].record).toMatchObject({ label: "b", big: "1152921504606846976" });
  expect(hits[2].record).not.toHaveProperty("text");
});

test("record batches are read one after the other, also from a pipe", () => {
  const place = workplace();
  const schema = new arrow.Schema([new arrow.Field("n", new arrow.Int32(), false)]);
  const batches = [0, 1, 2].map(
    (k) => arrow.tableFromArrays({ n: Int32Array.from({ length: 1000 }, (_, i) => 1000 * k + i) }).batches[0],
  );
  const table = new arrow.Table(
    schema,
    batches.map((batch) => new arrow.RecordBatch(schema, (batch as arrow.RecordBatch).data)),
  );
  const bytes = arrow.tableToIPC(table, "stream");
  expect(ingest(place, "d.arrows", bytes, "--batch", "700").json()).toMatchObject({
    records: 3000,
    batches: 5,
  });
  expect(
    place.run(["ingest", "e", "-", "--format", "arrow", "--json"], { input: bytes }).json(),
  ).toMatchObject({ records: 3000, schema: [{ required: true }] });
});

test("a column may hold the anchors", () => {
  const place = workplace();
  const table = new arrow.Table({
    t: arrow.makeVector({
      data: BigInt64Array.of(4102444800000n),
      type: new arrow.TimestampMillisecond(),
    } as never) as arrow.Vector,
    v: floats([[1, 0]]),
  } as never);
  expect(
    ingest(place, "d.arrow", arrow.tableToIPC(table, "file"), "--anchor-field", "t").json().schema,
  ).toHaveLength(1);
  expect(
    place.run(["query", "d", "--field", "v", "--vector", "[1, 0]", "--json"]).json().hits[0].anchor,
  ).toBe("4102444800000000000");
});

test.each([
  ["NaN", [0, Number.NaN], /NaN at 1/],
  ["null", [null, 1], /null at 0/],
])("%s in a vector is named by row and column", (_, bad, message) => {
  const place = workplace();
  const table = new arrow.Table({ v: floats([[1, 0], bad as number[]]) } as never);
  const done = ingest(place, "d.arrow", arrow.tableToIPC(table, "file"));
  expect(done).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/row 2 does not fit the schema .*"v"/),
  });
  expect(done.stderr).toMatch(message);
});

test("columns that no field can hold are refused", () => {
  const place = workplace();
  const nested = arrow.vectorFromArray(
    [{ a: 1 }],
    new arrow.Struct([new arrow.Field("a", new arrow.Int32())]),
  );
  expect(
    ingest(place, "d.arrow", arrow.tableToIPC(new arrow.Table({ nested } as never), "file")),
  ).toMatchObject({ status: 2, stderr: expect.stringMatching(/"nested".*Struct/) });
  const raw = arrow.vectorFromArray([new Uint8Array(3)], new arrow.Binary());
  expect(ingest(place, "e.arrow", arrow.tableToIPC(new arrow.Table({ raw } as never), "file"))).toMatchObject(
    { status: 2, stderr: expect.stringMatching(/"raw".*Binary/) },
  );
});

test("files that are no Arrow, cut short or empty", () => {
  const bytes = arrow.tableToIPC(sample(), "file");
  for (const bad of [
    bytes.subarray(0, bytes.length - 20),
    bytes.subarray(0, 40),
    Buffer.from("file,label\na.png,cat\n"),
    new Uint8Array(0),
  ]) {
    const place = workplace();
    expect(ingest(place, "d.arrow", bad)).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/not an Arrow IPC file/),
    });
    expect(place.run(["inspect", "d"]).status).toBe(3);
  }
  const place = workplace();
  expect(place.run(["ingest", "d", "none.arrow"])).toMatchObject({
    status: 3,
    stderr: expect.stringMatching(/no such file/),
  });
});

test("without the package apache-arrow, the message says what to install", () => {
  const place = workplace();
  const hook = `export const resolve = (name, context, next) => { if (name === "apache-arrow") throw Object.assign(new Error("no"), { code: "ERR_MODULE_NOT_FOUND" }); return next(name, context); };`;
  const register = `import { register } from "node:module"; register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hook)}`)});`;
  const path = place.file("hide-arrow.mjs", register);
  const done = place.run(["ingest", "d", place.file("d.arrow", "x")], {
    env: { NODE_OPTIONS: `--import=${path}` },
  });
  expect(done).toMatchObject({
    status: 6,
    stderr: expect.stringMatching(
      /UnsupportedBackend: .*optional package apache-arrow.*npm install apache-arrow/,
    ),
  });
});
