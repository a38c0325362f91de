/**
 * CellLineage: which rows count of a Track whose segments are not all of its own index (spec/0004-spatial-indexing.md
 * §10). A step of maintenance changes few cells; what other cells hold stays where it is, in segments that name an earlier
 * index.
 */
import { type Address, addressFromCbor, addressToCbor } from "../core/address.ts";
import { encodeCbor } from "../core/cbor.ts";
import { DreamDBError } from "../errors.ts";
import { corrupt, decodeObject, FORMAT_VERSION } from "./shape.ts";

const KIND = "dreamdb.cell-lineage";
/** Earlier indexes that a byte a cell can tell apart. */
export const MAX_EARLIER = 255;

export interface CellLineage {
  /** Indexes that segments may name beside the Track's own, oldest first: generations 0, 1, … */
  earlier: Address[];
  /**
   * For each cell the first generation whose rows of it count: those of a segment that names `earlier[g]` do when
   * g ≥ since[cell]. `earlier.length` where only segments of the Track's own index count.
   */
  since: Uint8Array;
}

/** Errors: `LimitExceeded` for more earlier indexes than can be told apart. */
export function encodeCellLineage({ earlier, since }: CellLineage): Uint8Array {
  if (earlier.length > MAX_EARLIER)
    throw new DreamDBError("LimitExceeded", "too many steps since the last compaction; compact first", {
      field: "cell-lineage.earlier",
      found: earlier.length,
      expected: `at most ${MAX_EARLIER}`,
      committed: "no",
    });
  return encodeCbor({ kind: KIND, version: FORMAT_VERSION, earlier: earlier.map(addressToCbor), since });
}

/** @param cells of the Track's index. Errors: `Corrupt`, `UnsupportedVersion`. */
export function decodeCellLineage(bytes: Uint8Array, cells: number): CellLineage {
  const shape = decodeObject(bytes, KIND);
  const earlier = shape
    .array("earlier")
    .map((address, i) => addressFromCbor(address, `cell-lineage.earlier[${i}]`));
  if (earlier.length === 0 || earlier.length > MAX_EARLIER)
    throw corrupt("cell-lineage.earlier", earlier.length, `1 to ${MAX_EARLIER}`);
  if (new Set(earlier).size !== earlier.length)
    throw corrupt("cell-lineage.earlier", "an index twice", "different ones");
  const since = shape.bytes("since", cells);
  const bad = since.find((generation) => generation > earlier.length);
  if (bad !== undefined) throw corrupt("cell-lineage.since", bad, `at most ${earlier.length}`);
  return { earlier, since };
}

/** By place in a segment's cell table, 1 where its rows do not count; undefined when all of them do. */
export function hiddenCells(
  { since }: { since: ArrayLike<number> },
  generation: number,
  cells: Uint32Array,
): Uint8Array | undefined {
  const hidden = Uint8Array.from(cells, (cell) => ((since[cell] ?? Infinity) > generation ? 1 : 0));
  return hidden.includes(1) ? hidden : undefined;
}
