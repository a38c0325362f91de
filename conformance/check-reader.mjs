// Has the library write datasets that use everything, and reader.py, which knows only the specification, read them:
// every value must be the one appended, and every kind of damage must be reported. Run after a build:
//
//     node conformance/check-reader.mjs [--long] [--keep]
//
// --long adds a dataset of 4,200 appends, whose indexes have pages of level 1; --keep leaves the directories.
// Exit code 0: all well; 1: a mismatch; 3: python3-cbor2, python3-numpy or b3sum is missing.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildVamana } from "../build/lib/index/vamana.js";
import { Dataset, fsck, memoryStore, Schema } from "../build/lib/index.node.js";
import { loadKernels } from "../build/lib/kernels/load.js";
import { hash } from "../build/vendor/blake3.js";

const here = dirname(fileURLToPath(import.meta.url));
const python = "/usr/bin/python3";
const long = process.argv.includes("--long");
const keep = process.argv.includes("--keep");
const ORIGIN = 1_790_000_000_000_000_000n;

const missing = [
  ["python3-cbor2", python, ["-c", "import cbor2"]],
  ["python3-numpy", python, ["-c", "import numpy"]],
  ["b3sum", "b3sum", ["--version"]],
].filter(([, command, args]) => spawnSync(command, args).status !== 0);
if (missing.length > 0) {
  console.error(`NOT CHECKED: ${missing.map(([name]) => name).join(" and ")} missing. Install with`);
  console.error("    apt-get install -y --no-install-recommends python3-cbor2 python3-numpy b3sum");
  process.exit(3);
}

let problems = 0;
function problem(text) {
  problems++;
  console.error(`MISMATCH ${text}`);
}

// ------------------------------------------------------------------------------------------------ records

/** A small generator, so that every run writes the same records. */
let state = 2_463_534_242;
function random(below) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

const bytes = (length) => Uint8Array.from({ length }, () => random(256));
const often = (share, make) => (random(100) < share ? make() : undefined);
const pick = (list) => list[random(list.length)];

const INTS = [
  0,
  -1,
  1,
  2 ** 53 - 1,
  -(2 ** 53 - 1),
  2n ** 53n,
  -(2n ** 53n),
  2n ** 63n - 1n,
  -(2n ** 63n),
  255,
  -65_536,
];
const FLOATS = [
  0,
  -0,
  1.5,
  -1e300,
  Number.MAX_VALUE,
  Number.MIN_VALUE,
  -2.2250738585072014e-308,
  0.1,
  1e21,
  1e-7,
];
const TEXTS = [
  "",
  "a",
  "dritte été",
  "日本語",
  "😀 \ud83d\udc31",
  'quo"te\\ \n\t\r\b\f\0\u001f\u007f',
  "\u2028\u2029\ufeff",
  "__proto__",
  "x".repeat(3000),
];
const TIMES = [
  0n,
  -1n,
  2n ** 63n - 1n,
  -(2n ** 63n),
  1_790_000_000_000_000_001n,
  12,
  new Date(1_700_000_000_123),
];
const LABELS = ["cat", "dog", "Cat", "", "été", "😀", "z".repeat(300), "\uffff"];

/** A vector with a direction; some have subnormal, huge, negative zero or not yet rounded components. */
function vector(dim) {
  const x = Float32Array.from({ length: dim }, () => random(20_001) / 10_000 - 1);
  const kind = random(20);
  if (kind === 0) x.fill(0).set([random(2) ? 1 : -1], random(dim));
  if (kind === 1) x[0] = 1e-42;
  if (kind === 2) for (let i = 0; i < dim; i++) x[i] *= 1e15;
  if (kind === 3) for (let i = 0; i < dim; i++) x[i] *= 1e-15;
  if (x.every((component) => component === 0)) x[0] = 0.5;
  if (kind === 4) x[dim - 1] = -0;
  if (kind === 4 && dim > 1) x[0] = 1;
  return kind === 5 ? Array.from(x, (component) => component + 1e-9) : x;
}

/** Field by field in declared order, how to declare it and how to make a value (undefined: absent). */
const FULL = {
  Photo: [(s, n) => s.addImage(n, { mime: "png" }), () => bytes(random(50) ? random(900) : 0)],
  clip: [(s, n) => s.addVideo(n, { required: false }), () => often(5, () => bytes(2000 + random(20_000)))],
  "sound.left": [(s, n) => s.addAudio(n, { required: false }), () => often(30, () => bytes(random(3000)))],
  look: [
    (s, n) => s.addEmbedding(n, { dim: 24, algorithm: "dreamdb.lsh-cosine", lshBits: 6, lshTables: 2 }),
    () => vector(24),
  ],
  deep: [
    (s, n) =>
      s.addEmbedding(n, {
        dim: 100,
        algorithm: "dreamdb.lsh-cosine",
        lshBits: 11,
        lshTables: 3,
        rerank: false,
        required: false,
      }),
    () => often(70, () => vector(100)),
  ],
  wide: [
    (s, n) => s.addEmbedding(n, { dim: 130, algorithm: "dreamdb.lsh-cosine", lshBits: 4, required: false }),
    () => often(90, () => vector(130)),
  ],
  few: [
    (s, n) =>
      s.addEmbedding(n, {
        dim: 3,
        algorithm: "dreamdb.lsh-cosine",
        lshBits: 1,
        lshTables: 16,
        required: false,
      }),
    () => often(50, () => vector(3)),
  ],
  exact: [(s, n) => s.addEmbedding(n, { dim: 7, required: false }), () => often(60, () => vector(7))],
  label: [(s, n) => s.addScalarCategorical(n), () => pick(LABELS)],
  split: [
    (s, n) => s.addScalarCategorical(n, { required: false }),
    () => often(50, () => `split ${random(2000)}`),
  ],
  ok: [(s, n) => s.addScalarBool(n), () => random(2) === 1],
  maybe: [(s, n) => s.addScalarBool(n, { required: false }), () => often(40, () => random(2) === 1)],
  count: [(s, n) => s.addScalarInt(n), () => (random(2) ? pick(INTS) : random(1e6) - 5e5)],
  rare_int: [(s, n) => s.addScalarInt(n, { required: false }), () => often(3, () => pick(INTS))],
  weight: [
    (s, n) => s.addScalarFloat(n, { required: false }),
    () => often(80, () => (random(2) ? pick(FLOATS) : random(1e9) / 997)),
  ],
  "note-1": [(s, n) => s.addScalarString(n, { required: false }), () => often(60, () => pick(TEXTS))],
  at: [(s, n) => s.addScalarTimestamp(n, { required: false }), () => often(50, () => pick(TIMES))],
};
const SMALL = {
  v: [(s, n) => s.addEmbedding(n, { dim: 2, algorithm: "dreamdb.lsh-cosine", lshBits: 3 }), () => vector(2)],
  n: [(s, n) => s.addScalarInt(n), () => random(1000)],
};

const hex = (view) => Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString("hex");

/** A value as reader.py dumps it. */
function dumped(value, kind) {
  if (value instanceof Uint8Array) return createHash("sha256").update(value).digest("hex");
  if (kind === "embedding") return hex(Float32Array.from(value));
  if (kind === "float") return hex(Float64Array.of(value));
  if (kind === "timestamp")
    return String(value instanceof Date ? BigInt(value.getTime()) * 1_000_000n : value);
  if (kind === "int") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  return value;
}

/** A dataset being written, and the lines its refs must dump. */
class Written {
  static async create(name, fields, backend) {
    const written = new Written();
    written.fields = fields;
    written.now = ORIGIN;
    const schema = Object.entries(fields).reduce((s, [field, [declare]]) => declare(s, field), new Schema());
    written.ds = await Dataset.create(name, schema, backend, {
      clock: () => written.now,
      origin: written.now,
      writer: "check-reader",
    });
    written.kinds = Object.fromEntries(schema.fields.map((field) => [field.name, field.kind]));
    written.lines = new Map();
    return written;
  }

  record(anchor, only) {
    const record = anchor === undefined ? {} : { _anchor: anchor };
    for (const [name, [, make]] of Object.entries(this.fields)) {
      const value = only && !only(name) ? undefined : make();
      if (value !== undefined) record[name] = value;
    }
    return record;
  }

  async append(records) {
    this.now += 1_000_000n;
    const { anchors } = await this.ds.appendMany(records);
    for (const [i, record] of records.entries()) {
      const values = {};
      for (const name of Object.keys(this.fields)) {
        if (record[name] !== undefined) values[name] = dumped(record[name], this.kinds[name]);
      }
      this.lines.set(anchors[i], JSON.stringify({ anchor: String(anchors[i]), values }));
    }
    return anchors;
  }

  /** Deletes the records that `isGone` chooses by their place in time. */
  async remove(isGone) {
    const gone = [...this.lines.keys()].sort((a, b) => (a < b ? -1 : 1)).filter((_, i) => isGone(i));
    await this.ds.delete(gone, { reason: "check-reader" });
    for (const anchor of gone) this.lines.delete(anchor);
  }

  /** `count` records with automatic anchors. */
  automatic(count, only) {
    return this.append(Array.from({ length: count }, () => this.record(undefined, only)));
  }

  /** Records at these ticks, given in another order than time's. */
  at(ticks, only) {
    const records = ticks.map((tick) => this.record(ORIGIN + BigInt(tick), only));
    if (records.length > 2) records.reverse();
    return this.append(records);
  }

  expected() {
    return [...this.lines].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, line]) => line);
  }
}

/** Ascending ticks with irregular gaps, from `start`; `phase` 0 … 9 keeps runs apart that interleave. */
function irregular(start, count, phase) {
  let tick = BigInt(start);
  return Array.from({ length: count }, () => {
    tick += 10n * BigInt(1 + random(900));
    return tick + BigInt(phase);
  });
}

// ------------------------------------------------------------------------------------------------ datasets

async function writeAll(root) {
  const expected = new Map();
  const a = await Written.create("Lab/Run-A", FULL, root);
  expected.set("Lab/Run-A/V0.empty", a.expected());
  await a.ds.snapshot("Lab/Run-A/V0.empty");
  await a.automatic(40);
  await a.at(irregular(50_000_000_000, 300, 0));
  await a.ds.snapshot("Lab/Run-A/V1");
  expected.set("Lab/Run-A/V1", a.expected());
  await a.at(irregular(50_000_000_000, 280, 3)); // overlaps the run before
  await a.at(irregular(49_999_900_000, 200, 5)); // and begins earlier
  await a.at(Array.from({ length: 20 }, (_, i) => 7 + 1000 * i)); // evenly spaced, backdated
  for (let i = 0; i < 150; i++) {
    if (i % 5 === 4) await a.at(irregular(50_000_000_000 - 1_000_000 * i, 1 + (i % 3), 7));
    else
      await a.automatic(
        1 + (i % 3),
        i % 2 ? undefined : (name) => ["Photo", "look", "label", "ok", "count"].includes(name),
      );
  }
  await a.at(irregular(60_000_000_000, 5000, 1));
  await a.ds.snapshot("lab");
  expected.set("lab", a.expected());
  await a.at(irregular(60_000_000_000, 700, 2));
  const [big, huge, blank] = [a.record(), a.record(), a.record()];
  Object.assign(big, {
    Photo: bytes(200_001),
    clip: bytes(65_536),
    "sound.left": bytes(65_537),
    "note-1": "é".repeat(70_000),
  });
  Object.assign(huge, { Photo: bytes(65_535), clip: bytes(3_000_000), "note-1": "" });
  Object.assign(blank, { Photo: new Uint8Array(0), clip: new Uint8Array(0) });
  await a.append([blank, big, blank, huge, blank, a.record(), big]);
  expected.set("Lab/Run-A", a.expected());

  // A name that differs in case only; one block of anchors is not enough; the first and the last tick there is.
  const b = await Written.create("lab/run-a", SMALL, root);
  await b.at(irregular(0, 9000, 4));
  await b.at([0n, 2n ** 64n - 1n]);
  await b.at([2n ** 63n, 2n ** 63n + 1n, 2n ** 64n - 2n]);
  await b.automatic(20_000);
  expected.set("lab/run-a", b.expected());

  // Deleted records, from a snapshot that was made before too; the branch is compacted, twice, and written on.
  const c = await Written.create("gone", SMALL, root);
  await c.at(irregular(1000, 400, 1));
  await c.at(irregular(500, 300, 2));
  await c.automatic(200);
  await c.ds.snapshot("gone-before");
  const early = new Set(c.lines.keys());
  await c.remove((i) => i % 3 === 0);
  for (let i = 0; i < 70; i++) await c.remove((at) => at === 2 * i);
  await c.ds.compact();
  await c.automatic(50);
  await c.remove((i) => i % 40 === 7);
  await c.ds.snapshot("gone-compacted");
  expected.set("gone-compacted", c.expected());
  await c.ds.compact({ purge: true });
  expected.set("gone", c.expected());
  for (const anchor of c.lines.keys()) if (!early.has(anchor)) c.lines.delete(anchor);
  expected.set("gone-before", c.expected());
  await Written.create("empty", FULL, root);
  expected.set("empty", []);
  return expected;
}

/**
 * Purged, with what the purge put something in the place of gone: a snapshot and a branch of before are read through the redactions.
 * And the schema changed twice, so that batches have columns of a field that was dropped, and none of one that was added.
 */
async function writePurged(root) {
  const fields = {
    ...TRAINED,
    walked: WALKED.near,
    hashed: FULL.look,
    note: INDEXED.word,
    stars: INDEXED.stars,
  };
  const expected = new Map();
  const written = await Written.create("purged", fields, root);
  await written.automatic(120);
  await written.at(irregular(50_000_000_000, 90, 0));
  for (const field of ["cosine", "bare", "pairs", "bytes", "nibbles"])
    await written.ds.rebuildIvf({ field, k: 5, iterations: 2 });
  await written.ds.buildGraph({ field: "walked", degree: 8 });
  await written.at(irregular(50_000_000_000, 60, 5));
  await written.ds.snapshot("purged-before");
  const early = new Set(written.lines.keys());
  const branch = await written.ds.branch("purged-beside");
  await branch.close();
  await written.automatic(30);
  for (const chosen of [(i) => i % 4 === 1, (i) => i % 50 === 3]) {
    await written.remove(chosen);
    await written.ds.compact({ purge: true });
    const { purge } = await fsck(root, { purged: true });
    if (purge.remaining.some(({ why }) => why !== "unreachable"))
      problem("a purge left rows of deleted records");
    for (const { key } of purge.remaining) rmSync(join(root, key));
    const { ok } = await fsck(root, { purged: true });
    if (!ok) problem("fsck --purged finds something although all leftovers are gone");
  }
  const before = [...written.lines]
    .filter(([anchor]) => early.has(anchor))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  for (const ref of ["purged-before", "purged-beside"])
    expected.set(
      ref,
      before.map(([, line]) => line),
    );
  const { schema } = written.ds;
  const kept = schema.fields
    .filter(({ name }) => name !== "stars")
    .map((field) => ({ ...field, required: false }));
  const wider = new Schema(kept).addScalarBool("added", { required: false, index: true });
  await written.ds.updateSchema(wider, { drop: ["stars"] });
  for (const [anchor, line] of written.lines) {
    const { values, ...rest } = JSON.parse(line);
    delete values.stars;
    written.lines.set(anchor, JSON.stringify({ ...rest, values }));
  }
  delete written.fields.stars;
  written.fields.added = [undefined, () => often(50, () => random(2) === 1)];
  await written.automatic(40);
  expected.set("purged", written.expected());
  return expected;
}

/** Where a key lies below a directory; these names have no capitals. */
function pathOf(key) {
  if (key.startsWith("objects/")) return key;
  const names = key.split("/");
  return [...names.map((name, i) => name + (i < names.length - 1 ? "+" : "@")), "0000000000000001"].join("/");
}

async function layOut(root, pairs) {
  for await (const [key, value] of pairs) {
    await mkdir(dirname(join(root, pathOf(key))), { recursive: true });
    await writeFile(join(root, pathOf(key)), value);
  }
}

/** Appends in memory. Gives what was written, and the store's keys with their values. */
async function inMemory(name, fields, append) {
  const store = memoryStore(`check-reader-${name}`);
  const written = await Written.create(name, fields, store);
  await append(written);
  const pairs = [];
  for (const prefix of ["objects/", "refs/"]) {
    for await (const { key } of store.list(prefix)) pairs.push([key, (await store.get(key)).bytes]);
  }
  return { written, pairs };
}

/** Lays such a store out as a directory, for syncing every append there takes long. */
async function writeQuickly(root, name, fields, append) {
  const { written, pairs } = await inMemory(name, fields, append);
  await layOut(root, pairs);
  return new Map([[name, written.expected()]]);
}

const trained = (dim, options, share = 100) => [
  (s, n) => s.addEmbedding(n, { dim, required: share === 100, ...options }),
  () => often(share, () => vector(dim)),
];
const TRAINED = {
  cosine: trained(24, {}),
  bare: trained(7, { algorithm: "dreamdb.ivf-l2", compressor: "none" }, 60),
  rough: trained(130, {
    algorithm: "dreamdb.ivf-dot",
    rerank: false,
    compressor: { algorithm: "rabitq", bits: 1 },
  }),
  fine: trained(40, { algorithm: "dreamdb.ivf-l2", compressor: { algorithm: "rabitq", bits: 8 } }, 90),
  pairs: trained(25, { algorithm: "dreamdb.imi-cosine" }),
  plain: trained(2, { algorithm: "dreamdb.imi-cosine", compressor: "none" }, 80),
  later: trained(5, { algorithm: "dreamdb.imi-cosine" }),
  bytes: trained(10, { compressor: { algorithm: "pq", subspaces: 4 } }),
  nibbles: trained(
    13,
    { algorithm: "dreamdb.ivf-l2", compressor: { algorithm: "pq", subspaces: 5, bits: 4 } },
    90,
  ),
  bareBytes: trained(6, { algorithm: "dreamdb.ivf-dot", rerank: false }),
  pairBytes: trained(9, {
    algorithm: "dreamdb.imi-cosine",
    compressor: { algorithm: "pq", subspaces: 9, bits: 4 },
  }),
  label: FULL.label,
};

/** Indexes built by the library, appended to, built again; segments with rows of many batches. */
function writeTrained(root) {
  return writeQuickly(root, "trained", TRAINED, async (written) => {
    await written.automatic(300);
    await written.at(irregular(50_000_000_000, 200, 0));
    await written.at(irregular(50_000_000_000, 150, 5));
    for (const [field, k] of Object.entries({
      ...{ cosine: 17, bare: 3, rough: 1, fine: 40 },
      ...{ pairs: 700, plain: 9 },
      ...{ bytes: 12, nibbles: 7, pairBytes: 50 },
    }))
      await written.ds.rebuildIvf({ field, k, iterations: 3 });
    await written.automatic(70);
    await written.at(irregular(50_000_300_000, 90, 7));
    await written.ds.publishCompressor({ field: "bare", bits: 3 });
    await written.ds.publishCompressor({ field: "bareBytes", algorithm: "pq", subspaces: 2 });
    await written.ds.rebuildIvf({ field: "cosine", k: 9, sample: 200, seed: 5 });
    await written.automatic(3);
  });
}

const STEPPED = {
  cosine: trained(24, {}),
  bare: trained(7, { algorithm: "dreamdb.ivf-l2", compressor: "none" }, 60),
  nibbles: trained(
    13,
    { algorithm: "dreamdb.ivf-dot", compressor: { algorithm: "pq", subspaces: 5, bits: 4 } },
    90,
  ),
  label: FULL.label,
};

/** A step that splits the largest cell of each vector field, and leaves the others as they are. */
async function stepAll(ds) {
  for (const field of ["cosine", "bare", "nibbles"]) {
    const status = await ds.adaIvfStatus({ field });
    const splitAbove = Math.floor((status.imbalance * status.rows) / status.cells) - 1;
    const { manifest } = await ds.adaIvfStep({
      ...{ field, splitAbove, limit: 1, mergeBelow: 0 },
      ...{ recentre: 0, neighbours: 1, reassignAbove: 0 },
    });
    if (manifest === undefined) problem(`a step of ${field} had nothing to do`);
  }
}

/**
 * Steps of built indexes, one after the other, so that segments name indexes of several generations; on a branch others, so that both count
 * other rows of the segments they share; and a purge of all that. Then a compaction and a rebuild, which leave no lineage.
 */
async function writeStepped(root) {
  const expected = new Map();
  const written = await Written.create("stepped", STEPPED, root);
  await written.automatic(250);
  for (const field of ["cosine", "bare", "nibbles"])
    await written.ds.rebuildIvf({ field, k: 6, iterations: 2 });
  await written.automatic(40);
  const beside = Object.assign(new Written(), written, {
    ds: await written.ds.branch("stepped-beside"),
    lines: new Map(written.lines),
  });
  await stepAll(written.ds);
  await written.automatic(60);
  await stepAll(written.ds);
  await written.automatic(5);
  await written.ds.snapshot("stepped-once");
  const early = new Set(written.lines.keys());
  await beside.automatic(80);
  await stepAll(beside.ds);
  const before = [...written.lines.keys()];
  await written.remove((i) => i % 5 === 2);
  const gone = new Set(before.filter((anchor) => !written.lines.has(anchor)));
  await written.ds.compact({ purge: true });
  for (const { key } of (await fsck(root, { purged: true })).purge.remaining) rmSync(join(root, key));
  if (!(await fsck(root, { purged: true })).ok) problem("fsck finds something after a purge of steps");
  await written.ds.rebuildIvf({ field: "bare", k: 5, iterations: 1 });
  await written.automatic(20);
  expected.set("stepped", written.expected());
  for (const anchor of gone) beside.lines.delete(anchor);
  expected.set("stepped-beside", beside.expected());
  for (const anchor of written.lines.keys()) if (!early.has(anchor)) written.lines.delete(anchor);
  expected.set("stepped-once", written.expected());
  await written.ds.close();
  await beside.ds.close();
  return expected;
}

const WALKED = {
  near: trained(24, { algorithm: "dreamdb.vamana-cosine" }),
  l2: trained(7, { algorithm: "dreamdb.vamana-l2" }, 60),
  never: trained(3, { algorithm: "dreamdb.vamana-l2" }, 90),
  label: FULL.label,
};

/** Tracks with graphs: of some batches and of all, built once and again, and of no graph. */
function writeWalked(root) {
  return writeQuickly(root, "walked", WALKED, async (written) => {
    await written.automatic(300);
    await written.at(irregular(50_000_000_000, 200, 0));
    await written.ds.buildGraph({ field: "l2", degree: 8 });
    await written.at(irregular(50_000_000_000, 1100, 5));
    await written.ds.buildGraph({ field: "near", degree: 16, candidates: 60 });
    await written.automatic(30);
    await written.ds.buildGraph({ field: "l2", degree: 12 });
    await written.automatic(5);
  });
}

/** As many rows in a page's segments as it has ticks, for each of the tables. */
function writeDense(root) {
  const fields = { few: FULL.few, label: FULL.label };
  return writeQuickly(root, "dense", fields, async (written) => {
    for (let i = 0; i < 90; i++) await written.at([i]);
  });
}

/** An indexed scalar, of which `share` percent of the rows have a value. */
const indexed = (add, make, share = 100) => [
  (s, n) => s[add](n, { index: true, required: share === 100 }),
  () => often(share, make),
];
function counted(values) {
  let row = 0;
  return [indexed("addScalarInt", undefined, 0)[0], () => row++ % values];
}
const INDEXED = {
  label: indexed("addScalarCategorical", () => pick(LABELS)),
  split: indexed("addScalarCategorical", () => `split ${random(700)}`, 70),
  ok: indexed("addScalarBool", () => random(2) === 1),
  maybe: indexed("addScalarBool", () => random(9) === 1, 40),
  count: indexed("addScalarInt", () => (random(2) ? pick(INTS) : random(1e6) - 5e5)),
  stars: indexed("addScalarInt", () => random(40) - 20, 95),
  weight: indexed("addScalarFloat", () => (random(2) ? pick(FLOATS) : random(1e9) / 997 - 5e5), 80),
  grade: indexed("addScalarFloat", () => pick(FLOATS), 90),
  note: indexed("addScalarString", () => pick(TEXTS).slice(0, 200) + random(800), 60),
  word: indexed("addScalarString", () => pick(TEXTS.slice(0, -1)), 90),
  long: indexed("addScalarString", () => pick(TEXTS).slice(0, random(2) ? 512 : 513), 90),
  at: indexed("addScalarTimestamp", () => (random(3) ? pick(TIMES) : BigInt(random(1e9)) ** 2n), 50),
  rare: indexed("addScalarTimestamp", () => 5n, 1),
  // In 1,600 rows just few enough different values for bitmaps, and one too many.
  hundred: counted(100),
  more: counted(101),
  plain: FULL.count,
};

/** Scalar indexes of every kind of field; batches of many pages, of one row, without values, of several Roaring containers. */
function writeIndexed(root) {
  return writeQuickly(root, "indexed", INDEXED, async (written) => {
    await written.automatic(3000);
    await written.at(irregular(50_000_000_000, 700, 0));
    await written.automatic(20_000, (name) => !["note", "long"].includes(name));
    await written.automatic(1600, (name) =>
      ["label", "ok", "count", "plain", "hundred", "more"].includes(name),
    );
    await written.automatic(1);
    await written.automatic(40, (name) => ["label", "ok", "count", "plain"].includes(name));
    for (let i = 0; i < 70; i++) await written.automatic(1 + (i % 9));
  });
}

/** Rows for four Roaring containers and more: runs, bitsets and arrays of them. */
function writeManyRows(root) {
  let row = 0;
  const fields = {
    phase: indexed("addScalarInt", () => Math.floor(row / 90_000)),
    dice: indexed("addScalarBool", () => random(6) === 0, 99),
    gate: [indexed("addScalarBool", undefined, 0)[0], () => (row++ % 50_000 < 30_000 ? true : undefined)],
  };
  return writeQuickly(root, "many-rows", fields, (written) => written.automatic(270_000));
}

/** Indexes with pages of level 1. */
function writeLong(root) {
  return writeQuickly(root, "long", SMALL, async (written) => {
    for (let i = 0; i < 4200; i++) await written.automatic(1);
  });
}

/** Small, but with an index page, and a column and a segment of several blocks. */
function writeFragile(root) {
  const fields = { Photo: FULL.Photo, wide: FULL.wide, label: FULL.label };
  return writeQuickly(root, "fragile", fields, async (written) => {
    for (let i = 0; i < 66; i++) await written.automatic(1);
    await written.automatic(700);
  });
}

/** The backend in spec/examples, which the library did not write. */
async function writeTiny(root) {
  const { keys, expected } = JSON.parse(readFileSync(join(here, "../spec/examples/tiny.json"), "utf8"));
  await layOut(
    root,
    Object.entries(keys).map(([key, value]) => [key, Buffer.from(value, "hex")]),
  );
  // What 0005 §6 says a reader ignores.
  for (const path of [
    `tmp/${"0".repeat(32)}`,
    "refs+/TINY@/0000000000000001",
    "refs+/tiny@/2",
    "refs+/tiny=00@/0000000000000001",
    "objects/zz/x",
  ]) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), "junk");
  }
  const kinds = { photo: "image", embedding: "embedding", label: "categorical", note: "string" };
  const line = ({ _anchor, photo, ...rest }) => {
    const record =
      photo === undefined ? rest : { photo: Uint8Array.from(Buffer.from(photo, "hex")), ...rest };
    const values = {};
    for (const name of Object.keys(kinds))
      if (record[name] !== undefined) values[name] = dumped(record[name], kinds[name]);
    return JSON.stringify({ anchor: _anchor, values });
  };
  return new Map(
    ["tiny", "tiny-v1", "tiny-ivf"].map((ref) => [ref, expected[`records of refs/${ref}`].map(line)]),
  );
}

// ------------------------------------------------------------------------------------------------ checks

function runReader(root, ...args) {
  const run = spawnSync(python, [join(here, "reader.py"), root, ...args], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  return { code: run.status, out: run.stdout + run.stderr };
}

/** Dumps every ref of a directory and compares all lines. Gives what the reader printed. */
function compare(root, expected, work) {
  const total = runReader(root);
  console.log(total.out.trimEnd());
  if (total.code !== 0) problem(`reader.py on all refs: exit code ${total.code}`);
  for (const [ref, lines] of expected) {
    if (!total.out.includes(`ref ${ref}: `)) problem(`ref ${ref} was not found in the directory`);
    const file = join(work, "dump.jsonl");
    // Everything was checked above: no need to compute the cells again.
    const run = runReader(root, "--ref", ref, "--dump", file, "--cells", "0");
    if (run.code !== 0) problem(`ref ${ref}: exit code ${run.code}\n${run.out}`);
    const found = readFileSync(file, "utf8").split("\n").slice(0, -1);
    const differing = lines.findIndex((line, i) => line !== found[i]);
    if (found.length !== lines.length)
      problem(`ref ${ref}: ${found.length} records, ${lines.length} were appended`);
    else if (differing >= 0)
      problem(
        `ref ${ref}, record ${differing}:\n  expected ${lines[differing]}\n  found    ${found[differing]}`,
      );
    else console.log(`ref ${ref}: all values of ${lines.length} records are as appended`);
  }
  return total.out;
}

function files(root) {
  const found = [];
  for (const folder of readdirSync(join(root, "objects"))) {
    for (const name of readdirSync(join(root, "objects", folder))) {
      const path = join(root, "objects", folder, name);
      found.push({ name, path, bytes: readFileSync(path) });
    }
  }
  return found.sort((x, y) => (x.name < y.name ? -1 : 1));
}

const column = (kind) => (file) =>
  file.bytes.toString("latin1", 0, 4) === "DDBC" && file.bytes[6] === kind && file.bytes.readUInt32LE(16) > 2;
const segment = (file) =>
  file.bytes.toString("latin1", 0, 4) === "DDBS" && file.bytes.readUInt32LE(20) > 2 && file.bytes[6] === 1;
const cborOf = (kind) => (file) => file.bytes[0] !== 0x44 && file.bytes.includes(Buffer.from(kind));

/** Each does damage to one file, and says what must be among what is reported. */
function damages(root, manifest) {
  const all = files(root);
  const find = (test) => all.find(test) ?? problem("a file to damage is not there");
  const flip =
    (at, bit = 1) =>
    (data) => {
      data[at] ^= bit;
      return data;
    };
  const vectors = find(column(2));
  const media = find(column(3));
  const cells = find(segment);
  const page = find(cborOf("dreamdb.index-page"));
  const tip = find((file) => file.name === manifest);
  const genesis = find(cborOf("dreamdb.genesis"));
  const block1 = Number(vectors.bytes.readBigUInt64LE(48 + 48));
  const sectionOf = (file, at) => Number(file.bytes.readBigUInt64LE(at));
  const ref = join(root, pathOf("refs/fragile"));
  const refFile = { name: "ref fragile", path: ref, bytes: readFileSync(ref) };
  const wrong = "HashMismatch";
  return [
    [
      "a byte of a vector column's second block",
      vectors,
      flip(block1 + 5),
      [wrong, vectors.name, "wrong: block 1 "],
    ],
    [
      "a byte of a media column's last block",
      media,
      flip(media.bytes.length - 1),
      [wrong, media.name, "wrong: block "],
    ],
    ["a byte of a column's head", vectors, flip(9), [wrong, vectors.name, "its head is wrong"]],
    ["a byte of padding", vectors, flip(sectionOf(vectors, 32) - 1), [wrong, vectors.name]],
    ["a byte of a segment's head", cells, flip(201), [wrong, cells.name, "its head is wrong"]],
    [
      "a byte of a segment's vectors",
      cells,
      flip(sectionOf(cells, 176) + 3),
      [wrong, cells.name, "wrong: vectors of block 0 "],
    ],
    [
      "a byte of a segment's anchors",
      cells,
      flip(sectionOf(cells, 128)),
      [wrong, cells.name, "wrong: anchors of block 0 "],
    ],
    ["a byte of the tip's Manifest", tip, flip(tip.bytes.length >> 1), [wrong, tip.name]],
    ["a byte of an index page", page, flip(page.bytes.length >> 1), [wrong, page.name]],
    ["a byte of the Genesis", genesis, flip(genesis.bytes.length - 1), [wrong, genesis.name]],
    [
      "a byte of a ref, in its inline Manifest",
      refFile,
      flip(refFile.bytes.indexOf("timeline") + 30),
      [refFile.name],
    ],
    [
      "a byte of a ref, in its kind",
      refFile,
      flip(refFile.bytes.indexOf("dreamdb.ref")),
      ["Corrupt", refFile.name],
    ],
    ["an object cut short by a byte", vectors, (data) => data.subarray(0, -1), [wrong, vectors.name]],
    ["an object cut to nothing", cells, () => Buffer.alloc(0), [wrong, cells.name]],
    [
      "an object with a byte more",
      media,
      (data) => Buffer.concat([data, Buffer.alloc(1)]),
      [wrong, media.name],
    ],
    ["a container that is gone", media, undefined, ["NotFound", media.name]],
    ["an index page that is gone", page, undefined, ["NotFound", page.name]],
    ["a Manifest that is gone", tip, undefined, ["NotFound", tip.name]],
    ["a ref that is gone", refFile, undefined, ["NotFound: no ref "]],
  ];
}

async function checkDamages(root) {
  const manifest = (await Dataset.open("fragile", { backend: root })).currentManifest();
  const list = damages(root, manifest);
  let reported = 0;
  for (const [what, file, damage, wanted] of list) {
    if (damage) await writeFile(file.path, damage(Buffer.from(file.bytes)));
    else rmSync(file.path);
    if (reports(what, root, (line) => wanted.every((text) => line.includes(text)), wanted.join(", ")))
      reported++;
    await writeFile(file.path, file.bytes);
  }
  console.log(`${reported} of ${list.length} kinds of damage were reported`);
  const after = runReader(root);
  if (after.code !== 0) problem(`after the damage was undone: ${after.out}`);
}

/** Whether the reader reports what it must, in a failure of its own making. */
function reports(what, root, test, wanted) {
  const run = runReader(root, "--cells", "50");
  const fails = run.out.split("\n").filter((line) => line.startsWith("FAIL "));
  if (run.code === 1 && fails.some(test) && !run.out.includes("stumbled")) return true;
  problem(`${what}: exit code ${run.code}, wanted ${wanted}; got\n  ${fails.slice(0, 5).join("\n  ")}`);
  return false;
}

/** Damage with right hashes, to tiny.json: what is changed, which bytes a block hash covers, and what must be reported. */
const TAMPERINGS = [
  ["a cell that is not the vectors'", "segment", put(200, 5), [], "Corrupt", "its vector in 4"],
  ["a cell beyond the hyperplanes", "segment", put(200, 8), [], "Corrupt", "out of order or range"],
  [
    "an anchor in a segment",
    "segment",
    put(321, 0xc0),
    [[320, 324]],
    "Corrupt",
    "no record at offset [8000]",
  ],
  ["an anchor beyond the span", "segment", put(323, 3), [[320, 324]], "Corrupt", "beyond span"],
  ["a varint that runs on", "segment", put(323, 0x82), [[320, 324]], "Corrupt", "varint"],
  ["a vector in a segment", "segment", put(384, 1), [[384, 432]], "Corrupt", "is not the column's"],
  ["another SpatialIndex", "segment", put(40, 0), [], "LineageMismatch", "another SpatialIndex"],
  ["a code", "coded", flipAt(408), [[384, 528]], "Corrupt", "the code of row 1 is"],
  ["a factor of a code", "coded", flipAt(447), [[384, 528]], "Corrupt", "the code of row 2 is"],
  ["a block hash of codes", "coded", flipAt(288), [], "HashMismatch", "codes of block 0"],
  ["a cell beyond the centroids", "coded", put(208, 2), [], "Corrupt", "out of order or range"],
  ["another VectorCompressor", "coded", flipAt(60), [], "LineageMismatch", "another VectorCompressor"],
  ["a compressor without codes", "coded", put(6, 1), [], "Corrupt", "flags 1, a compressor"],
  ["reserved bytes of a segment", "coded", put(160, 1), [], "Corrupt", "reserved bytes"],
  ["centroids that move", "centroids", flipAt(80), [], "Corrupt", "the code of row"],
  ["centroids that change places", "centroids", swap(64, 80, 16), [], "Corrupt", "stands in cell"],
  ["a centroid that is not finite", "centroids", put(66, 0x80, 0x7f), [], "Corrupt", "not finite"],
  ["a centroid too many", "centroids", put(8, 3), [], "Corrupt", "3 x 4 in 96 bytes"],
  ["another exponent", "trained", after("", "exponent", 3), [], "Corrupt", "the code of row"],
  ["another number of cells", "trained", after("", "cells", 3), [], "Corrupt", "there are 2"],
  ["another rotation", "compressor", after("", "seedX ", 0), [], "Corrupt", "the code of row"],
  ["another number of bits", "compressor", after("", "bits", 3), [], "Corrupt", "codes at"],
  ["a compressor's padding", "compressor", after("", "padded", 15), [], "Corrupt", "padded 15"],
  ["a block hash of a segment", "segment", put(216, 0), [], "HashMismatch", "anchors of block 0"],
  ["a block hash of a column", "label", put(64, 0), [], "HashMismatch", "block 0"],
  ["a code beyond the dictionary", "label", put(132, 2), [[128, 140]], "Corrupt", "beyond the dictionary"],
  ["a dictionary out of order", "label", put(100, 0x7a), [], "Corrupt", "dictionary is out of order"],
  ["a flag to come", "label", put(28, 2), [], "UnsupportedVersion", "flags 2"],
  ["a version to come", "label", put(4, 2), [], "UnsupportedVersion", "version 2"],
  ["another type", "label", put(7, 2), [], "Corrupt", "kind, type, width, rows"],
  ["more blocks than bytes", "label", put(16, 3), [], "Corrupt", "headBytes"],
  ["malformed UTF-8", "note", put(152, 0xff), [[128, 169]], "Corrupt", "malformed UTF-8"],
  ["presence beyond the rows", "note", put(128, 13), [[128, 169]], "Corrupt", "presence bits"],
  ["an absent row that is not empty", "note", put(140, 4), [[128, 169]], "Corrupt", "not empty"],
  ["offsets out of order", "note", put(140, 6), [[128, 169]], "Corrupt", "offsets out of order"],
  ["a component that is not finite", "vectors", put(130, 0x80, 0x7f), [[128, 176]], "Corrupt", "not finite"],
  ["anchors out of order", "anchors", put(136, 0x44), [[128, 152]], "Corrupt", "anchors out of order"],
  ["anchors unlike the span", "anchors", put(144, 0x44), [[128, 152]], "Corrupt", "span 8003"],
  ["a row count", "manifest", after("timeline", "rows", 7), [], "Corrupt", "rows"],
  ["a step", "manifest", after("timeline", "\x03\x19\x10", 1), [], "Corrupt", "step 4097"],
  ["a seq", "manifest", after("", "seq", 3), [], "Corrupt", "the Manifest's is 3"],
  ["a Manifest to come", "manifest", after("genesis", "version", 2), [], "UnsupportedVersion", "version 2"],
  ["another kind", "manifest", after("", "dreamdb.m", 0x42), [], "Corrupt", "kind"],
  [
    "CBOR in another form",
    "genesis",
    (data) => Buffer.concat([data.subarray(0, -1), Buffer.of(0x18, 1)]),
    [],
    "Corrupt",
    "not deterministic",
  ],
];

/** Sets bytes at an offset. */
function put(at, ...values) {
  return (data) => {
    data.set(values, at);
    return data;
  };
}

function flipAt(at) {
  return (data) => put(at, data[at] ^ 1)(data);
}

/** Two runs of bytes change places. */
function swap(a, b, length) {
  return (data) =>
    put(b, ...data.subarray(a, a + length))(put(a, ...data.subarray(b, b + length))(data.slice()));
}

/** Sets the byte that follows a text that comes after another. */
function after(first, text, value) {
  return (data) => put(data.indexOf(text, data.indexOf(first), "latin1") + text.length, value)(data);
}

/** tiny.json's keys with one object changed, and all hashes above it made anew: a hostile writer's work. */
function tamper(keys, [, name, change, covered]) {
  const is = (magic, kind, type) => (data) =>
    data.toString("latin1", 0, 4) === magic && (kind === undefined || (data[6] === kind && data[7] === type));
  const find = {
    segment: (data) => is("DDBS")(data) && data.readUInt32LE(16) === 1,
    label: (data) => is("DDBC", 1, 5)(data) && !data.includes("bird"),
    note: is("DDBC", 1, 4),
    vectors: (data) => is("DDBC", 2, 7)(data) && data.includes(Buffer.from("000080bf00000040", "hex")),
    anchors: is("DDBC", 4, 9),
    manifest: (data) =>
      data.includes("dreamdb.manifest") &&
      data.includes("seq\x02", 0, "latin1") &&
      data.includes("lsh-cosine"),
    genesis: (data) => data.includes("dreamdb.genesis"),
    coded: (data) => is("DDBS")(data) && data[6] === 3,
    centroids: is("DDBK"),
    books: (data) => is("DDBK")(data) && data.readUInt32LE(8) === 16,
    trained: (data) => data.includes("exponent") && data.includes("iterations") && data.length < 300,
    compressor: (data) => data.includes("dreamdb.vector-compressor") && data.length < 200,
    lineage: (data) => data.includes("dreamdb.cell-lineage"),
    scalars: is("DDBI"),
    graphIndex: (data) => data.includes("dreamdb.graph-index"),
    graphOf: (data) =>
      data.includes("dreamdb.spatial-index") && data.includes("egraph") && !data.includes("dreamdb.manifest"),
    indexed: (data) => data.includes("dreamdb.manifest") && data.includes("eindex"),
  }[name];
  const values = new Map(Object.entries(keys).map(([key, value]) => [key, Buffer.from(value, "hex")]));
  const [key] = [...values].find(([k, data]) => k.startsWith("objects/") && find(data));
  const before = values.get(key);
  let now = change(Buffer.from(before));
  for (const [start, end] of covered) {
    now = replaced(now, hash(before.subarray(start, end)), hash(now.subarray(start, end)));
  }
  const changes = [[key, before, now]];
  for (const [changed, old, fresh] of changes) {
    const [from, to] = [hash(old), hash(fresh)];
    // A long ContainerRef also has the hash of the head.
    const head = old.toString("latin1", 0, 4) === "DDBI" ? Number(old.readBigUInt64LE(24)) : 0;
    const [fromHead, toHead] = [hash(old.subarray(0, head)), hash(fresh.subarray(0, head))];
    values.delete(changed);
    values.set(changed.startsWith("objects/") ? keyOf(to) : changed, fresh);
    if (!changed.startsWith("objects/")) continue;
    for (const [other, data] of [...values]) {
      // A ref has the Manifest's own bytes too.
      const copied = fresh.length === old.length ? replaced(data, old, fresh) : data;
      const named = replaced(copied, from, to);
      const next = head > 0 ? replaced(named, fromHead, toHead) : named;
      if (next.equals(data)) continue;
      // Of several changes to one object the last counts; its first bytes are what others name it by.
      const known = changes.findIndex(
        ([k], i) => i > changes.findIndex((c) => c[0] === changed) && k === other,
      );
      if (known >= 0) changes[known][2] = next;
      else changes.push([other, data, next]);
      values.set(other, next);
    }
  }
  return values;
}

function replaced(data, from, to) {
  const copy = Buffer.from(data);
  for (let at = copy.indexOf(from); at >= 0; at = copy.indexOf(from, at + 1)) copy.set(to, at);
  return copy;
}

function keyOf(digest) {
  let bits = BigInt(`0x1e20${Buffer.from(digest).toString("hex")}`) << 3n;
  let text = "";
  for (let i = 0; i < 55; i++, bits >>= 5n)
    text = "abcdefghijklmnopqrstuvwxyz234567"[Number(bits & 31n)] + text;
  return `objects/${text.slice(4, 6)}/${text}`;
}

async function checkTamperings(work) {
  const { keys } = JSON.parse(readFileSync(join(here, "../spec/examples/tiny.json"), "utf8"));
  let reported = 0;
  for (const tampering of TAMPERINGS) {
    const root = mkdtempSync(join(work, "tampered-"));
    await layOut(root, tamper(keys, tampering));
    const [what, , , , code, text] = tampering;
    const test = (line) => line.startsWith(`FAIL ${code}:`) && line.includes(text);
    if (reports(what, root, test, `${code} … ${text}`)) reported++;
  }
  console.log(`${reported} of ${TAMPERINGS.length} kinds of tampering, hashes made right, were reported`);
}

// ------------------------------------------------------------------------------------------------ scalar indexes

/** 300 rows with every form of tree: bitmaps and rows, with and without presence, two pages, an array, runs. */
async function indexedKeys() {
  let row = 0;
  const partly = (add, make) => [indexed(add, make, 0)[0], make];
  const fields = {
    label: partly("addScalarCategorical", () =>
      row % 3 ? ["cat", "dog", "emu", "cat"][(row % 7) >> 1] : undefined,
    ),
    n: indexed("addScalarInt", () => (row * 37) % 300),
    phase: indexed("addScalarInt", () => Math.floor(row / 100)),
    text: partly("addScalarString", () => (row % 2 ? `t${row % 90}` : undefined)),
    ok: indexed("addScalarBool", () => row++ % 4 === 0),
    plain: SMALL.n,
  };
  const { pairs } = await inMemory("scalars", fields, (written) => written.automatic(300));
  return Object.fromEntries(pairs.map(([key, value]) => [key, Buffer.from(value).toString("hex")]));
}

/** The tables of a ScalarIndex: of every tree where its row is, and its blocks with where their hashes stand. */
function treesOf(data) {
  const trees = [];
  let page = 48 + 64 * data.readUInt32LE(12);
  for (let i = 0; i < data.readUInt32LE(12); i++) {
    const at = 48 + 64 * i;
    const tree = { at, presence: Number(data.readBigUInt64LE(at + 24)), pages: [], blocks: [] };
    const length = data.readUInt32LE(at + 20);
    if (length > 0) tree.blocks.push([tree.presence, tree.presence + length, at + 32]);
    for (let n = data.readUInt32LE(at + 16); n > 0; n--, page += 48) {
      const offset = Number(data.readBigUInt64LE(page));
      tree.pages.push({ at: page, offset });
      tree.blocks.push([offset, offset + data.readUInt32LE(page + 8), page + 16]);
    }
    trees.push(tree);
  }
  return trees;
}

/** Changes an index and makes the hashes in its head right again. `change` gets the bytes and the trees by field. */
function indexChange(change) {
  return (data) => {
    const trees = treesOf(data);
    const [label, n, phase, text, ok] = trees;
    change(data, { label, n, phase, text, ok });
    for (const { blocks } of trees)
      for (const [start, end, at] of blocks) data.set(hash(data.subarray(start, end)), at);
    return data;
  };
}

/** Where a tree's first keys begin, and its first bitmap: for fields of one page. */
const keysOf = (data, { at, pages: [{ offset }] }) => {
  const n = data.readUInt32LE(at + 12);
  const [text, bitmaps] = [data[at + 4] >= 4, data[at + 5] === 1];
  const keys = offset + 4 * n + (text ? 4 * (n + 1) : 0);
  const size = text ? data.readUInt32LE(keys - 4) : (data[at + 4] === 1 ? 1 : 8) * n;
  return { keys, bitmap: bitmaps ? keys + size : undefined };
};
/** Adds to bytes, given in turn as where and how much. */
function add(data, at, value, ...more) {
  data[at] += value;
  if (more.length > 0) add(data, ...more);
}
const headKeys = (data) => 48 + 64 * data.readUInt32LE(12) + 48 * data.readUInt32LE(16);

/** As TAMPERINGS, to an index whose block hashes are made right as well. */
const INDEX_TAMPERINGS = [
  [
    "a row of a bitmap",
    (d, { label }) => add(d, keysOf(d, label).bitmap + 16, 2),
    "other rows than the entries",
  ],
  [
    "a row that has no value",
    (d, { label }) => add(d, keysOf(d, label).bitmap + 16, -1, label.presence + 16, -1),
    "row 0 under key",
  ],
  [
    "a row of form 2",
    (d, { n }) => d.copy(d, n.pages[0].offset, n.pages[0].offset + 4, n.pages[0].offset + 8),
    "a row twice",
  ],
  ["rows of form 2 that change places", (d, { n }) => swap4(d, n.pages[0].offset), "under key"],
  ["a row beyond the batch", (d, { n }) => add(d, n.pages[1].offset + 1, 2), "of 300"],
  [
    "equal keys with rows out of order",
    (d, { text }) => swap4(d, text.pages[0].offset),
    "keys and rows out of order",
  ],
  ["a key", (d, { n }) => add(d, n.pages[0].offset + 4 * 256 + 8 * 20 + 6, 1), "out of order"],
  ["a last key", (d, { phase }) => add(d, keysOf(d, phase).keys + 23, 1), "under key 8000000000000003"],
  ["a first key in a page", (d, { phase }) => add(d, keysOf(d, phase).keys, -1), "the head says"],
  ["a first key in the head", (d) => add(d, headKeys(d) + 4 + 2, 1), "the head says"],
  [
    "first keys of a tree out of order",
    (d) => d.fill(0, headKeys(d) + 7 + 8, headKeys(d) + 7 + 16),
    "first keys out of order",
  ],
  ["a first key that runs on", (d) => add(d, headKeys(d) + 1, 1), "first keys end early"],
  [
    "a key offset",
    (d, { text }) => add(d, text.pages[0].offset + 4 * 150 + 8, 9),
    "key offsets out of order",
  ],
  ["a bitmap's length", (d, { label }) => add(d, label.pages[0].offset, 1), "are left"],
  [
    "lengths of two bitmaps",
    (d, { label }) => add(d, label.pages[0].offset, 2, label.pages[0].offset + 4, -2),
    "after the last container|cookie",
  ],
  ["a bitmap's cookie", (d, { label }) => add(d, keysOf(d, label).bitmap, 3), "cookie"],
  [
    "a bitmap's number of containers",
    (d, { label }) => add(d, keysOf(d, label).bitmap + 4, 1),
    "the one before ends at 24",
  ],
  [
    "a bitmap's cardinality",
    (d, { label }) => add(d, keysOf(d, label).bitmap + 10, 1),
    "pass the end|numbers, its head|out of order|at 16",
  ],
  [
    "a bitmap's offset",
    (d, { label }) => add(d, keysOf(d, label).bitmap + 12, 2),
    "the one before ends at 16",
  ],
  ["a bitmap of other numbers", (d, { label }) => add(d, keysOf(d, label).bitmap + 8, 1), "rows 300"],
  [
    "a run's length",
    (d, { phase }) => add(d, keysOf(d, phase).bitmap + 13, 1),
    "rows 300|numbers, its head says",
  ],
  ["a run's start", (d, { phase }) => add(d, keysOf(d, phase).bitmap + 11, 1), "a row twice|under key"],
  ["a presence bitmap", (d, { label }) => add(d, label.presence + 16, -1), "presence bitmap has other rows"],
  ["a presence that is nowhere", (d, { label }) => add(d, label.at + 24, 64), "the one before ends at"],
  ["presence of a tree that has all rows", (d, { ok }) => add(d, ok.at + 20, 8), "presenceBytes 8"],
  ["a number of present rows", (d, { label }) => add(d, label.at + 8, 1), "present 201"],
  ["a number of entries", (d, { label }) => add(d, label.at + 12, 1), "key offsets out of order"],
  ["entries unlike the present rows", (d, { n }) => add(d, n.at + 12, -1), "entries 299, present 300"],
  ["a number of pages", (d, { n }) => add(d, n.at + 16, -1), "pages 6, the trees' "],
  ["a page's first entry", (d, { n }) => add(d, n.pages[1].at + 13, 1), "pages of"],
  ["a page's offset", (d, { phase }) => add(d, phase.pages[0].at, 64), "the one before ends at|from"],
  ["a page's length", (d, { phase }) => add(d, phase.pages[0].at + 8, 1), "are left|the one before"],
  ["a type", (d, { phase }) => add(d, phase.at + 4, 4), "type 6, the column's is 2"],
  ["a type that is none", (d, { phase }) => add(d, phase.at + 4, 5), "type 7"],
  ["a form that is none", (d, { phase }) => add(d, phase.at + 5, 2), "form 3"],
  ["reserved bytes of a tree", (d, { phase }) => add(d, phase.at + 6, 1), "reserved bytes"],
  ["reserved bytes of the head", (d) => add(d, 40, 1), "reserved bytes"],
  ["a field without index", (d, { ok }) => add(d, ok.at, 1), "has no index"],
  ["fields out of order", (d, { ok }) => add(d, ok.at, -1), "fields out of order"],
  ["another number of rows", (d) => add(d, 8, 1), "the batch has 300"],
  ["a number of trees", (d) => add(d, 12, -5), "no trees"],
  ["a length of keys", (d) => add(d, 20, 1), "after the last first key"],
  ["a total length", (d) => add(d, 32, 1), "totalBytes"],
  ["another magic", (d) => add(d, 3, 1), "magic"],
  ["a flag to come", (d) => add(d, 6, 1), "flags 1", "UnsupportedVersion"],
  ["a version to come", (d) => add(d, 4, 1), "version 2", "UnsupportedVersion"],
  [
    "padding that is not zero",
    (d, { phase }) => add(d, phase.pages[0].offset - 1, 1),
    "padding before it",
    "Writer",
  ],
];

function swap4(data, at) {
  const first = data.readUInt32LE(at);
  data.writeUInt32LE(data.readUInt32LE(at + 4), at);
  data.writeUInt32LE(first, at + 4);
}

async function checkIndexTamperings(work) {
  const keys = await indexedKeys();
  const plainly = [
    ["a page's hash", (d) => put(treesOf(d)[1].pages[1].at + 20, 1)(d), "page 2", "HashMismatch"],
    ["the key of a field", after("", "eindex", 0xf4), "index False", "Corrupt", "indexed"],
    ["a presence hash", (d) => put(treesOf(d)[0].at + 33, 1)(d), "presence of tree 0", "HashMismatch"],
  ];
  const all = INDEX_TAMPERINGS.map(([what, change, ...rest]) => [what, indexChange(change), ...rest]);
  let reported = 0;
  for (const [what, change, text, code = "Corrupt", file = "scalars"] of [
    ["nothing", (d) => d, "0 failed", ""],
    ...all,
    ...plainly,
  ]) {
    const root = mkdtempSync(join(work, "tampered-"));
    await layOut(root, tamper(keys, ["", file, change, []]));
    const test = (line) => line.startsWith(`FAIL ${code}:`) && new RegExp(text).test(line);
    if (what === "nothing") {
      const run = runReader(root);
      if (run.code !== 0) problem(`the indexed dataset before it is tampered with:\n${run.out}`);
    } else if (reports(`${what} of a scalar index`, root, test, `${code} … ${text}`)) reported++;
  }
  console.log(
    `${reported} of ${all.length + plainly.length} kinds of tampering with a scalar index were reported`,
  );
}

// ------------------------------------------------------------------------------------------------ graph indexes

/** The six vectors of tiny-ivf in time order, whose graph stands in spec/0013. */
const TINY_ROWS = [
  [1000n, -1, 2, 0, 0.5],
  [8192n, 1, 0, 0, 0],
  [9001n, 1, 0.125, 0, 0],
  [9003n, 0, 0, -3, 0],
  [12288n, 0.5, -0.5, 0.25, 1],
  [16384n, 0.75, 0.25, 0, 0.5],
];

/** [tick, ...components] of every row, some alike. */
const graphRows = (n, dim) => {
  const rows = Array.from({ length: n }, (_, i) => [2n ** 60n - BigInt(i) * 977n, ...vector(dim)]);
  return rows.map(([tick, ...x], i) => [tick, ...(i % 50 === 7 ? rows[i >> 1].slice(1) : x)]);
};
const someZeros = (rows) => rows.map((row, i) => (i % 90 === 5 ? [row[0], ...row.slice(1).fill(0)] : row));

/** What to build: of each metric, of one block and several, of several pages, with rows that have no direction or codes. */
const GRAPHS = () => [
  { name: "tiny", metric: "l2", exponent: 2, degree: 4, cells: 1, iterations: 2, rows: TINY_ROWS },
  { name: "one", metric: "cosine", degree: 4, rows: graphRows(1, 3) },
  { name: "cosine", metric: "cosine", degree: 16, cells: 20, iterations: 3, rows: graphRows(2500, 24) },
  {
    name: "l2",
    metric: "l2",
    exponent: 51,
    degree: 8,
    candidates: 40,
    rows: someZeros(graphRows(1200, 130)),
  },
  {
    name: "far",
    metric: "l2",
    exponent: -140,
    degree: 8,
    rows: [
      [1n, 1e-44, 0],
      [2n, 0, 2e-42],
      [4n, 0, -1e-40],
    ],
  },
  { name: "pages", metric: "cosine", degree: 64, cells: 3, probes: 3, rows: graphRows(300, 20_000) },
];

const text = (digest) => keyOf(digest).slice(11);

/** Builds a graph and lays its objects out. Gives its address, its pages, and the file of its rows. */
async function writeGraph(root, kernels, { name, rows, metric, exponent = 0, ...options }) {
  const dim = rows[0].length - 1;
  const ticks = BigUint64Array.from(rows, ([tick]) => tick);
  const stored = Float32Array.from(rows.flatMap(([, ...x]) => x));
  const file = join(root, "rows");
  await mkdir(root, { recursive: true });
  await writeFile(
    file,
    Buffer.concat(
      rows.flatMap((_, i) => [
        Buffer.from(ticks.slice(i, i + 1).buffer),
        Buffer.from(stored.slice(i * dim, (i + 1) * dim).buffer),
      ]),
    ),
  );
  const vectors = kernels.copyIn(toIndexSpace(stored, dim, metric, exponent));
  const built = await buildVamana({
    kernels,
    metric,
    exponent,
    vectors,
    n: rows.length,
    dim,
    ticks,
    ...options,
  });
  kernels.free(vectors);
  const objects = [...built.pages.map(({ bytes }) => bytes), built.bytes];
  await layOut(
    root,
    objects.map((bytes) => [keyOf(hash(bytes)), bytes]),
  );
  return {
    name,
    file,
    index: Buffer.from(built.bytes),
    pages: built.pages.map(({ bytes }) => Buffer.from(bytes)),
  };
}

/** spec/0013 §2, which the library's own datasets do in a kernel. */
function toIndexSpace(stored, dim, metric, exponent) {
  const found = stored.slice();
  for (let at = 0; at < found.length; at += dim) {
    let square = 0;
    for (let k = at; k < at + dim; k++) square = Math.fround(square + Math.fround(stored[k] * stored[k]));
    const by = metric === "cosine" ? Math.fround(1 / Math.fround(Math.sqrt(square))) : 2 ** -exponent;
    for (let k = at; k < at + dim; k++) found[k] = stored[k] * by;
  }
  return found;
}

function runGraphReader(root, digest, file) {
  const run = spawnSync(python, [join(here, "graph.py"), root, text(digest), file], { encoding: "utf8" });
  return { code: run.status, out: run.stdout + run.stderr };
}

/** Damage with right hashes, to the page of the graph "tiny": six nodes of four components from byte 128 on. */
const GRAPH_TAMPERINGS = [
  ["a code", put(224, 0xc1), "the codes of node 0"],
  ["a code of -128", put(238, 0x80), "a code of -128"],
  ["a scale", flipAt(176), "the scale of node 0"],
  ["a scale below 0", put(179, 0xbb), "the scale of node 0 is not finite, or below 0"],
  ["a half that is not finite", put(202, 0x80, 0x7f), "the half of node 0 is not finite"],
  ["a half", flipAt(200), "the half of node 0"],
  ["an anchor", flipAt(128), "no record with a vector for node 0"],
  ["an anchor twice", put(144, 0xe8, 0x03), "two nodes of one tick"],
  ["a neighbour beyond the graph", put(249, 12), "neighbour 6 of 6 nodes"],
  ["a neighbour below 0", put(249, 1), "neighbour -1 of 6 nodes"],
  ["a neighbour that is the node", put(249, 0), "the node itself"],
  ["a difference of 0", put(252, 0), "difference 0"],
  ["a list that is too long", put(265, 5), "5 neighbours, degree 4"],
  ["a list that runs on", put(255, 4), "neighbour 7 of 6 nodes"],
  ["a varint that runs on", put(267, 0x81), "a varint passes its block"],
  ["a list that ends early", put(265, 1), "bytes after the last list"],
  ["a node that is not reached", put(249, 4, 1), "5 of 6 nodes are reached", "Writer"],
  ["a first node", put(8, 1), "firstNode, nodes"],
  ["a number of nodes", put(12, 7), "firstNode, nodes"],
  ["a dimension", put(16, 5), "firstNode, nodes"],
  ["a degree", put(20, 8), "firstNode, nodes"],
  ["a number of blocks", put(32, 2), "firstNode, nodes"],
  ["reserved bytes", put(36, 1), "reserved bytes"],
  ["a head's length", put(40, 0xc0), "headBytes 192"],
  ["a total length", put(48, 0x0d), "totalBytes"],
  ["a block's offset", put(64, 0xc0), "offset 192"],
  ["a block's length", put(72, 0x8b), "passes its block"],
  ["a block's first node", put(76, 1), "block 0: firstNode 1"],
  ["a page without halves", put(6, 0), "flags 0 with l2"],
  ["another magic", put(3, 0x48), "magic"],
  ["a flag to come", put(6, 3), "flags 3", "UnsupportedVersion"],
  ["a version to come", put(4, 2), "version 2", "UnsupportedVersion"],
  ["padding that is not zero", put(120, 1), "padding of the head", "Writer"],
];
const GRAPH_INDEX_TAMPERINGS = [
  ["more heads than nodes", after("", "heads", 7), "heads is 7"],
  ["more heads than cells", after("", "heads", 2), "2 heads of 1 cells|1 entries of 2 heads", "Writer"],
  ["no entries", after("", "entries", 0), "entries is 0"],
  ["more entries than heads", after("", "entries", 2), "entries is 2"],
  ["a degree that is no multiple of 4", after("", "degree", 6), "degree is 6"],
  ["a degree beyond the page's", after("", "degree", 8), "firstNode, nodes"],
  ["another exponent", after("", "exponent", 3), "the codes of node|the scale of node"],
  ["more nodes", after("", "rows", 7), "firstNode, nodes"],
  ["no probes", after("", "probes", 0), "probes is 0"],
  ["too many cells", after("", "cells", 7), "cells is 7"],
  ["blocks of another size", after("", "blockNodes\x19", 4), "firstNode, nodes"],
  ["blocks of no power of two", after("", "blockNodes\x19", 9), "blockNodes is 2304"],
  ["a version to come", after("", "version", 2), "version 2", "UnsupportedVersion"],
  ["another algorithm", after("", "dreamdb.vamana-l", 0x33), "vamana-l3", "UnsupportedVersion"],
  ["another kind", after("", "dreamdb.graph-inde", 0x79), "kind"],
];

/** Damage with right hashes, to a Track whose graph has the first of two batches, of 12 and 8 rows. */
const TRACK_TAMPERINGS = [
  ["rows of no batches", "graphOf", after("", "rows", 11), "a graph of 11 rows"],
  ["rows of another batch", "graphOf", after("", "rows", 20), "12 nodes, 20 rows have a vector"],
  ["another dimension of a graph", "graphIndex", after("", "dim", 5), "cosine of 5 components"],
  [
    "a graph's index of another length",
    "graphIndex",
    (data) => Buffer.concat([data, data]),
    "bytes, expected",
    "HashMismatch",
  ],
];

async function checkTrackTamperings(work) {
  const fields = { near: trained(4, { algorithm: "dreamdb.vamana-cosine" }) };
  const { pairs } = await inMemory("track", fields, async (written) => {
    await written.automatic(12);
    await written.ds.buildGraph({ field: "near", degree: 4 });
    await written.automatic(8);
  });
  const keys = Object.fromEntries(pairs.map(([key, value]) => [key, Buffer.from(value).toString("hex")]));
  let reported = 0;
  for (const [what, file, change, wanted, code = "Corrupt"] of TRACK_TAMPERINGS) {
    const root = mkdtempSync(join(work, "tampered-"));
    await layOut(root, tamper(keys, ["", file, change, []]));
    const test = (line) => line.startsWith(`FAIL ${code}:`) && line.includes(wanted);
    if (reports(what, root, test, `${code} … ${wanted}`)) reported++;
  }
  console.log(
    `${reported} of ${TRACK_TAMPERINGS.length} kinds of tampering with a Track's graph were reported`,
  );
}

const afterBits = after("", "bits", 8);
const PQ_TAMPERINGS = [
  ["another code", "coded", (data) => flipAt(codesOf(data)[0])(data), true, "Corrupt", "the code of row"],
  [
    "another length of what a code stands for",
    "coded",
    (data) => flipAt(codesOf(data)[0] + 4)(data),
    true,
    "Corrupt",
    "the code of row",
  ],
  [
    "a half byte of no run",
    "coded",
    (data) => put(codesOf(data)[0] + 1, data[codesOf(data)[0] + 1] | 16)(data),
    true,
    "Corrupt",
    "the code of row",
  ],
  ["codewords that change places", "books", swap(64, 80, 16), false, "Corrupt", "the code of row"],
  ["a codeword that is not finite", "books", put(66, 0x80, 0x7f), false, "Corrupt", "not finite"],
  ["codewords too few", "books", put(8, 8), false, "Corrupt", "8 x 4 in 320 bytes"],
  [
    "bytes where there are half bytes",
    "compressor",
    afterBits,
    false,
    "Corrupt",
    "16 codewords, expected 256",
  ],
  ["another number of bits of a run", "compressor", after("", "bits", 5), false, "Corrupt", "bits is 5"],
  ["fewer runs", "compressor", after("", "subspaces", 1), false, "Corrupt", "codes at"],
  ["more runs than components", "compressor", after("", "subspaces", 5), false, "Corrupt", "subspaces is 5"],
  [
    "another metric",
    "compressor",
    (data) => put(data.indexOf("pq-l2") + 3, 0x6c, 0x33)(data),
    false,
    "UnsupportedVersion",
    "pq-l3",
  ],
];

/** Where a segment's codes begin and end. */
function codesOf(data) {
  const from = Number(data.readBigUInt64LE(144));
  return [from, from + Number(data.readBigUInt64LE(152))];
}

async function checkPqTamperings(work) {
  const compressor = { algorithm: "pq", subspaces: 3, bits: 4 };
  const fields = { v: trained(4, { algorithm: "dreamdb.ivf-l2", compressor }) };
  const { pairs } = await inMemory("pq", fields, async (written) => {
    await written.automatic(12);
    await written.ds.rebuildIvf({ field: "v", k: 2 });
  });
  const keys = Object.fromEntries(pairs.map(([key, value]) => [key, Buffer.from(value).toString("hex")]));
  const coded = pairs
    .map(([, value]) => Buffer.from(value))
    .find((data) => data.toString("latin1", 0, 4) === "DDBS");
  let reported = 0;
  for (const [what, file, change, isCovered, code, wanted] of PQ_TAMPERINGS) {
    const root = mkdtempSync(join(work, "tampered-"));
    await layOut(root, tamper(keys, ["", file, change, isCovered ? [codesOf(coded)] : []]));
    const test = (line) => line.startsWith(`FAIL ${code}:`) && line.includes(wanted);
    if (reports(what, root, test, `${code} … ${wanted}`)) reported++;
  }
  console.log(`${reported} of ${PQ_TAMPERINGS.length} kinds of tampering with PQ codes were reported`);
}

/** The byte of `since` for a cell. */
const sinceAt = (data, cell) => data.indexOf("since") + 6 + cell;
const LINEAGE_TAMPERINGS = [
  [
    "rows that count again",
    (data) => data.fill(0, sinceAt(data, 0), sinceAt(data, 4)),
    "Corrupt",
    "rows that count, the entry says",
  ],
  [
    "rows that count no more",
    (data) => data.fill(1, sinceAt(data, 0), sinceAt(data, 4)),
    "Corrupt",
    "rows that count, the entry says",
  ],
  ["a generation to come", (data) => put(sinceAt(data, 2), 2)(data), "Corrupt", "generation 2 of 1"],
  ["a lineage of another length", (data) => Buffer.concat([data, data]), "HashMismatch", "bytes, expected"],
  [
    "an index that no segment names",
    (data) => flipAt(data.indexOf(Buffer.from([0x58, 0x22, 0x1e, 0x20])) + 9)(data),
    "LineageMismatch",
    "another SpatialIndex",
  ],
  ["another kind of lineage", after("", "dreamdb.cell-lineag", 0x66), "Corrupt", "kind"],
];

/** Damage with right hashes, to the CellLineage of an index that split one of its four cells. */
async function checkLineageTamperings(work) {
  const fields = { v: trained(4, { algorithm: "dreamdb.ivf-l2" }) };
  const { pairs } = await inMemory("lineage", fields, async (written) => {
    await written.automatic(60);
    await written.ds.rebuildIvf({ field: "v", k: 4 });
    await written.ds.adaIvfStep({
      ...{ field: "v", splitAbove: 16, limit: 1, mergeBelow: 0, recentre: 0, neighbours: 0 },
    });
  });
  const keys = Object.fromEntries(pairs.map(([key, value]) => [key, Buffer.from(value).toString("hex")]));
  let reported = 0;
  for (const [what, change, code, wanted] of LINEAGE_TAMPERINGS) {
    const root = mkdtempSync(join(work, "tampered-"));
    await layOut(root, tamper(keys, ["", "lineage", change, []]));
    const test = (line) => line.startsWith(`FAIL ${code}:`) && line.includes(wanted);
    if (reports(what, root, test, `${code} … ${wanted}`)) reported++;
  }
  console.log(`${reported} of ${LINEAGE_TAMPERINGS.length} kinds of tampering with a lineage were reported`);
}

async function tamperGraph(work, graph, change, index) {
  const page = Buffer.from(graph.pages[0]);
  const now = index ? page : change(page);
  if (!index) now.set(hash(now.subarray(128)), 80);
  const inPlace = replaced(graph.index, hash(graph.pages[0]), hash(now));
  const top = index ? change(inPlace) : inPlace;
  const root = mkdtempSync(join(work, "tampered-"));
  await layOut(
    root,
    [now, top].map((bytes) => [keyOf(hash(bytes)), bytes]),
  );
  return runGraphReader(root, hash(top), graph.file);
}

async function checkGraphs(work) {
  const kernels = await loadKernels();
  const spec = readFileSync(join(here, "../spec/0013-graph-indexing.md"), "utf8");
  for (const given of GRAPHS()) {
    const root = join(work, `graph-${given.name}`);
    const graph = await writeGraph(root, kernels, given);
    const { code, out } = runGraphReader(root, hash(graph.index), graph.file);
    console.log(`graph ${given.name}: ${out.trimEnd().replace("\n", "; ")}`);
    if (code !== 0) problem(`graph ${given.name}: exit code ${code}`);
    if (given.name === "tiny") await checkTinyGraph(work, graph, spec);
  }
}

async function checkTinyGraph(work, graph, spec) {
  if (!spec.includes(`address ${text(hash(graph.index))}`))
    problem("the graph of spec/0013 is not what the library builds");
  const kinds = [
    ...GRAPH_TAMPERINGS.map((t) => [...t, false]),
    ...GRAPH_INDEX_TAMPERINGS.map((t) => [...t, true]),
  ];
  let reported = 0;
  for (const [what, change, wanted, ...rest] of kinds) {
    const code = rest.length > 1 ? rest[0] : "Corrupt";
    const run = await tamperGraph(work, graph, change, rest.at(-1));
    const test = new RegExp(`^FAIL (${code}):.*(${wanted})`, "m");
    if (run.code === 1 && test.test(run.out) && !run.out.includes("stumbled")) reported++;
    else problem(`${what} of a graph: exit code ${run.code}, wanted ${code} … ${wanted}; got\n${run.out}`);
  }
  const damaged = Buffer.from(graph.pages[0]);
  damaged[130] ^= 1;
  const root = mkdtempSync(join(work, "tampered-"));
  await layOut(root, [
    [keyOf(hash(graph.pages[0])), damaged],
    [keyOf(hash(graph.index)), graph.index],
  ]);
  if (!runGraphReader(root, hash(graph.index), graph.file).out.includes("FAIL HashMismatch"))
    problem("a damaged page of a graph");
  console.log(`${reported} of ${kinds.length} kinds of tampering with a graph were reported`);
}

const work = mkdtempSync(join(tmpdir(), "dreamdb-check-reader-"));
try {
  compare(join(work, "tiny"), await writeTiny(join(work, "tiny")), work);
  await checkTamperings(work);
  await checkIndexTamperings(work);
  await checkGraphs(work);
  compare(join(work, "data"), await writeAll(join(work, "data")), work);
  compare(join(work, "trained"), await writeTrained(join(work, "trained")), work);
  await checkTrackTamperings(work);
  await checkPqTamperings(work);
  compare(join(work, "walked"), await writeWalked(join(work, "walked")), work);
  const stepped = compare(join(work, "stepped"), await writeStepped(join(work, "stepped")), work);
  await checkLineageTamperings(work);
  for (const count of ["with lineage", "of earlier indexes", "redacted"])
    if (!/^[1-9]/.test(stepped.split(`, ${count} `)[1] ?? "")) problem(`steps: nothing ${count} was read`);
  compare(join(work, "purged"), await writePurged(join(work, "purged")), work);
  compare(join(work, "dense"), await writeDense(join(work, "dense")), work);
  if (long) compare(join(work, "long"), await writeLong(join(work, "long")), work);
  const scalars = compare(join(work, "indexed"), await writeIndexed(join(work, "indexed")), work);
  const rows = compare(join(work, "many-rows"), await writeManyRows(join(work, "many-rows")), work);
  for (const [kind, output] of [
    ["arrays", scalars],
    ["bitsets", scalars],
    ["bitsets", rows],
    ["runs", rows],
  ])
    if (!/^[1-9]/.test(output.split(`Roaring ${kind} `)[1])) problem(`no Roaring ${kind} were read`);
  compare(join(work, "fragile"), await writeFragile(join(work, "fragile")), work);
  await checkDamages(join(work, "fragile"));
} finally {
  if (keep) console.log(`kept ${work}`);
  else rmSync(work, { recursive: true, force: true });
}
console.log(problems === 0 ? "reader.py and the library agree" : `${problems} mismatches`);
process.exit(problems === 0 ? 0 : 1);
