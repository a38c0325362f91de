// A contender's own process, on one core where the system can say so, with one thread where the contender asks the
// environment. Figures count the CPU time of all its threads, so a thread too many gains nothing.
import { spawn, spawnSync } from "node:child_process";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { DATA_SETS, OUT } from "./data.mjs";

const ENVIRONMENT = {
  ...process.env,
  RAYON_NUM_THREADS: "1",
  OMP_NUM_THREADS: "1",
  OPENBLAS_NUM_THREADS: "1",
  RUST_LOG: "error",
};
/** The last one, as systems tend to serve interrupts on the first; BENCH_CORE names another. */
const CORE = process.env.BENCH_CORE ?? String(cpus().length - 1);
export const isPinned = spawnSync("taskset", ["-c", CORE, "true"]).status === 0;

const running = new Set();
// A process in the middle of a build would not notice that its orders' giver is gone.
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

function start(file, args, stdio, nodeArgs = []) {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const command = [process.execPath, ...nodeArgs, path, ...args];
  if (isPinned) command.unshift("taskset", "-c", CORE);
  const child = spawn(command[0], command.slice(1), { env: ENVIRONMENT, stdio });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

/** A process that stays: `ask` gives one command and waits for its result. */
export class Contestant {
  constructor(task) {
    this.task = task;
    this.errors = "";
    this.child = start(
      "child.mjs",
      [],
      ["ignore", "inherit", "pipe", "ipc"],
      ["--expose-gc", "--max-old-space-size=8192"],
    );
    this.child.stderr.on("data", (text) => {
      this.errors = (this.errors + text).slice(-2000);
    });
  }

  ask(command, more = {}) {
    return new Promise((resolve, reject) => {
      const { child } = this;
      const settle = (finish, value) => {
        child.off("message", onMessage);
        child.off("exit", onExit);
        finish(value);
      };
      const onMessage = ({ done, failed }) =>
        failed === undefined ? settle(resolve, done) : settle(reject, new Error(failed));
      const onExit = (code, signal) =>
        settle(reject, new Error(`ended with ${signal ?? code} at ${command}: ${this.errors}`));
      child.on("message", onMessage);
      child.on("exit", onExit);
      child.send({ command, ...this.task, ...more }, (error) => {
        if (error) settle(reject, new Error(`could not be told to ${command}: ${this.errors}`));
      });
    });
  }

  async stop() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGKILL");
    await ended;
  }
}

/** Milliseconds from the start of a process to its first result, as this process sees it; and the result's ids. */
export function firstResult(task, setting) {
  return new Promise((resolve, reject) => {
    const { dim } = DATA_SETS[task.dataSet];
    const queryFile = `${OUT}${task.dataSet}.queries.f32`;
    const started = performance.now();
    const child = start(
      "first.mjs",
      [JSON.stringify({ ...task, setting, dim, queryFile })],
      ["ignore", "pipe", "pipe"],
    );
    let ms;
    let ids = "";
    let errors = "";
    child.stdout.on("data", (text) => {
      ms ??= performance.now() - started;
      ids += text;
    });
    child.stderr.on("data", (text) => {
      errors += text;
    });
    child.on("close", (code) => {
      if (ms === undefined) reject(new Error(`no first result (exit code ${code}): ${errors.slice(-500)}`));
      else resolve({ ms, ids: ids.trim().split(",").map(Number) });
    });
  });
}
