// What a schema may say of a vector field, and what becomes of it in a Manifest.
import { describe, expect, test } from "@jest/globals";
import { addressOf, objectKey } from "../../src/core/address.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { type CompressorOption, type EmbeddingAlgorithm, Schema } from "../../src/dataset/schema.ts";
import { compressorOf, type EmbeddingField } from "../../src/objects/field.ts";
import { decodeManifest } from "../../src/objects/manifest.ts";
import { defaultLshIndex, encodeSpatialIndex } from "../../src/objects/spatial-index.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { refusal } from "./stores.ts";

const lsh = { dim: 4, algorithm: "dreamdb.lsh-cosine", lshBits: 3 } as const;

describe("the codes of a built index", () => {
  const fieldOf = (algorithm: EmbeddingAlgorithm, compressor?: CompressorOption | "none"): EmbeddingField =>
    new Schema().addEmbedding("v", { dim: 8, algorithm, compressor }).fields[0] as EmbeddingField;

  test.each([
    ["dreamdb.ivf-cosine", undefined, { algorithm: "dreamdb.rabitq-cosine", bits: 4 }],
    ["dreamdb.ivf-l2", undefined, { algorithm: "dreamdb.rabitq-l2", bits: 4 }],
    ["dreamdb.ivf-dot", "none", undefined],
    ["dreamdb.ivf-dot", { algorithm: "rabitq" }, { algorithm: "dreamdb.rabitq-dot", bits: 4 }],
    [
      "dreamdb.ivf-dot",
      { algorithm: "dreamdb.rabitq-dot", bits: 1 },
      { algorithm: "dreamdb.rabitq-dot", bits: 1 },
    ],
    [
      "dreamdb.ivf-l2",
      { algorithm: "pq", subspaces: 2 },
      { algorithm: "dreamdb.pq-l2", subspaces: 2, bits: 8 },
    ],
    ["dreamdb.lsh-cosine", undefined, undefined],
    ["dreamdb.lsh-cosine", "none", undefined],
  ] as const)("of %s with %j", (algorithm, option, codes) => {
    expect(compressorOf(fieldOf(algorithm, option))).toEqual(codes);
  });

  test("are stored as they were asked for, and not when they were not", async () => {
    const schema = new Schema()
      .addEmbedding("a", { dim: 8 })
      .addEmbedding("b", { dim: 8, compressor: "none" })
      .addEmbedding("c", { dim: 8, compressor: { algorithm: "rabitq", bits: 7 } })
      .addEmbedding("d", {
        dim: 8,
        algorithm: "dreamdb.ivf-dot",
        compressor: { algorithm: "pq", subspaces: 3 },
      });
    const store = memoryStore();
    const ds = await Dataset.create("x", schema, store);
    const stored = await store.get(objectKey(ds.currentManifest()));
    expect(decodeManifest(stored?.bytes as Uint8Array).fields).toEqual(schema.fields);
    expect("compressor" in (schema.fields[0] as EmbeddingField)).toBe(false);
  });
});

describe("the index a field begins with", () => {
  const index = { ...defaultLshIndex(4, 3), seed: new Uint8Array(32).fill(7) };
  const address = addressOf(encodeSpatialIndex(index));
  const startOf = async (start: string | typeof index, store = memoryStore()): Promise<unknown> => {
    const schema = new Schema().addEmbedding("v", { ...lsh, spatialIndex: start }).addScalarInt("n");
    const ds = await Dataset.create("x", schema, store);
    const stored = await store.get(objectKey(ds.currentManifest()));
    return decodeManifest(stored?.bytes as Uint8Array).tracks.get(0)?.address;
  };

  test("is the given object, or the one at the given address", async () => {
    expect(await startOf(index)).toBe(address);
    const store = memoryStore();
    await store.put(objectKey(address), encodeSpatialIndex(index));
    expect(await startOf(address, store)).toBe(address);
  });

  test("at an address is refused when it is not there, or is for other vectors", async () => {
    expect(await refusal(() => startOf(address))).toMatchObject({ code: "NotFound" });
    const other = encodeSpatialIndex(defaultLshIndex(5, 3));
    const store = memoryStore();
    await store.put(objectKey(addressOf(other)), other);
    expect(await refusal(() => startOf(addressOf(other), store))).toMatchObject({
      code: "SchemaViolation",
      field: "v.spatialIndex.dim",
      found: 5,
      expected: 4,
    });
  });

  test("belongs to its own field, whatever fields follow", () => {
    const schema = new Schema().addScalarInt("n").addEmbedding("v", { ...lsh, spatialIndex: index });
    const more = schema.addImage("i").addEmbedding("w", lsh);
    expect([...more.spatialIndexes.keys()]).toEqual([1]);
    expect([...new Schema().spatialIndexes.keys()]).toEqual([]);
  });
});

test("a vector of length zero has no cosine, but a dot product and a distance", async () => {
  for (const algorithm of ["dreamdb.ivf-cosine", "dreamdb.ivf-dot", "dreamdb.ivf-l2"] as const) {
    const ds = await Dataset.create(
      "x",
      new Schema().addEmbedding("v", { dim: 2, algorithm }),
      memoryStore(),
    );
    const append = () => ds.appendMany([{ v: [1, 0] }, { v: [0, -0] }]);
    if (algorithm === "dreamdb.ivf-cosine")
      expect(await refusal(append)).toMatchObject({ code: "SchemaViolation" });
    else {
      const { anchors } = await append();
      expect((await ds.get(anchors[1] as bigint))?.v).toEqual(Float32Array.of(0, -0));
    }
    expect(await refusal(() => ds.appendMany([{ v: [1, Number.NaN] }]))).toMatchObject({
      code: "SchemaViolation",
    });
  }
});
