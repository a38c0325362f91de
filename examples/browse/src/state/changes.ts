/** What differs between two states: counts, and a few records of each kind. */
import type { Diff } from "@dreamlake/dreamdb/space";
import { freeRow, type Row, rowOf } from "./row.ts";
import { cardFields, shapeOf } from "./shape.ts";
import type { Travels } from "./travels.ts";

const SAMPLES = 12;
/** Records that are looked at for samples of all kinds. */
const MOST_READ = 1024;

export type ChangeKind = "added" | "removed" | "changed";

export interface ChangedRow {
  row: Row;
  /** Of a record that changed: which fields. */
  fields: readonly string[];
}

export interface Changes {
  counts: Record<ChangeKind, number>;
  rows: { from: number; to: number };
  samples: Record<ChangeKind, ChangedRow[]>;
  fields: Diff["fields"];
  indexes: Diff["indexes"];
}

/** Errors: `LineageMismatch`, those of reading. */
export async function changesBetween(
  { base }: Travels,
  from: string,
  to: string,
  signal: AbortSignal,
): Promise<Changes> {
  const later = await base.at(to, { signal });
  try {
    const diff = await later.diff(from, { signal });
    const { added, removed, changed, rows, fields, indexes } = diff;
    const counts = { added, removed, changed };
    const samples: Changes["samples"] = { added: [], removed: [], changed: [] };
    const tracks = later.tracks();
    // A field of today may be unknown to the state before: those that both have are read.
    const wanted = cardFields(shapeOf(tracks));
    const isFull = (kind: ChangeKind) => samples[kind].length >= Math.min(SAMPLES, counts[kind]);
    let read = 0;
    if (added + removed + changed > 0) {
      for await (const { change, anchor, before, after, fields: names = [] } of diff.records({
        fields: wanted,
      })) {
        if (!isFull(change))
          samples[change].push({ row: rowOf(anchor, after ?? before ?? {}, tracks), fields: names });
        if ((isFull("added") && isFull("removed") && isFull("changed")) || ++read >= MOST_READ) break;
      }
    }
    return { counts, rows, samples, fields, indexes };
  } finally {
    await later.close();
  }
}

export function freeChanges({ samples }: Changes): void {
  for (const some of Object.values(samples)) for (const { row } of some) freeRow(row);
}
