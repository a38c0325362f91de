/** What the main thread asks of a worker, and what it answers. Every request is answered once, in the order of asking. */
import type { Address } from "../core/address.ts";
import type { Columns } from "../dataset/stream.ts";
import type { KernelMode } from "../kernels/load.ts";
import type { Sealed } from "../objects/column.ts";
import type { Track } from "../objects/manifest.ts";
import type { SegmentSource } from "../objects/segment.ts";
import type { WireError } from "./wire-error.ts";

/** What a Track's indexer is made of. */
export interface IndexParts {
  track: Pick<Track, "address" | "spatialIndex" | "compressor">;
  /** cells × dim. */
  centroids: Float32Array;
  /** 2^bits × dim, of a PQ compressor. */
  codebooks?: Float32Array | undefined;
}

/** Where a worker reads: the same Manifest of the same backend as the thread that asks. */
export interface ReadFrom {
  url: string;
  manifest: Address;
  origin: bigint;
  /** The registry's number: a worker that knows an older one reads it anew. */
  registry: number;
  cacheBytes: number;
  residentBytes: number;
}

/** Requests by name. Vectors and results are transferred, never shared. */
export interface Verbs {
  /** The first request of all: the compute core's module, compiled once for all threads. */
  start: { args: { mode: KernelMode; module: WebAssembly.Module }; value: undefined };

  /** Makes room for `rows` rows of a sample, which stay here until it is released. */
  openShare: { args: { share: number; rows: number; dim: number }; value: undefined };
  /** Copies rows × dim f32 to the share, from its row `at` on. */
  fillShare: { args: { share: number; at: number; vectors: Float32Array }; value: undefined };
  /** The centroids (cells × dim) that the next assignments go by. */
  aimShare: { args: { share: number; centroids: Float32Array }; value: undefined };
  /** The cells of rows of the share. */
  assignShare: { args: { share: number; first: number; rows: number }; value: Uint32Array };
  releaseShare: { args: { share: number }; value: undefined };

  /** Makes an indexer, which stays here until it is released. */
  openIndex: { args: { index: number } & IndexParts; value: undefined };
  /** The cells of rows × dim f32, and their codes where the Track has a compressor. */
  derive: {
    args: { index: number; vectors: Float32Array };
    value: { cells: Uint32Array; codes: Uint8Array };
  };
  releaseIndex: { args: { index: number }; value: undefined };

  /** Lays out and hashes a segment. */
  seal: { args: { source: SegmentSource }; value: Sealed };

  /** A batch of hits for each query of n × dim, and what was read for it. */
  search: {
    args: { from: ReadFrom; query: Record<string, unknown>; vectors: Float32Array };
    value: { batches: Columns[]; traffic: { requests: number; bytes: number; roundTrips: number } };
  };
}

export type Verb = keyof Verbs;

export interface Request {
  id: number;
  verb: Verb;
  args: unknown;
}

/** Ends an earlier request, if it is not answered yet. Only the threads of Spaces heed it. */
export interface Cancel {
  cancel: number;
}

export type Reply = { id: number; value: unknown } | { id: number; error: WireError };
