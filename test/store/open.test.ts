import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "@jest/globals";
import { memoryStore } from "../../src/store/memory.ts";
import { openStore, registerBackend } from "../../src/store/open.ts";
import { scratchDirectories } from "./scratch.ts";
import { text, utf8 } from "./suite.ts";

const freshDirectory = scratchDirectories();
const refusal = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

test("without Node's part, paths and file URLs are refused", () => {
  for (const address of ["/data/x", "x", "C:\\x", "file:///x", "data:1"]) {
    expect(() => openStore(address)).toThrow(refusal("UnsupportedBackend", /need Node.*memory:\/\/name/));
  }
});

test("web addresses open without Node's part", () => {
  expect(openStore("https://h/b/p/").url).toBe("https://h/b/p");
  expect(openStore("HTTP://H:80/b").url).toBe("http://h/b");
});

test("a registered scheme gets the whole address", () => {
  const store = memoryStore();
  registerBackend("mine", (address) => ({ ...store, url: address }) as never);
  expect(openStore("mine://a/b").url).toBe("mine://a/b");
});

test("memory addresses share by name", async () => {
  await openStore("memory://open-test").put("refs/a", utf8("x"));
  expect(text(await openStore({ backend: "memory://open-test" }).get("refs/a"))).toBe("x");
  for (const address of ["memory://", "memory:x"]) {
    expect(() => openStore(address)).toThrow(refusal("InvalidArgument", /memory:\/\/name/));
  }
});

test("a store is handed back as it is", () => {
  const store = memoryStore();
  expect(openStore(store)).toBe(store);
  expect(openStore({ backend: store })).toBe(store);
});

test("other schemes are named together with the known ones", () => {
  expect(() => openStore("ftp://h/x")).toThrow(refusal("UnsupportedBackend", /ftp.*memory:\/\/name/));
  expect(() => openStore("s3://b/x")).toThrow(refusal("UnsupportedBackend", /s3.*need Node/));
});

test.each([
  [undefined],
  [null],
  [5],
  [{}],
  [{ backend: 5 }],
  [{ get() {} }],
  [{ backend: { backend: "x" } }],
])("%j is no backend", (backend) => {
  expect(() => openStore(backend as never)).toThrow(refusal("InvalidArgument", /backend/));
});

test.each(["", "a\0b"])("the address %j is refused", (address) => {
  expect(() => openStore(address)).toThrow(refusal("InvalidArgument", /backend/));
});

test("with Node's part, paths and file URLs open directories", async () => {
  await import("../../src/store/node.ts");
  const root = freshDirectory();
  await openStore(root).put("refs/a", utf8("x"));
  expect(text(await openStore(pathToFileURL(root).href).get("refs/a"))).toBe("x");
  expect(openStore("./some/C:x").url).toBe(pathToFileURL(join(process.cwd(), "some/C:x")).href);
  expect(openStore("C:\\x").url).toMatch(/^file:/);
  expect(() => openStore("file://elsewhere/x")).toThrow(refusal("InvalidArgument", /file:\/\/\/absolute/));
  expect(() => openStore("ftp://h")).toThrow(refusal("UnsupportedBackend", /a path, file:\/\/\/path/));
});

test("no Node module reaches open.ts", () => {
  const entry = "src/store/open.ts";
  const out = execFileSync("node_modules/.bin/esbuild", [
    entry,
    "--bundle",
    "--platform=browser",
    "--format=esm",
  ]);
  expect(out.toString()).not.toMatch(/node:|directoryStore/);
});
