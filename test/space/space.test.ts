import { describe, expect, test } from "@jest/globals";
import {
  Dataset,
  DreamDBSpace,
  listRefs,
  type Media,
  memoryStore,
  type SpaceOptions,
  type SpaceProgress,
} from "../../src/index.ts";
import { parseSpaceUri } from "../../src/space/space-uri.ts";
import { withServer } from "../store/object-server.ts";
import { watchThreads } from "../workers/threads.ts";
import { makeDataset, ORIGIN, PNG, record, SVG, WAV } from "./records.ts";

const watchedNow = watchThreads();
const server = withServer();

let places = 0;
/** A backend over HTTP of its own. */
const place = () => `${server.url}/bucket/${++places}`;
const quiet = { remote: { onWarning: () => {} } };

const code = (promise: PromiseLike<unknown>) =>
  Promise.resolve(promise).then(
    () => "no error",
    (error) => error.code,
  );

test("a Space's address is split into a backend, and a ref or a Manifest", () => {
  const address = "dyqab".padEnd(55, "a");
  const place = { backend: "http://localhost:9000/my-bucket" };
  expect(parseSpaceUri("http://localhost:9000/my-bucket/refs/my-dataset")).toEqual({
    ...place,
    name: "my-dataset",
  });
  expect(parseSpaceUri(new URL("http://localhost:9000/my-bucket/refs/a/b/"))).toEqual({
    ...place,
    name: "a/b",
  });
  expect(parseSpaceUri("https://h/refs/refs/x")).toEqual({ backend: "https://h/refs", name: "x" });
  expect(parseSpaceUri("./data/refs/x")).toEqual({ backend: "./data", name: "x" });
  const manifest = "dyqfab5oyx2n6dxqsuyaaocrg2xqmpzq6s4zoxqecn7wg4qd6fgnrxy";
  expect(parseSpaceUri(`https://h/b/objects/${manifest.slice(4, 6)}/${manifest}`)).toEqual({
    backend: "https://h/b",
    manifest,
  });
  for (const wrong of ["", "refs/x", "/refs/x", "http://h/b", `http://h/b/objects/zz/${address}`])
    expect(() => parseSpaceUri(wrong)).toThrow(expect.objectContaining({ code: "InvalidUri" }));
  for (const wrong of ["http://h/b/refs/..", "http://h/b/refs/x?y", "http://h/b/refs/%2e"])
    expect(() => parseSpaceUri(wrong)).toThrow(expect.objectContaining({ code: "InvalidName" }));
});

describe.each([
  ["on this thread", {}],
  ["in a worker", { worker: true }],
])("%s", (_name, options) => {
  test("reads what the dataset holds", async () => {
    const backend = place();
    const dataset = await makeDataset(backend);
    const space = await DreamDBSpace.fromUri(`${backend}/refs/photos`, options);
    expect([space.name, space.manifest, space.isBranch]).toEqual(["photos", dataset.currentManifest(), true]);
    expect(space.tracks()).toEqual(dataset.tracks());
    expect(space.tracks()).toMatchObject([
      { name: "image", kind: "image", modality: "image.png", mime: "png", rows: 40, required: true },
      { name: "sound", kind: "audio", modality: "audio.wav", required: false },
      {
        name: "v",
        modality: "vector.f32;dim=4",
        dim: 4,
        algorithm: "dreamdb.ivf-cosine",
        index: { kind: "cells", rows: 40, cells: 4, compressor: "dreamdb.rabitq-cosine" },
      },
      { name: "label", modality: "scalar.categorical", index: { kind: "values", rows: 40 } },
      { name: "n", modality: "scalar.int" },
    ]);
    expect(await space.count()).toBe(40);
    expect(await space.history(2)).toEqual(await dataset.history(2));
    expect(await space.refs()).toEqual(await listRefs(backend));
    expect(await space.get(ORIGIN + 7n)).toEqual(await dataset.get(ORIGIN + 7n));
    expect(await space.get(ORIGIN - 1n)).toBeUndefined();

    const query = { field: "v", query: [1, 0.5, 0.25, 1], topK: 7, fields: ["label", "n", "v"] };
    const expected = await dataset.iterVector(query);
    expect(await space.query(query)).toEqual(expected);
    const streamed = [];
    for await (const batch of space.query({ ...query, batchSize: 3 })) streamed.push(...batch._distances);
    expect(streamed).toEqual(expected.flatMap(({ _distances }) => _distances));
    const many = { field: "v", queries: [record(1).v, record(9).v], topK: 3, where: { label: "odd" } };
    expect(await space.queryMany(many)).toEqual(await dataset.queryMany(many));
    expect((await space.explain(query)).strategy).toBe("ivf");
    await space.prewarm();

    const batches = [];
    for await (const batch of space.stream({ batchSize: 16, range: { from: ORIGIN + 5n } }))
      batches.push(batch);
    const all = [];
    for await (const batch of dataset.iterStream({ batchSize: 16, range: { from: ORIGIN + 5n } }))
      all.push(batch);
    expect(batches).toEqual(all);
    await space.close();
    expect(await code(space.count())).toBe("Aborted");
  });

  test("samples have scalars and blob URLs of what a page may show", async () => {
    const backend = place();
    await makeDataset(backend);
    const space = await DreamDBSpace.fromUri(`${backend}/refs/photos`, options);
    const samples = await space.samples({ limit: 5 });
    expect(samples.map(({ _anchor, label, n, v }) => [_anchor, label, n, v])).toEqual(
      [0, 1, 2, 3, 4].map((n) => [ORIGIN + BigInt(n), n % 2 === 0 ? "even" : "odd", n, undefined]),
    );
    expect(samples.hasMore).toBe(true);
    const [first, second, , svg] = samples;
    const image = first!.image as Media;
    expect([image.type, [...image.bytes], image.refusal]).toEqual(["image/png", [...PNG], undefined]);
    const { url } = image;
    expect(url).toMatch(/^blob:/);
    expect(image.url).toBe(url);
    const blob = await fetch(url as string);
    expect(blob.headers.get("content-type")).toBe("image/png");
    expect([...new Uint8Array(await blob.arrayBuffer())]).toEqual([...PNG]);
    expect((first!.sound as Media).type).toBe("audio/wav");
    expect([...(first!.sound as Media).bytes]).toEqual([...WAV]);
    expect("sound" in second!).toBe(false);

    const refused = svg!.image as Media;
    expect([refused.type, refused.url, refused.blob().type]).toEqual([
      "application/octet-stream",
      undefined,
      "application/octet-stream",
    ]);
    expect([...refused.bytes]).toEqual([...SVG]);
    expect([refused.refusal?.code, refused.refusal?.field]).toEqual(["SchemaViolation", "image"]);

    // What a `using` block calls at its end, where the engine knows such blocks.
    const { dispose } = Symbol as unknown as { dispose: symbol };
    expect((samples as unknown as Record<symbol, unknown>)[dispose]).toBe(samples.revoke);
    samples.revoke();
    expect(image.url).toBeUndefined();
    await expect(fetch(url as string)).rejects.toThrow();

    const chosen = await space.samples({
      where: { label: "odd" },
      range: { from: ORIGIN + 10n },
      fields: ["n", "v"],
      limit: 300,
    });
    expect(chosen.map(({ n }) => n)).toEqual(Array.from({ length: 15 }, (_, i) => 11 + 2 * i));
    expect(chosen.hasMore).toBe(false);
    expect(chosen[0]!.v).toEqual(record(11).v);
    expect(await code(space.samples({ limit: 0 }))).toBe("InvalidArgument");
    expect(await code(space.samples({ fields: ["none"] }))).toBe("InvalidArgument");
    await space.close();
  });

  test("it follows the branch that a writer appends to, and shows earlier states beside it", async () => {
    const backend = place();
    const dataset = await makeDataset(backend);
    const before = dataset.currentManifest();
    const space = await DreamDBSpace.fromUri(`${backend}/refs/photos`, options);
    const moves: unknown[] = [];
    const requests: string[] = [];
    let bytes = 0;
    space.addEventListener("refmoved", ({ detail }) => moves.push(detail));
    space.addEventListener("request", ({ detail }) => requests.push(detail.key));
    space.addEventListener("progress", ({ detail }) => {
      bytes = detail.bytes;
    });
    await dataset.appendMany([record(100), record(101)]);
    await dataset.snapshot("shot");
    expect(await space.count()).toBe(40);
    const after = await space.refresh();
    expect(after).toBe(dataset.currentManifest());
    expect(await space.count()).toBe(42);
    expect(moves).toEqual([{ from: before, to: after }]);
    expect(requests).toContain("refs/photos");
    expect(bytes).toBeGreaterThan(0);
    expect(space.tracks()[0]!.rows).toBe(42);

    const past = await space.at(before);
    expect([await past.count(), past.manifest, past.isBranch]).toEqual([40, before, false]);
    expect((await past.samples({ limit: 100 })).length).toBe(40);
    const diff = await space.diff(before);
    expect([diff.from, diff.to, diff.added, diff.removed]).toEqual([before, after, 2, 0]);
    const changes = [];
    for await (const change of diff.records({ fields: ["n"] })) changes.push(change);
    expect(changes).toEqual(
      [100, 101].map((n) => ({ change: "added", anchor: ORIGIN + BigInt(n), after: { n } })),
    );
    await past.close();
    expect(await space.count()).toBe(42);
    expect((await space.branches()).map(({ name }) => name)).toEqual(["photos"]);

    const shot = await DreamDBSpace.fromUri(`${backend}/refs/shot`, options);
    expect([await shot.count(), shot.isBranch]).toEqual([42, false]);
    const at = await DreamDBSpace.fromUri(`${backend}/objects/${before.slice(4, 6)}/${before}`, options);
    expect([await at.count(), at.name]).toEqual([40, before]);
    await Promise.all([space.close(), shot.close(), at.close()]);
  });

  test("with maxStaleness a read finds by itself that the ref has moved", async () => {
    const backend = place();
    const dataset = await makeDataset(backend);
    const space = await DreamDBSpace.fromUri(`${backend}/refs/photos`, { ...options, maxStaleness: 0 });
    const moves: unknown[] = [];
    space.addEventListener("refmoved", ({ detail }) => moves.push(detail.to));
    await dataset.appendMany([record(100)]);
    expect(await space.count()).toBe(41);
    expect([moves, space.manifest]).toEqual([[dataset.currentManifest()], dataset.currentManifest()]);
    await space.close();
  });

  test("it writes only where it was told to, by the commit of the dataset", async () => {
    const backend = place();
    const dataset = await makeDataset(backend);
    const reading = await DreamDBSpace.fromUri(`${backend}/refs/photos`, options);
    expect(await code(reading.appendMany([record(100)]))).toBe("ReadOnly");
    expect(await code(reading.snapshot("shot"))).toBe("ReadOnly");
    await reading.close();
    const writing = await DreamDBSpace.fromUri(`${backend}/refs/photos`, { ...options, writable: true });
    const { manifest } = await writing.appendMany([record(100)]);
    expect([writing.manifest, await writing.count()]).toEqual([manifest, 41]);
    expect(await writing.snapshot("shot")).toEqual({ label: "shot", manifest });
    expect(await code(writing.appendMany([record(100)]))).toBe("DuplicateAnchor");
    await dataset.refresh();
    expect(await dataset.get(ORIGIN + 100n)).toMatchObject({ n: 100 });
    await writing.close();
  });

  test("failures keep their codes, and leave it usable", async () => {
    const backend = place();
    await makeDataset(backend);
    expect(await code(DreamDBSpace.fromUri(`${backend}/refs/none`, options))).toBe("NotFound");
    const space = await DreamDBSpace.fromUri(`${backend}/refs/photos`, options);
    const error = await Promise.resolve(space.query({ field: "none", query: [1] })).catch((found) => found);
    expect([error.name, error.code, error.field]).toEqual(["DreamDBError", "InvalidArgument", "field"]);
    expect(await code(space.diff("none"))).toBe("NotFound");
    expect(await code(space.at("none"))).toBe("InvalidAddress");
    const aborted = AbortSignal.abort();
    expect(await code(space.query({ field: "v", query: [1, 0, 0, 0], signal: aborted }))).toBe("Aborted");
    expect(await code(space.stream({ signal: aborted }).next())).toBe("Aborted");
    expect(await space.count()).toBe(40);
    await space.close();
    await space.close();
  });

  test("the opening tells of its requests, and can be ended", async () => {
    const backend = place();
    await makeDataset(backend);
    const told: SpaceProgress[] = [];
    const all = { ...options, onProgress: (progress: SpaceProgress) => told.push(progress) };
    const space = await DreamDBSpace.fromUri(`${backend}/refs/photos`, all);
    expect(told[0]).toEqual({ pending: 1, requests: 0, bytes: 0 });
    const { pending, requests, bytes } = told.at(-1) as SpaceProgress;
    // What is read ahead may be under way still.
    expect([pending + 2 * requests, requests >= 1, bytes > 100]).toEqual([told.length, true, true]);
    const before = told.length;
    const events: SpaceProgress[] = [];
    space.addEventListener("progress", ({ detail }) => events.push(detail));
    await space.samples({ limit: 1 });
    const last = events.at(-1) as SpaceProgress;
    expect([last.requests > requests, last.bytes > bytes, told.length]).toEqual([true, true, before]);
    await space.close();

    const ender = new AbortController();
    server.intervene = () => true;
    try {
      const opening = { ...all, signal: ender.signal, onProgress: () => ender.abort() };
      expect(await code(DreamDBSpace.fromUri(`${backend}/refs/photos`, opening))).toBe("Aborted");
    } finally {
      server.intervene = undefined;
    }
    const wrong = { ...options, onProgress: 1 } as unknown as SpaceOptions;
    expect(await code(DreamDBSpace.fromUri(`${backend}/refs/photos`, wrong))).toBe("InvalidArgument");
  });

  test("a call that is ended in the middle ends", async () => {
    const backend = place();
    await makeDataset(backend);
    // What was read ahead is joined later, and the server has forgotten it.
    const space = await DreamDBSpace.fromUri(`${backend}/refs/photos`, {
      ...options,
      remote: { timeoutMs: 500 },
    });
    const ender = new AbortController();
    server.intervene = ({ path }) => {
      if (!path.includes("/objects/")) return false;
      ender.abort();
      return true;
    };
    try {
      expect(await code(space.samples({ signal: ender.signal }))).toBe("Aborted");
    } finally {
      server.intervene = undefined;
    }
    expect((await space.samples()).length).toBe(40);
    await space.close();
  });
});

test("a worker that dies is told of, and replaced", async () => {
  const backend = place();
  const dataset = await makeDataset(backend);
  const space = await DreamDBSpace.fromUri(`${backend}/refs/photos`, { worker: true });
  await dataset.appendMany([record(100)]);
  const pending: number[] = [];
  space.addEventListener("progress", ({ detail }) => pending.push(detail.pending));
  server.intervene = ({ path }) => path.includes("/objects/");
  const reading = [code(space.samples()), code(space.samples({ limit: 3 }))];
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(pending.at(-1)).toBeGreaterThan(0);
  await watchedNow.threads.at(-1)!.terminate();
  expect(await Promise.all(reading)).toEqual(["Aborted", "Aborted"]);
  expect(pending.at(-1)).toBe(0);
  server.intervene = undefined;
  expect((await space.samples()).length).toBe(41);
  expect(pending.at(-1)).toBe(0);
  expect(Math.min(...pending)).toBe(0);
  expect(space.manifest).toBe(dataset.currentManifest());
  await space.close();
});

test("records of a worker that dies between two batches do not end as if they were all", async () => {
  const backend = place();
  await makeDataset(backend);
  const space = await DreamDBSpace.fromUri(`${backend}/refs/photos`, { worker: true });
  const batches = space.stream({ batchSize: 5 })[Symbol.asyncIterator]();
  expect((await batches.next()).done).toBe(false);
  await watchedNow.threads.at(-1)!.terminate();
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(await code(batches.next())).toBe("Aborted");
  await space.close();
});

test("what can't travel to a worker is refused", async () => {
  const options = { worker: true, remote: { onWarning: () => {} } };
  expect(await code(DreamDBSpace.fromUri("http://127.0.0.1:1/b/refs/x", options))).toBe("InvalidArgument");
  expect(
    await code(DreamDBSpace.fromUri("http://127.0.0.1:1/b/refs/x", { worker: true, clock: () => 0n })),
  ).toBe("InvalidArgument");
});

test("a dataset in memory can be shown as well", async () => {
  const dataset = await makeDataset(memoryStore("shown"));
  const space = await DreamDBSpace.fromUri("memory://shown/refs/photos", quiet);
  expect(await space.count()).toBe(await dataset.count());
  const other = await Dataset.create("other", dataset.schema, "memory://shown");
  expect(await code(space.at(other.currentManifest()))).toBe("LineageMismatch");
  await space.close();
});
