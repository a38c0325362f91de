import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { addressOf, addressToCbor } from "../../src/core/address.ts";
import { toHex } from "../../src/core/blake3.ts";
import { decodeCbor, encodeCbor, Tagged } from "../../src/core/cbor.ts";
import { decodeGenesis, encodeGenesis } from "../../src/objects/genesis.ts";
import {
  codingOf,
  decodeManifest,
  encodeManifest,
  type Track,
  type TrackCompressor,
} from "../../src/objects/manifest.ts";
import { decodeRef, encodeRef } from "../../src/objects/ref.ts";
import {
  type CentroidsRef,
  cellCount,
  decodeSpatialIndex,
  defaultLshIndex,
  encodeSpatialIndex,
  type SpatialIndex,
  type TrainedIndex,
} from "../../src/objects/spatial-index.ts";
import { decodeTombstones, encodeTombstones } from "../../src/objects/tombstones.ts";
import {
  codeRowBytes,
  decodeVectorCompressor,
  defaultRabitq,
  encodeVectorCompressor,
  type VectorCompressor,
} from "../../src/objects/vector-compressor.ts";
import { genesis, manifest, ref, spatialIndex, tombstones, vectorCompressor } from "./arbitrary.ts";
import { everyDamage, outcome } from "./damage.ts";

interface Kind {
  any: fc.Arbitrary<unknown>;
  encode(value: unknown): Uint8Array;
  decode(bytes: Uint8Array): unknown;
}

function kind<T>(
  any: fc.Arbitrary<T>,
  encode: (value: T) => Uint8Array,
  decode: (bytes: Uint8Array) => T,
): Kind {
  return { any, encode: encode as (value: unknown) => Uint8Array, decode };
}

const kinds: Record<string, Kind> = {
  genesis: kind(genesis, encodeGenesis, decodeGenesis),
  "spatial-index": kind(spatialIndex, encodeSpatialIndex, decodeSpatialIndex),
  ref: kind(ref, encodeRef, decodeRef),
  tombstones: kind(tombstones, encodeTombstones, decodeTombstones),
  "vector-compressor": kind(vectorCompressor, encodeVectorCompressor, decodeVectorCompressor),
  manifest: kind(manifest, encodeManifest, decodeManifest),
};
const coded = (code: string): object => expect.objectContaining({ name: "DreamDBError", code });
/** One small example of each kind, always the same. */
const example = (name: string): Uint8Array => {
  const { any, encode } = kinds[name] as Kind;
  return fc
    .sample(any, { numRuns: 40, seed: 7 })
    .map(encode)
    .filter((bytes) => bytes.length > 60)
    .sort((a, b) => a.length - b.length)[0] as Uint8Array;
};
/** The stored map with one key set to another value, or taken away. */
const withKey = (bytes: Uint8Array, key: string, value?: unknown): Uint8Array => {
  const map = decodeCbor(bytes) as Map<string, unknown>;
  if (value === undefined) map.delete(key);
  else map.set(key, value);
  return encodeCbor(map);
};

describe.each(Object.keys(kinds))("%s", (name) => {
  const { any, encode, decode } = kinds[name] as Kind;

  test("round trips, in one encoding", () => {
    fc.assert(
      fc.property(any, (value) => {
        const bytes = encode(value);
        const decoded = decode(bytes);
        expect(decoded).toEqual(value);
        expect(toHex(encode(decoded))).toBe(toHex(bytes));
        expect(toHex(encodeCbor(decodeCbor(bytes)))).toBe(toHex(bytes));
      }),
      { numRuns: name === "manifest" ? 150 : 300 },
    );
  });

  test("says what it is", () => {
    const map = decodeCbor(example(name)) as Map<string, unknown>;
    expect([map.get("kind"), map.get("version")]).toEqual([`dreamdb.${name}`, 1]);
  });

  test("is refused as any other kind", () => {
    for (const other of Object.keys(kinds)) {
      if (other !== name) expect(() => decode(example(other))).toThrow(coded("Corrupt"));
    }
    expect(() => decode(withKey(example(name), "kind", 1))).toThrow(coded("Corrupt"));
  });

  test("of a newer version, or of none, is refused before anything else is looked at", () => {
    expect(() => decode(withKey(example(name), "version", 2))).toThrow(coded("UnsupportedVersion"));
    expect(() => decode(encodeCbor({ kind: `dreamdb.${name}`, version: 2 ** 40 }))).toThrow(
      coded("UnsupportedVersion"),
    );
    for (const version of [0, -1, 1.5, -0, "1", undefined]) {
      expect(() => decode(withKey(example(name), "version", version))).toThrow(coded("Corrupt"));
    }
  });

  test("needs every key, of its own type", () => {
    for (const key of (decodeCbor(example(name)) as Map<string, unknown>).keys()) {
      if (key === "inline") continue;
      expect(outcome(() => decode(withKey(example(name), key)), key)).toEqual({ code: "Corrupt" });
      for (const wrong of [
        null,
        true,
        -1,
        0.5,
        -0,
        "x",
        new Uint8Array(3),
        [[]],
        new Map([[1, 1]]),
        new Tagged(0, 65522),
        2n ** 64n - 1n,
      ]) {
        const found = outcome(() => decode(withKey(example(name), key, wrong)), key);
        if ("value" in found)
          expect(toHex(encode(found.value))).toBe(toHex(withKey(example(name), key, wrong)));
      }
    }
  });

  test("ignores keys of later writers", () => {
    const plain = example(name);
    expect(decode(withKey(plain, "zz", [1, 2]))).toEqual(decode(plain));
  });

  test("is refused when it is no deterministic CBOR, or no map", () => {
    for (const wrong of ["", "bf", "80", "00", "a1616b01ff", "f6"]) {
      expect(() => decode(Uint8Array.from(Buffer.from(wrong, "hex")))).toThrow(coded("Corrupt"));
    }
    expect(() => decode(Uint8Array.of(...example(name), 0))).toThrow(coded("Corrupt"));
    expect(() => decode(new Uint8Array((16 << 20) + 1))).toThrow(coded("LimitExceeded"));
  });

  test("damaged in any bit or cut anywhere is refused by code, or says something else", () => {
    const bytes = example(name);
    const original = toHex(encode(decode(bytes)));
    const codes = new Set<string>();
    let kept = 0;
    everyDamage(bytes, (damaged, what) => {
      const found = outcome(() => decode(damaged), what);
      if ("code" in found) {
        codes.add(found.code);
        return;
      }
      kept++;
      // A known key that turned into an unknown one is the one thing that may pass unseen.
      const again = toHex(encode(found.value));
      if (again === original && name !== "ref") throw new Error(`${what} changed nothing`);
    });
    expect(kept).toBeGreaterThan(0);
    for (const code of codes) {
      expect(["Corrupt", "UnsupportedVersion", "LimitExceeded", "InvalidAddress"]).toContain(code);
    }
  });
});

describe("constraints", () => {
  const plain = example("manifest");
  const sample = fc.sample(manifest, { numRuns: 200, seed: 11 });
  const withVector = sample.find(({ tracks, fields }) => tracks.size > 0 && fields.length > 1);

  test("of a Manifest", () => {
    const one = withVector as (typeof sample)[number];
    const encoded = encodeManifest(one);
    const refused: [string, () => Uint8Array][] = [
      ["rows", () => withKey(plain, "rows", 2 ** 50)],
      ["a lane beyond 4095", () => withKey(plain, "lane", 4096)],
      ["a repeated parent", () => encodeManifest({ ...one, seq: 1, parents: [one.genesis, one.genesis] })],
      ["seq 0 with a parent", () => encodeManifest({ ...one, seq: 0, parents: [one.genesis] })],
      ["seq 1 without", () => encodeManifest({ ...one, seq: 1, parents: [] })],
      ["no Track", () => encodeManifest({ ...one, tracks: new Map() })],
      [
        "a Track too many",
        () => encodeManifest({ ...one, fields: one.fields.filter(({ kind }) => kind !== "embedding") }),
      ],
      [
        "a repeated id",
        () => encodeManifest({ ...one, fields: one.fields.map((field) => ({ ...field, id: 0 })) }),
      ],
      [
        "a repeated name",
        () => encodeManifest({ ...one, fields: one.fields.map((field) => ({ ...field, name: "a" })) }),
      ],
      ["nextId too low", () => encodeManifest({ ...one, nextFieldId: one.fields.length - 1 })],
      [
        "a name like __proto__",
        () =>
          encodeManifest({
            ...one,
            fields: one.fields.map((field) => ({ ...field, name: `__${field.name}` })),
          }),
      ],
      ["text for a Track's id", () => withKey(encoded, "tracks", new Map([["1", new Map()]]))],
    ];
    for (const [what, make] of refused)
      expect([what, outcome(() => decodeManifest(make()), what)]).toEqual([what, { code: "Corrupt" }]);
  });

  test("of a Manifest's inline spatial index", () => {
    const one = withVector as (typeof sample)[number];
    const tracks = new Map([...one.tracks].map(([id, track]) => [id, { ...track, address: one.genesis }]));
    expect(() => decodeManifest(encodeManifest({ ...one, tracks }))).toThrow(coded("Corrupt"));
  });

  test.each([
    ["image.jpeg;q=5", "UnsupportedVersion"],
    ["image.jpeg.x", "Corrupt"],
    ["com.example.lidar", "UnsupportedVersion"],
    ["scalar.decimal", "UnsupportedVersion"],
    ["text.plain", "UnsupportedVersion"],
    ["scalar.int;bits=9", "UnsupportedVersion"],
    ["nonsense", "Corrupt"],
    ["", "Corrupt"],
    ["vector.f32;dim=0", "Corrupt"],
    ["vector.f32;dim=0x10", "Corrupt"],
    ["vector.f32;dim=65537", "Corrupt"],
    ["vector.f32", "Corrupt"],
  ])("a field of modality %j is %s", (modality, code) => {
    const field = {
      id: 0,
      name: "a",
      modality,
      required: true,
      algorithm: "dreamdb.ivf-cosine",
      rerank: true,
    };
    const bytes = withKey(plain, "schema", { fields: [field], nextId: 1 });
    expect(() => decodeManifest(bytes)).toThrow(coded(code));
  });

  test.each<[unknown, string | undefined]>([
    [true, undefined],
    [false, "Corrupt"],
    [1, "Corrupt"],
    [null, "Corrupt"],
  ])("a scalar field with %j for index is %s", (index, code) => {
    const field = { id: 0, name: "a", modality: "scalar.int", required: true, index };
    const decode = () => decodeManifest(withKey(plain, "schema", { fields: [field], nextId: 1 })).fields;
    if (code === undefined)
      expect(decode()).toEqual([{ id: 0, name: "a", kind: "int", required: true, index }]);
    else expect(decode).toThrow(coded(code));
  });

  test("of a spatial index", () => {
    const lsh = encodeSpatialIndex(defaultLshIndex(4, 3));
    const refused: [string, unknown, string][] = [
      ["dim", 0, "Corrupt"],
      ["dim", 65537, "Corrupt"],
      ["bits", 0, "Corrupt"],
      ["bits", 25, "Corrupt"],
      ["seed", new Uint8Array(31), "Corrupt"],
      ["tables", 0, "Corrupt"],
      ["tables", 17, "Corrupt"],
      ["algorithm", "dreamdb.hnsw", "UnsupportedVersion"],
    ];
    for (const [key, value, code] of refused)
      expect(() => decodeSpatialIndex(withKey(lsh, key, value))).toThrow(coded(code));
  });

  test("of a trained spatial index", () => {
    const address = addressOf(Uint8Array.of(1));
    const training = { seed: new Uint8Array(32), sample: 10, iterations: 2, parents: [] };
    const shape = { ...training, dim: 5, cells: 6 };
    const centroids = { address, bytes: 64 + 4 * 6 * 5 };
    const ivf: SpatialIndex = { ...shape, algorithm: "dreamdb.ivf-l2", exponent: -3, centroids };
    const cosine: SpatialIndex = { ...ivf, algorithm: "dreamdb.ivf-cosine", exponent: 0 };
    const halves: [CentroidsRef, CentroidsRef] = [
      { address, bytes: 64 + 4 * 2 * 3 },
      { address, bytes: 64 + 4 * 3 * 2 },
    ];
    const imi: SpatialIndex = { ...shape, algorithm: "dreamdb.imi-cosine", centroids: halves };
    const stored = (bytes: number): unknown[] => [addressToCbor(address), bytes];
    const refused: [SpatialIndex, string, unknown][] = [
      [ivf, "cells", 5],
      [ivf, "cells", 0],
      [ivf, "dim", 6],
      [ivf, "centroids", stored(63)],
      [ivf, "centroids", stored(64 + 4 * 6 * 5 + 4)],
      [ivf, "centroids", [stored(64 + 4 * 6 * 5), stored(64 + 4 * 6 * 5)]],
      [ivf, "centroids", undefined],
      [ivf, "exponent", 150],
      [ivf, "exponent", -127],
      [ivf, "exponent", 0.5],
      [ivf, "exponent", undefined],
      [ivf, "seed", new Uint8Array(31)],
      [ivf, "sample", undefined],
      [ivf, "iterations", -1],
      [cosine, "exponent", 1],
      [imi, "cells", 5],
      [imi, "dim", 6],
      [imi, "dim", 1],
      [imi, "centroids", undefined],
      [{ algorithm: "dreamdb.imi-cosine", dim: 2, cells: 1, parents: [] }, "dim", 1],
      [{ algorithm: "dreamdb.imi-cosine", dim: 2, cells: 1, parents: [] }, "cells", 2],
      [imi, "centroids", stored(64 + 4 * 6 * 5)],
      [imi, "centroids", [stored(64 + 4 * 2 * 3), stored(64)]],
      [imi, "centroids", [stored(64 + 4 * 2 * 3), stored(64 + 4 * 3 * 2), stored(64 + 4)]],
    ];
    for (const [index, key, value] of refused) {
      const bytes = withKey(encodeSpatialIndex(index), key, value);
      expect([key, value, outcome(() => decodeSpatialIndex(bytes), key)]).toEqual([
        key,
        value,
        { code: "Corrupt" },
      ]);
    }
    expect([ivf, imi, defaultLshIndex(4, 3)].map(cellCount)).toEqual([6, 6, 8]);
    expect(cellCount({ ...defaultLshIndex(4, 3), tables: 3 })).toBe(24);
  });

  test("of a vector compressor", () => {
    const rabitq = encodeVectorCompressor(defaultRabitq("dreamdb.rabitq-l2", 100, 4));
    const long = encodeVectorCompressor(defaultRabitq("dreamdb.rabitq-dot", 129, 1));
    const pq = encodeVectorCompressor({
      algorithm: "dreamdb.pq-cosine",
      dim: 10,
      subspaces: 4,
      bits: 4,
      codebooks: { address: addressOf(Uint8Array.of(1)), bytes: 64 + 4 * 16 * 10 },
      parents: [],
    });
    const widest = encodeVectorCompressor({
      algorithm: "dreamdb.pq-l2",
      dim: 2000,
      subspaces: 1024,
      bits: 8,
      codebooks: { address: addressOf(Uint8Array.of(1)), bytes: 64 + 4 * 256 * 2000 },
      parents: [],
    });
    const refused: [Uint8Array, string, unknown, string][] = [
      [rabitq, "bits", 0, "Corrupt"],
      [rabitq, "bits", 9, "Corrupt"],
      [rabitq, "padded", 100, "Corrupt"],
      [rabitq, "padded", 128, "Corrupt"],
      [rabitq, "dim", 128, "Corrupt"],
      [rabitq, "dim", 0, "Corrupt"],
      [rabitq, "rotation", "hadamard", "Corrupt"],
      [rabitq, "rotation", "none", "UnsupportedVersion"],
      [rabitq, "seed", new Uint8Array(33), "Corrupt"],
      [rabitq, "algorithm", "dreamdb.qinco-cosine", "UnsupportedVersion"],
      [rabitq, "algorithm", "dreamdb.pq-l2", "Corrupt"],
      [long, "rotation", "dense", "Corrupt"],
      [long, "padded", 129, "Corrupt"],
      [pq, "bits", 5, "Corrupt"],
      [pq, "bits", 8, "Corrupt"],
      [pq, "subspaces", 0, "Corrupt"],
      [pq, "subspaces", 11, "Corrupt"],
      [widest, "subspaces", 1025, "Corrupt"],
    ];
    for (const [bytes, key, value, code] of refused) {
      const decode = (): unknown => decodeVectorCompressor(withKey(bytes, key, value));
      expect([key, value, outcome(decode, key)]).toEqual([key, value, { code }]);
    }
    const rowBytes = [rabitq, long, pq, widest].map((bytes) => codeRowBytes(decodeVectorCompressor(bytes)));
    expect(rowBytes).toEqual([(4 * 112) / 8 + 16, 192 / 8 + 8, 2, 1024 + 4]);
  });

  test("of a Track's compressor", () => {
    const withCodes = sample.find(({ tracks }) => [...tracks.values()].some(({ compressor }) => compressor));
    const one = withCodes as (typeof sample)[number];
    const id = [...one.tracks].find(([, { compressor }]) => compressor)?.[0] as number;
    const track = one.tracks.get(id) as Track & { compressor: TrackCompressor };
    const { object } = track.compressor;
    const { algorithm, dim, cells } = track.spatialIndex as TrainedIndex;
    const given = (object: VectorCompressor): TrackCompressor => ({
      address: addressOf(encodeVectorCompressor(object)),
      object,
    });
    const other = algorithm === "dreamdb.ivf-dot" ? "dreamdb.rabitq-l2" : "dreamdb.rabitq-dot";
    const exact: SpatialIndex = { algorithm, dim, cells: 1, parents: [] };
    const exactTrack = { address: addressOf(encodeSpatialIndex(exact)), spatialIndex: exact };
    const none = { pages: [], entries: [], rows: 0 };
    const entry = { base: 0n, span: 0n, rows: 1, container: { address: track.address, bytes: 300 } };
    const some = { pages: [], entries: [entry], rows: 1 };
    const refused: [string, Track][] = [
      ["another address", { ...track, compressor: { ...track.compressor, address: track.address } }],
      ["another dim", { ...track, compressor: given(defaultRabitq(object.algorithm as never, dim + 1, 4)) }],
      ["another metric", { ...track, compressor: given(defaultRabitq(other, dim, 4)) }],
      ["codes without centroids", { ...track, ...exactTrack, segments: none }],
      ["segments without centroids", { ...exactTrack, segments: some }],
      [
        "a lineage without centroids",
        { ...exactTrack, segments: none, lineage: { address: track.address, bytes: 9 } },
      ],
      ["a lineage of no length", { ...track, lineage: { address: track.address, bytes: 0 } }],
    ];
    const encoded = (changed: Track): Uint8Array =>
      encodeManifest({ ...one, tracks: new Map([...one.tracks, [id, changed]]) });
    expect(decodeManifest(encoded({ ...exactTrack, segments: none })).tracks.size).toBe(one.tracks.size);
    for (const [what, changed] of refused)
      expect([what, outcome(() => decodeManifest(encoded(changed)), what)]).toEqual([
        what,
        { code: "Corrupt" },
      ]);
    for (const key of ["compressor", "compressorInline"]) {
      const manifest = decodeCbor(encoded(track)) as Map<string, Map<number, Map<string, unknown>>>;
      manifest.get("tracks")?.get(id)?.delete(key);
      expect(() => decodeManifest(encodeCbor(manifest))).toThrow(coded("Corrupt"));
    }
    const { lineage: _, ...own } = track;
    expect(codingOf({ ...own, lineage: { address: track.address, bytes: 9 } })).toMatchObject({
      hasEarlier: true,
    });
    expect(codingOf(own)).toEqual({
      spatialIndex: track.address,
      dim,
      cells,
      tables: 1,
      compressor: { address: track.compressor.address, rowBytes: codeRowBytes(object) },
    });
  });

  test.each([
    ["dreamdb.lsh-cosine", "none", "Corrupt"],
    ["dreamdb.ivf-dot", "rabitq", "Corrupt"],
    ["dreamdb.ivf-dot", { algorithm: "dreamdb.rabitq-l2", bits: 4 }, "Corrupt"],
    ["dreamdb.ivf-dot", { algorithm: "dreamdb.rabitq-dot", bits: 9 }, "Corrupt"],
    ["dreamdb.ivf-dot", { algorithm: "dreamdb.rabitq-dot" }, "Corrupt"],
    ["dreamdb.ivf-dot", { algorithm: "dreamdb.pq-dot", bits: 4 }, "Corrupt"],
    ["dreamdb.ivf-dot", { algorithm: "dreamdb.pq-dot", bits: 5, subspaces: 2 }, "Corrupt"],
    ["dreamdb.ivf-dot", { algorithm: "dreamdb.pq-dot", bits: 8, subspaces: 5 }, "Corrupt"],
    ["dreamdb.ivf-dot", { algorithm: "dreamdb.qinco-dot" }, "UnsupportedVersion"],
    ["dreamdb.graph-cosine", undefined, "UnsupportedVersion"],
  ])("a field of %s with compressor %j is %s", (algorithm, compressor, code) => {
    const field = { id: 0, name: "a", modality: "vector.f32;dim=4", required: true, rerank: true, bits: 3 };
    const stored = { ...field, algorithm, ...(compressor === undefined ? {} : { compressor }) };
    const bytes = withKey(plain, "schema", { fields: [stored], nextId: 1 });
    expect(() => decodeManifest(bytes)).toThrow(coded(code));
  });

  test("of a ref and of tombstones", () => {
    expect(() => decodeRef(withKey(example("ref"), "type", "head"))).toThrow(coded("Corrupt"));
    for (const anchors of [
      [1, 1],
      [2, 1],
      [2n ** 64n - 1n, 5],
    ]) {
      expect(() => decodeTombstones(withKey(example("tombstones"), "anchors", anchors))).toThrow(
        coded("Corrupt"),
      );
    }
  });
});
