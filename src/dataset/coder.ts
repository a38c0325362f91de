/** What a Track's codes are made with, whatever the centroids: the rotation of RaBitQ, or the codebooks of PQ. */
import type { Kernels } from "../kernels/kernels.ts";
import { PqCodebooks, PqEncoder } from "../kernels/pq.ts";
import { type Encoder, RabitqEncoder } from "../kernels/rabitq.ts";
import { Rotation } from "../kernels/rotation.ts";
import { decodeCentroids } from "../objects/centroids.ts";
import type { Track } from "../objects/manifest.ts";
import { metricOf } from "../objects/metric.ts";
import type { PqCompressor, VectorCompressor } from "../objects/vector-compressor.ts";
import type { Session } from "./session.ts";

export interface Coder {
  /** Makes codes relative to these centroids (cells × dim). */
  encoderFor(centroids: Float32Array): Encoder;
  free(): void;
}

/**
 * @param codebooks of a PQ compressor, as `readCodebooks` gives them
 * Errors: `OutOfMemory`
 */
export function coderOf(
  kernels: Kernels,
  compressor: VectorCompressor,
  codebooks: Float32Array | undefined,
): Coder {
  const metric = metricOf(compressor.algorithm);
  if (isPq(compressor)) {
    const books = new PqCodebooks(kernels, compressor, codebooks as Float32Array);
    return {
      encoderFor: (centroids) => new PqEncoder(kernels, { codebooks: books, centroids, metric }),
      free: () => books.free(),
    };
  }
  const { dim, padded, rotation: kind, seed, bits } = compressor;
  const rotation = new Rotation(kernels, { kind, dim, padded, seed });
  return {
    encoderFor: (centroids) => new RabitqEncoder(kernels, { rotation, bits, metric, centroids }),
    free: () => rotation.free(),
  };
}

/** Values of a PQ compressor's codebooks, verified: 2^bits × dim. Undefined for a Track with other codes or none. */
export async function readCodebooks(
  session: Session,
  { compressor }: Pick<Track, "compressor">,
): Promise<Float32Array | undefined> {
  if (compressor === undefined || !isPq(compressor.object)) return undefined;
  const { codebooks, bits, dim } = compressor.object;
  return decodeCentroids(await session.object(codebooks.address), 2 ** bits, dim);
}

export function isPq(compressor: VectorCompressor): compressor is PqCompressor {
  return "subspaces" in compressor;
}
