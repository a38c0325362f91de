import type { Store } from "./store.ts";

/** A request that has ended. */
export interface WatchedRequest {
  verb: "get" | "put" | "delete";
  key: string;
  /** The part that was asked for; absent for all of it. */
  range?: { offset: number; length: number };
  /** Bytes of the answer to a get, or of what a put sent; 0 for an absent key, and after a failure. */
  bytes: number;
  ms: number;
  /** The code of its error, if it failed. */
  error?: string;
}

export interface StoreWatcher {
  onStart(): void;
  onEnd(request: WatchedRequest): void;
}

/** `store`, telling of each request. Repetitions after failures that pass are one request. */
export function watched(store: Store, { onStart, onEnd }: StoreWatcher): Store {
  async function told<T>(
    request: Pick<WatchedRequest, "verb" | "key" | "range">,
    work: () => Promise<T>,
    bytesOf: (value: T) => number,
  ): Promise<T> {
    const began = performance.now();
    onStart();
    try {
      const value = await work();
      onEnd({ ...request, bytes: bytesOf(value), ms: performance.now() - began });
      return value;
    } catch (error) {
      const code = (error as { code?: unknown } | undefined)?.code;
      const told = { error: typeof code === "string" ? code : String(error) };
      onEnd({ ...request, bytes: 0, ms: performance.now() - began, ...told });
      throw error;
    }
  }
  return {
    url: store.url,
    ...(store.sharedUrl === undefined ? {} : { sharedUrl: store.sharedUrl }),
    ...(store.isRemote === undefined ? {} : { isRemote: store.isRemote }),
    get: (key, range, options) =>
      told(
        { verb: "get", key, ...(range === undefined ? {} : { range }) },
        () => store.get(key, range, options),
        (found) => found?.bytes.length ?? 0,
      ),
    put: (key, bytes, condition, options) =>
      told(
        { verb: "put", key },
        () => store.put(key, bytes, condition, options),
        () => bytes.length,
      ),
    delete: (key, options) =>
      told(
        { verb: "delete", key },
        () => store.delete(key, options),
        () => 0,
      ),
    list: (prefix, options) => store.list(prefix, options),
    close: async () => store.close?.(),
  };
}
