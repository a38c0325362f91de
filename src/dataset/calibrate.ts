/** `recallTarget`: how many probes reach it, measured on records of the dataset itself. */
import type { EmbeddingField } from "../objects/field.ts";
import type { Manifest } from "../objects/manifest.ts";
import type { Context } from "./context.ts";
import { Scan, scanColumns } from "./exact-search.ts";
import { hitsOf, type Source } from "./hits.ts";
import { probingOf, searchIvf } from "./ivf-search.ts";
import type { IvfTrack } from "./ivf-track.ts";
import { VectorSource } from "./vector-source.ts";

/** What a query runs with to reach a recall. */
export interface Calibration {
  nprobe: number;
  epsilon: number;
  rerankFactor: number | undefined;
  /** The share of the true topK that these found for the sample. */
  recall: number;
  /** Records that it was measured on. */
  sample: number;
}

/** A sample's recall of 1,000 neighbours errs by about 1 %. */
const SAMPLE = 100;
/** Beyond 10 neighbours each, the sample is large enough to be asked fewer. */
const LEAST_SAMPLE = 20;
const LEAST_PQ_RERANK_FACTOR = 4;
const MAX_RERANK_FACTOR = 1024;
const SAMPLE_SEED = new Uint8Array(32);

/** Errors ε that suit a recall: more probes do not help when too many candidates are cut off. */
function epsilonFor(recallTarget: number): number {
  return Math.max(1.2, 1.35 + (recallTarget - 0.95) * 9);
}

/**
 * Searches for the least number of probes that finds `recallTarget` of the true neighbours of sampled records; each
 * record's own row is left out, so that it counts as a query from outside.
 */
export async function calibrate(
  target: { ctx: Context; manifest: Manifest },
  ivf: IvfTrack,
  field: EmbeddingField,
  topK: number,
  recallTarget: number,
): Promise<Calibration> {
  const queries = await sampleOf(
    target,
    field,
    Math.max(LEAST_SAMPLE, Math.ceil((SAMPLE * 10) / Math.max(10, topK))),
  );
  const truth = await Promise.all(queries.map((query) => exactly(target, ivf, field, query, topK + 1)));
  const { cells } = ivf;
  let epsilon = epsilonFor(recallTarget);
  /** PQ codes drop no row by its error: more candidates are what helps there. */
  let rerankFactor = ivf.hasPq ? LEAST_PQ_RERANK_FACTOR : undefined;
  const measure = async (nprobe: number): Promise<Calibration> => {
    const probing = probingOf(ivf, topK + 1, { nprobe, epsilon, rerankFactor });
    let found = 0;
    let wanted = 0;
    for (const [i, query] of queries.entries()) {
      const { hits } = await searchIvf(target, ivf, field, query, probing, ivf.rows);
      const own = truth[i]?.[0]?.tick;
      const want = new Set(truth[i]?.slice(1).map((hit) => hit.tick));
      wanted += want.size;
      for (const { tick } of hits) if (tick !== own && want.has(tick)) found++;
    }
    return {
      nprobe,
      epsilon,
      rerankFactor,
      recall: wanted === 0 ? 1 : found / wanted,
      sample: queries.length,
    };
  };
  for (;;) {
    const all = await measure(cells);
    if (all.recall >= recallTarget) return least(measure, all, recallTarget);
    if (rerankFactor === undefined) {
      if (epsilon > 8) return all;
      epsilon *= 1.5;
    } else {
      if (rerankFactor >= MAX_RERANK_FACTOR || rerankFactor * topK >= ivf.rows) return all;
      rerankFactor *= 2;
    }
  }
}

/** Bisects the number of probes, to about 6 % of it. */
async function least(
  measure: (nprobe: number) => Promise<Calibration>,
  all: Calibration,
  recallTarget: number,
): Promise<Calibration> {
  let enough = all;
  let tooFew = 0;
  while (enough.nprobe - tooFew > Math.max(1, enough.nprobe / 16)) {
    const middle = Math.floor((tooFew + enough.nprobe) / 2);
    const tried = await measure(middle);
    if (tried.recall >= recallTarget) enough = tried;
    else tooFew = middle;
  }
  return enough;
}

async function sampleOf(
  { ctx, manifest }: { ctx: Context; manifest: Manifest },
  field: EmbeddingField,
  count: number,
): Promise<Float32Array[]> {
  const { kernels } = ctx;
  const source = await VectorSource.open(ctx, manifest, field, SAMPLE_MEMORY_BYTES);
  const out = kernels.alloc(Math.min(count, source.rows) * 4 * field.dim);
  try {
    const rows = await source.sample(Math.min(count, source.rows), SAMPLE_SEED, out, () => undefined);
    const all = kernels.f32(out, rows * field.dim).slice();
    return Array.from({ length: rows }, (_, i) => all.subarray(i * field.dim, (i + 1) * field.dim));
  } finally {
    kernels.free(out);
    source.free();
  }
}

/** Vectors held at a time while the sample is drawn. */
const SAMPLE_MEMORY_BYTES = 64 << 20;

async function exactly(
  target: { ctx: Context; manifest: Manifest },
  ivf: IvfTrack,
  field: EmbeddingField,
  query: Float32Array,
  topK: number,
): Promise<{ tick: bigint }[]> {
  const scan = new Scan<Source>(target.ctx.kernels, ivf.metric, query, topK);
  try {
    await scanColumns(target, field, scan, () => Promise.resolve("all"));
    return await hitsOf(target.ctx.session, scan);
  } finally {
    scan.free();
  }
}
