import { DreamDBError, type ErrorDetails } from "../errors.ts";

/** The error for a call that its caller has ended. */
export function aborted(signal: AbortSignal, details: ErrorDetails = {}): DreamDBError {
  const { reason } = signal;
  const why = reason instanceof Error && reason.name !== "AbortError" ? `: ${reason.message}` : "";
  return new DreamDBError("Aborted", `the caller's signal ended it${why}`, { cause: reason, ...details });
}

/** Errors: `Aborted` (committed "no") when the signal has fired already: nothing was begun. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal, { committed: "no" });
}

/** `promise`, or `Aborted` as soon as the signal fires; what it does goes on unheard. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const stop = (): void => reject(aborted(signal));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
