import { DreamDBError } from "../errors.ts";
import { aborted } from "../store/aborted.ts";
import type { Reply, Verbs } from "./messages.ts";
import { newThread, type Thread, type ThreadMaker } from "./thread.ts";
import { fromWire } from "./wire-error.ts";

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** Requests by name. */
type AnyVerbs<S> = { [V in keyof S]: { args: unknown; value: unknown } };

/** How a member begins, and what it is for. */
export interface MemberOptions {
  /** The first request to every thread. When it fails, so does every later one. */
  hello: { verb: string; args: unknown };
  make?: ThreadMaker | undefined;
  /** Takes what the thread tells without being asked. */
  onNews?: (news: unknown) => void;
  /** The option by which the caller asked for threads, for messages. */
  field?: string;
}

/**
 * One worker thread and what is asked of it. It starts with the first call; when it dies, all calls under way fail, and the next one
 * starts another, which knows nothing of what the first was given.
 */
export class Member<S extends AnyVerbs<S> = Verbs> {
  private readonly options: MemberOptions;
  private readonly waiting = new Map<number, Waiting>();
  private thread: Thread | undefined;
  private lastId = 0;

  constructor(options: MemberOptions) {
    this.options = options;
  }

  /** Calls that are not answered yet. */
  get load(): number {
    return this.waiting.size;
  }

  /**
   * Asks the worker for something; `transfer` is gone from here.
   * Errors: those of the verb; `Aborted` (retryable) when the thread ends first, `OutOfMemory` when that was why.
   */
  call<V extends keyof S & string>(
    verb: V,
    args: S[V]["args"],
    transfer: ArrayBuffer[] = [],
  ): Promise<S[V]["value"]> {
    return this.ask({ verb, args }, transfer);
  }

  /**
   * As `call`, told when `signal` fires. Errors: also `Aborted`, at once, unless the answer is to be waited for: that of a
   * write alone knows whether it took effect.
   */
  callUntil<V extends keyof S & string>(
    verb: V,
    args: S[V]["args"],
    signal: AbortSignal,
    isAnswerNeeded: boolean,
  ): Promise<S[V]["value"]> {
    if (signal.aborted) return Promise.reject(aborted(signal, { committed: "no" }));
    const answer = this.ask({ verb, args, mayBeCancelled: true }, []);
    const [id, { thread }] = [this.lastId, this];
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        if (thread === this.thread) thread?.post({ cancel: id }, []);
        if (!isAnswerNeeded) reject(aborted(signal));
      };
      signal.addEventListener("abort", stop, { once: true });
      answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
    });
  }

  private ask(
    request: { verb: string; args: unknown; mayBeCancelled?: true },
    transfer: ArrayBuffer[],
  ): Promise<never> {
    return new Promise((resolve, reject) => {
      const thread = this.thread ?? this.start();
      this.send(thread, request, transfer, { resolve: resolve as (value: unknown) => void, reject });
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
    const { hello, make = newThread, onNews } = this.options;
    const thread: Thread = make({
      onMessage: (message) => {
        if (thread !== this.thread) return;
        if ("news" in (message as object)) onNews?.(message);
        else this.receive(message as Reply);
      },
      onEnd: (reason) => this.lose(thread, reason),
    });
    this.thread = thread;
    this.send(thread, hello, [], { resolve: () => undefined, reject: () => undefined });
    return thread;
  }

  private send(thread: Thread, request: object, transfer: ArrayBuffer[], waiting: Waiting): void {
    const id = ++this.lastId;
    this.waiting.set(id, waiting);
    if (this.waiting.size === 1) thread.hold(true);
    try {
      thread.post({ id, ...request }, transfer);
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
    for (const { reject } of lost) reject(death(this.options.field ?? "workers", reason));
  }
}

function death(field: string, reason: unknown): DreamDBError {
  const isMemory = (reason as { code?: unknown } | undefined)?.code === "ERR_WORKER_OUT_OF_MEMORY";
  return new DreamDBError(
    isMemory ? "OutOfMemory" : "Aborted",
    "a worker thread ended before its work was done; the next call starts another",
    {
      field,
      found: reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason),
      expected: "threads that live until they have answered",
      retryable: !isMemory,
      committed: "no",
      cause: reason,
    },
  );
}
