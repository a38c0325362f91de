/** What went wrong, as a small closed set. Recognise an error by its code, not by `instanceof`. */
export type ErrorCode =
  | "InvalidArgument"
  | "SchemaViolation"
  | "InvalidAnchor"
  | "DuplicateAnchor"
  | "InvalidName"
  | "InvalidUri"
  | "InvalidAddress"
  | "NonCanonical"
  | "LimitExceeded"
  | "HashMismatch"
  | "Corrupt"
  | "LineageMismatch"
  | "UnsupportedVersion"
  | "UnsupportedBackend"
  | "NotFound"
  | "AlreadyExists"
  | "Conflict"
  | "MergeConflict"
  | "CommitUnknown"
  | "RefRollback"
  | "ReadOnly"
  | "StoreUnavailable"
  | "OutOfMemory"
  | "Aborted";

/** What an error may say beyond its code; all of it also stands in the message. */
export interface ErrorDetails {
  /** The argument, record field, object key or byte field at fault. */
  field?: string;
  found?: unknown;
  expected?: unknown;
  /** True when the same call may succeed later. Default false. */
  retryable?: boolean;
  /** For verbs that write: whether the write took effect. */
  committed?: "yes" | "no" | "unknown";
  /** The operation to hand to `resume` after `CommitUnknown`: 32 hex digits. */
  opId?: string;
  /** The operating system's code, such as ENOSPC. */
  errno?: string;
  /** What contradicts what, with `MergeConflict`, and `LineageMismatch` of a merge: see `MergeConflict` of `MergeResult`. */
  conflicts?: readonly unknown[];
  cause?: unknown;
}

/** The one error class of the library. */
export class DreamDBError extends Error {
  override readonly name = "DreamDBError";
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly committed?: "yes" | "no" | "unknown";
  readonly field?: string;
  readonly found?: unknown;
  readonly expected?: unknown;
  readonly opId?: string;
  readonly errno?: string;
  readonly conflicts?: readonly unknown[];

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(describe(message, details), details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.retryable = details.retryable ?? false;
    if (details.committed !== undefined) this.committed = details.committed;
    if (details.field !== undefined) this.field = details.field;
    if ("found" in details) this.found = details.found;
    if ("expected" in details) this.expected = details.expected;
    if (details.opId !== undefined) this.opId = details.opId;
    if (details.errno !== undefined) this.errno = details.errno;
    if (details.conflicts !== undefined) this.conflicts = details.conflicts;
  }
}

/** True when `error` is a DreamDBError, of `code` when one is given; works across copies of the library. */
export function isDreamDBError(error: unknown, code?: ErrorCode): error is DreamDBError {
  if (!(error instanceof Error) || error.name !== "DreamDBError") return false;
  return code === undefined || (error as DreamDBError).code === code;
}

/** Runs a verb that writes. An error that does not say whether it took effect came before anything was published. */
export async function writing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isDreamDBError(error) && error.committed === undefined) Object.assign(error, { committed: "no" });
    throw error;
  }
}

function describe(message: string, details: ErrorDetails): string {
  const parts: string[] = [];
  if (details.field !== undefined) parts.push(`field: ${show(details.field)}`);
  if ("found" in details) parts.push(`found: ${show(details.found)}`);
  if ("expected" in details) parts.push(`expected: ${show(details.expected)}`);
  return parts.length === 0 ? message : `${message} (${parts.join(", ")})`;
}

/** A value as one short line, safe to print whatever it holds. */
function show(value: unknown): string {
  if (typeof value === "string")
    return value.length > 120 ? `${JSON.stringify(value.slice(0, 117))}…` : JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (ArrayBuffer.isView(value) || Array.isArray(value))
    return `${value.constructor.name} of ${(value as { length?: number }).length}`;
  if (typeof value === "object" && value !== null) return Object.prototype.toString.call(value).slice(8, -1);
  return String(value);
}
