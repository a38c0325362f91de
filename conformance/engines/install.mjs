// Installs engines: Debian packages as root, npm packages by unpacking them under build/. Neither touches the project's
// own dependencies. Says what it would run where it may not.
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { UNPACKED } from "./engines.mjs";

/** Installs those of `engines` that are missing. @returns whether all of it worked */
export function install(engines) {
  const missing = engines.filter((engine) => engine.locate() === undefined);
  if (missing.length === 0) console.log("all engines are installed");
  const apt = [...new Set(missing.flatMap(({ packages }) => packages.apt ?? []))];
  const installed = apt.length === 0 || installDebian(apt);
  return missing.map(unpack).every(Boolean) && installed;
}

/** The command that installs an engine, for people. */
export function howToInstall({ id, packages: { apt = [], npm } }) {
  const debian = apt.length > 0 ? ` (apt-get install ${apt.join(" ")})` : "";
  return `npm run engines -- --install --only ${id}${debian}${npm === undefined ? "" : `, from npm ${npm}`}`;
}

function installDebian(packages) {
  const command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", ...packages];
  if (process.getuid?.() !== 0) {
    console.log(`as root, run: apt-get update && ${command.join(" ")}`);
    return false;
  }
  return timed(["apt-get", "update", "-qq"]) && timed(command);
}

function unpack({ id, packages: { npm } }) {
  if (npm === undefined) return true;
  const folder = `${UNPACKED}${id}`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return timed(
    ["sh", "-c", `npm pack --silent ${npm} && tar -xzf ./*.tgz package/bin && rm ./*.tgz`],
    folder,
  );
}

function timed([program, ...args], cwd) {
  const start = Date.now();
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
  console.log(`${((Date.now() - start) / 1000).toFixed(1).padStart(6)} s  ${[program, ...args].join(" ")}`);
  if (status !== 0) console.log(`${stdout}${stderr}`.slice(-3000));
  return status === 0;
}
