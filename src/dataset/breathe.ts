/** Long work on the one thread stops now and then, so that requests under way go on. */

/** Work that goes on for longer without a pause leaves sockets dry: their buffers hold a few milliseconds of a fast network. */
const PAUSE_AFTER_MS = 8;

let last = 0;

/** Lets what waits on the event loop run, unless that was just done. */
export async function breathe(): Promise<void> {
  if (performance.now() - last < PAUSE_AFTER_MS) return;
  await new Promise<void>((resolve) => {
    if (typeof setImmediate === "function") setImmediate(resolve);
    else setTimeout(resolve, 0);
  });
  last = performance.now();
}
