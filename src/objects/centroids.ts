/**
 * Centroids: a table of f32 vectors, read whole and checked by its address (spec/0007-streaming-encapsulation.md §9).
 * The centroids of an index, and the codebooks of a product quantizer.
 *
 *   offset size
 *        0    4  magic "DDBK"
 *        4    2  version, 1
 *        6    2  flags, 0
 *        8    4  cells          12  4  dim
 *       16   48  zeros
 *       64       cells × dim f32, cell after cell
 */
import { MAX_OBJECT_BYTES } from "../core/cbor.ts";
import { DreamDBError } from "../errors.ts";
import { CENTROIDS_HEAD_BYTES } from "../layout/centroids.ts";
import { checkVersion } from "./column.ts";
import { corrupt } from "./shape.ts";
import { centroidsBytes, MAX_DIM } from "./spatial-index.ts";

const MAGIC = 0x4b424444; // "DDBK"
const VERSION = 1;

/**
 * @param values cells × dim, finite
 * Errors: `InvalidArgument`, `LimitExceeded` when they pass what one object may hold.
 */
export function encodeCentroids(values: Float32Array, cells: number, dim: number): Uint8Array {
  if (cells < 1 || dim < 1 || dim > MAX_DIM || values.length !== cells * dim) {
    throw new DreamDBError("InvalidArgument", "not a table of centroids", {
      field: "centroids",
      found: `${values.length} values`,
      expected: `${cells} × ${dim}`,
    });
  }
  const bytes = centroidsBytes(cells, dim);
  if (bytes > MAX_OBJECT_BYTES) {
    throw new DreamDBError("LimitExceeded", "too many centroids for one object", {
      field: "centroids",
      found: bytes,
      expected: `at most ${MAX_OBJECT_BYTES} bytes`,
    });
  }
  const bad = firstNotFinite(values);
  if (bad >= 0) {
    throw new DreamDBError("InvalidArgument", "a centroid that is not finite", {
      field: `centroids[${Math.floor(bad / dim)}]`,
      found: values[bad],
      expected: "finite f32",
    });
  }
  const out = new Uint8Array(bytes);
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, VERSION, true);
  view.setUint32(8, cells, true);
  view.setUint32(12, dim, true);
  new Float32Array(out.buffer, CENTROIDS_HEAD_BYTES).set(values);
  return out;
}

/**
 * The cells × dim f32 out of verified bytes.
 * @param cells and `dim` are what the object that refers to them says. Errors: `Corrupt`, `UnsupportedVersion`.
 */
export function decodeCentroids(bytes: Uint8Array, cells: number, dim: number): Float32Array {
  if (bytes.length < CENTROIDS_HEAD_BYTES)
    throw corrupt("centroids", `${bytes.length} bytes`, `at least ${CENTROIDS_HEAD_BYTES}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== MAGIC) throw corrupt("centroids.magic", view.getUint32(0, true), MAGIC);
  checkVersion("centroids", view.getUint16(4, true), view.getUint16(6, true), 0);
  if (view.getUint32(8, true) !== cells) throw corrupt("centroids.cells", view.getUint32(8, true), cells);
  if (view.getUint32(12, true) !== dim) throw corrupt("centroids.dim", view.getUint32(12, true), dim);
  const spare = bytes.subarray(16, CENTROIDS_HEAD_BYTES).find((byte) => byte !== 0);
  if (spare !== undefined) throw corrupt("centroids.reserved", spare, 0);
  if (bytes.length !== centroidsBytes(cells, dim))
    throw corrupt("centroids.bytes", bytes.length, centroidsBytes(cells, dim));
  const values = new Float32Array(bytes.slice(CENTROIDS_HEAD_BYTES).buffer);
  const bad = firstNotFinite(values);
  if (bad >= 0) throw corrupt(`centroids[${Math.floor(bad / dim)}]`, values[bad], "finite f32");
  return values;
}

/** The search of typed arrays runs at once at full speed, which a loop of 100,000 values in a fresh process does not. */
function firstNotFinite(values: Float32Array): number {
  if (![Number.NaN, Infinity, -Infinity].some((value) => values.includes(value))) return -1;
  return values.findIndex((value) => !Number.isFinite(value));
}
