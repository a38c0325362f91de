// A thread of meanings.mjs: texts come in, their vectors go out.
import { parentPort } from "node:worker_threads";
import { loadEncoder } from "./models.mjs";

const encoder = loadEncoder();

parentPort.on("message", async (texts) => {
  parentPort.postMessage(await (await encoder).embedMany(texts));
});
