/** A value as the backend holds it, with the tag that a compare-and-swap names. */
export interface StoredValue {
  bytes: Uint8Array;
  etag: string;
}

/** `create`: only if the key is absent. `ifMatch`: only if the key's current tag is this one. */
export type PutCondition = { create: true } | { ifMatch: string };

export interface ByteRange {
  /** First byte, from 0. */
  offset: number;
  /** Bytes wanted; what lies past the value's end is simply not returned. */
  length: number;
}

export interface RequestOptions {
  /** Ends the operation with `Aborted`; a conditional put that was under way by then with `CommitUnknown`. */
  signal?: AbortSignal | undefined;
}

export interface GetOptions extends RequestOptions {
  /**
   * Room for `range.length` bytes that the store may read into, to spare an allocation: the bytes it answers with are
   * then a part of it. A store may as well leave it alone.
   */
  into?: Uint8Array | undefined;
  /** What came before did not have the hash it should: caches are to be passed by. */
  again?: boolean | undefined;
}

export interface ListedKey {
  key: string;
  bytes: number;
}

/**
 * Where objects and refs live. Four operations, all that the library asks of a backend
 * (spec/0005-backend-interface.md). Keys are `/`-separated; values under `objects/` never change once written.
 */
export interface Store {
  /** The backend as a person would name it, such as `file:///data/photos` or `memory://test`. */
  readonly url: string;

  /** The address by which any thread of this process can open the same store; absent where there is none. */
  readonly sharedUrl?: string;

  /** Whether requests travel over a network, so that few large ones are better than many small ones. */
  readonly isRemote?: boolean;

  /** The value, or part of it; undefined when there is no such key. Strongly consistent after a put. */
  get(key: string, range?: ByteRange, options?: GetOptions): Promise<StoredValue | undefined>;

  /**
   * Writes the whole value, durable when the promise resolves.
   * Errors: `Conflict` (committed "no") when the condition does not hold, `CommitUnknown` when the backend
   * can't tell whether it took effect, `StoreUnavailable` for a full, read-only or failing backend.
   */
  put(
    key: string,
    bytes: Uint8Array,
    condition?: PutCondition,
    options?: RequestOptions,
  ): Promise<{ etag: string }>;

  /** Removes the key; an absent key is no error. */
  delete(key: string, options?: RequestOptions): Promise<void>;

  /** Keys that begin with `prefix`, in ascending order. Never used on a read or write path. */
  list(prefix: string, options?: RequestOptions): AsyncIterable<ListedKey>;

  close?(): Promise<void>;
}
