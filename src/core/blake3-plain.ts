/**
 * BLAKE3-256 in plain JavaScript (spec/0002-content-addressing.md §2), in place of blake3-wasm in browsers: it hashes the little that
 * comes before the compute core is loaded, which hashes all that comes after, for a sixteenth of the bytes to download
 * (docs/decisions/0058-no-second-hash-in-browsers.md).
 */

/** From this length on the compute core is the faster, its copying included: for inputs of any length. */
export const CORE_FROM_BYTES = 0;

const BLOCK_BYTES = 64;
const CHUNK_BYTES = 1024;
const CHUNK_START = 1;
const CHUNK_END = 2;
const PARENT = 4;
const ROOT = 8;
const ROUNDS = 7;

const IV = Uint32Array.of(
  ...[0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19],
);
/** Where each round takes the words of the round before from. */
const PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];

type Words = Uint32Array<ArrayBuffer>;

/** Scratch of one compression: words are read from `message` and `state` is left with the result in its first eight. */
const message: Words = new Uint32Array(16);
const permuted: Words = new Uint32Array(16);
const state: Words = new Uint32Array(16);

/** The 32-byte digest of `bytes`. */
export function hash(bytes: Uint8Array): Uint8Array {
  const words = subtree(bytes, 0, bytes.length, ROOT);
  const digest = new Uint8Array(32);
  const view = new DataView(digest.buffer);
  for (let i = 0; i < 8; i++) view.setUint32(4 * i, words[i] as number, true);
  return digest;
}

/** The chaining value of [from, to), which begins at a chunk: a chunk's own, or that of the two halves, the left a power of two. */
function subtree(bytes: Uint8Array, from: number, to: number, rootFlag: number): Words {
  if (to - from <= CHUNK_BYTES) return chunk(bytes, from, to, rootFlag);
  let half = CHUNK_BYTES;
  while (2 * half < to - from) half *= 2;
  const left = subtree(bytes, from, from + half, 0);
  const right = subtree(bytes, from + half, to, 0);
  message.set(left);
  message.set(right, 8);
  return compress(IV, 0, BLOCK_BYTES, PARENT | rootFlag);
}

function chunk(bytes: Uint8Array, from: number, to: number, rootFlag: number): Words {
  let chaining: Words = IV;
  let at = from;
  do {
    const length = Math.min(BLOCK_BYTES, to - at);
    const isLast = at + length >= to;
    for (let i = 0; i < 16; i++) message[i] = wordAt(bytes, at + 4 * i, to);
    const flags = (at === from ? CHUNK_START : 0) | (isLast ? CHUNK_END | rootFlag : 0);
    chaining = compress(chaining, from / CHUNK_BYTES, length, flags);
    at += BLOCK_BYTES;
  } while (at < to);
  return chaining;
}

/** Four bytes, the first the lowest; zeros from `end` on. */
function wordAt(bytes: Uint8Array, at: number, end: number): number {
  if (at + 4 <= end)
    return (
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)
    );
  let word = 0;
  for (let i = at; i < end; i++) word |= (bytes[i] as number) << (8 * (i - at));
  return word;
}

function compress(chaining: Words, counter: number, length: number, flags: number): Words {
  state.set(chaining);
  state.set(IV.subarray(0, 4), 8);
  state[12] = counter;
  state[13] = counter / 2 ** 32;
  state[14] = length;
  state[15] = flags;
  for (let round = 0; ; ) {
    mix(0, 4, 8, 12, 0);
    mix(1, 5, 9, 13, 2);
    mix(2, 6, 10, 14, 4);
    mix(3, 7, 11, 15, 6);
    mix(0, 5, 10, 15, 8);
    mix(1, 6, 11, 12, 10);
    mix(2, 7, 8, 13, 12);
    mix(3, 4, 9, 14, 14);
    if (++round === ROUNDS) break;
    for (let i = 0; i < 16; i++) permuted[i] = message[PERMUTATION[i] as number] as number;
    message.set(permuted);
  }
  const out = new Uint32Array(8);
  for (let i = 0; i < 8; i++) out[i] = (state[i] as number) ^ (state[i + 8] as number);
  return out;
}

/** The quarter round, on four words of the state with two of the message from `w` on. */
function mix(ai: number, bi: number, ci: number, di: number, w: number): void {
  let a = state[ai] as number;
  let b = state[bi] as number;
  let c = state[ci] as number;
  let d = state[di] as number;
  a = (a + b + (message[w] as number)) | 0;
  d = rotated(d ^ a, 16);
  c = (c + d) | 0;
  b = rotated(b ^ c, 12);
  a = (a + b + (message[w + 1] as number)) | 0;
  d = rotated(d ^ a, 8);
  c = (c + d) | 0;
  b = rotated(b ^ c, 7);
  state[ai] = a;
  state[bi] = b;
  state[ci] = c;
  state[di] = d;
}

function rotated(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits));
}
