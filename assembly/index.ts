// The compute core's exports; nothing else is defined here.

export { alloc, free, liveBlocks, liveBytes } from "./arena";
export { blake3, blake3Finish, blake3Runs, blake3Start } from "./blake3";
export { assignFiltered, cellFilterBytes, packCellFilter } from "./cell-filter";
export { keystream } from "./chacha20";
export { cellRuns, gatherRows, sortByCell } from "./gather";
export { ivfBatchBytes, ivfSearchMany } from "./ivf-batch";
export { bestBytes } from "./ivf-best";
export { ivfAddRows } from "./ivf-cells";
export { ivfLoadCentroids } from "./ivf-centroids";
export { ivfChooseMatches, ivfListMatches, ivfNumberPlaces, ivfScoreMatches } from "./ivf-matches";
export { ivfRank } from "./ivf-rank";
export { scanAbove, scanAll } from "./ivf-scan";
export { ivfMissing, ivfSearch, ivfSelect } from "./ivf-search";
export { addToCells, assignCells, moveCentroids, packCells } from "./kmeans";
export { isSimd } from "./lanes";
export { lshCells, lshMargins, lshPlanes, lshPlanesBytes, lshScratchBytes } from "./lsh";
export {
  pqBlockBytes, pqBlocks, pqByteTable, pqEncode, pqNibbleScores, pqScan, pqScores, pqScratchBytes, pqTable, residuals, sliceColumns,
} from "./pq";
export { rabitqEncode, rabitqScratchBytes, scaleRows, scaleValues } from "./rabitq";
export { rotate, rotationBytes, rotationScratchBytes, rotationTable } from "./rotation";
export {
  checkFinite, foldDistances, foldDots, foldSquares, rowInvNorms, scanCosine, scanDistance, scanDot, scoresAt, scoresCosine, scoresDistance, scoresDot,
} from "./scan";
export { topkBytes, topkDrain, topkPush, topkPushIds, topkReset } from "./topk";
export {
  vamanaCountEdges, vamanaDistances, vamanaLink, vamanaNearCells, vamanaPlaceEdges, vamanaRelink, vamanaSpan,
} from "./vamana-build";
export { vamanaCodes, vamanaQuery } from "./vamana-codes";
export { vamanaGather, vamanaNodes, vamanaStart, vamanaWalk } from "./vamana-walk";
