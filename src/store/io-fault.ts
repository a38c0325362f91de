import { DreamDBError, type ErrorDetails } from "../errors.ts";

const PLAIN_WORDS: Record<string, string> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  EROFS: "the file system is read-only",
  EMFILE: "this process has too many open files",
  ENFILE: "the system has too many open files",
  ENOTDIR: "a part of the path is a file, not a directory",
  EISDIR: "found a directory where a file belongs",
  ENOENT: "a file or directory vanished",
  EIO: "the device failed",
  EXDEV: "the store's directories lie on different file systems",
  ENAMETOOLONG: "the path is too long",
};

/** What may pass by itself; a full or read-only disk needs a person. */
const PASSING = new Set(["EMFILE", "ENFILE", "EAGAIN", "EBUSY", "EINTR", "ENOMEM", "ETIMEDOUT"]);

/** The operating system's code of an error, such as ENOENT; undefined for any other kind of error. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}

/**
 * The typed form of a failed file operation: `StoreUnavailable` with `errno`. `doing` says which file played
 * what part. Errors that don't come from the operating system are handed back as they are.
 */
export function ioFault(error: unknown, doing: string, details: ErrorDetails = {}): unknown {
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  const why = PLAIN_WORDS[errno] ?? (error as Error).message;
  return new DreamDBError("StoreUnavailable", `${doing} failed with ${errno}: ${why}`, {
    errno,
    retryable: PASSING.has(errno),
    cause: error,
    ...details,
  });
}

/** For failures after the point of no return: the write may or may not be seen. */
export function commitUnknown(key: string, why: string, cause?: unknown): DreamDBError {
  const errno = errnoOf(cause) ?? (cause as { errno?: unknown } | undefined)?.errno;
  const because = cause === undefined ? "" : `: ${(cause as Error).message}`;
  return new DreamDBError("CommitUnknown", `can't tell whether the write took effect; ${why}${because}`, {
    field: key,
    retryable: true,
    committed: "unknown",
    ...(typeof errno === "string" ? { errno } : {}),
    ...(cause === undefined ? {} : { cause }),
  });
}
