// Small datasets whose branches are merged, for generate-merge.mjs, which writes down what they come to, and for checks.mjs, which holds
// the library to it.

/** The fields of all records. */
export function fields(lib, algorithm) {
  return new lib.Schema()
    .addEmbedding("v", {
      dim: 3,
      algorithm,
      required: false,
      ...(algorithm === "dreamdb.lsh-cosine" ? { lshBits: 3, lshTables: 2 } : {}),
    })
    .addScalarString("s", { required: false, index: true })
    .addScalarInt("n", { required: false })
    .addScalarFloat("f", { required: false })
    .addScalarBool("b", { required: false })
    .addScalarTimestamp("t", { required: false })
    .addScalarCategorical("c", { required: false })
    .addImage("i", { required: false });
}

/** A record of merge.json as the library gives it back, in the order of the fields. */
export function valuesOf(record) {
  const read = {
    v: (x) => Float32Array.from(x),
    s: (x) => x,
    n: (x) => BigInt(x),
    f: (x) => Number(x),
    b: (x) => x,
    t: (x) => BigInt(x),
    c: (x) => x,
    i: (x) => Uint8Array.from(x.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)),
  };
  return Object.entries(read).map(([name, make]) =>
    record[name] === undefined ? undefined : make(record[name]),
  );
}

/** `count` records from anchor `first` on, which `salt` tells apart. */
function records(first, count, salt, step = 10) {
  return Array.from({ length: count }, (_, i) => ({
    _anchor: BigInt(first + step * i),
    v: [((37 * i + 11 * salt) % 29) - 14, ((17 * i + 5 * salt) % 31) - 15, 1],
    s: `${salt}/${i % 3}`,
    n: 100 * salt + i,
  }));
}

/** What is done to datasets of each algorithm: sides apart, at the same anchors, folded differently. */
const STORIES = {
  "sides apart": async ({ main, branch }) => {
    const [a, b] = [await branch("a"), await branch("b")];
    await a.appendMany(records(1000, 5, 1));
    await b.appendMany(records(1005, 4, 2));
    await main.appendMany(records(500, 3, 3));
    return ["a", "b"];
  },
  "records that contradict": async ({ main, branch }) => {
    const a = await branch("a");
    await a.appendMany(records(1000, 5, 1));
    await main.appendMany(records(1020, 5, 2, 5));
    return ["a"];
  },
  "an index on one side": async ({ main, branch, build }) => {
    const a = await branch("a");
    await a.appendMany(records(1000, 5, 1));
    await build(main);
    await main.appendMany(records(2000, 2, 2));
    return ["a"];
  },
  "unrelated indexes": async ({ main, branch, build }) => {
    const a = await branch("a");
    await a.appendMany(records(1000, 5, 1));
    await build(a, 1);
    await main.appendMany(records(2000, 2, 2));
    await build(main);
    return ["a"];
  },
  "criss-cross": async ({ main, branch }) => {
    const a = await branch("a");
    await a.appendMany(records(1000, 3, 1));
    await main.appendMany(records(1000, 3, 2));
    const [x, y] = [await branch("x"), await branch("y", a)];
    await x.appendMany(records(3000, 1, 3));
    await y.appendMany(records(3001, 1, 4));
    await x.mergeMany(["a"]);
    await y.mergeMany(["main"]);
    await x.appendMany(records(4000, 1, 5));
    return ["x", "y"];
  },
};

const ALGORITHMS = ["dreamdb.lsh-cosine", "dreamdb.ivf-cosine", "dreamdb.vamana-cosine"];

/** Each dataset with the address of the state it ends with, of which nothing depends on the machine. */
export async function mergedDatasets(lib, kernels, wanted = () => true) {
  const merged = [];
  for (const algorithm of ALGORITHMS) {
    for (const [story, tell] of Object.entries(STORIES)) {
      if (!wanted(algorithm, story)) continue;
      const store = lib.memoryStore();
      let drawn = 0;
      const options = {
        ...{ kernels, origin: 0n, writer: "conformance", clock: () => 1_000_000n },
        random: (count) => Uint8Array.from({ length: count }, () => drawn++ & 255),
      };
      const main = await lib.Dataset.create("main", fields(lib, algorithm), store, options);
      await main.appendMany(records(0, 12, 0));
      const build = async (dataset, seed = 0) => {
        if (algorithm === "dreamdb.ivf-cosine") await dataset.rebuildIvf({ field: "v", k: 2, seed });
        if (algorithm === "dreamdb.vamana-cosine") await dataset.buildGraph({ field: "v", degree: 4, seed });
      };
      const sources = await tell({ main, build, branch: (name, from = main) => from.branch(name) });
      const { manifest, rows, conflictCount, bases } = await main.mergeMany(sources, {
        onUnrelatedIndex: "delta",
      });
      const { ok } = await lib.fsck(store);
      if (!ok) throw new Error(`${algorithm}, ${story}: fsck finds damage`);
      merged.push({ algorithm, story, manifest, rows, conflictCount, bases: bases.length });
      await main.close();
    }
  }
  return merged;
}
