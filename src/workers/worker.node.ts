/** What a worker thread of Node runs: as worker.ts, with directories as backends. */
import { parentPort } from "node:worker_threads";
import "../store/node.ts";
import type { SpaceRequest, serveSpace } from "../space/serve.ts";
import { serve } from "./serve.ts";
import { toWire } from "./wire-error.ts";

const take = serve((reply, transfer) => parentPort?.postMessage(reply, transfer), serveLater);
parentPort?.on("message", take);

/** Threads of a pool are spared the loading of what serves a Space. */
function serveLater(post: Parameters<typeof serveSpace>[0]): (message: SpaceRequest) => void {
  const loaded = import("../space/serve.ts").then((module) => module.serveSpace(post));
  return (message) => {
    loaded.then(
      (take) => take(message),
      (error: unknown) => post({ id: message.id, error: toWire(error) }, []),
    );
  };
}
