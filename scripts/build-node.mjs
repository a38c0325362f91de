// Bundles the entries for Node into build/node: loading some 150 small modules took half of the time that a fresh process
// needs to its first search result. What build/lib holds stays the readable form, for browsers' bundlers and for types.

import { rm } from "node:fs/promises";
import { build } from "esbuild";

const out = "build/node";
await rm(out, { recursive: true, force: true });

await build({
  entryPoints: { index: "build/lib/index.node.js", "worker.node": "build/lib/workers/worker.node.js" },
  outdir: out,
  // Chunks lie beside the entries, so that `new URL("./worker.node.js", import.meta.url)` holds in each of them.
  chunkNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "es2022",
  plugins: [{ name: "core", setup: leaveCoreWhereItIs }],
  legalComments: "none",
  logLevel: "error",
});

/** The two builds of the compute core are shared with build/lib; a process loads one of them, if any. */
function leaveCoreWhereItIs({ onResolve }) {
  onResolve({ filter: /^#wasm\// }, ({ path }) => ({
    path: `../vendor/wasm-${path.slice("#wasm/".length)}.js`,
    external: true,
  }));
}
