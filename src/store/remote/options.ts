import { DreamDBError } from "../../errors.ts";

/** What any backend may be opened with; the rest is for those that are reached by HTTP. */
export interface StoreOptions extends RemoteOptions {
  /** Refuses to write: `put` and `delete` fail with `ReadOnly`. Default false. */
  readOnly?: boolean;
}

/** How a store reached by HTTP behaves. Every limit is the caller's; what is left out has the default named here. */
export interface RemoteOptions {
  /**
   * Signs requests with SigV4, with the credentials that the AWS SDK finds (Node only). Default: always for `s3://`; for
   * `http(s)://` when the environment names credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, …).
   */
  sign?: boolean;
  /** The region of signatures. Default: what the SDK finds; us-east-1 for endpoints that are not Amazon's. */
  region?: string;
  /**
   * The caller's word that nobody else writes here. Conditions are then checked by reading first, so that a backend
   * without conditional puts can be written; two writers at a time would lose each other's work. Default false.
   */
  singleWriter?: boolean;
  /** Requests under way at once, of this store. Default 32. */
  concurrency?: number;
  /** How often a request is sent in all, when sending it twice does no harm. Default 5. */
  attempts?: number;
  /** The pause before the n-th repetition is random, up to `minDelayMs` × 2^n, at most `maxDelayMs`. Default 100. */
  minDelayMs?: number;
  /** Also the longest pause that a server's Retry-After can ask for. Default 5,000. */
  maxDelayMs?: number;
  /** An attempt ends when so long nothing has moved. Default 30,000. */
  timeoutMs?: number;
  /** What is sent must flow at this rate on average, besides `timeoutMs`. Default 262,144. */
  minBytesPerSecond?: number;
  /** An operation ends after this, with all its repetitions and pauses. Default 600,000. */
  deadlineMs?: number;
  /** Takes the place of the platform's `fetch`, for unsigned requests. */
  fetch?: typeof fetch;
  /** Told once when an unsigned store is written. Default `console.warn`. */
  onWarning?: (message: string) => void;
  /** Numbers in [0, 1) for the pauses. Default `Math.random`. */
  random?: () => number;
}

export interface RemoteLimits {
  concurrency: number;
  attempts: number;
  minDelayMs: number;
  maxDelayMs: number;
  timeoutMs: number;
  minBytesPerSecond: number;
  deadlineMs: number;
}

const DEFAULTS: RemoteLimits = {
  concurrency: 32,
  attempts: 5,
  minDelayMs: 100,
  maxDelayMs: 5_000,
  timeoutMs: 30_000,
  minBytesPerSecond: 256 << 10,
  deadlineMs: 600_000,
};

/** Timers of JavaScript hold 31 bits of milliseconds. */
const MAX_MS = 2 ** 31 - 1;

/** Errors: `InvalidArgument` for what is not a positive number (delays may be 0). */
export function limitsOf(options: RemoteOptions): RemoteLimits {
  const limits = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS) as (keyof RemoteLimits)[]) {
    const given = options[name];
    if (given === undefined) continue;
    const least = name.endsWith("DelayMs") ? 0 : 1;
    if (!Number.isFinite(given) || given < least || given > MAX_MS) {
      throw new DreamDBError("InvalidArgument", "this limit can't be", {
        field: name,
        found: given,
        expected: `a number from ${least} to ${MAX_MS}`,
      });
    }
    limits[name] = given;
  }
  return limits;
}

/** Whether a thread that knows the address alone would send the same reads. */
export function isPlain({ sign, region, fetch }: RemoteOptions): boolean {
  return sign === undefined && region === undefined && fetch === undefined;
}
