/**
 * A store in front of another that keeps what was read of objects, which never change. Who reads checks the bytes by their own hash
 * as ever, and asks `again` past what is kept where they are not what they should be.
 */
import { isObjectKey } from "./key.ts";
import type { ByteRange, GetOptions, Store, StoredValue } from "./store.ts";

/** Where bytes are kept, by name. It may lose them at any time, and does without what can't be kept; neither is an error. */
export interface Keeper {
  read(name: string): Promise<Uint8Array | undefined>;
  /** Readers wait for it where it has to be waited for. */
  write(name: string, bytes: Uint8Array): Promise<void> | void;
  /** When all that was to be kept is; for those that are not waited for as they write. */
  settled?(): Promise<void>;
}

/** `store`, with objects and ranges of them kept. It tells no `sharedUrl`: who opens the store by that passes what is kept. */
export function kept(store: Store, keeper: Keeper): Store {
  const get = async (
    key: string,
    range?: ByteRange,
    given?: GetOptions,
  ): Promise<StoredValue | undefined> => {
    if (!isObjectKey(key)) return store.get(key, range, given);
    const name = nameOf(key, range);
    const held = given?.again === true ? undefined : await keeper.read(name);
    if (held !== undefined) return { bytes: held, etag: "immutable" };
    const found = await store.get(key, range, given);
    if (found !== undefined) await keeper.write(name, found.bytes);
    return found;
  };
  return {
    url: store.url,
    ...(store.isRemote === undefined ? {} : { isRemote: store.isRemote }),
    get,
    put: (...given) => store.put(...given),
    delete: (...given) => store.delete(...given),
    list: (...given) => store.list(...given),
    close: async () => {
      await keeper.settled?.();
      await store.close?.();
    },
  };
}

/** An object's address, with what part of it was read: letters, digits, and at most a dot and a dash. */
function nameOf(key: string, range: ByteRange | undefined): string {
  const address = key.slice(key.lastIndexOf("/") + 1);
  return range === undefined ? address : `${address}.${range.offset}-${range.length}`;
}
