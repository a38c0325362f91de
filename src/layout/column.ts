/** Offsets and sizes in a column container (spec/0007-streaming-encapsulation.md §3). Bytes, little-endian. */
export const COLUMN_HEAD_BYTES = 48;
export const COLUMN_BLOCK_ROW_BYTES = 48;
export const ALIGN_BYTES = 64;
/** Values a block holds at most, unless a single one is larger. */
export const BLOCK_BYTES = 65_536;
