// Timing shared by the benches: medians of short samples, contenders taken in turn so that a noisy machine
// hits all of them alike.

/**
 * Runs each contender (name → function) `rounds` times in turn, after `warmUp` calls each.
 * @returns name → { median, best, worst } in ms a call
 */
export function compare(contenders, { rounds = 15, minSampleMs = 40, warmUp = 3 } = {}) {
  const calls = {};
  const samples = {};
  for (const [name, run] of Object.entries(contenders)) {
    for (let i = 0; i < warmUp; i++) run();
    const start = performance.now();
    let n = 0;
    do {
      run();
      n++;
    } while (performance.now() - start < minSampleMs);
    calls[name] = n;
    samples[name] = [];
  }
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(contenders)) {
      const start = performance.now();
      for (let i = 0; i < calls[name]; i++) run();
      samples[name].push((performance.now() - start) / calls[name]);
    }
  }
  return Object.fromEntries(Object.entries(samples).map(([name, taken]) => [name, summary(taken)]));
}

function summary(samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  return { median: sorted[sorted.length >> 1], best: sorted[0], worst: sorted.at(-1) };
}

/** One line: the median of `scale / ms`, with its spread over the samples. */
export function rate(name, taken, scale, unit, digits = 1) {
  const show = (ms) => (scale / ms).toFixed(digits);
  return `${name.padEnd(34)} ${show(taken.median).padStart(8)} ${unit}  (${show(taken.worst)} … ${show(taken.best)})`;
}

/** One line: the median time, with its spread. */
export function time(name, taken, digits = 2) {
  const show = (ms) => ms.toFixed(digits);
  return `${name.padEnd(34)} ${show(taken.median).padStart(8)} ms  (${show(taken.best)} … ${show(taken.worst)})`;
}

/** How many times faster `fast` was than `slow`, by medians. */
export function ratio(slow, fast) {
  return (slow.median / fast.median).toFixed(1);
}

/** A small seeded generator (mulberry32): numbers in [0, 1). */
export function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
