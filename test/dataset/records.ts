import type { Dataset, StreamOptions } from "../../src/dataset/dataset.ts";

/** A clock that the test sets; Unix nanoseconds. */
export interface TestClock {
  now: bigint;
  read: () => bigint;
}

export function testClock(now = 1_700_000_000_000_000_000n): TestClock {
  const clock: TestClock = { now, read: () => clock.now };
  return clock;
}

/** Every record that a stream gives, as rows. */
export async function rowsOf(
  dataset: Dataset,
  options: StreamOptions = {},
): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  for await (const batch of dataset.iterStream(options)) {
    const { _time_anchors, ...columns } = batch as { _time_anchors: bigint[] } & Record<string, unknown[]>;
    for (const [name, values] of Object.entries(columns)) {
      if (values.length !== _time_anchors.length) throw new Error(`column ${name} has another length`);
    }
    _time_anchors.forEach((anchor, i) => {
      const row: Record<string, unknown> = { _anchor: anchor };
      for (const [name, values] of Object.entries(columns))
        if (values[i] !== undefined) row[name] = values[i];
      rows.push(row);
    });
  }
  return rows;
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Numbers that look random and are the same every time: a 32-bit mulberry generator in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomVector(random: () => number, dim: number): Float32Array {
  return Float32Array.from({ length: dim }, () => random() * 2 - 1);
}

/** Cosine distance as the format defines it: f32 throughout, sums folded from the left. */
export function cosineDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const f = Math.fround;
  const dot = (x: ArrayLike<number>, y: ArrayLike<number>) => {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum = f(sum + f(f(x[i]!) * f(y[i]!)));
    return sum;
  };
  const inverse = (x: ArrayLike<number>) => f(1 / f(Math.sqrt(dot(x, x))));
  return f(1 - f(f(dot(a, b) * inverse(b)) * inverse(a)));
}
