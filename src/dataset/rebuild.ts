/**
 * `rebuildIvf` and `publishCompressor`: new cells and codes for every row of a field (spec/0004-spatial-indexing.md §7).
 * Columns are the truth: both read only them, and replace what was derived before.
 */
import { type Address, addressOf } from "../core/address.ts";
import { blake3 } from "../core/blake3.ts";
import { clampTick } from "../core/time.ts";
import { DreamDBError } from "../errors.ts";
import { inChainOrder } from "../index/chain.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { trainKmeans } from "../kernels/kmeans.ts";
import { toIndexSpace } from "../kernels/rabitq.ts";
import { encodeCentroids } from "../objects/centroids.ts";
import type { Sealed } from "../objects/column.ts";
import {
  type CompressorSpec,
  compressorOf,
  DEFAULT_PQ_BITS,
  DEFAULT_RABITQ_BITS,
  type EmbeddingField,
} from "../objects/field.ts";
import {
  appendToIndex,
  batchCodec,
  emptyIndex,
  type NewPage,
  type SegmentEntry,
  segmentCodec,
} from "../objects/index-tree.ts";
import type { Manifest, Track, TrackCompressor } from "../objects/manifest.ts";
import { metricOf } from "../objects/metric.ts";
import { encodeSegment, type SegmentSource } from "../objects/segment.ts";
import {
  defaultTrainingSeed,
  encodeSpatialIndex,
  type ImiIndex,
  isTrained,
  MAX_EXPONENT,
  MIN_EXPONENT,
  type TrainedAlgorithm,
  type TrainedIndex,
} from "../objects/spatial-index.ts";
import {
  defaultRabitq,
  encodeVectorCompressor,
  MAX_RABITQ_BITS,
  maxSubspaces,
} from "../objects/vector-compressor.ts";
import { inOrder } from "../workers/pool.ts";
import { type Derived, SharedIndex } from "../workers/shared-index.ts";
import { SharedSample } from "../workers/shared-sample.ts";
import { readCodebooks } from "./coder.ts";
import { type Draft, publish } from "./commit.ts";
import type { Context } from "./context.ts";
import { type Indexer, type Indexers, readCentroids, trainedIndexOf } from "./indexer.ts";
import { addedTo } from "./merge-entries.ts";
import { putObjects } from "./put-objects.ts";
import { type CellOrder, orderByCell, segmentOf } from "./seal-segment.ts";
import type { SpaceRegistry } from "./space-registry.ts";
import type { Tip } from "./tip.ts";
import { trainImi } from "./train-imi.ts";
import { trainPqCompressor } from "./train-pq.ts";
import { type VectorRun, VectorSource } from "./vector-source.ts";

export interface RebuildProgress {
  stage: "sample" | "train" | "encode";
  done: number;
  total: number;
}

export interface RebuildIvfOptions {
  /** Name of the vector field. */
  field: string;
  /**
   * Cells, from 1 to the size of the sample. Default 2.5 · √rows. Of `imi-cosine` the next square: there are ⌈√k⌉ centroids
   * for each half of the components, and these may be as many as the sample.
   */
  k?: number;
  /** Rows that k-means runs on. Default 64 a cell, or all there are. */
  sample?: number;
  /** Rounds of k-means. Default 8: more gain nothing, a larger sample does. */
  iterations?: number;
  /** Chooses the sample and the first centroids: equal inputs and seed give equal bytes. Default 0. */
  seed?: number;
  /** Vectors held in memory at a time, in bytes; a larger field is sorted into cells in several runs. Default 1 GiB. */
  memoryBytes?: number;
  onProgress?: (progress: RebuildProgress) => void;
}

export interface PublishCompressorOptions {
  field: string;
  /** `rabitq` (default) or `pq`, or the same in full, with the field's metric: `dreamdb.pq-cosine`. */
  algorithm?: string;
  /** `rabitq`: bits a component, 1–8, default 4. `pq`: bits a part, 4 or 8, default 8. */
  bits?: number;
  /** `pq`: parts that a vector is cut into, up to `dim` and 1,024. */
  subspaces?: number;
  /** `pq`: chooses the sample that codebooks are trained on, and what they begin with. Default 0. */
  seed?: number;
  memoryBytes?: number;
  onProgress?: (progress: RebuildProgress) => void;
}

export interface RebuildResult {
  manifest: Address;
  seq: number;
  cells: number;
  rows: number;
  segments: number;
  /** Rows of the largest cell divided by the mean of all. */
  imbalance: number;
}

export interface RebuildTarget {
  ctx: Context;
  name: string;
  origin: bigint;
  indexers: Indexers;
  space: SpaceRegistry;
}

/** Segments are cut before they would pass this. */
const SEGMENT_TARGET_BYTES = 64 << 20;
const DEFAULT_MEMORY_BYTES = 1 << 30;
const DEFAULT_ITERATIONS = 8;
const DEFAULT_SAMPLE_PER_CELL = 64;
const DEFAULT_CELLS_PER_ROOT = 2.5;
const MAX_ITERATIONS = 1000;
const MAX_CELLS = 1 << 20;
/** Bytes that a row's anchor takes at most in all but odd cases. */
const ANCHOR_BYTES = 8;

/** Trains centroids on a sample of the field and publishes an index by them. */
export async function rebuildIvf(
  target: RebuildTarget,
  tip: Tip,
  options: RebuildIvfOptions,
): Promise<{ tip: Tip; result: RebuildResult }> {
  const { field, track } = trackOf(tip.manifest, options.field);
  const algorithm = trainedAlgorithm(field);
  const isImi = algorithm === "dreamdb.imi-cosine";
  const source = await trainingSource(target, tip, field, options.memoryBytes);
  const rows = source.drawable;
  const wanted = count(
    "k",
    options.k ?? Math.max(1, Math.round(DEFAULT_CELLS_PER_ROOT * Math.sqrt(rows))),
    MAX_CELLS,
  );
  /** Centroids of each table, of which `imi-cosine` has two. */
  const size = isImi ? Math.ceil(Math.sqrt(wanted)) : wanted;
  const k = isImi ? size * size : wanted;
  const sample = Math.min(
    rows,
    count("sample", options.sample ?? Math.max(k, DEFAULT_SAMPLE_PER_CELL * k), 2 ** 32 - 1),
  );
  const iterations = count("iterations", options.iterations ?? DEFAULT_ITERATIONS, MAX_ITERATIONS, 0);
  const chosen = count("seed", options.seed ?? 0, Number.MAX_SAFE_INTEGER, 0);
  if (rows === 0)
    throw invalid("field", `no vectors in "${field.name}"`, "at least one vector to build from");
  if (size > sample) throw tooFew(wanted, size, sample);
  const seed = seedOf(algorithm, field.dim, k, chosen);

  target.ctx.pool?.wake();
  try {
    const spec = compressorOf(field);
    const codes = spec === undefined ? undefined : { spec, iterations, seed: chosen };
    if (isImi) {
      const training = {
        ...{ size, sample, iterations, seed, parents: [track.address] },
        tooFew: (found: number) => tooFew(wanted, size, found),
        onSampled: (done: number) => options.onProgress?.({ stage: "sample", done, total: source.rows }),
        onTrained: (progress: { done: number; total: number }) =>
          options.onProgress?.({ stage: "train", ...progress }),
      };
      const { index, objects } = await trainImi(target.ctx, source, training);
      const change = { field, index, codes, objects, op: "rebuild-ivf" };
      return await replaceTrack(target, tip, change, source, options.onProgress);
    }
    const trained = await train(target.ctx, source, { k, sample, iterations, seed }, options.onProgress);
    const centroids = encodeCentroids(trained.centroids, k, field.dim);
    const index: TrainedIndex = {
      algorithm,
      dim: field.dim,
      cells: k,
      exponent: trained.exponent,
      centroids: { address: addressOf(centroids), bytes: centroids.length },
      seed,
      sample,
      iterations,
      parents: [track.address],
    };
    const objects = [{ address: index.centroids.address, bytes: centroids }];
    return await replaceTrack(
      target,
      tip,
      { field, index, codes, objects, op: "rebuild-ivf" },
      source,
      options.onProgress,
    );
  } finally {
    source.free();
  }
}

/** All vectors; of deleted records none is drawn to train on. */
async function trainingSource(
  { ctx, space }: RebuildTarget,
  { manifest }: Tip,
  field: EmbeddingField,
  memoryBytes: number | undefined,
): Promise<VectorSource> {
  const source = await VectorSource.open(ctx, manifest, field, memory(memoryBytes));
  await source.leaveOut((await space.refresh(ctx.session)).deleted);
  return source;
}

/** Publishes a compressor for a built index, and codes of every row by it; builds a one-cell index where there is none. */
export async function publishCompressor(
  target: RebuildTarget,
  tip: Tip,
  options: PublishCompressorOptions,
): Promise<{ tip: Tip; result: RebuildResult }> {
  const { field, track } = trackOf(tip.manifest, options.field);
  const spec = specOf(field, options);
  const seed = count("seed", options.seed ?? 0, Number.MAX_SAFE_INTEGER, 0);
  const { spatialIndex } = track;
  if (!isTrained(spatialIndex)) {
    const coded = { ...field, compressor: spec };
    const fields = tip.manifest.fields.map((each) => (each.id === field.id ? coded : each));
    const from = { ...tip, manifest: { ...tip.manifest, fields } };
    return rebuildIvf(target, from, { ...options, k: 1 });
  }
  const source = await trainingSource(target, tip, field, options.memoryBytes);
  target.ctx.pool?.wake();
  try {
    const change = {
      field: { ...field, compressor: spec },
      index: trainedIndexOf(track),
      codes: { spec, iterations: DEFAULT_ITERATIONS, seed },
      objects: [],
      op: "subspaces" in spec ? "publish-pq" : "publish-rabitq",
    };
    return await replaceTrack(target, tip, change, source, options.onProgress);
  } finally {
    source.free();
  }
}

export function trackOf(manifest: Manifest, name: string): { field: EmbeddingField; track: Track } {
  const field = manifest.fields.find((candidate) => candidate.name === name);
  if (field?.kind === "embedding") return { field, track: manifest.tracks.get(field.id) as Track };
  const vectors = manifest.fields.filter((candidate) => candidate.kind === "embedding");
  throw invalid("field", name, `a vector field: ${vectors.map((candidate) => candidate.name).join(", ")}`);
}

function trainedAlgorithm({ name, algorithm }: EmbeddingField): TrainedAlgorithm {
  switch (algorithm) {
    case "dreamdb.ivf-cosine":
    case "dreamdb.ivf-dot":
    case "dreamdb.ivf-l2":
    case "dreamdb.imi-cosine":
      return algorithm;
    default: {
      const expected = "a field with dreamdb.ivf-cosine, -dot or -l2, or dreamdb.imi-cosine";
      throw invalid("field", `"${name}" with ${algorithm}`, expected);
    }
  }
}

/** @param size centroids to be found, of the `k` cells that were asked for */
function tooFew(k: number, size: number, sample: number): DreamDBError {
  const most = `at most the ${sample} vectors of the sample`;
  return invalid("k", k, size === k ? most : `⌈√k⌉, which is ${size}, ${most}`);
}

/** The codes that are asked for. */
function specOf(field: EmbeddingField, options: PublishCompressorOptions): CompressorSpec {
  const metric = metricOf(trainedAlgorithm(field));
  const { algorithm = "rabitq", bits, subspaces } = options;
  const isNamed = (family: string): boolean =>
    algorithm === family || algorithm === `dreamdb.${family}-${metric}`;
  if (isNamed("rabitq")) {
    if (subspaces !== undefined) throw invalid("subspaces", subspaces, "none with rabitq");
    return {
      algorithm: `dreamdb.rabitq-${metric}`,
      bits: count("bits", bits ?? DEFAULT_RABITQ_BITS, MAX_RABITQ_BITS),
    };
  }
  if (!isNamed("pq"))
    throw invalid("algorithm", algorithm, `rabitq, pq, dreamdb.rabitq-${metric} or dreamdb.pq-${metric}`);
  const chosen = bits ?? DEFAULT_PQ_BITS;
  if (chosen !== 4 && chosen !== 8) throw invalid("bits", chosen, "4 or 8");
  return {
    algorithm: `dreamdb.pq-${metric}`,
    subspaces: count("subspaces", subspaces as number, maxSubspaces(field.dim)),
    bits: chosen,
  };
}

/** Makes a compressor, training codebooks on the field's vectors where it takes that, and stores all it is made of. */
async function makeCompressor(
  ctx: Context,
  { index, codes }: Change,
  source: VectorSource,
  centroids: Float32Array,
  onProgress: ((progress: RebuildProgress) => void) | undefined,
): Promise<TrackCompressor | undefined> {
  if (codes === undefined) return undefined;
  const { spec } = codes;
  const made =
    "subspaces" in spec
      ? await trainPqCompressor(ctx, source, {
          ...{ ...codes, spec, index, centroids },
          onSampled: (done) => onProgress?.({ stage: "sample", done, total: source.rows }),
          onTrained: (progress) => onProgress?.({ stage: "train", ...progress }),
        })
      : { compressor: defaultRabitq(spec.algorithm, index.dim, spec.bits), objects: [] };
  const bytes = encodeVectorCompressor(made.compressor);
  const address = addressOf(bytes);
  await putObjects(ctx, [...made.objects, { address, bytes }]);
  return { address, object: made.compressor };
}

function seedOf(algorithm: TrainedAlgorithm, dim: number, k: number, seed: number): Uint8Array {
  if (seed === 0) return defaultTrainingSeed(algorithm, dim, k);
  return blake3(new TextEncoder().encode(`${algorithm}/${dim}/${k}/${seed}`));
}

/** Centroids of a sample of the field's vectors, and the power of two that scales them. */
async function train(
  { kernels, pool }: Context,
  source: VectorSource,
  how: { k: number; sample: number; iterations: number; seed: Uint8Array },
  onProgress: ((progress: RebuildProgress) => void) | undefined,
): Promise<{ centroids: Float32Array; exponent: number; sampled: number }> {
  const { dim, algorithm } = source.field;
  const metric = metricOf(algorithm);
  const x = kernels.alloc(how.sample * dim * 4);
  try {
    const n = await source.sample(how.sample, how.seed, x, (done) =>
      onProgress?.({ stage: "sample", done, total: source.rows }),
    );
    if (how.k > n) throw tooFew(how.k, how.k, n);
    const exponent = metric === "cosine" ? 0 : exponentOf(kernels, x, n, dim);
    toIndexSpace(kernels, metric, exponent, x, n, dim, x);
    const sample = { vectors: x, n, dim, k: how.k };
    const trained = await trainKmeans(kernels, {
      ...sample,
      iterations: how.iterations,
      seed: how.seed,
      onProgress: ({ done, total }) => onProgress?.({ stage: "train", done, total }),
      finder: pool && ((order) => SharedSample.deal(pool, kernels, sample, order)),
    });
    return { centroids: inChainOrder(trained, dim), exponent, sampled: n };
  } finally {
    kernels.free(x);
  }
}

/** The least e for which every vector's length times 2^−e is at most 1. */
export function exponentOf(kernels: Kernels, vectors: number, n: number, dim: number): number {
  const values = kernels.f32(vectors, n * dim);
  let most = 0;
  for (let row = 0; row < n; row++) {
    let squares = 0;
    for (let i = row * dim; i < (row + 1) * dim; i++)
      squares += (values[i] as number) * (values[i] as number);
    most = Math.max(most, squares);
  }
  if (most === 0) return 0;
  let exponent = MIN_EXPONENT;
  while (exponent < MAX_EXPONENT && Math.sqrt(most) * 2 ** -exponent > 1) exponent++;
  return exponent;
}

interface Change {
  field: EmbeddingField;
  index: TrainedIndex | ImiIndex;
  codes: { spec: CompressorSpec; iterations: number; seed: number } | undefined;
  objects: NewPage[];
  op: string;
}

/** Writes segments of all rows for the new index and publishes it; rows appended meanwhile are taken along. */
async function replaceTrack(
  target: RebuildTarget,
  tip: Tip,
  change: Change,
  source: VectorSource,
  onProgress: ((progress: RebuildProgress) => void) | undefined,
): Promise<{ tip: Tip; result: RebuildResult }> {
  const { ctx, name, origin, indexers } = target;
  const { field, index } = change;
  const old = tip.manifest.tracks.get(field.id) as Track;
  const bytes = encodeSpatialIndex(index);
  // The indexer reads centroids and codebooks as any reader does, so they are stored first.
  await putObjects(ctx, [...change.objects, { address: addressOf(bytes), bytes }]);
  const centroids = await readCentroids(ctx.session, index);
  const compressor = await makeCompressor(ctx, change, source, centroids, onProgress);
  const codebooks = await readCodebooks(ctx.session, { ...(compressor && { compressor }) });
  const track: Track = {
    address: addressOf(bytes),
    spatialIndex: index,
    ...(compressor === undefined ? {} : { compressor }),
    segments: emptyIndex(),
  };
  const indexer = (await indexers.of(track)) as Indexer;
  const rowsOfCell = new Uint32Array(index.cells);
  const store = async (part: SegmentPart): Promise<SegmentPart & { sealed: Sealed }> => {
    const { source } = part;
    const sealed = await (ctx.pool?.callAny("seal", { source }, buffersOf(source)) ?? encodeSegment(source));
    await putObjects(ctx, [{ address: sealed.ref.address, bytes: sealed.bytes }]);
    return { ...part, sealed };
  };
  const write = async (from: VectorSource, report?: (done: number) => void): Promise<SegmentEntry[]> => {
    const entries: SegmentEntry[] = [];
    let done = 0;
    const shared = ctx.pool && (await SharedIndex.open(ctx.pool, { track, centroids, codebooks }));
    try {
      for await (const run of from.runs()) {
        const before = done;
        const derived = await shared?.derive(ctx.kernels, run.vectors, run.rows, indexer.codeBytes, (rows) =>
          report?.(before + rows),
        );
        try {
          const segments = segmentsOf(ctx.kernels, track, indexer, run, derived, field.rerank);
          for await (const { base, span, order, sealed } of inOrder(
            segments,
            (ctx.pool?.size ?? 0) + 1,
            store,
          )) {
            entries.push({ base, span, rows: order.rows.length, container: sealed.ref });
            order.cells.forEach((cell, i) => {
              (rowsOfCell[cell] as number) +=
                (order.firstRows[i + 1] ?? order.rows.length) - (order.firstRows[i] as number);
            });
            done += order.rows.length;
            if (derived === undefined) report?.(done);
          }
        } finally {
          if (derived !== undefined && derived.codes !== 0) ctx.kernels.free(derived.codes);
        }
      }
    } finally {
      shared?.free();
    }
    return entries;
  };
  const entries = await write(source, (done) => onProgress?.({ stage: "encode", done, total: source.rows }));
  const opId = ctx.random(16);
  let covered = tip.manifest.timeline;
  const published = await publish(ctx, name, tip, {
    opId,
    async draft(current) {
      refuseReplaced(current.manifest, field, old);
      const { timeline } = current.manifest;
      if (timeline !== covered) {
        const later = await addedTo(ctx.session, covered, timeline, batchCodec);
        if (later === undefined) throw rowsReplaced(field);
        const late = VectorSource.of(ctx, field, later.added, source.memoryBytes);
        try {
          entries.push(...(await write(late)));
        } finally {
          late.free();
        }
        covered = timeline;
      }
      return draftOf(ctx, origin, current, { field, op: change.op, track, entries, opId });
    },
  });
  const rows = entries.reduce((sum, entry) => sum + entry.rows, 0);
  const largest = rowsOfCell.reduce((most, each) => Math.max(most, each), 0);
  return {
    tip: published.tip,
    result: {
      manifest: published.own.address,
      seq: published.own.manifest.seq,
      cells: index.cells,
      rows,
      segments: entries.length,
      imbalance: rows === 0 ? 0 : largest / (rows / index.cells),
    },
  };
}

/** Errors: `Conflict` when the Track is not `old` any more. */
export function refuseReplaced({ tracks }: Manifest, field: EmbeddingField, old: Track): void {
  const now = tracks.get(field.id);
  if (now?.address === old.address && now.compressor?.address === old.compressor?.address) return;
  throw new DreamDBError("Conflict", "another writer replaced the index meanwhile; nothing was published", {
    field: field.name,
    found: now?.address,
    expected: old.address,
    retryable: true,
    committed: "no",
  });
}

/** What an index was built of is not what the dataset holds by now: another writer merged or compacted it. */
export function rowsReplaced(field: EmbeddingField): DreamDBError {
  return new DreamDBError("Conflict", "the rows were arranged anew meanwhile; nothing was published", {
    field: field.name,
    found: "other batches",
    expected: "those that the index was built of",
    retryable: true,
    committed: "no",
  });
}

interface Replacement {
  field: EmbeddingField;
  track: Track;
  /** The Track's segments. */
  entries: SegmentEntry[];
  opId: Uint8Array;
  op: string;
}

/** The state after `current` in which a field has another Track. */
export function draftOf(
  ctx: Context,
  origin: bigint,
  current: Tip,
  { field, track, entries, opId, op }: Replacement,
): Draft {
  const objects: NewPage[] = [];
  const segments = appendToIndex(emptyIndex<SegmentEntry>(), entries, segmentCodec, (bytes) => {
    const address = addressOf(bytes);
    objects.push({ address, bytes });
    return address;
  });
  const old = current.manifest;
  const manifest: Manifest = {
    ...old,
    parents: [current.address],
    seq: old.seq + 1,
    ts: clampTick(ctx.clock() - origin),
    writer: ctx.writer,
    opId,
    op,
    fields: old.fields.map((each) =>
      each.id === field.id ? withCodes(each as EmbeddingField, field) : each,
    ),
    tracks: new Map([...old.tracks, [field.id, { ...track, segments }]]),
  };
  return { manifest, objects };
}

/** The field as it is by now, and the codes that it was given. */
function withCodes(
  { compressor: _, ...now }: EmbeddingField,
  { compressor }: EmbeddingField,
): EmbeddingField {
  return compressor === undefined ? now : { ...now, compressor };
}

/** Rows that become one segment. */
interface SegmentPart {
  /** The earliest anchor, and how much later the last is. */
  base: bigint;
  span: bigint;
  order: CellOrder;
  source: SegmentSource;
}

/** What is handed to a worker with a segment's source; the order of the rows stays. */
function buffersOf({ vectors, codes, offsets }: SegmentSource): ArrayBuffer[] {
  return [vectors, codes?.bytes, offsets].flatMap((part) =>
    part === undefined ? [] : [part.buffer as ArrayBuffer],
  );
}

/**
 * Sorts a run into cells and cuts it into segments of about 64 MiB, a cell after the other. Cells and codes are those
 * that workers have `derived`, or are made here: those of one hash table, where there are several.
 */
export function* segmentsOf(
  kernels: Kernels,
  track: Track,
  indexer: Indexer,
  { vectors, rows, ticks }: VectorRun,
  derived: Derived | undefined,
  withVectors: boolean,
  table = 0,
): Generator<SegmentPart> {
  const cellOf = derived?.cells ?? indexer.cellsOf(vectors, rows, table);
  const byTime = timeOrder(ticks);
  const order = orderByCell(
    kernels,
    byTime === undefined ? cellOf : byTime.map((row) => cellOf[row] as number),
    indexer.cellBits,
  );
  const inTime =
    byTime === undefined ? order : { ...order, rows: order.rows.map((i) => byTime[i] as number) };
  const rowBytes = (withVectors ? 4 * track.spatialIndex.dim : 0) + indexer.codeBytes + ANCHOR_BYTES;
  for (const part of cutByCells(inTime, Math.max(1, Math.floor(SEGMENT_TARGET_BYTES / rowBytes)))) {
    const [base, last] = extremes(ticks, part);
    const source = segmentOf(
      kernels,
      track,
      indexer,
      vectors,
      part,
      ticks,
      base,
      withVectors,
      derived?.codes,
    );
    yield { base, span: last - base, order: part, source };
  }
}

/** Whole cells as long as they fit in `maxRows`; a larger cell is cut. */
function* cutByCells({ rows, cells, firstRows }: CellOrder, maxRows: number): Generator<CellOrder> {
  let parts: { cell: number; from: number; to: number }[] = [];
  let held = 0;
  const close = (): CellOrder => {
    const from = parts[0]?.from as number;
    const order = {
      rows: rows.subarray(from, from + held),
      cells: Uint32Array.from(parts, (part) => part.cell),
      firstRows: Uint32Array.from(parts, (part) => part.from - from),
    };
    parts = [];
    held = 0;
    return order;
  };
  for (let i = 0; i < cells.length; i++) {
    const past = firstRows[i + 1] ?? rows.length;
    for (let from = firstRows[i] as number; from < past; ) {
      const room = maxRows - held;
      if (held > 0 && past - from > room) {
        yield close();
        continue;
      }
      const to = Math.min(past, from + room);
      parts.push({ cell: cells[i] as number, from, to });
      held += to - from;
      from = to;
    }
  }
  if (held > 0) yield close();
}

/** The earliest and the last anchor: in each cell they stand first and last. */
export function extremes(ticks: BigUint64Array, { rows, firstRows }: CellOrder): [bigint, bigint] {
  let least = ticks[rows[0] as number] as bigint;
  let most = least;
  firstRows.forEach((from, i) => {
    const past = firstRows[i + 1] ?? rows.length;
    const [first, last] = [ticks[rows[from] as number] as bigint, ticks[rows[past - 1] as number] as bigint];
    if (first < least) least = first;
    if (last > most) most = last;
  });
  return [least, most];
}

/** Row numbers by ascending anchor; undefined when they are in order already. */
export function timeOrder(ticks: BigUint64Array): Uint32Array | undefined {
  let row = 1;
  while (row < ticks.length && (ticks[row - 1] as bigint) < (ticks[row] as bigint)) row++;
  if (row >= ticks.length) return undefined;
  const order = Uint32Array.from(ticks.keys());
  return order.sort((a, b) => ((ticks[a] as bigint) < (ticks[b] as bigint) ? -1 : 1));
}

export function memory(bytes: number | undefined): number {
  return count("memoryBytes", bytes ?? DEFAULT_MEMORY_BYTES, 2 ** 32 - 1);
}

export function count(field: string, value: number, max: number, min = 1): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw invalid(field, value, `an integer from ${min} to ${max}`);
}

function invalid(field: string, found: unknown, expected: unknown): DreamDBError {
  return new DreamDBError("InvalidArgument", "the index can't be built like this; nothing was written", {
    field,
    found,
    expected,
    committed: "no",
  });
}
