/** The figures that tell how well an index fits its data, of `health` and of each append. */
import { expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { isStale } from "../../src/dataset/health.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { compressorOf, type EmbeddingField } from "../../src/objects/field.ts";
import type { Track } from "../../src/objects/manifest.ts";
import { memoryStore } from "../../src/store/memory.ts";

/** Vectors close to one of four axes. */
function records(axes: readonly number[]) {
  return axes.map((axis, i) => ({
    v: Float32Array.from({ length: 16 }, (_, j) => (j === axis ? 1 : 0.001 * ((i + j) % 7))),
  }));
}

const repeated = (axis: number, times: number): number[] => Array.from({ length: times }, () => axis);

test("cells: imbalance, density, fragmentation, rows outside, stale codes", async () => {
  const schema = new Schema().addEmbedding("v", { dim: 16 });
  const ds = await Dataset.create("d", schema, memoryStore());
  const axes = [...repeated(0, 10), ...repeated(1, 20), ...repeated(2, 30), ...repeated(3, 40)];
  const exact = await ds.appendMany(records(axes));
  expect(exact.signals.tracks.v).toMatchObject({ unindexedRows: 100, staleCodes: false, segments: 0 });
  expect((await ds.health()).tracks[0]).toMatchObject({ indexedRows: 0, unindexedRows: 100 });

  await ds.rebuildIvf({ field: "v", k: 4, seed: 5 });
  const built = (await ds.health()).tracks[0];
  expect(built).toMatchObject({
    cells: 4,
    indexedRows: 100,
    unindexedRows: 0,
    segments: 1,
    fragmentation: 1,
    staleCodes: false,
  });
  expect(built?.fragments).toBe(built?.usedCells);
  const mean = 100 / (built?.usedCells as number);
  expect(built?.imbalance).toBeCloseTo((built?.density.most as number) / mean, 12);
  const shares = Object.values(built?.density ?? {});
  expect(shares).toEqual([...shares].sort((a, b) => a - b));
  expect(shares).toHaveLength(5);

  const skewed = await ds.appendMany(records(repeated(3, 60)));
  const after = (await ds.health()).tracks[0];
  expect(skewed.signals.tracks.v).toMatchObject({
    cells: after?.fragments === undefined ? -1 : after.fragments - (built?.fragments as number),
    unindexedRows: 0,
    segments: 2,
    staleCodes: false,
  });
  expect(skewed.signals.tracks.v?.fragments).toBe(skewed.signals.tracks.v?.cells);
  expect(after?.imbalance).toBeGreaterThan(built?.imbalance as number);
  expect(after?.fragmentation).toBeGreaterThan(1);
  expect(after?.density.most).toBeGreaterThanOrEqual((built?.density.most as number) + 50);

  // The schema follows the compressor that is published.
  await ds.publishCompressor({ field: "v", bits: 8 });
  expect((await ds.health()).tracks[0]).toMatchObject({ staleCodes: false, indexedRows: 160 });
});

test.each([
  [4, 4, 10, false],
  [8, 4, 10, true],
  [undefined, 4, 10, true],
  [4, undefined, 10, true],
  [undefined, undefined, 10, false],
  [8, 4, 0, false],
])("of codes of %s bits, where the schema asks for %s, %i rows are stale: %s", (bits, asked, rows, stale) => {
  const compressor = asked === undefined ? "none" : { algorithm: "rabitq" as const, bits: asked };
  const fieldWith = (given: typeof compressor) =>
    new Schema().addEmbedding("v", { dim: 16, compressor: given }).fields[0] as EmbeddingField;
  const field = fieldWith(compressor);
  const track = {
    spatialIndex: { algorithm: "dreamdb.ivf-cosine" },
    segments: { rows },
    ...(bits === undefined
      ? {}
      : { compressor: { object: compressorOf(fieldWith({ algorithm: "rabitq", bits })) } }),
  } as unknown as Track;
  expect(isStale(field, track)).toBe(stale);
});

test("graphs and hyperplanes: rows that every search scans", async () => {
  const schema = new Schema()
    .addEmbedding("v", { dim: 16, algorithm: "dreamdb.vamana-cosine" })
    .addEmbedding("h", { dim: 16, algorithm: "dreamdb.lsh-cosine", lshBits: 3, lshTables: 2 });
  const ds = await Dataset.create("d", schema, memoryStore());
  const both = (axes: readonly number[]) => records(axes).map(({ v }) => ({ v, h: v }));
  await ds.appendMany(both(repeated(1, 50)));
  await ds.buildGraph({ field: "v" });
  const { signals } = await ds.appendMany(both([2, 3]));
  expect(signals).toMatchObject({
    rows: 52,
    tracks: { v: { unindexedRows: 2 }, h: { unindexedRows: 0, staleCodes: false } },
  });
  const health = await ds.health();
  expect(health).toMatchObject({
    rows: 52,
    tracks: [
      { field: "v", indexedRows: 50, unindexedRows: 2 },
      { field: "h", indexedRows: 52, unindexedRows: 0, cells: 16 },
    ],
  });
});
