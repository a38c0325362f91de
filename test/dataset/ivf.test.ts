import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import type { VectorQuery } from "../../src/dataset/query.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { randomVector, seeded } from "./records.ts";
import { append, nearest, vectorSets } from "./vector-set.ts";

const coded = (code: string): object => expect.objectContaining({ name: "DreamDBError", code });

/** Every row is looked at: what is left is whether anything was lost on the way into cells. */
const ALL = { nprobe: 1 << 20, epsilon: 100 };

const { make, exactly } = vectorSets({});

describe.each(["cosine", "dot", "l2"] as const)("a built index by %s", (metric) => {
  const algorithm = `dreamdb.ivf-${metric}` as const;

  test.each([
    ["4-bit codes", {}],
    ["1-bit codes", { compressor: { algorithm: "rabitq", bits: 1 } }],
    ["8-bit codes", { compressor: { algorithm: "rabitq", bits: 8 } }],
    ["no codes", { compressor: "none" }],
    ["PQ codes", { compressor: { algorithm: "pq", subspaces: 6 } }],
    ["PQ codes of 4 bits", { compressor: { algorithm: "pq", subspaces: 7, bits: 4 } }],
    ["codes, and no vectors in the cells", { rerank: false }],
  ] as const)("with %s finds what an exact search finds, bit for bit", async (_, more) => {
    const { ds, vectors, random } = await make({ options: { algorithm, ...more } });
    const exact = await exactly(vectors, { algorithm });
    const built = await ds.rebuildIvf({ field: "v", k: 12 });
    expect(built).toMatchObject({ cells: 12, rows: 400 });
    for (let i = 0; i < 10; i++) {
      const query = randomVector(random, 20);
      expect(await nearest(ds, query, { ...ALL, rerankFactor: 40 })).toEqual(await nearest(exact, query));
      expect(await nearest(ds, query, { topK: 400, ...ALL })).toEqual(
        await nearest(exact, query, { topK: 400 }),
      );
    }
    await exact.close();
    await ds.close();
  });

  test("finds with few probes most of what is near", async () => {
    const centres = Array.from({ length: 16 }, (_, i) => randomVector(seeded(i + 50), 24));
    const { ds, vectors, random } = await make({
      dim: 24,
      rows: 1500,
      options: { algorithm },
      vector: (next, dim, row) =>
        randomVector(next, dim).map((x, j) => 0.3 * x + (centres[row % 16] as Float32Array)[j]!),
    });
    const exact = await exactly(vectors, { algorithm });
    await ds.rebuildIvf({ field: "v", k: 16 });
    let found = 0;
    for (let i = 0; i < 50; i++) {
      const query = randomVector(random, 24).map((x, j) => 0.3 * x + (centres[i % 16] as Float32Array)[j]!);
      const truth = new Set((await nearest(exact, query)).map(([anchor]) => anchor));
      for (const [anchor] of await nearest(ds, query, { nprobe: 4 })) if (truth.has(anchor)) found++;
    }
    expect(found / 500).toBeGreaterThan(0.9);
  });
});

describe("rows appended after a build", () => {
  test("are found at once, whether or not cells are in memory", async () => {
    const { ds, vectors } = await make();
    await ds.rebuildIvf({ field: "v", k: 8 });
    await nearest(ds, vectors[0] as Float32Array, ALL);
    const random = seeded(9);
    for (let i = 0; i < 5; i++) {
      const fresh = randomVector(random, 20);
      await append(ds, [fresh], vectors.length);
      vectors.push(fresh);
      const hits = await nearest(ds, fresh, { topK: 1, nprobe: 1 });
      expect(hits).toEqual([[BigInt(vectors.length - 1) * 1000n, expect.closeTo(0, 5)]]);
    }
    const exact = await exactly(vectors);
    for (const query of vectors.slice(-5))
      expect(await nearest(ds, query, ALL)).toEqual(await nearest(exact, query));
  });

  test("in 500 small appends are found as in one", async () => {
    const { ds, vectors, random } = await make({ rows: 200 });
    await ds.rebuildIvf({ field: "v", k: 10 });
    const late = Array.from({ length: 500 }, () => randomVector(random, 20));
    for (const [i, vector] of late.entries()) await append(ds, [vector], 200 + i);
    const all = [...vectors, ...late];
    const exact = await exactly(all);
    const again = await Dataset.open(
      "d",
      (ds as unknown as { state: { ctx: { store: Store } } }).state.ctx.store,
    );
    for (let i = 0; i < 10; i++) {
      const query = randomVector(random, 20);
      const truth = await nearest(exact, query);
      expect(await nearest(ds, query, ALL)).toEqual(truth);
      expect(await nearest(again, query, ALL)).toEqual(truth);
    }
    const health = (await ds.health()).tracks[0];
    expect(health).toMatchObject({ indexedRows: 700, unindexedRows: 0, segments: 501 });
    expect(health?.fragmentation).toBeGreaterThan(5);
    await ds.rebuildIvf({ field: "v", k: 10 });
    expect((await ds.health()).tracks[0]).toMatchObject({ segments: 1, fragmentation: 1 });
    expect(await nearest(ds, late[3] as Float32Array, ALL)).toEqual(
      await nearest(exact, late[3] as Float32Array),
    );
  });

  test("are kept when an append and a rebuild race", async () => {
    const { ds, store, vectors } = await make();
    const other = await Dataset.open("d", store);
    const late = Array.from({ length: 30 }, (_, i) => randomVector(seeded(i + 77), 20));
    await Promise.all([
      ds.rebuildIvf({ field: "v", k: 6 }),
      ...late.map((vector, i) => append(other, [vector], 400 + i)),
    ]);
    await ds.refresh();
    const exact = await exactly([...vectors, ...late]);
    expect((await ds.health()).tracks[0]).toMatchObject({ indexedRows: 430, unindexedRows: 0 });
    for (const query of late.slice(0, 8))
      expect(await nearest(ds, query, ALL)).toEqual(await nearest(exact, query));
    expect((await fsck(store)).problems).toEqual([]);
  });
});

describe("the same inputs and seed", () => {
  const stored = async (kernels: "simd" | "scalar", seed: number) => {
    const { ds } = await make({ dataset: { kernels } });
    const { manifest } = await ds.rebuildIvf({ field: "v", k: 9, seed });
    return manifest;
  };

  test("give the same bytes from both builds of the compute core", async () => {
    const simd = await stored("simd", 3);
    expect(await stored("scalar", 3)).toBe(simd);
    expect(await stored("simd", 3)).toBe(simd);
    expect(await stored("simd", 4)).not.toBe(simd);
  });

  test("give the same bytes when memory makes it several runs, as far as cells go", async () => {
    const { ds } = await make({ rows: 300 });
    const late = Array.from({ length: 300 }, (_, i) => randomVector(seeded(i), 20));
    await append(ds, late, 300);
    await ds.rebuildIvf({ field: "v", k: 5, memoryBytes: 1 });
    expect((await ds.health()).tracks[0]).toMatchObject({ indexedRows: 600, segments: 2, fragments: 10 });
    expect((await nearest(ds, late[7] as Float32Array, { topK: 1 }))[0]?.[0]).toBe(307_000n);
  });
});

test("whatever stays in memory, answers are the same", async () => {
  const { ds, store, vectors, random } = await make({ rows: 1000, options: { dim: 20 } });
  await ds.rebuildIvf({ field: "v", k: 20 });
  const queries = Array.from({ length: 20 }, () => randomVector(random, 20));
  const truth = await Promise.all(queries.map((query) => nearest(ds, query, { nprobe: 5 })));
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 120_000 }),
      fc.boolean(),
      fc.boolean(),
      async (residentBytes, warm, withVectors) => {
        const other = await Dataset.open("d", store, { residentBytes, cacheBytes: 0 });
        if (warm) await other.prewarm({ vectors: withVectors });
        for (let round = 0; round < 2; round++) {
          const found = await Promise.all(queries.map((query) => nearest(other, query, { nprobe: 5 })));
          expect(found).toEqual(truth);
        }
        await other.close();
      },
    ),
    { numRuns: 12 },
  );
  expect(vectors).toHaveLength(1000);
});

test("a past state is searched as it was, with the index it had", async () => {
  const { ds, store, vectors } = await make();
  const before = ds.currentManifest();
  await ds.rebuildIvf({ field: "v", k: 7 });
  const built = ds.currentManifest();
  const fresh = randomVector(seeded(123), 20);
  await append(ds, [fresh], 400);
  for (const manifest of [before, built]) {
    const past = await Dataset.openAt(manifest, store);
    expect(await past.count()).toBe(400);
    const exact = await exactly(vectors);
    expect(await nearest(past, fresh, ALL)).toEqual(await nearest(exact, fresh));
  }
});

describe("filters", () => {
  const filtered = async (rows = 3000) => {
    const made = await make({ rows, dim: 16 });
    const exact = await exactly(made.vectors);
    await made.ds.rebuildIvf({ field: "v", k: 30 });
    return { ...made, exact };
  };

  test.each([
    ["half of the rows", { n: { lt: 1500 } }],
    ["a twentieth", { n: { gte: 100, lt: 250 } }],
    ["three rows", { n: { in: [7, 77, 777] } }],
    ["one row", { n: 5 }],
    ["none", { n: -1 }],
    ["all but a few", { not: { n: { in: [1, 2, 3] } } }],
  ])("that leave %s find what an exact search of those finds", async (_, where) => {
    const { ds, exact, random } = await filtered();
    for (let i = 0; i < 8; i++) {
      const query = randomVector(random, 16);
      const truth = await nearest(exact, query, { where });
      expect(await nearest(ds, query, { where, ...ALL })).toEqual(truth);
      expect(await nearest(ds, query, { where })).toHaveLength(truth.length);
    }
  });

  test("keep their recall with few probes", async () => {
    const { ds, exact, random } = await filtered();
    for (const where of [{ n: { lt: 1500 } }, { n: { lt: 300 } }, { n: { lt: 30 } }]) {
      let found = 0;
      for (let i = 0; i < 40; i++) {
        const query = randomVector(random, 16);
        const truth = new Set((await nearest(exact, query, { where })).map(([anchor]) => anchor));
        for (const [anchor] of await nearest(ds, query, { where, nprobe: 14 }))
          if (truth.has(anchor)) found++;
      }
      expect(found / 400).toBeGreaterThan(0.9);
    }
  });

  test("see rows that are appended after the cells were numbered", async () => {
    const { ds } = await filtered(1200);
    const query = randomVector(seeded(4), 16);
    const where = { n: { gte: 600 } };
    await nearest(ds, query, { where, ...ALL });
    await append(ds, [query], 1200);
    expect((await nearest(ds, query, { where, ...ALL }))[0]).toEqual([1_200_000n, expect.closeTo(0, 5)]);
    const without = await nearest(ds, query, { where: { n: { gte: 600, lt: 1200 } }, ...ALL });
    expect(without[0]?.[0]).not.toBe(1_200_000n);
  });
});

test("recallTarget is measured, met, and told", async () => {
  const { ds, vectors } = await make({ rows: 2000, dim: 16 });
  await ds.rebuildIvf({ field: "v", k: 40 });
  const query = vectors[5] as Float32Array;
  const told = await ds.explain({ field: "v", query, recallTarget: 0.9 });
  expect(told.strategy).toBe("ivf");
  expect(told.measured?.recall).toBeGreaterThanOrEqual(0.9);
  expect(told.nprobe).toBeLessThan(40);
  expect(told).toMatchObject({ cells: 40, hits: 10, isExact: true, cellsProbed: told.nprobe });
  const strict = await ds.explain({ field: "v", query, recallTarget: 0.999 });
  expect(strict.nprobe).toBeGreaterThanOrEqual(told.nprobe as number);
});

test("without re-ranking no vector is read, and batches say that distances are estimates", async () => {
  const { ds, store, vectors } = await make({
    rows: 3000,
    options: { compressor: { algorithm: "rabitq", bits: 8 } },
  });
  await ds.rebuildIvf({ field: "v", k: 30 });
  const query = randomVector(seeded(5), 20);
  const cold = await Dataset.open("d", store);
  const [batch] = await cold.iterVector({ field: "v", query, topK: 5, fields: [], rerankFactor: 0, ...ALL });
  expect(batch?._estimated).toBe(true);
  const exact = await exactly(vectors);
  const truth = await nearest(exact, query, { topK: 5 });
  expect(batch?._distances).toHaveLength(5);
  for (const [i, distance] of (batch?._distances ?? []).entries())
    expect(distance).toBeCloseTo(truth[i]?.[1] as number, 2);
});

describe("publishCompressor", () => {
  test("recodes a built index, and later rebuilds keep it", async () => {
    const { ds, vectors } = await make();
    await ds.rebuildIvf({ field: "v", k: 8 });
    const centroids = (await ds.health()).tracks[0]?.cells;
    await ds.publishCompressor({ field: "v", bits: 7 });
    expect((await ds.health()).tracks[0]).toMatchObject({ cells: centroids, staleCodes: false });
    const exact = await exactly(vectors);
    const query = randomVector(seeded(6), 20);
    expect(await nearest(ds, query, ALL)).toEqual(await nearest(exact, query));
    await ds.rebuildIvf({ field: "v", k: 4 });
    expect(ds.schema.fields[0]).toMatchObject({ compressor: { bits: 7 } });
  });

  test("gives an index without cells one", async () => {
    const { ds, vectors } = await make();
    expect(await ds.publishCompressor({ field: "v", bits: 4 })).toMatchObject({ cells: 1, rows: 400 });
    const exact = await exactly(vectors);
    const query = randomVector(seeded(6), 20);
    expect(await nearest(ds, query, ALL)).toEqual(await nearest(exact, query));
  });
});

describe("what can't be is refused, and nothing changes", () => {
  test.each([
    ["k = 0", { k: 0 }, "k"],
    ["k above the sample", { k: 401 }, "k"],
    ["k above a smaller sample", { k: 50, sample: 40 }, "k"],
    ["a field that is not there", { field: "w" }, "field"],
    ["a field that is no vector", { field: "n" }, "field"],
    ["iterations below 0", { iterations: -1 }, "iterations"],
    ["a seed that is no number", { seed: 1.5 }, "seed"],
  ])("%s", async (_, options, field) => {
    const { ds } = await make();
    const before = ds.currentManifest();
    await expect(ds.rebuildIvf({ field: "v", ...options })).rejects.toMatchObject({
      code: "InvalidArgument",
      field,
    });
    expect(ds.currentManifest()).toBe(before);
  });

  test("an empty dataset", async () => {
    const { ds } = await make({ rows: 0 });
    await expect(ds.rebuildIvf({ field: "v" })).rejects.toThrow(coded("InvalidArgument"));
  });

  test("an lsh field", async () => {
    const { ds } = await make({ options: { algorithm: "dreamdb.lsh-cosine" } });
    await expect(ds.rebuildIvf({ field: "v" })).rejects.toThrow(coded("InvalidArgument"));
  });

  test.each([
    ["nprobe", 0],
    ["rerankFactor", -1],
    ["epsilon", Number.NaN],
    ["recallTarget", 1],
    ["query", [Number.NaN]],
  ])("a query with %s = %s", async (field, value) => {
    const { ds } = await make();
    await ds.rebuildIvf({ field: "v", k: 3 });
    const query = { field: "v", query: new Float32Array(20).fill(1), [field]: value } as VectorQuery;
    await expect(ds.iterVector(query)).rejects.toMatchObject({ code: "InvalidArgument", field });
    expect(await nearest(ds, new Float32Array(20).fill(1))).toHaveLength(10);
  });
});

describe("damage", () => {
  /** The one segment of a built index, whose bytes `change` may alter at a place inside the named section. */
  async function damaged(section: "codes" | "vectors" | "anchors") {
    const { ds, store, vectors } = await make({ rows: 600 });
    await ds.rebuildIvf({ field: "v", k: 6 });
    for await (const { key } of store.list("objects/")) {
      const { bytes } = (await store.get(key)) as { bytes: Uint8Array };
      if (new TextDecoder().decode(bytes.subarray(0, 4)) !== "DDBS") continue;
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const [at, length] = { anchors: [128, 136], codes: [144, 152], vectors: [176, 184] }[section] as [
        number,
        number,
      ];
      const from = Number(view.getBigUint64(at, true));
      const copy = bytes.slice();
      for (let i = 0; i < Number(view.getBigUint64(length, true)); i += 100)
        copy[from + i] = (copy[from + i] as number) ^ 1;
      await store.put(key, copy);
    }
    return { store, query: vectors[0] as Float32Array };
  }

  test.each(["codes", "vectors", "anchors"] as const)(
    "of %s is found by its hash before any of it is used",
    async (section) => {
      const { store, query } = await damaged(section);
      const ds = await Dataset.open("d", store, { cacheBytes: 0 });
      await expect(nearest(ds, query)).rejects.toThrow(coded("HashMismatch"));
      expect((await fsck(store)).problems.map(({ code }) => code)).toContain("HashMismatch");
    },
  );
});

test("without memory for an index nothing is published, and the dataset stays usable", async () => {
  const { ds, store, vectors } = await make({ rows: 12_000, dim: 64 });
  const before = ds.currentManifest();
  const small = await Dataset.open("d", store, { coreBytes: 3 << 20 });
  await expect(small.rebuildIvf({ field: "v", k: 10 })).rejects.toThrow(coded("OutOfMemory"));
  await expect(small.prewarm()).resolves.toBeUndefined();
  expect(small.currentManifest()).toBe(before);
  const query = vectors[9] as Float32Array;
  const truth = await nearest(ds, query);
  for (let i = 0; i < 3; i++) expect(await nearest(small, query)).toEqual(truth);
  await ds.rebuildIvf({ field: "v", k: 10 });
  await small.refresh();
  await expect(nearest(small, query, { nprobe: 10 })).resolves.toHaveLength(10);
});

describe("odd data", () => {
  test.each([
    ["all-equal vectors", () => new Float32Array(8).fill(0.5), 8],
    [
      "duplicates of two",
      (_: () => number, __: number, row: number) => new Float32Array(8).fill(1).fill(-1, 0, (row % 2) * 4),
      8,
    ],
    ["one component", (random: () => number) => Float32Array.of(random() - 0.5), 1],
  ] as const)("%s", async (_, vector, dim) => {
    for (const algorithm of ["dreamdb.ivf-cosine", "dreamdb.ivf-l2"] as const) {
      const { ds, vectors } = await make({ dim, rows: 90, vector, options: { algorithm } });
      await ds.rebuildIvf({ field: "v", k: 9 });
      const exact = await exactly(vectors, { algorithm });
      const query = vectors[3] as Float32Array;
      const found = await nearest(ds, query, { ...ALL, topK: 90 });
      expect(found.map(([, distance]) => distance)).toEqual(
        (await nearest(exact, query, { topK: 90 })).map(([, distance]) => distance),
      );
    }
  });

  test("4,096 components", async () => {
    const { ds, vectors } = await make({ dim: 4096, rows: 40 });
    await ds.rebuildIvf({ field: "v", k: 3 });
    const exact = await exactly(vectors);
    const query = randomVector(seeded(8), 4096);
    expect(await nearest(ds, query, ALL)).toEqual(await nearest(exact, query));
  });

  test("rows without a vector", async () => {
    const store = memoryStore();
    const schema = new Schema().addEmbedding("v", { dim: 6, required: false }).addScalarInt("n");
    const ds = await Dataset.create("d", schema, store);
    const random = seeded(2);
    const records = Array.from({ length: 200 }, (_, n) =>
      n % 3 === 0 ? { n, _anchor: BigInt(n) } : { n, v: randomVector(random, 6), _anchor: BigInt(n) },
    );
    await ds.appendMany(records);
    const query = randomVector(random, 6);
    const truth = await nearest(ds, query, { topK: 300 });
    expect(truth).toHaveLength(133);
    expect(await ds.rebuildIvf({ field: "v", k: 5 })).toMatchObject({ rows: 133 });
    expect(await nearest(ds, query, { topK: 300, ...ALL })).toEqual(truth);
    expect((await fsck(store)).problems).toEqual([]);
  });
});
