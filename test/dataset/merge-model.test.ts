/** Random histories of appends, branches, merges and rebuilds against a model of a few lines. */
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { sorting } from "../../src/dataset/merge.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { copyOf, note, noteAll, plain, type Seen, visible } from "./model-records.ts";
import { randomVector, rowsOf, seeded, testClock } from "./records.ts";

const DIM = 3;
const ALGORITHMS = ["dreamdb.lsh-cosine", "dreamdb.ivf-cosine", "dreamdb.vamana-cosine"] as const;
type Algorithm = (typeof ALGORITHMS)[number];

const schemaOf = (algorithm: Algorithm) =>
  new Schema()
    .addEmbedding("vector", {
      dim: DIM,
      algorithm,
      ...(algorithm === "dreamdb.lsh-cosine" ? { lshBits: 2, lshTables: 2 } : {}),
    })
    .addScalarString("name", { index: true })
    .addScalarInt("size", { required: false });

type Step =
  | { verb: "append"; on: number; anchors: number[] | undefined; count: number; seed: number }
  | { verb: "branch"; on: number }
  | { verb: "merge"; on: number; from: number[] }
  | { verb: "build"; on: number; seed: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        verb: fc.constant("append" as const),
        on: fc.nat(5),
        // Few places, so that sides come to use the same ones; some apart, some evenly spaced.
        anchors: fc.option(fc.uniqueArray(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 5 }), {
          nil: undefined,
        }),
        count: fc.integer({ min: 1, max: 5 }),
        seed: fc.nat(3),
      }),
    },
    { weight: 2, arbitrary: fc.record({ verb: fc.constant("branch" as const), on: fc.nat(5) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        verb: fc.constant("merge" as const),
        on: fc.nat(5),
        from: fc.array(fc.nat(5), { minLength: 1, maxLength: 4 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ verb: fc.constant("build" as const), on: fc.nat(5), seed: fc.nat(2) }),
    },
  ),
  { minLength: 4, maxLength: 22 },
);

async function run(algorithm: Algorithm, history: readonly Step[]) {
  const store = memoryStore();
  const clock = testClock();
  const schema = schemaOf(algorithm);
  const options = { clock: clock.read };
  const branches = [
    { dataset: (await Dataset.create("main", schema, store, options)) as Dataset, seen: new Map() as Seen },
  ];
  const at = (i: number) => branches[i % branches.length] as (typeof branches)[number];
  for (const step of history) {
    const { dataset, seen } = at(step.on);
    if (step.verb === "append") {
      const random = seeded(step.seed);
      const free = step.anchors?.map(BigInt).filter((anchor) => !seen.has(anchor));
      const rows = Array.from({ length: free?.length ?? step.count }, (_, i) => ({
        ...(free === undefined ? {} : { _anchor: free[i] as bigint }),
        vector: randomVector(random, DIM),
        name: `n${Math.floor(4 * random())}`,
        ...(random() < 0.5 ? {} : { size: i }),
      }));
      if (rows.length === 0) continue;
      const { anchors } = await dataset.appendMany(rows);
      for (const [i, row] of rows.entries()) note(seen, { ...row, _anchor: anchors[i] as bigint }, schema);
    } else if (step.verb === "branch") {
      if (branches.length > 5) continue;
      branches.push({ dataset: await dataset.branch(`b${branches.length}`), seen: copyOf(seen) });
    } else if (step.verb === "merge") {
      const sources = step.from.map(at);
      await dataset.mergeMany(
        sources.map((source) => source.dataset.name),
        { onUnrelatedIndex: "delta" },
      );
      for (const source of sources) noteAll(seen, source.seen, schema);
    } else if (seen.size > 0) {
      if (algorithm === "dreamdb.ivf-cosine")
        await dataset.rebuildIvf({
          field: "vector",
          k: 1 + (seen.size > 4 ? step.seed : 0),
          seed: step.seed,
        });
      if (algorithm === "dreamdb.vamana-cosine")
        await dataset.buildGraph({ field: "vector", degree: 4, seed: step.seed });
    }
  }
  return { store, branches };
}

async function check({ store, branches }: Awaited<ReturnType<typeof run>>): Promise<void> {
  for (const { dataset, seen } of branches) {
    const expected = visible(seen);
    expect(plain(await rowsOf(dataset))).toEqual(plain(expected));
    expect(await dataset.count()).toBe(expected.length);
    if (expected.length === 0) continue;
    const found = await dataset.iterVector({
      field: "vector",
      query: [1, 0.3, -0.5],
      topK: 1000,
      nprobe: 1000,
    });
    expect(found.flatMap((batch) => batch._time_anchors).sort()).toEqual(
      expected.map((row) => row._anchor).sort(),
    );
  }
  expect((await fsck(store)).problems).toEqual([]);
}

test.each(ALGORITHMS)("histories end as the model says, and sound: %s", async (algorithm) => {
  await fc.assert(
    fc.asyncProperty(steps, async (history) => check(await run(algorithm, history))),
    { numRuns: 60 },
  );
});

test.each(ALGORITHMS)("with the sorting switched off the same is visible: %s", async (algorithm) => {
  sorting.isOff = true;
  try {
    await fc.assert(
      fc.asyncProperty(steps, async (history) => check(await run(algorithm, history))),
      { numRuns: 25 },
    );
  } finally {
    sorting.isOff = false;
  }
});

test("in every order the same bytes, and one by one the same records", async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...ALGORITHMS), steps, async (algorithm, history) => {
      const { branches } = await run(algorithm, history);
      const names = branches.map(({ dataset }) => dataset.name).slice(0, 4);
      const main = branches[0]?.dataset as Dataset;
      const results: (string | undefined)[] = [];
      const contents: unknown[] = [];
      for (const order of permutations(names)) {
        const copy = await main.branch(`p${results.length}`);
        results.push((await copy.mergeMany(order, { onUnrelatedIndex: "delta" })).manifest);
        if (results.length > 6) continue;
        const stepwise = await main.branch(`s${results.length}`);
        for (const name of order) await stepwise.mergeMany([name], { onUnrelatedIndex: "delta" });
        contents.push(plain(await rowsOf(stepwise)));
      }
      expect(new Set(results).size).toBe(1);
      const together = plain(
        await rowsOf(
          await main.branch("last").then(async (last) => {
            await last.mergeMany(names, { onUnrelatedIndex: "delta" });
            return last;
          }),
        ),
      );
      for (const each of contents) expect(each).toEqual(together);
    }),
    { numRuns: 25 },
  );
});

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, i) =>
    permutations([...items.slice(0, i), ...items.slice(i + 1)]).map((rest) => [item, ...rest]),
  );
}

test("a merged dataset finds what one that was filled by a single writer finds", async () => {
  const random = seeded(11);
  const make = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({
      _anchor: BigInt(from + i),
      vector: randomVector(random, DIM),
      name: `n${from + i}`,
    }));
  const base = make(0, 60);
  const shares = [make(1000, 40), make(2000, 40), make(3000, 40)];
  const fill = async (store = memoryStore()) => {
    const nonce = (count: number) => new Uint8Array(count).fill(7);
    const dataset = await Dataset.create("main", schemaOf("dreamdb.ivf-cosine"), store, { random: nonce });
    await dataset.appendMany(base);
    await dataset.rebuildIvf({ field: "vector", k: 6 });
    return Dataset.open("main", store);
  };
  const single = await fill();
  for (const share of shares) await single.appendMany(share);
  const merged = await fill();
  for (const [i, share] of shares.entries()) await (await merged.branch(`w${i}`)).appendMany(share);
  const { tracks } = await merged.mergeMany(["w2", "w0", "w1"]);
  expect(tracks.vector).toMatchObject({ encodedRows: 0, unindexedRows: 0 });
  for (let i = 0; i < 20; i++) {
    const query = { field: "vector", query: randomVector(random, DIM), topK: 10, nprobe: 1 + (i % 3) };
    expect(await merged.iterVector(query)).toEqual(await single.iterVector(query));
  }
});
