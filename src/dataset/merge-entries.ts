/** Index trees as sets of entries: what heads share is not read, and the rest is united (spec/0008-versioning-collab.md §5). */
import type { Address } from "../core/address.ts";
import { toHex } from "../core/blake3.ts";
import { encodeCbor } from "../core/cbor.ts";
import type { EntryCodec, IndexRoot, Interval, PageRef } from "../objects/index-tree.ts";
import type { Session } from "./session.ts";
import { readPage } from "./timeline.ts";

/** An entry, and its bytes in hex with the first tick in full: equal texts are equal entries. */
export interface Listed<E> {
  entry: E;
  key: string;
}

/** Trees as lists. */
export interface Listings<E extends Interval> {
  /** Pages that all trees begin with, in the same order. */
  pages: PageRef[];
  /** What comes after these, of each tree, in its order. */
  rests: Listed<E>[][];
  /** Pages that are stored: those of all trees that were read. */
  stored: Set<Address>;
}

export function keyOfEntry<E extends Interval>(entry: E, codec: EntryCodec<E>): string {
  return toHex(encodeCbor([entry.base, entry.span, entry.rows, ...codec.encode(entry)]));
}

/** @param isShared whether pages that all trees begin with are left unread */
export async function listTrees<E extends Interval>(
  session: Session,
  roots: readonly IndexRoot<E>[],
  codec: EntryCodec<E>,
  isShared = true,
): Promise<Listings<E>> {
  const pages: PageRef[] = [];
  const [first] = roots;
  for (const [i, page] of (isShared ? (first?.pages ?? []) : []).entries()) {
    if (roots.some((root) => root.pages[i]?.address !== page.address)) break;
    pages.push(page);
  }
  const stored = new Set(pages.map(({ address }) => address));
  const rests: Listed<E>[][] = [];
  for (const root of roots) {
    const rest: Listed<E>[] = [];
    for (const page of root.pages.slice(pages.length)) await listPage(session, page, codec, stored, rest);
    for (const entry of root.entries) rest.push({ entry, key: keyOfEntry(entry, codec) });
    rests.push(rest);
  }
  return { pages, rests, stored };
}

async function listPage<E extends Interval>(
  session: Session,
  page: PageRef,
  codec: EntryCodec<E>,
  stored: Set<Address>,
  out: Listed<E>[],
): Promise<void> {
  stored.add(page.address);
  for (const child of await readPage(session, page, codec)) {
    if (page.level > 0) await listPage(session, child as PageRef, codec, stored, out);
    else out.push({ entry: child as E, key: keyOfEntry(child as E, codec) });
  }
}

/** An entry and the heads that have it, a bit each. */
export interface Held<E> extends Listed<E> {
  heads: bigint;
}

/** A set of entries and the heads that descend from it. */
export interface BaseEntries<E> {
  heads: bigint;
  rest: Listed<E>[];
}

/**
 * The three-way union: an entry stays unless a head lacks it that descends from a base which has it. Such a head took it out.
 * @returns by key, in no order that counts
 */
export function unite<E>(
  heads: readonly Listed<E>[][],
  bases: readonly BaseEntries<E>[],
): Map<string, Held<E>> {
  const held = new Map<string, Held<E>>();
  for (const [h, rest] of heads.entries()) {
    for (const { entry, key } of rest) {
      const known = held.get(key);
      if (known === undefined) held.set(key, { entry, key, heads: 1n << BigInt(h) });
      else known.heads |= 1n << BigInt(h);
    }
  }
  for (const { heads: descendants, rest } of bases) {
    for (const { key } of rest) {
      const known = held.get(key);
      if (known !== undefined && (descendants & ~known.heads) !== 0n) held.delete(key);
    }
  }
  return held;
}

/** How many entries all lists begin with. */
export function commonLength<E>(lists: readonly Listed<E>[][]): number {
  const [first = []] = lists;
  let length = 0;
  while (length < first.length && lists.every((list) => list[length]?.key === first[length]?.key)) length++;
  return length;
}

/** By first tick, then by bytes: an order that depends on nothing but the entries. */
export function byTime<E extends Interval>(a: Listed<E>, b: Listed<E>): number {
  if (a.entry.base !== b.entry.base) return a.entry.base < b.entry.base ? -1 : 1;
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

/**
 * The entries that a tree has beside those of an earlier one.
 * @returns undefined when it lacks some of these; `isExtended` when it begins with them, in their order
 */
export async function addedTo<E extends Interval>(
  session: Session,
  before: IndexRoot<E>,
  after: IndexRoot<E>,
  codec: EntryCodec<E>,
): Promise<{ added: E[]; isExtended: boolean } | undefined> {
  const { rests } = await listTrees(session, [before, after], codec);
  const [old, now] = rests as [Listed<E>[], Listed<E>[]];
  const known = new Set(old.map(({ key }) => key));
  const added = now.filter(({ key }) => !known.has(key));
  if (added.length + known.size !== now.length) return undefined;
  return { added: added.map(({ entry }) => entry), isExtended: commonLength([old, now]) === old.length };
}
