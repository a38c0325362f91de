/** Filters: which rows of a batch, or of a whole timeline, meet a condition. */
import { type Address, addressOf } from "../core/address.ts";
import { DreamDBError } from "../errors.ts";
import {
  addAll,
  addShifted,
  allRows,
  type Bits,
  complement,
  countRows,
  hasRow,
  isNoRow,
  keepCommon,
  noRows,
} from "../index/bitset.ts";
import { type BatchEntry, batchCodec } from "../objects/index-tree.ts";
import { encodeManifest, type Manifest } from "../objects/manifest.ts";
import { Lru } from "../store/lru.ts";
import { matchColumn } from "./column-match.ts";
import { liveRows } from "./deleted.ts";
import { inParallel, type Session } from "./session.ts";
import { entriesIn } from "./timeline.ts";
import { type Condition, canonicalForm, type Leaf } from "./where.ts";

/** Default budget of kept results: 100 filters over 340,000 rows. */
const FILTER_CACHE_BYTES = 4 << 20;
const MAX_ROWS = 2 ** 32 - 1;

/**
 * Rows of a state that meet a condition. A row's ordinal is its number in the timeline in append order: rows of the
 * first batch, then of the second, and so on.
 */
export interface Ordinals {
  /** Ordinal o is bit o mod 8, least significant first, of byte o / 8; ⌈rows / 8⌉ bytes, shared: don't write. */
  bits: Uint8Array;
  /** How many there are. */
  count: number;
}

/** Results of filters, kept by state and condition; the longest unused go first. */
export class FilterCache {
  private readonly results: Lru<Ordinals>;

  constructor(budgetBytes = FILTER_CACHE_BYTES) {
    this.results = new Lru(budgetBytes);
  }

  get(manifest: Manifest, condition: Condition): Ordinals | undefined {
    return this.results.get(keyOf(manifest, condition));
  }

  set(manifest: Manifest, condition: Condition, found: Ordinals): void {
    const key = keyOf(manifest, condition);
    this.results.set(key, found, found.bits.length + 2 * key.length);
  }
}

const caches = new WeakMap<Session, FilterCache>();
const addresses = new WeakMap<Manifest, Address>();

function cacheOf(session: Session): FilterCache {
  const cache = caches.get(session) ?? new FilterCache();
  caches.set(session, cache);
  return cache;
}

function keyOf(manifest: Manifest, condition: Condition): string {
  const address = addresses.get(manifest) ?? addressOf(encodeManifest(manifest));
  addresses.set(manifest, address);
  return `${address} ${canonicalForm(condition)}`;
}

/**
 * The rows of a state that meet `condition`, out of scalar indexes where there are any, and columns elsewhere.
 * @param cache keeps the result; by default one of 4 MiB that the session has
 * Errors: `LimitExceeded` over 2^32 − 1 rows, `Corrupt`, `HashMismatch`, `NotFound`.
 */
export async function matchingOrdinals(
  session: Session,
  manifest: Manifest,
  condition: Condition,
  cache = cacheOf(session),
): Promise<Ordinals> {
  const held = cache.get(manifest, condition);
  if (held !== undefined) return held;
  const { rows } = manifest.timeline;
  if (rows > MAX_ROWS) {
    throw new DreamDBError("LimitExceeded", "a filter over too many rows", {
      field: "rows",
      found: rows,
      expected: `at most ${MAX_ROWS}`,
    });
  }
  const batches: { entry: BatchEntry; first: number }[] = [];
  let first = 0;
  for await (const entry of entriesIn(session, manifest.timeline, batchCodec)) {
    batches.push({ entry, first });
    first += entry.rows;
  }
  const all = noRows(rows);
  await inParallel(batches, async ({ entry, first }) => {
    addShifted(all, await matchBatch(session, entry, condition), first);
  });
  const found = { bits: new Uint8Array(all.buffer, 0, Math.ceil(rows / 8)), count: countRows(all) };
  cache.set(manifest, condition, found);
  return found;
}

/** One byte a row, 1 where the condition holds; undefined when no row can match. */
export async function matchingRows(
  session: Session,
  entry: BatchEntry,
  condition: Condition,
): Promise<Uint8Array | undefined> {
  const bits = await matchBatch(session, entry, condition);
  if (isNoRow(bits)) return undefined;
  return Uint8Array.from({ length: entry.rows }, (_, row) => (hasRow(bits, row) ? 1 : 0));
}

/** The rows of one batch that meet `condition`. Errors: `Corrupt`, `HashMismatch`, `NotFound`. */
export async function matchBatch(session: Session, entry: BatchEntry, condition: Condition): Promise<Bits> {
  switch (condition.op) {
    case "and": {
      const bits = allRows(entry.rows);
      for (const part of cheapestFirst(condition.of)) {
        if (isNoRow(bits)) break;
        keepCommon(bits, await matchBatch(session, entry, part));
      }
      return bits;
    }
    case "or": {
      const bits = noRows(entry.rows);
      for (const part of condition.of) addAll(bits, await matchBatch(session, entry, part));
      return bits;
    }
    case "not": {
      const bits = await matchBatch(session, entry, condition.of);
      complement(bits, entry.rows);
      return bits;
    }
    case "live":
      return liveRows(session, entry, condition.deleted);
    default:
      return matchLeaf(session, entry, condition);
  }
}

async function matchLeaf(session: Session, entry: BatchEntry, leaf: Leaf): Promise<Bits> {
  // A module of its own to load: many a program never filters by a field that has an index.
  const { matchIndex } = await import("./index-match.ts");
  return (await matchIndex(session, entry, leaf)) ?? (await matchColumn(session, entry, leaf));
}

/** What leaves no row behind is best known before columns of text are read. */
function cheapestFirst(parts: readonly Condition[]): Condition[] {
  return [...parts].sort((a, b) => costOf(a) - costOf(b));
}

/** Roughly the bytes a row that have to be read. */
function costOf(condition: Condition): number {
  switch (condition.op) {
    case "and":
    case "or":
      return condition.of.reduce((sum, part) => sum + costOf(part), 0);
    case "not":
      return costOf(condition.of);
    case "live":
      return 0;
    default:
      if (condition.field.index || condition.op === "exists") return 1;
      return { bool: 1, categorical: 4, int: 8, float: 8, timestamp: 8, string: 24 }[condition.field.kind];
  }
}
