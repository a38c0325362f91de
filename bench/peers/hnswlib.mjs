// hnswlib-node: HNSW over inner products of unit vectors. Its calls take plain arrays only, so the conversion is
// part of every call, as it is for its users.
const K = 10;

export function variants() {
  return [{ name: "", parameters: { m: 16, efConstruction: 200 } }];
}

export function settings() {
  return [10, 20, 30, 45, 65, 85, 105, 130, 165, 200, 260, 340, 440, 560, 700, 900].map((ef) => ({
    label: `ef ${ef}`,
    ef,
  }));
}

export async function build({ rows, dim, count }, directory, { m, efConstruction }) {
  const { HierarchicalNSW } = await library();
  const index = new HierarchicalNSW("ip", dim);
  index.initIndex(count, m, efConstruction, 100);
  return {
    index() {
      for (let i = 0; i < count; i++) index.addPoint(Array.from(rows.subarray(i * dim, (i + 1) * dim)), i);
    },
    save: () => index.writeIndexSync(`${directory}/index`),
  };
}

export async function open({ dim }, directory) {
  const { HierarchicalNSW } = await library();
  const index = new HierarchicalNSW("ip", dim);
  index.readIndexSync(`${directory}/index`);
  return {
    use: ({ ef }) => index.setEf(ef),
    search: (query) => index.searchKnn(Array.from(query), K).neighbors,
  };
}

async function library() {
  return (await import("hnswlib-node")).default;
}
