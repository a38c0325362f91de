// The HTTP vectors (conformance/http.json) against servers that are fit and servers that are not, which must be told.
import { describe, expect, test } from "@jest/globals";
import { type ServerOptions, withServer } from "./object-server.ts";

const path = "../../conformance/http.mjs";
const {
  runHttp,
}: { runHttp(options: { url: string; writeUrl?: string }): Promise<{ name: string; error?: string }[]> } =
  await import(path);

const failuresOf = async (url: string) =>
  (await runHttp({ url })).filter(({ error }) => error !== undefined).map(({ name }) => name);

describe.each<[string, ServerOptions]>([
  ["unique tags", { etags: "unique", pageKeys: 2 }],
  ["tags of the bytes, bare in conditions", { etags: "md5", conditions: "bare", pageKeys: 2 }],
  ["weak tags", { etags: "weak" }],
  ["no ranges", { ranges: false }],
])("a server with %s", (_name, options) => {
  const server = withServer(options);
  test("is fit", async () => {
    expect((await runHttp({ url: `${server.url}/bucket/some/prefix` })).filter(({ error }) => error)).toEqual(
      [],
    );
  });
});

describe.each<[string, ServerOptions, string[]]>([
  [
    "ignores conditions",
    { conditions: "ignored" },
    ["a key is created once", "of eight who create one key, one succeeds"],
  ],
  [
    "ignores If-Match",
    { conditions: "ignores If-Match" },
    ["a tag of another value is not taken", "of eight who swap one value, one succeeds"],
  ],
  ["refuses conditions", { conditions: "refused" }, ["a key is created once"]],
  ["sends no tags", { etags: "none" }, ["an object comes back whole, with its length and a tag"]],
  ["hides what is missing", { hidesMissing: true }, ["a key that nobody has put is missing"]],
])("a server that %s", (_name, options, failing) => {
  const server = withServer(options);
  test("is told so", async () => {
    expect(await failuresOf(`${server.url}/bucket/prefix`)).toEqual(expect.arrayContaining(failing));
  });
});

describe("a proxy that", () => {
  const server = withServer();
  test("keeps old answers is told so", async () => {
    const kept = new Map<string, Buffer>();
    server.intervene = ({ method, path }, response) => {
      if (method !== "GET" || !path.includes("/refs/") || path.includes("?")) return false;
      const value = server.values.get(path);
      if (value === undefined) return false;
      const bytes = kept.get(path) ?? value.bytes;
      kept.set(path, bytes);
      response.writeHead(200, { ETag: `"${value.etag}"`, "Content-Length": bytes.length }).end(bytes);
      return true;
    };
    const failures = await failuresOf(`${server.url}/b/p`);
    expect(failures).toContain("a new value is seen by the next get, twenty times");
  });

  test("lets caches keep refs is told so", async () => {
    server.intervene = (_request, response) => {
      const { writeHead } = response;
      response.writeHead = ((status: number, headers: object) =>
        writeHead.call(response, status, {
          ...headers,
          "Cache-Control": "public, max-age=60",
        })) as typeof writeHead;
      return false;
    };
    expect(await failuresOf(`${server.url}/b/q`)).toEqual(["refs are not told to be kept by caches"]);
  });
});
