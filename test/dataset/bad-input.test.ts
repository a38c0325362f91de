/**
 * What indexes may be given that can't be, or that is odd: each is told with the field, what was found and what was
 * expected, nothing changes, and the dataset works on; data that is merely odd is found as by an exact search.
 */
import { describe, expect, test } from "@jest/globals";
import { type Address, addressOf, objectKey } from "../../src/core/address.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { type EmbeddingOptions, Schema } from "../../src/dataset/schema.ts";
import type { ErrorCode } from "../../src/errors.ts";
import { decodeManifest, encodeManifest, type Manifest, type Track } from "../../src/objects/manifest.ts";
import { defaultLshIndex, encodeSpatialIndex } from "../../src/objects/spatial-index.ts";
import { defaultRabitq, encodeVectorCompressor } from "../../src/objects/vector-compressor.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { randomVector, seeded } from "./records.ts";
import { contents, refusal } from "./stores.ts";
import { append, nearest, type VectorSet, vectorSets } from "./vector-set.ts";

type Options = Partial<EmbeddingOptions<true>>;

const { make, exactly } = vectorSets({});
const PQ = { algorithm: "pq", subspaces: 4 } as const;

/** Each kind of codes, and each kind of index that is built. */
const BUILT: [string, Options, (ds: Dataset, k: number) => Promise<unknown>][] = [
  ...(
    [
      ["ivf-cosine", {}],
      [
        "ivf-l2 with 1-bit codes",
        { algorithm: "dreamdb.ivf-l2", compressor: { algorithm: "rabitq", bits: 1 } },
      ],
      ["ivf-dot without codes", { algorithm: "dreamdb.ivf-dot", compressor: "none" }],
      ["ivf-l2 with PQ codes", { algorithm: "dreamdb.ivf-l2", compressor: PQ }],
      ["imi-cosine", { algorithm: "dreamdb.imi-cosine" }],
    ] as const
  ).map(([name, options]): [string, Options, (ds: Dataset, k: number) => Promise<unknown>] => [
    name,
    options,
    (ds, k) => ds.rebuildIvf({ field: "v", k }),
  ]),
  ["vamana-l2", { algorithm: "dreamdb.vamana-l2" }, (ds) => ds.buildGraph({ field: "v", degree: 8 })],
];
const CELLS = BUILT.filter(([name]) => !name.startsWith("vamana"));

/** Errors other than of this code that names the field, what was found and what was expected. */
async function expectRefused(
  work: () => Promise<unknown>,
  code: ErrorCode,
  field: string | RegExp,
): Promise<{ found?: unknown; expected?: unknown }> {
  const error = await refusal(work);
  expect({ code: error.code, name: error.name }).toEqual({ code, name: "DreamDBError" });
  expect(error.field).toMatch(field);
  expect(error).toHaveProperty("found");
  expect(error.expected).toBeDefined();
  for (const part of ["field: ", "found: ", "expected: "]) expect(error.message).toContain(part);
  return error;
}

async function manifestOf(ds: Dataset, store: Store): Promise<Manifest> {
  const { bytes } = (await store.get(objectKey(ds.currentManifest()))) as { bytes: Uint8Array };
  return decodeManifest(bytes);
}

/** The state in which the field has another Track, as a hostile or a careless writer would store it. */
async function withTrack(ds: Dataset, store: Store, change: (track: Track) => Track): Promise<Address> {
  const manifest = await manifestOf(ds, store);
  const tracks = new Map([...manifest.tracks].map(([id, track]) => [id, change(track)]));
  const bytes = encodeManifest({ ...manifest, tracks });
  await store.put(objectKey(addressOf(bytes)), bytes);
  return addressOf(bytes);
}

describe.each(CELLS)("%s", (name, options, build) => {
  test("k larger than the sample, and k = 0", async () => {
    const { ds, store } = await make({ rows: 60, options });
    const before = await contents(store);
    const isImi = name === "imi-cosine";
    const above = isImi ? 61 * 61 : 61;
    expect(await expectRefused(() => build(ds, above), "InvalidArgument", /^k$/)).toMatchObject({
      found: above,
      expected: expect.stringContaining("60 vectors of the sample"),
    });
    const few = { field: "v", k: isImi ? 26 * 26 : 26, sample: 25 };
    await expectRefused(() => ds.rebuildIvf(few), "InvalidArgument", /^k$/);
    expect(await expectRefused(() => build(ds, 0), "InvalidArgument", /^k$/)).toMatchObject({ found: 0 });
    expect(await contents(store)).toEqual(before);
    await build(ds, 9);
    expect(await nearest(ds, randomVector(seeded(2), 20))).toHaveLength(10);
  });
});

describe.each(BUILT)("%s", (_, options, build) => {
  const all = {
    rerankFactor: 400,
    ...(options.algorithm?.startsWith("dreamdb.vamana")
      ? { beam: 4096 }
      : { nprobe: 1 << 20, ...(options.compressor === "none" ? {} : { epsilon: 100 }) }),
  };

  test("an empty dataset", async () => {
    const { ds, store } = await make({ rows: 0, options });
    const before = await contents(store);
    await expectRefused(() => build(ds, 1), "InvalidArgument", /^field$/);
    expect(await contents(store)).toEqual(before);
    expect(await ds.iterVector({ field: "v", query: new Float32Array(20).fill(1) })).toEqual([]);
  });

  const odd: [string, VectorSet][] = [
    ["all-equal vectors", { vector: (_, dim) => new Float32Array(dim).fill(0.5) }],
    ["vectors that come thirty times", { vector: (_, dim, row) => randomVector(seeded(row % 3), dim) }],
    ["1 component", { dim: 1, vector: (random) => Float32Array.of(random() - 0.5) }],
    ["4,096 components", { dim: 4096, rows: 30 }],
  ];
  test.each(odd)("%s", async (_, set) => {
    const dim = set.dim ?? 20;
    const given =
      dim === 1 && options.compressor === PQ ? { ...options, compressor: { ...PQ, subspaces: 1 } } : options;
    if (dim === 1 && options.algorithm === "dreamdb.imi-cosine") {
      await expectRefused(async () => make({ ...set, options }), "SchemaViolation", /^v\.dim$/);
      return;
    }
    const { ds, vectors } = await make({ rows: 90, ...set, options: given });
    await build(ds, 9);
    const { compressor, ...plain } = given;
    const exact = await exactly(vectors, plain);
    const query = vectors[3] as Float32Array;
    const topK = vectors.length;
    const distances = (hits: unknown[][]) => hits.map(([, distance]) => distance);
    expect(distances(await nearest(ds, query, { ...all, topK }))).toEqual(
      distances(await nearest(exact, query, { topK })),
    );
    const fresh = vectors.slice(0, 2);
    await append(ds, fresh, topK);
    expect(await nearest(ds, query, { ...all, topK: topK + 2 })).toHaveLength(topK + 2);
    for (const each of [ds, exact]) await each.close();
  });

  test("a query with NaN, an infinity, or of another dimension", async () => {
    const { ds } = await make({ rows: 40, options });
    const good = new Float32Array(20).fill(1);
    const bad = [Number.NaN, Number.POSITIVE_INFINITY].map((value) =>
      Float32Array.from(good).fill(value, 7, 8),
    );
    const ask = async () => {
      for (const query of [...bad, new Float32Array(19), [Number.NaN]]) {
        await expectRefused(async () => ds.iterVector({ field: "v", query }), "InvalidArgument", /^query$/);
        await expectRefused(async () => ds.explain({ field: "v", query }), "InvalidArgument", /^query$/);
        await expectRefused(
          async () => ds.queryMany({ field: "v", queries: [good, query] }),
          "InvalidArgument",
          /^queries\[1\]$/,
        );
      }
    };
    await ask();
    await build(ds, 4);
    await ask();
    expect(await nearest(ds, good)).toHaveLength(10);
  });

  test("a filter on a field that is not there, or of another type", async () => {
    const { ds } = await make({ rows: 40, options });
    await build(ds, 4);
    const query = new Float32Array(20).fill(1);
    for (const [where, field] of [
      [{ m: 1 }, /^where\.m$/],
      [{ n: "one" }, /^where\.n$/],
      [{ n: { lt: true } }, /^where\.n/],
      [{ n: { in: [1, "2"] } }, /^where\.n/],
      [{ v: 1 }, /^where\.v$/],
    ] as const) {
      const given = { field: "v", where: where as never };
      await expectRefused(async () => ds.iterVector({ ...given, query }), "InvalidArgument", field);
      await expectRefused(async () => ds.explain({ ...given, query }), "InvalidArgument", field);
      await expectRefused(async () => ds.queryMany({ ...given, queries: [query] }), "InvalidArgument", field);
    }
    await expectRefused(
      async () => ds.iterVector({ field: "v", query, whereEq: { m: 1 } }),
      "InvalidArgument",
      /^whereEq\.m$/,
    );
    expect(await nearest(ds, query, { where: { n: { lt: 5 } } })).toHaveLength(5);
  });
});

test("the dimension of a supplied SpatialIndex", async () => {
  const store = memoryStore();
  const index = defaultLshIndex(19, 3);
  const bytes = encodeSpatialIndex(index);
  await store.put(objectKey(addressOf(bytes)), bytes);
  const lsh = { algorithm: "dreamdb.lsh-cosine", lshBits: 3 } as const;
  for (const spatialIndex of [index, addressOf(bytes)]) {
    const create = async () =>
      Dataset.create("d", new Schema().addEmbedding("v", { dim: 20, ...lsh, spatialIndex }), store);
    expect(await expectRefused(create, "SchemaViolation", /^v\.spatialIndex\.dim$/)).toMatchObject({
      found: 19,
      expected: 20,
    });
  }
});

describe("a Track that does not fit its segments", () => {
  const built = async (options: Options = {}) => {
    const made = await make({ rows: 60, options });
    await made.ds.rebuildIvf({ field: "v", k: 4 });
    return made;
  };
  const query = randomVector(seeded(3), 20);

  test.each([
    ["a compressor with another rotation", {}],
    ["RaBitQ where there are PQ codes", { compressor: PQ }],
    ["codes where there are none", { compressor: "none" }],
  ] as const)("%s", async (_, options) => {
    const { ds, store } = await built(options);
    const object = { ...defaultRabitq("dreamdb.rabitq-cosine", 20, 4), seed: new Uint8Array(32).fill(7) };
    const bytes = encodeVectorCompressor(object);
    await store.put(objectKey(addressOf(bytes)), bytes);
    const at = await withTrack(ds, store, (track) => ({
      ...track,
      compressor: { address: addressOf(bytes), object },
    }));
    const other = await Dataset.openAt(at, store);
    const error = await expectRefused(
      () => nearest(other, query),
      "LineageMismatch",
      /^segment\.compressor$/,
    );
    expect(error.expected).toBe(addressOf(bytes));
    expect(await nearest(ds, query)).toHaveLength(10);
  });

  test("codes without a compressor", async () => {
    const { ds, store } = await built();
    const at = await withTrack(ds, store, ({ compressor, ...track }) => track);
    const other = await Dataset.openAt(at, store);
    expect(
      await expectRefused(() => nearest(other, query), "LineageMismatch", /^segment\.compressor$/),
    ).toMatchObject({ expected: "none" });
  });

  test("another SpatialIndex than the one in the segment's header", async () => {
    const { ds, store } = await built();
    const [own] = (await manifestOf(ds, store)).tracks.values();
    const spatialIndex = {
      ...(own as Track).spatialIndex,
      seed: new Uint8Array(32),
    } as Track["spatialIndex"];
    const bytes = encodeSpatialIndex(spatialIndex);
    const at = await withTrack(ds, store, (track) => ({ ...track, spatialIndex, address: addressOf(bytes) }));
    const other = await Dataset.openAt(at, store);
    const error = await expectRefused(
      () => nearest(other, query),
      "LineageMismatch",
      /^segment\.spatialIndex$/,
    );
    expect(error).toMatchObject({ found: own?.address, expected: addressOf(bytes) });
  });

  test("a rotation that is not the one for the dimension can't even be read", async () => {
    const { ds, store } = await built();
    const object = {
      ...defaultRabitq("dreamdb.rabitq-cosine", 20, 4),
      rotation: "hadamard" as const,
      padded: 64,
    };
    const address = addressOf(encodeVectorCompressor(object));
    const at = await withTrack(ds, store, (track) => ({ ...track, compressor: { address, object } }));
    await expectRefused(() => Dataset.openAt(at, store), "Corrupt", /^vector-compressor\.rotation$/);
  });
});

test.each([
  ["RaBitQ", {}],
  ["PQ", { compressor: PQ }],
] as const)("damaged codes of %s are found by their hash before any is used", async (_, options) => {
  const { ds, store } = await make({ rows: 200, options });
  await ds.rebuildIvf({ field: "v", k: 4 });
  const [track] = (await manifestOf(ds, store)).tracks.values();
  const key = objectKey(track?.segments.entries[0]?.container.address as Address);
  const { bytes } = (await store.get(key)) as { bytes: Uint8Array };
  const from = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(144, true));
  await store.put(
    key,
    bytes.map((byte, i) => (i === from + 5 ? byte ^ 1 : byte)),
  );
  const other = await Dataset.open("d", store, { cacheBytes: 0 });
  for (let i = 0; i < 2; i++)
    await expectRefused(() => nearest(other, randomVector(seeded(3), 20)), "HashMismatch", /./);
  expect(await other.count()).toBe(200);
});

describe("memory of the compute core that is used up", () => {
  test.each(CELLS)("%s: a build, and a search", async (_, options, build) => {
    const { ds, store, vectors } = await make({ rows: 6000, dim: 64, options });
    const small = await Dataset.open("d", store, { coreBytes: 2 << 20 });
    const before = small.currentManifest();
    await expectRefused(() => build(small, 9), "OutOfMemory", /./);
    expect(small.currentManifest()).toBe(before);
    expect(await nearest(small, vectors[9] as Float32Array)).toEqual(
      await nearest(ds, vectors[9] as Float32Array),
    );
    await build(ds, 9);
    await small.refresh();
    // Cells that do not all fit: a search of them may be refused, but the session goes on, and small ones are answered.
    const wide = () => nearest(small, vectors[9] as Float32Array, { nprobe: 1 << 20 });
    const truth = await nearest(ds, vectors[9] as Float32Array, { nprobe: 1 << 20 });
    for (let i = 0; i < 2; i++) {
      const found = await wide().catch((error: Error) => error);
      if (found instanceof Error)
        expect(found).toMatchObject({ name: "DreamDBError", code: "OutOfMemory", field: expect.any(String) });
      else expect(found).toEqual(truth);
    }
    expect(await small.count()).toBe(6000);
    for (const each of [ds, small]) await each.close();
  });
});

test("a search too large for the memory leaves room for one that is not", async () => {
  const options = { compressor: { algorithm: "pq", subspaces: 64 } } as const;
  const { ds, store, vectors } = await make({ rows: 16_000, dim: 64, options });
  await ds.rebuildIvf({ field: "v", k: 20, iterations: 1 });
  const small = await Dataset.open("d", store, { coreBytes: 25 << 16 });
  const query = vectors[9] as Float32Array;
  for (let i = 0; i < 2; i++) {
    await expectRefused(() => nearest(small, query, { nprobe: 20 }), "OutOfMemory", /^bytes$/);
    expect(await nearest(small, query, { nprobe: 1 })).toEqual(await nearest(ds, query, { nprobe: 1 }));
  }
  // Cell after cell comes in, more than there is room for at once.
  for (const other of vectors.slice(0, 40))
    expect(await nearest(small, other, { nprobe: 2 })).toEqual(await nearest(ds, other, { nprobe: 2 }));
  for (const each of [ds, small]) await each.close();
});
