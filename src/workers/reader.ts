import { type Context, createContext } from "../dataset/context.ts";
import { GraphTracks } from "../dataset/graph-tracks.ts";
import { Indexers } from "../dataset/indexer.ts";
import { IvfTracks } from "../dataset/ivf-tracks.ts";
import type { SearchTarget } from "../dataset/query.ts";
import { type ManyVectorQuery, searchHere } from "../dataset/query-many.ts";
import { SpaceRegistry } from "../dataset/space-registry.ts";
import { readManifest } from "../dataset/tip.ts";
import type { KernelMode } from "../kernels/load.ts";
import type { Manifest } from "../objects/manifest.ts";
import type { ReadFrom, Verbs } from "./messages.ts";

/** A worker's view of a dataset: what it has read stays for the next queries, also at a later Manifest. */
export class Reader {
  private readonly from: ReadFrom;
  private readonly ctx: Context;
  private readonly indexers: Indexers;
  private readonly ivf: IvfTracks;
  private readonly graphs: GraphTracks;
  private address = "";
  private manifest: Manifest | undefined;
  private space: SpaceRegistry | undefined;

  private constructor(from: ReadFrom, ctx: Context) {
    this.from = from;
    this.ctx = ctx;
    this.indexers = new Indexers(ctx.kernels, ctx.session);
    this.ivf = new IvfTracks(ctx);
    this.graphs = new GraphTracks(ctx);
  }

  /** Errors: `UnsupportedBackend` when this thread doesn't know the scheme. */
  static async open(from: ReadFrom, mode: KernelMode): Promise<Reader> {
    const { url, cacheBytes, residentBytes } = from;
    return new Reader(from, await createContext(url, { cacheBytes, residentBytes, kernels: mode }));
  }

  /** Whether it reads there, at whatever Manifest. */
  isOf({ url, origin }: ReadFrom): boolean {
    return url === this.from.url && origin === this.from.origin;
  }

  /** A batch for each query of n × dim values. Errors: as `queryMany`. */
  async search(
    { manifest: address, origin, registry }: ReadFrom,
    query: Record<string, unknown>,
    vectors: Float32Array,
  ): Promise<Verbs["search"]["value"]> {
    const { ctx, indexers, ivf, graphs } = this;
    if (this.manifest === undefined || this.address !== address) {
      this.manifest = await readManifest(ctx.session, address);
      this.address = address;
    }
    const { genesis } = this.manifest;
    if (this.space?.genesis !== genesis) this.space = new SpaceRegistry(ctx.session, genesis);
    const { space } = this;
    await space.atLeast(registry);
    const before = { ...ctx.session.traffic };
    const target: SearchTarget = { ctx, manifest: this.manifest, origin, indexers, ivf, graphs, space };
    const batches = await searchHere(target, { ...query, queries: vectors } as ManyVectorQuery);
    const { requests, bytes, roundTrips } = ctx.session.traffic;
    return {
      batches: batches.map(compact),
      traffic: {
        requests: requests - before.requests,
        bytes: bytes - before.bytes,
        roundTrips: roundTrips - before.roundTrips,
      },
    };
  }

  async free(): Promise<void> {
    await this.ivf.free();
    await this.graphs.free();
    await this.indexers.free();
    this.ctx.vectors.clear();
  }
}

/** A clone of a view carries all of the buffer behind it, so views of larger buffers become copies. */
function compact<B extends Record<string, unknown>>(batch: B): B {
  for (const column of Object.values(batch)) {
    if (!Array.isArray(column)) continue;
    column.forEach((value, i) => {
      if (ArrayBuffer.isView(value) && value.byteLength < value.buffer.byteLength)
        column[i] = (value as Uint8Array).slice();
    });
  }
  return batch;
}
