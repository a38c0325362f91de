// usearch: HNSW over inner products of unit vectors, f32. What a search expands is fixed when an index is made, so
// each setting loads the index anew, outside the timed part.
const K = 10;

export function variants() {
  return [{ name: "", parameters: { connectivity: 16, expansionAdd: 128 } }];
}

export function settings() {
  return [16, 32, 50, 64, 80, 100, 125, 160, 200, 250, 320, 400, 520, 700, 1000, 1400].map((expansion) => ({
    label: `expansion ${expansion}`,
    expansion,
  }));
}

export async function build({ rows, dim, count }, directory, parameters) {
  const index = await make(dim, parameters, 64);
  return {
    index() {
      const step = 10_000;
      for (let from = 0; from < count; from += step) {
        const n = Math.min(step, count - from);
        const keys = BigUint64Array.from({ length: n }, (_, i) => BigInt(from + i));
        index.add(keys, rows.subarray(from * dim, (from + n) * dim), 1);
      }
    },
    save: () => index.save(`${directory}/index`),
  };
}

export async function open({ dim }, directory, parameters) {
  let index;
  return {
    async use({ expansion }) {
      index = await make(dim, parameters, expansion);
      index.load(`${directory}/index`);
    },
    search: (query) => index.search(query, K, 1).keys,
  };
}

async function make(dim, { connectivity, expansionAdd }, expansion) {
  const { Index, MetricKind, ScalarKind } = (await import("usearch")).default;
  return new Index({
    dimensions: dim,
    metric: MetricKind.IP,
    quantization: ScalarKind.F32,
    connectivity,
    expansion_add: expansionAdd,
    expansion_search: expansion,
    multi: false,
  });
}
