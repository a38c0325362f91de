/** What models of histories with branches and merges keep of records. */
import { digestOf } from "../../src/dataset/merge-rows.ts";
import type { Schema } from "../../src/dataset/schema.ts";

/** Of the fields `vector`, `name` and `size`, in this order. */
export type Row = { _anchor: bigint; vector: Float32Array; name: string; size?: number };
/** By anchor, every record that a branch was ever given or merged in, by the digest of its content: the greatest stays. */
export type Seen = Map<bigint, Map<string, Row>>;

export const copyOf = (seen: Seen): Seen =>
  new Map([...seen].map(([anchor, versions]) => [anchor, new Map(versions)]));

export function note(seen: Seen, row: Row, { fields }: Schema): void {
  const digest = digestOf(fields, [row.vector, row.name, row.size]);
  seen.set(row._anchor, (seen.get(row._anchor) ?? new Map()).set(digest, row));
}

/** What a merge brings from another branch, which may be the same one. */
export function noteAll(seen: Seen, other: Seen, schema: Schema): void {
  for (const versions of [...other.values()])
    for (const row of [...versions.values()]) note(seen, row, schema);
}

export function visible(seen: Seen, deleted: ReadonlySet<bigint> = new Set()): Row[] {
  return [...seen]
    .filter(([anchor]) => !deleted.has(anchor))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, versions]) => versions.get([...versions.keys()].sort().at(-1) as string) as Row);
}

/** To be compared: vectors as plain lists. */
export const plain = (rows: readonly Record<string, unknown>[]): unknown =>
  rows.map((row) => ({ ...row, vector: [...(row.vector as Float32Array)] }));
