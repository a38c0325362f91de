// Chance that is the same in every run, so that the same preparation makes the same bytes.
import { createHash } from "node:crypto";

/** Endless bytes that depend on `seed` alone. @returns {(count: number) => Uint8Array} */
export function seededBytes(seed) {
  let block = 0;
  let left = Buffer.alloc(0);
  return (count) => {
    while (left.length < count)
      left = Buffer.concat([left, createHash("sha512").update(`${seed} ${block++}`).digest()]);
    const bytes = Uint8Array.from(left.subarray(0, count));
    left = left.subarray(count);
    return bytes;
  };
}

/** @returns {() => number} numbers from 0 to below 1, 32 random bits each; mulberry32 */
export function seededRandom(seed) {
  let state = new DataView(seededBytes(seed)(4).buffer).getUint32(0);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
