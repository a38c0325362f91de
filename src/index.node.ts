/** The public names in Node: all of them, and directories as backends. */
import "./store/node.ts";
import "./workers/node.ts";

export * from "./index.ts";
export { directoryStore } from "./store/directory.ts";
