// A writer in a process of its own: node writer.mjs <backend> <first> <count>. Ready when it says so, it appends when it is told to.
import { once } from "node:events";
import { Dataset } from "../../build/lib/index.node.js";

const [, , address, first, count] = process.argv;
const dataset = await Dataset.open("main", address, { writer: "node" });
process.send("ready");
await once(process, "message");
const manifests = [];
for (let i = 0; i < Number(count); i++) {
  const n = Number(first) + i;
  const { manifest } = await dataset.appendMany([raced(n)]);
  manifests.push(manifest);
}
await dataset.close();
process.send({ manifests });
process.disconnect();

/** A record of the fields of `make` in node-side.mjs, at an anchor that the library gives. */
function raced(n) {
  return { image: Uint8Array.of(n & 255), v: new Array(32).fill(n + 1), label: "raced", n };
}
