import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { addressOf } from "../../src/core/address.ts";
import { formatModality, parseModality } from "../../src/core/modality.ts";
import { checkRefName, refKey } from "../../src/core/ref-name.ts";
import { formatUri, parseUri } from "../../src/core/uri.ts";

const coded = (code: string): object => expect.objectContaining({ name: "DreamDBError", code });

function accepts(check: () => unknown): boolean {
  try {
    check();
    return true;
  } catch (error) {
    expect(error).toEqual(expect.objectContaining({ name: "DreamDBError" }));
    return false;
  }
}

describe("ref names", () => {
  test.each(["a", "A9", "main", "team/words", "v1.0", "a.b-c_d", "a/b/c/d/e/f/g/h", "x".repeat(128), "0"])(
    "%j is one",
    (name) => {
      expect(checkRefName(name)).toBe(name);
      expect(refKey(name)).toBe(`refs/${name}`);
    },
  );

  test.each([
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    ".",
    "..",
    "a/..",
    "../a",
    "a/../b",
    "a..b",
    "a.",
    "a./b",
    ".a",
    "-a",
    "_a",
    "a/b/c/d/e/f/g/h/i",
    "x".repeat(129),
    "a b",
    "a\n",
    "a\0",
    "a\\b",
    "a:b",
    "a%2e",
    "é",
    "a\u202eb",
    "a?b",
    "a#b",
  ])("%j is none", (name) => {
    expect(() => checkRefName(name)).toThrow(coded("InvalidName"));
    expect(() => refKey(name)).toThrow(coded("InvalidName"));
  });

  test.each([undefined, null, 5, ["a"], { toString: () => "a" }])("%p is none", (name) => {
    expect(() => checkRefName(name as string)).toThrow(coded("InvalidName"));
  });

  test("whatever is accepted is harmless as a key and as a path", () => {
    const unit = fc.oneof(
      fc.constantFrom(..."aZ09._-/"),
      fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
    );
    let accepted = 0;
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 12 }), (name) => {
        if (!accepts(() => checkRefName(name))) return;
        accepted++;
        expect(name).toMatch(/^[A-Za-z0-9][A-Za-z0-9._/-]*$/);
        expect(name).not.toMatch(/\.\.|\/\/|\.\/|\.$|\/$|\/[._-]/);
        expect(new URL(`file:///refs/${name}`).pathname).toBe(`/refs/${name}`);
      }),
      { numRuns: 5000 },
    );
    expect(accepted).toBeGreaterThan(20);
  });
});

describe("modality tags", () => {
  test.each([
    ["image.jpeg", ["image", "jpeg"], []],
    ["vector.f32;dim=512", ["vector", "f32"], [["dim", "512"]]],
    ["scalar.categorical", ["scalar", "categorical"], []],
    [
      "com.example.lidar;points=64k;frame=Left-1",
      ["com", "example", "lidar"],
      [
        ["points", "64k"],
        ["frame", "Left-1"],
      ],
    ],
    ["dreamdb.manifest", ["dreamdb", "manifest"], []],
  ])("%s", (tag, path, parameters) => {
    const modality = parseModality(tag);
    expect(modality.path).toEqual(path);
    expect([...modality.parameters]).toEqual(parameters);
    expect(formatModality(modality)).toBe(tag);
  });

  test.each([
    "",
    "image",
    "image.",
    ".jpeg",
    "image..jpeg",
    "image.jpeg.progressive",
    "Image.jpeg",
    "image.JPEG",
    "image.-jpeg",
    "image.jp eg",
    "image/jpeg",
    "lidar",
    "example.lidar",
    "vector.f32;",
    "vector.f32;dim",
    "vector.f32;dim=",
    "vector.f32;=5",
    "vector.f32;dim=5;dim=5",
    "vector.f32;dim=5=6",
    "vector.f32;dim=-5",
    "vector.f32;dim= 5",
    "vector.f32;dim=5\n",
    "vector.f32;dim=5;",
    `image.${"a".repeat(250)}`,
  ])("%j is none", (tag) => {
    expect(() => parseModality(tag)).toThrow(coded("InvalidArgument"));
  });

  test("255 characters and no more", () => {
    expect(parseModality(`image.${"a".repeat(249)}`).path[1]?.length).toBe(249);
  });

  test("whatever is accepted is the one text of what it says", () => {
    const segment = fc.constantFrom("image", "scalar", "com", "a", "b-1", "A", "-", "");
    const path = fc.array(segment, { maxLength: 4 }).map((parts) => parts.join("."));
    const parameter = fc.constantFrom(";dim=1", ";k=A.b_c-1", ";k", ";=1", ";K=1", ";k=é");
    let accepted = 0;
    fc.assert(
      fc.property(path, fc.array(parameter, { maxLength: 3 }), (head, tail) => {
        const tag = head + tail.join("");
        if (!accepts(() => parseModality(tag))) return;
        accepted++;
        expect(formatModality(parseModality(tag))).toBe(tag);
      }),
      { numRuns: 5000 },
    );
    expect(accepted).toBeGreaterThan(20);
  });
});

describe("URIs", () => {
  const address = addressOf(new Uint8Array(0));

  test.each([
    ["", undefined],
    ["#bytes:0-0", { first: 0, last: 0 }],
    ["#bytes:10-9007199254740991", { first: 10, last: 2 ** 53 - 1 }],
  ])("an address%s", (fragment, bytes) => {
    const uri = `dreamdb://${address}${fragment}`;
    const parsed = parseUri(uri);
    expect(parsed).toEqual(bytes === undefined ? { address } : { address, bytes });
    expect(formatUri(parsed)).toBe(uri);
  });

  test.each([
    "",
    address,
    `dreamdb:${address}`,
    `DREAMDB://${address}`,
    `dreamdb://${address}/`,
    `dreamdb://${address}?x`,
    `dreamdb://${address.toUpperCase()}`,
    `dreamdb://${address.slice(0, -1)}`,
    `dreamdb://${address.slice(0, -1)}z`,
    `dreamdb://${address}#`,
    `dreamdb://${address}#bytes:`,
    `dreamdb://${address}#bytes:5`,
    `dreamdb://${address}#bytes:5-`,
    `dreamdb://${address}#bytes:-5`,
    `dreamdb://${address}#bytes:5-4`,
    `dreamdb://${address}#bytes:05-6`,
    `dreamdb://${address}#bytes:5-06`,
    `dreamdb://${address}#bytes:0x5-6`,
    `dreamdb://${address}#bytes:5-9007199254740992`,
    `dreamdb://${address}#bytes:5-6\n`,
    `dreamdb://${address}#bytes:5-6#bytes:5-6`,
    `dreamdb://${address}#row:5-6`,
    ` dreamdb://${address}`,
    `dreamdb://user@${address}`,
  ])("%j is none", (uri) => {
    expect(() => parseUri(uri)).toThrow(coded("InvalidUri"));
  });

  test.each([
    [{ first: 2, last: 1 }],
    [{ first: -1, last: 1 }],
    [{ first: 0.5, last: 1 }],
    [{ first: 0, last: 1e21 }],
    [{ first: 0, last: Number.NaN }],
  ])("no URI says %j", (bytes) => {
    expect(() => formatUri({ address, bytes })).toThrow(coded("InvalidUri"));
  });
});
