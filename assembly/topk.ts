// A running top-k: higher score first, ties by the lower id, whatever the order of the pushes.
//
//   0 4 k u32    4 4 count u32    8 4 threshold f32 (the worst kept score; −∞ until k are held)   12 4 –
//  16 8·k keys u64: the score's bits mapped to unsigned order in the high half, ~id in the low half
//
// A greater key is a better entry, so one integer comparison decides both score and tie. Below k entries
// the keys just queue up; from the k-th on they are a heap with the worst at its root.

const KEYS: usize = 16;

/** Bytes of the state for `k` entries. */
export function topkBytes(k: u32): u32 {
  return 16 + 8 * k;
}

/** Empties the state and sets its size, k ≥ 1. */
export function topkReset(state: usize, k: u32): void {
  store<u32>(state, k);
  store<u32>(state, 0, 4);
  store<f32>(state, -Infinity, 8);
}

/** Offers n scores (f32) with ids firstId, firstId + 1, … A score that is not a number counts as −∞. */
export function topkPush(state: usize, scores: usize, n: u32, firstId: u32): void {
  push(state, scores, n, firstId, 0);
}

/** Offers n scores (f32) with the ids of a table (u32 × n), each plus firstId. */
export function topkPushIds(state: usize, scores: usize, n: u32, firstId: u32, ids: usize): void {
  push(state, scores, n, firstId, ids);
}

/** Writes the entries held, best first, and empties the state. Returns how many there were. */
export function topkDrain(state: usize, outScores: usize, outIds: usize): u32 {
  const count = load<u32>(state, 4);
  if (count < load<u32>(state)) heapify(state + KEYS, count);
  sortHeap(state + KEYS, count);
  for (let i: usize = 0; i < count; i++) {
    const key = load<u64>(state + KEYS + (i << 3));
    store<f32>(outScores + (i << 2), scoreOf(key));
    store<u32>(outIds + (i << 2), ~(<u32>key));
  }
  topkReset(state, load<u32>(state));
  return count;
}

// @ts-ignore: decorator
@inline function push(state: usize, scores: usize, n: u32, firstId: u32, ids: usize): void {
  let i = fill(state, scores, n, firstId, ids);
  if (ASC_FEATURE_SIMD) {
    let threshold = v128.load32_splat(state, 8);
    for (; i + 16 <= n; i += 16) {
      const p = scores + (<usize>i << 2);
      // "not below" instead of "at least": a NaN must reach the exact test as well
      const m0 = f32x4.lt(v128.load(p), threshold), m1 = f32x4.lt(v128.load(p, 16), threshold);
      const m2 = f32x4.lt(v128.load(p, 32), threshold), m3 = f32x4.lt(v128.load(p, 48), threshold);
      if (i32x4.all_true(v128.and(v128.and(m0, m1), v128.and(m2, m3)))) continue;
      let candidates = ~(i32x4.bitmask(m0) | (i32x4.bitmask(m1) << 4) | (i32x4.bitmask(m2) << 8) | (i32x4.bitmask(m3) << 12)) & 0xffff;
      while (candidates) {
        const j = i + ctz(candidates);
        candidates &= candidates - 1;
        offer(state, load<f32>(scores + (<usize>j << 2)), idAt(j, firstId, ids));
      }
      threshold = v128.load32_splat(state, 8);
    }
  }
  for (; i < n; i++) {
    const score = load<f32>(scores + (<usize>i << 2));
    if (!(score < load<f32>(state, 8))) offer(state, score, idAt(i, firstId, ids));
  }
}

// @ts-ignore: decorator
@inline function idAt(i: u32, firstId: u32, ids: usize): u32 {
  return ids != 0 ? firstId + load<u32>(ids + (<usize>i << 2)) : firstId + i;
}

/** Queues entries until k are held; returns how many of the n were taken. */
function fill(state: usize, scores: usize, n: u32, firstId: u32, ids: usize): u32 {
  const k = load<u32>(state), held = load<u32>(state, 4);
  const taken = min(k - held, n);
  if (taken == 0) return 0;
  for (let i: u32 = 0; i < taken; i++) {
    store<u64>(state + KEYS + (<usize>(held + i) << 3), keyOf(load<f32>(scores + (<usize>i << 2)), idAt(i, firstId, ids)));
  }
  store<u32>(state, held + taken, 4);
  if (held + taken == k) {
    heapify(state + KEYS, k);
    store<f32>(state, scoreOf(load<u64>(state, KEYS)), 8);
  }
  return taken;
}

function offer(state: usize, score: f32, id: u32): void {
  const key = keyOf(score, id);
  if (key <= load<u64>(state, KEYS)) return;
  siftDown(state + KEYS, 0, load<u32>(state), key);
  store<f32>(state, scoreOf(load<u64>(state, KEYS)), 8);
}

// @ts-ignore: decorator
@inline function keyOf(score: f32, id: u32): u64 {
  if (score != score) score = -Infinity;
  const bits = reinterpret<i32>(score + 0); // −0 becomes +0: the two are equal scores
  return (<u64>(<u32>(bits < 0 ? ~bits : bits ^ 0x80000000)) << 32) | <u64>~id;
}

// @ts-ignore: decorator
@inline function scoreOf(key: u64): f32 {
  const bits = <i32>(key >> 32);
  return reinterpret<f32>(bits < 0 ? bits ^ 0x80000000 : ~bits);
}

function heapify(keys: usize, count: u32): void {
  for (let i = <i32>(count >> 1) - 1; i >= 0; i--) siftDown(keys, i, count, load<u64>(keys + (<usize>i << 3)));
}

/** Moves the worst key behind the shrinking heap, again and again: the best ends up first. */
function sortHeap(keys: usize, count: u32): void {
  for (let last = count; last > 1; ) {
    last--;
    const end = keys + (<usize>last << 3);
    const key = load<u64>(end);
    store<u64>(end, load<u64>(keys));
    siftDown(keys, 0, last, key);
  }
}

function siftDown(keys: usize, hole: u32, count: u32, key: u64): void {
  for (;;) {
    let child: u32 = 2 * hole + 1;
    if (child >= count) break;
    let least = load<u64>(keys + (<usize>child << 3));
    if (child + 1 < count) {
      const right = load<u64>(keys + (<usize>child << 3), 8);
      if (right < least) {
        least = right;
        child++;
      }
    }
    if (least >= key) break;
    store<u64>(keys + (<usize>hole << 3), least);
    hole = child;
  }
  store<u64>(keys + (<usize>hole << 3), key);
}
