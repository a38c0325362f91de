/** Giving records their place in time. */
import { MAX_TICK } from "../core/time.ts";
import { DreamDBError } from "../errors.ts";
import { batchCodec, type BatchEntry, type IndexRoot } from "../objects/index-tree.ts";
import type { Session } from "./session.ts";
import { entriesIn } from "./timeline.ts";

/** Automatic anchors are `lane` modulo this, so that branches with lanes of their own never mint the same one. */
export const LANES = 4096n;

/**
 * The first of `rows` automatic ticks: not before `now`, after every automatic one already given, ≡ lane modulo
 * 4096, and clear of all records there are. Errors: `InvalidAnchor` when time has run out.
 */
export async function nextFree(
  session: Session,
  timeline: IndexRoot<BatchEntry>,
  { now, autoHigh, lane, rows }: { now: bigint; autoHigh: bigint; lane: number; rows: number },
): Promise<bigint> {
  const span = LANES * BigInt(rows - 1);
  let start = alignToLane(max(now, autoHigh, 0n), BigInt(lane));
  for (;;) {
    const blocking = await firstBatchIn(session, timeline, start, start + span);
    if (blocking === undefined) break;
    start = alignToLane(blocking.base + blocking.span + 1n, BigInt(lane));
  }
  if (start + span > MAX_TICK) {
    throw new DreamDBError("InvalidAnchor", "no free anchors are left before the end of time; give explicit ones", {
      field: "_anchor",
      found: start + span,
      expected: `at most ${MAX_TICK}`,
      committed: "no",
    });
  }
  return start;
}

async function firstBatchIn(
  session: Session,
  timeline: IndexRoot<BatchEntry>,
  from: bigint,
  to: bigint,
): Promise<BatchEntry | undefined> {
  for await (const entry of entriesIn(session, timeline, batchCodec, { from, to })) return entry;
  return undefined;
}

function alignToLane(tick: bigint, lane: bigint): bigint {
  const rest = (((lane - tick) % LANES) + LANES) % LANES;
  return tick + rest;
}

function max(...values: bigint[]): bigint {
  return values.reduce((a, b) => (a > b ? a : b));
}
