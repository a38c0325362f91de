/** How a vector becomes a cell: a self-describing, content-addressed object (spec/0004-spatial-indexing.md). */
import { type Address, addressFromCbor, addressToCbor } from "../core/address.ts";
import { blake3 } from "../core/blake3.ts";
import { encodeCbor } from "../core/cbor.ts";
import { DreamDBError } from "../errors.ts";
import { decodeObject, FORMAT_VERSION } from "./shape.ts";

const KIND = "dreamdb.spatial-index";
export const MAX_DIM = 65_536;
export const MAX_LSH_BITS = 24;

export type SpatialIndex = LshIndex | ExactIndex;

/** Random hyperplanes: the cell is the pattern of sides the vector lies on. */
export interface LshIndex {
  algorithm: "dreamdb.lsh-cosine";
  dim: number;
  /** Hyperplanes, 1–24: there are 2^bits cells. */
  bits: number;
  /** 32 bytes, the ChaCha20 key the hyperplanes are drawn with. */
  seed: Uint8Array;
  parents: Address[];
}

/** One cell that holds everything, searched exactly: the state of `ivf-cosine` before it is built. */
export interface ExactIndex {
  algorithm: "dreamdb.ivf-cosine";
  dim: number;
  cells: 1;
  parents: Address[];
}

/** Equal parameters give an equal index, so that independent datasets stay mergeable. */
export function defaultLshIndex(dim: number, bits: number): LshIndex {
  const seed = blake3(new TextEncoder().encode(`dreamdb.lsh-cosine/${dim}/${bits}`));
  return { algorithm: "dreamdb.lsh-cosine", dim, bits, seed, parents: [] };
}

export function encodeSpatialIndex(index: SpatialIndex): Uint8Array {
  const shared = {
    kind: KIND,
    version: FORMAT_VERSION,
    algorithm: index.algorithm,
    dim: index.dim,
    parents: index.parents.map(addressToCbor),
  };
  if (index.algorithm === "dreamdb.ivf-cosine") return encodeCbor({ ...shared, cells: index.cells });
  return encodeCbor({ ...shared, bits: index.bits, tables: 1, seed: index.seed });
}

export function decodeSpatialIndex(bytes: Uint8Array): SpatialIndex {
  const shape = decodeObject(bytes, KIND);
  const algorithm = shape.text("algorithm");
  const dim = shape.uint("dim", MAX_DIM, 1);
  const parents = shape
    .array("parents")
    .map((parent, i) => addressFromCbor(parent, `spatial-index.parents[${i}]`));
  if (algorithm === "dreamdb.ivf-cosine" && shape.uint("cells") === 1)
    return { algorithm, dim, cells: 1, parents };
  if (algorithm === "dreamdb.lsh-cosine" && shape.uint("tables") === 1) {
    return {
      algorithm,
      dim,
      bits: shape.uint("bits", MAX_LSH_BITS, 1),
      seed: shape.bytes("seed", 32),
      parents,
    };
  }
  throw new DreamDBError(
    "UnsupportedVersion",
    "a spatial index this version cannot search; upgrade the library",
    {
      field: "algorithm",
      found: algorithm,
      expected: "dreamdb.lsh-cosine with one table, or dreamdb.ivf-cosine with one cell",
    },
  );
}
