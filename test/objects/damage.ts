/** Damaging stored bytes in every small way there is. */
import { isDreamDBError } from "../../src/errors.ts";

/** Calls `visit` with each copy of `bytes` that has one bit flipped, then with each that is cut short. */
export function everyDamage(bytes: Uint8Array, visit: (damaged: Uint8Array, what: string) => void): void {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    visit(flipped, `bit ${bit}`);
  }
  for (let end = 0; end < bytes.length; end++) visit(bytes.slice(0, end), `first ${end} bytes`);
}

/** Sets every aligned 16-, 32- and 64-bit number of the first `length` bytes to its largest value, and a few others. */
export function everyHugeNumber(
  bytes: Uint8Array,
  length: number,
  visit: (damaged: Uint8Array, what: string) => void,
): void {
  for (const width of [2, 4, 8]) {
    for (let at = 0; at + width <= length; at += width) {
      for (const high of [0xff, 0x7f, 0x80]) {
        const damaged = bytes.slice().fill(0xff, at, at + width);
        damaged[at + width - 1] = high;
        visit(damaged, `${width} bytes at ${at}, ${high}`);
      }
    }
  }
}

/** More than any decoding of a small damaged object may take hold of, in bytes. */
const FRUGAL_BYTES = 64 << 20;

/**
 * The result of `decode`, or the code it was refused with. Any other error passes through.
 * Each decoding is measured by itself: what many of them leave behind is the collector's affair.
 */
export function outcome<T>(decode: () => T, what: string): { value: T } | { code: string } {
  const before = process.memoryUsage();
  try {
    return { value: decode() };
  } catch (error) {
    if (isDreamDBError(error)) return { code: error.code };
    throw new Error(`${what}: ${String(error)}`, { cause: error });
  } finally {
    const after = process.memoryUsage();
    const grown = after.arrayBuffers - before.arrayBuffers + Math.max(0, after.heapUsed - before.heapUsed);
    // biome-ignore lint/correctness/noUnsafeFinally: taking this much is the failure, whatever else happened
    if (grown > FRUGAL_BYTES) throw new Error(`${what}: ${grown} bytes were taken`);
  }
}
