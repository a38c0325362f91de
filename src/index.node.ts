/** The public names in Node: all of them, and directories as backends. */
import "./store/node.ts";
import "./workers/node.ts";

export * from "./index.ts";
export { directoryStore } from "./store/directory.ts";
export { cachedInDirectory, type DirectoryCacheOptions } from "./store/directory-cache.ts";
