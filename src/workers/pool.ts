import { DreamDBError } from "../errors.ts";
import type { KernelMode } from "../kernels/load.ts";
import { Member } from "./member.ts";
import type { Verb, Verbs } from "./messages.ts";

const MAX_WORKERS = 256;

/**
 * Worker threads, each with a compute core and a memory of its own. They start when they are first needed; idle ones
 * don't keep a process alive.
 */
export class WorkerPool {
  readonly members: readonly Member[];
  private isClosed = false;
  private lastKey = 0;

  /** @throws DreamDBError InvalidArgument (size not in 1…256) */
  constructor(size: number, core: { mode: KernelMode; module: WebAssembly.Module }) {
    if (!Number.isInteger(size) || size < 1 || size > MAX_WORKERS) {
      throw new DreamDBError("InvalidArgument", "no such number of threads", {
        field: "workers",
        found: size,
        expected: `an integer from 0 to ${MAX_WORKERS}`,
      });
    }
    this.members = Array.from({ length: size }, () => new Member({ hello: { verb: "start", args: core } }));
  }

  get size(): number {
    return this.members.length;
  }

  /** Starts all threads that are not there yet: it takes a while, in which this thread may do something else. */
  wake(): void {
    if (!this.isClosed) for (const member of this.members) member.wake();
  }

  /** A number that nothing else in the workers goes by. */
  newKey(): number {
    return ++this.lastKey;
  }

  /** Asks worker `index`. Errors: as `Member.call`, and `Aborted` after `close`. */
  call<V extends Verb>(
    index: number,
    verb: V,
    args: Verbs[V]["args"],
    transfer: ArrayBuffer[] = [],
  ): Promise<Verbs[V]["value"]> {
    if (!this.isClosed) return (this.members[index] as Member).call(verb, args, transfer);
    const error = new DreamDBError("Aborted", "the dataset is closed", { field: "workers", committed: "no" });
    return Promise.reject(error);
  }

  /** Asks the worker that has the least to do. */
  callAny<V extends Verb>(
    verb: V,
    args: Verbs[V]["args"],
    transfer: ArrayBuffer[] = [],
  ): Promise<Verbs[V]["value"]> {
    let idlest = 0;
    this.members.forEach((member, i) => {
      if (member.load < (this.members[idlest] as Member).load) idlest = i;
    });
    return this.call(idlest, verb, args, transfer);
  }

  /** Asks every worker the same. */
  async callAll<V extends Verb>(verb: V, args: Verbs[V]["args"]): Promise<void> {
    await Promise.all(this.members.map((_, i) => this.call(i, verb, args)));
  }

  /** Lets every worker forget something; those that are gone have. */
  forget<V extends "releaseShare" | "releaseIndex">(verb: V, args: Verbs[V]["args"]): void {
    if (this.isClosed) return;
    for (const member of this.members) if (member.isRunning) member.call(verb, args).catch(() => undefined);
  }

  /** Ends all threads; what is under way fails with `Aborted`. */
  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.all(this.members.map((member) => member.end("the dataset was closed")));
  }
}

/** Runs `work` over `jobs` with at most `width` under way, and gives the results in the order of the jobs. */
export async function* inOrder<J, R>(
  jobs: Iterable<J>,
  width: number,
  work: (job: J) => Promise<R>,
): AsyncGenerator<R> {
  const running: Promise<R>[] = [];
  for (const job of jobs) {
    const result = work(job);
    // A later one may fail while an earlier is waited for.
    result.catch(() => undefined);
    running.push(result);
    if (running.length >= width) yield await (running.shift() as Promise<R>);
  }
  for (const result of running) yield await result;
}
