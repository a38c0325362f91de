// Of records that are deleted nothing goes into what an index is trained to.
import { expect, test } from "@jest/globals";
import { objectKey } from "../../src/core/address.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import type { EmbeddingOptions } from "../../src/dataset/schema.ts";
import { decodeManifest, type Track } from "../../src/objects/manifest.ts";
import { isTrained } from "../../src/objects/spatial-index.ts";
import type { Store } from "../../src/store/store.ts";
import { randomVector, seeded } from "./records.ts";
import { append, nearest, vectorSets } from "./vector-set.ts";

const DIM = 6;
const ROWS = 700;
const { make } = vectorSets({ dim: DIM, rows: 0 });

/** Those that stay; each fourth has some before it that are deleted, far from all. */
function parts() {
  const random = seeded(5);
  const staying = Array.from({ length: ROWS }, () => randomVector(random, DIM));
  const doomed = Array.from({ length: ROWS / 2 }, () => randomVector(random, DIM).map((x) => 50 * x + 90));
  return { staying, doomed };
}

async function withDeleted(options: Partial<EmbeddingOptions<true>>, isDeletedLate: boolean) {
  const { ds, store } = await make({ options });
  const { staying, doomed } = parts();
  const gone: bigint[] = [];
  for (let batch = 0; batch < 7; batch++) {
    const own = staying.slice(100 * batch, 100 * (batch + 1));
    const bad = doomed.slice(50 * batch, 50 * (batch + 1));
    const mixed = own.flatMap((vector, i) => (i % 2 === 0 ? [bad[i / 2] as Float32Array, vector] : [vector]));
    await append(ds, mixed, 150 * batch);
    for (let i = 0; i < 50; i++) gone.push(BigInt(150 * batch + 3 * i) * 1000n);
  }
  if (!isDeletedLate) await ds.delete(gone);
  return { ds, store, gone, staying };
}

async function plain(options: Partial<EmbeddingOptions<true>>) {
  const { ds, store } = await make({ options });
  await append(ds, parts().staying, 0);
  return { ds, store };
}

/** What training made of the vectors. */
async function trained(ds: Dataset, store: Store) {
  const found = await store.get(objectKey(ds.currentManifest() as `dyq${string}`));
  const { spatialIndex, compressor } = decodeManifest(found?.bytes as Uint8Array)
    .tracks.values()
    .next().value as Track;
  if (!isTrained(spatialIndex)) throw new Error("not trained");
  const { cells, sample, centroids, exponent } = spatialIndex as typeof spatialIndex & { exponent?: number };
  return { cells, sample, centroids, exponent, codes: compressor?.object };
}

test.each<Partial<EmbeddingOptions<true>>>([
  { algorithm: "dreamdb.ivf-l2" },
  { algorithm: "dreamdb.ivf-dot", compressor: { algorithm: "pq", subspaces: 2, bits: 4 } },
  { algorithm: "dreamdb.ivf-cosine", compressor: "none" },
  { algorithm: "dreamdb.imi-cosine" },
])("a build is trained on what is left: %j", async (options) => {
  const { ds, store } = await withDeleted(options, false);
  const other = await plain(options);
  for (const how of [{}, { k: 9, sample: 300 }, { k: 30, seed: 3 }]) {
    await ds.rebuildIvf({ field: "v", ...how });
    await other.ds.rebuildIvf({ field: "v", ...how });
    expect(await trained(ds, store)).toEqual(await trained(other.ds, other.store));
  }
});

test("several runs of vectors are counted through as one is, and all rows that are left are found", async () => {
  const { ds, store, staying } = await withDeleted({ algorithm: "dreamdb.ivf-l2" }, false);
  await ds.rebuildIvf({ field: "v", k: 8, sample: 333 });
  const once = await trained(ds, store);
  await ds.rebuildIvf({ field: "v", k: 8, sample: 333, memoryBytes: 4000 });
  expect(await trained(ds, store)).toEqual(once);
  const found = await nearest(ds, staying[7] as Float32Array, { topK: 2000, nprobe: 8, epsilon: 100 });
  expect(found).toHaveLength(ROWS);
});

test("with another set of deleted records it is another index", async () => {
  const { ds, store, gone } = await withDeleted({ algorithm: "dreamdb.ivf-l2" }, true);
  await ds.rebuildIvf({ field: "v", k: 8 });
  const all = await trained(ds, store);
  await ds.delete(gone);
  await ds.rebuildIvf({ field: "v", k: 8 });
  const left = await trained(ds, store);
  expect(left.centroids).not.toEqual(all.centroids);
});

test("more cells than records are left are refused, and a build of none", async () => {
  const { ds, store } = await withDeleted({ algorithm: "dreamdb.ivf-l2" }, false);
  const build = (k: number) => ds.rebuildIvf({ field: "v", k, iterations: 1 });
  await expect(build(ROWS + 1)).rejects.toMatchObject({ code: "InvalidArgument" });
  await build(ROWS);
  expect((await trained(ds, store)).sample).toBe(ROWS);
  await ds.delete({ where: { n: { gte: 0 } } });
  await expect(build(1)).rejects.toMatchObject({ code: "InvalidArgument" });
});
