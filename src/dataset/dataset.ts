/** A dataset at one state of one ref, and the verbs on it. */
import { type Address, addressOf, addressToMultihash } from "../core/address.ts";
import { fromHex } from "../core/blake3.ts";
import { checkRefName } from "../core/ref-name.ts";
import { clampTick, MAX_TICK, toTick } from "../core/time.ts";
import { DreamDBError, isDreamDBError, writing } from "../errors.ts";
import { encodeGenesis, type Genesis } from "../objects/genesis.ts";
import { emptyIndex } from "../objects/index-tree.ts";
import { encodeManifest, type Manifest, type Track } from "../objects/manifest.ts";
import { decodeRef, type RefType } from "../objects/ref.ts";
import { encodeSpatialIndex, isGraph, isTrained } from "../objects/spatial-index.ts";
import { checkSignal, unlessAborted } from "../store/aborted.ts";
import { openStore } from "../store/open.ts";
import type { StoreOptions } from "../store/remote/options.ts";
import { signalled } from "../store/signalled.ts";
import type { Store } from "../store/store.ts";
import type { AdaIvfOptions, AdaIvfPlan } from "./ada-plan.ts";
import type {
  AdaIvfCollection,
  AdaIvfCollectOptions,
  AdaIvfPublished,
  AdaIvfPublishOptions,
  AdaIvfStep,
} from "./ada-publish.ts";
import type { AdaIvfStatus, AdaIvfStatusOptions } from "./ada-status.ts";
import type { AdaIvfPart, AdaIvfWorkOptions } from "./ada-work.ts";
import type { AppendOperation, AppendResult, AppendTarget, Staged } from "./append.ts";
import { type AppendProgress, checkProgress } from "./append-progress.ts";
import type { ArrowBatch, ArrowLibrary, ArrowTable } from "./arrow-layout.ts";
import type { BuildGraphOptions, BuildGraphResult } from "./build-graph.ts";
import type { CompactOptions, CompactResult } from "./compact.ts";
import {
  type Backend,
  type Cancellable,
  type Context,
  contextBeside,
  contextOn,
  createContext,
  type DatasetOptions,
  foundationOf,
  operationOf,
  until,
} from "./context.ts";
import type { DeleteOptions, Deletion, Doomed } from "./delete.ts";
import type { Diff } from "./diff.ts";
import type { Explanation } from "./explain.ts";
import { GraphTracks } from "./graph-tracks.ts";
import type { Health } from "./health.ts";
import { Indexers } from "./indexer.ts";
import { IvfTracks } from "./ivf-tracks.ts";
import {
  adaIvfCollect,
  adaIvfPlan,
  adaIvfPublish,
  adaIvfStatus,
  adaIvfStep,
  adaIvfWork,
  append,
  arrowSource,
  buildGraph,
  compact,
  createBranch,
  createPin,
  createRef,
  deleteRecords,
  deletionsOf,
  diffFrom,
  healthOf,
  mergeMany,
  publishCompressor,
  rebuildIvf,
  refusePruned,
  stage,
  streamArrow,
  updateSchema,
} from "./later.ts";
import { LaterGenesis } from "./later-genesis.ts";
import type { MergeOptions, MergeResult, MergeStrategy } from "./merge.ts";
import type { Pin } from "./pin.ts";
import {
  chosenFields,
  explain,
  positive,
  type SearchTarget,
  search,
  searchAll,
  type VectorQuery,
} from "./query.ts";
import { type ManyVectorQuery, queryMany } from "./query-many.ts";
import type { PublishCompressorOptions, RebuildIvfOptions, RebuildResult } from "./rebuild.ts";
import { RecordSource, type RowSource } from "./row-source.ts";
import { readRow } from "./rows.ts";
import {
  type AnyFields,
  type Batch,
  type FieldTypes,
  type RecordIn,
  type RecordOut,
  Schema,
} from "./schema.ts";
import type { Traffic } from "./session.ts";
import { SpaceRegistry } from "./space-registry.ts";
import { startingIndex } from "./starting-index.ts";
import { type Columns, type StreamSource, streamColumns } from "./stream.ts";
import { locate } from "./timeline.ts";
import { findOperation, readManifest, readTip, refuseRollback, type Tip } from "./tip.ts";
import { type TrackInfo, tracksOf } from "./tracks.ts";
import type { SchemaUpdate, UpdateSchemaOptions } from "./update-schema.ts";
import { both, filterOf, type Where } from "./where.ts";
import { DatasetWriter, type WriterOptions } from "./writer.ts";

export type Located = { backend: Backend } & DatasetOptions;
type BackendArgument = Backend | Located;

export interface CreateOptions extends DatasetOptions {
  /** Unix nanoseconds of the dataset's time zero, before which it has no anchors. Default 0n, that is 1970. */
  origin?: bigint;
}

export interface StreamOptions<F extends FieldTypes = AnyFields> extends Cancellable {
  /** Records a batch. Default 256. */
  batchSize?: number;
  /** Fields to read. Default all. */
  fields?: string[];
  /** Anchors in Unix nanoseconds, both included. */
  range?: { from?: bigint; to?: bigint };
  /** Only records that meet this condition on their scalars. Default all. */
  where?: Where<F>;
}

export interface ArrowStreamOptions<F extends FieldTypes = AnyFields, A extends ArrowLibrary = ArrowLibrary>
  extends StreamOptions<F> {
  /** The package apache-arrow, as `import * as arrow from "apache-arrow"` gives it. */
  arrow: A;
  /** Records a RecordBatch. Default 65,536. */
  batchSize?: number;
}

export interface AppendOptions extends Cancellable {
  /**
   * 32 hex digits that name the operation, as `CommitUnknown` gave them: when it turns out to be in already, nothing is
   * appended again.
   */
  opId?: string;
  /** Called when an object of the append is stored. */
  onProgress?: ((progress: AppendProgress) => void) | undefined;
}

export interface Snapshot {
  label: string;
  manifest: Address;
}

export interface HistoryEntry {
  manifest: Address;
  /** The writer's clock when it was published, Unix nanoseconds. A hint: clocks err. */
  ts: bigint;
  writer: string;
  /** The verb that made it: "create", "append", … */
  op: string;
  seq: number;
  /** Records in this state, without those deleted. */
  rows: number;
  parents: Address[];
}

export interface RefEntry {
  name: string;
  type: Exclude<RefType, "dead" | "reserved">;
  manifest: Address;
  seq: number;
  /** Present for refs that may not be deleted, see `protectRef`. */
  protected?: true;
}

/** Batches of hits: await it for an array, or iterate it. The search runs once, when first asked. */
export interface VectorResults<B> extends AsyncIterable<B>, PromiseLike<B[]> {}

/** A batch of hits: columns, with each hit's distance (1 − cosine; 0 = same direction). */
export type VectorBatch<F extends FieldTypes> = Partial<Omit<Batch<F>, "_time_anchors">> & {
  _time_anchors: bigint[];
  /** 1 − cosine; the negated dot product; the squared Euclidean distance. The nearest has the least. */
  _distances: number[];
  /** Present when distances are estimates: `rerankFactor` was 0. */
  _estimated?: true;
};

const DEFAULT_STREAM_ROWS = 256;
const DEFAULT_ARROW_ROWS = 65_536;

interface State {
  ctx: Context;
  name: string;
  genesis: LaterGenesis;
  space: SpaceRegistry;
  /** Undefined when opened at a Manifest that no ref was named for. */
  tip: Tip | undefined;
  manifest: Manifest;
  address: Address;
}

export class Dataset<F extends FieldTypes = AnyFields> {
  private readonly state: State;
  private readonly indexers: Indexers;
  private readonly ivf: IvfTracks;
  private readonly graphs: GraphTracks;
  /** Appends of one Dataset object run one after the other; more would only race each other. */
  private queue: Promise<unknown> = Promise.resolve();
  /** When the ref was last asked for, or moved by this object: Unix nanoseconds. Undefined until `maxStaleness` needs it. */
  private asOf: bigint | undefined;
  private refreshing: Promise<unknown> | undefined;

  private constructor(state: State, asOf?: bigint) {
    this.state = state;
    this.asOf = asOf;
    this.indexers = new Indexers(state.ctx.kernels, state.ctx.session);
    this.ivf = new IvfTracks(state.ctx);
    this.graphs = new GraphTracks(state.ctx);
  }

  /**
   * Creates a dataset and its branch `name`.
   * Errors: `AlreadyExists` when a ref has that name, `InvalidName`, `SchemaViolation`, `UnsupportedBackend`,
   * `StoreUnavailable`; `CommitUnknown` when the backend's answer was lost and could not be read back.
   */
  static async create<F extends FieldTypes>(
    name: string,
    schema: Schema<F>,
    backend: BackendArgument,
    options: CreateOptions = {},
  ): Promise<Dataset<F>> {
    return writing(() => Dataset.createNew(name, schema, backend, options));
  }

  private static async createNew<F extends FieldTypes>(
    name: string,
    schema: Schema<F>,
    backend: BackendArgument,
    options: CreateOptions,
  ): Promise<Dataset<F>> {
    checkRefName(name);
    if (!Array.isArray((schema as Schema | undefined)?.fields) || schema.fields.length === 0) {
      throw new DreamDBError("SchemaViolation", "a dataset needs a schema with at least one field", {
        field: "schema",
        found: schema,
        expected: "new Schema().add…(…)",
      });
    }
    const { signal } = options;
    const lasting = await createContext(backend, optionsOf(backend, options));
    const ctx = operationOf(until(lasting, signal), 0);
    const genesis: Genesis = { origin: checkOrigin(options.origin ?? 0n), nonce: ctx.random(16), name };
    const genesisBytes = encodeGenesis(genesis);
    const tracks = new Map<number, Track>();
    for (const field of schema.fields) {
      if (field.kind !== "embedding") continue;
      const spatialIndex = await startingIndex(ctx, field, schema.spatialIndexes.get(field.id));
      tracks.set(field.id, {
        address: addressOf(encodeSpatialIndex(spatialIndex)),
        spatialIndex,
        segments: emptyIndex(),
      });
    }
    const manifest: Manifest = {
      genesis: addressOf(genesisBytes),
      parents: [],
      seq: 0,
      ts: clampTick(ctx.clock() - genesis.origin),
      writer: ctx.writer,
      opId: ctx.random(16),
      op: "create",
      fields: [...schema.fields],
      nextFieldId: schema.fields.length,
      autoHigh: 0n,
      lane: 0,
      timeline: emptyIndex(),
      tracks,
    };
    const bytes = encodeManifest(manifest);
    const address = addressOf(bytes);
    const indexes = [...tracks.values()].map((track) => ({
      address: track.address,
      bytes: encodeSpatialIndex(track.spatialIndex),
    }));
    const objects = [{ address: manifest.genesis, bytes: genesisBytes }, ...indexes, { address, bytes }];
    const tip = await createRef(ctx, name, "branch", { address, manifest, bytes, objects });
    // The ref's own state: another writer may have appended before our reply came.
    return new Dataset<F>({
      ctx: lasting,
      name,
      genesis: LaterGenesis.of(genesis),
      space: SpaceRegistry.ofNew(lasting.session, manifest.genesis),
      tip,
      manifest: tip.manifest,
      address: tip.address,
    });
  }

  /**
   * Opens the branch or snapshot `name` at its current state; the schema comes from the Manifest.
   * Errors: `NotFound`, `InvalidName`, `UnsupportedBackend`, `UnsupportedVersion`, `HashMismatch`, `Corrupt`.
   */
  static async open<F extends FieldTypes = AnyFields>(
    name: string,
    backend: BackendArgument,
    options: DatasetOptions = {},
  ): Promise<Dataset<F>> {
    checkRefName(name);
    const all = optionsOf(backend, options);
    const foundation = foundationOf(backend, all);
    const { store, session, maxStalenessMs, clock } = foundation;
    const asked = maxStalenessMs === undefined ? undefined : clock();
    const [lasting, tip] = await Promise.all([
      contextOn(foundation, all),
      readTip(session.until(options.signal), name),
    ]);
    if (tip === undefined) {
      throw new DreamDBError("NotFound", "no dataset, branch or snapshot has this name", {
        field: "name",
        found: name,
        expected: `a ref of ${store.url}`,
      });
    }
    const { manifest, address } = tip;
    const genesis = LaterGenesis.read(lasting.session, manifest.genesis);
    const space = new SpaceRegistry(lasting.session, manifest.genesis);
    return new Dataset<F>({ ctx: lasting, name, genesis, space, tip, manifest, address }, asked);
  }

  /** Opens a snapshot or branch by its label; the same as `open`. */
  static openRef<F extends FieldTypes = AnyFields>(
    label: string,
    backend: BackendArgument,
    options: DatasetOptions = {},
  ): Promise<Dataset<F>> {
    return Dataset.open<F>(label, backend, options);
  }

  /** Opens, read-only, the state that a Manifest's address or a snapshot names. */
  static async openAt<F extends FieldTypes = AnyFields>(
    at: Address | { manifest: Address },
    backend: BackendArgument,
    options: DatasetOptions = {},
  ): Promise<Dataset<F>> {
    const address = typeof at === "object" && at !== null ? at.manifest : at;
    addressToMultihash(address, "manifest");
    const all = optionsOf(backend, options);
    const foundation = foundationOf(backend, all);
    const session = foundation.session.until(options.signal);
    const [lasting, manifest] = await Promise.all([
      contextOn(foundation, all),
      readManifest(session, address),
      refusePruned(session, address),
    ]);
    return new Dataset<F>({
      ctx: lasting,
      name: address,
      genesis: LaterGenesis.read(lasting.session, manifest.genesis),
      space: new SpaceRegistry(lasting.session, manifest.genesis),
      tip: undefined,
      manifest,
      address,
    });
  }

  /** The ref's name, or the Manifest's address when opened by that. */
  get name(): string {
    return this.state.name;
  }

  get schema(): Schema<F> {
    return new Schema<F>(this.state.manifest.fields);
  }

  /** The fields, what each is, and how far it is indexed; nothing is read for it. */
  tracks(): TrackInfo[] {
    return tracksOf(this.state.manifest);
  }

  /** False for snapshots, and for datasets opened at a Manifest. */
  get isWritable(): boolean {
    return this.state.tip?.ref.type === "branch";
  }

  /** The Manifest this object reads. */
  currentManifest(): Address {
    return this.state.address;
  }

  /** What was read from the backend so far. */
  get traffic(): Traffic {
    return { ...this.state.ctx.session.traffic };
  }

  /**
   * Appends records and publishes one new Manifest. Without `_anchor`s each record gets the next free nanosecond
   * tick from now on. Where they make several batches (spec/0007 §1), those encoded are stored while the next is encoded.
   * Errors: `SchemaViolation`, `InvalidAnchor`, `DuplicateAnchor`, `ReadOnly`, `Conflict`, `CommitUnknown`,
   * `StoreUnavailable`. After any but `CommitUnknown` nothing was appended.
   */
  async appendMany(records: readonly RecordIn<F>[], options: AppendOptions = {}): Promise<AppendResult> {
    this.writable();
    if (!Array.isArray(records) || records.length === 0) {
      throw new DreamDBError("InvalidArgument", "records to append are needed", {
        field: "records",
        found: records,
        expected: "an array of at least one record",
        committed: "no",
      });
    }
    return this.appendRows(new RecordSource(records as readonly Record<string, unknown>[]), options);
  }

  /**
   * Appends the rows of a Table or of RecordBatches of apache-arrow, column by column, and publishes one new Manifest. Columns
   * go by the names of the schema's fields; `_anchor` is optional, as timestamps or Int64 of Unix nanoseconds; nulls stand for
   * no value. Do not change the table's buffers before it resolves. Errors: as `appendMany`.
   */
  async appendArrow(
    table: ArrowTable | ArrowBatch | readonly ArrowBatch[],
    options: AppendOptions = {},
  ): Promise<AppendResult> {
    this.writable();
    const source = await arrowSource(table);
    if (source.rows > 0) return this.appendRows(source, options);
    throw new DreamDBError("InvalidArgument", "rows to append are needed", {
      field: "table",
      found: "0 rows",
      expected: "at least one row",
      committed: "no",
    });
  }

  /**
   * Groups many small writes into few appends: see `DatasetWriter`. Errors: `ReadOnly`, `InvalidArgument`.
   */
  writer(options: WriterOptions = {}): DatasetWriter<F> {
    this.writable();
    const { signal } = options;
    return new DatasetWriter<F>(options, {
      newOpId: () => this.state.ctx.random(16),
      source: (records) => new RecordSource(records),
      stage: (operation) =>
        writing(async () => stage(await this.appendTarget(signal), this.state.tip as Tip, operation)),
      commit: (operation, staged) => this.inTurn(operation, signal, staged),
    });
  }

  private async appendRows(source: RowSource, options: AppendOptions): Promise<AppendResult> {
    const { opId, signal, onProgress } = options;
    checkProgress(onProgress);
    const operation: AppendOperation = {
      source,
      opId: opId === undefined ? this.state.ctx.random(16) : parseOpId(opId),
      isResumed: opId !== undefined,
      onProgress,
    };
    return this.inTurn(operation, signal);
  }

  /** Appends after the appends and rebuilds of this object that were asked for before. */
  private inTurn(
    operation: AppendOperation,
    signal: AbortSignal | undefined,
    staged?: Staged,
  ): Promise<AppendResult> {
    const work = async (): Promise<AppendResult> => {
      const target = await this.appendTarget(signal);
      const done = await append(target, this.state.tip as Tip, operation, staged);
      this.moveTo(done.tip);
      return done.result;
    };
    const turn = this.queue.then(() => writing(work));
    this.queue = turn.catch(() => undefined);
    return turn;
  }

  private async appendTarget(signal: AbortSignal | undefined): Promise<AppendTarget> {
    const { name, genesis, space } = this.state;
    const { origin } = await genesis.get();
    const ctx = operationOf(until(this.state.ctx, signal), this.state.tip?.ref.gcEpoch ?? 0);
    return { ctx, name, origin, indexers: this.indexers, space };
  }

  /**
   * Tells after `CommitUnknown` whether the operation took effect: its Manifest, or undefined when it did not and
   * may be tried again with the same opId.
   */
  async resume(opId: string, { signal }: Cancellable = {}): Promise<{ manifest: Address } | undefined> {
    this.writable();
    await this.refresh({ signal });
    const found = await findOperation(
      this.state.ctx.session.until(signal),
      this.state.tip as Tip,
      parseOpId(opId),
      -1,
    );
    return found === undefined ? undefined : { manifest: found.address };
  }

  /** Moves to the ref's current state, and to the deletions of now. Errors: `RefRollback` when the backend shows an older one. */
  async refresh({ signal }: Cancellable = {}): Promise<Address> {
    const { tip, ctx, name, space } = this.state;
    const session = ctx.session.until(signal);
    // Where nothing asked for it yet, whatever comes first reads the registry of then.
    const deletions = space.known === undefined ? undefined : space.refresh(session);
    // When both fail, the other is told.
    deletions?.catch(() => {});
    if (tip === undefined) {
      await deletions;
      return this.state.address;
    }
    const asked = ctx.maxStalenessMs === undefined ? undefined : ctx.clock();
    const now = await readTip(session, name);
    await deletions;
    if (now === undefined)
      throw new DreamDBError("NotFound", "the ref is gone", { field: "name", found: name });
    refuseRollback(name, tip, now);
    this.moveTo(now);
    if (asked !== undefined && asked > (this.asOf ?? -1n)) this.asOf = asked;
    return this.state.address;
  }

  /**
   * Whether a read has to look at the ref first. A clock that was set back makes the state old, never young; a snapshot never is.
   */
  private isStale(): boolean {
    const { ctx, tip } = this.state;
    if (ctx.maxStalenessMs === undefined || tip?.ref.type !== "branch") return false;
    if (this.asOf === undefined) return true;
    const age = Number(ctx.clock() - this.asOf) / 1e6;
    return age < 0 || age >= ctx.maxStalenessMs;
  }

  /** Reads that come while the ref is being asked for share the answer, unless each has to ask for itself. */
  private async becomeFresh(signal: AbortSignal | undefined): Promise<void> {
    if (!this.isStale()) return;
    if (signal !== undefined || this.state.ctx.maxStalenessMs === 0) {
      await this.refresh({ signal });
      return;
    }
    this.refreshing ??= this.refresh().finally(() => {
      this.refreshing = undefined;
    });
    await this.refreshing;
  }

  /** The record anchored at `anchor` (Unix ns), or undefined. Media and vectors included unless `fields` is given. */
  async get(
    anchor: bigint,
    options: { fields?: string[] } & Cancellable = {},
  ): Promise<RecordOut<F> | undefined> {
    if (this.isStale()) await this.becomeFresh(options.signal);
    const { manifest } = this.state;
    const session = this.state.ctx.session.until(options.signal);
    const fields = chosenFields(manifest.fields, options.fields, () => true);
    const [{ origin }, { deleted }] = await Promise.all([
      this.state.genesis.get(),
      this.state.space.get(session),
    ]);
    const tick = toTick(anchor, origin, "anchor");
    if (deleted.has(tick)) return undefined;
    const values = await this.reading(options.signal, async () => {
      const at = await locate(session, manifest.timeline, tick);
      return at && readRow(session, fields, at);
    });
    if (values === undefined) return undefined;
    const present = fields
      .map((field, i) => [field.name, values[i]] as const)
      .filter(([, value]) => value !== undefined);
    return { _anchor: anchor, ...Object.fromEntries(present) } as RecordOut<F>;
  }

  /**
   * All records in time order, or those that `where` chooses, a batch of columns at a time; memory stays bounded
   * whatever the size. Errors: `InvalidArgument`, `InvalidAnchor`.
   */
  iterStream(options: StreamOptions<F> = {}): AsyncIterableIterator<Batch<F>> {
    const columns = this.streaming(options, DEFAULT_STREAM_ROWS, streamColumns);
    return columns as unknown as AsyncIterableIterator<Batch<F>>;
  }

  /**
   * All records in time order, or those that `where` chooses, as RecordBatches of apache-arrow, which the caller brings:
   * `_anchor` as timestamps in nanoseconds, vectors as FixedSizeList of Float32, categorical text as Dictionary, media as Binary.
   * Columns are copied as they lie: no object is made for a row.
   * Errors: as `iterStream`; `LimitExceeded` for an anchor after the year 2262, which Arrow can't hold.
   */
  iterArrow<A extends ArrowLibrary>(
    options: ArrowStreamOptions<F, A>,
  ): AsyncIterableIterator<InstanceType<A["RecordBatch"]>> {
    const batches = this.streaming(options, DEFAULT_ARROW_ROWS, (source) =>
      streamArrow(source, options.arrow),
    );
    return batches as AsyncGenerator<InstanceType<A["RecordBatch"]>>;
  }

  /** Streams the state of now, or, where that is stale, of when the first batch is asked for. */
  private streaming<B>(
    options: StreamOptions<F>,
    defaultRows: number,
    begin: (source: StreamSource) => AsyncGenerator<B>,
  ): AsyncGenerator<B> {
    const now = this.isStale() ? undefined : this.streamSource(options, defaultRows);
    return async function* (this: Dataset<F>) {
      if (now === undefined) await this.becomeFresh(options.signal);
      const source = now ?? this.streamSource(options, defaultRows);
      let hasBegun = false;
      try {
        for await (const batch of begin(await source())) {
          hasBegun = true;
          yield batch;
        }
      } catch (error) {
        // What came before would come twice.
        if (!(await this.isRedacted(error, options.signal)) || hasBegun) throw error;
        yield* begin(await source());
      }
    }.call(this);
  }

  /** What a stream reads: checked at once, whereas the Genesis is only waited for when batches are. */
  private streamSource(options: StreamOptions<F>, defaultRows: number): () => Promise<StreamSource> {
    const { ctx, manifest, genesis, space } = this.state;
    const { from, to } = options.range ?? {};
    checkBound("range.from", from);
    checkBound("range.to", to);
    const checked = {
      fields: chosenFields(manifest.fields, options.fields, () => true),
      batchSize: positive("batchSize", options.batchSize ?? defaultRows, 1 << 24),
      condition: filterOf({ where: options.where }, manifest.fields),
      session: ctx.session.until(options.signal),
      manifest,
    };
    return async () => {
      const [{ origin }, live] = await Promise.all([genesis.get(), space.live(manifest, checked.session)]);
      await this.follow(options.signal);
      const range = {
        from: from === undefined || from < origin ? 0n : from - origin,
        to: to === undefined ? MAX_TICK : to - origin,
      };
      return { ...checked, condition: both(live, checked.condition), origin, range };
    };
  }

  /**
   * The nearest records to a vector. Await it for all batches, or iterate it.
   * Errors: `InvalidArgument` naming the argument, what was found and what was expected.
   */
  iterVector(query: VectorQuery<F> & Cancellable): VectorResults<VectorBatch<F>> {
    const { signal } = query;
    const now = this.isStale() ? undefined : this.searchTarget(signal);
    let all: Promise<VectorBatch<F>[]> | undefined;
    const batches = async function* (this: Dataset<F>): AsyncGenerator<Columns> {
      const target = now ?? (await this.freshTarget(signal));
      let given = 0;
      try {
        for await (const batch of search(target, query)) {
          given++;
          yield batch;
        }
      } catch (error) {
        if (!(await this.isRedacted(error, signal))) throw error;
        for await (const batch of search(this.followed(target), query)) if (given-- <= 0) yield batch;
      }
    };
    const run = (): AsyncGenerator<VectorBatch<F>> =>
      endingWith(signal, batches.call(this) as AsyncGenerator<unknown> as AsyncGenerator<VectorBatch<F>>);
    const runAll = (): Promise<Columns[]> =>
      now === undefined
        ? this.freshTarget(signal).then((target) => this.searching(target, (at) => searchAll(at, query)))
        : this.searching(now, (at) => searchAll(at, query));
    return {
      [Symbol.asyncIterator]: run,
      // biome-ignore lint/suspicious/noThenProperty: the documented shape is both awaitable and iterable
      then(onFulfilled, onRejected) {
        all ??= runAll() as Promise<unknown> as Promise<VectorBatch<F>[]>;
        return all.then(onFulfilled, onRejected);
      },
    };
  }

  /**
   * The nearest records to each of many vectors: one batch of at most `topK` hits for each, in the order of the vectors,
   * the same as `iterVector` gives. With `workers`, and a backend that other threads can open (a directory, not memory),
   * each takes a share of the vectors; otherwise this thread does it all.
   * Errors: as `iterVector`; `Aborted` when a worker died.
   */
  queryMany(query: ManyVectorQuery<F> & Cancellable): Promise<VectorBatch<F>[]> {
    const { signal } = query;
    const batches = this.freshTarget(signal).then((target) =>
      this.searching(target, (at) => queryMany(at, query as ManyVectorQuery, this.state.address)),
    );
    return unlessAborted(batches as Promise<unknown> as Promise<VectorBatch<F>[]>, signal);
  }

  /**
   * Runs a query and tells what it did: how it was carried out, rows looked at, requests, bytes, times.
   * Errors: as `iterVector`.
   */
  explain(query: VectorQuery & Cancellable): Promise<Explanation> {
    const explained = this.freshTarget(query.signal).then((target) =>
      this.searching(target, (at) => explain(at, query)),
    );
    return unlessAborted(explained, query.signal);
  }

  /**
   * Brings the built indexes of the named vector fields (default all) into memory, as far as `residentBytes` goes, so
   * that queries wait for nothing. `vectors: false` leaves the vectors themselves on the backend, also from later queries: each
   * reads those of its candidates, until a `prewarm` with vectors.
   */
  async prewarm(
    options: {
      fields?: string[];
      vectors?: boolean;
      onProgress?: (progress: { field: string; done: number; total: number }) => void;
    } & Cancellable = {},
  ): Promise<void> {
    checkSignal(options.signal);
    await this.follow(options.signal);
    const { ctx, space } = this.state;
    const { manifest } = this.searchTarget(options.signal);
    await space.live(manifest, ctx.session.until(options.signal));
    for (const field of chosenFields(manifest.fields, options.fields, (each) => each.kind === "embedding")) {
      const track = manifest.tracks.get(field.id);
      if (track === undefined || field.kind !== "embedding") continue;
      const { spatialIndex } = track;
      const withVectors = options.vectors ?? true;
      const onProgress = (done: { done: number; total: number }): void =>
        options.onProgress?.({ field: field.name, ...done });
      const load = async (): Promise<void> => {
        if (isGraph(spatialIndex)) {
          const graph = await this.graphs.of(field, { ...track, spatialIndex });
          await graph.prewarm({ ctx, manifest }, withVectors, onProgress);
        } else if (isTrained(spatialIndex)) {
          const ivf = await this.ivf.of(track);
          await ivf.prewarm(withVectors, onProgress);
        }
      };
      await unlessAborted(load(), options.signal);
    }
  }

  /**
   * Trains the cells of an `ivf-…` or `imi-cosine` field anew and sorts every row into them, with codes. Equal rows,
   * options and seed give equal bytes on any machine, with any number of `workers`.
   * Errors: `InvalidArgument` (field, k, sample…), `ReadOnly`, `Conflict` when another rebuild came first, `OutOfMemory`,
   * `StoreUnavailable`, `Aborted` when a worker died, `CommitUnknown`. After any but `CommitUnknown` nothing changed.
   */
  rebuildIvf(options: RebuildIvfOptions & Cancellable): Promise<RebuildResult> {
    return this.rebuild(options, (target, tip) => rebuildIvf(target, tip, options));
  }

  /**
   * Gives the cells of such a field codes of another kind, here and after later rebuilds; a field without built cells
   * gets one cell. Errors: as `rebuildIvf`.
   */
  publishCompressor(options: PublishCompressorOptions & Cancellable): Promise<RebuildResult> {
    return this.rebuild(options, (target, tip) => publishCompressor(target, tip, options));
  }

  /**
   * Builds a graph of all vectors of a `vamana-…` field. Equal rows, options and seed give equal bytes on any machine.
   * Records appended meanwhile and later are scanned by every search until the next build.
   * Errors: `InvalidArgument` (field, degree, candidates, seed, memoryBytes), `ReadOnly`, `Conflict` when another build came
   * first, `OutOfMemory`, `StoreUnavailable`, `CommitUnknown`. After any but `CommitUnknown` nothing changed.
   */
  buildGraph(options: BuildGraphOptions & Cancellable): Promise<BuildGraphResult> {
    return this.rebuild(options, (target, tip) => buildGraph(target, tip, options));
  }

  /**
   * Brings the columns into few batches in the order of time, and each cell's rows into one run: what many appends leave
   * behind costs queries. Deleted records are left out of what is rewritten. Reads go on meanwhile, and appends are kept. Where nothing is to do, nothing is
   * published: a second call changes nothing.
   * Errors: `InvalidArgument` (fields, memoryBytes), `ReadOnly`, `Conflict` when another writer rebuilt or compacted
   * meanwhile, `OutOfMemory`, `StoreUnavailable`, `CommitUnknown`. After any but `CommitUnknown` nothing changed.
   */
  compact(options: CompactOptions = {}): Promise<CompactResult> {
    return this.rebuild(options, (target, tip) => compact(target, tip, options));
  }

  /**
   * How the rows lie in the cells of a built `ivf-…` index: imbalance, rows of each cell, drift. Reads the heads of all
   * segments, and with `scan` all vectors. Errors: `InvalidArgument`, `StoreUnavailable`.
   */
  async adaIvfStatus(options: AdaIvfStatusOptions): Promise<AdaIvfStatus> {
    const { ctx, manifest } = this.state;
    return adaIvfStatus(until(ctx, options.signal), this.indexers, manifest, options);
  }

  /**
   * Splits cells of a built `ivf-…` index that have too many rows, and dissolves those that have too few: the caller says
   * what that is. Only rows of these cells, and of neighbours that lose some, are written anew. Reads and appends go on
   * meanwhile; where nothing is to do, nothing is published. Equal states, options and seed give equal bytes.
   * Errors: `InvalidArgument`, `ReadOnly`, `Conflict` when another writer rebuilt, compacted or made a step meanwhile,
   * `LimitExceeded`, `OutOfMemory`, `StoreUnavailable`, `CommitUnknown`. After any but `CommitUnknown` nothing changed.
   */
  adaIvfStep(options: AdaIvfOptions & { memoryBytes?: number; dryRun?: boolean }): Promise<AdaIvfStep> {
    return this.rebuild(options, (target, tip) => adaIvfStep(target, tip, options));
  }

  /** The first of four stages of a step, which jobs can share: chooses cells and stores a plan. Errors: as `adaIvfStep`. */
  adaIvfPlan(options: AdaIvfOptions & { dryRun?: boolean }): Promise<AdaIvfPlan> {
    return this.rebuild(options, async ({ ctx }, tip) => ({
      tip,
      result: await adaIvfPlan(ctx, tip.manifest, options),
    }));
  }

  /** The second: works off a share of the plan's tasks, and stores what came out. To repeat it is safe. Errors: as `adaIvfStep`. */
  adaIvfWork(options: AdaIvfWorkOptions): Promise<AdaIvfPart> {
    return this.rebuild(options, async ({ ctx, indexers }, tip) => ({
      tip,
      result: await adaIvfWork(ctx, indexers, tip.manifest, options),
    }));
  }

  /** The third: puts together what all jobs stored. Errors: as `adaIvfStep`. */
  adaIvfCollect(options: AdaIvfCollectOptions): Promise<AdaIvfCollection> {
    return this.rebuild(options, async ({ ctx }, tip) => ({
      tip,
      result: await adaIvfCollect(ctx, tip.manifest, options),
    }));
  }

  /** The last: publishes it, with the rows appended since the plan. Errors: as `adaIvfStep`. */
  adaIvfPublish(options: AdaIvfPublishOptions): Promise<AdaIvfPublished> {
    return this.rebuild(options, (target, tip) => adaIvfPublish(target, tip, options));
  }

  /** How well the indexes fit their data, as figures. Reads the heads of all segments. */
  async health({ signal }: Cancellable = {}): Promise<Health> {
    const { ctx, space } = this.state;
    await this.follow(signal);
    const { manifest } = this.searchTarget(signal);
    return this.reading(signal, () => healthOf(until(ctx, signal), manifest, space));
  }

  /**
   * Pins `label` to this state for good. Errors: `AlreadyExists` when any ref has that name, `InvalidName`,
   * `StoreUnavailable`, `CommitUnknown`.
   */
  async snapshot(label: string, { signal }: Cancellable = {}): Promise<Snapshot> {
    const { manifest, address, name } = this.state;
    const ctx = operationOf(until(this.state.ctx, signal), 0);
    await writing(async () => {
      checkRefName(label, "label");
      const bytes = await ctx.session.object(address);
      await createRef(ctx, label, "tag", { address, manifest, bytes, readFrom: name });
    });
    return { label, manifest: address };
  }

  /**
   * Creates a branch of this state: a ref of its own, with a lane of its own for automatic anchors, so that records appended
   * on both get different ones. No object is written. Its `merge` and `mergeMany` bring branches together.
   * Errors: `AlreadyExists` when any ref has or had that name, `InvalidName`, `StoreUnavailable`, `CommitUnknown`.
   */
  async branch(name: string, { signal }: Cancellable = {}): Promise<Dataset<F>> {
    checkRefName(name);
    const { ctx, genesis, manifest, address, name: readFrom } = this.state;
    const moving = operationOf(until(ctx, signal), 0);
    const created = await writing(() => createBranch(moving, name, { address, manifest, readFrom }));
    const own = await contextBeside(ctx);
    return new Dataset<F>({
      ctx: own,
      name,
      genesis,
      space: new SpaceRegistry(own.session, manifest.genesis),
      tip: created,
      manifest: created.manifest,
      address: created.address,
    });
  }

  /**
   * Brings a branch or snapshot (or the Manifest of an address) of the same Space into this branch. The new state has both as parents, and
   * is a function of them: whoever merges the same sides in the same way gets the same bytes. No data object is rewritten.
   * Errors: `MergeConflict` and `LineageMismatch`, whose `conflicts` tell what contradicts what; `Conflict` when `fast-forward` can't be, or
   * after lost races; `NotFound`, `ReadOnly`, `StoreUnavailable`, `CommitUnknown`. After any but the last nothing changed.
   */
  merge(source: string, options: MergeOptions & Cancellable = {}): Promise<MergeResult> {
    return this.mergeAll([source], options, "refuse-on-conflict");
  }

  /** As `merge`, of many at once, with `union-tracks` by default. The order of `sources` does not matter. */
  mergeMany(sources: readonly string[], options: MergeOptions & Cancellable = {}): Promise<MergeResult> {
    return this.mergeAll(sources, options, "union-tracks");
  }

  /**
   * What this state has that another has not, and the other way round: counts at once, records as they are asked for. What both
   * share is not read. `from` is a ref's name or a Manifest's address. Errors: `NotFound`, `InvalidName`, `LineageMismatch`.
   */
  async diff(from: string, { signal }: Cancellable = {}): Promise<Diff> {
    await this.follow(signal);
    const { address, manifest, space } = this.state;
    const session = this.state.ctx.session.until(signal);
    return diffFrom(session, from, { address, manifest }, space);
  }

  private mergeAll(
    sources: readonly string[],
    options: MergeOptions & Cancellable,
    strategy: MergeStrategy,
  ): Promise<MergeResult> {
    return this.rebuild(options, (target, tip) => mergeMany(target, tip, sources, options, strategy));
  }

  /**
   * Keeps this state's data from collections for `leaseMs`, whatever becomes of its refs: for readers of states that may be
   * pruned or whose branch may be deleted. The state that a ref names needs none. Writes a small object.
   * Errors: `NotFound` when the data was collected already, `InvalidArgument`, `ReadOnly`, `StoreUnavailable`.
   */
  pin(leaseMs: number, { signal }: Cancellable = {}): Promise<Pin> {
    const ctx = operationOf(until(this.state.ctx, signal), 0);
    return writing(() => createPin(ctx, this.state.address, this.state.name, leaseMs));
  }

  /** Up to `limit` Manifests from this state back, newest first, each once. */
  async history(limit = 20, { signal }: Cancellable = {}): Promise<HistoryEntry[]> {
    positive("limit", limit, Number.MAX_SAFE_INTEGER);
    if (this.isStale()) await this.becomeFresh(signal);
    const { address, manifest } = this.state;
    const { space } = this.state;
    const session = this.state.ctx.session.until(signal);
    const [{ origin }] = await Promise.all([this.state.genesis.get(), space.get(session)]);
    const waiting = [{ address, manifest }];
    const seen = new Set<Address>([address]);
    const entries: HistoryEntry[] = [];
    while (waiting.length > 0 && entries.length < limit) {
      waiting.sort((a, b) => a.manifest.seq - b.manifest.seq);
      const node = waiting.pop() as { address: Address; manifest: Manifest };
      const { ts, writer, op, seq, parents } = node.manifest;
      entries.push({
        manifest: node.address,
        ts: ts + origin,
        writer,
        op,
        seq,
        rows: await space.count(node.manifest, session),
        parents,
      });
      for (const parent of parents) {
        if (seen.has(parent)) continue;
        seen.add(parent);
        if (entries.length < limit)
          waiting.push({ address: parent, manifest: await readManifest(session, parent) });
      }
    }
    return entries;
  }

  /** Every branch and snapshot of the backend, by name. */
  listRefs({ signal }: Cancellable = {}): Promise<RefEntry[]> {
    return refsOf(signalled(this.state.ctx.store, signal));
  }

  /** Records in this state, without those deleted: the stored count, less what is reckoned once for each state. */
  async count(): Promise<number> {
    if (this.isStale()) await this.becomeFresh(undefined);
    return this.state.space.count(this.state.manifest);
  }

  /**
   * Deletes records, by their anchors or by a condition: no read of any branch or snapshot of this dataset returns them
   * again, older ones included, and their anchors can't be used anew. For good; asking again changes nothing. Their bytes
   * stay until they are compacted away. Resolves to the Manifest that records it.
   * Errors: `InvalidArgument`, `InvalidAnchor`; `NotFound` for an anchor that no record of this branch has, or had before it was
   * deleted, upon which nothing is deleted; `ReadOnly`, `Conflict`, `StoreUnavailable`, `CommitUnknown`.
   */
  async delete(doomed: Doomed<F>, options: DeleteOptions = {}): Promise<Address> {
    return this.rebuild(options, (target, tip) => deleteRecords(target, tip, doomed as Doomed, options));
  }

  /**
   * Gives the dataset another schema; no record is written anew. Fields are told by their names. Of a field that is there `required`,
   * `index`, `rerank`, `compressor` and `mime` may change; new fields have no value in the records that there are, so that they can't be
   * required unless there are none; those left out are gone from reads of the new state on, and have to be named in `drop`. Snapshots and
   * past states keep their schema.
   * Errors: `SchemaViolation` for a change that can't be made, such as `required` where a record has no value; `ReadOnly`, `Conflict`,
   * `StoreUnavailable`, `CommitUnknown`. After any but the last nothing changed.
   */
  updateSchema(schema: Schema<FieldTypes>, options: UpdateSchemaOptions = {}): Promise<SchemaUpdate> {
    return this.rebuild(options, (target, tip) => updateSchema(target, tip, schema as Schema, options));
  }

  /** The anchors of all deleted records of this dataset, whatever branch they were on, in Unix nanoseconds, ascending. */
  async tombstoneSet({ signal }: Cancellable = {}): Promise<Set<bigint>> {
    if (this.isStale()) await this.becomeFresh(signal);
    const { ctx, space, genesis } = this.state;
    const session = ctx.session.until(signal);
    const [{ origin }, { deleted }] = await Promise.all([genesis.get(), space.get(session)]);
    return new Set(Array.from(deleted.ticks, (tick) => tick + origin));
  }

  /** Every call of `delete` on this dataset, on whatever branch, oldest first: when, why, and which anchors. */
  async deletions({ signal }: Cancellable = {}): Promise<Deletion[]> {
    if (this.isStale()) await this.becomeFresh(signal);
    const { ctx, space, genesis } = this.state;
    const { origin } = await genesis.get();
    return deletionsOf(space, ctx.session.until(signal), origin);
  }

  /**
   * This dataset at another of its states, read-only, in an object that is closed by itself; verified bytes are shared.
   * Errors: `NotFound`, `InvalidAddress`; `LineageMismatch` for a Manifest of another dataset.
   */
  async at(at: Address | { manifest: Address }, { signal }: Cancellable = {}): Promise<Dataset<F>> {
    const address = typeof at === "object" && at !== null ? at.manifest : at;
    addressToMultihash(address, "manifest");
    const { ctx, genesis, manifest: own } = this.state;
    const session = ctx.session.until(signal);
    const [manifest] = await Promise.all([readManifest(session, address), refusePruned(session, address)]);
    if (manifest.genesis !== own.genesis) {
      throw new DreamDBError("LineageMismatch", "this Manifest is another dataset's", {
        field: "manifest",
        found: manifest.genesis,
        expected: own.genesis,
      });
    }
    const beside = await contextBeside(ctx);
    const space = new SpaceRegistry(beside.session, manifest.genesis);
    return new Dataset<F>({ ctx: beside, name: address, genesis, space, tip: undefined, manifest, address });
  }

  /** Frees what it holds in memory and ends its workers. The object can't be used afterwards. */
  async close(): Promise<void> {
    await this.state.ctx.pool?.close();
    await this.ivf.free();
    await this.graphs.free();
    await this.indexers.free();
    this.state.ctx.vectors.clear();
  }

  /**
   * Reads from now on what stands for containers that deleted records were taken out of; looks at the registry anew when a
   * container was missing. False when there is nothing that was not known.
   */
  private async follow(signal: AbortSignal | undefined, isMissing = false): Promise<boolean> {
    const { ctx, space } = this.state;
    const isMore = await space.follow(ctx.session.until(signal), isMissing);
    if (isMore) await this.ivf.reopen();
    return isMore;
  }

  /** Runs `read`, and once more where a container was gone that others stand for. */
  private reading<R>(signal: AbortSignal | undefined, read: () => Promise<R>): Promise<R> {
    return read().catch(async (error) => {
      if (!(await this.isRedacted(error, signal))) throw error;
      return read();
    });
  }

  /** Whether a read that ended like this may go better now: a container was missing, and others stand for some. */
  private async isRedacted(error: unknown, signal: AbortSignal | undefined): Promise<boolean> {
    if (!isDreamDBError(error, "NotFound")) return false;
    if (await this.follow(signal, true)) return true;
    if (this.state.ctx.session.following.redactions === undefined) return false;
    // Known already, but perhaps not when an index was opened.
    await this.ivf.reopen();
    return true;
  }

  /** As `reading`, for a search. */
  private searching<R>(target: SearchTarget, run: (target: SearchTarget) => Promise<R>): Promise<R> {
    return this.reading(undefined, () => run(this.followed(target)));
  }

  private followed(target: SearchTarget): SearchTarget {
    const { redactions } = target.ctx.session.following;
    return redactions === undefined ? target : { ...target, manifest: redactions.manifest(target.manifest) };
  }

  private async freshTarget(signal: AbortSignal | undefined): Promise<SearchTarget> {
    if (this.isStale()) await this.becomeFresh(signal);
    return this.searchTarget(signal);
  }

  /** Indexes that several queries load together are not given up for one that ends. */
  private searchTarget(signal: AbortSignal | undefined): SearchTarget {
    const { ctx, manifest, genesis, space } = this.state;
    return {
      ctx: until(ctx, signal),
      manifest: ctx.session.following.redactions?.manifest(manifest) ?? manifest,
      origin: genesis.known?.origin ?? (() => genesis.get().then(({ origin }) => origin)),
      indexers: this.indexers,
      ivf: this.ivf,
      graphs: this.graphs,
      space,
    };
  }

  /** Takes its turn among this object's appends. */
  private rebuild<R>(
    { signal }: Cancellable,
    work: (target: AppendTarget, tip: Tip) => Promise<{ tip: Tip; result: R }>,
  ): Promise<R> {
    const tip = this.writable();
    const moving = async (): Promise<R> => {
      await this.follow(signal);
      const done = await work(await this.appendTarget(signal), this.state.tip ?? tip);
      this.moveTo(done.tip);
      return done.result;
    };
    const turn = this.queue.then(() => writing(moving));
    this.queue = turn.catch(() => undefined);
    return turn;
  }

  private writable(): Tip {
    const { tip, name } = this.state;
    if (tip?.ref.type === "branch") return tip;
    throw new DreamDBError("ReadOnly", "a snapshot or past state can't be written", {
      field: "name",
      found: name,
      expected: "a dataset opened by its branch",
      committed: "no",
    });
  }

  /** An append and a refresh may end in either order; the later state stays. */
  private moveTo(tip: Tip): void {
    if (this.state.tip !== undefined && tip.ref.seq < this.state.tip.ref.seq) return;
    this.state.tip = tip;
    this.state.manifest = tip.manifest;
    this.state.address = tip.address;
  }
}

/** Every branch and snapshot of a backend, by name; no dataset need be opened for it. */
export function listRefs(
  backend: Backend | { backend: Backend },
  { signal, ...options }: StoreOptions & Cancellable = {},
): Promise<RefEntry[]> {
  return refsOf(signalled(openStore(backend, options), signal));
}

async function refsOf(store: Store): Promise<RefEntry[]> {
  const refs: RefEntry[] = [];
  for await (const { key } of store.list("refs/")) {
    const found = await store.get(key);
    if (found === undefined) continue;
    const ref = decodeRef(found.bytes);
    const { type, manifest, seq, isProtected } = ref;
    if (type === "dead" || type === "reserved") continue;
    const name = key.slice("refs/".length);
    refs.push({ name, type, manifest, seq, ...(isProtected === undefined ? {} : { protected: true }) });
  }
  return refs;
}

async function* endingWith<T>(
  signal: AbortSignal | undefined,
  batches: AsyncGenerator<T>,
): AsyncGenerator<T> {
  try {
    for (;;) {
      const { done, value } = await unlessAborted(batches.next(), signal);
      if (done) return;
      yield value;
    }
  } finally {
    // Not waited for: it may stand in the middle of what was ended.
    void batches.return(undefined).catch(() => {});
  }
}

function checkOrigin(origin: bigint): bigint {
  if (typeof origin === "bigint" && origin >= 0n && origin <= MAX_TICK) return origin;
  throw new DreamDBError("InvalidArgument", "time can't begin there", {
    field: "origin",
    found: origin,
    expected: "a bigint of Unix nanoseconds, 0 to 2^64 − 1",
  });
}

function optionsOf(backend: BackendArgument, options: DatasetOptions): DatasetOptions {
  const inline = typeof backend === "object" && backend !== null && "backend" in backend ? backend : {};
  return { ...inline, ...options };
}

function checkBound(field: string, anchor: bigint | undefined): void {
  if (anchor === undefined || typeof anchor === "bigint") return;
  throw new DreamDBError("InvalidAnchor", "an anchor is a bigint of Unix nanoseconds", {
    field,
    found: anchor,
    expected: "bigint",
  });
}

function parseOpId(text: string): Uint8Array {
  const bytes = fromHex(text);
  if (bytes.length === 16) return bytes;
  throw new DreamDBError("InvalidArgument", "not an operation id", {
    field: "opId",
    found: text,
    expected: "32 hex digits",
  });
}
