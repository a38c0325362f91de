/**
 * A store that counts what is put into it, and is `inner` otherwise.
 * @returns {{ store, written, kinds, reset }} `written`: objects and bytes since the last `reset()`; `kinds` has the same by the first
 *   part of keys, such as `objects` and `refs`
 */
export function countingStore(inner) {
  const written = { objects: 0, bytes: 0 };
  const kinds = {};
  const put = (key, bytes, ...rest) => {
    const kind = key.split("/")[0];
    kinds[kind] ??= { objects: 0, bytes: 0 };
    for (const count of [written, kinds[kind]]) {
      count.objects++;
      count.bytes += bytes.length;
    }
    return inner.put(key, bytes, ...rest);
  };
  const store = new Proxy(inner, {
    get(target, name) {
      if (name === "put") return put;
      const value = target[name];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const reset = () => {
    Object.assign(written, { objects: 0, bytes: 0 });
    for (const kind of Object.keys(kinds)) delete kinds[kind];
  };
  return { store, written, kinds, reset };
}
