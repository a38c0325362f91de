import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { BuildGraphOptions } from "../../src/dataset/build-graph.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { NONE_DELETED } from "../../src/dataset/deleted.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { checkNodes } from "../../src/dataset/fsck-graph.ts";
import type { VectorQuery } from "../../src/dataset/query.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { Session } from "../../src/dataset/session.ts";
import { readTip, type Tip } from "../../src/dataset/tip.ts";
import type { FieldSpec } from "../../src/objects/field.ts";
import type { SpatialIndex } from "../../src/objects/spatial-index.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { randomVector, seeded } from "./records.ts";
import { append, nearest, vectorSets } from "./vector-set.ts";

const coded = (code: string): object => expect.objectContaining({ name: "DreamDBError", code });

/** Every node is looked at, and scored exactly: what is left is whether anything was lost on the way into the graph. */
const ALL = { beam: 4096, rerankFactor: 400 };
const SMALL = { degree: 12, candidates: 60 };

const { make, exactly } = vectorSets({ options: { algorithm: "dreamdb.vamana-cosine" } });

describe.each(["cosine", "l2"] as const)("a graph by %s", (metric) => {
  const algorithm = `dreamdb.vamana-${metric}` as const;
  const options = { algorithm };

  test("finds with a wide beam what an exact search finds, bit for bit", async () => {
    const { ds, store, vectors, random } = await make({ options });
    const exact = await exactly(vectors, options);
    expect(await ds.buildGraph({ field: "v", ...SMALL })).toMatchObject({ nodes: 400, degree: 12, late: 0 });
    expect((await fsck(store)).problems).toEqual([]);
    for (let i = 0; i < 10; i++) {
      const query = randomVector(random, 20);
      expect(await nearest(ds, query, ALL)).toEqual(await nearest(exact, query));
      expect(await nearest(ds, query, { topK: 400, ...ALL })).toEqual(
        await nearest(exact, query, { topK: 400 }),
      );
    }
    const told = await ds.explain({ field: "v", query: vectors[0] as Float32Array, ...ALL });
    expect(told).toMatchObject({ strategy: "graph", beam: 4096, hits: 10, scanned: 400, reranked: 400 });
    await exact.close();
    await ds.close();
  });

  test("finds with a small beam most of what is near", async () => {
    const centres = Array.from({ length: 16 }, (_, i) => randomVector(seeded(i + 50), 24));
    const vector = (next: () => number, dim: number, row: number) =>
      randomVector(next, dim).map((x, j) => 0.3 * x + (centres[row % 16] as Float32Array)[j]!);
    const { ds, vectors, random } = await make({ dim: 24, rows: 1500, options, vector });
    const exact = await exactly(vectors, options);
    await ds.buildGraph({ field: "v", degree: 32 });
    let found = 0;
    for (let i = 0; i < 50; i++) {
      const query = vector(random, 24, i);
      const truth = new Set((await nearest(exact, query)).map(([anchor]) => anchor));
      for (const [anchor] of await nearest(ds, query, { beam: 40 })) if (truth.has(anchor)) found++;
    }
    expect(found / 500).toBeGreaterThan(0.9);
    const told = await ds.explain({ field: "v", query: vectors[5] as Float32Array, beam: 40 });
    expect(told.scanned).toBeLessThan(1000);
    expect(told.expanded).toBeGreaterThan(10);
  });
});

describe("rows appended after a build", () => {
  test("are found at once, beside those of the graph", async () => {
    const { ds, vectors, store } = await make();
    await ds.buildGraph({ field: "v", ...SMALL });
    const random = seeded(9);
    for (let i = 0; i < 5; i++) {
      const fresh = randomVector(random, 20);
      await append(ds, [fresh], vectors.length);
      vectors.push(fresh);
      const hits = await nearest(ds, fresh, { topK: 1 });
      expect(hits).toEqual([[BigInt(vectors.length - 1) * 1000n, expect.closeTo(0, 5)]]);
    }
    const exact = await exactly(vectors);
    const again = await Dataset.open("d", store);
    for (const query of [...vectors.slice(-5), ...vectors.slice(0, 5)]) {
      const truth = await nearest(exact, query);
      expect(await nearest(ds, query, ALL)).toEqual(truth);
      expect(await nearest(again, query, ALL)).toEqual(truth);
    }
    expect((await ds.health()).tracks[0]).toMatchObject({ indexedRows: 400, unindexedRows: 5 });
    expect(await ds.buildGraph({ field: "v", ...SMALL })).toMatchObject({ nodes: 405 });
    expect((await ds.health()).tracks[0]).toMatchObject({ indexedRows: 405, unindexedRows: 0 });
    const query = vectors[401] as Float32Array;
    expect(await nearest(ds, query, ALL)).toEqual(await nearest(exact, query));
  });

  test("are kept when appends and a build race", async () => {
    const { ds, store, vectors } = await make();
    const other = await Dataset.open("d", store);
    const late = Array.from({ length: 30 }, (_, i) => randomVector(seeded(i + 77), 20));
    const [built] = await Promise.all([
      ds.buildGraph({ field: "v", ...SMALL }),
      ...late.map((vector, i) => append(other, [vector], 400 + i)),
    ]);
    await ds.refresh();
    const exact = await exactly([...vectors, ...late]);
    const [health] = (await ds.health()).tracks;
    expect(health).toMatchObject({ indexedRows: 400, unindexedRows: 30 });
    expect(built.late).toBeLessThanOrEqual(30);
    for (const query of late.slice(0, 8))
      expect(await nearest(ds, query, ALL)).toEqual(await nearest(exact, query));
    expect((await fsck(store)).problems).toEqual([]);
  });

  test("of two builds at once one is told of the other", async () => {
    const { ds, store } = await make();
    const other = await Dataset.open("d", store);
    const ends = await Promise.allSettled([
      ds.buildGraph({ field: "v", ...SMALL }),
      other.buildGraph({ field: "v", ...SMALL, seed: 5 }),
    ]);
    const failed = ends.filter((end) => end.status === "rejected");
    expect(failed.map((end) => end.reason)).toEqual([coded("Conflict")]);
    expect((await fsck(store)).problems).toEqual([]);
  });
});

test("the same inputs and seed give the same bytes from both builds of the compute core", async () => {
  const stored = async (kernels: "simd" | "scalar", seed: number) => {
    const { ds } = await make({ dataset: { kernels } });
    return (await ds.buildGraph({ field: "v", ...SMALL, seed })).manifest;
  };
  const simd = await stored("simd", 3);
  expect(await stored("scalar", 3)).toBe(simd);
  expect(await stored("simd", 3)).toBe(simd);
  expect(await stored("simd", 4)).not.toBe(simd);
});

test("whatever stays in memory, answers are the same", async () => {
  const { ds, store, random } = await make({ rows: 1000 });
  await ds.buildGraph({ field: "v", ...SMALL });
  const late = Array.from({ length: 10 }, () => randomVector(random, 20));
  await append(ds, late, 1000);
  const queries = Array.from({ length: 12 }, () => randomVector(random, 20));
  const asked: Partial<VectorQuery>[] = [{ beam: 30 }, { beam: 30, where: { n: { gte: 500 } } }];
  const ask = (from: Dataset) =>
    Promise.all(queries.flatMap((query) => asked.map((more) => nearest(from, query, more))));
  const truth = await ask(ds);
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 400_000 }),
      fc.boolean(),
      fc.boolean(),
      async (residentBytes, warm, withVectors) => {
        const other = await Dataset.open("d", store, { residentBytes, cacheBytes: 0 });
        if (warm) await other.prewarm({ vectors: withVectors });
        for (let round = 0; round < 2; round++) expect(await ask(other)).toEqual(truth);
        await other.close();
      },
    ),
    { numRuns: 12 },
  );
});

test("a warm graph is searched without asking the backend", async () => {
  const { ds, store, random } = await make();
  await ds.buildGraph({ field: "v", ...SMALL });
  const progress: number[] = [];
  const other = await Dataset.open("d", store);
  await other.prewarm({ onProgress: ({ done, total }) => progress.push(done / total) });
  expect(progress.at(-1)).toBe(1);
  const { requests } = other.traffic;
  await nearest(other, randomVector(random, 20));
  expect(other.traffic.requests).toBe(requests);
});

test("many queries at once are answered as one by one", async () => {
  const { ds, random } = await make();
  await ds.buildGraph({ field: "v", ...SMALL });
  await append(ds, [randomVector(random, 20)], 400);
  const queries = Array.from({ length: 9 }, () => randomVector(random, 20));
  for (const more of [{ beam: 30 }, { beam: 30, where: { n: { gte: 100 } } }]) {
    const batches = await ds.queryMany({ field: "v", queries, topK: 5, fields: [], ...more });
    for (const [i, query] of queries.entries()) {
      const [one] = await ds.iterVector({ field: "v", query, topK: 5, fields: [], ...more });
      expect(batches[i]).toEqual(one);
    }
  }
});

test("a past state is searched as it was, with the graph it had", async () => {
  const { ds, store, vectors } = await make();
  const before = ds.currentManifest();
  await ds.buildGraph({ field: "v", ...SMALL });
  const built = ds.currentManifest();
  const label = await ds.snapshot("s");
  const fresh = randomVector(seeded(123), 20);
  await append(ds, [fresh], 400);
  const exact = await exactly(vectors);
  for (const manifest of [before, built, label.manifest]) {
    const past = await Dataset.openAt(manifest, store);
    expect(await past.count()).toBe(400);
    expect(await nearest(past, fresh, ALL)).toEqual(await nearest(exact, fresh));
  }
});

describe("what can't be is refused, and nothing changes", () => {
  test.each([
    ["degree 0", { degree: 0 }, "degree"],
    ["a degree that is no multiple of 4", { degree: 6 }, "degree"],
    ["a degree above 64", { degree: 68 }, "degree"],
    ["no candidates", { candidates: 0 }, "candidates"],
    ["too many candidates", { candidates: 1025 }, "candidates"],
    ["too little memory", { memoryBytes: 1000 }, "memoryBytes"],
    ["a field that is not there", { field: "w" }, "field"],
    ["a field that is no vector", { field: "n" }, "field"],
    ["a seed that is no number", { seed: 1.5 }, "seed"],
  ] as [string, Partial<BuildGraphOptions>, string][])("%s", async (_, options, field) => {
    const { ds } = await make();
    const before = ds.currentManifest();
    await expect(ds.buildGraph({ field: "v", ...options })).rejects.toMatchObject({
      code: "InvalidArgument",
      field,
      committed: "no",
    });
    expect(ds.currentManifest()).toBe(before);
  });

  test("an empty dataset", async () => {
    const { ds } = await make({ rows: 0 });
    await expect(ds.buildGraph({ field: "v" })).rejects.toThrow(coded("InvalidArgument"));
  });

  test.each(["dreamdb.lsh-cosine", "dreamdb.ivf-cosine"] as const)("a field with %s", async (algorithm) => {
    const { ds } = await make({ options: { algorithm } });
    await expect(ds.buildGraph({ field: "v" })).rejects.toThrow(coded("InvalidArgument"));
  });

  test("an ivf build of a graph's field", async () => {
    const { ds } = await make();
    await expect(ds.rebuildIvf({ field: "v" })).rejects.toThrow(coded("InvalidArgument"));
    await expect(ds.publishCompressor({ field: "v" })).rejects.toThrow(coded("InvalidArgument"));
  });

  test("a build of a snapshot", async () => {
    const { ds, store } = await make();
    await ds.snapshot("s");
    const past = await Dataset.open("s", store);
    expect(() => past.buildGraph({ field: "v" })).toThrow(coded("ReadOnly"));
  });

  test("codes for a graph's field, and a graph to begin with", async () => {
    const options = { dim: 4, algorithm: "dreamdb.vamana-l2", compressor: { algorithm: "rabitq" } } as const;
    expect(() => new Schema().addEmbedding("v", options)).toThrow(coded("SchemaViolation"));
    const { ds, store } = await make();
    await ds.buildGraph({ field: "v", ...SMALL });
    const address = ds.currentManifest();
    const spatialIndex: SpatialIndex = {
      algorithm: "dreamdb.vamana-cosine",
      dim: 20,
      rows: 400,
      graph: { address, bytes: 1000 },
      parents: [],
    };
    const schema = new Schema().addEmbedding("v", {
      dim: 20,
      algorithm: "dreamdb.vamana-cosine",
      spatialIndex,
    });
    await expect(Dataset.create("e", schema, store)).rejects.toThrow(coded("UnsupportedVersion"));
  });

  test.each([
    ["beam", 0],
    ["beam", 9],
    ["beam", 65_537],
    ["rerankFactor", 0],
    ["recallTarget", 1],
    ["query", [Number.NaN]],
  ])("a query with %s = %s", async (field, value) => {
    const { ds } = await make();
    await ds.buildGraph({ field: "v", ...SMALL });
    const query = { field: "v", query: new Float32Array(20).fill(1), [field]: value } as VectorQuery;
    await expect(ds.iterVector(query)).rejects.toMatchObject({ code: "InvalidArgument", field });
    expect(await nearest(ds, new Float32Array(20).fill(1))).toHaveLength(10);
  });

  test("a query without direction", async () => {
    const { ds } = await make();
    await ds.buildGraph({ field: "v", ...SMALL });
    await expect(nearest(ds, new Float32Array(20))).rejects.toThrow(coded("InvalidArgument"));
  });
});

describe("odd data", () => {
  test.each([
    ["all-equal vectors", () => new Float32Array(8).fill(0.5), 8, 90],
    [
      "duplicates of two",
      (_: () => number, __: number, row: number) => new Float32Array(8).fill(1).fill(-1, 0, (row % 2) * 4),
      8,
      90,
    ],
    ["one component", (random: () => number) => Float32Array.of(random() - 0.5), 1, 90],
    ["one row", (random: () => number) => randomVector(random, 8), 8, 1],
    ["two rows", (random: () => number) => randomVector(random, 8), 8, 2],
    [
      "zeros among others",
      (random: () => number) => new Float32Array(8).fill(random() < 0.5 ? 0 : random()),
      8,
      90,
    ],
  ] as const)("%s", async (name, vector, dim, rows) => {
    const hasZeros = name.startsWith("zeros");
    // A vector of zeros has no direction, and is refused.
    for (const metric of hasZeros ? (["l2"] as const) : (["cosine", "l2"] as const)) {
      const algorithm = `dreamdb.vamana-${metric}` as const;
      const { ds, store, vectors } = await make({ dim, rows, vector, options: { algorithm } });
      await ds.buildGraph({ field: "v", degree: 4 });
      const exact = await exactly(vectors, { algorithm });
      const query = vectors.find((each) => each.some((x) => x !== 0)) as Float32Array;
      for (const topK of [1, 10, 90]) {
        const found = await nearest(ds, query, { ...ALL, topK });
        expect(found).toEqual(await nearest(exact, query, { topK }));
      }
      expect((await fsck(store)).problems).toEqual([]);
    }
  });

  test("4,096 components", async () => {
    const { ds, vectors } = await make({ dim: 4096, rows: 40 });
    await ds.buildGraph({ field: "v" });
    const exact = await exactly(vectors);
    const query = randomVector(seeded(8), 4096);
    expect(await nearest(ds, query, ALL)).toEqual(await nearest(exact, query));
  });

  test("rows without a vector", async () => {
    const store = memoryStore();
    const schema = new Schema()
      .addEmbedding("v", { dim: 6, required: false, algorithm: "dreamdb.vamana-l2" })
      .addScalarInt("n");
    const ds = await Dataset.create("d", schema, store);
    const random = seeded(2);
    const records = Array.from({ length: 200 }, (_, n) =>
      n % 3 === 0 ? { n, _anchor: BigInt(n) } : { n, v: randomVector(random, 6), _anchor: BigInt(n) },
    );
    await ds.appendMany(records);
    const query = randomVector(random, 6);
    const truth = await nearest(ds, query, { topK: 300 });
    expect(truth).toHaveLength(133);
    expect(await ds.buildGraph({ field: "v", ...SMALL })).toMatchObject({ nodes: 133 });
    for (let round = 0; round < 3; round++)
      expect(await nearest(ds, query, { topK: 300, ...ALL })).toEqual(truth);
    expect((await fsck(store)).problems).toEqual([]);
  });

  test("records in no order, over several batches", async () => {
    const { ds, vectors, store } = await make({ rows: 0 });
    const random = seeded(3);
    const places = Array.from({ length: 300 }, (_, i) => (i * 7919) % 300);
    for (let from = 0; from < 300; from += 60) {
      const records = places.slice(from, from + 60).map((place) => {
        vectors[place] = randomVector(random, 20);
        return { v: vectors[place], n: place, _anchor: BigInt(place) * 1000n };
      });
      await ds.appendMany(records);
    }
    await ds.buildGraph({ field: "v", ...SMALL });
    const exact = await exactly(vectors);
    for (let round = 0; round < 3; round++) {
      const query = randomVector(random, 20);
      expect(await nearest(ds, query, ALL)).toEqual(await nearest(exact, query));
      const where = { n: { lt: 150 } };
      expect(await nearest(ds, query, { where, ...ALL })).toEqual(await nearest(exact, query, { where }));
    }
    expect((await fsck(store)).problems).toEqual([]);
  });
});

describe("fsck", () => {
  /** A built field, with the GraphIndex and its pages. */
  const built = async () => {
    const { ds, store } = await make();
    const before = new Set(await keysOf(store));
    await ds.buildGraph({ field: "v", ...SMALL });
    const fresh = (await keysOf(store)).filter((key) => !before.has(key));
    const objects = await Promise.all(
      fresh.map(async (key) => ({ key, bytes: (await store.get(key))?.bytes as Uint8Array })),
    );
    const page = objects.find(({ bytes }) => new TextDecoder("latin1").decode(bytes).startsWith("DDBG"));
    return { store, page: page as { key: string; bytes: Uint8Array } };
  };
  const problem = (code: string, key: string): object => expect.objectContaining({ code, key });
  const keysOf = async (store: Store) => {
    const keys: string[] = [];
    for await (const { key } of store.list("objects/")) keys.push(key);
    return keys;
  };
  /** A backend in which one object has other bytes, or is gone. */
  const damaged = (store: Store, key: string, bytes: Uint8Array | undefined): Store =>
    new Proxy(store, {
      get: (inner, name) => {
        if (name !== "get") {
          const own = Reflect.get(inner, name) as unknown;
          return typeof own === "function" ? own.bind(inner) : own;
        }
        return async (wanted: string, range?: { offset: number; length: number }) => {
          if (wanted !== key) return inner.get(wanted, range);
          if (bytes === undefined) return undefined;
          const { offset = 0, length = bytes.length } = range ?? {};
          return { bytes: bytes.slice(offset, offset + length), etag: "e" };
        };
      },
    });

  test("finds nodes that are not the rows with a vector", async () => {
    const { ds, store, vectors } = await make({ rows: 30 });
    await append(ds, [vectors[0] as Float32Array], 30);
    const session = new Session(store, 1 << 20);
    const tip = (await readTip(session, "d")) as Tip;
    const field = tip.manifest.fields[0] as FieldSpec;
    const check = (rows: number, anchors: bigint[]) =>
      checkNodes(session, tip.manifest, field, rows, BigUint64Array.from(anchors), NONE_DELETED);
    const all = Array.from({ length: 31 }, (_, row) => BigInt(row) * 1000n);
    await check(31, [...all].reverse());
    await check(30, all.slice(0, 30));
    for (const [rows, anchors] of [
      [31, all.slice(0, 30)],
      [30, all],
      [31, [...all.slice(0, 30), 29_000n]],
      [31, [...all.slice(0, 30), 1n]],
      [29, all.slice(0, 29)],
    ] as const)
      await expect(check(rows, [...anchors])).rejects.toThrow(coded("Corrupt"));
  });

  test("names a page that is damaged or gone, and no search gives other answers", async () => {
    const { store, page } = await built();
    for (let at = 0; at < page.bytes.length; at += Math.ceil(page.bytes.length / 50)) {
      const bytes = page.bytes.slice();
      bytes[at] = (bytes[at] as number) ^ 1;
      const broken = damaged(store, page.key, bytes);
      expect((await fsck(broken)).problems).toEqual([problem("HashMismatch", page.key)]);
      const ds = await Dataset.open("d", broken);
      for (let round = 0; round < 2; round++)
        await expect(nearest(ds, new Float32Array(20).fill(1))).rejects.toThrow(coded("HashMismatch"));
    }
    expect((await fsck(damaged(store, page.key, undefined))).problems).toEqual([
      problem("NotFound", page.key),
    ]);
  });
});
