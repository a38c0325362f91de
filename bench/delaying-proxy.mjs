// An HTTP proxy that lets every request wait before it passes it on: a server on this machine as one far away.
// usage: node bench/delaying-proxy.mjs <target, http://host:port> [ms = 40] → prints its own address, and at the end of
// its input stops. Requests wait at the same time, not one after the other; connections and bytes are not slowed down.
import http from "node:http";

/** Starts one in this process. @returns {Promise<{ url: string, close: () => Promise<void> }>} */
export async function delayingProxy(target, delayMs) {
  const { hostname, port } = new URL(target);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
  const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    setTimeout(() => {
      // The Host header stays as it came: signatures cover it.
      const { method, url: path, headers } = request;
      const onward = http.request({ agent, hostname, port, method, path, headers }, (answer) => {
        response.writeHead(answer.statusCode, answer.rawHeaders);
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
    async close() {
      agent.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

if (import.meta.filename === process.argv[1]) {
  const proxy = await delayingProxy(process.argv[2], Number(process.argv[3] ?? 40));
  console.log(proxy.url);
  process.stdin.resume().on("end", () => proxy.close());
}
