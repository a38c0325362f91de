/** Work that is sent to a worker and comes back by number, with progress in between. */

interface Answer<Result> {
  id: number;
  result?: Result;
  /** Done so far, 0 to 1. */
  share?: number;
  error?: string;
}

interface Errand<Result> {
  resolve(result: Result): void;
  reject(error: Error): void;
  onProgress: ((share: number) => void) | undefined;
}

/** A worker that is started with the first errand, and anew after it failed. */
export class Errands<Request, Result> {
  readonly #start: () => Worker;
  readonly #open = new Map<number, Errand<Result>>();
  #worker: Worker | undefined;
  #count = 0;

  constructor(start: () => Worker) {
    this.#start = start;
  }

  /** Errors: what the worker threw, or that it could not be started. */
  run(request: Request, onProgress?: (share: number) => void): Promise<Result> {
    this.#worker ??= this.#started();
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject, onProgress });
      this.#worker?.postMessage({ id, request });
    });
  }

  #started(): Worker {
    const worker = this.#start();
    worker.onmessage = ({ data }: MessageEvent<Answer<Result>>) => {
      const errand = this.#open.get(data.id);
      if (errand === undefined) return;
      if (data.share !== undefined) return errand.onProgress?.(data.share);
      this.#open.delete(data.id);
      if (data.error === undefined) errand.resolve(data.result as Result);
      else errand.reject(new Error(data.error));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      worker.terminate();
      this.#worker = undefined;
      const error = new Error(event.message || "a worker of this page could not be loaded");
      for (const errand of this.#open.values()) errand.reject(error);
      this.#open.clear();
    };
    return worker;
  }
}

/** The worker's side. */
export function answer<Request, Result>(
  work: (request: Request, onProgress: (share: number) => void) => Promise<Result>,
): void {
  const post = (message: Answer<Result>) => postMessage(message);
  addEventListener("message", ({ data: { id, request } }: MessageEvent<{ id: number; request: Request }>) => {
    work(request, (share) => post({ id, share })).then(
      (result) => post({ id, result }),
      (error: unknown) => post({ id, error: error instanceof Error ? error.message : String(error) }),
    );
  });
}
