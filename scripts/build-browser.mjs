// Bundles the library for pages without a bundler into build/browser: a module to import by its URL, and the worker beside it.
// Browsers can't resolve the "imports" of package.json, and workers don't see a page's import map.

import { readFile, rm } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { build } from "esbuild";

const out = "build/browser";
/** What every page that works on its own thread loads, and every worker. */
const CORE = resolve("src/space/host.ts");
await rm(out, { recursive: true, force: true });

/**
 * Lets what is loaded later name the core among its imports. esbuild makes a chunk of modules that the same entries reach, so the
 * core, of which each of these needs some other part, would lie in a dozen files, gzipped one by one.
 */
const coreInOnePiece = {
  name: "core-in-one-piece",
  setup({ onResolve, onLoad }) {
    const later = new Set();
    onResolve({ filter: /^\.\.?\// }, ({ kind, path, resolveDir }) => {
      if (kind === "dynamic-import") later.add(resolve(resolveDir, path));
      return undefined;
    });
    onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
      if (!later.has(path) || path === CORE) return undefined;
      const core = relative(dirname(path), CORE);
      const source = await readFile(path, "utf8");
      return {
        contents: `${source}\nimport "${core.startsWith(".") ? core : `./${core}`}";\n`,
        loader: "ts",
      };
    });
  },
};

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
  plugins: [coreInOnePiece],
});
