import { DreamDBError } from "../errors.ts";
import type { KernelMode } from "../kernels/load.ts";
import type { Reply, Verb, Verbs } from "./messages.ts";
import { newThread, type Thread } from "./thread.ts";
import { fromWire } from "./wire-error.ts";

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/**
 * One worker of a pool. Its thread starts with the first call; when it dies, all calls under way fail, and the next one
 * starts another, which knows nothing of what the first was given.
 */
export class Member {
  private readonly core: { mode: KernelMode; module: WebAssembly.Module };
  private readonly waiting = new Map<number, Waiting>();
  private thread: Thread | undefined;
  private lastId = 0;

  constructor(core: { mode: KernelMode; module: WebAssembly.Module }) {
    this.core = core;
  }

  /** Calls that are not answered yet. */
  get load(): number {
    return this.waiting.size;
  }

  /**
   * Asks the worker for something; `transfer` is gone from here.
   * Errors: those of the verb; `Aborted` (retryable) when the thread ends first, `OutOfMemory` when that was why.
   */
  call<V extends Verb>(
    verb: V,
    args: Verbs[V]["args"],
    transfer: ArrayBuffer[] = [],
  ): Promise<Verbs[V]["value"]> {
    return new Promise((resolve, reject) => {
      const thread = this.thread ?? this.start();
      this.send(thread, verb, args, transfer, { resolve: resolve as (value: unknown) => void, reject });
    });
  }

  /** Starts the thread, if there is none, so that a call to come finds it at work. */
  wake(): void {
    this.thread ??= this.start();
  }

  /** Whether a thread is there that may hold something. */
  get isRunning(): boolean {
    return this.thread !== undefined;
  }

  async end(reason: string): Promise<void> {
    const { thread } = this;
    this.lose(thread, reason);
    await thread?.end();
  }

  private start(): Thread {
    const thread: Thread = newThread({
      onMessage: (message) => this.receive(message as Reply),
      onEnd: (reason) => this.lose(thread, reason),
    });
    this.thread = thread;
    // When this fails, so does every later call.
    this.send(thread, "start", this.core, [], { resolve: () => undefined, reject: () => undefined });
    return thread;
  }

  private send(thread: Thread, verb: Verb, args: unknown, transfer: ArrayBuffer[], waiting: Waiting): void {
    const id = ++this.lastId;
    this.waiting.set(id, waiting);
    if (this.waiting.size === 1) thread.hold(true);
    try {
      thread.post({ id, verb, args }, transfer);
    } catch (error) {
      this.settle(id)?.reject(error);
    }
  }

  private receive(reply: Reply): void {
    const waiting = this.settle(reply.id);
    if ("error" in reply) waiting?.reject(fromWire(reply.error));
    else waiting?.resolve(reply.value);
  }

  private settle(id: number): Waiting | undefined {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    if (this.waiting.size === 0) this.thread?.hold(false);
    return waiting;
  }

  private lose(thread: Thread | undefined, reason: unknown): void {
    if (thread === undefined || thread !== this.thread) return;
    this.thread = undefined;
    thread.end().catch(() => undefined);
    const lost = [...this.waiting.values()];
    this.waiting.clear();
    for (const { reject } of lost) reject(death(reason));
  }
}

function death(reason: unknown): DreamDBError {
  const isMemory = (reason as { code?: unknown } | undefined)?.code === "ERR_WORKER_OUT_OF_MEMORY";
  return new DreamDBError(
    isMemory ? "OutOfMemory" : "Aborted",
    "a worker thread ended before its work was done; the next call starts another",
    {
      field: "workers",
      found: reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason),
      expected: "threads that live until they have answered",
      retryable: !isMemory,
      committed: "no",
      cause: reason,
    },
  );
}
