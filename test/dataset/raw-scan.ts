/** Looking for bytes in a backend as it lies there, whatever any index says: what is found is stored. */
import type { Store } from "../../src/store/store.ts";

/** Keys of values that hold any of `needles`, each with the first it holds. */
export async function rawScan(
  store: Store,
  needles: readonly Uint8Array[],
  prefix = "",
  isLooked: (key: string) => boolean = () => true,
): Promise<{ key: string; needle: number }[]> {
  const found: { key: string; needle: number }[] = [];
  // By their first four bytes, so that a byte of the backend is looked at once.
  const byHead = new Map<number, number[]>();
  needles.forEach((needle, i) => {
    const head = new DataView(needle.buffer, needle.byteOffset).getUint32(0, true);
    byHead.set(head, [...(byHead.get(head) ?? []), i]);
  });
  for await (const { key } of store.list(prefix)) {
    const value = isLooked(key) ? await store.get(key) : undefined;
    if (value === undefined) continue;
    const { bytes } = value;
    let head = 0;
    for (let at = 0; at < bytes.length; at++) {
      head = ((head >>> 8) | ((bytes[at] as number) << 24)) >>> 0;
      const needle = byHead.get(head)?.find((i) => startsAt(bytes, at - 3, needles[i] as Uint8Array));
      if (needle === undefined) continue;
      found.push({ key, needle });
      break;
    }
  }
  return found;
}

function startsAt(bytes: Uint8Array, at: number, needle: Uint8Array): boolean {
  return needle.every((byte, i) => bytes[at + i] === byte);
}
