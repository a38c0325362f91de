// A bucket for pages: keys of a directory store over HTTP, with ranges, conditional puts, lists and CORS, and any fault that a test wants.
import { createServer } from "node:http";

const CORS = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Expose-Headers": "ETag, Content-Range, Content-Length",
};
const PREFLIGHT = {
  "Access-Control-Allow-Methods": "GET, PUT",
  "Access-Control-Allow-Headers": "Range, If-Match, If-None-Match, Content-Type, Cache-Control",
  "Access-Control-Max-Age": "600",
};

/**
 * Serves the stores that `storeOf(bucket)` gives, each under /bucket/.
 * A fault is { bucket, match, kind, times }: `match` a pattern of keys, `kind` as in `FAULTS`, for so many requests.
 */
export async function startBuckets(storeOf) {
  const faults = [];
  const requests = [];
  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      if (!response.headersSent) response.writeHead(500, CORS);
      response.end(String(error));
    });
  });

  async function answer(request, response) {
    const url = new URL(request.url, "http://x");
    const [, bucket, ...rest] = url.pathname.split("/");
    const key = decodeURIComponent(rest.join("/"));
    if (request.method === "OPTIONS") {
      const isHidden = faults.some((fault) => fault.bucket === bucket && fault.kind === "no CORS");
      return void response.writeHead(204, isHidden ? {} : { ...CORS, ...PREFLIGHT }).end();
    }
    requests.push({ bucket, method: request.method, key, range: request.headers.range });
    const fault = faults.find((each) => each.bucket === bucket && each.times > 0 && each.match.test(key));
    if (fault !== undefined) fault.times--;
    const store = storeOf(bucket);
    if (url.searchParams.get("list-type") === "2") return list(store, bucket, url, response, fault);
    if (request.method === "PUT") return put(store, key, request, response);
    return get(store, key, request, response, fault);
  }

  async function get(store, key, request, response, fault) {
    const found = await store.get(key);
    let bytes = found === undefined ? undefined : Buffer.from(found.bytes);
    const tag = found === undefined ? {} : { ETag: `"${found.etag}"` };
    let status = bytes === undefined ? 404 : 200;
    let headers = { ...CORS, ...tag };
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    if (bytes !== undefined && range !== null) {
      const [first, last] = [Number(range[1]), Math.min(Number(range[2]), bytes.length - 1)];
      headers["Content-Range"] = `bytes ${first}-${last}/${bytes.length}`;
      status = first < bytes.length ? 206 : 416;
      bytes = bytes.subarray(first, last + 1);
    }
    bytes ??= Buffer.from("<Error><Code>NoSuchKey</Code></Error>");
    switch (fault?.kind) {
      case "flip":
        bytes = Buffer.from(bytes);
        bytes[bytes.length >> 1] ^= 1;
        break;
      case "cut":
        response.writeHead(status, { ...headers, "Content-Length": bytes.length });
        response.write(bytes.subarray(0, bytes.length >> 1), () => setTimeout(() => response.destroy(), 20));
        return;
      case "stall":
        response.writeHead(status, { ...headers, "Content-Length": bytes.length });
        response.write(bytes.subarray(0, bytes.length >> 1));
        return;
      case "drop":
        response.destroy();
        return;
      case "denied":
        [status, bytes] = [403, Buffer.from("<Error><Code>AccessDenied</Code></Error>")];
        break;
      case "absent":
        [status, bytes] = [404, Buffer.from("<Error><Code>NoSuchKey</Code></Error>")];
        break;
      case "failing":
        [status, bytes] = [503, Buffer.from("<Error><Code>SlowDown</Code></Error>")];
        break;
      case "a page":
        [status, bytes] = [200, Buffer.from("<!doctype html><script>parent.pwned = true</script>")];
        headers["Content-Type"] = "text/html";
        break;
      case "no CORS":
        headers = tag;
        break;
      case "redirect":
        response.writeHead(302, { ...CORS, Location: "/elsewhere" }).end();
        return;
      case undefined:
        break;
      default:
        throw new Error(`no such fault: ${fault.kind}`);
    }
    if (fault?.delayMs) await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
    response.writeHead(status, { ...headers, "Content-Length": bytes.length }).end(bytes);
  }

  async function put(store, key, request, response) {
    const parts = [];
    for await (const part of request) parts.push(part);
    const { "if-match": ifMatch, "if-none-match": ifNoneMatch } = request.headers;
    const condition =
      ifNoneMatch === "*" ? { create: true } : ifMatch && { ifMatch: ifMatch.replaceAll('"', "") };
    try {
      const { etag } = await store.put(key, new Uint8Array(Buffer.concat(parts)), condition || undefined);
      response.writeHead(200, { ...CORS, ETag: `"${etag}"` }).end();
    } catch (error) {
      response.writeHead(error.code === "Conflict" ? 412 : 500, CORS).end(error.message);
    }
  }

  async function list(store, bucket, url, response, fault) {
    if (fault?.kind === "denied" || fault?.kind === "no CORS")
      return void response.writeHead(403, fault.kind === "denied" ? CORS : {}).end();
    const items = [];
    for await (const { key, bytes } of store.list(url.searchParams.get("prefix") ?? ""))
      items.push(`<Contents><Key>${key}</Key><Size>${bytes}</Size></Contents>`);
    response.writeHead(200, { ...CORS, "Content-Type": "application/xml" });
    response.end(
      `<?xml version="1.0"?><ListBucketResult><Name>${bucket}</Name>${items.join("")}<IsTruncated>false</IsTruncated></ListBucketResult>`,
    );
  }

  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    faults,
    requests,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
