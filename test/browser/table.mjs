// The vector fields that are compared, and what is asked of each: read by the page and by Node.

export const DIM = 24;

const ivf = (metric, compressor, more = {}) => ({
  algorithm: `dreamdb.ivf-${metric}`,
  ...(compressor === undefined ? {} : { compressor }),
  build: "cells",
  ...more,
});
const rabitq = (bits) => ({ algorithm: "rabitq", bits });
const pq = (subspaces, bits) => ({ algorithm: "pq", subspaces, bits });

/** Options of each field, and what is built of it. */
export const VECTORS = {
  scanned: {},
  lsh: { algorithm: "dreamdb.lsh-cosine", lshBits: 6 },
  tables: { algorithm: "dreamdb.lsh-cosine", lshBits: 5, lshTables: 3 },
  cosine: ivf("cosine"),
  dot: ivf("dot"),
  l2: ivf("l2"),
  bits1: ivf("cosine", rabitq(1)),
  bits2: ivf("l2", rabitq(2)),
  bits3: ivf("dot", rabitq(3)),
  bits5: ivf("cosine", rabitq(5)),
  bits6: ivf("l2", rabitq(6)),
  bits7: ivf("dot", rabitq(7)),
  bits8: ivf("cosine", rabitq(8)),
  pqCosine: ivf("cosine", pq(8, 8)),
  pqDot: ivf("dot", pq(12, 4)),
  pqL2: ivf("l2", pq(6, 4)),
  codeless: ivf("cosine", "none"),
  far: ivf("l2", undefined, { rerank: false }),
  some: ivf("cosine", undefined, { required: false }),
  imi: { algorithm: "dreamdb.imi-cosine", build: "cells" },
  graph: { algorithm: "dreamdb.vamana-cosine", build: "graph" },
  graphL2: { algorithm: "dreamdb.vamana-l2", build: "graph" },
};

/** Conditions of every form, on every kind of scalar. */
export const CONDITIONS = [
  { label: "birch" },
  { label: { ne: "ash" }, flag: true },
  { label: { in: ["ash", "dill", "none"] } },
  { tag: { exists: false } },
  { tag: "👩‍👩‍👧" },
  { flag: { ne: true } },
  { n: { gte: -20, lt: 31 } },
  { n: { between: [0, 2] } },
  { big: { lt: -(2n ** 62n) } },
  { big: { eq: 5n * 2n ** 54n - 2n ** 63n } },
  { x: { gt: 3, lte: 20.5 } },
  { y: { in: [-0, 5e-324] } },
  { y: { lt: 0.1 } },
  { s: { gte: "z", lt: "👩" } },
  { s: "1" },
  { t: { between: [1_700_000_000_000_000_000n, 1_700_000_050_000_000_000n] } },
  { or: [{ n: -100 }, { n: { gt: 160 } }, { and: [{ label: "cedar" }, { x: { exists: true } }] }] },
  { not: { or: [{ flag: true }, { n: { lt: 40 } }] } },
  { n: 1e9 },
];

/** As `where` can't be. */
export const WRONG_CONDITIONS = [
  { none: 1 },
  { n: "text" },
  { flag: { lt: true } },
  { n: { between: [1] } },
  { label: { like: "a%" } },
  { or: {} },
];

const SCALARS = ["label", "tag", "flag", "n", "big", "x", "y", "s", "t"];

function vector(seed) {
  return Array.from({ length: DIM }, (_, i) => Math.sin(seed * 3.7 + i * i * 0.9 + 1));
}

/** What a search of one field is asked. */
export function searches(field) {
  const { build, compressor } = VECTORS[field];
  const ask = (seed, more = {}) => ({ field, query: vector(seed), topK: 10, fields: SCALARS, ...more });
  const calls = [
    ["query", ask(1)],
    ["query", ask(2, { topK: 1, fields: [field, "image"] })],
    ["query", ask(3, { topK: 500, fields: ["n"] })],
    ["batches", ask(4, { batchSize: 4 })],
    ["query", ask(5, { where: { label: "birch" } })],
    ["query", ask(6, { where: { n: { between: [0, 2] } }, whereEq: { flag: true } })],
    ["query", ask(7, { where: { not: { or: [{ flag: true }, { n: { lt: 40 } }] } } })],
    ["query", ask(8, { query: new Array(DIM).fill(0) })],
    ["query", ask(9, { query: vector(9).slice(1) })],
    ["queryMany", { field, queries: [10, 11, 12, 1].map(vector), topK: 5, fields: ["n"] }],
    ["explain", ask(1)],
  ];
  if (build === "graph") calls.push(["query", ask(13, { beam: 12, slack: 0 })]);
  else if (field !== "scanned")
    calls.push(["query", ask(13, { nprobe: 2 })], ["query", ask(14, { nprobe: 64 })]);
  if (build === "cells") calls.push(["query", ask(15, { epsilon: 0.5, rerankFactor: 1 })]);
  if (build === "cells" && compressor !== "none") calls.push(["query", ask(16, { rerankFactor: 0 })]);
  if (build !== undefined)
    calls.push(["query", ask(17, { recallTarget: 0.9 })], ["explain", ask(18, { recallTarget: 0.9 })]);
  return calls;
}

/** What else a dataset of the table is asked. */
export function reads(origin) {
  const at = (n) => origin + BigInt(n);
  return [
    ["tracks"],
    ["manifest"],
    ["count"],
    ["history", 100],
    ["refs"],
    ["get", at(30)],
    ["get", at(77)],
    ["get", at(9999)],
    ["get", at(31), { fields: ["x", "tag", "graph"] }],
    ["stream", {}],
    ["stream", { batchSize: 7, fields: SCALARS, range: { from: at(70), to: at(110) } }],
    ["stream", { fields: ["none"] }],
    ["stream", { fields: [], range: { from: at(300) } }],
    ...[...CONDITIONS, ...WRONG_CONDITIONS].map((where) => ["stream", { fields: SCALARS, where }]),
    ...CONDITIONS.map((where) => ["query", { field: "cosine", query: vector(20), where, fields: SCALARS }]),
    ...CONDITIONS.map((where) => ["query", { field: "graph", query: vector(21), where, fields: ["n"] }]),
    ["query", { field: "label", query: [1] }],
    ["query", { field: "cosine", query: vector(1), topK: 0 }],
    ["query", { field: "cosine", query: vector(1), recallTarget: 1 }],
  ];
}

/** What each state of a dataset's life is asked; `others` are states to compare with. */
export function ofState(others) {
  const query = [0.3, -0.2, 0.4, 0.1, -0.5, 0.2, 0.25, -0.1];
  return [
    ["manifest"],
    ["count"],
    ["tracks"],
    ["history", 50],
    ["stream", {}],
    ["query", { field: "v", query, topK: 12 }],
    ["query", { field: "v", query, topK: 12, where: { label: "odd" }, fields: ["n", "v"] }],
    ["queryMany", { field: "v", queries: [query, query.toReversed()], topK: 7 }],
    ["explain", { field: "v", query }],
    ...others.map((other) => ["diff", other]),
  ];
}

/** What a damaged dataset is asked: each answer is right or a clear error. */
export const OF_DAMAGED = [
  ["count"],
  ["history", 10],
  ["stream", {}],
  ["get", 1_700_000_000_000_000_041n],
  ["query", { field: "v", query: [1, 0.5, -1, 0.2], topK: 5, fields: ["n"] }],
  ["query", { field: "v", query: [1, 0.5, -1, 0.2], topK: 5, where: { n: { lt: 20 } }, fields: ["image"] }],
];
