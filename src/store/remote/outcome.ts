/** What an HTTP status means for the operation (spec/0005-backend-interface.md §7). */
import { DreamDBError, type ErrorDetails } from "../../errors.ts";
import type { WireAnswer } from "./wire.ts";

/** A refusal that may say when to come again. */
export class Refusal extends DreamDBError {
  readonly retryAfterMs: number | undefined;

  constructor(code: DreamDBError["code"], message: string, details: ErrorDetails, retryAfterMs?: number) {
    super(code, message, details);
    this.retryAfterMs = retryAfterMs;
  }
}

const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Answers that say of themselves that nothing was done. */
const REFUSED_UNDONE = new Set(["RequestTimeTooSkewed", "ExpiredToken"]);

/** The server's clock said no, or the credentials ended: the SDK has set itself right by the next attempt. */
function isHealed(answer: WireAnswer): boolean {
  return answer.code !== undefined && REFUSED_UNDONE.has(answer.code);
}

/** The error for an answer that is no success and no absence. `doing` names key and operation. */
export function refusalOf(answer: WireAnswer, doing: string): DreamDBError {
  const { status, code, reason } = answer;
  const said = [code, reason].filter((part) => part !== undefined && part !== "").join(", ");
  const details: ErrorDetails = {
    field: "status",
    found: `${status}${said === "" ? "" : ` ${said}`}`.slice(0, 300),
    retryable: PASSING.has(status) || isHealed(answer),
    ...(isUndone(status) ? { committed: "no" as const } : {}),
  };
  if (status === 501)
    return new DreamDBError("UnsupportedBackend", `${doing}: the server can't do this`, details);
  return new Refusal(
    "StoreUnavailable",
    `${doing}: ${plainWords(answer)}`,
    details,
    retryAfterMs(answer.retryAfter),
  );
}

/** A client error, or 501, comes before anything is done; after any other failure a write may have happened. */
export function isUndone(status: number): boolean {
  return (status >= 300 && status < 500 && status !== 408) || status === 501;
}

export function isNoBucket(answer: WireAnswer): boolean {
  return answer.status === 404 && answer.code === "NoSuchBucket";
}

/** 403 for want of permission, not for a wrong or missing signature. */
export function isDenied(answer: WireAnswer): boolean {
  return (
    answer.status === 403 && (answer.code === undefined || /^(AccessDenied|Forbidden)$/.test(answer.code))
  );
}

function plainWords(answer: WireAnswer): string {
  const { status } = answer;
  if (isNoBucket(answer)) return "the bucket does not exist";
  if (status === 401 || status === 403) return "the server denies access";
  if (status === 405) return "the server does not take this kind of request";
  if (status === 411 || status === 413) return "the server does not take a body of this length";
  if (status === 429 || status === 503) return "the server is busy";
  if (status === 507) return "the server's storage is full";
  if (status >= 300 && status < 400) return "the server points elsewhere; is this the bucket's region?";
  return status >= 500 ? "the server failed" : "the server refuses";
}

/** Seconds, or a date. */
function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

/** The outcome of a write that nobody knows: it may have happened, or may still. */
export function outcomeUnknown(key: string, cause: unknown): DreamDBError {
  const why = cause instanceof Error ? `: ${cause.message}` : "";
  return new DreamDBError("CommitUnknown", `can't tell whether the write took effect${why}`, {
    field: key,
    retryable: true,
    committed: "unknown",
    cause,
  });
}
