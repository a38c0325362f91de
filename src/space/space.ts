/** DreamDBSpace: a dataset as a page sees it, on the page's thread or in a worker. */
import type { Address } from "../core/address.ts";
import type { AppendResult } from "../dataset/append.ts";
import { checkProgress } from "../dataset/append-progress.ts";
import type { Cancellable, DatasetOptions } from "../dataset/context.ts";
import type {
  AppendOptions,
  HistoryEntry,
  RefEntry,
  Snapshot,
  StreamOptions,
  VectorBatch,
  VectorResults,
} from "../dataset/dataset.ts";
import type { Diff } from "../dataset/diff.ts";
import type { Explanation } from "../dataset/explain.ts";
import type { VectorQuery } from "../dataset/query.ts";
import type { ManyVectorQuery } from "../dataset/query-many.ts";
import type { AnyFields, Batch, FieldTypes, RecordIn, RecordOut } from "../dataset/schema.ts";
import type { TrackInfo } from "../dataset/tracks.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import { unlessAborted } from "../store/aborted.ts";
import type { SpaceEvents, SpaceProgress } from "./events.ts";
import { linkHere } from "./here.ts";
import { type Samples, samplesOf } from "./samples.ts";
import { parseSpaceUri } from "./space-uri.ts";
import { linkThere } from "./there.ts";
import type {
  CallOptions,
  OpenSpace,
  PersistOptions,
  Reading,
  SpaceLink,
  SpaceNews,
  SpaceState,
  SpaceVerb,
  SpaceVerbs,
} from "./verbs.ts";

/** Among the Spaces of one opening, what hears of it until there are any. */
const OPENING = -1;
const DEFAULT_SAMPLES = 1000;
const DEFAULT_HISTORY = 20;

/** As of a Dataset; nothing is written unless `writable`. `signal` is for the opening. */
export interface SpaceOptions extends Omit<DatasetOptions, "readOnly"> {
  /** Lets `appendMany` and `snapshot` write, where the bucket does. Default false. */
  writable?: boolean;
  /**
   * Has all work done in a Web Worker: true for one of the library's `worker.js`, or a function that starts one which runs that.
   * Options that are functions can't go there. Default: this thread.
   */
  worker?: boolean | (() => Worker);
  /** Keeps immutable objects and ranges of them in the browser's Cache storage, beyond the page. Default: not. */
  persist?: PersistOptions;
  /** Told of the requests of the opening, when each begins and ends; later ones are `progress` events of the Space. */
  onProgress?: ((progress: SpaceProgress) => void) | undefined;
}

export interface SampleOptions<F extends FieldTypes = AnyFields> extends Omit<StreamOptions<F>, "batchSize"> {
  /** The most samples. Default 1,000. */
  limit?: number;
}

/** What Spaces of one opening share. */
interface Shared {
  link: SpaceLink;
  /** By number: those that are not closed. */
  members: Map<number, { space: EventTarget; moveTo(state: SpaceState): void }>;
  progress: SpaceProgress;
  lastNumber: number;
}

/**
 * A Space resolved to one state of a ref, or to a Manifest, ready for reads. Bytes come from the bucket itself, and every one
 * is verified. It is an EventTarget: `request`, `progress`, `refmoved`.
 */
export class DreamDBSpace<F extends FieldTypes = AnyFields> extends EventTarget {
  readonly #shared: Shared;
  readonly #number: number;
  #state: SpaceState;

  private constructor(shared: Shared, number: number, state: SpaceState) {
    super();
    this.#shared = shared;
    this.#number = number;
    this.#state = state;
    shared.members.set(number, { space: this, moveTo: (later) => this.#moveTo(later) });
  }

  /**
   * Opens `https://host/bucket[/prefix]/refs/name`, a branch or snapshot, or the URL of a Manifest's object.
   * Errors: `InvalidUri`, `InvalidName`, `NotFound`, `StoreUnavailable` (unreachable, denied, or not allowed to this page's origin),
   * `HashMismatch`, `Corrupt`, `UnsupportedBackend`, `UnsupportedVersion`, `InvalidArgument`, `Aborted`.
   */
  static async fromUri<F extends FieldTypes = AnyFields>(
    uri: string | URL,
    options: SpaceOptions = {},
  ): Promise<DreamDBSpace<F>> {
    const { signal, worker = false, persist, writable = false, remote = {}, onProgress, ...rest } = options;
    checkProgress(onProgress);
    const open: OpenSpace = {
      place: parseSpaceUri(uri),
      options: { ...rest, readOnly: !writable },
      remote,
      persist: checkPersist(persist),
    };
    const progress = { pending: 0, requests: 0, bytes: 0 };
    const onNews = (news: SpaceNews): void => receive(shared, news);
    const make = typeof worker === "function" ? worker : undefined;
    const link =
      worker === false
        ? await unlessAborted(linkHere(onNews), signal)
        : heedingDeath(linkThere(open, make, onNews), () => forgetPending(shared));
    const shared: Shared = { link, members: new Map(), progress, lastNumber: 0 };
    if (onProgress !== undefined) shared.members.set(OPENING, listener(onProgress));
    try {
      // A worker's first message has opened it already; it answers this one with the same.
      const state = await link.call("open", open, { signal });
      return new DreamDBSpace<F>(shared, 0, state);
    } catch (error) {
      const ended = link.end().catch(() => undefined);
      // A worker that is not even loaded answers nothing.
      if (signal?.aborted !== true) await ended;
      throw error;
    } finally {
      shared.members.delete(OPENING);
    }
  }

  /** The ref's name, or the Manifest's address when opened by that. */
  get name(): string {
    return this.#state.name;
  }

  /** The address of the state that is shown. */
  get manifest(): Address {
    return this.#state.manifest;
  }

  /** Whether it shows a branch, which may move. */
  get isBranch(): boolean {
    return this.#state.isWritable;
  }

  /** The fields: what each is, how many records, how far indexed. */
  tracks(): TrackInfo[] {
    return structuredClone(this.#state.tracks);
  }

  /**
   * Records in time order, with scalars and media (vectors only when named in `fields`), at most `limit`. Media are `Media`: a
   * blob URL under `url`, typed by their own bytes; the caller revokes them. Errors: `InvalidArgument`, `InvalidAnchor`, those of reading.
   */
  async samples({ signal, limit = DEFAULT_SAMPLES, ...options }: SampleOptions<F> = {}): Promise<Samples> {
    if (!Number.isSafeInteger(limit) || limit < 1) throw invalid("limit", limit, "an integer from 1");
    const found = await this.#call("samples", { options: { ...options, limit } }, { signal });
    return samplesOf(found, this.#state.tracks);
  }

  /** The record anchored at `anchor` (Unix ns), or undefined, with bytes of media as they are. */
  async get(
    anchor: bigint,
    { fields, signal }: { fields?: string[] } & Cancellable = {},
  ): Promise<RecordOut<F> | undefined> {
    return (await this.#call("get", { anchor, fields }, { signal })) as RecordOut<F> | undefined;
  }

  /** Records in this state, without those deleted. */
  count({ signal }: Cancellable = {}): Promise<number> {
    return this.#call("count", {}, { signal });
  }

  /** Up to `limit` Manifests from this state back, newest first. */
  history(limit = DEFAULT_HISTORY, { signal }: Cancellable = {}): Promise<HistoryEntry[]> {
    return this.#call("history", { limit }, { signal });
  }

  /** The Space at an earlier state, to be closed by itself; what was read is shared. Errors: `NotFound`, `LineageMismatch`. */
  async at(
    manifest: Address | { manifest: Address },
    { signal }: Cancellable = {},
  ): Promise<DreamDBSpace<F>> {
    const address = typeof manifest === "object" && manifest !== null ? manifest.manifest : manifest;
    const number = ++this.#shared.lastNumber;
    const state = await this.#call("at", { manifest: address, as: number }, { signal });
    return new DreamDBSpace<F>(this.#shared, number, state);
  }

  /** What this state has that another has not, and the other way round: see `Dataset.diff`. */
  async diff(from: string, { signal }: Cancellable = {}): Promise<Diff> {
    const diff = await this.#call("diff", { from }, { signal });
    const records = ({ fields }: { fields?: string[] } = {}) =>
      this.#read({ kind: "changes", from: diff.from, to: diff.to, fields }, signal);
    return { ...diff, records: records as Diff["records"] };
  }

  /** Every branch and snapshot. Errors: `UnsupportedBackend`, `StoreUnavailable` where keys can't be listed. */
  refs({ signal }: Cancellable = {}): Promise<RefEntry[]> {
    return this.#call("refs", {}, { signal });
  }

  /** Every branch. Errors: as `refs`. */
  async branches(options: Cancellable = {}): Promise<RefEntry[]> {
    return (await this.refs(options)).filter(({ type }) => type === "branch");
  }

  /** The nearest records to a vector, as `Dataset.iterVector` finds them: await it, or iterate it. */
  query({ signal, ...query }: VectorQuery<F> & Cancellable): VectorResults<VectorBatch<F>> {
    let found: Promise<VectorBatch<F>[]> | undefined;
    const run = (): Promise<VectorBatch<F>[]> => {
      found ??= this.#call("query", { query }, { signal }) as Promise<unknown> as Promise<VectorBatch<F>[]>;
      return found;
    };
    return {
      async *[Symbol.asyncIterator]() {
        yield* await run();
      },
      // biome-ignore lint/suspicious/noThenProperty: as of iterVector
      then: (onFulfilled, onRejected) => run().then(onFulfilled, onRejected),
    };
  }

  /** The nearest records to each of many vectors: see `Dataset.queryMany`. */
  async queryMany({ signal, ...query }: ManyVectorQuery<F> & Cancellable): Promise<VectorBatch<F>[]> {
    const batches = await this.#call("queryMany", { query: query as ManyVectorQuery }, { signal });
    return batches as unknown[] as VectorBatch<F>[];
  }

  /** Runs a query and tells what it did. */
  explain({ signal, ...query }: VectorQuery & Cancellable): Promise<Explanation> {
    return this.#call("explain", { query }, { signal });
  }

  /** Brings built indexes into memory: see `Dataset.prewarm`. */
  async prewarm({
    fields,
    vectors = true,
    signal,
  }: { fields?: string[]; vectors?: boolean } & Cancellable = {}): Promise<void> {
    await this.#call("prewarm", { fields, vectors }, { signal });
  }

  /** All records in time order, or those that match, a batch of columns at a time: see `Dataset.iterStream`. */
  stream({ signal, ...options }: StreamOptions<F> = {}): AsyncIterableIterator<Batch<F>> {
    return this.#read({ kind: "stream", options: options as StreamOptions }, signal) as AsyncGenerator<
      Batch<F>
    >;
  }

  /** Moves to the ref's current state. Errors: `NotFound` when the ref is gone, `RefRollback`. */
  async refresh({ signal }: Cancellable = {}): Promise<Address> {
    this.#moveTo(await this.#call("refresh", {}, { signal }));
    return this.manifest;
  }

  /**
   * Appends records, by the very commit of `Dataset.appendMany`, where the Space is `writable` and the bucket lets this page write.
   * Errors: as there.
   */
  async appendMany(
    records: readonly RecordIn<F>[],
    { signal, opId }: Omit<AppendOptions, "onProgress"> = {},
  ): Promise<AppendResult> {
    const args = { records: records as Record<string, unknown>[], opId };
    const { result, state } = await this.#call("append", args, { signal, isWrite: true });
    this.#moveTo(state);
    return result;
  }

  /** Pins `label` to this state for good. Errors: as `Dataset.snapshot`. */
  snapshot(label: string, { signal }: Cancellable = {}): Promise<Snapshot> {
    return this.#call("snapshot", { label }, { signal, isWrite: true });
  }

  /** Frees what it holds; with the last of the Spaces of one opening the worker ends. The object can't be used afterwards. */
  async close(): Promise<void> {
    const { members, link } = this.#shared;
    if (!members.delete(this.#number)) return;
    if (members.size > 0) await link.call("close", { in: this.#number });
    else await link.end();
  }

  override addEventListener<T extends keyof SpaceEvents>(
    type: T,
    listener: ((event: SpaceEvents[T]) => void) | { handleEvent(event: SpaceEvents[T]): void } | null,
    options?: boolean | AddEventListenerOptions,
  ): void {
    super.addEventListener(type, listener as EventListener | null, options);
  }

  override removeEventListener<T extends keyof SpaceEvents>(
    type: T,
    listener: ((event: SpaceEvents[T]) => void) | { handleEvent(event: SpaceEvents[T]): void } | null,
    options?: boolean | EventListenerOptions,
  ): void {
    super.removeEventListener(type, listener as EventListener | null, options);
  }

  #moveTo(state: SpaceState): void {
    const { manifest: from } = this.#state;
    this.#state = state;
    const { manifest: to } = state;
    if (from !== to) this.dispatchEvent(new CustomEvent("refmoved", { detail: { from, to } }));
  }

  async #call<V extends SpaceVerb>(
    verb: V,
    args: Omit<SpaceVerbs[V]["args"], "in">,
    options: CallOptions,
  ): Promise<SpaceVerbs[V]["value"]> {
    const { members, link } = this.#shared;
    if (!members.has(this.#number))
      throw new DreamDBError("Aborted", "the Space is closed", { field: "space", committed: "no" });
    return link.call(verb, { ...args, in: this.#number } as unknown as SpaceVerbs[V]["args"], options);
  }

  /** Piece by piece: the next is asked for when the caller wants it. */
  async *#read(of: Reading, signal: AbortSignal | undefined): AsyncGenerator<unknown> {
    const { link } = this.#shared;
    const reading = ++this.#shared.lastNumber;
    await this.#call("begin", { reading, of }, { signal });
    try {
      for (;;) {
        const next = await link.call("next", { reading }, { signal });
        if (next === undefined) return;
        yield next;
      }
    } finally {
      // Not waited for: it may stand in the middle of a request.
      void link.call("end", { reading }).catch(() => {});
    }
  }
}

function receive({ members, progress }: Shared, news: SpaceNews): void {
  if (news.news === "moved") {
    members.get(news.in)?.moveTo(news.state);
    return;
  }
  progress.pending += news.news === "began" ? 1 : -1;
  if (news.news === "ended") {
    progress.requests++;
    progress.bytes += news.request.bytes;
  }
  for (const { space } of members.values()) {
    if (news.news === "ended") space.dispatchEvent(new CustomEvent("request", { detail: news.request }));
    space.dispatchEvent(new CustomEvent("progress", { detail: { ...progress } }));
  }
}

/** `link`, telling when a call ends with the worker that was to answer it. */
function heedingDeath(link: SpaceLink, onDeath: () => void): SpaceLink {
  return {
    async call(verb, args, options) {
      try {
        return await link.call(verb, args, options);
      } catch (error) {
        if (isDreamDBError(error) && error.field === "worker") onDeath();
        throw error;
      }
    },
    end: () => link.end(),
  };
}

/** Requests that died with their worker: nobody tells of their end. All calls of it fail before another one tells of its first. */
function forgetPending({ members, progress }: Shared): void {
  if (progress.pending === 0) return;
  progress.pending = 0;
  for (const { space } of members.values())
    space.dispatchEvent(new CustomEvent("progress", { detail: { ...progress } }));
}

/** What hears of progress alone; what it throws is told as that of any listener is, and ends nothing. */
function listener(onProgress: (progress: SpaceProgress) => void) {
  const space = new EventTarget();
  space.addEventListener("progress", (event) => onProgress((event as SpaceEvents["progress"]).detail));
  return { space, moveTo() {} };
}

function checkPersist(persist: PersistOptions | undefined): PersistOptions | undefined {
  if (persist === undefined) return undefined;
  const { bytes, name } = persist;
  if (!(Number.isSafeInteger(bytes) && bytes >= 0))
    throw invalid("persist.bytes", bytes, "an integer from 0");
  if (name !== undefined && typeof name !== "string") throw invalid("persist.name", name, "text");
  return persist;
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "this option can't be", { field, found, expected });
}
