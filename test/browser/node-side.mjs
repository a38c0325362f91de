// What the page asks of Node: datasets made, appended to and read with the library as Node has it.

import { join } from "node:path";
import { deflateSync } from "node:zlib";
import { Dataset, directoryStore, Schema } from "../../build/lib/index.node.js";
import { startBuckets } from "./bucket.mjs";
import { textOf } from "./text.mjs";

const ORIGIN = 1_700_000_000_000_000_000n;
const DIM = 32;

/** Handlers by name, and the buckets they fill. */
export async function startNodeSide(base) {
  const stores = new Map();
  const storeOf = (bucket) => {
    if (!/^[a-z0-9-]+$/.test(bucket)) throw new Error(`no such bucket: ${bucket}`);
    if (!stores.has(bucket)) stores.set(bucket, directoryStore(join(base, bucket)));
    return stores.get(bucket);
  };
  const buckets = await startBuckets(storeOf);
  const open = (bucket, name = "main") => Dataset.open(name, storeOf(bucket));
  let made = 0;

  const verbs = {
    /** A dataset `main` with a field of every kind, its index built, in a bucket of its own. */
    async make({ rows = 400, index = "ivf-cosine", build = true } = {}) {
      const bucket = `bucket-${++made}`;
      const schema = new Schema()
        .addImage("image", { mime: "png" })
        .addEmbedding("v", { dim: DIM, algorithm: `dreamdb.${index}` })
        .addScalarCategorical("label", { index: true })
        .addScalarInt("n")
        .addScalarFloat("x", { required: false });
      const dataset = await Dataset.create("main", schema, storeOf(bucket));
      const step = 5000;
      for (let from = 0; from < rows; from += step)
        await dataset.appendMany(
          Array.from({ length: Math.min(step, rows - from) }, (_, i) => record(from + i)),
        );
      if (build && index.startsWith("vamana")) await dataset.buildGraph({ field: "v" });
      else if (build && index !== "lsh-cosine")
        await dataset.rebuildIvf({ field: "v", k: Math.ceil(Math.sqrt(rows)) });
      return { url: `${buckets.url}/${bucket}`, bucket, manifest: dataset.currentManifest() };
    },
    async append({ bucket, from, count }) {
      const dataset = await open(bucket);
      await dataset.appendMany(Array.from({ length: count }, (_, i) => record(from + i)));
      return { manifest: dataset.currentManifest() };
    },
    async snapshot({ bucket, label }) {
      return (await open(bucket)).snapshot(label);
    },
    /** What a method of the dataset gives in Node, as text. */
    async text({ bucket, at, method, args }) {
      const dataset = at === undefined ? await open(bucket) : await Dataset.openAt(at, storeOf(bucket));
      if (method !== "iterStream") return textOf(await dataset[method](...args));
      const batches = [];
      for await (const batch of dataset.iterStream(...args)) batches.push(batch);
      return textOf(batches);
    },
    async get({ bucket, anchor }) {
      return textOf(await (await open(bucket)).get(anchor));
    },
    async fault({ bucket, match, kind, times = 1e9, delayMs }) {
      buckets.faults.push({ bucket, match: new RegExp(match), kind, times, delayMs });
    },
    async heal({ bucket }) {
      for (const fault of buckets.faults) if (fault.bucket === bucket) fault.times = 0;
      buckets.faults.splice(
        0,
        buckets.faults.length,
        ...buckets.faults.filter((fault) => fault.bucket !== bucket),
      );
    },
    /** Requests of a bucket since it was last asked. */
    async requests({ bucket }) {
      const own = buckets.requests.filter((request) => request.bucket === bucket);
      const others = buckets.requests.filter((request) => request.bucket !== bucket);
      buckets.requests.splice(0, buckets.requests.length, ...others);
      return own;
    },
  };
  return { url: buckets.url, verbs, close: () => buckets.close() };
}

/** Record n: the same in every run. The third has markup in place of a picture. */
function record(n) {
  let state = n + 1;
  const random = () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  return {
    _anchor: ORIGIN + BigInt(n),
    image: n === 3 ? new TextEncoder().encode(SVG) : png(n),
    v: Float32Array.from({ length: DIM }, random),
    label: ["ash", "birch", "cedar"][n % 3],
    n,
    ...(n % 2 === 0 ? { x: n / 7 } : {}),
  };
}

const SVG = `<svg xmlns="http://www.w3.org/2000/svg" onload="parent.pwned = true"><script>parent.pwned = true</script></svg>`;

/** A picture of one pixel, of a colour that tells n. */
function png(n) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const out = Buffer.alloc(body.length + 8);
    out.writeUInt32BE(data.length);
    body.copy(out, 4);
    out.writeUInt32BE(crc(body), body.length + 4);
    return out;
  };
  const header = Buffer.from([0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0]);
  const pixel = deflateSync(Buffer.from([0, n & 255, (n >> 8) & 255, 7]));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
  const parts = [signature, chunk("IHDR", header), chunk("IDAT", pixel), chunk("IEND", Buffer.alloc(0))];
  return new Uint8Array(Buffer.concat(parts));
}

function crc(bytes) {
  let value = ~0;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  }
  return ~value >>> 0;
}
