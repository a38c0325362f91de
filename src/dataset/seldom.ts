/** Upkeep, and what else a program that reads, searches cells and appends has no use for, in one module, so that bundles split in few chunks. */
export { adaIvfPlan } from "./ada-plan.ts";
export { adaIvfCollect, adaIvfPublish, adaIvfStep } from "./ada-publish.ts";
export { adaIvfStatus } from "./ada-status.ts";
export { adaIvfWork } from "./ada-work.ts";
export { streamArrow } from "./arrow-batches.ts";
export { buildGraph } from "./build-graph.ts";
export { calibrateGraph, calibrateIvf } from "./calibrate.ts";
export { deleteRef, protectRef } from "./change-ref.ts";
export { compact } from "./compact.ts";
export { deleteRecords, deletionsOf } from "./delete.ts";
export { diff, diffFrom } from "./diff.ts";
export { fsck } from "./fsck.ts";
export { searchGraph, searchGraphNow, walkingOf } from "./graph-search.ts";
export { GraphTrack } from "./graph-track.ts";
export { healthOf } from "./health.ts";
export { mergeMany } from "./merge.ts";
export { publishCompressor, rebuildIvf } from "./rebuild.ts";
