/**
 * RedactionMap: what stands for batches, segments and graphs that held deleted records (spec/0020-maintenance.md §5). States
 * that name the old ones are read through it, so that their containers need not be kept.
 */
import { type Address, addressFromCbor, addressOf, addressToCbor } from "../core/address.ts";
import { blake3, toHex } from "../core/blake3.ts";
import { encodeCbor } from "../core/cbor.ts";
import {
  type BatchEntry,
  batchCodec,
  type EntryCodec,
  type Interval,
  type SegmentEntry,
  segmentCodec,
} from "./index-tree.ts";
import { corrupt, decodeObject, FORMAT_VERSION, Shape } from "./shape.ts";
import { decodeSpatialIndex, type SpatialIndex } from "./spatial-index.ts";

const KIND = "dreamdb.redactions";

export interface RedactedEntry<E extends Interval> {
  /** Of the entry that is replaced: see `digestOfEntry`. */
  key: string;
  /** Deleted anchors in the entry's interval when it was replaced: more of them ask for another look. */
  dead: number;
  /** What stands for it; undefined for a segment of which no row is left. */
  entry: E | undefined;
}

/** A graph that covered a deleted record, and the index that its field has in its place. */
export interface RedactedIndex {
  graph: Address;
  address: Address;
  spatialIndex: SpatialIndex;
  inline: Uint8Array;
}

export interface RedactionMap {
  genesis: Address;
  /** Each ascending by key. */
  batches: RedactedEntry<BatchEntry>[];
  segments: RedactedEntry<SegmentEntry>[];
  /** Ascending by `graph`. */
  indexes: RedactedIndex[];
}

/**
 * BLAKE3, in hex, of the entry as an array with its first tick in full.
 * @param lineage of the Track, where not all rows of a segment count: entries of others may be equal and count other rows
 */
export function digestOfEntry<E extends Interval>(entry: E, codec: EntryCodec<E>, lineage?: Address): string {
  const items = itemsOf(entry, codec);
  return toHex(blake3(encodeCbor(lineage === undefined ? items : [...items, addressToCbor(lineage)])));
}

function itemsOf<E extends Interval>(entry: E, codec: EntryCodec<E>): unknown[] {
  return [entry.base, entry.span, entry.rows, ...codec.encode(entry)];
}

export function encodeRedactions({ genesis, batches, segments, indexes }: RedactionMap): Uint8Array {
  return encodeCbor({
    kind: KIND,
    version: FORMAT_VERSION,
    genesis: addressToCbor(genesis),
    batches: batches.map((each) => entryToCbor(each, batchCodec)),
    segments: segments.map((each) => entryToCbor(each, segmentCodec)),
    indexes: indexes.map(({ graph, address, inline }) => [
      addressToCbor(graph),
      addressToCbor(address),
      inline,
    ]),
  });
}

function entryToCbor<E extends Interval>(
  { key, dead, entry }: RedactedEntry<E>,
  codec: EntryCodec<E>,
): unknown[] {
  const head: unknown[] = [bytesOfHex(key), dead];
  return entry === undefined ? head : [...head, itemsOf(entry, codec)];
}

function bytesOfHex(hex: string): Uint8Array {
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) =>
    Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
}

export function decodeRedactions(bytes: Uint8Array): RedactionMap {
  const shape = decodeObject(bytes, KIND);
  const map = {
    genesis: shape.address("genesis"),
    batches: shape.array("batches").map((each) => entryFromCbor(each, batchCodec)),
    segments: shape.array("segments").map((each) => entryFromCbor(each, segmentCodec)),
    indexes: shape.array("indexes").map(indexFromCbor),
  };
  const missing = map.batches.find(({ entry }) => entry === undefined);
  if (missing !== undefined) throw corrupt("redactions.batches", missing.key, "an entry for each batch");
  ascending(map.batches.map(({ key }) => key));
  ascending(map.segments.map(({ key }) => key));
  ascending(map.indexes.map(({ graph }) => graph));
  return map;
}

function entryFromCbor<E extends Interval>(value: unknown, codec: EntryCodec<E>): RedactedEntry<E> {
  const shape = new Shape(value, "redactions.entry").exactly(2, 3);
  const head = { key: toHex(shape.bytes(0, 32)), dead: shape.uint(1) };
  if (!shape.has(2)) return { ...head, entry: undefined };
  const items = new Shape(shape.value(2), codec.of).exactly(codec.items, codec.maxItems);
  const interval = { base: items.u64(0), span: items.u64(1), rows: items.uint(2, 2 ** 32 - 1) };
  if (interval.rows < 1) throw corrupt("redactions.entry.rows", interval.rows, "at least 1");
  return { ...head, entry: codec.decode(items, interval) };
}

function indexFromCbor(value: unknown): RedactedIndex {
  const shape = new Shape(value, "redactions.index").exactly(3, 3);
  const inline = shape.bytes(2);
  const address = shape.address(1);
  if (addressOf(inline) !== address) throw corrupt("redactions.index", addressOf(inline), address);
  const graph = addressFromCbor(shape.value(0), "redactions.index");
  return { graph, address, inline, spatialIndex: decodeSpatialIndex(inline) };
}

function ascending(keys: readonly string[]): void {
  const at = keys.findIndex((key, i) => i > 0 && key <= (keys[i - 1] as string));
  if (at >= 0) throw corrupt("redactions", keys[at], "keys in ascending order, each once");
}
