/** Offsets and sizes in a Centroids object (spec/0007-streaming-encapsulation.md §5). Bytes, little-endian. */
export const CENTROIDS_HEAD_BYTES = 64;
