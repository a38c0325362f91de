// faiss-node: an inverted file of flat vectors by inner product. It takes plain arrays only, and has no way to set
// how many lists a search probes: that number is a field of the saved index, so it is patched in the bytes it reads.
import { closeSync, existsSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const K = 10;
const INNER_PRODUCT = 0;
const COMPILED_HERE = fileURLToPath(new URL("faiss/build/faiss-node.node", import.meta.url));
/** Values in a plain array at a time: more than this makes the engine's heap large for nothing. */
const CHUNK = 8 << 20;

/** Which build is there: the installed package, the one compiled here, or none. */
export function source() {
  try {
    createRequire(import.meta.url)("faiss-node");
    return "npm";
  } catch {
    if (!existsSync(COMPILED_HERE)) return undefined;
    return `compiled with ${readFileSync(new URL("faiss/build/flavour.txt", import.meta.url), "utf8")}`;
  }
}

export function variants({ count }) {
  const lists = count > 200_000 ? 1024 : count > 50_000 ? 512 : count > 20_000 ? 256 : 96;
  return [{ name: "", parameters: { factory: `IVF${lists},Flat`, lists } }];
}

export function settings() {
  return [2, 3, 4, 6, 8, 14, 18, 22, 26, 32, 40, 46, 54, 66, 80, 100, 125, 160, 200].map((nprobe) => ({
    label: `nprobe ${nprobe}`,
    nprobe,
  }));
}

export async function build({ rows, dim, count }, directory, { factory, lists }) {
  const { Index } = library();
  const index = Index.fromFactory(dim, factory, INNER_PRODUCT);
  return {
    index() {
      // faiss itself takes at most 256 rows a list for its k-means; giving it more only costs memory.
      index.train(everySoMany(rows, dim, Math.min(count, 256 * lists)));
      const step = Math.floor(CHUNK / dim);
      for (let from = 0; from < count; from += step)
        index.add(Array.from(rows.subarray(from * dim, Math.min(count, from + step) * dim)));
    },
    save: () => index.write(`${directory}/index`),
  };
}

export async function open(_data, directory, { lists }) {
  const { Index } = library();
  let index;
  return {
    use({ nprobe }) {
      index = undefined;
      patch(`${directory}/index`, lists, nprobe);
      index = Index.read(`${directory}/index`);
    },
    search: (query) => index.search(Array.from(query), K).labels,
  };
}

function everySoMany(rows, dim, wanted) {
  const count = rows.length / dim;
  const sample = new Array(wanted * dim);
  for (let i = 0; i < wanted; i++) {
    const from = Math.floor((i * count) / wanted) * dim;
    for (let k = 0; k < dim; k++) sample[i * dim + k] = rows[from + k];
  }
  return sample;
}

/** The file has the number of lists and then the number to probe, two little-endian u64, near its start. */
function patch(path, lists, nprobe) {
  const file = openSync(path, "r+");
  const head = Buffer.alloc(256);
  readSync(file, head, 0, head.length, 0);
  const wanted = u64(lists);
  const at = head.indexOf(wanted);
  if (at < 0) throw new Error("no number of lists at the start of the index");
  writeSync(file, u64(nprobe), 0, 8, at + wanted.length);
  closeSync(file);
}

function u64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function library() {
  const require = createRequire(import.meta.url);
  return source() === "npm" ? require("faiss-node") : require(COMPILED_HERE);
}
