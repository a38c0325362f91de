/** What a program that only reads and searches by cells has no use for, in one module, so that bundles split in few chunks. */
export { append } from "./append.ts";
export { buildGraph } from "./build-graph.ts";
export { fsck } from "./fsck.ts";
export { searchGraph, walkingOf } from "./graph-search.ts";
export { GraphTrack } from "./graph-track.ts";
export { publishCompressor, rebuildIvf } from "./rebuild.ts";
