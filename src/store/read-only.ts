import { DreamDBError } from "../errors.ts";
import type { Store } from "./store.ts";

/** `store` without its writes. Errors of these: `ReadOnly` (committed "no"). */
export function readOnly(store: Store): Store {
  const refuse = async (key: string): Promise<never> => {
    throw new DreamDBError("ReadOnly", "this backend was opened with readOnly", {
      field: key,
      found: "a write",
      expected: "reads",
      committed: "no",
    });
  };
  return {
    url: store.url,
    ...(store.sharedUrl === undefined ? {} : { sharedUrl: store.sharedUrl }),
    ...(store.isRemote === undefined ? {} : { isRemote: store.isRemote }),
    get: (key, range, options) => store.get(key, range, options),
    put: refuse,
    delete: refuse,
    list: (prefix, options) => store.list(prefix, options),
    close: async () => store.close?.(),
  };
}
