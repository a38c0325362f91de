/** The public names, safe in Node and in browsers. */
export { type Address, addressOf, isAddress } from "./core/address.ts";
export { formatTick, parseTick } from "./core/time.ts";
export { formatUri, type ObjectUri, parseUri } from "./core/uri.ts";
export type { AdaIvfProgress } from "./dataset/ada-base.ts";
export type { AdaIvfOptions, AdaIvfPlan } from "./dataset/ada-plan.ts";
export type {
  AdaIvfCollection,
  AdaIvfCollectOptions,
  AdaIvfPublished,
  AdaIvfPublishOptions,
  AdaIvfStep,
} from "./dataset/ada-publish.ts";
export type { AdaIvfScan, AdaIvfStatus, AdaIvfStatusOptions } from "./dataset/ada-status.ts";
export type { AdaIvfPart, AdaIvfWorkOptions } from "./dataset/ada-work.ts";
export type { AppendResult, Signals, TrackSignals } from "./dataset/append.ts";
export type { AppendProgress } from "./dataset/append-progress.ts";
export type { ArrowBatch, ArrowData, ArrowLibrary, ArrowTable } from "./dataset/arrow-layout.ts";
export type { BuildGraphOptions, BuildGraphProgress, BuildGraphResult } from "./dataset/build-graph.ts";
export type { DeleteRefOptions } from "./dataset/change-ref.ts";
export type { CompactOptions, CompactProgress, CompactResult } from "./dataset/compact.ts";
export type { Backend, Cancellable, DatasetOptions } from "./dataset/context.ts";
export {
  type AppendOptions,
  type ArrowStreamOptions,
  type CreateOptions,
  Dataset,
  type HistoryEntry,
  listRefs,
  type RefEntry,
  type Snapshot,
  type StreamOptions,
  type VectorBatch,
  type VectorResults,
} from "./dataset/dataset.ts";
export type { DeleteOptions, Deletion, Doomed } from "./dataset/delete.ts";
export type { Diff, FieldChange, IndexChange, RecordChange } from "./dataset/diff.ts";
export type { Explanation } from "./dataset/explain.ts";
export type { FsckOptions, FsckProblem, FsckReport, PurgeRemainder, PurgeReport } from "./dataset/fsck.ts";
export type { GcOptions, GcProgress, GcResult } from "./dataset/gc.ts";
export type { Health, TrackHealth } from "./dataset/health.ts";
export { deleteRef, diff, fsck, gc, protectRef } from "./dataset/later.ts";
export type {
  ConflictVersion,
  MergeConflict,
  MergedTrack,
  MergeOptions,
  MergeResult,
  MergeStrategy,
} from "./dataset/merge.ts";
export type { Pin } from "./dataset/pin.ts";
export type { VectorQuery } from "./dataset/query.ts";
export type { ManyVectorQuery } from "./dataset/query-many.ts";
export type {
  PublishCompressorOptions,
  RebuildIvfOptions,
  RebuildProgress,
  RebuildResult,
} from "./dataset/rebuild.ts";
export {
  type Batch,
  type EmbeddingOptions,
  type FieldOptions,
  type MediaOptions,
  type RecordIn,
  type RecordOut,
  type ScalarOptions,
  Schema,
} from "./dataset/schema.ts";
export type { TrackIndex, TrackInfo } from "./dataset/tracks.ts";
export type { SchemaUpdate, UpdateSchemaOptions } from "./dataset/update-schema.ts";
export type { Where } from "./dataset/where.ts";
export type { Committed, DatasetWriter, FlushResult, WriterOptions } from "./dataset/writer.ts";
export { DreamDBError, type ErrorCode, isDreamDBError } from "./errors.ts";
export type { EmbeddingField, FieldSpec, MediaField, ScalarField } from "./objects/field.ts";
export type { RefMoved, SpaceEvents, SpaceProgress } from "./space/events.ts";
export { Media } from "./space/media.ts";
export { type Sample, Samples } from "./space/samples.ts";
export { DreamDBSpace, type SampleOptions, type SpaceOptions } from "./space/space.ts";
export type { PersistOptions } from "./space/verbs.ts";
export { memoryStore } from "./store/memory.ts";
export { openStore, registerBackend } from "./store/open.ts";
export type { RemoteOptions, StoreOptions } from "./store/remote/options.ts";
export type {
  ByteRange,
  ListedKey,
  PutCondition,
  RequestOptions,
  Store,
  StoredValue,
} from "./store/store.ts";
export type { WatchedRequest } from "./store/watched.ts";
