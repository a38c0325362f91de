/**
 * What turns the vectors of one Track into cells, and into codes where it has a compressor. One is made for each pair
 * of SpatialIndex and VectorCompressor that a dataset meets, and kept.
 */
import type { Address } from "../core/address.ts";
import { DreamDBError } from "../errors.ts";
import { CellAssigner } from "../kernels/cell-assigner.ts";
import { allPairs, type Codebooks, PairAssigner, PairEncoder } from "../kernels/centroid-pairs.ts";
import type { Kernels, LshPlanes } from "../kernels/kernels.ts";
import { type Encoder, toIndexSpace } from "../kernels/rabitq.ts";
import { decodeCentroids } from "../objects/centroids.ts";
import type { Track } from "../objects/manifest.ts";
import { metricOf } from "../objects/metric.ts";
import {
  type CentroidsRef,
  codebookSizes,
  halvesOf,
  type ImiIndex,
  isTrained,
  type TrainedIndex,
} from "../objects/spatial-index.ts";
import { codeRowBytes } from "../objects/vector-compressor.ts";
import { type Coder, coderOf, readCodebooks } from "./coder.ts";
import type { Session } from "./session.ts";

/** Makes the derived data of a Track's rows. Addresses are of the compute core's memory. */
export interface Indexer {
  /** Cells that a row lies in: one in each hash table. */
  readonly tables: number;
  /** Bits that hold every cell's number. */
  readonly cellBits: number;
  /** Bytes of each row's code; 0 when segments carry none. */
  readonly codeBytes: number;
  /** The cell of each of n × dim f32 at `vectors`, in one of the tables, counted from 0. */
  cellsOf(vectors: number, n: number, table?: number): Uint32Array;
  /** The codes of n × dim f32 at `vectors`, which lie in `cells` (u32 × n), to `out` (n × codeBytes). */
  encode(vectors: number, n: number, cells: number, out: number): void;
  free(): void;
}

/** The indexers of a dataset, by Track. */
export class Indexers {
  private readonly kernels: Kernels;
  private readonly session: Session;
  private readonly held = new Map<string, Promise<Indexer>>();

  constructor(kernels: Kernels, session: Session) {
    this.kernels = kernels;
    this.session = session;
  }

  /** The indexer of `track`; undefined while its index is one exact cell, for which nothing is derived. */
  async of(track: Track): Promise<Indexer | undefined> {
    const { spatialIndex } = track;
    if (spatialIndex.algorithm !== "dreamdb.lsh-cosine" && !isTrained(spatialIndex)) return undefined;
    const key = keyOf(track);
    let indexer = this.held.get(key);
    if (indexer === undefined) {
      indexer = this.make(track);
      this.held.set(key, indexer);
      indexer.catch(() => this.held.delete(key));
    }
    return indexer;
  }

  /** Those of all Tracks that have one, by field id. */
  async ofAll(tracks: ReadonlyMap<number, Track>): Promise<ReadonlyMap<number, Indexer>> {
    const made = new Map<number, Indexer>();
    for (const [id, track] of tracks) {
      const indexer = await this.of(track);
      if (indexer !== undefined) made.set(id, indexer);
    }
    return made;
  }

  private async make(track: Track): Promise<Indexer> {
    const { spatialIndex } = track;
    if (spatialIndex.algorithm === "dreamdb.lsh-cosine") {
      const { seed, dim, bits, tables } = spatialIndex;
      const planes: LshPlanes[] = [];
      try {
        for (let table = 0; table < tables; table++)
          planes.push(this.kernels.lshPlanes(seed, dim, bits, table));
      } catch (error) {
        for (const drawn of planes) drawn.free();
        throw error;
      }
      return new LshIndexer(planes);
    }
    const centroids = await readCentroids(this.session, trainedIndexOf(track));
    return trainedIndexer(this.kernels, track, centroids, await readCodebooks(this.session, track));
  }

  async free(): Promise<void> {
    const all = [...this.held.values()];
    this.held.clear();
    for (const made of await Promise.allSettled(all)) if (made.status === "fulfilled") made.value.free();
  }
}

/** What a Track's derived data depends on. */
export function keyOf(track: Track): Address {
  return `${track.address}/${track.compressor?.address ?? ""}`;
}

/** Values of all centroids, verified: cells × dim f32, or those of both codebooks one after the other. */
export async function readCentroids(session: Session, index: TrainedIndex | ImiIndex): Promise<Float32Array> {
  const read = async ({ address }: CentroidsRef, cells: number, dim: number): Promise<Float32Array> =>
    decodeCentroids(await session.object(address), cells, dim);
  if (index.algorithm !== "dreamdb.imi-cosine") return read(index.centroids, index.cells, index.dim);
  const sizes = codebookSizes(index);
  const [left, right] = halvesOf(index.dim);
  const [first, second] = await Promise.all([
    read(index.centroids[0], sizes[0], left),
    read(index.centroids[1], sizes[1], right),
  ]);
  const values = new Float32Array(first.length + second.length);
  values.set(first);
  values.set(second, first.length);
  return values;
}

/** Bytes that the centroids of all pairs may take: a search has each of them in memory. */
const MAX_PAIRS_BYTES = 2 ** 31;

/**
 * The centroid of every cell, cells × dim.
 * @param values what `readCentroids` gave. Errors: `LimitExceeded` for more pairs than memory should hold.
 */
export function centroidsOfCells(index: TrainedIndex | ImiIndex, values: Float32Array): Float32Array {
  if (index.algorithm !== "dreamdb.imi-cosine") return values;
  const bytes = index.cells * index.dim * 4;
  if (bytes <= MAX_PAIRS_BYTES) return allPairs(codebooksOf(index, values));
  throw new DreamDBError("LimitExceeded", "an index of more cells than this version can search", {
    field: "spatial-index.cells",
    found: index.cells,
    expected: `at most ${Math.floor(MAX_PAIRS_BYTES / (4 * index.dim))}`,
  });
}

export function codebooksOf(index: ImiIndex, values: Float32Array): Codebooks {
  return { values, sizes: codebookSizes(index), halves: halvesOf(index.dim) };
}

/** Errors: `UnsupportedVersion` for an index without centroids. */
export function trainedIndexOf({ spatialIndex }: Pick<Track, "spatialIndex">): TrainedIndex | ImiIndex {
  if (isTrained(spatialIndex)) return spatialIndex;
  throw new DreamDBError("UnsupportedVersion", "this version can't search or extend such an index", {
    field: "algorithm",
    found: spatialIndex.algorithm,
    expected: "trained centroids",
  });
}

/** The power of two that vectors are scaled down by on their way into the index. */
export function exponentOf(index: TrainedIndex | ImiIndex): number {
  return "exponent" in index ? index.exponent : 0;
}

class LshIndexer implements Indexer {
  readonly tables: number;
  readonly cellBits: number;
  readonly codeBytes = 0;
  /** Of each table. */
  readonly planes: readonly LshPlanes[];

  constructor(planes: readonly LshPlanes[]) {
    this.planes = planes;
    this.tables = planes.length;
    this.cellBits = (planes[0] as LshPlanes).bits + Math.ceil(Math.log2(this.tables));
  }

  cellsOf(vectors: number, n: number, table = 0): Uint32Array {
    const planes = this.planes[table] as LshPlanes;
    const cells = planes.cells(vectors, n);
    const first = table * 2 ** planes.bits;
    return first === 0 ? cells : cells.map((pattern) => first + pattern);
  }

  encode(): void {}

  free(): void {
    for (const planes of this.planes) planes.free();
  }
}

/** The hyperplanes of each table of an lsh-cosine Track's indexer. */
export function planesOf(indexer: Indexer | undefined): readonly LshPlanes[] | undefined {
  return indexer instanceof LshIndexer ? indexer.planes : undefined;
}

/** The indexer of a built Track, given what `readCentroids` and `readCodebooks` gave. */
export function trainedIndexer(
  kernels: Kernels,
  track: Pick<Track, "spatialIndex" | "compressor">,
  centroids: Float32Array,
  codebooks: Float32Array | undefined,
): Indexer {
  return new IvfIndexer(kernels, track, centroids, codebooks);
}

/** Rows that are brought into index space at a time: they stay in the second-level cache. */
const TILE_BYTES = 128 << 10;

class IvfIndexer implements Indexer {
  readonly tables = 1;
  readonly cellBits: number;
  readonly codeBytes: number;
  private readonly kernels: Kernels;
  private readonly index: TrainedIndex | ImiIndex;
  private readonly assigner: Pick<CellAssigner, "assign" | "free">;
  private readonly coder: Coder | undefined;
  private readonly encoder: Encoder | undefined;
  private readonly tileRows: number;

  constructor(
    kernels: Kernels,
    track: Pick<Track, "spatialIndex" | "compressor">,
    centroids: Float32Array,
    codebooks: Float32Array | undefined,
  ) {
    const index = trainedIndexOf(track);
    const compressor = track.compressor?.object;
    const { dim, cells } = index;
    this.kernels = kernels;
    this.index = index;
    this.cellBits = Math.max(1, Math.ceil(Math.log2(cells)));
    this.tileRows = Math.max(1, Math.floor(TILE_BYTES / (4 * dim)));
    this.codeBytes = compressor === undefined ? 0 : codeRowBytes(compressor);
    const books = index.algorithm === "dreamdb.imi-cosine" ? codebooksOf(index, centroids) : undefined;
    this.assigner =
      books === undefined ? new CellAssigner(kernels, centroids, dim) : new PairAssigner(kernels, books);
    if (compressor === undefined) return;
    try {
      const coder = coderOf(kernels, compressor, codebooks);
      this.coder = coder;
      this.encoder =
        books === undefined
          ? coder.encoderFor(centroids)
          : new PairEncoder(kernels, books, (own) => coder.encoderFor(own));
    } catch (error) {
      this.free();
      throw error;
    }
  }

  cellsOf(vectors: number, n: number): Uint32Array {
    const cells = this.kernels.alloc(4 * n);
    try {
      this.tiles(vectors, n, (y, first, rows) => this.assigner.assign(y, rows, cells + 4 * first));
      return this.kernels.u32(cells, n).slice();
    } finally {
      this.kernels.free(cells);
    }
  }

  encode(vectors: number, n: number, cells: number, out: number): void {
    const { encoder, codeBytes } = this;
    if (encoder === undefined) return;
    this.tiles(vectors, n, (y, first, rows) =>
      encoder.encode(y, rows, cells + 4 * first, out + first * codeBytes),
    );
  }

  /** Runs `work` on tiles of rows in index space. */
  private tiles(vectors: number, n: number, work: (y: number, first: number, rows: number) => void): void {
    const { kernels, tileRows } = this;
    const { dim, algorithm } = this.index;
    const exponent = exponentOf(this.index);
    const y = kernels.alloc(Math.min(n, tileRows) * dim * 4);
    try {
      for (let first = 0; first < n; first += tileRows) {
        const rows = Math.min(tileRows, n - first);
        toIndexSpace(kernels, metricOf(algorithm), exponent, vectors + first * dim * 4, rows, dim, y);
        work(y, first, rows);
      }
    } finally {
      kernels.free(y);
    }
  }

  free(): void {
    this.assigner.free();
    this.encoder?.free();
    this.coder?.free();
  }
}
