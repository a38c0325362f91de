import { DreamDBError, isDreamDBError } from "../errors.ts";
import { Member } from "../workers/member.ts";
import { type ThreadMaker, threadOf } from "../workers/thread.ts";
import type { OpenSpace, SpaceLink, SpaceNews, SpaceVerbs } from "./verbs.ts";

/**
 * A Space whose dataset is in a worker of its own. A worker that died is replaced with the next call, by one that opens the
 * same address anew.
 * Errors: `InvalidArgument` for options that can't travel to another thread.
 */
export function linkThere(
  hello: OpenSpace,
  make: (() => Worker) | undefined,
  onNews: (news: SpaceNews) => void,
): SpaceLink {
  checkPlain(hello.options, "");
  checkPlain(hello.remote, "remote.");
  const ofWorker: ThreadMaker | undefined = make && ((events) => threadOf(make(), events));
  const member = new Member<SpaceVerbs>({
    hello: { verb: "open", args: hello },
    make: ofWorker,
    onNews: onNews as (news: unknown) => void,
    field: "worker",
  });
  return {
    async call(verb, args, { signal, isWrite = false } = {}) {
      try {
        if (signal === undefined) return await member.call(verb, args);
        return await member.callUntil(verb, args, signal, isWrite);
      } catch (error) {
        throw isWrite && isDreamDBError(error, "Aborted") && error.field === "worker"
          ? unknown(error)
          : error;
      }
    },
    async end() {
      // Nothing else is worth waiting for.
      if (hello.persist !== undefined && member.isRunning)
        await member.call("finish", {}).catch(() => undefined);
      await member.end("the Space was closed");
    },
  };
}

function checkPlain(options: object, path: string): void {
  for (const [name, value] of Object.entries(options)) {
    if (typeof value !== "function") continue;
    throw new DreamDBError("InvalidArgument", "a worker can't be given functions", {
      field: path + name,
      found: "a function",
      expected: "no such option beside `worker`",
    });
  }
}

/** A worker that died in the middle of a write. */
function unknown(cause: DreamDBError): DreamDBError {
  return new DreamDBError("CommitUnknown", "the worker ended while it wrote: look at the state it left", {
    field: "worker",
    retryable: true,
    committed: "unknown",
    cause,
  });
}
