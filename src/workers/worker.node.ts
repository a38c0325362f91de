/** What a worker thread of Node runs: as worker.ts, with directories as backends. */
import { parentPort } from "node:worker_threads";
import "../store/node.ts";
import { serve } from "./serve.ts";

const take = serve((reply, transfer) => parentPort?.postMessage(reply, transfer));
parentPort?.on("message", take);
