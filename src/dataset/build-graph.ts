/**
 * `buildGraph`: a graph of every vector of a field (spec/0013-graph-indexing.md §7). Columns are the truth: it reads only
 * them. Rows appended meanwhile, or later, are found by scanning them until the next build.
 */
import { type Address, addressOf } from "../core/address.ts";
import { blake3 } from "../core/blake3.ts";
import { DreamDBError } from "../errors.ts";
import { buildVamana } from "../index/vamana.ts";
import { toIndexSpace } from "../kernels/rabitq.ts";
import { MAX_GRAPH_CANDIDATES, MAX_GRAPH_DEGREE } from "../layout/graph.ts";
import type { EmbeddingField } from "../objects/field.ts";
import { defaultGraphSeed, type GraphMetric } from "../objects/graph-index.ts";
import { batchCodec, emptyIndex } from "../objects/index-tree.ts";
import { metricOf } from "../objects/metric.ts";
import { type BuiltGraph, encodeSpatialIndex, type GraphAlgorithm } from "../objects/spatial-index.ts";
import { publish } from "./commit.ts";
import { addedTo } from "./merge-entries.ts";
import { putObjects } from "./put-objects.ts";
import {
  count,
  draftOf,
  exponentOf,
  type RebuildTarget,
  refuseReplaced,
  rowsReplaced,
  trackOf,
} from "./rebuild.ts";
import type { Tip } from "./tip.ts";
import { type VectorRun, VectorSource } from "./vector-source.ts";

export interface BuildGraphProgress {
  stage: "read" | "build";
  /** Of `read`, records; of `build`, thousandths. */
  done: number;
  total: number;
}

export interface BuildGraphOptions {
  /** Name of a vector field with `dreamdb.vamana-…`. */
  field: string;
  /** Neighbours of a node at most, a multiple of 4 from 4 to 64. Default 64. */
  degree?: number;
  /** How many of the nearest nodes each is linked among, 1–1,024. Default 250: more is slower and a little better. */
  candidates?: number;
  /** Chooses the sample and the first centroids of the cells: equal inputs and seed give equal bytes. Default 0. */
  seed?: number;
  /** Bytes that the build may take, some 2 · 4 · dim + 8 · degree a vector. Default 3 GiB. */
  memoryBytes?: number;
  onProgress?: (progress: BuildGraphProgress) => void;
}

export interface BuildGraphResult {
  manifest: Address;
  seq: number;
  /** Vectors in the graph. */
  nodes: number;
  /** Neighbours of a node at most. */
  degree: number;
  /** Objects that the graph is stored in, and their bytes. */
  pages: number;
  bytes: number;
  /** Records appended while it was built, which searches scan until the next build. */
  late: number;
}

const DEFAULT_MEMORY_BYTES = 3 * 2 ** 30;
const DEFAULT_DEGREE = 64;
const DEFAULT_CANDIDATES = 250;

/** Builds a graph of the field's vectors and publishes a state that has it. */
export async function buildGraph(
  target: RebuildTarget,
  tip: Tip,
  options: BuildGraphOptions,
): Promise<{ tip: Tip; result: BuildGraphResult }> {
  const { ctx, name, origin } = target;
  const { field, track } = trackOf(tip.manifest, options.field);
  const algorithm = graphAlgorithm(field);
  const degree = count("degree", options.degree ?? DEFAULT_DEGREE, MAX_GRAPH_DEGREE);
  if (degree % 4 !== 0) throw invalid("degree", degree, `a multiple of 4 from 4 to ${MAX_GRAPH_DEGREE}`);
  const candidates = count("candidates", options.candidates ?? DEFAULT_CANDIDATES, MAX_GRAPH_CANDIDATES);
  const chosen = count("seed", options.seed ?? 0, Number.MAX_SAFE_INTEGER, 0);
  const memoryBytes = count("memoryBytes", options.memoryBytes ?? DEFAULT_MEMORY_BYTES, 2 ** 32 - 1);
  const { rows } = tip.manifest.timeline;
  const built = await build(
    target,
    tip,
    { field, algorithm, degree, candidates, chosen, memoryBytes },
    options,
  );
  const index: BuiltGraph = {
    algorithm,
    dim: field.dim,
    rows,
    graph: { address: built.address, bytes: built.bytes.length },
    parents: [track.address],
  };
  const bytes = encodeSpatialIndex(index);
  const pages = built.pages.map(({ ref, bytes: page }) => ({ address: ref.address, bytes: page }));
  await putObjects(ctx, pages);
  await putObjects(ctx, [
    { address: built.address, bytes: built.bytes },
    { address: addressOf(bytes), bytes },
  ]);
  const opId = ctx.random(16);
  const published = await publish(ctx, name, tip, {
    opId,
    async draft(current) {
      refuseReplaced(current.manifest, field, track);
      const { timeline } = current.manifest;
      const later = await addedTo(ctx.session, tip.manifest.timeline, timeline, batchCodec);
      // The graph speaks of the rows that the timeline begins with.
      if (later?.isExtended !== true) throw rowsReplaced(field);
      const graphTrack = { address: addressOf(bytes), spatialIndex: index, segments: emptyIndex<never>() };
      return draftOf(ctx, origin, current, {
        field,
        track: graphTrack,
        entries: [],
        opId,
        op: "build-graph",
      });
    },
  });
  const result = {
    manifest: published.own.address,
    seq: published.own.manifest.seq,
    nodes: built.index.rows,
    degree,
    pages: pages.length,
    bytes: pages.reduce((sum, page) => sum + page.bytes.length, built.bytes.length),
    late: published.own.manifest.timeline.rows - rows,
  };
  return { tip: published.tip, result };
}

interface Asked {
  field: EmbeddingField;
  algorithm: GraphAlgorithm;
  degree: number;
  candidates: number;
  chosen: number;
  memoryBytes: number;
}

/** Reads the vectors and links them. */
async function build(
  { ctx }: RebuildTarget,
  { manifest }: Tip,
  { field, algorithm, degree, candidates, chosen, memoryBytes }: Asked,
  { onProgress }: BuildGraphOptions,
): ReturnType<typeof buildVamana> {
  const { kernels } = ctx;
  const { dim } = field;
  // One run of all vectors: they are linked in memory.
  const source = await VectorSource.open(ctx, manifest, field, Number.POSITIVE_INFINITY);
  const needed = source.rows * (8 * dim + 8 * degree);
  if (needed > memoryBytes)
    throw invalid(
      "memoryBytes",
      memoryBytes,
      `at least ${needed} for ${source.rows} vectors, or an ivf index`,
    );
  try {
    const run = await wholeOf(source);
    if (run === undefined || run.rows === 0)
      throw invalid("field", `no vectors in "${field.name}"`, "at least one vector to build from");
    onProgress?.({ stage: "read", done: source.rows, total: source.rows });
    const metric: GraphMetric = metricOf(algorithm) === "l2" ? "l2" : "cosine";
    const exponent = metric === "cosine" ? 0 : exponentOf(kernels, run.vectors, run.rows, dim);
    toIndexSpace(kernels, metric, exponent, run.vectors, run.rows, dim, run.vectors);
    return await buildVamana({
      ...{
        kernels,
        metric,
        vectors: run.vectors,
        n: run.rows,
        dim,
        ticks: run.ticks,
        exponent,
        degree,
        candidates,
      },
      seed: seedOf(algorithm, metric, dim, degree, chosen),
      onProgress: (part) => onProgress?.({ stage: "build", done: Math.round(1000 * part), total: 1000 }),
    });
  } finally {
    source.free();
  }
}

async function wholeOf(source: VectorSource): Promise<VectorRun | undefined> {
  for await (const run of source.runs()) return run;
  return undefined;
}

function graphAlgorithm({ name, algorithm }: EmbeddingField): GraphAlgorithm {
  if (algorithm === "dreamdb.vamana-cosine" || algorithm === "dreamdb.vamana-l2") return algorithm;
  throw invalid(
    "field",
    `"${name}" with ${algorithm}`,
    "a field with dreamdb.vamana-cosine or dreamdb.vamana-l2",
  );
}

function seedOf(
  algorithm: GraphAlgorithm,
  metric: GraphMetric,
  dim: number,
  degree: number,
  seed: number,
): Uint8Array {
  if (seed === 0) return defaultGraphSeed(metric, dim, degree);
  return blake3(new TextEncoder().encode(`${algorithm}/${dim}/${degree}/${seed}`));
}

function invalid(field: string, found: unknown, expected: unknown): DreamDBError {
  return new DreamDBError("InvalidArgument", "no graph can be built like this; nothing was written", {
    field,
    found,
    expected,
    committed: "no",
  });
}
