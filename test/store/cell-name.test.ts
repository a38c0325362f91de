import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { cellPath, decodeName } from "../../src/store/cell-name.ts";

test("the encoding is the one the spec states", () => {
  expect(cellPath("refs/main")).toBe("refs+/main@");
  expect(cellPath("refs/Main/a")).toBe("refs+/main=01+/a@");
  expect(cellPath("refs/aaaaaaaaB")).toBe("refs+/aaaaaaaab=0001@");
  expect(cellPath("A-B.C")).toBe("a-b.c=15@");
});

const segment = fc.stringMatching(/^[A-Za-z0-9._-]{1,130}$/);

test("names decode to what they encode, and hold no capital", () => {
  fc.assert(
    fc.property(segment, (name) => {
      const encoded = cellPath(name);
      expect(encoded).toBe(encoded.toLowerCase());
      expect(encoded.length).toBeLessThanOrEqual(255);
      expect(decodeName(encoded)).toEqual({ segment: name, final: true });
    }),
  );
});

test.each([
  "a",
  "A@",
  "a=@",
  "a=1@",
  "a=00@",
  "a=0100@",
  "a=02@",
  "1=01@",
  "a=0G@",
  "a=01=01@",
  "@",
  "a@@",
  "a+@",
  "",
])("%j is no name of a cell", (name) => {
  expect(decodeName(name)).toBeUndefined();
});

test("a segment too long for a file name is refused", () => {
  expect(() => cellPath("Z".repeat(250))).toThrow(expect.objectContaining({ code: "InvalidName" }));
});
