/** Which objects stay (spec/0020-maintenance.md §7.3): all that roots reach, and of pruned states the skeletons. */
import type { Address } from "../core/address.ts";
import { decodeGenesis } from "../objects/genesis.ts";
import { decodeGraphIndex } from "../objects/graph-index.ts";
import {
  type BatchEntry,
  batchCodec,
  decodePage,
  type EntryCodec,
  type IndexRoot,
  type Interval,
  type PageRef,
  type SegmentEntry,
  segmentCodec,
} from "../objects/index-tree.ts";
import { decodeManifest, type LineageRef, type Manifest, type Track } from "../objects/manifest.ts";
import { decodeSpatialIndex, isGraph, isTrained } from "../objects/spatial-index.ts";
import { decodeTombstones } from "../objects/tombstones.ts";
import type { Redactions } from "./redactions.ts";
import { inParallel, type Session } from "./session.ts";

/** What is kept of a history. Without either, all of it. */
export interface KeepPolicy {
  /** So many of the latest states of each branch. */
  manifests?: number;
  /** States published at this time or later, Unix nanoseconds, by their writers' clocks. */
  since?: bigint;
}

/**
 * Marks what states reach. Nothing is decided about what can't be read: any error ends it.
 * Errors: `NotFound`, `HashMismatch`, `Corrupt`, `StoreUnavailable`.
 */
export class Marker {
  readonly live = new Set<Address>();
  /** Manifests whose data stays, and those of which it does not. */
  readonly full = new Set<Address>();
  readonly skeletons = new Set<Address>();
  private readonly session: Session;
  private readonly onProgress: (marked: number) => void;
  private readonly beyond: Marker | undefined;
  /** Pages under which data was marked, too, and Spaces that have redactions, which see other data under the same page. */
  private readonly whole = new Set<string>();
  /** By Genesis. */
  private readonly redactions = new Map<Address, Redactions>();

  /** @param beyond another, whose states and pages are left out, with all that they lead to */
  constructor(session: Session, onProgress: (marked: number) => void = () => {}, beyond?: Marker) {
    this.session = session;
    this.onProgress = onProgress;
    this.beyond = beyond;
  }

  /** Marks states with their data, and their histories. @param isSkeleton of an ancestor: whether its data goes */
  async states(roots: readonly Address[], isSkeleton: (manifest: Address) => boolean): Promise<void> {
    const named = new Set(roots);
    let wave = [...named].filter((address) => !this.full.has(address));
    const seen = new Set(wave);
    while (wave.length > 0) {
      const next: Address[] = [];
      await inParallel(wave, async (address) => {
        const isFull = named.has(address) || !isSkeleton(address);
        const manifest = await this.manifest(address, isFull);
        for (const parent of manifest?.parents ?? []) {
          if (seen.has(parent)) continue;
          seen.add(parent);
          next.push(parent);
        }
      });
      this.onProgress(this.live.size);
      wave = next;
    }
  }

  /** What stands for entries of a Space's states, whose data is kept instead. To be told before `states`. */
  redacted(genesis: Address, redactions: Redactions): void {
    if (!redactions.isEmpty) this.redactions.set(genesis, redactions);
  }

  /** The lists of a registry, and those they stand for. */
  async tombstones(lists: readonly Address[]): Promise<void> {
    for (const address of lists) {
      if (this.live.has(address)) continue;
      this.live.add(address);
      await this.tombstones(decodeTombstones(await this.session.object(address)).of ?? []);
    }
  }

  /** Undefined when it was marked like this before, with its history. */
  private async manifest(address: Address, isFull: boolean): Promise<Manifest | undefined> {
    if (this.isMarked(address, isFull) || this.beyond?.isMarked(address, isFull)) return undefined;
    const manifest = decodeManifest(await this.session.object(address));
    (isFull ? this.full : this.skeletons).add(address);
    if (isFull) this.skeletons.delete(address);
    this.live.add(address);
    this.live.add(manifest.genesis);
    await this.tree(manifest, manifest.timeline, batchCodec, isFull, (entry) => this.batch(entry));
    for (const track of manifest.tracks.values()) await this.track(manifest, track, isFull);
    return manifest;
  }

  private isMarked(manifest: Address, isFull: boolean): boolean {
    return this.full.has(manifest) || (!isFull && this.skeletons.has(manifest));
  }

  /** @param wholeKey of a page under which data is to be marked, too */
  private isMarkedPage(page: Address, wholeKey: string | undefined): boolean {
    return wholeKey === undefined ? this.live.has(page) : this.whole.has(wholeKey);
  }

  private async track(manifest: Manifest, track: Track, isFull: boolean): Promise<void> {
    await this.lineage(track.address);
    const seen = this.redactions.get(manifest.genesis)?.track(track) ?? track;
    await this.lineage(seen.address);
    if (isFull) await this.tables(seen);
    // Of a graph that was given up nothing is read but what says that it was there.
    await this.tree(
      manifest,
      track.segments,
      segmentCodec,
      isFull && seen === track,
      (entry: SegmentEntry) => {
        this.live.add(entry.container.address);
      },
      track.lineage,
    );
  }

  /** A SpatialIndex and those it was trained after: merges of pruned branches ask for them. */
  private async lineage(from: Address): Promise<void> {
    const waiting = [from];
    for (let address = waiting.pop(); address !== undefined; address = waiting.pop()) {
      if (this.live.has(address)) continue;
      waiting.push(...decodeSpatialIndex(await this.session.object(address)).parents);
      this.live.add(address);
    }
  }

  private async tables({ spatialIndex: index, compressor, lineage }: Track): Promise<void> {
    if (lineage !== undefined) this.live.add(lineage.address);
    if (isGraph(index)) {
      const { address } = index.graph;
      if (!this.whole.has(address)) {
        const graph = decodeGraphIndex(await this.session.object(address));
        for (const page of graph.pages) this.live.add(page.address);
        this.live.add(address);
        this.whole.add(address);
      }
    } else if (isTrained(index)) {
      const { centroids } = index;
      for (const { address } of Array.isArray(centroids) ? centroids : [centroids]) this.live.add(address);
    }
    if (compressor === undefined) return;
    this.live.add(compressor.address);
    if ("codebooks" in compressor.object) this.live.add(compressor.object.codebooks.address);
  }

  private batch({ anchors, columns, scalarIndex }: BatchEntry): void {
    if ("container" in anchors) this.live.add(anchors.container.address);
    for (const { address } of columns.values()) this.live.add(address);
    if (scalarIndex !== undefined) this.live.add(scalarIndex.address);
  }

  private async tree<E extends Interval>(
    { genesis }: Manifest,
    root: IndexRoot<E>,
    codec: EntryCodec<E>,
    isFull: boolean,
    markEntry: (entry: E) => void,
    lineage?: LineageRef,
  ): Promise<void> {
    const redactions = this.redactions.get(genesis);
    const mark = (entry: E): void => {
      const seen = redactions === undefined ? entry : redactions.entry(entry, codec, lineage);
      if (seen !== undefined) markEntry(seen);
    };
    const under = lineage === undefined ? genesis : `${genesis} ${lineage.address}`;
    const wholeKey = (page: Address): string => (redactions === undefined ? page : `${page} in ${under}`);
    if (isFull) for (const entry of root.entries) mark(entry);
    const waiting: PageRef[] = [...root.pages];
    for (let page = waiting.pop(); page !== undefined; page = waiting.pop()) {
      const key = isFull ? wholeKey(page.address) : undefined;
      if (this.isMarkedPage(page.address, key) || this.beyond?.isMarkedPage(page.address, key)) continue;
      const children = decodePage(await this.session.object(page.address), codec, page);
      if (page.level > 0) waiting.push(...(children as PageRef[]));
      else if (isFull) for (const entry of children as E[]) mark(entry);
      if (key !== undefined) this.whole.add(key);
      this.live.add(page.address);
    }
  }
}

/** The states of branches that a policy keeps; undefined when it keeps all. @param tips of branches */
export async function keptBy(
  session: Session,
  tips: readonly Address[],
  { manifests, since }: KeepPolicy,
): Promise<Set<Address> | undefined> {
  if (manifests === undefined && since === undefined) return undefined;
  const kept = new Set<Address>();
  for (const tip of tips) {
    const read = async (address: Address): Promise<{ address: Address; manifest: Manifest }> => ({
      address,
      manifest: decodeManifest(await session.object(address)),
    });
    const first = await read(tip);
    const { origin } =
      since === undefined ? { origin: 0n } : decodeGenesis(await session.object(first.manifest.genesis));
    const waiting = [first];
    const seen = new Set([tip]);
    for (let count = 0; waiting.length > 0; ) {
      waiting.sort((a, b) => a.manifest.seq - b.manifest.seq);
      const { address, manifest } = waiting.pop() as { address: Address; manifest: Manifest };
      const isRecent = since !== undefined && manifest.ts + origin >= since;
      if (count > 0 && count >= (manifests ?? 0) && !isRecent) continue;
      count++;
      kept.add(address);
      for (const parent of manifest.parents) {
        if (seen.has(parent)) continue;
        seen.add(parent);
        waiting.push(await read(parent));
      }
    }
  }
  return kept;
}
