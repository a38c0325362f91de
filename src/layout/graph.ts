/** Offsets and sizes in a page of a graph (spec/0013-graph-indexing.md §6). Bytes, little-endian. */
export const GRAPH_PAGE_HEADER_BYTES = 64;
export const GRAPH_PAGE_BLOCK_ROW_BYTES = 48;
/** Blocks of every page but the last. */
export const GRAPH_PAGE_BLOCKS = 128;
/** Fills a neighbour list behind its last node. */
export const NO_NODE = 0xffffffff;
/** Longest neighbour list, and the most nodes that one is linked among. */
export const MAX_GRAPH_DEGREE = 64;
export const MAX_GRAPH_CANDIDATES = 1024;
/** Most nodes that a walk sets out from: what one step of it can score. */
export const MAX_GRAPH_ENTRIES = 256;
