// Figures of an earlier run on a machine like this one, shown in place of a peer that can't be installed, and marked
// as quoted. QPS per CPU second at recalls of .90, .95 and .99.
export const QUOTED = {
  words: {
    "faiss-node": { build: 10, megabytes: 275, firstMs: 600, qps: [3405, 1992, 851] },
    "hnswlib-node": { build: 264, megabytes: 223, firstMs: 1536, qps: [2827, 1670, 435] },
    usearch: { build: 266, megabytes: 230, firstMs: 629, qps: [1741, 786, 200] },
    LanceDB: { build: 3.4, megabytes: 348, firstMs: 612, qps: [407, 339, 211] },
  },
  clustered: {
    "faiss-node": { qps: [undefined, 3129, 1019] },
    "hnswlib-node": { qps: [undefined, 2459, 1579] },
    usearch: { qps: [undefined, 2004, 963] },
    LanceDB: { qps: [undefined, 553, 395] },
  },
};
