/** What a program that only reads and searches by cells has no use for, in one module, so that bundles split in few chunks. */
export { append, stage } from "./append.ts";
export { streamArrow } from "./arrow-batches.ts";
export { ArrowSource } from "./arrow-source.ts";
export { buildGraph } from "./build-graph.ts";
export { calibrateGraph, calibrateIvf } from "./calibrate.ts";
export { deleteRef, protectRef } from "./change-ref.ts";
export { compact } from "./compact.ts";
export { createBranch } from "./create-branch.ts";
export { createRef } from "./create-ref.ts";
export { deleteRecords, deletionsOf } from "./delete.ts";
export { diff, diffFrom } from "./diff.ts";
export { fsck } from "./fsck.ts";
export { searchGraph, searchGraphNow, walkingOf } from "./graph-search.ts";
export { GraphTrack } from "./graph-track.ts";
export { healthOf } from "./health.ts";
export { refusePruned } from "./holding.ts";
export { mergeMany } from "./merge.ts";
export { publishCompressor, rebuildIvf } from "./rebuild.ts";
