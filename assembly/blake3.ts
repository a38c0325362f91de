// BLAKE3, unkeyed, 256-bit output (the BLAKE3 paper, section 2). The SIMD build hashes four chunks, or four
// parents, in the lanes of a vector; single chunks go lane by lane. Both run the rounds below.
//
// The input is cut into runs of 64 chunks (64 KiB). A run's 64 chaining values are merged level by level
// into one, which goes to a stack where it meets its left neighbours as in the reference implementation.
// The state is global: one hash at a time, which costs nothing since a call never yields.

import { addU, rotate12, rotate16, rotate7, rotate8, splatU, xorU } from "./lanes";

const CHUNK: u32 = 1024;
const RUN: u32 = 65536;
const RUN_CHUNKS: u32 = 64;
const CHUNK_START: u32 = 1, CHUNK_END: u32 = 2, PARENT: u32 = 4, ROOT: u32 = 8;

const block = memory.data(64, 64); // a block, zero-padded
const block4 = memory.data(256, 64); // word i of four blocks, i < 16
const value4 = memory.data(128, 64); // word i of four chaining values, i < 8
const value = memory.data(32, 64);
const values = memory.data(64 * 32, 64); // the chaining values of a run
const stack = memory.data(33 * 32, 64);
let depth: usize = 0;
let runsDone: u32 = 0;

/** The digest (32 bytes) of `bytes` bytes at `input`. */
export function blake3(input: usize, bytes: u32, out: usize): void {
  blake3Start();
  blake3Finish(input, bytes, out);
}

/** Starts a digest given in pieces. */
export function blake3Start(): void {
  depth = 0;
  runsDone = 0;
}

/** Takes `runs` whole runs of 64 KiB. More input must follow them. */
export function blake3Runs(input: usize, runs: u32): void {
  for (; runs != 0; runs--) {
    chunkValues(input, RUN, runsDone * RUN_CHUNKS);
    mergeValues(RUN_CHUNKS, 0);
    pushRun();
    input += RUN;
  }
}

/** Takes the rest of the input (none only when there was none before) and writes the digest. */
export function blake3Finish(input: usize, bytes: u32, out: usize): void {
  if (bytes > RUN) {
    const runs = (bytes - 1) / RUN;
    blake3Runs(input, runs);
    input += <usize>runs * RUN;
    bytes -= runs * RUN;
  }
  const rootIfAlone = depth == 0 ? ROOT : 0;
  if (bytes <= CHUNK) chunk(input, bytes, runsDone * RUN_CHUNKS, rootIfAlone, values);
  else mergeValues(chunkValues(input, bytes, runsDone * RUN_CHUNKS), rootIfAlone);
  while (depth != 0) {
    depth--;
    memory.copy(block, stack + (depth << 5), 32);
    memory.copy(block + 32, values, 32);
    parent(block, depth == 0 ? PARENT | ROOT : PARENT, values);
  }
  memory.copy(out, values, 32);
}

/** Puts the run's value on the stack, first merging it with every complete left neighbour. */
function pushRun(): void {
  for (let n = ++runsDone; !(n & 1); n >>= 1) {
    depth--;
    memory.copy(block, stack + (depth << 5), 32);
    memory.copy(block + 32, values, 32);
    parent(block, PARENT, values);
  }
  memory.copy(stack + (depth << 5), values, 32);
  depth++;
}

/** The chaining values of 2 … 64 chunks, the last maybe partial, to `values`. Returns how many. */
function chunkValues(input: usize, bytes: u32, counter: u32): u32 {
  const count = (bytes + CHUNK - 1) / CHUNK;
  let i: u32 = 0;
  if (ASC_FEATURE_SIMD) {
    for (; (i + 4) * CHUNK <= bytes; i += 4) fourChunks(input + <usize>i * CHUNK, counter + i, values + (<usize>i << 5));
  }
  for (; i < count; i++) chunk(input + <usize>i * CHUNK, min(CHUNK, bytes - i * CHUNK), counter + i, 0, values + (<usize>i << 5));
  return count;
}

/**
 * Merges neighbours level by level until one value is left; the last merge gets `lastFlags`. An odd one at
 * the end moves up as it is, which gives the same tree as the paper's "largest power of two to the left".
 */
function mergeValues(count: u32, lastFlags: u32): void {
  while (count > 1) {
    const pairs = count >> 1;
    let i: usize = 0;
    if (ASC_FEATURE_SIMD && count > 2) {
      for (; i + 4 <= pairs; i += 4) fourParents(values + (i << 6), values + (i << 5));
    }
    const flags = count == 2 ? PARENT | lastFlags : PARENT;
    for (; i < pairs; i++) parent(values + (i << 6), flags, values + (i << 5));
    if (count & 1) memory.copy(values + (<usize>pairs << 5), values + (<usize>(count - 1) << 5), 32);
    count = pairs + (count & 1);
  }
}

function parent(pair: usize, flags: u32, out: usize): void {
  setKey<u32>(value);
  compress<u32>(value, pair, 0, 0, 64, flags);
  memory.copy(out, value, 32);
}

function chunk(input: usize, bytes: u32, counter: u32, lastFlags: u32, out: usize): void {
  setKey<u32>(value);
  let flags = CHUNK_START;
  for (; bytes > 64; bytes -= 64) {
    compress<u32>(value, input, counter, 0, 64, flags);
    flags = 0;
    input += 64;
  }
  if (bytes < 64) {
    memory.fill(block, 0, 64);
    memory.copy(block, input, bytes);
    input = block;
  }
  compress<u32>(value, input, counter, 0, bytes, flags | CHUNK_END | lastFlags);
  memory.copy(out, value, 32);
}

function fourChunks(input: usize, counter: u32, out: usize): void {
  const counters = i32x4.add(i32x4.splat(counter), i32x4(0, 1, 2, 3));
  setKey<v128>(value4);
  for (let i: u32 = 0; i < 16; i++) {
    transposeBlocks(input + (<usize>i << 6), CHUNK);
    compress<v128>(value4, block4, counters, i32x4.splat(0), 64, i == 0 ? CHUNK_START : i == 15 ? CHUNK_END : 0);
  }
  transposeValues(out);
}

/** Four parents from eight values in a row; `out` may be the first of them. */
function fourParents(pairs: usize, out: usize): void {
  setKey<v128>(value4);
  transposeBlocks(pairs, 64);
  compress<v128>(value4, block4, i32x4.splat(0), i32x4.splat(0), 64, PARENT);
  transposeValues(out);
}

/** Word i of the four 64-byte blocks at input, input + stride, … becomes vector i of `block4`. */
function transposeBlocks(input: usize, stride: usize): void {
  for (let i: usize = 0; i < 64; i += 16) {
    const p = input + i;
    transpose(v128.load(p), v128.load(p + stride), v128.load(p + 2 * stride), v128.load(p + 3 * stride), block4 + (i << 2), 16);
  }
}

/** The four chaining values in the lanes of `value4`, one after the other. */
function transposeValues(out: usize): void {
  transpose(v128.load(value4), v128.load(value4, 16), v128.load(value4, 32), v128.load(value4, 48), out, 32);
  transpose(v128.load(value4, 64), v128.load(value4, 80), v128.load(value4, 96), v128.load(value4, 112), out + 16, 32);
}

// @ts-ignore: decorator
@inline function transpose(a: v128, b: v128, c: v128, d: v128, out: usize, stride: usize): void {
  const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const ef = v128.shuffle<i32>(a, b, 2, 6, 3, 7), gh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<i64>(ab, cd, 0, 2));
  v128.store(out + stride, v128.shuffle<i64>(ab, cd, 1, 3));
  v128.store(out + 2 * stride, v128.shuffle<i64>(ef, gh, 0, 2));
  v128.store(out + 3 * stride, v128.shuffle<i64>(ef, gh, 1, 3));
}

function setKey<T>(p: usize): void {
  store<T>(p, splatU<T>(0x6a09e667));
  store<T>(p, splatU<T>(0xbb67ae85), sizeof<T>());
  store<T>(p, splatU<T>(0x3c6ef372), 2 * sizeof<T>());
  store<T>(p, splatU<T>(0xa54ff53a), 3 * sizeof<T>());
  store<T>(p, splatU<T>(0x510e527f), 4 * sizeof<T>());
  store<T>(p, splatU<T>(0x9b05688c), 5 * sizeof<T>());
  store<T>(p, splatU<T>(0x1f83d9ab), 6 * sizeof<T>());
  store<T>(p, splatU<T>(0x5be0cd19), 7 * sizeof<T>());
}

/**
 * One block into a chaining value: cv is 8 × T, read and written; m is 16 × T. The seven rounds are written
 * out: the message word of every step is then part of the load, and the 16 words stay in registers.
 */
function compress<T>(cv: usize, m: usize, counterLow: T, counterHigh: T, bytes: u32, flags: u32): void {
  let v0 = load<T>(cv), v1 = load<T>(cv, sizeof<T>()), v2 = load<T>(cv, 2 * sizeof<T>()), v3 = load<T>(cv, 3 * sizeof<T>());
  let v4 = load<T>(cv, 4 * sizeof<T>()), v5 = load<T>(cv, 5 * sizeof<T>()), v6 = load<T>(cv, 6 * sizeof<T>()), v7 = load<T>(cv, 7 * sizeof<T>());
  let v8 = splatU<T>(0x6a09e667), v9 = splatU<T>(0xbb67ae85), v10 = splatU<T>(0x3c6ef372), v11 = splatU<T>(0xa54ff53a);
  let v12 = counterLow, v13 = counterHigh, v14 = splatU<T>(bytes), v15 = splatU<T>(flags);
  // round 1
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 0 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate12<T>(xorU<T>(v4, v8));
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 1 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate7<T>(xorU<T>(v4, v8));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 2 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate12<T>(xorU<T>(v5, v9));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 3 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate7<T>(xorU<T>(v5, v9));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 4 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate12<T>(xorU<T>(v6, v10));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 5 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate7<T>(xorU<T>(v6, v10));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 6 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate12<T>(xorU<T>(v7, v11));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 7 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate7<T>(xorU<T>(v7, v11));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 8 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate12<T>(xorU<T>(v5, v10));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 9 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate7<T>(xorU<T>(v5, v10));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 10 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate12<T>(xorU<T>(v6, v11));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 11 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate7<T>(xorU<T>(v6, v11));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 12 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate12<T>(xorU<T>(v7, v8));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 13 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate7<T>(xorU<T>(v7, v8));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 14 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate12<T>(xorU<T>(v4, v9));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 15 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate7<T>(xorU<T>(v4, v9));
  // round 2
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 2 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate12<T>(xorU<T>(v4, v8));
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 6 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate7<T>(xorU<T>(v4, v8));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 3 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate12<T>(xorU<T>(v5, v9));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 10 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate7<T>(xorU<T>(v5, v9));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 7 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate12<T>(xorU<T>(v6, v10));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 0 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate7<T>(xorU<T>(v6, v10));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 4 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate12<T>(xorU<T>(v7, v11));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 13 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate7<T>(xorU<T>(v7, v11));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 1 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate12<T>(xorU<T>(v5, v10));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 11 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate7<T>(xorU<T>(v5, v10));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 12 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate12<T>(xorU<T>(v6, v11));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 5 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate7<T>(xorU<T>(v6, v11));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 9 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate12<T>(xorU<T>(v7, v8));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 14 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate7<T>(xorU<T>(v7, v8));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 15 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate12<T>(xorU<T>(v4, v9));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 8 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate7<T>(xorU<T>(v4, v9));
  // round 3
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 3 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate12<T>(xorU<T>(v4, v8));
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 4 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate7<T>(xorU<T>(v4, v8));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 10 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate12<T>(xorU<T>(v5, v9));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 12 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate7<T>(xorU<T>(v5, v9));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 13 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate12<T>(xorU<T>(v6, v10));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 2 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate7<T>(xorU<T>(v6, v10));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 7 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate12<T>(xorU<T>(v7, v11));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 14 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate7<T>(xorU<T>(v7, v11));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 6 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate12<T>(xorU<T>(v5, v10));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 5 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate7<T>(xorU<T>(v5, v10));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 9 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate12<T>(xorU<T>(v6, v11));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 0 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate7<T>(xorU<T>(v6, v11));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 11 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate12<T>(xorU<T>(v7, v8));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 15 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate7<T>(xorU<T>(v7, v8));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 8 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate12<T>(xorU<T>(v4, v9));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 1 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate7<T>(xorU<T>(v4, v9));
  // round 4
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 10 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate12<T>(xorU<T>(v4, v8));
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 7 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate7<T>(xorU<T>(v4, v8));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 12 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate12<T>(xorU<T>(v5, v9));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 9 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate7<T>(xorU<T>(v5, v9));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 14 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate12<T>(xorU<T>(v6, v10));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 3 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate7<T>(xorU<T>(v6, v10));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 13 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate12<T>(xorU<T>(v7, v11));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 15 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate7<T>(xorU<T>(v7, v11));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 4 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate12<T>(xorU<T>(v5, v10));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 0 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate7<T>(xorU<T>(v5, v10));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 11 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate12<T>(xorU<T>(v6, v11));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 2 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate7<T>(xorU<T>(v6, v11));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 5 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate12<T>(xorU<T>(v7, v8));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 8 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate7<T>(xorU<T>(v7, v8));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 1 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate12<T>(xorU<T>(v4, v9));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 6 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate7<T>(xorU<T>(v4, v9));
  // round 5
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 12 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate12<T>(xorU<T>(v4, v8));
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 13 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate7<T>(xorU<T>(v4, v8));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 9 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate12<T>(xorU<T>(v5, v9));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 11 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate7<T>(xorU<T>(v5, v9));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 15 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate12<T>(xorU<T>(v6, v10));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 10 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate7<T>(xorU<T>(v6, v10));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 14 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate12<T>(xorU<T>(v7, v11));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 8 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate7<T>(xorU<T>(v7, v11));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 7 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate12<T>(xorU<T>(v5, v10));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 2 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate7<T>(xorU<T>(v5, v10));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 5 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate12<T>(xorU<T>(v6, v11));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 3 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate7<T>(xorU<T>(v6, v11));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 0 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate12<T>(xorU<T>(v7, v8));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 1 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate7<T>(xorU<T>(v7, v8));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 6 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate12<T>(xorU<T>(v4, v9));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 4 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate7<T>(xorU<T>(v4, v9));
  // round 6
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 9 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate12<T>(xorU<T>(v4, v8));
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 14 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate7<T>(xorU<T>(v4, v8));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 11 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate12<T>(xorU<T>(v5, v9));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 5 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate7<T>(xorU<T>(v5, v9));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 8 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate12<T>(xorU<T>(v6, v10));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 12 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate7<T>(xorU<T>(v6, v10));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 15 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate12<T>(xorU<T>(v7, v11));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 1 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate7<T>(xorU<T>(v7, v11));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 13 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate12<T>(xorU<T>(v5, v10));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 3 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate7<T>(xorU<T>(v5, v10));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 0 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate12<T>(xorU<T>(v6, v11));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 10 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate7<T>(xorU<T>(v6, v11));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 2 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate12<T>(xorU<T>(v7, v8));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 6 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate7<T>(xorU<T>(v7, v8));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 4 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate12<T>(xorU<T>(v4, v9));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 7 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate7<T>(xorU<T>(v4, v9));
  // round 7
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 11 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate12<T>(xorU<T>(v4, v8));
  v0 = addU<T>(addU<T>(v0, v4), load<T>(m, 15 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v0)); v8 = addU<T>(v8, v12); v4 = rotate7<T>(xorU<T>(v4, v8));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 5 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate12<T>(xorU<T>(v5, v9));
  v1 = addU<T>(addU<T>(v1, v5), load<T>(m, 0 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v1)); v9 = addU<T>(v9, v13); v5 = rotate7<T>(xorU<T>(v5, v9));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 1 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate12<T>(xorU<T>(v6, v10));
  v2 = addU<T>(addU<T>(v2, v6), load<T>(m, 9 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v2)); v10 = addU<T>(v10, v14); v6 = rotate7<T>(xorU<T>(v6, v10));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 8 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate12<T>(xorU<T>(v7, v11));
  v3 = addU<T>(addU<T>(v3, v7), load<T>(m, 6 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v3)); v11 = addU<T>(v11, v15); v7 = rotate7<T>(xorU<T>(v7, v11));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 14 * sizeof<T>())); v15 = rotate16<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate12<T>(xorU<T>(v5, v10));
  v0 = addU<T>(addU<T>(v0, v5), load<T>(m, 10 * sizeof<T>())); v15 = rotate8<T>(xorU<T>(v15, v0)); v10 = addU<T>(v10, v15); v5 = rotate7<T>(xorU<T>(v5, v10));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 2 * sizeof<T>())); v12 = rotate16<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate12<T>(xorU<T>(v6, v11));
  v1 = addU<T>(addU<T>(v1, v6), load<T>(m, 12 * sizeof<T>())); v12 = rotate8<T>(xorU<T>(v12, v1)); v11 = addU<T>(v11, v12); v6 = rotate7<T>(xorU<T>(v6, v11));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 3 * sizeof<T>())); v13 = rotate16<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate12<T>(xorU<T>(v7, v8));
  v2 = addU<T>(addU<T>(v2, v7), load<T>(m, 4 * sizeof<T>())); v13 = rotate8<T>(xorU<T>(v13, v2)); v8 = addU<T>(v8, v13); v7 = rotate7<T>(xorU<T>(v7, v8));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 7 * sizeof<T>())); v14 = rotate16<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate12<T>(xorU<T>(v4, v9));
  v3 = addU<T>(addU<T>(v3, v4), load<T>(m, 13 * sizeof<T>())); v14 = rotate8<T>(xorU<T>(v14, v3)); v9 = addU<T>(v9, v14); v4 = rotate7<T>(xorU<T>(v4, v9));
  store<T>(cv, xorU<T>(v0, v8));
  store<T>(cv, xorU<T>(v1, v9), sizeof<T>());
  store<T>(cv, xorU<T>(v2, v10), 2 * sizeof<T>());
  store<T>(cv, xorU<T>(v3, v11), 3 * sizeof<T>());
  store<T>(cv, xorU<T>(v4, v12), 4 * sizeof<T>());
  store<T>(cv, xorU<T>(v5, v13), 5 * sizeof<T>());
  store<T>(cv, xorU<T>(v6, v14), 6 * sizeof<T>());
  store<T>(cv, xorU<T>(v7, v15), 7 * sizeof<T>());
}
