/** Where `ingest` reads rows from. */
import type { FieldSpec } from "../index.node.ts";
import type { Declaration } from "./declaration.ts";

/** A row as its source has it: JSON values, text, or Arrow cells under the names of fields. */
export interface Row {
  /** Where it stands, for messages: "line 12", "row 5", "cats/1.png". */
  where: string;
  values: Record<string, unknown>;
}

export interface Source {
  /** Folder that media files of rows lie below. */
  readonly base: string;
  readonly progress: SourceProgress;
  /** The fields as far as the first rows tell, for a new dataset without --schema; `_anchor` is none of them. */
  infer(): Promise<Declaration[]>;
  /** Every row, once. Rows that `infer` looked at come again. */
  rows(fields: readonly FieldSpec[]): AsyncIterable<Row>;
  close(): Promise<void>;
}

export interface SourceProgress {
  unit: "bytes" | "files" | "rows";
  done: number;
  total: number | undefined;
}

export interface SourceOptions {
  /** Rows that `infer` may look at. */
  batch: number;
  /** Name of the anchor among a row's values, which is not inferred as a field. */
  anchorField: string;
  /** Folder for media files, in place of the source's own. */
  base: string | undefined;
}
