// Filters by columns alone, by indexes, and by a plain model of the language: all three choose the same records.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { Dataset } from "../../src/dataset/dataset.ts";
import { FilterCache, matchingOrdinals } from "../../src/dataset/filter.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { Session } from "../../src/dataset/session.ts";
import { readTip } from "../../src/dataset/tip.ts";
import { canonicalForm, filterOf, type Where } from "../../src/dataset/where.ts";
import type { Manifest } from "../../src/objects/manifest.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { rowsOf, seeded } from "./records.ts";
import { copyOf, listing, refusal, watchedStore } from "./stores.ts";

type Row = Record<string, unknown>;

const schemaWith = (index: boolean) =>
  new Schema()
    .addEmbedding("v", { dim: 2 })
    .addScalarCategorical("cat", { required: false, index })
    .addScalarBool("flag", { required: false, index })
    .addScalarInt("int", { required: false, index })
    .addScalarFloat("float", { required: false, index })
    .addScalarString("text", { required: false, index })
    .addScalarTimestamp("time", { required: false, index });
const { fields } = schemaWith(false);

const MAX = 2n ** 63n - 1n;
const pools = {
  cat: ["", "a", "b", "ab", "é", "\uffff", "😀"],
  flag: [true, false],
  int: [0, 1, -1, 7, 255, 256, -256, 2 ** 32, -(2 ** 32), 2 ** 53 - 1, MAX, MAX - 1n, -MAX - 1n, 2n ** 60n],
  float: [0, -0, 1, 1.5, -1.5, 1e300, -1e300, 5e-324, -5e-324, 0.1, 255, 256],
  text: [
    "",
    "a",
    "aa",
    "ab",
    "b",
    "\u0000",
    "e\u0301",
    "é",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "😀",
    "x".repeat(600),
  ],
  time: [0n, 1n, -1n, 1_700_000_000_000_000_000n, 5, new Date(5), new Date(-5), MAX],
} as const;
type Name = keyof typeof pools;
const NAMES = Object.keys(pools) as Name[];
const ORDERED: Name[] = ["int", "float", "text", "time"];
const valueFor = (name: Name) => fc.constantFrom<unknown>(...pools[name]);
/** Bounds may lie beyond what a field can hold. */
const boundFor = (name: Name) => {
  if (name === "int" || name === "time")
    return fc.oneof(valueFor(name), fc.constantFrom(-(2n ** 80n), 2n ** 80n));
  return name === "float" ? fc.oneof(valueFor(name), fc.constantFrom(Infinity, -Infinity)) : valueFor(name);
};

const record: fc.Arbitrary<Row> = fc.record(
  Object.fromEntries(NAMES.map((name) => [name, valueFor(name)])) as Record<Name, fc.Arbitrary<unknown>>,
  { requiredKeys: [] },
);

const leaf = fc.constantFrom(...NAMES).chain((name): fc.Arbitrary<Where> => {
  const value = boundFor(name);
  const tests: Record<string, fc.Arbitrary<unknown>> = {
    eq: value,
    ne: value,
    in: fc.array(value, { maxLength: 4 }),
    exists: fc.boolean(),
  };
  if (ORDERED.includes(name)) {
    Object.assign(tests, { lt: value, lte: value, gt: value, gte: value, between: fc.tuple(value, value) });
  }
  const several = fc.record(tests, { requiredKeys: [] }).filter((test) => Object.keys(test).length > 0);
  const one = fc
    .constantFrom(...Object.keys(tests))
    .chain((op) => (tests[op] as fc.Arbitrary<unknown>).map((v) => ({ [op]: v })));
  return fc.oneof(value, one, one, several).map((test) => ({ [name]: test }) as Where);
});
const { where } = fc.letrec<{ where: Where }>((tie) => ({
  where: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    leaf,
    fc.tuple(leaf, leaf).map(([a, b]) => ({ ...a, ...b })),
    fc.record({ and: fc.array(tie("where"), { maxLength: 3 }) }),
    fc.record({ or: fc.array(tie("where"), { maxLength: 3 }) }),
    fc.record({ not: tie("where") }),
    fc.tuple(leaf, tie("where")).map(([a, b]) => ({ ...a, or: [b, a] })),
  ),
}));

/** The language once more, in the plainest way. */
function passes(row: Row, condition: Where): boolean {
  return Object.entries(condition as Row).every(([key, wanted]) => {
    if (key === "and") return (wanted as Where[]).every((part) => passes(row, part));
    if (key === "or") return (wanted as Where[]).some((part) => passes(row, part));
    if (key === "not") return !passes(row, wanted as Where);
    const isTests = typeof wanted === "object" && !(wanted instanceof Date);
    const tests = isTests ? Object.entries(wanted as object) : [["eq", wanted] as const];
    return tests.every(([op, operand]) => holds(plain(row[key]), op, operand));
  });
}

function holds(value: unknown, op: string, operand: unknown): boolean {
  if (op === "exists") return (value !== undefined) === operand;
  if (value === undefined) return false;
  const order = (other: unknown) => compare(value, plain(other));
  switch (op) {
    case "eq":
      return order(operand) === 0;
    case "ne":
      return order(operand) !== 0;
    case "in":
      return (operand as unknown[]).some((one) => order(one) === 0);
    case "lt":
      return order(operand) < 0;
    case "lte":
      return order(operand) <= 0;
    case "gt":
      return order(operand) > 0;
    case "gte":
      return order(operand) >= 0;
    default: {
      const [low, high] = operand as [unknown, unknown];
      return order(low) >= 0 && order(high) <= 0;
    }
  }
}

/** Dates as nanoseconds; all else compares as it is. */
function plain(value: unknown): unknown {
  return value instanceof Date ? BigInt(value.getTime()) * 1_000_000n : value;
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === "string") return Buffer.compare(Buffer.from(a), Buffer.from(b as string));
  return (a as number) < (b as number) ? -1 : (a as number) > (b as number) ? 1 : 0;
}

interface Filled {
  store: Store;
  dataset: Dataset;
  session: Session;
  manifest: Manifest;
}

async function filled(index: boolean, batches: Row[][]): Promise<Filled> {
  const store = memoryStore();
  const dataset = (await Dataset.create("d", schemaWith(index), store)) as Dataset;
  for (const batch of batches) await dataset.appendMany(batch);
  const session = new Session(store, 1 << 24);
  return { store, dataset, session, manifest: (await readTip(session, "d"))!.manifest };
}

/** Records that are backdated, in between each other and out of order; `id` says which is which. */
function anchored(batches: Row[][]): Row[][] {
  let next = 0;
  return batches.map((batch) =>
    batch.map((row) => {
      const i = next++;
      return { ...row, v: [1, i + 1], _anchor: BigInt((i * 7919) % 100_003) };
    }),
  );
}

const byAnchor = (a: Row, b: Row) => Number((a._anchor as bigint) - (b._anchor as bigint));

async function ordinals({ session, manifest }: Filled, condition: Where): Promise<number[]> {
  const normal = filterOf({ where: condition }, manifest.fields);
  if (normal === undefined) return [...Array(manifest.timeline.rows).keys()];
  const { bits, count } = await matchingOrdinals(session, manifest, normal, new FilterCache(0));
  expect(bits.length).toBe(Math.ceil(manifest.timeline.rows / 8));
  const found = [...Array(bits.length * 8).keys()].filter((o) => ((bits[o >> 3] as number) >> (o & 7)) & 1);
  expect(found.length).toBe(count);
  return found;
}

async function expectAlike(sets: Filled[], batches: Row[][], condition: Where): Promise<void> {
  const appended = batches.flatMap((batch) => [...batch].sort(byAnchor));
  const wanted = appended.flatMap((row, i) => (passes(row, condition) ? [i] : []));
  const anchors = appended
    .filter((row) => passes(row, condition))
    .sort(byAnchor)
    .map((row) => row._anchor);
  for (const set of sets) {
    expect(await ordinals(set, condition)).toEqual(wanted);
    const streamed = await rowsOf(set.dataset, { where: condition, fields: ["int"], batchSize: 3 });
    expect(streamed.map((row) => row._anchor)).toEqual(anchors);
    const hits = await set.dataset.iterVector({ field: "v", query: [1, 0], topK: 10_000, where: condition });
    expect(hits.flatMap((batch) => batch._time_anchors).sort((a, b) => Number(a - b))).toEqual(anchors);
  }
}

test("columns, indexes and the model agree, whatever the records and the condition", async () => {
  const batches = fc.array(fc.array(record, { minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(batches, fc.array(where, { minLength: 5, maxLength: 15 }), async (given, conditions) => {
      const rows = anchored(given);
      const sets = [await filled(false, rows), await filled(true, rows)];
      for (const condition of conditions) await expectAlike(sets, rows, condition);
    }),
    { numRuns: 40 },
  );
}, 120_000);

describe("many rows, in trees of many pages", () => {
  const random = seeded(11);
  const pick = (count: number) => Math.floor(random() * count);
  const rows = anchored([
    Array.from({ length: 5000 }, (_, i) => ({
      cat: `c${pick(40)}`,
      flag: random() < 0.3,
      ...(i % 11 === 0 ? {} : { int: pick(3000) - 1500 }),
      float: pick(1000) / 8 - 50,
      ...(i % 3 === 0 ? {} : { text: `t${pick(2000).toString(36)}` }),
      time: BigInt(pick(20)),
    })),
    Array.from({ length: 700 }, () => ({ cat: `d${pick(3)}`, int: pick(4) })),
  ]);
  const sets = Promise.all([filled(false, rows), filled(true, rows)]);

  test.each<Where>([
    { cat: "c7" },
    { cat: { in: ["c1", "d2", "none"] } },
    { cat: { ne: "c3" } },
    { flag: true },
    { flag: { exists: false } },
    { int: 17 },
    { int: { in: [-1500, 0, 1, 2, 1499, 5000] } },
    { int: { gte: -100, lt: 250 } },
    { int: { gt: 1400 } },
    { int: { lt: -1400 } },
    { int: { exists: true } },
    { not: { int: { between: [-1490, 1490] } } },
    { float: { gt: 0 } },
    { float: { between: [-1, 1] } },
    { text: { gte: "t1", lt: "t2" } },
    { text: { in: ["t1a", "tzz", "t0"] } },
    { time: { gte: 5, lte: 7 } },
    { time: 19n },
    { and: [{ int: { gt: 0 } }, { or: [{ cat: "c1" }, { text: { lt: "t5" } }] }] },
    {},
    { or: [] },
  ])("%o", async (condition) => {
    await expectAlike(await sets, rows, condition);
  });

  test("every value is found, those too whose rows go on from one page to the next", async () => {
    const [, indexed] = await sets;
    const appended = rows.flatMap((batch) => [...batch].sort(byAnchor));
    for (const name of ["float", "time"]) {
      const byValue = new Map<unknown, number[]>();
      appended.forEach((row, i) => {
        if (row[name] !== undefined) byValue.set(row[name], [...(byValue.get(row[name]) ?? []), i]);
      });
      for (const [value, wanted] of byValue)
        expect([value, await ordinals(indexed, { [name]: value } as Where)]).toEqual([value, wanted]);
    }
  });

  test("the index passes the check", async () => {
    const report = await fsck((await sets)[1].store);
    expect(report.problems).toEqual([]);
  });

  test("an index costs one object a batch, and look-ups in it read no column", async () => {
    const [bare, indexed] = await sets;
    const objects = async (store: Store) => (await listing(store, "objects/")).length;
    expect((await objects(indexed.store)) - (await objects(bare.store))).toBe(2);

    const columns = new Set<string>();
    for (const entry of indexed.manifest.timeline.entries)
      for (const ref of entry.columns.values()) columns.add(ref.address);
    const read: string[] = [];
    const watched = watchedStore(indexed.store, (request, run) => {
      if (request.verb === "get") read.push(request.key.slice(request.key.lastIndexOf("/") + 1));
      return run();
    });
    const session = new Session(watched, 1 << 24);
    for (const condition of [
      { int: 17 },
      { text: { gte: "t1", lt: "t2" } },
      { cat: { ne: "c3" } },
    ] as Where[]) {
      const normal = filterOf({ where: condition }, indexed.manifest.fields)!;
      await matchingOrdinals(session, indexed.manifest, normal, new FilterCache(0));
    }
    expect(read.length).toBeGreaterThan(0);
    expect(read.filter((address) => columns.has(address))).toEqual([]);
    expect(session.traffic.bytes).toBeLessThan(200_000);
  });
});

test("a stream of few records reads few blocks", async () => {
  const store = memoryStore();
  const schema = new Schema().addImage("image").addScalarInt("n", { index: true });
  const dataset = await Dataset.create("d", schema, store);
  const image = (i: number) => new Uint8Array(20_000).fill(i);
  await dataset.appendMany(Array.from({ length: 200 }, (_, i) => ({ n: i, image: image(i) })));
  const open = await Dataset.open<typeof schema extends Schema<infer F> ? F : never>("d", store);
  const seen: number[] = [];
  for await (const batch of open.iterStream({ where: { n: { in: [3, 100, 101] } } })) {
    batch.n.forEach((n, i) => {
      seen.push(Number(n));
      expect(batch.image[i]).toEqual(image(Number(n)));
    });
  }
  expect(seen).toEqual([3, 100, 101]);
  expect(open.traffic.bytes).toBeLessThan(500_000);
});

test("range and where together; ranges that end between chosen records", async () => {
  const dataset = (await Dataset.create("d", schemaWith(true), memoryStore())) as Dataset;
  const anchors = Array.from({ length: 30 }, (_, i) => BigInt(10 * i));
  await dataset.appendMany(anchors.map((_anchor, i) => ({ _anchor, v: [1, i], int: i % 3 })));
  for (const [from, to] of [
    [0n, 290n],
    [5n, 44n],
    [30n, 30n],
    [31n, 39n],
    [280n, 400n],
    [50n, 20n],
  ] as [bigint, bigint][]) {
    const rows = await rowsOf(dataset, { where: { int: 0 }, range: { from, to }, batchSize: 2, fields: [] });
    expect(rows.map((row) => row._anchor)).toEqual(
      anchors.filter((anchor, i) => anchor >= from && anchor <= to && i % 3 === 0),
    );
  }
});

test("whereEq and where add up", async () => {
  const rows = anchored([
    Array.from({ length: 20 }, (_, i) => ({ int: i % 4, cat: i % 2 === 0 ? "even" : "odd" })),
  ]);
  const { dataset } = await filled(true, rows);
  const batches = await dataset.iterVector({
    field: "v",
    query: [1, 0],
    topK: 50,
    where: { int: { gt: 0 } },
    whereEq: { cat: "even" },
  });
  expect(batches.flatMap((batch) => batch.int)).toEqual(Array(5).fill(2));
});

test("results are kept by state and meaning", async () => {
  const rows = anchored([Array.from({ length: 50 }, (_, i) => ({ int: i, cat: `c${i % 3}` }))]);
  const { session, manifest } = await filled(false, rows);
  const cache = new FilterCache(1000);
  const find = (condition: Where) =>
    matchingOrdinals(session, manifest, filterOf({ where: condition }, manifest.fields)!, cache);
  const first = await find({ int: { gte: 3, lt: 9 }, cat: "c1" });
  expect(await find({ and: [{ cat: { in: ["c1"] } }, { int: { lt: 9 } }, { int: { gt: 2 } }] })).toBe(first);
  expect(await find({ int: { gte: 3, lt: 10 }, cat: "c1" })).not.toBe(first);
  for (let i = 0; i < 20; i++) await find({ int: i });
  expect(await find({ int: { gte: 3, lt: 9 }, cat: "c1" })).not.toBe(first);
  expect(first.count).toBe(2);
});

test.each<[Where, Where]>([
  [{ int: 3 }, { int: { eq: 3n } }],
  [{ int: { gt: 3 } }, { int: { gte: 4 } }],
  [{ int: { in: [2, 1, 2n] } }, { int: { in: [1, 2] } }],
  [{ float: -0 }, { float: 0 }],
  [{ time: new Date(5) }, { time: 5_000_000 }],
  [{ int: { lte: 2n ** 63n } }, { int: { exists: true } }],
  [{ int: { gt: 5, lt: 6 } }, { or: [] }],
  [{ int: { in: [] } }, { int: { eq: 2n ** 63n } }],
  [{ not: { not: { int: 1 } } }, { int: 1 }],
  [
    { int: 1, cat: "a" },
    { cat: "a", and: [{ int: 1 }] },
  ],
  [{ text: { between: ["a", "b"] } }, { text: { gte: "a", lte: "b" } }],
])("%o means %o", (a, b) => {
  const spell = (condition: Where) => canonicalForm(filterOf({ where: condition }, fields)!);
  expect(spell(a)).toBe(spell(b));
});

let deep: unknown = { int: 1 };
for (let i = 0; i < 40; i++) deep = { not: deep };
const circular: { not?: unknown } = {};
circular.not = circular;

test.each<[string, unknown, string]>([
  ["no object", "int", "where"],
  ["null", null, "where"],
  ["an array", [{ int: 1 }], "where"],
  ["an unknown field", { none: 1 }, "where.none"],
  ["__proto__", JSON.parse('{"__proto__": 1}'), "where.__proto__"],
  ["a vector", { v: [1, 2] }, "where.v"],
  ["text for an int", { int: "1" }, "where.int"],
  ["undefined", { int: undefined }, "where.int"],
  ["null for a value", { int: null }, "where.int"],
  ["a list for a value", { int: [1, 2] }, "where.int"],
  ["a fraction for an int", { int: { gt: 1.5 } }, "where.int.gt"],
  ["an unsafe number", { int: { lt: 2 ** 60 } }, "where.int.lt"],
  ["NaN", { float: { gte: NaN } }, "where.float.gte"],
  ["a bigint for a float", { float: 1n }, "where.float"],
  ["an invalid Date", { time: new Date(NaN) }, "where.time"],
  ["a Date for an int", { int: new Date(1) }, "where.int"],
  ["text that has no UTF-8 form", { text: "\ud800" }, "where.text"],
  ["an order of booleans", { flag: { lt: true } }, "where.flag.lt"],
  ["an order of categories", { cat: { gte: "a" } }, "where.cat.gte"],
  ["a range of categories", { cat: { between: ["a", "b"] } }, "where.cat.between[0]"],
  ["no test", { int: {} }, "where.int"],
  ["an unknown test", { int: { above: 1 } }, "where.int.above"],
  ["a test without a value", { int: { gt: undefined } }, "where.int.gt"],
  ["in without a list", { int: { in: 1 } }, "where.int.in"],
  ["a wrong value in a list", { int: { in: [1, "2"] } }, "where.int.in[1]"],
  ["between of one", { int: { between: [1] } }, "where.int.between"],
  ["exists of a number", { int: { exists: 1 } }, "where.int.exists"],
  ["and of an object", { and: { int: 1 } }, "where.and"],
  ["not of a list", { not: [{ int: 1 }] }, "where.not"],
  ["a wrong value deep down", { or: [{ int: 1 }, { not: { cat: 5 } }] }, "where.or[1].not.cat"],
  ["too deep", deep, `where${".not".repeat(33)}`],
  ["in a circle", circular, `where${".not".repeat(33)}`],
])("%s is refused, and named", async (_, condition, field) => {
  const { dataset } = await filled(false, [[{ v: [1, 2] }]]);
  const error = await refusal(async () => rowsOf(dataset, { where: condition as Where }));
  expect(error).toMatchObject({ code: "InvalidArgument", field });
  expect(error).toHaveProperty("found");
  expect(error.expected).toBeDefined();
  const vector = await refusal(async () =>
    dataset.iterVector({ field: "v", query: [1, 0], where: condition as Where }),
  );
  expect(vector).toMatchObject({ code: "InvalidArgument", field });
});

test("a field named like a connective is asked for by whereEq", async () => {
  const schema = new Schema().addEmbedding("v", { dim: 2 }).addScalarInt("not").addScalarInt("or");
  const dataset = (await Dataset.create("d", schema, memoryStore())) as Dataset;
  await dataset.appendMany([
    { v: [1, 0], not: 1, or: 2 },
    { v: [1, 1], not: 2, or: 2 },
  ]);
  const [hits] = await dataset.iterVector({ field: "v", query: [1, 0], whereEq: { not: 2, or: 2 } });
  expect(hits!._time_anchors.length).toBe(1);
});

test("the check reports an index that is lost or says something else than the columns", async () => {
  const rows = anchored([Array.from({ length: 40 }, (_, i) => ({ int: i % 5, text: `t${i}` }))]);
  const { store, manifest } = await filled(true, rows);
  const key = (address: string) => `objects/${address.slice(-2)}/${address}`;
  const index = manifest.timeline.entries[0]!.scalarIndex!.address;
  const keys = (await listing(store)).map((item) => item.key);
  const stored = keys.find((one) => one.endsWith(index)) ?? key(index);
  const lost = await copyOf(store);
  await lost.delete(stored);
  expect((await fsck(lost)).problems).toMatchObject([{ code: "NotFound", key: stored }]);
  const damaged = await copyOf(store);
  const bytes = (await store.get(stored))!.bytes.slice();
  bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
  await damaged.delete(stored);
  await damaged.put(stored, bytes);
  expect((await fsck(damaged)).problems).toMatchObject([{ code: "HashMismatch", key: stored }]);
  const dataset = (await Dataset.open("d", damaged)) as Dataset;
  expect((await refusal(() => rowsOf(dataset, { where: { text: "t3" } }))).code).toBe("HashMismatch");
});
