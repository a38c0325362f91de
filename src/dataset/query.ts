/**
 * `iterVector`: the nearest records by cosine (spec/0004-spatial-indexing.md §5). Distances are always exact:
 * cells only decide which vectors are looked at.
 */
import { DreamDBError } from "../errors.ts";
import { probeCells } from "../index/probe.ts";
import type { Kernels, LshPlanes, TopK } from "../kernels/kernels.ts";
import type { ColumnHead, Span } from "../objects/column.ts";
import type { EmbeddingField, FieldSpec } from "../objects/field.ts";
import { type BatchEntry, batchCodec, type SegmentEntry, segmentCodec } from "../objects/index-tree.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import {
  decodeSegmentAnchors,
  decodeSegmentHead,
  type SegmentBlock,
  type SegmentHead,
} from "../objects/segment.ts";
import type { Context } from "./context.ts";
import { matchingRows } from "./filter.ts";
import { ColumnReader } from "./rows.ts";
import type { AnyFields, FieldTypes } from "./schema.ts";
import { inParallel, type OpenContainer } from "./session.ts";
import { type Columns, emptyColumns } from "./stream.ts";
import { anchorsOf, entriesIn, type Located, locate } from "./timeline.ts";
import { copyVector } from "./values.ts";
import { type Condition, filterOf, type Where } from "./where.ts";

export interface VectorQuery<F extends FieldTypes = AnyFields> {
  /** Name of the vector field. */
  field: string;
  /** As many components as the field has. */
  query: number[] | Float32Array;
  /** Results in all. Default 10. */
  topK?: number;
  /** Results a batch. Default 64. */
  batchSize?: number;
  /** Only records that meet this condition on their scalars; such a search is exact. */
  where?: Where<F>;
  /** Only records whose scalars equal these values: short for a `where` of values alone, and added to it. */
  whereEq?: Record<string, string | number | bigint | boolean | Date>;
  /** Fields that hits carry: by default every scalar; vectors and media only when named. */
  fields?: string[];
  /**
   * Cells of `lsh-cosine` that are looked at, nearest first, and with them what lies in the same blocks; widened
   * until topK records are found. Default an eighth of them. All of them make the search exact.
   */
  nprobe?: number;
}

/** One cell in so many is probed when the caller does not say: recall@10 of .94 on 340k word vectors. */
const DEFAULT_PROBED_SHARE = 8;
const MAX_TOP_K = 1 << 20;
const DEFAULT_TOP_K = 10;
const DEFAULT_BATCH_SIZE = 64;

export interface SearchTarget {
  ctx: Context;
  manifest: Manifest;
  origin: bigint;
  planesOf: (track: Track) => LshPlanes | undefined;
}

interface Hit {
  tick: bigint;
  distance: number;
  at?: Located;
}

/** Where the ids of a scan come from: rows of a batch, or of a segment. */
type Source = { firstId: number; rows: number } & (
  | { entry: BatchEntry }
  | { segment: SegmentEntry; container: OpenContainer<SegmentHead> }
);

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
  condition: Condition | undefined;
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
    condition: filterOf(query, manifest.fields),
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
  const { condition } = plan;
  const scan = new Scan(kernels, plan.vector, plan.topK);
  try {
    const planes = target.planesOf(plan.track);
    if (condition !== undefined || planes === undefined || probesOf(plan, planes) >= 2 ** planes.bits) {
      await scanColumns(target, plan, scan, (entry) =>
        condition === undefined ? Promise.resolve("all") : matchingRows(session, entry, condition),
      );
    } else {
      await scanCells(target, plan, scan, planes);
    }
    return await hitsOf(target, scan);
  } finally {
    scan.free();
  }
}

/** A query's vector and running best, in the compute core's memory. */
class Scan {
  readonly sources: Source[] = [];
  private readonly kernels: Kernels;
  private readonly query: number;
  private readonly inverse: number;
  private readonly best: TopK;
  private readonly dim: number;
  private nextId = 0;

  constructor(kernels: Kernels, vector: Float32Array, topK: number) {
    this.kernels = kernels;
    this.dim = vector.length;
    this.query = kernels.alloc((vector.length + 1) * 4);
    const norm = this.query + vector.length * 4;
    kernels.f32(this.query, vector.length).set(vector);
    const bad = kernels.checkFinite(this.query, vector.length);
    kernels.rowInvNorms(this.query, 1, vector.length, norm);
    this.inverse = kernels.f32(norm, 1)[0] as number;
    if (bad >= 0 || this.inverse === 0) {
      kernels.free(this.query);
      throw bad >= 0
        ? invalid("query", vector[bad], `a finite f32 at component ${bad}`)
        : invalid("query", "a length of zero, or beyond f32", "a vector with a direction, for cosine");
    }
    this.best = kernels.topK(topK);
  }

  /** Reserves ids for the rows of a source; returns the first. */
  add(
    source: { entry: BatchEntry } | { segment: SegmentEntry; container: OpenContainer<SegmentHead> },
    rows: number,
  ): number {
    const firstId = this.nextId;
    if (firstId + rows > 2 ** 32) throw invalid("topK", "over 2^32 rows", "a smaller dataset or an index");
    this.sources.push({ ...source, firstId, rows });
    this.nextId += rows;
    return firstId;
  }

  /** Scores `rows` vectors and keeps the best; `mask` has a byte a row, 0 = skip. */
  block(pointer: number, invNorms: number, rows: number, firstId: number, mask?: Uint8Array): void {
    const { kernels, dim, query, inverse, best } = this;
    const bits = mask === undefined ? 0 : this.bitmap(mask, rows);
    kernels.scanCosine(pointer, invNorms, rows, dim, query, inverse, firstId, best, bits);
    if (bits !== 0) kernels.free(bits);
  }

  /** A bit a row, in the core's memory; the caller frees it. */
  private bitmap(mask: Uint8Array, rows: number): number {
    const bits = this.kernels.alloc(Math.ceil(rows / 8));
    const view = this.kernels.bytes(bits, Math.ceil(rows / 8)).fill(0);
    for (let row = 0; row < rows; row++)
      if (mask[row] !== 0) view[row >> 3] = (view[row >> 3] as number) | (1 << (row & 7));
    return bits;
  }

  drain(): { scores: Float32Array; ids: Uint32Array } {
    return this.best.drain();
  }

  sourceOf(id: number): Source {
    let low = 0;
    let high = this.sources.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.sources[middle] as Source).firstId <= id) low = middle;
      else high = middle - 1;
    }
    return this.sources[low] as Source;
  }

  free(): void {
    this.best.free();
    this.kernels.free(this.query);
  }
}

/** Exact search of the columns: every vector of the rows that `choose` leaves. */
async function scanColumns(
  target: SearchTarget,
  plan: Plan,
  scan: Scan,
  choose: (entry: BatchEntry) => Promise<Uint8Array | "all" | undefined>,
): Promise<void> {
  const { session, vectors } = target.ctx;
  for await (const entry of entriesIn(session, target.manifest.timeline, batchCodec)) {
    const reader = await ColumnReader.open(session, plan.field, entry, false);
    const chosen = reader === undefined ? undefined : await choose(entry);
    if (reader === undefined || chosen === undefined) continue;
    const { head } = reader;
    const firstId = scan.add({ entry }, entry.rows);
    const blocks =
      chosen === "all"
        ? head.blocks
        : head.blocks.filter((block) =>
            chosen.subarray(block.firstRow, block.firstRow + block.rows).includes(1),
          );
    const spans = blocks.map((block) => ({
      span: block,
      rows: block.rows,
      skipBytes: block.bytes - block.rows * head.width,
    }));
    await vectors.visit(reader.opened, plan.field.dim, spans, (i, resident) => {
      const { firstRow, rows } = blocks[i] as { firstRow: number; rows: number };
      // Rows without a value are zero vectors: their inverse length is 0, by which they are told apart.
      const mask = maskOf(
        target.ctx.kernels,
        head,
        resident.invNorms,
        rows,
        chosen === "all" ? undefined : chosen.subarray(firstRow),
      );
      scan.block(resident.pointer, resident.invNorms, rows, firstId + firstRow, mask);
    });
  }
}

function maskOf(
  kernels: Kernels,
  head: ColumnHead,
  invNorms: number,
  rows: number,
  chosen: Uint8Array | undefined,
): Uint8Array | undefined {
  if (!head.hasPresence) return chosen;
  const norms = kernels.f32(invNorms, rows);
  return Uint8Array.from(norms, (norm, row) => (norm !== 0 && chosen?.[row] !== 0 ? 1 : 0));
}

/** Search of the nearest cells of every segment. */
async function scanCells(target: SearchTarget, plan: Plan, scan: Scan, planes: LshPlanes): Promise<void> {
  const segments = await openSegments(target, plan.track);
  const ranges = probe(planes, plan, segments);
  const bare: CellRows[] = [];
  const full: (CellRows & { firstId: number })[] = [];
  // Ids are given in the order of the segments, whatever order their bytes arrive in, so that ties fall alike.
  segments.forEach((segment, i) => {
    const rows = { segment, ranges: mergeRanges(ranges[i] as RowRange[]) };
    const { entry, container } = segment;
    if (rows.ranges.length === 0) return;
    if (container.head.blocks[0]?.vectors === undefined) bare.push(rows);
    else full.push({ ...rows, firstId: scan.add({ segment: entry, container }, container.head.rows) });
  });
  await inParallel(full, (rows) => scanBlocks(target, plan, scan, rows));
  if (bare.length > 0) await scanBare(target, plan, scan, bare);
}

/** The rows of one segment that lie in probed cells; ascending, apart. */
interface CellRows {
  segment: OpenSegment;
  ranges: RowRange[];
}

interface OpenSegment {
  entry: SegmentEntry;
  container: OpenContainer<SegmentHead>;
}

interface RowRange {
  from: number;
  to: number;
}

async function openSegments(target: SearchTarget, track: Track): Promise<OpenSegment[]> {
  const { session } = target.ctx;
  const entries: SegmentEntry[] = [];
  for await (const entry of entriesIn(session, track.segments, segmentCodec)) entries.push(entry);
  const opened: OpenSegment[] = new Array(entries.length);
  await inParallel([...entries.keys()], async (i) => {
    const entry = entries[i] as SegmentEntry;
    const container = await session.open(entry.container, (bytes, total) =>
      decodeSegmentHead(bytes, total, track.address, track.spatialIndex.dim),
    );
    opened[i] = { entry, container };
  });
  return opened;
}

function probesOf(plan: Plan, planes: LshPlanes): number {
  return plan.nprobe ?? Math.ceil(2 ** planes.bits / DEFAULT_PROBED_SHARE);
}

/** Rows of each segment that lie in the nearest cells: `nprobe` of them, and more until topK rows are covered. */
function probe(planes: LshPlanes, plan: Plan, segments: readonly OpenSegment[]): RowRange[][] {
  const ranges: RowRange[][] = segments.map(() => []);
  const total = segments.reduce((sum, segment) => sum + segment.container.head.rows, 0);
  const nprobe = probesOf(plan, planes);
  let probed = 0;
  let rows = 0;
  for (const cell of probeCells(planes.margins(plan.vector))) {
    if (probed >= nprobe && (rows >= plan.topK || rows >= total)) break;
    probed++;
    segments.forEach((segment, i) => {
      const { head } = segment.container;
      const at = indexOf(head.cells, cell);
      if (at < 0) return;
      const range = { from: head.firstRows[at] as number, to: head.firstRows[at + 1] as number };
      rows += range.to - range.from;
      (ranges[i] as RowRange[]).push(range);
    });
  }
  return ranges;
}

function indexOf(ascending: Uint32Array, value: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const found = ascending[middle] as number;
    if (found === value) return middle;
    if (found < value) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

function mergeRanges(ranges: readonly RowRange[]): RowRange[] {
  const merged: RowRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.from - b.from)) {
    const last = merged.at(-1);
    if (last !== undefined && range.from <= last.to) last.to = Math.max(last.to, range.to);
    else merged.push({ ...range });
  }
  return merged;
}

/**
 * Scores every row of the blocks that probed cells lie in, with the vectors that the segment itself carries: a
 * block has to be hashed whole before any of it may be used, which costs ten times the scan of its other rows.
 */
async function scanBlocks(
  target: SearchTarget,
  plan: Plan,
  scan: Scan,
  { segment, ranges, firstId }: CellRows & { firstId: number },
): Promise<void> {
  const blocks = blocksOf(segment.container.head, ranges).map(({ block }) => block);
  const spans = blocks.map((block) => ({ span: block.vectors as Span, rows: block.rows, skipBytes: 0 }));
  await target.ctx.vectors.visit(segment.container, plan.field.dim, spans, (i, resident) => {
    const { firstRow, rows } = blocks[i] as SegmentBlock;
    scan.block(resident.pointer, resident.invNorms, rows, firstId + firstRow);
  });
}

interface BlockRanges {
  block: SegmentBlock;
  parts: RowRange[];
}

/** The blocks that `ranges` touch, each with its own part of them. */
function blocksOf(head: SegmentHead, ranges: readonly RowRange[]): BlockRanges[] {
  const out: BlockRanges[] = [];
  let next = 0;
  for (const block of head.blocks) {
    const end = block.firstRow + block.rows;
    const parts: RowRange[] = [];
    while (next < ranges.length && (ranges[next] as RowRange).from < end) {
      const range = ranges[next] as RowRange;
      parts.push({ from: Math.max(range.from, block.firstRow), to: Math.min(range.to, end) });
      if (range.to > end) break;
      next++;
    }
    if (parts.length > 0) out.push({ block, parts });
  }
  return out;
}

/** Segments without vectors say which rows of which batches to score; the columns have the vectors. */
async function scanBare(
  target: SearchTarget,
  plan: Plan,
  scan: Scan,
  bare: readonly CellRows[],
): Promise<void> {
  const { session } = target.ctx;
  const ticksByBase = new Map<bigint, bigint[]>();
  for (const { segment, ranges } of bare) {
    const ticks = ticksByBase.get(segment.entry.base) ?? [];
    ticksByBase.set(segment.entry.base, ticks);
    for (const { block, parts } of blocksOf(segment.container.head, ranges)) {
      const [bytes] = await session.spans(segment.container, [block.anchors]);
      const offsets = decodeSegmentAnchors(segment.container.head, block, bytes as Uint8Array);
      for (const { from, to } of parts) {
        for (let row = from; row < to; row++)
          ticks.push(segment.entry.base + (offsets[row - block.firstRow] as bigint));
      }
    }
  }
  await scanColumns(target, plan, scan, async (entry) => {
    const ticks = ticksByBase.get(entry.base);
    if (ticks === undefined) return undefined;
    const anchors = await anchorsOf(session, entry);
    const chosen = new Uint8Array(entry.rows);
    for (const tick of ticks) {
      const row = anchors.rowFrom(tick);
      if (row < entry.rows && anchors.tick(row) === tick) chosen[row] = 1;
    }
    return chosen;
  });
}

/** The best of a scan with their anchors, nearest first, equal distances by anchor. */
async function hitsOf(target: SearchTarget, scan: Scan): Promise<Hit[]> {
  const { session } = target.ctx;
  const { scores, ids } = scan.drain();
  const hits: Hit[] = [];
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as number;
    const source = scan.sourceOf(id);
    const row = id - source.firstId;
    const distance = Math.fround(1 - (scores[i] as number));
    if ("entry" in source) {
      const anchors = await anchorsOf(session, source.entry);
      hits.push({ tick: anchors.tick(row), distance, at: { entry: source.entry, row } });
    } else {
      hits.push({
        tick: source.segment.base + (await segmentOffset(target, source.container, row)),
        distance,
      });
    }
  }
  return hits.sort((a, b) => a.distance - b.distance || (a.tick < b.tick ? -1 : 1));
}

async function segmentOffset(
  target: SearchTarget,
  container: OpenContainer<SegmentHead>,
  row: number,
): Promise<bigint> {
  const { head } = container;
  const block = head.blocks.find((candidate) => row < candidate.firstRow + candidate.rows) as SegmentBlock;
  const [bytes] = await target.ctx.session.spans(container, [block.anchors]);
  return decodeSegmentAnchors(head, block, bytes as Uint8Array)[row - block.firstRow] as bigint;
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
