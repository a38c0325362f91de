// What each vector file asks of an implementation. `lib` holds the functions of the library under test, `kernels`
// one build of its compute core; `run` throws, or the promise it gives is rejected, when a vector does not hold.
import { deepStrictEqual as equal, ok } from "node:assert";
import { buildIndex, found, objectsOf } from "./indexes.mjs";
import { fields, mergedDatasets, valuesOf } from "./merges.mjs";
import { fromHex, fromNotation, notationOf, toHex } from "./notation.mjs";

/** The modules of the library that `lib` is made of, without folder of the build and extension. */
export const MODULES = [
  "core/address",
  "core/blake3",
  "core/cbor",
  "core/time",
  "dataset/ancestry",
  "dataset/merge-rows",
  "index",
  "index/probe",
  "kernels/cell-assigner",
  "kernels/kmeans",
  "kernels/pq",
  "kernels/pq-training",
  "kernels/rabitq",
  "kernels/rotation",
  "kernels/vamana",
  "kernels/vamana-walk",
  "objects/graph-index",
  "objects/lanes",
  "objects/manifest",
];

const checks = {
  "address.json": addressChecks,
  "blake3.json": blake3Checks,
  "cbor.json": cborChecks,
  "chacha20.json": chachaChecks,
  "indexes.json": indexChecks,
  "kmeans.json": kmeansChecks,
  "lsh.json": lshChecks,
  "merge.json": mergeChecks,
  "pq.json": pqChecks,
  "rabitq.json": rabitqChecks,
  "rotation.json": rotationChecks,
  "vamana.json": vamanaChecks,
  "time.json": timeChecks,
};

/** The checks of one vector file: `{ name, run }` each; `run` may give a promise. A file without checks is one failing check. */
export function checksOf(fileName, vectors, lib, kernels) {
  const make = checks[fileName];
  if (make !== undefined) return make(vectors, lib, kernels);
  const run = () => ok(false, `conformance/checks.mjs knows no ${fileName}`);
  return [{ name: fileName, run }];
}

function cborChecks({ cases, refused }, lib) {
  const tagged = (value, tag) => new lib.Tagged(value, tag);
  return [
    ...cases.map(({ value, hex }) => ({
      name: short(hex),
      run() {
        equal(toHex(lib.encodeCbor(fromNotation(value, tagged))), hex);
        const decoded = lib.decodeCbor(fromHex(hex));
        equal(sorted(notationOf(decoded)), sorted(value));
        equal(toHex(lib.encodeCbor(decoded)), hex);
      },
    })),
    ...refused.map(({ hex, why, code }) => refusal(why, code, () => lib.decodeCbor(fromHex(hex)))),
  ];
}

function mergeChecks({ histories, digests, lanes, merges }, lib, kernels) {
  return [
    ...histories.map(({ parents, named, heads, bases }, i) => ({
      name: `history ${i}`,
      async run() {
        const { session, states } = historyOf(parents, lib);
        const number = ({ address }) => states.findIndex((state) => state.address === address);
        const found = await lib.ancestryOf(
          session,
          named.map((state) => states[state]),
        );
        const numbers = found.heads.map(number);
        equal(ascending(numbers), heads);
        const told = found.bases.map((base) => ({
          base: number(base),
          heads: ascending(numbers.filter((_, h) => ((base.heads >> BigInt(h)) & 1n) === 1n)),
        }));
        equal(
          told.sort((a, b) => a.base - b.base),
          bases,
        );
      },
    })),
    ...digests.map(({ record, digest }) => ({
      name: `digest ${digest.slice(0, 8)}`,
      run: () => equal(lib.digestOf(fields(lib, "dreamdb.ivf-cosine").fields, valuesOf(record)), digest),
    })),
    ...lanes.map(({ given, lane }) => ({
      name: `lane after ${given}`,
      run: () => equal(lib.nextLane(given), lane),
    })),
    ...merges.map((expected) => ({
      name: `${expected.algorithm}, ${expected.story}`,
      async run() {
        const { algorithm, story } = expected;
        const found = await mergedDatasets(lib, kernels.mode, (a, s) => a === algorithm && s === story);
        equal(found, [expected]);
      },
    })),
  ];
}

const ascending = (numbers) => [...numbers].sort((a, b) => a - b);

/** States without records, each with the parents that are given by number, and a session that reads them. */
function historyOf(parents, lib) {
  const states = [];
  const stored = new Map();
  const genesis = lib.addressOf(new Uint8Array());
  for (const [i, own] of parents.entries()) {
    const manifest = {
      ...{ genesis, parents: own.map((parent) => states[parent].address), ts: 0n, writer: "", op: "append" },
      seq: own.length === 0 ? 0 : 1 + Math.max(...own.map((parent) => states[parent].manifest.seq)),
      opId: Uint8Array.from({ length: 16 }, () => i),
      ...{ fields: [], nextFieldId: 0, autoHigh: 0n, lane: 0, tracks: new Map() },
      timeline: { pages: [], entries: [], rows: 0 },
    };
    const bytes = lib.encodeManifest(manifest);
    const address = lib.addressOf(bytes);
    stored.set(address, bytes);
    states.push({ address, manifest });
  }
  return { states, session: { object: async (address) => stored.get(address) } };
}

function addressChecks({ cases, refused, refusedCbor }, lib) {
  return [
    ...cases.map(({ bytes, hash, multihash, address, key, cbor }) => ({
      name: address,
      run() {
        equal(toHex(lib.blake3(fromHex(bytes))), hash);
        equal(lib.addressOf(fromHex(bytes)), address);
        equal(lib.addressOfDigest(fromHex(hash)), address);
        equal(toHex(lib.addressToMultihash(address)), multihash);
        equal(lib.addressFromMultihash(fromHex(multihash)), address);
        equal(lib.objectKey(address), key);
        equal(toHex(lib.encodeCbor(lib.addressToCbor(address))), cbor);
        equal(lib.addressFromCbor(lib.decodeCbor(fromHex(cbor)), "vector"), address);
      },
    })),
    ...refused.map(({ text, why, code }) => refusal(why, code, () => lib.addressToMultihash(text))),
    ...refusedCbor.map(({ hex, why, code }) =>
      refusal(why, code, () => lib.addressFromCbor(lib.decodeCbor(fromHex(hex)), "vector")),
    ),
  ];
}

function timeChecks({ cases, refused, refusedText, refusedCbor }, lib) {
  return [
    ...cases.map(({ origin, anchor, tick, text, cbor }) => ({
      name: `${origin} + ${tick}`,
      run() {
        equal(lib.toTick(BigInt(anchor), BigInt(origin)), BigInt(tick));
        equal(lib.fromTick(BigInt(tick), BigInt(origin)), BigInt(anchor));
        equal(lib.formatTick(BigInt(tick)), text);
        equal(lib.parseTick(text), BigInt(tick));
        equal(toHex(lib.encodeCbor(lib.tickToCbor(BigInt(tick)))), cbor);
        equal(lib.tickFromCbor(lib.decodeCbor(fromHex(cbor)), "vector"), BigInt(tick));
      },
    })),
    ...refused.map(({ origin, anchor, why, code }) =>
      refusal(why, code, () => lib.toTick(BigInt(anchor), BigInt(origin))),
    ),
    ...refusedText.map(({ text, why, code }) => refusal(why, code, () => lib.parseTick(text))),
    ...refusedCbor.map(({ hex, why, code }) => {
      const decoded = lib.decodeCbor(fromHex(hex));
      return refusal(why, code, () => lib.tickFromCbor(decoded, "vector"));
    }),
  ];
}

function blake3Checks({ cases }, lib, kernels) {
  const longest = Math.max(...cases.map(({ length }) => length));
  const input = Uint8Array.from({ length: longest }, (_, i) => i % 251);
  return cases.map(({ length, hash }) => ({
    name: `${length} bytes`,
    run() {
      const bytes = input.subarray(0, length);
      equal(toHex(lib.blake3(bytes)), hash);
      equal(toHex(kernels.hashBytes(bytes)), hash);
    },
  }));
}

function chachaChecks({ cases }, _lib, kernels) {
  return cases.map(({ source, key, nonce, counter, keystream }) => ({
    name: `${source}, ${keystream.length / 128} blocks from ${counter}`,
    run() {
      const blocks = keystream.length / 128;
      const at = kernels.copyIn(fromHex(key + nonce + "00".repeat(blocks * 64)));
      kernels.exports.keystream(at, at + 32, counter, at + 44, blocks);
      const found = toHex(kernels.bytes(at + 44, blocks * 64));
      kernels.free(at);
      equal(found, keystream);
    },
  }));
}

function lshChecks({ cases }, lib, kernels) {
  return cases.map((given) => ({
    name: `${given.dim} dimensions, ${given.bits} bits`,
    run() {
      const planes = kernels.lshPlanes(fromHex(given.seed), given.dim, given.bits);
      try {
        checkPlanes(planes, given);
        for (const vector of given.vectors) checkVector(lib, kernels, planes, vector);
      } finally {
        planes.free();
      }
    },
  }));
}

/** Plane values as margins of the axes: one product by 1, the others by 0. */
function checkPlanes(planes, { dim, bits, firstPlaneValues, lastPlaneValues }) {
  const values = (plane, from, past) => {
    const margins = Array.from({ length: past - from }, (_, i) => {
      const axis = new Float32Array(dim);
      axis[from + i] = 1;
      return planes.margins(axis)[plane];
    });
    return hexOfFloats(margins);
  };
  equal(values(0, 0, Math.min(dim, 16)), firstPlaneValues);
  equal(values(bits - 1, Math.max(0, dim - 16), dim), lastPlaneValues);
}

function checkVector(lib, kernels, planes, { x, margins, cell, probes }) {
  const vector = floatsOf(x);
  const found = planes.margins(vector);
  equal(hexOfFloats(found), margins);
  equal([...lib.firstProbes(found, probes.length)], probes);
  const at = kernels.copyIn(vector);
  const cells = [...planes.cells(at, 1)];
  kernels.free(at);
  equal(cells, [cell]);
}

function rotationChecks({ cases }, lib, kernels) {
  return cases.map(({ dim, padded, rotation: kind, seed, vectors }) => ({
    name: `${dim} dimensions, ${kind}`,
    run() {
      equal([lib.paddedDim(dim), lib.rotationKind(dim)], [padded, kind]);
      const rotation = new lib.Rotation(kernels, { kind, dim, padded, seed: fromHex(seed) });
      const y = kernels.copyIn(fromHex(vectors.map((vector) => vector.y).join("")));
      const z = kernels.alloc(vectors.length * padded * 4);
      rotation.rotate(y, vectors.length, z);
      const found = toHex(kernels.bytes(z, vectors.length * padded * 4));
      for (const pointer of [y, z]) kernels.free(pointer);
      rotation.free();
      equal(found, vectors.map((vector) => vector.z).join(""));
    },
  }));
}

function kmeansChecks({ cases, samples }, lib, kernels) {
  return [
    ...cases.map(({ dim, k, iterations, seed, vectors, centroids, cells }) => ({
      name: `${dim} dimensions, ${k} cells of ${cells.length} vectors, ${iterations} rounds`,
      async run() {
        const n = cells.length;
        const y = kernels.copyIn(fromHex(vectors));
        const options = { vectors: y, n, dim, k, iterations, seed: fromHex(seed) };
        const found = await lib.trainKmeans(kernels, options);
        const assigner = new lib.CellAssigner(kernels, floatsOf(centroids), dim);
        const at = kernels.alloc(n * 4);
        assigner.assign(y, n, at);
        const foundCells = [...kernels.u32(at, n)];
        for (const pointer of [y, at]) kernels.free(pointer);
        assigner.free();
        equal(hexOfFloats(found), centroids);
        equal(foundCells, cells);
      },
    })),
    ...samples.map(({ total, count, seed, rows }) => ({
      name: `${count} rows of ${total}`,
      run: () => equal([...lib.sampleRows(kernels, fromHex(seed), total, count)], rows),
    })),
  ];
}

function indexChecks({ rows, queries, cases }, lib, { mode }) {
  return cases.map((given) => ({
    name: given.name,
    async run() {
      const store = lib.memoryStore();
      const ds = await buildIndex(lib, "d", given, rows, mode, store);
      try {
        equal(await objectsOf(lib, ds, store), given.objects);
        for (const [i, query] of queries.entries()) {
          equal(await found(ds, query, { ...given.everywhere, topK: 10 }), given.nearest[i]);
          equal(await found(ds, query, { ...given.somewhere, topK: 10 }), given.near[i]);
        }
      } finally {
        await ds.close();
      }
    },
  }));
}

function pqChecks({ cases }, lib, kernels) {
  return cases.map((given) => ({
    name: `${given.dim} dimensions in ${given.subspaces} of ${given.bits} bits, ${given.metric}`,
    async run() {
      const owned = [];
      const copyIn = (values) => {
        owned.push(kernels.copyIn(values));
        return owned.at(-1);
      };
      const room = (bytes) => copyIn(new Uint8Array(bytes));
      const residuals = copyIn(fromHex(given.residuals));
      const n = given.residuals.length / 8 / given.dim;
      const found = await lib.trainPq(kernels, { ...given, residuals, n, seed: fromHex(given.seed) });
      const codebooks = new lib.PqCodebooks(kernels, given, floatsOf(given.codebooks));
      try {
        equal(hexOfFloats(found), given.codebooks);
        checkPqCodes(lib, kernels, codebooks, given, copyIn, room);
        checkPqScores(kernels, codebooks, given, copyIn, room);
      } finally {
        codebooks.free();
        for (const pointer of owned) kernels.free(pointer);
      }
    },
  }));
}

function checkPqCodes(lib, kernels, codebooks, { metric, centroid, vectors, codes }, copyIn, room) {
  const encoder = new lib.PqEncoder(kernels, { codebooks, centroids: floatsOf(centroid), metric });
  const bytes = codes.length * encoder.codeBytes;
  const [y, cells, out] = [copyIn(fromHex(vectors)), room(codes.length * 4), room(bytes)];
  encoder.encode(y, codes.length, cells, out);
  encoder.free();
  equal(toHex(kernels.bytes(out, bytes)), codes.join(""));
}

function checkPqScores(kernels, codebooks, given, copyIn, room) {
  const { subspaces, bits, codes } = given;
  const { exports } = kernels;
  const stored = copyIn(fromHex(codes.join("")));
  const stride = codes[0].length / 2;
  const table = room(subspaces * 4 * 2 ** bits);
  codebooks.table(copyIn(fromHex(given.query)), table);
  equal(toHex(kernels.bytes(table, subspaces * 4 * 2 ** bits)), given.table);
  const out = room(codes.length * 4);
  const score = bits === 8 ? exports.pqScores : exports.pqNibbleScores;
  score(stored, codes.length, stride, subspaces, table, out);
  equal(toHex(kernels.bytes(out, codes.length * 4)), given.scores);
  if (bits === 8) return;
  const count = Math.ceil(codes.length / 32);
  const [bytes, blocks, sums] = [room(subspaces * 16 + 8), room(count * subspaces * 16), room(count * 64)];
  exports.pqByteTable(table, subspaces, bytes, bytes + subspaces * 16);
  exports.pqBlocks(stored, codes.length, stride, subspaces, blocks);
  exports.pqScan(blocks, count, subspaces, bytes, sums);
  equal(toHex(kernels.bytes(bytes, subspaces * 16 + 8)), given.bytes + given.bias + given.quantum);
  const view = new DataView(kernels.bytes(sums, count * 64).slice().buffer);
  equal(
    codes.map((_, i) => view.getUint16(2 * i, true)),
    given.sums,
  );
}

function rabitqChecks({ cases }, lib, kernels) {
  return cases.map(({ dim, bits, metric, seed, centroid, vectors, codes }) => ({
    name: `${dim} dimensions, ${bits} bits, ${metric}`,
    run() {
      const kind = lib.rotationKind(dim);
      const padded = lib.paddedDim(dim);
      const rotation = new lib.Rotation(kernels, { kind, dim, padded, seed: fromHex(seed) });
      const centroids = floatsOf(centroid);
      const encoder = new lib.RabitqEncoder(kernels, { rotation, centroids, bits, metric });
      const n = vectors.length;
      const y = kernels.copyIn(fromHex(vectors.join("")));
      const cells = kernels.copyIn(new Uint32Array(n));
      const out = kernels.alloc(n * encoder.codeBytes);
      encoder.encode(y, n, cells, out);
      const found = toHex(kernels.bytes(out, n * encoder.codeBytes));
      for (const pointer of [y, cells, out]) kernels.free(pointer);
      encoder.free();
      rotation.free();
      equal(found, codes.join(""));
    },
  }));
}

/** Passes when `run` throws the library's error with `code`. */
function refusal(why, code, run) {
  return {
    name: `refused: ${why}`,
    run() {
      let found = "nothing refused";
      try {
        run();
      } catch (error) {
        found = error.name === "DreamDBError" ? error.code : String(error);
      }
      equal(found, code);
    },
  };
}

/** A notation with the entries of its maps in an order of their own, for maps are equal in any. */
function sorted(value) {
  if (value === null || typeof value !== "object") return value;
  if ("array" in value) return { array: value.array.map(sorted) };
  if ("tag" in value) return { tag: value.tag, value: sorted(value.value) };
  if (!("map" in value)) return value;
  const entries = value.map.map(([key, item]) => [JSON.stringify(sorted(key)), sorted(item)]);
  return { map: entries.sort(([a], [b]) => (a < b ? -1 : 1)) };
}

function short(hex) {
  return hex.length > 40 ? `${hex.slice(0, 40)}… (${hex.length / 2} bytes)` : hex;
}

function floatsOf(hex) {
  const bytes = fromHex(hex);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

function hexOfFloats(values) {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i], true);
  return toHex(new Uint8Array(view.buffer));
}

function vamanaChecks({ cases }, lib, kernels) {
  return cases.map((given) => ({
    name: `${given.metric}, ${given.cells.length} vectors of ${given.dim} dimensions`,
    async run() {
      const { dim, degree, candidates, probes, cells } = given;
      const n = cells.length;
      const vectors = kernels.copyIn(floatsOf(given.vectors));
      const graph = await lib.linkVamana(kernels, {
        ...{ vectors, n, dim, degree, candidates, probes },
        centroids: floatsOf(given.centroids),
        cells: Uint32Array.from(cells),
      });
      kernels.free(vectors);
      const list = (node) => [...kernels.u32(graph.lists + node * degree * 4, degree)];
      const lists = given.rows.map((_, node) => list(node).filter((other) => other !== 0xffffffff));
      const { entries, heads, repaired } = graph;
      equal(
        { rows: [...graph.rows], entries, heads, lists, repaired },
        {
          ...{ rows: given.rows, entries: given.entries, heads: given.heads },
          ...{ lists: given.lists, repaired: given.repaired },
        },
      );
      checkWalks(lib, kernels, graph, given);
      graph.free();
    },
  }));
}

function checkWalks(lib, kernels, graph, given) {
  const { dim, degree, metric, rows, walks } = given;
  const [n, stride, width] = [rows.length, lib.codeStride(dim), lib.codeWidth(dim)];
  const coded = kernels.alloc(n * stride);
  kernels.exports.vamanaCodes(graph.vectors, n, dim, graph.rowBytes, metric === "l2" ? 1 : 0, coded, stride);
  const factors = (at) => rows.map((_, i) => kernels.f32(coded + i * stride + width + at, 1)[0]);
  equal(
    rows.map((_, i) => toHex(kernels.bytes(coded + i * stride, dim))),
    given.codes,
  );
  equal([hexOfFloats(factors(0)), hexOfFloats(factors(4))], [given.scales, given.halves]);
  const place = lib.layGraph(kernels, n, dim, degree, graph.heads, { rows: coded, lists: graph.lists });
  const walk = new lib.GraphWalk(kernels, place, n, dim, 64);
  for (const { query, beam, slack, most, nodes } of walks) {
    const within = slack === undefined ? undefined : { nearest: most, slack, isL2: metric === "l2" };
    walk.start(floatsOf(query), graph.entries, { beam, within });
    equal(walk.go(), undefined);
    const best = walk.best(most);
    equal([...kernels.u32(best.nodes, best.count)], nodes);
  }
  walk.free();
  kernels.free(place);
  kernels.free(coded);
}
