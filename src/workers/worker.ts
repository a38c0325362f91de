/** What a Web Worker of the pool runs. */
import { serveSpace } from "../space/serve.ts";
import { serve } from "./serve.ts";

const scope = globalThis as unknown as {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  onmessage: ((event: MessageEvent) => void) | null;
};

const take = serve((reply, transfer) => scope.postMessage(reply, transfer), serveSpace);
scope.onmessage = ({ data }) => take(data);
