/**
 * The names that a page needs which leaves all work to a worker. What reads and searches is loaded by the worker alone, or later
 * by a Space of the page's own thread.
 */
export type { Address } from "../core/address.ts";
export type { Cancellable } from "../dataset/context.ts";
export type { HistoryEntry, RefEntry, Snapshot, VectorBatch } from "../dataset/dataset.ts";
export type { Diff } from "../dataset/diff.ts";
export type { VectorQuery } from "../dataset/query.ts";
export type { ManyVectorQuery } from "../dataset/query-many.ts";
export type { TrackIndex, TrackInfo } from "../dataset/tracks.ts";
export type { Where } from "../dataset/where.ts";
export { DreamDBError, type ErrorCode, isDreamDBError } from "../errors.ts";
export type { WatchedRequest } from "../store/watched.ts";
export type { RefMoved, SpaceEvents, SpaceProgress } from "./events.ts";
export { Media } from "./media.ts";
export { type Sample, Samples } from "./samples.ts";
export { DreamDBSpace, type SampleOptions, type SpaceOptions } from "./space.ts";
export type { PersistOptions } from "./verbs.ts";
