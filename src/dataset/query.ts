/**
 * `iterVector`: the nearest records by cosine (spec/0004-spatial-indexing.md §5). Distances are always exact:
 * cells only decide which vectors are looked at.
 */
import { DreamDBError } from "../errors.ts";
import type { LshPlanes } from "../kernels/kernels.ts";
import type { EmbeddingField, FieldSpec } from "../objects/field.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { metricOf } from "../objects/metric.ts";
import type { Context } from "./context.ts";
import { Scan, scanColumns } from "./exact-search.ts";
import { type Condition, conditionsOf, matchingRows } from "./filter.ts";
import { type Hit, hitsOf, type Source } from "./hits.ts";
import { probesOf, scanCells } from "./lsh-search.ts";
import { ColumnReader } from "./rows.ts";
import { inParallel } from "./session.ts";
import { type Columns, emptyColumns } from "./stream.ts";
import { type Located, locate } from "./timeline.ts";
import { copyVector } from "./values.ts";

export interface VectorQuery {
  /** Name of the vector field. */
  field: string;
  /** As many components as the field has. */
  query: number[] | Float32Array;
  /** Results in all. Default 10. */
  topK?: number;
  /** Results a batch. Default 64. */
  batchSize?: number;
  /** Only records whose scalars equal these values; such a search is exact. */
  whereEq?: Record<string, string | number | bigint | boolean>;
  /** Fields that hits carry: by default every scalar; vectors and media only when named. */
  fields?: string[];
  /**
   * Cells of `lsh-cosine` that are looked at, nearest first, and with them what lies in the same blocks; widened
   * until topK records are found. Default an eighth of them. All of them make the search exact.
   */
  nprobe?: number;
}

const MAX_TOP_K = 1 << 20;
const DEFAULT_TOP_K = 10;
const DEFAULT_BATCH_SIZE = 64;

export interface SearchTarget {
  ctx: Context;
  manifest: Manifest;
  origin: bigint;
  planesOf: (track: Track) => LshPlanes | undefined;
}

/** Runs a query and gives its hits, nearest first, in batches of columns. */
export async function* search(target: SearchTarget, query: VectorQuery): AsyncGenerator<Columns> {
  const plan = planOf(target.manifest, query);
  const hits = await findHits(target, plan);
  for (let from = 0; from < hits.length; from += plan.batchSize) {
    yield await materialise(target, plan.fields, hits.slice(from, from + plan.batchSize));
  }
}

interface Plan {
  field: EmbeddingField;
  track: Track;
  vector: Float32Array;
  topK: number;
  batchSize: number;
  conditions: Condition[];
  fields: FieldSpec[];
  nprobe: number | undefined;
}

function planOf(manifest: Manifest, query: VectorQuery): Plan {
  const names = manifest.fields.map((field) => field.name);
  const field = manifest.fields.find((candidate) => candidate.name === query.field);
  if (field?.kind !== "embedding") {
    throw invalid(
      "field",
      query.field,
      field === undefined ? `one of ${names.join(", ")}` : "a vector field",
    );
  }
  const vector = new Float32Array(field.dim);
  copyVector(query.query, field.dim, vector, 0, (found) =>
    invalid("query", found, `${field.dim} finite numbers`),
  );
  return {
    field,
    track: manifest.tracks.get(field.id) as Track,
    vector,
    topK: Math.min(
      positive("topK", query.topK ?? DEFAULT_TOP_K, MAX_TOP_K),
      Math.max(1, manifest.timeline.rows),
    ),
    batchSize: positive("batchSize", query.batchSize ?? DEFAULT_BATCH_SIZE, MAX_TOP_K),
    conditions: conditionsOf(query.whereEq, manifest.fields),
    fields: chosenFields(manifest.fields, query.fields),
    nprobe: query.nprobe === undefined ? undefined : positive("nprobe", query.nprobe, 2 ** 24),
  };
}

/** The named fields, or by default all scalars. Errors: `InvalidArgument` for an unknown name. */
export function chosenFields(
  fields: readonly FieldSpec[],
  names: readonly string[] | undefined,
  byDefault = isScalar,
): FieldSpec[] {
  if (names === undefined) return fields.filter(byDefault);
  if (!Array.isArray(names)) throw invalid("fields", names, "an array of field names");
  return [...new Set<string>(names)].map((name) => {
    const field = fields.find((candidate) => candidate.name === name);
    if (field === undefined)
      throw invalid("fields", name, `one of ${fields.map((candidate) => candidate.name).join(", ")}`);
    return field;
  });
}

function isScalar(field: FieldSpec): boolean {
  return (
    field.kind !== "embedding" && field.kind !== "image" && field.kind !== "video" && field.kind !== "audio"
  );
}

export function positive(field: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw invalid(field, value, `an integer from 1 to ${max}`);
}

function invalid(field: string, found: unknown, expected: unknown): DreamDBError {
  return new DreamDBError("InvalidArgument", "this argument can't be", { field, found, expected });
}

async function findHits(target: SearchTarget, plan: Plan): Promise<Hit[]> {
  const { kernels, session } = target.ctx;
  const scan = new Scan<Source>(kernels, metricOf(plan.field.algorithm), plan.vector, plan.topK);
  try {
    const planes = target.planesOf(plan.track);
    if (plan.conditions.length > 0 || planes === undefined || probesOf(plan, planes) >= 2 ** planes.bits) {
      await scanColumns(target, plan.field, scan, (entry) =>
        plan.conditions.length === 0 ? Promise.resolve("all") : matchingRows(session, entry, plan.conditions),
      );
    } else {
      await scanCells(target, plan, scan, planes);
    }
    return await hitsOf(session, scan);
  } finally {
    scan.free();
  }
}

/** Reads the chosen fields of `hits`. */
async function materialise(
  target: SearchTarget,
  fields: readonly FieldSpec[],
  hits: readonly Hit[],
): Promise<Columns> {
  const { session } = target.ctx;
  const out = emptyColumns(fields);
  const rows: unknown[][] = hits.map(() => []);
  await inParallel([...hits.keys()], async (i) => {
    const hit = hits[i] as Hit;
    if (fields.length === 0) return;
    const at = hit.at ?? (await locate(session, target.manifest.timeline, hit.tick));
    if (at === undefined) {
      throw new DreamDBError("Corrupt", "a cell names a record that no batch holds", {
        field: "segment.anchors",
        found: hit.tick,
      });
    }
    rows[i] = await readRow(target, fields, at);
  });
  out._time_anchors = hits.map((hit) => hit.tick + target.origin);
  out._distances = hits.map((hit) => hit.distance);
  fields.forEach((field, f) => {
    out[field.name] = rows.map((row) => row[f]);
  });
  return out;
}

/** The values of one record, in the order of `fields`. */
export async function readRow(
  target: { ctx: Context },
  fields: readonly FieldSpec[],
  at: Located,
): Promise<unknown[]> {
  return Promise.all(
    fields.map(async (field) => {
      const reader = await ColumnReader.open(target.ctx.session, field, at.entry, false);
      const values: unknown[] = [];
      await reader?.read(at.row, at.row + 1, values);
      return values[0];
    }),
  );
}
