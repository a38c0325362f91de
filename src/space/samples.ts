import type { TrackInfo } from "../dataset/tracks.ts";
import { Media } from "./media.ts";

/** A record as a page shows it: its anchor, and by field name scalars, vectors and media. */
export type Sample = { _anchor: bigint } & Record<string, unknown>;

/** Records in time order. `revoke`, or `using`, frees all their blob URLs. */
export class Samples extends Array<Sample> {
  /** Whether more records than these match. */
  hasMore = false;

  /** What `map` and `filter` make are plain arrays. */
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }

  revoke(): void {
    for (const sample of this)
      for (const value of Object.values(sample)) if (value instanceof Media) value.revoke();
  }
}

const { dispose } = Symbol as unknown as { dispose?: symbol };
// Engines that don't know `using` don't know the symbol either.
if (dispose !== undefined)
  Object.defineProperty(Samples.prototype, dispose, { value: Samples.prototype.revoke });

/** Rows as columns, and whether there are more. */
export interface SampleColumns {
  columns: { _time_anchors: bigint[] } & Record<string, unknown[]>;
  hasMore: boolean;
}

export function samplesOf({ columns, hasMore }: SampleColumns, tracks: readonly TrackInfo[]): Samples {
  const { _time_anchors: anchors, ...fields } = columns;
  const kinds = new Map(tracks.map(({ name, kind }) => [name, kind]));
  const samples = new Samples();
  samples.hasMore = hasMore;
  for (const [row, _anchor] of anchors.entries()) {
    const sample: Sample = { _anchor };
    for (const [name, values] of Object.entries(fields)) {
      const value = values[row];
      const kind = kinds.get(name);
      if (value === undefined) continue;
      const isMedia = kind === "image" || kind === "video" || kind === "audio";
      sample[name] = isMedia ? new Media(name, kind, value as Uint8Array<ArrayBuffer>) : value;
    }
    samples.push(sample);
  }
  return samples;
}
