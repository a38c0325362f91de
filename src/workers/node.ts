/** Threads of Node. Imported for its effect, by the Node entry only. */
import { createRequire } from "node:module";
import { useThreads } from "./thread.ts";

const require = createRequire(import.meta.url);

useThreads(({ onMessage, onEnd }) => {
  // Here, since to load it takes 3 ms of every program that needs no threads.
  const { Worker } = require("node:worker_threads") as typeof import("node:worker_threads");
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
