import { type Indexer, trainedIndexer } from "../dataset/indexer.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { IndexParts, Verbs } from "./messages.ts";

/** A Track's indexer in a worker's compute core, until `free`. */
export class HeldIndex {
  private readonly kernels: Kernels;
  private readonly indexer: Indexer;
  private readonly dim: number;

  /** @throws DreamDBError OutOfMemory */
  constructor(kernels: Kernels, { track, centroids, codebooks }: IndexParts) {
    this.kernels = kernels;
    this.dim = track.spatialIndex.dim;
    this.indexer = trainedIndexer(kernels, track, centroids, codebooks);
  }

  /** Cells and codes of n × dim values. @throws DreamDBError OutOfMemory */
  derive(vectors: Float32Array): Verbs["derive"]["value"] {
    const { kernels, indexer } = this;
    const n = vectors.length / this.dim;
    const owned = [kernels.copyIn(vectors)];
    try {
      const cells = indexer.cellsOf(owned[0] as number, n);
      if (indexer.codeBytes === 0) return { cells, codes: new Uint8Array() };
      owned.push(kernels.copyIn(cells));
      owned.push(kernels.alloc(n * indexer.codeBytes));
      const [rows, cellOf, codes] = owned as [number, number, number];
      indexer.encode(rows, n, cellOf, codes);
      return { cells, codes: kernels.bytes(codes, n * indexer.codeBytes).slice() };
    } finally {
      for (const pointer of owned) kernels.free(pointer);
    }
  }

  free(): void {
    this.indexer.free();
  }
}
