/** Which records are shown, in which order. */
import type { DreamDBSpace, Where } from "@dreamlake/dreamdb/space";
import type { Catalogue } from "./catalogue.ts";

export interface Listing {
  /** All records and those that pass the filters lie in time order; hits are nearest first. */
  kind: "all" | "matching" | "hits";
  /** The filter that gave it. */
  where: Where | undefined;
  readonly length: number;
  anchorAt(position: number): bigint;
  /** Of hits. */
  distanceAt(position: number): number | undefined;
}

/** Every record that the catalogue has so far. */
export function allOf(catalogue: Catalogue): Listing {
  return {
    kind: "all",
    where: undefined,
    get length() {
      return catalogue.rows.value;
    },
    anchorAt: (position) => catalogue.anchors[position] as bigint,
    distanceAt: () => undefined,
  };
}

export function listOf(
  kind: Listing["kind"],
  where: Where | undefined,
  anchors: readonly bigint[],
  distances: readonly number[] = [],
): Listing {
  return {
    kind,
    where,
    length: anchors.length,
    anchorAt: (position) => anchors[position] as bigint,
    distanceAt: (position) => distances[position],
  };
}

/** What the library finds to pass. Errors: those of reading. */
export async function matching(space: DreamDBSpace, where: Where, signal: AbortSignal): Promise<Listing> {
  const anchors: bigint[] = [];
  for await (const batch of space.stream({ where, fields: [], batchSize: 4096, signal })) {
    for (const anchor of batch._time_anchors) anchors.push(anchor);
  }
  return listOf("matching", where, anchors);
}

export function positionOf(listing: Listing, anchor: bigint): number {
  for (let i = 0; i < listing.length; i++) if (listing.anchorAt(i) === anchor) return i;
  return -1;
}
