/**
 * Whether a server keeps conditional puts, found out by trying (spec/0005-backend-interface.md §7.4). Some answer 501,
 * some accept the headers and write regardless: there, two writers would silently lose each other's commits.
 */
import { DreamDBError } from "../../errors.ts";
import { bareEtag, type EtagStyle, isEtag, styledEtag } from "./etag.ts";
import { isUndone, refusalOf } from "./outcome.ts";
import type { WireAnswer } from "./wire.ts";

/** A cell beside the refs, which holds always the same bytes: whoever probes at the same time disturbs nobody. */
export const PROBE_KEY = "meta/probe";
export const PROBE_BODY = new TextEncoder().encode("dreamdb probe\n");

/** A server whose tags differ with every write lets probes of several writers disturb each other; then it is tried again. */
const ROUNDS = 50;

type Condition = { ifNoneMatch: "*" } | { ifMatch: string };

export interface ProbeRequests {
  /** The probe's tag as the server sends it; undefined when there is no such key. */
  get(): Promise<{ etag: string | undefined } | undefined>;
  /** Any answer below 500, and 501. */
  put(condition: Condition): Promise<WireAnswer>;
  /** A random while, so that writers fall out of step. */
  pause(): Promise<void>;
}

/** The form in which the server takes tags. Errors: `UnsupportedBackend` (committed "no"). */
export async function probe(requests: ProbeRequests, url: string): Promise<EtagStyle> {
  await probeCreate(requests, url);
  let before: string | undefined;
  for (let round = 0; round < ROUNDS; round++) {
    const current = await requests.get();
    if (current === undefined) {
      await probeCreate(requests, url);
      continue;
    }
    const etag = bareEtag(current.etag);
    if (etag === undefined || !isEtag(etag)) throw unfit(url, "shows no ETag", "an ETag, to browsers too");
    // Nobody came between, and yet no form of it was taken.
    if (etag === before) break;
    before = etag;
    for (const style of ["quoted", "bare"] as const) {
      const taken = await swap(requests, styledEtag(etag, style));
      if (!taken) continue;
      if (await swap(requests, styledEtag(otherThan(etag), style)))
        throw unfit(url, "ignores If-Match", "412 for a tag that is not the current one");
      return style;
    }
    await requests.pause();
  }
  throw unfit(url, "answers 412 to If-Match with the current tag", "success");
}

async function probeCreate(requests: ProbeRequests, url: string): Promise<void> {
  if (!(await create(requests))) return;
  if (await create(requests)) throw unfit(url, "ignores If-None-Match", "412 where there is a value");
}

async function create(requests: ProbeRequests): Promise<boolean> {
  return wrote(await requests.put({ ifNoneMatch: "*" }), [304, 409, 412]);
}

async function swap(requests: ProbeRequests, tag: string): Promise<boolean> {
  return wrote(await requests.put({ ifMatch: tag }), [404, 409, 412]);
}

/** @param refusing the statuses that say that the condition does not hold */
function wrote(answer: WireAnswer, refusing: readonly number[]): boolean {
  const { status, code } = answer;
  if (status >= 200 && status < 300) return true;
  if (refusing.includes(status) && code !== "NoSuchBucket") return false;
  // A tag in the form that a server does not take may also be a bad request to it.
  if (status === 400 && refusing.includes(404)) return false;
  const refusal = refusalOf(answer, "trying a conditional put");
  if (isUndone(status) && refusal.code === "UnsupportedBackend")
    throw unfit(undefined, `answers ${status} to conditional puts`, "conditional puts", refusal);
  throw refusal;
}

/** As long as the real one and of its kind, but another. */
function otherThan(etag: string): string {
  return (etag.startsWith("0") ? "1" : "0") + etag.slice(1);
}

function unfit(url: string | undefined, what: string, expected: string, cause?: unknown): DreamDBError {
  return new DreamDBError(
    "UnsupportedBackend",
    `this backend ${what}, so that writers could overwrite each other; it can be read, and written by one writer ` +
      "at a time who says so with singleWriter: true",
    {
      field: "backend",
      ...(url === undefined ? {} : { found: url }),
      expected,
      committed: "no",
      ...(cause === undefined ? {} : { cause }),
    },
  );
}
