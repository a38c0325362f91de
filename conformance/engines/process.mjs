// Runs an engine's program in a folder of its own and ends it, with all that it started, when it has answered.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Stands before the result in what a shell prints. */
export const RESULT_MARK = "engine-result: ";
/** An emulated processor takes half a minute on a quiet machine. */
const TIMEOUT_MS = 600_000;

/** The result that a shell prints when it runs `script`. @throws when it ends without one */
export async function runShell(command, script) {
  return withProcess(
    (folder) => {
      const file = join(folder, "program.mjs");
      writeFileSync(file, script);
      return [...command, file];
    },
    ({ printed, ended }) =>
      ended.then((how) => {
        const line = printed()
          .split("\n")
          .find((text) => text.startsWith(RESULT_MARK));
        if (line === undefined) throw new Error(`${how} without a result: ${printed().slice(-1500)}`);
        return JSON.parse(line.slice(RESULT_MARK.length));
      }),
  );
}

/**
 * Starts what `prepare(folder)` says, a command with its arguments, and gives what `answer` makes of it:
 * `printed()` is its output so far, `ended` says how it ended, once it has.
 */
export async function withProcess(prepare, answer) {
  const folder = mkdtempSync(join(tmpdir(), "dreamdb-engine-"));
  let child;
  let timer;
  try {
    const [program, ...args] = prepare(folder);
    // A group of its own, for browsers start processes that outlive them; a home of its own, so that no settings matter.
    child = spawn(program, args, {
      cwd: folder,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, HOME: folder, XDG_RUNTIME_DIR: folder, MOZ_CRASHREPORTER_DISABLE: "1" },
    });
    const output = [];
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => output.push(chunk));
    const printed = () => Buffer.concat(output).toString();
    const ended = new Promise((resolve) => {
      child.on("error", (error) => resolve(error.message));
      child.on("close", (code, signal) => resolve(`ended (${signal ?? code})`));
    });
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => {
        reject(new Error(`no result in ${TIMEOUT_MS / 1000} s: ${printed().slice(-1500)}`));
      }, TIMEOUT_MS);
    });
    return await Promise.race([answer({ printed, ended }), late]);
  } finally {
    clearTimeout(timer);
    endGroup(child);
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }
}

function endGroup(child) {
  if (child?.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}
