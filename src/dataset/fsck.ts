/** Checking a backend from its refs: everything they reach is there, hashes right, and fits together. */
import { type Address, addressOf, isAddress, objectKey } from "../core/address.ts";
import { blake3, equalBytes } from "../core/blake3.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import { decodeCentroids } from "../objects/centroids.ts";
import { type ColumnHead, decodeColumnHead, openBlock } from "../objects/column.ts";
import type { ContainerRef } from "../objects/container-ref.ts";
import type { FieldSpec } from "../objects/field.ts";
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
import { codingOf, decodeManifest, type Manifest, type Track } from "../objects/manifest.ts";
import { decodeRef } from "../objects/ref.ts";
import { decodeSegmentAnchors, decodeSegmentHead } from "../objects/segment.ts";
import {
  type CentroidsRef,
  centroidsBytes,
  decodeSpatialIndex,
  halvesOf,
  isGraph,
  isTrained,
  tablesOf,
} from "../objects/spatial-index.ts";
import { decodeVectorCompressor } from "../objects/vector-compressor.ts";
import { openStore } from "../store/open.ts";
import type { Store } from "../store/store.ts";
import type { Backend } from "./context.ts";
import { checkGraphIndex, checkGraphPage, checkNodes } from "./fsck-graph.ts";
import { checkScalarIndex } from "./fsck-index.ts";
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
  /** Records of all Manifests that refs name. */
  rows: number;
  /** Objects in the backend that no ref reaches: what a crash or a lost race left behind. No fault. */
  unreachable: number;
  problems: FsckProblem[];
}

export interface FsckOptions {
  /** Called after every object. */
  onProgress?: (done: { objects: number; bytes: number }) => void;
}

/** Reads and checks all that the refs of a backend reach. Damage is reported, not thrown. */
export async function fsck(
  backend: Backend | { backend: Backend },
  options: FsckOptions = {},
): Promise<FsckReport> {
  const store = openStore(backend);
  return new Checker(store, options).run();
}

/** Heads and pages of indexes that are read once more, to check one object by others. */
const SESSION_BYTES = 16 << 20;

class Checker {
  private readonly store: Store;
  private readonly onProgress: FsckOptions["onProgress"];
  private readonly seen = new Set<Address>();
  /** Graphs may share pages, which are read once. */
  private readonly anchorsOfPage = new Map<Address, BigUint64Array>();
  private readonly session: Session;
  private readonly report: FsckReport = {
    ok: true,
    refs: 0,
    objects: 0,
    bytes: 0,
    rows: 0,
    unreachable: 0,
    problems: [],
  };

  constructor(store: Store, options: FsckOptions) {
    this.store = store;
    this.session = new Session(store, SESSION_BYTES);
    this.onProgress = options.onProgress;
  }

  async run(): Promise<FsckReport> {
    for await (const { key } of this.store.list("refs/")) await this.guard(key, () => this.ref(key));
    for await (const { key } of this.store.list("objects/")) {
      const address = key.slice(key.lastIndexOf("/") + 1);
      if (!this.seen.has(address)) this.report.unreachable++;
      if (!isAddress(address) || objectKey(address) !== key)
        this.problem("Corrupt", key, "not a place where objects are kept");
    }
    this.report.ok = this.report.problems.length === 0;
    return this.report;
  }

  private async ref(key: string): Promise<void> {
    const found = await this.store.get(key);
    if (found === undefined) return;
    const ref = decodeRef(found.bytes);
    this.report.refs++;
    if (ref.type === "dead") return;
    if (ref.inline !== undefined && addressOf(ref.inline) !== ref.manifest) {
      throw new DreamDBError("HashMismatch", "the Manifest inside the ref does not match its address", {
        field: "ref.inline",
      });
    }
    await this.history(ref.manifest);
  }

  /** A Manifest and its ancestors, one after the other: histories are long, so no recursion. */
  private async history(from: Address): Promise<void> {
    const waiting = [from];
    for (let address = waiting.pop(); address !== undefined; address = waiting.pop()) {
      const at = address;
      await this.once(at, async (bytes) => {
        const manifest = decodeManifest(bytes);
        if (at === from) this.report.rows += manifest.timeline.rows;
        waiting.push(...manifest.parents);
        await this.manifest(manifest);
      });
    }
  }

  private async manifest(manifest: Manifest): Promise<void> {
    await this.once(manifest.genesis, async (bytes) => {
      decodeGenesis(bytes);
    });
    const fields = new Map(manifest.fields.map((field) => [field.id, field]));
    await this.tree(manifest.timeline, batchCodec, (entry) => this.batch(entry, fields));
    for (const track of manifest.tracks.values()) {
      await this.once(track.address, async (bytes) => {
        decodeSpatialIndex(bytes);
      });
      await this.tables(track);
      await this.graph(track, manifest);
      await this.tree(track.segments, segmentCodec, (entry) => this.segment(entry, track));
      const tables = tablesOf(track.spatialIndex);
      if (track.segments.rows % tables !== 0)
        throw fault("track.segments.rows", track.segments.rows, `as many in each of ${tables} tables`);
    }
  }

  /** The graph of a Track, if it has one: its pages, and that its nodes are the rows with a vector. */
  private async graph({ spatialIndex }: Track, manifest: Manifest): Promise<void> {
    if (!isGraph(spatialIndex)) return;
    await this.once(spatialIndex.graph.address, async (bytes) => {
      const index = checkGraphIndex(bytes, spatialIndex);
      const anchors = new BigUint64Array(index.rows);
      let filled = 0;
      for (const [i, ref] of index.pages.entries()) {
        await this.once(ref.address, async (page) => {
          checkContainer(page, ref);
          this.anchorsOfPage.set(ref.address, checkGraphPage(page, index, i));
        });
        const ticks = this.anchorsOfPage.get(ref.address);
        if (ticks === undefined || filled + ticks.length > index.rows) continue;
        anchors.set(ticks, filled);
        filled += ticks.length;
      }
      // A page that is missing or damaged has been reported already.
      if (filled < index.rows) return;
      const field = manifest.fields.find(
        (each) => manifest.tracks.get(each.id)?.spatialIndex === spatialIndex,
      );
      await checkNodes(this.session, manifest, field as FieldSpec, spatialIndex.rows, anchors);
    });
  }

  /** The compressor of a Track, and all tables of vectors that it and the index refer to. */
  private async tables({ spatialIndex: index, compressor }: Track): Promise<void> {
    if (isTrained(index) && index.algorithm === "dreamdb.imi-cosine") {
      const halves = halvesOf(index.dim);
      for (const [i, ref] of index.centroids.entries()) await this.table(ref, halves[i] as number);
    } else if (isTrained(index)) await this.table(index.centroids, index.dim);
    if (compressor === undefined) return;
    await this.once(compressor.address, async (bytes) => {
      decodeVectorCompressor(bytes);
    });
    const { object } = compressor;
    if ("codebooks" in object) await this.table(object.codebooks, object.dim);
  }

  /** A table's length, which the object that refers to it was checked for, says how many vectors it has. */
  private async table(ref: CentroidsRef, dim: number): Promise<void> {
    await this.once(ref.address, async (bytes) => {
      if (bytes.length !== ref.bytes) throw fault("centroids.bytes", bytes.length, ref.bytes);
      decodeCentroids(bytes, (ref.bytes - centroidsBytes(0, dim)) / (4 * dim), dim);
    });
  }

  private async tree<E extends Interval>(
    root: IndexRoot<E>,
    codec: EntryCodec<E>,
    check: (entry: E) => Promise<void>,
  ): Promise<void> {
    for (const page of root.pages) await this.page(page, codec, check);
    for (const entry of root.entries) await check(entry);
  }

  private async page<E extends Interval>(
    page: PageRef,
    codec: EntryCodec<E>,
    check: (entry: E) => Promise<void>,
  ): Promise<void> {
    await this.once(page.address, async (bytes) => {
      for (const child of decodePage(bytes, codec, page)) {
        if (page.level > 0) await this.page(child as PageRef, codec, check);
        else await check(child as E);
      }
    });
  }

  private async batch(entry: BatchEntry, fields: ReadonlyMap<number, FieldSpec>): Promise<void> {
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
    await this.once(ref.address, async (bytes) => {
      checkContainer(bytes, ref);
      await checkScalarIndex(bytes, entry.rows, async (id) => {
        const column = entry.columns.get(id);
        const field = fields.get(id);
        if (column === undefined || field === undefined || !("index" in field))
          throw fault("scalar-index.field", id, "an indexed field with a column in the batch");
        // A column that is missing or damaged has been reported already.
        const found = await this.store.get(objectKey(column.address));
        return found === undefined || addressOf(found.bytes) !== column.address ? undefined : found.bytes;
      });
    });
  }

  private async column(ref: ContainerRef, rows: number, field: FieldSpec | undefined): Promise<void> {
    await this.once(ref.address, async (bytes) => {
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

  private async segment(entry: SegmentEntry, track: Track): Promise<void> {
    await this.once(entry.container.address, async (bytes) => {
      checkContainer(bytes, entry.container);
      const head = decodeSegmentHead(bytes, { totalBytes: entry.container.bytes, ...codingOf(track) });
      if (head.rows !== entry.rows) throw fault("segment.rows", head.rows, entry.rows);
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
      }
    });
  }

  /** Reads, hashes and checks an object the first time it is met. */
  private async once(address: Address, check: (bytes: Uint8Array) => Promise<void>): Promise<void> {
    if (this.seen.has(address)) return;
    this.seen.add(address);
    const key = objectKey(address);
    await this.guard(key, async () => {
      const found = await this.store.get(key);
      if (found === undefined)
        throw new DreamDBError("NotFound", "an object that is referred to is missing", { field: key });
      this.report.objects++;
      this.report.bytes += found.bytes.length;
      const actual = addressOf(found.bytes);
      if (actual !== address) {
        throw new DreamDBError("HashMismatch", "stored bytes do not match their address", {
          field: key,
          found: actual,
          expected: address,
        });
      }
      await check(found.bytes);
      this.onProgress?.({ objects: this.report.objects, bytes: this.report.bytes });
    });
  }

  private async guard(key: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isDreamDBError(error)) throw error;
      this.problem(error.code, key, error.message);
    }
  }

  private problem(code: string, key: string, message: string): void {
    this.report.problems.push({ code, key, message });
  }
}

function checkContainer(bytes: Uint8Array, ref: ContainerRef): void {
  if (bytes.length !== ref.bytes) throw fault("container.bytes", bytes.length, ref.bytes);
  if (ref.head !== undefined && !equalBytes(blake3(bytes.subarray(0, ref.head.bytes)), ref.head.hash)) {
    throw fault("container.head", "another hash", "the hash in the index");
  }
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
