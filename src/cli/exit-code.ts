/** What a shell sees of an outcome. The numbers are a promise to scripts: never renumber them. */
import { type ErrorCode, isDreamDBError } from "../index.node.ts";

export const ExitCode = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  notFound: 3,
  conflict: 4,
  damage: 5,
  unavailable: 6,
  unknownOutcome: 7,
} as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

const BY_ERROR: Record<ErrorCode, ExitCode> = {
  InvalidArgument: ExitCode.usage,
  SchemaViolation: ExitCode.usage,
  InvalidAnchor: ExitCode.usage,
  InvalidName: ExitCode.usage,
  InvalidUri: ExitCode.usage,
  InvalidAddress: ExitCode.usage,
  LimitExceeded: ExitCode.usage,
  ReadOnly: ExitCode.usage,
  NotFound: ExitCode.notFound,
  AlreadyExists: ExitCode.conflict,
  Conflict: ExitCode.conflict,
  MergeConflict: ExitCode.conflict,
  DuplicateAnchor: ExitCode.conflict,
  LineageMismatch: ExitCode.conflict,
  HashMismatch: ExitCode.damage,
  Corrupt: ExitCode.damage,
  NonCanonical: ExitCode.damage,
  RefRollback: ExitCode.damage,
  StoreUnavailable: ExitCode.unavailable,
  UnsupportedBackend: ExitCode.unavailable,
  UnsupportedVersion: ExitCode.unavailable,
  CommitUnknown: ExitCode.unknownOutcome,
  OutOfMemory: ExitCode.unexpected,
  Aborted: ExitCode.unexpected,
};

export function exitCodeOf(error: unknown): ExitCode {
  return isDreamDBError(error) ? (BY_ERROR[error.code] ?? ExitCode.unexpected) : ExitCode.unexpected;
}

/** As every manual page ends. */
export const EXIT_STATUS = `
0  done
1  unexpected failure
2  wrong usage or bad input
3  not found: dataset, record, object or file
4  exists already, or conflicts with what is there
5  damage found; or, of fsck --purged, something of deleted records
6  backend (or an optional part) not available or not supported
7  unknown whether the commit took effect`;
