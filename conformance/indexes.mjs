// Builds the small indexes of indexes.json with the library: for generate-indexes.mjs, which writes them down, and for
// checks.mjs, which holds the library to them.
import { fromHex, toHex } from "./notation.mjs";

const NANOSECONDS = 1000n;
const floatsOf = (hex) => new Float32Array(fromHex(hex).buffer);

/** Records of `rows` (hexadecimal f32), every 1,000 ns one, and a fifth of them appended after the build. */
export async function buildIndex(lib, name, { options, build }, rows, kernels, backend) {
  let drawn = 0;
  const schema = new lib.Schema().addEmbedding("v", options);
  const ds = await lib.Dataset.create(name, schema, backend, {
    ...{ kernels, origin: 0n, writer: "conformance", clock: () => 1_000_000_000_000n },
    random: (count) => Uint8Array.from({ length: count }, () => drawn++ & 255),
  });
  const records = rows.map((row, i) => ({ v: floatsOf(row), _anchor: BigInt(i) * NANOSECONDS }));
  const late = Math.floor(records.length / 5);
  await ds.appendMany(records.slice(0, -late));
  if (build !== undefined) {
    const [verb, given] = build;
    await ds[verb]({ field: "v", ...given });
  }
  await ds.appendMany(records.slice(-late));
  return ds;
}

/** Addresses of what the dataset's Track is made of. */
export async function objectsOf(lib, ds, store) {
  const read = async (address) => (await store.get(lib.objectKey(address))).bytes;
  const { tracks } = lib.decodeManifest(await read(ds.currentManifest()));
  const [track] = [...tracks.values()];
  const { spatialIndex: index, compressor } = track;
  const centroids = [index.centroids ?? []].flat().map(({ address }) => address);
  const graph = index.graph && lib.decodeGraphIndex(await read(index.graph.address));
  return {
    spatialIndex: track.address,
    ...(centroids.length > 0 ? { centroids } : {}),
    ...(compressor ? { compressor: compressor.address } : {}),
    ...(compressor?.object.codebooks ? { codebooks: compressor.object.codebooks.address } : {}),
    ...(graph ? { graph: index.graph.address, pages: graph.pages.map(({ address }) => address) } : {}),
    segments: track.segments.entries.map(({ container }) => container.address),
  };
}

/** Ordinals of the records found and their distances, as little-endian f32. */
export async function found(ds, query, options) {
  const [batch] = await ds.iterVector({ field: "v", query: floatsOf(query), fields: [], ...options });
  return {
    rows: batch._time_anchors.map((anchor) => Number(anchor / NANOSECONDS)),
    distances: toHex(new Uint8Array(Float32Array.from(batch._distances).buffer)),
  };
}
