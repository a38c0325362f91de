/**
 * What the stages of a step of index maintenance hand on (spec/0020-maintenance.md §9): a plan, the parts that were worked
 * off, and what they come to. No Manifest names these objects; the segments that parts name are those of the new Track.
 */
import { type Address, addressFromCbor, addressOf, addressToCbor } from "../core/address.ts";
import { encodeCbor } from "../core/cbor.ts";
import {
  type BatchEntry,
  batchCodec,
  type IndexRoot,
  indexFromCbor,
  indexToCbor,
  type SegmentEntry,
  segmentCodec,
} from "./index-tree.ts";
import type { LineageRef } from "./manifest.ts";
import { corrupt, decodeObject, FORMAT_VERSION, Shape } from "./shape.ts";
import {
  cellCount,
  decodeSpatialIndex,
  encodeSpatialIndex,
  isTrained,
  type TrainedIndex,
} from "./spatial-index.ts";

const PLAN = "dreamdb.ada-ivf-plan";
const PART = "dreamdb.ada-ivf-part";
const COLLECTION = "dreamdb.ada-ivf-collection";
const MAX_LINEAGE_BYTES = 1 << 24;

/** The state that a step begins with, as far as it matters: equal states and options give equal plans. */
export interface StepBase {
  genesis: Address;
  field: number;
  spatialIndex: Address;
  compressor?: Address;
  lineage?: LineageRef;
  segments: IndexRoot<SegmentEntry>;
  timeline: IndexRoot<BatchEntry>;
}

export interface StepPlan {
  base: StepBase;
  /** The index that the step leads to, and its address. */
  index: TrainedIndex;
  address: Address;
  /** Cells of the base whose rows are all written anew: split, recentred, dissolved, or numbered anew; ascending. */
  sources: number[];
  /** Cells of the new index that have not the centroid that their number had before, ascending. */
  changed: number[];
  /** Cells of the base, a task's after another's: those above, and neighbours of theirs that may have rows to give away. */
  tasks: number[][];
  /** A neighbour is rewritten when at least so many of a million of its rows have a nearer cell now. */
  reassignPpm: number;
}

/** What became of one task. */
export interface TaskResult {
  task: number;
  /** Neighbours that are rewritten. */
  rewritten: number[];
  /** Rows that were looked at, and those of them that changed their cell. */
  rows: number;
  movedRows: number;
  segments: SegmentEntry[];
}

export interface StepPart {
  plan: Address;
  results: TaskResult[];
}

export interface StepCollection {
  plan: Address;
  lineage?: LineageRef;
  /** Segments of the base that still have rows, with as many as count, and those of the parts, a task's after another's. */
  kept: SegmentEntry[];
  made: SegmentEntry[];
  /** Rows that changed their cell. */
  movedRows: number;
}

/** The base and what else decides about a plan: their hash is the seed of all draws, and the new index's. */
export function encodeStepBase(base: StepBase, options: string): Uint8Array {
  return encodeCbor({ ...baseToCbor(base), options });
}

export function encodeStepPlan(plan: StepPlan): Uint8Array {
  const { base, index, sources, changed, tasks, reassignPpm } = plan;
  return encodeCbor({
    kind: PLAN,
    version: FORMAT_VERSION,
    base: baseToCbor(base),
    index: encodeSpatialIndex(index),
    ...{ sources, changed, tasks, reassignPpm },
  });
}

/** Errors: `Corrupt`, `UnsupportedVersion`. */
export function decodeStepPlan(bytes: Uint8Array): StepPlan {
  const shape = decodeObject(bytes, PLAN);
  const encoded = shape.bytes("index");
  const index = decodeSpatialIndex(encoded);
  if (!isTrained(index) || index.algorithm === "dreamdb.imi-cosine")
    throw corrupt(`${PLAN}.index`, index.algorithm, "a centroid for each cell");
  const cells = (key: string): number[] => uints(shape.array(key), `${PLAN}.${key}`);
  return {
    base: baseFromCbor(shape.value("base")),
    index,
    address: addressOf(encoded),
    sources: ascending(cells("sources"), 2 ** 32),
    changed: ascending(cells("changed"), cellCount(index)),
    tasks: shape.array("tasks").map((task) => uints(task, `${PLAN}.tasks`)),
    reassignPpm: shape.uint("reassignPpm", 1_000_001),
  };
}

export function encodeStepPart({ plan, results }: StepPart): Uint8Array {
  return encodeCbor({
    kind: PART,
    version: FORMAT_VERSION,
    plan: addressToCbor(plan),
    results: results.map(({ task, rewritten, rows, movedRows, segments }) => [
      ...[task, rewritten, rows, movedRows],
      entriesToCbor(segments),
    ]),
  });
}

/** Errors: `Corrupt`, `UnsupportedVersion`. */
export function decodeStepPart(bytes: Uint8Array): StepPart {
  const shape = decodeObject(bytes, PART);
  const results = shape.array("results").map((value) => {
    const result = new Shape(value, `${PART}.results`).exactly(5);
    return {
      task: result.uint(0),
      rewritten: uints(result.array(1), `${PART}.rewritten`),
      rows: result.uint(2),
      movedRows: result.uint(3),
      segments: entriesFromCbor(result.value(4)),
    };
  });
  return { plan: shape.address("plan"), results };
}

export function encodeStepCollection(collection: StepCollection): Uint8Array {
  const { plan, lineage, kept, made, movedRows } = collection;
  return encodeCbor({
    kind: COLLECTION,
    version: FORMAT_VERSION,
    plan: addressToCbor(plan),
    ...(lineage === undefined ? {} : { lineage: lineageToCbor(lineage) }),
    kept: entriesToCbor(kept),
    made: entriesToCbor(made),
    movedRows,
  });
}

/** Errors: `Corrupt`, `UnsupportedVersion`. */
export function decodeStepCollection(bytes: Uint8Array): StepCollection {
  const shape = decodeObject(bytes, COLLECTION);
  return {
    plan: shape.address("plan"),
    ...(shape.has("lineage") ? { lineage: lineageFromCbor(shape.value("lineage")) } : {}),
    kept: entriesFromCbor(shape.value("kept")),
    made: entriesFromCbor(shape.value("made")),
    movedRows: shape.uint("movedRows"),
  };
}

function baseToCbor(base: StepBase): Record<string, unknown> {
  const { genesis, field, spatialIndex, compressor, lineage, segments, timeline } = base;
  return {
    genesis: addressToCbor(genesis),
    field,
    spatialIndex: addressToCbor(spatialIndex),
    ...(compressor === undefined ? {} : { compressor: addressToCbor(compressor) }),
    ...(lineage === undefined ? {} : { lineage: lineageToCbor(lineage) }),
    segments: indexToCbor(segments, segmentCodec),
    timeline: indexToCbor(timeline, batchCodec),
  };
}

function baseFromCbor(value: unknown): StepBase {
  const shape = new Shape(value, `${PLAN}.base`);
  return {
    genesis: shape.address("genesis"),
    field: shape.uint("field"),
    spatialIndex: shape.address("spatialIndex"),
    ...(shape.has("compressor") ? { compressor: shape.address("compressor") } : {}),
    ...(shape.has("lineage") ? { lineage: lineageFromCbor(shape.value("lineage")) } : {}),
    segments: indexFromCbor(shape.value("segments"), segmentCodec),
    timeline: indexFromCbor(shape.value("timeline"), batchCodec),
  };
}

function lineageToCbor({ address, bytes }: LineageRef): unknown[] {
  return [addressToCbor(address), bytes];
}

function lineageFromCbor(value: unknown): LineageRef {
  const ref = new Shape(value, "lineage").exactly(2);
  return { address: addressFromCbor(ref.value(0), "lineage"), bytes: ref.uint(1, MAX_LINEAGE_BYTES, 1) };
}

/** Entries in a list of any length, as a tree without pages has them. */
function entriesToCbor(entries: SegmentEntry[]): unknown {
  const rows = entries.reduce((sum, entry) => sum + entry.rows, 0);
  return indexToCbor({ pages: [], entries, rows }, segmentCodec);
}

function entriesFromCbor(value: unknown): SegmentEntry[] {
  return indexFromCbor(value, segmentCodec).entries;
}

function uints(value: unknown, field: string): number[] {
  const shape = new Shape(value, field);
  return shape.entries().map((_, i) => shape.uint(i, 2 ** 32 - 1));
}

function ascending(cells: number[], limit: number): number[] {
  const bad = cells.find((cell, i) => cell >= limit || (i > 0 && cell <= (cells[i - 1] as number)));
  if (bad !== undefined) throw corrupt(`${PLAN}.cells`, bad, `ascending cells below ${limit}`);
  return cells;
}
