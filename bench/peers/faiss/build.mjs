// Compiles the unchanged source of npm's faiss-node against the faiss that Debian packages: for machines that can
// reach npm and Debian, but not the GitHub releases and repositories that faiss-node's own install needs. Debian's
// build, like faiss-node's, is for any x86-64 (no AVX). Nothing of the system changes: packages are unpacked here.
// usage: node bench/peers/faiss/build.mjs (bench/peers/run.mjs does it once when faiss-node did not install)
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const PACKAGES = ["libfaiss-dev", "libopenblas0-pthread", "libgfortran5", "libquadmath0"];
/** faiss 1.7.3 has the type only inside Index; faiss-node is written for 1.7.4. */
const SHIM = "#include <faiss/Index.h>\nnamespace faiss { using idx_t = Index::idx_t; }\n";

mkdirSync(`${here}build`, { recursive: true });
if (!existsSync(`${here}node_modules/faiss-node`)) run("npm", ["ci", "--silent"]);
if (!existsSync(`${here}build/usr`)) {
  run("apt-get", ["download", "-q", ...PACKAGES], `${here}build`);
  for (const file of readdirSync(`${here}build`).filter((name) => name.endsWith(".deb")))
    run("dpkg", ["-x", file, "."], `${here}build`);
}
writeFileSync(`${here}build/shim.h`, SHIM);
const triplet = readdirSync(`${here}build/usr/lib`).find((name) => name.endsWith("-linux-gnu"));
const lib = `usr/lib/${triplet}`;
run(
  "g++",
  [
    ..."-O2 -std=c++17 -fPIC -shared -fopenmp -DNAPI_VERSION=6 -DNODE_GYP_MODULE_NAME=faiss_node".split(" "),
    ..."-DBUILDING_NODE_EXTENSION -include shim.h -Iusr/include -I../node_modules/node-addon-api".split(" "),
    `-I${nodeHeaders()}`,
    "../node_modules/faiss-node/src/faiss.cc",
    `${lib}/libfaiss.a`,
    `-L${lib}/openblas-pthread`,
    "-l:libopenblas.so.0",
    `-Wl,-rpath,$ORIGIN/${lib}/openblas-pthread:$ORIGIN/${lib}`,
    `-Wl,-rpath-link,${lib}`,
    "-o",
    "faiss-node.node",
  ],
  `${here}build`,
);

function nodeHeaders() {
  const beside = `${dirname(dirname(process.execPath))}/include/node`;
  const cached = `${process.env.HOME}/.cache/node-gyp/${process.versions.node}/include/node`;
  return existsSync(`${beside}/node_api.h`) ? beside : cached;
}

function run(command, args, cwd = here) {
  const { status, error } = spawnSync(command, args, { cwd, stdio: ["ignore", "ignore", "inherit"] });
  if (error !== undefined || status !== 0)
    throw new Error(`${command} ${args[0]} failed: ${error?.message ?? `exit code ${status}`}`);
}
