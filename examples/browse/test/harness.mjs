// As much of a test runner as this takes. Tests run beside each other, each in fresh pages of one browser.

export const tests = [];

/** @param options `alone`: not beside other tests, since it measures time */
export function test(name, run, { alone = false } = {}) {
  tests.push({ name, run, alone });
}

export function ok(condition, what) {
  if (!condition) throw new Error(what);
}

export function equal(found, expected, what = "value") {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: found ${a}, expected ${b}`);
}

/** Waits until `probe` gives something that is neither false nor undefined, and gives that. */
export async function until(what, probe, ms = 25_000) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
