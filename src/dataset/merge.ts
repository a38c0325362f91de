/** `merge` and `mergeMany`: several states made one (spec/0008-versioning-collab.md §4–8). No data object is rewritten. */
import { type Address, isAddress } from "../core/address.ts";
import { blake3, toHex } from "../core/blake3.ts";
import { encodeCbor } from "../core/cbor.ts";
import { DreamDBError, type ErrorCode } from "../errors.ts";
import { type EmbeddingField, type FieldSpec, fieldToCbor } from "../objects/field.ts";
import { appendToIndex, type BatchEntry, batchCodec, type NewPage } from "../objects/index-tree.ts";
import { encodeManifest, type Manifest, type Track } from "../objects/manifest.ts";
import { isGraph } from "../objects/spatial-index.ts";
import { type Ancestry, ancestryOf, type Base, type State } from "./ancestry.ts";
import { batchEntry } from "./append.ts";
import { prepareBatches } from "./batch.ts";
import { type Draft, publish } from "./commit.ts";
import type { Context } from "./context.ts";
import { indexedRowsOf } from "./health.ts";
import { beginHolding, EVER } from "./holding.ts";
import { type Indexers, keyOf } from "./indexer.ts";
import {
  byTime,
  commonLength,
  type Held,
  keyOfEntry,
  type Listed,
  type Listings,
  listTrees,
  unite,
} from "./merge-entries.ts";
import { collisionsIn, survivors, winnerOf } from "./merge-rows.ts";
import {
  buildTrack,
  planTrack,
  storing,
  type TrackOption,
  type TrackPlan,
  trackOptions,
  withoutGraph,
} from "./merge-tracks.ts";
import { readState, type Source } from "./named-state.ts";
import { putObjects } from "./put-objects.ts";
import { RecordSource } from "./row-source.ts";
import type { SpaceRegistry } from "./space-registry.ts";
import type { Tip } from "./tip.ts";

/**
 * `fast-forward`: only moves the ref on to a state that descends from its own. `refuse-on-conflict`: unites, unless states
 * contradict each other. `union-tracks`: of contradicting records keeps the one whose content has the greatest hash. `ours`,
 * `theirs`: of contradicting records keeps that of this ref, or that of the others. The last three report what they decided.
 */
export type MergeStrategy = "fast-forward" | "refuse-on-conflict" | "union-tracks" | "ours" | "theirs";

export interface MergeOptions {
  /** Default `refuse-on-conflict`, and for `mergeMany` `union-tracks`. */
  strategy?: MergeStrategy;
  /** Finds out what would be done and writes nothing; conflicts are then told, not thrown. Default false. */
  dryRun?: boolean;
  /**
   * What to do where sides have built indexes of a field that do not come one from the other. `refuse`, the default:
   * `LineageMismatch`. `delta`: the index that covers more rows stays, ties by the greatest address; rows of the other side are encoded
   * for it from their columns, or, where it is a graph, are scanned by every search until the next build.
   */
  onUnrelatedIndex?: "refuse" | "delta";
  /** Conflicts that are told in full; all are counted. Default 100. */
  conflictLimit?: number;
}

/** One side of a conflict: the refs (or addresses) that were merged which say so, and what they say. */
export interface ConflictVersion<V> {
  refs: string[];
  value: V;
}

/** Two sides that can't both be right. */
export type MergeConflict =
  | {
      kind: "record";
      /** Unix nanoseconds. */
      anchor: bigint;
      /** Names of the fields whose values differ. */
      fields: string[];
      /** The records, by field name, each with the refs that have it. */
      versions: ConflictVersion<Record<string, unknown>>[];
      /** The version that stays: its place in `versions`. */
      kept: number;
    }
  | {
      kind: "field";
      field: string;
      /** The field's flags as the sides have them. */
      versions: ConflictVersion<unknown>[];
      kept: number;
    }
  | {
      kind: "index";
      field: string;
      /** Addresses of the SpatialIndexes, and the rows that each covers. */
      versions: ConflictVersion<{ spatialIndex: Address; compressor?: Address; rows: number }>[];
      kept: number;
    };

export interface MergedTrack {
  spatialIndex: Address;
  /** Rows that are, or were, encoded for the index that stays, because no segment of theirs could be kept. */
  encodedRows: number;
  /** Rows that the index does not cover: every search scans them. Those without a value count as well. */
  unindexedRows: number;
}

export interface MergeResult {
  /** `up-to-date`: there was nothing to bring in. `fast-forward`: the ref moved on to a state that there was. `merge`: a new state. */
  kind: "up-to-date" | "fast-forward" | "merge";
  strategy: MergeStrategy;
  /** The state that the ref names now. Absent from a dry run of a merge. */
  manifest?: Address;
  seq?: number;
  /** Of the new state, ascending; those of `fast-forward` and `up-to-date` are empty. */
  parents: Address[];
  /** Where the histories parted. */
  bases: Address[];
  /** Records afterwards, and how many more than the ref had. */
  rows: number;
  added: number;
  conflicts: MergeConflict[];
  conflictCount: number;
  /** By the name of the vector field. */
  tracks: Record<string, MergedTrack>;
  isDryRun: boolean;
  /** Of a dry run: the code of the error that the merge would end in. */
  refusedBy?: ErrorCode;
}

export interface MergeTarget {
  ctx: Context;
  name: string;
  origin: bigint;
  indexers: Indexers;
  space: SpaceRegistry;
}

const STRATEGIES: readonly string[] = [
  "fast-forward",
  "refuse-on-conflict",
  "union-tracks",
  "ours",
  "theirs",
] satisfies MergeStrategy[];
const CONFLICT_LIMIT = 100;

/** Only for tests: leaves the order of what is united as it comes, so that they see what depends on it. */
export const sorting = { isOff: false };

/** Merges the named states into the ref that `tip` is of, or into whatever it has become. */
export async function mergeMany(
  target: MergeTarget,
  tip: Tip,
  names: readonly string[],
  options: MergeOptions,
  defaultStrategy: MergeStrategy,
): Promise<{ tip: Tip; result: MergeResult }> {
  const checked = checkOptions(options, defaultStrategy);
  const sources = await readSources(target.ctx, names);
  if (checked.isDryRun) {
    const planned = await plan(target, tip, sources, checked);
    return { tip, result: planned.result };
  }
  let last: MergeResult | undefined;
  const published = await publish(target.ctx, target.name, tip, {
    opId: target.ctx.random(16),
    async draft(current) {
      const planned = await plan(target, current, sources, checked);
      const draft = await build(target, planned);
      last = planned.result;
      return draft;
    },
  });
  const { own } = published;
  return {
    tip: published.tip,
    result: { ...(last as MergeResult), manifest: own.address, seq: own.manifest.seq },
  };
}

interface Checked {
  strategy: MergeStrategy;
  isDryRun: boolean;
  onUnrelatedIndex: "refuse" | "delta";
  conflictLimit: number;
}

function checkOptions(
  { strategy, dryRun = false, onUnrelatedIndex = "refuse", conflictLimit = CONFLICT_LIMIT }: MergeOptions,
  defaultStrategy: MergeStrategy,
): Checked {
  const chosen = strategy ?? defaultStrategy;
  if (!STRATEGIES.includes(chosen)) throw invalid("strategy", chosen, `one of ${STRATEGIES.join(", ")}`);
  if (typeof dryRun !== "boolean") throw invalid("dryRun", dryRun, "true or false");
  if (onUnrelatedIndex !== "refuse" && onUnrelatedIndex !== "delta")
    throw invalid("onUnrelatedIndex", onUnrelatedIndex, "refuse or delta");
  if (!Number.isSafeInteger(conflictLimit) || conflictLimit < 0)
    throw invalid("conflictLimit", conflictLimit, "an integer from 0");
  return { strategy: chosen, isDryRun: dryRun, onUnrelatedIndex, conflictLimit };
}

async function readSources(ctx: Context, names: readonly string[]): Promise<Source[]> {
  if (!Array.isArray(names) || names.length === 0)
    throw invalid("names", names, "at least one name of a branch or snapshot");
  const sources: Source[] = [];
  await beginHolding(ctx);
  for (const name of names as readonly string[]) {
    const source = await readState(ctx, name);
    // Another ref is to reach it: its own may be deleted before that.
    ctx.holding.states.set(source.address, name);
    // No ref need have led to it when it was read.
    if (isAddress(name)) ctx.holding.since = EVER;
    sources.push(source);
  }
  return sources;
}

interface FieldPlan {
  field: EmbeddingField;
  plan: TrackPlan;
}

/** What a merge comes to, before anything is written. */
interface Plan {
  result: MergeResult;
  /** The state to move on to, or what a new one is made of. */
  next: undefined | { moveTo: State } | MergePlan;
}

interface MergePlan {
  ancestry: Ancestry;
  fields: FieldSpec[];
  timeline: Timeline;
  tracks: FieldPlan[];
  objects: NewPage[];
}

async function plan(target: MergeTarget, tip: Tip, sources: readonly Source[], how: Checked): Promise<Plan> {
  const { session } = target.ctx;
  const own = { address: tip.address, manifest: tip.manifest };
  const ancestry = await ancestryOf(session, [own, ...sources]);
  const { heads, bases } = ancestry;
  const [only] = heads;
  const result: MergeResult = {
    kind: "merge",
    strategy: how.strategy,
    parents: [],
    bases: bases.map(({ address }) => address),
    rows: tip.manifest.timeline.rows,
    added: 0,
    conflicts: [],
    conflictCount: 0,
    tracks: {},
    isDryRun: how.isDryRun,
  };
  if (heads.length === 1 && only !== undefined) {
    const isUpToDate = only.address === tip.address;
    const { rows } = only.manifest.timeline;
    const { seq } = only.manifest;
    Object.assign(result, {
      kind: isUpToDate ? "up-to-date" : "fast-forward",
      rows,
      added: rows - result.rows,
      manifest: only.address,
      seq,
    });
    return { result, next: isUpToDate ? undefined : { moveTo: only } };
  }
  if (how.strategy === "fast-forward") {
    if (!how.isDryRun) throw diverged(target.name, heads.length);
    return { result: { ...result, refusedBy: "Conflict" }, next: undefined };
  }
  result.parents = heads.map(({ address }) => address);
  const labels = labelsOf(heads, [{ ...own, label: target.name }, ...sources]);
  const judge = new Judge(heads, labels, own.address, how);
  const fields = mergeFields(heads, bases, judge);
  const timeline = await mergeTimelines(target, heads, bases, fields, judge);
  const objects: NewPage[] = [];
  const tracks = await planTracks(target, { heads, bases, fields, timeline }, judge, objects);
  Object.assign(result, { conflicts: judge.conflicts, conflictCount: judge.count });
  result.rows = timeline.rows;
  result.added = timeline.rows - tip.manifest.timeline.rows;
  const left = timeline.cut.reduce((sum, { batch, lost }) => sum + batch.entry.rows - lost.size, 0);
  for (const { field, plan: planned } of tracks)
    result.tracks[field.name] = toldOf(planned, timeline.rows, left);
  const refusal = judge.refusal(target.name);
  if (refusal !== undefined && !how.isDryRun) throw refusal;
  if (refusal !== undefined) result.refusedBy = refusal.code;
  return { result, next: { ancestry, fields, timeline, tracks, objects } };
}

/** @param left rows of batches that are written anew */
function toldOf({ track, segments, missing }: TrackPlan, rows: number, left: number): MergedTrack {
  const encodedRows = missing.reduce((sum, entry) => sum + entry.rows, left);
  const inSegments = [...segments.pages, ...segments.entries].reduce((sum, { rows: each }) => sum + each, 0);
  const covered = indexedRowsOf({ ...track, segments: { pages: [], entries: [], rows: inSegments } });
  const hasSegments = "tables" in track.spatialIndex || "centroids" in track.spatialIndex;
  return {
    spatialIndex: track.address,
    encodedRows: hasSegments ? encodedRows : 0,
    unindexedRows: Math.max(0, rows - covered - (hasSegments ? encodedRows : 0)),
  };
}

/** What callers called each head: names whose state it is, or which it descends from. */
function labelsOf(heads: readonly State[], sources: readonly Source[]): string[][] {
  return heads.map(({ address }) =>
    [...new Set(sources.filter((source) => source.address === address).map(({ label }) => label))].sort(),
  );
}

/** Decides conflicts as the strategy says, and remembers them. */
class Judge {
  readonly conflicts: MergeConflict[] = [];
  count = 0;
  /** Those that a strategy decides: all but indexes. */
  private contradictions = 0;
  private unrelated = false;
  /** Heads whose word counts first. */
  readonly preferred: bigint;
  private readonly labels: readonly string[][];
  private readonly how: Checked;

  constructor(heads: readonly State[], labels: readonly string[][], own: Address, how: Checked) {
    this.labels = labels;
    this.how = how;
    const ours = heads.reduce((bits, { address }, h) => bits | (address === own ? 1n << BigInt(h) : 0n), 0n);
    const all = (1n << BigInt(heads.length)) - 1n;
    this.preferred = how.strategy === "ours" ? ours : how.strategy === "theirs" ? all & ~ours : 0n;
  }

  refsOf(heads: bigint): string[] {
    return [...new Set(this.labels.flatMap((names, h) => ((heads >> BigInt(h)) & 1n ? names : [])))].sort();
  }

  note(conflict: () => MergeConflict): void {
    this.contradictions++;
    this.tell(conflict);
  }

  private tell(conflict: () => MergeConflict): void {
    this.count++;
    if (this.conflicts.length < this.how.conflictLimit) this.conflicts.push(conflict());
  }

  noteUnrelated(conflict: () => MergeConflict): void {
    this.unrelated = true;
    this.tell(conflict);
  }

  /** `LineageMismatch` for indexes that can't be brought together, `MergeConflict`, or nothing to refuse. */
  refusal(name: string): DreamDBError | undefined {
    const { conflicts } = this;
    if (this.unrelated && this.how.onUnrelatedIndex === "refuse") {
      const found = conflicts.find(({ kind }) => kind === "index");
      throw new DreamDBError(
        "LineageMismatch",
        "the sides have indexes that do not come one from the other",
        {
          field: found?.kind === "index" ? found.field : "index",
          found: `${found?.versions.length ?? 2} unrelated indexes`,
          expected: 'one built from the other, or onUnrelatedIndex: "delta"',
          committed: "no",
          conflicts,
        },
      );
    }
    const isRefusing = this.how.strategy === "refuse-on-conflict";
    if (!isRefusing || this.contradictions === 0) return undefined;
    const first = conflicts.find(({ kind }) => kind !== "index");
    return new DreamDBError("MergeConflict", `the sides contradict each other; "${name}" is as it was`, {
      field: first?.kind === "record" ? "_anchor" : (first?.field ?? "conflicts"),
      found: `${this.contradictions} conflict${this.contradictions === 1 ? "" : "s"}${first?.kind === "record" ? `, the first at anchor ${first.anchor}` : ""}`,
      expected: "none, or the strategy union-tracks, ours or theirs",
      committed: "no",
      conflicts,
    });
  }
}

/**
 * The schema (spec/0008-versioning-collab.md §7): fields that one side added or dropped since the histories parted are added or dropped,
 * and flags that one side changed are as that side has them; `required` is what all sides ask for.
 */
function mergeFields(heads: readonly State[], bases: readonly Base[], judge: Judge): FieldSpec[] {
  const byId = new Map<number, FieldSpec>();
  for (const { manifest } of heads)
    for (const field of manifest.fields) byId.set(field.id, byId.get(field.id) ?? field);
  const merged: FieldSpec[] = [];
  for (const { id } of byId.values()) {
    const field = mergeField(id, heads, bases, judge);
    if (field !== undefined) merged.push(field);
  }
  const [first] = merged;
  // Two fields of one name, which sides that did not know of each other gave different ids.
  const double = merged.find((field, i) => merged.findIndex(({ name }) => name === field.name) !== i);
  if (double !== undefined || first === undefined) throw schemaConflict(double?.name ?? "schema");
  return merged;
}

/** Undefined when a side dropped the field. */
function mergeField(
  id: number,
  heads: readonly State[],
  bases: readonly Base[],
  judge: Judge,
): FieldSpec | undefined {
  const fieldIn = ({ manifest }: State | Base): FieldSpec | undefined =>
    manifest.fields.find((field) => field.id === id);
  const having = heads.filter((head) => fieldIn(head) !== undefined);
  const first = fieldIn(having[0] as State) as FieldSpec;
  const old = new Set(bases.flatMap((base) => fieldIn(base) ?? []).map(variantOf));
  for (const head of having)
    if (!isSameBut(fieldIn(head) as FieldSpec, first)) throw schemaConflict(first.name);
  const lacking = heads.filter((head) => fieldIn(head) === undefined);
  if (lacking.some(({ manifest }) => manifest.nextFieldId > id)) {
    // That side dropped the field, or gave its number to another. What one side dropped and another changed is nobody's to decide.
    const isUnchanged = having.every((head) => old.has(variantOf(fieldIn(head) as FieldSpec)));
    if (old.size === 0 || !isUnchanged) throw schemaConflict(first.name);
    return undefined;
  }
  const variants = new Map<string, { field: FieldSpec; heads: bigint }>();
  for (const [h, head] of heads.entries()) {
    const own = fieldIn(head);
    if (own === undefined) continue;
    const known = variants.get(variantOf(own));
    variants.set(variantOf(own), { field: own, heads: (known?.heads ?? 0n) | (1n << BigInt(h)) });
  }
  const all = [...variants];
  const changed = all.filter(([variant]) => !old.has(variant));
  const open = (changed.length > 0 ? changed : all).sort(([a], [b]) => (a > b ? -1 : 1));
  const kept =
    open.find(([, { heads: own }]) => (own & judge.preferred) !== 0n) ?? (open[0] as (typeof open)[0]);
  if (open.length > 1) {
    judge.note(() => ({
      kind: "field",
      field: first.name,
      versions: open.map(([, { field: own, heads: which }]) => ({
        refs: judge.refsOf(which),
        value: flagsOf(own),
      })),
      kept: open.indexOf(kept),
    }));
  }
  const required = heads.every((head) => fieldIn(head)?.required === true);
  return { ...kept[1].field, required };
}

/** What may change of a field. `required` is not decided between sides, but for all of them. */
function flagsOf(field: FieldSpec): Record<string, unknown> {
  const { compressor, index, rerank, mime } = field as unknown as Record<string, unknown>;
  return Object.fromEntries(
    Object.entries({ compressor, index, rerank, mime }).filter(([, value]) => value !== undefined),
  );
}

function variantOf(field: FieldSpec): string {
  return toHex(encodeCbor(fieldToCbor({ ...field, required: false })));
}

function isSameBut(a: FieldSpec, b: FieldSpec): boolean {
  const bare = (field: FieldSpec): string => {
    const {
      compressor: _,
      index: __,
      ...rest
    } = field as FieldSpec & { compressor?: unknown; index?: unknown };
    const plain =
      "mime" in rest ? { ...rest, mime: "" } : "rerank" in rest ? { ...rest, rerank: false } : rest;
    return variantOf(plain as FieldSpec);
  };
  return a.kind === b.kind && bare(a) === bare(b);
}

/** The merged timeline, and what it is made of. */
interface Timeline {
  listings: Listings<BatchEntry>;
  /** After the pages that all begin with, in their order. */
  batches: Listed<BatchEntry>[];
  /** Batches that lose rows: what is left of them is written anew. */
  cut: { batch: Held<BatchEntry>; lost: Set<bigint> }[];
  rows: number;
  /** How many of `batches` have to stay first, in this order: a graph covers them. */
  firm?: number;
}

async function mergeTimelines(
  { ctx, origin, space }: MergeTarget,
  heads: readonly State[],
  bases: readonly Base[],
  fields: readonly FieldSpec[],
  judge: Judge,
): Promise<Timeline> {
  const roots = [...heads, ...bases].map(({ manifest }) => manifest.timeline);
  const listings = await listTrees(ctx.session, roots, batchCodec);
  const own = listings.rests.slice(0, heads.length);
  const united = unite(
    own,
    bases.map((base, i) => ({
      heads: base.heads,
      rest: listings.rests[heads.length + i] as Listed<BatchEntry>[],
    })),
  );
  const { deleted } = await space.get(ctx.session);
  const lost = new Map<string, Set<bigint>>();
  for await (const { tick, versions } of collisionsIn(ctx.session, [...united.values()], fields)) {
    const winner = winnerOf(versions, judge);
    for (const { batch } of versions) {
      if (batch === winner.batch) continue;
      lost.set(batch.key, (lost.get(batch.key) ?? new Set()).add(tick));
    }
    const digests = [...new Set(versions.map(({ digest }) => digest))].sort();
    // Of a deleted record nobody sees what it was; that one of them has to go is no contradiction.
    if (digests.length === 1 || deleted.has(tick)) continue;
    judge.note(() => {
      const told = digests.map((digest) => versions.filter((version) => version.digest === digest));
      const values = told.map(([version]) => version?.values as unknown[]);
      return {
        kind: "record",
        anchor: tick + origin,
        fields: fields
          .filter(
            (field, f) =>
              !areEqual(
                field,
                values.map((row) => row[f]),
              ),
          )
          .map(({ name }) => name),
        versions: told.map((same, i) => ({
          refs: judge.refsOf(same.reduce((bits, { batch }) => bits | batch.heads, 0n)),
          value: recordOf(fields, values[i] as unknown[]),
        })),
        kept: digests.indexOf(winner.digest),
      };
    });
  }
  const cut = [...lost].map(([key, ticks]) => ({ batch: united.get(key) as Held<BatchEntry>, lost: ticks }));
  cut.sort((a, b) => byTime(a.batch, b.batch));
  for (const { batch } of cut) united.delete(batch.key);
  const first = (own[0] as Listed<BatchEntry>[])
    .slice(0, commonLength(own))
    .filter(({ key }) => united.has(key));
  const known = new Set(first.map(({ key }) => key));
  const rest = [...united.values()].filter(({ key }) => !known.has(key));
  const batches = [...first, ...(sorting.isOff ? rest : rest.sort(byTime))];
  const sum = (entries: readonly { rows: number }[]): number =>
    entries.reduce((total, { rows }) => total + rows, 0);
  const rows =
    sum(listings.pages) +
    sum(batches.map(({ entry }) => entry)) +
    cut.reduce((total, { batch, lost: ticks }) => total + batch.entry.rows - ticks.size, 0);
  return { listings, batches, cut, rows };
}

function areEqual(field: FieldSpec, values: readonly unknown[]): boolean {
  const texts = values.map((value) => {
    if (ArrayBuffer.isView(value))
      return toHex(blake3(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)));
    return field.kind === "float" && Object.is(value, -0) ? "-0" : `${typeof value} ${String(value)}`;
  });
  return texts.every((text) => text === texts[0]);
}

function recordOf(fields: readonly FieldSpec[], values: readonly unknown[]): Record<string, unknown> {
  const present = fields
    .map((field, f) => [field.name, values[f]] as const)
    .filter(([, value]) => value !== undefined);
  return Object.fromEntries(present);
}

/** Chooses each field's index, and puts the batches of a graph first. */
async function planTracks(
  { ctx }: MergeTarget,
  merging: { heads: readonly State[]; bases: readonly Base[]; fields: FieldSpec[]; timeline: Timeline },
  judge: Judge,
  objects: NewPage[],
): Promise<FieldPlan[]> {
  const { heads, bases, fields, timeline } = merging;
  const chosen: { field: EmbeddingField; option: TrackOption }[] = [];
  for (const field of fields) {
    if (field.kind !== "embedding") continue;
    const options = await trackOptions(ctx.session, heads, bases, field.id);
    const option =
      options.find(({ heads: having }) => (having & judge.preferred) !== 0n) ?? (options[0] as TrackOption);
    if (options.length > 1) {
      judge.noteUnrelated(() => ({
        kind: "index",
        field: field.name,
        versions: options.map(({ track, rows, heads: having }) => ({
          refs: judge.refsOf(having),
          value: {
            spatialIndex: track.address,
            ...(track.compressor === undefined ? {} : { compressor: track.compressor.address }),
            rows,
          },
        })),
        kept: options.indexOf(option),
      }));
    }
    chosen.push({ field, option });
  }
  const graphs = chosen
    .filter(({ option }) => isGraph(option.track.spatialIndex))
    .sort((a, b) => b.option.rows - a.option.rows || (a.option.key > b.option.key ? -1 : 1));
  for (const { field, option } of graphs) {
    const isLeading = leadWith(merging.heads, timeline, field, option);
    if (!isLeading) option.track = withoutGraph(option.track, objects);
  }
  const kept = new Set(timeline.batches.map(({ key }) => key));
  const merged = { heads, bases, listings: timeline.listings, batches: timeline.batches, kept };
  const plans: FieldPlan[] = [];
  for (const { field, option } of chosen) {
    const planned = await planTrack(ctx.session, merged, field, { ...option, key: keyOf(option.track) });
    plans.push({ field, plan: planned });
  }
  return plans;
}

/** Puts the batches of a graph first, in the graph's order. False when the timeline begins with others already, or one is gone. */
function leadWith(
  heads: readonly State[],
  timeline: Timeline,
  field: EmbeddingField,
  { track, key }: TrackOption,
): boolean {
  const { listings } = timeline;
  if (!isGraph(track.spatialIndex)) return true;
  let left = track.spatialIndex.rows - listings.pages.reduce((sum, { rows }) => sum + rows, 0);
  if (left <= 0) return true;
  const h = heads.findIndex(({ manifest }) => {
    const own = manifest.tracks.get(field.id);
    return own !== undefined && keyOf(own) === key;
  });
  const lead: Listed<BatchEntry>[] = [];
  for (const batch of listings.rests[h] as Listed<BatchEntry>[]) {
    if (left <= 0) break;
    left -= batch.entry.rows;
    lead.push(batch);
  }
  const present = new Set(timeline.batches.map((batch) => batch.key));
  if (lead.some((batch) => !present.has(batch.key))) return false;
  // What an earlier graph put first has to stay there.
  const firm = timeline.firm ?? 0;
  const isFitting = lead.slice(0, firm).every((batch, i) => batch.key === timeline.batches[i]?.key);
  if (!isFitting) return false;
  if (lead.length <= firm) return true;
  if (firm > 0) return false;
  const leading = new Set(lead.map((batch) => batch.key));
  timeline.batches = [...lead, ...timeline.batches.filter((batch) => !leading.has(batch.key))];
  timeline.firm = lead.length;
  return true;
}

/** Writes what the new state takes besides the Manifest and pages, and makes these. */
async function build(target: MergeTarget, { next }: Plan): Promise<Draft | undefined> {
  if (next === undefined) return undefined;
  const { ctx, indexers } = target;
  if ("moveTo" in next) {
    const { manifest, address } = next.moveTo;
    return { manifest, objects: [], stored: await ctx.session.object(address) };
  }
  const { ancestry, fields, timeline, tracks } = next;
  const objects = [...next.objects];
  const { heads } = ancestry;
  const highest = heads.reduce((a, b) => (b.manifest.seq > a.manifest.seq ? b : a)).manifest;
  const left = await writeCut(target, fields, highest, timeline);
  const listed = left.map((entry) => ({ entry, key: keyOfEntry(entry, batchCodec) }));
  const firm = timeline.firm ?? 0;
  const length = Math.max(firm, commonLength(timeline.listings.rests.slice(0, heads.length)));
  const first = timeline.batches.slice(0, length);
  const rest = [...timeline.batches.slice(length), ...listed];
  const batches = [...first, ...(sorting.isOff ? rest : rest.sort(byTime))].map(({ entry }) => entry);
  const { pages, stored } = timeline.listings;
  const tree = appendToIndex<BatchEntry>(
    { pages, entries: [], rows: pages.reduce((sum, { rows }) => sum + rows, 0) },
    batches,
    batchCodec,
    storing(objects, stored),
  );
  const built = new Map<number, Track>();
  for (const { field, plan: planned } of tracks) {
    const missing = [...planned.missing, ...left.filter(({ columns }) => columns.has(field.id))];
    const { track } = await buildTrack({ ctx, indexers, objects }, field, { ...planned, missing });
    built.set(field.id, track);
  }
  const manifests = heads.map(({ manifest }) => manifest);
  const manifest: Manifest = {
    genesis: highest.genesis,
    parents: heads.map(({ address }) => address),
    seq: highest.seq + 1,
    ts: greatest(manifests.map(({ ts }) => ts)),
    writer: "",
    opId: new Uint8Array(16),
    op: "merge",
    fields,
    nextFieldId: Math.max(...manifests.map(({ nextFieldId }) => nextFieldId)),
    autoHigh: greatest(manifests.map(({ autoHigh }) => autoHigh)),
    lane: 0,
    timeline: tree,
    tracks: built,
  };
  // A name that follows from the state itself: whoever merges the same sides in the same way makes the same bytes.
  return { manifest: { ...manifest, opId: blake3(encodeManifest(manifest)).slice(0, 16) }, objects };
}

function greatest(values: readonly bigint[]): bigint {
  return values.reduce((a, b) => (b > a ? b : a));
}

/** Batches of the records that are left of those which lost some. */
async function writeCut(
  { ctx, origin }: MergeTarget,
  fields: FieldSpec[],
  manifest: Manifest,
  { cut }: Timeline,
): Promise<BatchEntry[]> {
  const entries: BatchEntry[] = [];
  for (const { batch, lost } of cut) {
    if (lost.size === batch.entry.rows) continue;
    const records = await survivors(ctx.session, fields, batch.entry, lost, origin);
    const source = new RecordSource(records);
    // Deleted records among them may have no values any more.
    const lenient = fields.map((field) => ({ ...field, required: false }));
    await prepareBatches(
      source,
      { ...manifest, fields: lenient },
      origin,
      ctx.kernels,
      new Map(),
      async (made) => {
        const sealed = [made.anchors, made.scalarIndex, ...made.columns.values()];
        await putObjects(
          ctx,
          sealed.flatMap((one) =>
            one === undefined ? [] : [{ address: one.ref.address, bytes: one.bytes }],
          ),
        );
        entries.push(batchEntry(made, (made.ticks as bigint[])[0] as bigint));
      },
    );
  }
  return entries;
}

function diverged(name: string, heads: number): DreamDBError {
  return new DreamDBError("Conflict", "the ref can't be moved on: both sides have changes of their own", {
    field: "strategy",
    found: `fast-forward, with ${heads} states of which none descends from the others`,
    expected: `states that descend from that of "${name}", or another strategy`,
    committed: "no",
  });
}

function schemaConflict(field: string): DreamDBError {
  return new DreamDBError("MergeConflict", "the sides have schemas that can't be brought together", {
    field,
    found: "another definition",
    expected: "the same but for its flags; fields that one side alone added or dropped",
    committed: "no",
    conflicts: [],
  });
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "this can't be merged", {
    field,
    found,
    expected,
    committed: "no",
  });
}
