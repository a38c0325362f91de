/** The graphs that a dataset has opened, by Track. What walks them is loaded with the first. */
import type { Address } from "../core/address.ts";
import type { EmbeddingField } from "../objects/field.ts";
import type { Track } from "../objects/manifest.ts";
import type { BuiltGraph } from "../objects/spatial-index.ts";
import type { Context } from "./context.ts";
import type { GraphTrack } from "./graph-track.ts";
import { seldom } from "./later.ts";

export class GraphTracks {
  private readonly ctx: Context;
  private readonly held = new Map<Address, Promise<GraphTrack>>();

  constructor(ctx: Context) {
    this.ctx = ctx;
  }

  of(field: EmbeddingField, track: Track & { spatialIndex: BuiltGraph }): Promise<GraphTrack> {
    let opened = this.held.get(track.address);
    if (opened === undefined) {
      opened = this.open(field, track.spatialIndex);
      this.held.set(track.address, opened);
      opened.catch(() => this.held.delete(track.address));
    }
    return opened;
  }

  async free(): Promise<void> {
    const all = [...this.held.values()];
    this.held.clear();
    for (const opened of await Promise.allSettled(all))
      if (opened.status === "fulfilled") opened.value.free();
  }

  private async open(field: EmbeddingField, index: BuiltGraph): Promise<GraphTrack> {
    const { GraphTrack } = await seldom();
    return GraphTrack.open(this.ctx, field, index);
  }
}
