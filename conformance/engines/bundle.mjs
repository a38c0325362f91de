// One script of everything an engine runs: the built library as it is, the vectors and the stress. The same bytes run
// everywhere; engines differ only in how the result comes back.
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { MODULES } from "../checks.mjs";
import { RESULT_PATH } from "./page.mjs";
import { RESULT_MARK } from "./process.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));

/** The text of the bundle, an ES module. @throws when build/lib is not there or a check needs more than engines have */
export async function bundle() {
  const { outputFiles } = await build({
    stdin: { contents: entry(), resolveDir: here, sourcefile: "entry.mjs" },
    bundle: true,
    write: false,
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["browser", "default"],
    target: "es2022",
    // "sideEffects" in package.json speaks of the library's modules only; shell.mjs has some.
    ignoreAnnotations: true,
    alias: { "node:assert": `${here}assert.mjs` },
    logLevel: "error",
  });
  return outputFiles[0].text;
}

function entry() {
  const modules = [...MODULES, "kernels/load"];
  const files = readdirSync(new URL("..", import.meta.url))
    .filter((name) => name.endsWith(".json") && name !== "http.json")
    .sort();
  return `
    import "./shell.mjs";
    import { runAll } from "./program.mjs";
    ${modules.map((module, i) => `import * as module${i} from "../../build/lib/${module}.js";`).join("\n")}
    ${files.map((file, i) => `import file${i} from "../${file}";`).join("\n")}
    const lib = { ${modules.map((_, i) => `...module${i}`).join(", ")} };
    const vectorFiles = { ${files.map((file, i) => `${JSON.stringify(file)}: file${i}`).join(", ")} };
    const result = JSON.stringify(await runAll(lib, vectorFiles));
    if (typeof document === "object") await fetch(${JSON.stringify(RESULT_PATH)}, { method: "POST", body: result });
    else (globalThis.print ?? console.log)(${JSON.stringify(RESULT_MARK)} + result);
  `;
}
