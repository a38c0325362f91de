/** The SpatialIndex that a vector field of a new dataset begins with. */
import type { Address } from "../core/address.ts";
import { DreamDBError } from "../errors.ts";
import type { EmbeddingField } from "../objects/field.ts";
import {
  decodeSpatialIndex,
  defaultLshIndex,
  isGraph,
  isTrained,
  type SpatialIndex,
} from "../objects/spatial-index.ts";
import type { Context } from "./context.ts";
import { checkStart } from "./schema.ts";

/**
 * @param start what the schema names for the field, if anything
 * Errors: `SchemaViolation` when it is for other vectors, `NotFound`, `UnsupportedVersion` when it is one that this
 * version does not write cells for.
 */
export async function startingIndex(
  ctx: Context,
  field: EmbeddingField,
  start: Address | SpatialIndex | undefined,
): Promise<SpatialIndex> {
  if (start === undefined) return usualIndex(field);
  const index = typeof start === "string" ? decodeSpatialIndex(await ctx.session.object(start)) : start;
  checkStart(field, index);
  if (!isTrained(index) && !isGraph(index)) return index;
  throw new DreamDBError("UnsupportedVersion", "this version can't begin with such an index", {
    field: `${field.name}.spatialIndex`,
    found: isTrained(index) ? "trained centroids" : "a graph",
    expected: "hyperplanes, or one cell",
  });
}

function usualIndex({ algorithm, dim, lshBits, lshTables }: EmbeddingField): SpatialIndex {
  switch (algorithm) {
    case "dreamdb.lsh-cosine":
      return defaultLshIndex(dim, lshBits, lshTables);
    default:
      return { algorithm, dim, cells: 1, parents: [] };
  }
}
