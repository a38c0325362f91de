/** How a vector becomes a cell: a self-describing, content-addressed object (spec/0004-spatial-indexing.md). */
import { type Address, addressFromCbor, addressToCbor } from "../core/address.ts";
import { blake3 } from "../core/blake3.ts";
import { encodeCbor, isIntegral, MAX_OBJECT_BYTES } from "../core/cbor.ts";
import { DreamDBError } from "../errors.ts";
import { CENTROIDS_HEAD_BYTES } from "../layout/centroids.ts";
import type { Metric } from "./metric.ts";
import { corrupt, decodeObject, FORMAT_VERSION, Shape } from "./shape.ts";

const KIND = "dreamdb.spatial-index";
export const MAX_DIM = 65_536;
export const MAX_LSH_BITS = 24;
export const MAX_LSH_TABLES = 16;
/** 2^−exponent has to be an f32, and x · 2^−exponent one rounding. */
export const MIN_EXPONENT = -126;
export const MAX_EXPONENT = 149;

export type IvfAlgorithm = `dreamdb.ivf-${Metric}`;
export type GraphAlgorithm = `dreamdb.vamana-${Exclude<Metric, "dot">}`;
export type Algorithm = "dreamdb.lsh-cosine" | "dreamdb.imi-cosine" | IvfAlgorithm | GraphAlgorithm;

export type SpatialIndex = LshIndex | ExactIndex | TrainedIndex | ImiIndex | BuiltGraph;

/** Random hyperplanes: the cell is the pattern of sides the vector lies on, in each hash table anew. */
export interface LshIndex {
  algorithm: "dreamdb.lsh-cosine";
  dim: number;
  /** Hyperplanes, 1–24: there are 2^bits cells a table. */
  bits: number;
  /** Hash tables, 1–16, each with hyperplanes of its own. */
  tables: number;
  /** 32 bytes, the ChaCha20 key the hyperplanes are drawn with. */
  seed: Uint8Array;
  parents: Address[];
}

/** Algorithms whose cells have centroids, once they are trained. */
export type TrainedAlgorithm = IvfAlgorithm | "dreamdb.imi-cosine";

/** One cell that holds everything, searched exactly: the state of other fields before their index is built. */
export interface ExactIndex {
  algorithm: TrainedAlgorithm | GraphAlgorithm;
  dim: number;
  cells: 1;
  parents: Address[];
}

/** A Centroids object and its length in bytes, which its shape fixes. */
export interface CentroidsRef {
  address: Address;
  bytes: number;
}

/** How centroids were found: whoever runs the reference build on the same vectors gets the same ones. */
interface Training {
  /** 32 bytes, by which the sample and the first centroids are chosen. */
  seed: Uint8Array;
  /** Rows that k-means ran on. */
  sample: number;
  /** Rounds of k-means. */
  iterations: number;
}

/** A cell for each of `cells` centroids. */
export interface TrainedIndex extends Training {
  algorithm: IvfAlgorithm;
  dim: number;
  cells: number;
  /** Vectors enter the index as x · 2^−exponent; 0 for cosine, which takes their direction. */
  exponent: number;
  centroids: CentroidsRef;
  parents: Address[];
}

/** A cell for each pair of a centroid of the first half of the components and one of the second. */
export interface ImiIndex extends Training {
  algorithm: "dreamdb.imi-cosine";
  dim: number;
  /** The product of the two codebooks' sizes; cell = first · (size of the second) + second. */
  cells: number;
  centroids: [CentroidsRef, CentroidsRef];
  parents: Address[];
}

/** A graph of the rows that the timeline begins with; those appended after it was built are in none. */
export interface BuiltGraph {
  algorithm: GraphAlgorithm;
  dim: number;
  /** Rows of the timeline that the graph covers, in append order, those without a vector too: whole batches. */
  rows: number;
  /** The GraphIndex (spec/0013-graph-indexing.md), and its length. */
  graph: GraphRef;
  parents: Address[];
}

export interface GraphRef {
  address: Address;
  bytes: number;
}

/** Equal parameters give an equal index, so that independent datasets stay mergeable. */
export function defaultLshIndex(dim: number, bits: number, tables = 1): LshIndex {
  const seed = defaultSeed(`dreamdb.lsh-cosine/${dim}/${bits}`);
  return { algorithm: "dreamdb.lsh-cosine", dim, bits, tables, seed, parents: [] };
}

/** The seed of the reference build unless the caller has one. */
export function defaultTrainingSeed(algorithm: Algorithm, dim: number, cells: number): Uint8Array {
  return defaultSeed(`${algorithm}/${dim}/${cells}`);
}

/** BLAKE3 of a text that names an algorithm and its parameters. */
export function defaultSeed(text: string): Uint8Array {
  return blake3(new TextEncoder().encode(text));
}

/** Whether rows lie in cells of centroids: only then are there segments of them, and may there be codes. */
export function isTrained(index: SpatialIndex): index is TrainedIndex | ImiIndex {
  return "centroids" in index;
}

/** Cells that a row lies in: one in each hash table. */
export function tablesOf(index: SpatialIndex): number {
  return "tables" in index ? index.tables : 1;
}

/** Whether there is a graph to walk. */
export function isGraph(index: SpatialIndex): index is BuiltGraph {
  return "graph" in index;
}

/** One more than the highest cell number that a segment may have. */
export function cellCount(index: SpatialIndex): number {
  if ("tables" in index) return index.tables * 2 ** index.bits;
  return isGraph(index) ? 1 : index.cells;
}

/** Components of the vectors in each of an IMI's two codebooks: the first has the odd one. */
export function halvesOf(dim: number): [number, number] {
  return [Math.ceil(dim / 2), Math.floor(dim / 2)];
}

/** Centroids in each of an IMI's two codebooks. */
export function codebookSizes({ dim, centroids }: Pick<ImiIndex, "dim" | "centroids">): [number, number] {
  const [first, second] = centroids;
  const [left, right] = halvesOf(dim);
  const size = ({ bytes }: CentroidsRef, components: number): number =>
    (bytes - CENTROIDS_HEAD_BYTES) / (4 * components);
  return [size(first, left), size(second, right)];
}

export function encodeSpatialIndex(index: SpatialIndex): Uint8Array {
  const shared = {
    kind: KIND,
    version: FORMAT_VERSION,
    algorithm: index.algorithm,
    dim: index.dim,
    parents: index.parents.map(addressToCbor),
  };
  if (index.algorithm === "dreamdb.lsh-cosine")
    return encodeCbor({ ...shared, bits: index.bits, tables: index.tables, seed: index.seed });
  if (isGraph(index)) {
    const { address, bytes } = index.graph;
    return encodeCbor({ ...shared, rows: index.rows, graph: [addressToCbor(address), bytes] });
  }
  if (!isTrained(index)) return encodeCbor({ ...shared, cells: index.cells });
  const { cells, seed, sample, iterations } = index;
  const trained = { ...shared, cells, seed, sample, iterations };
  if (index.algorithm === "dreamdb.imi-cosine")
    return encodeCbor({ ...trained, centroids: index.centroids.map(centroidsRefToCbor) });
  return encodeCbor({
    ...trained,
    exponent: index.exponent,
    centroids: centroidsRefToCbor(index.centroids),
  });
}

/** Errors: `Corrupt`, `UnsupportedVersion` for an algorithm that this version does not know. */
export function decodeSpatialIndex(bytes: Uint8Array): SpatialIndex {
  const shape = decodeObject(bytes, KIND);
  const algorithm = shape.text("algorithm");
  const dim = shape.uint("dim", MAX_DIM, 1);
  const parents = shape
    .array("parents")
    .map((parent, i) => addressFromCbor(parent, `spatial-index.parents[${i}]`));
  switch (algorithm) {
    case "dreamdb.lsh-cosine": {
      const bits = shape.uint("bits", MAX_LSH_BITS, 1);
      const tables = shape.uint("tables", MAX_LSH_TABLES, 1);
      return { algorithm, dim, bits, tables, seed: shape.bytes("seed", 32), parents };
    }
    case "dreamdb.ivf-cosine":
    case "dreamdb.ivf-dot":
    case "dreamdb.ivf-l2":
      return ivfFromCbor(shape, algorithm, dim, parents);
    case "dreamdb.imi-cosine":
      return imiFromCbor(shape, dim, parents);
    case "dreamdb.vamana-cosine":
    case "dreamdb.vamana-l2":
      return graphFromCbor(shape, algorithm, dim, parents);
    default:
      throw new DreamDBError(
        "UnsupportedVersion",
        "a spatial index this version cannot search; upgrade the library",
        {
          field: "spatial-index.algorithm",
          found: algorithm,
          expected:
            "dreamdb.lsh-cosine, dreamdb.ivf-cosine, -dot or -l2, dreamdb.imi-cosine, or dreamdb.vamana-cosine or -l2",
        },
      );
  }
}

function ivfFromCbor(
  shape: Shape,
  algorithm: IvfAlgorithm,
  dim: number,
  parents: Address[],
): ExactIndex | TrainedIndex {
  if (!shape.has("centroids")) return exactFromCbor(shape, algorithm, dim, parents);
  const cells = shape.uint("cells", MAX_OBJECT_BYTES, 1);
  const centroids = centroidsRefFromCbor(shape.value("centroids"), "spatial-index.centroids");
  const bytes = centroidsBytes(cells, dim);
  if (centroids.bytes !== bytes) throw corrupt("spatial-index.centroids.bytes", centroids.bytes, bytes);
  const exponent = exponentFromCbor(shape, algorithm);
  return { algorithm, dim, cells, exponent, centroids, ...trainingFromCbor(shape), parents };
}

function exactFromCbor(
  shape: Shape,
  algorithm: TrainedAlgorithm | GraphAlgorithm,
  dim: number,
  parents: Address[],
): ExactIndex {
  shape.uint("cells", 1, 1);
  return { algorithm, dim, cells: 1, parents };
}

function graphFromCbor(
  shape: Shape,
  algorithm: GraphAlgorithm,
  dim: number,
  parents: Address[],
): ExactIndex | BuiltGraph {
  if (!shape.has("graph")) return exactFromCbor(shape, algorithm, dim, parents);
  const ref = new Shape(shape.value("graph"), "spatial-index.graph").exactly(2);
  const graph = {
    address: addressFromCbor(ref.value(0), "spatial-index.graph"),
    bytes: ref.uint(1, MAX_OBJECT_BYTES, 1),
  };
  return { algorithm, dim, rows: shape.uint("rows", Number.MAX_SAFE_INTEGER, 1), graph, parents };
}

function exponentFromCbor(shape: Shape, algorithm: IvfAlgorithm): number {
  const [least, most] = algorithm === "dreamdb.ivf-cosine" ? [0, 0] : [MIN_EXPONENT, MAX_EXPONENT];
  const found = shape.value("exponent");
  if (typeof found === "number" && isIntegral(found) && found >= least && found <= most) return found;
  throw corrupt("spatial-index.exponent", found, `an integer from ${least} to ${most}`);
}

function imiFromCbor(shape: Shape, dim: number, parents: Address[]): ExactIndex | ImiIndex {
  if (dim < 2) throw corrupt("spatial-index.dim", dim, "at least 2, a component for each codebook");
  if (!shape.has("centroids")) return exactFromCbor(shape, "dreamdb.imi-cosine", dim, parents);
  const cells = shape.uint("cells", 2 ** 32 - 1, 1);
  const items = new Shape(shape.array("centroids"), "spatial-index.centroids").exactly(2);
  const centroids: [CentroidsRef, CentroidsRef] = [
    centroidsRefFromCbor(items.value(0), "spatial-index.centroids[0]"),
    centroidsRefFromCbor(items.value(1), "spatial-index.centroids[1]"),
  ];
  const sizes = codebookSizes({ dim, centroids });
  if (sizes.some((size) => !Number.isInteger(size) || size < 1))
    throw corrupt("spatial-index.centroids", sizes, "whole numbers of centroids");
  const product = sizes[0] * sizes[1];
  if (product !== cells) throw corrupt("spatial-index.cells", cells, product);
  return { algorithm: "dreamdb.imi-cosine", dim, cells, centroids, ...trainingFromCbor(shape), parents };
}

function trainingFromCbor(shape: Shape): Training {
  return {
    seed: shape.bytes("seed", 32),
    sample: shape.uint("sample"),
    iterations: shape.uint("iterations"),
  };
}

/** Length of a Centroids object. */
export function centroidsBytes(cells: number, dim: number): number {
  return CENTROIDS_HEAD_BYTES + 4 * cells * dim;
}

export function centroidsRefToCbor({ address, bytes }: CentroidsRef): unknown[] {
  return [addressToCbor(address), bytes];
}

export function centroidsRefFromCbor(value: unknown, field: string): CentroidsRef {
  const shape = new Shape(value, field).exactly(2);
  return {
    address: addressFromCbor(shape.value(0), field),
    bytes: shape.uint(1, MAX_OBJECT_BYTES, CENTROIDS_HEAD_BYTES),
  };
}
