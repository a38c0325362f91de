// What is measured in the page: how each library comes by its index there, its settings, and how it answers one query. Ids count
// from 0, in the order of the rows.

const K = 10;
/** How wide graphs are searched: from a recall below .95 to one above .99. */
const EFS = [60, 70, 80, 90, 100, 130, 200, 230, 260];
/** Stands in edgevec's memory for its ef, until that is found: no other number there is likely to be this one. */
const EDGEVEC_EF = 48_271_963;

/** How the names of those begin that others are compared with. */
export const OWN = "DreamDB";

/**
 * name → `open(page)`, where page is { rows(): Promise<Float32Array>, dim, bucket }; it gives { ready, settings, use, ids }:
 * `ready` [what it took, ms] in turn, `ids(query)` those of the nearest ten, or a promise of them.
 */
export const CONTENDERS = {
  "DreamDB, worker": (page) => openDreamDB(page, true),
  "DreamDB, page's thread": (page) => openDreamDB(page, false),
  "hnswlib-wasm": openHnswlib,
  edgevec: openEdgevec,
};

/** The index is in the bucket: nothing is built here. */
async function openDreamDB({ bucket }, worker) {
  const watch = stopwatch();
  const { DreamDBSpace } = await import("/lib/space.js");
  const space = await DreamDBSpace.fromUri(`${bucket}/refs/words`, { worker });
  watch.split("opened");
  await space.prewarm();
  watch.split("whole index read into memory");
  let options;
  const probes = [48, 64, 80, 96, 128, 192];
  const tunings = [
    { epsilon: 1.35, rerankFactor: 2.4 },
    { epsilon: 1.7, rerankFactor: 3 },
    { epsilon: 2.2, rerankFactor: 4 },
  ];
  return {
    ready: watch.splits,
    settings: [
      { label: "defaults" },
      ...probes.flatMap((nprobe) =>
        tunings.map(({ epsilon, rerankFactor }) => ({
          label: `nprobe ${nprobe}, ε ${epsilon}, re-rank ×${rerankFactor}`,
          ...{ nprobe, epsilon, rerankFactor },
        })),
      ),
    ],
    use({ label, ...setting }) {
      options = { field: "vector", topK: K, fields: [], ...setting };
    },
    async ids(query) {
      const [hits] = await space.query({ ...options, query });
      return hits._time_anchors.map((anchor) => Number(anchor) - 1);
    },
    close: () => space.close(),
  };
}

async function openHnswlib({ rows, dim }) {
  const watch = stopwatch();
  const { loadHnswlib } = await import("/peers/hnswlib-wasm/dist/hnswlib.js");
  const library = await loadHnswlib();
  watch.split("library loaded");
  const all = await rows();
  watch.split("vectors downloaded");
  const count = all.length / dim;
  const index = new library.HierarchicalNSW("ip", dim, "");
  index.initIndex(count, 16, 200, 100);
  for (let row = 0; row < count; row++) index.addPoint(all.subarray(row * dim, (row + 1) * dim), row, false);
  watch.split("index built (M 16, efConstruction 200)");
  return {
    ready: watch.splits,
    settings: EFS.map((ef) => ({ label: `ef ${ef}`, ef })),
    use: ({ ef }) => index.setEfSearch(ef),
    ids: (query) => index.searchKnn(query, K, undefined).neighbors,
  };
}

/**
 * `l2` of unit vectors, for its cosine and dot give the farthest. It takes ef at construction alone; to build once for all of them,
 * that number is changed where it lies in its memory.
 */
async function openEdgevec({ rows, dim }) {
  const watch = stopwatch();
  const library = await import("/peers/edgevec/edgevec.js");
  const { memory } = await library.default();
  watch.split("library loaded");
  const all = await rows();
  watch.split("vectors downloaded");
  const config = new library.EdgeVecConfig(dim);
  config.metric = "l2";
  config.m = 16;
  config.m0 = 32;
  config.ef_construction = 128;
  config.ef_search = EDGEVEC_EF;
  const index = new library.EdgeVec(config);
  const first = index.insertBatchFlat(all, all.length / dim)[0];
  watch.split("index built (M 16, efConstruction 128)");
  const places = placesOf(memory, EDGEVEC_EF);
  return {
    ready: watch.splits,
    settings: EFS.map((ef) => ({ label: `ef ${ef}`, ef })),
    use({ ef }) {
      const words = new Uint32Array(memory.buffer);
      for (const place of places) words[place] = ef;
    },
    ids: (query) => index.search(query, K).map(({ id }) => id - first),
  };
}

function placesOf(memory, value) {
  const places = [];
  const words = new Uint32Array(memory.buffer);
  for (let at = words.indexOf(value); at >= 0; at = words.indexOf(value, at + 1)) places.push(at);
  if (places.length === 0) throw new Error("edgevec keeps its ef elsewhere");
  return places;
}

function stopwatch() {
  const splits = [];
  let last = performance.now();
  return {
    splits,
    split(what) {
      const now = performance.now();
      splits.push([what, now - last]);
      last = now;
    },
  };
}
