// DreamDB through its public API. What is measured follows what the library can do: indexes that it doesn't have yet
// are left out, and `missing` names them.
import { Dataset, Schema } from "../../build/node/index.js";
import { FILTERS, matchesFilter } from "./data.mjs";

const K = 10;
const NAME = "vectors";
const BATCH = 10_000;
const can = (verb) => typeof Dataset.prototype[verb] === "function";

/** Verbs that a part of this benchmark needs, and what that part is. */
const VERBS = {
  rebuildIvf: "the IVF index with codes",
  buildGraph: "the graph index",
  queryMany: "batches of queries",
  prewarm: "keeping an index in memory, with vectors or codes alone",
};

/** What can't be measured yet: [verb, what needs it]. */
export function missing() {
  return Object.entries(VERBS).filter(([verb]) => !can(verb));
}

/**
 * `ivf`: the index as it is by default, vectors resident. `ivf, codes resident`: the same with vectors left on disk. `no index`: every
 * row is looked at, by its vector or by its code. `graph`: Vamana. Without an IVF index `lsh` takes its place.
 */
export function variants({ count }) {
  const ivf = { algorithm: "dreamdb.ivf-cosine", ivf: {} };
  const list = [];
  if (can("rebuildIvf")) {
    list.push({ name: "ivf", parameters: { ...ivf, resident: "vectors" } });
    if (can("prewarm")) list.push({ name: "ivf, codes resident", parameters: { ...ivf, resident: "codes" } });
  } else list.push({ name: "lsh", parameters: { algorithm: "dreamdb.lsh-cosine" } });
  if (can("buildGraph"))
    list.push({
      name: "graph",
      parameters: {
        algorithm: "dreamdb.vamana-cosine",
        graph: {},
        resident: "vectors",
      },
    });
  const bare = { algorithm: "dreamdb.ivf-cosine", resident: "vectors" };
  list.push({ name: "no index", parameters: bare });
  if (can("rebuildIvf"))
    list.push({
      name: "no index, codes",
      parameters: { ...bare, ivf: { k: 1, sample: Math.min(count, 1000), iterations: 1 } },
    });
  return list;
}

export function settings({ name, count }) {
  if (name === "no index") return [{ label: "exact" }];
  if (name === "no index, codes")
    return [1, 2, 4, 8, 16, 32].map((n) => ({ label: `re-rank ×${n}`, nprobe: 1, rerankFactor: n }));
  const defaults = { label: "defaults" };
  if (name === "lsh")
    return [defaults, ...[64, 256, 1024].map((nprobe) => ({ label: `nprobe ${nprobe}`, nprobe }))];
  if (name === "graph") return [defaults, ...walks()];
  const probes = [4, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 256, 320, 384].filter(
    (n) => count > 50_000 || n <= 64,
  );
  // Estimates are given more benefit of the doubt the more cells are probed: each where it pays.
  const grid = probes.flatMap((nprobe) =>
    [
      { epsilon: 1.05, rerankFactor: 1.8 },
      { epsilon: 1.2, rerankFactor: 2 },
      { epsilon: 1.35, rerankFactor: 2.4 },
      { epsilon: 1.7, rerankFactor: 3 },
      { epsilon: 2.2, rerankFactor: 4 },
    ].map((tuning) => ({
      label: `nprobe ${nprobe}, ε ${tuning.epsilon}, re-rank ×${tuning.rerankFactor}`,
      nprobe,
      ...tuning,
    })),
  );
  const targets = [0.9, 0.95, 0.99].map((recallTarget) => ({
    label: `recallTarget ${recallTarget}`,
    recallTarget,
    isTarget: true,
  }));
  return [defaults, ...grid, ...targets];
}

/** Narrow walks to their end, and wide ones that end where it no longer pays. */
function walks() {
  const whole = [16, 24, 32, 48, 64, 96, 128, 200, 320].map((beam) => ({ label: `beam ${beam}`, beam }));
  const early = [
    [120, 0.04],
    [160, 0.05],
    [200, 0.06],
    [240, 0.07],
    [240, 0.075],
    [240, 0.08],
    [280, 0.085],
    [320, 0.1],
    [500, 0.11],
    [700, 0.13],
    [1000, 0.15],
  ].map(([beam, slack]) => ({ label: `beam ${beam}, slack ${slack}`, beam, slack }));
  return [...whole, ...early];
}

export async function build({ rows, dim, count }, directory, { algorithm, ivf, graph }) {
  let schema = new Schema().addEmbedding("vector", { dim, algorithm });
  for (const filter of Object.keys(FILTERS)) schema = schema.addScalarInt(filter);
  const ds = await Dataset.create(NAME, schema, directory);
  return {
    async ingest() {
      for (let from = 0; from < count; from += BATCH) {
        const n = Math.min(BATCH, count - from);
        await ds.appendMany(Array.from({ length: n }, (_, i) => record(rows, dim, from + i)));
      }
    },
    async index() {
      if (ivf !== undefined) await ds.rebuildIvf({ field: "vector", ...ivf });
      if (graph !== undefined) await ds.buildGraph({ field: "vector", ...graph });
    },
    save: () => ds.close(),
  };
}

function record(rows, dim, row) {
  const filters = Object.keys(FILTERS).map((filter) => [filter, matchesFilter(row, filter) ? 1 : 0]);
  return {
    _anchor: BigInt(row) + 1n,
    vector: rows.subarray(row * dim, (row + 1) * dim),
    ...Object.fromEntries(filters),
  };
}

export async function open(_data, directory, { resident }) {
  const ds = await Dataset.open(NAME, { backend: directory });
  let options = {};
  return {
    firstId: 1,
    use({ nprobe, epsilon, rerankFactor, recallTarget, beam, slack, filter }) {
      options = { field: "vector", topK: K, fields: [] };
      const given = { nprobe, epsilon, rerankFactor, recallTarget, beam, slack };
      for (const [name, value] of Object.entries(given)) if (value !== undefined) options[name] = value;
      if (filter !== undefined) options.whereEq = { [filter]: 1 };
    },
    /** Reads ahead what this configuration keeps in memory. Queries without it read on demand. */
    async warm() {
      if (can("prewarm")) await ds.prewarm({ fields: ["vector"], vectors: resident === "vectors" });
    },
    async search(query) {
      const batches = await ds.iterVector({ ...options, query });
      return batches[0]._time_anchors;
    },
    async searchMany(queries) {
      const answers = await ds.queryMany({ ...options, queries });
      return answers.map((answer) => (Array.isArray(answer) ? answer[0] : answer)._time_anchors);
    },
  };
}
