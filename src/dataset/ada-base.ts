/** What all stages of a step of index maintenance begin with: the state that was planned for, opened. */
import type { Address } from "../core/address.ts";
import { DreamDBError } from "../errors.ts";
import type { StepBase, StepPlan } from "../objects/ada-step.ts";
import { decodeStepPlan } from "../objects/ada-step.ts";
import type { EmbeddingField } from "../objects/field.ts";
import { emptyIndex } from "../objects/index-tree.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { decodeSpatialIndex, isTrained, type TrainedIndex } from "../objects/spatial-index.ts";
import { decodeVectorCompressor } from "../objects/vector-compressor.ts";
import { trackOf } from "./rebuild.ts";
import { entriesOf, type OpenSegment, openSegments } from "./segments.ts";
import type { Session } from "./session.ts";

/** Where a step stands, of one stage after the other. */
export interface AdaIvfProgress {
  /** Cells whose new centroids are trained; tasks of rows; segments of the state before. */
  stage: "plan" | "work" | "collect" | "publish";
  done: number;
  total: number;
}

/** The index that a step may change, with its field. Errors: `InvalidArgument`. */
export function steppable(
  manifest: Manifest,
  name: string,
): { field: EmbeddingField; track: Track; index: TrainedIndex } {
  const { field, track } = trackOf(manifest, name);
  const { spatialIndex: index } = track;
  if (isTrained(index) && index.algorithm !== "dreamdb.imi-cosine") return { field, track, index };
  throw invalid(
    "field",
    `"${field.name}" with ${isTrained(index) ? "" : "no built index of "}${index.algorithm}`,
    "a field with dreamdb.ivf-cosine, -dot or -l2, after rebuildIvf",
  );
}

/** A plan out of the backend. Errors: `NotFound`, `HashMismatch`, `Corrupt`, `InvalidArgument` for another Space's. */
export async function readPlan(session: Session, manifest: Manifest, address: Address): Promise<StepPlan> {
  const plan = decodeStepPlan(await session.object(address));
  if (plan.base.genesis === manifest.genesis) return plan;
  throw invalid("plan", plan.base.genesis, `a plan for ${manifest.genesis}, this dataset's Space`);
}

/** Errors: `InvalidArgument` when the state has no such field any more. */
export function fieldOf({ fields }: Manifest, { field: id }: StepBase): EmbeddingField {
  const field = fields.find((each) => each.id === id);
  if (field?.kind === "embedding") return field;
  throw invalid("plan.field", id, "a vector field of this dataset");
}

/** The Track that was planned for. */
export async function baseTrack(session: Session, base: StepBase): Promise<Track> {
  const { spatialIndex: address, compressor, lineage, segments } = base;
  return {
    address,
    spatialIndex: decodeSpatialIndex(await session.object(address)),
    ...(compressor === undefined
      ? {}
      : {
          compressor: {
            address: compressor,
            object: decodeVectorCompressor(await session.object(compressor)),
          },
        }),
    ...(lineage === undefined ? {} : { lineage }),
    segments,
  };
}

/** The Track that a plan leads to, without segments yet. */
export function nextTrack({ address, index }: StepPlan, { compressor }: Track): Track {
  return {
    address,
    spatialIndex: index,
    ...(compressor === undefined ? {} : { compressor }),
    segments: emptyIndex(),
  };
}

export async function openTrack(session: Session, track: Track): Promise<OpenSegment[]> {
  return openSegments(session, track, await entriesOf(session, track));
}

export function invalid(field: string, found: unknown, expected: unknown): DreamDBError {
  return new DreamDBError(
    "InvalidArgument",
    "no step of the index can be made like this; nothing was published",
    {
      ...{ field, found, expected },
      committed: "no",
    },
  );
}
