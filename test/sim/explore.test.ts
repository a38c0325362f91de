// A slice of the explorer, a minute at most; `npm run explore` looks longer (docs/reliability.md).
import { expect, jest, test } from "@jest/globals";
import { Collecting } from "./collect.ts";
import { COLLECT, manyCollecting } from "./collect-scenarios.ts";
import { everyFault } from "./crash.ts";
import { explore } from "./interleave.ts";
import { numbers, plansOf, replay, runSeed, shrink } from "./random.ts";
import { builtWorld, SCENARIOS, VERBS } from "./scenarios.ts";

// Far more than it takes: other work on the machine must not fail it.
jest.setTimeout(300_000);

test.each([
  ["2", 2, 8000],
  ["2 reading", 1, 800],
  ["2 twice", 0, 100],
  ["3", 1, 15_000],
  ["one anchor", 2, 3000],
  ["one label", 1, 3000],
  ["new dataset", 2, 10_000],
  ["rebuild", 0, 200],
  ["step", 0, 200],
])("all interleavings of %s with up to %d faults", async (name, faults, least) => {
  const found = await explore(await SCENARIOS[name]!(faults));
  expect(found.violations).toEqual([]);
  expect(found.isComplete).toBe(true);
  expect(found.states).toBeGreaterThan(least);
});

test.each(Object.keys(VERBS).filter((name) => name !== "append that closes pages"))(
  "%s: every request, every ending",
  async (name) => {
    const { base, plan } = await VERBS[name]!();
    const { requests, violations } = await everyFault(base, plan);
    expect(violations).toEqual([]);
    expect(requests).toBeGreaterThan(3);
  },
);

test.each([
  ["fast-forward", 0, 1500],
  ["merge by address", 0, 5000],
  ["past reader", 1, 2000],
  ["reader", 0, 3000],
])("a collector and %s, with up to %d faults: all interleavings", async (name, faults, least) => {
  const found = await new Collecting(await COLLECT[name]!(faults)).explore();
  expect(found.violations).toEqual([]);
  expect(found.isComplete).toBe(true);
  expect(found.states).toBeGreaterThan(least);
  expect(found.deleted).toBeGreaterThan(50);
});

test("collectors beside everybody else, at random", async () => {
  const scenario = await manyCollecting(2);
  let deleted = 0;
  for (let seed = 1; seed <= 8; seed++) {
    const draw = numbers(seed);
    const walk = new Collecting(scenario);
    await walk.walk((count) => Math.floor(draw() * count));
    expect({ seed, wrong: walk.result.violations }).toEqual({ seed, wrong: [] });
    deleted += walk.result.deleted;
  }
  expect(deleted).toBeGreaterThan(8);
});

const OPTIONS = { clients: 3, ops: 5, faultsPerThousand: 150 };

test("random schedules of several clients, all verbs and faults", async () => {
  const base = await builtWorld([]);
  let requests = 0;
  for (let seed = 1; seed <= 100; seed++) {
    const schedule = await runSeed(base, seed, { ...OPTIONS, clients: 2 + (seed % 3) });
    requests += schedule.steps.length;
    expect({ seed, wrong: await schedule.verdict() }).toEqual({ seed, wrong: [] });
  }
  expect(requests).toBeGreaterThan(3000);
});

test("a seed is a schedule: it runs the same again, and from its choices alone", async () => {
  const base = await builtWorld([]);
  const first = await runSeed(base, 77, OPTIONS);
  expect((await runSeed(base, 77, OPTIONS)).steps).toEqual(first.steps);
  expect((await replay(base, plansOf(77, OPTIONS), first.choices)).steps).toEqual(first.steps);
});

test("what fails is made small", async () => {
  // A backend that loses an object is no fault of the library's: it is only there to have something to shrink.
  const base = await builtWorld([]);
  const options = { ...OPTIONS, faultsPerThousand: 0 };
  const damage = await runSeed(base, 5, options);
  const [victim] = [...base.values.keys()].filter((key) => key.startsWith("objects/")).slice(-1);
  base.values.delete(victim!);
  const failed = await runSeed(base, 5, options);
  expect((await failed.verdict()).length).toBeGreaterThan(0);
  const small = await shrink(base, 5, failed, options);
  expect(small.trace.length).toBeLessThan(damage.steps.length / 2);
  const again = await replay(base, small.plans, small.choices);
  expect((await again.verdict())[0]).toBe(small.message);
});
