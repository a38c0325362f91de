// Writes merge.json: heads and bases of histories, by trying all pairs of states; digests of records, by an encoder of a few
// lines and b3sum; lanes; and small datasets that are merged, by the library (their objects are held to the other rules by fsck).
import { execFileSync } from "node:child_process";
import { mergedDatasets } from "./merges.mjs";
import { writeVectors } from "./write-vectors.mjs";

/** Numbers that look random and are the same every time (mulberry32). */
let state = 8;
function random(below) {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
  return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
}

/** For each state, itself and its ancestors. */
function reachOf(parents) {
  return parents.map((_, i) => {
    const found = new Set([i]);
    for (const at of found) for (const parent of parents[at]) found.add(parent);
    return found;
  });
}

function answer(parents, named) {
  const reach = reachOf(parents);
  const distinct = [...new Set(named)];
  const heads = distinct.filter((a) => !distinct.some((b) => b !== a && reach[b].has(a)));
  const bases = [];
  for (const base of parents.keys()) {
    const isBase = heads.some((a, i) =>
      heads.slice(i + 1).some((b) => {
        const common = [...reach[a]].filter((each) => reach[b].has(each));
        return common.includes(base) && !common.some((other) => other !== base && reach[other].has(base));
      }),
    );
    if (isBase)
      bases.push({ base, heads: heads.filter((head) => reach[head].has(base)).sort((a, b) => a - b) });
  }
  return { parents, named, heads: heads.sort((a, b) => a - b), bases };
}

const histories = [
  answer([[], [0], [0]], [1, 2]),
  answer([[], [0], [0], [1, 2], [1, 2]], [3, 4]),
  answer([[], [0], [1], [2]], [3, 1]),
  answer([[], [0]], [1, 1]),
  answer([[], [0], [0], [0], [1, 2], [2, 3], [1, 3]], [4, 5, 6]),
];
for (let i = 0; i < 60; i++) {
  const parents = [[]];
  const size = 3 + random(14);
  while (parents.length < size) {
    const count = 1 + (random(3) === 0 ? 1 + random(2) : 0);
    const from = Math.max(0, parents.length - 6);
    const own = Array.from({ length: count }, () => from + random(parents.length - from));
    parents.push([...new Set(own)]);
  }
  histories.push(
    answer(
      parents,
      Array.from({ length: 2 + random(3) }, () => size - 1 - random(Math.min(size, 6))),
    ),
  );
}

const head = (major, n) =>
  n < 24
    ? Buffer.of((major << 5) | n)
    : n < 256
      ? Buffer.of((major << 5) | 24, n)
      : Buffer.of((major << 5) | 25, n >> 8, n & 255);
const b3 = (bytes) => execFileSync("b3sum", ["--no-names", "-"], { input: bytes }).toString().trim();

function digest(values) {
  const items = Object.entries(values)
    .map(([id, hex]) => [Number(id), Buffer.from(hex, "hex")])
    .sort(([a], [b]) => a - b);
  return b3(
    Buffer.concat([
      head(5, items.length),
      ...items.flatMap(([id, bytes]) => [head(0, id), head(2, bytes.length), bytes]),
    ]),
  );
}

const f64 = (x) => {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(x);
  return bytes.toString("hex");
};
const i64 = (x) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(x);
  return bytes.toString("hex");
};
const f32s = (...xs) => Buffer.from(Float32Array.from(xs).buffer).toString("hex");
const text = (x) => Buffer.from(x).toString("hex");

// The fields of merges.mjs: 0 vector, 1 string, 2 int, 3 float, 4 bool, 5 timestamp, 6 categorical, 7 image.
const digests = [
  [{}, {}],
  [{ v: [1, -0.5, 0.1] }, { 0: f32s(1, -0.5, 0.1) }],
  [{ s: "" }, { 1: "" }],
  [{ s: "été 👩" }, { 1: text("été 👩") }],
  [{ n: "5" }, { 2: i64(5n) }],
  [{ n: "-9223372036854775808" }, { 2: i64(-(2n ** 63n)) }],
  [{ f: "1" }, { 3: f64(1) }],
  [{ f: "-0" }, { 3: f64(-0) }],
  [{ f: "0.1" }, { 3: f64(0.1) }],
  [{ b: false }, { 4: "00" }],
  [{ b: true }, { 4: "01" }],
  [{ t: "1779083474791115000" }, { 5: i64(1779083474791115000n) }],
  [{ c: "cat" }, { 6: text("cat") }],
  [{ i: "ffd8ffd9" }, { 7: "ffd8ffd9" }],
  [
    { v: [0.5, 2, -3], s: "a", n: "1", f: "2.5", b: true, t: "0", c: "dog", i: "00".repeat(300) },
    {
      0: f32s(0.5, 2, -3),
      1: text("a"),
      2: i64(1n),
      3: f64(2.5),
      4: "01",
      5: i64(0n),
      6: text("dog"),
      7: "00".repeat(300),
    },
  ],
].map(([record, values]) => ({ record, digest: digest(values) }));

const lanes = [0, 1, 2, 4093, 4094, 4095, 4096, 8190].map((given) => ({ given, lane: 1 + (given % 4095) }));

const library = await import(new URL("../build/lib/index.js", import.meta.url));
const merges = await mergedDatasets(library, "scalar");

writeVectors("merge.json", {
  about:
    "spec/0008: histories (parents by number of state; the states named, the heads, and the bases with the heads that descend from each), digests of records, lanes, and merges of small datasets by the addresses they end with",
  histories,
  digests,
  lanes,
  merges,
});
