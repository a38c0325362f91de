/** Threads of Node. Imported for its effect, by the Node entry only. */
import { Worker } from "node:worker_threads";
import { useThreads } from "./thread.ts";

useThreads(({ onMessage, onEnd }) => {
  // Flags such as --input-type are for the main program.
  const worker = new Worker(new URL("./worker.node.js", import.meta.url), { execArgv: [] });
  worker.on("message", onMessage);
  worker.on("messageerror", onEnd);
  worker.on("error", onEnd);
  worker.on("exit", (code) => onEnd(`it ended with code ${code}`));
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    hold: (isBusy) => (isBusy ? worker.ref() : worker.unref()),
    end: () => worker.terminate(),
  };
});
