/** The built indexes that a dataset has in memory, by Track, and what was measured of them. */
import type { EmbeddingField } from "../objects/field.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import type { Calibration, RecallWanted } from "./calibrate.ts";
import { Calibrations } from "./calibrations.ts";
import type { Context } from "./context.ts";
import { keyOf } from "./indexer.ts";
import { IvfTrack } from "./ivf-track.ts";
import { seldom } from "./later.ts";

export class IvfTracks {
  private readonly ctx: Context;
  private readonly held = new Map<string, Promise<IvfTrack>>();
  /** Those that show a Track's state as it is, for queries that need not wait. */
  private readonly current = new WeakMap<Track, IvfTrack>();
  private readonly calibrations = new Calibrations();

  constructor(ctx: Context) {
    this.ctx = ctx;
  }

  /** The index of `track`, in the state that the Track is in. */
  async of(track: Track): Promise<IvfTrack> {
    const key = keyOf(track);
    let opened = this.held.get(key);
    if (opened === undefined) {
      const { session, kernels, residentBytes } = this.ctx;
      opened = IvfTrack.open(session, kernels, track, residentBytes);
      this.held.set(key, opened);
      opened.catch(() => this.held.delete(key));
    }
    const ivf = await opened;
    if (!ivf.isAt(track)) await ivf.sync(track);
    this.current.set(track, ivf);
    return ivf;
  }

  /** The index of `track` if it is there, in the state that the Track is in. */
  opened(track: Track): IvfTrack | undefined {
    const ivf = this.current.get(track);
    return ivf?.isAt(track) ? ivf : undefined;
  }

  /** What is opened looks at its segments anew before the next search. */
  async reopen(): Promise<void> {
    for (const opened of await Promise.allSettled(this.held.values()))
      if (opened.status === "fulfilled") opened.value.reopen();
  }

  /** What was measured before. */
  measured(track: Track, ivf: IvfTrack, wanted: RecallWanted): Calibration | undefined {
    return this.calibrations.at(calibrationKey(track, ivf, wanted));
  }

  /** What reaches a recall, measured when it is first asked for and anew when the Track has changed. */
  calibrated(
    target: { ctx: Context; manifest: Manifest },
    track: Track,
    ivf: IvfTrack,
    field: EmbeddingField,
    wanted: RecallWanted,
  ): Promise<Calibration> {
    const key = calibrationKey(track, ivf, wanted);
    return this.calibrations.of(key, async () => {
      const { calibrateIvf } = await seldom();
      return calibrateIvf(target, ivf, field, wanted);
    });
  }

  async free(): Promise<void> {
    const all = [...this.held.values()];
    this.held.clear();
    this.calibrations.clear();
    for (const opened of await Promise.allSettled(all))
      if (opened.status === "fulfilled") opened.value.free();
  }
}

function calibrationKey(
  track: Track,
  ivf: IvfTrack,
  { topK, recallTarget, rerankFactor }: RecallWanted,
): string {
  return `${keyOf(track)}/${ivf.state}/${topK}/${recallTarget}/${rerankFactor}`;
}
