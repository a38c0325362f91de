/** Upkeep, and what else a program that reads, searches cells and appends has no use for, in one module, so that bundles split in few chunks. */
export { streamArrow } from "./arrow-batches.ts";
export { buildGraph } from "./build-graph.ts";
export { calibrateGraph, calibrateIvf } from "./calibrate.ts";
export { deleteRef, protectRef } from "./change-ref.ts";
export { compact } from "./compact.ts";
export { deleteRecords, deletionsOf } from "./delete.ts";
export { diff, diffFrom } from "./diff.ts";
export { fsck } from "./fsck.ts";
export { gc } from "./gc.ts";
export { searchGraph, searchGraphNow, walkingOf } from "./graph-search.ts";
export { GraphTrack } from "./graph-track.ts";
export { healthOf } from "./health.ts";
export { refusePruned } from "./holding.ts";
export { mergeMany } from "./merge.ts";
export { createPin } from "./pin.ts";
export { publishCompressor, rebuildIvf } from "./rebuild.ts";
export { updateSchema } from "./update-schema.ts";
