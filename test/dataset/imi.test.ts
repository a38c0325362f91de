// `dreamdb.imi-cosine`: cells are pairs of centroids, one for each half of the components.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { objectKey } from "../../src/core/address.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { allPairs } from "../../src/kernels/centroid-pairs.ts";
import { loadKernels } from "../../src/kernels/load.ts";
import { RabitqEncoder } from "../../src/kernels/rabitq.ts";
import { Rotation } from "../../src/kernels/rotation.ts";
import { decodeCentroids } from "../../src/objects/centroids.ts";
import { codingOf, decodeManifest, type Track, type TrackCompressor } from "../../src/objects/manifest.ts";
import { decodeSegmentAnchors, decodeSegmentHead } from "../../src/objects/segment.ts";
import { codebookSizes, type ImiIndex } from "../../src/objects/spatial-index.ts";
import type { RabitqCompressor } from "../../src/objects/vector-compressor.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { randomVector, seeded } from "./records.ts";
import { refusal } from "./stores.ts";
import { append, nearest, type VectorSet, vectorSets } from "./vector-set.ts";

/** Every row is looked at. */
const ALL = { nprobe: 2 ** 32 - 1, epsilon: 100, rerankFactor: 60 };

const { make, exactly } = vectorSets({
  dim: 11,
  rows: 300,
  seed: 11,
  options: { algorithm: "dreamdb.imi-cosine" },
});

async function trackOf(ds: Dataset, store: Store): Promise<Track> {
  const { bytes } = (await store.get(objectKey(ds.currentManifest()))) as { bytes: Uint8Array };
  return decodeManifest(bytes).tracks.get(0) as Track;
}

async function objectAt(store: Store, address: string): Promise<Uint8Array> {
  return ((await store.get(objectKey(address as never))) as { bytes: Uint8Array }).bytes;
}

test("before it is trained, a field is searched exactly and has no segments", async () => {
  const { ds, store, vectors } = await make({ rows: 20 });
  const track = await trackOf(ds, store);
  expect(track.spatialIndex).toEqual({ algorithm: "dreamdb.imi-cosine", dim: 11, cells: 1, parents: [] });
  expect(track.segments.rows).toBe(0);
  expect(await ds.explain({ field: "v", query: vectors[0] as Float32Array })).toMatchObject({
    strategy: "exact",
    reranked: 20,
  });
  expect((await fsck(store)).problems).toEqual([]);
});

test.each([
  ["4-bit codes", {}],
  ["1-bit codes", { compressor: { algorithm: "rabitq", bits: 1 } }],
  ["8-bit codes", { compressor: { algorithm: "rabitq", bits: 8 } }],
  ["no codes", { compressor: "none" }],
  ["codes, and no vectors in the cells", { rerank: false }],
] as const)("with %s it finds what an exact search finds, bit for bit", async (_, options) => {
  const { ds, store, vectors, random } = await make({ options });
  const exact = await exactly(vectors);
  expect(await ds.rebuildIvf({ field: "v", k: 30 })).toMatchObject({ cells: 36, rows: 300 });
  const late = Array.from({ length: 25 }, () => randomVector(random, 11));
  for (const [i, vector] of late.entries()) {
    await append(ds, [vector], 300 + i);
    await append(exact, [vector], 300 + i);
  }
  const again = await Dataset.open("d", store);
  for (let i = 0; i < 8; i++) {
    const query = randomVector(random, 11);
    for (const each of [ds, again]) {
      expect(await nearest(each, query, ALL)).toEqual(await nearest(exact, query));
      expect(await nearest(each, query, { ...ALL, topK: 400 })).toEqual(
        await nearest(exact, query, { topK: 400 }),
      );
    }
  }
  // A row's own cell is the first to be probed.
  for (const [i, vector] of late.entries())
    expect((await nearest(ds, vector, { topK: 1, nprobe: 1 }))[0]?.[0]).toBe(BigInt(300 + i) * 1000n);
  expect((await fsck(store)).problems).toEqual([]);
  expect((await ds.health()).tracks[0]).toMatchObject({
    algorithm: "dreamdb.imi-cosine",
    cells: 36,
    indexedRows: 325,
    unindexedRows: 0,
    staleCodes: false,
  });
});

test("whatever the shape, a search of all cells is exact, and both builds write the same bytes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 2, max: 150 }),
      fc.integer({ min: 1, max: 120 }),
      fc.integer({ min: 1, max: 400 }),
      fc.constantFrom("none" as const, { algorithm: "rabitq" as const, bits: 1 }, undefined),
      async (dim, rows, wanted, compressor) => {
        const k = Math.min(wanted, rows * rows);
        const made = [];
        for (const kernels of ["simd", "scalar"] as const) {
          const one = await make({ dim, rows, options: { compressor }, dataset: { kernels } });
          await one.ds.rebuildIvf({ field: "v", k, iterations: 3 });
          await append(one.ds, [randomVector(seeded(3), dim)], rows);
          made.push(one);
        }
        const [a, b] = made as [(typeof made)[0], (typeof made)[0]];
        expect(a.ds.currentManifest()).toBe(b.ds.currentManifest());
        const exact = await exactly([...a.vectors, randomVector(seeded(3), dim)]);
        const query = randomVector(a.random, dim);
        for (const { ds } of made)
          expect(await nearest(ds, query, { ...ALL, topK: 7 })).toEqual(
            await nearest(exact, query, { topK: 7 }),
          );
      },
    ),
    { numRuns: 25 },
  );
});

test("cells and codes are those that the specification gives", async () => {
  const { ds, store, vectors } = await make({ dim: 7, rows: 120 });
  await ds.rebuildIvf({ field: "v", k: 20, seed: 5 });
  const track = await trackOf(ds, store);
  const index = track.spatialIndex as ImiIndex;
  expect(index).toMatchObject({ cells: 25, sample: 120, iterations: 8 });
  const sizes = codebookSizes(index);
  expect(sizes).toEqual([5, 5]);
  const first = decodeCentroids(await objectAt(store, index.centroids[0].address), 5, 4);
  const second = decodeCentroids(await objectAt(store, index.centroids[1].address), 5, 3);
  const f32 = Math.fround;
  const fold = (x: Float32Array, y: Float32Array) =>
    x.reduce((acc, a, i) => f32(acc + f32(a * (y[i] as number))), 0);
  const nearestOf = (y: Float32Array, table: Float32Array) => {
    const scores = Array.from({ length: 5 }, (_, c) => {
      const centroid = table.subarray(c * y.length, (c + 1) * y.length);
      return f32(fold(y, centroid) + f32(-0.5 * centroid.reduce((sum, each) => sum + each * each, 0)));
    });
    return scores.indexOf(Math.max(...scores));
  };
  const inIndex = vectors.map((x) => {
    const inverse = f32(1 / f32(Math.sqrt(fold(x, x))));
    return x.map((each) => f32(each * inverse));
  });
  const wanted = inIndex.map(
    (y) => nearestOf(y.subarray(0, 4), first) * 5 + nearestOf(y.subarray(4), second),
  );

  const { container, base } = track.segments.entries[0] as (typeof track.segments.entries)[0];
  const bytes = await objectAt(store, container.address);
  const head = decodeSegmentHead(bytes, { totalBytes: bytes.length, ...codingOf(track) });
  const rowsInOrder = [...head.blocks].flatMap((block) => {
    const { offset, bytes: length } = block.anchors;
    return [...decodeSegmentAnchors(head, block, bytes.subarray(offset, offset + length))];
  });
  const rows = rowsInOrder.map((anchor) => Number((anchor + base) / 1000n));
  const cells = rows.map((_, i) => head.cells[head.firstRows.findLastIndex((start) => start <= i)]);
  expect(cells).toEqual(rows.map((row) => wanted[row]));

  // Codes are those of the centroids put together.
  const kernels = await loadKernels("scalar");
  const {
    rotation: kind,
    padded,
    seed,
    bits,
  } = (track.compressor as TrackCompressor).object as RabitqCompressor;
  const rotation = new Rotation(kernels, { kind, dim: 7, padded, seed });
  const values = Float32Array.of(...first, ...second);
  const centroids = allPairs({ values, sizes, halves: [4, 3] });
  expect([...centroids.subarray(13 * 7, 14 * 7)]).toEqual([
    ...first.subarray(8, 12),
    ...second.subarray(9, 12),
  ]);
  const encoder = new RabitqEncoder(kernels, { rotation, centroids, bits, metric: "cosine" });
  const y = kernels.copyIn(Float32Array.from(rows.flatMap((row) => [...(inIndex[row] as Float32Array)])));
  const own = kernels.copyIn(Uint32Array.from(cells as number[]));
  const out = kernels.alloc(120 * encoder.codeBytes);
  encoder.encode(y, 120, own, out);
  const codes = [...head.blocks].flatMap(({ codes: span }) => [
    ...bytes.subarray(span?.offset as number, (span?.offset as number) + (span?.bytes as number)),
  ]);
  expect(Uint8Array.from(codes)).toEqual(kernels.bytes(out, 120 * encoder.codeBytes).slice());
  encoder.free();
  rotation.free();
  for (const pointer of [y, own, out]) kernels.free(pointer);
});

describe("far more cells than rows", () => {
  const sparse = async () => {
    const made = await make({ dim: 16, rows: 500, options: {} });
    await made.ds.rebuildIvf({ field: "v", k: 40_000, iterations: 4 });
    return { ...made, exact: await exactly(made.vectors) };
  };

  test("are searched all the same, filled and emptied, within any budget", async () => {
    const { ds, store, vectors, exact, random } = await sparse();
    const health = (await ds.health()).tracks[0];
    expect(health).toMatchObject({ cells: 40_000, indexedRows: 500 });
    expect(health?.usedCells).toBeLessThanOrEqual(500);
    const queries = Array.from({ length: 6 }, () => randomVector(random, 16));
    for (const residentBytes of [0, 20_000, 1 << 28]) {
      const other = await Dataset.open("d", store, { residentBytes, cacheBytes: 0 });
      const progress: { done: number; total: number }[] = [];
      if (residentBytes > 0) await other.prewarm({ onProgress: (done) => progress.push(done) });
      // Cells without rows are no work.
      if (residentBytes > 0)
        expect(progress.at(-1)).toMatchObject({ done: health?.usedCells, total: health?.usedCells });
      for (const query of queries) {
        expect(await nearest(other, query, ALL)).toEqual(await nearest(exact, query));
        expect(await nearest(other, query, { nprobe: 1 })).toHaveLength(10);
      }
      await other.close();
    }
    // Rows that come into cells which were empty in memory.
    await ds.prewarm();
    const fresh = Array.from({ length: 20 }, () => randomVector(random, 16));
    await append(ds, fresh, 500);
    await append(exact, fresh, 500);
    for (const [i, query] of fresh.entries()) {
      expect((await nearest(ds, query, { topK: 1 }))[0]?.[0]).toBe(BigInt(500 + i) * 1000n);
      expect(await nearest(ds, query, ALL)).toEqual(await nearest(exact, query));
    }
    expect(vectors).toHaveLength(500);
  });

  test("are filtered and measured like any", async () => {
    const { ds, exact, random } = await sparse();
    const query = randomVector(random, 16);
    for (const where of [{ n: { lt: 250 } }, { n: { in: [3, 77] } }, { n: -1 }])
      expect(await nearest(ds, query, { where, ...ALL })).toEqual(await nearest(exact, query, { where }));
    // 2.75 · √cells, of which so many have rows.
    const usual = await ds.explain({ field: "v", query });
    const used = (await ds.health()).tracks[0]?.usedCells as number;
    expect(usual.nprobe).toBe(Math.min(40_000, Math.ceil(2.75 * 200 * (40_000 / used))));
    const told = await ds.explain({ field: "v", query, recallTarget: 0.8 });
    expect(told).toMatchObject({ strategy: "ivf", cells: 40_000, isExact: true });
    expect(told.measured?.recall).toBeGreaterThanOrEqual(0.8);
  });
});

test("an index is trained anew, and coded anew, in place of the one before", async () => {
  const { ds, store, vectors } = await make();
  const exact = await exactly(vectors);
  await ds.rebuildIvf({ field: "v", k: 9 });
  const before = await trackOf(ds, store);
  await ds.publishCompressor({ field: "v", bits: 7 });
  expect(await trackOf(ds, store)).toMatchObject({
    address: before.address,
    compressor: { object: { bits: 7 } },
  });
  await ds.rebuildIvf({ field: "v", k: 16 });
  const after = await trackOf(ds, store);
  expect(after.spatialIndex).toMatchObject({ cells: 16, parents: [before.address] });
  expect(after.compressor?.object.bits).toBe(7);
  const query = randomVector(seeded(6), 11);
  expect(await nearest(ds, query, ALL)).toEqual(await nearest(exact, query));
  const other = await make();
  expect(await other.ds.publishCompressor({ field: "v" })).toMatchObject({ cells: 1, rows: 300 });
});

test("odd data: equal vectors, two components, a half that is zero", async () => {
  const shapes: [number, NonNullable<VectorSet["vector"]>][] = [
    [6, () => new Float32Array(6).fill(0.5)],
    [2, (random) => Float32Array.of(random() - 0.5, random() - 0.5)],
    [5, (_, __, row) => Float32Array.of(0, 0, 0, 1 + (row % 3), 2)],
  ];
  for (const [dim, vector] of shapes) {
    const { ds, store, vectors } = await make({ dim, rows: 60, vector });
    await ds.rebuildIvf({ field: "v", k: 16 });
    const exact = await exactly(vectors);
    const query = vectors[3] as Float32Array;
    const found = await nearest(ds, query, { ...ALL, topK: 60 });
    const truth = await nearest(exact, query, { topK: 60 });
    expect(found.map(([, distance]) => distance)).toEqual(truth.map(([, distance]) => distance));
    expect((await fsck(store)).problems).toEqual([]);
  }
});

describe("what can't be is refused, and nothing changes", () => {
  test.each([
    ["k = 0", { k: 0 }, "k"],
    ["more centroids than the sample has rows", { k: 301 * 301 }, "k"],
    ["more centroids than a smaller sample has", { k: 26, sample: 5 }, "k"],
    ["k beyond all bounds", { k: 2 ** 20 + 1 }, "k"],
    ["a sample of nothing", { sample: 0 }, "sample"],
    ["iterations below 0", { iterations: -1 }, "iterations"],
  ])("%s", async (_, options, field) => {
    const { ds } = await make();
    const before = ds.currentManifest();
    expect(await refusal(() => ds.rebuildIvf({ field: "v", ...options }))).toMatchObject({
      code: "InvalidArgument",
      field,
    });
    expect(ds.currentManifest()).toBe(before);
  });

  test("as many centroids as the sample has rows are not", async () => {
    const { ds } = await make();
    expect(await ds.rebuildIvf({ field: "v", k: 25, sample: 5 })).toMatchObject({ cells: 25 });
  });

  test("fewer vectors in the sample than centroids", async () => {
    const schema = new Schema()
      .addEmbedding("v", { dim: 4, algorithm: "dreamdb.imi-cosine", required: false })
      .addScalarInt("n");
    const ds = await Dataset.create("d", schema, memoryStore());
    await ds.appendMany(Array.from({ length: 50 }, (_, n) => (n < 4 ? { n, v: [1, n, 2, 3] } : { n })));
    expect(await refusal(() => ds.rebuildIvf({ field: "v", k: 25 }))).toMatchObject({
      code: "InvalidArgument",
      field: "k",
    });
    expect(await ds.rebuildIvf({ field: "v", k: 16 })).toMatchObject({ cells: 16, rows: 4 });
  });

  test("a trained index to begin with", async () => {
    const { ds, store } = await make();
    await ds.rebuildIvf({ field: "v", k: 9 });
    const { address, spatialIndex } = await trackOf(ds, store);
    for (const start of [address, spatialIndex]) {
      const schema = new Schema().addEmbedding("v", {
        dim: 11,
        algorithm: "dreamdb.imi-cosine",
        spatialIndex: start,
      });
      expect(await refusal(() => Dataset.create("e", schema, store))).toMatchObject({
        code: "UnsupportedVersion",
        field: "v.spatialIndex",
      });
    }
  });
});

test("a lost or changed codebook is found", async () => {
  const { ds, store } = await make();
  await ds.rebuildIvf({ field: "v", k: 9 });
  const { centroids } = (await trackOf(ds, store)).spatialIndex as ImiIndex;
  for (const [i, { address }] of centroids.entries()) {
    const key = objectKey(address);
    const bytes = await objectAt(store, address);
    await store.delete(key);
    expect((await fsck(store)).problems).toEqual([expect.objectContaining({ code: "NotFound", key })]);
    const cold = await Dataset.open("d", store);
    const query = new Float32Array(11).fill(1);
    expect(await refusal(() => cold.iterVector({ field: "v", query }))).toMatchObject({ code: "NotFound" });
    await store.put(key, bytes);
    expect((await nearest(cold, query)).length).toBe(10);
    expect(i).toBeLessThan(2);
  }
  expect((await fsck(store)).problems).toEqual([]);
});
