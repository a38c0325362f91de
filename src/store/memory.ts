import { checkSignal } from "./aborted.ts";
import { checkCondition, checkKey, checkPrefix, checkRange, conflict } from "./key.ts";
import type { ByteRange, ListedKey, PutCondition, RequestOptions, Store, StoredValue } from "./store.ts";

type Values = Map<string, StoredValue>;

const namedValues = new Map<string, Values>();

let lastTag = 0;

/**
 * A store in this process's memory, for tests and browsers. Stores of one name share their data; without a
 * name the store is private. Bytes are copied in and out.
 */
export function memoryStore(name?: string): Store {
  return name === undefined ? new MemoryStore("memory://", new Map()) : namedStore(name);
}

function namedStore(name: string): Store {
  const values = namedValues.get(name) ?? new Map();
  namedValues.set(name, values);
  return new MemoryStore(`memory://${name}`, values);
}

class MemoryStore implements Store {
  readonly url: string;
  readonly #values: Values;

  constructor(url: string, values: Values) {
    this.url = url;
    this.#values = values;
  }

  async get(key: string, range?: ByteRange, options?: RequestOptions): Promise<StoredValue | undefined> {
    checkKey(key);
    checkSignal(options?.signal);
    if (range !== undefined) checkRange(range);
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    const { offset, length } = range ?? { offset: 0, length: value.bytes.length };
    return { bytes: value.bytes.slice(offset, offset + length), etag: value.etag };
  }

  async put(
    key: string,
    bytes: Uint8Array,
    condition?: PutCondition,
    options?: RequestOptions,
  ): Promise<{ etag: string }> {
    checkKey(key);
    checkSignal(options?.signal);
    checkCondition(key, condition);
    const current = this.#values.get(key)?.etag;
    if (condition !== undefined && !holds(condition, current)) throw conflict(key, condition, current);
    const etag = (++lastTag).toString(16);
    this.#values.set(key, { bytes: new Uint8Array(bytes), etag });
    return { etag };
  }

  async delete(key: string, options?: RequestOptions): Promise<void> {
    checkKey(key);
    checkSignal(options?.signal);
    this.#values.delete(key);
  }

  async *list(prefix: string, options?: RequestOptions): AsyncIterable<ListedKey> {
    checkPrefix(prefix);
    checkSignal(options?.signal);
    const keys = [...this.#values.keys()].filter((key) => key.startsWith(prefix)).sort();
    for (const key of keys) {
      const value = this.#values.get(key);
      if (value !== undefined) yield { key, bytes: value.bytes.length };
    }
  }
}

function holds(condition: PutCondition, etag: string | undefined): boolean {
  return "create" in condition ? etag === undefined : etag === condition.ifMatch;
}
