/** Anchors that several heads gave records of their own (spec/0008-versioning-collab.md §6). */
import { blake3, toHex } from "../core/blake3.ts";
import { encodeCbor } from "../core/cbor.ts";
import type { FieldSpec } from "../objects/field.ts";
import type { BatchEntry } from "../objects/index-tree.ts";
import { LANES } from "./anchors.ts";
import type { Held, Listed } from "./merge-entries.ts";
import { readRows } from "./rows.ts";
import type { Session } from "./session.ts";
import { anchorsOf, type BatchAnchors } from "./timeline.ts";

/** One of the records at an anchor. */
export interface Version {
  /** The batch, and its number there. */
  batch: Held<BatchEntry>;
  row: number;
  /** BLAKE3 of the record's content, in hex: see `digestOf`. */
  digest: string;
  /** In the order of the fields; undefined where it has none. */
  values: unknown[];
}

/** An anchor with more than one record, of different batches. */
export interface Collision {
  tick: bigint;
  versions: Version[];
}

/** Collisions that are read at a time. */
const AT_ONCE = 256;

/**
 * Every anchor that is in two of `batches`. Two that one head has are never compared: a state has no anchor twice.
 * Only anchors of batches whose intervals overlap are read, and records only where anchors are equal.
 */
export async function* collisionsIn(
  session: Session,
  batches: readonly Held<BatchEntry>[],
  fields: readonly FieldSpec[],
): AsyncGenerator<Collision> {
  const shared = await sharedTicks(session, batches);
  const ticks = [...shared.keys()].sort((a, b) => (a < b ? -1 : 1));
  for (let from = 0; from < ticks.length; from += AT_ONCE) {
    const some = ticks.slice(from, from + AT_ONCE);
    const places = some.flatMap((tick) =>
      [...(shared.get(tick) as Map<Held<BatchEntry>, number>)].map(([batch, row]) => ({ tick, batch, row })),
    );
    const rows = await readRows(
      session,
      fields,
      places.map(({ batch, row }) => ({ entry: batch.entry, row })),
    );
    const found = new Map<bigint, Version[]>();
    places.forEach(({ tick, batch, row }, i) => {
      const values = rows[i] as unknown[];
      const version = { batch, row, values, digest: digestOf(fields, values) };
      found.set(tick, [...(found.get(tick) ?? []), version]);
    });
    for (const [tick, versions] of found) yield { tick, versions };
  }
}

/** By tick, the batches that have it and the row in each. */
async function sharedTicks(
  session: Session,
  batches: readonly Held<BatchEntry>[],
): Promise<Map<bigint, Map<Held<BatchEntry>, number>>> {
  const read = new Map<Held<BatchEntry>, BatchAnchors>();
  const anchors = async (batch: Held<BatchEntry>): Promise<BatchAnchors> => {
    const known = read.get(batch) ?? (await anchorsOf(session, batch.entry));
    read.set(batch, known);
    return known;
  };
  const shared = new Map<bigint, Map<Held<BatchEntry>, number>>();
  const note = (tick: bigint, batch: Held<BatchEntry>, row: number): void => {
    const rows = shared.get(tick) ?? new Map();
    shared.set(tick, rows.set(batch, row));
  };
  let open: Held<BatchEntry>[] = [];
  for (const batch of [...batches].sort((a, b) => (a.entry.base < b.entry.base ? -1 : 1))) {
    open = open.filter((other) => {
      const isPast = other.entry.base + other.entry.span < batch.entry.base;
      if (isPast) read.delete(other);
      return !isPast;
    });
    for (const other of open) {
      if ((other.heads & batch.heads) !== 0n || isApart(other.entry, batch.entry)) continue;
      await eachShared(await anchors(other), await anchors(batch), (tick, a, b) => {
        note(tick, other, a);
        note(tick, batch, b);
      });
    }
    open.push(batch);
  }
  return shared;
}

/** Whether two batches give automatic anchors of different lanes. */
function isApart(a: BatchEntry, b: BatchEntry): boolean {
  const isAutomatic = ({ anchors }: BatchEntry): boolean => "step" in anchors && anchors.step % LANES === 0n;
  return isAutomatic(a) && isAutomatic(b) && a.base % LANES !== b.base % LANES;
}

async function eachShared(
  a: BatchAnchors,
  b: BatchAnchors,
  visit: (tick: bigint, rowOfA: number, rowOfB: number) => void,
): Promise<void> {
  let at = 0;
  for (let row = a.rowFrom(b.tick(0)); row < a.rows && at < b.rows; ) {
    const tick = a.tick(row);
    at = b.rowFrom(tick);
    if (at === b.rows) return;
    if (b.tick(at) === tick) visit(tick, row++, at);
    else row = a.rowFrom(b.tick(at));
  }
}

/**
 * BLAKE3 of a record's content, in hex: of the CBOR map from field id to the value's bytes, those without a value left out. Two
 * records are equal when these are, however they are packed.
 */
export function digestOf(fields: readonly FieldSpec[], values: readonly unknown[]): string {
  const present = new Map<number, Uint8Array>();
  for (const [f, field] of fields.entries())
    if (values[f] !== undefined) present.set(field.id, bytesOf(field, values[f]));
  return toHex(blake3(encodeCbor(present)));
}

/** As columns of fixed width hold it, little-endian; text as UTF-8. */
function bytesOf({ kind }: FieldSpec, value: unknown): Uint8Array {
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (typeof value === "string") return new TextEncoder().encode(value);
  if (typeof value === "boolean") return Uint8Array.of(value ? 1 : 0);
  const view = new DataView(new ArrayBuffer(8));
  if (kind === "float") view.setFloat64(0, value as number, true);
  else view.setBigInt64(0, BigInt(value as number | bigint), true);
  return new Uint8Array(view.buffer);
}

/** How a record that several heads have differently is chosen. */
export interface Preference {
  /** Heads whose records stay where they have one, a bit each. 0n: none. */
  preferred: bigint;
}

/**
 * The version that stays: of those of the preferred heads, or else of all, the one with the greatest digest; and of equal ones that of
 * the batch with the most rows, since what loses rows is written anew.
 */
export function winnerOf(versions: readonly Version[], { preferred }: Preference): Version {
  const ours = versions.filter(({ batch }) => (batch.heads & preferred) !== 0n);
  const [first, ...others] = ours.length > 0 ? ours : versions;
  const best = others.reduce((a, b) => (b.digest > a.digest ? b : a), first as Version);
  const equal = versions.filter(({ digest }) => digest === best.digest);
  return equal.reduce((a, b) => (isLarger(b.batch, a.batch) ? b : a));
}

function isLarger(a: Listed<BatchEntry>, b: Listed<BatchEntry>): boolean {
  return a.entry.rows === b.entry.rows ? a.key > b.key : a.entry.rows > b.entry.rows;
}

/** Records of a batch, but for those at `lost`, as they were appended. */
export async function survivors(
  session: Session,
  fields: readonly FieldSpec[],
  entry: BatchEntry,
  lost: ReadonlySet<bigint>,
  origin: bigint,
): Promise<Record<string, unknown>[]> {
  const anchors = await anchorsOf(session, entry);
  const rows = Array.from({ length: entry.rows }, (_, row) => row).filter(
    (row) => !lost.has(anchors.tick(row)),
  );
  const values = await readRows(
    session,
    fields,
    rows.map((row) => ({ entry, row })),
  );
  return rows.map((row, i) => {
    const present = fields
      .map((field, f) => [field.name, (values[i] as unknown[])[f]] as const)
      .filter(([, value]) => value !== undefined);
    return { _anchor: anchors.tick(row) + origin, ...Object.fromEntries(present) };
  });
}
