// A writer in a process of its own: node writer.mjs <backend>. Says when it is ready, appends when it is told to, and says the Manifests.
import { Dataset } from "../../build/lib/index.node.js";

const dataset = await Dataset.open("main", process.argv[2], { writer: "node" });
process.on("message", async (message) => {
  if (message === "end") {
    await dataset.close();
    process.disconnect();
    return;
  }
  const manifests = [];
  for (let i = 0; i < message.count; i++)
    manifests.push((await dataset.appendMany([raced(message.first + i)])).manifest);
  process.send(manifests);
});
process.send("ready");

/** A record of the fields of `make` in node-side.mjs, at an anchor that the library gives. */
function raced(n) {
  return { image: Uint8Array.of(n & 255), v: new Array(32).fill(n + 1), label: "raced", n };
}
