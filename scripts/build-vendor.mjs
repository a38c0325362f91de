// Bundles the third-party modules the library needs at run time, and the compute core, into build/vendor,
// so that installing the package brings no install script and needs no bundler setting for WASM.

import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";
import { byteText } from "./byte-text.mjs";

const out = "build/vendor";
await mkdir(out, { recursive: true });

await build({
  entryPoints: ["scripts/vendor/blake3.mjs", "scripts/vendor/cbor-x.mjs", "scripts/vendor/loader.mjs"],
  outdir: out,
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minifySyntax: true,
  legalComments: "inline",
  charset: "utf8",
  plugins: [{ name: "wasm", setup: importAsText }],
  // Modules arrive as bytes, never as responses; in Node the mere mention of Response loads the whole of fetch (20 ms).
  define: { "import.meta.url": '""', Response: "undefined", Request: "undefined" },
  logLevel: "error",
});

// A byte order mark at the start of a text is part of it, but cbor-x's decoder drops it.
const cborFile = `${out}/cbor-x.js`;
const cbor = await readFile(cborFile, "utf8");
const decoder = "new TextDecoder()";
if (!cbor.includes(decoder))
  throw new Error(`cbor-x no longer says ${decoder}; see how it decodes long texts now`);
await writeFile(cborFile, cbor.replaceAll(decoder, 'new TextDecoder("utf-8", { ignoreBOM: true })'));

for (const name of ["simd", "scalar"]) {
  const wasm = await readFile(`build/${name}.wasm`);
  await writeFile(`${out}/wasm-${name}.js`, `export default ${byteText(wasm)};\n`);
  await copyFile("scripts/vendor/wasm.d.ts", `${out}/wasm-${name}.d.ts`);
}
for (const name of ["blake3", "cbor-x", "loader"])
  await copyFile(`scripts/vendor/${name}.d.ts`, `${out}/${name}.d.ts`);

const notices = [];
for (const name of ["blake3-wasm", "cbor-x", "@assemblyscript/loader"]) {
  const { version, license } = JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf8"));
  const text = await readFile(`node_modules/${name}/LICENSE`, "utf8").catch(
    () => `Licensed under ${license}.\n`,
  );
  notices.push(`# ${name} ${version} (${license})\n\n${text}`);
}
await writeFile(`${out}/THIRD-PARTY-LICENSES.md`, notices.join("\n"));

function importAsText({ onLoad }) {
  onLoad({ filter: /\.wasm$/ }, async ({ path }) => ({
    contents: `export default ${byteText(await readFile(path))};`,
  }));
}
