// What the page asks of Node: datasets made, appended to and read with the library as Node has it.
import { fork } from "node:child_process";
import { once } from "node:events";
import { Dataset, fsck, Schema } from "../../build/lib/index.node.js";
import { ask } from "./ask.mjs";
import { makeFew, makeLife, makeTable } from "./datasets.mjs";
import { makeHostile } from "./hostile-records.mjs";
import { ORIGIN, png, randomOf } from "./records.mjs";
import { textOf } from "./text.mjs";

const DIM = 32;
const MAKERS = { table: makeTable, life: makeLife, few: makeFew, hostile: makeHostile };

/** Handlers by name, for datasets that lie in `place`. */
export function startNodeSide(place) {
  const { storeOf } = place;
  const open = (bucket, { name = "main", at } = {}) =>
    at === undefined ? Dataset.open(name, storeOf(bucket)) : Dataset.openAt(at, storeOf(bucket));
  const shared = new Map();
  const answered = new Map();
  const writers = new Map();

  return {
    /** A dataset `main` with a field of every kind, its index built, in a bucket of its own that pages may read, or write too. */
    async make({ rows = 400, index = "ivf-cosine", build = true, writable = false } = {}) {
      const bucket = place.newBucket(writable ? "write" : "read");
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
      return { url: place.urlOf(bucket), bucket, manifest: dataset.currentManifest() };
    },
    /** One of the datasets that are made once for all browsers: see datasets.mjs. `made` is what its maker gives. */
    shared({ what, args = [] }) {
      const key = JSON.stringify([what, args]);
      if (!shared.has(key)) shared.set(key, makeShared(what, args));
      return shared.get(key);
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
      const dataset = await open(bucket, { at });
      if (method !== "iterStream") return textOf(await dataset[method](...args));
      const batches = [];
      for await (const batch of dataset.iterStream(...args)) batches.push(batch);
      return textOf(batches);
    },
    /** What Node answers to calls as in ask.mjs, in their order, freshly opened; `nonce` tells states of the backend apart. */
    answers({ bucket, at, calls, nonce }) {
      const key = textOf([bucket, at, calls, nonce]);
      if (!answered.has(key)) answered.set(key, answer({ bucket, at, calls }));
      return answered.get(key);
    },
    async get({ bucket, anchor }) {
      return textOf(await (await open(bucket)).get(anchor));
    },

    async fault({ bucket, match, kind, times = 1e9, delayMs }) {
      place.faults.push({ bucket, match: new RegExp(match), kind, times, delayMs });
    },
    async heal({ bucket }) {
      for (const fault of place.faults) if (fault.bucket === bucket) fault.times = 0;
      place.faults.splice(0, place.faults.length, ...place.faults.filter((fault) => fault.bucket !== bucket));
    },
    /** Requests of a bucket since it was last asked. */
    async requests({ bucket }) {
      const own = place.requests.filter((request) => request.bucket === bucket);
      const others = place.requests.filter((request) => request.bucket !== bucket);
      place.requests.splice(0, place.requests.length, ...others);
      return own;
    },
    /** The keys of the objects that there are, the largest first. */
    async objects({ bucket }) {
      const found = [];
      for await (const listed of storeOf(bucket).list("objects/")) found.push(listed);
      return found.sort((a, b) => b.bytes - a.bytes || (a.key < b.key ? -1 : 1)).map(({ key }) => key);
    },
    /** Turns over one bit of an object, or turns it back. */
    async flip({ bucket, key }) {
      const { bytes } = await storeOf(bucket).get(key);
      const other = new Uint8Array(bytes);
      other[other.length >> 1] ^= 16;
      await place.overwrite(bucket, key, other);
    },

    /** Where pages are let in otherwise than they want: see places.mjs. */
    async elsewhere({ kind }) {
      const bucket = place.newBucket(kind);
      const dataset = await Dataset.create("main", new Schema().addScalarInt("n"), storeOf(bucket));
      await dataset.appendMany([{ n: 1 }]);
      return { url: place.urlOf(bucket), bucket };
    },

    /** Starts a process that appends when it is told to. */
    async writer({ bucket }) {
      const script = new URL("./writer.mjs", import.meta.url);
      const child = fork(script, [place.addressOf(bucket)], { execArgv: ["--no-warnings"] });
      writers.set(bucket, child);
      await said(child);
    },
    /** The Manifests of so many appends of the process, of records of n from `first` on. */
    async writerAppends({ bucket, first, count }) {
      const child = writers.get(bucket);
      child.send({ first, count });
      return said(child);
    },
    async writerEnds({ bucket }) {
      const child = writers.get(bucket);
      writers.delete(bucket);
      child.send("end");
      await once(child, "exit");
    },
    /** What has become of a dataset, by a session of its own. */
    async audit({ bucket }) {
      const dataset = await open(bucket);
      const ns = [];
      for await (const batch of dataset.iterStream({ fields: ["n"] })) ns.push(...batch.n);
      const history = await dataset.history(10_000);
      const { problems } = await fsck(storeOf(bucket));
      return { count: await dataset.count(), ns: ns.sort((a, b) => a - b), history, problems };
    },
  };

  async function makeShared(what, args) {
    const bucket = place.newBucket("read");
    const made = await MAKERS[what](storeOf(bucket), ...args);
    return { url: place.urlOf(bucket), bucket, made };
  }

  async function answer({ bucket, at, calls }) {
    const texts = [];
    let dataset;
    try {
      dataset = await open(bucket, { at });
    } catch (error) {
      return calls.map(() => `${error.code} ${error.field} ${error.message}`);
    }
    for (const call of calls) texts.push(await ask(dataset, call));
    await dataset.close();
    return texts;
  }
}

/** The next message of a process. */
async function said(child) {
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`the writer ended: ${code}`);
  });
  const [message] = await Promise.race([once(child, "message"), ended]);
  return message;
}

/** Record n: the same in every run. The third has markup in place of a picture. */
function record(n) {
  return {
    _anchor: ORIGIN + BigInt(n),
    image: n === 3 ? new TextEncoder().encode(SVG) : png(n),
    v: Float32Array.from({ length: DIM }, randomOf(n)),
    label: ["ash", "birch", "cedar"][n % 3],
    n,
    ...(n % 2 === 0 ? { x: n / 7 } : {}),
  };
}

const SVG = `<svg xmlns="http://www.w3.org/2000/svg" onload="parent.pwned = true"><script>parent.pwned = true</script></svg>`;
