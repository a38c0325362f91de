/** Checking that the parts of one state agree on its rows: no anchor twice, and every vector in its index. */
import type { FieldSpec } from "../objects/field.ts";
import { type BatchEntry, batchCodec } from "../objects/index-tree.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { corrupt } from "../objects/shape.ts";
import { isGraph, isTrained, tablesOf } from "../objects/spatial-index.ts";
import type { Deleted } from "./deleted.ts";
import { rowsWithValue } from "./fsck-graph.ts";
import { anchorsIn, type OpenSegment, openSegments, segmentsIn } from "./segments.ts";
import type { Session } from "./session.ts";
import { anchorsOf, batchesByTime, entriesIn } from "./timeline.ts";

/** Errors: `Corrupt` when a tick has two records. Only batches whose intervals overlap are read. */
export async function checkAnchors(session: Session, { timeline }: Manifest): Promise<void> {
  let open: BatchEntry[] = [];
  for await (const entry of batchesByTime(session, timeline, { from: 0n, to: 2n ** 64n - 1n })) {
    open = open.filter(({ base, span }) => base + span >= entry.base);
    for (const other of open) await refuseShared(session, other, entry);
    open.push(entry);
  }
}

/** @param later begins at the earliest where `earlier` does */
async function refuseShared(session: Session, earlier: BatchEntry, later: BatchEntry): Promise<void> {
  const [a, b] = [await anchorsOf(session, earlier), await anchorsOf(session, later)];
  const end = earlier.base + earlier.span;
  for (let row = 0; row < b.rows; row++) {
    const tick = b.tick(row);
    if (tick > end) return;
    const at = a.rowFrom(tick);
    if (at < a.rows && a.tick(at) === tick)
      throw corrupt("timeline.anchors", `two records at tick ${tick}`, "one");
  }
}

/**
 * Errors: `Corrupt` unless the segments hold each row that has the vector, once for each table, and no others. Deleted records
 * may be in one and not in the other: a purge takes them out of each by itself.
 */
export async function checkIndexed(
  session: Session,
  manifest: Manifest,
  field: FieldSpec,
  track: Track,
  deleted: Deleted,
): Promise<void> {
  const { spatialIndex, segments } = track;
  const isSegmented = isTrained(spatialIndex) || spatialIndex.algorithm === "dreamdb.lsh-cosine";
  if (isGraph(spatialIndex) || !isSegmented) {
    if (segments.rows > 0)
      throw corrupt("track.segments.rows", segments.rows, "0 for an index yet to be built");
    return;
  }
  const tables = tablesOf(spatialIndex);
  const isLive = (tick: bigint): boolean => !deleted.has(tick);
  const wanted = (await rowsWithValue(session, manifest, field, manifest.timeline.rows))
    .filter(isLive)
    .sort();
  const found = (await segmentAnchors(session, track)).filter(isLive).sort();
  if (found.length !== wanted.length * tables)
    throw corrupt("track.segments.rows", found.length, `${wanted.length} vectors in ${tables} tables`);
  const at = found.findIndex((anchor, i) => anchor !== wanted[Math.floor(i / tables)]);
  if (at >= 0)
    throw corrupt("segment.anchors", found[at], `${wanted[Math.floor(at / tables)]}, with a vector`);
}

async function segmentAnchors(session: Session, track: Track): Promise<BigUint64Array> {
  const anchors = new BigUint64Array(track.segments.rows);
  let filled = 0;
  for await (const entry of segmentsIn(session, track)) {
    const [opened] = (await openSegments(session, track, [entry])) as [OpenSegment];
    if (filled + entry.rows > anchors.length)
      throw corrupt("segment.rows", entry.rows, anchors.length - filled);
    for await (const ticks of anchorsIn(session, opened)) {
      anchors.set(ticks, filled);
      filled += ticks.length;
    }
  }
  return anchors.subarray(0, filled);
}

/** The rows of a timeline, as its batches count them. Errors: `Corrupt` when the root says another number. */
export async function checkRows(session: Session, { timeline }: Manifest): Promise<void> {
  let rows = 0;
  for await (const entry of entriesIn(session, timeline, batchCodec)) rows += entry.rows;
  if (rows !== timeline.rows) throw corrupt("timeline.rows", timeline.rows, rows);
}
