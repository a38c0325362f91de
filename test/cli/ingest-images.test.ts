import { expect, test } from "@jest/globals";
import { jpeg, jsonLines, png, type Workplace, workplaces } from "./run.ts";

const workplace = workplaces();

function photos({ file }: Workplace): void {
  file("photos/b.png", png(2));
  file("photos/a.png", png(1));
  file("photos/sub/ä c.PNG", png(3));
  file("photos/.hidden.png", png(4));
  file("photos/readme.txt", "no image");
}

test("a folder with a table of labels", () => {
  const place = workplace();
  photos(place);
  place.file(
    "labels.csv",
    'file,label,"say ""what"""\r\na.png,cat,1\r\nb.png,"a, b",2\r\n./sub/ä c.PNG,cat,\r\nother.png,x,9\r\n',
  );
  const refused = place.run(["ingest", "d", "photos", "--labels", "labels.csv"]);
  expect(refused).toMatchObject({ status: 2, stderr: expect.stringMatching(/say \\"what\\"/) });
  place.file(
    "labels.csv",
    'label,file,split\r\ncat,a.png,1\r\n"a, b",b.png,2\r\ncat,./sub/ä c.PNG,\r\nx,other.png,9\r\n',
  );
  const done = place.run(["ingest", "d", "photos", "--labels", "labels.csv", "--json"]);
  expect(done).toMatchObject({
    status: 0,
    stderr: expect.stringMatching(/1 labels name no file here: other\.png/),
  });
  expect(done.json()).toMatchObject({ records: 3, total: 3 });
  expect(done.json().schema).toEqual([
    { name: "image", kind: "image", mime: "png", required: true },
    { name: "file", kind: "string", required: true },
    { name: "label", kind: "categorical", required: true },
    { name: "split", kind: "categorical", required: false },
  ]);
});

test("labels as JSON Lines bring vectors, which can be searched", () => {
  const place = workplace();
  photos(place);
  const rows = [
    { file: "a.png", label: "cat", embedding: [1, 0] },
    { file: "b.png", label: "dog", embedding: [0, 1] },
    { file: "sub/ä c.PNG", label: "cat", embedding: [1, 1] },
  ];
  place.file("labels.jsonl", jsonLines(rows));
  const { status } = place.run(["ingest", "d", "photos", "--labels", "labels.jsonl", "--batch", "2"]);
  expect(status).toBe(0);
  const query = ["query", "d", "--field", "embedding", "--vector", "[0.9, 0.1]", "--where", "label=cat"];
  const { hits } = place.run([...query, "--fields", "file,image,embedding", "--json"]).json();
  expect(hits.map((hit: { record: unknown }) => hit.record)).toEqual([
    { file: "a.png", image: { bytes: 12 }, embedding: [1, 0] },
    { file: "sub/ä c.PNG", image: { bytes: 12 }, embedding: [1, 1] },
  ]);
  expect(place.run([...query, "--fields", "image,embedding"]).stdout).toMatch(
    /\n +1 +0\.\d{6} +\d+ +12 bytes +\[1, 0\]\n/,
  );
});

test.each([
  ["labels.json", '{"a.png":"x","b.png":"y","sub/ä c.PNG":"z"}', "categorical"],
  [
    "labels.json",
    '[{"file":"a.png","label":1},{"file":"b.png","label":2},{"file":"sub/ä c.PNG","label":3}]',
    "int",
  ],
  ["labels.tsv", "file\tlabel\na.png\tx\nb.png\ty\nsub\\ä c.PNG\tz\n", "categorical"],
])("%s: %s", (name, content, kind) => {
  const place = workplace();
  photos(place);
  place.file(name, content);
  const { schema } = place.run(["ingest", "d", "photos", "--labels", name, "--json"]).json();
  expect(schema[2]).toEqual({ name: "label", kind, required: true });
});

test("a schema gives columns of text their kinds", () => {
  const place = workplace();
  photos(place);
  place.file("labels.csv", 'file,n,v\na.png,1,"[1, 2]"\nb.png,x,"[1, 2]"\nsub/ä c.PNG,3,"[1, 2]"\n');
  const fields = [
    { name: "picture", kind: "image", mime: "png" },
    { name: "n", kind: "int" },
    { name: "v", kind: "embedding", dim: 2 },
  ];
  const args = [
    "ingest",
    "d",
    "photos",
    "--labels",
    "labels.csv",
    "--schema",
    place.file("schema.json", JSON.stringify({ fields })),
  ];
  expect(place.run(args)).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/b\.png does not fit the schema .*"n"/),
  });
  place.file("labels.csv", 'file,n,v\na.png,1,"[1, 2]"\nb.png,2,"[1, 2]"\nsub/ä c.PNG,3,"[1, 2]"\n');
  expect(place.run([...args, "--json"]).json()).toMatchObject({ records: 3 });
});

test("files without a label are named, or taken when that is wanted", () => {
  const place = workplace();
  photos(place);
  place.file("labels.csv", "file,label\na.png,cat\n");
  const args = ["ingest", "d", "photos", "--labels", "labels.csv"];
  expect(place.run(args)).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/2 of 3 files have no label.*b\.png, sub\/ä c\.PNG/),
  });
  expect(place.run([...args, "--allow-unlabelled", "--json"]).json().schema[2]).toMatchObject({
    name: "label",
    required: false,
  });
});

test("a folder of several formats is marked as mixed; damaged files are found", () => {
  const place = workplace();
  photos(place);
  place.file("photos/z.jpg", jpeg(1));
  expect(place.run(["ingest", "mixed", "photos", "--json"]).json().schema[0]).toMatchObject({
    mime: "mixed",
  });
  place.file("photos/z.jpg", "");
  expect(place.run(["ingest", "mixed", "photos"])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/z\.jpg does not fit/),
  });
  place.file("photos/z.jpg", png(9));
  expect(place.run(["ingest", "mixed", "photos"]).status).toBe(0);
});

test.each([
  ["labels.csv", 'file,label\na.png,"x\n', /line 2 .*quote/],
  ["labels.csv", "file,label\na.png,x,y\n", /line 2 .*3 cells/],
  ["labels.csv", "file,label\na.png,x\na.png,y\n", /line 3 names a file again/],
  ["labels.csv", "file,label\n,x\n", /line 2 names no file/],
  ["labels.csv", "file,file\n", /line 1 is no header/],
  ["labels.csv", "", /line 1 is no header/],
  ["labels.csv", "name,image\na.png,x\nb.png,x\nsub/ä c.PNG,x\n", /folder itself fills/],
  ["labels.csv", Buffer.from([0xff, 0xfe, 0x41]), /not UTF-8/],
  ["labels.jsonl", '{"file":"a.png"}\n{"label":1}\n', /line 2 names no file/],
  ["labels.jsonl", "{\n", /line 1 is not JSON/],
  ["labels.json", "5", /no JSON object/],
  ["labels.xlsx", "x", /not a kind of labels file/],
])("%s with %j is refused", (name, content, message) => {
  const place = workplace();
  photos(place);
  place.file(name, content);
  expect(place.run(["ingest", "d", "photos", "--labels", name])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(message),
  });
});

test("a folder without images, and labels that are not there", () => {
  const place = workplace();
  place.file("docs/readme.txt", "x");
  expect(place.run(["ingest", "d", "docs"])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/no images/),
  });
  photos(place);
  expect(place.run(["ingest", "d", "photos", "--labels", "none.csv"])).toMatchObject({
    status: 3,
    stderr: expect.stringMatching(/no such file/),
  });
});
