/**
 * The compute core's exports (assembly/index.ts) as WebAssembly gives them: addresses, counts and flags are
 * numbers, and an address above 2 GiB comes back negative (`>>> 0`).
 */
export interface KernelExports {
  alloc(bytes: number): number;
  free(pointer: number): number;
  liveBlocks(): number;
  liveBytes(): number;

  blake3(input: number, bytes: number, out: number): void;
  blake3Start(): void;
  blake3Runs(input: number, runs: number): void;
  blake3Finish(input: number, bytes: number, out: number): void;

  keystream(key: number, nonce: number, counter: number, out: number, blocks: number): void;

  packCells(centroids: number, k: number, dim: number, packed: number): void;
  assignCells(y: number, n: number, dim: number, packed: number, k: number, out: number): void;
  cellFilterBytes(k: number, dim: number): number;
  packCellFilter(packed: number, k: number, dim: number, filter: number): void;
  assignFiltered(
    y: number,
    n: number,
    dim: number,
    packed: number,
    filter: number,
    k: number,
    out: number,
  ): void;
  addToCells(y: number, n: number, dim: number, cells: number, sums: number, counts: number): void;
  moveCentroids(sums: number, counts: number, k: number, dim: number, centroids: number): number;

  lshPlanesBytes(dim: number, bits: number): number;
  lshScratchBytes(dim: number): number;
  lshPlanes(seed: number, table: number, dim: number, bits: number, planes: number, scratch: number): void;
  lshCells(x: number, n: number, dim: number, planes: number, bits: number, out: number): void;
  lshMargins(x: number, n: number, dim: number, planes: number, bits: number, out: number): void;

  residuals(y: number, n: number, dim: number, cells: number, centroids: number, out: number): void;
  sliceColumns(x: number, n: number, dim: number, from: number, width: number, out: number): void;
  pqScratchBytes(dim: number): number;
  pqEncode(
    y: number,
    n: number,
    dim: number,
    cells: number,
    centroids: number,
    packed: number,
    m: number,
    bits: number,
    squares: number,
    out: number,
    stride: number,
    scratch: number,
  ): void;
  pqTable(q: number, dim: number, packed: number, m: number, bits: number, table: number): void;
  pqScores(codes: number, n: number, stride: number, m: number, table: number, out: number): void;
  pqNibbleScores(codes: number, n: number, stride: number, m: number, table: number, out: number): void;
  pqBlockBytes(n: number, m: number): number;
  pqBlocks(codes: number, n: number, stride: number, m: number, blocks: number): void;
  pqByteTable(table: number, m: number, bytes: number, scale: number): void;
  pqScan(blocks: number, count: number, m: number, bytes: number, out: number): void;

  rabitqScratchBytes(padded: number, tile: number): number;
  rabitqEncode(
    y: number,
    n: number,
    dim: number,
    cells: number,
    centroids: number,
    kind: number,
    table: number,
    padded: number,
    bits: number,
    squares: number,
    out: number,
    scratch: number,
    tile: number,
  ): void;
  scaleRows(x: number, invNorms: number, n: number, dim: number, out: number): void;
  scaleValues(x: number, count: number, factor: number, out: number): void;

  rotationBytes(kind: number, dim: number, padded: number): number;
  rotationScratchBytes(kind: number, dim: number, padded: number): number;
  rotationTable(
    kind: number,
    seed: number,
    dim: number,
    padded: number,
    table: number,
    scratch: number,
  ): void;
  rotate(kind: number, table: number, dim: number, padded: number, y: number, n: number, out: number): void;

  checkFinite(values: number, count: number): number;
  rowInvNorms(rows: number, n: number, dim: number, out: number): void;
  scanCosine(
    rows: number,
    invNorms: number,
    n: number,
    dim: number,
    query: number,
    queryInvNorm: number,
    firstId: number,
    topK: number,
    mask: number,
  ): void;
  scanDot(
    rows: number,
    n: number,
    dim: number,
    query: number,
    firstId: number,
    topK: number,
    mask: number,
  ): void;
  scanDistance(
    rows: number,
    n: number,
    dim: number,
    query: number,
    firstId: number,
    topK: number,
    mask: number,
  ): void;
  scoresCosine(
    rows: number,
    invNorms: number,
    n: number,
    dim: number,
    query: number,
    queryInvNorm: number,
    out: number,
  ): void;
  scoresDot(rows: number, n: number, dim: number, query: number, out: number): void;
  scoresAt(
    metric: number,
    rows: number,
    invNorms: number,
    n: number,
    dim: number,
    query: number,
    queryInvNorm: number,
    out: number,
  ): void;
  scoresDistance(rows: number, n: number, dim: number, query: number, out: number): void;

  topkBytes(k: number): number;
  topkReset(state: number, k: number): void;
  topkPush(state: number, scores: number, n: number, firstId: number): void;
  topkPushIds(state: number, scores: number, n: number, firstId: number, ids: number): void;
  topkDrain(state: number, outScores: number, outIds: number): number;

  gatherRows(source: number, rowBytes: number, index: number, n: number, target: number): void;
  sortByCell(cells: number, n: number, bits: number, order: number, scratch: number): void;
  cellRuns(cells: number, order: number, n: number, out: number): number;

  bestBytes(k: number): number;
  ivfAddRows(index: number, cell: number, codes: number, n: number): void;
  ivfBatchBytes(index: number, n: number, nprobe: number, keep: number): number;
  ivfChooseMatches(
    index: number,
    query: number,
    list: number,
    count: number,
    topK: number,
    slots: number,
    work: number,
    heap: number,
    chosen: number,
  ): number;
  ivfListMatches(
    index: number,
    filter: number,
    rows: number,
    places: number,
    starts: number,
    out: number,
  ): number;
  ivfLoadCentroids(index: number, centroids: number, scratch: number): void;
  ivfMissing(index: number, query: number, needVectors: number, out: number): number;
  ivfNumberPlaces(index: number, rows: number, places: number, starts: number): void;
  ivfRank(index: number, query: number, count: number, vectors: number, out: number, room: number): number;
  ivfScoreMatches(
    index: number,
    query: number,
    list: number,
    count: number,
    topK: number,
    vectors: number,
    norms: number,
    out: number,
    room: number,
  ): number;
  ivfSearch(
    index: number,
    query: number,
    topK: number,
    keep: number,
    epsilon: number,
    filter: number,
    exact: number,
    out: number,
    room: number,
  ): number;
  ivfSearchMany(
    index: number,
    query: number,
    vectors: number,
    n: number,
    nprobe: number,
    topK: number,
    keep: number,
    epsilon: number,
    filter: number,
    exact: number,
    work: number,
    scratch: number,
    room: number,
    out: number,
  ): void;
  ivfSelect(index: number, query: number, nprobe: number): number;
  vamanaNearCells(build: number, first: number, past: number): void;
  vamanaLink(build: number, first: number, past: number): void;
  vamanaSpan(build: number, first: number, past: number, most: number, out: number): void;
  vamanaCountEdges(build: number, lists: number, first: number, past: number): void;
  vamanaPlaceEdges(build: number, lists: number, first: number, past: number): void;
  vamanaRelink(build: number, first: number, past: number): void;
  vamanaDistances(build: number, node: number, list: number, n: number, out: number): void;
  vamanaCodes(
    rows: number,
    n: number,
    dim: number,
    rowBytes: number,
    hasHalf: number,
    out: number,
    stride: number,
  ): void;
  vamanaQuery(query: number, dim: number, out: number): number;
  vamanaStart(walk: number, entries: number, nodes: number): void;
  vamanaWalk(graph: number, walk: number): number;
  vamanaNodes(walk: number, most: number, out: number): number;
  vamanaGather(
    nodes: number,
    n: number,
    rows: number,
    rowBytes: number,
    invNorms: number,
    outRows: number,
    outNorms: number,
  ): void;

  isSimd(): number;
}
