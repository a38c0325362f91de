// Bundles the library for pages without a bundler into build/browser: a module to import by its URL, and the worker beside it.
// Browsers can't resolve the "imports" of package.json, and workers don't see a page's import map.

import { rm } from "node:fs/promises";
import { build } from "esbuild";

const out = "build/browser";
await rm(out, { recursive: true, force: true });

await build({
  entryPoints: { index: "src/index.ts", space: "src/space/index.ts", worker: "src/workers/worker.ts" },
  outdir: out,
  // Chunks lie beside the entries, so that `new URL("./worker.js", import.meta.url)` holds in each of them.
  chunkNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  minify: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  charset: "utf8",
  // package.json names the files with effects as they are in build/lib.
  ignoreAnnotations: true,
  logLevel: "error",
});
