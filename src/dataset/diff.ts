/** `diff`: what one state has that another has not (spec/0008-versioning-collab.md §9). What both share is not read. */
import type { Address } from "../core/address.ts";
import { toHex } from "../core/blake3.ts";
import { encodeCbor } from "../core/cbor.ts";
import { DreamDBError } from "../errors.ts";
import { type FieldSpec, fieldToCbor } from "../objects/field.ts";
import { decodeGenesis } from "../objects/genesis.ts";
import { type BatchEntry, batchCodec, type IndexRoot, type PageRef } from "../objects/index-tree.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { openStore } from "../store/open.ts";
import type { StoreOptions } from "../store/remote/options.ts";
import { signalled } from "../store/signalled.ts";
import type { State } from "./ancestry.ts";
import type { Backend, Cancellable } from "./context.ts";
import { type Deleted, eachDead } from "./deleted.ts";
import { indexedRowsOf } from "./health.ts";
import { keyOf } from "./indexer.ts";
import { keyOfEntry } from "./merge-entries.ts";
import { digestOf } from "./merge-rows.ts";
import { readState } from "./named-state.ts";
import { readRows } from "./rows.ts";
import { Session } from "./session.ts";
import { SpaceRegistry } from "./space-registry.ts";
import { anchorsOf, type Located, readPage } from "./timeline.ts";

/** A record that only one state has, or that both have differently. */
export interface RecordChange {
  change: "added" | "removed" | "changed";
  /** Unix nanoseconds. */
  anchor: bigint;
  /** For `changed`: names of the fields whose values differ. */
  fields?: string[];
  /** By field name: what the first state has, and the second. */
  before?: Record<string, unknown>;
  after?: Record<string, unknown>;
}

export interface FieldChange {
  change: "added" | "removed" | "changed";
  field: string;
  /** For `changed`: what of it differs, such as `compressor`. */
  properties?: string[];
}

export interface IndexChange {
  field: string;
  before: { spatialIndex: Address; compressor?: Address; indexedRows: number };
  after: { spatialIndex: Address; compressor?: Address; indexedRows: number };
}

/** How a state differs from an earlier one, or from any of the same Space. */
export interface Diff {
  /** Manifests that were compared. */
  from: Address;
  to: Address;
  /** Records of both states. */
  rows: { from: number; to: number };
  added: number;
  removed: number;
  changed: number;
  fields: FieldChange[];
  /** Fields whose index or codes are others; segments that were only added are no change. */
  indexes: IndexChange[];
  /** The records, by ascending anchor: read as they are asked for. */
  records(options?: { fields?: string[] }): AsyncGenerator<RecordChange>;
}

/** Errors: `LineageMismatch` for states of two Spaces. */
export async function diffStates(
  session: Session,
  from: State,
  to: State,
  space = new SpaceRegistry(session, from.manifest.genesis),
): Promise<Diff> {
  const [a, b] = [from.manifest, to.manifest];
  if (a.genesis !== b.genesis) {
    throw new DreamDBError("LineageMismatch", "states of different datasets can't be compared", {
      field: "genesis",
      found: b.genesis,
      expected: a.genesis,
    });
  }
  const { deleted } = await space.get(session);
  await space.follow(session);
  const { origin } = decodeGenesis(await session.object(a.genesis));
  const { removed, added } = await batchesApart(session, a.timeline, b.timeline);
  const compared = await compareRows(session, { removed, added, deleted }, a.fields);
  const [rowsBefore, rowsAfter] = [await space.count(a, session), await space.count(b, session)];
  return {
    from: from.address,
    to: to.address,
    rows: { from: rowsBefore, to: rowsAfter },
    added: compared.added,
    removed: compared.removed,
    changed: compared.changed.size,
    fields: fieldChanges(a.fields, b.fields),
    indexes: indexChanges(a, b),
    records: ({ fields } = {}) =>
      recordChanges(session, { a, b, removed, added, deleted, changed: compared.changed, origin }, fields),
  };
}

/**
 * How the second state differs from the first; each is a ref's name or a Manifest's address.
 * Errors: `NotFound`, `InvalidName`, `LineageMismatch` for states of two Spaces, `StoreUnavailable`.
 */
export async function diff(
  backend: Backend | { backend: Backend },
  from: string,
  to: string,
  { signal, ...options }: StoreOptions & Cancellable = {},
): Promise<Diff> {
  const session = new Session(signalled(openStore(backend, options), signal), CACHE_BYTES);
  const states = await Promise.all([from, to].map((name) => readState({ session }, name)));
  return diffStates(session, states[0] as State, states[1] as State);
}

/** How a state differs from that of a ref's name or a Manifest's address. */
export async function diffFrom(
  session: Session,
  from: string,
  to: State,
  space: SpaceRegistry,
): Promise<Diff> {
  return diffStates(session, await readState({ session }, from), to, space);
}

/** Heads of columns and blocks that are read more than once. */
const CACHE_BYTES = 16 << 20;

/** Batches that only one of two timelines has. Pages that both have are not read, wherever they stand. */
async function batchesApart(
  session: Session,
  a: IndexRoot<BatchEntry>,
  b: IndexRoot<BatchEntry>,
): Promise<{ removed: BatchEntry[]; added: BatchEntry[] }> {
  let left: Open = { pages: a.pages, entries: listed(a.entries) };
  let right: Open = { pages: b.pages, entries: listed(b.entries) };
  // Level by level: a page may stand under another one on the other side.
  for (;;) {
    const shared = new Set(
      left.pages
        .map(({ address }) => address)
        .filter((address) => right.pages.some((page) => page.address === address)),
    );
    left.pages = left.pages.filter(({ address }) => !shared.has(address));
    right.pages = right.pages.filter(({ address }) => !shared.has(address));
    const level = Math.max(
      -1,
      ...left.pages.map((page) => page.level),
      ...right.pages.map((page) => page.level),
    );
    if (level < 0) break;
    left = await opened(session, left, level);
    right = await opened(session, right, level);
  }
  const [before, after] = [new Map(left.entries), new Map(right.entries)];
  return {
    removed: [...before].filter(([key]) => !after.has(key)).map(([, entry]) => entry),
    added: [...after].filter(([key]) => !before.has(key)).map(([, entry]) => entry),
  };
}

interface Open {
  pages: PageRef[];
  entries: [string, BatchEntry][];
}

function listed(entries: readonly BatchEntry[]): [string, BatchEntry][] {
  return entries.map((entry) => [keyOfEntry(entry, batchCodec), entry]);
}

async function opened(session: Session, { pages, entries }: Open, level: number): Promise<Open> {
  const next: Open = { pages: pages.filter((page) => page.level < level), entries: [...entries] };
  for (const page of pages.filter((each) => each.level === level)) {
    const children = await readPage(session, page, batchCodec);
    if (level > 0) next.pages.push(...(children as PageRef[]));
    else next.entries.push(...listed(children as BatchEntry[]));
  }
  return next;
}

/** Places of a record in both states. */
interface Moved {
  before: Located;
  after: Located;
}

/** Counts, and the records that both states have differently. Anchors are read only where both sides have batches of their own. */
async function compareRows(
  session: Session,
  { removed, added, deleted }: Pick<Compared, "removed" | "added" | "deleted">,
  fields: readonly FieldSpec[],
): Promise<{ added: number; removed: number; changed: Map<bigint, Moved> }> {
  const sum = async (entries: readonly BatchEntry[]): Promise<number> => {
    let rows = 0;
    for (const entry of entries) {
      rows += entry.rows;
      await eachDead(session, entry, deleted, () => rows--);
    }
    return rows;
  };
  const changed = new Map<bigint, Moved>();
  if (removed.length === 0 || added.length === 0)
    return { added: await sum(added), removed: await sum(removed), changed };
  const both: [bigint, Moved][] = [];
  const before = new Map<bigint, Located>();
  for await (const [tick, at] of ticksOf(session, removed, deleted)) before.set(tick, at);
  for await (const [tick, after] of ticksOf(session, added, deleted)) {
    const at = before.get(tick);
    if (at !== undefined) both.push([tick, { before: at, after }]);
  }
  for (let i = 0; i < both.length; i += ROWS_AT_ONCE) {
    const some = both.slice(i, i + ROWS_AT_ONCE);
    const old = await readRows(
      session,
      fields,
      some.map(([, moved]) => moved.before),
    );
    const now = await readRows(
      session,
      fields,
      some.map(([, moved]) => moved.after),
    );
    for (const [n, [tick, moved]] of some.entries())
      if (digestOf(fields, old[n] as unknown[]) !== digestOf(fields, now[n] as unknown[]))
        changed.set(tick, moved);
  }
  return { added: (await sum(added)) - both.length, removed: (await sum(removed)) - both.length, changed };
}

/** Records that are read at a time. */
const ROWS_AT_ONCE = 256;

/** The records of batches that are not deleted. */
async function* ticksOf(
  session: Session,
  entries: readonly BatchEntry[],
  deleted: Deleted,
): AsyncGenerator<[bigint, Located]> {
  for (const entry of entries) {
    const anchors = await anchorsOf(session, entry);
    for (let row = 0; row < anchors.rows; row++)
      if (deleted.size === 0 || !deleted.has(anchors.tick(row))) yield [anchors.tick(row), { entry, row }];
  }
}

interface Compared {
  a: Manifest;
  b: Manifest;
  removed: readonly BatchEntry[];
  added: readonly BatchEntry[];
  deleted: Deleted;
  changed: ReadonlyMap<bigint, Moved>;
  origin: bigint;
}

async function* recordChanges(
  session: Session,
  { a, b, removed, added, deleted, changed, origin }: Compared,
  names: readonly string[] | undefined,
): AsyncGenerator<RecordChange> {
  const isWanted = ({ name }: FieldSpec): boolean => names === undefined || names.includes(name);
  const [oldFields, newFields] = [a.fields.filter(isWanted), b.fields.filter(isWanted)];
  const places = new Map<bigint, { before?: Located; after?: Located }>();
  for await (const [tick, before] of ticksOf(session, removed, deleted)) places.set(tick, { before });
  for await (const [tick, after] of ticksOf(session, added, deleted)) {
    const known = places.get(tick);
    if (known === undefined) places.set(tick, { after });
    else if (changed.has(tick)) known.after = after;
    else places.delete(tick);
  }
  const ticks = [...places.keys()].sort((x, y) => (x < y ? -1 : 1));
  for (let i = 0; i < ticks.length; i += ROWS_AT_ONCE) {
    const some = ticks.slice(i, i + ROWS_AT_ONCE);
    const before = await readSome(
      session,
      oldFields,
      some.map((tick) => places.get(tick)?.before),
    );
    const after = await readSome(
      session,
      newFields,
      some.map((tick) => places.get(tick)?.after),
    );
    for (const [n, tick] of some.entries()) yield changeOf(tick + origin, newFields, before[n], after[n]);
  }
}

async function readSome(
  session: Session,
  fields: readonly FieldSpec[],
  places: readonly (Located | undefined)[],
): Promise<(Record<string, unknown> | undefined)[]> {
  const rows = await readRows(
    session,
    fields,
    places.filter((place) => place !== undefined),
  );
  let next = 0;
  return places.map((place) => {
    if (place === undefined) return undefined;
    const values = rows[next++] as unknown[];
    const present = fields
      .map((field, f) => [field.name, values[f]] as const)
      .filter(([, value]) => value !== undefined);
    return Object.fromEntries(present);
  });
}

function changeOf(
  anchor: bigint,
  fields: readonly FieldSpec[],
  before: Record<string, unknown> | undefined,
  after: Record<string, unknown> | undefined,
): RecordChange {
  if (before === undefined) return { change: "added", anchor, after: after ?? {} };
  if (after === undefined) return { change: "removed", anchor, before };
  const differs = (field: FieldSpec): boolean =>
    digestOf([field], [before[field.name]]) !== digestOf([field], [after[field.name]]);
  return { change: "changed", anchor, fields: fields.filter(differs).map(({ name }) => name), before, after };
}

export function fieldChanges(before: readonly FieldSpec[], after: readonly FieldSpec[]): FieldChange[] {
  const changes: FieldChange[] = [];
  for (const old of before) {
    const now = after.find(({ id }) => id === old.id);
    if (now === undefined) changes.push({ change: "removed", field: old.name });
    else {
      const properties = differing(old, now);
      if (properties.length > 0) changes.push({ change: "changed", field: now.name, properties });
    }
  }
  for (const now of after)
    if (!before.some(({ id }) => id === now.id)) changes.push({ change: "added", field: now.name });
  return changes;
}

function differing(a: FieldSpec, b: FieldSpec): string[] {
  const [x, y] = [fieldToCbor(a), fieldToCbor(b)] as Record<string, unknown>[];
  const text = (value: unknown): string => (value === undefined ? "" : toHex(encodeCbor(value)));
  return [...new Set([...Object.keys(x ?? {}), ...Object.keys(y ?? {})])]
    .filter((key) => text(x?.[key]) !== text(y?.[key]))
    .sort();
}

function indexChanges(a: Manifest, b: Manifest): IndexChange[] {
  const told = (track: Track): IndexChange["before"] => ({
    spatialIndex: track.address,
    ...(track.compressor === undefined ? {} : { compressor: track.compressor.address }),
    indexedRows: indexedRowsOf(track),
  });
  const changes: IndexChange[] = [];
  for (const field of b.fields) {
    const [before, after] = [a.tracks.get(field.id), b.tracks.get(field.id)];
    if (before === undefined || after === undefined || keyOf(before) === keyOf(after)) continue;
    changes.push({ field: field.name, before: told(before), after: told(after) });
  }
  return changes;
}
