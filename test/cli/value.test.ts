import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "@jest/globals";
import { linesOf } from "../../src/cli/lines.ts";
import { formatOf } from "../../src/cli/media.ts";
import { table } from "../../src/cli/table.ts";
import { printable, styleFor } from "../../src/cli/terminal.ts";
import { timeText, toJson } from "../../src/cli/text.ts";
import { parseTime, toAnchor, toValue } from "../../src/cli/value.ts";
import type { FieldSpec } from "../../src/index.ts";
import { jpeg, png } from "./run.ts";

const field = (kind: string, more: object = {}): FieldSpec =>
  ({ id: 0, name: "f", required: true, kind, ...more }) as FieldSpec;
const base = mkdtempSync(join(tmpdir(), "dreamdb-cli-value-"));
writeFileSync(join(base, "a.png"), png(1));
writeFileSync(join(base, "fake.png"), "no image");
afterAll(() => rmSync(base, { recursive: true, force: true }));

test.each([
  ["int", 5, 5],
  ["int", "9007199254740993", 9007199254740993n],
  ["int", "-9223372036854775808", -(2n ** 63n)],
  ["int", "+7", 7n],
  ["float", "-1.5e3", -1500],
  ["float", 2, 2],
  ["bool", "True", true],
  ["bool", false, false],
  ["string", "5", "5"],
  ["categorical", "", ""],
  ["timestamp", "1772366400000000001", 1772366400000000001n],
  ["timestamp", "2026-03-01T12:00:00.000000001Z", 1772366400000000001n],
])("a %s from %j", async (kind, raw, expected) => {
  expect(await toValue(field(kind), raw, base, "line 1")).toEqual(expected);
});

test.each([
  ["int", 2 ** 53],
  ["int", 1.5],
  ["int", "1.5"],
  ["int", "9223372036854775808"],
  ["int", ""],
  ["float", "NaN"],
  ["float", ""],
  ["float", "0x10"],
  ["float", "1e999"],
  ["bool", 1],
  ["bool", "yes"],
  ["string", 5],
  ["categorical", true],
  ["timestamp", "2026-02-30T00:00:00Z"],
  ["timestamp", "2026-03-01T12:00:00"],
  ["image", "text"],
  ["image", { $base64: "a" }],
  ["image", { $base64: "a*==" }],
  ["image", { $file: "fake.png" }],
  ["image", { $base64: Buffer.from(jpeg(1)).toString("base64") }],
])("no %s from %j", async (kind, raw) => {
  const found = toValue(field(kind, { mime: "png" }), raw, base, "line 7");
  await expect(found).rejects.toMatchObject({
    code: "SchemaViolation",
    message: expect.stringMatching(/^line 7 .*field: "f"/),
  });
});

test.each([
  [[1, 2]],
  [[1, 2, 3, 4]],
  [[1, 2, "3"]],
  [[1, 2, null]],
  [5],
  ["[1,2]"],
  ["[1,2"],
  [new Float32Array([1, 2, Number.NaN])],
])("no vector of 3 from %j", async (raw) => {
  await expect(toValue(field("embedding", { dim: 3 }), raw, base, "row 2")).rejects.toMatchObject({
    code: "SchemaViolation",
    expected: "3 finite numbers",
  });
});

test("vectors come as arrays, typed arrays and text", async () => {
  for (const raw of [[1, 2, 3], new Float32Array([1, 2, 3]), new Float64Array([1, 2, 3]), "[1, 2, 3]"]) {
    const value = await toValue(field("embedding", { dim: 3 }), raw, base, "row 2");
    expect([...(value as number[])]).toEqual([1, 2, 3]);
  }
});

test("media come from files below the base, and from nowhere else", async () => {
  const image = field("image", { mime: "png" });
  expect(await toValue(image, { $file: "a.png" }, base, "line 1")).toEqual(Buffer.from(png(1)));
  for (const $file of ["../a.png", "/etc/passwd", "x/../../a.png", ".", ""]) {
    await expect(toValue(image, { $file }, base, "line 1")).rejects.toMatchObject({
      code: "InvalidArgument",
    });
  }
  await expect(toValue(image, { $file: "none.png" }, base, "line 1")).rejects.toMatchObject({
    code: "NotFound",
  });
});

test("required fields must be there, others need not", async () => {
  for (const raw of [undefined, null]) {
    await expect(toValue(field("int"), raw, base, "line 3")).rejects.toMatchObject({
      code: "SchemaViolation",
    });
    expect(await toValue(field("int", { required: false }), raw, base, "line 3")).toBeUndefined();
  }
});

test("anchors from digits, integers and times", () => {
  expect(toAnchor("1772366400000000001", "t", "row 1")).toBe(1772366400000000001n);
  expect(toAnchor(12, "t", "row 1")).toBe(12n);
  expect(toAnchor("1970-01-01T00:00:01+00:00", "t", "row 1")).toBe(1_000_000_000n);
  for (const raw of [undefined, 1.5, 2 ** 60, "soon", {}]) {
    expect(() => toAnchor(raw, "t", "row 1")).toThrow(expect.objectContaining({ code: "InvalidAnchor" }));
  }
});

test("times keep their nanoseconds, there and back", () => {
  for (const text of [
    "2026-03-01T12:00:00.123456789Z",
    "1969-12-31T23:59:59.999999999Z",
    "1970-01-01T00:00:00.000000000Z",
  ]) {
    expect(timeText(parseTime(text) as bigint)).toBe(text);
  }
  expect(parseTime("2026-03-01T13:30:00+01:30")).toBe(parseTime("2026-03-01T12:00:00Z"));
  expect(timeText(2n ** 80n)).toBe((2n ** 80n).toString());
});

test("formats by their first bytes", () => {
  const riff = (name: string) => Buffer.from(`RIFF\0\0\0\0${name}`, "latin1");
  expect(formatOf(png(1))).toEqual({ kind: "image", mime: "png" });
  expect(formatOf(jpeg(1))).toEqual({ kind: "image", mime: "jpeg" });
  expect(formatOf(riff("WEBP"))).toEqual({ kind: "image", mime: "webp" });
  expect(formatOf(riff("WAVE"))).toEqual({ kind: "audio", mime: "wav" });
  expect(formatOf(Buffer.from("\0\0\0\x18ftypisom", "latin1"))).toEqual({ kind: "video", mime: "mp4" });
  expect(formatOf(new Uint8Array(0))).toBeUndefined();
  expect(formatOf(png(1).subarray(0, 7))).toBeUndefined();
});

async function* chunked(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

test("lines survive any cutting into chunks", async () => {
  const bytes = Buffer.from("\ufeffeins\r\nzwei ü€😀\n\nvier");
  for (let size = 1; size <= bytes.length; size++) {
    const lines = [];
    for await (const line of linesOf(chunked(bytes, size))) lines.push([line.number, line.text]);
    expect(lines).toEqual([
      [1, "eins"],
      [2, "zwei ü€😀"],
      [3, ""],
      [4, "vier"],
    ]);
  }
});

test("bytes that are not UTF-8 are named by their line", async () => {
  const read = async () => {
    for await (const _ of linesOf(chunked(Buffer.from("ok\n\xff\n", "latin1"), 2)));
  };
  await expect(read()).rejects.toMatchObject({
    code: "InvalidArgument",
    message: expect.stringMatching(/^line 2 /),
  });
});

test("stored text can't drive a terminal", () => {
  expect(printable("a\u001b[31mb\n\u202ec\u009b")).toBe("a\\u001b[31mb\\u000a\\u202ec\\u009b");
});

test("colours need a terminal that wants them", () => {
  expect(styleFor({ isTTY: true }, {}).bold("x")).toBe("\u001b[1mx\u001b[22m");
  for (const [stream, env] of [
    [{}, {}],
    [{ isTTY: true }, { NO_COLOR: "1" }],
    [{ isTTY: true }, { TERM: "dumb" }],
  ] as const) {
    expect(styleFor(stream, env).bold("x")).toBe("x");
  }
});

test("tables align, cut long cells and show bytes and vectors briefly", () => {
  const rows = [
    [1, "ä"],
    [20, new Uint8Array(3)],
    [300, new Float32Array(5)],
    [4, "x".repeat(100)],
  ];
  const lines = table([{ title: "n", align: "right" }, { title: "value" }], rows, styleFor({})).split("\n");
  expect(lines).toEqual([
    "  n  value",
    "  1  ä",
    " 20  3 bytes",
    "300  [0, 0, 0, 0, … 5 in all]",
    `  4  ${"x".repeat(63)}…`,
  ]);
});

test("JSON has bigints as text and bytes as their number", () => {
  expect(
    toJson({ a: 2n ** 60n, b: new Uint8Array(3), c: new Float32Array([0.5]), d: Buffer.from("x") }),
  ).toBe('{"a":"1152921504606846976","b":{"bytes":3},"c":[0.5],"d":{"bytes":1}}');
});
