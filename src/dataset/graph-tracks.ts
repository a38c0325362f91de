/** The graphs that a dataset has opened, by Track. What walks them is loaded with the first. */
import type { Address } from "../core/address.ts";
import type { EmbeddingField } from "../objects/field.ts";
import type { Track } from "../objects/manifest.ts";
import type { BuiltGraph } from "../objects/spatial-index.ts";
import type { Calibration, RecallWanted } from "./calibrate.ts";
import { Calibrations } from "./calibrations.ts";
import type { Context } from "./context.ts";
import type { GraphTarget, GraphTrack } from "./graph-track.ts";
import { seldom } from "./later.ts";

export class GraphTracks {
  private readonly ctx: Context;
  private readonly held = new Map<Address, Promise<GraphTrack>>();
  private readonly calibrations = new Calibrations();

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

  /** What reaches a recall, measured when it is first asked for. Rows appended later are scanned, which loses none. */
  calibrated(
    target: GraphTarget,
    track: Track & { spatialIndex: BuiltGraph },
    graph: GraphTrack,
    field: EmbeddingField,
    wanted: RecallWanted,
  ): Promise<Calibration> {
    const { topK, recallTarget, rerankFactor } = wanted;
    const key = `${track.address}/${topK}/${recallTarget}/${rerankFactor}`;
    return this.calibrations.of(key, async () => {
      const { calibrateGraph } = await seldom();
      return calibrateGraph(target, graph, field, wanted);
    });
  }

  async free(): Promise<void> {
    const all = [...this.held.values()];
    this.held.clear();
    this.calibrations.clear();
    for (const opened of await Promise.allSettled(all))
      if (opened.status === "fulfilled") opened.value.free();
  }

  private async open(field: EmbeddingField, index: BuiltGraph): Promise<GraphTrack> {
    const { GraphTrack } = await seldom();
    return GraphTrack.open(this.ctx, field, index);
  }
}
