import { DreamDBError } from "../errors.ts";

/** Rows and bytes of an append so far. `bytesTotal` grows until all rows are encoded. */
export interface AppendProgress {
  rows: number;
  rowsTotal: number;
  bytes: number;
  bytesTotal: number;
}

/** Errors: `InvalidArgument` */
export function checkProgress(onProgress: unknown): void {
  if (onProgress === undefined || typeof onProgress === "function") return;
  throw new DreamDBError("InvalidArgument", "this can't be called", {
    field: "onProgress",
    found: onProgress,
    expected: "a function",
    committed: "no",
  });
}
