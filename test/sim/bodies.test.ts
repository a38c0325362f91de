// Every bad body: a typed error after one more try, or the right data; and what was bad is never kept.
import { beforeAll, expect, jest, test } from "@jest/globals";
import { addressOf } from "../../src/core/address.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { Session } from "../../src/dataset/session.ts";
import { isDreamDBError } from "../../src/errors.ts";
import { searchRows } from "./client.ts";
import { builtWorld } from "./scenarios.ts";
import { clientStore, directStore, isRef, World } from "./world.ts";

/** Bits tried of an object; all of them up to here. Of large objects so many that this many bytes are hashed. */
const MAX_BITS = 6000;
const MAX_HASHED_BYTES = 1e8;

jest.setTimeout(300_000);

/** One object of every kind, by kind. */
let objects: Map<string, Uint8Array>;
/** Has containers that are read in parts: heads, blocks, spans of vectors. */
let large: World;

beforeAll(async () => {
  const small = await builtWorld(["rebuild", "compress", "graph"]);
  large = new World();
  const schema = new Schema()
    .addScalarInt("n", { index: true })
    .addImage("image", { required: false })
    .addEmbedding("v", { dim: 300, algorithm: "dreamdb.ivf-cosine" })
    .addEmbedding("hash", { dim: 2500, algorithm: "dreamdb.lsh-cosine", lshBits: 2 });
  const dataset = await Dataset.create("main", schema, directStore(large));
  const vector = (dim: number, n: number) =>
    Float32Array.from({ length: dim }, (_, i) => ((i * 7 + n * 3) % 11) - 5);
  const record = (n: number) => ({
    n,
    v: vector(300, n),
    hash: vector(2500, n),
    image: new Uint8Array(n === 3 ? 90_000 : 9),
  });
  await dataset.appendMany(Array.from({ length: 80 }, (_, n) => record(n)));
  await dataset.rebuildIvf({ field: "v", k: 3, iterations: 1 });
  await dataset.publishCompressor({ field: "v", bits: 2 });
  for (let i = 0; i < 63; i++) await dataset.appendMany([record(100 + i)]);
  await dataset.close();
  objects = new Map();
  for (const world of [small, large])
    for (const [key, { bytes }] of world.values) if (!isRef(key)) objects.set(kindOf(bytes), bytes);
  expect(objects.size).toBeGreaterThanOrEqual(14);
});

function kindOf(bytes: Uint8Array): string {
  if (bytes[0] === 0x44) return `container ${bytes.slice(0, 8)} ${bytes[28]} ${bytes.length > 65_536}`;
  return new TextDecoder().decode(bytes).match(/dreamdb\.[a-z-]+/)?.[0] ?? "other";
}

test("every bit and every length of every kind of object", async () => {
  let tried = 0;
  for (const [kind, bytes] of objects) {
    const address = addressOf(bytes);
    let body = bytes;
    let badReads = 0;
    let requests = 0;
    const store = clientStore(async () => {
      requests++;
      const value = { bytes: badReads-- > 0 ? body : bytes, etag: "immutable" };
      return { is: "value", value };
    });
    const session = new Session(store, 0);
    const keeping = new Session(store, 64 << 20);
    const fails = async (what: string): Promise<void> => {
      tried++;
      requests = 0;
      badReads = 2;
      const error = await session.object(address).catch((caught: unknown) => caught);
      if (!isDreamDBError(error, "HashMismatch") || requests !== 2)
        throw new Error(
          `${kind}, ${what}: ${error instanceof Error ? error.message : "no error"}, ${requests} requests`,
        );
    };
    const bits = 8 * bytes.length;
    const most = Math.min(MAX_BITS, Math.ceil(MAX_HASHED_BYTES / bytes.length));
    const step = Math.max(1, Math.ceil(bits / most));
    for (let bit = 0; bit < bits; bit += step) {
      body = bytes.slice();
      body[bit >> 3]! ^= 1 << (bit & 7);
      await fails(`bit ${bit}`);
    }
    const stride = Math.max(1, Math.ceil((8 * bytes.length) / most));
    for (let length = 0; length < bytes.length; length += stride) {
      body = bytes.subarray(0, length);
      await fails(`cut at ${length}`);
    }
    body = Uint8Array.of(...bytes.subarray(0, 1000), 0);
    await fails("another length");
    // Bad twice, then right, in a session that keeps what it reads: the bad ones were not kept; nor is it asked again.
    badReads = 2;
    expect(await keeping.object(address).catch(() => "bad")).toBe("bad");
    badReads = 1;
    requests = 0;
    expect(Buffer.compare(await keeping.object(address), bytes)).toBe(0);
    expect(requests).toBe(2);
    await keeping.object(address);
    expect(requests).toBe(2);
  }
  expect(tried).toBeGreaterThan(20_000);
});

/** What all reads see. */
async function readAll(dataset: Dataset): Promise<unknown> {
  const rows: unknown[] = [];
  for await (const batch of dataset.iterStream()) {
    const { n, image, v } = batch as unknown as {
      n: number[];
      image: (Uint8Array | undefined)[];
      v: Float32Array[];
    };
    rows.push(
      n,
      image.map((each) => each?.length),
      v.map((each) => each[7]),
    );
  }
  return { rows, v: await searchRows(dataset, "v"), hash: await searchRows(dataset, "hash") };
}

test("reads in parts: bad for a while means typed errors, and the same dataset then reads what is right", async () => {
  const right = await readAll(await Dataset.open("main", directStore(large), { kernels: "scalar" }));
  const keys = new Set<string>();
  const watching = clientStore(async (call) => {
    keys.add(call.key);
    return large.apply(call);
  });
  await readAll(await Dataset.open("main", watching, { kernels: "scalar" }));
  const byKind = new Map<string, string>();
  for (const key of keys) {
    // What is not there, as a registry of deletions is not, can't be damaged.
    const value = large.values.get(key);
    if (value !== undefined && !isRef(key)) byKind.set(kindOf(value.bytes), key);
  }
  const codes = new Set<string>();
  const damages = ["head", "middle", "end", "cut"] as const;
  for (const [i, [kind, key]] of [...byKind].entries()) {
    // A full read takes its time: one kind of damage for each kind of object, by turns.
    for (const damage of damages.slice(i % 4, (i % 4) + 1)) {
      let isBad = true;
      const store = clientStore(async (call) => {
        const reply = large.apply(call);
        if (!isBad || call.key !== key || reply.is !== "value" || reply.value === undefined) return reply;
        const bytes = reply.value.bytes.slice();
        if (damage === "cut")
          return { is: "value", value: { bytes: bytes.subarray(0, bytes.length >> 1), etag: "" } };
        const at =
          damage === "head"
            ? Math.min(20, bytes.length - 1)
            : damage === "middle"
              ? bytes.length >> 1
              : bytes.length - 1;
        bytes[at]! ^= 4;
        return { is: "value", value: { bytes, etag: "" } };
      });
      const dataset = await Dataset.open("main", store, { kernels: "scalar" }).catch((error: unknown) => {
        codes.add(isDreamDBError(error) ? error.code : String(error));
      });
      if (dataset === undefined) continue;
      const error = await readAll(dataset).catch((caught: unknown) => caught);
      if (!isDreamDBError(error)) throw new Error(`${kind}, ${damage}: no typed error, but ${String(error)}`);
      codes.add(error.code);
      isBad = false;
      expect({ kind, damage, read: await readAll(dataset) }).toEqual({ kind, damage, read: right });
      await dataset.close();
    }
  }
  expect(byKind.size).toBeGreaterThanOrEqual(8);
  expect([...codes]).toEqual(["HashMismatch"]);
});
