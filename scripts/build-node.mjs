// Bundles the entries for Node into build/node: loading some 150 small modules took half of the time that a fresh process
// needs to its first search result. What build/lib holds stays the readable form, for browsers' bundlers and for types.

import { readFile, rm, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const out = "build/node";
const { peerDependencies: peers } = JSON.parse(await readFile("package.json", "utf8"));
await rm(out, { recursive: true, force: true });

await build({
  entryPoints: { index: "src/index.node.ts", "worker.node": "src/workers/worker.node.ts" },
  outdir: out,
  // Chunks lie beside the entries, so that `new URL("./worker.node.js", import.meta.url)` holds in each of them.
  chunkNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "es2022",
  charset: "utf8",
  plugins: [{ name: "core", setup: leaveCoreWhereItIs }],
  // package.json names the files with effects as they are in build/lib.
  ignoreAnnotations: true,
  // Optional peers, which the user installs: a bundled copy of the SDK can't even load (it requires Node's modules).
  external: Object.keys(peers),
  legalComments: "none",
  logLevel: "error",
});

// The command line imports this file: there is one instance of the library in a process, and of its registry of backends.
await writeFile("build/lib/index.node.js", 'export * from "../node/index.js";\n');

/** The two builds of the compute core are shared with build/lib; a process loads one of them, if any. */
function leaveCoreWhereItIs({ onResolve }) {
  onResolve({ filter: /^#wasm\// }, ({ path }) => ({
    path: `../vendor/wasm-${path.slice("#wasm/".length)}.js`,
    external: true,
  }));
}
