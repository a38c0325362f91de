// Backends that keep conditions, that refuse them, and that only seem to keep them.
import { describe, expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { openStore } from "../../src/store/open.ts";
import { httpStore } from "../../src/store/remote/http.ts";
import type { RemoteOptions } from "../../src/store/remote/options.ts";
import { refusal } from "../dataset/stores.ts";
import { type ServerOptions, withServer } from "./object-server.ts";
import { OBJECT, text, utf8 } from "./suite.ts";

const QUIET: RemoteOptions = { onWarning: () => {}, minDelayMs: 1 };
const schema = new Schema().addScalarInt("n");

describe.each<[string, ServerOptions, RegExp]>([
  [
    "answers 501 to conditions",
    { conditions: "refused" },
    /answers 501 to conditional puts.*singleWriter: true/,
  ],
  ["ignores all conditions", { conditions: "ignored" }, /ignores If-None-Match/],
  ["ignores If-Match", { conditions: "ignores If-Match" }, /ignores If-Match/],
  ["has weak tags that match nothing", { etags: "weak", conditions: "ignores If-Match" }, /ignores If-Match/],
  ["has no tags", { etags: "none" }, /shows no ETag/],
])("a server that %s", (_name, options, why) => {
  const server = withServer(options);

  test("is refused for writing, before anything of the dataset is written", async () => {
    const url = `${server.url}/refused`;
    const error = await refusal(() => Dataset.create("main", schema, url, { remote: QUIET }));
    expect(error).toMatchObject({ code: "UnsupportedBackend", committed: "no", retryable: false });
    expect(error.message).toMatch(why);
    const left = [...server.values.keys()].filter((key) => key.startsWith("/refused/"));
    expect(left.filter((key) => key !== "/refused/meta/probe")).toEqual([]);
  });

  test("takes one writer who says so, and readers", async () => {
    const url = `${server.url}/alone`;
    const located = { backend: url, singleWriter: true, remote: QUIET };
    const dataset = await Dataset.create("main", schema, located);
    await dataset.appendMany([{ n: 1 }]);
    await (await Dataset.open("main", located)).appendMany([{ n: 2 }]);
    expect(await refusal(() => Dataset.create("main", schema, located))).toMatchObject({
      code: "AlreadyExists",
    });
    const reader = await Dataset.open("main", url);
    expect(await reader.count()).toBe(2);
    const second = await Dataset.open("main", url, { remote: QUIET });
    expect(await refusal(() => second.appendMany([{ n: 3 }]))).toMatchObject({ code: "UnsupportedBackend" });
    expect(await fsck(url)).toMatchObject({ ok: true, rows: 2 });
  });

  test("is seen through again by every put", async () => {
    const store = httpStore(`${server.url}/again`, QUIET);
    for (let i = 0; i < 2; i++)
      expect(await refusal(() => store.put(OBJECT, utf8("x")))).toMatchObject({ code: "UnsupportedBackend" });
    expect(server.requests.filter(({ path }) => path.startsWith("/again/objects"))).toEqual([]);
  });
});

describe("a server with conditions", () => {
  const server = withServer({ etags: "md5", conditions: "bare" });

  test("is probed once a store, with one key, which lists do not show", async () => {
    const store = httpStore(`${server.url}/probed`, QUIET);
    await Promise.all([store.put(OBJECT, utf8("x")), store.put("refs/a", utf8("y"), { create: true })]);
    const probes = server.requests.filter(({ path }) => path === "/probed/meta/probe");
    expect(
      probes.map(({ method, headers }) => [method, headers["if-none-match"], headers["if-match"]]),
    ).toEqual([
      ["PUT", "*", undefined],
      ["PUT", "*", undefined],
      ["GET", undefined, undefined],
      ["PUT", undefined, expect.stringMatching(/^"[0-9a-f]{32}"$/)],
      ["PUT", undefined, expect.stringMatching(/^[0-9a-f]{32}$/)],
      ["PUT", undefined, expect.stringMatching(/^[0-9a-f]{32}$/)],
    ]);
    const keys: string[] = [];
    for await (const { key } of store.list("")) keys.push(key);
    expect(keys).toEqual([OBJECT, "refs/a"]);
  });

  test("reading probes nothing", async () => {
    const before = server.requests.length;
    await httpStore(`${server.url}/probed`).get("refs/a");
    expect(server.requests.slice(before).map(({ method }) => method)).toEqual(["GET"]);
  });

  test("a probe that failed for a while is made again", async () => {
    const store = httpStore(`${server.url}/later`, { ...QUIET, attempts: 1 });
    server.intervene = (_request, response) => {
      response.writeHead(503).end();
      return true;
    };
    const error = await refusal(() => store.put(OBJECT, utf8("x")));
    expect(error).toMatchObject({ code: "StoreUnavailable", committed: "no", retryable: true });
    server.intervene = undefined;
    await store.put(OBJECT, utf8("x"));
    expect(text(await store.get(OBJECT))).toBe("x");
  });

  test("whoever writes unsigned is told, once", async () => {
    const told: string[] = [];
    const store = httpStore(`${server.url}/warned`, { onWarning: (message) => told.push(message) });
    await store.get(OBJECT);
    expect(told).toEqual([]);
    await store.put(OBJECT, utf8("x"));
    await store.put(OBJECT, utf8("x"));
    expect(told).toEqual([expect.stringMatching(/unsigned/)]);
  });

  test("readOnly refuses every write without a request", async () => {
    const located = { backend: `${server.url}/readonly`, readOnly: true };
    const before = server.requests.length;
    const store = openStore(located.backend, { readOnly: true });
    expect(await refusal(() => store.put(OBJECT, utf8("x")))).toMatchObject({
      code: "ReadOnly",
      committed: "no",
    });
    expect(await refusal(() => store.delete(OBJECT))).toMatchObject({ code: "ReadOnly" });
    expect(server.requests.length).toBe(before);
    expect(await refusal(() => Dataset.create("main", schema, located))).toMatchObject({ code: "ReadOnly" });
    const memory = { backend: "memory://read-only-test", readOnly: true };
    expect(await refusal(() => Dataset.create("main", schema, memory))).toMatchObject({ code: "ReadOnly" });
  });
});

describe("403", () => {
  const hiding = withServer({ hidesMissing: true });
  const open = withServer();

  test("is a missing key to those who may not list", async () => {
    const store = httpStore(`${hiding.url}/b`, QUIET);
    hiding.write(`/b/${OBJECT}`, utf8("x"));
    expect(text(await store.get(OBJECT))).toBe("x");
    expect(await store.get("refs/none")).toBeUndefined();
    expect(await store.get("refs/none")).toBeUndefined();
    // Asked once whether lists are allowed.
    expect(hiding.requests.filter(({ path }) => path.includes("list-type")).length).toBe(1);
    expect(await refusal(() => Dataset.open("none", `${hiding.url}/b`))).toMatchObject({ code: "NotFound" });
  });

  test("is a denial to those who may", async () => {
    const store = httpStore(`${open.url}/b`, QUIET);
    open.intervene = (request, response) => {
      if (request.path.includes("list-type")) return false;
      response.writeHead(403).end();
      return true;
    };
    expect(await refusal(() => store.get("refs/none"))).toMatchObject({
      code: "StoreUnavailable",
      message: expect.stringContaining("denies access"),
    });
  });

  test("for a wrong signature is no missing key", async () => {
    const store = httpStore(`${hiding.url}/b`, QUIET);
    hiding.intervene = (_request, response) => {
      response.writeHead(403).end("<Error><Code>SignatureDoesNotMatch</Code></Error>");
      return true;
    };
    expect(await refusal(() => store.get("refs/none"))).toMatchObject({ code: "StoreUnavailable" });
    hiding.intervene = undefined;
  });
});

test.each([
  ["http://h/b/p/q/", "http://h/b/p/q"],
  ["https://H:443", "https://h"],
  ["https://photos.s3.eu-central-1.amazonaws.com/a", "https://photos.s3.eu-central-1.amazonaws.com/a"],
])("%s is %s", (address, url) => {
  expect(httpStore(address).url).toBe(url);
});

test.each([
  "http://user:secret@h/b",
  "http://secret@h/b",
  "http://h/b?token=secret",
  "http://h/b#secret",
  "http://h/b/%2e%2e%2fx",
  "http://h/b/a b",
  "http://",
  "ftp://h/b",
])("%s is no address, and its secret stays out of the message", async (address) => {
  const error = await refusal(() => httpStore(address));
  expect(error).toMatchObject({ code: "InvalidArgument", field: "backend" });
  expect(error.message).not.toContain("secret");
});
