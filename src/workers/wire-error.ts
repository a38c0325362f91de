/** Errors on their way from a worker: a structured clone would keep their text alone. */
import { DreamDBError, type ErrorCode, isDreamDBError } from "../errors.ts";

export interface WireError {
  code: ErrorCode;
  message: string;
  /** What else the error says. */
  details: Record<string, unknown>;
}

const DETAILS = ["field", "found", "expected", "retryable", "committed", "opId", "errno"] as const;

export function toWire(error: unknown): WireError {
  if (isDreamDBError(error)) {
    const given = DETAILS.filter((name) => error[name] !== undefined);
    const details = Object.fromEntries(given.map((name) => [name, plain(error[name])]));
    return { code: error.code, message: error.message, details };
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  // What engines throw when there is no room for an ArrayBuffer or a WASM memory.
  const isMemory = error instanceof RangeError && /alloc|memory/i.test(message);
  return {
    code: isMemory ? "OutOfMemory" : "Aborted",
    message: `a worker could not do its part: ${message}`,
    details: { field: "workers" },
  };
}

export function fromWire({ code, message, details }: WireError): DreamDBError {
  // The message says all of it already, so the details are laid on afterwards.
  return Object.assign(new DreamDBError(code, message), details);
}

function plain(value: unknown): unknown {
  return typeof value === "object" || typeof value === "function" || typeof value === "symbol"
    ? String(value)
    : value;
}
