// Writes indexes.json: the addresses of what small built indexes are made of, and what searches of them find. The library
// builds them here; before anything is written, reader.py checks every object of theirs by the specification alone, and
// what an exact search must find is computed from its formulas. Run after a build: node conformance/generate-indexes.mjs
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { objectKey } from "../build/lib/core/address.js";
import * as library from "../build/lib/index.node.js";
import { decodeGraphIndex } from "../build/lib/objects/graph-index.js";
import { decodeManifest } from "../build/lib/objects/manifest.js";
import { buildIndex, found, objectsOf } from "./indexes.mjs";
import { floats, fold } from "./training.mjs";
import { writeVectors } from "./write-vectors.mjs";

const ROWS = 300;
const DIM = 12;
const QUERIES = 4;
const TOP_K = 10;
const { fround } = Math;
const lib = { ...library, objectKey, decodeGraphIndex, decodeManifest };

/** Multiples of 2^-23 from -1 up to 1, by the generator of Numerical Recipes; every seventh row is one before. */
let state = 1;
function row(_, v) {
  const values = Float32Array.from({ length: DIM }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 2 ** 23 - 1;
  });
  if (v % 7 === 6) values.set(rows[v - 6]);
  rows.push(values);
}
const rows = [];
Array.from({ length: ROWS + QUERIES }).forEach(row);
const queries = rows.splice(ROWS);

const all = { nprobe: 1 << 20, epsilon: 100, rerankFactor: 40 };
const few = { nprobe: 3 };
const rabitq = (bits) => ({ algorithm: "rabitq", bits });
const pq = (subspaces, bits) => ({ algorithm: "pq", subspaces, bits });
const ivf = (metric, compressor, more = {}) => ({
  options: { dim: DIM, algorithm: `dreamdb.ivf-${metric}`, compressor, ...more },
  build: ["rebuildIvf", { k: 9, iterations: 4 }],
  ...{ everywhere: all, somewhere: few },
});
const imi = (compressor) => ({
  options: { dim: DIM, algorithm: "dreamdb.imi-cosine", compressor },
  build: ["rebuildIvf", { k: 25, iterations: 4 }],
  ...{ everywhere: all, somewhere: { nprobe: 6 } },
});
const vamana = (metric) => ({
  options: { dim: DIM, algorithm: `dreamdb.vamana-${metric}` },
  build: ["buildGraph", { degree: 16, candidates: 60 }],
  ...{ everywhere: { beam: 600, rerankFactor: 40 }, somewhere: { beam: 10 } },
});
const lsh = (more) => ({
  options: { dim: DIM, algorithm: "dreamdb.lsh-cosine", lshBits: 5, ...more },
  ...{ everywhere: { nprobe: 32 }, somewhere: few },
});

const KINDS = {
  "lsh-cosine": lsh({}),
  "lsh-cosine, 4 tables, no vectors": lsh({ lshTables: 4, rerank: false }),
  ...Object.fromEntries(
    ["cosine", "dot", "l2"].flatMap((metric) => [
      ...[1, 4, 8].map((bits) => [`ivf-${metric}, RaBitQ of ${bits} bits`, ivf(metric, rabitq(bits))]),
      [`ivf-${metric}, 4 bytes of PQ`, ivf(metric, pq(4, 8))],
      [`ivf-${metric}, 5 half bytes of PQ`, ivf(metric, pq(5, 4))],
    ]),
  ),
  "ivf-cosine, no codes": ivf("cosine", "none"),
  "ivf-l2, RaBitQ of 3 bits, no vectors": ivf("l2", rabitq(3), { rerank: false }),
  "imi-cosine, RaBitQ of 4 bits": imi(rabitq(4)),
  "imi-cosine, 6 half bytes of PQ": imi(pq(6, 4)),
  "vamana-cosine": vamana("cosine"),
  "vamana-l2": vamana("l2"),
};

/** What an exact search gives, by the formulas of spec/0004 section 1. */
function nearest(metric, q) {
  const inv = (x) => fround(1 / fround(Math.sqrt(fold(x, x))));
  const distance = (x) => {
    if (metric === "cosine") return fround(1 - fround(fround(fold(q, x) * inv(x)) * inv(q)));
    if (metric === "dot") return 0 - fold(q, x);
    const d = x.map((value, k) => value - q[k]);
    return fold(d, d);
  };
  const order = rows.map((x, row) => ({ row, distance: distance(x) }));
  order.sort((a, b) => a.distance - b.distance || a.row - b.row);
  const best = order.slice(0, TOP_K);
  return { rows: best.map(({ row }) => row), distances: floats(best.map((each) => each.distance)) };
}

const root = mkdtempSync(join(tmpdir(), "dreamdb-indexes-"));
try {
  const given = rows.map(floats);
  const asked = queries.map(floats);
  const store = library.openStore(root);
  const cases = [];
  for (const [i, [name, kind]] of Object.entries(KINDS).entries()) {
    const ds = await buildIndex(lib, `d${i}`, kind, given, "scalar", root);
    const search = (options) =>
      Promise.all(asked.map((query) => found(ds, query, { ...options, topK: TOP_K })));
    const wanted = queries.map((q) => nearest(kind.options.algorithm.split("-").at(-1), q));
    const exact = await search(kind.everywhere);
    if (JSON.stringify(exact) !== JSON.stringify(wanted))
      throw new Error(`${name} does not find what is nearest`);
    const objects = await objectsOf(lib, ds, store);
    cases.push({ name, ...kind, objects, nearest: wanted, near: await search(kind.somewhere) });
    await ds.close();
  }
  const reader = fileURLToPath(new URL("reader.py", import.meta.url));
  const { status, stdout, stderr } = spawnSync("/usr/bin/python3", [reader, root], { encoding: "utf8" });
  if (status !== 0) throw new Error(`reader.py finds fault:\n${stdout}${stderr}`);
  writeVectors("indexes.json", {
    about:
      "Whole indexes of 300 records of 12 components, one every 1,000 ns from tick 0, the last fifth appended after the build. Vectors and distances are the hex of little-endian f32.",
    rows: given,
    queries: asked,
    cases,
  });
} finally {
  rmSync(root, { recursive: true, force: true });
}
