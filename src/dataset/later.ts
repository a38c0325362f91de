/**
 * Verbs that a program which only reads and searches never calls. What they take is loaded when one is first called: a
 * fresh process answers sooner, and a page whose bundler splits chunks downloads less.
 */
import { useBulkHasher } from "../core/blake3.ts";
import { loadKernels } from "../kernels/load.ts";
import type { ArrowLibrary } from "./arrow-layout.ts";
import type { ArrowSource } from "./arrow-source.ts";
import type { FsckOptions, FsckReport } from "./fsck.ts";
import type * as Pruned from "./pruned.ts";
import type * as Seldom from "./seldom.ts";
import type { StreamSource } from "./stream.ts";
import type * as Writing from "./writing.ts";

export const seldom = (): Promise<typeof Seldom> => import("./seldom.ts");

/** As `seldom`, for verbs that hash much without a dataset that has loaded the compute core before. */
async function seldomHashing(): Promise<typeof Seldom> {
  const [module, kernels] = await Promise.all([seldom(), loadKernels()]);
  useBulkHasher((bytes) => kernels.hashBytes(bytes));
  return module;
}

const writing = (): Promise<typeof Writing> => import("./writing.ts");

export const adaIvfPlan: typeof Seldom.adaIvfPlan = async (...args) => (await seldom()).adaIvfPlan(...args);

export const adaIvfWork: typeof Seldom.adaIvfWork = async (...args) => (await seldom()).adaIvfWork(...args);

export const adaIvfCollect: typeof Seldom.adaIvfCollect = async (...args) =>
  (await seldom()).adaIvfCollect(...args);

export const adaIvfPublish: typeof Seldom.adaIvfPublish = async (...args) =>
  (await seldom()).adaIvfPublish(...args);

export const adaIvfStep: typeof Seldom.adaIvfStep = async (...args) => (await seldom()).adaIvfStep(...args);

export const adaIvfStatus: typeof Seldom.adaIvfStatus = async (...args) =>
  (await seldom()).adaIvfStatus(...args);

export const append: typeof Writing.append = async (...args) => (await writing()).append(...args);

export const stage: typeof Writing.stage = async (...args) => (await writing()).stage(...args);

export const buildGraph: typeof Seldom.buildGraph = async (...args) => (await seldom()).buildGraph(...args);

export const compact: typeof Seldom.compact = async (...args) => (await seldom()).compact(...args);

export const deleteRecords: typeof Seldom.deleteRecords = async (...args) =>
  (await seldom()).deleteRecords(...args);

export const deletionsOf: typeof Seldom.deletionsOf = async (...args) =>
  (await seldom()).deletionsOf(...args);

export const healthOf: typeof Seldom.healthOf = async (...args) => (await seldom()).healthOf(...args);

export const mergeMany: typeof Seldom.mergeMany = async (...args) => (await seldom()).mergeMany(...args);

export const publishCompressor: typeof Seldom.publishCompressor = async (...args) =>
  (await seldom()).publishCompressor(...args);

export const rebuildIvf: typeof Seldom.rebuildIvf = async (...args) => (await seldom()).rebuildIvf(...args);

export const updateSchema: typeof Seldom.updateSchema = async (...args) =>
  (await seldom()).updateSchema(...args);

export const arrowSource = async (...args: ConstructorParameters<typeof ArrowSource>): Promise<ArrowSource> =>
  new (await writing()).ArrowSource(...args);

export async function* streamArrow(source: StreamSource, library: ArrowLibrary): AsyncGenerator<unknown> {
  yield* (await seldom()).streamArrow(source, library);
}

/** Reads and checks all that the refs of a backend reach. Damage is reported, not thrown. */
export async function fsck(
  backend: Parameters<typeof Seldom.fsck>[0],
  options?: FsckOptions,
): Promise<FsckReport> {
  return (await seldomHashing()).fsck(backend, options);
}

/** How the second of two states differs from the first; each is a ref's name or a Manifest's address. */
export const diff: typeof Seldom.diff = async (...args) => (await seldomHashing()).diff(...args);

export const diffFrom: typeof Seldom.diffFrom = async (...args) => (await seldom()).diffFrom(...args);

export const createBranch: typeof Writing.createBranch = async (...args) =>
  (await writing()).createBranch(...args);

/** Deletes objects that nothing reaches any more. See gc.ts for what is kept, and for errors. */
export const gc: typeof Seldom.gc = async (...args) => (await seldom()).gc(...args);

export const createPin: typeof Seldom.createPin = async (...args) => (await seldom()).createPin(...args);

export const createRef: typeof Writing.createRef = async (...args) => (await writing()).createRef(...args);

/** By itself, since pages that only read open states by their address. */
export const refusePruned: typeof Pruned.refusePruned = async (...args) =>
  (await import("./pruned.ts")).refusePruned(...args);

/** Deletes a branch or snapshot, whose name can't be used again; its objects stay. See change-ref.ts for errors. */
export const deleteRef: typeof Seldom.deleteRef = async (...args) => (await seldom()).deleteRef(...args);

/** Protects a branch or snapshot from being deleted, or ends that. */
export const protectRef: typeof Seldom.protectRef = async (...args) => (await seldom()).protectRef(...args);
