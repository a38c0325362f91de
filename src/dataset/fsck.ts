/** Checking a backend from its refs: everything they reach is there, hashes right, and fits together. */
import { type Address, addressOf, addressOfDigest, isAddress, objectKey } from "../core/address.ts";
import { blake3, equalBytes } from "../core/blake3.ts";
import { encodeCbor } from "../core/cbor.ts";
import { refKey } from "../core/ref-name.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import { decodeAddressList, digestAt, type SplitSet } from "../objects/address-list.ts";
import { decodeCellLineage } from "../objects/cell-lineage.ts";
import { decodeCentroids } from "../objects/centroids.ts";
import { type ColumnHead, decodeColumnHead, openBlock } from "../objects/column.ts";
import type { ContainerRef } from "../objects/container-ref.ts";
import type { FieldSpec } from "../objects/field.ts";
import { decodeGcState, GC_KEY } from "../objects/gc-state.ts";
import { decodeGenesis } from "../objects/genesis.ts";
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
import { codingOf, decodeManifest, type LineageRef, type Manifest, type Track } from "../objects/manifest.ts";
import { decodePin } from "../objects/pin.ts";
import { decodeRedactions, digestOfEntry } from "../objects/redactions.ts";
import { decodeRef, isLive } from "../objects/ref.ts";
import { decodeRegistry, registryKey } from "../objects/registry.ts";
import { decodeSegmentAnchors, decodeSegmentHead } from "../objects/segment.ts";
import {
  type CentroidsRef,
  cellCount,
  centroidsBytes,
  decodeSpatialIndex,
  halvesOf,
  isGraph,
  isTrained,
  tablesOf,
} from "../objects/spatial-index.ts";
import { decodeTombstones } from "../objects/tombstones.ts";
import { decodeVectorCompressor } from "../objects/vector-compressor.ts";
import { openStore } from "../store/open.ts";
import type { StoreOptions } from "../store/remote/options.ts";
import { signalled } from "../store/signalled.ts";
import type { ByteRange, Store, StoredValue } from "../store/store.ts";
import type { Backend, Cancellable } from "./context.ts";
import { Deleted, eachDead, NONE_DELETED } from "./deleted.ts";
import { checkGraphIndex, checkGraphPage, checkNodes } from "./fsck-graph.ts";
import { checkScalarIndex } from "./fsck-index.ts";
import { columnHolds, HOLDING_VALUES, indexHolds, kindOf } from "./fsck-purge.ts";
import { checkAnchors, checkIndexed, checkRows } from "./fsck-rows.ts";
import { Redactions } from "./redactions.ts";
import { readLineage, withHidden } from "./segments.ts";
import { Session } from "./session.ts";
import { readValues, valueTypeOf } from "./values.ts";

export interface FsckProblem {
  /** The error's code, such as `NotFound` or `HashMismatch`. */
  code: string;
  /** The ref or object at fault. */
  key: string;
  message: string;
}

export interface FsckReport {
  ok: boolean;
  refs: number;
  /** Objects reached and checked, and their bytes. */
  objects: number;
  bytes: number;
  /** Records of the states that refs name, each state counted once, deleted ones included. */
  rows: number;
  /** Anchors that registries of Spaces declare deleted. */
  deleted: number;
  /** Data objects (columns, segments, indexes over scalars, pages of graphs) among `objects`, and how many of them were read whole. */
  data: number;
  dataRead: number;
  /** Pins that are read as refs are, expired ones included. */
  pins: number;
  /** States of histories whose data collections took: only Manifest and index pages are there to be checked. */
  pruned: number;
  /**
   * Objects in the backend that no ref reaches: what a crash or a lost race left behind, and what others stand for since a purge. No
   * fault.
   */
  unreachable: number;
  problems: FsckProblem[];
  /** With `purged`: whether anything of deleted records may still be stored. */
  purge?: PurgeReport;
}

export interface PurgeReport {
  /** Whether nothing remains. */
  ok: boolean;
  /** Batches, segments and graphs of all states that were looked at for rows of deleted anchors. */
  looked: number;
  /** What holds deleted records, or may do so. */
  remaining: PurgeRemainder[];
}

export interface PurgeRemainder {
  key: string;
  /**
   * `deleted-rows`: a state that a ref reaches holds values, codes or index entries of deleted records there: `compact({ purge: true })`.
   * `unreachable`: data that no state reaches, such as what a purge put something in the place of: collect garbage.
   * `unknown`: no object of this format, so nobody can say what is in it.
   */
  why: "deleted-rows" | "unreachable" | "unknown";
  /** Such as "column" or "segment". */
  what: string;
}

export interface FsckOptions extends StoreOptions, Cancellable {
  /**
   * The share of data objects that are read whole, 0 to 1, default 1. Of the others the head is checked and the length;
   * everything else (refs, Manifests, pages, indexes' parameters) is read and checked always. Whether indexes hold what
   * columns hold is checked only when all data is read.
   */
  sample?: number;
  /** Chooses the sample: equal seeds choose the same objects. An integer from 0, default 0. */
  seed?: number;
  /**
   * Proves that purges left nothing: every batch, segment and graph that states reach is looked at for rows of deleted anchors, and
   * every other object of the backend for what it is. Reads everything. `ok` is false unless nothing remains. Default false.
   */
  purged?: boolean;
  /** Called after every object. */
  onProgress?: (done: { objects: number; bytes: number }) => void;
}

/** Reads and checks all that the refs of a backend reach. Damage is reported, not thrown. */
export async function fsck(
  backend: Backend | { backend: Backend },
  options: FsckOptions = {},
): Promise<FsckReport> {
  const { sample = 1, seed = 0 } = options;
  if (!(sample >= 0 && sample <= 1)) throw invalid("sample", sample, "a share from 0 to 1");
  if (!Number.isSafeInteger(seed) || seed < 0) throw invalid("seed", seed, "an integer from 0");
  const store = signalled(openStore(backend, options), options.signal);
  if (options.purged === true && sample < 1) throw invalid("purged", `a sample of ${sample}`, "all data");
  return new Checker(store, options).run();
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "this option can't be", { field, found, expected });
}

/** Heads and pages of indexes that are read once more, to check one object by others. */
const SESSION_BYTES = 16 << 20;

/** What holds for all states of a Space. */
interface Space {
  deleted: Deleted;
  redactions: Redactions;
  session: Session;
}

/** What is kept of a Manifest: enough to check its descendants. */
interface Ancestor {
  genesis: Address;
  parents: readonly Address[];
  seq: number;
}

class Checker {
  private readonly store: Store;
  private readonly sample: number;
  private readonly seed: number;
  private readonly onProgress: FsckOptions["onProgress"];
  /** Objects met, each with what it was first taken for; and what else it was taken for, as `address use`. */
  private readonly seen = new Map<Address, string>();
  private readonly otherUses = new Set<string>();
  /** Graphs may share pages, which are read once. */
  private readonly anchorsOfPage = new Map<Address, BigUint64Array>();
  private readonly manifests = new Map<Address, Ancestor>();
  /** Manifests without data. */
  private readonly pruned = new Set<Address>();
  /** The states that refs name. */
  private readonly named = new Set<Address>();
  /** By Genesis. */
  private readonly spaces = new Map<Address, Space>();
  private readonly purge: PurgeReport | undefined;
  private readonly report: FsckReport = {
    ok: true,
    refs: 0,
    objects: 0,
    bytes: 0,
    rows: 0,
    deleted: 0,
    data: 0,
    dataRead: 0,
    pins: 0,
    pruned: 0,
    unreachable: 0,
    problems: [],
  };

  constructor(store: Store, options: FsckOptions) {
    this.store = store;
    this.purge = options.purged === true ? { ok: true, looked: 0, remaining: [] } : undefined;
    this.onProgress = options.onProgress;
    this.sample = options.sample ?? 1;
    this.seed = options.seed ?? 0;
  }

  async run(): Promise<FsckReport> {
    await this.guard(GC_KEY, () => this.collections());
    // Before the states, which are read through what it says.
    for await (const { key } of this.store.list("meta/"))
      if (key.endsWith("/registry")) await this.guard(key, () => this.registry(key));
    for await (const { key } of this.store.list("refs/")) await this.guard(key, () => this.ref(key));
    for await (const { key } of this.store.list("pins/")) await this.guard(key, () => this.pin(key));
    for (const [address, manifest] of this.manifests)
      await this.guard(objectKey(address), async () => this.checkLineage(manifest));
    for (const address of this.named) await this.guard(objectKey(address), () => this.state(address));
    for await (const { key } of this.store.list("objects/")) {
      const address = key.slice(key.lastIndexOf("/") + 1);
      if (!this.seen.has(address)) {
        this.report.unreachable++;
        if (this.purge !== undefined) await this.leftover(key, this.purge);
      }
      if (!isAddress(address) || objectKey(address) !== key)
        this.problem("Corrupt", key, "not a place where objects are kept");
    }
    this.report.ok = this.report.problems.length === 0;
    if (this.purge === undefined) return this.report;
    this.purge.ok = this.report.ok && this.purge.remaining.length === 0;
    return { ...this.report, ok: this.purge.ok, purge: this.purge };
  }

  /** A Space as its registry has it; without one nothing is deleted. */
  private spaceOf(genesis: Address): Space {
    const known = this.spaces.get(genesis);
    if (known !== undefined) return known;
    const session = new Session(this.store, SESSION_BYTES);
    const space = { deleted: NONE_DELETED, redactions: new Redactions(), session };
    this.spaces.set(genesis, space);
    return space;
  }

  /** An object that nothing reaches, where something may be left of deleted records. */
  private async leftover(key: string, purge: PurgeReport): Promise<void> {
    const isAnyDeleted = [...this.spaces.values()].some(({ deleted }) => deleted.size > 0);
    if (!isAnyDeleted) return;
    const found = await this.store.get(key);
    if (found === undefined) return;
    const what = kindOf(found.bytes);
    if (what === undefined)
      purge.remaining.push({ key, why: "unknown", what: `${found.bytes.length} bytes` });
    else if (HOLDING_VALUES.has(what)) purge.remaining.push({ key, why: "unreachable", what });
  }

  private async ref(key: string): Promise<void> {
    refKey(key.slice("refs/".length));
    const found = await this.store.get(key);
    if (found === undefined) return;
    const ref = decodeRef(found.bytes);
    this.report.refs++;
    if (!isLive(ref)) return;
    if (ref.inline !== undefined && addressOf(ref.inline) !== ref.manifest) {
      throw new DreamDBError("HashMismatch", "the Manifest inside the ref does not match its address", {
        field: "ref.inline",
      });
    }
    await this.history(ref.manifest);
    const named = this.manifests.get(ref.manifest);
    // A Manifest that is missing or damaged has been reported by itself.
    if (named === undefined) return;
    this.named.add(ref.manifest);
    if (named.seq !== ref.seq) throw fault("ref.seq", ref.seq, named.seq);
  }

  /** What collections have come to: the states that they pruned, and the lists of the one under way. */
  private async collections(): Promise<void> {
    const found = await this.store.get(GC_KEY);
    if (found === undefined) return;
    const { pruned, round } = decodeGcState(found.bytes);
    const check = async (set: SplitSet, meet: (address: Address) => void): Promise<void> => {
      for (const ref of set) {
        if (ref === undefined) continue;
        await this.once(ref.address, "addresses", async (bytes) => {
          const { digests } = decodeAddressList(bytes);
          if (digests.length !== 32 * ref.count)
            throw fault("addresses.digests", digests.length / 32, ref.count);
          for (let i = 0; i < ref.count; i++) meet(addressOfDigest(digestAt(digests, i)));
        });
      }
    };
    await check(pruned, (address) => this.pruned.add(address));
    await check(round?.condemned ?? [], () => {});
    await check(round?.doomed ?? [], () => {});
  }

  /** One that was not confirmed, or has expired, may name a state that is gone. */
  private async pin(key: string): Promise<void> {
    const found = await this.store.get(key);
    if (found === undefined) return;
    const { manifest } = decodePin(found.bytes);
    this.report.pins++;
    if ((await this.store.get(objectKey(manifest), { offset: 0, length: 0 })) !== undefined)
      await this.history(manifest);
  }

  /** A Space's registry, and the lists that it names. */
  private async registry(key: string): Promise<void> {
    const found = await this.store.get(key);
    if (found === undefined) return;
    const registry = decodeRegistry(found.bytes);
    const { genesis, tombstones } = registry;
    if (registryKey(genesis) !== key) throw fault("registry.genesis", registryKey(genesis), key);
    const space = this.spaceOf(genesis);
    const anchors = new Set<bigint>();
    const lists = async (address: Address, count?: number): Promise<void> => {
      await this.once(address, "tombstones", async (bytes) => {
        const list = decodeTombstones(bytes);
        if (list.genesis !== genesis) throw fault("tombstones.genesis", list.genesis, genesis);
        if (count !== undefined && list.anchors.length !== count)
          throw fault("registry.tombstones", count, list.anchors.length);
        for (const anchor of list.anchors) anchors.add(anchor);
        for (const each of list.of ?? []) await lists(each);
      });
    };
    for (const { address, count, inline } of tombstones) {
      if (inline !== undefined && addressOf(inline) !== address) {
        throw new DreamDBError("HashMismatch", "the list inside a registry does not match its address", {
          field: "registry.tombstones",
        });
      }
      await lists(address, count);
    }
    this.report.deleted += anchors.size;
    space.deleted = new Deleted(BigUint64Array.from(anchors), key);
    for (const address of registry.redactions) {
      await this.once(address, "redactions", async (bytes) => {
        const map = decodeRedactions(bytes);
        if (map.genesis !== genesis) throw fault("redactions.genesis", map.genesis, genesis);
        space.redactions.add(map);
      });
    }
    space.session.following.redactions = space.redactions;
  }

  /** A Manifest and its ancestors, one after the other: histories are long, so no recursion. */
  private async history(from: Address): Promise<void> {
    const waiting = [from];
    for (let address = waiting.pop(); address !== undefined; address = waiting.pop()) {
      const at = address;
      await this.once(at, "manifest", async (bytes) => {
        const manifest = decodeManifest(bytes);
        const { genesis, parents, seq } = manifest;
        this.manifests.set(at, { genesis, parents, seq });
        waiting.push(...parents);
        if (this.pruned.has(at)) await this.skeleton(manifest);
        else await this.manifest(manifest);
      });
    }
  }

  /** Errors: `LineageMismatch` when a parent belongs to another Space, `Corrupt` when the numbers do not go on from it. */
  private checkLineage({ genesis, parents, seq }: Ancestor): void {
    let highest = -1;
    for (const parent of parents) {
      const found = this.manifests.get(parent);
      if (found === undefined) return;
      if (found.genesis !== genesis) {
        throw new DreamDBError("LineageMismatch", "a Manifest and its parent belong to different Spaces", {
          field: "manifest.parents",
          found: found.genesis,
          expected: genesis,
        });
      }
      highest = Math.max(highest, found.seq);
    }
    if (seq !== highest + 1) throw fault("manifest.seq", seq, highest + 1);
  }

  /** What can only be said of a state as a whole. Where an object of it is at fault, that has been reported. */
  private async state(address: Address): Promise<void> {
    const { genesis } = this.manifests.get(address) as Ancestor;
    const { session, deleted, redactions } = this.spaceOf(genesis);
    const manifest = redactions.manifest(decodeManifest(await session.object(address)));
    this.report.rows += manifest.timeline.rows;
    if (this.report.problems.length > 0) return;
    await checkRows(session, manifest);
    if (this.sample < 1) return;
    await checkAnchors(session, manifest);
    for (const field of manifest.fields) {
      const track = manifest.tracks.get(field.id);
      if (track !== undefined) await checkIndexed(session, manifest, field, track, deleted);
    }
  }

  /** What is left of a state without its data. */
  private async skeleton(manifest: Manifest): Promise<void> {
    this.report.pruned++;
    await this.once(manifest.genesis, "genesis", async (bytes) => {
      decodeGenesis(bytes);
    });
    await this.tree(manifest, manifest.timeline, batchCodec, undefined);
    for (const track of manifest.tracks.values()) {
      await this.spatialIndex(track.address);
      await this.tree(manifest, track.segments, segmentCodec, undefined);
    }
  }

  private async manifest(manifest: Manifest): Promise<void> {
    await this.once(manifest.genesis, "genesis", async (bytes) => {
      decodeGenesis(bytes);
    });
    const fields = new Map(manifest.fields.map((field) => [field.id, field]));
    const space = this.spaceOf(manifest.genesis);
    await this.tree(manifest, manifest.timeline, batchCodec, (entry) => this.batch(entry, fields, space));
    for (const stored of manifest.tracks.values()) {
      const track = space.redactions.track(stored);
      await this.spatialIndex(track.address);
      await this.tables(track);
      await this.lineage(track);
      await this.graph(track, manifest);
      const check = (entry: SegmentEntry) => this.segment(entry, track, space);
      await this.tree(manifest, track.segments, segmentCodec, check, track.lineage);
      const tables = tablesOf(track.spatialIndex);
      if (track.segments.rows % tables !== 0)
        throw fault("track.segments.rows", track.segments.rows, `as many in each of ${tables} tables`);
    }
  }

  /** A SpatialIndex and those that were trained before it. */
  private async spatialIndex(from: Address): Promise<void> {
    const waiting = [from];
    for (let address = waiting.pop(); address !== undefined; address = waiting.pop()) {
      await this.once(address, "spatial index", async (bytes) => {
        waiting.push(...decodeSpatialIndex(bytes).parents);
      });
    }
  }

  /** Which rows count of segments that name an earlier index. The objects of that index are not needed for it. */
  private async lineage({ lineage, spatialIndex }: Track): Promise<void> {
    if (lineage === undefined) return;
    const cells = cellCount(spatialIndex);
    await this.once(lineage.address, `lineage of ${cells} cells`, async (bytes) => {
      if (bytes.length !== lineage.bytes) throw fault("lineage.bytes", bytes.length, lineage.bytes);
      decodeCellLineage(bytes, cells);
    });
  }

  /** The graph of a Track, if it has one: its pages, and that its nodes are the rows with a vector. */
  private async graph({ spatialIndex }: Track, manifest: Manifest): Promise<void> {
    if (!isGraph(spatialIndex)) return;
    await this.once(spatialIndex.graph.address, "graph", async (bytes) => {
      const index = checkGraphIndex(bytes, spatialIndex);
      const anchors = new BigUint64Array(index.rows);
      let filled = 0;
      for (const [i, ref] of index.pages.entries()) {
        await this.data(ref, "page of a graph", async (page) => {
          checkContainer(page, ref);
          this.anchorsOfPage.set(ref.address, checkGraphPage(page, index, i));
        });
        const ticks = this.anchorsOfPage.get(ref.address);
        if (ticks === undefined || filled + ticks.length > index.rows) continue;
        anchors.set(ticks, filled);
        filled += ticks.length;
      }
      // A page that is missing or damaged has been reported already, and one outside the sample has not been read.
      if (filled < index.rows) return;
      const field = manifest.fields.find(
        (each) => manifest.tracks.get(each.id)?.spatialIndex === spatialIndex,
      );
      const { session, deleted } = this.spaceOf(manifest.genesis);
      await checkNodes(session, manifest, field as FieldSpec, spatialIndex.rows, anchors, deleted);
      if (anchors.some((anchor) => deleted.has(anchor))) this.holds(spatialIndex.graph.address, "graph");
      if (this.purge !== undefined) this.purge.looked++;
    });
  }

  /** The compressor of a Track, and all tables of vectors that it and the index refer to. */
  private async tables({ spatialIndex: index, compressor }: Track): Promise<void> {
    if (isTrained(index) && index.algorithm === "dreamdb.imi-cosine") {
      const halves = halvesOf(index.dim);
      for (const [i, ref] of index.centroids.entries()) await this.table(ref, halves[i] as number);
    } else if (isTrained(index)) await this.table(index.centroids, index.dim);
    if (compressor === undefined) return;
    await this.once(compressor.address, "compressor", async (bytes) => {
      decodeVectorCompressor(bytes);
    });
    const { object } = compressor;
    if ("codebooks" in object) await this.table(object.codebooks, object.dim);
  }

  /** A table's length, which the object that refers to it was checked for, says how many vectors it has. */
  private async table(ref: CentroidsRef, dim: number): Promise<void> {
    await this.once(ref.address, `centroids ${dim}`, async (bytes) => {
      if (bytes.length !== ref.bytes) throw fault("centroids.bytes", bytes.length, ref.bytes);
      decodeCentroids(bytes, (ref.bytes - centroidsBytes(0, dim)) / (4 * dim), dim);
    });
  }

  private async tree<E extends Interval>(
    { genesis }: Manifest,
    root: IndexRoot<E>,
    codec: EntryCodec<E>,
    check: ((entry: E) => Promise<void>) | undefined,
    lineage?: LineageRef,
  ): Promise<void> {
    const { redactions } = this.spaceOf(genesis);
    const look = async (entry: E): Promise<void> => {
      const seen = redactions.entry(entry, codec, lineage);
      if (codec.of === batchCodec.of && seen !== undefined) checkSameRows(entry, seen);
      if (seen !== undefined) await check?.(seen);
    };
    // A page that two Spaces have is another one in each: what was deleted in one is not in the other. So is one that two Tracks have
    // of which other rows count.
    const under = lineage === undefined ? "" : ` under ${lineage.address}`;
    const kind = `${check === undefined ? "kept page" : "page"} of ${codec.of}${under}`;
    const use = redactions.isEmpty ? kind : `${kind} in ${genesis}`;
    for (const page of root.pages) await this.page(page, codec, use, look);
    for (const entry of root.entries) await look(entry);
  }

  private async page<E extends Interval>(
    page: PageRef,
    codec: EntryCodec<E>,
    use: string,
    check: (entry: E) => Promise<void>,
  ): Promise<void> {
    await this.once(page.address, use, async (bytes) => {
      for (const child of decodePage(bytes, codec, page)) {
        if (page.level > 0) await this.page(child as PageRef, codec, use, check);
        else await check(child as E);
      }
    });
  }

  private async batch(
    entry: BatchEntry,
    fields: ReadonlyMap<number, FieldSpec>,
    space: Space,
  ): Promise<void> {
    await this.deadRows(entry, space);
    if ("container" in entry.anchors) await this.column(entry.anchors.container, entry.rows, undefined);
    for (const [id, ref] of entry.columns) await this.column(ref, entry.rows, fields.get(id));
    if (entry.scalarIndex !== undefined) await this.scalarIndex(entry.scalarIndex, entry, fields);
  }

  /** The index, and that it says of every row what the columns say. */
  private async scalarIndex(
    ref: ContainerRef,
    entry: BatchEntry,
    fields: ReadonlyMap<number, FieldSpec>,
  ): Promise<void> {
    await this.data(ref, `scalar index of ${entry.rows}`, async (bytes) => {
      checkContainer(bytes, ref);
      await checkScalarIndex(bytes, entry.rows, async (id) => {
        const column = entry.columns.get(id);
        const field = fields.get(id);
        // What a batch indexes is what the schema asked for then: a flag, or the field, may have gone since.
        if (column === undefined || field?.kind === "embedding" || (field !== undefined && "mime" in field))
          throw fault("scalar-index.field", id, "a scalar field with a column in the batch");
        // A column that is missing or damaged has been reported already.
        const found = await this.store.get(objectKey(column.address));
        return found === undefined || addressOf(found.bytes) !== column.address ? undefined : found.bytes;
      });
    });
  }

  private async column(ref: ContainerRef, rows: number, field: FieldSpec | undefined): Promise<void> {
    const of = field === undefined ? "anchors" : Object.values(valueTypeOf(field)).join();
    await this.data(ref, `column of ${rows} ${of}`, async (bytes) => {
      checkContainer(bytes, ref);
      const head = decodeColumnHead(bytes, ref.bytes);
      if (head.rows !== rows) throw fault("column.rows", head.rows, rows);
      for (const block of head.blocks) {
        const part = bytes.subarray(block.offset, block.offset + block.bytes);
        if (!equalBytes(blake3(part), block.hash))
          throw fault("column.block hash", block.firstRow, "the hash in the head");
        if (field !== undefined) checkValues(field, head, openBlock(head, block, part));
      }
    });
  }

  /** With `purged`: whether a batch has values of deleted records. Several batches may share a column. */
  private async deadRows(entry: BatchEntry, { session, deleted }: Space): Promise<void> {
    const { purge } = this;
    const key = `rows of ${digestOfEntry(entry, batchCodec)}`;
    if (purge === undefined || this.otherUses.has(key)) return;
    this.otherUses.add(key);
    const dead = new Set<number>();
    const isReadable = await eachDead(session, entry, deleted, (row) => dead.add(row)).then(
      () => true,
      // A container that is missing or damaged is reported where it is checked.
      () => false,
    );
    purge.looked++;
    if (!isReadable || dead.size === 0) return;
    for (const { address } of entry.columns.values()) {
      const found = await this.store.get(objectKey(address));
      if (found !== undefined && columnHolds(found.bytes, dead)) this.holds(address, "column");
    }
    if (entry.scalarIndex === undefined) return;
    const { address } = entry.scalarIndex;
    const found = await this.store.get(objectKey(address));
    if (found !== undefined && indexHolds(found.bytes, dead)) this.holds(address, "scalar index");
  }

  /** With `purged`: something of deleted records is in an object that a state reaches. */
  private holds(address: Address, what: string): void {
    const key = objectKey(address);
    if (this.purge?.remaining.some((each) => each.key === key) === false)
      this.purge.remaining.push({ key, why: "deleted-rows", what });
  }

  private async segment(entry: SegmentEntry, track: Track, { deleted, session }: Space): Promise<void> {
    const use = `segment of ${entry.rows} for ${track.address} ${track.lineage?.address ?? ""}`;
    await this.data(entry.container, use, async (bytes) => {
      checkContainer(bytes, entry.container);
      const head = decodeSegmentHead(bytes, { totalBytes: entry.container.bytes, ...codingOf(track) });
      withHidden(track, await readLineage(session, track), entry, { ref: entry.container, head });
      for (const block of head.blocks) {
        for (const span of [block.anchors, block.codes, block.vectors]) {
          if (span === undefined) continue;
          const part = bytes.subarray(span.offset, span.offset + span.bytes);
          if (!equalBytes(blake3(part), span.hash))
            throw fault("segment.block hash", block.firstRow, "the hash in the head");
        }
        const { offset, bytes: length } = block.anchors;
        const anchors = decodeSegmentAnchors(head, block, bytes.subarray(offset, offset + length));
        if (anchors.some((anchor) => anchor > entry.span))
          throw fault("segment.anchors", "an anchor past the interval", entry.span);
        if (this.purge !== undefined && anchors.some((anchor) => deleted.has(entry.base + anchor)))
          this.holds(entry.container.address, "segment");
      }
      if (this.purge !== undefined) this.purge.looked++;
    });
  }

  /** A data object: read whole and checked when the sample has it, otherwise its head and its length. */
  private async data(
    ref: ContainerRef,
    use: string,
    check: (bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const { address } = ref;
    const isNew = !this.seen.has(address);
    if (isNew) this.report.data++;
    if (isChosen(address, this.sample, this.seed)) {
      if (isNew) this.report.dataRead++;
      return this.once(address, use, check);
    }
    if (!this.isFirst(address, use)) return;
    await this.guard(objectKey(address), async () => {
      if (ref.head !== undefined) {
        const { bytes } = await this.get(address, { offset: 0, length: ref.head.bytes });
        this.report.bytes += bytes.length;
        if (!equalBytes(blake3(bytes), ref.head.hash))
          throw fault("container.head", "another hash", "the hash in the index");
      }
      // The last byte and what follows it: one byte exactly when the length is right.
      const { bytes: end } = await this.get(address, { offset: ref.bytes - 1, length: 2 });
      if (end.length !== 1)
        throw fault("container.bytes", `${end.length} of the last byte`, `${ref.bytes} in all`);
      this.done(isNew);
    });
  }

  /** Whether an object is taken for this for the first time. One that was taken for something else is looked at again. */
  private isFirst(address: Address, use: string): boolean {
    const first = this.seen.get(address);
    if (first === undefined) this.seen.set(address, use);
    else if (first === use || this.otherUses.has(`${address} ${use}`)) return false;
    else this.otherUses.add(`${address} ${use}`);
    return true;
  }

  /** Reads, hashes and checks an object the first time it is met. */
  private async once(
    address: Address,
    use: string,
    check: (bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const isNew = !this.seen.has(address);
    if (!this.isFirst(address, use)) return;
    await this.guard(objectKey(address), async () => {
      let { bytes } = await this.get(address);
      // A transfer may have damaged it: what is stored is what comes twice.
      if (addressOf(bytes) !== address) bytes = (await this.get(address)).bytes;
      this.report.bytes += bytes.length;
      const actual = addressOf(bytes);
      if (actual !== address) {
        if (isNew) this.report.objects++;
        throw new DreamDBError("HashMismatch", "stored bytes do not match their address", {
          field: objectKey(address),
          found: actual,
          expected: address,
        });
      }
      this.done(isNew);
      await check(bytes);
    });
  }

  private async get(address: Address, range?: ByteRange): Promise<StoredValue> {
    const key = objectKey(address);
    const found = await this.store.get(key, range);
    if (found !== undefined) return found;
    throw new DreamDBError("NotFound", "an object that is referred to is missing", { field: key });
  }

  private done(isNew: boolean): void {
    if (isNew) this.report.objects++;
    this.onProgress?.({ objects: this.report.objects, bytes: this.report.bytes });
  }

  private async guard(key: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isDreamDBError(error) || error.code === "Aborted") throw error;
      // A server that doesn't answer says nothing about what it keeps.
      if (error.code === "StoreUnavailable" && error.retryable) throw error;
      this.problem(error.code, key, error.message);
    }
  }

  private problem(code: string, key: string, message: string): void {
    this.report.problems.push({ code, key, message });
  }
}

/** Whether an object is in a share of all: by a hash of seed and address, so that no order or history matters. */
function isChosen(address: Address, sample: number, seed: number): boolean {
  if (sample >= 1) return true;
  const digest = blake3(new TextEncoder().encode(`${seed} ${address}`));
  return new DataView(digest.buffer, digest.byteOffset).getUint32(0, true) / 2 ** 32 < sample;
}

function checkContainer(bytes: Uint8Array, ref: ContainerRef): void {
  if (bytes.length !== ref.bytes) throw fault("container.bytes", bytes.length, ref.bytes);
  if (ref.head !== undefined && !equalBytes(blake3(bytes.subarray(0, ref.head.bytes)), ref.head.hash)) {
    throw fault("container.head", "another hash", "the hash in the index");
  }
}

/** What stands for a batch has its rows, at the same anchors. */
function checkSameRows(entry: Interval, seen: Interval): void {
  const [a, b] = [entry, seen].map((each) =>
    batchCodec.encode({ ...(each as BatchEntry), columns: new Map() }),
  );
  const isSame = entry.base === seen.base && entry.span === seen.span && entry.rows === seen.rows;
  if (!isSame || !equalBytes(encodeCbor(a?.[0]), encodeCbor(b?.[0])))
    throw fault(
      "redactions.entry",
      `${seen.rows} rows from ${seen.base}`,
      `${entry.rows} from ${entry.base}`,
    );
}

/** Every value decodes: dictionary codes in range, text well-formed. */
function checkValues(field: FieldSpec, head: ColumnHead, block: ReturnType<typeof openBlock>): void {
  const expected = valueTypeOf(field);
  if (head.kind !== expected.kind || head.type !== expected.type || head.width !== expected.width)
    throw fault("column.type", head.type, expected.type);
  readValues(field, head, block, 0, block.rows, []);
}

function fault(field: string, found: unknown, expected: unknown): DreamDBError {
  return new DreamDBError("Corrupt", "stored objects do not fit together", { field, found, expected });
}
