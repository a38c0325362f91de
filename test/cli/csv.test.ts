import { expect, test } from "@jest/globals";
import { parseCsv } from "../../src/cli/csv.ts";

const cells = (text: string, separator?: "," | "\t") => parseCsv(text, separator).map((row) => row.cells);

test.each([
  [
    "a,b\n1,2\n",
    [
      ["a", "b"],
      ["1", "2"],
    ],
  ],
  [
    "a,b\n1,2",
    [
      ["a", "b"],
      ["1", "2"],
    ],
  ],
  [
    "a,b\r\n1,2\r\n",
    [
      ["a", "b"],
      ["1", "2"],
    ],
  ],
  [
    "a,b\r1,2\r",
    [
      ["a", "b"],
      ["1", "2"],
    ],
  ],
  ["\ufeffa,b\n", [["a", "b"]]],
  [
    "a,b\n\n\n1,\n,\n",
    [
      ["a", "b"],
      ["1", ""],
      ["", ""],
    ],
  ],
  [
    '"a, b","say ""hi"""\n"two\r\nlines",""',
    [
      ["a, b", 'say "hi"'],
      ["two\r\nlines", ""],
    ],
  ],
  ['""\n"x"\n', [[""], ["x"]]],
  ['""""\n', [['"']]],
  ["a, b \n", [["a", " b "]]],
  ["", []],
  ["\n\n", []],
])("%j", (text, expected) => {
  expect(cells(text)).toEqual(expected);
});

test("tabs separate in TSV, and commas do not", () => {
  expect(cells('a,b\tc\n"x\ty"\tz\n', "\t")).toEqual([
    ["a,b", "c"],
    ["x\ty", "z"],
  ]);
});

test("rows know the line they begin on", () => {
  expect(parseCsv('a,b\n"1\n2",x\n\n3,y\n').map((row) => row.line)).toEqual([1, 2, 5]);
});

test.each([
  ['a,b\n1,"2\n', /line 2 .*quote/],
  ['a,b\n1,x"2\n', /line 2 .*quote/],
  ['a,b\n"1"x,2\n', /line 2 .*quote/],
  ["a,b\n1,2\n1,2,3\n", /line 3 .*3 cells.*2 cells/],
  ['a,b\n"1\n\n",2\n5\n', /line 5 .*1 cells/],
])("%j is refused", (text, message) => {
  expect(() => parseCsv(text)).toThrow(
    expect.objectContaining({ code: "InvalidArgument", message: expect.stringMatching(message) }),
  );
});

test("a large table takes linear time", () => {
  const text = 'file,"la,bel"\n'.repeat(200_000);
  const from = performance.now();
  expect(parseCsv(text)).toHaveLength(200_000);
  expect(performance.now() - from).toBeLessThan(5_000);
});
