/** What a search found, before any field is read. */

import type { BatchEntry, SegmentEntry } from "../objects/index-tree.ts";
import { distanceOf } from "../objects/metric.ts";
import { decodeSegmentAnchors, type SegmentHead } from "../objects/segment.ts";
import type { Scan } from "./exact-search.ts";
import type { OpenContainer, Session } from "./session.ts";
import { anchorsOf, type Located } from "./timeline.ts";

export interface Hit {
  tick: bigint;
  distance: number;
  /** Where the record is, when the search came by it. */
  at?: Located;
}

/** Where the rows of a scan come from: a batch, or a segment. */
export type Source = { entry: BatchEntry } | { segment: SegmentEntry; container: OpenContainer<SegmentHead> };

/** The best of a scan with their anchors, nearest first, equal distances by anchor; each record once. */
export async function hitsOf(session: Session, scan: Scan<Source>): Promise<Hit[]> {
  const hits = new Map<bigint, Hit>();
  for (const { source, row, score } of scan.drain()) {
    const distance = distanceOf(scan.metric, score);
    if ("entry" in source) {
      const anchors = await anchorsOf(session, source.entry);
      const tick = anchors.tick(row);
      hits.set(tick, { tick, distance, at: { entry: source.entry, row } });
    } else {
      const tick = source.segment.base + (await segmentOffset(session, source.container, row));
      hits.set(tick, { tick, distance });
    }
  }
  return [...hits.values()].sort((a, b) => a.distance - b.distance || (a.tick < b.tick ? -1 : 1));
}

async function segmentOffset(
  session: Session,
  container: OpenContainer<SegmentHead>,
  row: number,
): Promise<bigint> {
  const { head } = container;
  const block = head.blocks.at(head.blocks.indexOf(row));
  const [bytes] = await session.spans(container, [block.anchors]);
  return decodeSegmentAnchors(head, block, bytes as Uint8Array)[row - block.firstRow] as bigint;
}
