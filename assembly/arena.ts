// The arena: every buffer of the compute core lives here, owned by whoever called `alloc`.
//
// block  |<- 64-byte header ->|<- payload, a multiple of 64 bytes ->|
//          0 4 bytes of the whole block, header included
//          4 4 LIVE while allocated, else the address of the next free block (0 = last)
//
// The free list is in address order and first fit; neighbours merge on `free`, and a free block at the
// top is given back to the unused end. AssemblyScript's own TLSF was not taken because it traps when
// memory can't grow, refuses blocks of 1 GiB, and aligns to 16 bytes: blocks here start on cache lines.

const HEADER: usize = 64;
const LIVE: u32 = 0x4556494c; // "LIVE"; never a block's address, which is a multiple of 64
const PAGE: u64 = 65536;
const MAX_BYTES: u64 = 65535 * PAGE; // one page short of 4 GiB, so that an end address fits 32 bits

const bottom: usize = (__heap_base + 63) & ~63;
let top: usize = bottom;
let firstFree: usize = 0;
let liveBlockCount: u32 = 0;
let liveByteCount: u32 = 0;

/** A block of at least `bytes` bytes on a 64-byte boundary, its content undefined; 0 when memory can't grow. */
export function alloc(bytes: u32): usize {
  const wanted = max<u64>((<u64>bytes + 63) & ~63, 64) + HEADER;
  if (wanted > MAX_BYTES) return 0;
  let block = takeFree(<usize>wanted);
  if (block == 0) block = takeTop(<usize>wanted);
  if (block == 0) return 0;
  store<u32>(block, LIVE, 4);
  liveBlockCount++;
  liveByteCount += load<u32>(block);
  return block + HEADER;
}

/** Gives a block back. False when `pointer` is not the start of a live block, e.g. on a second free. */
export function free(pointer: usize): bool {
  if (pointer & 63 || pointer < bottom + HEADER || pointer >= top) return false;
  const block = pointer - HEADER;
  if (load<u32>(block, 4) != LIVE) return false;
  liveBlockCount--;
  liveByteCount -= load<u32>(block);
  insertFree(block);
  return true;
}

/** Blocks not yet freed. */
export function liveBlocks(): u32 {
  return liveBlockCount;
}

/** Bytes held by live blocks, headers included. */
export function liveBytes(): u32 {
  return liveByteCount;
}

function takeFree(wanted: usize): usize {
  let previous: usize = 0;
  for (let block = firstFree; block != 0; block = load<u32>(block, 4)) {
    const size = <usize>load<u32>(block);
    if (size >= wanted) {
      let next = <usize>load<u32>(block, 4);
      if (size - wanted >= 2 * HEADER) {
        next = block + wanted;
        store<u32>(next, size - wanted);
        store<u32>(next, load<u32>(block, 4), 4);
        store<u32>(block, wanted);
      }
      linkAfter(previous, next);
      return block;
    }
    previous = block;
  }
  return 0;
}

function takeTop(wanted: usize): usize {
  const end = <u64>top + wanted;
  if (end > MAX_BYTES || !reach(end)) return 0;
  const block = top;
  top = <usize>end;
  store<u32>(block, wanted);
  return block;
}

/** Makes memory reach `end`: an eighth more than there is where possible, else exactly what is missing. */
function reach(end: u64): bool {
  const size = <u32>memory.size();
  if (end <= <u64>size * PAGE) return true;
  const missing = <u32>((end + PAGE - 1) / PAGE) - size;
  const ample = max(missing, size >> 3);
  if (<u64>(size + ample) * PAGE <= MAX_BYTES && memory.grow(<i32>ample) >= 0) return true;
  return memory.grow(<i32>missing) >= 0;
}

function insertFree(block: usize): void {
  let previous: usize = 0;
  let beforePrevious: usize = 0;
  let next = firstFree;
  while (next != 0 && next < block) {
    beforePrevious = previous;
    previous = next;
    next = load<u32>(next, 4);
  }
  if (previous != 0 && previous + load<u32>(previous) == block) {
    store<u32>(previous, load<u32>(previous) + load<u32>(block));
    store<u32>(block, 0, 4); // no longer a header, so that a second free is seen
    block = previous;
    previous = beforePrevious;
  }
  if (next != 0 && block + load<u32>(block) == next) {
    store<u32>(block, load<u32>(block) + load<u32>(next));
    next = load<u32>(next, 4);
  }
  if (block + load<u32>(block) == top) {
    top = block;
    linkAfter(previous, 0);
    return;
  }
  store<u32>(block, next, 4);
  linkAfter(previous, block);
}

function linkAfter(previous: usize, block: usize): void {
  if (previous == 0) firstFree = block;
  else store<u32>(previous, block, 4);
}
