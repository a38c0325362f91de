/** Giving records their place in time. */
import { MAX_TICK } from "../core/time.ts";
import { DreamDBError } from "../errors.ts";
import { type BatchEntry, batchCodec, type IndexRoot } from "../objects/index-tree.ts";
import type { Deleted } from "./deleted.ts";
import type { Session } from "./session.ts";
import { anchorsOf, type BatchAnchors, entriesIn } from "./timeline.ts";

/** Automatic anchors are `lane` modulo this, so that branches with lanes of their own never mint the same one. */
export const LANES = 4096n;

/**
 * The first of `rows` automatic ticks: not before `now`, after every automatic one already given, ≡ lane modulo
 * 4096, and clear of all records there are or were deleted. Errors: `InvalidAnchor` when time has run out.
 */
export async function nextFree(
  session: Session,
  timeline: IndexRoot<BatchEntry>,
  {
    now,
    autoHigh,
    lane,
    rows,
    deleted,
  }: { now: bigint; autoHigh: bigint; lane: number; rows: number; deleted: Deleted },
): Promise<bigint> {
  const span = LANES * BigInt(rows - 1);
  let start = alignToLane(max(now, autoHigh, 0n), BigInt(lane));
  for (;;) {
    // A deleted record may be gone from the timeline.
    const dead = deleted.within(start, start + span).at(-1);
    const next = dead === undefined ? await firstClear(session, timeline, start, span) : dead + 1n;
    if (next === start) break;
    start = alignToLane(next, BigInt(lane));
  }
  if (start + span >= MAX_TICK) {
    throw new DreamDBError(
      "InvalidAnchor",
      "no free anchors are left before the end of time; give explicit ones",
      {
        field: "_anchor",
        found: start + span,
        expected: `at most ${MAX_TICK}`,
        committed: "no",
      },
    );
  }
  return start;
}

/** `start` when no batch has a record in [start, start + span], otherwise where a batch that has one leaves room. */
async function firstClear(
  session: Session,
  timeline: IndexRoot<BatchEntry>,
  start: bigint,
  span: bigint,
): Promise<bigint> {
  for await (const entry of entriesIn(session, timeline, batchCodec, { from: start, to: start + span })) {
    const next = gapIn(await anchorsOf(session, entry), start, span);
    if (next !== start) return next;
  }
  return start;
}

/**
 * The first tick from `start` on with `span` clear ticks after it, room to align included. A batch may reach far
 * into the future with few records in it, so the gaps between them count.
 */
function gapIn(anchors: BatchAnchors, start: bigint, span: bigint): bigint {
  const first = anchors.rowFrom(start);
  if (first === anchors.rows || anchors.tick(first) > start + span) return start;
  let row = first;
  while (row + 1 < anchors.rows && anchors.tick(row + 1) - anchors.tick(row) <= span + LANES) row++;
  return anchors.tick(row) + 1n;
}

function alignToLane(tick: bigint, lane: bigint): bigint {
  const rest = (((lane - tick) % LANES) + LANES) % LANES;
  return tick + rest;
}

function max(...values: bigint[]): bigint {
  return values.reduce((a, b) => (a > b ? a : b));
}
