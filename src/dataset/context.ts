/** What every verb works with: verified reads, the compute core, and the caller's clock, randomness and limits. */

import { useBulkHasher } from "../core/blake3.ts";
import { MAX_TICK } from "../core/time.ts";
import { DreamDBError } from "../errors.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { kernelModule, loadKernels } from "../kernels/load.ts";
import { openStore } from "../store/open.ts";
import type { RemoteOptions } from "../store/remote/options.ts";
import { signalled } from "../store/signalled.ts";
import type { Store } from "../store/store.ts";
import { WorkerPool } from "../workers/pool.ts";
import type { Reads } from "./coalesce.ts";
import type { Holding } from "./holding.ts";
import { Pace } from "./pace.ts";
import { Session } from "./session.ts";
import { ResidentVectors } from "./vectors.ts";

/** A path or URL such as `./data`, `file:///data`, `memory://name`, `https://host/bucket` or `s3://bucket`, or a Store. */
export type Backend = string | Store;

/** For calls that a caller may want to end early. */
export interface Cancellable {
  /**
   * Ends the call with `Aborted`, and the requests it has under way; a commit that may have reached the backend ends
   * with `CommitUnknown` as ever. Looked at with every request, so that long computations end a little later.
   */
  signal?: AbortSignal | undefined;
}

/** `signal` is for the call that opens the dataset. */
export interface DatasetOptions extends Cancellable {
  /** Nothing may be written: verbs that would fail with `ReadOnly`. Default false. */
  readOnly?: boolean;
  /**
   * The caller's word that nobody else writes to this backend meanwhile, so that one without conditional puts can be
   * written, which is refused otherwise. Two writers would lose each other's commits. Default false.
   */
  singleWriter?: boolean;
  /** Limits and retries of backends reached by HTTP. */
  remote?: RemoteOptions;
  /** Budget in bytes of verified objects kept in memory. Default 64 MiB. */
  cacheBytes?: number;
  /**
   * How ranges of objects are put together: two with at most `gapBytes` between them are read as one (default 64 KiB), and
   * beyond `ranges` of one step those that lie nearest (default 24 for backends reached by HTTP, else no limit).
   */
  reads?: Partial<Reads>;
  /** Budget in bytes of vectors and codes kept in the compute core's memory, for each index. Default a quarter of `coreBytes`: 1 GiB. */
  residentBytes?: number;
  /**
   * The most bytes that the compute core's memory may reach, at least 1 MiB; it then has one of its own. Beyond it calls fail
   * with `OutOfMemory`, and the dataset stays usable. Default 4 GiB, shared by all datasets of the process.
   */
  coreBytes?: number;
  /**
   * Milliseconds that the state which reads show may lag behind the ref's: a read after that looks at the ref first, one request.
   * 0: every read does. Default: never, until `refresh()`.
   */
  maxStaleness?: number;
  /** Named in every Manifest this dataset object publishes. Default "dreamdb-ts". */
  writer?: string;
  /** Unix nanoseconds now; the source of automatic anchors. */
  clock?: () => bigint;
  /** Random bytes, for ids. */
  random?: (count: number) => Uint8Array;
  /** Waits so many milliseconds after lost races, a random part of two seconds at most. Default `setTimeout`. */
  sleep?: (ms: number) => Promise<void>;
  /** How often a commit is rebased on a tip that moved before `Conflict` is thrown. Default 100. */
  retries?: number;
  /** Which build of the compute core; "auto" takes SIMD where the engine has it. */
  kernels?: "auto" | "simd" | "scalar";
  /**
   * Threads for `rebuildIvf`, `publishCompressor` and `queryMany`, each with a memory and budgets of its own. They start
   * when first needed and end with `close()`. Results do not depend on it. Default 0: all work is done on this thread.
   */
  workers?: number;
}

export interface Context {
  store: Store;
  session: Session;
  kernels: Kernels;
  vectors: ResidentVectors;
  /** Budgets, as the options gave them. */
  cacheBytes: number;
  residentBytes: number;
  /** Undefined when all work is done on this thread. */
  pool: WorkerPool | undefined;
  /** Undefined when only `refresh()` looks at the ref. */
  maxStalenessMs: number | undefined;
  writer: string;
  clock: () => bigint;
  random: (count: number) => Uint8Array;
  sleep: (ms: number) => Promise<void>;
  retries: number;
  /** Of this dataset object's commits. */
  pace: Pace;
  /** What the operation under way needs that no ref reaches yet, and what is known of collections of garbage. */
  holding: Holding;
}

const DEFAULT_CACHE_BYTES = 64 << 20;
const DEFAULT_CORE_BYTES = 2 ** 32;
const DEFAULT_RETRIES = 100;
const MAX_WRITER_CHARS = 1024;

/** A context but for the compute core: while that is loaded, reads can be under way. */
export type Foundation = Omit<Context, "kernels" | "vectors" | "pool">;

export async function createContext(
  backend: Backend | { backend: Backend } | undefined,
  options: DatasetOptions,
): Promise<Context> {
  return contextOn(foundationOf(backend, options), options);
}

export function foundationOf(
  backend: Backend | { backend: Backend } | undefined,
  options: DatasetOptions,
): Foundation {
  const { readOnly, singleWriter, remote, coreBytes } = options;
  const store = openStore(checkBackend(backend), {
    ...remote,
    ...(readOnly === undefined ? {} : { readOnly }),
    ...(singleWriter === undefined ? {} : { singleWriter }),
  });
  const cacheBytes = budget("cacheBytes", options.cacheBytes ?? DEFAULT_CACHE_BYTES);
  const ample = Math.floor((coreBytes ?? DEFAULT_CORE_BYTES) / 4);
  return {
    store,
    session: new Session(store, cacheBytes, undefined, checkedReads(options.reads)),
    cacheBytes,
    residentBytes: budget("residentBytes", options.residentBytes ?? ample),
    maxStalenessMs: options.maxStaleness === undefined ? undefined : staleness(options.maxStaleness),
    writer: checkWriter(options.writer ?? "dreamdb-ts"),
    clock: checkedClock(options.clock ?? (() => BigInt(Date.now()) * 1_000_000n)),
    random: checkedRandom(options.random ?? ((count) => crypto.getRandomValues(new Uint8Array(count)))),
    sleep: options.sleep ?? ((ms) => new Promise((resolve) => setTimeout(resolve, ms))),
    retries: budget("retries", options.retries ?? DEFAULT_RETRIES),
    pace: new Pace(),
    holding: holdingOf(0, { gc: {} }),
  };
}

/** The context, when the compute core is loaded. Errors: `InvalidArgument`, `UnsupportedBackend`. */
export async function contextOn(foundation: Foundation, options: DatasetOptions): Promise<Context> {
  const { coreBytes } = options;
  const limit = coreBytes === undefined ? {} : { maxBytes: budget("coreBytes", coreBytes) };
  const kernels = await loadKernels(options.kernels ?? "auto", limit);
  useBulkHasher((bytes) => kernels.hashBytes(bytes));
  const { mode } = kernels;
  const threads = options.workers ?? 0;
  return {
    ...foundation,
    kernels,
    vectors: new ResidentVectors(foundation.session, kernels, foundation.residentBytes),
    pool: threads === 0 ? undefined : new WorkerPool(threads, { mode, module: await kernelModule(mode) }),
  };
}

/** The context of one operation on a ref with this epoch. */
export function operationOf(ctx: Context, refEpoch: number): Context {
  return { ...ctx, holding: holdingOf(refEpoch, ctx.holding.view) };
}

function holdingOf(refEpoch: number, view: Holding["view"]): Holding {
  return { view, refEpoch, puts: new Set(), states: new Map() };
}

/** A context for another dataset object of the same backend, which is closed by itself; verified bytes are shared. */
export async function contextBeside(ctx: Context): Promise<Context> {
  const { session, kernels, residentBytes, pool } = ctx;
  const vectors = new ResidentVectors(session, kernels, residentBytes);
  const { mode } = kernels;
  const own = pool && new WorkerPool(pool.size, { mode, module: await kernelModule(mode) });
  return { ...ctx, vectors, pool: own, pace: new Pace(), holding: holdingOf(0, { gc: {} }) };
}

/** The context for one call, whose requests end with `signal`. What it reads stays in the shared caches. */
export function until(ctx: Context, signal: AbortSignal | undefined): Context {
  if (signal === undefined) return ctx;
  return { ...ctx, store: signalled(ctx.store, signal), session: ctx.session.until(signal) };
}

function checkBackend(backend: Backend | { backend: Backend } | undefined): Backend {
  const inner =
    typeof backend === "object" && backend !== null && "backend" in backend ? backend.backend : backend;
  if (typeof inner === "string" || (typeof inner === "object" && inner !== null)) return inner;
  throw new DreamDBError("InvalidArgument", "a backend is needed", {
    field: "backend",
    found: inner,
    expected: "a path, a URL such as file:///data or memory://name, or a Store",
  });
}

function checkWriter(writer: string): string {
  if (typeof writer === "string" && writer.length <= MAX_WRITER_CHARS) return writer;
  throw invalid("writer", writer, `text of at most ${MAX_WRITER_CHARS} characters`);
}

/** What these give goes into stored objects, which nobody could read if it did not fit. */
function checkedClock(clock: () => bigint): () => bigint {
  return () => {
    const now = clock();
    if (typeof now === "bigint" && now >= 0n && now <= MAX_TICK) return now;
    throw invalid("clock", now, "a bigint of Unix nanoseconds, 0 to 2^64 − 1");
  };
}

function checkedRandom(random: (count: number) => Uint8Array): (count: number) => Uint8Array {
  return (count) => {
    const bytes = random(count);
    if (ArrayBuffer.isView(bytes) && bytes.length === count) return bytes;
    throw invalid("random", bytes, `${count} bytes`);
  };
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "this option can't be", { field, found, expected });
}

function checkedReads({ gapBytes, ranges }: Partial<Reads> = {}): Partial<Reads> {
  return {
    ...(gapBytes === undefined ? {} : { gapBytes: budget("reads.gapBytes", gapBytes) }),
    ...(ranges === undefined ? {} : { ranges: Math.max(1, budget("reads.ranges", ranges)) }),
  };
}

function staleness(ms: number): number {
  if (typeof ms === "number" && ms >= 0) return ms;
  throw invalid("maxStaleness", ms, "milliseconds, from 0");
}

function budget(field: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new DreamDBError("InvalidArgument", "not a count", {
    field,
    found: value,
    expected: "an integer from 0",
  });
}
