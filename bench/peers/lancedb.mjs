// LanceDB: a table of one vector column, a directory on disk, by each of its indexes. Partitions and sub-vectors are
// set here because the defaults do badly. Row ids of a table written at once are row numbers. LANCE_IO_THREADS stays
// as it is: 1 makes index builds hang.
const K = 10;

export function variants({ dim, count }) {
  const numPartitions = Math.round(Math.sqrt(count));
  return [
    { name: "ivf_flat", parameters: { numPartitions } },
    { name: "ivf_rq4", parameters: { numPartitions, numBits: 4 } },
    { name: "hnsw_sq", parameters: { numPartitions: 1, m: 16, efConstruction: 200 } },
    { name: "ivf_pq", parameters: { numPartitions, numSubVectors: dim / 4, numBits: 8 } },
  ];
}

export function settings({ name }) {
  const of = (nprobes, refine, ef) => ({
    label:
      ef === undefined
        ? `nprobes ${nprobes}${refine > 0 ? ` refine ${refine}` : ""}`
        : `ef ${ef}${refine > 0 ? ` refine ${refine}` : ""}`,
    nprobes,
    refine,
    ef,
  });
  if (name === "ivf_flat") return [5, 10, 18, 30, 50, 80, 130, 200].map((n) => of(n, 0));
  if (name === "hnsw_sq")
    return [
      [20, 2],
      [40, 2],
      [80, 3],
      [150, 3],
      [300, 5],
      [500, 5],
    ].map(([ef, r]) => of(1, r, ef));
  return [
    [10, 5],
    [20, 5],
    [40, 5],
    [40, 10],
    [80, 10],
    [130, 20],
    [200, 40],
  ].map(([n, r]) => of(n, r));
}

export async function build(data, directory, parameters, name) {
  const columns = widthOf(data.dim, name);
  const { connect, Index } = await import("@lancedb/lancedb");
  const db = await connect(directory);
  const table = await db.createTable("vectors", await arrowTable(padded(data, columns)));
  const kinds = { ivf_flat: "ivfFlat", ivf_rq4: "ivfRq", hnsw_sq: "hnswSq", ivf_pq: "ivfPq" };
  const config = Index[kinds[name]]({ distanceType: "cosine", ...parameters });
  return { index: () => table.createIndex("vector", { config }), save() {} };
}

export async function open({ dim }, directory, _parameters, name) {
  const { connect } = await import("@lancedb/lancedb");
  const table = await (await connect(directory)).openTable("vectors");
  const columns = widthOf(dim, name);
  let nprobes;
  let refine;
  let ef;
  return {
    use(setting) {
      ({ nprobes, refine, ef } = setting);
    },
    async search(vector) {
      let query = table
        .query()
        .nearestTo(widened(vector, columns))
        .distanceType("cosine")
        .nprobes(nprobes)
        .limit(K);
      if (refine > 0) query = query.refineFactor(refine);
      if (ef !== undefined) query = query.ef(ef);
      const found = await query.withRowId().select(["_rowid", "_distance"]).toArrow();
      return found.getChild("_rowid").toArray();
    },
  };
}

/** IVF_RQ takes only dimensions that are a multiple of 8; zeros change no cosine. */
function widthOf(dim, name) {
  return name === "ivf_rq4" ? Math.ceil(dim / 8) * 8 : dim;
}

function padded({ rows, dim, count }, columns) {
  if (columns === dim) return { rows, dim, count };
  const wide = new Float32Array(count * columns);
  for (let i = 0; i < count; i++) wide.set(rows.subarray(i * dim, (i + 1) * dim), i * columns);
  return { rows: wide, dim: columns, count };
}

function widened(vector, columns) {
  if (columns === vector.length) return vector;
  const wide = new Float32Array(columns);
  wide.set(vector);
  return wide;
}

async function arrowTable({ rows, dim, count }) {
  const { Field, FixedSizeList, Float32, makeData, RecordBatch, Schema, Struct, Table } = await import(
    "apache-arrow"
  );
  const type = new FixedSizeList(dim, new Field("item", new Float32(), true));
  const child = makeData({ type: new Float32(), length: count * dim, nullCount: 0, data: rows });
  const column = makeData({ type, length: count, nullCount: 0, child });
  const schema = new Schema([new Field("vector", type, false)]);
  const struct = makeData({
    type: new Struct(schema.fields),
    length: count,
    nullCount: 0,
    children: [column],
  });
  return new Table([new RecordBatch(schema, struct)]);
}
