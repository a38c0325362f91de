import type { ListedKey, Store } from "./store.ts";

/** `store`, with the caller's signal handed to every operation; the store itself when there is none. */
export function signalled(store: Store, signal: AbortSignal | undefined): Store {
  if (signal === undefined) return store;
  const options = { signal };
  return {
    url: store.url,
    ...(store.sharedUrl === undefined ? {} : { sharedUrl: store.sharedUrl }),
    ...(store.isRemote === undefined ? {} : { isRemote: store.isRemote }),
    get: (key, range, given) => store.get(key, range, { ...given, ...options }),
    put: (key, bytes, condition) => store.put(key, bytes, condition, options),
    delete: (key) => store.delete(key, options),
    list: (prefix): AsyncIterable<ListedKey> => store.list(prefix, options),
  };
}
