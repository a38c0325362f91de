// An HTTP proxy that lets every request wait before it passes it on: a server on this machine as one far away. It also counts.
// usage: node bench/delaying-proxy.mjs <target, http://host:port> [ms = 40] → prints its own address; then, for each line of
// input, what passed since the last, as JSON; and at the end of its input stops. Requests wait at the same time, not one after
// the other; connections and bytes are not slowed down.
import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/**
 * Starts one in this process. Of what passes it counts requests, bytes of answers, and `steps`: a step begins with a request that
 * comes when the first of the step before has been answered. A client that asks for all it knows it needs takes as many as
 * its requests depend on each other; one that asks bit by bit takes more.
 * @returns {Promise<{ url: string, take: () => { requests: number, bytes: number, steps: number }, close: () => Promise<void> }>}
 */
export async function delayingProxy(target, delayMs) {
  const { hostname, port } = new URL(target);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
  const nothing = { requests: 0, bytes: 0, steps: 0 };
  let passed = { ...nothing };
  let stepEnds = 0;
  const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    passed.requests++;
    const now = performance.now();
    if (now >= stepEnds) {
      passed.steps++;
      stepEnds = now + delayMs;
    }
    setTimeout(() => {
      // The Host header stays as it came: signatures cover it.
      const { method, url: path, headers } = request;
      const onward = http.request({ agent, hostname, port, method, path, headers }, (answer) => {
        response.writeHead(answer.statusCode, answer.rawHeaders);
        answer.on("data", (chunk) => {
          passed.bytes += chunk.length;
        });
        answer.pipe(response);
      });
      onward.on("error", () => response.destroy());
      response.on("close", () => onward.destroy());
      request.pipe(onward);
    }, delayMs);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    take() {
      const taken = passed;
      passed = { ...nothing };
      stepEnds = 0;
      return taken;
    },
    async close() {
      agent.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Starts one in a process of its own, so that it does not wait for the client's work. `take` and `close` as above, later. */
export async function startProxy(target, delayMs) {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), target, String(delayMs)]);
  child.stderr.pipe(process.stderr);
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const { value: url } = await lines.next();
  return {
    url,
    async take() {
      child.stdin.write("take\n");
      return JSON.parse((await lines.next()).value);
    },
    async close() {
      child.stdin.end();
      await once(child, "exit");
    },
  };
}

if (import.meta.filename === process.argv[1]) {
  const proxy = await delayingProxy(process.argv[2], Number(process.argv[3] ?? 40));
  console.log(proxy.url);
  for await (const _ of createInterface(process.stdin)) console.log(JSON.stringify(proxy.take()));
  await proxy.close();
}
