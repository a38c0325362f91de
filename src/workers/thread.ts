/** Threads as the pool uses them: Web Workers here; node.ts puts those of Node in their place. */
import { DreamDBError } from "../errors.ts";

export interface Thread {
  post(message: unknown, transfer: ArrayBuffer[]): void;
  /** Whether the process is to stay alive for it. */
  hold(isBusy: boolean): void;
  end(): Promise<unknown>;
}

export interface ThreadEvents {
  onMessage(message: unknown): void;
  /** It failed or ended, whoever ended it. May be called more than once. */
  onEnd(reason: unknown): void;
}

export type ThreadMaker = (events: ThreadEvents) => Thread;

let maker: ThreadMaker = webWorker;

/** Has other threads made from now on; returns what made them before. */
export function useThreads(make: ThreadMaker): ThreadMaker {
  const before = maker;
  maker = make;
  return before;
}

/** A new thread that runs worker.js. Errors: `UnsupportedBackend` where there are no threads. */
export function newThread(events: ThreadEvents): Thread {
  return maker(events);
}

function webWorker({ onMessage, onEnd }: ThreadEvents): Thread {
  if (typeof Worker === "undefined") {
    throw new DreamDBError("UnsupportedBackend", "this engine has no Web Workers", {
      field: "workers",
      expected: "0, or an engine that has them",
    });
  }
  // Bundlers know this very form, and bundle the worker with all it needs.
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  return threadOf(worker, { onMessage, onEnd });
}

/** A thread of a Web Worker that runs worker.js, wherever the application has it. */
export function threadOf(worker: Worker, { onMessage, onEnd }: ThreadEvents): Thread {
  worker.onmessage = ({ data }) => onMessage(data);
  worker.onmessageerror = () => onEnd("a message that can't be read");
  worker.onerror = (event) => {
    event.preventDefault();
    onEnd(event.message ?? "worker.js can't be loaded");
  };
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    hold: () => undefined,
    end: async () => worker.terminate(),
  };
}
