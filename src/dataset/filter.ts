/** `whereEq`: which rows of a batch have the wanted scalar values. */
import { DreamDBError } from "../errors.ts";
import type { FieldSpec } from "../objects/field.ts";
import type { BatchEntry } from "../objects/index-tree.ts";
import { ColumnReader } from "./rows.ts";
import type { Session } from "./session.ts";
import { equalityTest } from "./values.ts";

export interface Condition {
  field: FieldSpec;
  wanted: unknown;
  holds: (value: unknown) => boolean;
}

/** Errors: `InvalidArgument` for an unknown field, one that is no scalar, or a value of another type. */
export function conditionsOf(
  whereEq: Record<string, unknown> | undefined,
  fields: readonly FieldSpec[],
): Condition[] {
  return Object.entries(whereEq ?? {}).map(([name, wanted]) => {
    const field = fields.find((candidate) => candidate.name === name);
    if (field === undefined) {
      throw new DreamDBError("InvalidArgument", "whereEq names a field that the schema lacks", {
        field: `whereEq.${name}`,
        found: name,
        expected: `one of ${fields.map((candidate) => candidate.name).join(", ")}`,
      });
    }
    return { field, wanted, holds: equalityTest(field, wanted) };
  });
}

/** One byte a row, 1 where every condition holds; undefined when no row can match. */
export async function matchingRows(
  session: Session,
  entry: BatchEntry,
  conditions: readonly Condition[],
): Promise<Uint8Array | undefined> {
  const matches = new Uint8Array(entry.rows).fill(1);
  for (const { field, wanted, holds } of conditions) {
    const reader = await ColumnReader.open(session, field, entry, false);
    if (reader === undefined) return undefined;
    if (field.kind === "categorical" && !reader.head.dictionary.includes(wanted as string)) return undefined;
    const values: unknown[] = [];
    await reader.read(0, entry.rows, values);
    for (let row = 0; row < matches.length; row++) if (!holds(values[row])) matches[row] = 0;
  }
  return matches.includes(1) ? matches : undefined;
}
