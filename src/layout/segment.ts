/** Offsets and sizes in a packed segment of cells (spec/0007-streaming-encapsulation.md §4). Bytes, little-endian. */
export const SEGMENT_HEADER_BYTES = 200;
export const SEGMENT_CELL_ROW_BYTES = 8;
export const SEGMENT_BLOCK_ROW_BYTES = 72;
/** A row of the block table when the segment has codes: their hash besides. */
export const SEGMENT_CODED_BLOCK_ROW_BYTES = 104;
