/**
 * The long look: all interleavings of a few writers, and of collectors beside others, every fault of every request, then random schedules until the time
 * is up. Prints progress and one line of figures at the end; exits with 1 when anything was violated.
 */
import { parseArgs } from "node:util";
import { Collecting, type CollectResult } from "./collect.ts";
import { COLLECT, manyCollecting } from "./collect-scenarios.ts";
import { everyFault } from "./crash.ts";
import { explore, type Violation } from "./interleave.ts";
import { numbers, runSeed, shrink } from "./random.ts";
import { builtWorld, SCENARIOS, VERBS } from "./scenarios.ts";

const HELP = `npm run explore -- [options]
  --only PART       interleave, collect, crash or random; default all
  --scenario NAME   of interleave: ${Object.keys(SCENARIOS).join(", ")}; default all
                    of collect: ${Object.keys(COLLECT).join(", ")}, random (as long as there is time, from --seed); default all
  --verb NAME       of crash: ${Object.keys(VERBS).join(", ")}; default all
  --writers N       of interleave, that many writers alone; of random, that many clients at most. Default 3
  --faults N        of interleave and collect, faults in one schedule at most. Default 2
  --seed N          of random, the first seed. Default from the clock
  --replay          one random schedule of --seed, with its steps
  --ops N           of random, verbs of each client at most. Default 5
  --minutes N       for all parts together. Default 2
  --runs N          of random schedules, so many and no more
  --json            figures and violations as JSON, nothing else`;

const { values: flags } = parseArgs({
  options: {
    only: { type: "string" },
    scenario: { type: "string" },
    verb: { type: "string" },
    writers: { type: "string" },
    faults: { type: "string", default: "2" },
    seed: { type: "string" },
    replay: { type: "boolean", default: false },
    ops: { type: "string", default: "5" },
    minutes: { type: "string", default: "2" },
    runs: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const figures = { states: 0, transitions: 0, schedules: 0n, runs: 0, requests: 0, random: 0, incomplete: 0 };
const violations: (Violation & { where: string })[] = [];
const deadline = Date.now() + Number(flags.minutes) * 60_000;
const isWanted = (part: string): boolean => flags.only === undefined || flags.only === part;
const say = (line: string): void => {
  if (!flags.json) console.log(line);
};

if (flags.help) {
  console.log(HELP);
} else {
  if (isWanted("crash")) await crashes();
  if (isWanted("interleave")) await interleavings();
  if (isWanted("collect")) await collections();
  if (isWanted("random")) await schedules();
  report();
}

function report(): void {
  const { states, transitions, schedules, runs, requests, random, incomplete } = figures;
  if (flags.json) {
    console.log(JSON.stringify({ ...figures, schedules: String(schedules), violations }));
  } else {
    for (const { where, message, trace } of violations) {
      console.log(`\nVIOLATION in ${where}: ${message}`);
      for (const step of trace) console.log(`  ${step}`);
    }
    console.log(
      `${states} states, ${transitions} transitions and ${schedules} schedules of refs, ${runs} faults in ${requests} requests, ` +
        `${random} random schedules: ${violations.length} violations${incomplete > 0 ? `; ${incomplete} parts ran out of time` : ""}`,
    );
  }
  process.exitCode = violations.length > 0 ? 1 : 0;
}

async function crashes(): Promise<void> {
  for (const [name, make] of Object.entries(VERBS)) {
    if (flags.verb !== undefined && flags.verb !== name) continue;
    if (Date.now() > deadline) {
      figures.incomplete++;
      continue;
    }
    const { base, plan } = await make();
    const found = await everyFault(base, plan);
    figures.requests += found.requests;
    figures.runs += found.runs;
    say(
      `crash: ${name}: ${found.requests} requests, ${found.runs} runs, ${found.violations.length} violations`,
    );
    violations.push(...found.violations.slice(0, 1).map((each) => ({ ...each, where: name })));
  }
}

async function interleavings(): Promise<void> {
  const chosen = flags.scenario ?? flags.writers;
  for (const [name, make] of Object.entries(SCENARIOS)) {
    if (chosen === undefined ? name === "4" : name !== chosen) continue;
    const scenario = await make(Number(flags.faults));
    let saidAt = Date.now();
    const found = await explore(scenario, {
      deadline,
      onProgress: ({ states, level }) => {
        if (Date.now() - saidAt < 5000) return;
        saidAt = Date.now();
        say(`interleave: ${scenario.name}: ${states} states, ${level} steps deep`);
      },
    });
    figures.states += found.states;
    figures.transitions += found.transitions;
    figures.schedules += found.schedules;
    if (!found.isComplete && found.violations.length === 0) figures.incomplete++;
    say(
      `interleave: ${scenario.name}, ${scenario.faults} faults: ${found.states} states, ${found.schedules} schedules with ` +
        `${found.ends} ends, ${found.branches} different branches, ${found.isComplete ? "complete" : "not complete"}`,
    );
    violations.push(...found.violations.map((each) => ({ ...each, where: scenario.name })));
  }
}

async function collections(): Promise<void> {
  for (const [name, make] of Object.entries(COLLECT)) {
    if (flags.scenario !== undefined && flags.scenario !== name) continue;
    const scenario = await make(Number(flags.faults));
    let saidAt = Date.now();
    const found = await new Collecting(scenario).explore({
      deadline,
      onProgress: (states) => {
        if (Date.now() - saidAt < 5000) return;
        saidAt = Date.now();
        say(`collect: ${scenario.name}: ${states} states`);
      },
    });
    tally(scenario.name, scenario.faults, found);
  }
  if (flags.scenario !== undefined && flags.scenario !== "random") return;
  const scenario = await manyCollecting(Number(flags.faults));
  const first = Number(flags.seed ?? Date.now() % 1_000_000_000);
  const until = flags.only === undefined ? Math.min(deadline, Date.now() + 10_000) : deadline;
  for (let seed = first, runs = 0; runs < Number(flags.runs ?? 1e9) && Date.now() < until; seed++, runs++) {
    const draw = numbers(seed);
    const walk = new Collecting(scenario);
    const steps = await walk.walk((count) => Math.floor(draw() * count));
    if (flags.replay) for (const step of steps) say(step);
    figures.random++;
    figures.requests += steps.length;
    const [violation] = walk.result.violations;
    if (violation === undefined) {
      if (flags.replay) return;
      continue;
    }
    const again = `--only collect --scenario random --faults ${flags.faults} --seed ${seed} --replay`;
    violations.push({ ...violation, where: again });
    return;
  }
}

function tally(name: string, faults: number, found: CollectResult): void {
  figures.states += found.states;
  figures.transitions += found.transitions;
  figures.schedules += found.schedules;
  if (!found.isComplete && found.violations.length === 0) figures.incomplete++;
  const { states, schedules: ways, ends, deleted, isComplete } = found;
  say(
    `collect: ${name}, ${faults} faults: ${states} states, ${ways} schedules with ${ends} ends, ${deleted} deletes, ` +
      `${isComplete ? "complete" : "not complete"}`,
  );
  violations.push(...found.violations.map((each) => ({ ...each, where: name })));
}

async function schedules(): Promise<void> {
  const base = await builtWorld([]);
  const first = Number(flags.seed ?? Date.now() % 1_000_000_000);
  const most = flags.replay ? 1 : Number(flags.runs ?? Number.POSITIVE_INFINITY);
  let saidAt = Date.now();
  for (let seed = first; figures.random < most && (Date.now() < deadline || flags.replay); seed++) {
    const clients = 2 + (seed % Math.max(1, Number(flags.writers ?? 4) - 1));
    const options = { clients, ops: Number(flags.ops), faultsPerThousand: 150 };
    const schedule = await runSeed(base, seed, options);
    figures.random++;
    figures.requests += schedule.steps.length;
    if (flags.replay) for (const step of schedule.steps) say(step);
    if ((await schedule.verdict()).length > 0) {
      const small = await shrink(base, seed, schedule, options);
      violations.push({
        message: small.message,
        trace: small.trace,
        where: `--only random --writers ${flags.writers ?? 4} --ops ${flags.ops} --seed ${seed} --replay`,
      });
      if (violations.length >= 5) break;
    }
    if (Date.now() - saidAt > 5000) {
      saidAt = Date.now();
      say(`random: ${figures.random} schedules, at seed ${seed}`);
    }
  }
}
