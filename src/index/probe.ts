// The order in which cells are searched, after Lv et al., "Multi-Probe LSH" (VLDB 2007), section 4.4: a set of
// flipped bits costs the sum of its squared margins, and sets come out of a heap by "shift" (the dearest bit
// gives way to the next dearer one) and "expand" (the next dearer one joins), so that only what is asked
// for is ever enumerated.
//
// The order is part of the format: ascending cost, each cost summed in f64 by ascending bit, ties by ascending
// mask. Two things need care for it to be exact:
// - Rounding may bring a successor out a hair cheaper than its parent. So a mask is only released when its
//   cost lies below every cost still to come by more than rounding can explain.
// - Bits of margin 0 make every set tie with many others. They are left out of the heap and joined to each
//   released mask, in ascending order.
// A margin that is infinite or not a number (sums beyond f32) costs +∞: masks with such a bit come last.

const ROUNDING = 1 - 2 ** -47;

interface Mask {
  cost: number;
  mask: number;
}

/** A set of flipped bits as ranks of dearness: `last` is the dearest one in it. */
interface Candidate extends Mask {
  last: number;
}

/**
 * Cells in probe order, the query's own cell first; all 2^bits of them when asked for.
 * @param margins f32 dot products of the query with the hyperplanes, 1…31 of them (bits)
 */
export function* probeCells(margins: ArrayLike<number>): Generator<number, void, undefined> {
  const home = homeOf(margins);
  for (const { mask } of probeMasks(costsOf(margins))) yield (home ^ mask) >>> 0;
}

/**
 * Cells of several hash tables in probe order: by ascending cost, equal ones by table, then by mask.
 * @param tables margins with the hyperplanes of each table, all of one length (bits); cells are table · 2^bits + pattern
 */
export function* probeTables(tables: readonly ArrayLike<number>[]): Generator<number, void, undefined> {
  const streams = tables.map((margins, table) => {
    const masks = probeMasks(costsOf(margins));
    return { masks, next: masks.next(), home: homeOf(margins), first: table * 2 ** margins.length };
  });
  for (;;) {
    let best: (typeof streams)[number] | undefined;
    for (const stream of streams)
      if (!stream.next.done && (best === undefined || stream.next.value.cost < costOfNext(best)))
        best = stream;
    if (best?.next.value === undefined) return;
    yield best.first + ((best.home ^ best.next.value.mask) >>> 0);
    best.next = best.masks.next();
  }
}

function costOfNext({ next }: { next: IteratorResult<Mask, void> }): number {
  return next.value?.cost ?? Infinity;
}

/** The pattern of sides that the query itself lies on. */
function homeOf(margins: ArrayLike<number>): number {
  let home = 0;
  for (let j = 0; j < margins.length; j++) if ((margins[j] as number) >= 0) home |= 1 << j;
  return home;
}

function costsOf(margins: ArrayLike<number>): number[] {
  return Array.from(margins, (margin) => margin * margin);
}

/** The first `count` cells in probe order, or all there are. */
export function firstProbes(margins: ArrayLike<number>, count: number): Uint32Array {
  const cells = new Uint32Array(Math.min(count, 2 ** margins.length));
  let i = 0;
  if (cells.length > 0) {
    for (const cell of probeCells(margins)) {
      cells[i++] = cell;
      if (i === cells.length) break;
    }
  }
  return cells;
}

function* probeMasks(costs: readonly number[]): Generator<Mask, void, undefined> {
  let free = 0;
  let infinite = 0;
  const ranked: number[] = [];
  costs.forEach((cost, j) => {
    if (cost === 0) free |= 1 << j;
    else if (cost < Infinity) ranked.push(j);
    else infinite |= 1 << j;
  });
  ranked.sort((a, b) => (costs[a] as number) - (costs[b] as number) || a - b);
  yield* withFreeBits(finiteMasks(costs, ranked), free);
  if (infinite === 0) return;
  for (let mask = 1; mask < 2 ** costs.length; mask++)
    if ((mask & infinite) !== 0) yield { cost: Infinity, mask };
}

/** Every subset of the ranked bits by ascending (cost, mask). */
function* finiteMasks(costs: readonly number[], ranked: readonly number[]): Generator<Mask, void, undefined> {
  const candidates = new Heap<Candidate>();
  const waiting = new Heap<Mask>();
  const consider = (mask: number, last: number): void => {
    candidates.push({ cost: costOf(mask, costs), mask, last });
  };
  yield { cost: 0, mask: 0 };
  if (ranked.length > 0) consider(1 << (ranked[0] as number), 0);
  for (;;) {
    const next = candidates.peek();
    const ready = waiting.peek();
    if (ready !== undefined && (next === undefined || ready.cost < next.cost * ROUNDING)) {
      yield waiting.pop() as Mask;
      continue;
    }
    if (next === undefined) return;
    const { mask, last } = candidates.pop() as Candidate;
    waiting.push(next);
    if (last + 1 === ranked.length) continue;
    const dearer = 1 << (ranked[last + 1] as number);
    consider((mask ^ (1 << (ranked[last] as number))) | dearer, last + 1);
    consider(mask | dearer, last + 1);
  }
}

function costOf(mask: number, costs: readonly number[]): number {
  let sum = 0;
  for (let j = 0; j < costs.length; j++) if ((mask >>> j) & 1) sum += costs[j] as number;
  return sum;
}

/** Each mask with every subset of the free bits, masks of one cost merged in ascending order. */
function* withFreeBits(masks: Iterator<Mask>, free: number): Generator<Mask, void, undefined> {
  const tied = new Heap<Mask>();
  let ahead = masks.next();
  while (!ahead.done || tied.peek() !== undefined) {
    const best = tied.peek();
    if (!ahead.done && (best === undefined || comesBefore(ahead.value, best))) {
      tied.push(ahead.value);
      ahead = masks.next();
      continue;
    }
    const released = tied.pop() as Mask;
    const { cost, mask } = released;
    yield released;
    // The next subset of the free bits, as a counter that skips all others.
    const subset = ((mask & free) - free) & free;
    if (subset !== 0) tied.push({ cost, mask: (mask & ~free) | subset });
  }
}

function comesBefore(a: Mask, b: Mask): boolean {
  return a.cost < b.cost || (a.cost === b.cost && a.mask < b.mask);
}

/** A binary heap by (cost, mask). */
class Heap<T extends Mask> {
  private readonly items: T[] = [];

  peek(): T | undefined {
    return this.items[0];
  }

  push(item: T): void {
    const { items } = this;
    let hole = items.length;
    while (hole > 0) {
      const parent = (hole - 1) >>> 1;
      if (!comesBefore(item, items[parent] as T)) break;
      items[hole] = items[parent] as T;
      hole = parent;
    }
    items[hole] = item;
  }

  pop(): T | undefined {
    const { items } = this;
    const top = items[0];
    const item = items.pop();
    if (item === undefined || items.length === 0) return top;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && comesBefore(items[child + 1] as T, items[child] as T)) child++;
      if (!comesBefore(items[child] as T, item)) break;
      items[hole] = items[child] as T;
      hole = child;
    }
    items[hole] = item;
    return top;
  }
}
