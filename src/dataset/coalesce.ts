/** Which ranges share a request: requests cost a round trip, or money, and bytes between ranges cost time. */
import type { Span } from "../objects/column.ts";

/** How ranges are put together. */
export interface Reads {
  /** Two ranges of one object with at most so many bytes between them are read as one. */
  gapBytes: number;
  /** Ranges that one step of a query asks for: beyond that many, those that lie nearest are read as one. */
  ranges: number;
}

/** On a disk of one's own a further read costs less than what lies between. */
export const LOCAL_READS: Reads = { gapBytes: 64 << 10, ranges: Number.POSITIVE_INFINITY };
export const REMOTE_READS: Reads = { gapBytes: 64 << 10, ranges: 24 };

/** For each of two that read in one step. */
export function halfOf(reads: Reads): Reads {
  return { ...reads, ranges: reads.ranges / 2 };
}

/** A joined read stops growing here. */
const MAX_READ_BYTES = 4 << 20;

export interface Group {
  /** Which of the lists. */
  list: number;
  offset: number;
  length: number;
  /** Numbers of the spans in their list, by offset. */
  members: number[];
}

/** Plans the reads of `lists`, each the spans of one object; a pure function. */
export function coalesce(lists: readonly (readonly Span[])[], reads: Reads): Group[] {
  const near = lists.flatMap((spans, list) => joinNear(spans, list, reads.gapBytes));
  return near.length <= reads.ranges ? near : joinNearest(near, reads.ranges);
}

function joinNear(spans: readonly Span[], list: number, gapBytes: number): Group[] {
  const order = spans.map((_, i) => i).sort((a, b) => (spans[a] as Span).offset - (spans[b] as Span).offset);
  const groups: Group[] = [];
  for (const index of order) {
    const { offset, bytes } = spans[index] as Span;
    const next = { list, offset, length: bytes, members: [index] };
    const last = groups.at(-1);
    if (last !== undefined && gapBetween(last, next) <= gapBytes && fits(last, next)) join(last, next);
    else groups.push(next);
  }
  return groups;
}

/** Closes the narrowest gaps until `most` reads are left, or none may grow. */
function joinNearest(groups: readonly Group[], most: number): Group[] {
  const gaps: { before: number; bytes: number }[] = [];
  for (let i = 1; i < groups.length; i++) {
    const [a, b] = [groups[i - 1] as Group, groups[i] as Group];
    if (a.list === b.list) gaps.push({ before: i, bytes: gapBetween(a, b) });
  }
  gaps.sort((a, b) => a.bytes - b.bytes || a.before - b.before);
  // By group, the one that it was joined to.
  const head = groups.map((_, i) => i);
  const headOf = (i: number): number => {
    let at = i;
    while (head[at] !== at) at = head[at] as number;
    return at;
  };
  const joined = groups.map((group) => ({ ...group, members: [...group.members] }));
  let left = groups.length;
  for (const { before } of gaps) {
    if (left <= most) break;
    const into = headOf(before - 1);
    const [a, b] = [joined[into] as Group, joined[before] as Group];
    if (!fits(a, b)) continue;
    join(a, b);
    head[before] = into;
    left--;
  }
  return joined.filter((_, i) => head[i] === i);
}

function gapBetween(a: Group, b: Group): number {
  return b.offset - (a.offset + a.length);
}

function fits(a: Group, b: Group): boolean {
  return b.offset + b.length - a.offset <= MAX_READ_BYTES;
}

function join(a: Group, b: Group): void {
  a.length = Math.max(a.length, b.offset + b.length - a.offset);
  for (const member of b.members) a.members.push(member);
}
