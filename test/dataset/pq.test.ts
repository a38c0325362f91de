/** PQ codes in cells: how they are asked for, made, searched and checked. test/dataset/ivf.test.ts has what all codes share. */
import { describe, expect, test } from "@jest/globals";
import { objectKey } from "../../src/core/address.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import type { CompressorOption } from "../../src/dataset/schema.ts";
import { decodeManifest } from "../../src/objects/manifest.ts";
import type { PqCompressor } from "../../src/objects/vector-compressor.ts";
import type { Store } from "../../src/store/store.ts";
import { randomVector, seeded } from "./records.ts";
import { append, nearest, vectorSets } from "./vector-set.ts";

const PQ: CompressorOption = { algorithm: "pq", subspaces: 6 };
const ALL = { nprobe: 1 << 20 };

const { make, exactly } = vectorSets({ options: { compressor: PQ } });

/** The compressor of the dataset's only Track. */
async function compressorOf(ds: Dataset, store: Store): Promise<PqCompressor> {
  const { bytes } = (await store.get(objectKey(ds.currentManifest()))) as { bytes: Uint8Array };
  const [track] = decodeManifest(bytes).tracks.values();
  return track?.compressor?.object as PqCompressor;
}

describe.each([
  ["dreamdb.ivf-cosine", 8],
  ["dreamdb.ivf-dot", 4],
  ["dreamdb.ivf-l2", 8],
  ["dreamdb.ivf-l2", 4],
  ["dreamdb.imi-cosine", 8],
] as const)("%s with codes of %i bits a part", (algorithm, bits) => {
  const options = { algorithm, compressor: { ...PQ, bits } as CompressorOption };

  test("gives the same bytes from both builds of the compute core", async () => {
    const stored = async (kernels: "simd" | "scalar", seed: number) => {
      const { ds } = await make({ options, dataset: { kernels } });
      return (await ds.rebuildIvf({ field: "v", k: 9, seed, iterations: 3 })).manifest;
    };
    const simd = await stored("simd", 3);
    expect(await stored("scalar", 3)).toBe(simd);
    expect(await stored("simd", 3)).toBe(simd);
    expect(await stored("simd", 4)).not.toBe(simd);
  });

  test("finds rows of later appends, cold and warm, one by one and at once", async () => {
    const { ds, store, vectors, random } = await make({ options });
    await ds.rebuildIvf({ field: "v", k: 9, iterations: 3 });
    for (let i = 0; i < 6; i++) {
      const fresh = Array.from({ length: 20 }, () => randomVector(random, 20));
      await append(ds, fresh, vectors.length);
      vectors.push(...fresh);
    }
    expect((await ds.health()).tracks[0]).toMatchObject({
      compressor: algorithm.replace(/ivf|imi/, "pq"),
      unindexedRows: 0,
      staleCodes: false,
    });
    const exact = await exactly(vectors, options);
    const cold = await Dataset.open("d", store, { cacheBytes: 0, residentBytes: 20_000 });
    const warm = await Dataset.open("d", store);
    await warm.prewarm();
    const queries = [...Array.from({ length: 6 }, () => randomVector(random, 20)), ...vectors.slice(-3)];
    const wide = { ...ALL, rerankFactor: 60 };
    const many = await warm.queryMany({ field: "v", queries, fields: [], topK: 10, ...wide });
    for (const [i, query] of queries.entries()) {
      const truth = await nearest(exact, query);
      for (const each of [ds, cold, warm]) expect(await nearest(each, query, wide)).toEqual(truth);
      expect(many[i]?._time_anchors.map((anchor, j) => [anchor, many[i]?._distances[j]])).toEqual(truth);
      // Whatever is in memory, the same rows are estimated to be the best.
      const few = await nearest(cold, query, { nprobe: 3 });
      expect(await nearest(warm, query, { nprobe: 3 })).toEqual(few);
    }
    expect((await fsck(store)).problems).toEqual([]);
  });

  test("keeps filters: what matches is found, and nothing else", async () => {
    const { ds, vectors, random } = await make({ rows: 900, dim: 12, options });
    const exact = await exactly(vectors, options);
    await ds.rebuildIvf({ field: "v", k: 16, iterations: 3 });
    for (const where of [
      { n: { lt: 450 } },
      { n: { gte: 30, lt: 260 } },
      { n: { in: [5, 700] } },
      { n: -1 },
    ]) {
      const query = randomVector(random, 12);
      const truth = await nearest(exact, query, { where });
      expect(await nearest(ds, query, { where, ...ALL, rerankFactor: 100 })).toEqual(truth);
      expect(await nearest(ds, query, { where })).toHaveLength(truth.length);
    }
  });

  test("estimates distances to what the codes stand for", async () => {
    const { ds, vectors } = await make({
      rows: 1200,
      options: { ...options, compressor: { ...PQ, subspaces: 20, bits } },
    });
    await ds.rebuildIvf({ field: "v", k: 4 });
    const exact = await exactly(vectors, options);
    const query = randomVector(seeded(5), 20);
    const [batch] = await ds.iterVector({ field: "v", query, topK: 1200, rerankFactor: 0, ...ALL });
    expect(batch?._estimated).toBe(true);
    const truth = new Map((await nearest(exact, query, { topK: 1200 })) as [bigint, number][]);
    const told = await ds.iterVector({
      field: "v",
      query,
      topK: 1200,
      batchSize: 1200,
      rerankFactor: 0,
      ...ALL,
    });
    const { _time_anchors: anchors, _distances: distances } = told[0] as {
      _time_anchors: bigint[];
      _distances: number[];
    };
    const off = anchors.map((anchor, i) => (distances[i] as number) - (truth.get(anchor) as number));
    const spread = (values: number[]): number =>
      Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    const middle = [...truth.values()].reduce((sum, x) => sum + x, 0) / truth.size;
    expect(anchors).toHaveLength(1200);
    expect(distances).toEqual([...distances].sort((a, b) => a - b));
    expect(spread(off)).toBeLessThan(
      (bits === 8 ? 0.05 : 0.2) * spread([...truth.values()].map((x) => x - middle)),
    );
  });
});

test("l2 far from the origin is estimated as well as near it", async () => {
  const errors = [];
  for (const offset of [0, 20]) {
    const options = { algorithm: "dreamdb.ivf-l2" as const };
    const vector = (random: () => number, dim: number) => randomVector(random, dim).map((x) => x + offset);
    const { ds, vectors } = await make({ rows: 600, vector, options });
    await ds.rebuildIvf({ field: "v", k: 4 });
    const query = randomVector(seeded(5), 20).map((x) => x + offset);
    const [batch] = await ds.iterVector({ field: "v", query, topK: 20, rerankFactor: 0, ...ALL });
    const truth = new Map(
      (await nearest(await exactly(vectors, options), query, { topK: 600 })) as [bigint, number][],
    );
    const off = batch?._time_anchors.map(
      (anchor, i) => (batch._distances[i] as number) - (truth.get(anchor) as number),
    );
    errors.push(Math.max(...(off ?? []).map(Math.abs)));
  }
  expect(errors[1]).toBeLessThan(3 * (errors[0] as number));
});

test("explain tells what was scanned, and recallTarget widens what is scored exactly", async () => {
  const { ds, vectors } = await make({ rows: 2000, options: { compressor: { ...PQ, subspaces: 2 } } });
  await ds.rebuildIvf({ field: "v", k: 20, iterations: 3 });
  const query = vectors[7] as Float32Array;
  const plain = await ds.explain({ field: "v", query, ...ALL });
  expect(plain).toMatchObject({ strategy: "ivf", scanned: 2000, refined: 0, reranked: 100, rerank: 100 });
  const wanted = await ds.explain({ field: "v", query, recallTarget: 0.95 });
  expect(wanted.measured?.recall).toBeGreaterThanOrEqual(0.95);
  expect(wanted.rerank).toBeGreaterThan(100);
  const [one] = await ds.queryMany({ field: "v", queries: [query], fields: [], recallTarget: 0.95 });
  expect(one?._time_anchors).toEqual(
    (await nearest(ds, query, { recallTarget: 0.95 })).map(([anchor]) => anchor),
  );
});

describe("codebooks", () => {
  test("are stored once, and follow the caller's seed", async () => {
    const made = [];
    for (const seed of [0, 0, 5]) {
      const { ds, store } = await make({ options: { compressor: "none" } });
      await ds.rebuildIvf({ field: "v", k: 4 });
      await ds.publishCompressor({ field: "v", algorithm: "dreamdb.pq-cosine", subspaces: 5, seed });
      const compressor = await compressorOf(ds, store);
      expect(compressor).toMatchObject({
        algorithm: "dreamdb.pq-cosine",
        dim: 20,
        subspaces: 5,
        bits: 8,
        parents: [],
      });
      expect(await store.get(objectKey(compressor.codebooks.address))).toBeDefined();
      made.push(compressor.codebooks.address);
      expect(ds.schema.fields[0]).toMatchObject({
        compressor: { algorithm: "dreamdb.pq-cosine", subspaces: 5 },
      });
    }
    expect(made[1]).toBe(made[0]);
    expect(made[2]).not.toBe(made[0]);
  });

  test("are trained on fewer rows than they have codewords", async () => {
    for (const rows of [1, 3, 40]) {
      const { ds, store, vectors } = await make({ rows });
      await ds.rebuildIvf({ field: "v", k: 1 });
      const exact = await exactly(vectors);
      const query = randomVector(seeded(3), 20);
      expect(await nearest(ds, query)).toEqual(await nearest(exact, query));
      // Each row is a codeword of its own.
      const [[, estimate]] = (await nearest(ds, query, { topK: 1, rerankFactor: 0 })) as [[bigint, number]];
      expect(estimate).toBeCloseTo((await nearest(exact, query, { topK: 1 }))[0]?.[1] as number, 2);
      expect((await fsck(store)).ok).toBe(true);
    }
  });

  test("that are damaged or gone are found before any of them is used", async () => {
    const { ds, store } = await make();
    await ds.rebuildIvf({ field: "v", k: 4 });
    const key = objectKey((await compressorOf(ds, store)).codebooks.address);
    const { bytes } = (await store.get(key)) as { bytes: Uint8Array };
    const query = randomVector(seeded(3), 20);
    await store.put(
      key,
      bytes.map((byte, i) => (i === 100 ? byte ^ 1 : byte)),
    );
    const again = await Dataset.open("d", store);
    await expect(nearest(again, query)).rejects.toMatchObject({ code: "HashMismatch" });
    await expect(append(again, [query], 400)).rejects.toMatchObject({ code: "HashMismatch" });
    expect((await fsck(store)).problems).toMatchObject([{ code: "HashMismatch", key }]);
    await store.delete(key);
    expect((await fsck(store)).problems).toMatchObject([{ code: "NotFound", key }]);
  });
});

test("codes of one kind replace those of the other, and an index without cells gets one", async () => {
  const { ds, store, vectors } = await make({ options: { compressor: { algorithm: "rabitq", bits: 2 } } });
  const exact = await exactly(vectors);
  const query = randomVector(seeded(6), 20);
  const truth = await nearest(exact, query);
  expect(await ds.publishCompressor({ field: "v", algorithm: "pq", subspaces: 4, bits: 4 })).toMatchObject({
    cells: 1,
  });
  expect(await nearest(ds, query, { rerankFactor: 40 })).toEqual(truth);
  await ds.rebuildIvf({ field: "v", k: 5 });
  expect(await compressorOf(ds, store)).toMatchObject({ subspaces: 4, bits: 4 });
  await ds.publishCompressor({ field: "v" });
  expect(await compressorOf(ds, store)).toMatchObject({ algorithm: "dreamdb.rabitq-cosine", bits: 4 });
  expect(await nearest(ds, query, { ...ALL, epsilon: 100 })).toEqual(truth);
});

test.each([
  [{ algorithm: "pq" }, "subspaces"],
  [{ algorithm: "pq", subspaces: 0 }, "subspaces"],
  [{ algorithm: "pq", subspaces: 21 }, "subspaces"],
  [{ algorithm: "pq", subspaces: 4, bits: 6 }, "bits"],
  [{ algorithm: "pq", subspaces: 4, seed: -1 }, "seed"],
  [{ algorithm: "rabitq", subspaces: 4 }, "subspaces"],
  [{ algorithm: "rabitq", bits: 9 }, "bits"],
  [{ algorithm: "dreamdb.pq-l2", subspaces: 4 }, "algorithm"],
  [{ algorithm: "dreamdb.qinco-cosine" }, "algorithm"],
])("publishCompressor refuses %j", async (options, field) => {
  const { ds } = await make({ rows: 30 });
  await ds.rebuildIvf({ field: "v", k: 2 });
  const before = ds.currentManifest();
  await expect(ds.publishCompressor({ field: "v", ...options })).rejects.toMatchObject({
    code: "InvalidArgument",
    field,
  });
  expect(ds.currentManifest()).toBe(before);
});
