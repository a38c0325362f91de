/** The example backend of spec/, whose bytes were made by a script that shares no code with the library. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { Dataset, fsck, memoryStore, type Store } from "../src/index.ts";

const example = JSON.parse(readFileSync("spec/examples/tiny.json", "utf8"));

async function exampleStore(): Promise<Store> {
  const store = memoryStore();
  for (const [key, hex] of Object.entries<string>(example.keys))
    await store.put(key, Uint8Array.from(Buffer.from(hex, "hex")));
  return store;
}

/** A record as the example writes it. */
function plain(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => {
      if (typeof value === "bigint") return [name, String(value)];
      if (name === "photo") return [name, Buffer.from(value as Uint8Array).toString("hex")];
      return [name, ArrayBuffer.isView(value) ? Array.from(value as Float32Array) : value];
    }),
  );
}

test("fsck finds nothing wrong with it", async () => {
  const report = await fsck(await exampleStore());
  expect(report.problems).toEqual([]);
  expect(report.refs).toBe(3);
});

test.each(["tiny", "tiny-v1", "tiny-ivf"])("the records of %s are those expected", async (name) => {
  const ds = await Dataset.open(name, { backend: await exampleStore() });
  const records = [];
  for await (const batch of ds.iterStream()) {
    for (const anchor of batch._time_anchors)
      records.push(plain((await ds.get(anchor)) as Record<string, unknown>));
  }
  expect(records).toEqual(example.expected[`records of refs/${name}`]);
});

test.each([
  ["tiny", "simd", "query, all cells probed"],
  ["tiny", "scalar", "query, all cells probed"],
  ["tiny-ivf", "simd", "query of tiny-ivf, all cells probed"],
  ["tiny-ivf", "scalar", "query of tiny-ivf, all cells probed"],
] as const)("a query of %s gives the expected distances, bit for bit (%s)", async (name, kernels, query) => {
  const { vector, hits } = example.expected[query];
  const ds = await Dataset.open(name, { backend: await exampleStore(), kernels });
  const [batch] = await ds.iterVector({ field: "embedding", query: vector, topK: 10, nprobe: 2 ** 24 });
  const found = batch?._time_anchors.map((anchor, i) => ({
    _anchor: String(anchor),
    _distance: batch._distances[i],
  }));
  expect(found).toEqual(hits);
});

const hasPython =
  spawnSync("/usr/bin/python3", ["-c", "import cbor2"]).status === 0 &&
  spawnSync("b3sum", ["--version"]).status === 0;
const checker = hasPython || process.env.CI ? test : test.skip;
checker(
  "the worked examples in the documents are what their script computes (needs python3-cbor2 and b3sum)",
  () => {
    const run = spawnSync("/usr/bin/python3", ["spec/examples/make.py", "--check"], { encoding: "utf8" });
    expect({ status: run.status, said: run.status === 0 ? "" : run.stdout + run.stderr }).toEqual({
      status: 0,
      said: "",
    });
  },
);
