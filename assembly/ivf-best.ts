// The best k of exact scores: higher first, ties by the lower tick. A heap of 16-byte entries, the worst at its root:
//
//   0 8 tick u64   8 4 id u32   12 4 key u32: the score's bits in unsigned order
//
// The state: 0 4 k u32, 4 4 held u32, 16 … entries.

const ENTRIES: usize = 16;

/** Bytes of the state for k entries. */
export function bestBytes(k: u32): u32 {
  return 16 + 16 * k;
}

export function bestReset(state: usize, k: u32): void {
  store<u32>(state, k);
  store<u32>(state, 0, 4);
}

/** Offers one. NaN must not come here. */
export function bestPush(state: usize, score: f32, tick: u64, id: u32): void {
  const key = keyOf(score), k = load<u32>(state), held = load<u32>(state, 4);
  const root = state + ENTRIES;
  if (held == k) {
    if (better(key, tick, id, root)) siftDown(root, 0, k, key, tick, id);
    return;
  }
  store<u32>(state, held + 1, 4);
  let hole = held;
  while (hole > 0) {
    const parent = root + (<usize>((hole - 1) >> 1) << 4);
    if (better(key, tick, id, parent)) break;
    copyEntry(root + (<usize>hole << 4), parent);
    hole = (hole - 1) >> 1;
  }
  putEntry(root + (<usize>hole << 4), key, tick, id);
}

/** Sorts what is held, best first, into entries read by `bestScore`, `bestTick` and `bestId`; returns how many. */
export function bestSort(state: usize): u32 {
  const root = state + ENTRIES, held = load<u32>(state, 4);
  for (let last = held; last > 1; ) {
    last--;
    const end = root + (<usize>last << 4);
    const tick = load<u64>(end), id = load<u32>(end, 8), key = load<u32>(end, 12);
    copyEntry(end, root);
    siftDown(root, 0, last, key, tick, id);
  }
  return held;
}

// @ts-ignore: decorator
@inline export function bestScore(state: usize, i: u32): f32 {
  const bits = <i32>load<u32>(state + (<usize>i << 4), ENTRIES + 12);
  return reinterpret<f32>(bits < 0 ? bits ^ 0x80000000 : ~bits);
}

// @ts-ignore: decorator
@inline export function bestTick(state: usize, i: u32): u64 {
  return load<u64>(state + (<usize>i << 4), ENTRIES);
}

// @ts-ignore: decorator
@inline export function bestId(state: usize, i: u32): u32 {
  return load<u32>(state + (<usize>i << 4), ENTRIES + 8);
}

// @ts-ignore: decorator
@inline function keyOf(score: f32): u32 {
  const bits = reinterpret<i32>(score + 0); // −0 becomes +0: the two are equal scores
  return <u32>(bits < 0 ? ~bits : bits ^ 0x80000000);
}

// @ts-ignore: decorator
@inline function better(key: u32, tick: u64, id: u32, than: usize): bool {
  const other = load<u32>(than, 12);
  if (key != other) return key > other;
  const otherTick = load<u64>(than);
  return tick != otherTick ? tick < otherTick : id < load<u32>(than, 8);
}

// @ts-ignore: decorator
@inline function putEntry(at: usize, key: u32, tick: u64, id: u32): void {
  store<u64>(at, tick);
  store<u32>(at, id, 8);
  store<u32>(at, key, 12);
}

// @ts-ignore: decorator
@inline function copyEntry(to: usize, from: usize): void {
  store<u64>(to, load<u64>(from));
  store<u64>(to, load<u64>(from, 8), 8);
}

function siftDown(root: usize, hole: u32, count: u32, key: u32, tick: u64, id: u32): void {
  for (;;) {
    let child: u32 = 2 * hole + 1;
    if (child >= count) break;
    let at = root + (<usize>child << 4);
    if (child + 1 < count && better(load<u32>(at, 12), load<u64>(at), load<u32>(at, 8), at + 16)) {
      child++;
      at += 16;
    }
    if (!better(key, tick, id, at)) break;
    copyEntry(root + (<usize>hole << 4), at);
    hole = child;
  }
  putEntry(root + (<usize>hole << 4), key, tick, id);
}
