// Worker threads that run the source of this moment, and that tests can watch, change and kill.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, beforeEach } from "@jest/globals";
import type { Request, Verb, Verbs } from "../../src/workers/messages.ts";
import { useThreads } from "../../src/workers/thread.ts";

export interface Watched {
  /** Threads made since the test began. */
  threads: Worker[];
  /** Verbs asked for since the test began. */
  asked: Verb[];
  /** Called before a request is sent; may change its arguments. What is lost never arrives. */
  before: (request: { verb: Verb; args: Record<string, unknown> }, thread: Worker) => undefined | "lost";
}

/** Bundles the worker before the tests of the file, and has the pool use it. */
export function watchThreads(): Watched {
  const base = mkdtempSync(join(tmpdir(), "dreamdb-workers-"));
  const script = join(base, "worker.mjs");
  const watched: Watched = { threads: [], asked: [], before: () => undefined };
  beforeAll(() => {
    const options = [
      "--bundle",
      "--platform=node",
      "--format=esm",
      "--ignore-annotations",
      `--outfile=${script}`,
    ];
    execFileSync("node_modules/.bin/esbuild", ["src/workers/worker.node.ts", ...options], { stdio: "pipe" });
    useThreads(({ onMessage, onEnd }) => {
      const thread = new Worker(script, { execArgv: [] });
      watched.threads.push(thread);
      thread.on("message", onMessage);
      thread.on("error", onEnd);
      thread.on("exit", (code) => onEnd(`it ended with code ${code}`));
      return {
        post(message, transfer) {
          const { verb, args } = message as Request;
          watched.asked.push(verb);
          const fate = watched.before({ verb, args: args as Record<string, unknown> }, thread);
          if (fate !== "lost") thread.postMessage(message, transfer);
        },
        hold: (isBusy) => (isBusy ? thread.ref() : thread.unref()),
        end: () => thread.terminate(),
      };
    });
  });
  beforeEach(() => {
    watched.threads = [];
    watched.asked = [];
    watched.before = () => undefined;
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));
  return watched;
}

export type Args<V extends Verb> = Verbs[V]["args"];
