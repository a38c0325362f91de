// Two servers on the loopback address: the page's own, and a bucket of another origin, which is a directory with ranges and CORS. What
// either sends is counted. Nothing may be kept by the browser, so that each navigation downloads all anew.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { openStore } from "../../../build/node/index.js";

const HERE = new URL("./", import.meta.url);
/** Where a page's modules come from, by the beginning of their path. */
const FOLDERS = {
  "/lib/": new URL("../../../build/browser/", HERE),
  "/bench/": new URL("../../", HERE),
  "/peers/": new URL("node_modules/", HERE),
};
const TYPES = { mjs: "text/javascript", js: "text/javascript", wasm: "application/wasm" };
const MODULE = /^\/[A-Za-z0-9_@/-]+\.(mjs|js|wasm)$/;
const SAFE_PART = /^(?!\.)[A-Za-z0-9_.@-]+$/;
const UNKEPT = { "Cache-Control": "no-store" };
/** Pages that ask for this have clocks of 5 µs. */
const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

/**
 * Serves pages: `/name` runs the module name.mjs beside this one, with a plan in the page.
 * @param data path → bytes or text
 * @param network `delayMs` that each answer is late
 * @param planOf (url) → what the page is told
 * @param onPost (path, value) → what is answered, as JSON
 */
export async function servePages(data, network, planOf, onPost) {
  return serve(
    async (request, count) => {
      const url = new URL(request.url, "http://x");
      const { pathname } = url;
      if (request.method === "POST") {
        const parts = [];
        for await (const part of request) parts.push(part);
        const answer = await onPost(pathname, JSON.parse(Buffer.concat(parts).toString()));
        return { status: 200, type: "application/json", body: JSON.stringify(answer ?? {}) };
      }
      if (data.has(pathname))
        return { status: 200, type: "application/octet-stream", body: data.get(pathname) };
      if (/^\/[a-z]+$/.test(pathname)) {
        const body = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>bench</title>
<script>onerror = (message) => fetch("/failed", { method: "POST", body: JSON.stringify(String(message)) });
onunhandledrejection = ({ reason }) => onerror(reason?.stack ?? reason);</script>
<script type="application/json" id="plan">${JSON.stringify(planOf(url))}</script>
<script type="module" src="/bench/peers/browser${pathname}.mjs"></script>`;
        count(body.length);
        return { status: 200, type: "text/html; charset=utf-8", body };
      }
      const folder = Object.keys(FOLDERS).find((each) => pathname.startsWith(each));
      const type = TYPES[MODULE.exec(pathname)?.[1]];
      if (folder === undefined || type === undefined || !pathname.slice(1).split("/").every(isSafe))
        return { status: 404, type: "text/plain", body: "" };
      const body = await readFile(fileURLToPath(new URL(pathname.slice(folder.length), FOLDERS[folder])));
      count(body.length);
      return { status: 200, type, body };
    },
    ISOLATED,
    network,
  );
}

/** Serves the keys of a directory store; `network` as of `servePages`. */
export async function serveBucket(directory, network) {
  const store = openStore(directory);
  const sizes = new Map();
  for await (const { key, bytes } of store.list("")) sizes.set(key, bytes);
  return serve(
    async (request, count) => {
      const key = decodeURIComponent(new URL(request.url, "http://x").pathname.slice(1));
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
      const range = first === undefined ? undefined : { offset: Number(first), length: last - first + 1 };
      const found = await store.get(key, range);
      if (found === undefined) return { status: 404, type: "text/plain", body: "" };
      count(found.bytes.length);
      const to = Number(first) + found.bytes.length - 1;
      return {
        status: range === undefined ? 200 : 206,
        type: "application/octet-stream",
        body: found.bytes,
        headers: {
          ...(found.etag === undefined ? {} : { ETag: `"${found.etag}"` }),
          ...(range === undefined ? {} : { "Content-Range": `bytes ${first}-${to}/${sizes.get(key)}` }),
        },
      };
    },
    {
      "Access-Control-Allow-Origin": "*",
      "Access-Control-Expose-Headers": "ETag, Content-Range, Content-Length",
    },
    network,
  );
}

function isSafe(part) {
  return SAFE_PART.test(part);
}

/** `taken()` gives requests and bytes since it was last asked. */
async function serve(answer, always, network) {
  let sent = { requests: 0, bytes: 0 };
  const count = (bytes) => {
    sent.requests++;
    sent.bytes += bytes;
  };
  const server = createServer(async (request, response) => {
    try {
      if (request.method === "OPTIONS") {
        const allowed = { "Access-Control-Allow-Headers": "Range", "Access-Control-Max-Age": "600" };
        return void response.writeHead(204, { ...always, ...allowed }).end();
      }
      const { status, type, body, headers } = await answer(request, count);
      if (network.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, network.delayMs));
      response
        .writeHead(status, {
          ...{ ...always, ...UNKEPT, ...headers },
          ...{ "Content-Type": type, "Content-Length": Buffer.byteLength(body) },
        })
        .end(body);
    } catch (error) {
      console.error(error);
      response.writeHead(500).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    taken() {
      const { ...was } = sent;
      sent = { requests: 0, bytes: 0 };
      return was;
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
