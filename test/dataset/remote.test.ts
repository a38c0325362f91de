// Datasets over HTTP: replies that get lost on the way, callers that give up, threads that read.
import { afterEach, describe, expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { httpStore } from "../../src/store/remote/http.ts";
import { withServer } from "../store/object-server.ts";
import { rowsOf } from "./records.ts";
import { refusal } from "./stores.ts";

const server = withServer();
const remote = { onWarning: () => {}, minDelayMs: 1, maxDelayMs: 5, timeoutMs: 500 };
const schema = new Schema()
  .addScalarInt("n")
  .addEmbedding("v", { dim: 2, algorithm: "dreamdb.lsh-cosine", lshBits: 1, required: false })
  .addEmbedding("w", { dim: 2, algorithm: "dreamdb.ivf-cosine", required: false });
const FIRST = 1_000_000_000_000_000_000n;
let bucket = 0;

async function drain(batches: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of batches);
}

afterEach(() => {
  server.intervene = undefined;
});

async function fresh(): Promise<{ url: string; dataset: Dataset }> {
  const url = `${server.url}/d${bucket++}`;
  const dataset = await Dataset.create("main", schema, url, { remote });
  await dataset.appendMany([{ n: 0 }]);
  return { url, dataset: dataset as unknown as Dataset };
}

/** Meddles with the first swap of the ref from now on. */
function atSwap(url: string, how: "cut before" | "cut after" | "500 after" | "500 before"): void {
  const path = `${new URL(url).pathname}/refs/main`;
  let left = 1;
  server.intervene = (request, response) => {
    if (request.method !== "PUT" || request.path !== path || left-- === 0) return false;
    if (how.endsWith("after")) server.write(request.path, request.body);
    if (how.startsWith("cut")) response.socket?.destroy();
    else response.writeHead(500).end();
    return true;
  };
}

describe("the answer to a commit gets lost", () => {
  test.each(["cut after", "500 after"] as const)("%s it took effect: success, once", async (how) => {
    const { url, dataset } = await fresh();
    atSwap(url, how);
    expect((await dataset.appendMany([{ n: 1 }])).seq).toBe(2);
    expect((await rowsOf(dataset)).map(({ n }) => n)).toEqual([0, 1]);
    expect(await fsck(url)).toMatchObject({ ok: true, rows: 2 });
  });

  test.each(["cut before", "500 before"] as const)("%s: unknown, and resume tells", async (how) => {
    const { url, dataset } = await fresh();
    atSwap(url, how);
    const error = await refusal(() => dataset.appendMany([{ n: 1 }]));
    expect(error).toMatchObject({ code: "CommitUnknown", committed: "unknown" });
    expect(await dataset.resume(error.opId as string)).toBeUndefined();
    await dataset.appendMany([{ n: 1 }], { opId: error.opId as string });
    await dataset.appendMany([{ n: 1 }], { opId: error.opId as string });
    expect((await rowsOf(dataset)).map(({ n }) => n)).toEqual([0, 1]);
  });

  test("of a creation: success", async () => {
    const url = `${server.url}/d${bucket++}`;
    atSwap(url, "cut after");
    const dataset = await Dataset.create("main", schema, url, { remote });
    expect(await dataset.count()).toBe(0);
  });
});

test("a server that fails now and then loses and doubles nothing", async () => {
  const { url, dataset } = await fresh();
  let seed = 1;
  const chance = (): number => {
    seed = (seed * 48271) % 2147483647;
    return seed / 2147483647;
  };
  server.intervene = (request, response, serve) => {
    const drawn = chance();
    if (drawn > 0.12) return false;
    if (drawn < 0.04) {
      response.writeHead(503).end();
      return true;
    }
    if (drawn < 0.08 && request.method === "PUT") {
      response.writeHead = () => response;
      response.end = (() => response) as typeof response.end;
      serve();
    }
    response.socket?.destroy();
    return true;
  };
  const wanted = [0];
  for (let n = 1; n <= 40; n++) {
    wanted.push(n);
    let opId: string | undefined;
    for (;;) {
      try {
        await dataset.appendMany([{ n }], opId === undefined ? {} : { opId });
        break;
      } catch (error) {
        const { code, opId: named } = error as { code: string; opId?: string };
        expect(["CommitUnknown", "StoreUnavailable"]).toContain(code);
        if (code === "CommitUnknown") opId = named;
      }
    }
  }
  server.intervene = undefined;
  expect((await rowsOf(await Dataset.open("main", url))).map(({ n }) => n)).toEqual(wanted);
  expect(await fsck(url)).toMatchObject({ ok: true, rows: 41 });
});

describe("a caller gives up", () => {
  const v = [1, 2];
  const verbs: [string, (dataset: Dataset, signal: AbortSignal, url: string) => Promise<unknown>][] = [
    ["appendMany", (dataset, signal) => dataset.appendMany([{ n: 1, v }], { signal })],
    ["rebuildIvf", (dataset, signal) => dataset.rebuildIvf({ field: "w", k: 1, signal })],
    ["refresh", (dataset, signal) => dataset.refresh({ signal })],
    ["get", (dataset, signal) => dataset.get(FIRST, { signal })],
    ["iterVector", async (dataset, signal) => dataset.iterVector({ field: "v", query: v, signal })],
    ["queryMany", (dataset, signal) => dataset.queryMany({ field: "v", queries: [v], signal })],
    ["explain", (dataset, signal) => dataset.explain({ field: "v", query: v, signal })],
    ["snapshot", (dataset, signal) => dataset.snapshot("s", { signal })],
    ["listRefs", (dataset, signal) => dataset.listRefs({ signal })],
    ["iterStream", (dataset, signal) => drain(dataset.iterStream({ signal }))],
    ["history", (dataset, signal) => dataset.history(9, { signal })],
    ["open", (_dataset, signal, url) => Dataset.open("main", url, { signal })],
    ["create", (_dataset, signal, url) => Dataset.create("other", schema, url, { remote, signal })],
    ["fsck", (_dataset, signal, url) => fsck(url, { signal })],
  ];

  test.each(verbs)("%s ends with Aborted, before and in the middle", async (_name, verb) => {
    const { url, dataset } = await fresh();
    await dataset.appendMany([
      { n: 5, v, w: v, _anchor: FIRST },
      { n: 6, v: [2, 1], w: v, _anchor: FIRST + 1n },
    ]);
    const cold = await Dataset.open("main", url, { remote });
    expect(await refusal(() => verb(cold, AbortSignal.abort(), url))).toMatchObject({ code: "Aborted" });
    const ender = new AbortController();
    server.intervene = () => {
      ender.abort();
      return true;
    };
    const began = performance.now();
    expect(await refusal(() => verb(cold, ender.signal, url))).toMatchObject({ code: "Aborted" });
    expect(performance.now() - began).toBeLessThan(400);
    server.intervene = undefined;
    expect(await (await Dataset.open("main", url)).count()).toBe(3);
  });

  test("in the middle of the swap: unknown, and resume tells", async () => {
    const { url, dataset } = await fresh();
    const ender = new AbortController();
    server.intervene = (request, _response, serve) => {
      if (request.method !== "PUT" || !request.path.endsWith("/refs/main")) return false;
      serve();
      ender.abort();
      return true;
    };
    const error = await dataset.appendMany([{ n: 1 }], { signal: ender.signal }).then(
      () => undefined,
      (error) => error,
    );
    server.intervene = undefined;
    // The answer may have been faster than the signal.
    if (error !== undefined) {
      expect(error).toMatchObject({ code: "CommitUnknown", committed: "unknown" });
      expect(await dataset.resume(error.opId)).toBeDefined();
    }
    expect(await (await Dataset.open("main", url)).count()).toBe(2);
  });
});

test("other threads open the same store by its address, unless only this one knows how", async () => {
  const { url } = await fresh();
  expect(httpStore(url, remote).sharedUrl).toBe(url);
  expect(httpStore(url, { ...remote, fetch }).sharedUrl).toBeUndefined();
});
