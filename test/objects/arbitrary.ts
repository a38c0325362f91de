/** Arbitrary stored objects for the property tests of this directory. */
import fc from "fast-check";
import { type Address, addressOf, addressOfDigest } from "../../src/core/address.ts";
import { MAX_TICK } from "../../src/core/time.ts";
import type { ContainerRef } from "../../src/objects/container-ref.ts";
import type { EmbeddingField, FieldSpec } from "../../src/objects/field.ts";
import type { Genesis } from "../../src/objects/genesis.ts";
import {
  type BatchEntry,
  cover,
  type IndexRoot,
  type Interval,
  type PageRef,
  type SegmentEntry,
} from "../../src/objects/index-tree.ts";
import type { Manifest, Track } from "../../src/objects/manifest.ts";
import { metricOf } from "../../src/objects/metric.ts";
import type { RefBody } from "../../src/objects/ref.ts";
import {
  encodeSpatialIndex,
  type ImiIndex,
  type SpatialIndex,
  type TrainedIndex,
} from "../../src/objects/spatial-index.ts";
import type { TombstoneList } from "../../src/objects/tombstones.ts";
import {
  defaultRabitq,
  encodeVectorCompressor,
  type PqCompressor,
  type RabitqCompressor,
  type VectorCompressor,
} from "../../src/objects/vector-compressor.ts";

export const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
export const tick = fc.oneof(
  fc.bigInt({ min: 0n, max: MAX_TICK }),
  fc.constantFrom(0n, 2n ** 53n, 2n ** 63n, MAX_TICK),
);
export const address: fc.Arbitrary<Address> = bytes(32).map(addressOfDigest);
const text = fc.string({ unit: "grapheme", maxLength: 20 });
const count = fc.oneof(fc.nat(100), fc.maxSafeNat());

export const genesis: fc.Arbitrary<Genesis> = fc.record({ origin: tick, nonce: bytes(16), name: text });

const dim = fc.integer({ min: 1, max: 65536 });
const parents = fc.array(address, { maxLength: 2 });
const metric = fc.constantFrom("cosine" as const, "dot" as const, "l2" as const);
const training = { seed: bytes(32), sample: count, iterations: count, parents };

const trainedIndex: fc.Arbitrary<TrainedIndex> = fc
  .record({
    metric,
    dim,
    address,
    cells: fc.integer({ min: 1, max: 399 }),
    exponent: fc.integer({ min: -126, max: 149 }),
    ...training,
  })
  .map(({ metric, address, exponent, ...rest }) => ({
    ...rest,
    algorithm: `dreamdb.ivf-${metric}` as const,
    exponent: metric === "cosine" ? 0 : exponent,
    centroids: { address, bytes: 64 + 4 * rest.cells * rest.dim },
  }));

const imiIndex: fc.Arbitrary<ImiIndex> = fc
  .record({
    dim: fc.integer({ min: 2, max: 65536 }),
    sizes: fc.tuple(fc.integer({ min: 1, max: 700 }), fc.integer({ min: 1, max: 700 })),
    addresses: fc.tuple(address, address),
    ...training,
  })
  .map(({ dim, sizes, addresses, ...rest }) => ({
    ...rest,
    algorithm: "dreamdb.imi-cosine" as const,
    dim,
    cells: sizes[0] * sizes[1],
    centroids: [
      { address: addresses[0], bytes: 64 + 4 * sizes[0] * Math.ceil(dim / 2) },
      { address: addresses[1], bytes: 64 + 4 * sizes[1] * Math.floor(dim / 2) },
    ],
  }));

export const spatialIndex: fc.Arbitrary<SpatialIndex> = fc.oneof(
  fc.record({
    algorithm: fc.constant("dreamdb.lsh-cosine" as const),
    dim,
    bits: fc.integer({ min: 1, max: 24 }),
    tables: fc.integer({ min: 1, max: 16 }),
    seed: bytes(32),
    parents,
  }),
  fc.record({
    algorithm: metric.map((name) => `dreamdb.ivf-${name}` as const),
    dim,
    cells: fc.constant(1 as const),
    parents,
  }),
  fc.record({
    algorithm: fc.constant("dreamdb.imi-cosine" as const),
    dim: fc.integer({ min: 2, max: 65536 }),
    cells: fc.constant(1 as const),
    parents,
  }),
  trainedIndex,
  imiIndex,
);

const rabitq: fc.Arbitrary<RabitqCompressor> = fc
  .record({ metric, dim, bits: fc.integer({ min: 1, max: 8 }), seed: bytes(32), parents })
  .map(({ metric, ...rest }) => ({
    ...rest,
    algorithm: `dreamdb.rabitq-${metric}` as const,
    rotation: rest.dim <= 128 ? ("dense" as const) : ("hadamard" as const),
    padded: rest.dim <= 128 ? (rest.dim + 15) & ~15 : (rest.dim + 63) & ~63,
  }));

const pq: fc.Arbitrary<PqCompressor> = fc
  .record({
    metric,
    dim: fc.integer({ min: 1, max: 20_000 }),
    share: fc.nat(1 << 16),
    bits: fc.constantFrom(4 as const, 8 as const),
    address,
    parents,
  })
  .map(({ metric, share, address, ...rest }) => {
    const subspaces = 1 + (share % Math.min(rest.dim, 1024));
    return {
      ...rest,
      algorithm: `dreamdb.pq-${metric}` as const,
      subspaces,
      codebooks: { address, bytes: 64 + 4 * 2 ** rest.bits * rest.dim },
    };
  });

export const vectorCompressor: fc.Arbitrary<VectorCompressor> = fc.oneof(rabitq, pq);

export const ref: fc.Arbitrary<RefBody> = fc
  .record(
    {
      type: fc.constantFrom("branch" as const, "tag" as const, "dead" as const),
      manifest: address,
      seq: count,
      writeId: bytes(16),
      opId: bytes(16),
      gcEpoch: count,
      ts: tick,
      inline: fc.uint8Array({ maxLength: 300 }),
    },
    { requiredKeys: ["type", "manifest", "seq", "writeId", "opId", "gcEpoch", "ts"] },
  )
  .map((body) => ({ ...body }) as RefBody);

export const tombstones: fc.Arbitrary<TombstoneList> = fc.record({
  genesis: address,
  anchors: fc.uniqueArray(tick, { maxLength: 20 }).map((anchors) => anchors.sort((a, b) => (a < b ? -1 : 1))),
  reason: text,
  ts: tick,
});

export const containerRef: fc.Arbitrary<ContainerRef> = fc
  .record({
    address,
    bytes: fc.integer({ min: 100, max: 100 << 20 }),
    isLong: fc.boolean(),
    hash: bytes(32),
    part: fc.nat(100),
  })
  .map(({ isLong, hash, part, ...short }) => (isLong ? { ...short, head: { bytes: part, hash } } : short));

/** A run of at least `rows` ticks anywhere in 64 bits. */
function interval(rows: fc.Arbitrary<number>): fc.Arbitrary<Interval> {
  return fc.tuple(rows, tick, tick).map(([n, a, b]) => {
    const least = BigInt(n) - 1n;
    const span = a < least ? least : a;
    return { base: b > MAX_TICK - span ? MAX_TICK - span : b, span, rows: n };
  });
}

const someRows = fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 2 ** 32 - 1 }));
const columns = fc
  .uniqueArray(fc.nat(1000), { maxLength: 4 })
  .chain((ids) =>
    fc
      .tuple(...ids.map(() => containerRef))
      .map((refs) => new Map(ids.sort((a, b) => a - b).map((id, i) => [id, refs[i] as ContainerRef]))),
  );

export const batchEntry: fc.Arbitrary<BatchEntry> = fc
  .record({
    at: interval(someRows),
    columns,
    list: containerRef,
    index: fc.option(containerRef, { nil: undefined }),
    step: fc.integer({ min: 1, max: 5000 }),
    isEven: fc.boolean(),
  })
  .map(({ at, list, step, isEven, ...rest }) => {
    const columns = {
      columns: rest.columns,
      ...(rest.index === undefined ? {} : { scalarIndex: rest.index }),
    };
    if (!isEven) return { ...at, anchors: { container: list }, ...columns };
    const rows = Math.min(at.rows, 10_000);
    const span = BigInt(step) * BigInt(rows - 1);
    const base = at.base > MAX_TICK - span ? MAX_TICK - span : at.base;
    return { base, span, rows, anchors: { step: rows === 1 ? 0n : BigInt(step) }, ...columns };
  });

export const segmentEntry: fc.Arbitrary<SegmentEntry> = fc
  .tuple(interval(someRows), containerRef)
  .map(([at, container]) => ({ ...at, container }));

export const pageRef: fc.Arbitrary<PageRef> = fc
  .record({
    at: interval(fc.integer({ min: 1, max: 1 << 30 })),
    level: fc.nat(16),
    address,
    bytes: fc.nat(1 << 20),
  })
  .map(({ at, ...rest }) => ({ ...rest, ...at }));

export function indexRoot<E extends Interval>(entry: fc.Arbitrary<E>): fc.Arbitrary<IndexRoot<E>> {
  return fc
    .record({ pages: fc.array(pageRef, { maxLength: 5 }), entries: fc.array(entry, { maxLength: 5 }) })
    .map(({ pages, entries }) => ({ pages, entries, rows: cover([...pages, ...entries]).rows }));
}

const fieldKind = fc.oneof(
  fc.record({
    kind: fc.constantFrom("image" as const, "video" as const, "audio" as const),
    mime: fc.constantFrom("jpeg", "mp4", "x-y2"),
  }),
  fc.record({
    kind: fc.constantFrom(
      "categorical" as const,
      "bool" as const,
      "int" as const,
      "float" as const,
      "string" as const,
      "timestamp" as const,
    ),
  }),
  fc.record({
    kind: fc.constantFrom("int" as const, "categorical" as const),
    index: fc.constant(true as const),
  }),
  fc.record({
    kind: fc.constant("embedding" as const),
    dim: fc.integer({ min: 2, max: 65536 }),
    algorithm: fc.constantFrom(
      "dreamdb.imi-cosine" as const,
      "dreamdb.lsh-cosine" as const,
      "dreamdb.ivf-cosine" as const,
      "dreamdb.ivf-dot" as const,
      "dreamdb.ivf-l2" as const,
    ),
    lshBits: fc.integer({ min: 1, max: 24 }),
    lshTables: fc.integer({ min: 1, max: 16 }),
    rerank: fc.boolean(),
    codes: fc.constantFrom(undefined, "none" as const, "rabitq" as const, "pq" as const),
  }),
);

const fields: fc.Arbitrary<FieldSpec[]> = fc
  .array(
    fc.record({
      kind: fieldKind,
      required: fc.boolean(),
      name: fc.stringMatching(/^[A-Za-z][A-Za-z0-9_.-]{0,9}$/),
    }),
    { maxLength: 5 },
  )
  .map((specs) =>
    specs.map(({ kind, required, name }, id) => {
      const base = { id, name: `${name}${id}`, required };
      if (kind.kind !== "embedding") return { ...base, ...kind } as FieldSpec;
      const { codes, lshTables, ...own } = kind;
      if (own.algorithm === "dreamdb.lsh-cosine")
        return lshTables === 1 ? { ...base, ...own } : { ...base, ...own, lshTables };
      const field = { ...base, ...own, lshBits: 0 };
      const metric = metricOf(own.algorithm);
      if (codes === undefined || codes === "none")
        return codes === undefined ? field : { ...field, compressor: codes };
      if (codes === "rabitq")
        return { ...field, compressor: { algorithm: `dreamdb.rabitq-${metric}`, bits: 1 + (id % 8) } };
      return {
        ...field,
        compressor: {
          algorithm: `dreamdb.pq-${metric}`,
          subspaces: Math.min(own.dim, 1024),
          bits: id % 2 ? 4 : 8,
        },
      };
    }),
  );

function trackOf(field: FieldSpec, segments: IndexRoot<SegmentEntry>, seed: Uint8Array): Track {
  if (field.kind !== "embedding") throw new Error("no vector field");
  const spatialIndex = indexOf(field, seed);
  const { algorithm, dim } = field;
  const address = addressOf(encodeSpatialIndex(spatialIndex));
  const hasLineage = ((seed[2] as number) & 1) === 1 && algorithm.startsWith("dreamdb.ivf-");
  const track = {
    ...{ address, spatialIndex },
    ...(hasLineage && "centroids" in spatialIndex
      ? { lineage: { address, bytes: 80 + (seed[3] as number) } }
      : {}),
  };
  if (algorithm === "dreamdb.lsh-cosine") return { ...track, segments };
  if (!("centroids" in spatialIndex)) return { ...track, segments: { pages: [], entries: [], rows: 0 } };
  if (((seed[0] as number) & 1) === 0) return { ...track, segments };
  const object = defaultRabitq(`dreamdb.rabitq-${metricOf(algorithm)}`, dim, 1 + ((seed[1] as number) & 7));
  return {
    ...track,
    compressor: { address: addressOf(encodeVectorCompressor(object)), object },
    segments,
  };
}

/** Built for three of four seeds. */
function indexOf(
  { algorithm, dim, lshBits: bits, lshTables: tables = 1 }: EmbeddingField,
  seed: Uint8Array,
): SpatialIndex {
  if (algorithm === "dreamdb.lsh-cosine") return { algorithm, dim, bits, tables, seed, parents: [] };
  if (((seed[2] as number) & 3) === 0) return { algorithm, dim, cells: 1, parents: [] };
  if (algorithm === "dreamdb.imi-cosine") {
    const book = (components: number) => ({ address: addressOf(seed), bytes: 64 + 4 * 2 * components });
    const centroids: ImiIndex["centroids"] = [book(Math.ceil(dim / 2)), book(Math.floor(dim / 2))];
    return { algorithm, dim, cells: 4, centroids, seed, sample: 9, iterations: 3, parents: [] };
  }
  if (algorithm === "dreamdb.vamana-cosine" || algorithm === "dreamdb.vamana-l2")
    return { algorithm, dim, cells: 1, parents: [] };
  const centroids = { address: addressOf(seed), bytes: 64 + 4 * 2 * dim };
  return { algorithm, dim, cells: 2, exponent: 0, centroids, seed, sample: 9, iterations: 3, parents: [] };
}

export const manifest: fc.Arbitrary<Manifest> = fc
  .record({
    genesis: address,
    parents: fc.uniqueArray(address, { maxLength: 2 }),
    seq: fc.integer({ min: 1 }),
    ts: tick,
    writer: text,
    opId: bytes(16),
    op: text,
    fields,
    autoHigh: tick,
    lane: fc.nat(4095),
    timeline: indexRoot(batchEntry),
    segments: indexRoot(segmentEntry),
    seed: bytes(32),
  })
  .map(({ segments, seed, ...rest }) => ({
    ...rest,
    seq: rest.parents.length === 0 ? 0 : rest.seq,
    nextFieldId: rest.fields.length,
    tracks: new Map(
      rest.fields
        .filter(({ kind }) => kind === "embedding")
        .map((field) => [field.id, trackOf(field, segments, seed)]),
    ),
  }));
