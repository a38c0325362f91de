/** One writer, one verb: every request of it, ending in every way there is. */
import type { ClientPlan, Op } from "./client.ts";
import type { Violation } from "./interleave.ts";
import { ENDS, type End, play, type Schedule } from "./schedule.ts";
import type { World } from "./world.ts";

export interface CrashCounts {
  requests: number;
  runs: number;
  violations: Violation[];
}

/** What the writer does afterwards, which must work: it was told of the failure, and the backend is back. */
const AFTER: Op[] = [{ do: "refresh" }, { do: "append", rows: [900, 901] }, { do: "read" }];

export async function everyFault(base: World, plan: ClientPlan): Promise<CrashCounts> {
  const counts: CrashCounts = { requests: 0, runs: 0, violations: [] };
  const opening = await stepsOf(base, { ...plan, ops: [] });
  const all = await stepsOf(base, plan);
  counts.requests = all - opening;
  for (const end of ENDS) {
    if (end === "ok") continue;
    for (let at = 0; at < all; at++) {
      const schedule = await playOne(base, { ...plan, ops: [...plan.ops, ...AFTER] }, at, end);
      counts.runs++;
      const found = [...(await schedule.verdict()), ...usable(schedule, plan.ops.length)];
      for (const message of found.slice(0, 1))
        counts.violations.push({ message, trace: traceOf(schedule, at) });
    }
  }
  return counts;
}

async function stepsOf(base: World, plan: ClientPlan): Promise<number> {
  const schedule = await play(base, [plan], () => ({ pick: 0, end: "ok" }));
  const wrong = schedule.clients[0]?.outcomes.filter((outcome) => outcome.code !== undefined) ?? [];
  if (wrong.length > 0) throw new Error(`fails without any fault: ${wrong.map((outcome) => outcome.code)}`);
  return schedule.steps.length;
}

function playOne(base: World, plan: ClientPlan, at: number, end: End): Promise<Schedule> {
  return play(base, [plan], (schedule) => ({ pick: 0, end: schedule.steps.length === at ? end : "ok" }));
}

/** A client that lives on can write and read again. */
function usable(schedule: Schedule, first: number): string[] {
  const [client] = schedule.clients;
  if (client === undefined || client.state === "crashed") return [];
  const after = client.outcomes.slice(first);
  const failed = after.filter((outcome) => outcome.code !== undefined && outcome.committed !== "yes");
  if (after.length === AFTER.length && failed.length === 0) return [];
  return [`afterwards, ${failed[0]?.op.do} fails with ${failed[0]?.code}`];
}

function traceOf(schedule: Schedule, at: number): string[] {
  return schedule.steps.map((step, i) => (i === at ? `${step} ←` : step));
}
