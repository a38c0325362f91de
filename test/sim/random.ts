/** Schedules drawn at random from a seed: two to four clients, all verbs, all faults. A failing one is made small. */
import { type ClientPlan, type Op, rich } from "./client.ts";
import type { Violation } from "./interleave.ts";
import { type Choice, ENDS, type End, play, type Schedule } from "./schedule.ts";
import type { World } from "./world.ts";

export interface RandomOptions {
  clients: number;
  /** Verbs of each client. */
  ops: number;
  /** Of a thousand requests, how many end in a fault. */
  faultsPerThousand: number;
}

export interface RandomViolation extends Violation {
  seed: number;
  plans: ClientPlan[];
  choices: Choice[];
}

/** Numbers in [0, 1): the same for the same seed. */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function plansOf(seed: number, { clients, ops }: RandomOptions): ClientPlan[] {
  const random = numbers(seed);
  const below = (n: number): number => Math.floor(random() * n);
  return Array.from({ length: clients }, (_, client): ClientPlan => {
    const isReader = clients > 2 && client === clients - 1 && random() < 0.5;
    let counter = 100 * (client + 1);
    const rows = (): number[] => Array.from({ length: 1 + below(3) }, () => counter++);
    const write = (): Op => {
      const roll = random();
      if (roll < 0.5) return { do: "append", rows: rows() };
      if (roll < 0.7) return { do: "append", rows: rows(), at: 1000 * below(4) };
      if (roll < 0.77) return { do: "rebuild" };
      if (roll < 0.82) return { do: "compress" };
      if (roll < 0.87) return { do: "graph" };
      if (roll < 0.94) return { do: "snapshot", label: `v${below(2)}` };
      return { do: "create", name: `new${below(2)}` };
    };
    const read = (): Op =>
      [
        { do: "read" },
        { do: "search" },
        { do: "refresh" },
        { do: "refs" },
        { do: "history" },
        { do: "reopen" },
      ][below(6)] as Op;
    return {
      ops: Array.from({ length: 1 + below(ops) }, () => (isReader || random() < 0.3 ? read() : write())),
      schema: rich,
      isReader,
      reopens: random() < 0.5,
      patience: below(4),
      retries: below(5),
      skewYears: [0, below(21) - 10, below(21) - 10],
    };
  });
}

function chooser(
  seed: number,
  { faultsPerThousand }: RandomOptions,
): (schedule: Schedule, ready: number) => Choice {
  const random = numbers(seed ^ 0x5eed);
  // Some schedules are calm, some are storms, and some let one client run on for a while.
  const rate = (faultsPerThousand / 1000) * (random() < 0.3 ? 0 : random() * 2);
  const runOn = random() * 0.8;
  let last = 0;
  return (_schedule, ready) => {
    const pick = random() < runOn ? last % ready : Math.floor(random() * ready);
    last = pick;
    let end: End = random() < rate ? (ENDS[Math.floor(random() * ENDS.length)] as End) : "ok";
    // A crash ends much; it is drawn a third as often as the others.
    if (end.startsWith("crash") && random() < 0.67) end = "lost";
    return { pick, end };
  };
}

export async function runSeed(base: World, seed: number, options: RandomOptions): Promise<Schedule> {
  return play(base, plansOf(seed, options), chooser(seed, options));
}

/** A smaller run that still goes wrong: fewer verbs, fewer faults, less jumping between clients. */
export async function shrink(
  base: World,
  seed: number,
  failed: Schedule,
  options: RandomOptions,
): Promise<RandomViolation> {
  let plans = plansOf(seed, options);
  let choices = failed.choices;
  let steps = failed.steps;
  let message = "";
  const goesWrong = async (tryPlans: ClientPlan[], tryChoices: Choice[]): Promise<boolean> => {
    const schedule = await replay(base, tryPlans, tryChoices);
    const [first] = await schedule.verdict();
    if (first === undefined) return false;
    message = first;
    plans = tryPlans;
    choices = tryChoices;
    steps = schedule.steps;
    return true;
  };
  await goesWrong(plans, choices);
  for (let isSmaller = true; isSmaller; ) {
    isSmaller = false;
    for (let client = 0; client < plans.length; client++) {
      for (let op = (plans[client] as ClientPlan).ops.length - 1; op >= 0; op--) {
        const fewer = plans.map((plan, i) =>
          i === client ? { ...plan, ops: plan.ops.filter((_, j) => j !== op) } : plan,
        );
        if (await goesWrong(fewer, choices)) isSmaller = true;
      }
    }
    for (let size = choices.length >> 1; size > 0; size >>= 1) {
      for (let at = 0; at + size <= choices.length; at += size) {
        const fewer = [...choices.slice(0, at), ...choices.slice(at + size)];
        if (await goesWrong(plans, fewer)) isSmaller = true;
      }
    }
    for (let at = 0; at < choices.length; at++) {
      const { pick, end } = choices[at] as Choice;
      for (const simpler of [
        { pick: 0, end },
        { pick, end: "ok" as const },
      ]) {
        if (simpler.pick === pick && simpler.end === end) continue;
        const changed = choices.map((choice, i) => (i === at ? simpler : choice));
        if (await goesWrong(plans, changed)) isSmaller = true;
      }
    }
  }
  return { message, trace: steps, seed, plans, choices };
}

/** The same run again; after its last choice all goes well, in order. */
export function replay(
  base: World,
  plans: readonly ClientPlan[],
  choices: readonly Choice[],
): Promise<Schedule> {
  let next = 0;
  return play(base, plans, () => choices[next++] ?? { pick: 0, end: "ok" });
}
