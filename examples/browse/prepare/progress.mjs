// What the preparation prints: a line a step, which on a terminal tells how far it is.

/**
 * Starts a step.
 * @returns {{ at(share: number): void, done(note?: string): void }} `share`: how much is done, 0 … 1
 */
export function step(title) {
  const startMs = performance.now();
  const live = process.stdout.isTTY;
  const show = (text) => process.stdout.write(`\r\x1b[2K  ${text}`);
  if (live) show(`${title} …`);
  return {
    at(share) {
      if (live) show(`${title} … ${Math.floor(share * 100)} %`);
    },
    done(note) {
      const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
      const text = `${title}${note ? `: ${note}` : ""} (${seconds} s)`;
      if (live) show(`${text}\n`);
      else console.log(`  ${text}`);
    },
  };
}
