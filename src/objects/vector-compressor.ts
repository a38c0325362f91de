/** How a vector becomes a short code: a self-describing, content-addressed object (spec/0010-vector-compression.md). */
import { type Address, addressFromCbor, addressToCbor } from "../core/address.ts";
import { encodeCbor } from "../core/cbor.ts";
import { DreamDBError } from "../errors.ts";
import { MAX_SUBSPACES, pqCodeBytes } from "../kernels/pq.ts";
import { codeBytes } from "../kernels/rabitq.ts";
import { paddedDim, rotationKind } from "../kernels/rotation.ts";
import { type Metric, metricOf } from "./metric.ts";
import { corrupt, decodeObject, FORMAT_VERSION, type Shape } from "./shape.ts";
import {
  type CentroidsRef,
  centroidsBytes,
  centroidsRefFromCbor,
  centroidsRefToCbor,
  defaultSeed,
  MAX_DIM,
} from "./spatial-index.ts";

const KIND = "dreamdb.vector-compressor";
export const MAX_RABITQ_BITS = 8;

export type VectorCompressor = RabitqCompressor | PqCompressor;

/** Signs, and finer steps, of a rotated residual. */
export interface RabitqCompressor {
  algorithm: `dreamdb.rabitq-${Metric}`;
  dim: number;
  /** Components after rotation; `rotationOf(dim)` says how many, and by which rotation. */
  padded: number;
  /** Bits a component, 1–8. */
  bits: number;
  rotation: "dense" | "hadamard";
  /** 32 bytes, the ChaCha20 key of the rotation. */
  seed: Uint8Array;
  parents: Address[];
}

/** The nearest codeword for each of `subspaces` runs of components of a residual. */
export interface PqCompressor {
  algorithm: `dreamdb.pq-${Metric}`;
  dim: number;
  /** Runs that a residual is cut into, up to `maxSubspaces(dim)`; the first dim mod subspaces are one longer. */
  subspaces: number;
  /** A run has 2^bits codewords. */
  bits: 4 | 8;
  /** 2^bits vectors of dim components: the i-th has codeword i of each run, one after the other. */
  codebooks: CentroidsRef;
  parents: Address[];
}

/** The rotation that vectors of `dim` components take, and how many they have after it. */
export function rotationOf(dim: number): { rotation: "dense" | "hadamard"; padded: number } {
  return { rotation: rotationKind(dim), padded: paddedDim(dim) };
}

/** Equal parameters give an equal compressor, so that independent datasets stay mergeable. */
export function defaultRabitq(
  algorithm: RabitqCompressor["algorithm"],
  dim: number,
  bits: number,
): RabitqCompressor {
  const seed = defaultSeed(`${algorithm}/${dim}/${bits}`);
  return { algorithm, dim, ...rotationOf(dim), bits, seed, parents: [] };
}

/** Bytes of each row in a segment's codes section: the code and its factors. */
export function codeRowBytes(compressor: VectorCompressor): number {
  const { bits } = compressor;
  if ("subspaces" in compressor) return pqCodeBytes(compressor, metricOf(compressor.algorithm));
  return codeBytes(compressor.padded, bits);
}

/** The most runs that vectors of `dim` components may be cut into. */
export function maxSubspaces(dim: number): number {
  return Math.min(dim, MAX_SUBSPACES);
}

export function encodeVectorCompressor(compressor: VectorCompressor): Uint8Array {
  const { algorithm, dim, bits } = compressor;
  const parents = compressor.parents.map(addressToCbor);
  const shared = { kind: KIND, version: FORMAT_VERSION, algorithm, dim, bits, parents };
  if ("subspaces" in compressor) {
    const codebooks = centroidsRefToCbor(compressor.codebooks);
    return encodeCbor({ ...shared, subspaces: compressor.subspaces, codebooks });
  }
  const { padded, rotation, seed } = compressor;
  return encodeCbor({ ...shared, padded, rotation, seed });
}

/** Errors: `Corrupt`, `UnsupportedVersion` for an algorithm or rotation that this version does not know. */
export function decodeVectorCompressor(bytes: Uint8Array): VectorCompressor {
  const shape = decodeObject(bytes, KIND);
  const algorithm = shape.text("algorithm");
  const dim = shape.uint("dim", MAX_DIM, 1);
  const parents = shape
    .array("parents")
    .map((parent, i) => addressFromCbor(parent, `vector-compressor.parents[${i}]`));
  switch (algorithm) {
    case "dreamdb.rabitq-cosine":
    case "dreamdb.rabitq-dot":
    case "dreamdb.rabitq-l2": {
      const bits = shape.uint("bits", MAX_RABITQ_BITS, 1);
      return {
        algorithm,
        dim,
        bits,
        ...rotationFromCbor(shape, dim),
        seed: shape.bytes("seed", 32),
        parents,
      };
    }
    case "dreamdb.pq-cosine":
    case "dreamdb.pq-dot":
    case "dreamdb.pq-l2":
      return pqFromCbor(shape, algorithm, dim, parents);
    default:
      throw unknown("algorithm", algorithm, "dreamdb.rabitq-… or dreamdb.pq-…, of cosine, dot or l2");
  }
}

function rotationFromCbor(shape: Shape, dim: number): { rotation: "dense" | "hadamard"; padded: number } {
  const expected = rotationOf(dim);
  const rotation = shape.text("rotation");
  if (rotation !== "dense" && rotation !== "hadamard")
    throw unknown("rotation", rotation, "dense or hadamard");
  if (rotation !== expected.rotation)
    throw corrupt("vector-compressor.rotation", rotation, expected.rotation);
  shape.uint("padded", expected.padded, expected.padded);
  return expected;
}

function pqFromCbor(
  shape: Shape,
  algorithm: PqCompressor["algorithm"],
  dim: number,
  parents: Address[],
): PqCompressor {
  const subspaces = shape.uint("subspaces", maxSubspaces(dim), 1);
  const bits = shape.uint("bits");
  if (bits !== 4 && bits !== 8) throw corrupt("vector-compressor.bits", bits, "4 or 8");
  const codebooks = centroidsRefFromCbor(shape.value("codebooks"), "vector-compressor.codebooks");
  const compressor: PqCompressor = { algorithm, dim, subspaces, bits, codebooks, parents };
  const expected = centroidsBytes(2 ** bits, dim);
  if (codebooks.bytes !== expected)
    throw corrupt("vector-compressor.codebooks.bytes", codebooks.bytes, expected);
  return compressor;
}

function unknown(key: string, found: string, expected: string): DreamDBError {
  return new DreamDBError(
    "UnsupportedVersion",
    "a vector compressor this version does not know; upgrade the library",
    { field: `vector-compressor.${key}`, found, expected },
  );
}
