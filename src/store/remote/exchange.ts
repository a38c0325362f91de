/** When a request is sent, how long it may take, and when it is sent again. */
import { DreamDBError, isDreamDBError } from "../../errors.ts";
import { aborted, checkSignal } from "../aborted.ts";
import { Gate } from "../gate.ts";
import type { RemoteLimits } from "./options.ts";
import { Refusal } from "./outcome.ts";

/** What one attempt works with. */
export interface Attempt {
  signal: AbortSignal;
  /** To be called when something has arrived: it has `timeoutMs` again for the next. */
  onProgress: () => void;
}

export interface Exchange {
  /** Sending it twice does no harm. */
  isRepeatable: boolean;
  /** Bytes to be sent, which `minBytesPerSecond` allows time for. */
  bytes?: number;
  signal: AbortSignal | undefined;
}

export class Exchanges {
  readonly #limits: RemoteLimits;
  readonly #random: () => number;
  readonly #gate: Gate;

  constructor(limits: RemoteLimits, random: () => number) {
    this.#limits = limits;
    this.#random = random;
    this.#gate = new Gate(limits.concurrency);
  }

  /**
   * Runs `work`, again after failures that may pass when that does no harm. Errors: those of the last attempt;
   * `Aborted` (without `committed` once something was sent).
   */
  async run<T>(exchange: Exchange, work: (attempt: Attempt) => Promise<T>): Promise<T> {
    const { signal, isRepeatable } = exchange;
    const endMs = performance.now() + this.#limits.deadlineMs;
    for (let sent = 1; ; sent++) {
      checkSignal(signal);
      try {
        return await this.#gate.run(() => this.#once(exchange, endMs, work));
      } catch (error) {
        if (isDreamDBError(error) && error.committed === "no" && !error.retryable) throw error;
        if (signal?.aborted)
          throw isDreamDBError(error, "Aborted") ? error : aborted(signal, { cause: error });
        if (!isRepeatable || !mayPass(error) || sent >= this.#limits.attempts) throw error;
        const pauseMs = this.#pauseMs(sent, error);
        if (performance.now() + pauseMs >= endMs) throw error;
        await pause(pauseMs, signal);
      }
    }
  }

  async #once<T>(exchange: Exchange, endMs: number, work: (attempt: Attempt) => Promise<T>): Promise<T> {
    const { signal, bytes = 0 } = exchange;
    checkSignal(signal);
    const { timeoutMs, minBytesPerSecond } = this.#limits;
    const ender = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let late: DreamDBError | undefined;
    const allow = (ms: number): void => {
      clearTimeout(timer);
      const leftMs = endMs - performance.now();
      timer = setTimeout(
        () => {
          late = tooLate(ms < leftMs ? timeoutMs : this.#limits.deadlineMs, ms >= leftMs);
          ender.abort(late);
        },
        Math.max(0, Math.min(ms, leftMs)),
      );
    };
    const onAbort = (): void => ender.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    allow(timeoutMs + (1000 * bytes) / minBytesPerSecond);
    try {
      // A transport that does not heed its signal must not hold the caller.
      return await Promise.race([
        work({ signal: ender.signal, onProgress: () => allow(timeoutMs) }),
        ended(ender.signal),
      ]);
    } catch (error) {
      throw late ?? error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #pauseMs(sent: number, error: unknown): number {
    const { minDelayMs, maxDelayMs } = this.#limits;
    const asked = error instanceof Refusal ? (error.retryAfterMs ?? 0) : 0;
    const drawn = this.#random() * Math.min(maxDelayMs, minDelayMs * 2 ** sent);
    return Math.max(drawn, Math.min(asked, maxDelayMs));
  }
}

function mayPass(error: unknown): boolean {
  return isDreamDBError(error) && error.retryable;
}

function tooLate(ms: number, isDeadline: boolean): DreamDBError {
  const found = isDeadline ? `no end within deadlineMs` : `nothing moved for timeoutMs`;
  return new DreamDBError("StoreUnavailable", "the server is too slow", {
    field: isDeadline ? "deadlineMs" : "timeoutMs",
    found,
    expected: `${ms} ms at most`,
    retryable: !isDeadline,
  });
}

function ended(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(aborted(signal as AbortSignal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
