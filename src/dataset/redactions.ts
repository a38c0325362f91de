/** The redactions of a Space as readers follow them (spec/0020-maintenance.md §5). */
import type { Address } from "../core/address.ts";
import {
  type BatchEntry,
  batchCodec,
  type EntryCodec,
  emptyIndex,
  type Interval,
  type SegmentEntry,
} from "../objects/index-tree.ts";
import type { LineageRef, Manifest, Track } from "../objects/manifest.ts";
import {
  decodeRedactions,
  digestOfEntry,
  type RedactedEntry,
  type RedactedIndex,
  type RedactionMap,
} from "../objects/redactions.ts";
import type { Registry } from "../objects/registry.ts";
import { corrupt } from "../objects/shape.ts";
import { inParallel, type Session } from "./session.ts";

export class Redactions {
  readonly batches = new Map<string, RedactedEntry<BatchEntry>>();
  readonly segments = new Map<string, RedactedEntry<SegmentEntry>>();
  readonly indexes = new Map<Address, RedactedIndex>();
  private readonly manifests = new WeakMap<Manifest, Manifest>();

  get isEmpty(): boolean {
    return this.batches.size + this.segments.size + this.indexes.size === 0;
  }

  /** Takes in another map. Where both name an entry, what was made knowing more deletions stays. */
  add({ batches, segments, indexes }: Pick<RedactionMap, "batches" | "segments" | "indexes">): this {
    for (const each of batches) keepLater(this.batches, each);
    for (const each of segments) keepLater(this.segments, each);
    for (const each of indexes) this.indexes.set(each.graph, each);
    return this;
  }

  /**
   * What stands for an entry, or the entry itself; undefined for a segment of which nothing is left.
   * @param lineage of the Track whose segment it is, if that has one
   */
  entry<E extends Interval>(entry: E, codec: EntryCodec<E>, lineage?: LineageRef): E | undefined {
    const found = this.of(entry, codec, lineage);
    return found === undefined ? entry : found.entry;
  }

  /** The redaction of an entry, if there is one. */
  of<E extends Interval>(entry: E, codec: EntryCodec<E>, lineage?: LineageRef): RedactedEntry<E> | undefined {
    const entries = codec.of === batchCodec.of ? this.batches : this.segments;
    if (entries.size === 0) return undefined;
    // What all rows count of is entered without the lineage, so that it is found by Tracks that came by another one.
    const found =
      (lineage && entries.get(digestOfEntry(entry, codec, lineage.address))) ??
      entries.get(digestOfEntry(entry, codec));
    return found as RedactedEntry<E> | undefined;
  }

  /** A Track as it is without a graph that covered a deleted record. */
  track(track: Track): Track {
    const found = this.indexes.get(track.address);
    if (found === undefined) return track;
    return { address: found.address, spatialIndex: found.spatialIndex, segments: emptyIndex() };
  }

  /** A state without such graphs: the same object for the same state, so that what is kept by it stays. */
  manifest(manifest: Manifest): Manifest {
    if (this.indexes.size === 0) return manifest;
    const known = this.manifests.get(manifest);
    if (known !== undefined) return known;
    const tracks = new Map([...manifest.tracks].map(([id, track]) => [id, this.track(track)]));
    const isSame = [...tracks].every(([id, track]) => manifest.tracks.get(id) === track);
    const seen = isSame ? manifest : { ...manifest, tracks };
    this.manifests.set(manifest, seen);
    return seen;
  }
}

function keepLater<E extends Interval>(
  entries: Map<string, RedactedEntry<E>>,
  entry: RedactedEntry<E>,
): void {
  const known = entries.get(entry.key);
  if (known === undefined || entry.dead >= known.dead) entries.set(entry.key, entry);
}

/** All redactions that a registry names. Errors: `NotFound`, `HashMismatch`, `Corrupt`. */
export async function readRedactions(
  session: Session,
  { genesis, redactions }: Pick<Registry, "genesis" | "redactions">,
): Promise<Redactions> {
  const maps: RedactionMap[] = new Array(redactions.length);
  await inParallel([...redactions.keys()], async (i) => {
    const map = decodeRedactions(await session.object(redactions[i] as Address));
    if (map.genesis !== genesis) throw corrupt("redactions.genesis", map.genesis, genesis);
    maps[i] = map;
  });
  return maps.reduce((all, map) => all.add(map), new Redactions());
}
