// Compiles the unchanged source of npm's faiss-node against the faiss that Debian packages: for machines that can
// reach npm and Debian, but not the GitHub releases and repositories that faiss-node's own install needs. Debian's
// build is for any x86-64 and several times slower than faiss can be, so the parts that compute distances are compiled
// again for AVX2, with the options of faiss's own AVX2 build. Nothing of the system changes: packages are unpacked here.
// usage: node bench/peers/faiss/build.mjs (bench/peers/run.mjs does it once when faiss-node did not install)
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = `${here}build/`;
const VERSION = "1.7.3";
const PACKAGES = ["libfaiss-dev", "libopenblas0-pthread", "libgfortran5", "libquadmath0"];
const SOURCES = "deb-src http://deb.debian.org/debian bookworm main\n";
/** What an inverted file of flat vectors spends its time in. Objects come before the archive, so these are the ones linked. */
const HOT = ["utils/distances_simd", "utils/distances", "IndexIVFFlat"];
const AVX2 = "-O3 -mavx2 -mfma -mf16c -mpopcnt".split(" ");
const COMMON = "-std=c++17 -fPIC -fopenmp -Iusr/include".split(" ");
/** faiss 1.7.3 has the type only inside Index; faiss-node is written for 1.7.4. */
const SHIM = "#include <faiss/Index.h>\nnamespace faiss { using idx_t = Index::idx_t; }\n";

mkdirSync(out, { recursive: true });
if (!existsSync(`${here}node_modules/faiss-node`)) run("npm", ["ci", "--silent"], here);
if (!existsSync(`${out}usr`)) {
  run("apt-get", ["download", "-q", ...PACKAGES]);
  for (const file of readdirSync(out).filter((name) => name.endsWith(".deb"))) run("dpkg", ["-x", file, "."]);
}
const hasAvx2 = / avx2 .* fma |fma .* avx2 /.test(readFileSync("/proc/cpuinfo", "utf8"));
if (hasAvx2) for (const part of HOT) compileHot(part);
link(hasAvx2 ? HOT.map(objectOf) : []);
writeFileSync(
  `${out}flavour.txt`,
  `Debian's faiss ${VERSION}, ${hasAvx2 ? "distances for AVX2" : "for any x86-64"}`,
);

function compileHot(part) {
  if (!existsSync(`${out}faiss-${VERSION}`)) fetchSource();
  run("g++", [
    ...COMMON,
    ...AVX2,
    `-Ifaiss-${VERSION}`,
    "-c",
    `faiss-${VERSION}/faiss/${part}.cpp`,
    "-o",
    objectOf(part),
  ]);
}

function objectOf(part) {
  return `${part.replace("/", "-")}.o`;
}

/** Through apt, which checks signatures, with lists of its own beside the system's. */
function fetchSource() {
  mkdirSync(`${out}lists/partial`, { recursive: true });
  writeFileSync(`${out}sources.list`, SOURCES);
  const apart = [
    `Dir::Etc::SourceList=${out}sources.list`,
    "Dir::Etc::SourceParts=/dev/null",
    `Dir::State::Lists=${out}lists`,
  ].flatMap((option) => ["-o", option]);
  run("apt-get", ["update", "-q", ...apart]);
  run("apt-get", ["source", "-q", "--download-only", ...apart, "faiss"]);
  run("tar", ["xzf", `faiss_${VERSION}.orig.tar.gz`]);
}

function link(objects) {
  writeFileSync(`${out}shim.h`, SHIM);
  const triplet = readdirSync(`${out}usr/lib`).find((name) => name.endsWith("-linux-gnu"));
  const lib = `usr/lib/${triplet}`;
  run("g++", [
    ...COMMON,
    ..."-O2 -shared -DNAPI_VERSION=6 -DNODE_GYP_MODULE_NAME=faiss_node -DBUILDING_NODE_EXTENSION".split(" "),
    ..."-include shim.h -I../node_modules/node-addon-api".split(" "),
    `-I${nodeHeaders()}`,
    "../node_modules/faiss-node/src/faiss.cc",
    ...objects,
    `${lib}/libfaiss.a`,
    `-L${lib}/openblas-pthread`,
    "-l:libopenblas.so.0",
    `-Wl,-rpath,$ORIGIN/${lib}/openblas-pthread:$ORIGIN/${lib}`,
    `-Wl,-rpath-link,${lib}`,
    "-o",
    "faiss-node.node",
  ]);
}

function nodeHeaders() {
  const beside = `${dirname(dirname(process.execPath))}/include/node`;
  const cached = `${process.env.HOME}/.cache/node-gyp/${process.versions.node}/include/node`;
  return existsSync(`${beside}/node_api.h`) ? beside : cached;
}

function run(command, args, cwd = out) {
  const { status, error } = spawnSync(command, args, { cwd, stdio: ["ignore", "ignore", "inherit"] });
  if (error !== undefined || status !== 0)
    throw new Error(`${command} ${args[0]} failed: ${error?.message ?? `exit code ${status}`}`);
}
