// Several hash tables of `lsh-cosine`: every row lies in a cell of each, and is found once.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { addressOf, objectKey } from "../../src/core/address.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import type { VectorQuery } from "../../src/dataset/query.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { loadKernels } from "../../src/kernels/load.ts";
import { type EmbeddingField, fieldToCbor } from "../../src/objects/field.ts";
import { codingOf, decodeManifest, encodeManifest, type Track } from "../../src/objects/manifest.ts";
import { decodeRef, encodeRef } from "../../src/objects/ref.ts";
import { decodeSegmentHead, encodeSegment } from "../../src/objects/segment.ts";
import { defaultLshIndex, type LshIndex } from "../../src/objects/spatial-index.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { randomVector, seeded, testClock } from "./records.ts";
import { refusal } from "./stores.ts";

interface Setup {
  dim?: number;
  bits?: number;
  tables?: number;
  rerank?: boolean;
  kernels?: "simd" | "scalar";
}

async function make(rows: number, appends: number, setup: Setup = {}) {
  const { dim = 8, bits = 4, tables = 4, rerank = true, kernels = "simd" } = setup;
  const store = memoryStore();
  const random = seeded(7);
  const schema = new Schema()
    .addEmbedding("v", {
      dim,
      algorithm: "dreamdb.lsh-cosine",
      lshBits: bits,
      lshTables: tables,
      rerank,
      required: false,
    })
    .addScalarInt("n");
  const ds = await Dataset.create("d", schema, store, {
    clock: testClock().read,
    random: (count) => Uint8Array.from({ length: count }, () => random() * 256),
    kernels,
  });
  const vectors = Array.from({ length: rows }, () => randomVector(random, dim));
  // Anchors are as dense as they get: more rows lie in a page's segments than it has ticks.
  for (let i = 0; i < appends; i++) {
    const from = Math.floor((i * rows) / appends);
    const to = Math.floor(((i + 1) * rows) / appends);
    await ds.appendMany(
      vectors.slice(from, to).map((v, j) => ({ v, n: from + j, _anchor: BigInt(from + j) })),
    );
  }
  return { ds, store, vectors, random };
}

async function nearest(ds: Dataset, query: Float32Array, more: Partial<VectorQuery> = {}) {
  const batches = await ds.iterVector({ field: "v", query, topK: 10, fields: [], ...more });
  return batches.flatMap((batch) => batch._time_anchors.map((anchor, i) => [anchor, batch._distances[i]]));
}

async function trackOf(ds: Dataset, store: Store): Promise<Track> {
  const { bytes } = (await store.get(objectKey(ds.currentManifest()))) as { bytes: Uint8Array };
  return decodeManifest(bytes).tracks.get(0) as Track;
}

/** Every row of every segment that the Manifest itself lists: its cell, by table and row number. */
async function cellsStored(track: Track, store: Store): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  const { bits } = track.spatialIndex as LshIndex;
  for (const { container, base, rows } of track.segments.entries) {
    const { bytes } = (await store.get(objectKey(container.address))) as { bytes: Uint8Array };
    const head = decodeSegmentHead(bytes, { totalBytes: bytes.length, ...codingOf(track) });
    expect(head.rows).toBe(rows);
    // A single row each, so that its number is its anchor.
    expect(rows).toBe(1);
    const cell = head.cells[0] as number;
    const key = `${cell >> bits}/${base}`;
    expect(found.has(key)).toBe(false);
    found.set(key, cell);
  }
  return found;
}

test("each row is in its own cell of every table, a segment has one table, and all of it is stored as said", async () => {
  const { ds, store, vectors } = await make(12, 12, { tables: 5 });
  const track = await trackOf(ds, store);
  const index = track.spatialIndex as LshIndex;
  expect(index).toEqual(defaultLshIndex(8, 4, 5));
  expect(index.seed).toEqual(defaultLshIndex(8, 4).seed);
  const found = await cellsStored(track, store);
  expect(found.size).toBe(60);
  const kernels = await loadKernels("scalar");
  for (let table = 0; table < 5; table++) {
    const planes = kernels.lshPlanes(index.seed, 8, 4, table);
    vectors.forEach((vector, row) => {
      const pattern = planes.margins(vector).reduce((sum, m, j) => sum + (m >= 0 ? 2 ** j : 0), 0);
      expect(found.get(`${table}/${row}`)).toBe(table * 16 + pattern);
    });
    planes.free();
  }
});

test("a schema keeps its tables, whoever opens the dataset, and the field is stored without them", async () => {
  const { ds, store } = await make(3, 1, { tables: 6 });
  const again = await Dataset.open("d", store);
  expect((again.schema.fields[0] as EmbeddingField).lshTables).toBe(6);
  expect(again.schema.fields).toEqual(ds.schema.fields);
  const copy = await Dataset.create("copy", again.schema, store);
  expect((await trackOf(copy, store)).address).toBe((await trackOf(ds, store)).address);
  expect(Object.keys(fieldToCbor(ds.schema.fields[0] as EmbeddingField) as object).sort()).toEqual(
    ["algorithm", "bits", "id", "modality", "name", "required", "rerank"].sort(),
  );
  const one = await make(3, 1, { tables: 1 });
  expect("lshTables" in (one.ds.schema.fields[0] as object)).toBe(false);
});

test("whatever the tables, a search finds what an exact search finds, each row once", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        dim: fc.integer({ min: 1, max: 20 }),
        bits: fc.integer({ min: 1, max: 5 }),
        tables: fc.integer({ min: 1, max: 16 }),
        rerank: fc.boolean(),
        kernels: fc.constantFrom("simd" as const, "scalar" as const),
      }),
      fc.integer({ min: 1, max: 150 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 200 }),
      async (setup, rows, appends, topK) => {
        const { ds, random } = await make(rows, Math.min(rows, appends), setup);
        const cells = 2 ** setup.bits;
        for (let i = 0; i < 3; i++) {
          const query = randomVector(random, setup.dim);
          const truth = await nearest(ds, query, { topK: rows, nprobe: cells });
          expect(truth).toHaveLength(rows);
          // As many as there are: every table has to be gone through until one of them has had all its rows.
          for (const nprobe of [1, cells])
            expect(await nearest(ds, query, { topK: rows + 5, nprobe })).toEqual(truth);
          const some = await nearest(ds, query, { topK, nprobe: 1 });
          expect(some).toHaveLength(Math.min(topK, rows));
          expect(new Set(some.map(([anchor]) => anchor)).size).toBe(some.length);
          const distances = new Map(truth as [bigint, number][]);
          expect(some.map(([anchor]) => distances.get(anchor as bigint))).toEqual(some.map(([, d]) => d));
          // All but the farthest cell of each table: what is nearest is in one of the others.
          if (setup.bits > 2 && setup.tables > 3 && setup.dim > 3)
            expect(await nearest(ds, query, { topK: Math.ceil(rows / 4), nprobe: cells - 1 })).toEqual(
              truth.slice(0, Math.ceil(rows / 4)),
            );
        }
        await ds.close();
      },
    ),
    { numRuns: 60 },
  );
});

test("more tables find more with as many cells", async () => {
  const recall: number[] = [];
  for (const tables of [1, 4, 16]) {
    // Without vectors in the cells: they are read by the block, and a block has many cells.
    const { ds, random } = await make(1500, 2, { tables, rerank: false, bits: 8, dim: 16 });
    let found = 0;
    for (let i = 0; i < 40; i++) {
      const query = randomVector(random, 16);
      const truth = new Set((await nearest(ds, query, { nprobe: 256 })).map(([anchor]) => anchor));
      for (const [anchor] of await nearest(ds, query, { nprobe: 32 / tables }))
        if (truth.has(anchor)) found++;
    }
    recall.push(found / 400);
  }
  expect(recall[1]).toBeGreaterThan(recall[0] as number);
  expect(recall[2]).toBeGreaterThan(recall[0] as number);
});

test("both builds of the compute core write the same bytes", async () => {
  const simd = await make(90, 3, { tables: 3, kernels: "simd" });
  const scalar = await make(90, 3, { tables: 3, kernels: "scalar" });
  expect(scalar.ds.currentManifest()).toBe(simd.ds.currentManifest());
});

test("an appended row is found by its own cells, after 200 appends of one as well", async () => {
  for (const rerank of [true, false]) {
    const { ds, store, vectors } = await make(200, 200, { tables: 8, bits: 6, rerank });
    const again = await Dataset.open("d", store);
    for (const i of [0, 63, 64, 130, 199]) {
      for (const each of [ds, again])
        expect((await nearest(each, vectors[i] as Float32Array, { topK: 1, nprobe: 1 }))[0]?.[0]).toBe(
          BigInt(i),
        );
    }
    expect((await fsck(store)).problems).toEqual([]);
    expect((await ds.health()).tracks[0]).toMatchObject({
      cells: 512,
      indexedRows: 200,
      unindexedRows: 0,
      segments: 1600,
      fragments: 1600,
    });
  }
});

test("explain tells of the cells of all tables", async () => {
  const { ds, vectors } = await make(300, 2, { tables: 4, bits: 5 });
  const query = vectors[0] as Float32Array;
  expect(await ds.explain({ field: "v", query, nprobe: 3 })).toMatchObject({
    strategy: "lsh",
    cells: 128,
    cellsProbed: 12,
    hits: 10,
  });
  // In all an eighth of what one table has.
  expect((await ds.explain({ field: "v", query, topK: 1 })).cellsProbed).toBe(4);
  expect(await ds.explain({ field: "v", query, nprobe: 32 })).toMatchObject({
    strategy: "exact",
    reranked: 300,
  });
});

describe("what is not right is found", () => {
  test("a segment with rows of two tables", async () => {
    const { ds, store } = await make(1, 1, { tables: 2 });
    const track = await trackOf(ds, store);
    const segment = (cells: number[]) => {
      const { bytes } = encodeSegment({
        spatialIndex: track.address,
        dim: 8,
        rows: 2,
        cells: Uint32Array.from(cells),
        firstRows: Uint32Array.of(0, 1),
        offsets: BigUint64Array.of(0n, 0n),
      });
      return decodeSegmentHead(bytes, { totalBytes: bytes.length, ...codingOf(track) });
    };
    expect(segment([0, 15]).rows).toBe(2);
    expect(segment([16, 31]).rows).toBe(2);
    expect(await refusal(() => segment([15, 16]))).toMatchObject({ code: "Corrupt", field: "segment.cells" });
    expect(await refusal(() => segment([16, 32]))).toMatchObject({ code: "Corrupt" });
  });

  test("a table that has no segment of some rows", async () => {
    const { ds, store } = await make(9, 3, { tables: 2 });
    const { bytes } = (await store.get(objectKey(ds.currentManifest()))) as { bytes: Uint8Array };
    const manifest = decodeManifest(bytes);
    const track = manifest.tracks.get(0) as Track;
    const { entries, rows } = track.segments;
    expect(entries).toHaveLength(6);
    const lost = { pages: [], entries: entries.slice(1), rows: rows - (entries[0]?.rows as number) };
    const changed = encodeManifest({ ...manifest, tracks: new Map([[0, { ...track, segments: lost }]]) });
    await store.put(objectKey(addressOf(changed)), changed);
    const ref = (await store.get("refs/d")) as { bytes: Uint8Array; etag: string };
    const body = { ...decodeRef(ref.bytes), manifest: addressOf(changed), inline: changed };
    await store.put("refs/other", encodeRef(body));
    expect((await fsck(store)).problems).toEqual([
      expect.objectContaining({ code: "Corrupt", message: expect.stringContaining("track.segments.rows") }),
    ]);
  });
});
