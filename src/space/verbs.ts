/** What a Space asks of the thread that its dataset is on, and what that answers: plain data throughout. */
import type { Address } from "../core/address.ts";
import type { AppendResult } from "../dataset/append.ts";
import type { DatasetOptions } from "../dataset/context.ts";
import type { HistoryEntry, RefEntry, Snapshot, StreamOptions } from "../dataset/dataset.ts";
import type { Diff } from "../dataset/diff.ts";
import type { Explanation } from "../dataset/explain.ts";
import type { VectorQuery } from "../dataset/query.ts";
import type { ManyVectorQuery } from "../dataset/query-many.ts";
import type { Columns } from "../dataset/stream.ts";
import type { TrackInfo } from "../dataset/tracks.ts";
import type { RemoteOptions } from "../store/remote/options.ts";
import type { WatchedRequest } from "../store/watched.ts";
import type { SampleColumns } from "./samples.ts";
import type { SpacePlace } from "./space-uri.ts";

/** Objects that outlast the page, kept by the browser. */
export interface PersistOptions {
  /** Budget in bytes: what was kept longest goes first. */
  bytes: number;
  /** Spaces of one name share a cache; one of a page's origin by default. */
  name?: string;
}

/** What the thread with the dataset is told when it begins. */
export interface OpenSpace {
  place: SpacePlace;
  options: Omit<DatasetOptions, "signal" | "remote">;
  remote: RemoteOptions;
  persist: PersistOptions | undefined;
}

/** The state that a Space shows. */
export interface SpaceState {
  /** The ref's name, or the Manifest's address when opened by that. */
  name: string;
  manifest: Address;
  isWritable: boolean;
  tracks: TrackInfo[];
}

/** `in` is the number of the dataset that is asked: 0 is the one that was opened, others `at` made. */
type On<A = object> = A & { in: number };

type Plain<T> = Omit<T, "signal" | "onProgress">;

/** Requests by name. */
export interface SpaceVerbs {
  open: { args: OpenSpace; value: SpaceState };
  at: { args: On<{ manifest: Address; as: number }>; value: SpaceState };
  refresh: { args: On; value: SpaceState };
  samples: { args: On<{ options: Plain<StreamOptions> & { limit: number } }>; value: SampleColumns };
  get: {
    args: On<{ anchor: bigint; fields: string[] | undefined }>;
    value: Record<string, unknown> | undefined;
  };
  count: { args: On; value: number };
  history: { args: On<{ limit: number }>; value: HistoryEntry[] };
  refs: { args: On; value: RefEntry[] };
  diff: { args: On<{ from: string }>; value: Omit<Diff, "records"> };
  query: { args: On<{ query: Plain<VectorQuery> }>; value: Columns[] };
  queryMany: { args: On<{ query: Plain<ManyVectorQuery> }>; value: Columns[] };
  explain: { args: On<{ query: Plain<VectorQuery> }>; value: Explanation };
  prewarm: { args: On<{ fields: string[] | undefined; vectors: boolean }>; value: undefined };
  append: {
    args: On<{ records: Record<string, unknown>[]; opId: string | undefined }>;
    value: { result: AppendResult; state: SpaceState };
  };
  snapshot: { args: On<{ label: string }>; value: Snapshot };

  /** Begins to read many things, under a number that the asker gives. */
  begin: { args: On<{ reading: number; of: Reading }>; value: undefined };
  /** The next of them; undefined at the end. */
  next: { args: { reading: number }; value: unknown };
  /** Ends it early. */
  end: { args: { reading: number }; value: undefined };

  /** Frees what one dataset holds. */
  close: { args: On; value: undefined };
  /** Frees all, when what is to be persisted is. The last request, even before anything is open. */
  finish: { args: object; value: undefined };
}

/** What can be read piece by piece: batches, or the records of a comparison. */
export type Reading =
  | { kind: "stream"; options: Plain<StreamOptions> }
  | { kind: "changes"; from: Address; to: Address; fields: string[] | undefined };

export type SpaceVerb = keyof SpaceVerbs;

/** What the thread with the dataset tells without being asked. */
export type SpaceNews =
  | { news: "began" }
  | { news: "ended"; request: WatchedRequest }
  | { news: "moved"; in: number; state: SpaceState };

export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** Its end is waited for when the signal fires: it alone knows whether a write took effect. */
  isWrite?: boolean;
}

/** The way to the thread with the dataset. */
export interface SpaceLink {
  call<V extends SpaceVerb>(
    verb: V,
    args: SpaceVerbs[V]["args"],
    options?: CallOptions,
  ): Promise<SpaceVerbs[V]["value"]>;
  end(): Promise<unknown>;
}
